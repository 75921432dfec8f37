"""Acting: observation -> features -> one step of the core -> action, without gradient.

``PlasticPolicy.evaluate_outputs`` computes values and log-probabilities later, for a whole rollout
at once. The code calls an output of the core ``latent``, as SB3 calls the input of its heads.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from plasticrl.agents.divergence import describe_activity
from plasticrl.agents.masking import masked
from plasticrl.agents.sampling import Heads, sample_actions
from plasticrl.agents.stacked_linear import StackedLinear
from plasticrl.core import Cell, stepper
from plasticrl.core.stock import is_stock_linear, is_untouched
from plasticrl.core.torch_modes import is_autocast
from plasticrl.runs import DivergedError

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


class _NotFiniteError(Exception):
    """The net's activity is not finite."""


class ActingPolicy(Protocol):
    """The attributes and methods of ``PlasticPolicy`` that ``Actor`` and the rollouts use."""

    core: Cell[Any]
    backend: str
    action_space: spaces.Space[Any]
    action_net: nn.Module
    mlp_extractor: Any
    """SB3's ``MlpExtractor``, or any module with ``forward_actor``."""

    @property
    def device(self) -> torch.device: ...

    @property
    def features_are_observations(self) -> bool:
        """Whether the features extractor returns the observations unchanged."""

    @property
    def samples_by_logits(self) -> bool:
        """Whether the actions' probabilities are the softmax of ``action_net``'s output."""

    def initial_state(self, batch_size: int) -> Any: ...

    def core_inputs(self, obs: PyTorchObs) -> Tensor: ...

    @property
    def features_extractors(self) -> Sequence[nn.Module]: ...

    def actor_cells(self, state: Any) -> list[tuple[Cell[Any], Any]]: ...

    def distribution_of(self, latent: Tensor) -> Distribution: ...

    def uniforms(self, n_steps: int, n_rows: int) -> Tensor: ...

    def clip(self, actions: np.ndarray) -> np.ndarray: ...

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]: ...


class Actor:
    """Acts with a policy in one batch of environments, while the weights do not change.

    Args:
        state: the core's state before the first step. Each call updates it in place.
        n_steps: random numbers are drawn for this many steps at a time.
        n_recorded: the number of steps that the stepper records, so that ``stepper.replay`` can
            repeat them; 0 records none. See ``plasticrl.core.stepper``.

    Attributes:
        stepper: the object that runs the core, one step at a time.
    """

    def __init__(
        self, policy: ActingPolicy, state: Any, n_steps: int = 1, n_recorded: int = 0
    ) -> None:
        self.policy = policy
        self.n_steps = n_steps
        self.uniforms: list[np.ndarray] = []
        self.stepper = stepper(policy.core, state, policy.backend, n_recorded)
        heads = compiled_heads(policy)
        self.heads = heads[0] if len(heads) == 1 else None
        self.scratch = None if self.heads is None else self.heads.scratch()
        self.extracts_features = not policy.features_are_observations

    def __call__(
        self,
        obs: PyTorchObs,
        episode_starts: Tensor | None = None,
        deterministic: bool = False,
        action_masks: Tensor | None = None,
    ) -> tuple[np.ndarray, Tensor]:
        """Return actions (B, ...), as a NumPy array, and the core's outputs (B, N).

        Args:
            obs: a batch of observations (B, ...), or a dict of batches.
            episode_starts: (B,), true where the observation is the first of an episode.
            deterministic: take the most likely action instead of a sample.
            action_masks: (B, A) bool, true where an action is possible; None: all are.

        Raises:
            DivergedError: if the core's outputs or a categorical distribution's logits are
                not finite. (For other distributions, torch raises a ValueError.)
        """
        try:
            return self._step(obs, episode_starts, deterministic, action_masks)
        except _NotFiniteError:
            raise DivergedError(describe_activity(self.policy, obs)) from None

    def _step(
        self,
        obs: PyTorchObs,
        episode_starts: Tensor | None,
        deterministic: bool,
        action_masks: Tensor | None,
    ) -> tuple[np.ndarray, Tensor]:
        if self.extracts_features:
            features = self._features(obs)
        else:
            assert isinstance(obs, Tensor)
            features = obs.float()
        latent = self.stepper(features, episode_starts)
        if self.heads is not None and not deterministic:
            return self._sample_with_numba(latent, self.heads, action_masks), latent
        if not latent.isfinite().all():
            raise _NotFiniteError
        return self._act_with_sb3(latent, deterministic, action_masks), latent

    @torch.no_grad()
    def _features(self, obs: PyTorchObs) -> Tensor:
        return self.policy.core_inputs(obs)

    def _sample_with_numba(
        self, latent: Tensor, heads: Heads, action_masks: Tensor | None
    ) -> np.ndarray:
        n_rows = len(latent)
        if not self.uniforms:
            self.uniforms = list(self.policy.uniforms(self.n_steps, n_rows).numpy()[::-1])
        masks = np.ones((n_rows, 0), bool) if action_masks is None else action_masks.numpy()
        actions: np.ndarray = sample_actions(
            heads, latent.numpy(), masks, self.uniforms.pop(), self.scratch
        )
        if n_rows and actions[0] < 0:
            raise _NotFiniteError
        return actions

    @torch.no_grad()
    def _act_with_sb3(
        self, latent: Tensor, deterministic: bool, action_masks: Tensor | None
    ) -> np.ndarray:
        distribution = self.policy.distribution_of(latent)
        if action_masks is not None:
            distribution = masked(distribution, action_masks)
        actions: np.ndarray = distribution.get_actions(deterministic=deterministic).cpu().numpy()
        shape = self.policy.action_space.shape
        assert shape is not None
        return actions.reshape((-1, *shape))


