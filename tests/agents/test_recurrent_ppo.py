"""RecurrentPPO's update, with SB3's PPO as the reference, and its minibatches."""

from typing import Any

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from torch import Tensor

from plasticrl.agents import RecurrentPPO
from plasticrl.agents.on_policy import Experience
from plasticrl.core.state import leaves

SMALL = {"core_kwargs": {"hidden_size": 7}}


def make(env: Any, **options: Any) -> RecurrentPPO:
    """A small model with weights large enough that its state makes a difference."""
    plain = {"n_steps": 8, "seed": 3, "device": "cpu", "normalize_returns": False}
    given = {"policy_kwargs": SMALL, **plain, **options}
    model = RecurrentPPO("PlasticPolicy", env, **given)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.policy.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return model


def stock(model: RecurrentPPO, **options: Any) -> PPO:
    """SB3's PPO with the same weights, after the same rollout."""
    ppo = PPO("MlpPolicy", model.env, n_steps=8, batch_size=24, device="cpu", **options)  # type: ignore[arg-type]
    ours = model.policy.state_dict()
    ppo.policy.load_state_dict({name: ours[name] for name in ppo.policy.state_dict()})
    ppo.set_logger(Logger(None, []))
    buffer, other = model.rollout_buffer, ppo.rollout_buffer
    for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
        array = getattr(buffer, name)
        setattr(other, name, array.copy().reshape(getattr(other, name).shape))
    other.full = True
    return ppo


def only_collects(model: RecurrentPPO) -> RecurrentPPO:
    """The model after one rollout, before the update."""
    train = RecurrentPPO.train
    model.train = lambda: None  # type: ignore[method-assign]
    model.learn(model.n_steps * model.n_envs)
    model.train = train.__get__(model)  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize("action", ["Discrete", "MultiDiscrete", "MultiBinary", "Box"])
