"""Bad input gives one clear sentence and exit status 2, and changes no file."""

import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.training.presets import PRESETS
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.agents.watching import evaluation
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.commands import main, run_command
from plasticrl.runs import (
    FolderLock,
    UsageError,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from plasticrl.runs.checkpoint import add_checksum

evaluate_main = partial(run_command, "evaluate")
train_main = partial(run_command, "train")

ROOT = Path(__file__).parents[2]
MAZE = "maze-quickstart"
SIZES = ["--n-envs=3", "--a2c.n-steps=10", "--core.hidden-size=5", "--total-timesteps=60"]
MANY_STEPS = "--total-timesteps=300"


class Tower(gym.Env[Any, Any]):
    """An environment of a user, with small images, no time limit and no ``render_mode``."""

    def __init__(self, observes: str = "image", acts: str = "discrete") -> None:
        image = gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)
        choices = gym.spaces.Discrete(2)
        self.observation_space: gym.spaces.Space[Any] = image
        self.action_space: gym.spaces.Space[Any] = choices
        if observes == "tuple":
            self.observation_space = gym.spaces.Tuple((choices, choices))
        if observes == "dict":
            self.observation_space = gym.spaces.Dict({"a": choices})
        if acts == "dict":
            self.action_space = gym.spaces.Dict({"a": choices})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.observation_space.sample(), 1.0, self.steps == 5, False, {}


