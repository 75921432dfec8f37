"""The base class of the recurrent on-policy algorithms: rollouts, checks and logging.

Only the recurrent state at the start of a rollout is stored. The update runs the core over the
rollout again from this state, or replays the steps that were recorded while the policy acted (see
``plasticrl.core.stepper``).

In shapes, T is the number of steps, B the number of environments, and N the size of the core's
output. An array (T B, ...) is an array (T, B, ...) with its first two axes flattened.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from io import BufferedIOBase
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, PyTorchObs
from stable_baselines3.common.utils import explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.acting import compiled_heads, in_full_precision
from plasticrl.agents.distributed import ALONE, Ranks, averaging_gradients
from plasticrl.agents.divergence import describe_gradient, describe_rewards
from plasticrl.agents.failures import is_raised_by_reset, raise_environment_error
from plasticrl.agents.options import (
    SCHEDULES,
    OnPolicyOptions,
    check_learning_rate,
    check_not_negative,
)
from plasticrl.agents.policies import (
    CnnPlasticPolicy,
    MultiInputPlasticPolicy,
    PlasticPolicy,
    simpson_concentration,
)
from plasticrl.agents.rollout import (
    BatchRollout,
    CompiledRollout,
    DeviceRollout,
    HostRollout,
    Step,
    acts_in_rollouts,
)
from plasticrl.agents.spaces import check_extractor, check_spaces
from plasticrl.agents.statistics import plasticity_statistics
from plasticrl.core.state import leaves, map_leaves
from plasticrl.core.stock import Snapshot
from plasticrl.core.unroll import Stepper
from plasticrl.envs.arrays import any_of
from plasticrl.runs import DivergedError, UsageError, UserCodeError, notify_compilation

Evaluation: TypeAlias = tuple[Tensor, Tensor, Distribution]
"""Values (T B, 1), log-probabilities (T B,) and distributions of a rollout, with gradient."""


class Experience(NamedTuple):
    """A rollout to learn from."""

    observations: PyTorchObs
    """(T B, ...), or a dict of such tensors."""
    actions: Tensor
    """(T B, ...)."""
    action_masks: Tensor | None
    """(T B, A) bool, true where an action was possible; None if all were."""
    values: Tensor
    """(T B,), at the time of the rollout."""
    log_probs: Tensor
    """(T B,), of the actions at the time of the rollout."""
    advantages: Tensor
    """(T B,)."""
    returns: Tensor
    """(T B,)."""
    episode_starts: Tensor
    """(T, B), true where the observation is the first of an episode."""
    start_state: Any
    """The core's state before the first step, for B environments."""

    def of(self, environments: Tensor) -> "Experience":
        """Return the experience of some environments, given their indices (b,)."""
        n_steps, n_envs = self.episode_starts.shape

        def select(flat: Tensor) -> Tensor:
            return flat.view(n_steps, n_envs, *flat.shape[1:])[:, environments].flatten(0, 1)

        observed = self.observations
        return Experience(
            observations=(
                {name: select(part) for name, part in observed.items()}
                if isinstance(observed, dict)
                else select(observed)
            ),
            actions=select(self.actions),
            action_masks=None if self.action_masks is None else select(self.action_masks),
            values=select(self.values),
            log_probs=select(self.log_probs),
            advantages=select(self.advantages),
            returns=select(self.returns),
            episode_starts=self.episode_starts[:, environments],
            start_state=map_leaves(lambda leaf: leaf[environments], self.start_state),
        )


