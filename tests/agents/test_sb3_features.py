"""The algorithms work with the tools of Stable-Baselines3."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env as make_sb3_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
    VecVideoRecorder,
)
from tests.agents.conftest import CORES
from torch import Tensor

from plasticrl.agents import RecurrentA2C, RecurrentPPO, make_vec_env
from plasticrl.envs import ENV_IDS

SMALL = {"core_kwargs": {"hidden_size": 7}}
ROUND = 3 * 8  # steps of three environments in one rollout


Make = Callable[..., Any]


def every_core_with(*n_envs: int) -> pytest.MarkDecorator:
    """Each core with each number of environments; the algorithms take turns."""
    cases = [
        pytest.param((RecurrentA2C, RecurrentPPO)[(i + j) % 2], n, core, id=f"{n}-{name}")
        for i, n in enumerate(n_envs)
        for j, (name, core) in enumerate(CORES.items())
    ]
    return pytest.mark.parametrize(("algorithm", "n_envs", "core"), cases)


@pytest.fixture
def make(algorithm: Any) -> Make:
    """Make a small model of either algorithm."""

    def make_one(env: Any, policy: str = "PlasticPolicy", **options: Any) -> Any:
        given = {"n_steps": 8, "seed": 3, "device": "cpu", "policy_kwargs": SMALL, **options}
        return algorithm(policy, env, **given)

    return make_one


def weights(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def same_weights(left: Any, right: Any) -> bool:
    ours, theirs = weights(left), weights(right)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def actions_of(model: Any, n_envs: int, steps: int = 6) -> np.ndarray:
    """Deterministic actions for fixed observations, which a loaded model has to repeat."""
    generator = np.random.default_rng(0)
    state, taken = None, []
    shape = model.observation_space.shape
    assert shape is not None
    for _ in range(steps):
        obs = generator.normal(size=(n_envs, *shape)).astype(np.float32)
        actions, state = model.predict(obs, state, deterministic=True)
        taken.append(actions)
    return np.stack(taken)


# Evaluation


def by_hand(model: Any, env: VecEnv, n_episodes: int) -> list[float]:
    """Returns of the first episodes, with the loop that SB3 documents."""
    obs, state, starts = env.reset(), None, np.ones(env.num_envs, bool)
    quota = np.array([(n_episodes + k) // env.num_envs for k in range(env.num_envs)])
    returns: list[float] = []
    counts = np.zeros(env.num_envs, int)
    while (counts < quota).any():
        actions, state = model.predict(obs, state, starts.copy(), deterministic=True)  # type: ignore[arg-type]
        obs, _, dones, infos = env.step(actions)
        starts = dones.copy()
        for row in np.flatnonzero(dones & (counts < quota)):
            returns.append(infos[row]["episode"]["r"])
            counts[row] += 1
    return returns


def test_evaluate_policy_resets_and_carries_the_state(
    make: Make, core: dict[str, Any], make_vec: Any
) -> None:
    """Otherwise SB3's evaluation measures another agent."""
    model = make(make_vec(), policy_kwargs=core).learn(3 * ROUND)
    evaluation = [make_vec(), make_vec()]
    for env in evaluation:
        env.seed(5)
    theirs, lengths = evaluate_policy(
        model, evaluation[0], n_eval_episodes=10, return_episode_rewards=True
    )
    assert isinstance(theirs, list)
    assert theirs == pytest.approx(by_hand(model, evaluation[1], 10), rel=1e-6)
    assert set(lengths) == {3, 4, 5}  # type: ignore[arg-type]


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_evaluate_policy_on_the_native_batch(make: Make, env_id: str) -> None:
    """Otherwise SB3's tool cannot be used with our own environments."""
    options = {"episode_length": 11}
    model = make(make_vec_env(env_id, 3, 0, env_kwargs=options)).learn(2 * ROUND)
    env = make_vec_env(env_id, 4, 1, env_kwargs=options)
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=9, return_episode_rewards=True)
    assert isinstance(rewards, list)
    assert lengths == [11] * 9
    assert rewards == pytest.approx(
        by_hand(model, make_vec_env(env_id, 4, 1, env_kwargs=options), 9)
    )


@every_core_with(1, 2)
def test_an_evaluation_in_the_middle_changes_nothing_of_the_training(
    make: Make, n_envs: int, core: dict[str, Any], make_vec: Any, tmp_path: Path
) -> None:
    """Otherwise a training depends on how often it is evaluated."""
    plain = make(make_vec(), policy_kwargs=core).learn(5 * ROUND)
    callback = EvalCallback(
        make_vec(n_envs=n_envs, truncates=True),
        eval_freq=3,  # in the middle of the rollouts
        n_eval_episodes=2,
        deterministic=True,
        log_path=str(tmp_path),
        best_model_save_path=str(tmp_path),
        verbose=0,
    )
    watched = make(make_vec(), policy_kwargs=core).learn(5 * ROUND, callback=callback)
    assert len(callback.evaluations_results) == 5 * 8 // 3
    assert same_weights(plain, watched)
    assert np.load(tmp_path / "evaluations.npz")["results"].shape == (13, 2)
    type(watched).load(tmp_path / "best_model.zip", device="cpu")


