"""Damaged and hostile files: every loader gives a result or one of the user's errors.

``python tests/test_fuzz.py 200000 [FIRST]`` runs more inputs, from the seed ``FIRST`` on. It prints
every class of outcome, the worst time and the largest memory.
"""

import copy
import io
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticrl.agents.training.config import open_run
from plasticrl.agents.training.run import TrainingRun
from plasticrl.agents.training.sizes import check_run_memory
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.recording import record_episode
from plasticrl.commands import run_command
from plasticrl.commands.evaluate import _say_measured
from plasticrl.commands.program import LONGEST_MESSAGE, printable
from plasticrl.runs import (
    RunDirectory,
    UsageError,
    latest_checkpoint,
    load_checkpoint,
    read_metrics,
    read_series,
    save_checkpoint,
)
from plasticrl.tasks.training import SupervisedRun
from plasticrl.viewer import ViewerError, load_npz, save_npz

N_INPUTS = 2_000
SLOWEST = 10.0
"""Seconds for one input."""

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**18, 10**400, -(10**30)),
    *(0.5, -0.0, 1e-320, 1e300, -1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "\x1b[31mred\x1b[0m", "[bold]markup[/bold]", "a\nb\r\x00", "\ud800", "∞" * 3000),
    *("None", "plastic_rnn", "cuda", "auto", "../../etc/passwd", "os:system", "CartPole-v1"),
    *([], [1, 2], {}, {"a": {"b": {"c": []}}}, [[[[[]]]]], ["x"] * 1000),
]
"""Values in the place of others in JSON."""


def train(name: str, *flags: str) -> Path:
    run = Path(tempfile.mkdtemp()) / "run"
    assert run_command("train", [name, *flags, "--run-dir", str(run)]) == 0
    return run


@cache
def agent() -> Path:
    """A small agent's run, with a curriculum."""
    return train(
        *("cue-reward-tuned", "--n-envs=2", "--a2c.n-steps=4", "--core.hidden-size=3"),
        *("--total-timesteps=16", "--env-kwargs", "episode_length=5", "cue_bits=9"),
    )


@cache
def net() -> Path:
    """A small supervised run."""
    sizes = ("--n-updates=3", "--batch-size=2", "--evaluation-episodes=3", "--no-controls")
    return train("bohp-quickstart", *sizes)


@cache
def episode() -> bytes:
    """A recorded episode's file."""
    path = Path(tempfile.mkdtemp()) / "episode.npz"
    save_npz(record_episode(TrainedAgent.load(agent()), 1, None), path)
    return path.read_bytes()


def in_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flipped, cut, repeated, inserted or swapped bytes."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 20))):
        at = rng.randrange(len(damaged) + 1) if damaged else 0
        kind = rng.randrange(5)
        if kind == 0 and at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del damaged[at : at + rng.choice((1, 10, 10**6))]
        elif kind == 2:
            damaged[at:at] = rng.randbytes(rng.choice((1, 9)))
        elif kind == 3:
            damaged[at:at] = damaged[: rng.choice((4, 300))]
        else:
            damaged[at : at + 8] = rng.choice((b"\0" * 8, b"\xff" * 8, b'{"a":[[['))
    return bytes(damaged)


def in_tree(tree: Any, rng: random.Random, odd: Callable[[Any], Any]) -> Any:
    """A copy of nested data with an entry replaced, removed, added or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 5))):
        places = list(_places(tree))
        if not places:
            return odd(tree)
        parent, key = rng.choice(places)
        kind = rng.randrange(4)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("new", "name", "", "core", "x" * 300))] = odd(parent[key])
        elif kind == 2 and isinstance(parent, list):
            parent.append(odd(parent[key]))
        else:
            parent[key] = odd(parent[key])
    return tree


def _places(tree: Any) -> Any:
    """All (container, key) pairs of nested dicts and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def odd_json(rng: random.Random) -> Callable[[Any], Any]:
    return lambda _: copy.deepcopy(rng.choice(ODD))


