"""The native batch as an SB3 ``VecEnv`` equals single environments, step for step."""

import csv
import json
import resource
from inspect import signature
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_util import make_vec_env as make_sb3_vec_env
from stable_baselines3.common.monitor import Monitor, load_results
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from plasticrl.agents import BatchVecEnv, make_vec_env
from plasticrl.envs import ENV_IDS, GridMaze, HistoryObservation
from plasticrl.runs import UsageError

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
    """Compare infos but the time. SB3 also sets ``TimeLimit.truncated`` where no episode ends."""
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
    """Otherwise the batch is another environment than the single ones."""
    batch, reference = make_vec_env(env_id, N_ENVS, 5, env_kwargs=SHORT), singles(env_id, 5)
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
    batch = make_vec_env("plasticrl/TMaze-v0", N_ENVS, 5, env_kwargs=options)
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
    batch, reference = make_vec_env(env_id, N_ENVS, 5, env_kwargs=SHORT), singles(env_id, 5)
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
    first, again, other = (make_vec_env(env_id, N_ENVS, s, env_kwargs=SHORT) for s in (5, 5, 6))
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
    env = make_vec_env(env_id, N_ENVS, 5, env_kwargs=SHORT)
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
    one, two = (
        make_vec_env(env_id, N_ENVS, 5, env_kwargs=SHORT),
        make_vec_env(env_id, N_ENVS, 99, env_kwargs=SHORT),
    )
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
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, env_kwargs=SHORT)
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
    env = make_vec_env("plasticrl/CueReward-v0", N_ENVS, 5, env_kwargs={**SHORT, "n_cues": 2})
    env.reset()
    assert env.env_method("set_n_cues", 3) == [None] * N_ENVS
    for chosen in actions(env, LENGTH):
        env.step(chosen)
    assert isinstance(env, BatchVecEnv)
    assert (env.get_state()["n_cues"] == 3).all()


def test_attributes_are_the_batchs() -> None:
    """Otherwise ``set_attr`` has no effect, as on a wrapper."""
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, env_kwargs=SHORT)
    assert env.get_attr("episode_length") == [LENGTH] * N_ENVS
    assert env.get_attr("episode_length", indices=[0, 2]) == [LENGTH] * 2
    env.set_attr("episode_length", 2)
    env.reset()
    assert not env.step(actions(env)[0])[2].any()
    assert env.step(actions(env)[0])[2].all()
    assert env.has_attr("episode_length")
    assert not env.has_attr("no_such_thing")


CUES = "plasticrl/CueReward-v0"
CUE_OPTIONS = {**SHORT, "n_cues": 2, "cue_bits": 4}


def cue_envs() -> tuple[VecEnv, VecEnv]:
    """A native batch, and SB3's ``DummyVecEnv`` over single environments, with the same seeds."""
    native = make_vec_env(CUES, N_ENVS, 5, env_kwargs=CUE_OPTIONS)
    separate = make_sb3_vec_env(CUES, N_ENVS, 5, env_kwargs=CUE_OPTIONS)
    assert isinstance(native, BatchVecEnv)
    return native, separate


def assert_same_steps(one: VecEnv, other: VecEnv, n_steps: int = N_STEPS) -> None:
    for chosen in actions(one, n_steps):
        ours, theirs = one.step(chosen), other.step(chosen)
        for mine, their in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(mine, their)
        assert_same_infos(ours[3], theirs[3])


def n_cues_of(native: VecEnv) -> list[int]:
    assert isinstance(native, BatchVecEnv)
    n_cues: list[int] = native.get_state()["n_cues"].tolist()
    return n_cues


