"""What ``evaluate.py`` does with a run: record, measure, print, play."""

import json
import sys
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

from plasticrl.agents.building import user_errors
from plasticrl.agents.config import UsageError
from plasticrl.agents.evaluation import evaluate
from plasticrl.agents.pairs import play_pairs
from plasticrl.agents.recording import record_episode, render_modes
from plasticrl.agents.training import load_policy
from plasticrl.runs import null_non_finite
from plasticrl.viewer import (
    EpisodeTrace,
    check_gif_path,
    check_report_path,
    save_gif,
    save_report,
    watch,
)

if TYPE_CHECKING:
    from plasticrl.agents.command_line import EvaluateArguments


def report(arguments: "EvaluateArguments") -> int:
    """``evaluate.py``: record, measure, print, play; the exit status."""
    with user_errors():
        if arguments.record is not None:
            check_gif_path(arguments.record)
        if arguments.report is not None:
            check_report_path(arguments.report)
        run, config, policy = load_policy(arguments.run)
        modes = render_modes(config) if arguments.watch or arguments.record else []
    torch.set_num_threads(config.threads)

    def episode(render_mode: str | None) -> EpisodeTrace:
        """The first of the measured episodes."""
        seed, deterministic = arguments.seed, arguments.deterministic
        return record_episode(policy, config, run.preset, seed, render_mode, deterministic)

    # Played before anything is measured: what cannot be shown is said at once.
    with user_errors():
        if arguments.record is not None and "rgb_array" not in modes:
            raise UsageError(f"--record: {config.env_id} gives no pictures (rgb_array)")
        filmed = episode("rgb_array") if arguments.record is not None else None
        watched = episode("ansi" if "ansi" in modes else None) if arguments.watch else None
        if arguments.report is not None:
            pairs = play_pairs(policy, config, run.preset, arguments.seed, arguments.deterministic)
            save_report(pairs, arguments.report)
            print(f"wrote {arguments.report}", file=sys.stderr)
    result = evaluate(
        policy,
        config,
        run.preset,
        arguments.episodes,
        arguments.seed,
        arguments.deterministic,
        arguments.ablate_plasticity,
    )
    run.write_evaluation(result)
    if arguments.json:
        print(json.dumps(null_non_finite(result)))
    else:
        Console().print(_table(result))
    if filmed is not None and arguments.record is not None:
        with user_errors():
            save_gif(filmed, arguments.record)
        print(f"recorded {arguments.record}", file=sys.stderr)
    if watched is not None:
        watch(watched, Console())
    return 0


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
