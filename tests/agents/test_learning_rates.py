"""The step sizes of the optimizer: of the core, and of everything else."""

from pathlib import Path
from typing import Any

import pytest
import torch

from plasticrl.agents import RecurrentA2C, RecurrentPPO
from plasticrl.core.cells.composed import Parallel
from plasticrl.runs import UsageError

ALGORITHMS = (RecurrentA2C, RecurrentPPO)
RATE, SCALE = 1e-2, 0.25


def make(algorithm: Any, **options: Any) -> Any:
    one_update = {"n_epochs": 1} if algorithm is RecurrentPPO else {}
    given = {"n_steps": 8, "seed": 3, "device": "cpu", **one_update, **options}
    return algorithm("PlasticPolicy", "CartPole-v1", **given)


def steps(model: Any) -> dict[str, float]:
    """The largest change of each weight in one update."""
    before = {name: weight.clone() for name, weight in model.policy.named_parameters()}
    model.learn(model.n_steps)
    after = dict(model.policy.named_parameters())
    return {name: (after[name] - before[name]).abs().max().item() for name in before}


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_cores_steps_are_scaled(algorithm: Any, share: bool) -> None:
    """Adam's first step is the step size times g / (|g| + eps), for the gradient g."""
    options = {"policy_kwargs": {"share_features_extractor": share}, "normalize_returns": False}
    model = make(algorithm, learning_rate=RATE, core_lr_scale=SCALE, **options)
    assert isinstance(model.policy.core, Parallel) is not share
    sizes = steps(model)
    core = {name: size for name, size in sizes.items() if name.startswith("core.")}
    heads = {name: size for name, size in sizes.items() if name not in core}
    assert max(core.values()) == pytest.approx(RATE * SCALE, rel=1e-2)
    assert max(heads.values()) == pytest.approx(RATE, rel=1e-2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_scale_is_the_models_own_after_loading(algorithm: Any, tmp_path: Path) -> None:
    """A saved file has the scale. Another one can be given, or set later, also for its weights."""
    first = make(algorithm, learning_rate=RATE, core_lr_scale=SCALE)
    first.save(tmp_path / "model.zip")
    env = first.get_env()
    assert core_step(algorithm.load(tmp_path / "model.zip", env)) == RATE * SCALE
    assert core_step(algorithm.load(tmp_path / "model.zip", env, core_lr_scale=1.0)) == RATE
    other = make(algorithm, learning_rate=RATE, core_lr_scale=1.0)
    other.set_parameters(first.get_parameters())
    assert core_step(other) == RATE
    other = make(algorithm, learning_rate=RATE, core_lr_scale=1.0)
    other.core_lr_scale = 2 * SCALE
    assert core_step(other) == RATE * 2 * SCALE


def core_step(model: Any) -> Any:
    sizes = steps(model)
    return pytest.approx(max(sizes[name] for name in sizes if name.startswith("core.")), rel=1e-2)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.AdamW])
def test_any_optimizer(optimizer: type[torch.optim.Optimizer]) -> None:
    """With the scale s, an update is the same as with the step size s for the core alone."""
    kwargs = {"optimizer_class": optimizer, "optimizer_kwargs": {"weight_decay": 0.1}}
    options = {"learning_rate": RATE, "policy_kwargs": kwargs, "max_grad_norm": 1e9}
    scaled = make(RecurrentA2C, core_lr_scale=SCALE, **options)
    scaled.learn(scaled.n_steps)
    grouped = make(RecurrentA2C, core_lr_scale=1.0, **options)
    (group,) = grouped.policy.optimizer.param_groups
    core = set(grouped.policy.core.parameters())
    group["params"] = [weight for weight in group["params"] if weight not in core]
    grouped.policy.optimizer.add_param_group({"params": list(core), "weight_decay": 0.1})
    slow = grouped.policy.optimizer.param_groups[1]
    grouped._update_learning_rate = lambda _: slow.update(lr=RATE * SCALE)
    grouped.learn(grouped.n_steps)
    for left, right in zip(scaled.policy.parameters(), grouped.policy.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "0.3", True])
def test_a_scale_that_is_no_positive_number(scale: Any) -> None:
    with pytest.raises(UsageError, match="core_lr_scale must be a finite number above 0"):
        make(RecurrentA2C, core_lr_scale=scale)


@pytest.mark.parametrize("name", ["learning_rate", "core_lr_scale"])
def test_a_step_size_that_is_too_large(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} must be at most 1e\+06, not 2000000.0"):
        make(RecurrentA2C, **{name: 2e6})


@pytest.mark.parametrize("rate", [-1.0, 2e6, float("nan")])
def test_a_schedule_has_the_range_of_a_number(rate: float) -> None:
    """Otherwise a schedule gives a step size that would be refused as a number."""
    model = make(RecurrentA2C, learning_rate=lambda remaining: RATE if remaining == 1 else rate)
    with pytest.raises(UsageError, match=f"learning_rate must be .*, not {rate}"):
        model.learn(model.n_steps)


def test_an_id_is_no_environment_to_load_with(tmp_path: Path) -> None:
    """SB3 takes an id in ``__init__``, and fails with one in ``load``."""
    make(RecurrentA2C).save(tmp_path / "model.zip")
    with pytest.raises(UsageError, match=r"not an id: give gymnasium.make\('CartPole-v1'\)"):
        RecurrentA2C.load(tmp_path / "model.zip", "CartPole-v1")
