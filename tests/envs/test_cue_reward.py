"""Cue-reward: the parts of a trial, the distributions of draws, the players' rewards."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from plasticrl.envs import CueReward, CueRewardBatch, HistoryObservation


def play(batch: CueRewardBatch, policy: str, seed: int = 0) -> tuple[Any, Any, Any]:
    """Play one episode; return observations (T + 1, B, F), rewards (T, B) and trials (B,)."""
    observation, info = batch.reset(seed=seed)
    seen, rewards = [observation], []
    for _ in range(batch.episode_length):
        answer = batch.state.world.target_shown if policy == "oracle" else np.zeros(batch.num_envs)
        observation, reward, _, truncated, info = batch.step(answer.astype(np.int64))
        seen.append(observation)
        rewards.append(reward)
    assert truncated.all()
    assert info["_trials"].all()
    return np.array(seen), np.array(rewards), info["trials"]


def trials_of(seen: Any, bits: int) -> list[Any]:
    """Cut one row's observations (T, F) into trials, each from its first to its last blank."""
    ends = np.flatnonzero(seen[:, bits]) + 1  # the go steps and the blanks after them
    starts = [0, *(ends[:-1] + 1)]
    return [seen[start : end + 1] for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize(("episode_length", "optimum"), [(120, 0.89), (200, 0.93)])
def test_an_ideal_observer_gets_the_stated_optimum(episode_length: int, optimum: float) -> None:
    """Otherwise an agent is compared with a reward that it cannot reach, or can exceed.

    The first answer is a guess, worth 0. Each answer halves the candidates from four to two, and
    later identifies the target if the two cues shown are not both or neither of the candidates,
    which has probability 2/3. So the expected loss is 1 + 2/3 (1 + 1/3 + 1/9 + ...) = 2.
    """
    n_rows, n_cues = 4000, 4
    batch = CueRewardBatch(n_rows, n_cues=n_cues, episode_length=episode_length)
    observation, _ = batch.reset(seed=0)
    cues = batch.cues[:, :n_cues]
    is_candidate = np.ones((n_rows, n_cues), dtype=bool)
    shown = np.zeros((n_rows, n_cues), dtype=bool)
    total, n_trials = np.zeros(n_rows), np.zeros(n_rows)
    for _ in range(episode_length):
        in_sight = observation[:, None, :20] == cues
        shown |= in_sight.all(axis=2)
        go = observation[:, 20] > 0
        belief = is_candidate / is_candidate.sum(axis=1, keepdims=True)
        answer = (belief * shown).sum(axis=1) > 0.5
        observation, reward, *_ = batch.step(answer.astype(np.int64))
        was_shown = answer == (reward > 0)
        is_candidate[go] &= (shown == was_shown[:, None])[go]
        shown[go] = False
        total, n_trials = total + reward, n_trials + go
    mean_trials = n_trials.mean()
    standard_error = total.std() / np.sqrt(n_rows)
    assert total.mean() == pytest.approx(mean_trials - 2, abs=4 * standard_error)
    assert total.mean() / mean_trials == pytest.approx(optimum, abs=0.01)


@pytest.mark.parametrize(("n_cues", "bits"), [(4, 20), (2, 1), (3, 2), (5, 8)])
def test_trial_structure(n_cues: int, bits: int) -> None:
    """Otherwise a trial would lack a part or repeat a cue, or its length would not be uniform."""
    batch = CueRewardBatch(60, n_cues=n_cues, cue_bits=bits, episode_length=400)
    seen, _, _ = play(batch, "oracle")
    lengths: list[int] = []
    places: list[int] = []
    for row in range(60):
        known = {tuple(cue) for cue in batch.cues[row, :n_cues].tolist()}
        assert len(known) == n_cues, "the cues are distinct"
        assert all(set(cue) <= {-1.0, 1.0} for cue in known)
        for trial in trials_of(seen[:-2, row], bits)[:-1]:
            cues, go = trial[:, :bits], trial[:, bits]
            shown = [tuple(cue) for cue in cues.tolist() if any(cue)]
            assert len(shown) == len(set(shown)) == n_cues // 2
            assert set(shown) <= known
            assert not cues[[0, -2, -1]].any()
            assert go.tolist() == [0] * (len(trial) - 2) + [1, 0]
            lengths.append(len(trial))
            places += (np.flatnonzero(cues.any(axis=1)) / (len(trial) - 3)).tolist()
    shortest = n_cues // 2 + 3
    counts = np.bincount(lengths)[shortest:] / len(lengths)
    assert len(counts) == n_cues
    assert np.abs(counts - 1 / n_cues).max() < 0.03
    assert counts.sum() == pytest.approx(1), "none is shorter"
    assert max(places) == 1.0


def test_papers_lengths() -> None:
    """Otherwise a trial with 4 cues has not 5 to 8 steps, or another number of extra blanks."""
    for extra, expected in ((None, {5, 6, 7, 8}), (0, {5}), (2, {5, 6, 7})):
        batch = CueRewardBatch(30, max_extra_blanks=extra)
        seen, _, _ = play(batch, "oracle")
        found = {int(gap) for row in range(30) for gap in np.diff(_starts(seen[:, row]))}
        assert found == expected


def _starts(seen: Any) -> Any:
    """Return the first steps of the trials, each two after a go."""
    return [0, *(np.flatnonzero(seen[:, 20]) + 2)]


def test_every_place_and_every_cue_is_as_likely() -> None:
    """Otherwise a place or an ordered pair of cues is more frequent than others."""
    n = 20_000
    batch = CueRewardBatch(n, max_extra_blanks=1)
    batch.reset(seed=1)
    taken, cues = np.zeros(6), np.zeros(4)
    pairs = np.zeros((4, 4))
    last = np.full(n, -1)
    for _ in range(4):
        batch.step(np.zeros(n, dtype=np.int64))
        state = batch.get_state()
        long = state["length"] == 6
        shows = long & (state["cue"] >= 0)
        taken += np.bincount(state["place"][shows], minlength=6)
        cues += np.bincount(state["cue"][shows], minlength=4)
        second = shows & (state["shown"] == 2)
        np.add.at(pairs, (last[second], state["cue"][second]), 1)
        last = np.where(shows, state["cue"], last)
    assert taken[[0, 4, 5]].tolist() == [0, 0, 0]
    assert np.abs(taken[1:4] / taken.sum() - 1 / 3).max() < 0.015
    assert np.abs(cues / cues.sum() - 1 / 4).max() < 0.015
    assert np.abs(pairs[~np.eye(4, dtype=bool)] / pairs.sum() - 1 / 12).max() < 0.01
    assert np.trace(pairs) == 0


@pytest.mark.parametrize(("bits", "n_cues"), [(1, 2), (2, 3), (2, 4), (3, 4)])
def test_every_set_of_cues_is_as_likely(bits: int, n_cues: int) -> None:
    """Otherwise cues would be equal or not uniform, in particular where every code is a cue."""
    batch = CueRewardBatch(20_000, cue_bits=bits, n_cues=n_cues)
    batch.reset(seed=2)
    state = batch.get_state()
    codes = np.sort(state["cues"][:, :n_cues], axis=1)
    assert (np.diff(codes, axis=1) > 0).all()
    assert codes.min() == 0
    assert codes.max() == 2**bits - 1
    sets, counts = np.unique(codes, axis=0, return_counts=True)
    assert len(sets) == {1: 1, 2: 4 if n_cues == 3 else 1, 3: 70}[bits]
    assert np.abs(counts / 20_000 * len(sets) - 1).max() < 0.25
    targets = np.bincount(state["target"], minlength=n_cues) / 20_000
    assert np.abs(targets - 1 / n_cues).max() < 0.015


def test_cues_are_new_in_each_episode_and_one_hot_ones_are_not() -> None:
    batch = CueRewardBatch(4)
    batch.reset(seed=0)
    first = batch.cues
    batch.reset()
    assert (first[:, :4] != batch.cues[:, :4]).any(axis=(1, 2)).all()
    fixed = CueRewardBatch(4, cue_kind="one_hot", cue_bits=6)
    seen, _, _ = play(fixed, "zero")
    shown = seen[..., :6][seen[..., :6].any(axis=-1)]
    assert {tuple(cue) for cue in shown.tolist()} == {tuple(cue) for cue in np.eye(4, 6).tolist()}
    assert fixed.observation_space.contains(seen[5])


def test_perfect_play_is_paid_one_a_trial() -> None:
    _, rewards, trials = play(CueRewardBatch(200), "oracle")
    np.testing.assert_array_equal(rewards.sum(axis=0), trials)
    assert set(np.unique(rewards)) == {0.0, 1.0}
    assert trials.min() >= 120 // 8 - 1
    assert trials.max() <= 120 // 5


@pytest.mark.parametrize("n_cues", [2, 3, 4, 5])
def test_always_zero_is_paid_by_how_often_the_target_is_absent(n_cues: int) -> None:
    """Otherwise a constant answer would not earn P(absent) - P(shown) = 1 - 2 (n // 2) / n."""
    _, rewards, trials = play(CueRewardBatch(3_000, n_cues=n_cues), "zero")
    expected = 1 - 2 * (n_cues // 2) / n_cues
    assert rewards.sum() / trials.sum() == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_rewards_are_flipped_as_often_as_asked(probability: float) -> None:
    _, rewards, trials = play(CueRewardBatch(2_000, reward_flip_probability=probability), "oracle")
    answered = rewards[rewards != 0]
    assert len(answered) == trials.sum()
    assert (answered < 0).mean() == pytest.approx(probability, abs=0.01)


def test_reward_is_for_the_action_at_the_go_step_and_seen_at_the_next() -> None:
    env = CueReward()
    observation, _ = env.reset(seed=4)
    assert observation[20:].tolist() == [0, 1, 0, 0, 0, 0, 0]
    for step in range(1, 120):
        go, shown = observation[20] == 1, bool(env.batch.state.world.target_shown[0])
        action = step % 2
        observation, reward, *_, info = env.step(np.int64(action))
        assert reward == (0 if not go else 1 if (action == 1) == shown else -1)
        assert observation[23] == reward
        assert observation[22] == np.float32(step / 120)
        assert observation[25:].tolist() == [1 - action, action]
        assert info == {}
    *_, truncated, info = env.step(np.int64(0))
    assert truncated
    assert type(info["trials"]) is int


@pytest.mark.parametrize("seed", [0, 1])
def test_target_is_what_the_rewards_say(seed: int) -> None:
    """Play from observations alone, by the cues that agree with every reward so far."""
    env = CueReward(episode_length=400)
    observation, _ = env.reset(seed=seed)
    candidates = {tuple(cue) for cue in env.batch.cues[0, :4].tolist()}
    shown: set[Any] = set()
    late = []
    for step in range(400):
        cue = tuple(observation[:20].tolist())
        shown |= {cue} if any(cue) else set()
        action = int(len(candidates & shown) * 2 > len(candidates))
        go = observation[20] == 1
        observation, reward, *_ = env.step(np.int64(action))
        if go:
            in_shown = (action == 1) == (reward > 0)
            candidates = candidates & shown if in_shown else candidates - shown
            late += [reward] if step > 150 else []
            shown = set()
    assert len(candidates) == 1
    assert set(late) == {1.0}


def test_curriculum_waits_for_the_next_episode() -> None:
    batch = CueRewardBatch(6, n_cues=2, cue_bits=6, episode_length=20)
    batch.reset(seed=0)
    for _ in range(5):
        batch.step(np.zeros(6, dtype=np.int64))
    batch.reset(options={"reset_mask": np.arange(6) < 3})
    space = batch.observation_space
    batch.set_n_cues(4)
    for _ in range(16):  # rows 3 to 5 have begun anew, rows 0 to 2 not
        batch.step(np.zeros(6, dtype=np.int64))
    assert batch.state.world.n_cues.tolist() == [2, 2, 2, 4, 4, 4]
    for _ in range(5):
        batch.step(np.zeros(6, dtype=np.int64))
    assert batch.state.world.n_cues.tolist() == [4] * 6
    assert batch.observation_space == space
    other = CueRewardBatch(6, n_cues=2, cue_bits=6, episode_length=20)
    other.set_state(batch.get_state())
    assert other.state.world.n_cues.tolist() == [4] * 6


def test_curriculum_before_the_first_reset() -> None:
    batch = CueRewardBatch(2, n_cues=4)
    batch.set_n_cues(2)
    batch.reset(seed=0)
    assert batch.state.world.n_cues.tolist() == [2, 2]


def test_curriculum_reaches_through_wrappers() -> None:
    def make() -> Any:
        return HistoryObservation(gym.make("plasticrl/CueReward-v0"), horizon=120)

    vec = DummyVecEnv([make, make])
    vec.reset()
    vec.env_method("set_n_cues", 2)
    vec.reset()
    for env in vec.envs:
        assert env.unwrapped.batch.state.world.n_cues.tolist() == [2]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "name", "right"),
    [
        ({"n_cues": 1}, "n_cues", "2 to 32"),
        ({"n_cues": 33}, "n_cues", "2 to 32"),
        ({"n_cues": 4.0}, "n_cues", "integer"),
        ({"n_cues": 5, "cue_bits": 2}, "n_cues", "at most 4"),
        ({"n_cues": 5, "cue_bits": 4, "cue_kind": "one_hot"}, "n_cues", "at most 4"),
        ({"cue_bits": 0}, "cue_bits", "1 to 52"),
        ({"cue_bits": 53}, "cue_bits", "1 to 52"),
        ({"cue_bits": 0, "cue_kind": "one_hot"}, "cue_bits", "from 1 to 10000"),
        ({"reward_flip_probability": 1.1}, "reward_flip_probability", "at most 1"),
        ({"reward_flip_probability": -0.1}, "reward_flip_probability", "at least 0"),
        ({"reward_flip_probability": float("nan")}, "reward_flip_probability", "finite"),
        ({"max_extra_blanks": -1}, "max_extra_blanks", "at least 0"),
        ({"max_extra_blanks": 1.5}, "max_extra_blanks", "integer"),
        ({"cue_kind": "hot"}, "cue_kind", "'random', 'one_hot'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], name: str, right: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*must be") as caught:
        CueReward(**options)  # type: ignore[arg-type]
    assert right in str(caught.value)
    assert repr(options[name]) in str(caught.value)


def test_set_n_cues_refuses_what_has_no_room() -> None:
    env = CueReward(cue_bits=2)
    for bad in (5, 1, 2.5):
        with pytest.raises(ValueError, match="n_cues must be"):
            env.set_n_cues(bad)  # type: ignore[arg-type]
