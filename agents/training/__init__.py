"""The life of a training run: config and presets, building, learning, saving, resuming."""
