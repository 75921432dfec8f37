"""RecurrentPPO against sb3-contrib's, which stores the recurrent state at every step.

    python -m benchmarks.run --only ppo

sb3-contrib's ``RecurrentPPO`` has an LSTM only. To run it with a plastic core, ``Packed`` gives the
core the interface of ``nn.LSTM``, with the two halves of the core's state in place of the hidden
and the cell state.
"""

import json
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from benchmarks.measuring import Settings, in_turn, seconds
from benchmarks.memory import MB, in_new_process, peak_growth
from benchmarks.report import Row, Table
from plasticrl.agents.env_util import make_vec_env
from plasticrl.agents.recurrent_ppo import RecurrentPPO
from plasticrl.core import Cell, build_cell, sequence
from plasticrl.core.state import leaves, unflatten

ENV_ID = "plasticrl/GridMaze-v0"
ENV_KWARGS = {"size": 9}
BATCH_SIZE = 256
NET_ARCH = {"pi": [64, 64], "vf": [64, 64]}
SEED = 0


class Size(NamedTuple):
    """The size of a training."""

    n_steps: int
    n_envs: int
    n_neurons: int
    n_epochs: int
    n_timed: int
    """The number of rollouts that are timed, after the one whose memory is measured."""


TINY = Size(n_steps=2, n_envs=1, n_neurons=8, n_epochs=1, n_timed=1)
"""The size of a run whose only purpose is to load the libraries and compile the loops."""
QUICK = Size(n_steps=16, n_envs=2, n_neurons=16, n_epochs=2, n_timed=1)
FULL = Size(n_steps=128, n_envs=8, n_neurons=200, n_epochs=10, n_timed=3)

CORES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}),
    "plastic_rnn": ("plastic_rnn", {"modulation": "simple", "fan_out": True}),
}
"""The measured cores: their cells and options."""
LIBRARIES = ("plasticrl", "sb3-contrib")
NOTES = (
    f"Minibatches of {BATCH_SIZE} steps, layers of {NET_ARCH['pi']} for each head, the same native "
    "batch, one core for actor and critic; each training in a new process, in turn.",
    "Memory: the peak while the model is made and learns from its first rollout, above that of a "
    "process that has loaded all libraries and loops.",
    "Steps per second: acting and learning in the rollouts after the first. An episode has 200 "
    "steps; of three rollouts of 128 steps, the ends of episodes fall into two.",
    "States: the bytes of the recurrent states that are stored for learning.",
    "sb3-contrib with plastic_rnn: the same core and backend, with the interface of an LSTM.",
)
MISSING = "sb3-contrib is not installed: pip install sb3-contrib"


class Measured(NamedTuple):
    """The results of one training."""

    states: float
    """The stored recurrent states in MB."""
    memory: float
    """The peak memory in MB."""
    speed: float
    """Steps per second."""


QUANTITIES = ("stored states [MB]", "peak memory [MB]", "speed [steps/s]")
"""The results by the names in the table, in the order of ``Measured``."""


def measure(settings: Settings) -> list[Table]:
    """One table, with three rows for each core."""
    size = QUICK if settings.quick else FULL
    title = (
        f"GridMaze 9 x 9, {size.n_steps} steps x {size.n_envs} environments, N = {size.n_neurons}, "
        f"{size.n_epochs} epochs"
    )
    if find_spec("sb3_contrib") is None:
        return [Table(title, [], (MISSING,))]
    rows = [row for core in CORES for row in _rows(core, size, settings)]
    return [Table(title, rows, NOTES)]


def _rows(core: str, size: Size, settings: Settings) -> list[Row]:
    actions = {
        library: partial(in_new_process, __name__, library, core, size, settings.threads)
        for library in LIBRARIES
    }
    runs = in_turn(actions, settings.repeat)
    medians = {
        library: Measured(*map(median, zip(*runs[library], strict=True))) for library in LIBRARIES
    }
    ours, theirs = (medians[library] for library in LIBRARIES)
    gain = Measured(
        theirs.states / ours.states, theirs.memory / ours.memory, ours.speed / theirs.speed
    )
    return [
        {"core": core, "": name, "plasticrl": mine, "sb3-contrib": other, "times better": times}
        for name, mine, other, times in zip(QUANTITIES, ours, theirs, gain, strict=True)
    ]


