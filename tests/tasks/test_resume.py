"""A supervised run that is interrupted and resumed equals an uninterrupted one, bit for bit."""

import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticrl.commands import run_command
from plasticrl.runs import latest_checkpoint, load_checkpoint, save_checkpoint
from plasticrl.runs.checkpoint import add_checksum
from plasticrl.tasks import fitting, training
from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.registry import PRESETS, TASKS

train_main = partial(run_command, "train")

N = 6
"""Updates of each net."""
SIZES = ["--n-updates", str(N), "--batch-size", "3", "--evaluation-episodes", "5"]
PATTERNS = ["patterns-quickstart", *SIZES, "--n-bits", "4"]
SMALL_CORE = ["--core.hidden-size", "4"]
RUNS = {
    "patterns": [
        *(*PATTERNS, "--lstm-control", "6", "--rnn-control", "9"),
        *("--control-learning-rate", "0.5"),
    ],
    "images": [
        *("images-quickstart", *SIZES, "--data", "dead-leaves", "--size", "4"),
        *("--steps-on", "2", "--probe-steps", "2"),
    ],
    "omniglot": ["omniglot-quickstart", *SIZES, "--n-ways", "2", "--channels", "3"],
    "bohp": ["bohp-one-shot-paper", *SIZES],
    "language": [
        *("language-small", *SIZES, "--data", "synthetic", "--embedding-size", "4", "--layers"),
        *("5", "4", "--nets", "retroactive", "simple", "lstm", "--evaluation-tokens", "9"),
        *("--dropout-hidden", "0.3", "--round-updates", "2", "--average-after", "1"),
    ],
    "associative-retrieval": ["associative-retrieval-quickstart", *SIZES, *SMALL_CORE],
    "copy-delay": ["copy-delay-quickstart", *SIZES, *SMALL_CORE],
    "few-shot-regression": ["few-shot-regression-quickstart", *SIZES, *SMALL_CORE],
}


class Killed(BaseException):
    """Acts like SIGKILL, since no code catches it."""


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[int]], None]:
    """Simulate Ctrl-C in some updates, which are counted over all nets of a run."""

    def at(updates: Iterable[int]) -> None:
        left, count, update = set(updates), [0], Fit.update

        def pressed(fit: Fit, name: str) -> Any:
            count[0] += 1
            if count[0] in left:
                signal.raise_signal(signal.SIGINT)
            return update(fit, name)

        monkeypatch.setattr(Fit, "update", pressed)

    return at


def test_every_task_is_tested() -> None:
    """Otherwise no test checks that a new task resumes to the same bits."""
    assert {name: PRESETS[flags[0]]().name for name, flags in RUNS.items()} == {n: n for n in TASKS}


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def timeless(run: Path) -> Any:
    """``evaluation.json`` without seconds."""
    record = json.loads((run / "evaluation.json").read_text())
    for one in (record, *record["controls"]):
        del one["seconds"]
    return record


