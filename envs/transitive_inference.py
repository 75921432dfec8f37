"""Transitive inference: learn the order of neighboring items, then say which of any two is first.

The task of Miconi & Kay 2025. Every episode has n new items with a hidden order, rank 0 the first.
A trial has four steps, and every trial asks about one pair of items:

    place     0           1     2                       3
    shows     two items   go    the action and reward   blank
    reward = +1 if (action = 1) = (rank of item 1 < rank of item 2), else -1, for the action at go

An episode begins with the places 2 and 3 of a trial that never was, which are two blank steps. The
pairs of its trials are, in either order,

    standard   20 pairs of neighbors, then any pairs
    linking    10 neighbors in the first half of the order, 10 in the second half, the pair of
               neighbors that links the halves 4 times, then any pairs
    sham       as linking, but with a pair within the first half in place of the linking pair

The items are random bit strings, no two of which agree in more than 66 % of their bits, as in the
published code. They are drawn by rejection, with a fixed number of random numbers: of 96 random
candidates, each is taken in turn that does not agree too much with those taken so far, until there
are n. If there are not enough, the next item is the candidate whose largest agreement with an item
is the smallest. With 15 bits and 8 items, the 8th item is on average the 16th candidate, and the
candidates sufficed in all of a million simulated episodes; they sufficed least often with 12 bits
and 9 items, in 998.7 of 1000.
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

CUES, GO, FEEDBACK = range(3)  # the places in a trial, before the last, which is blank
TRIAL_LENGTH = 4
N_BLANKS = 2  # steps before the first trial
MAX_ITEMS = 9
MIN_LINKED_ITEMS = 6  # so that the first half has a pair that does not touch the linking pair
MIN_BITS, MAX_BITS = 10, 20
MAX_AGREEMENT = 0.66  # the share of their bits in which two items may agree
N_CANDIDATES = 96
EXTRA_FEATURES = 7  # go, bias, time, reward, unused, and the two actions
SCHEDULES = ("standard", "linking", "sham")
NAMES = "ABCDEFGHI"  # of the items in the pictures, in their order
SYMBOLS = (
    Symbol("background"),
    Symbol("+1", "■", "tile", "positive"),
    Symbol("-1", "□", "tile", "negative"),
    Symbol("+1, not in sight", "■", "tile", "positive", faint=True),
    Symbol("-1, not in sight", "□", "tile", "negative", faint=True),
    Symbol("item 1", "1", "right", "agent"),
    Symbol("item 2", "2", "right", "cue"),
    Symbol("before the other item", "◎", "ring", "goal"),
    Symbol("go light, off", "○", "disc", "muted", faint=True),
    Symbol("go light, on", "●", "disc", "goal"),
)
BACKGROUND, BIT, FAINT_BIT, ITEM, BEFORE, GO_LIGHT = 0, 1, 3, 5, 7, 8  # indices of the symbols


class ItemsWorld(NamedTuple):
    """The episode's items and the place in its trials; (B,) unless said otherwise."""

    n_items: Ints
    items: Ints  # (B, MAX_ITEMS) the items as integer codes, in their order; -1 beyond n_items
    pair: Ints  # (B, 2) the ranks of item 1 and item 2 of the trial; -1 before the first trial
    trial: Ints  # from 0; -1 in the blank steps before the first one
    place: Ints  # in the trial, from 0
    correct: Ints  # right answers in test trials


