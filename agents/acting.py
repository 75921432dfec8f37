"""Acting: observation -> features -> one step of the core -> action, without gradient.

What the actions are worth is not asked here: ``PlasticPolicy.evaluate_outputs`` says it of a whole
rollout.
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numba import njit
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from plasticrl.core import stepper

DIVERGED = (
    "the net's activity is not finite: lower the learning rate, or bound the trace "
    "(bound='hard' or 'soft')"
)


class Actor:
    """A policy at work on one batch of environments.

    Made for as many steps as the weights stay what they are; ``state`` is changed in place.

    Args:
        policy: a policy with a ``core``.
        state: the core's state before the first step, and after each.
        n_steps: how many steps there will be, for random numbers drawn at once.
        n_remembered: how many of them ``advance`` is to remember for the loss; see ``stepper``.
    """

    def __init__(self, policy: Any, state: Any, n_steps: int = 1, n_remembered: int = 0) -> None:
        self.policy = policy
        self.n_steps = n_steps
        self.uniforms: list[np.ndarray] = []
        self.advance = stepper(policy.core, state, n_steps=n_remembered)
        self.head = _linear_head(policy)
        self.reads = self.head is not None and len(policy.mlp_extractor.policy_net) > 0
        self.extracts_features = not _sees_vectors(policy)

    def __call__(
        self, obs: PyTorchObs, episode_starts: Tensor | None = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Tensor]:
        """Actions (B, ...), on the host, and the core's outputs (B, N).

        Args:
            obs: a batch of observations (B, ...), or a dict of such.
            episode_starts: (B,), true where the observation is an episode's first.
            deterministic: the most likely action instead of a sample.

        Raises:
            FloatingPointError: if the core gives NaN or infinity, or what a categorical action is
                sampled by is none. (Of other actions torch says so, by a ValueError.)
        """
        if self.extracts_features:
            features = self._features(obs)
        else:
            assert isinstance(obs, Tensor)
            features = obs.float()
        latent = self.advance(features, episode_starts)
        if self.head is not None and not deterministic:
            return self._sampled(latent, *self.head), latent
        if not latent.isfinite().all():
            raise FloatingPointError(DIVERGED)
        return self._actions(latent, deterministic), latent

    @torch.no_grad()
    def _features(self, obs: PyTorchObs) -> Tensor:
        features: Tensor = self.policy.extract_features(obs)
        return features

    def _sampled(self, latent: Tensor, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        if not self.uniforms:
            self.uniforms = list(torch.rand(self.n_steps, len(latent)).numpy()[::-1])
        read = self._read(latent) if self.reads else latent
        actions: np.ndarray = _sample(read.numpy(), weight, bias, self.uniforms.pop())
        if len(actions) and actions[0] < 0:
            raise FloatingPointError(DIVERGED)
        return actions

    @torch.no_grad()
    def _read(self, latent: Tensor) -> Tensor:
        if not np.isfinite(latent.numpy()).all():  # which a layer may make something finite of
            raise FloatingPointError(DIVERGED)
        read: Tensor = self.policy.mlp_extractor.forward_actor(latent)
        return read

    @torch.no_grad()
    def _actions(self, latent: Tensor, deterministic: bool) -> np.ndarray:
        distribution = self.policy.distribution_of(latent)
        actions: np.ndarray = distribution.get_actions(deterministic=deterministic).cpu().numpy()
        return actions.reshape((-1, *self.policy.action_space.shape))


def _sees_vectors(policy: Any) -> bool:
    """Whether the features are the observations themselves: nothing to scale or to flatten."""
    space = policy.observation_space
    return (
        type(policy.features_extractor) is FlattenExtractor
        and type(policy).extract_features is ActorCriticPolicy.extract_features
        and isinstance(space, spaces.Box)
        and len(space.shape) == 1
        and space.dtype == np.float32
    )


def _linear_head(policy: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Weight (A, N) and bias (A,) of a categorical policy's last layer, N the width before it.

    It has a sampler of its own: torch's distribution takes longer than the rest of a small step.
    None where a subclass has a distribution, a head or an extractor of another kind.
    """
    head = policy.action_net
    linear = type(policy.mlp_extractor) is MlpExtractor and type(head) is nn.Linear
    if not (linear and chooses_by_logits(policy)) or policy.device.type != "cpu":
        return None
    return head.weight.detach().numpy(), head.bias.detach().numpy()


def chooses_by_logits(policy: Any) -> bool:
    """Whether the actions' probabilities are softmax(what the action head gives), no more to it."""
    hook = "_get_action_dist_from_latent"
    return (
        type(policy.action_dist) is CategoricalDistribution
        and getattr(type(policy), hook) is getattr(ActorCriticPolicy, hook)
        and type(policy).distribution_of.__module__ == "plasticrl.agents.policies"
    )


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _sample(latent, weight, bias, uniform):  # type: ignore[no-untyped-def]
    """Actions (B,) with probabilities softmax(W x + b), where their sum reaches ``uniform`` (B,).

    All -1 if one is not finite.
    """
    n_actions = len(bias)
    actions = np.empty(len(latent), np.int64)
    total = np.empty(n_actions, latent.dtype)
    for b in range(len(latent)):
        for a in range(n_actions):
            logit = bias[a]
            for i in range(latent.shape[1]):
                logit += weight[a, i] * latent[b, i]
            total[a] = logit
        highest = total.max()
        sum_ = latent.dtype.type(0)
        for a in range(n_actions):
            sum_ += np.exp(total[a] - highest)
            total[a] = sum_
        if not np.isfinite(sum_):
            actions[:] = -1
            return actions
        action = 0
        while action < n_actions - 1 and total[action] <= uniform[b] * sum_:
            action += 1
        actions[b] = action
    return actions
