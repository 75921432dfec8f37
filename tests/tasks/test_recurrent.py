"""Tasks for any core: their episodes, worked by hand, and the answers to compare a net with."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plasticrl.commands import run_command
from plasticrl.commands.train import parse_training
from plasticrl.core import CELLS
from plasticrl.core.cells.configs import GRUConfig, PlasticReadoutConfig, PlasticRNNConfig
from plasticrl.runs import RunDirectory, UsageError
from plasticrl.tasks.associative_retrieval.config import AssociativeRetrievalConfig
from plasticrl.tasks.associative_retrieval.task import AssociativeRetrieval
from plasticrl.tasks.config import CoreTaskConfig
from plasticrl.tasks.copy_delay.config import CopyDelayConfig
from plasticrl.tasks.copy_delay.task import CopyDelay
from plasticrl.tasks.episodes import make_generator
from plasticrl.tasks.few_shot_regression.config import FewShotRegressionConfig
from plasticrl.tasks.few_shot_regression.task import FewShotRegression
from plasticrl.tasks.recurrent import CoreTask, CoreWithReadout, VectorEpisodes

SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789?"


def sample(task: CoreTask[Any], n_episodes: int = 50) -> VectorEpisodes:
    return task.sample(n_episodes, make_generator(0, "cpu"), held_out=False)


def baseline(task: CoreTask[Any]) -> nn.Module:
    return task.baseline().build()


class Answers(nn.Module):
    """Answers what a function makes of the text of an episode, as logits at every step."""

    def forward(self, inputs: Tensor) -> Tensor:
        digits = [int(answer_to(text)) for text in texts(inputs)]
        one_hot = torch.nn.functional.one_hot(torch.tensor(digits), 10).float()
        return one_hot.expand(len(inputs), -1, -1)


def texts(inputs: Tensor) -> list[str]:
    """The episodes as text; a step without input is a blank."""
    return [
        "".join(SYMBOLS[int(step.argmax())] if step.any() else " " for step in episode)
        for episode in inputs.transpose(0, 1)
    ]


def answer_to(text: str) -> str:
    """The digit after the letter that stands after the question marks."""
    shown, asked = text.split("??")
    return shown[shown.index(asked.strip()) + 1]


@pytest.mark.parametrize("extra_steps", [0, 2])
def test_retrieval_shows_pairs_then_asks_for_one(extra_steps: int) -> None:
    """Otherwise the digit was never shown, a letter has two digits, or another one is correct."""
    config = AssociativeRetrievalConfig(n_pairs=4, extra_steps=extra_steps)
    inputs, targets, counts = sample(AssociativeRetrieval(config))
    assert inputs.shape == (11 + extra_steps, 50, 37)
    assert counts.tolist() == [False] * (10 + extra_steps) + [True]
    assert set(inputs.sum(dim=2).flatten().tolist()) == ({0.0, 1.0} if extra_steps else {1.0})
    for text, target in zip(texts(inputs), targets[-1], strict=True):
        letters, digits = text[0:8:2], text[1:8:2]
        assert letters.isalpha()
        assert len(set(letters)) == 4
        assert digits.isdigit()
        assert text[8:10] == "??"
        assert text[10] in letters
        assert text[11:] == " " * extra_steps
        assert target.tolist() == [float(digit == answer_to(text)) for digit in "0123456789"]
    positions = {text.index(text[10]) // 2 for text in texts(inputs)}
    assert positions == {0, 1, 2, 3}


@pytest.mark.parametrize(("n_pairs", "expected"), [(3, 0.43), (4, 0.3835)])
def test_retrieval_without_binding(n_pairs: int, expected: float) -> None:
    """Otherwise a net that has bound no letter to its digit seems to have learned something.

    The expected score is that of all equally probable digits, of which the most frequent is right
    for as many letters as it has.
    """
    shown = list(product(range(10), repeat=n_pairs))
    share = sum(max(map(digits.count, digits)) for digits in shown) / n_pairs / len(shown)
    assert share == pytest.approx(expected, abs=1e-12)
    config = AssociativeRetrievalConfig(n_pairs=n_pairs, evaluation_episodes=10_000)
    task = AssociativeRetrieval(config)
    measured = task.evaluate(baseline(task))
    assert abs(measured.value - share) < 4 * (share * (1 - share) / 10_000) ** 0.5
    assert task.evaluate(Answers()).value == 1.0


def test_a_copy_repeats_the_numbers_in_order() -> None:
    """Otherwise the net has to answer something else than it was shown, or at other steps."""
    inputs, targets, counts = sample(CopyDelay(CopyDelayConfig(n_values=3, n_blanks=2)))
    assert inputs.shape == (8, 50, 3)
    assert torch.equal(inputs[:3, :, 0], targets[5:, :, 0])
    assert (inputs[3:, :, 0] == 0).all()
    for episode in range(50):
        assert inputs[:, episode, 1].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
        assert inputs[:, episode, 2].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert counts.tolist() == [False] * 5 + [True] * 3
    assert -1 <= targets.min() < -0.9
    assert 0.9 < targets.max() <= 1


def test_the_error_of_a_copy() -> None:
    """Otherwise 1/3, the variance of U(-1, 1), is not what a net without memory has."""

    class Memory(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.roll(5, dims=0)[..., :1]

    task = CopyDelay(CopyDelayConfig(n_values=3, n_blanks=2, evaluation_episodes=4_000))
    assert task.evaluate(Memory()).value == 0
    value, (low, high), _ = task.evaluate(baseline(task))
    assert low < value < high
    assert abs(value - 1 / 3) < 4 * (4 / 45 / 12_000) ** 0.5  # 4/45 is the variance of a square
    assert task.loss(baseline(task), sample(task)).item() == pytest.approx(
        task.measure(baseline(task), sample(task)).mean().item()
    )


@pytest.mark.parametrize("function", ["linear", "tanh"])
def test_regression_shows_points_of_one_function(function: Any) -> None:
    """Otherwise the queries' values do not follow from the points, or are not scaled."""
    config = FewShotRegressionConfig(function=function, n_dimensions=3, n_points=8, n_queries=30)
    inputs, targets, counts = sample(FewShotRegression(config), 400)
    assert inputs.shape == (38, 400, 5)
    points, shown, flag = inputs[..., :3], inputs[..., 3], inputs[..., 4]
    assert counts.tolist() == [False] * 8 + [True] * 30
    assert torch.equal(flag, (~counts).float().unsqueeze(1).expand(-1, 400))
    assert points.abs().max() <= 1
    assert points.var().item() == pytest.approx(1 / 3, rel=0.02)
    torch.testing.assert_close(targets.mean(dim=0), torch.zeros(400, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets.square().mean(dim=0), torch.ones(400, 1))
    assert (shown[8:] == 0).all()
    assert (shown[:8] - targets[:8, :, 0]).std().item() == pytest.approx(0.1, rel=0.05)
    residuals = []
    for episode in range(400):
        matrix = np.column_stack([points[:, episode].double(), np.ones(38)])
        residuals += list(np.linalg.lstsq(matrix, targets[:, episode].double())[1])
    assert (max(residuals) < 1e-8) == (function == "linear")


def test_the_ridge_regression_minimizes_its_penalized_error() -> None:
    """Otherwise nets are compared with something else than a ridge regression.

    The oracle is NumPy's least squares, with a further row for each penalty.
    """
    config = FewShotRegressionConfig(n_dimensions=3, n_points=6, n_queries=4, noise=0.2)
    task = FewShotRegression(config)
    episodes = sample(task)
    answers = baseline(task)(episodes.inputs)
    roots = 0.2 * np.sqrt([1.0, 1.0, 1.0, 10.0])  # n / 3 = 1, and ten steps
    for episode in range(50):
        points = np.column_stack([episodes.inputs[:, episode, :3].double(), np.ones(10)])
        matrix = np.vstack([points[:6], np.diag(roots)])
        values = np.append(episodes.inputs[:6, episode, 3].double(), np.zeros(4))
        expected = points @ np.linalg.lstsq(matrix, values)[0]
        np.testing.assert_allclose(answers[:, episode, 0], expected, atol=1e-5)


def test_the_error_of_a_regression() -> None:
    """Otherwise 0 is not the error of the true function, or 1 that of no answer."""

    class Zero(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.zeros_like(inputs[..., :1])

    sizes = {"n_dimensions": 3, "n_points": 8, "evaluation_episodes": 1_000}
    task = FewShotRegression(FewShotRegressionConfig(**sizes))
    assert task.loss(Zero(), sample(task)).item() == pytest.approx(1.0)
    assert task.evaluate(Zero()).value == pytest.approx(1.0, abs=0.05)
    exact = FewShotRegression(FewShotRegressionConfig(**sizes, noise=1e-4))
    assert exact.evaluate(baseline(exact)).value < 1e-5


@pytest.mark.parametrize("name", [name for name in CELLS if not CELLS[name].takes_labels])
def test_every_core_can_be_trained(name: str) -> None:
    """Otherwise a cell cannot be compared on these tasks."""
    small = {"hidden_size": 4} if hasattr(CELLS[name].config(), "hidden_size") else {}
    config = CopyDelayConfig(core=CELLS[name].config(**small), n_values=2, n_updates=2)
    task = CopyDelay(config)
    net = task.nets()[0].build()
    before = [parameter.clone() for parameter in net.parameters()]
    task.fit(net).run(name, lambda *_: None, lambda: None)
    assert net(sample(task).inputs).shape == (4, 50, 1)
    changed = [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
    assert all(changed[-2:])  # the readout
    assert name == "identity" or any(changed[:-2])


def test_an_ablated_net_is_one_without_plasticity() -> None:
    """Otherwise what is measured beside a net still has traces, or the net itself is changed."""
    torch.manual_seed(0)
    core = PlasticRNNConfig(hidden_size=5, alpha_scale=1.0)
    task = CopyDelay(CopyDelayConfig(core=core))
    net, inputs = task.nets()[0].build(), sample(task).inputs
    assert isinstance(net, CoreWithReadout)
    answers = net(inputs)
    ablated = task.ablate(net)
    assert ablated is not None
    hidden, expected = torch.zeros(50, 5), []
    weight = net.core.connections[0].weight
    for step in inputs:
        hidden = torch.tanh(net.core.project(step) + hidden @ weight.T)
        expected.append(net.readout(hidden))
    torch.testing.assert_close(ablated(inputs), torch.stack(expected))
    assert not torch.allclose(ablated(inputs), answers, atol=1e-3)
    assert torch.equal(net(inputs), answers)
    plain = CopyDelay(CopyDelayConfig(core=GRUConfig(hidden_size=5)))
    assert plain.ablate(plain.nets()[0].build()) is None


def test_a_core_that_needs_labels_is_refused() -> None:
    """Otherwise the user reads an error about widths."""
    with pytest.raises(UsageError, match="core cannot be plastic_readout"):
        CopyDelayConfig(core=PlasticReadoutConfig())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AssociativeRetrievalConfig(n_pairs=27), "n_pairs must be from 1 to 26, not 27"),
        (lambda: AssociativeRetrievalConfig(extra_steps=-1), "extra_steps must be at least 0"),
        (lambda: CopyDelayConfig(n_values=0), "n_values must be at least 1, not 0"),
        (lambda: CopyDelayConfig(n_blanks=-1), "n_blanks must be at least 0, not -1"),
        (lambda: FewShotRegressionConfig(n_queries=0), "n_queries must be at least 1, not 0"),
        (lambda: FewShotRegressionConfig(noise=0.0), "noise must be a finite number above 0"),
    ],
)
def test_impossible_sizes_are_refused(make: Any, message: str) -> None:
    """Otherwise the user reads an error about tensor shapes."""
    with pytest.raises(UsageError, match=message):
        make()


