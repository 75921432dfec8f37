"""Cue-reward association: find out which of the episode's cues is the target.

The task is that of Miconi et al. 2019, arXiv 2002.10585, section 4.1. A trial has L steps; with
h = n_cues // 2,

    place     0       1 .. L - 3                        L - 2    L - 1
    shows     blank   h cues and L - 3 - h blanks        go       blank
    L = h + 3 + U{0 .. max_extra_blanks}

The cues and their places are drawn during the trial, so that no schedule has to be stored. With s
places and r cues left, the next place has a cue with probability r / s, and each cue that was not
shown yet is equally likely. This has the same distribution as a shuffle at the trial's start
(selection sampling, Knuth, TAOCP vol. 2, 3.4.2 S).
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from plasticrl.envs import arguments
from plasticrl.envs.arrays import (
    Array,
    Bools,
    Floats,
    HostArray,
    Ints,
    Observations,
    rows_of,
    to_host,
)
from plasticrl.envs.batch import BatchEnv, Rows
from plasticrl.envs.counter_random import integers
from plasticrl.envs.history import history_table
from plasticrl.envs.scene import Scene, Symbol
from plasticrl.envs.single import SingleEnv

MAX_CUES = 32
MAX_BITS = 52  # of a random cue, which is drawn as one integer from a uniform number of 53 bits
MAX_ONE_HOT_BITS = 10_000
DIGIT_BITS = 10  # of a random cue that are looked up at once
EXTRA_FEATURES = 7  # go, bias, time, reward, unused, and the two actions
SYMBOLS = (
    Symbol("background"),
    Symbol("+1", "■", "tile", "positive"),
    Symbol("-1 or 0", "□", "tile", "negative"),
    Symbol("+1, not in sight", "■", "tile", "positive", faint=True),
    Symbol("-1 or 0, not in sight", "□", "tile", "negative", faint=True),
    Symbol("in sight", "►", "right", "agent"),
    Symbol("target", "◎", "ring", "goal"),
    Symbol("go light, off", "○", "disc", "muted", faint=True),
    Symbol("go light, on", "●", "disc", "goal"),
)
BACKGROUND, BIT, FAINT_BIT, IN_SIGHT, TARGET, GO_LIGHT = 0, 1, 3, 5, 6, 7  # of the symbols
MAX_BITS_SHOWN = 64


class CueWorld(NamedTuple):
    """The episode's cues and the place in the trial; (B,) unless said otherwise."""

    n_cues: Ints
    next_n_cues: Ints  # for the next episode
    cues: Ints  # (B, MAX_CUES) the cues as integer codes, -1 beyond n_cues
    order: Ints  # (B, MAX_CUES) cue indices, those shown in this trial first
    target: Ints  # index of the target cue
    place: Ints  # in the trial, from 0
    length: Ints  # of the trial
    shown: Ints  # cues shown so far in this trial
    cue: Ints  # index of the cue in sight, -1 for none
    target_shown: Bools
    trials: Ints  # answered in this episode