@pytest.mark.parametrize("indices", [None, 2, [0, 3], [-1], range(N_ENVS), []])
def test_an_option_changes_in_single_rows(indices: Any) -> None:
    """Otherwise a change meant for one environment changes others, or is refused.

    The reference is SB3's ``DummyVecEnv``, in which each environment has its own option.
    """
    native, separate = cue_envs()
    np.testing.assert_array_equal(native.reset(), separate.reset())
    ours = native.env_method("set_n_cues", 3, indices=indices)
    assert ours == separate.env_method("set_n_cues", 3, indices=indices)
    assert_same_steps(native, separate)
    expected = [2] * N_ENVS
    for row in range(N_ENVS) if indices is None else [indices] if indices == 2 else indices:
        expected[row] = 3
    assert n_cues_of(native) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"n_cues": 4}, [4, 4, 4, 4]),
        ([{"n_cues": 3}, {}, {"n_cues": 5}, {"n_cues": 5}], [3, 2, 5, 5]),
        ([{}, {}, {}, {"n_cues": 3}], [2, 2, 2, 3]),
        ({}, [2, 2, 2, 2]),
        (None, [2, 2, 2, 2]),
    ],
)
def test_reset_options(options: Any, expected: list[int]) -> None:
    """Otherwise the options of ``set_options`` are ignored, or those of another row are used.

    The reference is SB3's ``DummyVecEnv``, which hands each environment its own options.
    """
    native, separate = cue_envs()
    for env in (native, separate):
        env.reset()
        env.set_options(options)
    np.testing.assert_array_equal(native.reset(), separate.reset())
    assert_same_steps(native, separate)
    assert n_cues_of(native) == expected
    for env in (native, separate):  # options stay after a reset
        env.env_method("set_n_cues", 6, indices=0)
    np.testing.assert_array_equal(native.reset(), separate.reset())
    assert n_cues_of(native) == [6, *expected[1:]]


@pytest.mark.parametrize(
    ("env_id", "options", "sentence"),
    [
        (ENV_IDS[0], {"start": 3}, r"unknown reset options \['start'\]: this environment has none"),
        (CUES, {"cues": 3}, r"unknown reset options \['cues'\]: this environment has n_cues"),
        (CUES, {"reset_mask": 3}, r"unknown reset options \['reset_mask'\]"),
        (CUES, {"n_cues": 1}, "n_cues must be an integer from 2 to 32, got 1"),
        (CUES, [{}], "one for each of the 4 environments, not 1"),
    ],
)
def test_reset_options_that_there_are_not(env_id: str, options: Any, sentence: str) -> None:
    """Otherwise they would be ignored."""
    env = make_vec_env(env_id, N_ENVS, 5, env_kwargs=SHORT)
    env.set_options(options)
    with pytest.raises(ValueError, match=sentence):
        env.reset()


def test_what_a_single_row_has_and_does() -> None:
    """Otherwise each environment reports what the whole batch has.

    The reference are the single environments of SB3's ``DummyVecEnv``.
    """
    options = {**SHORT, "size": 5, "render_mode": "ansi"}
    native = make_vec_env("plasticrl/GridMaze-v0", N_ENVS, 5, env_kwargs=options)
    separate = make_sb3_vec_env("plasticrl/GridMaze-v0", N_ENVS, 5, env_kwargs=options)
    for env in (native, separate):
        env.reset()
        env.step(np.arange(N_ENVS))
    for name in ("observation_space", "action_space", "render_mode"):
        assert native.get_attr(name) == separate.get_attr(name), name
    for indices, rows in ((None, range(N_ENVS)), (2, [2]), ([3, 0], [3, 0])):
        singles = [batch.agent_position[0] for batch in separate.get_attr("batch", indices)]
        np.testing.assert_array_equal(native.get_attr("agent_position", indices), singles)
        assert len(singles) == len(rows)
        for name in ("scene", "render"):
            ours = native.env_method(name, indices=indices)
            assert repr(ours) == repr(separate.env_method(name, indices=indices))
    assert len({tuple(place) for place in native.get_attr("agent_position")}) > 1
    cues = make_vec_env(CUES, N_ENVS, 5, env_kwargs=CUE_OPTIONS)
    cues.reset()
    assert [one.shape for one in cues.get_attr("cues")] == [(32, 4)] * N_ENVS


