"""``benchmarks.papers``: the nets are those it says, and its statistics are right."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import papers
from benchmarks.paper_report import (
    PER_EPISODE,
    Panel,
    Source,
    Subject,
    draw,
    rank_sum_p,
    read_curves,
    steps_to_reach,
    write_report,
)

from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.environments import build_env
from plasticrl.commands import run_command
from plasticrl.commands.trials import Trial, expand
from plasticrl.runs import read_series

TINY = (
    *("core.name=gru", "core.hidden_size=4", "env_kwargs.size=5", "n_envs=2", "a2c.n_steps=10"),
    *("checkpoint_every=10", "total_timesteps=1000"),
)


def n_parameters(trial: Trial) -> int:
    """The number of parameters of a run's policy."""
    env = build_env(trial.config, 1)
    model = build_model(trial.config, env)
    env.close()
    return sum(weight.numel() for weight in model.policy.parameters())


@pytest.mark.parametrize(
    "name", [name for name in papers.EXPERIMENTS if not name.endswith(("presets", "alpha"))]
)
def test_nets_without_a_number_of_units_have_equal_parameters(name: str, tmp_path: Path) -> None:
    """Otherwise a net wins because it is larger, and the table says that it is not."""
    experiment = papers.EXPERIMENTS[name]
    counts = {
        label: n_parameters(net.trials([0], tmp_path)[0])
        for label, net in experiment.nets.items()
        if "units" not in label
    }
    reference = next(iter(counts.values()))
    assert counts == {label: pytest.approx(reference, rel=0.03) for label in counts}


@pytest.mark.parametrize("name", papers.EXPERIMENTS)
def test_each_net_is_in_the_picture_and_trained_once(name: str, tmp_path: Path) -> None:
    """Otherwise a training is not seen, or two labels show the same runs."""
    experiment = papers.EXPERIMENTS[name]
    shown = {label for panel in experiment.panels for label in (panel.reference, *panel.labels)}
    assert shown == set(experiment.nets)
    paths = [net.trials([0], tmp_path)[0].path for net in experiment.nets.values()]
    assert len(set(paths)) == len(paths)


def test_the_rank_sum_test_worked_by_hand() -> None:
    """Of the 252 orders of 5 and 5 values, two separate them; of 3 and 3, 20 and two."""
    assert rank_sum_p([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    assert rank_sum_p([4, 5, 6], [1, 2, 3]) == pytest.approx(2 / 20)
    # One exchange from the extreme order: rank sums 6 and 7 of 20, and their mirror images.
    assert rank_sum_p([1, 2, 4], [3, 5, 6]) == pytest.approx(4 / 20)


def make_runs(folder: Path, curves: dict[int, list[float]]) -> list[Trial]:
    """Trials with these rewards after 0, 10, 20, ... steps, by seed."""
    trials = expand(["maze-quickstart"], list(curves), TINY, folder)
    for trial in trials:
        trial.path.mkdir(parents=True)
        rows = [
            {"step": 10 * step, "rollout/ep_rew_mean": reward}
            for step, reward in enumerate(curves[trial.seed])
        ]
        (trial.path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return trials


def test_curves_are_interpolated_in_the_range_of_all_runs(tmp_path: Path) -> None:
    """Otherwise medians are of different steps."""
    one = make_runs(tmp_path / "one", {0: [0, 10, 20], 1: [0, 20, 40, 60], 2: [30, 30, 30]})
    other = make_runs(tmp_path / "other", {0: [1, 1, 1, 1]})
    steps, curves = read_curves({"one": one, "other": other}, PER_EPISODE.metric)
    assert (steps[0], steps[-1]) == (0, 20)
    low, median, high = curves["one"].quartiles()
    np.testing.assert_allclose(median, np.minimum(2 * steps, 30))  # the steepest run, then the flat
    np.testing.assert_allclose([low[-1], high[-1]], [25, 35])
    assert curves["other"].runs.shape == (1, len(steps))


def test_the_picture_marks_where_a_net_differs(tmp_path: Path) -> None:
    """Otherwise a reader takes a chance difference for a real one, or the reverse."""
    rising = {seed: [seed, 10 + seed, 20 + seed] for seed in range(5)}
    flat = {seed: [seed + 0.5] * 3 for seed in range(5)}
    runs = {"a": make_runs(tmp_path / "a", flat), "b": make_runs(tmp_path / "b", rising)}
    _, curves = read_curves(runs, PER_EPISODE.metric)
    figure = draw(curves, [Panel("title", "a", ("b",))], "reward", best=None)
    better, worse = figure.axes[1].collections
    marked = better.get_offsets()[:, 0]
    assert marked.min() > 3  # the ranges overlap before 4.5 steps
    assert marked.max() == 20
    assert len(worse.get_offsets()) == 0


def test_steps_to_reach_a_score(tmp_path: Path) -> None:
    (trial,) = make_runs(tmp_path, {0: [0, 40, 20, 50]})
    series = read_series(trial.path / "metrics.jsonl", PER_EPISODE.metric)[""]
    assert [steps_to_reach(series, score) for score in (0, 30, 50, 51)] == [0, 10, 30, None]


@pytest.mark.slow
def test_the_report_has_the_evaluations_of_finished_runs(tmp_path: Path) -> None:
    """Otherwise the page shows other numbers than the runs have."""
    trials = expand(["maze-quickstart"], [0, 1, 2], TINY, tmp_path)
    for trial in trials[:2]:
        assert run_command("train", [trial.preset, *trial.flags, "--run-dir", str(trial.path)]) == 0
    panel = Panel("title", "GRU", ("not trained",))
    stem, source = tmp_path / "report" / "tiny", Source("the command", ["abc"])
    for _ in range(2):  # the second time, the evaluations are read
        subject = Subject("Tiny", [panel], PER_EPISODE, best=50, reach=0)
        write_report(stem, subject, {"GRU": trials, "not trained": []}, source)
    report = json.loads(stem.with_suffix(".json").read_text())
    evaluated = [json.loads((t.path / "evaluation.json").read_text()) for t in trials[:2]]
    (net,) = report["nets"].values()
    assert net["rewards"] == [round(one["reward_mean"], 1) for one in evaluated]
    assert net["seeds"] == [0, 1]
    assert net["parameters"] == n_parameters(trials[0])
    assert report["steps"][-1] == 1000
    assert net["steps_to_reach"] == [400, 400]  # the first episodes have 200 steps, in 2 mazes
    page = stem.with_suffix(".md").read_text()
    assert "| GRU | 4 |" in page
    assert "not trained" not in page
    assert stem.with_suffix(".png").stat().st_size > 10_000
