"""``train_supervised.py`` with the smallest sizes, and its messages for bad input."""

import json
import math
from functools import partial
from pathlib import Path

import pytest

from plasticrl.commands import main, run_command
from plasticrl.runs import RunDirectory
from plasticrl.tasks.config import KIND
from plasticrl.tasks.data import EmbeddedDataSet, ExternalDataSet
from plasticrl.tasks.patterns.nets import Associator
from plasticrl.tasks.patterns.task import Patterns
from plasticrl.tasks.registry import DATA_SETS, PRESETS

data_main = partial(run_command, "data")
evaluate_main = partial(run_command, "evaluate")
train_main = partial(run_command, "train")

SMALL = [
    *("--n-updates", "3", "--batch-size", "2", "--evaluation-episodes", "7"),
]
PICTURES = {
    "patterns": {"episode.png", "matrices.png"},
    "images": {"episode.png", "matrices.png"},
    "omniglot": {"episodes.png", "characters.png"},
    "bohp": {"episode.png", "matrices.png"},
    "language": {"text.png"},
    "associative-retrieval": {"episode.png"},
    "copy-delay": {"episode.png"},
    "few-shot-regression": {"episode.png"},
}
"""The pictures of each task. A task that is missing here fails the test of its presets."""


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_trains_and_writes_what_it_measured(preset: str, tmp_path: Path) -> None:
    """Otherwise a preset of the table does not run."""
    sizes = ["--n-bits", "6"] if preset.startswith("patterns") else []
    if preset.startswith("language"):
        sizes += ["--data", "king-james", "--max-words", "50", "--evaluation-tokens", "20"]
        sizes += ["--embedding-size", "4", "--layers", "4", "4"]
    if preset == "patterns-comparison":
        sizes += ["--rnn-control", "9", "--lstm-control", "8"]
    if preset.startswith("images"):
        sizes = ["--size", "4"]
    if preset in ("copy-delay-paper", "few-shot-regression-paper"):
        sizes = ["--core.inner-size", "8"]
    run = tmp_path / "run"
    assert train_main([preset, *SMALL, *sizes, "--run-dir", str(run)]) == 0
    record = json.loads((run / "evaluation.json").read_text())
    assert record["task"] == PRESETS[preset]().name
    assert record["preset"] == preset
    assert record["data"].keys() == {"name", "version", "sha256", "split"}
    assert len(record["controls"]) >= 1
    for one in (record, *record["controls"]):
        assert one["episodes"] == 7
        assert one["train_episodes"] == (6 if one["parameters"] else 0)
        assert one["ci95"][0] <= one["value"] <= one["ci95"][1]
        assert (one["seconds"] > 0) == (one["parameters"] > 0)
        assert one["stopped"] == ("updates" if one["parameters"] else None)
    assert record["not_measured"] == []
    pictures = {path.name for path in run.glob("*.png")}
    assert pictures == set(record["pictures"]) == PICTURES[record["task"]]
    assert RunDirectory.open(run).kind == "supervised"
    assert (run / "metrics.jsonl").read_text().count("train/loss") >= 3