def test_what_a_single_row_cannot_have_or_do() -> None:
    """Otherwise a change meant for one environment changes all."""
    env = make_vec_env(CUES, N_ENVS, 5, env_kwargs=SHORT)
    with pytest.raises(UsageError, match="set_attr: episode_length is the same in all environm"):
        env.set_attr("episode_length", 2, indices=0)
    with pytest.raises(UsageError, match=r"env_method: close acts on all .*DummyVecEnv"):
        env.env_method("close", indices=[0, 1])
    assert env.get_attr("episode_length") == [LENGTH] * N_ENVS
    env.set_attr("episode_length", 3, indices=range(N_ENVS))
    assert env.get_attr("episode_length") == [3] * N_ENVS


def test_it_monitors_itself() -> None:
    """Otherwise SB3 warns that the returns may be changed by wrappers."""
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, env_kwargs=SHORT)
    assert env.env_is_wrapped(Monitor) == [True] * N_ENVS
    assert env.env_is_wrapped(HistoryObservation, indices=[1]) == [False]


def test_another_autoreset_mode_is_an_error() -> None:
    """Otherwise the first or the last observation of an episode is lost."""
    batch = gym.make_vec(ENV_IDS[0], num_envs=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="SAME_STEP"):
        BatchVecEnv(batch)  # type: ignore[arg-type]


def test_without_a_render_mode_there_are_no_pictures() -> None:
    """Otherwise a recorder gets a text or None as a picture."""
    env = make_vec_env(ENV_IDS[0], 2, 5, env_kwargs={**SHORT, "render_mode": "ansi"})
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
        ENV_IDS[0], 2, 5, env_kwargs=SHORT, wrapper_class=lambda one: gym.wrappers.TimeLimit(one, 3)
    )
    ours.reset()
    dones = [ours.step(np.zeros(2, int))[2].all() for _ in range(3)]
    assert dones == [False, False, True]


@pytest.mark.parametrize("env_id", ["plasticrl/GridMaze", "plasticrl.envs:plasticrl/GridMaze"])
def test_an_id_without_a_version_is_native(env_id: str) -> None:
    """Otherwise the environments are stepped one by one, and slowly."""
    assert isinstance(make_vec_env(env_id, 2), BatchVecEnv)
    wrapped = make_vec_env(env_id, 2, vec_env_cls=DummyVecEnv)
    assert isinstance(wrapped, DummyVecEnv)


def test_a_foreign_environment_is_sb3s() -> None:
    """Otherwise only our own environments can be trained from the command line."""
    env = make_vec_env("CartPole-v1", 3, 5)
    assert isinstance(env, DummyVecEnv)
    assert env.env_is_wrapped(Monitor) == [True] * 3
    first, again = env.reset(), make_vec_env("CartPole-v1", 3, 5).reset()
    np.testing.assert_array_equal(first, again)


def test_it_takes_what_sb3s_takes() -> None:
    """Otherwise a call of SB3's function has another meaning here, or fails."""
    ours = list(signature(make_vec_env).parameters.values())
    theirs = list(signature(make_sb3_vec_env).parameters.values())
    assert [(p.name, p.default) for p in ours[:-1]] == [(p.name, p.default) for p in theirs]
    assert ours[-1].name == "device"


@all_ids
def test_arguments_by_position(env_id: str, tmp_path: Path) -> None:
    """Otherwise an argument is taken for another. The reference is SB3's function."""
    native = make_vec_env(env_id, N_ENVS, 5, 2, str(tmp_path / "ours"), None, SHORT)
    separate = make_sb3_vec_env(env_id, N_ENVS, 5, 2, str(tmp_path / "theirs"), None, SHORT)
    assert isinstance(native, BatchVecEnv)
    np.testing.assert_array_equal(native.reset(), separate.reset())
    assert_same_steps(native, separate)
    sampled = [[env.action_space.sample() for _ in range(50)] for env in (native, separate)]
    assert sampled[0] == sampled[1]
    separate.close()  # its files


