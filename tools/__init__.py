"""Scripts that build the data that is committed here; they are not installed."""
