"""The command line: arguments in, library calls, tables and sentences out. Nobody imports it.

One module for each command. Only this folder knows tyro.
"""

from plasticrl.commands.program import main, run_command

__all__ = ["main", "run_command"]
