"""``evaluate.py RUN RUN ... --plot FILE``: the grouping of runs into curves, and the errors."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plasticrl.commands import run_command
from plasticrl.commands.plot import read_curves
from plasticrl.runs import MetricsLog, RunDirectory

evaluate_main = partial(run_command, "evaluate")

ROOT = Path(__file__).parents[2]
REWARD = "rollout/ep_rew_mean"
Rows = dict[int, dict[str, float]]
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Make the directory of a finished training with the rewards 0, 10 and 20 + seed."""

    def make(
        name: str,
        seed: int = 0,
        *,
        kind: str = "rl",
        preset: str = "maze-quickstart",
        rows: Rows | None = None,
        **settings: Any,
    ) -> Path:
        config = {"seed": seed, "core": {"modulation": "simple"}, "stages": [2, 3], **settings}
        run = RunDirectory.create(tmp_path / name, kind=kind, preset=preset, config=config)
        log = MetricsLog(run.metrics_path)
        if rows is None:
            rows = {10 * k: {REWARD: 10.0 * k + seed} for k in range(3)}
        for step, values in rows.items():
            log.append(step, values)
        return run.path

    return make


def plotted(capsys: pytest.CaptureFixture[str], *argv: object) -> list[str]:
    """Plot into a file next to the first run, and return the lines on stdout."""
    runs = [word for word in argv if isinstance(word, Path)]
    target = runs[0].parent / "plot.svg"
    capsys.readouterr()
    assert evaluate_main([*map(str, argv), "--plot", str(target)]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == f"wrote {target}"
    assert target.stat().st_size > 1000
    return out.splitlines()


def test_the_runs_of_a_preset_are_one_curve(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise seeds are shown separately, or presets are averaged together."""
    runs = [make_run(f"maze{seed}", seed, device=f"cuda:{seed}") for seed in (0, 2, 4)]
    other = make_run("other", preset="maze-paper")
    assert plotted(capsys, *runs, other) == [
        "maze-quickstart: rollout/ep_rew_mean 22 (20 to 24, 3 seeds) at step 20",
        "maze-paper: rollout/ep_rew_mean 20 at step 20",
    ]


def test_curves_by_a_setting(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the values of a flag cannot be compared."""
    runs = [
        make_run(f"{value}{seed}", seed, core={"modulation": value})
        for value in ("simple", "none")
        for seed in (0, 2)
    ]
    lines = plotted(capsys, *runs, "--by", "core.modulation", "--average", "iqm")
    assert lines == [
        "core.modulation simple: rollout/ep_rew_mean 21 (20 to 22, 2 seeds) at step 20",
        "core.modulation none: rollout/ep_rew_mean 21 (20 to 22, 2 seeds) at step 20",
    ]


def test_a_flag_is_named_as_on_the_command_line(make_run: MakeRun) -> None:
    """``--core.hidden-size`` is the flag, ``hidden_size`` the setting."""
    runs = [make_run(f"r{n}", n_envs=n) for n in (3, 5)]
    opened = [RunDirectory.open(path) for path in runs]
    curves = read_curves(opened, REWARD, ["--n-envs"], "mean")
    assert [curve.label for curve in curves] == ["n_envs 3", "n_envs 5"]


def test_every_net_of_a_supervised_run(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the controls are missing, or averaged with the plastic net."""
    rows: Rows = {10: {"train/loss": 4.0}, 20: {"train/loss": 1.0}}
    rows |= {5: {"LSTM/train/loss": 4.0}, 15: {"LSTM/train/loss": 3.0}}
    runs = [make_run(f"s{s}", s, kind="supervised", preset="p", rows=rows) for s in (0, 1)]
    RunDirectory.open(runs[0]).write_evaluation({"net": "modulated"})
    assert plotted(capsys, *runs) == [
        "p, modulated: train/loss 1 (1 to 1, 2 seeds) at step 20",
        "p, LSTM: train/loss 3 (3 to 3, 2 seeds) at step 15",
    ]
    assert plotted(capsys, runs[1], "--metric", "LSTM/train/loss") == [
        "p: LSTM/train/loss 3 at step 15"
    ]


def test_non_finite_values_are_reported(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a diverged run looks like a good one that ended early."""
    rows: Rows = {k: {REWARD: float("nan") if k == 2 else k} for k in range(4)}
    run = make_run("r", rows=rows)
    assert evaluate_main([str(run), "--plot", str(run.parent / "a.png")]) == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        f"note: {run}: 1 value of rollout/ep_rew_mean is not finite, and left out"
    )


Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Ask for an impossible plot; return the error message, after a check that no file exists."""

    def call(*argv: object, plot: str = "plot.png") -> str:
        capsys.readouterr()
        target = tmp_path / plot
        assert evaluate_main([*map(str, argv), f"--plot={target}"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"error: [^\n]+\n", err)
        assert not target.is_file()
        return err

    return call


def test_runs_that_make_no_curve_together(make_run: MakeRun, refused: Refused) -> None:
    """Otherwise an average of different experiments, or of the same run twice, is drawn."""
    one, other = make_run("one"), make_run("other", 1, core={"modulation": "none"}, n_envs=7)
    assert (
        f"{one} and {other} differ in core.modulation, n_envs: "
        "separate them with --by core.modulation n_envs"
    ) in refused(one, other)
    assert f"{one} and {one} have the same seed 0" in refused(one, one)
    late = make_run("late", 1, rows={100: {REWARD: 1}, 200: {REWARD: 2}})
    assert f"{late} begins at step 100, where {one} has ended (step 20)" in refused(one, late)


def test_runs_of_two_kinds(make_run: MakeRun, refused: Refused) -> None:
    """Otherwise environment steps and training episodes share an axis."""
    one, other = make_run("one"), make_run("other", kind="supervised")
    assert f"{one} is a run of kind 'rl' and {other} of kind 'supervised'" in refused(one, other)
    foreign = make_run("foreign", kind="sweep")
    assert f"{foreign} is a run of kind 'sweep', which cannot be plotted" in refused(foreign)


def test_a_run_without_such_a_curve(make_run: MakeRun, refused: Refused, tmp_path: Path) -> None:
    """Otherwise there is a traceback or an empty picture."""
    run = make_run("run")
    assert "has no metric 'train/loss'; it has rollout/ep_rew_mean" in refused(
        run, "--metric", "train/loss"
    )
    assert "no run has a setting 'modulator': did you mean core.modulation?" in refused(
        run, "--by", "modulator"
    )
    assert "no run has a setting 'xyz': config.json in a run's folder has all" in refused(
        run, "--by", "xyz"
    )
    empty, single = make_run("empty", rows={}), make_run("single", rows={1: {REWARD: 1}})
    assert "cannot read" in refused(empty)
    (empty / "metrics.jsonl").touch()
    assert "metrics.jsonl is empty: its training has written nothing yet" in refused(empty)
    assert f"{single} has a single value" in refused(single)
    (run / "metrics.jsonl").write_text('{"step": 1}\n{"st\n')
    assert "metrics.jsonl, line 2 is not valid JSON" in refused(run)
    assert "nowhere does not exist" in refused(tmp_path / "nowhere")
    assert "name one or more run directories" in refused()
    assert "the name must end in .png or .svg" in refused(single, plot="plot.jpg")


def test_evaluation_flags_are_refused_with_plot(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise ``--episodes`` is ignored."""
    argv = [str(make_run("run")), "--plot", "a.png", "--episodes", "5"]
    assert evaluate_main(argv) == 2
    assert "leave out --episodes" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--help", "run"])
def test_the_script_without_torch(flag: str, make_run: MakeRun, tmp_path: Path) -> None:
    """Otherwise the script rejects supervised runs, or waits seconds for torch."""
    rows: Rows = {10: {"train/loss": 4.0}, 20: {"train/loss": 1.0}}
    run = make_run("run", kind="supervised", preset="p", rows=rows)
    code = (
        "import runpy, sys\n"
        "try:\n    runpy.run_path('evaluate.py', run_name='__main__')\n"
        "except SystemExit as stop:\n    sys.exit(stop.code or 'torch' in sys.modules)"
    )
    argv = [str(run) if flag == "run" else flag, "--plot", str(tmp_path / "a.png")]
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("p: train/loss 1 at step 20" if flag == "run" else "--average") in done.stdout
