"""What goes wrong, and can be mended by whoever gave the command."""


class UsageError(ValueError):
    """What was asked for cannot be: one sentence that names it and says what would do."""


class RunError(UsageError):
    """Something in a run directory is wrong; the message is one sentence that names it."""
