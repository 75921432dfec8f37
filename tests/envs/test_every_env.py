"""What holds for every environment in the table, so that a new one is tested automatically."""

import copy
import importlib
import pickle
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import plasticrl.envs
from plasticrl.envs import ENV_IDS, resolve_id

MORE_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "plasticrl/GridMaze-v0": [
        {"size": 5, "wall_penalty": 0.1, "step_penalty": 0.01, "random_start": True},
        {"size": 7, "goal_region": "outer", "goal_moves": 0.3},
        {"size": 7, "goal_region": "outer", "goal_reward": 3.0, "episode_length": 61},
    ],
    "plasticrl/CueReward-v0": [
        {"n_cues": 5, "cue_bits": 9, "reward_flip_probability": 0.3, "max_extra_blanks": 1},
        {"n_cues": 3, "cue_bits": 3, "cue_kind": "one_hot", "episode_length": 61},
    ],
    "plasticrl/TMaze-v0": [{"corridor_length": 1, "episode_length": 7}, {"corridor_length": 2}],
    "plasticrl/Bandit-v0": [
        {"n_arms": 5},
        {"arms": "correlated", "episode_length": 61},
        {"arms": "pair", "pair_probability": 0.75},
    ],
    "plasticrl/TwoStep-v0": [
        {"common_probability": 0.9, "reward_probability": 0.8, "swap_probability": 0.3},
        {"swap_probability": 0.0, "episode_length": 24},
    ],
    "plasticrl/TransitiveInference-v0": [
        {"min_items": 2, "max_items": 9, "item_bits": 10, "n_training_trials": 2},
        {"schedule": "linking", "n_training_trials": 4, "n_link_trials": 1, "max_items": 9},
        {"schedule": "sham", "n_training_trials": 1, "n_test_trials": 3, "episode_length": 29},
    ],
    "plasticrl/Harlow-v0": [
        {"n_trials": 1, "n_objects": 2, "episode_length": 40},
        {"n_trials": 20, "episode_length": 60},
    ],
}
CASES = [
    (env_id, {"episode_length": 23, **options})
    for env_id in ENV_IDS
    for options in ({}, *MORE_OPTIONS.get(env_id, []))
]
N_ROWS = 5

all_ids = pytest.mark.parametrize("env_id", ENV_IDS)
all_cases = pytest.mark.parametrize(("env_id", "options"), CASES)
all_modes = pytest.mark.parametrize("mode", list(AutoresetMode))


def make_batch(env_id: str, **options: Any) -> Any:
    return gym.make_vec(env_id, num_envs=N_ROWS, **options)