@pytest.mark.parametrize(
    ("env_id", "arguments"),
    [
        (ENV_IDS[0], {"vec_env_cls": DummyVecEnv}),
        (f"plasticrl.envs:{ENV_IDS[0]}", {"vec_env_cls": DummyVecEnv}),
        (ENV_IDS[0], {"wrapper_class": lambda env: env}),
        (GridMaze, {}),
        (lambda **options: gym.make(ENV_IDS[0], **options), {}),
    ],
)
def test_separate_environments_are_the_same(env_id: Any, arguments: dict[str, Any]) -> None:
    """Otherwise the argument is ignored, or the environments are others than in a native batch."""
    separate = make_vec_env(env_id, N_ENVS, 5, env_kwargs=SHORT, **arguments)
    native = make_vec_env(f"plasticrl.envs:{ENV_IDS[0]}", N_ENVS, 5, env_kwargs=SHORT)
    assert isinstance(separate, DummyVecEnv)
    assert isinstance(native, BatchVecEnv)
    np.testing.assert_array_equal(native.reset(), separate.reset())
    assert_same_steps(native, separate)


def test_the_wrappers_options() -> None:
    """Otherwise they are ignored."""
    limit = {"wrapper_class": gym.wrappers.TimeLimit, "wrapper_kwargs": {"max_episode_steps": 3}}
    env = make_vec_env(ENV_IDS[0], N_ENVS, 5, **limit)  # type: ignore[arg-type]
    env.reset()
    assert [env.step(chosen)[2].all() for chosen in actions(env, 6)] == [False, False, True] * 2
    with pytest.raises(UsageError, match="give a wrapper_class too"):
        make_vec_env(ENV_IDS[0], N_ENVS, 5, wrapper_kwargs={"max_episode_steps": 3})


def test_the_limit_of_steps() -> None:
    """Otherwise ``max_episode_steps`` is ignored in a native batch, or the info is another."""
    options = {"size": 5, "max_episode_steps": 4}
    native = make_vec_env("plasticrl/GridMaze-v0", N_ENVS, 5, env_kwargs=options)
    separate = make_sb3_vec_env("plasticrl/GridMaze-v0", N_ENVS, 5, env_kwargs=options)
    np.testing.assert_array_equal(native.reset(), separate.reset())
    assert_same_steps(native, separate)
    assert native.env_method("scene")  # of the separate environments it is behind the limit


def test_a_device_that_is_for_a_native_batch() -> None:
    """Otherwise the option is ignored."""
    with pytest.raises(UsageError, match="needs a native batch, and wrapper_class asks for sep"):
        make_vec_env(ENV_IDS[0], 2, wrapper_class=lambda env: env, device="cpu")


# Files of the episodes


