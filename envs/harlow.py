"""Harlow's task in one dimension: learn from one choice which of two new objects is the good one.

The agent moves on a ring of 17 cells and sees the 9 around it. In the cells' numbers here, the
fixation is at 8 and the two objects appear at 5 and 11, so that only the agent's cell changes:

    stage 0   the fixation can be seen; at cell 8: reward +.2, stage 1
    stage 1   the objects can be seen; at cell 5 or 11: reward +1 if the good object is there, else
              -1; the trial ends, stage 0

Harlow 1949 ("The formation of learning sets") gave monkeys such choices, and Wang et al. 2018 gave
them to nets with a camera. This form is that of a published replication, with other objects: there,
the two can be equal, or equal to the fixation.
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from plasticrl.envs import arguments
from plasticrl.envs.arrays import Bools, Floats, HostArray, Ints, Observations, rows_of, to_host
from plasticrl.envs.batch import BatchEnv, Rows
from plasticrl.envs.counter_random import integers
from plasticrl.envs.history import history_table
from plasticrl.envs.scene import Scene, Symbol
from plasticrl.envs.single import SingleEnv

RING = 17  # cells
REACH = 4  # cells that the agent sees on each side
VIEW = 2 * REACH + 1
CENTER, LEFT, RIGHT = 8, 5, 11  # cells of the fixation and of the objects
FIXATION_REWARD = 0.2
MOST_TRIALS = 100
MOST_OBJECTS = 100_000
TIME = VIEW + 1  # features: the view, the bias, the time ...
N_FEATURES = TIME + 4
SYMBOLS = (
    Symbol("cell in sight", "·"),
    Symbol("cell out of sight", "░", "block", "muted", faint=True),
    Symbol("fixation", "+", "disc", "cue"),
    Symbol("fixation, out of sight", "±", "disc", "cue", faint=True),
    Symbol("good object", "◎", "ring", "goal"),
    Symbol("good object, out of sight", "○", "ring", "goal", faint=True),
    Symbol("other object", "■", "tile", "negative"),
    Symbol("other object, out of sight", "□", "tile", "negative", faint=True),
    Symbol("agent", "▲", "up", "agent"),
    Symbol("right choice", "✓", "tile", "goal"),
    Symbol("wrong choice", "x", "tile", "negative"),
    Symbol("choice to come", "-", "tile", "muted", faint=True),
    Symbol("background", " "),
)
IN_SIGHT, FIXATION, GOOD, OTHER, AGENT, TRIAL, TO_COME, BACKGROUND = 0, 2, 4, 6, 8, 9, 11, 12
"""Indices of the symbols; that of one out of sight is greater by 1."""


class HarlowWorld(NamedTuple):
    """The agent's cell, and the objects; (B,) unless said otherwise."""

    cell: Ints
    stage: Ints  # 0 the fixation can be seen, 1 the objects
    objects: Ints  # (B, 2) the numbers of the good and of the other object, from 1
    good_is_right: Ints  # 1 if the good object is at the cell on the right, else 0
    trials: Ints  # completed in this episode
    correct: Ints  # (B, n_trials) 1 where the choice of the trial was right