# Saving and loading


def test_checkpoints_load_and_act_the_same(make: Make, make_vec: Any, tmp_path: Path) -> None:
    """Otherwise the checkpoints of a long run are useless."""
    callback = CheckpointCallback(save_freq=16, save_path=str(tmp_path), name_prefix="agent")
    model = make(make_vec()).learn(4 * ROUND, callback=callback)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["agent_48_steps.zip", "agent_96_steps.zip"]
    loaded = type(model).load(tmp_path / "agent_96_steps.zip", device="cpu")
    before_the_last_update = make(make_vec()).learn(3 * ROUND)
    assert same_weights(loaded, before_the_last_update)
    assert not same_weights(loaded, model)


@every_core_with(1, 5)
def test_a_saved_model_goes_on_with_another_number_of_environments(
    make: Make, n_envs: int, core: dict[str, Any], make_vec: Any, tmp_path: Path
) -> None:
    """Otherwise an agent works only with its original number of environments."""
    options = {"bptt_length": 4, "bootstrap_truncated": False, "normalize_advantage": True}
    model = make(make_vec(), policy_kwargs=core, entropy="simpson", **options).learn(2 * ROUND)
    model.save(tmp_path / "agent.zip")
    loaded = type(model).load(tmp_path / "agent.zip", env=make_vec(n_envs=n_envs), device="cpu")
    assert same_weights(model, loaded)
    for name, value in {"entropy": "simpson", **options}.items():
        assert getattr(loaded, name) == value
    np.testing.assert_array_equal(actions_of(model, 2), actions_of(loaded, 2))
    steps = 2 * 8 * n_envs
    loaded.learn(steps, reset_num_timesteps=False)
    assert loaded.num_timesteps == 2 * ROUND + steps
    assert not same_weights(model, loaded)


def test_a_loaded_model_goes_on_as_the_saved_one(make: Make, make_vec: Any, tmp_path: Path) -> None:
    """Otherwise ``save`` loses the optimizer's moments."""
    model = make(make_vec()).learn(3 * ROUND)
    model.save(tmp_path / "agent.zip")
    loaded = type(model).load(tmp_path / "agent.zip", device="cpu")
    after = []
    for one in (model, loaded):
        env = make_vec()
        env.seed(7)
        one.set_env(env)
        torch.manual_seed(5)
        after.append(one.learn(2 * ROUND))
    assert same_weights(*after)


def test_what_is_saved_has_no_state_of_an_environment(
    make: Make, make_vec: Any, tmp_path: Path
) -> None:
    """Otherwise each environment adds N x N numbers to the file."""
    sizes = []
    for n_envs in (1, 64):
        options = {"core_kwargs": {"hidden_size": 60}}
        model = make(make_vec(n_envs=n_envs), policy_kwargs=options).learn(8 * n_envs)
        model.save(tmp_path / "agent.zip")
        sizes.append((tmp_path / "agent.zip").stat().st_size)
    traces = 63 * 60 * 60 * 4
    assert sizes[1] - sizes[0] < 0.1 * traces


def test_set_env(make: Make, make_vec: Any) -> None:
    """Otherwise training in another environment fails, or starts with an old state."""
    model = make(make_vec(lengths=(50, 50, 50))).learn(ROUND)
    model.set_env(make_vec(lengths=(60, 60, 60)))
    model.learn(ROUND, reset_num_timesteps=False)
    assert model.num_timesteps == 2 * ROUND
    assert model.rollout_buffer.episode_starts[0].all()
    with pytest.raises(AssertionError, match="number of environments"):
        model.set_env(make_vec(n_envs=2))


def test_set_parameters(make: Make, make_vec: Any) -> None:
    """Otherwise weights cannot be moved between models."""
    source = make(make_vec()).learn(3 * ROUND)
    target = make(make_vec(n_envs=2), seed=4)
    assert not same_weights(source, target)
    target.set_parameters(source.get_parameters())
    assert same_weights(source, target)
    moments = [model.policy.optimizer.state_dict()["state"] for model in (source, target)]
    assert moments[0].keys() == moments[1].keys() != set()
    np.testing.assert_array_equal(actions_of(source, 2), actions_of(target, 2))


# Wrappers and other vectorised environments


