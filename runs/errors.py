"""Errors that the user can correct."""


class UsageError(ValueError):
    """An option or a command is wrong; the message is one sentence that names a correct one."""


class RunError(UsageError):
    """A run directory or a file in it is missing or damaged; the message is one sentence."""


class WriteError(RunError):
    """A file of a run cannot be written, for example because the disk is full."""


class DivergedError(FloatingPointError):
    """The training diverged: numbers are not finite. The message says which, and what may help."""


class UserCodeError(RuntimeError):
    """The user's code, such as an environment, raised an error, which is this error's cause."""
