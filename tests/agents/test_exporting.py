"""Exported policies give the policy's results at every step, in onnxruntime and in torch."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution, SquashedDiagGaussianDistribution
from stable_baselines3.common.torch_layers import FlattenExtractor
from tests.agents.conftest import CORES
from torch import Tensor, nn

from plasticrl.agents import (
    CnnPlasticPolicy,
    MultiInputPlasticPolicy,
    PlasticPolicy,
    RecurrentA2C,
    export_policy,
)
from plasticrl.core.state import map_leaves
from plasticrl.runs import UsageError

DOCS = Path(__file__).parents[2] / "docs" / "export.md"

VECTOR = spaces.Box(-1.0, 1.0, (3,), np.float32)
DICT = spaces.Dict({"a b/c": VECTOR, "d": spaces.Discrete(3)})
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
CHOICE = spaces.Discrete(3)
TINY = {"core": "plastic_rnn", "core_kwargs": {"hidden_size": 5}}

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def make(
    policy_class: type[PlasticPolicy] = PlasticPolicy,
    observation_space: spaces.Space[Any] = VECTOR,
    action_space: spaces.Space[Any] = CHOICE,
    **options: Any,
) -> PlasticPolicy:
    """A policy with weights from N(0, .5^2), large enough that states and traces change."""
    torch.manual_seed(1)
    policy = policy_class(observation_space, action_space, lambda _: 1e-3, **(TINY | options))
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.5)
    return policy


def load(path: Path) -> Run:
    """Return a function that runs an exported file."""
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()

        def run_torch(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            with torch.no_grad():
                outputs = module({name: torch.as_tensor(value) for name, value in inputs.items()})
            return {name: value.numpy() for name, value in outputs.items()}

        return run_torch
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def exported(policy: PlasticPolicy, path: Path) -> Run:
    export_policy(policy, path)
    return load(path)


def expected_outputs(
    policy: PlasticPolicy, obs: Any, state: Any, starts: np.ndarray
) -> tuple[dict[str, np.ndarray], Any]:
    """The outputs of a step by the policy's own methods, and the new state."""
    seen, _ = policy.obs_to_tensor(obs)
    at = torch.as_tensor(starts)
    with torch.no_grad():
        distribution: Any = policy.get_distribution(seen, state, at).distribution
    step = policy.step(seen, state, at, deterministic=True)
    outputs = {"value": step.values[:, 0], "action": policy.clip(step.actions.numpy())}
    if isinstance(policy.action_space, spaces.Box):
        shape = (-1, *policy.action_space.shape)
        outputs |= {"mean": distribution.mean.view(shape), "std": distribution.stddev.view(shape)}
    elif isinstance(distribution, list):
        outputs["logits"] = np.concatenate([part.logits for part in distribution], axis=1)
    else:
        outputs["logits"] = distribution.logits
    new = {f"new_{name}": leaf for name, leaf in named(step.state).items()}
    return {name: np.asarray(value) for name, value in (outputs | new).items()}, step.state


def named(state: Any) -> dict[str, np.ndarray]:
    """A state as the inputs of an exported file."""
    fields = zip(state._fields, state, strict=True)
    return {f"state_{name}": leaf.numpy().copy() for name, leaf in fields if leaf is not None}


