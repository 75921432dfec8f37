"""The files that SB3's ``Monitor`` writes, for the environments of a batch."""

import os
from typing import Any

from stable_baselines3.common.monitor import ResultsWriter


class MonitorFiles:
    """One file for each environment, with a line for each of its episodes.

    ``stable_baselines3.common.monitor.load_results`` reads them. A file is open only while a line
    is written: a batch can have more environments than a process may have open files.

    Args:
        folder: is made if it does not exist.
        start_index: the number in the name of the first environment's file.
        n_envs: number of environments.
        header: the first line of each file.
        extra_keys: names of the values of an episode besides reward, length and time.
        override_existing: begin the files anew; otherwise lines are added to existing files.

    Raises:
        OSError: a file cannot be written.
    """

    def __init__(
        self,
        folder: str,
        start_index: int,
        n_envs: int,
        header: dict[str, Any],
        extra_keys: tuple[str, ...],
        override_existing: bool,
    ) -> None:
        os.makedirs(folder, exist_ok=True)
        self.paths = [os.path.join(folder, str(start_index + row)) for row in range(n_envs)]
        self.extra_keys = extra_keys
        for path in self.paths:
            ResultsWriter(path, header, extra_keys, override_existing).close()

    def add(self, row: int, episode: dict[str, Any]) -> None:
        """Add an episode to the file of an environment."""
        writer = ResultsWriter(self.paths[row], extra_keys=self.extra_keys, override_existing=False)
        writer.write_row(episode)
        writer.close()
