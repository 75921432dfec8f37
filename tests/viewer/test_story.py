"""The facts about an episode, compared with counts made by hand."""

from typing import Any

import numpy as np
import pytest
from tests.viewer.conftest import make_maze

from plasticrl.viewer import EpisodeTrace, story, theme
from plasticrl.viewer.film_frames import FilmFrames
from plasticrl.viewer.still import GAP, SIDE, filmstrip


def test_steps_to_each_reward() -> None:
    """Otherwise the counts would be off by one, or start at the wrong end."""
    assert story.steps_to_rewards(np.array([0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0])) == [3, 2, 1]
    assert story.steps_to_rewards(np.array([1.0, 0.0, -1.0, 2.0])) == [1, 3]
    assert story.steps_to_rewards(np.zeros(3)) == []


@pytest.mark.parametrize(
    ("rewards", "worth"),
    [([0, 0, 0, 1], True), ([0, 0, 1, 1], False), ([0, 0, 0, -1], False), ([0, 0, 0, 0], True)],
)
def test_whether_they_are_worth_counting(rewards: list[float], worth: bool) -> None:
    assert story.worth_counting(np.array(rewards, dtype=float)) is worth


def test_a_path_begins_after_the_last_reward(fields: dict[str, Any]) -> None:
    """A reward moves the agent to another cell, and a line to it would look like a path."""
    episode = EpisodeTrace(**{**fields, **make_maze()})
    scene = episode.scene
    assert scene is not None
    assert scene.path_to(3, episode.rewards).tolist() == [[1, 1], [1, 2], [1, 3], [1, 4]]
    assert scene.path_to(4, episode.rewards)[:, 1].tolist() == [1]
    assert scene.path_to(6, episode.rewards)[:, 1].tolist() == [1, 2, 3]


def test_every_view_lights_the_goal_at_the_step_that_earned(fields: dict[str, Any]) -> None:
    """Otherwise the film would light the goal one step later than the page and its stills."""
    episode = EpisodeTrace(**{**fields, **make_maze()})
    lit = [step for step in range(12) if story.is_hit(episode, step)]
    assert lit == [3, 7]
    frames = list(FilmFrames(episode).frames())
    strip = filmstrip([episode], range(12))
    assert strip is not None
    right, down = 6.5 / 9, 1.5 / 9  # the middle of the goal, in shares of the maze
    for step in range(12):
        left = GAP + step * (SIDE + GAP)
        in_still = strip.getpixel((left + int(right * SIDE), GAP + int(down * SIDE)))
        in_film = frames[step].getpixel((20 + int(right * 280), 98 + int(down * 280)))
        assert (in_still == theme.REWARD) is (in_film == theme.REWARD) is (step in lit)


def test_what_is_absent(fields: dict[str, Any]) -> None:
    episode = EpisodeTrace(**fields)
    assert story.absences(episode) == {}
    unmodulated = EpisodeTrace(**{**fields, "modulation": None})
    assert story.absences(unmodulated) == {"modulation": "no modulation: no neuromodulator"}
    unseen = EpisodeTrace(**{**fields, "frames": None, "texts": None, "scene": None})
    assert story.absences(unseen) == {"environment": "no picture of plasticrl/GridMaze-v0"}
