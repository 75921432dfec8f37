"""Answering which digit was shown with a letter; Ba et al. 2016."""
