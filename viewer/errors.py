"""The error of the renderers."""


class ViewerError(ValueError):
    """An episode cannot be shown; the message is one sentence that says why."""
