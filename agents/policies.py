"""Recurrent actor-critic policies on any core of ``plasticrl.core``.

    observation -> features -> core (recurrent) -> layers of net_arch -> action and value heads

With ``share_features_extractor=False``, the critic has a features extractor and a core of its own.
The two cores are one ``Parallel`` cell. Its inputs, outputs and state are those of the actor,
followed by those of the critic.

The policy does not store the recurrent state: its methods take a state and return the new one.
"""

import warnings
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

from plasticrl.agents.acting import Actor, SeparateExtractor, in_full_precision
from plasticrl.agents.cores import build_core, check_core
from plasticrl.agents.distributed import ALONE
from plasticrl.agents.masking import check_masks, masked
from plasticrl.agents.stacked_linear import StackedLinear
from plasticrl.core import Cell, sequence
from plasticrl.core.backends import check_backend
from plasticrl.core.cells.composed import Parallel
from plasticrl.core.replay import ReplayError
from plasticrl.core.state import check_state, detach, leaves, map_leaves, unflatten
from plasticrl.core.stock import has_hooks, is_untouched, replaces_methods
from plasticrl.core.unroll import Stepper
from plasticrl.runs import UsageError

SMALLEST_AVERAGE_RATE = 0.05
"""The smallest weight of new returns in the running averages of ``rescale_values``."""
SMALLEST_STD = 1e-3
"""Lower bound of ``PlasticPolicy.value_std``."""
NO_MEMORY = (
    "each observation is treated as the first of an episode, so that the policy learns no memory: "
    "train it with RecurrentA2C or RecurrentPPO, or give episode_starts"
)


class PolicyStep(NamedTuple):
    """One step of a batch: actions (B, ...), values (B, 1), log_probs (B,), the core's state."""

    actions: Tensor
    values: Tensor
    log_probs: Tensor
    state: Any