def check(run: Run, policy: PlasticPolicy, n_steps: int = 25, n_rows: int = 3) -> None:
    """Compare every output of a file with the policy at every step, with resets in some rows.

    The incoming state of every step is the policy's, because rounding errors grow in a recurrent
    net. Where an episode starts, it is NaN, because it must not be used.
    """
    rng, space = np.random.default_rng(0), policy.observation_space
    space.seed(0)
    state = policy.initial_state(n_rows)
    for t in range(n_steps):
        drawn = [space.sample() for _ in range(n_rows)]
        starts = rng.random(n_rows) < (0.3 if t else 2)
        inputs = named(state)
        for leaf in inputs.values():
            leaf[starts] = np.nan
        if isinstance(space, spaces.Dict):
            obs: Any = {key: np.stack([part[key] for part in drawn]) for key in space}
            inputs |= {f"obs_{key}": np.float32(value) for key, value in obs.items()}
        else:
            obs = np.stack(drawn)
            inputs["obs"] = np.float32(obs)
        actual = run(inputs | {"episode_start": starts})
        expected, state = expected_outputs(policy, obs, state, starts)
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            assert (actual[name].shape, actual[name].dtype) == (value.shape, value.dtype), name
            np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture(params=[".onnx", ".pt2"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of every kind."""
    return tmp_path / f"agent{request.param}"


def test_every_core(core: dict[str, Any], tmp_path: Path) -> None:
    """Otherwise the file lacks a core's trace, or the reset.

    An ONNX file is made from the program that a .pt2 file contains.
    """
    policy = make(**core)
    check(exported(policy, tmp_path / "agent.onnx"), policy)


@pytest.mark.parametrize("name", ["plastic_lstm", "separate"])
def test_a_program_of_torch(name: str, tmp_path: Path) -> None:
    """Otherwise a .pt2 file lacks what an ONNX file has."""
    policy = make(**CORES[name])
    check(exported(policy, tmp_path / "agent.pt2"), policy)


@pytest.mark.parametrize(
    ("policy_class", "observation", "action", "options"),
    [
        (PlasticPolicy, spaces.Box(-9, 9, (2, 3)), spaces.Box(-0.1, 0.2, (2, 2)), {}),
        (PlasticPolicy, spaces.Discrete(4), spaces.MultiDiscrete([2, 3]), {"net_arch": []}),
        (PlasticPolicy, spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3), {}),
        (PlasticPolicy, spaces.MultiBinary(3), CHOICE, {"net_arch": {"pi": [4], "vf": [5, 6]}}),
        (MultiInputPlasticPolicy, DICT, CHOICE, {"activation_fn": nn.ReLU}),
        (CnnPlasticPolicy, IMAGE, spaces.Box(-1, 1, (1,)), {}),
        (CnnPlasticPolicy, spaces.Box(0, 1, (3, 36, 36)), CHOICE, {"normalize_images": False}),
    ],
    ids=["Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "image", "image, normalized"],
)
def test_every_space(
    policy_class: type[PlasticPolicy],
    observation: spaces.Space[Any],
    action: spaces.Space[Any],
    options: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Otherwise the file preprocesses observations, or clips or shapes actions, in another way."""
    policy = make(policy_class, observation, action, **options)
    check(exported(policy, tmp_path / "agent.onnx"), policy, n_steps=8)


def test_every_batch_size(path: Path) -> None:
    """Otherwise the file works only for the number of environments at the export."""
    policy = make()
    run = exported(policy, path)
    for n_rows in (1, 2, 7):
        check(run, policy, n_steps=5, n_rows=n_rows)


def test_ten_thousand_steps(path: Path) -> None:
    """Otherwise errors add up over an episode, as each step starts from the file's own state.

    The expected values are from ``evaluate_rollout``, which does not use the code of single steps.
    """
    torch.manual_seed(0)
    policy = PlasticPolicy(
        VECTOR,
        CHOICE,
        lambda _: 1e-3,
        core_kwargs={"hidden_size": 30, "modulation": "retroactive"},
        backend="fused",
    )
    with torch.autocast("cpu", torch.bfloat16):  # has no effect
        run = exported(policy, path)
    rng = np.random.default_rng(0)
    n_steps, n_rows = 10_000, 2
    obs = rng.uniform(-1, 1, (n_steps, n_rows, 3)).astype(np.float32)
    starts = rng.random((n_steps, n_rows)) < 1 / 50
    starts[0] = True
    with torch.no_grad():
        values, _, distribution = policy.evaluate_rollout(
            torch.as_tensor(obs).flatten(0, 1),
            torch.zeros(n_steps * n_rows),
            policy.initial_state(n_rows),
            torch.as_tensor(starts),
        )
    state = {name: leaf - 1e30 for name, leaf in named(policy.initial_state(n_rows)).items()}
    steps = []
    for t in range(n_steps):
        steps.append(run({"obs": obs[t], "episode_start": starts[t], **state}))
        state = {name: steps[t].pop(f"new_{name}") for name in state}
    actual = {name: np.concatenate([step[name] for step in steps]) for name in ("value", "logits")}
    logits: Any = distribution.distribution.logits  # type: ignore[attr-defined]
    np.testing.assert_allclose(actual["value"], values[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(actual["logits"], logits, rtol=0, atol=1e-5)


# The page


def snippet(word: str) -> str:
    """The program of docs/export.md that contains a word."""
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S) if word in c)
    return code


def test_the_pages_program_needs_no_plasticrl(tmp_path: Path) -> None:
    """Otherwise a reader cannot run it, or it runs another agent than the trained one."""
    model = RecurrentA2C("PlasticPolicy", "CartPole-v1", policy_kwargs=TINY, seed=3)
    export_policy(model.policy, tmp_path / "agent.onnx")
    alone = "import sys; sys.modules |= dict.fromkeys(['plasticrl', 'torch', 'stable_baselines3'])"
    done = subprocess.run(
        [sys.executable, "-c", f"{alone}\n{snippet('onnxruntime.Inf')}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    env = gym.make("CartPole-v1")
    obs, _ = env.reset(seed=0)
    state, over, total = None, False, 0.0
    while not over:
        action, state = model.predict(obs, state, deterministic=True)
        obs, reward, terminated, truncated, _ = env.step(action)
        over, total = terminated or truncated, total + float(reward)
    assert (done.stdout, done.stderr) == (f"reward: {total}\n", "")


def test_the_pages_program_for_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export_policy(make(), tmp_path / "agent.pt2")
    monkeypatch.chdir(tmp_path)
    exec(snippet("torch.export.load"), {})
    assert "'logits': (2, 3)" in capsys.readouterr().out


# The file


def test_metadata_and_no_paths(path: Path) -> None:
    """Otherwise nobody knows what the file is, or it has paths of the machine that wrote it."""
    export_policy(make(), path, env_id="Some-v1")
    if path.suffix == ".onnx":
        model = onnx.load(path)
        onnx.checker.check_model(model)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert [part.name for part in model.graph.input] == [
            "obs",
            "episode_start",
            "state_hidden",
            "state_trace",
        ]
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    else:
        extra = {"metadata.json": ""}
        torch.export.load(path, extra_files=extra)
        metadata = json.loads(extra["metadata.json"])
    assert metadata["env_id"] == "Some-v1"
    assert metadata["action_space"] == "Discrete(3)"
    assert metadata["core"] == "plastic_rnn"
    assert b"exporting.py" not in path.read_bytes()


def test_a_file_is_replaced_when_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a failure leaves an incomplete file."""
    path = tmp_path / "agent.pt2"
    path.write_text("old")
    policy = make()
    with monkeypatch.context() as failing:
        failing.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(UsageError, match=r"cannot write .*: full"):
            export_policy(policy, path)
    assert path.read_text() == "old"
    export_policy(policy, path)
    assert os.listdir(tmp_path) == [path.name]
    load(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("agent.zip", r"must end in \.onnx or \.pt2"),
        ("missing/agent.onnx", "is not a writable folder"),
        ("folder.onnx", "is a folder"),
    ],
)
def test_a_path_that_cannot_be_written(name: str, said: str, tmp_path: Path) -> None:
    """Otherwise the user would not learn what to type instead."""
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UsageError, match=said):
        export_policy(make(), tmp_path / name)
    assert os.listdir(tmp_path) == ["folder.onnx"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the user would not learn what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=r"pip install 'plasticrl\[export\]'"):
        export_policy(make(), tmp_path / "agent.onnx")
    export_policy(make(), tmp_path / "agent.pt2")


# The policy


def test_a_policy_in_training_goes_on(tmp_path: Path) -> None:
    """Otherwise the export changes the policy or torch's validation, or leaves empty tensors."""
    model = RecurrentA2C("PlasticPolicy", "CartPole-v1", policy_kwargs=TINY, n_steps=4)
    model.learn(8)
    obs = torch.ones(2, 4)
    before = model.policy.step(obs, deterministic=True)
    weights = [parameter.clone() for parameter in model.policy.parameters()]
    export_policy(model.policy, tmp_path / "agent.pt2")
    kept: Any = model.policy.action_dist
    assert type(kept.distribution.logits) is Tensor
    after = model.policy.step(obs, deterministic=True)
    assert torch.equal(before.values, after.values)
    assert all(map(torch.equal, weights, model.policy.parameters()))
    assert torch.distributions.Distribution._validate_args
    model.learn(8)


class Doubled(FlattenExtractor):
    """An extractor of the user's own."""

    def forward(self, observations: Tensor) -> Tensor:
        return 2 * super().forward(observations)


def test_hooks_and_own_modules(path: Path) -> None:
    """Otherwise they are ignored, and the file acts in another way than the policy."""
    policy = make(features_extractor_class=Doubled)
    policy.core.register_forward_hook(
        lambda _, __, result: (-result[0], map_leaves(torch.tanh, result[1]))
    )
    policy.action_net.register_forward_hook(lambda _, __, logits: logits + 1 / (1 + logits**2))
    check(exported(policy, path), policy, n_steps=5)


class Noisy(FlattenExtractor):
    """An extractor that gives other features at each call."""

    def forward(self, observations: Tensor) -> Tensor:
        features = super().forward(observations)
        return (
            features
            + torch.as_tensor(np.random.default_rng().normal(size=features.shape[1])).float()
        )


class Counting(FlattenExtractor):
    """An extractor that remembers how often it was called."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        self.register_buffer("n_calls", torch.zeros(()))

    def forward(self, observations: Tensor) -> Tensor:
        self.n_calls += 1
        return super().forward(observations) * self.n_calls


class Squashed(PlasticPolicy):
    """A policy with a distribution that cannot be exported."""

    def distribution_of(self, latent: Tensor) -> Distribution:
        mean = self.action_net(self.mlp_extractor.forward_actor(latent))
        return SquashedDiagGaussianDistribution(1).proba_distribution(mean, self.log_std)


class Scaled(PlasticPolicy):
    """A policy with an override that acting does not call."""

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return super()._predict(2 * observation, deterministic)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (make(features_extractor_class=Noisy), "draws random numbers or remembers"),
        (make(features_extractor_class=Counting), "draws random numbers or remembers"),
        (make(Squashed, action_space=VECTOR), "SquashedDiagGaussianDistribution cannot be"),
        (make(Scaled), "Scaled._predict is overridden"),
        (torch.nn.Linear(1, 1), r"Linear cannot be exported: give .*model\.policy"),
    ],
    ids=["noisy", "counting", "squashed", "overridden", "no policy"],
)
def test_what_a_file_cannot_do_is_refused(policy: Any, said: str, tmp_path: Path) -> None:
    """Otherwise the file would not act as the policy does."""
    with pytest.raises(UsageError, match=said) as raised:
        export_policy(policy, tmp_path / "agent.pt2")
    assert "\n" not in str(raised.value)
    assert os.listdir(tmp_path) == []
