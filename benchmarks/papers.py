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
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import ROOT, git_commit
from benchmarks.paper_report import (
    PER_EPISODE,
    PER_TRIAL,
    Panel,
    Score,
    Source,
    Subject,
    write_report,
)
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


class Net(NamedTuple):
    """A net of an experiment."""

    preset: str
    settings: tuple[str, ...]
    """What it changes in the preset, as for ``plasticrl sweep --vary``."""

    def trials(self, seeds: Sequence[int], folder: Path) -> list[Trial]:
        """Its runs, one for each seed."""
        return expand([self.preset], seeds, self.settings, folder)


@dataclass(frozen=True)
class Experiment:
    """Nets that are trained on the same task."""

    title: str
    nets: dict[str, Net]
    """The nets by their labels."""
    panels: tuple[Panel, ...]
    score: Score = PER_EPISODE
    best: float | None = None
    """The score of an agent that does the best that can be done; a line in the picture."""
    reach: float | None = None
    """A score; the table says after how many steps each run reached it."""


def core(name: str, units: int, *settings: str) -> tuple[str, ...]:
    """The settings of a net with a core of this kind; options that are not named are the preset's,
    or, where the preset's core does not have them, their defaults."""
    return (f"core.name={name}", f"core.hidden_size={units}", *settings)


def compared(
    preset: str,
    units: int,
    others: dict[str, int],
    settings: tuple[str, ...] = (),
) -> dict[str, Net]:
    """The nets of BP 2019 with ``units`` units, and others with as many units or parameters.

    Args:
        others: the numbers of units with which other nets have about as many parameters as the net
            with simple modulation.
        settings: what all nets change in the preset.
    """
    also = MORE.format(units)
    cores = {
        PLAIN: core("rnn", others[PLAIN]),
        PLAIN + also: core("rnn", units),
        UNMODULATED: core("plastic_rnn", units, "core.modulation=none"),
        SIMPLE: core("plastic_rnn", units, "core.modulation=simple"),
        RETROACTIVE: core("plastic_rnn", units, "core.modulation=retroactive"),
        "GRU": core("gru", others["GRU"]),
        "GRU" + also: core("gru", units),
        "LSTM": core("lstm", others["LSTM"]),
        "LSTM" + also: core("lstm", units),
        "plastic LSTM": core("plastic_lstm", others["plastic LSTM"], *PLASTIC_LSTM),
        "plastic LSTM" + also: core("plastic_lstm", units, *PLASTIC_LSTM),
    }
    return {label: Net(preset, (*settings, *chosen)) for label, chosen in cores.items()}


def panels(units: int) -> tuple[Panel, ...]:
    """The panels of the nets of ``compared``."""
    also = MORE.format(units)
    return (
        Panel("The paper's nets, equal parameters", UNMODULATED, (PLAIN, SIMPLE, RETROACTIVE)),
        Panel("Gated nets, equal parameters", SIMPLE, GATED),
        Panel("Equal units", SIMPLE, tuple(name + also for name in (PLAIN, *GATED))),
    )


MAZE_SIZES = {PLAIN: 88, "GRU": 48, "LSTM": 41, "plastic LSTM": 37}
CUE_SIZES = {PLAIN: 133, "GRU": 71, "LSTM": 60, "plastic LSTM": 55}
CUE_NETS = (PLAIN, UNMODULATED, SIMPLE, RETROACTIVE, "GRU", "LSTM")
SHORT_CUE = ("total_timesteps=12000000",)
ONE_HOT = ("env_kwargs.cue_kind=one_hot", "env_kwargs.cue_bits=4")
QUICK, EACH_ALPHA = "maze-quickstart", "an alpha for each connection"


def _cue_nets(names: Sequence[str], settings: tuple[str, ...]) -> dict[str, Net]:
    nets = compared("cue-reward-tuned", 96, CUE_SIZES, settings)
    return {name: nets[name] for name in names}


