"""Several episodes as one lifetime, on environments whose steps are counted by hand."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from plasticrl.agents import Curriculum, RecurrentA2C
from plasticrl.envs import ArgumentError, HistoryObservation, Trials


class Counter(gym.Env[Any, Any]):
    """Episode e has e + 1 steps; step s observes 10 e + s and earns s + 10 action.

    Odd episodes terminate, even ones are truncated.
    """

    observation_space = spaces.Box(0, 99, (1,), np.float32)
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": ["ansi"], "render_fps": 3}  # noqa: RUF012
    render_mode = "ansi"

    def __init__(self) -> None:
        self.episode = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode = 1 if seed is not None else self.episode + 1
        self.count = 0
        return self._observe(), {"start": self.episode}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        ended = self.count > self.episode
        odd = self.episode % 2 == 1
        reward = float(self.count + 10 * action)
        return self._observe(), reward, ended and odd, ended and not odd, {"count": self.count}

    def render(self) -> str:
        return str(self._observe()[0])

    def _observe(self) -> Any:
        return np.array([10 * self.episode + self.count], dtype=np.float32)


class Sampler(gym.Env[Any, Any]):
    """Episodes of three steps, with samples of a space as observations; step s earns s / 2."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observation_space.sample(), self.steps / 2, self.steps == 3, False, {}


