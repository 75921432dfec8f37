"""What a run does around the training of its nets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from plasticrl.tasks.bohp.config import BohpConfig
from plasticrl.tasks.bohp.nets import N_BITS
from plasticrl.tasks.bohp.task import Bohp
from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.images.config import ImagesConfig
from plasticrl.tasks.omniglot.config import OmniglotConfig
from plasticrl.tasks.task import Net
from plasticrl.tasks.training import SupervisedRun


def train(config: TaskConfig, path: Path) -> None:
    list(SupervisedRun.start(config, "x", path).learn())


class Zeros(nn.Module):
    """Answers nothing, and learns nothing."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs)


def test_a_net_without_parameters_is_measured_and_the_plastic_one_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a trivial predictor cannot be a control, or the pictures are of a control."""
    drawn: list[nn.Module] = []
    nets = [Bohp.nets(Bohp(BohpConfig()))[0], Net("zeros", Zeros)]

    def pictures(task: Bohp, net: nn.Module, folder: Path) -> list[Path]:
        drawn.append(net)
        (folder / "weights.png").write_bytes(b"")
        return [folder / "weights.png"]

    monkeypatch.setattr(Bohp, "nets", lambda task: nets)
    monkeypatch.setattr(Bohp, "pictures", pictures)
    run = tmp_path / "run"
    train(BohpConfig(n_updates=2, batch_size=1, evaluation_episodes=5), run)
    (control,) = json.loads((run / "evaluation.json").read_text())["controls"]
    assert control["value"] == N_BITS  # each bit is 1 or -1, and 0 was said
    assert (control["parameters"], control["train_episodes"], control["seconds"]) == (0, 0, 0)
    assert [type(net).__name__ for net in drawn] == ["PlasticLayer"]
    assert json.loads((run / "evaluation.json").read_text())["pictures"] == ["weights.png"]


@pytest.mark.parametrize("controls", [False, True])
def test_a_picture_that_fails_costs_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controls: bool
) -> None:
    """Otherwise the net has to be measured again, or there are never any pictures."""

    def broken(task: Bohp, net: nn.Module, folder: Path) -> list[Path]:
        raise RuntimeError("no font")

    run, config = tmp_path / "run", BohpConfig(n_updates=2, batch_size=1, evaluation_episodes=5)
    with monkeypatch.context() as patched:
        patched.setattr(Bohp, "pictures", broken)
        with pytest.raises(RuntimeError, match="no font"):
            train(replace(config, controls=controls), run)
    before = json.loads((run / "evaluation.json").read_text())
    assert (before["net"], before["episodes"], before["controls"]) == ("plastic", 5, [])
    list(SupervisedRun.resume(run).learn())
    after = json.loads((run / "evaluation.json").read_text())
    assert [after[key] for key in ("value", "ci95", "seconds")] == [
        before[key] for key in ("value", "ci95", "seconds")
    ]
    assert len(after["controls"]) == controls
    pictures = {path.name for path in run.glob("*.png")}
    assert set(after["pictures"]) == pictures != set()
    assert list(SupervisedRun.resume(run).learn()) == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (BohpConfig(), "made by the program"),
        (ImagesConfig(size=4), "photographs, embedded: a substitute for data=cifar-10"),
        (
            ImagesConfig(size=4, data="dead-leaves"),
            "dead-leaves, made by the program: a substitute for data=cifar-10",
        ),
        (OmniglotConfig(), "glyphs, embedded: a substitute for data=omniglot"),
    ],
)
def test_the_data_are_named(config: TaskConfig, said: str, tmp_path: Path) -> None:
    """Otherwise a preset of the papers is taken for a result on the papers' data."""
    assert SupervisedRun.start(config, "x", tmp_path / "run").describe_data() == said
