"""The native batch as an SB3 ``VecEnv`` equals single environments, step for step."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from plasticrl.agents import BatchVecEnv, make_vec_env
from plasticrl.envs import ENV_IDS, HistoryObservation

N_ENVS = 4
LENGTH = 13
N_STEPS = 3 * LENGTH + 5
SHORT = {"episode_length": LENGTH}

all_ids = pytest.mark.parametrize("env_id", ENV_IDS)


def singles(env_id: str, seed: int) -> DummyVecEnv:
    env = DummyVecEnv([lambda: Monitor(gym.make(env_id, **SHORT))] * N_ENVS)
    env.seed(seed)
    return env


def actions(env: VecEnv, n_steps: int = N_STEPS) -> np.ndarray:
    n_actions = env.action_space.n  # type: ignore[attr-defined]
    return np.random.default_rng(0).integers(n_actions, size=(n_steps, N_ENVS))


def assert_same_infos(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Compare infos without time; SB3 also sets ``TimeLimit.truncated`` where no episode ends."""
    for mine, other in zip(ours, theirs, strict=True):
        expected = dict(other)
        if "episode" not in other:
            del expected["TimeLimit.truncated"]
        assert mine.keys() == expected.keys()
        for name in mine.keys() - {"episode", "terminal_observation"}:
            assert mine[name] == expected[name], name
        if "episode" in other:
            np.testing.assert_array_equal(
                mine["terminal_observation"], other["terminal_observation"]
            )
            assert mine["terminal_observation"].dtype == other["terminal_observation"].dtype
            assert (mine["episode"]["r"], mine["episode"]["l"]) == (
                other["episode"]["r"],
                other["episode"]["l"],
            )
            assert mine["episode"]["t"] >= 0


@all_ids
def test_it_is_sb3s_own_vec_env_step_for_step(env_id: str) -> None:
    """Otherwise training with the batch uses another environment."""
    batch, reference = make_vec_env(env_id, N_ENVS, 5, SHORT), singles(env_id, 5)
    assert isinstance(batch, BatchVecEnv)
    assert batch.observation_space == reference.observation_space
    assert batch.action_space == reference.action_space
    np.testing.assert_array_equal(batch.reset(), reference.reset())
    ends = 0
    for chosen in actions(batch):
        ours, theirs = batch.step(chosen), reference.step(chosen)
        for mine, other in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(mine, other)
            assert mine.dtype == other.dtype  # type: ignore[union-attr]
        assert_same_infos(ours[3], theirs[3])
        ends += int(ours[2].sum())
    assert ends >= 3 * N_ENVS


def test_time_limits_and_terminal_states_are_distinguished() -> None:
    """Otherwise terminal states are bootstrapped, or time limits are not.

    The reference is SB3's ``DummyVecEnv``; episodes in short corridors end in both ways.
    """
    options = {"corridor_length": 1, "episode_length": 4}
    batch = make_vec_env("plasticrl/TMaze-v0", N_ENVS, 5, options)
    reference = DummyVecEnv(
        [lambda: Monitor(gym.make("plasticrl/TMaze-v0", **options))] * N_ENVS  # type: ignore[arg-type]
    )
    reference.seed(5)
    np.testing.assert_array_equal(batch.reset(), reference.reset())
    ends = []
    for chosen in actions(batch, 200):
        ours, theirs = batch.step(chosen), reference.step(chosen)
        assert_same_infos(ours[3], theirs[3])
        ends += [
            (info["TimeLimit.truncated"], info["episode"]["l"] == 4)
            for info in ours[3]
            if "episode" in info
        ]
    assert set(ends) == {(True, True), (False, True), (False, False)}


@all_ids
def test_a_reset_in_the_middle_forgets_the_sums(env_id: str) -> None:
    """Otherwise an episode's return includes rewards of the one before."""
    batch, reference = make_vec_env(env_id, N_ENVS, 5, SHORT), singles(env_id, 5)
    for env in (batch, reference):
        env.reset()
        env.step(actions(env)[0])
    np.testing.assert_array_equal(batch.reset(), reference.reset())
    for chosen in actions(batch, LENGTH):
        ours, theirs = batch.step(chosen), reference.step(chosen)
    assert_same_infos(ours[3], theirs[3])
    assert ours[3][0]["episode"]["l"] == LENGTH


