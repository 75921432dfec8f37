"""Cue-reward association: which of the episode's cues is the one that counts?

Facts (Miconi et al. 2019, arXiv 2002.10585, section 4.1). A trial of length L, h = n_cues // 2:

    place     0       1 .. L - 3                        L - 2    L - 1
    shows     blank   h cues and L - 3 - h blanks        go       blank
    L = h + 3 + U{0 .. max_extra_blanks}

The cues shown and their places are drawn as the trial goes on. With s places and r cues left, the
next place has a cue with probability r / s, and it is any of those not shown yet: the same as to
shuffle first (selection sampling, Knuth, TAOCP vol. 2, 3.4.2 S), without a schedule to store.
"""

from typing import NamedTuple, TypedDict, Unpack

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from plasticrl.envs import arguments
from plasticrl.envs.arrays import Array, Bools, Floats, Frame, Ints, Observations, rows_of
from plasticrl.envs.batch import BatchEnv, Rows
from plasticrl.envs.counter_random import integers
from plasticrl.envs.drawing import CuePicture, cue_frame, cue_text
from plasticrl.envs.history import write_history
from plasticrl.envs.single import SingleEnv

MAX_CUES = 32
MAX_BITS = 52  # of a random cue, which is drawn as one integer from a 53-bit uniform number
EXTRA_FEATURES = 7  # go, bias, time, reward, unused, and the two actions


class CueWorld(NamedTuple):
    """The episode's cues and the place in the trial; (B,) unless said otherwise."""

    n_cues: Ints
    next_n_cues: Ints  # for the next episode
    cues: Ints  # (B, MAX_CUES) the cues as integer codes, -1 beyond n_cues
    order: Ints  # (B, MAX_CUES) cue indices, those shown in this trial first
    target: Ints  # index of the cue that counts
    place: Ints  # in the trial, from 0
    length: Ints  # of the trial
    shown: Ints  # cues shown so far in this trial
    cue: Ints  # index of the cue in sight, -1 for none
    target_shown: Bools
    trials: Ints  # answered in this episode


class CueArguments(TypedDict, total=False):
    """Keyword arguments that `CueReward` hands on to `CueRewardBatch`."""

    n_cues: int
    cue_bits: int
    episode_length: int
    reward_flip_probability: float
    max_extra_blanks: int | None
    cue_kind: str
    render_mode: str | None


