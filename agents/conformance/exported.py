"""The property ``export``: an exported file takes the policy's actions."""

import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plasticrl.agents.conformance.streams import N_STEPS, STREAMS, random_observations, starts_at
from plasticrl.agents.conformance.subject import Subject, act
from plasticrl.agents.conformance.verdict import (
    ROUNDING,
    NotTestedError,
    judge,
    largest_difference,
)
from plasticrl.agents.exporting import export_policy
from plasticrl.runs import UsageError

RUNS_ONNX = ("onnx", "onnxscript", "onnxruntime")
"""The modules that write an ONNX file and run it."""

Step = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Runs one step of a file: from inputs to outputs, by name."""


def export(subject: Subject) -> str:
    """The files that ``export_policy`` writes take the actions of ``predict``."""
    model = subject.build(STREAMS)
    obs, starts = random_observations(5, shape=(N_STEPS, 3)), starts_at(0, 6, row=1)
    expected = act(model, obs, starts)
    with tempfile.TemporaryDirectory() as folder:
        pt2, onnx = Path(folder) / "agent.pt2", Path(folder) / "agent.onnx"
        try:
            export_policy(model.policy, pt2)
        except UsageError as error:
            raise NotTestedError(str(error)) from error
        program = torch.export.load(pt2)
        assert program.example_inputs is not None
        (example,), _ = program.example_inputs
        states = {
            name: np.zeros((obs.shape[1], *tensor.shape[1:]), np.float32)
            for name, tensor in example.items()
            if name.startswith("state_")
        }

        def difference(step: Step) -> float:
            return largest_difference(expected, _act_with_file(step, states, obs, starts))

        seen = {".pt2": difference(_pt2_step(program))}
        if has_onnx := all(map(find_spec, RUNS_ONNX)):
            export_policy(model.policy, onnx)
            seen[".onnx"] = difference(_onnx_step(onnx))
    sentence = judge(
        max(seen.values()) <= ROUNDING,
        "actions of the exported file differed from those of predict by at most "
        + " and ".join(f"{largest:.1e} ({kind})" for kind, largest in seen.items()),
    )
    if not has_onnx:
        raise NotTestedError(
            f"{sentence}; to test .onnx too: pip install 'plasticrl[export]' onnxruntime"
        )
    return sentence


def _act_with_file(
    step: Step, state: dict[str, np.ndarray], observations: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Do what ``act`` does, with a file. The first step resets ``state``, whatever it is."""
    actions = []
    for obs, episode_start in zip(observations, starts, strict=True):
        outputs = step({"obs": obs, "episode_start": episode_start, **state})
        state = {name: outputs[f"new_{name}"] for name in state}
        actions.append(outputs["action"])
    return np.stack(actions)


def _pt2_step(program: torch.export.ExportedProgram) -> Step:
    module = program.module()

    def step(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = module({name: torch.as_tensor(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return step


def _onnx_step(path: Path) -> Step:
    onnxruntime: Any = import_module("onnxruntime")  # an optional package without types
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))
