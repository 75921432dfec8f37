"""The program ``plasticrl``, and the scripts that call its commands.

A command's module is imported only when the command is called, so that ``--help`` is quick. An
error of the user is reported in one sentence with exit status 2; any other keeps its traceback.
"""

import errno
import io
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from shutil import which

from plasticrl.runs import DivergedError, UsageError, UserCodeError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130
LONGEST_WORD, LONGEST_MESSAGE = 1_000, 4_000
"""The maximum numbers of characters of a printed word and of a printed message."""
COMMANDS = {
    "train": "train an agent or a net on a supervised task, or continue a run",
    "evaluate": "measure, watch, record or plot what was trained",
    "sweep": "train presets x seeds x settings side by side, with Ray",
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
        close = get_close_matches(command, COMMANDS)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        say(f"error: there is no command {command!r}: {hint}")
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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal's encoding may lack some characters
            stream.reconfigure(errors="backslashreplace")
    try:
        Path.cwd()
    except FileNotFoundError:
        say("error: the current folder no longer exists: change to another one")
        return BAD_USAGE
    try:
        status = run(argv)
        sys.stdout.flush()
        return status
    except UsageError as error:
        _say_error(error)
        return BAD_USAGE
    except DivergedError as error:
        _say_error(error)
        return FAILED
    except UserCodeError as error:
        _say_error(error)
        if error.__cause__ is None:  # its process has ended, without a traceback
            return BAD_USAGE
        traceback.print_exception(error.__cause__)
        return FAILED
    except BrokenPipeError:  # the program that read our output has ended, for example head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        say(f"error: cannot write the output: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _say_error(error: BaseException) -> None:
    say(f"error: {error}")
    for note in getattr(error, "__notes__", ()):
        say(note)


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
    """What the user has to type to call a command with the program or script in use."""
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


def import_from_here(modules: Sequence[str]) -> None:
    """Let modules that the user has named be imported from the current folder, as Python does."""
    if modules and (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)


def say_loading(what: str) -> None:
    """Unless torch is loaded, say that it is being imported, which can take many seconds."""
    if "torch" not in sys.modules:
        say(f"{what}: loading torch ...")


def say_damaged(checkpoints: Sequence[str]) -> None:
    """Say which checkpoints could not be read, and that an earlier one is used."""
    for sentence in checkpoints:
        say(f"note: {sentence}; the checkpoint before it is used")


def say(message: str) -> None:
    """Print a sentence for the user on stderr, because stdout is for results."""
    print(printable(message), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Shorten a text, which may quote a file, and escape its control characters for a terminal."""
    text = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: _shortened(word[0], LONGEST_WORD), text)
    text = _shortened(text, LONGEST_MESSAGE)
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... {text[-longest // 4 :]}"