@pytest.mark.parametrize(
    "options",
    [
        {"ent_coef": 0.1, "n_epochs": 3},
        {"clip_range_vf": 0.05, "vf_coef": 0.7, "n_epochs": 5, "learning_rate": 0.01},
        {"normalize_advantage": False, "clip_range": 0.03, "n_epochs": 6},
        {"target_kl": 1e-4, "n_epochs": 40, "learning_rate": 3e-3},
    ],
    ids=["entropy", "clip_range_vf", "clip_range", "target_kl"],
)
def test_an_update_is_that_of_stock_ppo(
    options: dict[str, Any], action: str, make_vec: Any
) -> None:
    """Without memory, and with the whole rollout as one minibatch, both are the same algorithm."""
    options = {"ent_coef": 0.0, "learning_rate": 3e-4, **options}
    core = {"core": "identity", "net_arch": [5]}
    model = only_collects(
        make(make_vec(action=action), batch_size=24, policy_kwargs=core, **options)
    )
    ppo = stock(model, policy_kwargs={"net_arch": [5]}, **options)
    before = model.policy.action_net.weight.clone()
    model.train()
    ppo.train()
    ours = model.policy.state_dict()
    for name, theirs in ppo.policy.state_dict().items():
        torch.testing.assert_close(ours[name], theirs, atol=2e-5, rtol=1e-4)
    assert not torch.equal(before, model.policy.action_net.weight)
    assert model._n_updates == ppo._n_updates
    logged, reference = model.logger.name_to_value, ppo.logger.name_to_value
    for name in reference:
        if name != "train/explained_variance":
            assert logged[name] == pytest.approx(reference[name], abs=2e-5, rel=1e-3), name


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1] * 5), (16, [2, 2, 1]), (23, [2, 2, 1]), (1000, [5])]
)
def test_minibatches_are_whole_rollouts_of_some_environments(
    batch_size: int, sizes: list[int], make_vec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise steps are evaluated with the state of other environments, or left out."""
    seen: list[Tensor] = []
    of = Experience.of

    def counted(rollout: Experience, environments: Tensor) -> Experience:
        seen.append(environments)
        return of(rollout, environments)

    monkeypatch.setattr(Experience, "of", counted)
    make(make_vec(n_envs=5), batch_size=batch_size, n_epochs=2).learn(40)
    assert [len(rows) for rows in seen] == sizes * 2
    epochs = torch.cat(seen).view(2, 5)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(5).expand(2, 5))
    assert not torch.equal(*epochs)


def test_the_rows_of_a_rollout(make_vec: Any) -> None:
    """Otherwise a minibatch mixes environments."""
    model = only_collects(make(make_vec(n_envs=4, observation="MultiDiscrete")))
    whole = model._experience()
    rows = torch.tensor([3, 1])
    part = whole.of(rows)
    buffer = model.rollout_buffer
    assert torch.equal(part.returns.view(8, 2), torch.from_numpy(buffer.returns)[:, rows])
    observed = torch.from_numpy(buffer.observations)[:, rows]
    assert torch.equal(part.observations.view(8, 2, -1), observed)  # type: ignore[union-attr]
    assert torch.equal(part.episode_starts, torch.from_numpy(buffer.episode_starts)[:, rows])
    for ours, all_rows in zip(leaves(part.start_state), leaves(whole.start_state), strict=True):
        assert torch.equal(ours, all_rows[rows])


def test_the_first_minibatch_has_the_probabilities_of_the_rollout(
    core: dict[str, Any], make_vec: Any
) -> None:
    """Otherwise the state, a reset or an order is wrong: the ratio is then not 1."""
    options = {"n_epochs": 1, "batch_size": 8, "ent_coef": 1.0, "learning_rate": 0.01}
    model = make(make_vec(), policy_kwargs=core, **options)
    losses, ratios = model._losses, []

    def spy(*arguments: Any) -> Any:
        result = losses(*arguments)
        ratios.append(result[1])
        return result

    model._losses = spy  # type: ignore[method-assign]
    model.learn(5 * 24)
    assert len(ratios) == 5 * 3  # a rollout has 24 steps, a minibatch one environment
    for ratio in ratios[::3]:
        torch.testing.assert_close(ratio, torch.ones(8), atol=1e-5, rtol=0)


def test_schedules(make_vec: Any) -> None:
    """Otherwise the ranges stay as they were at the start."""
    options = {"clip_range": lambda left: 0.4 * left, "clip_range_vf": lambda left: left + 1}
    model = make(make_vec(), **options)
    seen = []
    model._log_update = lambda values: seen.append(values)  # type: ignore[method-assign]
    model.learn(4 * 24)
    assert [values["clip_range"] for values in seen] == pytest.approx([0.3, 0.2, 0.1, 0.0])
    assert [values["clip_range_vf"] for values in seen] == pytest.approx([1.75, 1.5, 1.25, 1.0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, not 0"),
        ({"n_epochs": 1.5}, "n_epochs must be an integer of at least 1, not 1.5"),
        ({"clip_range": 0.0}, "clip_range must be a finite number above 0, not 0.0"),
        ({"clip_range_vf": -1.0}, "clip_range_vf must be a finite number above 0, not -1.0"),
        ({"target_kl": float("nan")}, "target_kl must be a finite number above 0, not nan"),
        ({"bptt_length": 9}, "bptt_length must be from 1 to n_steps=8"),
    ],
)
def test_a_bad_argument_is_named(options: dict[str, Any], sentence: str, make_vec: Any) -> None:
    """Otherwise it is an assertion of SB3's, or is ignored."""
    with pytest.raises(ValueError, match=sentence):
        make(make_vec(), **options)


def test_a_gradient_that_is_not_finite_stops(make_vec: Any) -> None:
    """Otherwise the weights would be lost."""
    model = make(make_vec(), n_epochs=2)
    with torch.no_grad():
        model.policy.value_net.bias.fill_(1e30)
    with pytest.raises(FloatingPointError, match=r"the value loss is inf: .* \(after 24 steps\)"):
        model.learn(24)
    assert all(torch.isfinite(weight).all() for weight in model.policy.parameters())
