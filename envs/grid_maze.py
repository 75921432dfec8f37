"""Grid maze: find an invisible goal again and again, each time from a new place.

The task is that of Miconi et al. 2019 (arXiv 2002.10585, section 4.2) and 2018 (arXiv 1804.02464,
section 4.5). The border is wall, a pillar stands where both coordinates are even, and the center is
free. Reaching the goal is rewarded and moves the agent to a random cell; the goal stays where it is
for the episode, unless ``goal_moves`` is above 0. With ``bump`` for a move into a wall and ``hit``
for reaching the goal,

    cell' = next[cell, action]        bump = (cell' = cell)        hit = (cell' = goal)
    reward = goal_reward * hit - wall_penalty * bump - step_penalty
    cell <- a random free cell other than the goal if hit, else cell'
    goal <- a random place with probability goal_moves, else goal
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from plasticrl.envs import arguments
from plasticrl.envs.arrays import Floats, HostArray, Ints, Observations, rows_of, to_host
from plasticrl.envs.batch import BatchEnv, Rows
from plasticrl.envs.counter_random import integers
from plasticrl.envs.history import history_table
from plasticrl.envs.scene import Scene, Symbol
from plasticrl.envs.single import SingleEnv

MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])  # up, down, left, right as (row, column)
WINDOW = 9  # cells of the 3x3 receptive field
MAX_SIZE = 301  # with more, pictures take minutes
N_FEATURES = WINDOW + 4 + len(MOVES)
SYMBOLS = (
    Symbol("floor", "·"),
    Symbol("wall", "█", "block", "wall"),
    Symbol("goal", "◎", "ring", "goal"),
    Symbol("agent", "●", "disc", "agent"),
)
FLOOR, WALL, GOAL, AGENT = range(4)  # indices of the symbols


class MazeWorld(NamedTuple):
    """The places, each (B,) indices of free cells."""

    agent: Ints
    goal: Ints


class MazeTables(NamedTuple):
    """Look-up tables of a maze with F free cells."""

    walls: HostArray  # (size, size)
    cells: HostArray  # (F, 2) row and column of each free cell, row-major
    next_cell: HostArray  # (F, 4) free cell after each move
    sight: HostArray  # (F, 11) the 3x3 window, the unused input, the bias
    center: int
    goals: HostArray  # (G,) free cells where the goal may be


def build_maze(size: int, goal_region: str) -> MazeTables:
    """Build the maze of outer side length ``size`` and tabulate its moves and observations."""
    walls = np.zeros((size, size), dtype=np.bool_)
    walls[::2, ::2] = True
    walls[[0, -1], :] = walls[:, [0, -1]] = True
    walls[size // 2, size // 2] = False
    cells = np.argwhere(~walls)
    index = np.full((size, size), -1, dtype=np.int64)
    index[~walls] = np.arange(len(cells))
    ahead = cells[:, None] + MOVES
    target = index[ahead[..., 0], ahead[..., 1]]
    next_cell = np.where(target < 0, np.arange(len(cells))[:, None], target)
    center = int(index[size // 2, size // 2])
    ring = ((cells == 1) | (cells == size - 2)).any(axis=1)
    allowed = (np.arange(len(cells)) != center) & (ring | (goal_region == "all"))
    return MazeTables(
        walls, cells, next_cell, _sight(walls, cells), center, np.flatnonzero(allowed)
    )


def _sight(walls: HostArray, cells: HostArray) -> HostArray:
    rows, columns = (offset.ravel() - 1 for offset in np.indices((3, 3)))
    sight = np.zeros((len(cells), WINDOW + 2), dtype=np.float32)
    sight[:, :WINDOW] = walls[cells[:, :1] + rows, cells[:, 1:] + columns]
    sight[:, WINDOW + 1] = 1.0  # bias
    return sight


def _views(sight: HostArray) -> HostArray:
    """(F (A + 1), 17) observations by cell and previous action, with time and reward zero."""
    history = history_table(len(MOVES))
    shape = (len(sight), len(history))
    parts = (np.broadcast_to(part, (*shape, part.shape[-1])) for part in (sight[:, None], history))
    return np.concatenate([*parts], axis=-1).reshape(-1, N_FEATURES)


class GridMazeBatch(BatchEnv[MazeWorld]):
    """``num_envs`` grid mazes as one vector environment; see ``GridMaze`` for the task."""

    start_draws = 2
    step_draws = 1
    row_attributes = ("agent_position", "goal_position")

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 11,
        episode_length: int = 200,
        goal_reward: float = 10.0,
        wall_penalty: float = 0.0,
        step_penalty: float = 0.0,
        goal_region: str = "all",
        goal_moves: float = 0.0,
        random_start: bool = False,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        size = arguments.integer("size", size, minimum=5, maximum=MAX_SIZE)
        if size % 2 == 0:
            raise arguments.ArgumentError(
                f"size must be odd, for the pillars to stand between walls, got {size}"
            )
        arguments.choice("goal_region", goal_region, ("all", "outer"))
        self.goal_reward = arguments.number("goal_reward", goal_reward, exclusive=True)
        self.wall_penalty = arguments.number("wall_penalty", wall_penalty)
        self.step_penalty = arguments.number("step_penalty", step_penalty)
        self.goal_moves = arguments.number("goal_moves", goal_moves, maximum=1.0)
        self.step_draws = 3 if self.goal_moves else 1
        self.random_start = arguments.flag("random_start", random_start)
        self.maze = build_maze(size, goal_region)
        super().__init__(
            num_envs,
            self._space(),
            Discrete(len(MOVES)),
            MazeWorld(agent=self.maze.center, goal=self.maze.center),
            episode_length,
            max_episode_steps,
            autoreset_mode,
            render_mode,
            device,
        )
        self._next_cell = self.put(self.maze.next_cell.ravel())
        self._goals = self.put(self.maze.goals)
        self._views = self.put(_views(self.maze.sight))

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the range of places."""
        places = (0, len(self.maze.cells) - 1)
        return {"agent": places, "goal": places}

    def start(self, world: MazeWorld, draws: Floats) -> MazeWorld:
        """Draw a goal, and a start if it is random; ``draws`` is (2, B)."""
        goal = self._goals[integers(self.xp, draws[0], len(self.maze.goals))]
        if not self.random_start:
            return MazeWorld(self.xp.full_like(goal, self.maze.center), goal)
        return MazeWorld(self._elsewhere(draws[1], goal), goal)

    def advance(self, world: MazeWorld, action: Ints, draws: Floats) -> tuple[MazeWorld, Floats]:
        """Move; ``draws`` decide the cell after a hit, and whether and where the goal moves.

        Args:
            draws: (3, B), or (1, B) if the goal never moves.
        """
        where = self.xp.where
        cell = self._next_cell[world.agent * len(MOVES) + action]
        hit = cell == world.goal
        reward = where(hit, self.goal_reward, self._blank.previous_reward)
        if self.wall_penalty:
            reward = where(cell == world.agent, reward - self.wall_penalty, reward)
        if self.step_penalty:
            reward = reward - self.step_penalty
        agent = where(hit, self._elsewhere(draws[0], world.goal), cell)
        if not self.goal_moves:
            return MazeWorld(agent, world.goal), reward
        goal = self._goals[integers(self.xp, draws[2], len(self.maze.goals))]
        return MazeWorld(agent, where(draws[1] < self.goal_moves, goal, world.goal)), reward

    def observe(self, rows: Rows, world: MazeWorld) -> Observations:
        """Return (B, 17): window, unused, bias, time, previous reward, previous action."""
        view = world.agent * (len(MOVES) + 1) + rows.previous_action
        out = rows_of(self._views, view)
        self._write_history(out[:, WINDOW + 2 : WINDOW + 4], rows)
        return out

    @property
    def agent_position(self) -> HostArray:
        """(B, 2) row and column of the agent."""
        position: HostArray = self.maze.cells[to_host(self.state.world.agent)]
        return position

    @property
    def goal_position(self) -> HostArray:
        """(B, 2) row and column of the goal."""
        position: HostArray = self.maze.cells[to_host(self.state.world.goal)]
        return position

    def scene(self, row: int) -> Scene:
        """Show the maze, the goal, which the agent cannot see, and the agent."""
        grid = self.maze.walls.astype(np.uint8)  # WALL is 1
        grid[tuple(self.goal_position[row])] = GOAL
        grid[tuple(self.agent_position[row])] = AGENT
        actions = ("up", "down", "left", "right")
        return Scene(SYMBOLS, grid, actions=actions, trail="agent", goal="goal")

    def _elsewhere(self, uniform: Floats, goal: Ints) -> Ints:
        """A random free cell other than the goal, whose index is skipped."""
        cell = integers(self.xp, uniform, len(self.maze.cells) - 1)
        return cell + (cell >= goal)

    def _space(self) -> Box:
        low = np.zeros(N_FEATURES, dtype=np.float32)
        high = np.ones(N_FEATURES, dtype=np.float32)
        reward = WINDOW + 3
        low[reward] = -(self.wall_penalty + self.step_penalty)
        high[reward] = max(self.goal_reward - self.step_penalty, 0.0)
        return Box(low, high, dtype=np.float32)