class HarlowBatch(BatchEnv[HarlowWorld]):
    """``num_envs`` environments as one vector environment; see ``Harlow`` for the task."""

    start_draws = 3
    step_draws = 1

    def __init__(
        self,
        num_envs: int = 1,
        *,
        n_trials: int = 6,
        n_objects: int = 1000,
        episode_length: int = 250,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        self.n_trials = arguments.integer("n_trials", n_trials, minimum=1, maximum=MOST_TRIALS)
        self.n_objects = arguments.integer("n_objects", n_objects, minimum=2, maximum=MOST_OBJECTS)
        super().__init__(
            num_envs,
            _space(),
            Discrete(2),
            HarlowWorld(CENTER, 0, np.array([1, 2]), 0, 0, np.zeros(self.n_trials, dtype=np.int64)),
            episode_length,
            max_episode_steps,
            autoreset_mode,
            render_mode,
            device,
        )
        self._next_cell = self.put(_next_cells().ravel())
        self._views = self.put(_views())
        self._sights = self.put(_sights())
        values = np.arange(self.n_objects + 1) / (self.n_objects + 1)
        self._values = self.put(values.astype(np.float32))
        self._trials = self.put(np.arange(self.n_trials))
        self._wrong = self.put(np.full(num_envs, -1.0))
        self._fresh = self.state.world

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the ranges of cells, objects and counts."""
        return {
            "cell": (0, RING - 1),
            "stage": (0, 1),
            "objects": (1, self.n_objects),
            "good_is_right": (0, 1),
            "trials": (0, self.n_trials),
            "correct": (0, 1),
        }

    def start(self, world: HarlowWorld, draws: Floats) -> HarlowWorld:
        """Put the agent 1 to 3 cells beside the fixation and draw objects; ``draws`` is (3, B)."""
        shift = integers(self.xp, draws[0], 6) - 3
        good = 1 + integers(self.xp, draws[1], self.n_objects)
        other = 1 + integers(self.xp, draws[2], self.n_objects - 1)
        return self._fresh._replace(
            cell=CENTER + shift + (shift >= 0),
            objects=self.xp.stack([good, other + (other >= good)], axis=1),
        )

    def advance(
        self, world: HarlowWorld, action: Ints, draws: Floats
    ) -> tuple[HarlowWorld, Floats]:
        """Move; ``draws`` (1, B) decides on which side the good object appears."""
        where, is_choice = self.xp.where, world.stage == 1
        cell = self._next_cell[world.cell * 2 + action]
        fixated = (cell == CENTER) & ~is_choice
        chosen = ((cell == LEFT) | (cell == RIGHT)) & is_choice
        is_good = (cell == RIGHT) == (world.good_is_right == 1)
        reward = where(fixated, FIXATION_REWARD, self._blank.previous_reward)
        reward = where(chosen, where(is_good, 1.0, self._wrong), reward)
        is_now = (self._trials == world.trials[:, None]) & (chosen & is_good)[:, None]
        return HarlowWorld(
            cell=cell,
            stage=where(chosen, 0, where(fixated, 1, world.stage)),
            objects=world.objects,
            good_is_right=where(fixated, integers(self.xp, draws[0], 2), world.good_is_right),
            trials=world.trials + chosen,
            correct=where(is_now, 1, world.correct),
        ), reward

    def terminal(self, world: HarlowWorld) -> Bools:
        """Return which rows (B,) have completed all trials."""
        return world.trials >= self.n_trials

    def observe(self, rows: Rows, world: HarlowWorld) -> Observations:
        """Return (B, 14): the 9 cells, bias, time, previous reward, previous action."""
        view = (world.cell * 2 + (1 - world.stage)) * 3 + rows.previous_action
        out = rows_of(self._views, view)
        values = self._values[world.objects] * (world.stage == 1)[:, None]
        good_first = (world.good_is_right == 0)[:, None]
        where, sights = self.xp.where, rows_of(self._sights, world.cell)
        left = where(good_first, values[:, :1], values[:, 1:])
        right = where(good_first, values[:, 1:], values[:, :1])
        out[:, :VIEW] += left * sights[:, 0] + right * sights[:, 1]
        self._write_history(out[:, TIME : TIME + 2], rows)
        return out

    def episode_info(self, world: HarlowWorld) -> dict[str, Ints]:
        """Return ``trials``, the completed ones, and ``correct_1``, ...: 1 for a right choice."""
        correct = {f"correct_{k + 1}": world.correct[:, k] for k in range(self.n_trials)}
        return {"trials": world.trials, **correct}

    def scene(self, row: int) -> Scene:
        """Show the outcomes of the trials, the ring, unrolled and pale out of sight, the agent."""
        world = self.state.world
        cell, done = int(world.cell[row]), int(world.trials[row])
        wide = max(RING, self.n_trials)
        grid = np.full((6, wide), BACKGROUND, dtype=np.uint8)
        outcomes = grid[1, (wide - self.n_trials) // 2 :]
        outcomes[: self.n_trials] = TO_COME
        outcomes[:done] = TRIAL + 1 - to_host(world.correct)[row, :done]
        ring = grid[3, :RING]
        ring[:] = IN_SIGHT
        if world.stage[row] == 0:
            ring[CENTER] = FIXATION
        else:
            good_is_right = bool(world.good_is_right[row])
            ring[RIGHT if good_is_right else LEFT] = GOOD
            ring[LEFT if good_is_right else RIGHT] = OTHER
        distance = np.abs(np.arange(RING) - cell)
        ring[np.minimum(distance, RING - distance) > REACH] += 1
        grid[4, cell] = AGENT
        caption = "choose an object" if world.stage[row] == 1 else "go to the fixation"
        return Scene(SYMBOLS, grid, caption, ("left", "right"))


def _next_cells() -> HostArray:
    """(17, 2) the cell after each action, around the ring."""
    cells: HostArray = (np.arange(RING)[:, None] + [-1, 1]) % RING
    return cells


def _sees(cell: int) -> HostArray:
    """(17, 9) one-hot for each cell of the agent: where in its view it sees the given cell."""
    seen = (np.arange(RING)[:, None] + np.arange(-REACH, REACH + 1)) % RING
    sees: HostArray = np.where(seen == cell, np.float32(1.0), np.float32(0.0))
    return sees


def _views() -> HostArray:
    """(17 * 2 * 3, 14) observations by cell, whether the fixation is there, and previous action.

    They are without objects, time and reward.
    """
    history = history_table(2)
    views = np.zeros((RING, 2, len(history), N_FEATURES), dtype=np.float32)
    views[:, 1, :, :VIEW] = _sees(CENTER)[:, None]
    views[..., VIEW] = 1.0  # bias
    views[..., TIME:] = history
    return views.reshape(-1, N_FEATURES)


def _sights() -> HostArray:
    """(17, 2, 9) by cell: where in its view the agent sees the left and the right object."""
    return np.stack([_sees(LEFT), _sees(RIGHT)], axis=1)


def _space() -> Box:
    low = np.zeros(N_FEATURES, dtype=np.float32)
    low[TIME + 1] = -1.0  # previous reward
    return Box(low, np.ones_like(low), dtype=np.float32)


class Harlow(SingleEnv[HarlowBatch]):
    """Learn from one choice between two new objects which of them to choose from then on.

    ## Description
    The agent moves on a ring of 17 cells, of which it sees the 9 around it. When it reaches the
    fixation, this disappears and two objects appear, 3 cells to the left and 3 to the right, at
    random sides. When it reaches one of them, it is rewarded or punished; the objects disappear,
    and the fixation is back at its place, 3 cells away. Both objects are new in every episode and
    stay the same during it, and the same one is good in all its trials. So a good agent guesses in
    the first trial and knows in all others, whatever the guess was. ``gymnasium.make_vec`` makes a
    ``HarlowBatch``, each row of which is this environment.

    ## Action Space
    ``Discrete(2)``: 0 left, 1 right.

    ## Observation Space
    ``Box`` of 14 float32:

    | index | what | range |
    |---|---|---|
    | 0-8 | cells, 4 to the left up to 4 to the right: 0 empty, 1 fixation, or object | 0 to 1 |
    | 9 | bias | 1 |
    | 10 | steps so far / episode length | 0 to 1 |
    | 11 | previous reward | -1, 0, .2, 1 |
    | 12, 13 | previous action, one-hot; all zero at the first step | 0, 1 |

    Object j of ``n_objects`` is seen as j / (``n_objects`` + 1).

    ## Rewards
    +.2 on reaching the fixation, +1 on reaching the good object and -1 on reaching the other one; 0
    at all other steps. With 6 trials, an agent that remembers the good object earns 6.2 on average
    (.2 in each trial, 0 in the first choice, 1 in each other one) in 35 steps, and one that goes to
    the fixation but chooses at random earns 1.2. A random walk earns .95, because it reaches the
    fixation only 4.7 times in 250 steps. ``plasticrl.envs.reference_harlow`` has the first two as
    policies.

    ## Starting State
    The fixation 1 to 3 cells away, on either side; two new objects, which differ from each other
    and from the fixation.

    ## Episode End
    Terminated after ``n_trials`` choices; truncated after ``episode_length`` steps. At the last
    step, ``info["trials"]`` is the number of choices, and ``info["correct_1"]``,
    ``info["correct_2"]`` ... are 1 where the choice was right, else 0.

    ## Arguments
    - ``n_trials`` (6): choices in an episode, at most 100.
    - ``n_objects`` (1000): different objects, from 2 to 100,000. With few of them, they are easier
      to tell apart, but an agent can learn during its training which values they have.
    - ``episode_length`` (250): the most steps in an episode.
    - ``max_episode_steps`` (None): Gymnasium's own, a lower number of steps in an episode; the
      observed time is still divided by ``episode_length``.
    - ``render_mode`` (None): "rgb_array" or "ansi".

    ## References
    - Harlow 1949, "The formation of learning sets", Psychological Review 56.
    - Wang et al. 2018, "Prefrontal cortex as a meta-reinforcement learning system", Nature
      Neuroscience 21.
    - The one-dimensional form: github.com/BKHMSI/Meta-RL-Harlow.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(HarlowBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options))
