"""Episodes of patterns, worked by hand, and the nets' sizes."""

from typing import Any

import pytest
import torch

from plasticrl.runs import UsageError
from plasticrl.tasks.episodes import make_generator
from plasticrl.tasks.patterns.config import PatternsConfig
from plasticrl.tasks.patterns.nets import Associator, LSTMAssociator, NonPlastic
from plasticrl.tasks.patterns.task import Patterns
from plasticrl.tasks.registry import PRESETS

SMALL = PatternsConfig(n_bits=8, n_patterns=3, n_cycles=2, steps_on=2, steps_off=1, probe_steps=2)


def test_an_episode_shows_every_pattern_in_every_cycle_then_half_of_one() -> None:
    """Otherwise the target was never shown, or the probe shows all of it."""
    inputs, target, patterns = Patterns(SMALL).sample(20, make_generator(0, "cpu"), held_out=False)
    assert inputs.shape == (3 * 2 * 3 + 2, 20, 9)
    assert (inputs[..., 8] == 1).all()
    bits = inputs[..., :8]
    for b in range(20):
        cycles = [bits[:9, b], bits[9:18, b]]
        for cycle in cycles:
            for k in range(3):
                on, off = cycle[3 * k : 3 * k + 2], cycle[3 * k + 2]
                assert torch.equal(on[0], on[1])
                assert (on.abs() == 1).all()
                assert (off == 0).all()
            assert any(torch.equal(cycle[3 * k], target[b]) for k in range(3))
        shown = [sorted(cycle[3 * k].tolist() for k in range(3)) for cycle in cycles]
        assert shown[0] == shown[1] == sorted(patterns[b].tolist())
        assert torch.equal(bits[18, b], bits[19, b])
        assert (bits[18, b] == 0).sum() == 4
        assert ((bits[18, b] == target[b]) | (bits[18, b] == 0)).all()


def test_the_measure_is_the_share_of_wrong_bits() -> None:
    """Otherwise a reported error of 1 % is not an error of 1 %."""
    task = Patterns(SMALL)
    episodes = task.sample(2, make_generator(0, "cpu"), held_out=True)
    answer = episodes.target.clone()
    answer[1, :2] *= -0.1

    class Oracle(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(answer, (0, 1))

    assert task.measure(Oracle(), episodes).tolist() == [0.0, 0.25]
    assert task.loss(Oracle(), episodes) == pytest.approx(2 * 1.1**2 / 16)


def test_published_parameter_counts() -> None:
    """Otherwise the nets are not those of DP 2018, whose LSTM has one bias and torch's two."""

    def count(net: torch.nn.Module) -> int:
        return sum(p.numel() for p in net.parameters() if p.requires_grad)

    assert count(Associator(1001, 20.0)) == 2_004_003
    assert count(Associator(51, 20.0)) == 5_203
    assert count(NonPlastic(51, 2051, 20.0)) == 4_206_601
    assert count(LSTMAssociator(51, 2000)) == 16_416_000 + 4 * 2000


def test_the_control_is_the_plastic_net_without_plasticity() -> None:
    """Otherwise the two differ in more than plasticity."""
    plastic, control = Associator(9, 20.0), NonPlastic(9, 9, 20.0)
    connection = plastic.cell.connection
    assert connection is not None
    torch.nn.init.zeros_(connection.alpha)
    control.weight.data.copy_(connection.weight)
    inputs = Patterns(SMALL).sample(3, make_generator(0, "cpu"), held_out=False).inputs * 0.01
    assert inputs.abs().max() > 0
    torch.testing.assert_close(control(inputs), plastic(inputs))
    wider = NonPlastic(9, 12, 20.0)
    wider.weight.data.zero_()
    wider.weight.data[:9, :9] = connection.weight
    torch.testing.assert_close(wider(inputs), plastic(inputs))


def test_impossible_sizes_are_refused() -> None:
    """Otherwise the user reads an error about tensor shapes."""
    with pytest.raises(UsageError, match="rnn_control must be 0 or above n_bits=8"):
        PatternsConfig(n_bits=8, rnn_control=5)
    with pytest.raises(UsageError, match="n_patterns must be at least 1"):
        PatternsConfig(n_patterns=0)


def test_the_paper_presets_have_the_paper_s_length() -> None:
    """Otherwise results of different tasks are compared."""
    lengths = []
    for name in ("patterns-paper", "patterns-comparison"):
        config = PRESETS[name]()
        assert isinstance(config, PatternsConfig)
        lengths.append(len(Patterns(config).sample(1, make_generator(0, "cpu"), False).inputs))
    assert lengths == [106, 11]


def test_training_stops_at_the_target_and_no_sooner() -> None:
    """Otherwise the number of episodes is meaningless, or depends on a lucky batch."""
    small = PatternsConfig(n_bits=4, target_error=0.01)
    task = Patterns(small)

    class KnownAnswer(torch.nn.Module):
        def __init__(self, wrong: bool) -> None:
            super().__init__()
            self.wrong = wrong

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.answer * (-1 if self.wrong else 1)

    right, wrong = KnownAnswer(wrong=False), KnownAnswer(wrong=True)
    sample = task.sample

    def remember_answer(*arguments: Any, **options: Any) -> Any:
        episodes = sample(*arguments, **options)
        right.answer = wrong.answer = torch.nn.functional.pad(episodes.target, (0, 1))
        return episodes

    task.sample = remember_answer  # type: ignore[method-assign]
    assert task.target_reached(right, 50)
    assert not task.target_reached(right, 51)  # not an update at which the target is checked
    assert not task.target_reached(wrong, 50)
    assert not Patterns(PatternsConfig(n_bits=4)).target_reached(right, 50)


def test_the_controls_have_a_learning_rate_of_their_own() -> None:
    """Otherwise the option does nothing."""
    sizes = {"n_bits": 4, "rnn_control": 20, "lstm_control": 6}
    task = Patterns(PatternsConfig(**sizes, learning_rate=0.5, control_learning_rate=0.25))
    rates = [task.learning_rate(net.build(), 0) for net in task.nets()]
    assert rates == [0.5, 0.5, 0.25, 0.25]
