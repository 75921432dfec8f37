"""What the page says in words and numbers, as HTML that needs no script."""

from collections.abc import Sequence
from html import escape

from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.story import absences, has_maze
from plasticrl.viewer.waits import Waits, first_and_after, tells_waits

Pair = tuple[EpisodeTrace, EpisodeTrace | None]
"""The same episode lived with plasticity and, where there is any to ablate, without."""


_READING = (
    "H is the Hebbian trace, w the trained weights and &alpha; the plasticity coefficients of the "
    "plastic connection, after the step; rows are the neurons that receive. Colours grow with the "
    "root of the value, and so does the height of the bars. Ablated means &alpha; = 0: the trace "
    "moves and changes nothing. Steps after the last reward count into those to each later one."
)


_NAMES = {
    "agent": "the agent",
    "intact": "the plastic network",
    "ablated": "the network without its plasticity",
}


def headline(pairs: Sequence[Pair]) -> str:
    """How long the rewards took over all episodes, first and after, with plasticity and ablated."""
    lives = [[pair[which] for pair in pairs] for which in (0, 1)]
    intact, ablated = ([life for life in group if life is not None] for group in lives)
    who = _NAMES[_kind(intact[0])]
    over = f"Over {len(pairs)} episodes" if len(pairs) > 1 else "In this episode"
    tell = _waited if tells_waits(pairs[0][0].rewards) else _earned
    sentence = f"{over} {who} {tell(intact)}."
    if ablated:
        sentence += f" With its plasticity ablated, at the same seeds, it {tell(ablated)}."
    return sentence


def _kind(life: EpisodeTrace) -> str:
    return "agent" if life.synapses is None else "ablated" if life.ablated else "intact"


def tiles(pairs: Sequence[Pair]) -> str:
    """The numbers of every episode, a tile for each life."""
    groups = []
    for index, pair in enumerate(pairs):
        content = "".join(_tile(life, tells_waits(pair[0].rewards)) for life in pair if life)
        groups.append(f'<div class="tiles" data-episode="{index}">{content}</div>')
    return "\n".join(groups)


def notes(life: EpisodeTrace) -> str:
    """How to read the page, and what is left out of it for want of data."""
    absent = absences(life)
    if life.frames is None and not has_maze(life):
        absent["environment"] = f"no picture of {life.env_id}"
    if not tells_waits(life.rewards):
        absent["waits"] = "no steps to each reward: rewards are not rare, or none is above 0"
    if life.synapses is None:
        absent["ablated"] = "nothing to ablate"
    text = "; ".join(absent.values())
    left_out = escape(f"{text[0].upper()}{text[1:]}.") if absent else ""
    return left_out if life.synapses is None else f"{_READING} {left_out}".strip()


def _waited(lives: Sequence[EpisodeTrace]) -> str:
    waits = [Waits.of(life.rewards) for life in lives]
    first, after = first_and_after(waits)
    if first is None:
        return "found no reward"
    without = sum(one.first is None for one in waits)
    but = f" (and found none in {without} of the episodes)" if without else ""
    took = f"took {number(first)} steps to the first reward{but}"
    if after is None:
        return f"{took} and found no other"
    return f"{took}, {number(after)} to each later one"


def _earned(lives: Sequence[EpisodeTrace]) -> str:
    mean = sum(float(life.rewards.sum()) for life in lives) / len(lives)
    return f"earned {number(mean)}" + (" on average" if len(lives) > 1 else "")


def _tile(life: EpisodeTrace, waiting: bool) -> str:
    kind = _kind(life)
    name = {"agent": "agent", "intact": "plastic", "ablated": "plasticity ablated"}[kind]
    waits = Waits.of(life.rewards)
    first, after = first_and_after([waits])
    facts = []
    if waiting:
        facts.append((_or_dash(first), "steps to first reward"))
        facts.append((_or_dash(after), "to each later"))
        facts.append((str(len(waits.steps)), "rewards" if len(waits.steps) != 1 else "reward"))
    else:
        facts.append((number(float(life.rewards.sum())), f"earned in {life.n_steps} steps"))
    content = "".join(f"<span><b>{value}</b>{escape(text)}</span>" for value, text in facts)
    heading = escape(name)
    return f'<section class="tile {kind}"><h2>{heading}</h2>{content}</section>'


def _or_dash(value: float | None) -> str:
    return "&ndash;" if value is None else number(value)


def number(value: float) -> str:
    """`value` as short as it is still telling: 7.6, 27, 1200."""
    return f"{value:.1f}" if abs(value) < 10 and value != round(value) else f"{value:.0f}"
