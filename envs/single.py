"""The single environment as a batch of one row."""

from typing import Any, Generic, TypeVar

import numpy as np
from gymnasium import Env
from gymnasium.error import InvalidAction

from plasticrl.envs.arrays import Frame, HostArray, Info, Observations
from plasticrl.envs.batch import METADATA, BatchEnv
from plasticrl.envs.scene import Scene

BatchT = TypeVar("BatchT", bound=BatchEnv[Any])

_ROW = np.ones(1, dtype=np.bool_)


class SingleEnv(Env[Observations, np.int64], Generic[BatchT]):
    """One row of ``batch``, which must have exactly one row and autoreset disabled.

    After the last step of an episode, ``step`` raises ``ResetNeeded`` until ``reset`` is called.
    """

    metadata = METADATA

    def __init__(self, batch: BatchT) -> None:
        self.batch = batch
        self.observation_space = batch.single_observation_space
        self.action_space = batch.single_action_space
        self.render_mode = batch.render_mode
        self._seeded = False

    def reset(
        self, *, seed: int | None = None, options: Info | None = None
    ) -> tuple[Observations, Info]:
        """Start a new episode; ``seed`` as in Gymnasium, ``options`` as in ``row_options``."""
        super().reset(seed=seed)
        self.batch.set_row_options(options or {}, _ROW)
        if seed is not None or not self._seeded:
            self.batch.seed_rows(_ROW, [self.np_random])
            self._seeded = True
        return self.batch.begin(_ROW)[0], {}

    def step(self, action: np.int64) -> tuple[Observations, float, bool, bool, Info]:
        """Take one step; ``action`` is an integer."""
        array = np.asarray(action)
        if array.shape != ():
            raise InvalidAction(f"action must be one integer, got an array of shape {array.shape}")
        observation, reward, terminated, truncated, infos = self.batch.step(array[None])
        info = {name: value[0].item() for name, value in infos.items() if name[0] != "_"}
        return observation[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Frame | str | None:
        """Return a frame (``rgb_array``) or a text (``ansi``)."""
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def scene(self) -> Scene:
        """Describe what is to be seen now."""
        return self.batch.scene(0)

    def get_state(self) -> dict[str, HostArray]:
        """Return copies of every array that decides what happens from here on, each (1, ...)."""
        return self.batch.get_state()

    def set_state(self, state: dict[str, HostArray]) -> None:
        """Continue, bit for bit, from a state that ``get_state`` returned."""
        self.batch.set_state(state)
        self._seeded = True
