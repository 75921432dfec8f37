"""Errors that the user can correct."""


class UsageError(ValueError):
    """An option or a command is wrong; the message is one sentence that names a correct one."""


class RunError(UsageError):
    """A run directory or a file in it is missing or damaged; the message is one sentence."""


class WriteError(RunError):
    """A file of a run cannot be written, for example because the disk is full."""


class DivergedError(FloatingPointError):
    """Numbers of a training are no longer finite; the message says which, and what may help."""


class UserCodeError(RuntimeError):
    """Code of the user, such as an environment, raised an error, which is the cause of this one."""
