"""Recurrent advantage actor-critic (A2C; Mnih et al. 2016, arXiv 1602.01783).

Each update minimizes, for the policy pi, the value estimate V, the generalized advantage A
(Schulman et al. 2016, arXiv 1506.02438) and the return R, which is A (before normalization) plus
the value estimate at the time of the rollout:

    loss = mean over steps and environments of
           - log pi(a) A + vf_coef (R - V)^2 + ent_coef * concentration

The concentration of pi is minus Shannon's entropy, or Simpson's index, which is the sum of squared
probabilities (Miconi et al. 2019, arXiv 2002.10585, section 4.2).

A rollout stores the recurrent state at its start only. The stepper that acts in the rollout can
record the steps; ``train`` then gets the core's outputs, with gradient, by replaying them (see
``plasticrl.core.stepper``). Without a record, ``train`` runs the core over the rollout again.

In shapes, T is the number of steps, B of environments and N of the core's outputs. An array
(T B, ...) is an array (T, B, ...) with its first two axes flattened.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, PyTorchObs, Schedule
from stable_baselines3.common.utils import explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.acting import in_full_precision
from plasticrl.agents.divergence import describe_gradient, describe_rewards
from plasticrl.agents.failures import is_raised_by_reset, raise_environment_error
from plasticrl.agents.options import A2COptions
from plasticrl.agents.policies import (
    CnnPlasticPolicy,
    MultiInputPlasticPolicy,
    PlasticPolicy,
    simpson_concentration,
)
from plasticrl.agents.rollout import DeviceRollout, HostRollout, Step
from plasticrl.agents.spaces import check_spaces
from plasticrl.agents.statistics import plasticity_statistics
from plasticrl.core.state import leaves, map_leaves
from plasticrl.core.stock import fingerprint
from plasticrl.core.unroll import Stepper
from plasticrl.envs.arrays import any_of
from plasticrl.runs import DivergedError, UsageError, UserCodeError, notify_compilation


class RecurrentA2C(OnPolicyAlgorithm):
    """A2C for policies with a recurrent core.

    Args:
        policy: "PlasticPolicy", "CnnPlasticPolicy", "MultiInputPlasticPolicy", or a subclass of
            ``PlasticPolicy``.
        env: an environment, a vectorized environment, or the id of an environment.
        learning_rate: Adam's step size, or a function of the remaining progress.
        n_steps, bptt_length, gamma, gae_lambda, ent_coef, entropy, vf_coef, max_grad_norm,
        normalize_advantage, bootstrap_truncated: see ``plasticrl.agents.options.A2COptions``.
        stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device: as in SB3.

    Raises:
        ValueError: for a value outside its range, or a policy that is not a ``PlasticPolicy``.
    """

    policy: PlasticPolicy
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "PlasticPolicy": PlasticPolicy,
        "CnnPlasticPolicy": CnnPlasticPolicy,
        "MultiInputPlasticPolicy": MultiInputPlasticPolicy,
    }

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = A2COptions.learning_rate,
        n_steps: int = A2COptions.n_steps,
        bptt_length: int | None = A2COptions.bptt_length,
        gamma: float = A2COptions.gamma,
        gae_lambda: float = A2COptions.gae_lambda,
        ent_coef: float = A2COptions.ent_coef,
        entropy: Literal["shannon", "simpson"] = A2COptions.entropy,
        vf_coef: float = A2COptions.vf_coef,
        max_grad_norm: float = A2COptions.max_grad_norm,
        normalize_advantage: bool = A2COptions.normalize_advantage,
        bootstrap_truncated: bool = A2COptions.bootstrap_truncated,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        self.bptt_length = bptt_length
        self.entropy = entropy
        self.normalize_advantage = normalize_advantage
        self.bootstrap_truncated = bootstrap_truncated
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._check_options()
        super()._setup_model()
        self._last_state: Any = None
        self._start_state: Any = None
        self._stepper: Stepper[Any] | None = None
        self._modulating: Tensor | None = None

    def _check_options(self) -> None:
        if not issubclass(self.policy_class, PlasticPolicy):
            raise UsageError(
                f"RecurrentA2C needs a policy with a recurrent core, not "
                f"{self.policy_class.__name__}: use {', '.join(self.policy_aliases)} or a subclass"
            )
        options = {item.name: getattr(self, item.name) for item in fields(A2COptions)}
        if callable(self.learning_rate):  # a schedule
            del options["learning_rate"]
        A2COptions(**options)
        check_spaces(self.observation_space, self.action_space)
        self._check_policy_fits()
        if self.entropy == "simpson" and isinstance(self.action_space, spaces.Box):
            raise UsageError(
                "entropy must be 'shannon' in an environment with continuous actions, not 'simpson'"
            )

    def _check_policy_fits(self) -> None:
        """Raise ``UsageError`` if SB3's features extractor of the policy is for other spaces."""
        given = self.policy_kwargs.get("features_extractor_class")
        extractor = given or self.policy_class.default_features_extractor  # type: ignore[attr-defined]
        is_dict = isinstance(self.observation_space, spaces.Dict)
        fitting = "MultiInputPlasticPolicy" if is_dict else "PlasticPolicy"
        of_dicts = {CombinedExtractor: True, FlattenExtractor: False, NatureCNN: False}
        if of_dicts.get(extractor, is_dict) != is_dict:
            raise UsageError(
                f"{self.policy_class.__name__} does not fit the observation space "
                f"{self.observation_space}: use {fitting}"
            )

    def _excluded_save_params(self) -> list[str]:
        # The state of the environments is not saved, so a loaded model begins new episodes.
        own = [
            "_last_obs",
            "_last_episode_starts",
            "_last_state",
            "_start_state",
            "_stepper",
            "_modulating",
        ]
        return [*super()._excluded_save_params(), *own]

    @in_full_precision
    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Fill the buffer with ``n_rollout_steps`` steps of every environment.

        Values and log-probabilities are computed after the last step, so the buffer has them when
        ``on_rollout_end`` is called, but not yet when ``on_step`` is. If a ``DeviceRollout`` is
        possible and ``bootstrap_truncated`` is False, all steps are taken on the policy's device
        before ``on_step`` is called for the first one.

        Returns False if a callback stopped the training.
        """
        assert self._last_obs is not None
        assert self._last_episode_starts is not None
        self.policy.set_training_mode(False)
        self.policy.check_overrides()
        policy_before = fingerprint(self.policy)
        rollout_buffer.reset()
        self._stepper = None
        state = self._carried_state(env.num_envs)
        self._start_state = map_leaves(Tensor.clone, state)
        callback.on_rollout_start()

        kind = DeviceRollout if self._stays_on_device(env) else HostRollout
        last = (self._last_obs, self._last_episode_starts)
        n_recorded = n_rollout_steps if self._may_replay() else 0
        rollout = kind(self.policy, env, state, *last, n_rollout_steps, n_recorded)
        for n_steps, step in enumerate(self._with_progress_in_errors(rollout)):
            obs, starts, actions, new_obs, rewards, dones, infos = step
            clipped_actions = self.policy.clip(actions)
            self.num_timesteps += env.num_envs

            callback.update_locals(locals())
            if not callback.on_step():
                # A later call of learn() continues from the observations that env returned last.
                self._last_obs, self._last_episode_starts = rollout.obs, rollout.episode_starts
                return False
            if problem := describe_rewards(rewards):
                raise DivergedError(f"{problem} {self._progress()}")
            if any_of(dones):
                self._update_info_buffer(infos, dones)
                if self.bootstrap_truncated:
                    after = self._values_after_truncation(dones, infos, state)
                    rewards = rewards + self.gamma * after
            _store(rollout_buffer, n_steps, obs, starts, actions, rewards)
            self._last_obs, self._last_episode_starts = new_obs, dones

        if fingerprint(self.policy) != policy_before:
            raise UsageError(
                "the policy's weights, parts or hooks were changed while it acted in a rollout, so "
                "the loss would not fit the actions: change them in a callback's _on_rollout_start "
                "or _on_rollout_end, not in _on_step"
            )
        self._stepper, self._modulating = rollout.stepper, rollout.modulating
        self._fill_in(rollout_buffer, rollout.outputs.flatten(0, 1), state)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _with_progress_in_errors(self, rollout: Iterable[Step]) -> Iterator[Step]:
        """Yield the rollout's steps; say in a ``FloatingPointError`` how long training has run."""
        try:
            yield from rollout
        except (DivergedError, UserCodeError) as error:
            error.args = (f"{error} {self._progress()}",)
            raise

    def _progress(self) -> str:
        return f"(after {self.num_timesteps:,} steps)"

    def _may_replay(self) -> bool:
        """Whether ``train`` can replay the steps that a stepper records in the rollout.

        A replay runs the gradient through the whole rollout, so ``bptt_length`` must not cut it.
        It has no gradient for the core's inputs, so the features extractor must have no weights.
        """
        whole = self.bptt_length is None or self.bptt_length == self.n_steps
        return whole and self.policy.has_stock_extractor

    def _stays_on_device(self, env: VecEnv) -> bool:
        """Whether rollouts are ``DeviceRollout``s, which take all steps before yielding the first.

        The bootstrap at a time limit needs the core's state after that step, but after a
        ``DeviceRollout`` only the state after the last step is left.
        """
        return DeviceRollout.possible(self.policy, env) and not self.bootstrap_truncated

    @torch.no_grad()
    def _fill_in(self, buffer: RolloutBuffer, outputs: Tensor, state: Any) -> None:
        """Complete the buffer: values, log-probabilities, returns and advantages.

        Args:
            outputs: the core's outputs, (T B, N).
            state: the core's state after the last step.
        """
        values, log_probs = self.policy.evaluate_outputs(outputs, self._rollout_actions())
        buffer.values[:] = values.view(-1, buffer.n_envs).cpu()
        buffer.log_probs[:] = log_probs.view(-1, buffer.n_envs).cpu()
        dones = np.asarray(self._last_episode_starts)
        obs = obs_as_tensor(self._last_obs, self.device)  # type: ignore[arg-type]
        starts = torch.as_tensor(dones, device=self.device)
        last_values = self.policy.predict_values(obs, state, starts)
        buffer.compute_returns_and_advantage(last_values=last_values, dones=dones)

    def _carried_state(self, n_envs: int) -> Any:
        """The state after the last rollout; the initial state if ``n_envs`` has changed since."""
        state = self._last_state
        if state is None or any(leaf.shape[0] != n_envs for leaf in leaves(state)):
            self._last_state = self.policy.initial_state(n_envs)
        return self._last_state

    def _values_after_truncation(
        self, dones: np.ndarray, infos: list[dict[str, Any]], state: Any
    ) -> np.ndarray:
        """Return V at the last observation of each episode that a time limit ended, (B,), else 0.

        Args:
            dones: (B,), true where an episode ended in this step.
            infos: one for each environment.
            state: the core's state after this step, with which the episode would have continued.
        """
        values = np.zeros(len(dones), dtype=np.float32)
        rows = [
            row
            for row in np.flatnonzero(dones)
            if infos[row].get("TimeLimit.truncated")
            and infos[row].get("terminal_observation") is not None
        ]
        if rows:
            last = [infos[row]["terminal_observation"] for row in rows]
            obs = self.policy.obs_to_tensor(_stack(last))[0]
            with torch.no_grad():
                cut = map_leaves(lambda leaf: leaf[rows], state)
                values[rows] = self.policy.predict_values(obs, cut).flatten().cpu().numpy()
        return values

    def train(self) -> None:
        """Take one gradient step on the whole rollout.

        Raises:
            DivergedError: if the gradient is not finite; the weights are then unchanged.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        buffer = self.rollout_buffer
        advantages = self._to_tensor(buffer.advantages).flatten()
        if self.normalize_advantage and advantages.numel() > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

        values, log_prob, distribution = self.policy.evaluate_rollout(
            self._rollout_observations(),
            self._rollout_actions(),
            self._start_state,
            torch.as_tensor(buffer.episode_starts, device=self.device),
            self.bptt_length,
            self._stepper,
        )
        self._stepper = None
        policy_loss = -(advantages * log_prob).mean()
        value_loss = F.mse_loss(self._to_tensor(buffer.returns).flatten(), values.flatten())
        entropy_loss = self._concentration(distribution, log_prob).mean()
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss

        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        grad_norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not torch.isfinite(grad_norm):
            losses = {"policy": policy_loss, "value": value_loss, "entropy": entropy_loss}
            raise DivergedError(f"{describe_gradient(self.policy, losses)} {self._progress()}")
        self.policy.optimizer.step()
        # Its graph would keep the policy from being copied.
        self.policy.action_dist.distribution = None  # type: ignore[assignment]

        self._n_updates += 1
        self._log_update(policy_loss, value_loss, entropy_loss, grad_norm)

    def _concentration(self, distribution: Distribution, log_prob: Tensor) -> Tensor:
        if self.entropy == "simpson":
            return simpson_concentration(distribution)
        entropy = distribution.entropy()
        # Without a formula for the entropy, SB3 estimates it by -log_prob, as here.
        return log_prob if entropy is None else -entropy

    def _to_tensor(self, array: np.ndarray) -> Tensor:
        """Flatten an array (T, B, ...) of the buffer to a tensor (T B, ...) on the device."""
        buffer = self.rollout_buffer
        if buffer.generator_ready:  # a callback has called get(), which makes arrays (B T, ...)
            array = array.reshape(buffer.n_envs, -1, *array.shape[1:]).swapaxes(0, 1)
        return torch.as_tensor(array.reshape(-1, *array.shape[2:]), device=self.device)

    def _rollout_observations(self) -> PyTorchObs:
        buffer = self.rollout_buffer
        space = self.observation_space
        if isinstance(buffer, DictRolloutBuffer):
            return {
                key: self._to_tensor(array).view(-1, *buffer.obs_shape[key])
                for key, array in buffer.observations.items()
            }
        assert space.shape is not None
        return self._to_tensor(buffer.observations).view(-1, *space.shape)

    def _rollout_actions(self) -> Tensor:
        actions = self._to_tensor(self.rollout_buffer.actions)
        if isinstance(self.action_space, spaces.Discrete):
            return actions.long().flatten()
        return actions.float()

    def _log_update(
        self, policy_loss: Tensor, value_loss: Tensor, entropy_loss: Tensor, grad_norm: Tensor
    ) -> None:
        buffer = self.rollout_buffer
        variance = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        record = self.logger.record
        record("train/n_updates", self._n_updates, exclude="tensorboard")
        record("train/explained_variance", variance)
        record("train/entropy_loss", entropy_loss.item())
        record("train/policy_loss", policy_loss.item())
        record("train/value_loss", value_loss.item())
        record("train/grad_norm", grad_norm.item())
        if hasattr(self.policy, "log_std"):
            record("train/std", torch.exp(self.policy.log_std).mean().item())

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log, with statistics of the plastic connections after the last rollout."""
        statistics = plasticity_statistics(self.policy.core, self._last_state, self._modulating)
        for name, value in statistics.items():
            self.logger.record(f"plastic/{name}", value)
        super().dump_logs(iteration)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "RecurrentA2C",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> "RecurrentA2C":
        """Train; see SB3's ``learn``."""
        options = (log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        with notify_compilation(self._notify):
            return super().learn(total_timesteps, callback, *options)

    def _notify(self, message: str) -> None:
        if self.verbose:
            print(message)

    def _setup_learn(self, *arguments: Any, **options: Any) -> tuple[int, BaseCallback]:
        try:
            return super()._setup_learn(*arguments, **options)
        except Exception as error:
            if self.env is not None and is_raised_by_reset(error):
                raise_environment_error(self.env, error)
            raise

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        given: Any = env
        if isinstance(given, VectorEnv):
            raise UsageError(
                "this is a vector environment of Gymnasium, not of Stable-Baselines3: make the "
                "environments with plasticrl.agents.make_vec_env(env_id, n_envs)"
            )
        if isinstance(given, gym.Env):
            check_spaces(given.observation_space, given.action_space)
        return OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            there = ", ".join(self.policy_aliases)
            raise UsageError(
                f"there is no policy {policy_name!r} with a recurrent core: use {there}"
            )
        return super()._get_policy_from_name(policy_name)


def _store(
    buffer: RolloutBuffer,
    step: int,
    obs: Any,
    episode_starts: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
) -> None:
    """Add a step as ``buffer.add`` does, but without values and log-probabilities."""
    if isinstance(buffer, DictRolloutBuffer):
        for key, stored in buffer.observations.items():
            stored[step] = obs[key].reshape(stored.shape[1:])
    else:
        buffer.observations[step] = obs.reshape(buffer.observations.shape[1:])
    buffer.actions[step] = actions.reshape(buffer.actions.shape[1:])
    buffer.rewards[step] = rewards
    buffer.episode_starts[step] = episode_starts
    buffer.pos = step + 1
    buffer.full = buffer.pos == buffer.buffer_size


def _stack(observations: list[Any]) -> Any:
    """Stack single observations, which are arrays or dicts of arrays, to a batch."""
    if isinstance(observations[0], dict):
        return {key: np.stack([obs[key] for obs in observations]) for key in observations[0]}
    return np.stack(observations)
