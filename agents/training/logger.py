"""The logger of a run, which writes to TensorBoard and to ``metrics.jsonl``."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from stable_baselines3.common.logger import HParam, KVWriter, Logger, TensorBoardOutputFormat
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from torch.utils.tensorboard import SummaryWriter

from plasticrl.runs import MetricsLog, RunDirectory, WriteError, flat


class MetricsWriter(KVWriter):
    """Writes SB3's scalars into the run's ``metrics.jsonl``.

    Args:
        log: the file.
        check: is called before each line, and raises an error if the file must not be written.
    """

    def __init__(self, log: MetricsLog, check: Callable[[], None]) -> None:
        self.log, self.check = log, check

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Append the line of a step."""
        self.check()
        self.log.append(step, {name: float(value) for name, value in key_values.items()})

    def close(self) -> None:
        """Do nothing: the file is closed after each line."""


class TensorBoardWriter(TensorBoardOutputFormat):
    """SB3's TensorBoard output for a run that may have been resumed.

    All methods raise ``WriteError`` if the folder cannot be written. TensorBoard writes in a
    thread, so an error may be raised only by the next call.

    Args:
        folder: the folder of the event files.
        step: the step of the checkpoint. TensorBoard hides older events of later steps.
    """

    def __init__(self, folder: str, step: int) -> None:
        with _errors_of_tensorboard(folder):
            self.writer = SummaryWriter(log_dir=folder, purge_step=step + 1)
        self._is_closed = False

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Write the values of a step; numbers as one event, which takes a quarter of the time."""
        numbers = {
            name: value
            for name, value in key_values.items()
            if isinstance(value, int | float | np.number)
            and "tensorboard" not in (key_excluded[name] or ())
        }
        others = {name: value for name, value in key_values.items() if name not in numbers}
        values = [Summary.Value(tag=name, simple_value=n) for name, n in sorted(numbers.items())]
        with _errors_of_tensorboard(self.writer.log_dir):
            if values:
                file_writer: Any = self.writer.file_writer
                file_writer.add_summary(Summary(value=values), step)
            super().write(others, {name: key_excluded[name] for name in others}, step)

    def write_episode(self, pictures: dict[str, Any], left_out: str, step: int) -> None:
        """Write the pictures of an episode, and a text about those that are left out.

        Args:
            pictures: RGB images by their names.
            left_out: "" if nothing is left out.
            step: environment steps so far.
        """
        with _errors_of_tensorboard(self.writer.log_dir):
            for name, picture in pictures.items():
                self.writer.add_image(name, np.asarray(picture), step, dataformats="HWC")
            if left_out:
                self.writer.add_text("episode/left_out", left_out, step)

    def flush(self) -> None:
        """Write to disk what is still in memory."""
        with _errors_of_tensorboard(self.writer.log_dir):
            self.writer.flush()

    def close(self) -> None:
        """Write to disk what is still in memory, and close the file."""
        with _errors_of_tensorboard(self.writer.log_dir):
            super().close()


@contextmanager
def _errors_of_tensorboard(folder: str) -> Iterator[None]:
    """Raise an error of writing to TensorBoard as a ``WriteError`` that names the folder."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write {folder}: {error.strerror or error}") from error


@contextmanager
def quiet_writer_threads() -> Iterator[None]:
    """A context without tracebacks from TensorBoard's threads; its next call raises the error."""
    previous = threading.excepthook

    def hook(error: threading.ExceptHookArgs) -> None:
        if not type(error.thread).__module__.startswith("tensorboard."):
            previous(error)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = previous


def make_logger(
    run: RunDirectory, step: int, recorded: dict[str, float], check: Callable[[], None]
) -> Logger:
    """Make the logger of a run that starts or resumes at ``step``.

    For a new run it writes the settings to TensorBoard as hyperparameters.

    Args:
        step: environment steps so far.
        recorded: metrics that were recorded but not yet written when the checkpoint was saved.
        check: as for ``MetricsWriter``.

    Raises:
        RunError: the file of metrics is damaged.
        WriteError: a file cannot be written.
    """
    log = MetricsLog(run.metrics_path)
    log.rewind(step)
    folder = str(run.tensorboard_path)
    tensorboard = TensorBoardWriter(folder, step)
    logger = Logger(folder, [tensorboard, MetricsWriter(log, check)])
    if step == 0:
        # torch's add_hparams would show a second run in TensorBoard.
        settings = HParam({"preset": run.preset, **flat(run.config)}, {"rollout/ep_rew_mean": 0.0})
        try:
            tensorboard.write({"hparams": settings}, {"hparams": ()})
        except WriteError:
            with suppress(WriteError):
                logger.close()
            raise
    for name, value in recorded.items():
        logger.record(name, value, exclude="tensorboard" if name in _TEXT_ONLY else None)
    return logger


def flush(logger: Logger) -> None:
    """Write to disk what TensorBoard's writer still holds in memory.

    Raises:
        WriteError: it cannot be written.
    """
    for output in logger.output_formats:
        if isinstance(output, TensorBoardWriter):
            output.flush()


_TEXT_ONLY = ("train/n_updates",)
"""Counters that SB3 keeps out of TensorBoard."""
