"""Runs with ``--normalize``, compared with SB3's ``VecNormalize`` on the same steps."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from plasticrl.agents import PlasticPolicy, RecurrentA2C, export_policy, make_vec_env
from plasticrl.agents.normalization import normalized
from plasticrl.agents.rollout import DeviceRollout
from plasticrl.agents.training.callbacks import EpisodePictures
from plasticrl.agents.training.config import A2CTrainConfig, open_run
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.training.presets import PRESETS
from plasticrl.agents.training.run import TrainingRun
from plasticrl.agents.training.variants import vary_config
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import measure
from plasticrl.agents.watching.recording import record_episode
from plasticrl.commands import run_command
from plasticrl.runs import (
    DivergedError,
    RunError,
    UsageError,
    latest_checkpoint,
    load_checkpoint,
    read_metrics,
    save_checkpoint,
)

N_ENVS, GAMMA = 3, 0.8
PARTS = {
    "image": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "choice": spaces.Discrete(3),
    "count": spaces.Box(0, 2**40, (1,), np.int64),
    "far": spaces.Box(-1.7e308, np.inf, (2,), np.float64),
}


class Mixed(gym.Env[Any, Any]):
    """Observations of several kinds, or one of them; rewards of 1000 in episodes of 4 steps.

    With several kinds, an action 1 has a reward of 1001.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, part: str | None = None) -> None:
        self.part = part
        self.observation_space = spaces.Dict(PARTS) if part is None else PARTS[part]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def observe(self) -> Any:
        rng = self.np_random
        obs = {
            "image": rng.integers(0, 256, (36, 36, 1), np.uint8),
            "choice": int(rng.integers(3)),
            "count": rng.integers(100, 200, 1),
            "far": rng.normal(50.0, 3.0, 2),
        }
        return obs if self.part is None else obs[self.part]

    def step(self, action: Any) -> Any:
        self.t += 1
        reward = 1000.0 + (int(action) if self.part is None else 0)
        return self.observe(), reward, False, self.t == 4, {}


if "plasticrl-tests/Mixed-v0" not in gym.registry:
    gym.register("plasticrl-tests/Mixed-v0", Mixed)

ENVS: dict[str, dict[str, Any]] = {
    "native": {"env_id": "plasticrl/GridMaze-v0", "env_kwargs": {"size": 5, "episode_length": 7}},
    "CartPole": {"env_id": "CartPole-v1", "env_kwargs": {}},
    "Dict": {"env_id": "plasticrl-tests/Mixed-v0", "env_kwargs": {}},
    "integers": {"env_id": "plasticrl-tests/Mixed-v0", "env_kwargs": {"part": "count"}},
    "discrete": {"env_id": "plasticrl-tests/Mixed-v0", "env_kwargs": {"part": "choice"}},
    "image": {"env_id": "plasticrl-tests/Mixed-v0", "env_kwargs": {"part": "image"}},
}
KEYS = {"Dict": ["count", "far"], "discrete": [], "image": []}
"""What is normalized, where it is not the whole observation."""


def config(name: str, **changes: Any) -> A2CTrainConfig:
    """A small run with strong weights, so that the actions depend on the observations."""
    settings: dict[str, Any] = {
        **ENVS[name],
        **{"normalize": True, "n_envs": N_ENVS, "total_timesteps": 60},
        **{"a2c.n_steps": 10, "a2c.gamma": GAMMA, "a2c.learning_rate_decay": 0.0},
        **{"core.hidden_size": 5, "core.weight_scale": 1.0, "core.alpha_scale": 1.0},
    }
    chosen = vary_config(PRESETS["maze-quickstart"](), settings | changes)[0]
    assert isinstance(chosen, A2CTrainConfig)
    return chosen


