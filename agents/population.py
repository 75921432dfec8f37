"""Several models of ``RecurrentA2C`` that are trained together, with their nets as one.

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
from plasticrl.core.cells.population import Population
from plasticrl.core.state import map_leaves
from plasticrl.runs import DivergedError, get_rng_state, set_rng_state

KINDS = (DeviceRollout, CompiledRollout)
"""The rollouts that take all steps in one call."""


class PopulationPolicy(PlasticPolicy):
    """The policies of S models as one. Its parameters are theirs, copied and stacked.

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

    It is a model itself, with a ``PopulationPolicy``. Its state is copied to the models where that
    is needed; see ``turn``.

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
            slice(number * first.n_envs, (number + 1) * first.n_envs)
            for number in range(len(models))
        ]

    def learn_together(
        self, total_timesteps: int, callbacks: Sequence[MaybeCallback], callback: BaseCallback
    ) -> None:
        """Train every model for ``total_timesteps``.

        Args:
            callbacks: one for each model. They are called at the start and the end of the training
                and of rollouts, but not after single steps. The model then has the last rollout,
                its final state and the log; anything else of a model must be read in its ``turn``.
            callback: is called after those; this object is its model.

        Raises:
            ValueError: a callback has ``acts_in_rollouts``.
            DivergedError: as ``learn``; the message names the seed.
        """
        if any(map(acts_in_rollouts, [*callbacks, callback])):
            raise ValueError("models that are trained together take all steps of a rollout at once")
        own = []
        for number, (model, given) in enumerate(zip(self.models, callbacks, strict=True)):
            with self._random_numbers_of(number):
                own.append(model._setup_learn(total_timesteps, given, False)[1])
        try:
            self.learn(len(own) * total_timesteps, CallbackList([_OwnCallbacks(own), callback]), 1)
        except DivergedError as error:
            if (seed := self._diverged_seed()) is not None:
                error.args = (f"seed {seed}: {error}",)
            raise
        for number in range(len(own)):
            self._update_model(number)

    def _diverged_seed(self) -> int | None:
        """Return the seed of the first model whose gradient or weights are not finite, or None."""
        parameters = list(self.policy.parameters())
        numbers = [one.grad for one in parameters if one.grad is not None] + parameters
        finite = torch.stack([one.isfinite().flatten(1).all(dim=1) for one in numbers]).all(dim=0)
        return None if finite.all() else self.models[int(finite.long().argmin())].seed

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """A context in which a model is as if trained alone, and so are the random numbers.

        The global random number generators keep the model's states afterward.
        """
        self._update_model(number)
        with self._random_numbers_of(number):
            yield

    @contextmanager
    def _random_numbers_of(self, number: int) -> Iterator[None]:
        generator = self.policy.generators[number]
        set_rng_state(self.random_states[number])
        _set_default_state(generator.device, generator.get_state())
        try:
            yield
        finally:
            self.random_states[number] = get_rng_state()
            generator.set_state(_default_state(generator.device))

    def _update_model(self, number: int) -> None:
        """Copy the state of the training to a model."""
        model, rows = self.models[number], self._rows[number]
        state = _batch_env(self).get_state()
        _batch_env(model).set_state({name: leaf[rows].copy() for name, leaf in state.items()})
        model._n_updates = self._n_updates
        model._last_obs = self._last_obs[rows].copy()  # type: ignore[index]
        model._last_episode_starts = self._last_episode_starts[rows].copy()  # type: ignore[index]
        if self._last_state is not None:
            model._last_state = map_leaves(Tensor.clone, _take(rows, self._last_state))
        self._update_policy(model.policy, number)

    def _update_policy(self, policy: PlasticPolicy, number: int) -> None:
        """Copy weights, values' scale and the optimizer's state to one model's policy."""
        moments = self.policy.optimizer.state
        for parameter, stacked in self._update_weights(policy, number):
            if stacked in moments:  # not before the first update
                policy.optimizer.state[parameter] = {
                    key: value[number].clone() if value.dim() else value.clone()
                    for key, value in moments[stacked].items()
                }

    @torch.no_grad()
    def _update_weights(self, policy: PlasticPolicy, number: int) -> list[tuple[Tensor, Tensor]]:
        """Copy the weights; return pairs of a weight and the stacked weights of all models."""
        for name in ("value_mean", "value_std"):
            getattr(policy, name).copy_(getattr(self.policy, name)[number])
        policy.n_rescaled.copy_(self.policy.n_rescaled)
        pairs = []
        for name, parameter in policy.named_parameters():
            own = name.removeprefix("core.")
            place = name if own == name else f"core.stacked.{own}"
            pairs.append((parameter, self.policy.get_parameter(place)))
            parameter.copy_(pairs[-1][1][number])
        return pairs

    def _fill_in(self, buffer: RolloutBuffer, outputs: Tensor, state: Any) -> None:
        """Complete the buffer; the buffers of the models are parts of it."""
        super()._fill_in(buffer, outputs, state)
        arrays = {name: value for name, value in vars(buffer).items() if _has_rows(value)}
        for model, rows in zip(self.models, self._rows, strict=True):
            for name, array in arrays.items():
                setattr(model.rollout_buffer, name, array[:, rows])
            model.num_timesteps = self.num_timesteps // len(self.models)
            model._last_state = _take(rows, state)
            model._modulating = [
                None if activity is None else activity[:, rows] for activity in self._modulating
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
        for number, model in enumerate(self.models):
            self._update_weights(model.policy, number)
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
        for number, model in enumerate(self.models):
            model._n_updates = self._n_updates
            model._log_update({name: value[number] for name, value in values.items()})  # type: ignore[index]

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
    """Calls the callback of each model, except at single steps."""

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
