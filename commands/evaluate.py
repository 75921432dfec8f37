"""``plasticrl evaluate``: measure, show or export a trained agent, or plot learning curves."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from plasticrl.agents.watching import EPISODES, SEED, gallery
from plasticrl.commands.flags import flags_in_errors, given_values
from plasticrl.commands.parse import parse_flags
from plasticrl.commands.plot import PlotArguments, plot
from plasticrl.commands.program import (
    command_line,
    import_from_here,
    printable,
    say,
    say_damaged,
    say_loading,
)
from plasticrl.commands.show import ShowArguments, play_agent, show, show_recorded
from plasticrl.commands.train import PRESETS, resuming
from plasticrl.runs import (
    RunDirectory,
    RunError,
    UsageError,
    WriteError,
    check_seed,
    null_non_finite,
    rounded,
)
from plasticrl.tasks.config import KIND as SUPERVISED

if TYPE_CHECKING:
    from plasticrl.agents.watching.agent import TrainedAgent


MOST_EPISODES = 10**6


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    """Measure, watch, record or export a trained agent, replay an episode, or plot runs.

    A supervised run was measured when its training ended. For such a run, this command prints the
    results again, and accepts no flags but --json and --plot.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folder of a run (several with --plot), or FILE.npz of a recorded episode to show."""
    gallery: str | None = None
    """A trained agent that comes with the package, for example maze, instead of a run. With
    --watch, --record, --report, --live or --export, it is only shown or exported, not measured."""
    episodes: int = EPISODES
    """Number of episodes in the measurement."""
    seed: int = SEED
    """Episode k is played with seed + k. Choose seeds other than those of the training."""
    deterministic: bool = False
    """Take the most likely action instead of sampling."""
    device: str = "cpu"
    """cpu, cuda (or cuda:1, ...), or auto: the device of the agent's net. It may differ from the
    training's device. The sampled actions depend on it."""
    ablate_plasticity: bool = False
    """Also measure the agent with all plasticity coefficients set to zero."""
    allow_import: tuple[str, ...] = ()
    """Modules with environments or wrappers that the run may import."""
    json: bool = False
    """Print only a JSON object on stdout."""
    export: Path | None = None
    """Write one step of the policy to FILE.onnx or FILE.pt2 (torch.export), which runs without this
    package."""
    show: tyro.conf.OmitArgPrefixes[ShowArguments] = field(default_factory=ShowArguments)
    curves: tyro.conf.OmitArgPrefixes[PlotArguments] = field(default_factory=PlotArguments)

    def check(self) -> None:
        """Raise ``UsageError`` for arguments that contradict each other or have invalid values."""
        if len(self.runs) > 1:
            raise UsageError("several runs can only be plotted: add --plot FILE.png, or name one")
        if len(self.runs) + (self.gallery is not None) != 1:
            raise UsageError(
                "name exactly one: a run's folder, an episode's FILE.npz, or --gallery "
                f"{'|'.join(gallery.names())}, as in: {command_line('evaluate')} "
                "--gallery maze --watch; --help says more"
            )
        if not 2 <= self.episodes <= MOST_EPISODES:
            raise UsageError(
                f"episodes must be at least 2, for an interval, and at most {MOST_EPISODES}, "
                f"not {self.episodes}"
            )
        check_seed(self.seed)
        if self.json and self.show.watch:
            raise UsageError("--json prints only JSON on stdout: use --watch in a separate call")

    @property
    def measures(self) -> bool:
        """Whether to measure the agent: yes, unless it is shown or exported from the gallery."""
        return self.gallery is None or not (self.show.asked or self.export is not None)


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = parse_flags(EvaluateArguments, argv, prog=command_line("evaluate"))
    from plasticrl.viewer import ViewerError

    given = {name.rpartition(".")[2] for name in given_values(argv, arguments)}
    try:
        with flags_in_errors(EvaluateArguments):
            return _evaluate(arguments, given)
    except ViewerError as error:
        raise UsageError(str(error)) from error


def _evaluate(arguments: EvaluateArguments, given: set[str]) -> int:
    if arguments.curves.plot is not None:
        _check_only(
            given, ("plot", "metric", "by", "average"), "--plot draws curves and nothing else"
        )
        return plot(arguments.runs, arguments.curves)
    _check_only(given, given - {"metric", "by", "average"}, "some flags need --plot FILE")
    arguments.check()
    path = arguments.runs[0] if arguments.runs else gallery.folder(arguments.gallery or "")
    if path.suffix.lower() == ".npz" and not path.is_dir():
        _check_only(given, ("watch", "record", "report"), f"{path} is a recorded episode")
        show_recorded(path, arguments.show)
        return 0
    if str(path) in gallery.names() and not path.exists():
        raise UsageError(
            f"there is no run {path}; an installed agent of that name is shown with: "
            f"{command_line('evaluate')} --gallery {path} --watch"
        )
    if str(path) in PRESETS and not path.exists():
        raise UsageError(
            f"there is no run {path}: train it with {command_line('train')} {path}, or evaluate an "
            f"installed agent with --gallery {'|'.join(gallery.names())}"
        )
    run = RunDirectory.open(path)  # reports a damaged run before torch is loaded
    if run.kind == SUPERVISED:
        _check_only(
            given, ("json",), "a supervised run was measured and drawn when its training ended"
        )
        _say_measured(run, arguments.json)
        return 0
    if not arguments.measures:
        reason = "an agent of the gallery is shown or exported, and not measured again"
        shown = ("watch", "record", "report", "live", "signature")
        of_episodes = ("seed", "deterministic") if arguments.show.asked else ()
        allowed = ("gallery", *shown, "export", "device", *of_episodes)
        _check_only(given, allowed, reason)
    _evaluate_agent(path, arguments)
    return 0


