"""The error of the renderers."""


class ViewerError(ValueError):
    """An episode cannot be shown as asked; the message is one sentence that says why."""
