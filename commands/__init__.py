"""The command line, with one module for each command. No other package imports it.

Only this folder uses tyro.
"""

from plasticrl.commands.program import main, run_command

__all__ = ["main", "run_command"]
