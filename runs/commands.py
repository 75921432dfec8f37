"""What the commands have in common: where a run goes, how an error is told."""

import difflib
import shlex
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from shutil import which
from typing import NamedTuple

from plasticrl.runs.directory import RunDirectory
from plasticrl.runs.errors import UsageError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130


def default_run_dir(preset: str, seed: int) -> Path:
    """A new folder for a run under logs/."""
    return Path("logs") / f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"


class Elsewhere(NamedTuple):
    """The presets of the other training script."""

    kind: str
    script: str
    presets: Collection[str]


def check_preset(
    argv: Sequence[str],
    presets: Collection[str],
    script: str,
    elsewhere: Elsewhere | None = None,
) -> None:
    """Raise ``UsageError`` where the first word names no preset; it says which one was meant."""
    word = argv[0] if argv else "-"
    if word in presets or word in ("-h", "--help") or word.startswith("--tyro-"):
        return
    there = ", ".join(presets)
    if word.startswith("-"):
        example = next(iter(presets))
        raise UsageError(
            f"name a preset first, as in: {python_here()} {script} {example}\n"
            f"presets: {there}\n"
            f"its settings: {example} --help; to go on with a run: --resume RUN"
        )
    others = elsewhere.presets if elsewhere else ()
    close = difflib.get_close_matches(word, [*presets, *others], n=1)
    if elsewhere and close and close[0] in others:
        command = f"{python_here()} {elsewhere.script} {close[0]}"
        if word == close[0]:
            raise UsageError(f"{word!r} is a {elsewhere.kind} preset: {command}")
        raise UsageError(f"there is no preset {word!r}: did you mean {command}?")
    what = f"did you mean {close[0]}?" if close else f"there are {there}"
    raise UsageError(f"there is no preset {word!r}: {what}")


def say_loading(doing: str) -> None:
    """Say that torch is about to be imported, if it is not yet: that can take many seconds."""
    if "torch" not in sys.modules:
        print(f"{doing}: loading torch ...", file=sys.stderr, flush=True)


def guarded(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Exit status 2 and one sentence for what the user can mend, a traceback for what we must."""
    try:
        return main(argv)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_USAGE
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def interrupted(script: str, run: RunDirectory) -> int:
    """Say how to go on with a run, if anything of it was saved; the exit status."""
    if any(run.checkpoints_path.rglob("*.pt")):
        said = f"go on with: {resuming(script, run.path)}"
    else:
        said = f"nothing was saved yet: start again, and remove {run.path} if you like"
    print(f"interrupted; {said}", file=sys.stderr)
    return INTERRUPTED


def resuming(script: str, run: Path) -> str:
    """The command that goes on with a run."""
    return f"{python_here()} {script} --resume {shlex.quote(str(run))}"


def python_here() -> str:
    """This interpreter, as one types it here."""
    path = Path(sys.executable)
    if which("python") == str(path):
        return "python"
    inside = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if inside else path))
