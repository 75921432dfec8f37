"""Two-step task: an action leads to one of two states, and the better one of them changes.

The task of Wang et al. 2018 (Nature Neuroscience 21), after Daw et al. 2011 (Neuron 69). A trial
has two steps. With c the probability of a common transition, q that of a reward in the better state
and s that of a swap,

    step 1, in S0         action a leads to S[a + 1] with probability c, and else to the other state
    step 2, in S1 or S2   reward = 1 with probability q in the better state, 1 - q in the other one;
                          any action leads to S0; the two states swap their roles with probability s

The reward belongs to the state that was reached. After a rare transition, it is therefore a reason
to choose the other action in the next trial: an agent that has a model of the task does so, while
an agent that repeats rewarded actions does not.
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from plasticrl.envs import arguments
from plasticrl.envs.arrays import Floats, HostArray, Ints, Observations, rows_of
from plasticrl.envs.batch import BatchEnv, Rows
from plasticrl.envs.counter_random import integers
from plasticrl.envs.history import history_table
from plasticrl.envs.scene import Scene, Symbol
from plasticrl.envs.single import SingleEnv

ACTIONS = ("up", "down")
N_STATES = 3
BIAS, TIME, REWARD, ACTION = range(N_STATES, N_STATES + 4)  # features, after the state's
N_FEATURES = ACTION + len(ACTIONS)
SYMBOLS = (
    Symbol("floor", "·"),
    Symbol("wall", "█", "block", "wall"),
    Symbol("chose up", "▲", "up", "cue"),
    Symbol("chose down", "▼", "down", "cue"),
    Symbol("better state", "◎", "ring", "goal"),
    Symbol("worse state", "○", "ring", "muted"),
    Symbol("agent", "●", "disc", "agent"),
)
FLOOR, WALL, CHOICE, BETTER, WORSE, AGENT = 0, 1, 2, 4, 5, 6  # indices of the symbols
PLACES = ((2, 1), (1, 4), (3, 4))  # row and column of the agent in each state
SHOWN = ((1, 2), (3, 2))  # where the scene shows each choice


class TwoStepWorld(NamedTuple):
    """Each (B,)."""

    stage: Ints  # the state: 0, 1 or 2
    better: Ints  # the state that pays more often: 1 or 2


class TwoStepBatch(BatchEnv[TwoStepWorld]):
    """``num_envs`` two-step tasks as one vector environment; see ``TwoStep`` for the task."""

    start_draws = 1
    step_draws = 2

    def __init__(
        self,
        num_envs: int = 1,
        *,
        common_probability: float = 0.8,
        reward_probability: float = 0.9,
        swap_probability: float = 0.025,
        episode_length: int = 200,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        self.common_probability = arguments.number(
            "common_probability", common_probability, 0.5, 1.0, exclusive=True
        )
        self.reward_probability = arguments.number(
            "reward_probability", reward_probability, 0.5, 1.0, exclusive=True
        )
        self.swap_probability = arguments.number("swap_probability", swap_probability, maximum=1.0)
        super().__init__(
            num_envs,
            _space(),
            Discrete(len(ACTIONS)),
            TwoStepWorld(stage=0, better=1),
            episode_length,
            max_episode_steps,
            autoreset_mode,
            render_mode,
            device,
        )
        self._views = self.put(_views())
        self._worse = self.put(np.full(num_envs, 1.0 - self.reward_probability))

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the ranges of the states."""
        return {"stage": (0, N_STATES - 1), "better": (1, N_STATES - 1)}

    def start(self, world: TwoStepWorld, draws: Floats) -> TwoStepWorld:
        """Begin in S0 and draw the better state; ``draws`` is (1, B)."""
        return TwoStepWorld(self.xp.zeros_like(world.stage), 1 + integers(self.xp, draws[0], 2))

    def advance(
        self, world: TwoStepWorld, action: Ints, draws: Floats
    ) -> tuple[TwoStepWorld, Floats]:
        """Take step 1 or step 2 of a trial.

        Args:
            draws: (2, B). The first number decides the transition in step 1 and the reward in step
                2, the second one whether the states swap in step 2.
        """
        where, (stage, better) = self.xp.where, world
        choosing = stage == 0
        reached = 1 + where(draws[0] < self.common_probability, action, 1 - action)
        pays = where(stage == better, self.reward_probability, self._worse)
        paid = ~choosing & (draws[0] < pays)
        swaps = ~choosing & (draws[1] < self.swap_probability)
        world = TwoStepWorld(reached * choosing, where(swaps, 3 - better, better))
        return world, where(paid, 1.0, self._blank.previous_reward)

    def observe(self, rows: Rows, world: TwoStepWorld) -> Observations:
        """Return (B, 8): state, bias, time, previous reward, previous action."""
        out = rows_of(self._views, world.stage * (len(ACTIONS) + 1) + rows.previous_action)
        self._write_history(out[:, TIME : REWARD + 1], rows)
        return out

    def scene(self, row: int) -> Scene:
        """Show the two ways, the agent, its choice, and which state is the better one."""
        stage, better = int(self.state.world.stage[row]), int(self.state.world.better[row])
        grid = np.full((5, 7), WALL, dtype=np.uint8)
        grid[2, 1] = grid[1:4, 2] = grid[1, 2:5] = grid[3, 2:5] = FLOOR
        grid[1, 5], grid[3, 5] = (BETTER, WORSE) if better == 1 else (WORSE, BETTER)
        caption = "choose"
        if stage:
            choice = int(self.state.rows.previous_action[row])
            grid[SHOWN[choice]] = CHOICE + choice
            caption = "a common transition" if stage == choice + 1 else "a rare transition"
        grid[PLACES[stage]] = AGENT
        return Scene(SYMBOLS, grid, caption, ACTIONS)