class CueRewardBatch(BatchEnv[CueWorld]):
    """``num_envs`` cue-reward tasks as one vector environment; see ``CueReward`` for the task."""

    start_draws = MAX_CUES + 2
    step_draws = 2
    row_options = ("n_cues",)
    row_attributes = ("cues",)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        n_cues: int = 4,
        cue_bits: int = 20,
        episode_length: int = 120,
        reward_flip_probability: float = 0.0,
        max_extra_blanks: int | None = None,
        cue_kind: str = "random",
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        arguments.choice("cue_kind", cue_kind, ("random", "one_hot"))
        self.one_hot_cues = cue_kind == "one_hot"
        most = MAX_ONE_HOT_BITS if self.one_hot_cues else MAX_BITS
        self.cue_bits = arguments.integer("cue_bits", cue_bits, minimum=1, maximum=most)
        n_cues = self._checked_n_cues(n_cues)
        self.reward_flip_probability = arguments.number(
            "reward_flip_probability", reward_flip_probability, maximum=1.0
        )
        if max_extra_blanks is not None:
            max_extra_blanks = arguments.integer("max_extra_blanks", max_extra_blanks, minimum=0)
        self.max_extra_blanks = max_extra_blanks
        self._most_cues = n_cues  # the largest number so far
        super().__init__(
            num_envs,
            self._space(),
            Discrete(2),
            _blank_world(n_cues),
            episode_length,
            max_episode_steps,
            autoreset_mode,
            render_mode,
            device,
        )
        one_hot = np.eye(self.cue_bits + 1, self.cue_bits, dtype=np.float32)
        self._digits = self.put(one_hot if self.one_hot_cues else _digit_table())
        self._digit_places = self.put(np.arange(0, self.cue_bits, DIGIT_BITS))
        self._views = self.put(_views(self.cue_bits))
        self._row_starts = self.put(np.arange(num_envs) * MAX_CUES)
        self._wrong = self.put(np.full(num_envs, -1.0))
        self._fresh = self.state.world

    def set_n_cues(self, n_cues: int, rows: HostArray | None = None) -> None:
        """Set the number of cues from each row's next episode on; the observation space stays.

        Args:
            rows: (B,) true for the rows in which it changes; None for all.
        """
        n_cues = self._checked_n_cues(n_cues)
        self._most_cues = max(self._most_cues, n_cues)
        world = self.state.world
        after = self.xp.full_like(world.next_n_cues, n_cues)
        if rows is not None:
            after = self.xp.where(self.put(rows), after, world.next_n_cues)
        self.state = self.state._replace(world=world._replace(next_n_cues=after))

    def set_state(self, state: dict[str, HostArray]) -> None:
        """Continue, bit for bit, from a state that ``get_state`` returned on any device."""
        super().set_state(state)
        self._most_cues = max(self._most_cues, int(state["next_n_cues"].max()))

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the ranges of codes, indices and counts."""
        n_codes = self.cue_bits if self.one_hot_cues else 2**self.cue_bits
        counts, index = (0, 2**62), MAX_CUES - 1
        return {
            "n_cues": (2, MAX_CUES),
            "next_n_cues": (2, MAX_CUES),
            "cues": (-1, n_codes - 1),
            "order": (0, index),
            "target": (0, index),
            "place": counts,
            "length": counts,
            "shown": (0, MAX_CUES // 2),
            "cue": (-1, index),
            "trials": counts,
        }

    def start(self, world: CueWorld, draws: Floats) -> CueWorld:
        """Draw cues, a target and the first trial's length; ``draws`` is (MAX_CUES + 2, B)."""
        n_cues = world.next_n_cues
        return self._fresh._replace(
            n_cues=n_cues,
            next_n_cues=n_cues,
            cues=self._draw_cues(n_cues, draws[2:]),
            target=integers(self.xp, draws[1], n_cues),
            length=self._trial_length(n_cues, draws[0]),
        )

    def advance(self, world: CueWorld, action: Ints, draws: Floats) -> tuple[CueWorld, Floats]:
        """Answer, then move on to the next place in the trial; ``draws`` is (2, B)."""
        # ``event`` decides whether the reward is flipped at a go step, the length at a new trial,
        # and cue or blank at any other step: no step uses it twice.
        event, which = draws
        go = _is_go(world)
        paid = action == world.target_shown
        if self.reward_flip_probability:
            paid = paid != (event < self.reward_flip_probability)
        where = self.xp.where
        reward = where(go, where(paid, 1.0, self._wrong), self._blank.previous_reward)
        return self._moved_on(world, world.trials + go, event, which), reward

    def observe(self, rows: Rows, world: CueWorld) -> Observations:
        """Return (B, cue_bits + 7): bits, go, bias, time, previous reward, unused, action."""
        bits = self.cue_bits
        out = rows_of(self._views, _is_go(world) * 3 + rows.previous_action)
        out[:, :bits] = self._bits_in_sight(world)
        self._write_history(out[:, bits + 2 : bits + 4], rows)
        return out

    def episode_info(self, world: CueWorld) -> dict[str, Array]:
        """Return ``trials``, the number of go steps in the episode."""
        return {"trials": world.trials}

    @property
    def cues(self) -> HostArray:
        """(B, MAX_CUES, cue_bits) the cues as they are shown; only the first n_cues matter."""
        codes = self.state.world.cues
        return to_host(self._bits(codes, codes < 0))

    def scene(self, row: int) -> Scene:
        """Show the episode's cues, one a line, which is in sight, the target, and the go light."""
        world, go = self.state.world, bool(_is_go(self.state.world)[row])
        cues = self.cues[row, : int(world.n_cues[row]), :MAX_BITS_SHOWN]
        cue, target = int(world.cue[row]), int(world.target[row])
        grid = np.full((len(cues), cues.shape[1] + 4), BACKGROUND, dtype=np.uint8)
        grid[:, 2:-2] = FAINT_BIT + (cues <= 0)
        if cue >= 0:
            grid[cue, 0] = IN_SIGHT
            grid[cue, 2:-2] -= FAINT_BIT - BIT
        grid[target, 1] = TARGET
        grid[0, -1] = GO_LIGHT + go
        caption = "go: was the target shown?" if go else ""
        return Scene(SYMBOLS, grid, caption, actions=("no", "yes"), goal="target")

    def _draw_cues(self, n_cues: Ints, draws: Floats) -> Ints:
        """(B, MAX_CUES) distinct codes by Floyd's sampling, in which every set is equally likely.

        For j = N - n .. N - 1: draw t from 0 .. j and take t, or j if t has been taken before
        (Bentley & Floyd 1987, "A sample of brilliance", CACM 30(9)).
        """
        where = self.xp.where
        codes = self.xp.full_like(self._fresh.cues, -1)
        for i in range(self._most_cues):
            if self.one_hot_cues:
                code = self.xp.full_like(n_cues, i)
            else:
                last = 2**self.cue_bits - n_cues + i
                code = integers(self.xp, draws[i], last + 1)
                taken = self.xp.any(codes[:, :i] == code[:, None], axis=1)
                code = where(taken, last, code)
            codes[:, i] = where(i < n_cues, code, -1)
        return codes

    def _trial_length(self, n_cues: Ints, uniform: Floats) -> Ints:
        extra = n_cues if self.max_extra_blanks is None else self.max_extra_blanks + 1
        return (n_cues >> 1) + 3 + integers(self.xp, uniform, extra)

    def _moved_on(self, world: CueWorld, trials: Ints, event: Floats, which: Floats) -> CueWorld:
        """Go to the next place, in a new trial after the last one, and draw what it shows.

        The cue is drawn by one step of the Fisher-Yates shuffle.
        """
        where, n_cues = self.xp.where, world.n_cues
        place = world.place + 1
        going = place != world.length
        place, shown = place * going, world.shown * going
        length = where(going, world.length, self._trial_length(n_cues, event))

        left = length - 2 - place  # places for cues and blanks, this one included; -1 at the end
        wanted = (n_cues >> 1) - shown  # 0 at the end
        show = going & (event * abs(left) < wanted)
        first = self._row_starts + shown
        pick = where(show, first + integers(self.xp, which, n_cues - shown), first)
        order = self._copy(world.order).reshape(-1)
        chosen = order[pick]
        order[pick] = order[first]
        order[first] = chosen
        cue = where(show, chosen, -1)
        return CueWorld(
            n_cues=n_cues,
            next_n_cues=world.next_n_cues,
            cues=world.cues,
            order=order.reshape(-1, MAX_CUES),
            target=world.target,
            place=place,
            length=length,
            shown=shown + show,
            cue=cue,
            target_shown=(world.target_shown & going) | (cue == world.target),
            trials=trials,
        )

    def _bits_in_sight(self, world: CueWorld) -> Observations:
        """(B, cue_bits) the cue in sight, or zeros."""
        codes = world.cues.reshape(-1)[self._row_starts + world.cue]
        return self._bits(codes, world.cue < 0)

    def _bits(self, codes: Ints, blank: Bools) -> Observations:
        """Codes (...) as inputs (..., cue_bits): +1 and -1, or one-hot; zeros where ``blank``."""
        digit = codes[..., None]
        if not self.one_hot_cues:
            digit = (digit >> self._digit_places) & (2**DIGIT_BITS - 1)
        digit = self.xp.where(blank[..., None], len(self._digits) - 1, digit)
        bits = rows_of(self._digits, digit).reshape(*codes.shape, -1)
        return bits[..., : self.cue_bits]

    def _checked_n_cues(self, n_cues: int) -> int:
        room = self.cue_bits if self.one_hot_cues else 2 ** min(self.cue_bits, MAX_CUES)
        n_cues = arguments.integer("n_cues", n_cues, minimum=2, maximum=MAX_CUES)
        if n_cues > room:
            raise arguments.ArgumentError(
                f"n_cues must be at most {room}, the distinct cues of cue_bits={self.cue_bits}, "
                f"got {n_cues}"
            )
        return n_cues

    def _space(self) -> Box:
        low = np.zeros(self.cue_bits + EXTRA_FEATURES, dtype=np.float32)
        low[: self.cue_bits] = 0.0 if self.one_hot_cues else -1.0
        low[self.cue_bits + 3] = -1.0  # previous reward
        return Box(low, np.ones_like(low), dtype=np.float32)


