"""Acting without gradient takes actions with the probabilities of the policy."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from torch import nn

from plasticrl.agents.acting import Actor
from plasticrl.agents.policies import PlasticPolicy

N_ROWS = 60_000
CHI_SQUARE = 27.6
"""With two degrees of freedom, chance exceeds this value once in a million."""


def policy(**options: Any) -> PlasticPolicy:
    torch.manual_seed(0)
    box = spaces.Box(-1, 1, (3,), np.float32)
    kwargs = {"core": "rnn", "core_kwargs": {"hidden_size": 4}, "net_arch": [], **options}
    return PlasticPolicy(box, spaces.Discrete(3), lambda _: 1e-3, **kwargs)


@pytest.mark.parametrize("net_arch", [[], [5]])
def test_actions_are_as_frequent_as_the_policy_says(net_arch: list[int]) -> None:
    """Otherwise the agent samples from another distribution than the one in the loss."""
    agent = policy(net_arch=net_arch, ortho_init=False)
    with torch.no_grad():
        agent.action_net.bias.copy_(torch.tensor([1.0, -1.5, 0.3]))
    obs = torch.ones(1, 3).expand(N_ROWS, 3)
    actions, latent = Actor(agent, agent.initial_state(N_ROWS))(obs)
    counts = np.bincount(actions, minlength=3)
    probs = agent.get_distribution(obs[:1]).distribution.probs  # type: ignore[attr-defined]
    expected = N_ROWS * probs.detach().numpy().flatten()
    assert expected.min() > 100
    assert ((counts - expected) ** 2 / expected).sum() < CHI_SQUARE
    assert latent.shape == (N_ROWS, 4)


def test_an_action_of_probability_zero_is_never_taken() -> None:
    """Otherwise rounding selects the last action, or one after it."""
    agent = policy()
    with torch.no_grad():
        agent.action_net.weight.zero_()
        agent.action_net.bias.copy_(torch.tensor([-1e9, 0.0, -1e9]))
    actions, _ = Actor(agent, agent.initial_state(N_ROWS))(torch.zeros(N_ROWS, 3))
    assert (actions == 1).all()


def test_the_seed_decides() -> None:
    """Otherwise a run cannot be repeated."""
    agent, obs, taken = policy(), torch.zeros(50, 3), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        taken.append(Actor(agent, agent.initial_state(50))(obs)[0])
    assert np.array_equal(taken[0], taken[1])
    assert not np.array_equal(taken[0], taken[2])


@pytest.mark.parametrize("net_arch", [[], [5]])
def test_a_policy_that_has_diverged_raises_an_error(net_arch: list[int]) -> None:
    """Otherwise it takes the last action forever."""
    agent = policy(net_arch=net_arch)
    with torch.no_grad():
        agent.action_net.bias[1] = torch.nan
    with pytest.raises((FloatingPointError, ValueError), match=r"finite|nan"):
        Actor(agent, agent.initial_state(2))(torch.zeros(2, 3))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("net_arch", [[], [5]])
def test_a_core_that_has_diverged_raises_an_error(net_arch: list[int], deterministic: bool) -> None:
    """Otherwise the error depends on the kind of action space."""
    agent = policy(net_arch=net_arch)
    with pytest.raises(FloatingPointError, match="not finite"):
        Actor(agent, agent.initial_state(2))(torch.full((2, 3), torch.nan), None, deterministic)


def test_an_infinite_output_is_noticed_before_a_hidden_layer() -> None:
    """Otherwise tanh turns infinity into 1, and the agent continues."""
    agent = policy(core="identity", core_kwargs={}, net_arch=[5])
    with pytest.raises(FloatingPointError, match="not finite"):
        Actor(agent, agent.initial_state(2))(torch.full((2, 3), torch.inf))


class Masked(PlasticPolicy):
    """A policy that never takes the first action."""

    def _get_action_dist_from_latent(self, latent_pi: torch.Tensor) -> Distribution:
        logits = self.action_net(latent_pi).index_fill(1, torch.tensor([0]), -1e9)
        return self.action_dist.proba_distribution(action_logits=logits)  # type: ignore[call-arg]


def test_a_subclass_acts_by_its_own_distribution() -> None:
    """Otherwise it acts with one distribution and learns with another."""
    box = spaces.Box(-1, 1, (3,), np.float32)
    agent = Masked(box, spaces.Discrete(3), lambda _: 1e-3, core="rnn", net_arch=[])
    actions, _ = Actor(agent, agent.initial_state(500))(torch.zeros(500, 3))
    assert set(actions.tolist()) == {1, 2}


class Doubled(nn.Module):
    """An extractor of another class, without ``policy_net``."""

    latent_dim_pi = latent_dim_vf = 4

    def forward_actor(self, latent: torch.Tensor) -> torch.Tensor:
        return 2 * latent

    forward_critic = forward_actor


class WithDoubled(PlasticPolicy):
    """A policy whose heads read the core's output twice."""

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        self.mlp_extractor = Doubled()  # type: ignore[assignment]


def test_a_subclass_may_have_an_extractor_of_its_own() -> None:
    """Otherwise only policies with SB3's extractor can act."""
    box = spaces.Box(-1, 1, (3,), np.float32)
    kwargs = {"core": "rnn", "core_kwargs": {"hidden_size": 4}}
    agent = WithDoubled(box, spaces.Discrete(3), lambda _: 1e-3, **kwargs)
    with torch.no_grad():
        agent.action_net.weight.zero_()
        agent.action_net.bias.copy_(torch.tensor([-1e9, 0.0, -1e9]))
    actions, _ = Actor(agent, agent.initial_state(50))(torch.zeros(50, 3))
    assert (actions == 1).all()
