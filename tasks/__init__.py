"""Supervised memory tasks on the shared core."""
