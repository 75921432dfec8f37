"""What the commands have in common: where a run goes, how an error is told."""

import difflib
import shlex
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from shutil import which

from plasticrl.runs.errors import UsageError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130


def default_run_dir(preset: str, seed: int) -> Path:
    """A new folder for a run under logs/."""
    return Path("logs") / f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"


def check_preset(argv: Sequence[str], presets: Collection[str]) -> None:
    """Raise ``UsageError`` where the first word names no preset; it says which one was meant."""
    if not argv or argv[0].startswith("-") or argv[0] in presets:
        return
    close = difflib.get_close_matches(argv[0], presets, n=1)
    what = f"did you mean {close[0]}?" if close else f"there are {', '.join(presets)}"
    raise UsageError(f"there is no preset {argv[0]!r}: {what}")


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


def interrupted(script: str, run: Path) -> int:
    """Say how to go on with a run; the exit status."""
    how = f"{python_here()} {script} --resume {shlex.quote(str(run))}"
    print(f"interrupted; go on with: {how}", file=sys.stderr)
    return INTERRUPTED


def python_here() -> str:
    """This interpreter, as one types it here."""
    path = Path(sys.executable)
    if which("python") == str(path):
        return "python"
    inside = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if inside else path))
