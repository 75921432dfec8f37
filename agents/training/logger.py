"""Where a run's metrics go: TensorBoard, and one JSON object a line."""

from typing import Any

from stable_baselines3.common.logger import HParam, KVWriter, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from plasticrl.runs import MetricsLog, RunDirectory, flat


class MetricsWriter(KVWriter):
    """Writes SB3's scalars into the run's ``metrics.jsonl``."""

    def __init__(self, log: MetricsLog) -> None:
        self.log = log

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """One line for ``step``."""
        self.log.append(step, {name: float(value) for name, value in key_values.items()})

    def close(self) -> None:
        """Nothing is open between two lines."""


class TensorBoardWriter(TensorBoardOutputFormat):
    """SB3's TensorBoard output, hiding what an interrupted run wrote after its checkpoint.

    Args:
        folder: of the event files.
        step: events of later steps, written before this run was resumed, are purged.
    """

    def __init__(self, folder: str, step: int) -> None:
        self.writer = SummaryWriter(log_dir=folder, purge_step=step + 1)
        self._is_closed = False


def make_logger(run: RunDirectory, step: int, recorded: dict[str, float]) -> Logger:
    """A run's logger, going on at ``step`` as if the run had never stopped.

    A new run's settings are TensorBoard's hyper-parameters.

    Args:
        run: where the metrics go.
        step: environment steps so far.
        recorded: what was recorded and not yet written, by name.
    """
    log = MetricsLog(run.metrics_path)
    log.rewind(step)
    folder = str(run.tensorboard_path)
    tensorboard = TensorBoardWriter(folder, step)
    if step == 0:
        # Not by torch's add_hparams, which would make a second run of it.
        settings = HParam({"preset": run.preset, **flat(run.config)}, {"rollout/ep_rew_mean": 0.0})
        tensorboard.write({"hparams": settings}, {"hparams": ()})
    logger = Logger(folder, [tensorboard, MetricsWriter(log)])
    for name, value in recorded.items():
        logger.record(name, value, exclude="tensorboard" if name in _TEXT_ONLY else None)
    return logger


_TEXT_ONLY = ("train/n_updates",)
"""Counters that SB3 keeps out of TensorBoard."""