class CueRewardBatch(BatchEnv[CueWorld]):
    """`num_envs` cue-reward tasks as one vector environment; see `CueReward` for the task."""

    start_draws = MAX_CUES + 2
    step_draws = 2

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
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        num_envs = arguments.integer("num_envs", num_envs, minimum=1)
        arguments.choice("cue_kind", cue_kind, ("random", "one_hot"))
        self.one_hot_cues = cue_kind == "one_hot"
        most = None if self.one_hot_cues else MAX_BITS
        self.cue_bits = arguments.integer("cue_bits", cue_bits, minimum=1, maximum=most)
        n_cues = self._checked_n_cues(n_cues)
        self.reward_flip_probability = arguments.number(
            "reward_flip_probability", reward_flip_probability, maximum=1.0
        )
        if max_extra_blanks is not None:
            max_extra_blanks = arguments.integer("max_extra_blanks", max_extra_blanks, minimum=0)
        self.max_extra_blanks = max_extra_blanks
        # One row per previous action, and a last one, all zero, for "none yet".
        self._one_hot = np.eye(3, 2, dtype=np.float32)
        self._byte_places = np.arange(0, self.cue_bits, 8)
        self._digits = np.eye(self.cue_bits + 1, self.cue_bits, dtype=np.float32)
        if not self.one_hot_cues:
            self._digits = _byte_table()
        super().__init__(
            num_envs,
            self._space(),
            Discrete(2),
            _blank_world(num_envs, n_cues),
            arguments.integer("episode_length", episode_length, minimum=1),
            autoreset_mode,
            render_mode,
        )

    def set_n_cues(self, n_cues: int) -> None:
        """Have `n_cues` cues from each row's next episode on; the observation space stays."""
        n_cues = self._checked_n_cues(n_cues)
        after = np.full_like(self._world.next_n_cues, n_cues)
        self._world = self._world._replace(next_n_cues=after)

    def start(self, world: CueWorld, draws: Floats) -> CueWorld:
        """Draw cues, a target and the first trial's length; `draws` is (B, MAX_CUES + 2)."""
        n_cues = world.next_n_cues
        fresh = _blank_world(self.num_envs, 0)
        return fresh._replace(
            n_cues=n_cues,
            next_n_cues=n_cues,
            cues=self._draw_cues(n_cues, draws[:, 2:]),
            target=integers(draws[:, 1], n_cues),
            length=self._trial_length(n_cues, draws[:, 0]),
        )

    def advance(self, world: CueWorld, action: Ints, draws: Floats) -> tuple[CueWorld, Floats]:
        """Answer, then move on to the next place in the trial; `draws` is (B, 2)."""
        # `event` decides the reward's flip at a go step, the length at a new trial and, between
        # the two, cue or blank: never two of them at the same step.
        event, which = draws[:, 0], draws[:, 1]
        go = _is_go(world)
        right = (action == 1) == world.target_shown
        reward = np.where(right != (event < self.reward_flip_probability), 1.0, -1.0)
        world = self._next_place(world._replace(trials=world.trials + go), event)
        return _next_cue(world, event, which), np.where(go, reward, 0.0)

    def observe(self, rows: Rows, world: CueWorld) -> Observations:
        """Return (B, cue_bits + 7): bits, go, bias, time, previous reward, unused, action."""
        bits = self.cue_bits
        out = np.zeros((self.num_envs, bits + EXTRA_FEATURES), dtype=np.float32)
        out[:, :bits] = self._bits_in_sight(world)
        out[:, bits] = _is_go(world)
        out[:, bits + 1] = 1.0
        write_history(
            out[:, bits + 2 :],
            rows.steps / self.episode_length,
            rows.previous_reward,
            rows_of(self._one_hot, rows.previous_action),
            unused=1,
        )
        return out

    def episode_info(self, world: CueWorld) -> dict[str, Array]:
        """`trials`: go steps answered in the episode."""
        return {"trials": world.trials}

    @property
    def target(self) -> Ints:
        """(B,) index of the cue that counts."""
        return self._world.target.copy()

    @property
    def target_shown(self) -> Bools:
        """(B,) whether the target has been shown in the present trial."""
        return self._world.target_shown.copy()

    @property
    def cues(self) -> Observations:
        """(B, MAX_CUES, cue_bits) the cues as they are shown; rows beyond n_cues mean nothing."""
        return self._bits(self._world.cues)

    @property
    def n_cues(self) -> Ints:
        """(B,) cues in the present episode."""
        return self._world.n_cues.copy()

    def draw(self, row: int) -> Frame | str:
        """Picture one row: what is in sight, the episode's cues, the go light, the last reward."""
        world = self._world
        picture = CuePicture(
            sight=self._bits_in_sight(world)[row],
            cues=self.cues[row, : world.n_cues[row]],
            target=int(world.target[row]),
            cue=int(world.cue[row]),
            go=bool(_is_go(world)[row]),
            reward=float(self._rows.previous_reward[row]),
            step=int(self._rows.steps[row]),
            episode_length=self.episode_length,
        )
        return cue_text(picture) if self.render_mode == "ansi" else cue_frame(picture)

    def _draw_cues(self, n_cues: Ints, draws: Floats) -> Ints:
        """(B, MAX_CUES) distinct codes, every set of them as likely: Floyd's sampling.

        For j = N - n .. N - 1: draw t from 0 .. j and take t, or j if t has been taken before
        (Bentley & Floyd 1987, "A sample of brilliance", CACM 30(9)).
        """
        codes = np.full((self.num_envs, MAX_CUES), -1, dtype=np.int64)
        for i in range(int(n_cues.max())):
            if self.one_hot_cues:
                code = np.full_like(n_cues, i)
            else:
                last = 2**self.cue_bits - n_cues + i
                code = integers(draws[:, i], last + 1)
                taken = (codes[:, :i] == code[:, None]).any(axis=1)
                code = np.where(taken, last, code)
            codes[:, i] = np.where(i < n_cues, code, -1)
        return codes

    def _trial_length(self, n_cues: Ints, uniform: Floats) -> Ints:
        most = n_cues - 1 if self.max_extra_blanks is None else self.max_extra_blanks
        return n_cues // 2 + 3 + integers(uniform, most + 1)

    def _next_place(self, world: CueWorld, event: Floats) -> CueWorld:
        """Count one place on; after the last one a new trial begins."""
        over = world.place + 1 == world.length
        return world._replace(
            place=np.where(over, 0, world.place + 1),
            length=np.where(over, self._trial_length(world.n_cues, event), world.length),
            shown=np.where(over, 0, world.shown),
            target_shown=world.target_shown & ~over,
        )

    def _bits_in_sight(self, world: CueWorld) -> Observations:
        """(B, cue_bits) the cue in sight, or zeros."""
        code = world.cues[np.arange(self.num_envs), world.cue]
        return self._bits(np.where(world.cue < 0, -1, code))

    def _bits(self, codes: Ints) -> Observations:
        """Codes (...) as inputs (..., cue_bits): +1 and -1, or one-hot; zeros for code -1."""
        digit = codes[..., None]
        if not self.one_hot_cues:
            digit = (digit >> self._byte_places) & 255
        digit = np.where(codes[..., None] < 0, len(self._digits) - 1, digit)
        bits = rows_of(self._digits, digit).reshape(*codes.shape, -1)
        return bits[..., : self.cue_bits]

    def _checked_n_cues(self, n_cues: int) -> int:
        room = self.cue_bits if self.one_hot_cues else 2 ** min(self.cue_bits, MAX_CUES)
        n_cues = arguments.integer("n_cues", n_cues, minimum=2, maximum=MAX_CUES)
        if n_cues > room:
            raise ValueError(
                f"n_cues must be at most {room}, the distinct cues of cue_bits={self.cue_bits}, "
                f"got {n_cues}"
            )
        return n_cues

    def _space(self) -> Box:
        low = np.zeros(self.cue_bits + EXTRA_FEATURES, dtype=np.float32)
        low[: self.cue_bits] = 0.0 if self.one_hot_cues else -1.0
        low[self.cue_bits + 3] = -1.0  # previous reward
        return Box(low, np.ones_like(low), dtype=np.float32)