def episodes_in(folder: Path) -> dict[str, Any]:
    """The header's id and the lines, without times, of each monitor file by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        first, *rows = path.read_text().splitlines()
        header = json.loads(first.removeprefix("#"))
        assert header.keys() == {"t_start", "env_id"}
        lines = list(csv.DictReader(rows))
        assert all(0 <= float(line.pop("t")) < 600 for line in lines)
        found[path.name] = header["env_id"], rows[0], lines
    return found


@pytest.mark.parametrize(
    ("env_id", "options", "keywords"),
    [
        ("plasticrl/GridMaze-v0", {"size": 5, "wall_penalty": 0.1}, ()),
        ("plasticrl/TMaze-v0", {"corridor_length": 1}, ()),
        (CUES, {"n_cues": 2}, ("trials",)),
    ],
)
def test_the_files_are_those_of_sb3s_monitor(
    env_id: str, options: dict[str, Any], keywords: tuple[str, ...], tmp_path: Path
) -> None:
    """Otherwise SB3's tools read no episodes, or wrong ones. The reference is SB3's function."""
    chosen = {"start_index": 3, "env_kwargs": {**SHORT, **options}}
    for part in (0, 1):
        monitor = {"info_keywords": keywords, "override_existing": part == 0}
        pair = [
            make(
                env_id,
                N_ENVS,
                5,
                monitor_dir=str(tmp_path / name),
                **chosen,
                monitor_kwargs=monitor,
            )
            for name, make in (("ours", make_vec_env), ("theirs", make_sb3_vec_env))
        ]
        for env in pair:
            env.reset()
        assert_same_steps(*pair)
        pair[1].close()  # its files
    ours, theirs = episodes_in(tmp_path / "ours"), episodes_in(tmp_path / "theirs")
    assert ours == theirs
    assert list(ours) == [f"{rank}.monitor.csv" for rank in (3, 4, 5, 6)]
    assert all(len(lines) >= 6 for _, _, lines in ours.values())


def test_load_results_reads_the_files(tmp_path: Path) -> None:
    """Otherwise SB3's tools read no episodes, or wrong ones.

    The returns are worked out by hand: with the corridor's length of 1, "right" leads to the
    junction, and "up" there to +1 if the cue was "up" and else to -1, after 2 steps.
    """
    pytest.importorskip("pandas", reason="load_results needs pandas, not a dependency")
    env = make_vec_env(
        "plasticrl/TMaze-v0", 8, 5, monitor_dir=str(tmp_path), env_kwargs={"corridor_length": 1}
    )
    obs, returns = env.reset(), []
    for _ in range(3):
        assert isinstance(obs, np.ndarray)
        returns += np.where(obs[:, 0] == 1, 1.0, -1.0).tolist()
        env.step(np.full(8, 3))
        obs = env.step(np.zeros(8, int))[0]
    results = load_results(str(tmp_path))
    assert sorted(results["r"]) == sorted(returns)
    assert len(returns) == 24
    assert set(returns) == {1.0, -1.0}
    assert results["l"].tolist() == [2] * 24


def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    """Otherwise a batch of some thousand environments cannot be monitored."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        env = make_vec_env(
            ENV_IDS[0], 300, 5, monitor_dir=str(tmp_path), env_kwargs={"episode_length": 1}
        )
        env.reset()
        env.step(np.zeros(300, int))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(episodes_in(tmp_path)) == 300
    assert all(len(lines) == 1 for _, _, lines in episodes_in(tmp_path).values())


def test_options_of_the_monitor() -> None:
    """Otherwise they are ignored, or fail only when the first episode ends."""
    early = {"allow_early_resets": False}
    for make in (make_vec_env, make_sb3_vec_env):
        env = make(ENV_IDS[0], 2, 5, monitor_kwargs=early)
        env.reset()
        with pytest.raises(RuntimeError, match="allow_early_resets"):
            env.reset()
    with pytest.raises(UsageError, match=r"there is no trials in the info .*, which has none"):
        make_vec_env(ENV_IDS[0], 2, 5, monitor_kwargs={"info_keywords": ("trials",)})
    with pytest.raises(TypeError, match="info_keyword"):
        make_vec_env(ENV_IDS[0], 2, 5, monitor_kwargs={"info_keyword": ("trials",)})
    env = make_vec_env(ENV_IDS[0], 2, 5, monitor_kwargs={"reset_keywords": ("options",)})
    with pytest.raises(ValueError, match="Expected you to pass keyword argument options"):
        env.reset()


def test_a_bad_option_or_id_is_an_error() -> None:
    """Otherwise a misspelled option is ignored."""
    with pytest.raises(TypeError, match="episode_lenth"):
        make_vec_env(ENV_IDS[0], 2, 5, env_kwargs={"episode_lenth": 3})
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
    batch = wrap(make_vec_env(env_id, N_ENVS, 5, env_kwargs=SHORT))
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


@pytest.mark.parametrize("env_id", ["plasticrl/GridMaze-v0", "CartPole-v1"])
@pytest.mark.parametrize("n_envs", [0, 1.5, "2", True])
def test_a_number_of_environments_that_cannot_be(env_id: str, n_envs: Any) -> None:
    with pytest.raises(UsageError, match="n_envs must be an integer of at least 1, not "):
        make_vec_env(env_id, n_envs)