def _check_only(given: set[str], allowed: Sequence[str] | set[str], reason: str) -> None:
    """Raise ``UsageError`` if a flag in ``given`` is not in ``allowed``; ``reason`` says why."""
    if others := sorted(given - set(allowed)):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise UsageError(f"{reason}: leave out {flags}")


def _evaluate_agent(path: Path, arguments: EvaluateArguments) -> None:
    """Export, show and measure an agent.

    The measurement comes last, because it is long, and an error in the rest must not waste it.
    """
    arguments.show.check_paths()
    if not arguments.json:
        say_loading(arguments.gallery or str(path))
    import torch

    from plasticrl.agents.exporting import check_export_path, export_policy
    from plasticrl.agents.watching.agent import TrainedAgent
    from plasticrl.runs import notify_compilation

    if arguments.export is not None:
        check_export_path(arguments.export)
    with notify_compilation(lambda message: None if arguments.json else say(message)):
        import_from_here(arguments.allow_import)
        agent = TrainedAgent.load(path, arguments.allow_import, arguments.device)
        say_damaged(agent.damaged)
        torch.set_num_threads(agent.config.threads)
        if arguments.export is not None:
            export_policy(agent.policy, arguments.export, agent.config.env_id, agent.vec_normalize)
            say(f"exported {arguments.export}")
        episode = play_agent(agent, arguments.seed, arguments.deterministic, arguments.show)
        if arguments.gallery is not None:
            say(f"{arguments.gallery}: {gallery.about(arguments.gallery)}")
        if arguments.measures:
            _measure(agent, arguments)
    if episode is not None:
        show(episode, arguments.show)


def _measure(agent: "TrainedAgent", arguments: EvaluateArguments) -> None:
    """Measure the agent, print the result, and write it to the run's folder."""
    from plasticrl.agents.watching.evaluation import evaluate

    result = evaluate(
        agent,
        arguments.episodes,
        arguments.seed,
        arguments.deterministic,
        arguments.ablate_plasticity,
    )
    failure: WriteError | None = None
    if arguments.gallery is None:
        try:
            agent.run.write_evaluation(result)
        except WriteError as error:  # the result has been printed
            failure = error
    if arguments.json:
        print(json.dumps(null_non_finite(result)))
    else:
        _print_table(result)
    if failure is not None:
        raise failure


def _print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    steps = f"after {result['n_timesteps']:,} steps of training"
    print(printable(f"{result['env_id']}, {result['episodes']} episodes, {steps}"))
    table = Table()
    table.add_column("agent")
    table.add_column("reward", justify="right")
    table.add_column("95 % interval", justify="right")
    by_trial = "reward_per_trial" in result
    if by_trial:
        table.add_column("per trial", justify="right")
    rows = {"random walk": "random_reward", "trained": "reward"}
    if "ablated_reward_mean" in result:
        rows["trained, plasticity ablated"] = "ablated_reward"
    for label, name in rows.items():
        low, high = result[f"{name}_ci95"]
        cells = [rounded(result[f"{name}_mean"]), f"{rounded(low)} to {rounded(high)}"]
        if by_trial:
            per_trial = result[f"{name}_per_trial"]
            cells.append("-" if math.isnan(per_trial) else f"{per_trial:.2f}")
        table.add_row(label, *cells)
    Console().print(table)


def _say_measured(run: RunDirectory, as_json: bool) -> None:
    """Print the results of a supervised run."""
    if not run.evaluation_path.exists():
        raise RunError(
            f"{run.path} has no {run.evaluation_path.name} yet: its training has not ended; "
            f"if it was interrupted, continue with: {resuming(run.path)}"
        )
    record = run.read_evaluation()
    try:
        lines = list(_lines(record))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise RunError(f"{run.evaluation_path} is damaged: {error!r}") from error
    if as_json:
        print(json.dumps(record))
    else:
        print(printable("\n  ".join((f"{run.preset}: {lines[0]}", *lines[1:]))))


def _lines(record: dict[str, Any]) -> Iterator[str]:
    """Sentences on a supervised run's ``evaluation.json``; the first one names the metric."""
    yield f"{record['metric']}, on {record['episodes']:,} held-out episodes"
    nets = (record, *record["controls"])
    has_target = any(net["stopped"] == "target" for net in nets)
    for net in nets:
        yield f"{net['net']}: {_describe_net(net, has_target)}"
    if record["not_measured"]:
        yield f"not measured: {'; '.join(record['not_measured'])}"


def _describe_net(net: dict[str, Any], has_target: bool) -> str:
    """A sentence on the result of a net.

    Args:
        net: the net's entry in ``evaluation.json``.
        has_target: whether any net of the run reached the task's target.
    """
    measured = _with_interval(net["value"], net["ci95"])
    if not net["parameters"]:
        return measured
    given_up = "given up " if has_target and net["stopped"] != "target" else ""
    ablated = ""
    if "ablated_value" in net:
        said = _with_interval(net["ablated_value"], net["ablated_ci95"])
        ablated = f"; plasticity ablated: {said}"
    return (
        f"{measured}, {given_up}after {net['train_episodes']:,} episodes, "
        f"{net['parameters']:,} parameters{ablated}"
    )


def _with_interval(value: float | None, interval: Sequence[float | None]) -> str:
    number, low, high = (_number(value) for value in (value, *interval))
    return f"{number} ({low} to {high})"


def _number(value: float | None) -> str:
    """Format a number of ``evaluation.json``, in which null is a number that was not finite."""
    return "not finite" if value is None else f"{value:.4g}"
