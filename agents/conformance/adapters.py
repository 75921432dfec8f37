"""What ``check_recurrent`` needs of an algorithm beyond SB3's interface."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from plasticrl.agents.policies import PlasticPolicy
from plasticrl.core import sequence


class Advance(NamedTuple):
    """One step with gradient: values (B,), log-probabilities (B,), the new state."""

    values: Tensor
    log_probs: Tensor
    state: Any


@dataclass(frozen=True)
class Adapter:
    """What the tests need of an algorithm beyond SB3's interface.

    Args:
        loss_method: the name of the policy's method from which ``train`` gets the values and
            log-probabilities of its loss. The first argument is a batch of observations, and the
            first two results are values and log-probabilities of the batch.
        advance: takes one step with gradient: from the policy, observations (B, ...), actions
            (B, ...), a state of any kind (None: the initial state) and episode starts (B,), it
            returns an ``Advance``. None: the property ``bptt_length`` is not tested.
    """

    loss_method: str = "evaluate_actions"
    advance: Callable[[Any, Tensor, Tensor, Any, Tensor], Advance] | None = None


def advance_plastic(
    policy: PlasticPolicy, obs: Tensor, actions: Tensor, state: Any, episode_starts: Tensor
) -> Advance:
    """Take one step of a ``PlasticPolicy`` with the reference implementation of its core."""
    inputs, starts = policy.core_inputs(obs).unsqueeze(0), episode_starts.unsqueeze(0)
    outputs, state = sequence(policy.core, inputs, state, starts, "eager")
    latent = outputs.squeeze(0)
    values = policy.values_of(latent)
    return Advance(values.flatten(), policy.distribution_of(latent).log_prob(actions), state)


PLASTIC = Adapter("evaluate_rollout", advance_plastic)


def adapter_of(policy: Any) -> Adapter:
    """The adapter of this package for its own policies, else that of SB3's conventions."""
    return PLASTIC if isinstance(policy, PlasticPolicy) else Adapter()