class PlasticPolicy(ActorCriticPolicy):
    """A recurrent actor-critic policy for vector observations.

    Args:
        observation_space: any but Dict (see ``MultiInputPlasticPolicy``).
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        lr_schedule: learning rate as a function of the remaining progress.
        core: "rnn", "gru", "lstm", "identity", "plastic_rnn" or "plastic_lstm"; or a class of your
            own, a subclass of ``plasticrl.core.Cell``. None is a plastic_rnn with
            ``modulation="simple"`` and ``fan_out=True``.
        core_kwargs: the core's options, including those of its plasticity; see ``build_cell``. A
            class of your own is called with the number of features and these arguments.
        net_arch: layers between the core and the heads, in SB3's notation. None is SB3's default:
            two layers of 64 units for each head, or no layers after a ``NatureCNN``. [] means no
            layers, as in Miconi et al. 2018 and 2019.
        activation_fn: activation of those layers.
        backend: the implementation of the core, "auto", "eager" or "fused"; see
            ``plasticrl.core.sequence``.
        ortho_init: orthogonal initialization of all layers except the core, as in SB3.
        log_std_init: initial log standard deviation of continuous actions.
        share_features_extractor: False gives the critic a features extractor and a core of its own,
            so that actor and critic have no weights in common.
        features_extractor_class, features_extractor_kwargs: as in SB3's ``ActorCriticPolicy``.
        normalize_images, optimizer_class, optimizer_kwargs: as in SB3's ``ActorCriticPolicy``.
        use_sde: must be False. SB3's algorithms pass this argument.

    Raises:
        ValueError: for an unknown core or backend, or as ``build_core``.
    """

    default_features_extractor: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor
    value_mean: Tensor
    value_std: Tensor
    n_rescaled: Tensor
    ranks = ALONE
    """The processes that train this policy together; see ``distribute`` of the algorithms."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        core: str | type[Cell[Any]] | None = None,
        core_kwargs: dict[str, Any] | None = None,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.Tanh,
        ortho_init: bool = True,
        use_sde: bool = False,
        log_std_init: float = 0.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        share_features_extractor: bool = True,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        backend: str = "auto",
    ) -> None:
        check_backend(backend)
        if use_sde:
            raise UsageError("use_sde must be False: recurrent policies do not support gSDE")
        check_core(core)
        if not isinstance(share_features_extractor, bool):
            raise UsageError(
                f"share_features_extractor must be True or False, not {share_features_extractor!r}"
            )
        self.core_type = core
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
            share_features_extractor=share_features_extractor,
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        if not share_features_extractor and not isinstance(self.core, Parallel):
            raise UsageError(
                f"{type(self).__name__} has one core for actor and critic, which needs "
                "share_features_extractor=True: give the cell as core= instead"
            )
        # A value is value_net's output, times value_std, plus value_mean; see rescale_values.
        self.register_buffer("value_mean", torch.zeros(()))
        self.register_buffer("value_std", torch.ones(()))
        self.register_buffer("n_rescaled", torch.zeros((), dtype=torch.int64))

    def _build_mlp_extractor(self) -> None:
        # The core is built here because SB3 calls this method before it creates the optimizer,
        # which must have the core's parameters too.
        width = int(self.features_dim)  # a NumPy integer for MultiDiscrete observations
        self.core = build_core(self.core_type, width, self.core_kwargs)
        size, form = self.core.hidden_size, MlpExtractor
        if not self.share_features_extractor:
            critic = build_core(self.core_type, width, self.core_kwargs)
            self.core, form = Parallel(actor=self.core, critic=critic), SeparateExtractor
        self.mlp_extractor = form(size, self.net_arch, self.activation_fn, self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        for name in ("squash_output", "full_std", "use_expln"):  # arguments for gSDE
            del data[name]
        return data | {
            "core": self.core_type,
            "core_kwargs": self.core_kwargs,
            "backend": self.backend,
            "share_features_extractor": self.share_features_extractor,
        }

    def actor_cells(self, state: Any) -> list[tuple[Cell[Any], Any]]:
        """The plastic cells that choose actions, in order, each with its part of a core's state."""
        if self.share_features_extractor:
            return self.core.plastic_cells(state)
        assert isinstance(self.core, Parallel)
        actor: Any = self.core.parts["actor"]
        cells: list[tuple[Cell[Any], Any]] = actor.plastic_cells(self.core.split(state)["actor"])
        return cells

    @property
    def features_are_observations(self) -> bool:
        """Whether the observations are float32 vectors and the features extractor returns them."""
        space = self.observation_space
        return (
            self.share_features_extractor
            and self.has_stock_extractor
            and isinstance(space, spaces.Box)
            and len(space.shape) == 1
            and space.dtype == np.float32
        )

    def check_overrides(self) -> None:
        """Raise ``UsageError`` for an override or a hook that acting and learning would not call.

        Acting and learning run the core themselves. The only methods of SB3's policy that they call
        are ``extract_features`` and, in ``distribution_of``, ``_get_action_dist_from_latent``.
        """
        for name in ("forward", "get_distribution", "evaluate_actions", "_predict"):
            if not _is_method(getattr(self, name), getattr(PlasticPolicy, name)):
                raise UsageError(
                    f"{type(self).__name__}.{name} is overridden, but a recurrent policy acts and "
                    "learns without it: override distribution_of(latent) or extract_features(obs)"
                )
        for part in (self, self.mlp_extractor):
            if has_hooks(part):
                raise UsageError(
                    f"a hook on {type(part).__name__} would not be called: register it on "
                    "features_extractor, core, action_net, value_net or the layers of mlp_extractor"
                )

    @property
    def has_stock_extractor(self) -> bool:
        """Whether the features extractors are SB3's own and have no parameters."""
        return _is_method(self.extract_features, ActorCriticPolicy.extract_features) and all(
            type(extractor) in (FlattenExtractor, CombinedExtractor)
            and not any(True for _ in extractor.parameters())
            and is_untouched(extractor)
            for extractor in self.features_extractors
        )

    @property
    def features_extractors(self) -> list[BaseFeaturesExtractor]:
        """The shared features extractor, or the actor's and the critic's."""
        if self.share_features_extractor:
            return [self.features_extractor]
        return [self.pi_features_extractor, self.vf_features_extractor]

    @property
    def samples_by_logits(self) -> bool:
        """Whether the actions' probabilities are the softmax of ``action_net``'s output.

        It is False for an action space other than ``Discrete``, and if a subclass or the user has
        changed how the distribution is made from this output.
        """
        dist_from_latent = ActorCriticPolicy._get_action_dist_from_latent
        return (
            type(self.action_dist) is CategoricalDistribution
            and not replaces_methods(self.action_dist)
            and _is_method(self._get_action_dist_from_latent, dist_from_latent)
            and _is_method(self.distribution_of, PlasticPolicy.distribution_of)
        )

    def initial_state(self, batch_size: int) -> Any:
        """Return the core's state at the start of an episode, on the policy's device.

        It is a copy, because acting changes it in place.
        """
        return map_leaves(lambda leaf: leaf.detach().clone(), self.core.initial_state(batch_size))

    @in_full_precision
    def step(
        self,
        obs: PyTorchObs,
        state: Any = None,
        episode_starts: Tensor | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> PolicyStep:
        """Act on one observation of every environment, without gradient.

        Args:
            obs: a batch of observations (B, ...), or a dict of batches.
            state: the core's state, which is not changed; None is the initial state.
            episode_starts: (B,), true where the observation is the first of an episode.
            deterministic: take the most likely action instead of a sample.
            action_masks: (B, A) bool, true where an action is possible; None: all are. See
                ``plasticrl.agents.masking``.
        """
        self.check_overrides()
        new_state = self._as_state(state, _n_rows(obs))
        masks = self._as_masks(action_masks, _n_rows(obs))
        chosen, latent = Actor(self, new_state)(obs, episode_starts, deterministic, masks)
        actions = torch.as_tensor(chosen, device=self.device)
        values, log_probs = self.evaluate_outputs(latent, actions, masks)
        return PolicyStep(actions, values, log_probs, new_state)

    @torch.no_grad()
    def evaluate_outputs(
        self, outputs: Tensor, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return values (M, 1) and log-probabilities (M,) for outputs (M, N) and actions (M, ...).

        Args:
            outputs: the core's outputs at M steps.
            actions: the actions that were taken at these steps.
            action_masks: (M, A) bool, true where an action was possible; None: all were.
        """
        distribution, values = self._heads(outputs, action_masks)
        return values, distribution.log_prob(actions.flatten(1) if actions.dim() > 1 else actions)

    def forward(
        self,
        obs: PyTorchObs,
        deterministic: bool = False,
        state: Any = None,
        episode_starts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions (B, ...), values (B, 1) and log-probabilities (B,), as SB3 does.

        Values and log-probabilities are differentiable, and the call can be traced or exported. The
        new state is not returned; ``step`` returns it. The arguments are as for ``step``.
        """
        latent, _ = self._advance(obs, state, episode_starts)
        distribution, values = self._heads(latent)
        actions = distribution.get_actions(deterministic=deterministic)
        log_probs = distribution.log_prob(actions)
        assert self.action_space.shape is not None
        return actions.reshape((-1, *self.action_space.shape)), values, log_probs

    def predict_values(
        self, obs: PyTorchObs, state: Any = None, episode_starts: Tensor | None = None
    ) -> Tensor:
        """Values (B, 1) of one observation of every environment; arguments as for ``step``."""
        latent, _ = self._advance(obs, state, episode_starts)
        return self._heads(latent)[1]

    def get_distribution(
        self,
        obs: PyTorchObs,
        state: Any = None,
        episode_starts: Tensor | None = None,
        action_masks: np.ndarray | None = None,
    ) -> Distribution:
        """Distribution of the actions of every environment; arguments as for ``step``."""
        masks = self._as_masks(action_masks, _n_rows(obs))
        return self._distribution(self._advance(obs, state, episode_starts)[0], masks)

    def evaluate_rollout(
        self,
        obs: PyTorchObs,
        actions: Tensor,
        state: Any,
        episode_starts: Tensor,
        bptt_length: int | None = None,
        stepper: Stepper[Any] | None = None,
        action_masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Distribution]:
        """Evaluate a stored rollout with gradient.

        Args:
            obs: T steps of B environments, flattened step by step to (T B, ...), or a dict of such
                tensors.
            actions: (T B, ...).
            state: the core's state before the first step.
            episode_starts: (T, B).
            bptt_length: steps after which the gradient through the state is cut; None: never.
            stepper: the stepper that has taken all steps of this rollout, and no others. If it has
                recorded them, its replay gives the core's outputs, and ``obs``, ``state``,
                ``episode_starts`` and ``bptt_length`` are not used; else the core is run again. A
                replay has no gradient for the features extractor.
            action_masks: (T B, A) bool, true where an action was possible; None: all were.

        Returns:
            Values (T B, 1), log-probabilities (T B,) and the distributions of all actions.
        """
        outputs = None if stepper is None else _replayed(stepper)
        if outputs is None:
            features = self.core_inputs(obs).view(*episode_starts.shape, -1)
            outputs = self._outputs(features, state, episode_starts, bptt_length)
        distribution, values = self._heads(outputs.flatten(0, 1), action_masks)
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
        action_masks: np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values, log-probabilities and entropy as SB3 does.

        Without ``episode_starts``, every observation is treated as the first of an episode. With
        ``episode_starts`` (T, B), the observations are a rollout, as in ``evaluate_rollout``.

        Raises:
            ValueError: ``episode_starts`` is not (T, B) for T B observations.
        """
        if episode_starts is not None:
            _check_rollout_starts(episode_starts, _n_rows(obs))
        if episode_starts is None:
            if torch.is_grad_enabled() and leaves(self.initial_state(0)):
                warnings.warn(NO_MEMORY, stacklevel=2)
            episode_starts = torch.ones(1, actions.shape[0], device=actions.device)
        state = self._as_state(state, episode_starts.shape[1])
        masks = self._as_masks(action_masks, len(actions))
        values, log_prob, distribution = self.evaluate_rollout(
            obs, actions, state, episode_starts, action_masks=masks
        )
        return values, log_prob, distribution.entropy()

    @in_full_precision
    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions and the new state, for a single observation or for a batch.

        Args:
            observation: with or without a batch axis.
            state: the state that the last call returned; None is the initial state.
            episode_start: (B,), true where the observation is the first of an episode, so that the
                row's state is reset first. None: no row is reset.
            deterministic: take the most likely action instead of a sample.
            action_masks: (B, A), or (A,) without a batch axis; true where an action is possible.
                None: all are. See ``plasticrl.agents.masking``.

        Raises:
            ValueError: for an ``(obs, info)`` tuple, a state of another batch size or core, or
                masks of a wrong shape.
        """
        pair: Any = observation
        if isinstance(pair, tuple):
            return super().predict(pair)  # type: ignore[arg-type]  # SB3's error for (obs, info)
        if self.training:  # set_training_mode takes as long as a step of a small net
            self.set_training_mode(False)
        obs, batched = self.obs_to_tensor(observation)
        n_envs = _n_rows(obs)
        self.check_overrides()
        carry = self._as_state(state, n_envs)
        starts = np.zeros(n_envs) if episode_start is None else np.atleast_1d(episode_start)
        # torch.tensor copies, because SB3's evaluate_policy changes this array later.
        episode_starts = torch.tensor(starts, device=self.device)
        masks = self._as_masks(action_masks, n_envs)
        actions, _ = Actor(self, carry)(obs, episode_starts, deterministic, masks)
        actions = self.clip(actions)
        new_state = tuple(leaf.cpu().numpy() for leaf in leaves(carry))
        return (actions if batched else actions.squeeze(axis=0)), new_state

    def _as_state(self, state: Any, n_rows: int) -> Any:
        """Return a state of the core for a batch of ``n_rows``.

        Args:
            state: a state of the core, or the tuple of arrays that ``predict`` returned, or None
                for the initial state.

        Raises:
            ValueError: the state has another batch size or is of another core.
        """
        if state is None:
            return self.initial_state(n_rows)
        template = self.initial_state(0)
        if type(state) is tuple:
            if len(state) != len(leaves(template)):
                raise ValueError(
                    f"state must be the {len(leaves(template))} arrays that predict returned, "
                    f"not {len(state)}"
                )
            copies = [torch.tensor(leaf, device=self.device) for leaf in state]
            state = unflatten(template, copies)
        else:
            state = map_leaves(Tensor.clone, state)
        check_state(state, template, n_rows)
        return state

    def _as_masks(self, masks: Any, n_rows: int) -> Tensor | None:
        if masks is None:
            return None
        return torch.as_tensor(check_masks(masks, n_rows, self.action_space), device=self.device)

    def uniforms(self, n_steps: int, n_rows: int) -> Tensor:
        """Draw random numbers (T, B) from [0, 1), with which actions are sampled."""
        # Each rank draws those of all, so that they are the numbers that one process would draw.
        n_all = n_rows * self.ranks.world_size
        of_all = torch.rand(n_steps, n_all, device=self.device)
        return of_all[:, self.ranks.rows(n_all)].contiguous()

    def clip(self, actions: np.ndarray) -> np.ndarray:
        """Clip the actions of a ``Box`` to its bounds; return others unchanged."""
        if isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        return actions

    def core_inputs(self, obs: PyTorchObs) -> Tensor:
        """The features (M, F) of observations (M, ...), or of a dict of observations."""
        features = self.extract_features(obs)
        return features if isinstance(features, Tensor) else torch.cat(features, dim=1)

    def _advance(
        self, obs: PyTorchObs, state: Any, episode_starts: Tensor | None
    ) -> tuple[Tensor, Any]:
        starts = None if episode_starts is None else episode_starts.unsqueeze(0)
        state = self._as_state(state, _n_rows(obs))
        outputs, state = sequence(
            self.core, self.core_inputs(obs).unsqueeze(0), state, starts, self.backend
        )
        return outputs.squeeze(0), state

    def distribution_of(self, latent: Tensor) -> Distribution:
        """Distribution of the actions at core outputs (M, N)."""
        return self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(latent))

    def values_of(self, latent: Tensor) -> Tensor:
        """Values (M, 1) at core outputs (M, N)."""
        outputs: Tensor = self.value_net(self.mlp_extractor.forward_critic(latent))
        return outputs * self.value_std + self.value_mean

    @torch.no_grad()
    def rescale_values(self, returns: Tensor) -> None:
        """Update the running mean and standard deviation of returns with new returns (M,).

        The first call sets them to those of its returns. The weights of ``value_net`` are
        changed so that all predicted values stay the same (PopArt; van Hasselt et al. 2016, arXiv
        1602.07714, equation 9).

        Raises:
            UsageError: ``value_net`` is not linear.
        """
        if not isinstance(self.value_net, nn.Linear | StackedLinear):
            raise UsageError(
                "normalize_returns=True needs a linear value_net, not "
                f"{type(self.value_net).__name__}: give normalize_returns=False"
            )
        if not torch.isfinite(returns.square().mean()):
            return  # the value loss is then not finite either, and train raises DivergedError
        self.n_rescaled += 1
        self._rescale_values(returns, max(1 / self.n_rescaled.item(), SMALLEST_AVERAGE_RATE))

    def _rescale_values(self, returns: Tensor, rate: float) -> None:
        layer: Any = self.value_net
        rescale(self.value_mean, self.value_std, layer.weight, layer.bias, returns, rate)

    def _distribution(self, latent: Tensor, action_masks: Tensor | None) -> Distribution:
        distribution = self.distribution_of(latent)
        return distribution if action_masks is None else masked(distribution, action_masks)

    def _heads(
        self, latent: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Distribution, Tensor]:
        return self._distribution(latent, action_masks), self.values_of(latent)


class CnnPlasticPolicy(PlasticPolicy):
    """``PlasticPolicy`` for images, through SB3's ``NatureCNN``."""

    default_features_extractor = NatureCNN


class MultiInputPlasticPolicy(PlasticPolicy):
    """``PlasticPolicy`` for Dict observations, through SB3's ``CombinedExtractor``."""

    default_features_extractor = CombinedExtractor


def _check_rollout_starts(episode_starts: Tensor, n_observations: int) -> None:
    if episode_starts.dim() != 2 or episode_starts.numel() != n_observations:
        raise ValueError(
            f"episode_starts must be (T, B) for {n_observations} observations of T steps in B "
            f"environments, not {tuple(episode_starts.shape)}"
        )


def _is_method(bound: Any, function: Any) -> bool:
    """Whether ``bound``, a method of an object, is ``function`` and not an override of it."""
    return getattr(bound, "__func__", None) is function


def _replayed(stepper: Stepper[Any]) -> Tensor | None:
    """The outputs (T, B, N) of the recorded steps; None if the steps cannot be replayed."""
    try:
        return stepper.replay()[0]
    except ReplayError:
        return None


def rescale(
    mean: Tensor, std: Tensor, weight: Tensor, bias: Tensor, returns: Tensor, rate: float
) -> None:
    """Do in place what ``PlasticPolicy.rescale_values`` describes.

    Args:
        mean, std: of the returns, ().
        weight, bias: of the layer that gives the values, (1, N) and (1,).
        returns: (M,).
        rate: the weight of these returns in the running averages.
    """
    old_mean, old_std = mean.clone(), std.clone()
    square = old_std.square() + old_mean.square()
    mean.lerp_(returns.mean(), rate)
    square.lerp_(returns.square().mean(), rate)
    std.copy_((square - mean.square()).clamp(min=SMALLEST_STD**2).sqrt())
    weight.mul_(old_std / std)
    bias.mul_(old_std / std)
    bias.add_((old_mean - mean) / std)


def _n_rows(obs: PyTorchObs) -> int:
    return len(next(iter(obs.values())) if isinstance(obs, dict) else obs)


def simpson_concentration(distribution: Distribution) -> Tensor:
    """Return the sum of p(a)^2 over all actions a, (B,).

    This is the "entropy penalty" of Miconi et al. 2019 (arXiv 2002.10585, section 4.2). It is 1 if
    one action has probability 1, and 1 / n if all n actions are equally likely. If an action has
    several dimensions, the sums of all dimensions are added.

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
