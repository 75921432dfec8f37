"""A complete A2C iteration on the grid maze, rollout and training, eager against fused core."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.measuring import MILLI, Settings, in_turn
from benchmarks.report import Row, Table
from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.training.presets import maze_quickstart
from plasticrl.agents.training.variants import vary_config

N_STEPS, QUICK_N_STEPS = 200, 20
N_NEURONS, QUICK_N_NEURONS = 100, 32


@dataclass(frozen=True)
class Case:
    """A net and a number of environments."""

    n_envs: int = 30
    net_arch: tuple[int, ...] = ()
    """Units in the layers between core and heads."""
    core: dict[str, Any] = field(default_factory=dict)
    """Options other than those of the preset ``maze-quickstart``."""


CASES = {
    "simple modulation": Case(),
    "simple modulation, heads with two layers of 64": Case(net_arch=(64, 64)),
    "retroactive modulation": Case(core={"modulation": "retroactive"}),
    "simple modulation, 256 environments": Case(n_envs=256),
    "plastic LSTM, simple modulation": Case(core={"name": "plastic_lstm"}),
}

NOTES = (
    "Both alternate in one process, each with its own model and environments from the same seed.",
    "rollout: acting, environments and returns; train: logging, loss, gradient and update.",
    "eager: the core uses the eager backend in rollout and loss; everything else is the same.",
)


class Parts(NamedTuple):
    """Seconds of one iteration."""

    iteration: float
    rollout: float
    train: float


class _Clock(BaseCallback):
    """Records when the rollout starts and ends."""

    def _on_rollout_start(self) -> None:
        self.rollout_start = perf_counter()

    def _on_rollout_end(self) -> None:
        self.rollout_end = perf_counter()

    def _on_step(self) -> bool:
        return True


def measure(settings: Settings) -> list[Table]:
    """One table for each case, with the iteration and its two parts."""
    return [_compare(name, case, settings) for name, case in CASES.items()]


def _compare(name: str, case: Case, settings: Settings) -> Table:
    n_steps = QUICK_N_STEPS if settings.quick else N_STEPS
    n_neurons = QUICK_N_NEURONS if settings.quick else N_NEURONS
    actions = {
        backend: learner(case, settings.threads, n_steps, n_neurons, backend)
        for backend in ("eager", "auto")
    }
    in_turn(actions, 1)  # warm-up
    parts = in_turn(actions, settings.repeat)
    rows = [_row(part, parts) for part in Parts._fields]
    size = f"{case.n_envs} environments x {n_steps} steps, N = {n_neurons}"
    return Table(f"GridMaze 9 x 9, {size}, {name}", rows, NOTES)


def learner(
    case: Case, threads: int, n_steps: int, n_neurons: int, backend: str = "auto"
) -> Callable[[], Parts]:
    """Return a function that runs the next iteration of a model of its own."""
    core = {"hidden_size": n_neurons, **case.core}
    settings: dict[str, Any] = {
        "n_envs": case.n_envs,
        "threads": threads,
        "a2c.n_steps": n_steps,
        "a2c.net_arch": case.net_arch,
        # learn() trains for one iteration, at whose end a decayed learning rate would be zero.
        "a2c.learning_rate_decay": 0.0,
    }
    settings |= {f"core.{option}": value for option, value in core.items()}
    config, _ = vary_config(maze_quickstart(), settings)
    model = build_model(config, build_env(config, config.n_envs))
    model.policy.backend = backend

    def iterate() -> Parts:
        clock = _Clock()
        model.learn(case.n_envs * n_steps, callback=clock, reset_num_timesteps=False)
        end = perf_counter()
        start, middle = clock.rollout_start, clock.rollout_end
        return Parts(end - start, middle - start, end - middle)

    return iterate


def _row(part: str, parts: dict[str, list[Parts]]) -> Row:
    eager = median(getattr(one, part) for one in parts["eager"])
    auto = median(getattr(one, part) for one in parts["auto"])
    return {
        "part": part,
        "eager [ms]": eager / MILLI,
        "auto [ms]": auto / MILLI,
        "eager / auto": eager / auto,
    }
