"""The step sizes of the optimizer: of the core, and of everything else."""

from typing import Any

import pytest

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
def test_the_scale_follows_a_schedule_and_a_saved_file(algorithm: Any, tmp_path: Any) -> None:
    def rates(model: Any) -> list[float]:
        return [group["lr"] for group in model.policy.optimizer.param_groups]

    model = make(algorithm, learning_rate=lambda remaining: RATE * remaining, core_lr_scale=SCALE)
    model.learn(2 * model.n_steps)  # the second update has half of the training behind it
    last = RATE * model._current_progress_remaining
    assert rates(model) == pytest.approx([last, last * SCALE])
    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip")
    assert rates(loaded) == rates(model)
    assert loaded.core_lr_scale == SCALE


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_core_without_weights_has_no_steps(algorithm: Any) -> None:
    model = make(algorithm, policy_kwargs={"core": "identity"}, core_lr_scale=SCALE)
    model.learn(model.n_steps)
    assert len(model.policy.optimizer.param_groups) == 1


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "0.3", True])
def test_a_scale_that_is_no_positive_number(scale: Any) -> None:
    with pytest.raises(UsageError, match="core_lr_scale must be a finite number above 0"):
        make(RecurrentA2C, core_lr_scale=scale)


def test_a_product_that_is_too_large() -> None:
    with pytest.raises(UsageError, match=r"learning_rate \* core_lr_scale must be at most 1e\+06"):
        make(RecurrentA2C, learning_rate=1e6, core_lr_scale=2.0)


def test_scale_one_is_one_group() -> None:
    """So runs from before this option, which had one group, are resumed."""
    model = make(RecurrentA2C, core_lr_scale=1.0).learn(8)
    assert len(model.policy.optimizer.param_groups) == 1
