"""T-maze: a cue at the start shows which way to turn at the far end of a corridor.

The task of Bakker 2001 ("Reinforcement learning with long short-term memory", NIPS 14, section 5),
in which the agent has to remember one bit for as long as the corridor is long. With a corridor of
length L, the places are numbered

    0 .. L - 1    the corridor, with the cue in sight at 0 alone
    L             the junction
    L + 1, L + 2  the ends of the upper and of the lower arm, both terminal

    place' = next[place, action]
    reward = +1 at the end of the arm that the cue showed, -1 at that of the other one, else 0
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from plasticrl.envs import arguments
from plasticrl.envs.arrays import Bools, Floats, HostArray, Ints, Observations, rows_of
from plasticrl.envs.batch import BatchEnv, Rows
from plasticrl.envs.counter_random import integers
from plasticrl.envs.history import history_table
from plasticrl.envs.scene import Scene, Symbol
from plasticrl.envs.single import SingleEnv

ACTIONS = ("up", "down", "left", "right")
SIGHT = 4  # features: the cue's two bits, the junction, the bias
MAX_LENGTH = 100_000
N_FEATURES = SIGHT + 2 + len(ACTIONS)
SYMBOLS = (
    Symbol("floor", "·"),
    Symbol("wall", "█", "block", "wall"),
    Symbol("cue: up", "▲", "up", "cue"),
    Symbol("cue: down", "▼", "down", "cue"),
    Symbol("cue: up, out of sight", "△", "up", "cue", faint=True),
    Symbol("cue: down, out of sight", "▽", "down", "cue", faint=True),
    Symbol("goal", "◎", "ring", "goal"),
    Symbol("agent", "●", "disc", "agent"),
)
FLOOR, WALL, CUE, FAINT_CUE, GOAL, AGENT = 0, 1, 2, 4, 6, 7  # indices of the symbols


class TMazeWorld(NamedTuple):
    """Each (B,)."""

    place: Ints
    goes_down: Ints  # 1 if the reward is at the end of the lower arm, 0 for the upper one


class TMazeBatch(BatchEnv[TMazeWorld]):
    """``num_envs`` T-mazes as one vector environment; see ``TMaze`` for the task."""

    start_draws = 1
    step_draws = 0

    def __init__(
        self,
        num_envs: int = 1,
        *,
        corridor_length: int = 5,
        episode_length: int = 50,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        self.corridor_length = arguments.integer(
            "corridor_length", corridor_length, minimum=1, maximum=MAX_LENGTH
        )
        super().__init__(
            num_envs,
            _space(),
            Discrete(len(ACTIONS)),
            TMazeWorld(place=0, goes_down=0),
            episode_length,
            max_episode_steps,
            autoreset_mode,
            render_mode,
            device,
        )
        self._next_place = self.put(_next_places(self.corridor_length).ravel())
        self._views = self.put(_views(self.corridor_length))
        self._wrong = self.put(np.full(num_envs, -1.0))

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the ranges of place and side."""
        return {"place": (0, self.corridor_length + 2), "goes_down": (0, 1)}

    def start(self, world: TMazeWorld, draws: Floats) -> TMazeWorld:
        """Put the agent at the start and draw the side; ``draws`` is (1, B)."""
        return TMazeWorld(self.xp.zeros_like(world.place), integers(self.xp, draws[0], 2))

    def advance(self, world: TMazeWorld, action: Ints, draws: Floats) -> tuple[TMazeWorld, Floats]:
        """Move; ``draws`` is (0, B), as nothing is random."""
        where, goal = self.xp.where, self.corridor_length + 1 + world.goes_down
        place = self._next_place[world.place * len(ACTIONS) + action]
        world = world._replace(place=place)
        paid = where(place == goal, 1.0, self._wrong)
        return world, where(self.terminal(world), paid, self._blank.previous_reward)

    def terminal(self, world: TMazeWorld) -> Bools:
        """Return which agents (B,) are at the end of an arm."""
        return world.place > self.corridor_length

    def observe(self, rows: Rows, world: TMazeWorld) -> Observations:
        """Return (B, 10): cue, junction, bias, time, previous reward, previous action."""
        view = (world.place * 2 + world.goes_down) * (len(ACTIONS) + 1) + rows.previous_action
        out = rows_of(self._views, view)
        self._write_history(out[:, SIGHT : SIGHT + 2], rows)
        return out

    def scene(self, row: int) -> Scene:
        """Show the maze, the cue (pale where the agent does not see it), the goal and the agent."""
        world, length = self.state.world, self.corridor_length
        place, goes_down = int(world.place[row]), int(world.goes_down[row])
        grid = np.full((5, length + 3), WALL, dtype=np.uint8)
        grid[2, 1:-1] = grid[1:4, -2] = FLOOR
        grid[3 if goes_down else 1, 1] = (FAINT_CUE if place else CUE) + goes_down
        grid[3 if goes_down else 1, -2] = GOAL
        grid[(2, 1, 3)[max(0, place - length)], 1 + min(place, length)] = AGENT
        caption = "the cue is in sight" if place == 0 else "turn here" if place == length else ""
        return Scene(SYMBOLS, grid, caption, ACTIONS, trail="agent", goal="goal")


