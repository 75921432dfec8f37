"""A ``BatchEnv`` of ``plasticrl.envs`` as an SB3 ``VecEnv``, without a loop over environments."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_util import make_vec_env as make_sb3_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from plasticrl.envs import ENV_IDS, BatchEnv
from plasticrl.envs.arrays import any_of, to_host


class BatchVecEnv(VecEnv):
    """An SB3 ``VecEnv`` around a ``BatchEnv``; it reports episodes as SB3's ``Monitor`` does.

    A row is one environment of the batch. Attributes and methods belong to the whole batch, so
    ``set_attr`` and ``env_method`` reject a subset of rows.

    Args:
        batch: a batch made with ``autoreset_mode=AutoresetMode.SAME_STEP``, as SB3 expects it.

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
        self.metadata = batch.metadata  # includes the frame rate of videos
        self.returns = np.zeros(self.num_envs)
        self.lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.started = time.time()

    def reset(self) -> VecEnvObs:
        """Start new episodes in all rows, with the seeds that were set before."""
        if any(self._options):
            raise ValueError(f"reset options are not supported, got {self._options[0]}")
        obs, _ = self.batch.reset(seed=self._seeds)
        self._reset_seeds()
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
                infos[row] = {name: array[row] for name, array in values.items()} | {
                    "terminal_observation": final_obs[row],
                    "TimeLimit.truncated": not terminated[row],
                    "episode": self._episode(row),
                }
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
        """Return one picture of every row."""
        frames = self.batch.render() or (None,) * self.num_envs
        return [frame if isinstance(frame, np.ndarray) else None for frame in frames]

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the batch's attribute, once for each row in ``indices``."""
        return [getattr(self.batch, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch."""
        self._whole(indices, "set_attr")
        setattr(self.batch, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch once, and return its result for every row."""
        self._whole(indices, "env_method")
        return [getattr(self.batch, method_name)(*args, **kwargs)] * self.num_envs

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return True for ``Monitor``, because this class does the same work."""
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
    device: str | None = None,
    vec_env_cls: type[DummyVecEnv | SubprocVecEnv] | None = None,
) -> VecEnv:
    """Make ``n_envs`` environments as one SB3 ``VecEnv``.

    An environment of this package becomes a ``BatchVecEnv``, in which one ``BatchEnv`` steps all
    environments at once (called a native batch). Any other becomes SB3's own ``VecEnv``.

    Args:
        seed: environment k is seeded with seed + k at the next reset.
        wrapper_class: a wrapper for each environment; with it, SB3's ``VecEnv`` is used.
        vec_env_cls: SB3's class of ``VecEnv``, in the place of a native batch.
        device: None for NumPy arrays, or the torch device on which a native batch keeps its
            tensors. If the policy is on that device too and ``bootstrap_truncated`` is off,
            ``RecurrentA2C`` takes all steps of a rollout there, without waiting for the CPU.

    Raises:
        TypeError: for an option that the environment does not have.
        ValueError: for an invalid value, or a device for an environment without a native batch.
        gymnasium.error.Error: for an id that is not registered.
    """
    if env_id not in ENV_IDS or wrapper_class is not None or vec_env_cls is not None:
        if device is not None:
            raise ValueError(f"device={device!r} needs a native batch, and {env_id} has none")
        with warnings.catch_warnings():  # SB3 asks for pictures, which not every environment has
            warnings.filterwarnings("ignore", ".*initialised with render_mode")
            return make_sb3_vec_env(
                env_id,
                n_envs,
                seed,
                env_kwargs=env_kwargs,
                wrapper_class=wrapper_class,
                vec_env_cls=vec_env_cls,
            )
    batch = gym.make_vec(
        env_id,
        num_envs=n_envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
        device=device,
        **(env_kwargs or {}),
    )
    assert isinstance(batch, BatchEnv)
    vec_env = BatchVecEnv(batch)
    vec_env.seed(seed)
    return vec_env