def make_sync(env_id: str, mode: AutoresetMode, options: dict[str, Any]) -> SyncVectorEnv:
    def make() -> Any:
        return gym.make(env_id, **options).unwrapped

    return SyncVectorEnv([make] * N_ROWS, autoreset_mode=mode)


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """Check that two values have the same structure, dtypes and numbers."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, tuple) or (isinstance(theirs, np.ndarray) and theirs.dtype == object):
        assert type(ours) is type(theirs), where
        assert isinstance(ours, tuple) or ours.dtype == object, where
        for row, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, f"{where}[{row}]")
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype, where
        np.testing.assert_array_equal(ours, theirs, err_msg=where)
    else:
        assert type(ours) is type(theirs), where
        assert ours == theirs, where


def reset_where_over(batch: Any) -> None:
    """Reset finished rows as a caller would, where autoreset is disabled."""
    done = batch.get_state()["done"]
    if batch.autoreset_mode is AutoresetMode.DISABLED and done.any():
        batch.reset(options={"reset_mask": done})


def actions(batch: Any, seed: int, steps: int) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, batch.single_action_space.n, size=(steps, N_ROWS))


@all_ids
def test_gymnasium_finds_nothing_to_complain_about(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped)


@all_ids
def test_stable_baselines_finds_nothing_to_complain_about(env_id: str) -> None:
    sb3_check_env(gym.make(env_id))
    sb3_check_env(gym.make(env_id, render_mode="rgb_array"), skip_render_check=False)


@all_modes
@all_cases
def test_batch_is_syncvectorenv_of_single_envs(
    env_id: str, options: dict[str, Any], mode: AutoresetMode
) -> None:
    """Otherwise a value differs from SyncVectorEnv's at some step or after a manual reset."""
    batch = make_batch(env_id, autoreset_mode=mode, **options)
    sync = make_sync(env_id, mode, options)
    assert batch.metadata["autoreset_mode"] is mode
    assert batch.single_observation_space == sync.single_observation_space
    assert batch.observation_space == sync.observation_space
    assert batch.action_space == sync.action_space
    assert_same(batch.reset(seed=7), sync.reset(seed=7), "reset")
    ended = 0
    for step, action in enumerate(actions(batch, 0, 500)):
        ours, theirs = batch.step(action), sync.step(action)
        for name, mine, other in zip(
            ("obs", "reward", "terminated", "truncated", "info"), ours, theirs, strict=True
        ):
            assert_same(mine, other, f"step {step} {name}")
        done = theirs[2] | theirs[3]
        ended += int(done.sum())
        mask = done if mode is AutoresetMode.DISABLED else np.zeros(N_ROWS, dtype=np.bool_)
        if step in (4, 100):
            mask = mask | (np.arange(N_ROWS) % 2 == 1)
        if mask.any():
            seed = 50 if step == 100 else None
            ours_reset = batch.reset(seed=seed, options={"reset_mask": mask})
            assert_same(ours_reset, sync.reset(seed=seed, options={"reset_mask": mask}), "mask")
    assert ended > 5 * N_ROWS


@all_cases
def test_row_k_is_the_single_env_with_seed_s_plus_k(env_id: str, options: dict[str, Any]) -> None:
    batch = make_batch(env_id, autoreset_mode="SameStep", **options)
    batch.reset(seed=11)
    single = gym.make(env_id, **options)
    first, _ = single.reset(seed=11 + 3)
    np.testing.assert_array_equal(batch.reset(seed=11)[0][3], first)
    for action in actions(batch, 1, 100):
        observations, rewards, terminated, truncated, _ = batch.step(action)
        observation, reward, ended, over, _ = single.step(action[3])
        assert (rewards[3], terminated[3], truncated[3]) == (reward, ended, over)
        if ended or over:
            observation, _ = single.reset()
        np.testing.assert_array_equal(observations[3], observation)


@all_ids
def test_list_of_seeds(env_id: str) -> None:
    one, other = make_batch(env_id), make_batch(env_id)
    one.reset(seed=3)
    other.reset(seed=[3, 4, 5, 6, 7])
    assert_same(one.get_state(), other.get_state(), "state")
    other.reset(seed=[None, 4, 5, 6, 7])
    assert other.get_state()["counter"].tolist() == [2, 1, 1, 1, 1]


@all_ids
def test_seeds_matter_and_no_seed_is_fresh(env_id: str) -> None:
    keys = []
    for seed in (1, 100, None, None):
        batch = make_batch(env_id)
        batch.reset(seed=seed)
        keys.append(batch.get_state()["key"])
    assert len(np.unique(keys)) == 4 * N_ROWS


@all_modes
@all_cases
def test_saved_state_continues_bit_for_bit(
    env_id: str, options: dict[str, Any], mode: AutoresetMode
) -> None:
    """Otherwise a state saved within an episode, or just after its end, continues differently."""
    for steps in (10, options["episode_length"]):
        batch = make_batch(env_id, autoreset_mode=mode, **options)
        batch.reset(seed=5)
        for action in actions(batch, 2, steps):
            reset_where_over(batch)
            batch.step(action)
        state = batch.get_state()
        copy = {name: leaf.copy() for name, leaf in state.items()}
        other = make_batch(env_id, autoreset_mode=mode, **options)
        other.set_state(state)
        for action in actions(batch, 3, 60):
            reset_where_over(batch)
            reset_where_over(other)
            assert_same(batch.step(action), other.step(action), "step")
        assert_same(state, copy, "the saved state is a copy")


