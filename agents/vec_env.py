"""A ``BatchEnv`` of ``plasticrl.envs`` as an SB3 ``VecEnv``, without a loop over environments."""

import time
from collections.abc import Iterable
from inspect import signature
from itertools import groupby
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from plasticrl.agents.monitor_files import MonitorFiles
from plasticrl.envs import ArgumentError, BatchEnv
from plasticrl.envs.arrays import any_of, to_host
from plasticrl.runs import UsageError


class BatchVecEnv(VecEnv):
    """An SB3 ``VecEnv`` around a ``BatchEnv``; it reports episodes as SB3's ``Monitor`` does.

    A row is one environment of the batch. The rows have their own observations, random numbers and
    ``row_options``; all other attributes belong to the whole batch.

    Args:
        batch: a batch made with ``autoreset_mode=AutoresetMode.SAME_STEP``, as SB3 expects it.
        monitor_dir, start_index: as for ``make_vec_env``.
        allow_early_resets, info_keywords, override_existing: as for SB3's ``Monitor``.

    Raises:
        ValueError: for another autoreset mode, or an info keyword that the batch does not have.
        OSError: a monitor file cannot be written.
    """

    def __init__(
        self,
        batch: BatchEnv[Any],
        monitor_dir: str | None = None,
        start_index: int = 0,
        *,
        allow_early_resets: bool = True,
        info_keywords: tuple[str, ...] = (),
        override_existing: bool = True,
    ) -> None:
        if batch.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"BatchVecEnv needs autoreset_mode=AutoresetMode.SAME_STEP, "
                f"not {batch.autoreset_mode}"
            )
        self.batch = batch
        super().__init__(batch.num_envs, batch.single_observation_space, batch.single_action_space)
        self.metadata = batch.metadata  # includes the frame rate of videos
        self.returns = np.zeros(self.num_envs)
        self.lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.started = time.time()
        self.allow_early_resets = allow_early_resets
        self.info_keywords = tuple(info_keywords)
        known = batch.episode_info(batch.state.world)
        if unknown := [name for name in self.info_keywords if name not in known]:
            raise UsageError(
                f"info_keywords: at the end of an episode there is no {', '.join(unknown)} in the "
                f"info of this environment, which has {', '.join(known) or 'none'}"
            )
        self._playing = False
        self._files: MonitorFiles | None = None
        if monitor_dir is not None:
            env_id = None if batch.spec is None else batch.spec.id
            header = {"t_start": self.started, "env_id": str(env_id)}
            self._files = MonitorFiles(
                monitor_dir,
                start_index,
                self.num_envs,
                header,
                self.info_keywords,
                override_existing,
            )

    def reset(self) -> VecEnvObs:
        """Start new episodes in all rows, with the seeds and options that were set before.

        The options are the batch's ``row_options``; they last until they are set again.

        Raises:
            ValueError: there is no such option, or it cannot have this value.
            RuntimeError: episodes have begun, and ``allow_early_resets`` is False.
        """
        if self._playing and not self.allow_early_resets:
            raise RuntimeError("reset before the episodes' end, and allow_early_resets is False")
        if len(self._options) != self.num_envs:
            raise UsageError(
                f"set_options takes one dict, or one for each of the {self.num_envs} environments, "
                f"not {len(self._options)}"
            )
        for options, rows in groupby(range(self.num_envs), key=self._options.__getitem__):
            self.batch.set_row_options(options, self._mask(rows))
        obs, _ = self.batch.reset(seed=self._seeds)
        self._reset_seeds()
        self._reset_options()
        self._playing = True
        self.returns[:] = 0
        self.lengths[:] = 0
        return to_host(obs)

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions (B,) for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Return observations (B, ...), rewards (B,), dones (B,) and one info for each row."""
        action = self._actions if self.batch.device is None else self.batch.put(self._actions)
        obs, rewards, terminated, truncated, info = self.batch.step(action)
        if self.batch.device is not None:
            obs, rewards, terminated, truncated = (
                to_host(array) for array in (obs, rewards, terminated, truncated)
            )
        dones = terminated | truncated
        final_obs, final_info = info.get("final_obs"), info.get("final_info", {})
        infos = self.monitor(rewards, dones, terminated, final_obs, final_info)
        return obs, rewards.astype(np.float32), dones, infos

    def monitor(
        self,
        rewards: np.ndarray,
        dones: np.ndarray,
        terminated: np.ndarray,
        final_obs: Any,
        final_info: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Add a step to the episodes' returns and lengths, and return one info for each row.

        An info is empty except where an episode ends.

        Args:
            rewards: (B,).
            dones: (B,), true where an episode ends.
            terminated: (B,), true where the episode has reached a terminal state.
            final_obs: (B, ...), the observations before the reset; used only where ``dones``.
            final_info: name -> (B,), the batch's info about finished episodes.
        """
        self.returns += rewards
        self.lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if any_of(dones):
            values = {n: to_host(a) for n, a in final_info.items() if not n.startswith("_")}
            final_obs = to_host(final_obs)
            for row in np.flatnonzero(dones).tolist():
                info = {name: array[row] for name, array in values.items()}
                episode = self._episode(row) | {name: info[name] for name in self.info_keywords}
                infos[row] = info | {
                    "terminal_observation": final_obs[row],
                    "TimeLimit.truncated": not terminated[row],
                    "episode": episode,
                }
                if self._files is not None:
                    self._files.add(row, episode)
            self.returns[dones] = 0
            self.lengths[dones] = 0
        return infos

    def _episode(self, row: int) -> dict[str, Any]:
        """The info that SB3's ``Monitor`` adds at the end of an episode."""
        return {
            "r": round(float(self.returns[row]), 6),
            "l": int(self.lengths[row]),
            "t": round(time.time() - self.started, 6),
        }

    def get_state(self) -> dict[str, np.ndarray]:
        """Return copies of all arrays that ``set_state`` needs."""
        state: dict[str, np.ndarray] = dict(self.batch.get_state())
        state["monitor.returns"] = self.returns.copy()
        state["monitor.lengths"] = self.lengths.copy()
        return state

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue, bit for bit, from a state that ``get_state`` returned.

        Raises:
            ArgumentError: an array is missing, unknown, or of another shape or dtype.
        """
        own = dict(state)
        monitor = [own.pop(f"monitor.{name}", None) for name in ("returns", "lengths")]
        for leaf in monitor:
            if leaf is None or leaf.shape != (self.num_envs,):
                raise ArgumentError(f"state must hold monitor.* arrays of shape ({self.num_envs},)")
        self.batch.set_state(own)
        self._playing = True
        self.returns, self.lengths = (leaf.copy() for leaf in monitor if leaf is not None)

    def get_images(self) -> list[np.ndarray | None]:
        """Return one picture of every row."""
        frames = self.batch.render() or (None,) * self.num_envs
        return [frame if isinstance(frame, np.ndarray) else None for frame in frames]

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each row in ``indices``. Most are the same for all rows."""
        rows = self._get_indices(indices)
        if attr_name in ("observation_space", "action_space"):
            return [getattr(self, attr_name) for _ in rows]  # a row's, and not the batch's
        value = getattr(self.batch, attr_name)
        if attr_name in self.batch.row_attributes:
            return [value[row] for row in rows]
        return [value for _ in rows]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch.

        Raises:
            UsageError: ``indices`` leave out a row.
        """
        if not self._mask(self._get_indices(indices)).all():
            raise UsageError(
                f"set_attr: {attr_name} is the same in all environments of a native batch: leave "
                "out indices"
            )
        setattr(self.batch, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method for the rows in ``indices``, and return the result for each.

        Every ``set_<option>`` of the batch's ``row_options``, ``render`` and ``scene`` act on
        single rows. Any other method is called once, for the whole batch.

        Raises:
            UsageError: ``indices`` leave out a row, and the method is for the whole batch.
        """
        method, rows = getattr(self.batch, method_name), list(self._get_indices(indices))
        parameters = signature(method).parameters
        if "row" in parameters:
            return [method(*args, row=row, **kwargs) for row in rows]
        if "rows" in parameters:
            return [method(*args, rows=self._mask(rows), **kwargs)] * len(rows)
        if method_name == "render":
            frames = method(*args, **kwargs) or (None,) * self.num_envs
            return [frames[row] for row in rows]
        if not self._mask(rows).all():
            raise UsageError(
                f"env_method: {method_name} acts on all environments of a native batch: leave out "
                "indices, or make separate environments, with vec_env_cls=DummyVecEnv"
            )
        return [method(*args, **kwargs)] * len(rows)

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return True for ``Monitor``, because this class does the same work."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _mask(self, rows: Iterable[int]) -> np.ndarray:
        """(B,) true in ``rows``."""
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[list(rows)] = True
        return mask