def _views() -> HostArray:
    """(9, 8) observations by state and previous action, with time and reward zero."""
    history = history_table(len(ACTIONS))
    views = np.zeros((N_STATES, len(history), N_FEATURES), dtype=np.float32)
    views[..., :N_STATES] = np.eye(N_STATES)[:, None]
    views[..., BIAS] = 1.0
    views[..., TIME:] = history
    return views.reshape(-1, N_FEATURES)


def _space() -> Box:
    high = np.ones(N_FEATURES, dtype=np.float32)
    return Box(np.zeros_like(high), high, dtype=np.float32)


class TwoStep(SingleEnv[TwoStepBatch]):
    """Choose an action that leads to one of two states; which of these is the better one changes.

    ## Description
    An episode is a sequence of trials, each of two steps. In S0 the agent chooses up or down. Up
    leads to S1 and down to S2, but with probability 1 - ``common_probability`` (a rare transition)
    it is the other way round. In S1 and S2 any action leads back to S0. One of the two states pays
    more often than the other one, and no observation says which. At the end of each trial the two
    swap their roles with probability ``swap_probability``. ``gymnasium.make_vec`` makes a
    ``TwoStepBatch``, each row of which is this environment.

    Whether an agent uses a model of the task can be seen from how often it stays, that is, chooses
    the same action as in the trial before. An agent with a model stays after a common transition
    with a reward and after a rare transition without one, since a state that was reached by a rare
    transition is where the other action usually leads to. An agent without a model stays after
    every reward. ``stay_probabilities`` in ``plasticrl.envs.reference`` computes this from recorded
    observations, actions and rewards.

    ## Action Space
    ``Discrete(2)``: in S0, 0 up and 1 down; in S1 and S2 the action does nothing.

    ## Observation Space
    ``Box`` of 8 float32:

    | index | what | range |
    |---|---|---|
    | 0-2 | the state, one-hot: S0, S1, S2 | 0, 1 |
    | 3 | bias | 1 |
    | 4 | steps so far / episode length | 0 to 1 |
    | 5 | previous reward | 0, 1 |
    | 6, 7 | previous action, one-hot; all zero at the first step | 0, 1 |

    ## Rewards
    In S1 and S2, 1 with probability ``reward_probability`` in the better state and with 1 -
    ``reward_probability`` in the other one, else 0; always 0 in S0. Chance, random choices, is .5
    per trial. With the default probabilities and 100 trials, the optimum is .706 per trial: it is
    that of the Bayesian filter of the better state (``TwoStepFilter`` in
    ``plasticrl.envs.reference``). An agent that knew the better state would get .74. The filter
    stays in all trials after a common transition with a reward or a rare one without, and in 2 of 3
    trials after the others.

    ## Starting State
    S0, at the first step of a trial; either state is the better one with probability 1/2.

    ## Episode End
    Truncated after ``episode_length`` steps; never terminated.

    ## Arguments
    - ``common_probability`` (0.8): of the transition up to S1 or down to S2; greater than 0.5 and
      at most 1.
    - ``reward_probability`` (0.9): of a reward in the better state; greater than 0.5 and at most 1.
    - ``swap_probability`` (0.025): that the two states swap their roles after a trial.
    - ``episode_length`` (200): steps in an episode; a trial has two of them.
    - ``max_episode_steps`` (None): Gymnasium's own, a lower number of steps in an episode; the
      observed time is still divided by ``episode_length``.
    - ``render_mode`` (None): "rgb_array" or "ansi".

    ## References
    - Wang, Kurth-Nelson, Kumaran, Tirumala, Soyer, Leibo, Hassabis & Botvinick 2018, "Prefrontal
      cortex as a meta-reinforcement learning system", Nature Neuroscience 21.
    - Daw, Gershman, Seymour, Dayan & Dolan 2011, "Model-based influences on humans' choices and
      striatal prediction errors", Neuron 69.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(TwoStepBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options))
