"""The papers' experiments with agents: trained, measured, tabulated and drawn.

    python -m benchmarks.papers                           # lists the experiments
    python -m benchmarks.papers maze-9 --sweep-dir DIR    # trains what is missing, then reports

An experiment trains nets, each with the same seeds, by ``plasticrl sweep``. So it can be
interrupted and called again, and experiments with the same folder do not repeat a run that they
share. Its report is written to ``results/papers``: a table, the numbers as JSON, and the curves.
``--report`` writes it for the runs that have finished so far.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.machine import ROOT, git_commit
from benchmarks.paper_report import Panel, Source, write_report
from plasticrl.commands.sweep import SweepArguments, train_all
from plasticrl.commands.trials import Trial, expand

SEEDS = (0, 1, 2, 3, 4)
RESULTS = ROOT / "results" / "papers"
COMMITS_NAME = "commits.txt"
"""The file in the folder of a sweep that lists the commits that trained its runs."""
PLASTIC_LSTM = ("core.modulation=simple", "core.fan_out=true", "core.clip=2.0")

PLAIN = "plain RNN"
UNMODULATED = "plastic RNN, not modulated"
SIMPLE = "plastic RNN, simple modulation"
RETROACTIVE = "plastic RNN, retroactive modulation"
GATED = ("GRU", "LSTM", "plastic LSTM")
MORE = ", {} units"


@dataclass(frozen=True)
class Experiment:
    """Nets that are trained on the same task with the same settings."""

    title: str
    preset: str
    nets: dict[str, tuple[str, ...]]
    """What each net changes in the preset, as for ``plasticrl sweep --vary``, by its label."""
    panels: tuple[Panel, ...]
    settings: tuple[str, ...] = ()
    """What all nets change in the preset."""
    best: float | None = None
    """The mean reward of an agent that knows the goal and takes the shortest path."""

    def trials(self, label: str, seeds: Sequence[int], folder: Path) -> list[Trial]:
        """The runs of a net, one for each seed."""
        return expand([self.preset], seeds, (*self.settings, *self.nets[label]), folder)


def core(name: str, units: int, *settings: str) -> tuple[str, ...]:
    """The settings of a net with a core of this kind; options that are not named are the preset's,
    or, where the preset's core does not have them, their defaults."""
    return (f"core.name={name}", f"core.hidden_size={units}", *settings)


def compared(
    units: int, rnn: int, gru: int, lstm: int, plastic_lstm: int
) -> dict[str, tuple[str, ...]]:
    """The nets of BP 2019 with ``units`` units, and gated nets with as many units or parameters.

    Args:
        rnn, gru, lstm, plastic_lstm: the numbers of units with which these nets have about as many
            parameters as the net with simple modulation.
    """
    also = MORE.format(units)
    return {
        PLAIN: core("rnn", rnn),
        PLAIN + also: core("rnn", units),
        UNMODULATED: core("plastic_rnn", units, "core.modulation=none"),
        SIMPLE: core("plastic_rnn", units, "core.modulation=simple"),
        RETROACTIVE: core("plastic_rnn", units, "core.modulation=retroactive"),
        "GRU": core("gru", gru),
        "GRU" + also: core("gru", units),
        "LSTM": core("lstm", lstm),
        "LSTM" + also: core("lstm", units),
        "plastic LSTM": core("plastic_lstm", plastic_lstm, *PLASTIC_LSTM),
        "plastic LSTM" + also: core("plastic_lstm", units, *PLASTIC_LSTM),
    }


def panels(units: int) -> tuple[Panel, ...]:
    """The panels of the nets of ``compared``."""
    also = MORE.format(units)
    return (
        Panel("The paper's nets, equal parameters", UNMODULATED, (PLAIN, SIMPLE, RETROACTIVE)),
        Panel("Gated nets, equal parameters", SIMPLE, GATED),
        Panel("Equal units", SIMPLE, tuple(name + also for name in (PLAIN, *GATED))),
    )


EXPERIMENTS = {
    "maze-9": Experiment(
        "The grid maze of outer size 9",
        "maze-quickstart",
        compared(64, rnn=88, gru=48, lstm=41, plastic_lstm=37),
        panels(64),
        best=411,
    ),
    "maze-11": Experiment(
        "The grid maze of outer size 11",
        "maze-quickstart",
        compared(64, rnn=88, gru=48, lstm=41, plastic_lstm=37),
        panels(64),
        settings=("env_kwargs.size=11",),
        best=321,
    ),
    "maze-9-small": Experiment(
        "The grid maze of outer size 9, small nets",
        "maze-quickstart",
        {
            SIMPLE: core("plastic_rnn", 32, "core.modulation=simple"),
            "GRU": core("gru", 22),
            "GRU, 32 units": core("gru", 32),
        },
        (Panel("32 units, or equal parameters", SIMPLE, ("GRU", "GRU, 32 units")),),
        best=411,
    ),
    "maze-9-alpha": Experiment(
        "The grid maze of outer size 9: what is trained",
        "maze-quickstart",
        {
            "an alpha for each connection": core("plastic_rnn", 64, "core.modulation=simple"),
            "an alpha for each neuron": core("plastic_rnn", 64, "core.alpha=neuron"),
            "one alpha": core("plastic_rnn", 64, "core.alpha=scalar"),
            "frozen weights": core("plastic_rnn", 64, "core.train_weights=false"),
        },
        (
            Panel(
                "Simple modulation, 64 units",
                "an alpha for each connection",
                ("an alpha for each neuron", "one alpha", "frozen weights"),
            ),
        ),
        best=411,
    ),
}


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.papers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT")
    parser.add_argument("--sweep-dir", type=Path, default=Path("logs/papers"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--workers", type=int, help="runs at the same time")
    parser.add_argument("--report", action="store_true", help="train nothing")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.names if name not in EXPERIMENTS]:
        parser.error(f"no experiment {unknown[0]!r}: choose from {', '.join(EXPERIMENTS)}")
    if not arguments.names:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name}: {experiment.title}; {len(experiment.nets)} nets")
    folder = arguments.sweep_dir.absolute()
    for name in arguments.names:
        experiment = EXPERIMENTS[name]
        runs = {
            label: experiment.trials(label, arguments.seeds, folder) for label in experiment.nets
        }
        missing = [trial for trials in runs.values() for trial in trials if not trial.is_finished]
        if missing and not arguments.report:
            note_commit(folder)
            status = train_all(missing, replace(SweepArguments(), workers=arguments.workers))
            if status:
                return status
        source = Source(f"python -m benchmarks.papers {name}", noted_commits(folder))
        write_report(
            RESULTS / name, experiment.title, experiment.panels, experiment.best, runs, source
        )
    return 0


def note_commit(folder: Path) -> None:
    """Add the commit to the list of those that have trained runs in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    commits = dict.fromkeys((*noted_commits(folder), git_commit() or "unknown"))
    (folder / COMMITS_NAME).write_text("".join(f"{commit}\n" for commit in commits))


def noted_commits(folder: Path) -> tuple[str, ...]:
    """The commits that have trained runs in the folder."""
    path = folder / COMMITS_NAME
    return tuple(path.read_text().splitlines()) if path.exists() else ()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
