"""Bernoulli bandit: find out by pulling arms which of them pays most often.

The task of Wang et al. 2016 (arXiv 1611.05763) and Duan et al. 2016 (arXiv 1611.02779). Arm a pays
with probability p[a], which no observation shows. The probabilities are drawn at the start of an
episode and stay the same until its end. With b the better arm of a pair, drawn with equal chances,

    independent    p[a] ~ U(0, 1) for every arm a
    correlated     p[0] ~ U(0, 1), p[1] = 1 - p[0]
    pair           p[b] = q, p[1 - b] = 1 - q

    reward = 1 with probability p[action], else 0
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

ARMS = ("independent", "correlated", "pair")
MAX_ARMS = 100
BIAS, TIME, REWARD, ACTION = range(4)  # features; the action's are all from ACTION on
N_RECENT = 10  # pulls that the scene shows
N_TILES = 10  # of the bar that shows a probability
SYMBOLS = (
    Symbol("background"),
    Symbol("probability", "▬", "tile", "cue", faint=True),
    Symbol("the rest to 1", "·", "tile", "muted", faint=True),
    Symbol("paid", "■", "tile", "goal"),
    Symbol("not paid", "□", "tile", "negative"),
    Symbol("pulled", "►", "right", "agent"),
    Symbol("best arm", "◎", "ring", "goal"),
)
BACKGROUND, PROBABILITY, REST, PAID, UNPAID, PULLED, BEST = range(7)  # indices of the symbols


class BanditWorld(NamedTuple):
    """The arms and the last pulls."""

    probabilities: Floats  # (B, n_arms)
    recent: Ints  # (B, N_RECENT) 2 * arm + reward, the last pull at the end; -1 before the first


class BanditBatch(BatchEnv[BanditWorld]):
    """``num_envs`` bandits as one vector environment; see ``Bandit`` for the task."""

    step_draws = 1
    row_attributes = ("probabilities",)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        n_arms: int = 2,
        arms: str = "independent",
        pair_probability: float | None = None,
        episode_length: int = 100,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        arguments.choice("arms", arms, ARMS)
        self.arms = arms
        self.n_arms = _checked_n_arms(n_arms, arms)
        self.pair_probability = _checked_pair_probability(pair_probability, arms)
        self.start_draws = self.n_arms if arms == "independent" else 1
        super().__init__(
            num_envs,
            _space(self.n_arms),
            Discrete(self.n_arms),
            BanditWorld(np.zeros(self.n_arms), np.full(N_RECENT, -1)),
            episode_length,
            max_episode_steps,
            autoreset_mode,
            render_mode,
            device,
        )
        self._views = self.put(_views(self.n_arms))
        self._row_starts = self.put(np.arange(num_envs) * self.n_arms)
        if self.pair_probability is not None:
            better, worse = self.pair_probability, 1.0 - self.pair_probability
            self._pairs = self.put(np.array([[better, worse], [worse, better]]))
        self._fresh = self.state.world

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the ranges of probabilities and of the codes of pulls."""
        return {"probabilities": (0, 1), "recent": (-1, 2 * self.n_arms - 1)}

    def start(self, world: BanditWorld, draws: Floats) -> BanditWorld:
        """Draw the arms; ``draws`` is (n_arms, B), or (1, B) if they depend on each other."""
        if self.arms == "independent":
            probabilities = self._copy(draws.T)
        elif self.arms == "correlated":
            probabilities = self.xp.stack([draws[0], 1.0 - draws[0]], axis=1)
        else:
            probabilities = rows_of(self._pairs, integers(self.xp, draws[0], 2))
        return self._fresh._replace(probabilities=probabilities)

    def advance(
        self, world: BanditWorld, action: Ints, draws: Floats
    ) -> tuple[BanditWorld, Floats]:
        """Pull an arm; ``draws`` is (1, B)."""
        pays = world.probabilities.reshape(-1)[self._row_starts + action]
        paid = draws[0] < pays
        pull = 2 * action + paid
        recent = self.xp.concat([world.recent[:, 1:], pull[:, None]], axis=1)
        reward = self.xp.where(paid, 1.0, self._blank.previous_reward)
        return BanditWorld(world.probabilities, recent), reward

    def observe(self, rows: Rows, world: BanditWorld) -> Observations:
        """Return (B, n_arms + 3): bias, time, previous reward, previous action."""
        out = rows_of(self._views, rows.previous_action)
        self._write_history(out[:, TIME : REWARD + 1], rows)
        return out

    @property
    def probabilities(self) -> HostArray:
        """(B, n_arms) the probability with which each arm pays."""
        return to_host(self.state.world.probabilities)

    def scene(self, row: int) -> Scene:
        """Show how often each arm pays, which the agent cannot see, and the last pulls below."""
        probabilities = self.probabilities[row]
        recent = to_host(self.state.world.recent)[row]
        n_arms, tiles = self.n_arms, slice(1, 1 + N_TILES)
        grid = np.full((2 * n_arms + 1, N_TILES + 2), BACKGROUND, dtype=np.uint8)
        filled = np.rint(N_TILES * probabilities)[:, None] > np.arange(N_TILES)
        grid[:n_arms, tiles] = np.where(filled, PROBABILITY, REST)
        grid[np.argmax(probabilities), -1] = BEST
        places = np.flatnonzero(recent >= 0)
        arm, paid = recent[places] >> 1, recent[places] & 1
        grid[n_arms + 1 + arm, 1 + places] = np.where(paid, PAID, UNPAID)
        grid[arm[-1:], 0] = PULLED
        caption = ""
        if len(arm):
            caption = f"arm {arm[-1] + 1} {'paid' if paid[-1] else 'did not pay'}"
        actions = tuple(f"arm {number}" for number in range(1, n_arms + 1))
        return Scene(SYMBOLS, grid, caption, actions)


