"""Trained agents, measured and watched: evaluation, recording, and the gallery."""

EPISODES = 256
"""Episodes that an agent is measured over, unless another number is asked for."""
SEED = 1_000_000
"""Seed of the first of them: far from the seeds of trainings."""