def _blank_world(num_envs: int, n_cues: int) -> CueWorld:
    zeros = np.zeros(num_envs, dtype=np.int64)
    number = np.full_like(zeros, n_cues)
    order = np.tile(np.arange(MAX_CUES), (num_envs, 1))
    no = np.zeros(num_envs, dtype=np.bool_)
    none = np.full_like(zeros, -1)
    cues = np.full_like(order, -1)
    return CueWorld(number, number, cues, order, zeros, zeros, zeros, zeros, none, no, zeros)


def _byte_table() -> Observations:
    """(257, 8) the bits of each byte as +1 and -1, the lowest first; a last row of zeros."""
    table = np.zeros((257, 8), dtype=np.float32)
    table[:256] = (np.arange(256)[:, None] >> np.arange(8)) % 2 * 2 - 1
    return table


def _is_go(world: CueWorld) -> Bools:
    """The last place but one asks for the answer."""
    go: Bools = world.place == world.length - 2
    return go


def _next_cue(world: CueWorld, event: Floats, which: Floats) -> CueWorld:
    """Decide whether the place has a cue, and which: one step of Fisher and Yates' shuffle."""
    left = world.length - 2 - world.place  # places for cues and blanks, this one included
    wanted = world.n_cues // 2 - world.shown
    show = (world.place > 0) & (left > 0) & (event * left < wanted)
    row = np.arange(len(show))
    pick = world.shown + integers(which, world.n_cues - world.shown)
    chosen, first = world.order[row, pick], world.order[row, world.shown]
    order = world.order.copy()
    order[row, pick] = np.where(show, first, chosen)
    order[row, world.shown] = np.where(show, chosen, first)
    return world._replace(
        order=order,
        shown=world.shown + show,
        cue=np.where(show, chosen, -1),
        target_shown=world.target_shown | (show & (chosen == world.target)),
    )


class CueReward(SingleEnv[CueRewardBatch]):
    """Find out by trial and error which cue counts, then say whether it was shown.

    ## Description
    Every episode has its own `n_cues` random cues, and one of them is the target; nothing says
    which. An episode is a string of trials. A trial shows a blank; then half of the cues, once
    each, in random order and mixed with blanks; then the go signal, at which the agent answers
    whether the target was among them; then a blank. The reward is all it has to learn from. A row
    of `CueRewardBatch`, which `gymnasium.make_vec` gives, is this environment.

    ## Action Space
    `Discrete(2)`: at the go step, 1 "the target was shown" and 0 "it was not"; at any other step
    the action does nothing.

    ## Observation Space
    `Box` of `cue_bits` + 7 float32; with b = `cue_bits`:

    | index | what | range |
    |---|---|---|
    | 0 to b - 1 | the cue, bit by bit; all zero where none is shown | -1, 0, 1 |
    | b | go | 0, 1 |
    | b + 1 | bias | 1 |
    | b + 2 | steps so far / episode length | 0 to 1 |
    | b + 3 | previous reward | -1, 0, 1 |
    | b + 4 | unused | 0 |
    | b + 5, b + 6 | previous action, one-hot; all zero at the first step | 0, 1 |

    ## Rewards
    At the go step +1 for the right answer and -1 for the wrong one, its sign flipped with
    probability `reward_flip_probability`; 0 at all other steps. Per trial, 1 is perfect; with an
    even number of cues 0 is chance.

    ## Starting State
    New cues, a new target, the first step of a trial.

    ## Episode End
    Truncated after `episode_length` steps; never terminated. `info["trials"]` of the last step is
    the number of go steps answered.

    ## Arguments
    - `n_cues` (4): cues in an episode, 2 to 32; `set_n_cues` changes it from the next episode on.
    - `cue_bits` (20): inputs for a cue.
    - `episode_length` (120): steps in an episode; the paper says 200, the authors' code 120.
    - `reward_flip_probability` (0.0).
    - `max_extra_blanks` (None): a trial has n_cues // 2 + 3 + U{0 .. max_extra_blanks} steps; None
      means n_cues - 1.
    - `cue_kind` ("random"): "random" are distinct vectors of +1 and -1, new in each episode;
      "one_hot" are fixed, and need `cue_bits` >= `n_cues`.
    - `render_mode` (None): "rgb_array" or "ansi".

    ## References
    - Miconi, Rawal, Clune & Stanley 2019, "Backpropamine", arXiv 2002.10585, section 4.1.
    """

    def __init__(self, **options: Unpack[CueArguments]) -> None:
        super().__init__(CueRewardBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options))

    def set_n_cues(self, n_cues: int) -> None:
        """Have `n_cues` cues from the next episode on; the observation space stays."""
        self.batch.set_n_cues(n_cues)
