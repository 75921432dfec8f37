"""When a curriculum moves on, what it changes, and its errors."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents import RecurrentA2C, make_vec_env
from plasticrl.agents.curriculum import Curriculum
from plasticrl.commands import run_command
from plasticrl.runs import UsageError

train_main = partial(run_command, "train")

LENGTH = 10


def agent(env: VecEnv | None = None) -> RecurrentA2C:
    kwargs = {"n_cues": 2, "cue_bits": 5, "episode_length": LENGTH}
    env = env or make_vec_env("plasticrl/CueReward-v0", 3, 0, env_kwargs=kwargs)
    core = {"core": "rnn", "core_kwargs": {"hidden_size": 3}}
    return RecurrentA2C("PlasticPolicy", env, n_steps=LENGTH, policy_kwargs=core, seed=0)


def cues(model: RecurrentA2C) -> list[int]:
    assert model.env is not None
    numbers: list[int] = model.env.get_attr("state")[0].world.n_cues.tolist()
    return numbers


def test_it_moves_on_when_enough_episodes_are_good_enough() -> None:
    """Each rollout ends three episodes, so six episodes are two rollouts."""
    model, curriculum = agent(), Curriculum("n_cues", (2, 3, 5), threshold=-9.0, episodes=6)
    model.learn(3 * LENGTH, callback=curriculum)
    assert curriculum.stage == 0
    model.learn(3 * LENGTH, callback=curriculum, reset_num_timesteps=False)
    assert curriculum.stage == 1
    assert cues(model) == [2, 2, 2]  # the episodes that have begun
    model.learn(3 * LENGTH * 6, callback=curriculum, reset_num_timesteps=False)
    assert curriculum.stage == 2
    assert cues(model) == [5, 5, 5]


def test_it_stays_while_the_reward_is_too_small() -> None:
    """Otherwise an agent that has learned nothing gets the hardest task."""
    model, curriculum = agent(), Curriculum("n_cues", (2, 3), threshold=1.1, episodes=3)
    model.learn(3 * LENGTH * 5, callback=curriculum)
    assert curriculum.stage == 0
    assert cues(model) == [2, 2, 2]


def test_reward_per_trial_by_hand() -> None:
    """Two episodes with rewards 3 and 1 in 4 and 4 trials have .5 per trial."""
    for threshold, stage in ((0.5, 1), (0.51, 0)):
        model, curriculum = agent(), Curriculum("n_cues", (2, 3), threshold, episodes=2)
        curriculum.init_callback(model)
        infos = [{"episode": {"r": r}, "trials": 4} for r in (3.0, 1.0)]
        model.set_logger(Recorder())
        curriculum.update_locals({"dones": np.array([True, True]), "infos": infos})
        curriculum.on_step()
        curriculum.on_rollout_end()
        assert curriculum.stage == stage


class Recorder:
    """A logger that ignores everything."""

    def record(self, *_: Any) -> None:
        """Ignore the value."""


def test_an_environment_without_the_method_is_refused() -> None:
    """Otherwise the user reads an AttributeError from inside a VecEnv."""
    maze = make_vec_env("plasticrl/GridMaze-v0", 2, 0, env_kwargs={"size": 5})
    with pytest.raises(UsageError, match="no set_size"):
        agent(maze).learn(20, callback=Curriculum("size", (5, 7), 1.0))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--curriculum.option=size"], "--curriculum.option and --curriculum.stages"),
        (["--curriculum.stages", "2", "3"], "--curriculum.option and --curriculum.stages"),
        (["--curriculum.option=size", "--curriculum.stages", "5", "7"], "no set_size"),
        (["--curriculum.episodes=0"], "curriculum.episodes"),
    ],
)
def test_an_invalid_curriculum_is_refused(
    flags: list[str], words: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is one sentence with exit status 2."""
    argv = ["maze-quickstart", *flags, "--run-dir", str(tmp_path / "run")]
    assert train_main(argv) == 2
    assert words in capsys.readouterr().err


def test_it_works_with_any_environment() -> None:
    """SB3's VecEnv calls the method of every environment, through its wrappers."""

    class Tower(gym.Wrapper[Any, Any, Any, Any]):
        level = 0

        def set_level(self, level: int) -> None:
            self.level = level

    env = make_vec_env("CartPole-v1", 2, 0, wrapper_class=Tower)
    curriculum = Curriculum("level", (1, 2), threshold=1.0, episodes=2)
    agent(env).learn(2 * LENGTH * 20, callback=curriculum)
    assert env.get_attr("level") == [2, 2]
