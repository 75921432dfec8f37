"""What ``evaluate.py`` does with a run: record, measure, print, play."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.replay import show
from plasticrl.agents.training.building import user_errors
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.training.session import load_policy
from plasticrl.agents.watching import gallery
from plasticrl.agents.watching.evaluation import evaluate
from plasticrl.agents.watching.pairs import write_page
from plasticrl.agents.watching.recording import record_episode, render_modes, why_no_frames
from plasticrl.core.backends.compiling import compilation_told
from plasticrl.envs import ENV_IDS
from plasticrl.runs import COMPILING, RunDirectory, UsageError, null_non_finite
from plasticrl.viewer import check_record_path, check_report_path

if TYPE_CHECKING:
    from plasticrl.agents.command_line import EvaluateArguments


def report(path: Path, arguments: "EvaluateArguments") -> int:
    """``evaluate.py`` of the run in ``path``: record, measure, print, play; the exit status."""
    if arguments.json:  # for a program, which does not wonder
        return _report(path, arguments)
    with compilation_told(lambda: print(COMPILING, file=sys.stderr)):
        return _report(path, arguments)


def _report(path: Path, arguments: "EvaluateArguments") -> int:
    with user_errors():
        if arguments.record is not None:
            check_record_path(arguments.record)
        if arguments.report is not None:
            check_report_path(arguments.report)
        run, config, policy = load_policy(path)
        torch.set_num_threads(config.threads)
        episode = None
        if arguments.watch or arguments.record is not None:
            # Played before anything is measured: what cannot be shown is said at once. It is the
            # first of the measured episodes.
            mode = _render_mode(arguments, config)
            seed, deterministic = arguments.seed, arguments.deterministic
            episode = record_episode(policy, config, run.preset, seed, mode, deterministic)
        if arguments.report is not None:
            seed, deterministic = arguments.seed, arguments.deterministic
            write_page(policy, config, run.preset, seed, deterministic, arguments.report)
            print(f"wrote {arguments.report}", file=sys.stderr)
    if arguments.gallery is not None:
        print(f"{arguments.gallery}: {gallery.about(arguments.gallery)}", file=sys.stderr)
    if arguments.measures:
        _measure(run, config, policy, arguments)
    if episode is not None:
        with user_errors():
            show(episode, arguments)
    return 0


def _measure(
    run: RunDirectory, config: TrainConfig, policy: PlasticPolicy, arguments: "EvaluateArguments"
) -> None:
    """Measure and print; what a run earns is kept in its folder too."""
    result = evaluate(
        policy,
        config,
        run.preset,
        arguments.episodes,
        arguments.seed,
        arguments.deterministic,
        arguments.ablate_plasticity,
    )
    if arguments.gallery is None:
        run.write_evaluation(result)
    if arguments.json:
        print(json.dumps(null_non_finite(result)))
    else:
        Console().print(_table(result))


def _render_mode(arguments: "EvaluateArguments", config: TrainConfig) -> str | None:
    """How the environment is drawn: frames, or texts where those do and suit the terminal.

    Raises:
        UsageError: if a film is asked for and the environment gives no pictures.
    """
    film = arguments.record is not None and arguments.record.suffix.lower() != ".npz"
    modes = render_modes(config)
    if arguments.record is None and config.env_id in ENV_IDS:
        return None  # the terminal draws these from what is known of them
    if "ansi" in modes and arguments.record is None:
        return "ansi"
    reason = why_no_frames(config, modes)
    if reason is None:
        return "rgb_array"
    if film:
        raise UsageError(f"--record: {reason}")
    print(f"note: {reason}", file=sys.stderr)
    return "ansi" if "ansi" in modes else None


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"{result['preset']}, {result['episodes']} episodes")
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
        cells = [f"{result[f'{name}_mean']:.1f}", f"{low:.1f} to {high:.1f}"]
        if by_trial:
            cells.append(f"{result[f'{name}_per_trial']:.2f}")
        table.add_row(label, *cells)
    return table