EXPERIMENTS = {
    "maze-9": Experiment(
        "The grid maze of outer size 9",
        compared(QUICK, 64, MAZE_SIZES),
        panels(64),
        best=411,
        reach=100,
    ),
    "maze-11": Experiment(
        "The grid maze of outer size 11",
        compared(QUICK, 64, MAZE_SIZES, ("env_kwargs.size=11",)),
        panels(64),
        best=321,
        reach=50,
    ),
    "maze-9-small": Experiment(
        "The grid maze of outer size 9, small nets",
        {
            SIMPLE: Net(QUICK, core("plastic_rnn", 32, "core.modulation=simple")),
            "GRU": Net(QUICK, core("gru", 22)),
            "GRU, 32 units": Net(QUICK, core("gru", 32)),
        },
        (Panel("32 units, or equal parameters", SIMPLE, ("GRU", "GRU, 32 units")),),
        best=411,
    ),
    "maze-9-alpha": Experiment(
        "The grid maze of outer size 9: what is trained",
        {
            EACH_ALPHA: Net(QUICK, core("plastic_rnn", 64, "core.modulation=simple")),
            "an alpha for each neuron": Net(QUICK, core("plastic_rnn", 64, "core.alpha=neuron")),
            "one alpha": Net(QUICK, core("plastic_rnn", 64, "core.alpha=scalar")),
            "frozen weights": Net(QUICK, core("plastic_rnn", 64, "core.train_weights=false")),
        },
        (
            Panel(
                "Simple modulation, 64 units",
                EACH_ALPHA,
                ("an alpha for each neuron", "one alpha", "frozen weights"),
            ),
        ),
        best=411,
    ),
    "maze-11-presets": Experiment(
        "The grid maze of outer size 11: the paper's settings and the tuned ones",
        {
            "maze-tuned": Net("maze-tuned", ("env_kwargs.size=11",)),
            "maze-paper": Net("maze-paper", ("total_timesteps=60000000",)),
        },
        (Panel("Presets", "maze-paper", ("maze-tuned",)),),
        best=321,
        reach=100,
    ),
    "cue-reward-presets": Experiment(
        "Cue-reward association with 4 cues of 20 bits, the tuned preset",
        _cue_nets((SIMPLE, RETROACTIVE), ()),
        (Panel("Modulated nets, 96 units", SIMPLE, (RETROACTIVE,)),),
        score=PER_TRIAL,
        best=0.934,
        reach=0.9,
    ),
    "cue-reward": Experiment(
        "Cue-reward association with 4 cues of 20 bits",
        _cue_nets(CUE_NETS, SHORT_CUE),
        (
            Panel("The paper's nets", UNMODULATED, (PLAIN, SIMPLE, RETROACTIVE)),
            Panel("Gated nets", SIMPLE, ("GRU", "LSTM")),
        ),
        score=PER_TRIAL,
        best=0.934,
    ),
    "cue-reward-one-hot": Experiment(
        "Cue-reward association with 4 fixed one-hot cues",
        _cue_nets((PLAIN, UNMODULATED, SIMPLE, RETROACTIVE), SHORT_CUE + ONE_HOT),
        (Panel("The paper's nets", UNMODULATED, (PLAIN, SIMPLE, RETROACTIVE)),),
        score=PER_TRIAL,
        best=0.934,
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
            label: net.trials(arguments.seeds, folder) for label, net in experiment.nets.items()
        }
        missing = [trial for trials in runs.values() for trial in trials if not trial.is_finished]
        if missing and not arguments.report:
            note_commit(folder)
            status = train_all(missing, SweepArguments(workers=arguments.workers))
            if status:
                return status
        source = Source(f"python -m benchmarks.papers {name}", noted_commits(folder))
        subject = Subject(
            experiment.title, experiment.panels, experiment.score, experiment.best, experiment.reach
        )
        write_report(RESULTS / name, subject, runs, source)
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
