"""Recurrent actor-critic policies on any core of ``plasticrl.core``.

    observation -> features -> core (a scan over time) -> [net_arch] -> action and value heads

The policy stores no state of any environment: it takes a state and returns the new one.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    MlpExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from plasticrl.agents.acting import Actor
from plasticrl.core import CELLS, build_cell, sequence, vary
from plasticrl.core.backends import check_backend
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.core.replay import ReplayError
from plasticrl.core.state import check_state, detach, leaves, map_leaves, unflatten
from plasticrl.core.unroll import Stepper
from plasticrl.runs import UsageError

CORES = tuple(name for name in CELLS if name != "plastic_readout")
"""The cells a policy can have: all but the readout, which reads labels, not observations."""

DEFAULT_CORE = PlasticRNNConfig(modulation="simple", fan_out=True)
"""The core of a policy for which none was named; ``core_kwargs`` vary it."""


class PolicyStep(NamedTuple):
    """One step of a batch: actions (B, ...), values (B, 1), log_probs (B,), the core's state."""

    actions: Tensor
    values: Tensor
    log_probs: Tensor
    state: Any


class PlasticPolicy(ActorCriticPolicy):
    """A recurrent actor-critic policy; vector observations.

    Args:
        observation_space: any but Dict (see ``MultiInputPlasticPolicy``).
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        lr_schedule: learning rate by remaining progress.
        core: "rnn", "gru", "lstm", "identity", "plastic_rnn" or "plastic_lstm". None: a
            simple-modulated plastic_rnn with fan-out.
        core_kwargs: the core's options, plasticity's included, flat; see ``build_cell``.
        net_arch: layers between the core and the heads, in SB3's notation; None is SB3's default,
            two of 64 for each head ([] after a NatureCNN). The papers' nets have none: [].
        activation_fn: activation of those layers.
        backend: what runs the core: "auto", "eager" or "fused"; see ``plasticrl.core.sequence``.
        ortho_init: orthogonal initialization of everything but the core, as in SB3.
        log_std_init: initial log standard deviation of continuous actions.
        features_extractor_class, features_extractor_kwargs, normalize_images,
        optimizer_class, optimizer_kwargs: as in SB3's ``ActorCriticPolicy``.
        use_sde: must be False; SB3's algorithms pass it.

    Raises:
        ValueError: for an unknown core or backend, or options that the core does not have.
    """

    default_features_extractor: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        core: str | None = None,
        core_kwargs: dict[str, Any] | None = None,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.Tanh,
        ortho_init: bool = True,
        use_sde: bool = False,
        log_std_init: float = 0.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        backend: str = "auto",
    ) -> None:
        check_backend(backend)
        if use_sde:
            raise UsageError("state-dependent exploration (use_sde) is not for recurrent policies")
        if core is not None and core not in CORES:
            raise UsageError(
                f"there is no core {core!r} for a policy; there are {', '.join(CORES)}"
            )
        self.core_name = core
        self.core_kwargs = dict(core_kwargs or {})
        self.backend = backend
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=net_arch,
            activation_fn=activation_fn,
            ortho_init=ortho_init,
            log_std_init=log_std_init,
            features_extractor_class=features_extractor_class or self.default_features_extractor,
            features_extractor_kwargs=features_extractor_kwargs,
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def _build_mlp_extractor(self) -> None:
        # The core is built here, before SB3 makes the one optimizer that owns every parameter.
        width = int(self.features_dim)  # a numpy integer for MultiDiscrete observations
        if self.core_name is None:
            self.core = build_cell(vary(DEFAULT_CORE, self.core_kwargs)[0], width)
        else:
            self.core = build_cell(self.core_name, width, **self.core_kwargs)
        self.mlp_extractor = MlpExtractor(
            self.core.hidden_size, self.net_arch, self.activation_fn, self.device
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        for name in ("squash_output", "full_std", "use_expln"):  # gSDE's
            del data[name]
        own = {"core": self.core_name, "core_kwargs": self.core_kwargs, "backend": self.backend}
        return data | own

    @property
    def features_are_observations(self) -> bool:
        """Whether the features are the observations themselves: nothing to scale or to flatten."""
        space = self.observation_space
        return (
            type(self.features_extractor) is FlattenExtractor
            and type(self).extract_features is ActorCriticPolicy.extract_features
            and isinstance(space, spaces.Box)
            and len(space.shape) == 1
            and space.dtype == np.float32
        )

    @property
    def samples_by_logits(self) -> bool:
        """Whether the actions' probabilities are the softmax of what ``action_net`` gives.

        A subclass with a distribution of its own is False here.
        """
        ours, sb3s = type(self), ActorCriticPolicy
        return (
            type(self.action_dist) is CategoricalDistribution
            and ours._get_action_dist_from_latent is sb3s._get_action_dist_from_latent
            and ours.distribution_of is PlasticPolicy.distribution_of
        )

    def initial_state(self, batch_size: int) -> Any:
        """The core's state at an episode's start, on the policy's device."""
        return self.core.initial_state(batch_size)

    def step(
        self,
        obs: PyTorchObs,
        state: Any = None,
        episode_starts: Tensor | None = None,
        deterministic: bool = False,
    ) -> PolicyStep:
        """Act on one observation of every environment; ``state`` is left as it is. No gradient.

        Args:
            obs: a batch of observations (B, ...), or a dict of such.
            state: the core's state; None is the initial state.
            episode_starts: (B,), true where the observation is an episode's first.
            deterministic: the most likely action instead of a sample.
        """
        new_state = (
            self.initial_state(_n_rows(obs)) if state is None else map_leaves(Tensor.clone, state)
        )
        chosen, latent = Actor(self, new_state)(obs, episode_starts, deterministic)
        actions = torch.as_tensor(chosen, device=self.device)
        values, log_probs = self.evaluate_outputs(latent, actions)
        return PolicyStep(actions, values, log_probs, new_state)

    @torch.no_grad()
    def evaluate_outputs(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Values (M, 1) and log-probabilities (M,) of actions (M, ...) at core outputs (M, N)."""
        distribution, values = self._heads(outputs)
        return values, distribution.log_prob(actions.flatten(1) if actions.dim() > 1 else actions)

    def forward(
        self,
        obs: PyTorchObs,
        deterministic: bool = False,
        state: Any = None,
        episode_starts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities, as SB3's; ``step`` also gives the new state."""
        return self.step(obs, state, episode_starts, deterministic)[:3]

    def predict_values(
        self, obs: PyTorchObs, state: Any = None, episode_starts: Tensor | None = None
    ) -> Tensor:
        """Values (B, 1) of one observation of every environment; arguments as ``step``."""
        latent, _ = self._advance(obs, state, episode_starts)
        return self._heads(latent)[1]

    def get_distribution(
        self, obs: PyTorchObs, state: Any = None, episode_starts: Tensor | None = None
    ) -> Distribution:
        """Distribution of the actions of every environment; arguments as ``step``."""
        return self.distribution_of(self._advance(obs, state, episode_starts)[0])

    def evaluate_rollout(
        self,
        obs: PyTorchObs,
        actions: Tensor,
        state: Any,
        episode_starts: Tensor,
        bptt_length: int | None = None,
        stepper: Stepper[Any] | None = None,
    ) -> tuple[Tensor, Tensor, Distribution]:
        """Run a stored rollout again: features and heads in one batch, the core as a scan.

        Args:
            obs: (T B, ...), time-major, or a dict of such.
            actions: (T B, ...).
            state: the core's state before the first step.
            episode_starts: (T, B).
            bptt_length: steps after which the gradient through the state is cut; None: never.
            stepper: the stepper that took the rollout's steps from these observations, in one
                piece. The core's outputs are its replay where it has one.

        Returns:
            Values (T B, 1), log-probabilities (T B,) and the distribution over all of them.
        """
        outputs = None if stepper is None else _replayed(stepper)
        if outputs is None:
            features = self._features(obs).view(*episode_starts.shape, -1)
            outputs = self._outputs(features, state, episode_starts, bptt_length)
        distribution, values = self._heads(outputs.flatten(0, 1))
        return values, distribution.log_prob(actions), distribution

    def _outputs(
        self, features: Tensor, state: Any, episode_starts: Tensor, bptt_length: int | None
    ) -> Tensor:
        """The core's outputs (T, B, N) from features (T, B, F)."""
        length = bptt_length or len(features)
        chunks = []
        for first in range(0, len(features), length):
            chunk = slice(first, first + length)
            inputs, starts = features[chunk], episode_starts[chunk]
            outputs, state = sequence(self.core, inputs, state, starts, self.backend)
            chunks.append(outputs)
            state = detach(state)
        return torch.cat(chunks) if len(chunks) > 1 else chunks[0]

    def evaluate_actions(
        self,
        obs: PyTorchObs,
        actions: Tensor,
        state: Any = None,
        episode_starts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log-probabilities and entropy, as SB3's.

        Without ``episode_starts`` every observation is an episode of its own; with
        ``episode_starts`` (T, B) they are a rollout, as in ``evaluate_rollout``.
        """
        if episode_starts is None:
            episode_starts = torch.ones(1, actions.shape[0], device=actions.device)
        if state is None:
            state = self.initial_state(episode_starts.shape[1])
        values, log_prob, distribution = self.evaluate_rollout(obs, actions, state, episode_starts)
        return values, log_prob, distribution.entropy()

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions and new state for one observation, or one of every environment.

        Args:
            observation: with or without a batch axis.
            state: what the last call returned; None at the beginning.
            episode_start: (B,), true where the observation is an episode's first; None: in no row,
                unless ``state`` is None, with which every row starts.
            deterministic: the most likely action instead of a sample.

        Raises:
            ValueError: for an ``(obs, info)`` tuple, or a state of another batch size or core.
        """
        pair: Any = observation
        if isinstance(pair, tuple):
            return super().predict(pair)  # type: ignore[arg-type]  # SB3's error for (obs, info)
        self.set_training_mode(False)
        obs, batched = self.obs_to_tensor(observation)
        n_envs = _n_rows(obs)
        carry = self.initial_state(n_envs)
        if state is not None:
            if len(state) != len(leaves(carry)):
                raise ValueError(
                    f"state must be the {len(leaves(carry))} arrays that predict returned, "
                    f"not {len(state)}"
                )
            carry = unflatten(carry, [torch.tensor(leaf, device=self.device) for leaf in state])
            check_state(carry, self.initial_state(0), n_envs)
        starts = np.zeros(n_envs) if episode_start is None else np.atleast_1d(episode_start)
        # torch.tensor copies: SB3's evaluate_policy edits its arrays later.
        episode_starts = torch.tensor(starts, device=self.device)
        actions, _ = Actor(self, carry)(obs, episode_starts, deterministic)
        actions = self.clip(actions)
        new_state = tuple(leaf.cpu().numpy() for leaf in leaves(carry))
        return (actions if batched else actions.squeeze(axis=0)), new_state

    def clip(self, actions: np.ndarray) -> np.ndarray:
        """Actions within a Box's bounds; others as they are."""
        if isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        return actions

    def _features(self, obs: PyTorchObs) -> Tensor:
        features = self.extract_features(obs)
        assert isinstance(features, Tensor)  # one extractor for actor and critic
        return features

    def _advance(
        self, obs: PyTorchObs, state: Any, episode_starts: Tensor | None
    ) -> tuple[Tensor, Any]:
        starts = None if episode_starts is None else episode_starts.unsqueeze(0)
        outputs, state = sequence(
            self.core, self._features(obs).unsqueeze(0), state, starts, self.backend
        )
        return outputs.squeeze(0), state

    def distribution_of(self, latent: Tensor) -> Distribution:
        """Distribution of the actions at core outputs (M, N)."""
        return self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(latent))

    def _heads(self, latent: Tensor) -> tuple[Distribution, Tensor]:
        values = self.value_net(self.mlp_extractor.forward_critic(latent))
        return self.distribution_of(latent), values


class CnnPlasticPolicy(PlasticPolicy):
    """``PlasticPolicy`` for images, through SB3's ``NatureCNN``."""

    default_features_extractor = NatureCNN


class MultiInputPlasticPolicy(PlasticPolicy):
    """``PlasticPolicy`` for Dict observations, through SB3's ``CombinedExtractor``."""

    default_features_extractor = CombinedExtractor


def _replayed(stepper: Stepper[Any]) -> Tensor | None:
    """The core's outputs (T, B, N) by replay; None if the steps cannot be replayed."""
    try:
        return stepper.replay()[0]
    except ReplayError:
        return None


def _n_rows(obs: PyTorchObs) -> int:
    return len(next(iter(obs.values())) if isinstance(obs, dict) else obs)


def simpson_concentration(distribution: Distribution) -> Tensor:
    """Sum over actions of p(a)^2, (B,); several action dimensions add up.

    The papers' "entropy penalty" (BP 2019, arXiv 2002.10585, section 4.2): 1 for a certain choice,
    1 / n for an even one among n.

    Raises:
        ValueError: for continuous actions, which have no probabilities.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.distribution.probs.square().sum(dim=1)
    if isinstance(distribution, MultiCategoricalDistribution):
        sums = [choice.probs.square().sum(dim=1) for choice in distribution.distribution]
        return torch.stack(sums).sum(dim=0)
    if isinstance(distribution, BernoulliDistribution):
        probs = distribution.distribution.probs
        return (probs.square() + (1 - probs).square()).sum(dim=1)
    raise ValueError("entropy='simpson' needs discrete actions; use entropy='shannon' with a Box")
