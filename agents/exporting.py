"""Export of a policy to a file that runs without plasticrl: one step in ONNX or ``torch.export``.

Inputs of the graph, for B environments, float32 unless said otherwise:

    obs                 (B, ...)        or obs_KEY for each key of a Dict, in the policy's shapes
    episode_start       (B,) bool       true where the observation is the first of an episode
    state_LEAF          (B, ...)        for each tensor of the core's state: state_hidden, ...

Outputs:

    logits              (B, A)          of discrete actions
    mean, std           (B, ...)        of Box actions
    action              (B, ...)        the most likely action, clipped to its bounds
    value               (B,)
    new_state_LEAF      (B, ...)        the state after the step

Where ``episode_start`` is true, the graph takes the initial state and ignores the row's incoming
state. Observations are preprocessed in the graph as by SB3: images are divided by 255, and discrete
observations become one-hot vectors. With a ``VecNormalize``, the graph first normalizes
them with its statistics.
"""

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule

from plasticrl.agents.normalization import observation_statistics
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.core import sequence
from plasticrl.core.cells.composed import Parallel
from plasticrl.core.state import leaves, unflatten
from plasticrl.runs import UsageError, WriteError, atomic_write
from plasticrl.viewer import ViewerError
from plasticrl.viewer.files import check_path

_PARAMETERS: dict[type[Distribution], Callable[[Any], dict[str, Tensor]]] = {
    CategoricalDistribution: lambda actions: {"logits": actions.logits},
    BernoulliDistribution: lambda actions: {"logits": actions.logits},
    MultiCategoricalDistribution: lambda actions: {
        "logits": torch.cat([choice.logits for choice in actions], dim=1)
    },
    DiagGaussianDistribution: lambda actions: {"mean": actions.mean, "std": actions.stddev},
}
"""For each of SB3's distributions, a function from torch's distribution to its parameters."""


def export_policy(
    policy: PlasticPolicy,
    path: str | Path,
    env_id: str | None = None,
    vec_normalize: VecNormalize | None = None,
) -> None:
    """Write one step of a policy to a file, which runs without plasticrl.

    The module's docstring lists the graph's inputs and outputs. An existing file is replaced.

    Args:
        policy: the policy; its backend does not matter.
        path: a name in .onnx for an ONNX file, or in .pt2 for a program of ``torch.export``, whose
            input and output are dicts of the tensors.
        env_id: the environment's id, for the file's metadata.
        vec_normalize: the ``VecNormalize`` with which the policy was trained, as
            ``model.get_vec_normalize_env()`` returns it. The file then takes observations as the
            environment gives them, and normalizes them by the present statistics.

    Raises:
        WriteError: the file cannot be written, or the extra ``export`` is not installed.
        UsageError: the policy cannot be represented as a graph.
    """
    path = Path(path)
    check_export_path(path)
    if not isinstance(policy, PlasticPolicy):
        raise UsageError(
            f"a {type(policy).__name__} cannot be exported: give a PlasticPolicy, such as the "
            "policy of a model: export_policy(model.policy, path)"
        )
    policy.check_overrides()
    if policy.training:
        policy.set_training_mode(False)
    core: Any = policy.core.parts["actor"] if isinstance(policy.core, Parallel) else policy.core
    metadata = {
        "plasticrl_version": version("plasticrl"),
        "core": type(core).__name__ if core.config is None else core.config.name,
        "observation_space": str(policy.observation_space),
        "action_space": str(policy.action_space),
    }
    if env_id is not None:
        metadata["env_id"] = env_id
    with torch.no_grad(), torch.autocast(policy.device.type, enabled=False):
        program, outputs = _Graph(policy, vec_normalize).trace()
        is_onnx = path.suffix.lower() == ".onnx"
        content = _as_onnx(program, outputs, metadata) if is_onnx else _as_pt2(program, metadata)
    atomic_write(path, content)