def _blank_world(n_cues: int) -> CueWorld:
    """One row before its first reset."""
    return CueWorld(
        n_cues=n_cues,
        next_n_cues=n_cues,
        cues=np.full(MAX_CUES, -1),
        order=np.arange(MAX_CUES),
        target=0,
        place=0,
        length=0,
        shown=0,
        cue=-1,
        target_shown=False,
        trials=0,
    )


def _digit_table() -> HostArray:
    """(1025, 10) the bits of each digit as +1 and -1, the lowest first; a last row of zeros."""
    table = np.zeros((2**DIGIT_BITS + 1, DIGIT_BITS), dtype=np.float32)
    table[:-1] = (np.arange(2**DIGIT_BITS)[:, None] >> np.arange(DIGIT_BITS)) % 2 * 2 - 1
    return table


def _views(bits: int) -> HostArray:
    """(6, bits + 7) observations by go and previous action, with cue, time and reward zero."""
    views = np.zeros((2, 3, bits + EXTRA_FEATURES), dtype=np.float32)
    views[1, :, bits] = 1.0  # go
    views[..., bits + 1] = 1.0  # bias
    views[..., bits + 2 :] = history_table(2, unused=1)
    return views.reshape(6, -1)


def _is_go(world: CueWorld) -> Bools:
    """Whether the place is the last but one, at which the agent answers."""
    return world.place == world.length - 2


