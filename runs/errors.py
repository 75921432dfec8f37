"""The one error of this package."""


class RunError(ValueError):
    """Something in a run directory is wrong; the message is one sentence that names it."""