def check_export_path(path: Path) -> None:
    """Raise ``WriteError`` unless ``export_policy`` can write to ``path``."""
    try:
        check_path(path, "export", (".onnx", ".pt2"))
    except ViewerError as error:
        raise WriteError(str(error)) from error
    if path.suffix.lower() == ".onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise WriteError(
            f"cannot export to {path}: .onnx needs the extra `export` "
            "(pip install 'plasticrl[export]'); .pt2 does without"
        )


class _Normalization(nn.Module):
    """Normalizes an observation as ``VecNormalize`` does, in double precision."""

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: RunningMeanStd, vec_normalize: VecNormalize) -> None:
        super().__init__()
        std = np.sqrt(statistics.var + vec_normalize.epsilon)
        self.register_buffer("mean", torch.as_tensor(statistics.mean))
        self.register_buffer("std", torch.as_tensor(std))
        self.limit = vec_normalize.clip_obs

    def forward(self, obs: Tensor) -> Tensor:
        normalized = (obs.double() - self.mean) / self.std
        return normalized.clamp(-self.limit, self.limit).float()


def _normalizations(
    parts: dict[str, spaces.Space[Any]], vec_normalize: VecNormalize | None
) -> list[nn.Module]:
    """Return, for each part of the observations, the module that normalizes it, or an identity.

    Raises:
        UsageError: ``vec_normalize`` is for another observation space.
    """
    if vec_normalize is None:
        return [nn.Identity() for _ in parts]
    statistics = {
        f"obs_{key}" if key else "obs": running
        for key, running in observation_statistics(vec_normalize).items()
    }
    for name, running in statistics.items():
        if name not in parts or parts[name].shape != running.mean.shape:
            raise UsageError(
                "vec_normalize does not fit the policy's observation space: give the one that the "
                "policy was trained with, model.get_vec_normalize_env()"
            )
    return [
        _Normalization(statistics[name], vec_normalize) if name in statistics else nn.Identity()
        for name in parts
    ]