def start(path: Path, name: str, **changes: Any) -> TrainingRun:
    return TrainingRun.start(config(name, **changes), "mine", path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a trained run, by the name of its environment."""
    folder = tmp_path_factory.mktemp("runs")

    def trained(name: str) -> Path:
        if not (folder / name).exists():
            start(folder / name, name).learn()
        return folder / name

    return trained


def content(path: Path) -> dict[str, Any]:
    return load_checkpoint(latest_checkpoint(path / "checkpoints"))


def learn_and_record(run: TrainingRun) -> list[np.ndarray]:
    """Train, and return all actions (B,)."""
    env, actions = run.model.env, []
    assert env is not None
    step = env.step_async

    def recorded(action: np.ndarray) -> None:
        actions.append(action.copy())
        step(action)

    env.step_async = recorded  # type: ignore[method-assign]
    run.learn()
    return actions


def sb3(name: str, env: VecEnv, **options: Any) -> VecNormalize:
    """SB3's wrapper, which normalizes what can and should be normalized."""
    keys = KEYS.get(name)
    if keys is None:
        return VecNormalize(env, gamma=GAMMA, **options)
    if not keys:
        return VecNormalize(env, gamma=GAMMA, norm_obs=False, **options)
    return VecNormalize(env, gamma=GAMMA, norm_obs_keys=keys, **options)


def statistics(env: VecNormalize) -> dict[str, RunningMeanStd]:
    observed: Any = env.obs_rms if env.norm_obs else {}
    return observed if isinstance(observed, dict) else {"": observed}


def give(env: VecNormalize, saved: dict[str, Any]) -> VecNormalize:
    """Give SB3's wrapper the numbers of a checkpoint."""
    for running, numbers in [
        (env.ret_rms, saved["rewards"]),
        *((running, saved["observations"][key]) for key, running in statistics(env).items()),
    ]:
        running.mean, running.var = numbers["mean"].numpy(), numbers["var"].numpy()
        running.count = numbers["count"]
    return env


def assert_same(saved: dict[str, Any], env: VecNormalize) -> None:
    """Equal to the last bit."""
    observed = statistics(env)
    assert saved["observations"].keys() == observed.keys()
    for numbers, running in [
        (saved["rewards"], env.ret_rms),
        *((saved["observations"][key], observed[key]) for key in observed),
    ]:
        assert numbers["mean"].numpy().tobytes() == np.asarray(running.mean).tobytes()
        assert numbers["var"].numpy().tobytes() == np.asarray(running.var).tobytes()
        assert numbers["count"] == running.count
    assert saved["returns"].numpy().tobytes() == env.returns.tobytes()


@pytest.mark.parametrize("name", ENVS)
def test_the_statistics_are_sb3s(name: str, tmp_path: Path) -> None:
    """Otherwise the policy gets other observations than with SB3, or rounded ones."""
    run = start(tmp_path / "run", name)
    actions = learn_and_record(run)
    with closing(build_env(run.config, N_ENVS)) as env:
        beside = sb3(name, env)
        seen, rewards = [beside.reset()], []
        for action in actions:
            obs, reward, _, _ = beside.step(action)
            seen.append(obs)
            rewards.append(reward)
        assert_same(content(tmp_path / "run")["normalization"], beside)
    buffer = run.model.rollout_buffer  # of the last 10 steps of 20
    assert buffer.rewards.tobytes() == np.stack(rewards[10:]).tobytes()
    for key in KEYS.get(name, [None]):
        stored: Any = buffer.observations if key is None else buffer.observations[key]
        theirs: Any = [obs if key is None else obs[key] for obs in seen[10:20]]
        assert stored.tobytes() == np.stack(theirs).tobytes()


def test_the_statistics_by_hand(tmp_path: Path) -> None:
    """Means and variances of all observations, and of rewards 1, 1 + g, 1 + g + g^2, ... x 1000.

    SB3 begins with 0.0001 observations of mean 0 and variance 1.
    """
    run = start(tmp_path / "run", "integers")
    actions = learn_and_record(run)
    with closing(build_env(run.config, N_ENVS)) as env:
        observed = np.stack([env.reset(), *(env.step(action)[0] for action in actions)])  # type: ignore[misc]
    saved = content(tmp_path / "run")["normalization"]
    for numbers, values in (
        (saved["observations"][""], observed.astype(float).ravel()),
        (saved["rewards"], np.repeat(1000 * np.cumsum(GAMMA ** np.arange(4)), N_ENVS * 5)),
    ):
        total = len(values) + 1e-4
        mean = values.sum() / total
        variance = ((values - mean) ** 2).sum() + 1e-4 * (1 + mean**2)
        assert numbers["count"] == pytest.approx(total)
        assert numbers["mean"].item() == pytest.approx(mean)
        assert numbers["var"].item() == pytest.approx(variance / total)
    assert saved["returns"].tolist() == [0.0] * N_ENVS  # 20 steps are five episodes


def test_the_log_has_the_rewards_of_the_environment(runs: Callable[[str], Path]) -> None:
    """Otherwise a curve would show normalized rewards, which rise and fall with the statistics."""
    lines = read_metrics(runs("integers") / "metrics.jsonl")
    assert {line["rollout/ep_rew_mean"] for line in lines} == {4000.0}


def test_a_resumed_cartpole_continues_its_statistics(tmp_path: Path) -> None:
    """Otherwise a resumed run would begin with the statistics of no observation."""
    start(tmp_path / "run", "CartPole").learn()
    before = content(tmp_path / "run")["normalization"]
    run = TrainingRun.resume(tmp_path / "run", 120)
    assert not run.resumes_exactly
    actions = learn_and_record(run)
    with closing(build_env(run.config, N_ENVS)) as env:
        env.seed(60)  # the resumed run's seed: its own seed plus the number of steps before
        beside = give(sb3("CartPole", env), before)
        beside.reset()
        for action in actions:
            beside.step(action)
        assert_same(content(tmp_path / "run")["normalization"], beside)


# Sampled actions cannot be compared where episodes differ in length: SB3 stops at other steps.
@pytest.mark.parametrize(
    ("name", "deterministic"),
    [("native", False), ("native", True), ("CartPole", True), ("Dict", False), ("Dict", True)],
)
def test_sb3_measures_the_same_with_the_statistics_frozen(
    name: str, deterministic: bool, runs: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the agent would be measured on observations that it was not trained on."""
    agent = TrainedAgent.load(runs(name))
    ours = measure(agent, 12, 3, deterministic)
    theirs = {}
    for is_normalized in (True, False):
        env = build_env(agent.config, 12)
        env.seed(3)
        torch.manual_seed(3)
        if is_normalized:
            saved = content(runs(name))["normalization"]
            env = give(sb3(name, env, training=False, norm_reward=False), saved)
        theirs[is_normalized], _ = evaluate_policy(
            agent.policy, env, 12, deterministic=deterministic, return_episode_rewards=True
        )
        env.close()
    assert sorted(ours.rewards) == sorted(theirs[True])
    assert sorted(ours.rewards) != sorted(theirs[False])
    flags = ["--episodes=12", "--seed=3", "--json", *["--deterministic"] * deterministic]
    capsys.readouterr()
    assert run_command("evaluate", [str(runs(name)), *flags]) == 0
    assert json.loads(capsys.readouterr().out)["reward_mean"] == np.mean(theirs[True])


@pytest.mark.parametrize("name", ["native", "CartPole"])
def test_a_recorded_episode_is_the_measured_one(name: str, runs: Callable[[str], Path]) -> None:
    """Otherwise films, reports and pictures show another agent than the measured one."""
    agent = TrainedAgent.load(runs(name))
    recorded = [record_episode(agent, seed, None, deterministic=True) for seed in (3, 4, 5)]
    measured = measure(agent, 3, 3, deterministic=True).rewards
    assert [episode.rewards.sum() for episode in recorded] == measured.tolist()
    assert any(
        record_episode(_unnormalized(agent), seed, None, True).actions.tolist()
        != episode.actions.tolist()
        for seed, episode in zip((3, 4, 5), recorded, strict=True)
    )


def _unnormalized(agent: TrainedAgent) -> TrainedAgent:
    return TrainedAgent(agent.run, agent.config, agent.policy, agent.n_timesteps)


def test_pictures_show_the_agent_of_the_checkpoint(tmp_path: Path) -> None:
    """Otherwise TensorBoard would show an agent that sees observations of another scale."""
    run = start(tmp_path / "run", "CartPole")
    run.learn()
    pictures = EpisodePictures(run.run, run.config)
    pictures.init_callback(run.model)
    episode = pictures._play()
    again = record_episode(TrainedAgent.load(tmp_path / "run"), run.config.seed, None, longest=500)
    assert episode.values.tolist() == again.values.tolist()
    assert content(tmp_path / "run")["normalization"]["observations"][""]["count"] == (
        1e-4 + N_ENVS * 21  # unchanged by the pictures
    )


@pytest.mark.parametrize(("suffix", "name"), [(".onnx", "Dict"), (".pt2", "native")])
def test_an_exported_agent_normalizes_its_observations(
    name: str, suffix: str, runs: Callable[[str], Path], tmp_path: Path
) -> None:
    """Otherwise the user would have to find and apply the statistics."""
    path = tmp_path / f"agent{suffix}"
    argv = [str(runs(name)), "--export", str(path), "--episodes=2", "--json"]
    assert run_command("evaluate", argv) == 0
    agent = TrainedAgent.load(runs(name))
    with closing(build_env(agent.config, 4)) as env:
        obs: Any = env.reset()
        for action in (0, 1, 0):
            obs = env.step(np.full(4, action))[0]
        frozen = give(sb3(name, env), content(runs(name))["normalization"])
        seen: Any = frozen.normalize_obs(obs)
    if name == "Dict":
        obs["image"] = obs["image"].transpose(0, 3, 1, 2)
        inputs = {f"obs_{key}": np.float32(part) for key, part in obs.items()}
    else:
        inputs = {"obs": obs}
    assert_same_step(path, agent.policy, inputs, seen)
    with pytest.raises(AssertionError, match="value"):
        assert_same_step(path, agent.policy, inputs, obs)


def assert_same_step(path: Path, policy: PlasticPolicy, inputs: Any, seen: Any) -> None:
    """Compare an exported file with the policy, in the first step of an episode.

    Args:
        path, policy: the file and its policy.
        inputs: the file's observations.
        seen: the policy's observations.
    """
    step = policy.step(policy.obs_to_tensor(seen)[0], deterministic=True)
    state = policy.initial_state(len(step.actions))
    leaves = zip(state._fields, state, strict=True)
    inputs = inputs | {f"state_{name}": leaf.numpy() for name, leaf in leaves if leaf is not None}
    inputs["episode_start"] = np.ones(len(step.actions), bool)
    outputs: dict[str, Any]
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, inputs), strict=True))
    else:
        module = torch.export.load(path).module()
        with torch.no_grad():
            outputs = module({name: torch.as_tensor(value) for name, value in inputs.items()})
    for name, ours in {"value": step.values[:, 0], "new_state_hidden": step.state.hidden}.items():
        np.testing.assert_allclose(outputs[name], ours, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_users_own_vec_normalize_is_exported(tmp_path: Path) -> None:
    """Otherwise users of ``RecurrentA2C`` have to normalize, or the file loses precision.

    In single precision, the differences to the mean would be rounded to multiples of 8.
    """
    env = VecNormalize(DummyVecEnv([Spoiled]), clip_obs=3.0, epsilon=0.25)
    model = RecurrentA2C("PlasticPolicy", env, policy_kwargs={"core_kwargs": {"hidden_size": 5}})
    running: Any = env.obs_rms
    running.mean, running.var = np.array([1e8 + 0.3, 0.0]), np.array([16.0, 0.5])
    obs = np.array([[1e8, 1.0], [1e8 + 8, 9.0], [1e8 + 16, -9.0]], np.float32)
    path = tmp_path / "agent.onnx"
    export_policy(model.policy, path, vec_normalize=model.get_vec_normalize_env())
    assert_same_step(path, model.policy, {"obs": obs}, env.normalize_obs(obs))


def test_statistics_of_another_environment_are_not_exported(tmp_path: Path) -> None:
    """Otherwise the file would normalize by other statistics, or could not be run."""
    policy = RecurrentA2C("PlasticPolicy", "CartPole-v1").policy
    for other in (Spoiled, Mixed):
        env = normalized(DummyVecEnv([other]), GAMMA)
        with pytest.raises(UsageError, match="vec_normalize does not fit"):
            export_policy(policy, tmp_path / "agent.pt2", vec_normalize=env)


def test_the_live_page_is_refused(
    runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the agent on the page would see observations of another scale."""
    page = tmp_path / "live.html"
    assert run_command("evaluate", [str(runs("native")), "--live", str(page)]) == 2
    assert "trained with normalize" in capsys.readouterr().err
    assert not page.exists()


def negative(saved: Any) -> None:
    saved["observations"][""]["var"][0] = -1.0


def short(saved: Any) -> None:
    saved["observations"][""]["mean"] = saved["observations"][""]["mean"][1:]


def of_another_key(saved: Any) -> None:
    saved["observations"]["far"] = saved["observations"].pop("")


def not_finite(saved: Any) -> None:
    saved["rewards"]["mean"] = torch.tensor(torch.inf, dtype=torch.float64)


def uncounted(saved: Any) -> None:
    saved["rewards"]["count"] = -1.0


def of_other_environments(saved: Any) -> None:
    saved["returns"] = torch.zeros(N_ENVS + 1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (negative, r"normalization.observations\..var has a negative number"),
        (short, r"normalization.observations\..mean must be"),
        (of_another_key, "normalization.observations has no ''"),
        (not_finite, "normalization.rewards.mean is not finite"),
        (uncounted, "normalization.rewards.count must be a number from 0"),
        (of_other_environments, r"normalization.returns must be \(3,\)"),
        (None, "normalization must be of type dict, not NoneType"),
    ],
)
@pytest.mark.parametrize("load", [TrainedAgent.load, TrainingRun.resume])
def test_damaged_statistics(
    damage: Any, sentence: str, load: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Otherwise the agent would act on observations of a wrong scale."""
    start(tmp_path / "run", "native").learn()
    saved = content(tmp_path / "run")
    if damage is None:
        saved["normalization"] = None
    else:
        damage(saved["normalization"])
    save_checkpoint(tmp_path / "run" / "checkpoints", saved["num_timesteps"], saved)
    with pytest.raises(RunError, match=sentence):
        load(tmp_path / "run")


def test_a_config_of_more_environments_than_fit_into_memory(tmp_path: Path) -> None:
    """Otherwise the check of the statistics would itself need the memory."""
    start(tmp_path / "run", "native").learn()
    path = tmp_path / "run" / "config.json"
    data = json.loads(path.read_text())
    data["config"]["n_envs"] = 10**12
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"normalization.returns must be|n_envs must be"):
        TrainedAgent.load(tmp_path / "run")


def test_without_the_flag_nothing_is_normalized(tmp_path: Path) -> None:
    """Otherwise a run changes, or requires statistics that it does not use."""
    run = start(tmp_path / "run", "native", normalize=False)
    run.learn()
    assert run.model.get_vec_normalize_env() is None
    saved = content(tmp_path / "run")
    assert saved["normalization"] is None
    assert TrainedAgent.load(tmp_path / "run").vec_normalize is None
    saved["normalization"] = {}
    save_checkpoint(tmp_path / "run" / "checkpoints", saved["num_timesteps"], saved)
    with pytest.raises(RunError, match="normalization must be of type NoneType"):
        TrainedAgent.load(tmp_path / "run")
    assert not open_run(tmp_path / "run")[1].normalize


def test_no_rollout_on_the_device() -> None:
    """Otherwise the steps on the device are not normalized."""
    env = make_vec_env("plasticrl/GridMaze-v0", 3, device="cpu")
    policy = RecurrentA2C("PlasticPolicy", env).policy
    assert DeviceRollout.possible(policy, env)
    assert not DeviceRollout.possible(policy, normalized(env, GAMMA))


class Spoiled(gym.Env[Any, Any]):
    """Gives one observation, or one reward, that is not finite or too large."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, obs: float = 0.0, reward: float = 0.0) -> None:
        self.obs, self.reward = obs, reward

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        now = self.t == 7
        obs = np.full(2, self.obs if now else 0, np.float32)
        return obs, self.reward if now else 0.0, False, self.t == 9, {}


@pytest.mark.parametrize(
    ("spoiled", "sentence"),
    [
        ({"reward": float("nan")}, r"^environment 1 gave the reward nan \(after 14 steps\)$"),
        ({"obs": float("nan")}, r"^the observations of all environments are not finite \(after 14"),
    ],
)
def test_no_other_environment_is_blamed(spoiled: dict[str, float], sentence: str) -> None:
    """The statistics carry one number that is not finite into the values of all environments."""
    env = VecNormalize(DummyVecEnv([Spoiled, lambda: Spoiled(**spoiled)]))
    model = RecurrentA2C("PlasticPolicy", env, n_steps=16)
    with pytest.raises(DivergedError, match=sentence):
        model.learn(64)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_statistics_that_overflow_are_not_saved(tmp_path: Path) -> None:
    """Otherwise the run could not be resumed from its own checkpoint."""
    if "plasticrl-tests/Spoiled-v0" not in gym.registry:
        gym.register("plasticrl-tests/Spoiled-v0", Spoiled)
    changes = {"env_id": "plasticrl-tests/Spoiled-v0", "env_kwargs": {"obs": 1e30}}
    run = start(tmp_path / "run", "CartPole", **changes)
    with pytest.raises(DivergedError, match="variance of the observations is not finite: scale"):
        run.learn()
    assert not list((tmp_path / "run").rglob("*.pt"))