class Bandit(gym.Env[Any, Any]):
    """An episode is one pull; a reset draws which arm pays, unless ``new_task`` is False."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.options: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.options.append(options)
        if (options or {}).get("new_task", True):
            self.paying = int(self.np_random.integers(2))
        return np.ones(1, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.ones(1, dtype=np.float32), float(action == self.paying), True, False, {}


def test_a_lifetime_by_hand() -> None:
    """Observation, end of a trial, reward, action; two trials of two and three steps."""
    env = Trials(Counter(), 2)
    first, info = env.reset(seed=0)
    assert first.tolist() == [10, 0, 0, 0, 0]
    assert info == {"start": 1}
    steps = [env.step(action) for action in (1, 0, 1, 1, 0)]
    assert [step[0].tolist() for step in steps] == [
        [11, 0, 11, 0, 1],
        [20, 1, 2, 1, 0],  # the second trial's first observation
        [21, 0, 11, 0, 1],
        [22, 0, 12, 0, 1],
        [23, 1, 3, 1, 0],  # the lifetime's last
    ]
    assert [step[1] for step in steps] == [11, 2, 11, 12, 3]
    assert [step[2:4] for step in steps] == [(False, False)] * 4 + [(False, True)]
    infos = [step[4] for step in steps]
    between = infos.pop(1)
    assert between.pop("final_obs").tolist() == [12]
    assert between == {"start": 2, "final_info": {"count": 2}}
    last = infos.pop()
    assert last.pop("trial_rewards").tolist() == [13, 26]
    assert last.pop("trial_lengths").tolist() == [2, 3]
    assert last == {"count": 3, "trials": 2}
    assert infos == [{"count": 1}, {"count": 1}, {"count": 2}]


@pytest.mark.parametrize(("n_trials", "ends"), [(1, (True, False)), (2, (False, True))])
def test_the_last_trial_decides_how_the_lifetime_ends(n_trials: int, ends: Any) -> None:
    env = Trials(Counter(), n_trials)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range((2, 5)[n_trials - 1])]
    assert [step[2:4] for step in steps] == [(False, False)] * (len(steps) - 1) + [ends]


def test_the_second_lifetime_starts_afresh() -> None:
    """Episode 3 ends after 4 steps, episode 4 after 5; nothing of the first lifetime is counted."""
    env = Trials(Counter(), 2)
    env.reset(seed=0)
    for _ in range(5):
        env.step(1)
    first, _ = env.reset()
    assert first.tolist() == [30, 0, 0, 0, 0]
    *_, last = (env.step(0) for _ in range(9))
    assert last[2:4] == (False, True)
    assert last[4]["trial_rewards"].tolist() == [10, 15]
    assert last[4]["trial_lengths"].tolist() == [4, 5]


def test_a_lifetime_can_be_left_in_a_trial() -> None:
    env = Trials(Counter(), 2)
    env.reset(seed=0)
    env.step(1)
    assert env.reset(seed=0)[0].tolist() == [10, 0, 0, 0, 0]
    *_, last = (env.step(0) for _ in range(5))
    assert last[4]["trial_rewards"].tolist() == [3, 6]


def test_a_step_outside_of_a_lifetime_is_refused() -> None:
    env = Trials(Counter(), 1)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    env.step(0)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)


SPACES = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "doubles": spaces.Box(-1, 1, (3,), np.float64),
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "integers": spaces.Box(0, 9, (3,), np.int64),
    "discrete": spaces.Discrete(5),
    "bits": spaces.MultiBinary(4),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "dict": spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2,), np.float32)}),
}


@pytest.mark.parametrize("kind", SPACES)
def test_observations_are_those_of_the_environment_reset_by_hand(kind: str) -> None:
    env = Trials(Sampler(SPACES[kind], spaces.Discrete(2)), 3)
    bare = Sampler(SPACES[kind], spaces.Discrete(2))
    seen = [env.reset(seed=5)[0], *(env.step(1)[0] for _ in range(9))]
    expected = [bare.reset(seed=5)[0]]
    for step in range(1, 10):
        observation = bare.step(1)[0]
        expected.append(bare.reset()[0] if step in (3, 6) else observation)
    for step, (mine, its) in enumerate(zip(seen, expected, strict=True)):
        assert env.observation_space.contains(mine)
        reward = ((step - 1) % 3 + 1) / 2 if step else 0
        added = [float(step in (3, 6, 9)), reward, 0, float(step > 0)]
        if kind in ("vector", "doubles"):
            assert mine.dtype == its.dtype
            assert mine.tolist() == [*its.tolist(), *added]
            continue
        assert set(mine) == {"observation", "action", "reward", "trial_ended"}
        assert str(mine["observation"]) == str(its)
        parts = (mine["trial_ended"], mine["reward"], mine["action"])
        assert np.concatenate(parts).tolist() == added


# What the checkers say of any wrapper, of a reward without bounds and of a time limit.
warnings = [
    "ignore:.*is different from the unwrapped version",
    "ignore:.*(minimum|maximum) value is -?infinity",
    "ignore:.*Not able to test alternative render modes",
    "ignore:Nested observation spaces are not supported",
]
checked = pytest.mark.filterwarnings(*warnings)


@checked
@pytest.mark.parametrize("kind", SPACES)
def test_check_env(kind: str) -> None:
    check_env(Trials(Sampler(SPACES[kind], spaces.Discrete(2)), 2))
    sb3_check_env(Trials(Sampler(SPACES[kind], spaces.Discrete(2)), 2))


@checked
def test_check_env_on_cartpole() -> None:
    check_env(Trials(gym.make("CartPole-v1"), 2), skip_render_check=True)
    sb3_check_env(Trials(gym.make("CartPole-v1"), 2))


def pays(env: Any, **given: Any) -> list[int]:
    """Play a lifetime of four pulls of arm 1; return the rewards, which say which arm paid."""
    env.reset(**given)
    return [int(env.step(1)[1]) for _ in range(4)]


def test_trial_options_keep_the_task_within_a_lifetime() -> None:
    env = Trials(Bandit(), 4, {"new_task": False})
    lifetimes = [pays(env, seed=7), *(pays(env) for _ in range(19))]
    assert {tuple(lifetime) for lifetime in lifetimes} == {(0, 0, 0, 0), (1, 1, 1, 1)}


def test_without_trial_options_the_environment_redraws_its_task() -> None:
    bandit = Bandit()
    bandit.reset(seed=8)
    drawn = [bandit.paying]
    for _ in range(7):
        bandit.reset()
        drawn.append(bandit.paying)
    assert set(drawn[:4]) == {0, 1}
    env = Trials(Bandit(), 4)
    assert pays(env, seed=8) + pays(env) == drawn


def test_a_seed_determines_all_lifetimes() -> None:
    def play(seed: int) -> list[list[int]]:
        env = Trials(Bandit(), 4)
        return [pays(env, seed=seed), *(pays(env) for _ in range(4))]

    assert play(3) == play(3)
    assert play(3) != play(4)
    assert len({tuple(lifetime) for lifetime in play(3)}) > 1


@pytest.mark.parametrize(
    ("given", "trial_options", "expected"),
    [
        (None, None, [None, None, None]),
        ({"a": 1}, None, [{"a": 1}] * 3),
        (None, {"b": 2}, [None, {"b": 2}, {"b": 2}]),
        ({"a": 1, "b": 1}, {"b": 2}, [{"a": 1, "b": 1}, *[{"a": 1, "b": 2}] * 2]),
    ],
)
def test_options_of_each_reset(given: Any, trial_options: Any, expected: Any) -> None:
    bandit = Bandit()
    env = Trials(bandit, 3, trial_options)
    env.reset(seed=0, options=given)
    for _ in range(3):
        env.step(0)
    assert bandit.options == expected


def test_an_environment_that_knows_no_options() -> None:
    """Environments of this package refuse any; the maze's five steps make a trial."""
    env = Trials(gym.make("plasticrl/GridMaze-v0", size=5, episode_length=5), 3)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(15)]
    assert [step[3] for step in steps] == [False] * 14 + [True]
    assert steps[-1][4]["trial_lengths"].tolist() == [5, 5, 5]


