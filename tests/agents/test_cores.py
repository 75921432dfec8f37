"""The core of a policy, where it is a cell of the user's own."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plasticrl.agents import RecurrentA2C, check_recurrent
from plasticrl.core import Cell
from plasticrl.core.cells.rnn import RNN
from plasticrl.runs import UsageError


class OwnState(NamedTuple):
    hidden: Tensor


class Own(Cell[OwnState]):
    """tanh( W u(t) + b + factor * V x(t-1) ); with ``factor`` 1 it is the cell ``rnn``."""

    def __init__(self, input_size: int, hidden_size: int, factor: float = 1.0) -> None:
        super().__init__(input_size, hidden_size)
        self.factor = factor
        self.input = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)

    def initial_state(self, batch_size: int) -> Any:
        return OwnState(self.recurrent.weight.new_zeros(batch_size, self.hidden_size))

    def step(self, projected: Tensor, state: OwnState) -> tuple[Tensor, Any]:
        hidden = torch.tanh(self.input(projected) + self.factor * self.recurrent(state.hidden))
        return hidden, OwnState(hidden)


def make(algorithm: Any, core: Any, env: Any = "CartPole-v1", **core_kwargs: Any) -> Any:
    kwargs = {"core": core, "core_kwargs": core_kwargs, "backend": "auto"}
    return algorithm("PlasticPolicy", env, n_steps=8, seed=0, policy_kwargs=kwargs, device="cpu")


def test_it_learns_as_the_same_cell_of_ours(algorithm: Any) -> None:
    """Otherwise its weights are not in the optimizer, or its state is lost."""
    ours, own = make(algorithm, "rnn", hidden_size=6), make(algorithm, Own, hidden_size=6)
    assert isinstance(ours.policy.core, RNN)
    before = own.policy.core.recurrent.weight.clone()
    own.policy.load_state_dict(ours.policy.state_dict())
    for model in (ours, own):
        model.set_random_seed(1)
        model.learn(64)
    assert not torch.equal(before, own.policy.core.recurrent.weight)
    for name, weight in ours.policy.state_dict().items():
        torch.testing.assert_close(own.policy.state_dict()[name], weight, atol=1e-5, rtol=1e-4)


def test_it_is_saved_and_loaded(algorithm: Any, tmp_path: Path) -> None:
    """Otherwise the loaded model has the default core, or other options."""
    model = make(algorithm, Own, hidden_size=6, factor=0.5)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    policies = [
        algorithm.load(tmp_path / "model", device="cpu").policy,
        type(model.policy).load(tmp_path / "policy", device="cpu"),
    ]
    obs = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    for policy in policies:
        assert (type(policy.core), policy.core.factor) == (Own, 0.5)
        states: list[Any] = [None, None]
        for seen in obs:
            for which, one in enumerate((model.policy, policy)):
                _, states[which] = one.predict(seen, states[which], deterministic=True)
        np.testing.assert_array_equal(*(state[0] for state in states))


def test_every_property_holds() -> None:
    """Otherwise a part of the package handles only the states of its own cells."""
    report = check_recurrent(lambda env: make(RecurrentA2C, Own, env, hidden_size=6))
    report.raise_if_failed()
    assert report.not_tested == ()


class FlatState(Own):
    def initial_state(self, batch_size: int) -> Any:
        return OwnState(torch.zeros(self.hidden_size))


class TensorState(Own):
    def initial_state(self, batch_size: int) -> Any:
        return torch.zeros(batch_size, self.hidden_size)


class StateGrows(Own):
    def step(self, projected: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, _ = super().step(projected, state)
        return hidden, OwnState(torch.cat([hidden, hidden], dim=1))


class WideOutput(Own):
    def step(self, projected: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = super().step(projected, state)
        return torch.cat([hidden, hidden], dim=1), state


class Learned(Own):
    """Its initial state is trained, and the same tensor for all rows."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.initial = nn.Parameter(torch.linspace(-1, 1, hidden_size))

    def initial_state(self, batch_size: int) -> Any:
        return OwnState(self.initial.expand(batch_size, self.hidden_size))


