"""The algorithm that ``check_recurrent`` tests.

In shapes, T is the total number of steps of the rollouts, and B the number of environments.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.conformance.adapters import Adapter, adapter_of
from plasticrl.agents.conformance.streams import CONTINUOUS, STREAMS, RecordedVecEnv, Stream
from plasticrl.agents.conformance.verdict import NotTestedError
from plasticrl.runs import UsageError

MakeModel = Callable[[VecEnv], OnPolicyAlgorithm]

N_ROLLOUTS = 3
"""The number of rollouts in a test."""
SHORTEST_ROLLOUT = 6
"""The smallest ``n_steps``: episodes of 3 and 5 steps must end in the middle of a rollout."""
NOISE = 0.4
"""The size of the noise that is added to the weights. With 1, large networks become chaotic:
rounding errors grow above ``ROUNDING`` within 100 steps."""
NO_NOISE = -20.0
"""A ``log_std`` with which sampled actions equal their means in float32."""


class Rollouts(NamedTuple):
    """Some rollouts, one after the other, as the algorithm stored them."""

    observations: np.ndarray
    """(T, B, 4)."""
    actions: np.ndarray
    """(T, B, A)."""
    values: np.ndarray
    """(T, B)."""
    log_probs: np.ndarray
    """(T, B)."""
    episode_starts: np.ndarray
    """(T, B)."""


class _CopyRollouts(BaseCallback):
    """Copies the rollout buffer after each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[Rollouts] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self.copies.append(Rollouts(*(getattr(buffer, name).copy() for name in Rollouts._fields)))


class Subject:
    """The algorithm to be tested.

    Attributes:
        adapter: the adapter of the algorithm.
        n_steps: the length of its rollouts.

    Raises:
        UsageError: for a model that is not built on the environments, that has too short rollouts,
            or that the adapter does not fit.
    """

    def __init__(self, make_model: MakeModel, adapter: Adapter | None) -> None:
        self._make_model = make_model
        self._weights: dict[type, dict[str, Tensor]] = {}
        model = self.build(STREAMS)
        self.n_steps: int = model.n_steps
        if self.n_steps < SHORTEST_ROLLOUT:
            raise UsageError(
                f"make_model must build a model with n_steps of at least {SHORTEST_ROLLOUT}, so "
                f"that episodes end in the middle of a rollout, not {self.n_steps}"
            )
        self.adapter = adapter or adapter_of(model.policy)
        if not hasattr(model.policy, self.adapter.loss_method):
            raise UsageError(
                f"the adapter's loss_method must be a method of {type(model.policy).__name__}, not "
                f"{self.adapter.loss_method!r}"
            )

    def build(
        self, streams: tuple[Stream, ...], action_space: spaces.Space[Any] = CONTINUOUS
    ) -> Any:
        """Build the algorithm with the same weights each time, and set the global seeds."""
        env = RecordedVecEnv(streams, action_space)
        set_random_seed(0)
        model: Any = self._make_model(env)
        if not isinstance(model, OnPolicyAlgorithm):
            raise UsageError(
                "make_model must build an on-policy algorithm of Stable-Baselines3, not a "
                f"{type(model).__name__}"
            )
        if model.get_env() is not env:
            raise UsageError("make_model must build the model on the environments that it is given")
        policy, kind = model.policy, type(action_space)
        if kind not in self._weights:
            _add_noise(policy)
            self._weights[kind] = {k: v.clone() for k, v in policy.state_dict().items()}
        policy.load_state_dict(self._weights[kind])
        set_random_seed(0)
        return model

    def build_without_noise(self, streams: tuple[Stream, ...]) -> Any:
        """Build a model that takes the most likely actions and does not learn.

        Raises:
            NotTestedError: if the policy has no ``log_std``.
        """
        model = self.build(streams)
        if not hasattr(model.policy, "log_std"):
            raise NotTestedError("the policy has no log_std, which sets the noise of its actions")
        torch.nn.init.constant_(model.policy.log_std, NO_NOISE)
        model.train = lambda: None
        return model


def freeze(model: Any) -> None:
    """Keep training from changing the weights."""
    model.policy.optimizer.step = lambda *arguments, **options: None
    if getattr(model, "normalize_returns", False):  # it changes the weights of the value head
        model.normalize_returns = False


def learn(
    model: Any, n_rollouts: int, continues: bool = False, callback: BaseCallback | None = None
) -> Rollouts:
    """Train for some rollouts and return them.

    Args:
        continues: continue where the last training ended, instead of beginning new episodes.
        callback: is called before the rollouts are copied.
    """
    copy = _CopyRollouts()
    model.learn(
        n_rollouts * model.n_steps * model.n_envs,
        callback=[copy] if callback is None else [callback, copy],
        reset_num_timesteps=not continues,
    )
    return Rollouts(*(np.concatenate(parts) for parts in zip(*copy.copies, strict=True)))


def stop_after(model: Any, n_steps: int) -> None:
    """Train, and let a callback stop it after ``n_steps`` steps of the first rollout."""
    stop = ConvertCallback(lambda _locals, _globals: model.num_timesteps < n_steps * model.n_envs)
    model.learn(model.n_steps * model.n_envs, callback=stop)


def act(model: Any, observations: np.ndarray, episode_starts: np.ndarray) -> np.ndarray:
    """Call ``predict`` for each step of (T, B, 4); return the most likely actions (T, B, A)."""
    state, actions = None, []
    for obs, starts in zip(observations, episode_starts, strict=True):
        chosen, state = model.predict(obs, state, starts.astype(bool), deterministic=True)
        actions.append(chosen)
    return np.stack(actions)


def watch_loss(model: Any, method: str, watch: Callable[[Tensor, Tensor, Tensor], None]) -> None:
    """Call ``watch(observations, values, log_probs)`` whenever the loss is computed.

    The loss uses the results of a second call, so ``watch`` may free the graph of the first.
    """
    evaluate = getattr(model.policy, method)

    def evaluate_twice(obs: Tensor, *arguments: Any, **options: Any) -> Any:
        values, log_probs, *_ = evaluate(obs, *arguments, **options)
        watch(obs, values.flatten(), log_probs.flatten())
        return evaluate(obs, *arguments, **options)

    setattr(model.policy, method, evaluate_twice)


def _add_noise(policy: torch.nn.Module) -> None:
    """Add noise to the weights, so that the state affects the actions.

    The outputs of an untrained policy are usually close to zero.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.parameters():
            fan_in = weight.shape[1] if weight.dim() > 1 else 10
            noise = NOISE * torch.randn(weight.shape, generator=generator) / fan_in**0.5
            weight.add_(noise.to(weight.device))