@all_ids
@pytest.mark.parametrize("device", [None, "cpu"])
def test_copies_and_pickles_go_their_own_way(env_id: str, device: str | None) -> None:
    """Otherwise a planner that tries actions on a copy would change the original environment."""
    batch = make_batch(env_id, autoreset_mode="SameStep", episode_length=7, device=device)
    batch.reset(seed=0)
    path = [one if device is None else torch.from_numpy(one) for one in actions(batch, 0, 20)]
    for action in path[:5]:
        batch.step(action)
    others = [copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))]
    expected = [batch.step(action)[0] for action in path]
    for other in others:
        for action, observation in zip(path, expected, strict=True):
            assert (other.step(action)[0] == observation).all()


@all_ids
def test_single_env_saves_its_state(env_id: str) -> None:
    one, other = gym.make(env_id).unwrapped, gym.make(env_id).unwrapped
    one.reset(seed=1)
    one.step(1)
    other.set_state(one.get_state())
    assert_same(one.step(0), other.step(0), "step")
    assert_same(one.reset(), other.reset(), "reset")


@all_ids
def test_set_state_is_strict(env_id: str) -> None:
    batch = make_batch(env_id)
    batch.reset(seed=0)
    state = batch.get_state()
    with pytest.raises(ValueError, match="steps"):
        batch.set_state({name: leaf for name, leaf in state.items() if name != "steps"})
    with pytest.raises(ValueError, match="color"):
        batch.set_state({**state, "color": state["steps"]})
    with pytest.raises(ValueError, match=r"steps.*shape \(5,\).*shape \(4,\)"):
        batch.set_state({**state, "steps": state["steps"][:4]})
    with pytest.raises(ValueError, match=r"steps.*int64.*float64"):
        batch.set_state({**state, "steps": state["steps"].astype(np.float64)})
    with pytest.raises(ValueError, match=r"steps.*numpy array"):
        batch.set_state({**state, "steps": state["steps"].tolist()})
    for name, leaf in state.items():
        if name == "key" or leaf.dtype == np.bool_:
            continue  # any number and any truth value can be there
        for wrong in (np.nan, np.inf) if leaf.dtype.kind == "f" else (-2, np.iinfo(np.int64).max):
            spoiled = leaf.copy()
            spoiled.flat[-1] = wrong
            with pytest.raises(ValueError, match=rf"state\['{name}'\] must be from"):
                batch.set_state({**state, name: spoiled})
    assert_same(batch.get_state(), state, "a refused state changes nothing")


@all_ids
def test_returned_arrays_are_the_callers(env_id: str) -> None:
    """Otherwise writing into the action or the arrays of reset or step changes the episode."""
    one, other = make_batch(env_id), make_batch(env_id)
    one.reset(seed=0)
    other.reset(seed=0)[0][:] = 9
    for action in actions(one, 0, 20):
        mine = action.copy()
        results = other.step(mine)
        assert_same(results, one.step(action), "step")
        for array in (mine, *results[:4]):
            array[:] = 1


@all_ids
def test_stepping_needs_a_reset(env_id: str) -> None:
    batch = make_batch(env_id, render_mode="ansi")
    single = gym.make(env_id, episode_length=2).unwrapped
    mask = np.arange(N_ROWS) == 0
    for call in (
        lambda: batch.step(np.zeros(N_ROWS, dtype=np.int64)),
        lambda: batch.render(),
        lambda: batch.get_state(),
        lambda: batch.reset(options={"reset_mask": mask}),
        lambda: single.step(0),
    ):
        with pytest.raises(ResetNeeded, match="call reset before step"):
            call()
    single.reset(seed=0)
    single.step(0)
    assert single.step(0)[3]
    with pytest.raises(ResetNeeded, match="episode is over"):
        single.step(0)


