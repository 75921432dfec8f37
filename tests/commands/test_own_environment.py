"""Environments of a user's own, from the command line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticrl.agents.training.config import open_run
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.commands import run_command
from plasticrl.runs import RunError

CORRIDOR = '''
import multiprocessing
import os
import gymnasium as gym
import numpy as np

print("corridor is imported")

class Corridor(gym.Env):
    """The cue of the first step is the right action of the last."""
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.t, self.process = int(self.np_random.integers(2)), 0, os.getpid()
        return np.array([2 * self.cue - 1, 0], np.float32), {}

    def step(self, action):
        self.t += 1
        reward = float(action == self.cue) if self.t == 3 else 0.0
        return np.array([0, self.t / 3], np.float32), reward, self.t == 3, False, {}

class Doubled(gym.RewardWrapper):
    def reward(self, reward):
        return 2 * reward

class Ending(Corridor):
    """Ends its process, if that is not the main one."""
    def step(self, action):
        if multiprocessing.parent_process() is not None:
            os._exit(3)
        return super().step(action)

def none(env):
    """A wrapper that forgets to return the environment."""

class Locked(Corridor):
    """Raises an error for an action that is impossible, which is the opposite of the cue."""
    def action_masks(self):
        return np.arange(2) == self.cue

    def step(self, action):
        assert action == self.cue
        return super().step(action)

gym.register("Corridor-v0", Corridor)
gym.register("Locked-v0", Locked)
gym.register("Ending-v0", Ending)
'''
SIZES = ("--n-envs=2", "--total-timesteps=40", "--core.hidden-size=4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of the user's."""
    (tmp_path / "corridor.py").write_text(CORRIDOR)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plasticrl(folder: Path, *commands: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run commands in one process, and print the status of each.

    As for the installed script, the current folder is not in sys.path.
    """
    code = (
        "import json, sys\n"
        "from plasticrl.commands.program import main\n"
        "for argv in json.loads(sys.argv[1]):\n"
        "    print('status', main(argv))\n"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code, json.dumps(commands)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_a_module_in_the_current_folder(folder: Path) -> None:
    """Otherwise users have to set PYTHONPATH, or another person's run can import any module."""
    names = ["--env-id=corridor:Corridor-v0", "--wrapper=corridor:Doubled"]
    train = ["train", "a2c", *SIZES, "--a2c.n-steps=5", *names, "--run-dir=run"]
    done = plasticrl(folder, train)
    assert done.stdout.splitlines() == ["corridor is imported", "status 0"], done.stderr
    assert "measure with: plasticrl evaluate run --allow-import corridor" in done.stderr
    allowed = "--allow-import=corridor"
    done = plasticrl(
        folder,
        ["evaluate", "run"],
        ["train", "--resume", "run"],
        ["evaluate", "run", allowed, "--episodes=4", "--json"],
        ["train", "--resume", "run", allowed],
    )
    *first, result, ended, resumed = done.stdout.splitlines()
    assert first == ["status 2", "status 2", "corridor is imported"]
    assert 0 <= json.loads(result)["random_reward_mean"] <= 2
    assert (ended, resumed) == ("status 0", "status 0"), done.stderr
    sentence = (
        "error: run/config.json names the module corridor, whose code would be run: if you "
        "trust it, add --allow-import corridor\n"
    )
    assert done.stderr.count(sentence) == 2


@pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
def test_allowed_is_what_is_named(algorithm: str, folder: Path) -> None:
    """Otherwise one allowed module lets others in."""
    names = ("--env-id=corridor:Corridor-v0", "--wrapper=corridor:Doubled")
    assert train(folder / "run", *names, algorithm=algorithm) == 0
    sentence = "names the module corridor, .* if you trust it, give allowed=\\['corridor'\\]$"
    with pytest.raises(RunError, match=sentence):
        open_run(folder / "run", ["another"])
    assert open_run(folder / "run", ["corridor", "another"])[1].modules == ["corridor"]
    assert TrainedAgent.load(folder / "run", ["corridor"]).n_timesteps == 40


def train(run: Path, *flags: str, algorithm: str = "a2c") -> int:
    steps = f"--{algorithm}.n-steps=5"
    return run_command("train", [algorithm, *SIZES, steps, *flags, f"--run-dir={run}"])


def test_trials_processes_and_wrappers(folder: Path) -> None:
    """Otherwise a setting has no effect."""
    names = ("--env-id=corridor:Corridor-v0", "--wrapper", "corridor:Doubled")
    run = folder / "run"
    assert train(run, *names, "--trials=3", "--processes") == 0
    _, config = open_run(run, ["corridor"])
    env = build_env(config, 2)
    try:
        assert env.observation_space.shape == (2 + 1 + 1 + 2,)  # ended, reward, action
        env.reset()
        assert os.getpid() not in env.get_attr("process")
        rewards, dones = [], []
        for _ in range(9):
            _, reward, done, infos = env.step(np.array([0, 1]))
            rewards.append(reward)
            dones.append(done.tolist())
        assert dones == [[False] * 2] * 8 + [[True] * 2]
        assert set(np.concatenate(rewards)) == {0.0, 2.0}  # half of the cues are guessed
        assert [info["trials"] for info in infos] == [3, 3]
    finally:
        env.close()


def test_an_environment_that_ends_its_process(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user would see the traceback of a pipe instead of what has happened."""
    assert train(folder / "run", "--env-id=corridor:Ending-v0", "--processes") == 2
    err = capsys.readouterr().err
    assert re.search(r"^error: the process of environment \d has ended", err, re.MULTILINE)
    assert "Traceback" not in err


def test_action_masks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise an agent that was trained with masks cannot be measured or shown."""
    assert train(folder / "run", "--env-id=corridor:Locked-v0", "--trials=2", "--processes") == 0
    evaluate = ["run", "--allow-import=corridor", "--episodes=8"]
    capsys.readouterr()
    assert run_command("evaluate", [*evaluate, "--ablate-plasticity", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    rewards = ("reward_mean", "random_reward_mean", "ablated_reward_mean")
    assert [result[name] for name in rewards] == [2.0] * 3
    for flags in (["--watch"], ["--record=e.npz"], ["--report=e.html"]):
        assert run_command("evaluate", [*evaluate, *flags]) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "a2c needs --env-id, as in: "),
        (["--env-id=Corridor-v9"], "Corridor"),
        (["--env-id=nomodule:Corridor-v0"], "No module named 'nomodule'"),
        (["--env-id=CartPole-v1", "--wrapper=Doubled"], "--wrapper must be a module and a class"),
        (
            ["--env-id=CartPole-v1", "--wrapper=corridor:Tripled"],
            "the module corridor has no Tripled",
        ),
        (["--env-id=CartPole-v1", "--wrapper=corridor:none"], "none must return an environment"),
        (["--env-id=GridMaze-v0"], "Did you mean plasticrl/GridMaze-v0?"),
        (["--env-id=CartPole-v1", "--wrapper=nomodule:A"], "No module named 'nomodule'"),
        (["--env-id=CartPole-v1", "--trials=0"], "--trials must be an integer of at least 1"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_made(
    flags: list[str], sentence: str, capsys: pytest.CaptureFixture[Any]
) -> None:
    """Otherwise the user sees a traceback, or finds the folder of a run that never started."""
    assert run_command("train", ["a2c", *SIZES, *flags, "--run-dir=run"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence in errors[0]
    assert not Path("run").exists()
