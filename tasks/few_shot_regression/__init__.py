"""Learning a function from a few points within an episode; Duan et al. 2023."""