@all_ids
@pytest.mark.parametrize(
    "action", [-1, 99, 0.0, True, [0], "up", None], ids=lambda action: repr(action)
)
def test_bad_actions_are_refused(env_id: str, action: Any) -> None:
    single, batch = gym.make(env_id).unwrapped, make_batch(env_id)
    single.reset(seed=0)
    batch.reset(seed=0)
    with pytest.raises(InvalidAction, match="must be"):
        single.step(action)
    with pytest.raises(InvalidAction, match="must be"):
        batch.step(np.array([action] * N_ROWS))


@all_ids
def test_wrong_number_of_actions(env_id: str) -> None:
    batch = make_batch(env_id)
    batch.reset(seed=0)
    with pytest.raises(InvalidAction, match=r"shape \(5,\)"):
        batch.step(np.zeros(4, dtype=np.int64))


@all_ids
@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True] * N_ROWS, TypeError),
        (np.ones(N_ROWS), TypeError),
        (np.ones(N_ROWS - 1, dtype=np.bool_), ValueError),
        (np.zeros(N_ROWS, dtype=np.bool_), ValueError),
    ],
    ids=["list", "float", "shape", "empty"],
)
def test_bad_reset_masks(env_id: str, mask: Any, error: type[Exception]) -> None:
    batch = make_batch(env_id)
    with pytest.raises(error, match="reset_mask"):
        batch.reset(seed=0, options={"reset_mask": mask})


@all_ids
def test_bad_reset_arguments(env_id: str) -> None:
    batch, single = make_batch(env_id), gym.make(env_id).unwrapped
    with pytest.raises(ValueError, match="5 entries"):
        batch.reset(seed=[1, 2])
    for env in (batch, single):
        with pytest.raises(ValueError, match="goal_color"):
            env.reset(options={"goal_color": 3})
        with pytest.raises(gym.error.Error, match=r"[Ss]eed"):
            env.reset(seed=-1)


@all_ids
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_envs", 0),
        ("num_envs", 2.5),
        ("autoreset_mode", "sometimes"),
        ("render_mode", "human"),
        ("render_mode", 3),
        ("episode_length", 0),
        ("episode_length", 2.0),
        ("episode_length", float("nan")),
        ("episode_length", True),
        ("max_episode_steps", 0),
        ("max_episode_steps", 2.5),
    ],
)
def test_bad_common_arguments(env_id: str, name: str, value: Any) -> None:
    make = gym.envs.registration.load_env_creator(gym.spec(env_id).vector_entry_point)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name}.*must be.*{value}"):
        make(**{name: value})


@all_ids
def test_rendering(env_id: str) -> None:
    """Otherwise a rendering would be missing, too small, or the same at every step."""
    batch = make_batch(env_id, render_mode="rgb_array")
    batch.reset(seed=0)
    before = batch.render()
    assert isinstance(before, tuple)
    assert len(before) == N_ROWS
    for action in actions(batch, 0, 10):
        batch.step(action)
    for frame, old in zip(batch.render(), before, strict=True):
        assert frame.dtype == np.uint8
        assert min(frame.shape[:2]) >= 160
        assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0, "video codecs want even sides"
        assert (frame != old).any()
    text = gym.make(env_id, render_mode="ansi")
    text.reset(seed=0)
    assert "step 0/" in str(text.render())


@all_ids
def test_rendering_without_a_mode_warns(env_id: str) -> None:
    batch, single = make_batch(env_id), gym.make(env_id).unwrapped
    for env in (batch, single):
        env.reset(seed=0)
        with pytest.warns(UserWarning, match="render_mode"):
            assert env.render() is None


