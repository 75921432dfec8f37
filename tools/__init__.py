"""Scripts that build the committed data files. They are not installed."""