@all_ids
def test_seeds(env_id: str) -> None:
    """Otherwise a run cannot be repeated, or all environments are the same."""
    first, again, other = (make_vec_env(env_id, N_ENVS, s, SHORT) for s in (5, 5, 6))
    walks = []
    for env in (first, again, other):
        obs = [env.reset()]
        obs += [env.step(chosen)[0] for chosen in actions(env)]
        walks.append(np.stack(obs))  # type: ignore[arg-type]
    np.testing.assert_array_equal(walks[0], walks[1])
    np.testing.assert_array_equal(walks[0][0, 1], walks[2][0, 0])  # seed 5 + 1 = seed 6 + 0
    assert (walks[0] != walks[2]).any()
    assert len({walks[0][:, row].tobytes() for row in range(N_ENVS)}) == N_ENVS


@all_ids
def test_a_second_reset_goes_on_with_the_random_numbers(env_id: str) -> None:
    """Otherwise every ``learn`` starts with the same episode."""
    env = make_vec_env(env_id, N_ENVS, 5, SHORT)
    assert isinstance(env, BatchVecEnv)
    worlds = []
    for _ in range(2):
        env.reset()
        state = env.get_state()
        worlds.append([leaf for name, leaf in state.items() if name != "counter"])
    assert any((first != second).any() for first, second in zip(*worlds, strict=True))


# Saved state


@all_ids
def test_a_saved_state_continues_bit_for_bit(env_id: str) -> None:
    """Otherwise a resumed run differs from one that was not interrupted."""
    one, two = make_vec_env(env_id, N_ENVS, 5, SHORT), make_vec_env(env_id, N_ENVS, 99, SHORT)
    assert isinstance(one, BatchVecEnv)
    assert isinstance(two, BatchVecEnv)
    one.reset()
    for chosen in actions(one, 7):
        one.step(chosen)
    state = one.get_state()
    kept = {name: leaf.copy() for name, leaf in state.items()}
    two.set_state(state)
    for chosen in actions(one):
        ours, theirs = one.step(chosen), two.step(chosen)
        for mine, other in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(mine, other)
        assert_same_infos(ours[3], [{"TimeLimit.truncated": False} | info for info in theirs[3]])
    for name, leaf in state.items():
        np.testing.assert_array_equal(leaf, kept[name])


@pytest.mark.parametrize("broken", ["monitor.returns", "monitor.lengths", "key"])
def test_a_state_that_lacks_something_is_an_error(broken: str) -> None:
    """Otherwise a resumed run continues with wrong sums."""
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, SHORT)
    assert isinstance(env, BatchVecEnv)
    env.reset()
    state = env.get_state()
    leaf = state.pop(broken)
    with pytest.raises(ValueError, match=broken.split(".")[0]):
        env.set_state(state)
    with pytest.raises(ValueError, match=broken.split(".")[0]):
        env.set_state({**state, broken: leaf[:2]})
    with pytest.raises(ValueError, match="else"):
        env.set_state({**state, broken: leaf, "else": leaf})


# Attributes and methods


def test_the_number_of_cues_changes_everywhere() -> None:
    """Otherwise a curriculum has no effect."""
    env = make_vec_env("plasticrl/CueReward-v0", N_ENVS, 5, {**SHORT, "n_cues": 2})
    env.reset()
    assert env.env_method("set_n_cues", 3) == [None] * N_ENVS
    for chosen in actions(env, LENGTH):
        env.step(chosen)
    assert isinstance(env, BatchVecEnv)
    assert (env.get_state()["n_cues"] == 3).all()


def test_attributes_are_the_batchs() -> None:
    """Otherwise ``set_attr`` has no effect, as on a wrapper."""
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, SHORT)
    assert env.get_attr("episode_length") == [LENGTH] * N_ENVS
    assert env.get_attr("episode_length", indices=[0, 2]) == [LENGTH] * 2
    env.set_attr("episode_length", 2)
    env.reset()
    assert not env.step(actions(env)[0])[2].any()
    assert env.step(actions(env)[0])[2].all()
    assert env.has_attr("episode_length")
    assert not env.has_attr("no_such_thing")