def test_an_initial_state_that_is_learned() -> None:
    """Acting changes a state in place, so it must not be the weight itself."""
    model = make(RecurrentA2C, Learned, hidden_size=6)
    before = model.policy.core.initial.detach().clone()
    model.predict(np.zeros((2, 4), np.float32))
    assert torch.equal(model.policy.core.initial, before)
    model.learn(200)  # episodes begin within rollouts, which gives it a gradient
    assert not torch.equal(model.policy.core.initial, before)
    check_recurrent(lambda env: make(RecurrentA2C, Learned, env, hidden_size=6)).raise_if_failed()


class Abstract(Cell[OwnState]):
    def initial_state(self, batch_size: int) -> Any:
        return OwnState(torch.zeros(batch_size, self.hidden_size))


class Fraction(Own):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size * 1.0  # type: ignore[assignment]


class TwoRows(Own):
    def initial_state(self, batch_size: int) -> Any:
        return OwnState(torch.zeros(2, self.hidden_size))


class Nested(Own):
    def initial_state(self, batch_size: int) -> Any:
        return OwnState(super().initial_state(batch_size))


class Doubles(Own):
    def initial_state(self, batch_size: int) -> Any:
        return OwnState(torch.zeros(batch_size, self.hidden_size, dtype=torch.float64))


class Halves(Own):
    def step(self, projected: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = super().step(projected, state)
        return hidden.half(), state


class InPlace(Own):
    def step(self, projected: Tensor, state: Any) -> tuple[Tensor, Any]:
        state.hidden.add_(1)
        return super().step(projected, state)


class Broken(Own):
    def step(self, projected: Tensor, state: Any) -> tuple[Tensor, Any]:
        raise KeyError("gate")


FOUR = {"hidden_size": 4}


@pytest.mark.parametrize(
    ("core", "options", "sentence"),
    [
        (Abstract, FOUR, "core=Abstract cannot be built: it does not define step"),
        (Fraction, FOUR, "Fraction.hidden_size must be an integer of at least 1, not 4.0"),
        (TwoRows, FOUR, r"TwoRows.*: state.hidden must have shape \(3, 4\), not \(2, 4\)"),
        (Nested, FOUR, "the state of Nested.* must be tensors, or None, not a OwnState"),
        (Doubles, FOUR, "the state of Doubles.* must have the dtype float32, not torch.float64"),
        (Halves, FOUR, "the output and .* of Halves must have the dtype float32, not .*float16"),
        (InPlace, FOUR, "InPlace.step must return a new state, and leave the old one unchanged"),
        (Broken, FOUR, "a step of Broken with 2 rows: KeyError: 'gate'"),
        (nn.GRUCell, {}, "class that inherits plasticrl.core.Cell, not <class '.*GRUCell'>"),
        ("own", {}, "core must be one of rnn, gru, .*, not 'own'"),
        (Own(4, 4), {}, r"core must be .*, not Own\( \(input\): Linear"),
        (Own, {}, "core_kwargs do not fit Own: missing a required argument: 'hidden_size'"),
        (Own, {"hidden_size": 4, "rate": 1}, "do not fit Own: got an unexpected .* 'rate'"),
        (TensorState, {"hidden_size": 4}, "initial_state must return a NamedTuple .* not a Tensor"),
        (FlatState, {"hidden_size": 4}, r"FlatState.*: state.hidden must have shape \(2,\)"),
        (StateGrows, {"hidden_size": 4}, r"hidden must have shape \(2, 4\), not \(2, 8\)"),
        (WideOutput, {"hidden_size": 4}, r"output must have shape \(2, 4\), .* not \(2, 8\)"),
    ],
)
def test_an_invalid_core_is_named(core: Any, options: dict[str, Any], sentence: str) -> None:
    """Otherwise it is an error of torch's, about shapes that the user never wrote."""
    with pytest.raises(UsageError, match=sentence):
        make(RecurrentA2C, core, **options)
