"""The native batch as an SB3 ``VecEnv``, without a Python loop over environments."""

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_util import make_vec_env as make_sb3_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from plasticrl.envs import ENV_IDS, BatchEnv


class BatchVecEnv(VecEnv):
    """A batch environment of ``plasticrl.envs``; episodes are monitored as SB3's ``Monitor`` does.

    Attributes and methods belong to the whole batch: ``set_attr`` and ``env_method`` take no
    subset of environments.

    Args:
        batch: made with ``autoreset_mode=AutoresetMode.SAME_STEP``, which is SB3's way.

    Raises:
        ValueError: for another autoreset mode.
    """

    def __init__(self, batch: BatchEnv[Any]) -> None:
        if batch.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"BatchVecEnv needs autoreset_mode=AutoresetMode.SAME_STEP, "
                f"not {batch.autoreset_mode}"
            )
        self.batch = batch
        super().__init__(batch.num_envs, batch.single_observation_space, batch.single_action_space)
        self.metadata = batch.metadata  # a video's frame rate, among others
        self.returns = np.zeros(self.num_envs)
        self.lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.started = time.time()

    def reset(self) -> VecEnvObs:
        """New episodes everywhere, with the seeds and options set before."""
        if any(self._options):
            raise ValueError(f"reset options are not supported, got {self._options[0]}")
        obs: VecEnvObs
        obs, _ = self.batch.reset(seed=self._seeds)
        self._reset_seeds()
        self.returns[:] = 0
        self.lengths[:] = 0
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions (B,) for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Observations (B, ...), rewards (B,), dones (B,) and one info for each row."""
        obs, rewards, terminated, truncated, batch_info = self.batch.step(self._actions)
        dones = terminated | truncated
        self.returns += rewards
        self.lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(dones).tolist():
            infos[row] = self._end_of_episode(row, batch_info, bool(truncated[row]))
        self.returns[dones] = 0
        self.lengths[dones] = 0
        return obs, rewards.astype(np.float32), dones, infos

    def _end_of_episode(self, row: int, batch_info: dict[str, Any], cut: bool) -> dict[str, Any]:
        final = batch_info["final_info"]
        info = {name: final[name][row] for name in final if not name.startswith("_")}
        episode = {
            "r": round(float(self.returns[row]), 6),
            "l": int(self.lengths[row]),
            "t": round(time.time() - self.started, 6),
        }
        return info | {
            "terminal_observation": batch_info["final_obs"][row],
            "TimeLimit.truncated": cut,
            "episode": episode,
        }

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything that decides what happens from here on."""
        state: dict[str, np.ndarray] = dict(self.batch.get_state())
        state["monitor.returns"] = self.returns.copy()
        state["monitor.lengths"] = self.lengths.copy()
        return state

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue, bit for bit, from what ``get_state`` gave.

        Raises:
            ValueError: if an array is missing, unknown, or of another shape or dtype.
        """
        own = dict(state)
        monitor = [own.pop(f"monitor.{name}", None) for name in ("returns", "lengths")]
        for leaf in monitor:
            if leaf is None or leaf.shape != (self.num_envs,):
                raise ValueError(f"state must hold monitor.* arrays of shape ({self.num_envs},)")
        self.batch.set_state(own)
        self.returns, self.lengths = (leaf.copy() for leaf in monitor if leaf is not None)

    def get_images(self) -> list[np.ndarray | None]:
        """One picture of every row."""
        frames = self.batch.render() or (None,) * self.num_envs
        return [frame if isinstance(frame, np.ndarray) else None for frame in frames]

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The batch's attribute, once for each row asked for."""
        return [getattr(self.batch, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch."""
        self._whole(indices, "set_attr")
        setattr(self.batch, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch, once; its result for every row."""
        self._whole(indices, "env_method")
        return [getattr(self.batch, method_name)(*args, **kwargs)] * self.num_envs

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for ``Monitor``, whose work this class does itself."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _whole(self, indices: VecEnvIndices, method: str) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"{method} of a batch takes no subset of environments: {indices}")


def make_vec_env(
    env_id: str,
    n_envs: int = 1,
    seed: int | None = None,
    env_kwargs: dict[str, Any] | None = None,
    wrapper_class: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None,
) -> VecEnv:
    """``n_envs`` environments as one SB3 ``VecEnv``: the native batch where there is one.

    Args:
        env_id: a registered environment.
        n_envs: number of environments.
        seed: environment k is seeded with seed + k at the next reset.
        env_kwargs: options of the environment.
        wrapper_class: put around every single environment, which does without the native batch.

    Raises:
        TypeError: for an option that the environment does not have.
        ValueError: for a value that it does not take.
        gymnasium.error.Error: for an id that is not registered.
    """
    if env_id not in ENV_IDS or wrapper_class is not None:
        return make_sb3_vec_env(
            env_id, n_envs, seed, env_kwargs=env_kwargs, wrapper_class=wrapper_class
        )
    batch = gym.make_vec(
        env_id, num_envs=n_envs, autoreset_mode=AutoresetMode.SAME_STEP, **(env_kwargs or {})
    )
    assert isinstance(batch, BatchEnv)
    vec_env = BatchVecEnv(batch)
    vec_env.seed(seed)
    return vec_env