def assert_same_run(run: Path, unbroken: Path) -> None:
    folders = sorted(path.name for path in (unbroken / "checkpoints").iterdir())
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == folders
    for name in folders:
        one, other = (
            load_checkpoint(latest_checkpoint(path / "checkpoints" / name))
            for path in (run, unbroken)
        )
        assert one.keys() == other.keys()
        for content in (one, other):  # of the others nothing is drawn, nor are they seeded
            content["rng"] = content["rng"]["torch"]
        different = [key for key in one if key != "seconds" and not same(one[key], other[key])]
        assert different == []
    assert (run / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()
    assert timeless(run) == timeless(unbroken)
    assert [path.name for path in run.glob("*.png")] == [p.name for p in unbroken.glob("*.png")]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_in_pieces_equals_a_run_in_one(
    name: str, tmp_path: Path, press: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise part of the state is not saved, or a net that was finished is trained again.

    Ctrl-C in the run's own net, in its last update, and in a control if one is trained.
    """
    unbroken, run = tmp_path / "unbroken", tmp_path / "run"
    assert train_main([*RUNS[name], "--run-dir", str(unbroken)]) == 0
    n_trained = len(list((unbroken / "checkpoints").iterdir()))
    interrupted = [3, N, N + 5][: n_trained + 1]
    press(interrupted)
    assert train_main([*RUNS[name], "--run-dir", str(run)]) == 130
    assert capsys.readouterr().err.endswith(f"plasticrl train --resume {run}\n")
    assert not (run / "evaluation.json").exists()
    for _ in interrupted[1:]:
        assert train_main(["--resume", str(run)]) == 130
    if n_trained > 1:
        record = json.loads((run / "evaluation.json").read_text())
        assert not any(one["parameters"] for one in record["controls"])  # others need no training
        assert len(record["not_measured"]) >= n_trained - 1
    assert train_main(["--resume", str(run)]) == 0
    assert_same_run(run, unbroken)


def test_what_is_compared_differs_with_the_seed(tmp_path: Path) -> None:
    """Otherwise the comparison of runs does not detect a difference."""
    for seed in ("0", "1"):
        flags = [*RUNS["bohp"], "--seed", seed, "--run-dir", str(tmp_path / seed)]
        assert train_main(flags) == 0
    with pytest.raises(AssertionError, match="net"):
        assert_same_run(tmp_path / "0", tmp_path / "1")


@pytest.mark.parametrize("saves", [0, 1, 4, N, N + 1, N + 4])
def test_a_killed_run_goes_on_from_its_checkpoint(
    saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise metrics logged after the checkpoint appear twice, or the run is lost.

    The run is killed after a number of saves; it saves after each update.
    """
    unbroken, run = tmp_path / "unbroken", tmp_path / "run"
    assert train_main([*RUNS["bohp"], "--run-dir", str(unbroken)]) == 0
    done: list[Path] = []

    def save(*arguments: Any, **options: Any) -> None:
        if len(done) == saves:
            raise Killed
        done.append(save_checkpoint(*arguments, **options))

    monkeypatch.setattr(fitting, "SAVED_EVERY", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(training, "save_checkpoint", save)
        with pytest.raises(Killed):
            train_main([*RUNS["bohp"], "--run-dir", str(run)])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 24')  # a line that was being written
    assert train_main(["--resume", str(run)]) == 0
    assert_same_run(run, unbroken)


def test_a_net_that_reached_its_target_is_not_trained_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its number of episodes depends on when the run was interrupted."""
    monkeypatch.setattr(
        "plasticrl.tasks.bohp.task.Bohp.target_reached", lambda _, net, n_updates: n_updates == 4
    )

    def killed(*_: Any) -> None:
        raise Killed

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("plasticrl.tasks.bohp.task.Bohp.evaluate", killed)
        with pytest.raises(Killed):
            train_main([*RUNS["bohp"], "--run-dir", str(run)])
    assert train_main(["--resume", str(run)]) == 0
    record = json.loads((run / "evaluation.json").read_text())
    for one in (record, *record["controls"]):
        assert (one["stopped"], one["train_episodes"]) == ("target", 12)


def test_a_resumed_net_adds_to_its_seconds(tmp_path: Path, press: Callable[..., None]) -> None:
    """Otherwise the time of a net counts only the part after the last interruption."""
    run = tmp_path / "run"
    press([3])
    assert train_main([*RUNS["bohp"], "--run-dir", str(run)]) == 130
    newest = latest_checkpoint(run / "checkpoints" / "0")
    content = load_checkpoint(newest)
    save_checkpoint(newest.parent, content["n_updates"], {**content, "seconds": 1000.0})
    assert train_main(["--resume", str(run)]) == 0
    assert json.loads((run / "evaluation.json").read_text())["seconds"] > 1000


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run interrupted in its control, with two checkpoints of it."""
    run, update, count = tmp_path_factory.mktemp("runs") / "run", Fit.update, [0]

    def pressed(fit: Fit, name: str) -> Any:
        count[0] += 1
        if count[0] == N + 3:
            signal.raise_signal(signal.SIGINT)
        return update(fit, name)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "SAVED_EVERY", 0.0)
        patched.setattr(Fit, "update", pressed)
        assert train_main([*PATTERNS, "--run-dir", str(run)]) == 130
    return run


def newest(run: Path) -> Path:
    return run / "checkpoints" / "1" / "step_000000000003.pt"


def change(run: Path, **values: Any) -> None:
    save_checkpoint(newest(run).parent, 3, {**load_checkpoint(newest(run)), **values})


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def missing(run: Path) -> None:
    shutil.rmtree(run)


def an_agent_s(run: Path) -> None:
    edit(run / "config.json", kind="rl")


def other_task(run: Path) -> None:
    edit(run / "config.json", config={"name": "chess"})


def other_size(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())["config"]
    edit(run / "config.json", config={**config, "n_bits": 5})


def cut(run: Path) -> None:
    newest(run).write_bytes(newest(run).read_bytes()[:500])


def foreign(run: Path) -> None:
    save_checkpoint(newest(run).parent, 3, {"weights": torch.ones(2)})


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("hacked",)


def hostile(run: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"format_version": 2, "content": {"net": Hostile()}}, buffer)
    add_checksum(buffer)
    newest(run).write_bytes(buffer.getvalue())


def not_finite(run: Path) -> None:
    weights = load_checkpoint(newest(run))["net"]
    change(run, net={name: weight * torch.nan for name, weight in weights.items()})


def no_optimizer(run: Path) -> None:
    change(run, optimizer={})


def other_moments(run: Path) -> None:
    optimizer = load_checkpoint(newest(run))["optimizer"]
    for kept in optimizer["state"].values():
        kept["exp_avg"] = torch.zeros(2)
    change(run, optimizer=optimizer)


def moments_not_finite(run: Path) -> None:
    optimizer = load_checkpoint(newest(run))["optimizer"]
    for kept in optimizer["state"].values():
        kept["exp_avg"] *= torch.nan
    change(run, optimizer=optimizer)


def an_end_of_its_own(run: Path) -> None:
    change(run, stopped="x")


def too_many_updates(run: Path) -> None:
    change(run, n_updates=N + 1)


def no_episodes(run: Path) -> None:
    change(run, episodes=torch.zeros(3))


def no_random_numbers(run: Path) -> None:
    change(run, rng={"python": 3})


def spoiled_metrics(run: Path) -> None:
    (run / "metrics.jsonl").write_text('{"step": 3}\nnonsense\n{"step": 6}\n')


def other_nets(run: Path) -> None:
    edit(run / "evaluation.json", net="LSTM")


def no_record(run: Path) -> None:
    (run / "evaluation.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing, "run directory {run} does not exist"),
        (an_agent_s, "{run}/config.json: config.name must be one of a2c, ppo, not"),
        (other_task, "{run}/config.json: config.name must be one of images, "),
        (other_size, "{newest} does not fit the run's config: "),
        (foreign, "{newest} does not fit the run's config: it is not a checkpoint of this task"),
        (not_finite, "{newest} does not fit the run's config: its 'net'.weight is not finite"),
        (other_moments, "{newest} does not fit the run's config: its 'optimizer'.state.0.exp_avg "),
        (
            moments_not_finite,
            "{newest} does not fit the run's config: its 'optimizer'.state.0.exp_avg is not finite",
        ),
        (an_end_of_its_own, "{newest} does not fit the run's config: its 'stopped' is 'x'"),
        (too_many_updates, "{newest} does not fit the run's config: its 'n_updates' is 7"),
        (no_optimizer, "{newest} does not fit the run's config: its 'optimizer' has no 'state'"),
        (no_episodes, "{newest} does not fit the run's config: its 'episodes' must be (5056,) of "),
        (no_random_numbers, "{newest} does not fit the run's config: the random-number state"),
        (spoiled_metrics, "{run}/metrics.jsonl, line 2 is not valid JSON"),
        (other_nets, "{run}/evaluation.json has other nets than the run: ['LSTM']"),
        (no_record, "{run}/evaluation.json is damaged: KeyError('controls')"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_that_cannot_be_continued(
    spoil: Callable[[Path], None],
    sentence: str,
    stopped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the run continues with other settings, gives a traceback, or loses files."""
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    spoil(run)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert train_main(["--resume", str(run)]) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith(
        "error: " + sentence.replace("{run}", str(run)).replace("{newest}", str(newest(run)))
    )
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert not Path("hacked").exists()


@pytest.mark.parametrize("spoil", [cut, hostile])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    spoil: Callable[[Path], None],
    stopped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a run with a good checkpoint is lost, or another net is trained."""
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    spoil(run)
    assert train_main(["--resume", str(run)]) == 0
    assert f"{newest(run)} is " in capsys.readouterr().err
    assert train_main([*PATTERNS, "--run-dir", str(tmp_path / "unbroken")]) == 0
    assert_same_run(run, tmp_path / "unbroken")
    assert not Path("hacked").exists()


def test_a_kill_before_the_first_checkpoint(tmp_path: Path) -> None:
    """Otherwise the folder that was just made for it keeps the run from being resumed."""
    run = tmp_path / "run"
    assert train_main([*RUNS["bohp"], "--no-controls", "--run-dir", str(run)]) == 0
    (run / "evaluation.json").unlink()
    for path in (run / "checkpoints" / "0").iterdir():
        path.unlink()
    assert train_main(["--resume", str(run)]) == 0
    assert train_main([*RUNS["bohp"], "--no-controls", "--run-dir", str(tmp_path / "one")]) == 0
    assert_same_run(run, tmp_path / "one")


def test_a_finished_run_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the nets are trained for too long, or a script that resumes ends in an error."""
    run = tmp_path / "run"
    assert train_main([*RUNS["bohp"], "--no-controls", "--run-dir", str(run)]) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert train_main(["--resume", str(run)]) == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("to see these results again: ")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("more", [["--seed", "3"], ["--run-dir", "new"]])
def test_resume_takes_no_other_flag(
    more: list[str], stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the flag is ignored."""
    assert train_main(["--resume", str(stopped), *more]) == 2
    assert capsys.readouterr().err.endswith(f"settings: leave out {more[0]}\n")


def test_resume_takes_no_preset(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the flag is ignored."""
    assert train_main(["--resume", str(stopped), "bohp-one-shot-paper"]) == 2
    assert "bohp-one-shot-paper" in capsys.readouterr().err
