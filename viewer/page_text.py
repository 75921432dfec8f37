"""The words and numbers of the page, as HTML that needs no script."""

from collections.abc import Sequence
from html import escape
from typing import Any

from numpy.typing import NDArray

from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.story import absences
from plasticrl.viewer.waits import Waits, first_and_after, waits_are_informative

Pair = tuple[EpisodeTrace, EpisodeTrace | None]
"""The same episode played with plasticity and, if the net has any, with it ablated."""
Rewards = tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]]
"""Rewards (T,) of episodes with plasticity, and of the same ones without."""

_READING = (
    "H is the Hebbian trace, w the trained weights and &alpha; the plasticity coefficients of the "
    "plastic connection, after the step; rows are the receiving neurons. Colors and the height of "
    "the bars grow with the square root of the value. The steps to each later reward are the mean "
    "of an episode's bars except the first, the dashed one included."
)
_ABLATED = "Ablated means &alpha; = 0: the trace moves and changes nothing."

_TITLES = {"agent": "agent", "intact": "plastic", "ablated": "plasticity ablated"}
_NAMES = {
    "agent": "the agent",
    "intact": "the plastic network",
    "ablated": "the network without its plasticity",
}


def rewards_of(pairs: Sequence[Pair]) -> Rewards:
    """Return the rewards of the plastic episodes and of the ablated ones."""
    ablated = [pair[1].rewards for pair in pairs if pair[1] is not None]
    return [pair[0].rewards for pair in pairs], ablated


def headline(recording: EpisodeTrace, rewards: Rewards) -> str:
    """Say how many steps the first and the later rewards took, with plasticity and without.

    Args:
        recording: the episode that the page shows first.
        rewards: of all episodes to average over, which may be more than those shown.
    """
    intact, ablated = rewards
    over = f"Over {len(intact)} episodes" if len(intact) > 1 else "In this episode"
    describe = _waited if waits_are_informative(intact) else _earned
    sentence = f"{over} {_NAMES[_kind(recording)]} {describe(intact)}."
    if ablated:
        sentence += f" With its plasticity ablated, at the same seeds, it {describe(ablated)}."
    return sentence


def _kind(recording: EpisodeTrace) -> str:
    return "agent" if recording.synapses is None else "ablated" if recording.ablated else "intact"


def tiles(pairs: Sequence[Pair]) -> str:
    """Return the numbers of every episode, with a tile for each of its two recordings."""
    groups, waiting = [], waits_are_informative(rewards_of(pairs)[0])
    for index, pair in enumerate(pairs):
        content = "".join(_tile(recording, waiting) for recording in pair if recording is not None)
        seed = f'<h3 class="seed">seed {pair[0].seed}</h3>'
        groups.append(f'<div class="tiles" data-episode="{index}">{seed}{content}</div>')
    return "\n".join(groups)


def notes(pairs: Sequence[Pair]) -> str:
    """Say how to read the page, and what is left out because it was not recorded."""
    recording, twin = pairs[0]
    alone = twin is None and _kind(recording) == "intact"
    absent = absences(recording, shows_texts=False)
    if not waits_are_informative(rewards_of(pairs)[0]):
        absent["waits"] = "no steps to each reward: rewards are not rare, or none is above 0"
    if recording.synapses is None:
        absent["ablated"] = "nothing to ablate"
    elif alone:
        absent["ablated"] = "recorded without its ablated twin"
    text = "; ".join(absent.values())
    left_out = escape(f"{text[0].upper()}{text[1:]}.") if absent else ""
    if recording.synapses is None:
        return left_out
    return " ".join(part for part in (_READING, "" if alone else _ABLATED, left_out) if part)


def rows_of_still(recordings: Sequence[EpisodeTrace]) -> str:
    """Name the rows of a filmstrip, as words that follow ``of seed 3``; nothing for one row."""
    rows = [_TITLES[_kind(recording)] for recording in recordings if recording.has_picture]
    if recordings[0].synapses is not None:
        rows.insert(1, "its Hebbian trace")
    return f", from above: {', '.join(rows)}" if len(rows) > 1 else ""


def _waited(episodes: Sequence[NDArray[Any]]) -> str:
    waits = [Waits.of(rewards) for rewards in episodes]
    first, after = first_and_after(waits)
    if first is None:
        return "found no reward"
    without = sum(not one.steps for one in waits)
    episodes_without = "1 episode" if without == 1 else f"{without} episodes"
    but = f" ({episodes_without} had no reward)" if without else ""
    took = f"took {number(first)} steps to the first reward{but}"
    if after is None or not any(one.steps[1:] for one in waits):
        return f"{took} and found no other"
    return f"{took}, {number(after)} to each later one"


def _earned(episodes: Sequence[NDArray[Any]]) -> str:
    mean = sum(float(rewards.sum()) for rewards in episodes) / len(episodes)
    return f"earned {number(mean)}" + (" on average" if len(episodes) > 1 else "")


def _tile(recording: EpisodeTrace, waiting: bool) -> str:
    kind = _kind(recording)
    waits = Waits.of(recording.rewards)
    first, after = first_and_after([waits])
    facts = {f"earned in {recording.n_steps} steps": number(float(recording.rewards.sum()))}
    if waiting:
        more = "&gt; " if after is not None and not waits.steps[1:] else ""
        facts = {
            "steps to first reward": _or_dash(first),
            "to each later": more + _or_dash(after),
            "reward" if len(waits.steps) == 1 else "rewards": str(len(waits.steps)),
        }
    content = "".join(f"<span><b>{value}</b>{text}</span>" for text, value in facts.items())
    return f'<section class="tile {kind}"><h2>{_TITLES[kind]}</h2>{content}</section>'


def _or_dash(value: float | None) -> str:
    return "&ndash;" if value is None else number(value)


def number(value: float) -> str:
    """Write ``value`` with few digits: 7.6, 27, 1200, 1.2e+09."""
    if abs(value) >= 1e6:
        return f"{value:.2g}"
    return f"{value:.1f}" if abs(value) < 10 and value != round(value) else f"{value:.0f}"