class CueReward(SingleEnv[CueRewardBatch]):
    """Find out by trial and error which cue is the target, then say whether it was shown.

    ## Description
    Every episode has ``n_cues`` new random cues. One of them is the target, but no observation says
    which. An episode is a sequence of trials. A trial shows a blank; then half of the cues, once
    each, in random order and mixed with blanks; then the go signal, at which the agent answers
    whether the target was among them; then a blank. The agent can learn the target only from its
    rewards. ``gymnasium.make_vec`` makes a ``CueRewardBatch``, each row of which is this
    environment.

    ## Action Space
    ``Discrete(2)``: at the go step, 1 "the target was shown" and 0 "it was not"; at any other step
    the action does nothing.

    ## Observation Space
    ``Box`` of ``cue_bits`` + 7 float32; with b = ``cue_bits``:

    | index | what | range |
    |---|---|---|
    | 0 to b - 1 | the bits of the cue; all zero where none is shown | -1, 0, 1 |
    | b | go | 0, 1 |
    | b + 1 | bias | 1 |
    | b + 2 | steps so far / episode length | 0 to 1 |
    | b + 3 | previous reward | -1, 0, 1 |
    | b + 4 | unused | 0 |
    | b + 5, b + 6 | previous action, one-hot; all zero at the first step | 0, 1 |

    ## Rewards
    At the go step +1 for the right answer and -1 for the wrong one, with the sign flipped with
    probability ``reward_flip_probability``; 0 at all other steps. An agent that knew the target
    would get 1 per trial, but every agent has to find it first: with 4 cues, an ideal observer
    loses 2 of an episode's rewards by that, so it gets .89 per trial in episodes of 120 steps and
    .93 in episodes of 200. With an even number of cues, chance is 0.

    ## Starting State
    New cues, a new target, the first step of a trial.

    ## Episode End
    Truncated after ``episode_length`` steps; never terminated. At the last step,
    ``info["trials"]`` is the number of go steps in the episode.

    ## Arguments
    - ``n_cues`` (4): cues in an episode, 2 to 32; ``set_n_cues``, or the reset option
      ``n_cues``, changes it for the next episodes.
    - ``cue_bits`` (20): inputs for a cue.
    - ``episode_length`` (120): steps in an episode; the paper says 200, the authors' code 120.
    - ``reward_flip_probability`` (0.0).
    - ``max_extra_blanks`` (None): a trial has n_cues // 2 + 3 + U{0 .. max_extra_blanks} steps;
      None means n_cues - 1.
    - ``cue_kind`` ("random"): "random" cues are distinct vectors of +1 and -1, new in each episode;
      "one_hot" cues are always the same and need ``cue_bits`` >= ``n_cues``.
    - ``max_episode_steps`` (None): Gymnasium's own, a lower number of steps in an episode; the
      observed time is still divided by ``episode_length``.
    - ``render_mode`` (None): "rgb_array" or "ansi".

    ## References
    - Miconi, Rawal, Clune & Stanley 2019, "Backpropamine", arXiv 2002.10585, section 4.1.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(CueRewardBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options))

    def set_n_cues(self, n_cues: int) -> None:
        """Set the number of cues from the next episode on; the observation space stays."""
        self.batch.set_n_cues(n_cues)