class GridMaze(SingleEnv[GridMazeBatch]):
    """A maze with an invisible goal that the agent has to find and to remember.

    ## Description
    The border is wall and a pillar stands on every cell with both coordinates even, except the
    center. A goal is at the same cell for the whole episode (see ``goal_moves``), but it cannot be
    seen. Reaching it is rewarded and moves the agent to a random free cell other than the goal. A
    good agent remembers where the goal is and finds out where it is itself. ``gymnasium.make_vec``
    makes a ``GridMazeBatch``, each row of which is this environment.

    ## Action Space
    ``Discrete(4)``: 0 up, 1 down, 2 left, 3 right. The agent stays where it is if it moves into a
    wall.

    ## Observation Space
    ``Box`` of 17 float32:

    | index | what | range |
    |---|---|---|
    | 0-8 | 3x3 window around the agent, row by row: 1 wall, 0 free | 0, 1 |
    | 9 | unused | 0 |
    | 10 | bias | 1 |
    | 11 | steps so far / episode length | 0 to 1 |
    | 12 | previous reward | |
    | 13-16 | previous action, one-hot; all zero at the first step | 0, 1 |

    ## Rewards
    ``goal_reward`` on reaching the goal, ``-wall_penalty`` on moving into a wall and
    ``-step_penalty`` at every step. At size 11, a random walk earns 7.6 per episode, and an agent
    that knows the goal and takes the shortest path 321.

    ## Starting State
    The agent at the center (with ``random_start``, on a random free cell other than the goal), the
    goal on a random free cell other than the center.

    ## Episode End
    Truncated after ``episode_length`` steps; never terminated.

    ## Arguments
    - ``size`` (11): outer side length, odd and at least 5.
    - ``episode_length`` (200): steps in an episode.
    - ``goal_reward`` (10.0): greater than 0.
    - ``wall_penalty``, ``step_penalty`` (0.0): at least 0; in the 2018 paper the wall penalty is
      0.1.
    - ``goal_region`` ("all"): "outer" puts the goal into the ring of cells along the border.
    - ``goal_moves`` (0.0): probability at each step that the goal moves to a random cell of its
      region, so that the agent has to give up the old place and search again.
    - ``random_start`` (False): see Starting State.
    - ``max_episode_steps`` (None): Gymnasium's own, a lower number of steps in an episode; the
      observed time is still divided by ``episode_length``.
    - ``render_mode`` (None): "rgb_array" or "ansi".

    ## References
    - Miconi, Rawal, Clune & Stanley 2019, "Backpropamine", arXiv 2002.10585, section 4.2.
    - Miconi, Clune & Stanley 2018, "Differentiable plasticity", arXiv 1804.02464, section 4.5.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(GridMazeBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options))