def train(library: str, core: str, size: Size, threads: int) -> Measured:
    """Train in this process; it must be a new one, so that no free memory hides the growth."""
    torch.set_num_threads(threads)
    make = {"plasticrl": _ours, "sb3-contrib": _theirs}[library]
    make(core, TINY).learn(TINY.n_steps * TINY.n_envs)
    rollout = size.n_steps * size.n_envs
    models: list[OnPolicyAlgorithm] = []
    memory = peak_growth(lambda: models.append(make(core, size).learn(rollout)))
    (model,) = models
    steps = size.n_timed * rollout
    time = seconds(lambda: model.learn(steps, reset_num_timesteps=False))
    return Measured(_stored_bytes(model) / MB, memory, steps / time)


def _stored_bytes(model: Any) -> int:
    if isinstance(model, RecurrentPPO):
        return sum(leaf.nbytes for leaf in leaves(model._start_state))
    buffer = model.rollout_buffer
    parts = ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")
    return sum(getattr(buffer, part).nbytes for part in parts)


def _env(n_envs: int) -> VecEnv:
    return make_vec_env(ENV_ID, n_envs, SEED, env_kwargs=ENV_KWARGS)


def _options(size: Size) -> dict[str, Any]:
    return {
        "n_steps": size.n_steps,
        "batch_size": BATCH_SIZE,
        "n_epochs": size.n_epochs,
        "seed": SEED,
        "device": "cpu",
    }


def _ours(core: str, size: Size) -> OnPolicyAlgorithm:
    name, options = CORES[core]
    policy_kwargs = {
        "core": name,
        "core_kwargs": {"hidden_size": size.n_neurons, **options},
        "net_arch": NET_ARCH,
    }
    return RecurrentPPO(
        "PlasticPolicy", _env(size.n_envs), policy_kwargs=policy_kwargs, **_options(size)
    )


def _theirs(core: str, size: Size) -> OnPolicyAlgorithm:
    import sb3_contrib  # imported here since it is optional

    policy_kwargs = {
        "lstm_hidden_size": size.n_neurons,
        "net_arch": NET_ARCH,
        "shared_lstm": True,
        "enable_critic_lstm": False,
    }
    policy: Any = "MlpLstmPolicy" if core == "lstm" else _packed_policy(core)
    model: OnPolicyAlgorithm = sb3_contrib.RecurrentPPO(
        policy, _env(size.n_envs), policy_kwargs=policy_kwargs, **_options(size)
    )
    return model


class Packed(nn.Module):
    """A cell with the interface of an ``nn.LSTM`` of one layer.

    Args:
        cell: its state of S numbers is packed into a hidden and a cell state of
            ``hidden_size = ceil(S / 2)`` numbers each.
    """

    num_layers = 1

    def __init__(self, cell: Cell[Any]) -> None:
        super().__init__()
        self.cell = cell
        self.input_size = cell.input_size
        self.shapes = [leaf.shape[1:] for leaf in leaves(cell.initial_state(1))]
        self.hidden_size = -(-sum(shape.numel() for shape in self.shapes) // 2)

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs (T, B, N) and the state after them, from inputs (T, B, F) and a state."""
        packed = torch.cat(state, dim=2).squeeze(0)
        sizes = [shape.numel() for shape in self.shapes]
        padding = packed.shape[1] - sum(sizes)
        parts = torch.split(packed, [*sizes, padding], dim=1)[: len(sizes)]
        tensors = [part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        template = self.cell.initial_state(0)
        outputs, after = sequence(self.cell, inputs, unflatten(template, tensors))
        flat = [leaf.flatten(1) for leaf in leaves(after)]
        packed = torch.cat([*flat, packed.new_zeros(len(packed), padding)], dim=1)
        hidden, cell = packed.unsqueeze(0).chunk(2, dim=2)
        return outputs, (hidden, cell)


def _packed_policy(core: str) -> type:
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

    class PackedPolicy(RecurrentActorCriticPolicy):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            name, cell_options = CORES[core]
            cell = build_cell(
                name, self.features_dim, hidden_size=self.lstm_output_dim, **cell_options
            )
            packed: Any = Packed(cell)
            self.lstm_actor = packed
            self.lstm_hidden_state_shape = (1, 1, packed.hidden_size)
            [group] = self.optimizer.param_groups
            optimizer_class: Any = self.optimizer_class
            self.optimizer = optimizer_class(
                self.parameters(), lr=group["lr"], **self.optimizer_kwargs
            )

    return PackedPolicy


if __name__ == "__main__":
    library, core, size, threads = json.loads(sys.argv[1])
    print(json.dumps(train(library, core, Size(*size), threads)))