class _Graph(nn.Module):
    """One step of a policy, whose inputs and outputs are dicts of tensors."""

    def __init__(self, policy: PlasticPolicy, vec_normalize: VecNormalize | None) -> None:
        super().__init__()
        self.policy = policy
        space = policy.observation_space
        self.parts = (
            {f"obs_{key}": part for key, part in space.items()}
            if isinstance(space, spaces.Dict)
            else {"obs": space}
        )
        """The observation spaces by the names of the inputs."""
        self.normalizations = nn.ModuleList(_normalizations(self.parts, vec_normalize))
        """For each of the inputs ``parts``, the module that normalizes it."""
        self.normalizations.to(policy.device)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        policy = self.policy
        space = policy.observation_space
        pairs = zip(self.parts, self.normalizations, strict=True)
        seen = {name: normalization(inputs[name]) for name, normalization in pairs}
        obs: Any = (
            {key: seen[f"obs_{key}"] for key in space}
            if isinstance(space, spaces.Dict)
            else seen["obs"]
        )
        template = policy.initial_state(0)
        names = _state_inputs(template)
        state = unflatten(template, [inputs[name] for name in names])
        features, starts = policy.core_inputs(obs), inputs["episode_start"]
        outputs, new_state = sequence(policy.core, features[None], state, starts[None], "eager")
        latent = outputs[0]
        value = policy.values_of(latent).flatten()
        new = dict(zip(names, leaves(new_state), strict=True))
        return (
            self._actions(policy.distribution_of(latent))
            | {"value": value}
            | {f"new_{name}": leaf for name, leaf in new.items()}
        )

    def _actions(self, distribution: Distribution) -> dict[str, Tensor]:
        """Return the distribution's parameters and its most likely actions."""
        if type(distribution) not in _PARAMETERS:
            raise UsageError(
                f"a policy with a {type(distribution).__name__} cannot be exported: its "
                f"distribution_of must return one of "
                f"{', '.join(known.__name__ for known in _PARAMETERS)}"
            )
        outputs = _PARAMETERS[type(distribution)](distribution.distribution)
        action, space = distribution.get_actions(deterministic=True), self.policy.action_space
        if isinstance(space, spaces.Box):
            outputs = {name: value.reshape(-1, *space.shape) for name, value in outputs.items()}
            low, high = (
                torch.as_tensor(bound, dtype=torch.float32, device=self.policy.device)
                for bound in (space.low, space.high)
            )
            action = action.reshape(-1, *space.shape).clamp(low, high)
        return outputs | {"action": action}

    def example(self, n_rows: int) -> dict[str, Tensor]:
        """Return inputs with random observations and states."""
        generator = np.random.default_rng(0)
        inputs = {}
        for name, part in self.parts.items():
            space = copy.deepcopy(part)  # sampling changes the space's generator
            space.seed(0)
            drawn = np.stack([space.sample() for _ in range(n_rows)])
            inputs[name] = torch.as_tensor(drawn, dtype=torch.float32, device=self.policy.device)
        inputs["episode_start"] = torch.arange(n_rows, device=self.policy.device) % 2 == 0
        for name, leaf in _state_inputs(self.policy.initial_state(n_rows)).items():
            drawn = generator.normal(0, 0.1, leaf.shape)
            inputs[name] = torch.as_tensor(drawn, dtype=leaf.dtype, device=self.policy.device)
        return inputs

    def trace(self) -> tuple[ExportedProgram, list[str]]:
        """Return the program of ``torch.export``, and the names of its outputs.

        Raises:
            UsageError: the program's results differ from the policy's.
        """
        inputs, batch = self.example(3), torch.export.Dim("batch")
        with _traceable(self.policy):
            outputs = self(inputs)
            program = torch.export.export(
                self,
                (self.example(2),),
                dynamic_shapes={"inputs": {name: {0: batch} for name in inputs}},
                strict=False,
            )
        try:
            torch.testing.assert_close(program.module()(inputs), outputs, equal_nan=True)
        except AssertionError as error:
            raise UsageError(
                "the policy cannot be exported: it gives other results for the same input, so one "
                "of its modules draws random numbers or remembers earlier calls"
            ) from error
        for module in program.graph_module.modules():
            for node in module.graph.nodes if isinstance(module, GraphModule) else ():
                node.meta.pop("stack_trace", None)  # contains file paths of this machine
        return move_to_device_pass(program, "cpu"), list(outputs)


def _state_inputs(state: Any) -> dict[str, Tensor]:
    """The tensors of a state by the names of the graph's inputs."""
    return {
        f"state_{name}": leaf
        for name, leaf in zip(state._fields, state, strict=True)
        if leaf is not None
    }


@contextmanager
def _traceable(policy: PlasticPolicy) -> Iterator[None]:
    """A context for tracing a policy, without torch's validation of distributions.

    The validation cannot be traced. Tracing leaves tensors without values in ``action_dist``, so it
    gets a copy.
    """
    kept, checks = policy.action_dist, torch.distributions.Distribution._validate_args
    policy.action_dist = copy.copy(kept)
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(checks)
        policy.action_dist = kept


def _as_onnx(program: ExportedProgram, outputs: list[str], metadata: dict[str, str]) -> bytes:
    """Return the bytes of an ONNX file."""
    assert program.example_inputs is not None
    (inputs,), _ = program.example_inputs
    with _without_torchs_warnings():
        converted = torch.onnx.export(
            program,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes={"inputs": {name: {0: "batch"} for name in inputs}},
            dynamo=True,
            verbose=False,
        )
    assert converted is not None
    converted.model.metadata_props.update(metadata)
    content: bytes = converted.model_proto.SerializeToString()
    return content


@contextmanager
def _without_torchs_warnings() -> Iterator[None]:
    """Hide torch's warnings about torchvision, deprecated calls, and the shared batch axis."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used")
            yield
    finally:
        logger.setLevel(level)


def _as_pt2(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
    """Return the bytes of a file for ``torch.export.load``."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"metadata.json": json.dumps(metadata)})
    return buffer.getvalue()
