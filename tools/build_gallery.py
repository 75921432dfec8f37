"""Add the agent of a trained run to the gallery: its config, weights and evaluation.

    python -m tools.build_gallery RUN NAME COMMIT

COMMIT is the commit of the code that trained the run. The agent is evaluated like by
``evaluate.py``, and written to ``agents/watching/gallery/NAME``, which must not exist yet.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from plasticrl.agents.watching import EPISODES, SEED, gallery
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import evaluate
from plasticrl.agents.watching.gallery import ABOUT_NAME, About
from plasticrl.commands.program import guarded
from plasticrl.runs import (
    CONFIG_NAME,
    UsageError,
    atomic_write,
    from_dict,
    save_checkpoint,
    to_dict,
)
from plasticrl.runs.files import write_json

MAX_WEIGHT_BYTES = 200_000
"""Largest accepted size of an agent's weights, since they are installed with the package."""


def build(path: Path, name: str, commit: str) -> About:
    """Evaluate the run in ``path`` and add it to the gallery.

    Raises:
        UsageError: there is already an agent of that name, or this one is too large.
        RunError: the run is damaged.
    """
    target = gallery.GALLERY / name
    if target.exists():
        raise UsageError(f"{target} already exists: remove it first")
    agent = TrainedAgent.load(path)
    torch.set_num_threads(agent.config.threads)
    weights = agent.policy.state_dict()
    if sum(weight.nbytes for weight in weights.values()) > MAX_WEIGHT_BYTES:
        raise UsageError(f"the weights of {path} take more than {MAX_WEIGHT_BYTES:,} bytes")
    result = evaluate(agent, EPISODES, SEED, ablate_plasticity=True)
    steps = agent.n_timesteps
    values = {name: result.get(name) for name in About.__annotations__}
    values |= {"seed": agent.config.seed, "steps": steps, "commit": commit}
    about = from_dict(About, values, "about")
    target.mkdir()
    save_checkpoint(target / "checkpoints", steps, {"policy": weights})
    atomic_write(target / CONFIG_NAME, (path / CONFIG_NAME).read_bytes())
    write_json(target / ABOUT_NAME, to_dict(about))
    return about


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    if len(argv) != 3:
        raise UsageError("give RUN NAME COMMIT")
    print(build(Path(argv[0]), argv[1], argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
