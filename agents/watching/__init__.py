"""Evaluates and records trained agents; the gallery has agents that come with the package."""

EPISODES = 256
"""Default number of episodes in an evaluation."""
SEED = 1_000_000
"""Default seed of the first of these episodes. It is far from the usual seeds of training runs."""
