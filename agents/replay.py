"""What ``evaluate.py`` does with a recorded episode. Neither torch nor the run is needed."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from plasticrl.runs import UsageError
from plasticrl.viewer import (
    EpisodeTrace,
    ViewerError,
    check_record_path,
    check_report_path,
    load_npz,
    record,
    save_report,
    watch,
)

if TYPE_CHECKING:
    from plasticrl.agents.command_line import EvaluateArguments


def replay(path: Path, arguments: "EvaluateArguments") -> int:
    """``evaluate.py FILE.npz``: show the episode as asked; the exit status.

    Raises:
        UsageError: if the file holds no episode, or there is nothing to do with it.
    """
    for item in fields(arguments):
        shown = item.name in ("run", "watch", "record", "report")
        if not shown and getattr(arguments, item.name) != item.default:
            flag = item.name.replace("_", "-")
            raise UsageError(f"{path} is a recorded episode: leave out --{flag}")
    if not (arguments.watch or arguments.record or arguments.report):
        raise UsageError(
            f"{path} is a recorded episode: give --watch, --record FILE or --report FILE"
        )
    try:
        if arguments.record is not None:
            check_record_path(arguments.record)
        if arguments.report is not None:
            check_report_path(arguments.report)
        episode = load_npz(path)
        if arguments.report is not None:
            save_report([(episode, None)], arguments.report)
            print(f"wrote {arguments.report}", file=sys.stderr)
        show(episode, arguments)
    except ViewerError as error:
        raise UsageError(str(error)) from error
    return 0


def show(episode: EpisodeTrace, arguments: "EvaluateArguments") -> None:
    """Record and play the episode, as asked.

    Raises:
        ViewerError: if it cannot be written.
    """
    if arguments.record is not None:
        record(episode, arguments.record)
        print(f"recorded {arguments.record}", file=sys.stderr)
    if arguments.watch:
        watch(episode, Console())