def test_a_trial_that_never_ends_is_the_lifetime() -> None:
    env = Trials(gym.make("Pendulum-v1", max_episode_steps=-1), 2)
    env.reset(seed=0)
    steps = [env.step(env.action_space.sample()) for _ in range(500)]
    assert not any(step[2] or step[3] or step[0][3] for step in steps)


def test_history_within_trials() -> None:
    """Time is within a trial: its observation, time, reward and action start again."""
    env = Trials(HistoryObservation(Counter(), horizon=4), 2)
    seen = [env.reset(seed=0)[0], *(env.step(1)[0] for _ in range(3))]
    assert [row.tolist() for row in seen] == [
        [10, 0, 0, 0, 0, 0, 0, 0, 0],
        [11, 0.25, 11, 0, 1, 0, 11, 0, 1],
        [20, 0, 0, 0, 0, 1, 12, 0, 1],
        [21, 0.25, 11, 0, 1, 0, 11, 0, 1],
    ]


def test_history_around_trials() -> None:
    """Time is within the lifetime."""
    env = HistoryObservation(Trials(Counter(), 2), horizon=4)
    seen = [env.reset(seed=0)[0], *(env.step(1)[0] for _ in range(3))]
    assert [row.tolist() for row in seen] == [
        [10, 0, 0, 0, 0, 0, 0, 0, 0],
        [11, 0, 11, 0, 1, 0.25, 11, 0, 1],
        [20, 1, 12, 0, 1, 0.5, 12, 0, 1],
        [21, 0, 11, 0, 1, 0.75, 11, 0, 1],
    ]


def test_the_default_horizon_is_the_longest_episode() -> None:
    """An episode of CartPole-v1 has at most 500 steps."""
    cart_pole = partial(gym.make, "CartPole-v1")
    assert HistoryObservation(Trials(cart_pole(), 3)).horizon == 1500
    assert HistoryObservation(Trials(Trials(cart_pole(), 3), 2)).horizon == 3000
    assert HistoryObservation(TimeLimit(Trials(cart_pole(), 3), 700)).horizon == 700
    within = Trials(HistoryObservation(cart_pole()), 3).env
    assert isinstance(within, HistoryObservation)
    assert within.horizon == 500


def test_spec_remakes_the_wrapper() -> None:
    env = Trials(HistoryObservation(gym.make("CartPole-v1")), 4, {"low": -0.01})
    assert env.spec is not None
    again = gym.make(env.spec)
    assert isinstance(again, Trials)
    assert again.n_trials == 4
    assert again.observation_space == env.observation_space
    np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])
    done = False
    while not done:
        mine, _, *ends, info = env.step(1)
        np.testing.assert_array_equal(again.step(1)[0], mine)
        done = any(ends)
    assert info["trials"] == 4


