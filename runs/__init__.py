"""What every run leaves behind."""
