"""The program ``plasticrl``, and the scripts that call its commands.

A command's module is imported only when the command is called, so that ``--help`` is quick. An
error of the user is reported in one sentence with exit status 2; any other keeps its traceback.
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from shutil import which

from plasticrl.runs import UsageError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130
COMMANDS = {
    "train": "train an agent or a net on a supervised task, or continue a run",
    "evaluate": "measure, watch, record or plot what was trained",
    "data": "list the data sets: embedded, found or missing",
}
SCRIPTS = {
    "train_rl.py": "train",
    "train_supervised.py": "train",
    "evaluate.py": "evaluate",
}
"""The scripts in the root of the repository, and the commands that they call."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program ``plasticrl`` and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(_usage())
        return 0
    if command == "--version":
        print(f"plasticrl {version('plasticrl')}")
        return 0
    if command not in COMMANDS:
        there = ", ".join(COMMANDS)
        print(
            f"error: there is no command {command!r}; there are {there}, as in: "
            "plasticrl train maze-quickstart",
            file=sys.stderr,
        )
        return BAD_USAGE
    return run_command(command, arguments[1:])


def run_command(command: str, argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status. By default, it gets this process's arguments."""

    def run(arguments: Sequence[str]) -> int:
        status: int = import_module(f"plasticrl.commands.{command}").main(arguments)
        return status

    return guarded(run, list(sys.argv[1:] if argv is None else argv))


def guarded(run: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a command and return its exit status. Print an error of the user in one sentence."""
    try:
        return run(argv)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_USAGE
    except FloatingPointError as error:  # a training has diverged
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # the program that read our output has ended, for example head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _usage() -> str:
    lines = [f"  {name:<10}{about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            "usage: plasticrl COMMAND ...",
            "",
            "Reinforcement-learning agents whose recurrent networks rewire themselves.",
            "",
            *lines,
            "",
            "plasticrl COMMAND --help says more, as does plasticrl train PRESET --help.",
        ]
    )


def command_line(command: str) -> str:
    """What the user has to type to call a command, with the program or script used before."""
    called = Path(sys.argv[0])
    if called.name not in SCRIPTS:
        return f"{_as_typed(called, 'plasticrl')} {command}"
    scripts = [name for name, does in SCRIPTS.items() if does == command]
    if not scripts:
        return f"{_as_typed(Path(sys.executable).with_name('plasticrl'), 'plasticrl')} {command}"
    script = called.name if called.name in scripts else scripts[0]
    return f"{_as_typed(Path(sys.executable), 'python')} {script}"


def _as_typed(program: Path, name: str) -> str:
    """The program's name if the shell finds it by that name, else its path."""
    if program.name != name and name == "plasticrl":
        return name  # called by another program, as in a test
    if which(name) == str(program):
        return name
    inside = program.is_relative_to(Path.cwd())
    return shlex.quote(str(program.relative_to(Path.cwd()) if inside else program))


def say_loading(what: str) -> None:
    """Say that torch is being imported, which can take many seconds, if it is not loaded yet."""
    if "torch" not in sys.modules:
        say(f"{what}: loading torch ...")


def say_damaged(checkpoints: Sequence[str]) -> None:
    """Say which checkpoints could not be read, and that an earlier one is used."""
    for sentence in checkpoints:
        say(f"note: {sentence}; the checkpoint before it is used")


def say(message: str) -> None:
    """Print a sentence for the user on stderr, because stdout is for results."""
    print(message, file=sys.stderr, flush=True)
