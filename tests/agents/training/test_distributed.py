"""Two processes that train one model equal one process with all environments."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticrl.agents import RecurrentPPO
from plasticrl.agents.distributed import Ranks
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.training.run import TrainingRun
from plasticrl.commands import run_command
from plasticrl.commands.train import parse_training
from plasticrl.runs import UsageError, load_latest

ROOT = Path(__file__).parents[3]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
LAUNCH += ["--standalone"]  # a free port
N_STEPS, N_ENVS = 10, 6
GRADIENTS = """
import itertools
import sys
import torch
from plasticrl.agents import RecurrentA2C, RecurrentPPO, make_vec_env
from plasticrl.agents.distributed import ALONE, join_ranks

torch.set_num_threads(1)
path, n_steps, n_envs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ranks = ALONE if path.endswith("one.pt") else join_ranks("cpu")
gradients = {}
for kind, core in itertools.product((RecurrentA2C, RecurrentPPO), ("gru", "plastic_rnn")):
    options = {"n_steps": n_steps, "max_grad_norm": 1e9, "normalize_advantage": True}
    if kind is RecurrentPPO:
        options |= {"batch_size": n_steps * n_envs, "n_epochs": 1}
    env = make_vec_env("plasticrl/GridMaze-v0", ranks.share(n_envs), env_kwargs={"size": 5})
    kwargs = {"core": core, "core_kwargs": {"hidden_size": 5}}
    model = kind("PlasticPolicy", env, seed=3, policy_kwargs=kwargs, **options)
    model.env.seed(3 + ranks.rows(n_envs).start)
    model.distribute(ranks)
    model.learn(n_steps * n_envs)
    named = model.policy.named_parameters()
    gradients |= {f"{kind.__name__} {core} {name}": weight.grad for name, weight in named}
if ranks.is_main:
    torch.save(gradients, path)
"""
SIZES = (
    *("maze-quickstart", "--core.hidden-size=5", f"--n-envs={N_ENVS}", "--a2c.n-steps=10"),
    *("--env-kwargs", "size=5", "--a2c.normalize-advantage", "--a2c.normalize-returns"),
    *("--total-timesteps=6000", "--checkpoint-every=5"),
)


def test_gradients_are_those_of_the_joint_batch(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(GRADIENTS)
    for launch, name in ([sys.executable], "one.pt"), (LAUNCH, "two.pt"):
        words = [str(script), str(tmp_path / name), str(N_STEPS), str(N_ENVS)]
        subprocess.run([*launch, *words], check=True, timeout=240)
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert {name.split()[0] for name in one} == {"RecurrentA2C", "RecurrentPPO"}
    for name, gradient in one.items():
        largest = gradient.abs().max().item()
        assert largest > 0, name
        torch.testing.assert_close(two[name], gradient, rtol=0, atol=1e-6 * max(1.0, largest))


def distributed(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [*LAUNCH, str(ROOT / "train_rl.py"), *words, "--distributed"]
    return subprocess.run(command, check=True, timeout=240, capture_output=True, text=True)


def content(run: Path) -> dict[str, Any]:
    return load_latest(run / "checkpoints").content


def assert_alike(one: Any, two: Any, tolerance: float) -> None:
    """Compare the parts of two checkpoints."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_alike(one[key], two[key], tolerance)
    elif isinstance(one, list):
        assert len(one) == len(two)
        for part, other in zip(one, two, strict=True):
            assert_alike(part, other, tolerance)
    elif isinstance(one, torch.Tensor) and one.is_floating_point():
        torch.testing.assert_close(two, one, rtol=0, atol=tolerance)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    else:
        assert one == two


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it finds processes in /proc")
def test_a_killed_run_of_two_goes_on_and_equals_that_of_one(tmp_path: Path):
    one, two, killed = (tmp_path / name for name in ("one", "two", "killed"))
    assert run_command("train", [*SIZES, "--run-dir", str(one)]) == 0
    said = distributed(*SIZES, "--run-dir", str(two))
    assert said.stderr.count("run directory:") == 1  # only one of the processes prints
    parts = ("policy", "environments", "rng", "num_timesteps", "n_updates")
    for name in parts:
        assert_alike(content(one)[name], content(two)[name], 1e-5)

    command = [*LAUNCH, str(ROOT / "train_rl.py"), *SIZES, "--run-dir", str(killed)]
    process = subprocess.Popen([*command, "--distributed"], start_new_session=True)
    deadline = time.monotonic() + 240
    while not list(killed.glob("checkpoints/*.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in map(int, children):
        os.kill(child, signal.SIGKILL)
    process.wait()  # torchrun ends when its processes do
    assert content(killed)["num_timesteps"] < 6000
    distributed("--resume", str(killed))
    for name in parts:
        assert_alike(content(two)[name], content(killed)[name], 0)

    # The checkpoint does not depend on the number of processes.
    assert run_command("train", ["--resume", str(two), "--total-timesteps", "6300"]) == 0
    distributed("--resume", str(killed), "--total-timesteps", "6300")
    assert_alike(content(two)["policy"], content(killed)["policy"], 1e-5)


REFUSED = {
    ("maze-quickstart",): "started by torchrun, as in: torchrun --nproc-per-node 2",
    ("maze-quickstart", "--seeds", "0..1"): "--seeds and --distributed cannot be used together",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_mistakes(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run_command("train", [*words, "--distributed", "--run-dir", str(tmp_path / "run")]) == 2
    assert REFUSED[words] in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


REASONS = {
    ("maze-quickstart", "--n-envs=3"): "n_envs=3 cannot be divided equally among 2 processes",
    ("cue-reward-tuned",): "cannot train with a curriculum",
    ("ppo", "--env-id", "CartPole-v1"): "cannot train with normalization",
    ("ppo", "--env-id", "CartPole-v1", "--no-normalize"): "which is not an environment of this",
    ("ppo", "--env-id", "plasticrl/TMaze-v0", "--no-normalize", "--trials=2"): "with trials",
}


@pytest.mark.parametrize("words", REASONS, ids=" ".join)
def test_what_several_processes_cannot_train(words: tuple[str, ...], tmp_path: Path):
    config = parse_training(words[0], words[1:])
    assert isinstance(config, TrainConfig)
    with pytest.raises(UsageError, match=REASONS[words]):
        TrainingRun.start(config, words[0], tmp_path / "run", ranks=Ranks(1, 2))
    assert not any(tmp_path.iterdir())


def test_ranks_that_would_draw_the_same_actions_are_refused():
    model = RecurrentPPO("PlasticPolicy", "Pendulum-v1", n_steps=4)
    with pytest.raises(UsageError, match="can only train a policy with discrete actions"):
        model.distribute(Ranks(0, 2))