def test_pictures_and_metadata_are_those_of_the_environment() -> None:
    env = Trials(Counter(), 2)
    assert (env.metadata, env.render_mode) == (Counter.metadata, "ansi")
    env.reset(seed=0)
    assert env.render() == "10.0"
    env.step(0)
    env.step(0)
    assert env.render() == "20.0"  # the next trial has begun


@pytest.mark.parametrize("n_trials", [0, -1, True, 1.5, "3", None, float("nan")])
def test_bad_n_trials(n_trials: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^n_trials must be an integer of at least 1, got"):
        Trials(Counter(), n_trials)


@pytest.mark.parametrize("options", [True, "new_task", ["new_task"]])
def test_bad_trial_options(options: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^trial_options must be None or a dict.*got"):
        Trials(Counter(), 2, options)


def test_other_action_spaces_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^the action space must be.*Text"):
        Trials(Sampler(SPACES["vector"], spaces.Text(3)), 2)


@pytest.mark.parametrize("recorder", [Monitor, RecordEpisodeStatistics])
def test_a_recorder_within_reports_the_lifetime(recorder: Any) -> None:
    """SB3's ``make_vec_env`` puts its ``Monitor`` inside of a ``wrapper_class``."""
    env = Trials(recorder(Counter()), 2)
    env.reset(seed=0)
    infos = [env.step(action)[4] for action in (1, 0, 1, 1, 0)]
    assert ["episode" in info for info in infos] == [False] * 4 + [True]
    assert (infos[-1]["episode"]["r"], infos[-1]["episode"]["l"]) == (39, 5)
    first = infos[1]["final_info"]["episode"]
    assert (first["r"], first["l"]) == (13, 2)


@pytest.mark.parametrize("outside", [True, False], ids=["Monitor outside", "Monitor within"])
def test_reward_per_trial_of_a_curriculum(outside: bool) -> None:
    """Arm 1 pays in half of the tasks: the lifetimes' rewards are 4 and 0 in 4 trials each."""
    wrap = partial(Trials, n_trials=4, trial_options={"new_task": False})
    env: Any = (
        DummyVecEnv([lambda: Monitor(wrap(Bandit()))])
        if outside
        else make_vec_env(Bandit, 1, wrapper_class=wrap)
    )
    env.seed(0)
    env.reset()
    curriculum = Curriculum("n_arms", (2,), threshold=1)
    payments = []
    for _ in range(40):
        _, rewards, dones, infos = env.step([1])
        payments.append(rewards[0])
        curriculum.locals = {"dones": dones, "infos": infos}
        curriculum._on_step()
    expected = [(float(sum(payments[k : k + 4])), 4) for k in range(0, 40, 4)]
    assert set(expected) == {(0, 4), (4, 4)}
    assert list(curriculum.window) == expected


def test_a_lifetime_is_one_episode_of_a_vec_env() -> None:
    """The row is reset after five steps, not after two; nine more make the next lifetime."""
    env = DummyVecEnv([lambda: Trials(Counter(), 2)])
    env.seed(0)
    assert env.reset().tolist() == [[10, 0, 0, 0, 0]]
    steps = [env.step(np.array([0])) for _ in range(14)]
    assert [step for step, (_, _, dones, _) in enumerate(steps, 1) if dones[0]] == [5, 14]
    assert steps[4][0].tolist() == [[30, 0, 0, 0, 0]]
    info = steps[4][3][0]
    assert info["terminal_observation"].tolist() == [23, 1, 3, 1, 0]
    assert info["TimeLimit.truncated"]


def test_recurrent_a2c_trains_on_lifetimes() -> None:
    """Twelve steps of two rows are three lifetimes of four pulls in each."""
    wrap = partial(Trials, n_trials=4, trial_options={"new_task": False})
    env = make_vec_env(Bandit, 2, seed=0, wrapper_class=wrap)
    model = RecurrentA2C("PlasticPolicy", env, n_steps=12, seed=0, device="cpu")
    before = {name: weight.clone() for name, weight in model.policy.state_dict().items()}
    model.learn(24)
    assert model.ep_info_buffer is not None
    assert [episode["l"] for episode in model.ep_info_buffer] == [4] * 6
    assert any((weight != before[name]).any() for name, weight in model.policy.state_dict().items())
