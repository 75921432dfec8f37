"""Several models of ``RecurrentA2C`` that are trained together, with their nets joined into one.

The models have the same options, and each has its own seed, net and environments. In an update, one
compiled call takes the rollouts of all models, and one backward pass computes the gradients of all
losses. Up to rounding, each model is trained as it would be by itself.

In shapes, S is the number of models and B the number of environments of each. The environments of
the first model come first, so that (T S B,) is an array (T, S, B) with flattened axes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.options import A2COptions
from plasticrl.agents.policies import PlasticPolicy, rescale
from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.rollout import (
    CompiledRollout,
    DeviceRollout,
    HostRollout,
    acts_in_rollouts,
)
from plasticrl.agents.stacked_linear import stack_linear
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.core.cells.plastic_rnn import PlasticRNN
from plasticrl.core.population import Population
from plasticrl.core.state import map_leaves
from plasticrl.runs import DivergedError, get_rng_state, set_rng_state

KINDS = (DeviceRollout, CompiledRollout)
"""The rollouts that take all steps in one call."""


class PopulationPolicy(PlasticPolicy):
    """The policies of S models, joined into one. Its parameters are copies of theirs, stacked.

    Args:
        members: the policies.
        n_rows: the number of environments of each model, B.
        observation_space, action_space, lr_schedule, use_sde: as SB3's algorithms pass them.
    """

    value_net: Any

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        members: Sequence[PlasticPolicy],
        n_rows: int,
        use_sde: bool = False,
    ) -> None:
        super().__init__(**members[0]._get_constructor_parameters() | {"lr_schedule": lr_schedule})
        self.n_rows = n_rows
        self.generators = [torch.Generator(self.device) for _ in members]
        self.core = Population([cast(PlasticRNN, member.core) for member in members])
        for name in ("mlp_extractor", "action_net", "value_net"):
            setattr(self, name, stack_linear([getattr(one, name) for one in members], n_rows))
        for name in ("value_mean", "value_std"):
            self.register_buffer(name, torch.stack([getattr(one, name) for one in members]))
        make_optimizer: Any = self.optimizer_class
        self.optimizer = make_optimizer(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def by_net(self, values: Tensor) -> Tensor:
        """Return the values (T S B,) of all environments as one row for each net, (S, T B)."""
        rows = values.view(-1, len(self.generators), self.n_rows)
        return rows.transpose(0, 1).flatten(1)

    def values_of(self, latent: Tensor) -> Tensor:
        outputs: Tensor = self.value_net(self.mlp_extractor.forward_critic(latent))
        rows = outputs.view(-1, len(self.generators), self.n_rows)
        return (rows * self.value_std[:, None] + self.value_mean[:, None]).view(-1, 1)

    def _rescale_values(self, returns: Tensor, rate: float) -> None:
        layer = self.value_net
        own = (self.value_mean, self.value_std, layer.weight, layer.bias, self.by_net(returns))
        for moments_layer_and_returns in zip(*own, strict=True):
            rescale(*moments_layer_and_returns, rate)

    def uniforms(self, n_steps: int, n_rows: int) -> Tensor:
        own = [
            torch.rand(n_steps, self.n_rows, generator=generator, device=self.device)
            for generator in self.generators
        ]
        return torch.cat(own, dim=1)


class PopulationA2C(RecurrentA2C):
    """Trains S models of ``RecurrentA2C`` together.

    This object is a model itself, with a ``PopulationPolicy``. The state of the training is in this
    object, and is copied to the models when they need it; see ``as_if_alone``.

    Args:
        models: untrained models with equal options, whose cores are ``PlasticRNN`` and whose
            rollouts take all steps in one call.
        random_states: for each model, the state of the global random number generators with which
            its training begins, as ``get_rng_state`` returns it.
        env: S B environments like those of the models. Their states are overwritten.

    Raises:
        ValueError: the models cannot be trained together.
    """

    policy: PopulationPolicy

    def __init__(
        self, models: Sequence[RecurrentA2C], random_states: Sequence[Any], env: BatchVecEnv
    ) -> None:
        first = models[0]
        _check(models, env)
        super().__init__(
            PopulationPolicy,
            env,
            **_options(first),
            policy_kwargs={"members": [one.policy for one in models], "n_rows": first.n_envs},
            device=first.device,
        )
        self.models, self.random_states = list(models), list(random_states)
        for generator, state in zip(self.policy.generators, random_states, strict=True):
            set_rng_state(state)
            generator.set_state(_default_state(generator.device))
        self._rows = [
            slice(index * first.n_envs, (index + 1) * first.n_envs) for index in range(len(models))
        ]

    def learn_together(
        self, total_timesteps: int, callbacks: Sequence[MaybeCallback], callback: BaseCallback
    ) -> None:
        """Train every model for ``total_timesteps``.

        Args:
            callbacks: the callbacks of each model. They are called at the start and the end of the
                training and of each rollout, but not after single steps. When they are called,
                their model has the last rollout, the core's state after it, and the log. A callback
                that reads anything else of the model, such as its weights, must do so within
                ``as_if_alone``.
            callback: a callback that is called after the others. Its model is this object.

        Raises:
            ValueError: a callback has ``acts_in_rollouts``.
            DivergedError: as ``learn``; the message names the seed.
        """
        if any(map(acts_in_rollouts, [*callbacks, callback])):
            raise ValueError("models that are trained together take all steps of a rollout at once")
        own = []
        for index, (model, given) in enumerate(zip(self.models, callbacks, strict=True)):
            with self._random_numbers_of(index):
                own.append(model._setup_learn(total_timesteps, given, False)[1])
        try:
            self.learn(len(own) * total_timesteps, CallbackList([_OwnCallbacks(own), callback]), 1)
        except DivergedError as error:
            if (seed := self._diverged_seed()) is not None:
                error.args = (f"seed {seed}: {error}",)
            raise
        for index in range(len(own)):
            self._update_model(index)

    def _diverged_seed(self) -> int | None:
        """Return the seed of the first model whose gradient or weights are not finite, or None."""
        parameters = list(self.policy.parameters())
        numbers = [one.grad for one in parameters if one.grad is not None] + parameters
        finite = torch.stack([one.isfinite().flatten(1).all(dim=1) for one in numbers]).all(dim=0)
        return None if finite.all() else self.models[int(finite.long().argmin())].seed

    @contextmanager
    def as_if_alone(self, index: int) -> Iterator[None]:
        """Make a context in which the model with this index is as if it were trained by itself.

        The model and the global random number generators then have the same state as in that case.
        The generators keep the model's states afterward.
        """
        self._update_model(index)
        with self._random_numbers_of(index):
            yield

    @contextmanager
    def _random_numbers_of(self, index: int) -> Iterator[None]:
        """Make a context in which the global random number generators are those of one model."""
        generator = self.policy.generators[index]
        set_rng_state(self.random_states[index])
        _set_default_state(generator.device, generator.get_state())
        try:
            yield
        finally:
            self.random_states[index] = get_rng_state()
            generator.set_state(_default_state(generator.device))

    def _update_model(self, index: int) -> None:
        """Copy one model's part of the training's state to the model."""
        model, rows = self.models[index], self._rows[index]
        state = _batch_env(self).get_state()
        _batch_env(model).set_state({name: leaf[rows].copy() for name, leaf in state.items()})
        model._n_updates = self._n_updates
        model._last_obs = self._last_obs[rows].copy()  # type: ignore[index]
        model._last_episode_starts = self._last_episode_starts[rows].copy()  # type: ignore[index]
        if self._last_state is not None:
            model._last_state = map_leaves(Tensor.clone, _take(rows, self._last_state))
        self._update_policy(model.policy, index)

    def _update_policy(self, policy: PlasticPolicy, index: int) -> None:
        """Copy weights, the scale of the values and the optimizer's state to one model's policy."""
        moments = self.policy.optimizer.state
        for parameter, stacked in self._update_weights(policy, index):
            if stacked in moments:  # not before the first update
                policy.optimizer.state[parameter] = {
                    key: value[index].clone() if value.dim() else value.clone()
                    for key, value in moments[stacked].items()
                }

    @torch.no_grad()
    def _update_weights(self, policy: PlasticPolicy, index: int) -> list[tuple[Tensor, Tensor]]:
        """Copy the weights; return pairs of a weight and the stacked weights of all models."""
        for name in ("value_mean", "value_std"):
            getattr(policy, name).copy_(getattr(self.policy, name)[index])
        policy.n_rescaled.copy_(self.policy.n_rescaled)
        pairs: list[tuple[Tensor, Tensor]] = []
        for name, parameter in policy.named_parameters():
            own = name.removeprefix("core.")
            place = name if own == name else f"core.stacked.{own}"
            pairs.append((parameter, self.policy.get_parameter(place)))
            parameter.copy_(pairs[-1][1][index])
        return pairs

    def _fill_in(self, buffer: RolloutBuffer, outputs: Tensor, state: Any) -> None:
        """Complete the buffer, and make the models' buffers views of their own rows."""
        super()._fill_in(buffer, outputs, state)
        arrays = {name: value for name, value in vars(buffer).items() if _has_rows(value)}
        for model, rows in zip(self.models, self._rows, strict=True):
            for name, array in arrays.items():
                setattr(model.rollout_buffer, name, array[:, rows])
            model.num_timesteps = self.num_timesteps // len(self.models)
            model._last_state = _take(rows, state)
            model._modulating_activities = [
                None if activity is None else activity[:, rows]
                for activity in self._modulating_activities
            ]

    def _kind_of_rollout(self, env: VecEnv, callback: BaseCallback) -> type[HostRollout]:
        return next(kind for kind in KINDS if kind.possible(self.policy, env))

    def _check_rewards(self, rewards: np.ndarray) -> None:
        for model, rows in zip(self.models, self._rows, strict=True):
            try:
                super()._check_rewards(rewards[..., rows])
            except DivergedError as error:
                error.args = (f"seed {model.seed}: {error}",)
                raise

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log of each model, which has statistics of its weights."""
        for index, model in enumerate(self.models):
            self._update_weights(model.policy, index)
            model.dump_logs(iteration)

    def _setup_learn(self, *arguments: Any, **options: Any) -> tuple[int, BaseCallback]:
        total, callback = super()._setup_learn(*arguments, **options)
        states = [_batch_env(model).get_state() for model in self.models]
        _batch_env(self).set_state(
            {name: np.concatenate([state[name] for state in states]) for name in states[0]}
        )
        self._last_obs = np.concatenate([model._last_obs for model in self.models])
        return total, callback

    def _update_info_buffer(
        self, infos: list[dict[str, Any]], dones: np.ndarray | None = None
    ) -> None:
        for model, rows in zip(self.models, self._rows, strict=True):
            model._update_info_buffer(infos[rows], None if dones is None else dones[rows])

    def _update_learning_rate(self, optimizers: Any) -> None:
        super()._update_learning_rate(optimizers)
        for model in self.models:
            model._current_progress_remaining = self._current_progress_remaining
            model._update_learning_rate(model.policy.optimizer)

    def _log_update(self, values: Mapping[str, float | Tensor]) -> None:
        for index, model in enumerate(self.models):
            model._n_updates = self._n_updates
            model._log_update({name: value[index] for name, value in values.items()})  # type: ignore[index]

    def _mean(self, values: Tensor) -> Tensor:
        """The mean (S,) for each model, of values (T S B,)."""
        return self.policy.by_net(values).mean(dim=1)

    def _normalized(self, advantages: Tensor) -> Tensor:
        normalized = [
            super(PopulationA2C, self)._normalized(x) for x in self.policy.by_net(advantages)
        ]
        rows = torch.stack(normalized).view(len(normalized), -1, self.policy.n_rows)
        return rows.transpose(0, 1).flatten()

    def _clip_gradient(self) -> Tensor:
        """Clip the gradient of each model, and return the norms before, (S,)."""
        gradients = [one.grad for one in self.policy.parameters() if one.grad is not None]
        norms: Tensor = torch.stack([one.flatten(1).norm(dim=1) for one in gradients]).norm(dim=0)
        factors = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
        return norms

    def _progress(self) -> str:
        return f"(after {self.num_timesteps // len(self.models):,} steps of each seed)"


class _OwnCallbacks(BaseCallback):
    """Calls the callback of each model, but not after single steps."""

    def __init__(self, callbacks: Sequence[BaseCallback]) -> None:
        super().__init__()
        self.callbacks = callbacks

    def _on_training_start(self) -> None:
        for callback in self.callbacks:
            callback.on_training_start(self.locals, self.globals)

    def _on_rollout_start(self) -> None:
        for callback in self.callbacks:
            callback.on_rollout_start()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        for callback in self.callbacks:
            callback.on_rollout_end()

    def _on_training_end(self) -> None:
        for callback in self.callbacks:
            callback.on_training_end()


def _default_state(device: torch.device) -> Tensor:
    """Return the state of torch's default random number generator for a device."""
    cuda = device.type == "cuda"
    return torch.cuda.get_rng_state(device) if cuda else torch.get_rng_state()


def _set_default_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def _take(rows: slice, state: Any) -> Any:
    return map_leaves(lambda leaf: leaf[rows], state)


def _check(models: Sequence[RecurrentA2C], env: BatchVecEnv) -> None:
    """Raise ``ValueError`` if models cannot be trained together."""
    first = models[0]
    kinds = [
        {"n_envs": one.n_envs}
        | {name: value for name, value in _options(one).items() if not callable(value)}
        for one in models
    ]
    if any(model.num_timesteps for model in models) or any(kind != kinds[0] for kind in kinds):
        raise ValueError("models that are trained together must be untrained, of equal options")
    if first.bootstrap_truncated or not any(kind.possible(first.policy, env) for kind in KINDS):
        raise ValueError("models cannot be trained together if their rollouts take single steps")


def _options(model: RecurrentA2C) -> dict[str, Any]:
    return {item.name: getattr(model, item.name) for item in fields(A2COptions)}


def _batch_env(model: RecurrentA2C) -> BatchVecEnv:
    assert isinstance(model.env, BatchVecEnv)
    return model.env


def _has_rows(value: Any) -> bool:
    """Whether an attribute of a rollout buffer is an array (T, B, ...)."""
    return isinstance(value, np.ndarray) and value.ndim > 1