@pytest.mark.parametrize("flag", [["--device", "cpu"], ["--total-timesteps", "3"]])
def test_flags_of_agents_are_refused(
    flag: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Otherwise they are ignored."""
    arguments = ["bohp-completion-paper", *SMALL, "--no-controls", "--run-dir", str(tmp_path)]
    assert train_main(arguments) == 0
    capsys.readouterr()
    assert train_main(["--resume", str(tmp_path), *flag]) == 2
    expected = f"error: {flag[0]} is for agents: leave it out to continue a supervised run\n"
    assert capsys.readouterr().err == expected


def test_the_seed_decides(tmp_path: Path) -> None:
    """Otherwise a result cannot be repeated."""
    values = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        arguments = ["bohp-completion-paper", *SMALL, "--seed", seed, "--no-controls"]
        assert train_main([*arguments, "--run-dir", str(tmp_path / name)]) == 0
        values.append(json.loads((tmp_path / name / "evaluation.json").read_text())["value"])
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--n-updates", "0"], "--n-updates must be at least 1, not 0"),
        (["--learning-rate", "nan"], "--learning-rate must be a finite number above 0, not nan"),
        (["--device", "tpu"], "--device must be cpu, cuda or cuda:N, not 'tpu'"),
        (["--seed", "-1"], "--seed must be from 0"),
        (["--threads", "100000"], "--threads must be at most 1024, not 100000"),
        (["--n-bits", "1000000"], "the sizes of the net: this needs at least "),
        (["--n-bits", "1"], "--n-bits must be at least 2, not 1"),
    ],
)
def test_a_bad_value_gets_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Otherwise the user reads a traceback."""
    folder = tmp_path / "run"
    assert train_main(["patterns-quickstart", *flags, "--run-dir", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not folder.exists()


def test_a_run_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a measured run is lost."""
    (tmp_path / "notes.txt").write_text("mine")
    assert train_main(["bohp-completion-paper", *SMALL, "--run-dir", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_evaluate_prints_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user has to read the results in a file."""
    run = tmp_path / "run"
    train_main(["bohp-completion-paper", *SMALL, "--run-dir", str(run)])
    capsys.readouterr()
    assert evaluate_main([str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((run / "evaluation.json").read_text())
    assert evaluate_main([str(run)]) == 0
    assert "non-plastic" in capsys.readouterr().out


def test_evaluate_says_what_was_given_up_and_what_was_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a control that missed the target, or was not measured, cannot be recognized.

    The plastic net reaches the target after two updates, of two episodes each.
    """
    monkeypatch.setattr(
        Patterns,
        "target_reached",
        lambda _, net, n_updates: isinstance(net, Associator) and n_updates == 2,
    )
    flags = ["patterns-quickstart", *SMALL, "--n-bits", "4"]
    for name, more in (("both", []), ("one", ["--no-controls"])):
        assert train_main([*flags, *more, "--run-dir", str(tmp_path / name)]) == 0
    capsys.readouterr()
    assert evaluate_main([str(tmp_path / "both")]) == 0
    _, plastic, control = capsys.readouterr().out.splitlines()
    assert plastic.endswith("), after 4 episodes, 51 parameters")
    assert control.endswith("), given up after 6 episodes, 49 parameters")
    assert evaluate_main([str(tmp_path / "one")]) == 0
    *_, missing = capsys.readouterr().out.splitlines()
    assert missing == "  not measured: non-plastic, equal parameters"
    record = json.loads((tmp_path / "both" / "evaluation.json").read_text())
    assert [one["stopped"] for one in (record, *record["controls"])] == ["target", "updates"]


def test_evaluate_says_what_is_not_finite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the null that JSON has for a diverged net gives a traceback."""
    run = RunDirectory.create(tmp_path / "run", kind=KIND, preset="x", config={})
    net = {"net": "plastic", "value": math.inf, "ci95": [math.nan, 2.0], "parameters": 0}
    record = {"metric": "perplexity", "episodes": 3, "stopped": None, **net, "controls": []}
    run.write_evaluation({**record, "not_measured": []})
    assert evaluate_main([str(run.path)]) == 0
    assert "plastic: not finite (not finite to 2)" in capsys.readouterr().out
    run.write_evaluation({**record, "not_measured": [], "ci95": 3.0})
    assert evaluate_main([str(run.path)]) == 2
    assert "evaluation.json is damaged" in capsys.readouterr().err


def test_a_run_that_did_not_end_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user reads an error about a missing file."""
    run = RunDirectory.create(tmp_path / "run", kind=KIND, preset="x", config={})
    assert evaluate_main([str(run.path)]) == 2
    err = capsys.readouterr().err
    assert "has no evaluation.json yet: its training has not ended" in err
    assert err.endswith(f"plasticrl train --resume {run.path}\n")


def test_data_tells_of_every_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the user does not know which files are needed, or that one is damaged."""
    monkeypatch.delenv("PLASTICRL_DATA", raising=False)
    assert data_main([]) == 0
    out = capsys.readouterr().out
    for data in DATA_SETS:
        assert data.name in out
        files = data.files if isinstance(data, ExternalDataSet) else ()
        for word in (data.sha256,) if isinstance(data, EmbeddedDataSet) else [f.md5 for f in files]:
            assert word in out
    (tmp_path / "ptb.train.txt").write_text("not the real one")
    assert data_main(["--data-root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'ptb.train.txt'} is not the Penn Treebank file" in out
    assert str(tmp_path / "cifar-10-python.tar.gz") in out
    for name in ("images_background", "images_evaluation"):
        (tmp_path / name).mkdir()
    assert data_main(["--data-root", str(tmp_path)]) == 0
    assert f"{tmp_path / 'images_evaluation'}: unpacked" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["data"], ["train", "images-paper", "--data", "cifar-10"]])
def test_a_data_root_that_is_not_there(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user looks for files, and not at the folder's name."""
    assert main([*command, "--data-root", str(tmp_path / "none")]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: --data-root: there is no folder {tmp_path / 'none'}\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["train", "patterns-quickstart", "--lerning-rate", "1"], "--learning-rate?"),
        (["data", "--data_rot", "x"], "--data-root?"),
        (["train", "--resume", "run", "--resum", "x"], "--resume?"),
    ],
)
def test_a_mistyped_flag(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the user has to search a box for the correct flag."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: there is no flag {argv[-2]} here: did you mean {said}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("preset", "named"),
    [("language-paper", "ptb.train.txt"), ("images-paper --data cifar-10", "cifar-10-python")],
)
def test_a_missing_data_set_is_one_sentence(
    preset: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user does not know which file is needed, or what can be used in its place."""
    run = tmp_path / "run"
    arguments = [*preset.split(), "--data-root", str(tmp_path), "--run-dir", str(run)]
    assert train_main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in (str(tmp_path / named), "md5", "in its place with --data "):
        assert word in error
    assert not run.exists()


def test_what_only_agents_can_show_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the message refers to a help text that lists this flag."""
    run = tmp_path / "run"
    assert train_main(["bohp-completion-paper", *SMALL, "--run-dir", str(run)]) == 0
    capsys.readouterr()
    assert evaluate_main([str(run), "--report", "page.html"]) == 2
    assert capsys.readouterr().err.startswith("error: a supervised run was measured and drawn ")