def _next_places(length: int) -> HostArray:
    """(L + 3, 4) the place after each action; a wall or the end of an arm holds the agent."""
    places = np.arange(length + 3)
    table = np.tile(places[:, None], (1, len(ACTIONS)))
    table[: length + 1, 2] = np.maximum(places[: length + 1] - 1, 0)
    table[:length, 3] = places[:length] + 1
    table[length, :2] = length + 1, length + 2
    return table


def _views(length: int) -> HostArray:
    """(2 (L + 3) 5, 10) observations by place, side and previous action; no time or reward yet."""
    history = history_table(len(ACTIONS))
    views = np.zeros((length + 3, 2, len(history), N_FEATURES), dtype=np.float32)
    views[0, 0, :, 0] = views[0, 1, :, 1] = 1.0  # the cue
    views[length, ..., 2] = 1.0  # the junction
    views[..., 3] = 1.0  # the bias
    views[..., SIGHT:] = history
    return views.reshape(-1, N_FEATURES)


def _space() -> Box:
    low = np.zeros(N_FEATURES, dtype=np.float32)
    low[SIGHT + 1] = -1.0  # previous reward
    return Box(low, np.ones_like(low), dtype=np.float32)


class TMaze(SingleEnv[TMazeBatch]):
    """A cue at the start of a corridor shows which way to turn at its far end.

    ## Description
    A corridor of ``corridor_length`` cells leads to a junction with an arm up and an arm down. The
    reward is at the end of one of them, and a cue shows which, but it is in sight only at the
    corridor's first cell. All other cells of the corridor look alike, so that the agent has to
    remember the cue. ``gymnasium.make_vec`` makes a ``TMazeBatch``, each row of which is this
    environment.

    ## Action Space
    ``Discrete(4)``: 0 up, 1 down, 2 left, 3 right. The agent stays where it is if it moves into a
    wall.

    ## Observation Space
    ``Box`` of 10 float32:

    | index | what | range |
    |---|---|---|
    | 0, 1 | the cue, one-hot: up, down; all zero except at the first cell | 0, 1 |
    | 2 | the agent is at the junction | 0, 1 |
    | 3 | bias | 1 |
    | 4 | steps so far / episode length | 0 to 1 |
    | 5 | previous reward | -1, 0, 1 |
    | 6-9 | previous action, one-hot; all zero at the first step | 0, 1 |

    ## Rewards
    +1 at the end of the arm that the cue showed, -1 at the end of the other one; 0 at all other
    steps. The optimum is 1, after ``corridor_length`` + 1 steps. An agent without memory earns 0 on
    average, since both arms are equally likely, and so does a random walk.

    ## Starting State
    The agent at the corridor's first cell, the reward in either arm with probability 1/2.

    ## Episode End
    Terminated at the end of either arm; truncated after ``episode_length`` steps.

    ## Arguments
    - ``corridor_length`` (5): cells before the junction, at least 1.
    - ``episode_length`` (50): the most steps in an episode.
    - ``max_episode_steps`` (None): Gymnasium's own, a lower number of steps in an episode; the
      observed time is still divided by ``episode_length``.
    - ``render_mode`` (None): "rgb_array" or "ansi".

    ## References
    - Bakker 2001, "Reinforcement learning with long short-term memory", NIPS 14, section 5.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(TMazeBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options))