def odd_tensor(rng: random.Random) -> Callable[[Any], Any]:
    """A tensor of another type, shape or value, or a value of JSON."""

    def odd(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or rng.random() < 0.2:
            allowed = [item for item in ODD if not (isinstance(item, str) and "\ud800" in item)]
            return copy.deepcopy(rng.choice(allowed))
        kind = rng.randrange(7) if value.layout == torch.strided else 2
        if kind == 0:
            return value.to(rng.choice((torch.complex64, torch.float16, torch.int8, torch.bool)))
        if kind == 1:
            return value.flatten()[: rng.randrange(value.numel() + 1)]
        if kind == 2:
            return torch.zeros(rng.choice(((), (0,), (1, 1, 1, 1), (2, 3))))
        if kind == 3:
            return value.to_sparse() if value.dim() else value.unsqueeze(0)
        if kind == 4:
            return value[..., None].expand(*value.shape, 1000)
        if not value.numel():
            return value.to("meta")
        spoiled = value.clone()
        numbers = (torch.nan, torch.inf, 1e30)
        if not (value.is_floating_point() or value.is_complex()):
            limits = torch.iinfo(value.dtype) if value.dtype != torch.bool else None
            numbers = (0, 1) if limits is None else (limits.min, limits.max)
        spoiled.view(-1)[rng.randrange(value.numel())] = rng.choice(numbers)
        return spoiled

    return odd


class Target:
    """One kind of file: how it is damaged, and what reads it. ``folder`` is empty at first."""

    def damage(self, folder: Path, rng: random.Random) -> None:
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        raise NotImplementedError


def copied(run: Path, folder: Path) -> Path:
    """Links to the files of a run, in a folder of their own."""
    for path in run.rglob("*"):
        target = folder / path.relative_to(run)
        if path.is_file() and path.name.startswith(("config", "metrics", "evaluation", "step_")):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    return folder


def replace_file(path: Path, contents: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(contents)


class Json(Target):
    """A JSON file of a run."""

    def __init__(self, run: Callable[[], Path], name: str, read: Callable[[Path], Any]) -> None:
        self.run, self.name, self.read = run, name, read

    def damage(self, folder: Path, rng: random.Random) -> None:
        path = copied(self.run(), folder) / self.name
        text = path.read_bytes()
        if rng.random() < 0.4:
            replace_file(path, in_bytes(text, rng))
            return
        lines = text.splitlines() if self.name.endswith(".jsonl") else [text]
        number = rng.randrange(len(lines))
        lines[number] = json.dumps(in_tree(json.loads(lines[number]), rng, odd_json(rng))).encode()
        replace_file(path, b"\n".join([*lines, b""]))

    def load(self, folder: Path) -> None:
        self.read(folder)


class Checkpoint(Target):
    """A checkpoint, damaged as a file, or with other contents and the right checksum."""

    def __init__(self, run: Callable[[], Path], below: str, read: Callable[[Path], Any]) -> None:
        self.run, self.below, self.read = run, below, read

    def damage(self, folder: Path, rng: random.Random) -> None:
        path = latest_checkpoint(copied(self.run(), folder) / self.below)
        if rng.random() < 0.3:
            replace_file(path, in_bytes(path.read_bytes(), rng))
            return
        content = in_tree(load_checkpoint(path), rng, odd_tensor(rng))
        for other in path.parent.iterdir():
            other.unlink()
        step = int(path.stem.partition("_")[2])
        try:
            save_checkpoint(path.parent, step, content if isinstance(content, dict) else {})
        except TypeError:  # a key or a number that no checkpoint can hold
            save_checkpoint(path.parent, step, {})

    def load(self, folder: Path) -> None:
        self.read(folder)


class Episode(Target):
    """A recorded episode."""

    def damage(self, folder: Path, rng: random.Random) -> None:
        (folder / "episode.npz").write_bytes(in_bytes(episode(), rng))

    def load(self, folder: Path) -> None:
        load_npz(folder / "episode.npz")


def open_agent(folder: Path) -> None:
    """What ``train --resume`` and ``evaluate`` do before anything is trained or played."""
    _, config = open_run(folder)
    check_run_memory(config)


def resume_agent(folder: Path) -> None:
    TrainingRun.resume(folder).close()


def resume_net(folder: Path) -> None:
    run = SupervisedRun.resume(folder)
    run.measured.clear()
    for _ in run.learn():
        pass


def series(folder: Path) -> None:
    read_metrics(folder / "metrics.jsonl")
    read_series(folder / "metrics.jsonl", "rollout/ep_rew_mean")


TARGETS: dict[str, Target] = {
    "agent's config": Json(agent, "config.json", open_agent),
    "net's config": Json(net, "config.json", SupervisedRun.resume),
    "metrics": Json(agent, "metrics.jsonl", series),
    "evaluation": Json(
        net, "evaluation.json", lambda folder: _say_measured(RunDirectory.open(folder), False)
    ),
    "evaluation, resumed": Json(net, "evaluation.json", SupervisedRun.resume),
    "agent's weights": Checkpoint(agent, "checkpoints", TrainedAgent.load),
    "agent's checkpoint": Checkpoint(agent, "checkpoints", resume_agent),
    "net's checkpoint": Checkpoint(net, "checkpoints/0", resume_net),
    "episode": Episode(),
}


def outcome(target: Target, seed: int) -> tuple[str, float]:
    """Damage and load one input; return the kind of outcome and the seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target.damage(folder, random.Random(seed))
        started = time.perf_counter()
        try:
            target.load(folder)
            kind = "loaded"
        except (UsageError, ViewerError) as error:
            said = printable(str(error))
            assert said.isprintable()
            assert len(said) <= LONGEST_MESSAGE + 10
            kind = type(error).__name__
        return kind, time.perf_counter() - started


@pytest.mark.parametrize("name", TARGETS)
def test_no_damage_ends_in_a_traceback_or_a_hang(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a damaged file gives an obscure error, or is accepted and crashes later."""
    kinds: Counter[str] = Counter()
    for seed in range(N_INPUTS // len(TARGETS)):
        kind, seconds = outcome(TARGETS[name], seed)
        kinds[kind] += 1
        assert seconds < SLOWEST, f"seed {seed}"
    assert kinds["RunError"] + kinds["ViewerError"] > 0.2 * kinds.total()
    assert "\x1b[31m" not in capsys.readouterr().out


def main(n_inputs: int, first: int = 0) -> int:
    """Run many inputs, print the outcomes, and return the number of tracebacks and hangs."""
    kinds: Counter[str] = Counter()
    slowest, n_bad = 0.0, 0
    for seed in range(first, first + n_inputs):
        name = list(TARGETS)[seed % len(TARGETS)]
        stdout, sys.stdout = sys.stdout, io.StringIO()
        try:
            kind, seconds = outcome(TARGETS[name], seed)
        except Exception as error:
            kind, seconds = f"TRACEBACK {type(error).__name__} {str(error)[:80]}", 0.0
            print(f"seed {seed}", file=sys.stderr)
        finally:
            sys.stdout = stdout
        n_bad += kind.startswith("TRACEBACK") or seconds > SLOWEST
        slowest = max(slowest, seconds)
        kinds[f"{name}: {kind}"] += 1
    for kind, count in sorted(kinds.items()):
        print(f"{count:8,}  {kind}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{n_inputs:,} inputs, {n_bad} bad, slowest {slowest:.2f} s, at most {peak:.0f} MiB")
    return n_bad


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(min(main(*map(int, sys.argv[1:])), 1))
