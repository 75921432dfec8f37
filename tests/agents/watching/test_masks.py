"""Evaluations, recordings and pictures respect action masks.

The environment raises an error for an impossible action.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.agents.test_masking import ACTIONS, Masked

from plasticrl.agents.masking import sample_possible
from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.config import A2CTrainConfig
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.watching import pairs
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import evaluate, measure
from plasticrl.agents.watching.pairs import count_rewards, play_pairs
from plasticrl.agents.watching.recording import record_episode
from plasticrl.commands import run_command
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.runs import RunDirectory, UserCodeError, to_dict

N_EPISODES = 7
"""Each has 9 steps, in which about half of the actions are impossible."""


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gym.register("Masked-v0", Masked, max_episode_steps=20)
    yield
    gym.registry.pop("Masked-v0")


def untrained(action: str = "Discrete", **options: Any) -> TrainedAgent:
    core = PlasticRNNConfig(hidden_size=6)
    config = A2CTrainConfig(
        env_id="Masked-v0", env_kwargs={"action": action}, n_envs=1, core=core, **options
    )
    run = RunDirectory(Path("nowhere"), "rl", "mine", to_dict(config), {}, {})
    return TrainedAgent(run, config, build_model(config, build_env(config, 1)).policy, 0)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("options", [{}, {"trials": 2}, {"history": True}, {"normalize": True}])
def test_evaluations_and_recordings(action: str, options: dict[str, Any]) -> None:
    """Otherwise an agent that was trained with masks cannot be measured or watched."""
    agent = untrained(action, **options)
    for deterministic in (False, True):
        evaluate(agent, N_EPISODES, 3, deterministic, ablate_plasticity=True)
        for player in (agent, agent.ablate()):
            episode = record_episode(player, 3, None, deterministic)
            assert episode.n_steps == 9 * options.get("trials", 1)


def test_the_pairs_of_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise there is no report of such an agent."""
    monkeypatch.setattr(pairs, "N_AVERAGED", N_EPISODES)
    agent = untrained()
    assert len(play_pairs(agent, 3)) == pairs.N_SHOWN
    whole, ablated = count_rewards(agent, 3, deterministic=False)
    assert len(whole) == len(ablated) == N_EPISODES


@pytest.mark.parametrize("preset", ["a2c", "ppo"])
def test_pictures_of_a_training(preset: str, tmp_path: Path) -> None:
    """Otherwise TensorBoard shows an error instead of the episode."""
    sizes = ("--n-envs=3", f"--{preset}.n-steps=8", "--total-timesteps=48", "--core.hidden-size=4")
    flags = ("--env-id=Masked-v0", "--env-kwargs", "action=Discrete", f"--run-dir={tmp_path}")
    assert run_command("train", [preset, *sizes, *flags]) == 0
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Images("plastic/trace")] == [0, 48]


def test_random_actions_are_all_that_are_possible() -> None:
    """Otherwise the random baseline is not that of a player who knows the rules."""
    masks = {
        "Discrete": [[1, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
        "MultiDiscrete": [[1, 0, 1, 0, 1, 1, 0], [0, 1, 0, 0, 0, 1, 0]],
        "MultiBinary": [[1, 1, 0, 1, 1, 1], [1, 0, 0, 1, 1, 0]],
    }
    expected: dict[str, tuple[list[Any], Any]] = {
        "Discrete": ([0, 2, 3], 4),
        "MultiDiscrete": ([[0, 1], [0, 2], [2, 1], [2, 2]], [1, 2]),
        "MultiBinary": ([[0, 1, 0], [0, 1, 1], [1, 1, 0], [1, 1, 1]], [0, 1, 0]),
    }
    generator, n = np.random.default_rng(0), 4000
    for kind, (several, single) in expected.items():
        arrays = [
            sample_possible(np.array(masks[kind], bool), ACTIONS[kind], generator) for _ in range(n)
        ]
        drawn = [array.tolist() for array in arrays]
        assert all(row[1] == single for row in drawn)
        counts = Counter(str(row[0]) for row in drawn)
        assert counts.keys() == set(map(str, several))
        share = 1 / len(several)
        for count in counts.values():  # within 5 standard deviations of a binomial distribution
            assert count == pytest.approx(n * share, abs=5 * (n * share * (1 - share)) ** 0.5)


def test_masks_that_leave_no_action(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an impossible action is silently taken."""
    monkeypatch.setattr(Masked, "action_masks", lambda _: np.zeros(5, bool))
    agent, sentence = untrained(), "leave no possible action"
    with pytest.raises(UserCodeError, match=sentence):
        measure(agent, 2, 3)
    with pytest.raises(UserCodeError, match=sentence):
        measure(agent, 2, 3, at_random=True)
    with pytest.raises(UserCodeError, match=sentence):
        record_episode(agent, 3, None)
