"""Values in units of the returns' standard deviation (PopArt)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plasticrl.agents.policies import SMALLEST_AVERAGE_RATE
from plasticrl.runs import UsageError


def make(algorithm: Any, env: Any, **options: Any) -> Any:
    given = {"n_steps": 8, "seed": 3, "device": "cpu", "normalize_returns": True, **options}
    return algorithm(
        "PlasticPolicy", env, policy_kwargs={"core_kwargs": {"hidden_size": 7}}, **given
    )


def test_all_values_stay_and_the_scale_is_that_of_the_returns(
    algorithm: Any, make_vec: Any
) -> None:
    """Worked by hand: running averages of the returns and of their squares."""
    policy = make(algorithm, make_vec()).policy
    latent = torch.randn(20, 7)
    means, squares = 0.0, 0.0
    for number in range(1, 41):
        before = policy.values_of(latent)
        returns = 100 + 30 * torch.randn(50)
        policy.rescale_values(returns)
        torch.testing.assert_close(policy.values_of(latent), before, rtol=1e-4, atol=1e-4)
        rate = max(1 / number, SMALLEST_AVERAGE_RATE)
        means += rate * (returns.mean().item() - means)
        squares += rate * (returns.square().mean().item() - squares)
        assert policy.value_mean.item() == pytest.approx(means, rel=1e-4)
        assert policy.value_std.item() == pytest.approx(np.sqrt(squares - means**2), rel=1e-2)
    assert policy.value_std.item() == pytest.approx(30, rel=0.3)


@pytest.mark.parametrize("returns", [torch.zeros(9), torch.full((9,), 5.0), torch.ones(1)])
def test_returns_without_a_spread(algorithm: Any, returns: torch.Tensor, make_vec: Any) -> None:
    """Otherwise a value is divided by zero."""
    policy = make(algorithm, make_vec()).policy
    latent = torch.randn(20, 7)
    before = policy.values_of(latent)
    for _ in range(3):
        policy.rescale_values(returns)
    torch.testing.assert_close(policy.values_of(latent), before, rtol=1e-3, atol=1e-3)


def test_returns_that_are_not_finite_change_nothing(algorithm: Any, make_vec: Any) -> None:
    """Otherwise the weights are lost before the loss says what is wrong."""
    policy = make(algorithm, make_vec()).policy
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    policy.rescale_values(torch.tensor([1.0, torch.nan]))
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())


def test_the_learning_does_not_depend_on_the_unit_of_the_reward(
    algorithm: Any, make_vec: Any
) -> None:
    """With rewards a thousand times as large, the policy's weights are the same."""
    learned = []
    for scale in (1.0, 1000.0):
        env = make_vec(lengths=(50, 50))
        for one in env.venv.envs:
            step = one.step

            def scaled(action: Any, step: Any = step, scale: float = scale) -> Any:
                obs, reward, *rest = step(action)
                return obs, scale * reward, *rest

            one.step = scaled
        # The first rollout's returns contain untrained values, which do not scale with the reward.
        model = make(algorithm, env, gae_lambda=1.0, gamma=0.5, max_grad_norm=1e9)
        with torch.no_grad():
            model.policy.value_net.weight.zero_()
            model.policy.value_net.bias.zero_()
        model.learn(3 * 16)
        learned.append(model.policy)
    ours, theirs = learned
    torch.testing.assert_close(
        ours.action_net.weight, theirs.action_net.weight, rtol=1e-2, atol=1e-4
    )
    assert theirs.value_std / ours.value_std == pytest.approx(1000, rel=0.01)


def test_it_is_saved(algorithm: Any, make_vec: Any, tmp_path: Path) -> None:
    """Otherwise a loaded model has other values."""
    model = make(algorithm, make_vec()).learn(48)
    assert model.policy.n_rescaled == 2
    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", device="cpu")
    latent = torch.randn(4, 7)
    assert torch.equal(loaded.policy.values_of(latent), model.policy.values_of(latent))
    plain = make(algorithm, make_vec(), normalize_returns=False).learn(48)
    assert (plain.policy.value_mean, plain.policy.value_std) == (0, 1)


def test_an_own_value_net_is_refused(algorithm: Any, make_vec: Any) -> None:
    """Its values cannot be kept when the scale changes."""
    model = make(algorithm, make_vec())
    model.policy.value_net = nn.Sequential(model.policy.value_net)
    with pytest.raises(UsageError, match="give normalize_returns=False"):
        model.learn(24)