class TransitiveInferenceBatch(BatchEnv[ItemsWorld]):
    """``num_envs`` environments as one vector environment; see ``TransitiveInference``."""

    start_draws = 1 + N_CANDIDATES
    step_draws = 2
    row_attributes = ("n_items", "ranks")

    def __init__(
        self,
        num_envs: int = 1,
        *,
        min_items: int | None = None,
        max_items: int = 8,
        item_bits: int = 15,
        schedule: str = "standard",
        n_training_trials: int = 20,
        n_link_trials: int | None = None,
        n_test_trials: int = 10,
        episode_length: int | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        arguments.choice("schedule", schedule, SCHEDULES)
        self.schedule = schedule
        fewest = 2 if schedule == "standard" else MIN_LINKED_ITEMS
        self.max_items = arguments.integer("max_items", max_items, fewest, MAX_ITEMS)
        if min_items is None:
            min_items = min(max(fewest, 4), self.max_items)
        self.min_items = arguments.integer("min_items", min_items, fewest, self.max_items)
        self.item_bits = arguments.integer("item_bits", item_bits, MIN_BITS, MAX_BITS)
        self.n_training_trials = arguments.integer("n_training_trials", n_training_trials, 0)
        self.n_link_trials = self._checked_n_link_trials(n_link_trials)
        self.n_test_trials = arguments.integer("n_test_trials", n_test_trials, 1)
        # The number of the first test trial, from 0: the trials before it are of neighbors.
        self.first_test_trial = self.n_training_trials + self.n_link_trials
        n_trials = self.first_test_trial + self.n_test_trials
        whole = N_BLANKS + TRIAL_LENGTH * n_trials
        if episode_length is None:
            episode_length = whole
        episode_length = arguments.integer("episode_length", episode_length, 1, whole)
        super().__init__(
            num_envs,
            self._space(),
            Discrete(2),
            _blank_world(self.max_items),
            episode_length,
            max_episode_steps,
            autoreset_mode,
            render_mode,
            device,
        )
        self.most_agreement = int(MAX_AGREEMENT * self.item_bits)
        self._agreement = self.put(_agreement_table(self.item_bits))
        self._bit_places = self.put(np.arange(self.item_bits))
        self._views = self.put(_views(self.item_bits))
        self._row_starts = self.put(np.arange(num_envs)[:, None] * MAX_ITEMS)
        self._rows = self.put(np.arange(num_envs))
        self._candidates = self.put(np.arange(N_CANDIDATES)[:, None])
        self._wrong = self.put(np.full(num_envs, -1.0))
        self._fresh = self.state.world

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the ranges of codes, ranks and counts."""
        return {
            "n_items": (self.min_items, self.max_items),
            "items": (-1, 2**self.item_bits - 1),
            "pair": (-1, MAX_ITEMS - 1),
            "trial": (-1, 2**62),
            "place": (0, TRIAL_LENGTH - 1),
            "correct": (0, 2**62),
        }

    def start(self, world: ItemsWorld, draws: Floats) -> ItemsWorld:
        """Draw the number of items and the items; ``draws`` is (97, B)."""
        n_items = self.min_items + integers(self.xp, draws[0], self.max_items - self.min_items + 1)
        return self._fresh._replace(n_items=n_items, items=self._draw_items(n_items, draws[1:]))

    def advance(self, world: ItemsWorld, action: Ints, draws: Floats) -> tuple[ItemsWorld, Floats]:
        """Answer, then move on to the next place; ``draws`` (2, B) decide the next trial's pair."""
        where, go = self.xp.where, world.place == GO
        right = (action == 1) == (world.pair[:, 0] < world.pair[:, 1])
        reward = where(go, where(right, 1.0, self._wrong), self._blank.previous_reward)
        is_new = world.place == TRIAL_LENGTH - 1
        trial = world.trial + is_new
        pair = self._pair(trial, world.n_items, draws)
        return ItemsWorld(
            n_items=world.n_items,
            items=world.items,
            pair=where(is_new[:, None], pair, world.pair),
            trial=trial,
            place=where(is_new, 0, world.place + 1),
            correct=world.correct + (go & right & (world.trial >= self.first_test_trial)),
        ), reward

    def observe(self, rows: Rows, world: ItemsWorld) -> Observations:
        """Return (B, 2 item_bits + 7): items, go, bias, time, reward, unused, action."""
        n_bits = 2 * self.item_bits
        is_feedback = world.place == FEEDBACK
        view = self.xp.where(is_feedback, 2 + rows.previous_action, world.place == GO)
        out = rows_of(self._views, view)
        codes = world.items.reshape(-1)[self._row_starts + world.pair]
        bits = ((codes[..., None] >> self._bit_places) & 1) * 2 - 1
        out[:, :n_bits] = bits.reshape(-1, n_bits) * (world.place == CUES)[:, None]
        self._write_history(out[:, n_bits + 2 : n_bits + 4], rows)
        return out

    def episode_info(self, world: ItemsWorld) -> dict[str, HostArray]:
        """Return ``correct``, the number of right answers in the episode's test trials."""
        return {"correct": world.correct}

    @property
    def ranks(self) -> HostArray:
        """(B, 2) the ranks, from 0, of the trial's item 1 and item 2; -1 before the first trial."""
        return to_host(self.state.world.pair)

    @property
    def n_items(self) -> HostArray:
        """(B,) the number of the episode's items."""
        return to_host(self.state.world.n_items)

    def scene(self, row: int) -> Scene:
        """Show the items in their order, one a line, the pair, which is first, and the go light."""
        world = self.state.world
        n_items, place = int(world.n_items[row]), int(world.place[row])
        codes = to_host(world.items)[row, :n_items, None]
        pair = self.ranks[row].tolist()
        grid = np.full((n_items, self.item_bits + 5), BACKGROUND, dtype=np.uint8)
        grid[:, 3:-2] = FAINT_BIT + 1 - (codes >> np.arange(self.item_bits)) % 2
        grid[0, -1] = GO_LIGHT + (place == GO)
        caption = ""
        if pair[0] >= 0:
            grid[pair, [0, 1]] = ITEM, ITEM + 1
            grid[min(pair), 2] = BEFORE
            if place == CUES:
                grid[pair, 3:-2] -= FAINT_BIT - BIT
            one, other = (NAMES[rank] for rank in pair)
            caption = f"{'go: ' if place == GO else ''}is {one} before {other}?"
        return Scene(SYMBOLS, grid, caption, ("no", "yes"), goal="before the other item")

    def _draw_items(self, n_items: Ints, draws: Floats) -> Ints:
        """(B, MAX_ITEMS) codes, of candidates by ``draws`` (96, B); see the module's docstring."""
        xp = self.xp
        candidates = integers(xp, draws, 2**self.item_bits)
        items = xp.full_like(self._fresh.items, -1)
        # Of each candidate, the largest agreement with an item, and all that are allowed as equal.
        largest = xp.full_like(candidates, self.most_agreement)
        for rank in range(self.max_items):
            # The order decides between equals.
            best = xp.argmin(largest * N_CANDIDATES + self._candidates, axis=0)
            item = candidates.reshape(-1)[best * self.num_envs + self._rows]
            items[:, rank] = xp.where(rank < n_items, item, -1)
            agreement = rows_of(self._agreement, candidates ^ item)
            largest = xp.where(agreement > largest, agreement, largest)
        return items

    def _pair(self, trial: Ints, n_items: Ints, draws: Floats) -> Ints:
        """(B, 2) the ranks of the pair of a trial."""
        where, (one, other) = self.xp.where, draws
        first, n_pairs = self.xp.zeros_like(trial), n_items - 1  # of the pairs of neighbors
        if self.schedule != "standard":
            half = n_items >> 1
            in_second_half = trial >= self.n_training_trials >> 1
            first = where(in_second_half, half, 0)
            n_pairs = where(in_second_half, n_items - half, half) - 1
            is_link = trial >= self.n_training_trials
            first = where(is_link, half - (1 if self.schedule == "linking" else 3), first)
            n_pairs = where(is_link, 1, n_pairs)
        rank = first + integers(self.xp, one, n_pairs)
        any_rank = integers(self.xp, one, n_items)
        another = integers(self.xp, other, n_items - 1)
        another = another + (another >= any_rank)
        tested = trial >= self.first_test_trial
        item_1 = where(tested, any_rank, rank + (other < 0.5))
        item_2 = where(tested, another, rank + (other >= 0.5))
        return self.xp.stack([item_1, item_2], axis=1)

    def _checked_n_link_trials(self, n_link_trials: int | None) -> int:
        if self.schedule != "standard":
            given = 4 if n_link_trials is None else n_link_trials
            return arguments.integer("n_link_trials", given, minimum=0)
        if n_link_trials is None:
            return 0
        raise arguments.ArgumentError(
            f"n_link_trials must be None with schedule='standard', which has no such trials, "
            f"got {n_link_trials!r}"
        )

    def _space(self) -> Box:
        low = np.zeros(2 * self.item_bits + EXTRA_FEATURES, dtype=np.float32)
        low[: 2 * self.item_bits] = -1.0
        low[2 * self.item_bits + 3] = -1.0  # previous reward
        return Box(low, np.ones_like(low), dtype=np.float32)


def _blank_world(n_items: int) -> ItemsWorld:
    """One row at an episode's start, still without items."""
    return ItemsWorld(
        n_items=n_items,
        items=np.full(MAX_ITEMS, -1),
        pair=np.full(2, -1),
        trial=-1,
        place=TRIAL_LENGTH - N_BLANKS,
        correct=0,
    )


def _agreement_table(bits: int) -> HostArray:
    """(2^bits,) the number of bits in which two codes agree, by their exclusive or."""
    ones = (np.arange(2**bits)[:, None] >> np.arange(bits)) & 1
    agreement: HostArray = bits - ones.sum(axis=1)
    return agreement


def _views(bits: int) -> HostArray:
    """(5, 2 bits + 7) observations without items, time and reward.

    Row 0 is for most places, row 1 for go, and rows 2 to 4 are for feedback, by previous action.
    """
    views = np.zeros((5, 2 * bits + EXTRA_FEATURES), dtype=np.float32)
    views[1, 2 * bits] = 1.0  # go
    views[:, 2 * bits + 1] = 1.0  # bias
    views[2:, 2 * bits + 2 :] = history_table(2, unused=1)
    return views


class TransitiveInference(SingleEnv[TransitiveInferenceBatch]):
    """Learn the order of neighboring items by trial and error, then order any two items.

    ## Description
    Every episode has new random items A, B, C, ... with a hidden order. A trial shows two of them
    side by side for one step; at the next step, the go signal, the agent says whether item 1 comes
    before item 2; the step after that shows its answer and the reward; the last step is blank. In
    the training trials the two are neighbors in the order, and no observation says so. In the test
    trials they are any two items, so that the agent has to infer from A before B and B before C
    that A is before C. ``gymnasium.make_vec`` makes a ``TransitiveInferenceBatch``, each row of
    which is this environment.

    Two other schedules ask whether two separately learned lists can be joined. In "linking", the
    training trials show the neighbors of the first half of the items, then those of the second
    half, and a few trials show the last item of the first half with the first of the second: with 8
    items ABCD, EFGH and DE. In "sham", those few trials show BC in place of DE.

    ## Action Space
    ``Discrete(2)``: at the go step, 1 "item 1 is before item 2" and 0 "it is not"; at any other
    step the action does nothing.

    ## Observation Space
    ``Box`` of 2 ``item_bits`` + 7 float32; with b = ``item_bits``:

    | index | what | range |
    |---|---|---|
    | 0 to b - 1 | the bits of item 1 at a trial's first step, else 0 | -1, 0, 1 |
    | b to 2b - 1 | the bits of item 2 at a trial's first step, else 0 | -1, 0, 1 |
    | 2b | go | 0, 1 |
    | 2b + 1 | bias | 1 |
    | 2b + 2 | steps so far / episode length | 0 to 1 |
    | 2b + 3 | previous reward | -1, 0, 1 |
    | 2b + 4 | unused | 0 |
    | 2b + 5, 2b + 6 | the action of the go step, one-hot, at the step after it; else 0 | 0, 1 |

    A trial starts exactly where feature 0 is not 0. A net whose activity has to be reset at each
    trial can learn from that when to do so.

    ## Rewards
    At the go step +1 for the right answer and -1 for the wrong one; 0 at all other steps. Chance
    is 0, half of the answers right. No agent can be right in every test trial, because the training
    trials do not always include all pairs of neighbors, and it takes d pairs to infer the order of
    two items at distance d. An ideal observer of 20 training trials is right in the first test
    trial with probability (1 + p) / 2, where p is the probability that all d pairs were shown: with
    8 items .977 at distance 1, falling to .852 at distance 7, and .934 on average over all pairs.
    Since it learns from test trials too, it is right in .984 of all 10 of them (by simulation).
    With 4 to 8 items, these numbers are .977 for all pairs in the first test trial, and .995.
    ``plasticrl.envs.reference_transitive_inference`` has this observer as a policy.

    ## Starting State
    New items and, if ``min_items`` < ``max_items``, a new number of them. Two blank steps come
    before the first trial.

    ## Episode End
    Truncated after the last test trial (or ``episode_length``); never terminated. At the last step,
    ``info["correct"]`` is the number of right answers in test trials. ``ranks`` of the batch gives
    the ranks of the current pair of each row, for analyses by distance or by place in the order.

    ## Arguments
    - ``min_items``, ``max_items`` (None, 8): the number of items is drawn for each episode from
      ``min_items`` to ``max_items``, from 2 to 9. None means 4, or 6 if ``schedule`` is not
      "standard", which needs at least 6; and never more than ``max_items``.
    - ``item_bits`` (15): bits of an item, 10 to 20. No two items agree in more than 66 % of them,
      which is 9 of 15.
    - ``schedule`` ("standard"): or "linking" or "sham", see Description.
    - ``n_training_trials`` (20): trials with neighbors; in "linking" and "sham", the first half of
      them is for the first half of the items.
    - ``n_link_trials`` (None): in "linking" and "sham" alone, trials with the one pair; None means
      4.
    - ``n_test_trials`` (10): trials with any pair. Published list linking has 1.
    - ``episode_length`` (None): a lower number of steps in an episode, by which the observed time
      is divided. None means all trials: 2 + 4 times their number, which is 122.
    - ``max_episode_steps`` (None): Gymnasium's own, a lower number of steps in an episode; the
      observed time is still divided by ``episode_length``.
    - ``render_mode`` (None): "rgb_array" or "ansi".

    ## References
    - Miconi & Kay 2025, "Neural mechanisms of relational learning and fast knowledge reassembly in
      plastic neural networks", Nature Neuroscience 28, and its published code. There, the number of
      items is the same for all episodes of a batch, the bias is 0 in the two blank steps, which are
      not counted in the observed time, and that time starts anew with each half of the items.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            TransitiveInferenceBatch(1, autoreset_mode=AutoresetMode.DISABLED, **options)
        )