class RecurrentOnPolicyAlgorithm(OnPolicyAlgorithm):
    """The base class of the algorithms for policies with a recurrent core.

    A subclass sets ``options_type``, implements ``train``, and passes its options to ``__init__``.

    Args:
        policy: "PlasticPolicy", "CnnPlasticPolicy", "MultiInputPlasticPolicy", or a subclass of
            ``PlasticPolicy``.
        env: an environment, a vectorized environment, or the id of an environment.
        options: the values of the algorithm's options, by name; each becomes an attribute.
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
    options_type: ClassVar[type[OnPolicyOptions]]
    """The dataclass of the algorithm's options, which checks their values."""
    bptt_length: int | None
    entropy: str
    normalize_advantage: bool
    normalize_returns: bool
    core_lr_scale: float
    bootstrap_truncated: bool

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str,
        options: dict[str, Any],
        *,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        of_sb3 = ("learning_rate", "n_steps", "gamma", "gae_lambda", "ent_coef", "vf_coef")
        super().__init__(
            policy,
            env,
            **{name: options[name] for name in (*of_sb3, "max_grad_norm")},
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
        for name, value in options.items():
            setattr(self, name, value)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._check_options()
        super()._setup_model()
        self._last_state: Any = None
        self._start_state: Any = None
        self._stepper: Stepper[Any] | None = None
        self._modulating_activities: Sequence[Tensor | None] = ()
        self._masks: Tensor | None = None
        self.ranks = ALONE
        self._averaging: Callable[..., Evaluation] | None = None

    def distribute(self, ranks: Ranks) -> None:
        """Train together with other processes, each of which has a share of the environments.

        Call it before ``learn`` on all ranks, whose models have the same weights and seed.

        Raises:
            UsageError: the policy does not sample with the numbers of ``uniforms``, so that all
                ranks would draw the same actions.
        """
        if ranks.world_size > 1:
            assert self.env is not None
            on_device = DeviceRollout.possible(self.policy, self.env)
            if not compiled_heads(self.policy) and (not on_device or self.bootstrap_truncated):
                raise UsageError(
                    "several processes can only train a policy with discrete actions and standard "
                    "layers, and on a GPU with bootstrap_truncated=False"
                )
            self._averaging = averaging_gradients(self.policy, self.policy.evaluate_rollout)
        self.ranks = self.policy.ranks = ranks

    def _evaluate_rollout(self, *arguments: Any, **options: Any) -> Evaluation:
        """Call ``evaluate_rollout`` of the policy; gradients are averaged over the ranks."""
        evaluate = self._averaging or self.policy.evaluate_rollout
        return evaluate(*arguments, **options)

    def _check_options(self) -> None:
        if not issubclass(self.policy_class, PlasticPolicy):
            raise UsageError(
                f"{type(self).__name__} needs a policy with a recurrent core, not "
                f"{self.policy_class.__name__}: use {', '.join(self.policy_aliases)} or a subclass"
            )
        options = {item.name: getattr(self, item.name) for item in fields(self.options_type)}
        schedules = [name for name in SCHEDULES if callable(options.get(name))]
        self.options_type(**{name: options[name] for name in options if name not in schedules})
        check_extractor(self.policy_class, self.policy_kwargs, self.observation_space)
        if self.entropy == "simpson" and isinstance(self.action_space, spaces.Box):
            raise UsageError(
                "entropy must be 'shannon' in an environment with continuous actions, not 'simpson'"
            )

    @property
    def n_rollouts(self) -> int:
        """The number of rollouts so far."""
        return self.num_timesteps // (self.n_steps * self.n_envs * self.ranks.world_size)

    def _excluded_save_params(self) -> list[str]:
        # The state of the environments is not saved, so a loaded model begins new episodes.
        own = [
            "_last_obs",
            "_last_episode_starts",
            "_last_state",
            "_start_state",
            "_stepper",
            "_modulating_activities",
            "_masks",
            "_averaging",
            "ranks",
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
        ``on_rollout_end`` is called, but not yet when ``on_step`` is. A ``BatchRollout`` takes all
        steps before ``on_step`` is called for the first of them.

        Returns:
            False if a callback stopped the training.
        """
        assert self._last_obs is not None
        assert self._last_episode_starts is not None
        self.policy.set_training_mode(False)
        self.policy.check_overrides()
        rollout_buffer.reset()
        self._stepper = None
        state = self._carried_state(env.num_envs)
        self._start_state = map_leaves(Tensor.clone, state)
        callback.on_rollout_start()
        before = Snapshot(self.policy)

        rollout_class = self._kind_of_rollout(env, callback)
        last = (self._last_obs, self._last_episode_starts)
        n_recorded = n_rollout_steps if self._may_replay() else 0
        rollout = rollout_class(self.policy, env, state, *last, n_rollout_steps, n_recorded)
        try:
            # Callbacks read these variables by SB3's names; n_steps is the index of the step.
            for n_steps, step in enumerate(self._with_progress_in_errors(rollout)):
                obs, starts, actions, new_obs, rewards, dones, infos = step
                clipped_actions = self.policy.clip(actions)
                self.num_timesteps += env.num_envs * self.ranks.world_size

                callback.update_locals(_without_rollout(locals()))
                if not callback.on_step():
                    return False
                if any_of(dones):
                    self._update_info_buffer(infos, dones)
                if not isinstance(rollout, BatchRollout):
                    self._check_rewards(rewards)
                    if self.bootstrap_truncated and any_of(dones):
                        after = self._values_after_truncation(dones, infos, state)
                        rewards = rewards + self.gamma * after
                    _store(rollout_buffer, n_steps, step._replace(rewards=rewards))
                elif n_steps == 0:
                    self._check_rewards(rollout.taken.rewards)
                    _store(rollout_buffer, 0, rollout.taken)
                self._last_obs, self._last_episode_starts = new_obs, dones
        finally:
            # A later call of learn() continues from the last observations of env, even if a
            # callback has ended the rollout or raised an error.
            self._last_obs, self._last_episode_starts = rollout.obs, rollout.episode_starts

        if before.differs(self.policy):
            raise UsageError(
                "the policy's weights, parts or hooks were changed while it acted in a rollout, so "
                "the loss would not fit the actions: change them in a callback's "
                "_on_rollout_start, not in _on_step"
            )
        self._stepper, self._masks = rollout.stepper, rollout.masks
        self._modulating_activities = rollout.modulating_activities
        self._fill_in(rollout_buffer, rollout.outputs.flatten(0, 1), state)
        callback.update_locals(_without_rollout(locals()))
        callback.on_rollout_end()
        return True

    def _check_rewards(self, rewards: np.ndarray) -> None:
        """Raise ``DivergedError`` if a reward, original or normalized, is not finite."""
        vec_normalize = self.get_vec_normalize_env()
        original = rewards if vec_normalize is None else vec_normalize.get_original_reward()
        if problem := describe_rewards(original) or describe_rewards(rewards):
            raise DivergedError(f"{problem} {self._progress()}")

    def _with_progress_in_errors(self, rollout: Iterable[Step]) -> Iterator[Step]:
        """Yield the rollout's steps, and add the number of timesteps to the message of an error."""
        try:
            yield from rollout
        except (DivergedError, UserCodeError) as error:
            error.args = (f"{error} {self._progress()}",)
            raise

    def _progress(self) -> str:
        return f"(after {self.num_timesteps:,} steps)"

    def _may_replay(self) -> bool:
        """Whether ``train`` replays the steps that a stepper records in the rollout."""
        return False

    def _kind_of_rollout(self, env: VecEnv, callback: BaseCallback) -> type[HostRollout]:
        """Choose the fastest way to take a rollout's steps.

        In a ``BatchRollout``, all steps are taken before a callback is called, and only the state
        after the last one is kept. It is not used with ``bootstrap_truncated``, which needs the
        state after a truncated step, nor with a callback that acts in rollouts.
        """
        if not self.bootstrap_truncated and not acts_in_rollouts(callback):
            for kind in (DeviceRollout, CompiledRollout):
                if kind.possible(self.policy, env):
                    return kind
        return HostRollout

    @torch.no_grad()
    def _fill_in(self, buffer: RolloutBuffer, outputs: Tensor, state: Any) -> None:
        """Fill the buffer's values, log-probabilities, returns and advantages.

        Args:
            outputs: the core's outputs, (T B, N).
            state: the core's state after the last step.
        """
        values, log_probs = self.policy.evaluate_outputs(
            outputs, self._rollout_actions(), self._masks
        )
        buffer.values[:] = values.view(-1, buffer.n_envs).cpu()
        buffer.log_probs[:] = log_probs.view(-1, buffer.n_envs).cpu()
        dones = np.asarray(self._last_episode_starts)
        obs = obs_as_tensor(self._last_obs, self.device)  # type: ignore[arg-type]
        starts = torch.as_tensor(dones, device=self.device)
        last_values = self.policy.predict_values(obs, state, starts)
        buffer.compute_returns_and_advantage(last_values=last_values, dones=dones)

    def _carried_state(self, n_envs: int) -> Any:
        """Return the state after the last rollout; the initial state if ``n_envs`` has changed."""
        state = self._last_state
        if state is None or any(leaf.shape[0] != n_envs for leaf in leaves(state)):
            self._last_state = self.policy.initial_state(n_envs)
        return self._last_state

    def _values_after_truncation(
        self, dones: np.ndarray, infos: list[dict[str, Any]], state: Any
    ) -> np.ndarray:
        """Return the values (B,) of the last observations of truncated episodes, and 0 elsewhere.

        Args:
            dones: (B,), true where an episode ended in this step.
            infos: one for each environment.
            state: the core's state after this step.
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
                states = map_leaves(lambda leaf: leaf[rows], state)
                values[rows] = self.policy.predict_values(obs, states).flatten().cpu().numpy()
        return values

    def current_ent_coef(self) -> float:
        """Return the weight of the entropy term, which may be a schedule, at this time.

        Raises:
            UsageError: the schedule has a negative value, or one that is not finite.
        """
        weight = self.ent_coef
        if callable(weight):
            weight = weight(self._current_progress_remaining)
        check_not_negative(ent_coef=weight)
        return float(weight)

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of ``losses``, which has the keys policy, value and entropy."""
        entropy = self.current_ent_coef() * losses["entropy"]
        value = self.vf_coef * losses["value"]
        value = value / self.policy.value_std**2  # so it is the loss of normalized values
        return losses["policy"] + entropy + value

    def _minimize(self, losses: dict[str, Tensor]) -> Tensor:
        """Take a gradient step on the loss, and return the gradient's norm.

        Raises:
            DivergedError: the gradient is not finite; the weights are then unchanged.
        """
        loss = self._total(losses)
        self.policy.optimizer.zero_grad()
        # A PopulationA2C has a loss and a norm for each model.
        loss.sum().backward()  # type: ignore[no-untyped-call]
        grad_norm = self._clip_gradient()
        if not torch.isfinite(grad_norm).all():
            raise DivergedError(f"{describe_gradient(self.policy, losses)} {self._progress()}")
        self._step_optimizer()
        # The distribution refers to the autograd graph, so copy.deepcopy(policy) would fail.
        self.policy.action_dist.distribution = None  # type: ignore[assignment]
        return grad_norm

    def _clip_gradient(self) -> Tensor:
        """Clip the gradient's norm to ``max_grad_norm``, and return what it was before."""
        return torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)

    @torch.no_grad()
    def _step_optimizer(self) -> None:
        """Take the optimizer's step, scaled by ``core_lr_scale`` for the core's weights."""
        core = list(self.policy.core.parameters()) if self.core_lr_scale != 1 else []
        before = [weight.clone() for weight in core]
        self.policy.optimizer.step()
        for weight, old in zip(core, before, strict=True):
            weight.lerp_(old, 1 - self.core_lr_scale)

    def _normalized(self, advantages: Tensor) -> Tensor:
        """Scale to zero mean and unit standard deviation, if ``normalize_advantage`` is set."""
        if not self.normalize_advantage or advantages.numel() < 2:
            return advantages
        of_all = self.ranks.gather(advantages)
        return (advantages - of_all.mean()) / (of_all.std() + 1e-8)

    def _concentration(self, distribution: Distribution, log_prob: Tensor) -> Tensor:
        """Return the negative entropy (M,), or Simpson's concentration, of M distributions."""
        if self.entropy == "simpson":
            return simpson_concentration(distribution)
        entropy = distribution.entropy()
        # As in SB3, -log_prob estimates an entropy that has no closed form.
        return log_prob if entropy is None else -entropy

    def _experience(self) -> Experience:
        """The last rollout, as tensors on the device."""
        buffer = self.rollout_buffer
        return Experience(
            observations=self._rollout_observations(),
            actions=self._rollout_actions(),
            action_masks=self._masks,
            values=self._to_tensor(buffer.values).flatten(),
            log_probs=self._to_tensor(buffer.log_probs).flatten(),
            advantages=self._to_tensor(buffer.advantages).flatten(),
            returns=self._to_tensor(buffer.returns).flatten(),
            episode_starts=torch.as_tensor(buffer.episode_starts, device=self.device),
            start_state=self._start_state,
        )

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

    def _log_update(self, values: Mapping[str, float | Tensor]) -> None:
        """Record the metrics that SB3 records after an update, and ``values``."""
        buffer = self.rollout_buffer
        variance = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        record = self.logger.record
        record("train/n_updates", self._n_updates, exclude="tensorboard")
        record("train/explained_variance", variance)
        for name, value in values.items():
            record(f"train/{name}", value.item() if isinstance(value, Tensor) else value)
        if hasattr(self.policy, "log_std"):
            record("train/std", torch.exp(self.policy.log_std).mean().item())

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log, with statistics of the plastic connections after the last rollout."""
        cells = self.policy.actor_cells(self._last_state)
        statistics = plasticity_statistics(cells, self._modulating_activities)
        for name, value in statistics.items():
            self.logger.record(f"plastic/{name}", value)
        super().dump_logs(iteration)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "OnPolicyAlgorithm",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train; see SB3's ``learn``."""
        options = (log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        with notify_compilation(self._notify):
            return super().learn(total_timesteps, callback, *options)

    @classmethod
    def load(
        cls,
        path: str | Path | BufferedIOBase,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Load a model; see SB3's ``load``.

        The file does not contain the recurrent state of the episodes, nor, unlike SB3's files, the
        last observation, which would be of no use without it. New episodes therefore always begin,
        and ``force_reset=False`` gives a warning.
        """
        if not force_reset:
            warnings.warn(
                "force_reset=False has no effect in load: the file does not contain the recurrent "
                "state of the episodes, so new ones begin; to go on with the same episodes, keep "
                "the model and call set_env(env, force_reset=False)",
                stacklevel=2,
            )
        options = (custom_objects, print_system_info, force_reset)
        return super().load(path, env, device, *options, **kwargs)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions and the new state; see ``PlasticPolicy.predict``."""
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks)

    def _update_learning_rate(self, optimizers: Any) -> None:
        rate = self.lr_schedule(self._current_progress_remaining)
        check_learning_rate(learning_rate=rate)
        super()._update_learning_rate(optimizers)

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
        if isinstance(given, str):  # SB3 takes an id in __init__, but not in load
            raise UsageError(f"env must be an environment, not an id: give gymnasium.make({env!r})")
        if isinstance(given, VectorEnv):
            raise UsageError(
                "this is a vector environment of Gymnasium, not of Stable-Baselines3: make the "
                "environments with plasticrl.agents.make_vec_env(env_id, n_envs)"
            )
        check_spaces(given.observation_space, given.action_space)  # before SB3's own assertions
        return OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            names = ", ".join(self.policy_aliases)
            raise UsageError(
                f"there is no policy {policy_name!r} with a recurrent core: use {names}"
            )
        return super()._get_policy_from_name(policy_name)


def _without_rollout(variables: dict[str, Any]) -> dict[str, Any]:
    """Leave out the rollout, whose arrays would stay in memory as long as a callback does."""
    return {name: value for name, value in variables.items() if name != "rollout"}


def _store(buffer: RolloutBuffer, first: int, steps: Step) -> None:
    """Write steps into the buffer from index ``first`` on, without values and log-probabilities.

    Args:
        steps: arrays (B, ...) of one step, or (T, B, ...) of T steps.
    """
    end = first + (1 if steps.rewards.ndim == 1 else len(steps.rewards))

    def write(stored: np.ndarray, values: np.ndarray) -> None:
        stored[first:end] = values.reshape(-1, *stored.shape[1:])

    if isinstance(buffer, DictRolloutBuffer):
        for key, stored in buffer.observations.items():
            write(stored, steps.obs[key])
    else:
        write(buffer.observations, steps.obs)
    write(buffer.actions, steps.actions)
    write(buffer.rewards, steps.rewards)
    write(buffer.episode_starts, steps.episode_starts)
    buffer.pos = end
    buffer.full = end == buffer.buffer_size


def _stack(observations: list[Any]) -> Any:
    """Stack single observations, which are arrays or dicts of arrays, into a batch."""
    if isinstance(observations[0], dict):
        return {key: np.stack([obs[key] for obs in observations]) for key in observations[0]}
    return np.stack(observations)