def _checked_n_arms(n_arms: int, arms: str) -> int:
    n_arms = arguments.integer("n_arms", n_arms, minimum=2, maximum=MAX_ARMS)
    if n_arms != 2 and arms != "independent":
        raise arguments.ArgumentError(f"n_arms must be 2 with arms={arms!r}, got {n_arms}")
    return n_arms


def _checked_pair_probability(probability: float | None, arms: str) -> float | None:
    name = "pair_probability"
    if arms == "pair":
        return arguments.number(name, probability, minimum=0.5, maximum=1.0, exclusive=True)
    if probability is not None:
        raise arguments.ArgumentError(
            f"{name} must be None, unless arms='pair'; got {probability!r} with arms={arms!r}"
        )
    return None


def _views(n_arms: int) -> HostArray:
    """(n_arms + 1, n_arms + 3) observations by previous action, with time and reward zero."""
    history = history_table(n_arms)
    return np.concatenate([np.ones((len(history), 1), dtype=np.float32), history], axis=1)


def _space(n_arms: int) -> Box:
    high = np.ones(ACTION + n_arms, dtype=np.float32)
    return Box(np.zeros_like(high), high, dtype=np.float32)


class Bandit(SingleEnv[BanditBatch]):
    """Find out by pulling arms which of them pays most often.

    ## Description
    Every episode has ``n_arms`` new arms. Each pays with a probability of its own, which stays the
    same for the episode and cannot be observed. The agent learns of an arm only by pulling it, so
    it has to balance exploration against pulling the arm that seems to be the best one.
    ``gymnasium.make_vec`` makes a ``BanditBatch``, each row of which is this environment.

    ## Action Space
    ``Discrete(n_arms)``: the arm to pull.

    ## Observation Space
    ``Box`` of ``n_arms`` + 3 float32:

    | index | what | range |
    |---|---|---|
    | 0 | bias | 1 |
    | 1 | steps so far / episode length | 0 to 1 |
    | 2 | previous reward | 0, 1 |
    | 3 to n_arms + 2 | previous action, one-hot; all zero at the first step | 0, 1 |

    ## Rewards
    1 if the arm pays, else 0. These are the expected totals of an episode of 100 steps for an agent
    that pulls random arms (chance), for the Bayes-optimal one (the optimum) and for one that knows
    the probabilities:

    | arms | chance | optimum | knows the probabilities |
    |---|---|---|---|
    | 2 independent ones | 50 | 64.92 | 66.67 |
    | correlated | 50 | 73.78 | 75 |
    | pair, ``pair_probability`` 0.9 | 50 | 89.38 | 90 |
    | pair, ``pair_probability`` 0.75 | 50 | 74.00 | 75 |
    | pair, ``pair_probability`` 0.6 | 50 | 57.69 | 60 |

    In simulations, Thompson sampling got 63.8 with 2 independent arms and 74.9 with 5, for which
    chance is 50 and an agent that knows the probabilities gets 83.33. ``plasticrl.envs.reference``
    has Thompson sampling and the Bayes-optimal agents for 2 arms.

    ## Starting State
    New probabilities.

    ## Episode End
    Truncated after ``episode_length`` steps; never terminated.

    ## Arguments
    - ``n_arms`` (2): 2 to 100.
    - ``arms`` ("independent"): how the probabilities are drawn. "independent": each from U(0, 1);
      "correlated": that of the first arm from U(0, 1), and the two add up to 1; "pair": one is
      ``pair_probability``, the two add up to 1, and either arm is the better one with probability
      1/2. "correlated" and "pair" have 2 arms.
    - ``pair_probability`` (None): the better arm's probability, greater than 0.5 and at most 1. It
      has to be given with ``arms="pair"``, and only then. Wang et al. have 0.9, 0.75 and 0.6.
    - ``episode_length`` (100): steps (pulls) in an episode.
    - ``max_episode_steps`` (None): Gymnasium's own, a lower number of steps in an episode; the
      observed time is still divided by ``episode_length``.
    - ``render_mode`` (None): "rgb_array" or "ansi".

    ## References
    - Wang, Kurth-Nelson, Tirumala, Soyer, Leibo, Munos, Blundell, Kumaran & Botvinick 2016,
      "Learning to reinforcement learn", arXiv 1611.05763.
    - Duan, Schulman, Chen, Bartlett, Sutskever & Abbeel 2016, "RL^2: Fast Reinforcement Learning
      via Slow Reinforcement Learning", arXiv 1611.02779.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(BanditBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options))