def test_a_subset_of_a_batch_is_an_error() -> None:
    """Otherwise a change meant for one environment changes all."""
    env = make_vec_env("plasticrl/CueReward-v0", N_ENVS, 5, SHORT)
    with pytest.raises(ValueError, match="set_attr"):
        env.set_attr("episode_length", 2, indices=0)
    with pytest.raises(ValueError, match="env_method"):
        env.env_method("set_n_cues", 3, indices=[0, 1])
    assert env.get_attr("episode_length") == [LENGTH] * N_ENVS
    env.set_attr("episode_length", 3, indices=range(N_ENVS))
    assert env.get_attr("episode_length") == [3] * N_ENVS


def test_reset_options_are_an_error() -> None:
    """Otherwise they would be ignored."""
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, SHORT)
    env.set_options({"start": 3})
    with pytest.raises(ValueError, match="options"):
        env.reset()


def test_it_monitors_itself() -> None:
    """Otherwise SB3 warns that the returns may be changed by wrappers."""
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, SHORT)
    assert env.env_is_wrapped(Monitor) == [True] * N_ENVS
    assert env.env_is_wrapped(HistoryObservation, indices=[1]) == [False]


def test_another_autoreset_mode_is_an_error() -> None:
    """Otherwise the first or the last observation of an episode is lost."""
    batch = gym.make_vec(ENV_IDS[0], num_envs=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="SAME_STEP"):
        BatchVecEnv(batch)  # type: ignore[arg-type]


def test_without_a_render_mode_there_are_no_pictures() -> None:
    """Otherwise a recorder gets a text or None as a picture."""
    env = make_vec_env(ENV_IDS[0], 2, 5, {**SHORT, "render_mode": "ansi"})
    env.reset()
    assert env.render_mode == "ansi"
    assert env.get_images() == [None, None]


# Making them


def test_a_wrapper_takes_single_environments() -> None:
    """Otherwise ``wrapper_class`` is ignored."""
    env = make_vec_env("CartPole-v1", 2, 5, wrapper_class=HistoryObservation)
    assert isinstance(env, DummyVecEnv)
    assert env.observation_space.shape == (4 + 2 + 2,)
    ours = make_vec_env(
        ENV_IDS[0], 2, 5, SHORT, wrapper_class=lambda one: gym.wrappers.TimeLimit(one, 3)
    )
    ours.reset()
    dones = [ours.step(np.zeros(2, int))[2].all() for _ in range(3)]
    assert dones == [False, False, True]


def test_a_foreign_environment_is_sb3s() -> None:
    """Otherwise only our own environments can be trained from the command line."""
    env = make_vec_env("CartPole-v1", 3, 5)
    assert isinstance(env, DummyVecEnv)
    assert env.env_is_wrapped(Monitor) == [True] * 3
    first, again = env.reset(), make_vec_env("CartPole-v1", 3, 5).reset()
    np.testing.assert_array_equal(first, again)


def test_a_bad_option_or_id_is_an_error() -> None:
    """Otherwise a misspelled option is ignored."""
    with pytest.raises(TypeError, match="episode_lenth"):
        make_vec_env(ENV_IDS[0], 2, 5, {"episode_lenth": 3})
    with pytest.raises(gym.error.Error, match="NoSuchThing"):
        make_vec_env("NoSuchThing-v0", 2, 5)


# Wrappers


@all_ids
@pytest.mark.parametrize(
    "wrap",
    [VecNormalize, lambda env: VecFrameStack(env, 3), VecMonitor],
    ids=["VecNormalize", "VecFrameStack", "VecMonitor"],
)
@pytest.mark.filterwarnings("ignore:The environment is already wrapped:UserWarning")
def test_sb3s_wrappers_do_the_same_around_both(env_id: str, wrap: Any) -> None:
    """Otherwise a wrapper needs an info that the batch does not give."""
    batch = wrap(make_vec_env(env_id, N_ENVS, 5, SHORT))
    reference = wrap(singles(env_id, 5))
    np.testing.assert_array_equal(batch.reset(), reference.reset())
    for chosen in actions(batch):
        ours, theirs = batch.step(chosen), reference.step(chosen)
        for mine, other in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6)
        for left, right in zip(ours[3], theirs[3], strict=True):
            if "terminal_observation" in right:
                np.testing.assert_allclose(
                    left["terminal_observation"], right["terminal_observation"], rtol=1e-6
                )