def test_vec_normalize(make: Make, make_vec: Any) -> None:
    """Otherwise an observation is normalized twice, or the last one not at all."""
    env = VecNormalize(make_vec(truncates=True), gamma=0.9)
    model = make(env, gamma=0.9).learn(4 * ROUND)
    assert model.get_vec_normalize_env() is env
    seen = model.rollout_buffer.observations
    original = np.stack([one.observation_space.sample() for one in env.get_attr("unwrapped")])
    assert original.shape[1:] == env.observation_space.shape
    assert abs(seen.std() - 1) < 0.3  # the raw ones are uniform on -1 .. 1, deviation 0.58
    rewards, _ = evaluate_policy(model, env, n_eval_episodes=3, return_episode_rewards=True)
    assert len(rewards) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize("wrapper", [VecNormalize, lambda env: VecFrameStack(env, n_stack=2)])
def test_wrappers_around_the_native_batch(make: Make, env_id: str, wrapper: Any) -> None:
    """Otherwise SB3's wrappers cannot be used with our own environments."""
    env = wrapper(make_vec_env(env_id, 3, 0, env_kwargs={"episode_length": 6}))
    model = make(env).learn(3 * ROUND)
    assert len(model.ep_info_buffer) == 3 * (3 * 8 // 6)  # type: ignore[arg-type]


def test_subprocesses_give_the_same_weights(make: Make) -> None:
    """Otherwise the result depends on where the environments run."""
    runs = []
    for kind in (DummyVecEnv, SubprocVecEnv):
        env = make_sb3_vec_env("CartPole-v1", 2, seed=0, vec_env_cls=kind)
        runs.append(make(env).learn(5 * 8 * 2))
        env.close()
    assert same_weights(*runs)


def test_an_id_of_ours_is_enough(make: Make) -> None:
    """Otherwise the id of an environment does not work in its place."""
    model = make(ENV_IDS[0]).learn(16)
    assert model.num_timesteps == 16


def test_tensorboard_files_are_written(make: Make, make_vec: Any, tmp_path: Path) -> None:
    """Otherwise there are no curves."""
    model = make(make_vec(), tensorboard_log=str(tmp_path)).learn(2 * ROUND)
    assert list(tmp_path.glob(f"{type(model).__name__}_1/events.out.tfevents.*"))


# Video


def watched(env_id: str) -> VecEnv:
    return make_vec_env(env_id, 3, 0, env_kwargs={"episode_length": 9, "render_mode": "rgb_array"})


def record(env_id: str, folder: Path) -> VecVideoRecorder:
    env = VecVideoRecorder(watched(env_id), str(folder), lambda step: step == 0, video_length=5)
    model = RecurrentA2C("PlasticPolicy", env, n_steps=8)
    model.learn(ROUND)
    env.close()
    return env


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_a_video_gets_its_frames_and_their_rate(
    env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise SB3's recorder finds no pictures, or plays them at another rate.

    The encoder, moviepy, is replaced by an object that stores its arguments.
    """
    clips: list[tuple[list[np.ndarray], float]] = []

    class Clip:
        def __init__(self, frames: list[np.ndarray], fps: float) -> None:
            clips.append((list(frames), fps))

        def write_videofile(self, path: str) -> None:
            Path(path).touch()

    for name in ("moviepy", "moviepy.video", "moviepy.video.io"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    writer: Any = ModuleType("moviepy.video.io.ImageSequenceClip")
    writer.ImageSequenceClip = Clip
    monkeypatch.setitem(sys.modules, writer.__name__, writer)

    env = record(env_id, tmp_path)
    [(frames, rate)] = clips
    assert Path(env.video_path).exists()
    assert len(frames) == 5 + 1
    assert rate == env.unwrapped.metadata["render_fps"] == 8
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert frames[0].dtype == np.uint8
    assert frames[0].shape[2] == 3
    assert any((frame != frames[0]).any() for frame in frames)


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_every_row_has_its_own_picture(env_id: str) -> None:
    """Otherwise a mosaic shows one environment several times."""
    env = watched(env_id)
    env.reset()
    for _ in range(4):
        env.step(np.array([0, 1, 1]))
    images = env.get_images()
    assert len(images) == 3
    assert all(image is not None and image.dtype == np.uint8 for image in images)
    rows = [image.tobytes() for image in images if image is not None]
    assert len(set(rows)) > 1
    mosaic = env.render()
    assert mosaic is not None
    assert mosaic[: images[0].shape[0], : images[0].shape[1]].tobytes() == rows[0]  # type: ignore[union-attr]


def test_vec_video_recorder_writes_a_file(tmp_path: Path) -> None:
    """Otherwise SB3's recorder fails if its encoder is installed."""
    pytest.importorskip("moviepy", reason="VecVideoRecorder encodes with moviepy, not a dependency")
    env = record(ENV_IDS[0], tmp_path)
    assert Path(env.video_path).stat().st_size > 0