def core_of(*flags: str) -> Any:
    config = parse_training("copy-delay-quickstart", flags)
    assert isinstance(config, CoreTaskConfig)
    return config.core


def test_flags_choose_the_core_and_its_options() -> None:
    """Otherwise these tasks cannot compare cores, as agents can."""
    assert core_of() == PlasticRNNConfig(hidden_size=50)
    assert core_of("--core.name", "gru", "--core.hidden-size", "40") == GRUConfig(hidden_size=40)
    assert core_of("--core.name=gru") == GRUConfig(hidden_size=50)
    modulated = PlasticRNNConfig(hidden_size=50, modulation="simple", fan_out=True)
    assert core_of("--core.modulation", "simple", "--core.fan-out") == modulated


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--core.name gpu", "--core.name must be one of rnn, gru, lstm"),
        ("--core.name plastic_readout", "--core.name must be one of rnn, gru, lstm"),
        ("--core.name gru --core.clip 1", "there is no flag --core.clip here"),
        ("--core.fan-out", "--core.fan-out has no meaning with --core.modulation none"),
        ("--core.hidden-size 0", "--core.hidden-size must be"),
    ],
)
def test_a_wrong_flag_of_the_core_gets_one_line(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the flag is ignored, or the user reads a traceback."""
    run = tmp_path / "run"
    argv = ["copy-delay-quickstart", *flags.split(), "--run-dir", str(run)]
    assert run_command("train", argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not run.exists()


def test_a_run_tells_what_the_net_does_without_its_plasticity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise it is not printed, or an option of the preset is dropped without a word."""
    sizes = ["--n-updates", "2", "--batch-size", "2", "--evaluation-episodes", "5"]
    sizes += ["--n-values", "2", "--core.hidden-size", "4"]
    for core, is_plastic in (("stpn", True), ("gru", False)):
        run = tmp_path / core
        argv = ["copy-delay-paper", *sizes, "--core.name", core, "--run-dir", str(run)]
        assert run_command("train", argv) == 0
        said = capsys.readouterr().err
        assert "settings of the preset are dropped: core.inner_size=256\n" in said
        assert RunDirectory.open(run).dropped == {"core.inner_size": 256}
        assert ("plasticity ablated" in said) == is_plastic
        assert run_command("evaluate", [str(run)]) == 0
        assert ("plasticity ablated: " in capsys.readouterr().out) == is_plastic