gym.register("Tower-v0", Tower)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert train_main([MAZE, *SIZES, "--checkpoint-every=1", "--run-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def trained_lstm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "lstm"
    assert train_main([MAZE, *SIZES, "--core.name=lstm", "--run-dir", str(path)]) == 0
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def contents(folder: Path) -> dict[Path, bytes | None]:
    """The names of all files and folders, with the bytes of the files."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Call a script's main function, which must fail, and return its error message."""
    monkeypatch.chdir(tmp_path)
    # Errors must come before the work, not after it.
    monkeypatch.setattr(RecurrentA2C, "learn", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(evaluation, "measure", lambda *_: pytest.fail("measured"))

    def call(main: Callable[[list[str]], int], *argv: object) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        assert main([str(argument) for argument in argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"error: [^\n]+\n", err)
        assert contents(tmp_path) == before
        return err

    return call


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--n-envs 0", "--n-envs must be an integer of at least 1, not 0"),
        ("--n-envs -3", "--n-envs must be an integer of at least 1, not -3"),
        ("--total-timesteps 0", "--total-timesteps must be an integer of at least 1, not 0"),
        ("--seed -1", "seed must be from 0 to 2147483647, not -1"),
        ("--threads 0", "threads must be an integer of at least 1, not 0"),
        ("--checkpoint-every 0", "--checkpoint-every must be an integer of at least 1, not 0"),
        ("--a2c.n-steps 0", "--a2c.n-steps must be an integer of at least 1, not 0"),
        (
            "--a2c.bptt-length 11",
            "--a2c.bptt-length must be from 1 to --a2c.n-steps 10, or None .*, not 11",
        ),
        (
            "--a2c.learning-rate nan",
            "--a2c.learning-rate must be a finite number of at least 0, not nan",
        ),
        (
            "--a2c.learning-rate=-1",
            "--a2c.learning-rate must be a finite number of at least 0, not -1.0",
        ),
        ("--a2c.ent-coef inf", "--a2c.ent-coef must be a finite number of at least 0, not inf"),
        ("--a2c.gamma 1.5", "--a2c.gamma must be from 0 to 1, not 1.5"),
        ("--threads 100000", "--threads must be at most 1024, not 100000"),
        ("--total-timesteps 100000000000000000000", "--total-timesteps must be at most 1000000000"),
        ("--core.hidden-size 100000", "--core.hidden-size 100000, --n-envs .* GiB of memory, and"),
        (
            "--core.num-layers 100 --core.hidden-size 9000",
            "--core.hidden-size 9000, --core.num-layers 100, --n-envs .* GiB of memory, and",
        ),
        ("--n-envs 1000000000", "--n-envs 1000000000, .* GiB are available; choose smaller sizes"),
        ("--env-kwargs size=100001", "size must be an integer from 5 to 301, got 100001"),
        ("--device foo", "--device must be cpu, cuda, cuda:N or auto, not 'foo'"),
        ("--device meta", "--device must be cpu, cuda, cuda:N or auto, not 'meta'"),
        ("--device cuda:77", "device 'cuda:77' is not available here, use cpu or auto: "),
        ("--env-id Foo-v0", "`Foo` doesn't exist"),
        ("--env-id foo:Bar-v0", "No module named 'foo'"),
        ("--env-kwargs size=8", "size must be odd, .*got 8"),
        ("--env-kwargs size=big", "size must be an integer.* 'big'"),
        (
            "--env-kwargs sizze=9",
            r"--env-kwargs: \S+GridMaze-v0 has no option 'sizze'; it has size, .*random_start",
        ),
        ("--env-kwargs num_envs=9", "has no option 'num_envs'; it has size, "),
        (
            "--env-id CartPole-v1 --env-kwargs size=9",
            "CartPole-v1 has no option 'size'; it has sutton_barto_reward, max_episode_steps",
        ),
        (
            "--env-id CartPole-v1 --history --env-kwargs size=9",
            "CartPole-v1 has no option 'size'",
        ),
        ("--history --env-kwargs sizze=9", "plasticrl/GridMaze-v0 has no option 'sizze'"),
        (
            "--history",
            "--history: plasticrl/GridMaze-v0 already has its history in the observation",
        ),
        ("--history --env-id Tower-v0", "Tower-v0 has no time limit .*max_episode_steps=500"),
        (
            "--env-id Tower-v0 --env-kwargs observes=tuple",
            "Tower-v0: the observation space is a Tuple, but",
        ),
        (
            "--env-id Tower-v0 --env-kwargs observes=dict max_episode_steps=9 --history",
            "Tower-v0: history cannot be added to a Dict .*--wrapper gymnasium.wrappers:Flatten",
        ),
        ("--env-id Tower-v0 --env-kwargs acts=dict", "Tower-v0: the action space is a Dict, but"),
        (
            "--env-id Pendulum-v1 --a2c.entropy simpson",
            "--a2c.entropy must be 'shannon' in an environment with continuous actions",
        ),
        ("--core.name foo", "--core.name must be one of rnn, gru, .*, not 'foo'"),
        ("--core.name plastic_readout", "--core.name must be one of .*, not 'plastic_readout'"),
        ("--core.name lstm --core.modulation simple", "there is no flag --core.modulation here"),
        ("--core.name identity --core.clip 2", "there is no flag --core.hidden-size here"),
        ("--core.modulation none --core.fan-out", "--core.fan-out has no meaning with"),
        (
            "--core.modulation some",
            "--core.modulation must be one of none, simple, retroactive, gated, not 'some': did",
        ),
        ("--core.bound soft --core.clip 2", "--core.clip 2.0 has no meaning with --core.bound"),
        ("--core.eta-init 0.2", "--core.eta-init 0.2 has no meaning with --core.modulation simple"),
        ("--core.bound decay --core.rule oja", "no meaning with --core.rule oja"),
        ("--core.hidden-size 3000000000", "--core.hidden-size must be at most 100,000,000, not"),
        ("--core.hidden-size 0", "--core.hidden-size must be an integer of at least 1, not 0"),
        ("--core.clip nan", "--core.clip must be a finite number above 0, not nan"),
        (
            "--core.input-mode additive",
            "--core.input-mode additive with --core.hidden-size 5 needs input_size",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array'")  # Gymnasium's, of Tower-v0
def test_an_invalid_setting(flags: str, sentence: str, refused: Refused, tmp_path: Path) -> None:
    """Otherwise a run starts with the invalid setting, or there is a traceback."""
    argv = [MAZE, *SIZES, *flags.split(), "--run-dir", tmp_path / "new"]
    assert re.search(sentence, refused(train_main, *argv))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu(refused: Refused) -> None:
    """Otherwise a run starts on a device that does not exist."""
    sentence = refused(train_main, MAZE, *SIZES, "--device", "cuda", "--run-dir", "new")
    assert "device 'cuda' is not available here, use cpu or auto" in sentence


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_for_an_existing_run(run: Path, refused: Refused) -> None:
    """Otherwise the run continues on another device than the requested one."""
    there_is_none = "device 'cuda' is not available here, use cpu or auto: "
    assert there_is_none in refused(train_main, "--resume", run, MANY_STEPS, "--device", "cuda")
    assert there_is_none in refused(evaluate_main, run, "--device", "cuda")
    edit(run, "config", "device", value="cuda")
    assert there_is_none in refused(train_main, "--resume", run, MANY_STEPS)


@pytest.mark.parametrize("device", ["foo", "meta", "cuda:", ""])
def test_a_device_that_does_not_exist_for_an_existing_run(
    device: str, run: Path, refused: Refused
) -> None:
    """Otherwise there is a traceback."""
    sentence = f"error: --device must be cpu, cuda, cuda:N or auto, not '{device}'\n"
    assert refused(train_main, "--resume", run, MANY_STEPS, "--device", device) == sentence
    assert refused(evaluate_main, run, "--device", device) == sentence


def test_how_to_continue_names_the_device(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the run that Ctrl-C has stopped is continued on another device, or cannot be."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    edit(run, "config", "device", value="cuda")
    monkeypatch.setattr(RecurrentA2C, "learn", interrupt)
    argv = ["--resume", str(run), MANY_STEPS, "--device", "cpu"]
    assert train_main(argv) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"plasticrl train --resume {run} --total-timesteps 300 --device cpu")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([MAZE, "--n-envs", "x"], ["--n-envs", "'x'"]),
        ([MAZE, "--n-envs", "1.5"], ["--n-envs", "'1.5' is no whole number\n"]),
        ([MAZE, "--total-timesteps", "1e5"], ["'1e5' is no whole number: write 100000\n"]),
        ([MAZE, "--env-id", ""], ["--env-id must be the id of an environment, as Cart"]),
        ([MAZE, "--env-id", "a:b:C-v0"], ["--env-id must be the id of an environment, as Cart"]),
        (
            [MAZE, "--run-dir", "x" * 300],
            ["--run-dir: xxx", "xxx: File name too long; choose"],
        ),
        ([MAZE, "--run-dir", "x\0y"], ["--run-dir: x\\x00y: embedded null byte; choose another"]),
        (["--resume", "x" * 300], ["error: --resume: xxx", "xxx: File name too long; choose"]),
        ([MAZE, "--total-timesteps", "1e30"], ["'1e30' is no whole number\n"]),
        ([MAZE, "--n-envs"], ["--n-envs"]),
        ([MAZE, "more"], ["more"]),
        ([MAZE, "--a2c.entropy", "renyi"], ["--a2c.entropy", "renyi", "shannon", "simpson"]),
        ([MAZE, "--env-kwargs", "nonsense"], ["--env-kwargs", "name=value", "'nonsense'"]),
        ([MAZE, "--env-kwargs", "size=[1]"], ["--env-kwargs", "size must be a number"]),
        (["--resume"], ["--resume"]),
    ],
)
def test_an_invalid_command_line(argv: list[str], words: list[str], refused: Refused) -> None:
    """Otherwise a typing mistake is ignored, or the message does not name it."""
    said = refused(train_main, *argv)
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    ("argv", "flag", "near"),
    [
        ([MAZE, "--core.modulaton", "none"], "--core.modulaton", "--core.modulation"),
        ([MAZE, "--lerning-rate=1"], "--lerning-rate", "--a2c.learning-rate or --"),
        ([MAZE, "--lr=1"], "--lr", "--a2c.learning-rate or --a2c.core-lr-scale?"),
        ([MAZE, "--timesteps=1"], "--timesteps", "--total-timesteps"),
        ([MAZE, "--n_env", "3"], "--n_env", "--n-envs"),
        (["--resume", "run", "--total-steps", "3"], "--total-steps", "--total-timesteps"),
    ],
)
def test_a_mistyped_flag(argv: list[str], flag: str, near: str, refused: Refused) -> None:
    """Otherwise the user has to search a long message for the correct flag."""
    said = refused(train_main, *argv)
    assert said.startswith(f"error: there is no flag {flag} here: did you mean {near}")
    assert said.endswith("? --help lists all flags\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([MAZE, "--preset", "x"], "there is no flag --preset here"),
        (["--resume", "run", "--seed", "3"], "with the run's own settings: leave out --seed\n"),
        (["--resume", "run", "--run-dir", "new"], "run's own settings: leave out --run-dir\n"),
        (["--resume", MAZE, "--n-envs", "3"], "run's own settings: leave out --n-envs\n"),
        ([MAZE, "--resume", "run"], f"run's own settings: leave out {MAZE}\n"),
    ],
)
def test_an_unexpected_word(argv: list[str], said: str, refused: Refused) -> None:
    """Otherwise the word is ignored, or the message suggests a flag that does not exist."""
    sentence = refused(train_main, *argv)
    assert said in sentence
    assert "--preset or" not in sentence
    assert "mean --preset" not in sentence


@pytest.mark.parametrize("argv", [[], ["--n-envs", "3"]])
def test_without_a_preset(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the user does not learn how to start."""
    assert train_main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: name a preset first, as in: ")
    assert f"plasticrl train {MAZE}; plasticrl train --help lists all" in err


def test_an_unknown_flag_of_evaluate(refused: Refused) -> None:
    """Otherwise a typing mistake is ignored, or the message does not name it."""
    assert "--episodes" in refused(evaluate_main, "run", "--episodes", "x")
    assert "did you mean --episodes?" in refused(evaluate_main, "run", "--episode-count", "3")
    assert "did you mean --episodes?" in refused(evaluate_main, "--episod", "3", "run")
    said = refused(evaluate_main, "--run", "run")
    assert said.startswith("error: there is no flag --run here")
    assert "--run or" not in said
    assert "mean --run?" not in said


def test_evaluate_without_a_run(refused: Refused) -> None:
    """Otherwise the user does not learn how to start."""
    said = refused(evaluate_main)
    assert "name exactly one: a run's folder, " in said
    assert "plasticrl evaluate --gallery maze --watch; --help says more" in said


def test_a_folder_with_the_name_of_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    """Otherwise the user would be told about a flag instead of the folder."""
    monkeypatch.chdir(tmp_path)
    Path("seed=3").mkdir()
    Path("seed=3/mine").touch()
    sentence = refused(train_main, MAZE, *SIZES, "--run-dir", "seed=3")
    assert sentence.startswith("error: seed=3 is not empty")


def test_a_run_directory_that_is_occupied(run: Path, refused: Refused) -> None:
    """Otherwise an older run is overwritten."""
    sentence = refused(train_main, MAZE, *SIZES, "--run-dir", run)
    assert f"{run} is not empty: choose another folder" in sentence


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_run_directory_that_is_a_file(name: str, tmp_path: Path, refused: Refused) -> None:
    """Otherwise a file is overwritten."""
    (tmp_path / "file").write_text("mine")
    sentence = refused(train_main, MAZE, *SIZES, "--run-dir", tmp_path / name)
    assert f"cannot start a run in {tmp_path / name}: " in sentence


def test_a_run_directory_that_cannot_be_made(refused: Refused) -> None:
    """Otherwise there is a traceback. Nobody, not even root, can write to /proc."""
    assert "cannot start a run in /proc/new: " in refused(
        train_main, MAZE, *SIZES, "--run-dir", "/proc/new"
    )


def test_resume_takes_no_other_settings(run: Path, refused: Refused) -> None:
    """Otherwise a flag is ignored, or the settings change within a run."""
    flags = ["--seed=3", "--env-kwargs", "size=11", "--core.clip=3", MANY_STEPS]
    sentence = refused(train_main, "--resume", run, *flags)
    assert "--resume continues with the run's own settings: leave out " in sentence
    assert sentence.endswith("leave out --seed, --env-kwargs, --core.clip\n")


@pytest.mark.parametrize("steps", ["0", "-30"])
def test_resume_up_to_no_steps(steps: str, run: Path, refused: Refused) -> None:
    """Otherwise a resumed run accepts what a new run rejects."""
    sentence = refused(train_main, "--resume", run, "--total-timesteps", steps)
    assert f"--total-timesteps must be an integer of at least 1, not {steps}" in sentence


@pytest.mark.parametrize("steps", ["30", "60"])
def test_a_run_is_not_trained_for_fewer_steps(steps: str, run: Path, refused: Refused) -> None:
    """Otherwise it is trained for too long, or its last checkpoint is lost."""
    sentence = refused(train_main, "--resume", run, f"--total-timesteps={steps}")
    assert f"--total-timesteps must be above 60 to continue: {run} is already trained" in sentence


def test_a_finished_run_is_resumed_to_its_end(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a script that resumes until the end fails after a kill at the very end."""
    before = (newest(run).read_bytes(), (run / "metrics.jsonl").read_bytes())
    assert train_main(["--resume", str(run)]) == 0
    err = capsys.readouterr().err
    assert "the run is already complete" in err.splitlines()[-1]
    assert "trained" not in err
    assert (newest(run).read_bytes(), (run / "metrics.jsonl").read_bytes()) == before


def test_two_processes_do_not_train_the_same_run(run: Path, refused: Refused) -> None:
    """Otherwise both write into the same files."""
    lock = FolderLock(run)
    sentence = refused(train_main, "--resume", run, MANY_STEPS)
    assert f"{run} is being trained by another process: stop that one first" in sentence
    lock.release()
    assert train_main(["--resume", str(run)]) == 0


def no_folder(run: Path) -> None:
    shutil.rmtree(run)


def a_file(run: Path) -> None:
    shutil.rmtree(run)
    run.write_text("mine")


def no_config(run: Path) -> None:
    (run / "config.json").unlink()


def cut_config(run: Path) -> None:
    text = (run / "config.json").read_bytes()
    (run / "config.json").write_bytes(text[: len(text) // 2])


def edit(run: Path, *keys: str, value: Any) -> None:
    config = json.loads((run / "config.json").read_text())
    inner = config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (run / "config.json").write_text(json.dumps(config))


def newer_format(run: Path) -> None:
    edit(run, "format_version", value=99)


def other_kind(run: Path) -> None:
    edit(run, "kind", value="supervised")


def unknown_key(run: Path) -> None:
    edit(run, "config", "core", "colour", value="red")


def wrong_type(run: Path) -> None:
    edit(run, "config", "n_envs", value="many")


def impossible_value(run: Path) -> None:
    edit(run, "config", "n_envs", value=0)


def other_size(run: Path) -> None:
    edit(run, "config", "core", "hidden_size", value=6)


def other_core(run: Path) -> None:
    edit(run, "config", "core", value={**json_core(run), "name": "rnn"})


def json_core(run: Path) -> dict[str, Any]:
    core = json.loads((run / "config.json").read_text())["config"]["core"]
    return {"hidden_size": core["hidden_size"]}


def no_checkpoints(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def newest(run: Path) -> Path:
    return latest_checkpoint(run / "checkpoints")


def truncated_checkpoint(run: Path) -> None:
    data = newest(run).read_bytes()
    newest(run).write_bytes(data[: len(data) // 2])


def flipped_bit(run: Path) -> None:
    path = newest(run)
    data = bytearray(path.read_bytes())
    weights = load_checkpoint(path)["policy"]["core.connection.weight"].numpy().tobytes()
    data[data.index(weights)] ^= 1
    path.write_bytes(data)


def foreign_pickle(run: Path) -> None:
    newest(run).write_bytes(pickle.dumps({"weights": [1, 2, 3]}))


class Hostile:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("hacked"),)


def hostile_pickle(run: Path) -> None:
    seal({"format_version": 2, "content": {"policy": Hostile()}}, newest(run))


def newer_checkpoint(run: Path) -> None:
    seal({"format_version": 99, "content": {}}, newest(run))


def seal(saved: Any, path: Path) -> None:
    """Write a checkpoint whose checksum is right."""
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    add_checksum(buffer)
    path.write_bytes(buffer.getvalue())


def change(run: Path, **values: Any) -> None:
    content = load_checkpoint(newest(run))
    save_checkpoint(run / "checkpoints", 60, {**content, **values})


def other_content(run: Path) -> None:
    save_checkpoint(run / "checkpoints", 60, {"something": 1})


def nan_weights(run: Path) -> None:
    weights = load_checkpoint(newest(run))["policy"]
    weights["core.connection.alpha"][0, 0] = float("nan")
    change(run, policy=weights)


ANY_BREAKAGE = [
    (no_folder, r"run directory {run} does not exist"),
    (a_file, r"{run} is a file, not a run directory"),
    (no_config, r"{run} is not a run directory: it has no config\.json"),
    (cut_config, r"{run}/config\.json is not valid JSON"),
    (newer_format, r"{run}/config\.json has format 99, .* reads format 3: upgrade plasticrl"),
    (other_kind, r"a supervised run|has no evaluation\.json yet"),
    (unknown_key, r"{run}/config\.json: config\.core\.colour is unknown; known are hidden_size, "),
    (wrong_type, r"{run}/config\.json: config\.n_envs must be an integer, not 'many'"),
    (impossible_value, r"{run}/config\.json: config: n_envs must be an integer of at least 1"),
    (other_size, r"{newest} does not fit the run's config: policy\.core\..* must be \("),
    (other_core, r"{newest} does not fit the run's config: policy has (no )?'core\."),
    (no_checkpoints, r"no checkpoint in {run}/checkpoints: start a new run in another folder"),
    (other_content, r"{newest} does not fit the run's config: (it is not a ch|policy must be of)"),
    (newer_checkpoint, r"{newest} has format 99, .* reads format 2"),
    (nan_weights, r"{newest} does not fit the run's config: policy.*\.alpha is not finite"),
]

DAMAGE = [
    (truncated_checkpoint, r"{newest} is damaged, or not a plasticrl checkpoint"),
    (flipped_bit, r"{newest} is damaged, or not a plasticrl checkpoint"),
    (foreign_pickle, r"{newest} is damaged, or not a plasticrl checkpoint"),
    (hostile_pickle, r"{newest} is not a plasticrl checkpoint"),
]


def assert_sentence(said: str, pattern: str, run: Path) -> None:
    newest_name = re.escape(str(run / "checkpoints" / "step_000000000060.pt"))
    pattern = pattern.replace("{run}", re.escape(str(run))).replace("{newest}", newest_name)
    assert re.search(pattern, said)


@pytest.mark.parametrize(
    ("spoil", "sentence"), ANY_BREAKAGE, ids=[spoil.__name__ for spoil, _ in ANY_BREAKAGE]
)
def test_a_broken_run(
    spoil: Callable[[Path], None], sentence: str, run: Path, refused: Refused
) -> None:
    """Otherwise a run is continued or evaluated with other weights or settings."""
    spoil(run)
    assert_sentence(refused(train_main, "--resume", run, MANY_STEPS), sentence, run)
    assert_sentence(refused(evaluate_main, run, "--json"), sentence, run)
    assert not Path("hacked").exists()


@pytest.mark.parametrize(("spoil", "sentence"), DAMAGE, ids=[spoil.__name__ for spoil, _ in DAMAGE])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    spoil: Callable[[Path], None],
    sentence: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise damaged weights are used, a run with good checkpoints is lost, or code is run."""
    monkeypatch.chdir(tmp_path)
    weights = load_checkpoint(newest(run))["policy"]
    spoil(run)
    before = load_checkpoint(run / "checkpoints" / "step_000000000030.pt")["policy"]
    capsys.readouterr()
    assert evaluate_main([str(run), "--episodes", "2"]) == 0
    assert_sentence(capsys.readouterr().err, f"note: {sentence}.*; the checkpoint before", run)
    agent = TrainedAgent.load(run)
    assert all(
        torch.equal(before[name], value) for name, value in agent.policy.state_dict().items()
    )
    assert train_main(["--resume", str(run)]) == 0
    assert_sentence(capsys.readouterr().err, f"note: {sentence}.*; the checkpoint before", run)
    again = load_checkpoint(newest(run))["policy"]
    assert all(torch.equal(weights[name], value) for name, value in again.items())
    assert not Path("hacked").exists()


def test_all_checkpoints_are_damaged(run: Path, refused: Refused) -> None:
    """Otherwise a run is evaluated with untrained weights."""
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    sentence = refused(evaluate_main, run)
    assert_sentence(sentence, r"{newest} is damaged, or not a plasticrl checkpoint", run)


def test_the_hostile_pickle_is_hostile(run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Otherwise the test above also passes with a harmless file."""
    monkeypatch.chdir(tmp_path)
    hostile_pickle(run)
    torch.load(newest(run), weights_only=False)
    assert Path("hacked").exists()


def other_envs(run: Path) -> None:
    edit(run, "config", "n_envs", value=4)


def foreign_env(run: Path) -> None:
    env = load_checkpoint(newest(run))["environments"]
    change(run, environments={**env, "batch": {}})


def no_optimizer(run: Path) -> None:
    change(run, optimizer={})


def no_random_numbers(run: Path) -> None:
    change(run, rng={"python": 3})


def steps_in_words(run: Path) -> None:
    change(run, num_timesteps="many")


def spoiled_metrics(run: Path) -> None:
    (run / "metrics.jsonl").write_text('{"step": 30}\nnonsense\n{"step": 60}\n')


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (other_envs, r"{newest} does not fit the run's config: environments\.batch\."),
        (foreign_env, r"{newest} does not fit the run's config: environments\.batch has no '"),
        (no_optimizer, r"{newest} does not fit the run's config: optimizer has no 'state'"),
        (no_random_numbers, r"{newest} does not fit .*: the random-number state is malformed"),
        (steps_in_words, r"{newest} does not fit .*: num_timesteps must be of type int, not str"),
        (spoiled_metrics, r"{run}/metrics\.jsonl, line 2 is not valid JSON"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_that_cannot_be_continued(
    spoil: Callable[[Path], None], sentence: str, run: Path, refused: Refused
) -> None:
    """Otherwise it continues from another state, or there is a traceback."""
    spoil(run)
    assert_sentence(refused(train_main, "--resume", run, MANY_STEPS), sentence, run)


def test_a_mistake_of_ours_is_no_damage(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user would be told that the file is damaged, and we would not learn where we failed."""

    def mistaken(*_: Any) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(BatchVecEnv, "set_state", mistaken)
    with pytest.raises(ValueError, match="a mistake of ours") as raised:
        train_main(["--resume", str(run), MANY_STEPS])
    assert not isinstance(raised.value, UsageError)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--episodes 1", "--episodes must be at least 2, for an interval, .* not 1"),
        ("--episodes -4", "--episodes must be at least 2, for an interval, .* not -4"),
        ("--seed -1", "seed must be from 0 to 2147483647, not -1"),
        ("--json --watch", "use --watch in a separate call"),
        ("--record episode.avi", r"cannot record to episode\.avi: the name must end in \.gif, \.w"),
        ("--record no/episode.gif", r"cannot record to no/episode\.gif: no is not a writable"),
    ],
)
def test_an_impossible_evaluation(flags: str, sentence: str, run: Path, refused: Refused) -> None:
    """Otherwise the error comes after the evaluation."""
    assert re.search(sentence, refused(evaluate_main, run, *flags.split()))


def test_nothing_to_ablate(trained_lstm: Path, refused: Refused) -> None:
    """Otherwise the same agent is evaluated twice."""
    before = contents(trained_lstm)
    sentence = refused(evaluate_main, trained_lstm, "--ablate-plasticity")
    assert "the core 'lstm' has no plastic connections that could be ablated" in sentence
    assert contents(trained_lstm) == before


def test_ctrl_c_while_measuring(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise Ctrl-C gives a traceback, or an incomplete result is written."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "measure", interrupted)
    assert evaluate_main([str(run)]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")
    assert not (run / "evaluation.json").exists()


def script(*argv: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["train_rl.py", "paterns-quickstart"], "no preset 'paterns-quickstart': did you mean pat"),
        (["train_supervised.py", "maze-papr"], "no preset 'maze-papr': did you mean maze-paper?"),
        (["train_rl.py", "data"], "'data' is not a preset but a command: "),
        (["train_rl.py", "chess"], "there is no preset 'chess': there are maze-quickstart, "),
    ],
)
def test_an_unknown_preset(argv: list[str], sentence: str) -> None:
    """Otherwise the user has to find the typing mistake, or the names of the presets."""
    done = script(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        ([], 0, "usage: plasticrl COMMAND"),
        (["--version"], 0, "plasticrl 0."),
        (["trian"], 2, "there is no command 'trian': did you mean train?"),
    ],
)
def test_the_program(
    argv: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a first call gives a traceback or prints nothing."""
    assert main(argv) == status
    assert words in "".join(capsys.readouterr())


def test_the_first_line_comes_before_torch() -> None:
    """Otherwise nothing is printed in the first seconds, while torch is imported."""
    code = (
        "import builtins, sys\n"
        "take = builtins.__import__\n"
        "def stop(name, *rest):\n"
        "    if name.partition('.')[0] in ('torch', 'stable_baselines3'): sys.exit(9)\n"
        "    return take(name, *rest)\n"
        "builtins.__import__ = stop\n"
        "from plasticrl.commands import main\n"
        f"main(['train', {MAZE!r}])\n"
    )
    done = script("-c", code)
    assert (done.returncode, done.stdout) == (9, "")
    assert done.stderr == f"{MAZE}: loading torch ...\n"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (
            ["train_rl.py", MAZE, "--n-envs", "0"],
            "error: --n-envs must be an integer of at least 1, not 0\n",
        ),
        (["evaluate.py", "no-run"], "error: run directory no-run does not exist\n"),
        (["train_rl.py", "--resume", "no-run"], "error: run directory no-run does not exist\n"),
    ],
)
def test_the_scripts_exit_with_2(argv: list[str], sentence: str) -> None:
    """Otherwise a shell script continues after an error."""
    done = script(*argv)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["train", "--help"],
        *(["train", preset, "--help"] for preset in PRESETS),
        ["train", "patterns-quickstart", "--help"],
        ["train", "--resume", "run", "--help"],
        ["evaluate", "--help"],
        ["data", "--help"],
    ],
    ids=" ".join,
)
def test_help_imports_neither_torch_nor_sb3(argv: list[str]) -> None:
    """Otherwise ``--help`` takes seconds."""
    code = (
        f"import sys\nfrom plasticrl.commands import main\n"
        f"try:\n    status = main({argv!r})\n"
        "except SystemExit as stop:\n    status = stop.code\n"
        "heavy = {'torch', 'stable_baselines3', 'gymnasium', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(status or ' '.join(heavy) or 0)\n"
    )
    done = script("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")


@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array'")
def test_a_users_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise small images fail in a NatureCNN, or a missing picture is an error."""
    path = tmp_path / "tower"
    sizes = ["--total-timesteps=20", "--n-envs=2", "--a2c.n-steps=5", "--core.hidden-size=4"]
    argv = ["maze-quickstart", "--env-id=Tower-v0", *sizes, "--run-dir", str(path)]
    assert train_main(argv) == 0
    assert evaluate_main([str(path), "--episodes=2", "--watch"]) == 0
    capsys.readouterr()
    assert evaluate_main([str(path), "--episodes=2", "--record", f"{path}.gif"]) == 2
    assert "--record: Tower-v0 gives no pictures" in capsys.readouterr().err


def test_a_policy_that_diverges_while_it_is_measured(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user reads a traceback from inside torch."""
    checkpoint = latest_checkpoint(run / "checkpoints")
    content = load_checkpoint(checkpoint)
    weights = content["policy"]
    alpha = weights["core.connection.alpha"]
    alpha[:] = 3e38  # sums of terms with both signs: infinity minus infinity
    save_checkpoint(run / "checkpoints", 10**9, content)
    capsys.readouterr()
    assert evaluate_main([str(run), "--episodes=2"]) == 1
    assert capsys.readouterr().err.startswith("error: the net's activity is not finite")
