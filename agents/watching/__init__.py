"""Trained agents, measured and watched: evaluation, recording, and the gallery."""
