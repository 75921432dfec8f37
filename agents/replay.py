"""What ``evaluate.py`` does with a recorded episode. Neither torch nor the run is needed."""

import sys
from dataclasses import fields
from typing import TYPE_CHECKING

from rich.console import Console

from plasticrl.agents.config import UsageError
from plasticrl.viewer import EpisodeTrace, ViewerError, check_record_path, load_npz, record, watch

if TYPE_CHECKING:
    from plasticrl.agents.command_line import EvaluateArguments


def replay(arguments: "EvaluateArguments") -> int:
    """``evaluate.py FILE.npz``: show the episode as asked; the exit status.

    Raises:
        UsageError: if the file holds no episode, or there is nothing to do with it.
    """
    for item in fields(arguments):
        shown = item.name in ("run", "watch", "record")
        if not shown and getattr(arguments, item.name) != item.default:
            flag = item.name.replace("_", "-")
            raise UsageError(f"{arguments.run} is a recorded episode: leave out --{flag}")
    if not arguments.watch and arguments.record is None:
        raise UsageError(f"{arguments.run} is a recorded episode: give --watch or --record FILE")
    try:
        if arguments.record is not None:
            check_record_path(arguments.record)
        show(load_npz(arguments.run), arguments)
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