class SeparateExtractor(MlpExtractor):
    """SB3's ``MlpExtractor`` for latents (M, 2 N): the actor's N outputs, then the critic's."""

    def forward_actor(self, features: Tensor) -> Tensor:
        return super().forward_actor(features.chunk(2, dim=1)[0])

    def forward_critic(self, features: Tensor) -> Tensor:
        return super().forward_critic(features.chunk(2, dim=1)[1])


def in_full_precision(method: MethodT) -> MethodT:
    """Decorate a method so that it runs without autocast. Its object needs a ``device``.

    NumPy has no bfloat16, and rounded activity would give other action probabilities than those in
    the loss.
    """

    @wraps(method)
    def run(self: Any, *arguments: Any, **options: Any) -> Any:
        if not is_autocast(self.device):
            return method(self, *arguments, **options)
        with torch.autocast(self.device.type, enabled=False):
            return method(self, *arguments, **options)

    return cast(MethodT, run)


def compiled_heads(policy: ActingPolicy) -> list[Heads]:
    """Return the layers from the core to the logits, if ``sample_actions`` can run them.

    Returns:
        One element for each net of the core, which are several in a ``Population``. The list is
        empty if the distribution is not categorical; if a layer was replaced or modified, or has
        another activation than tanh or ReLU; or if the policy is not on the CPU.
    """
    head, extractor = policy.action_net, policy.mlp_extractor
    if type(extractor) not in (MlpExtractor, SeparateExtractor) or not is_untouched(extractor):
        return []
    if not policy.samples_by_logits or policy.device.type != "cpu":
        return []
    if not isinstance(extractor.policy_net, nn.Sequential):  # the user's own
        return []
    layers = [*extractor.policy_net, head]
    linear, between = layers[::2], {type(activation) for activation in layers[1::2]}
    if between not in (set(), {nn.Tanh}, {nn.ReLU}):
        return []
    is_relu = between == {nn.ReLU}
    if all(map(is_stock_linear, linear)):
        return [Heads.of([(layer.weight, layer.bias) for layer in linear], is_relu)]
    if all(type(layer) is StackedLinear and is_untouched(layer) for layer in linear):
        nets = zip(*(zip(layer.weight, layer.bias, strict=True) for layer in linear), strict=True)
        return [Heads.of(list(net), is_relu) for net in nets]
    return []