@all_ids
def test_spec_makes_the_native_batch(env_id: str) -> None:
    batch = gym.make_vec(env_id, num_envs=3)
    assert not isinstance(batch, SyncVectorEnv)
    assert batch.num_envs == 3
    assert batch.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


@all_modes
@pytest.mark.parametrize("limit", [1, 5, 1000])
@all_ids
def test_the_native_batch_keeps_gymnasiums_limit_of_steps(
    env_id: str, limit: int, mode: AutoresetMode
) -> None:
    """Otherwise a native batch refuses or ignores ``max_episode_steps``, or truncates elsewhere.

    The reference is Gymnasium's ``SyncVectorEnv`` over ``TimeLimit``. That does not tell the
    environment that its episode has ended, so that info of the episode's end is compared only
    where there is none besides the final observation.
    """
    common: dict[str, Any] = {"num_envs": N_ROWS, "max_episode_steps": limit, "episode_length": 23}
    batch = gym.make_vec(env_id, autoreset_mode=mode, **common)
    modes = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": mode}}
    sync = gym.make_vec(env_id, **modes, **common)
    assert_same(batch.reset(seed=7), sync.reset(seed=7), "reset")
    truncations = np.zeros(N_ROWS, dtype=np.int64)
    n_compared = 5 if batch.episode_info(batch.state.world) == {} else 4
    for step, action in enumerate(actions(batch, 0, 100)):
        ours, theirs = batch.step(action), sync.step(action)
        assert_same(ours[:n_compared], theirs[:n_compared], f"step {step}")
        truncations += theirs[3]
        if mode is AutoresetMode.DISABLED and (over := theirs[2] | theirs[3]).any():
            ours_reset = batch.reset(options={"reset_mask": over})
            assert_same(ours_reset, sync.reset(options={"reset_mask": over}), f"reset {step}")
    assert truncations.min() >= 2


@all_ids
def test_the_info_at_the_limit_of_steps(env_id: str) -> None:
    """Otherwise an episode that the limit ends would lack the info of an episode's end."""
    options = {"episode_length": 6, "autoreset_mode": "SameStep"}
    short = make_batch(env_id, **options)
    limited = make_batch(env_id, **{**options, "episode_length": 12}, max_episode_steps=6)
    for env in (short, limited):
        env.reset(seed=3)
    for action in actions(short, 0, 6):
        infos = [env.step(action)[4] for env in (short, limited)]
    assert_same(infos[1]["final_info"], infos[0]["final_info"], "info")


@all_ids
def test_docstrings_have_the_fields_headings(env_id: str) -> None:
    doc = type(gym.make(env_id).unwrapped).__doc__ or ""
    for heading in (
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
        "References",
    ):
        assert f"## {heading}" in doc


@pytest.mark.filterwarnings("ignore:.*Using the latest versioned environment")  # Gymnasium's
@pytest.mark.parametrize(
    "env_id", [*ENV_IDS, *(env_id.removesuffix("-v0") for env_id in ENV_IDS), "CartPole"]
)
def test_an_id_is_resolved_as_gymnasium_does(env_id: str) -> None:
    """Otherwise an id without its version counts as somebody else's environment."""
    spec = gym.make(env_id).spec
    assert spec is not None
    assert resolve_id(env_id) == resolve_id(f"plasticrl.envs:{env_id}") == spec.id


def test_an_id_that_is_not_registered_stays() -> None:
    """Otherwise the error about it names an id that the user did not type."""
    for env_id in ("plasticrl.envs:plasticrl/GridMaze-v9", "Nowhere", "my.module:GridMaze", "a b"):
        assert resolve_id(env_id) == env_id


def test_importing_twice_is_silent() -> None:
    importlib.reload(plasticrl.envs)


def test_import_leaves_torch_out() -> None:
    code = (
        "import sys, plasticrl.envs; assert not {'torch', 'stable_baselines3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
