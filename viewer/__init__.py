"""One recorded episode and its renderers."""
