"""Draw the pictures of docs/concepts.md, each in a light and a dark version.

python -m tools.draw_concepts

The curves are computed by ``plasticrl.core``: its rules, its bounds and ``PlasticConnection``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray

from plasticrl.core import Neuromodulator, PlasticConnection, Plasticity
from plasticrl.core.plasticity import Modulation
from plasticrl.core.rules import BOUNDS, RULES

FOLDER = Path(__file__).parents[1] / "docs" / "concepts"
RATE = 0.15
CLIP = 1.0

Curve = NDArray[np.float64]


class Theme(NamedTuple):
    """The colors of one version of the pictures."""

    text: str
    faint: str
    fill: str
    first: str
    second: str
    third: str


THEMES = {
    "light": Theme("#1f2328", "#b4bac2", "#eef1f5", "#1f6fd0", "#d2691e", "#12866a"),
    "dark": Theme("#d8dce2", "#565d66", "#20252b", "#62a8ff", "#f2994a", "#3ecfa5"),
}


def pulses(n_steps: int, *intervals: tuple[int, int, float]) -> Curve:
    """Return an activity that has a value in each interval (first, last, value), and else 0."""
    activity = np.zeros(n_steps)
    for first, last, value in intervals:
        activity[first:last] = value
    return activity


@torch.no_grad()
def trace_of(rule: str, bound: str, pre: Curve, post: Curve) -> Curve:
    """Return the trace of one connection after each step, with the constant rate ``RATE``."""
    trace, rate, traces = torch.zeros(1, 1, 1), torch.tensor([RATE]), []
    for before, after in zip(pre, post, strict=True):
        activities = (torch.full((1, 1), value, dtype=torch.float32) for value in (before, after))
        increment = RULES[rule](trace, *activities)
        trace = BOUNDS[bound](trace, increment, rate, CLIP)
        traces.append(trace.item())
    return np.array(traces)


@torch.no_grad()
def modulated_traces(
    modulation: Modulation, pre: Curve, post: Curve, signal: Curve
) -> tuple[Curve, Curve | None]:
    """Return the trace and the eligibility trace of one connection whose modulation is given."""
    connection = PlasticConnection(
        1, 1, Plasticity(modulation=modulation, modulator_activation="linear")
    )
    assert isinstance(connection.modulator, Neuromodulator)
    connection.modulator.weight.fill_(1.0)  # the modulation is the activity that it reads
    connection.modulator.bias.fill_(0.0)
    trace, eligibility = connection.initial_traces(1)
    traces, eligibilities = [], []
    for numbers in zip(pre, post, signal, strict=True):
        before, after, activity = (torch.full((1, 1), float(number)) for number in numbers)
        trace, eligibility = connection.update(trace, eligibility, before, after, activity)
        traces.append(trace.item())
        if eligibility is not None:
            eligibilities.append(eligibility.item())
    return np.array(traces), np.array(eligibilities) if eligibilities else None


def draw_synapse(theme: Theme) -> Figure:
    """The trace of one connection by Hebb's rule with the three bounds, and by Oja's rule."""
    pre = pulses(80, (4, 24, 0.8), (44, 64, 0.8))
    post = pulses(80, (4, 24, 0.8), (44, 64, -0.8))
    figure = Figure(figsize=(8, 6), layout="constrained")
    activity, bounds, rules = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1.6))
    plot(activity, pre, theme.first, "pre-synaptic")
    plot(activity, post, theme.second, "post-synaptic", style="--")
    activity.set(ylabel="activity", ylim=(-1.1, 1.1))
    for bound, color in zip(("hard", "soft", "decay"), theme[3:], strict=True):
        plot(bounds, trace_of("hebb", bound, pre, post), color, f"{bound} bound")
    bounds.set(ylabel="trace, Hebb's rule", ylim=(-1.2, 1.2))
    plot(rules, trace_of("hebb", "none", pre, post), theme.first, "Hebb's rule, no bound")
    plot(rules, trace_of("oja", "none", pre, post), theme.second, "Oja's rule, no bound")
    rules.set(ylabel="trace", xlabel="step", ylim=(-1.2, 2.2))
    for axis in (activity, bounds, rules):
        axis.legend(loc="lower left", bbox_to_anchor=(0.0, 0.96), ncols=3, borderpad=0.2)
    return figure


def draw_modulation(theme: Theme) -> Figure:
    """Simple modulation gates the change of the trace; retroactive modulation can come later."""
    paired = ((8, 12, 1.0), (30, 34, 1.0), (52, 56, 1.0))
    examples: dict[Modulation, tuple[Curve, Curve]] = {
        "simple": (pulses(80, *paired), pulses(80, (30, 34, 0.2))),
        "retroactive": (pulses(80, paired[0]), pulses(80, (30, 34, 1.0))),
    }
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    columns = figure.subplots(4, 2, sharex=True, height_ratios=(1, 1, 1, 1.3)).T
    labels = ("pre and post", "modulation", "eligibility\ntrace", "trace")
    colors = (theme.first, theme.second, theme.third, theme.text)
    for (modulation, (activity, signal)), axes in zip(examples.items(), columns, strict=True):
        trace, eligibility = modulated_traces(modulation, activity, activity, signal)
        curves = (activity, signal, eligibility, trace)
        axes[0].set_title(f"{modulation} modulation", fontweight="bold")
        axes[-1].set_xlabel("step")
        for axis, curve, label, color in zip(axes, curves, labels, colors, strict=True):
            if curve is None:
                axis.set_axis_off()
                continue
            axis.fill_between(range(80), curve, step="mid", color=color, alpha=0.3, lw=0)
            plot(axis, curve, color)
            axis.set(ylabel=label, yticks=[], ylim=(0.0, 1.15 * curve.max()))
    columns[1][1].text(37, 0.5, "after a reward")
    return figure


def draw_loops(theme: Theme) -> Figure:
    """The inner loop, in which the trace changes, within the outer one, which trains the net."""
    figure, axis = canvas(8, 3.9)
    box(axis, 0.1, 0.1, 9.8, 4.65, "", theme.fill, theme)
    axis.text(0.4, 4.3, "outer loop: across episodes", fontweight="bold")
    box(axis, 0.5, 1.55, 6.3, 2.4, "", "none", theme)
    axis.text(0.8, 3.5, "inner loop: within an episode", fontweight="bold")
    box(axis, 0.9, 1.95, 2.3, 1.1, "act with\nweight + alpha * trace", "none", theme, theme.first)
    box(
        axis,
        4.1,
        1.95,
        2.3,
        1.1,
        "the trace changes by\nthe learning rule",
        "none",
        theme,
        theme.third,
    )
    arrow(axis, (3.2, 2.75), (4.1, 2.75), theme.text)
    arrow(axis, (4.1, 2.25), (3.2, 2.25), theme.text)
    box(
        axis,
        7.5,
        1.95,
        2.1,
        1.6,
        "gradient descent\nchanges weight,\nalpha, eta and the\nneuromodulator",
        "none",
        theme,
        theme.second,
    )
    arrow(axis, (6.8, 2.95), (7.5, 2.95), theme.text)
    axis.plot([8.55, 8.55, 3.65], [1.95, 0.95, 0.95], color=theme.text, lw=1.4)
    arrow(axis, (3.65, 0.94), (3.65, 1.55), theme.text)
    axis.text(6.1, 0.55, "the next episode starts with a trace of zero", ha="center", va="center")
    return figure


def draw_time(theme: Theme) -> Figure:
    """What is carried forward from step to step, and how far the gradient goes back."""
    figure, axis = canvas(8, 2.2, height_units=2.75)
    n_steps, start = 12, 8
    for step in range(n_steps):
        color = theme.first if step < start else theme.third
        box(axis, 0.3 + 0.8 * step, 1.3, 0.5, 0.6, str(step + 1), "none", theme, color)
        if 0 < step != start:
            x = 0.3 + 0.8 * step
            arrow(axis, (x - 0.3, 1.6), (x, 1.6), theme.text)
            if step % 6:
                arrow(axis, (x + 0.25, 1.3), (x - 0.55, 1.3), theme.second, "arc3,rad=-0.45", "--")
    for rollout in range(2):
        left = 0.2 + 4.8 * rollout
        axis.plot([left, left + 4.7], [2.3, 2.3], color=theme.faint, lw=1.5)
        axis.text(left + 2.35, 2.42, f"rollout {rollout + 1}", ha="center")
    middle = 0.3 + 0.8 * start - 0.15
    axis.plot([middle, middle], [0.75, 2.15], color=theme.text, lw=1, ls=":")
    axis.text(middle, 0.4, "a new episode starts:\nthe state is reset", ha="center", va="center")
    axis.text(2.2, 0.42, "solid: the state goes on", ha="center", va="bottom")
    axis.text(
        2.2, 0.38, "dashed: the gradient goes back", color=theme.second, ha="center", va="top"
    )
    return figure


def plot(axis: Axes, curve: Curve, color: str, label: str = "", style: str = "-") -> None:
    """Draw a curve over steps."""
    axis.step(range(len(curve)), curve, style, where="mid", color=color, label=label, lw=1.8)


def canvas(width: float, height: float, height_units: float = 4.85) -> tuple[Figure, Axes]:
    """Return an empty drawing, 10 units wide."""
    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.set_xlim(0, 10)
    axis.set_ylim(0, height_units)
    axis.set_axis_off()
    return figure, axis


def box(
    axis: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    text: str,
    fill: str,
    theme: Theme,
    edge: str = "",
) -> None:
    """Draw a box with rounded corners and a text in its middle."""
    shape = "round,pad=0,rounding_size=0.12"
    edge, line_width = edge or theme.faint, 1.8 if edge else 1.2
    axis.add_patch(FancyBboxPatch((x, y), width, height, shape, fc=fill, ec=edge, lw=line_width))
    center = (x + width / 2, y + height / 2)
    axis.text(*center, text, ha="center", va="center")


def arrow(
    axis: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    shape: str = "arc3",
    style: str = "-",
) -> None:
    """Draw an arrow."""
    axis.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            connectionstyle=shape,
            color=color,
            ls=style,
            lw=1.4,
            mutation_scale=11,
            shrinkA=0,
            shrinkB=0,
        )
    )


PICTURES: dict[str, Callable[[Theme], Figure]] = {
    "synapse": draw_synapse,
    "modulation": draw_modulation,
    "loops": draw_loops,
    "time": draw_time,
}


def main() -> None:
    """Write all pictures; the same versions of the libraries write the same bytes."""
    FOLDER.mkdir(exist_ok=True)
    for name, theme in THEMES.items():
        style: dict[Any, Any] = {
            "svg.hashsalt": "plasticrl",
            "axes.facecolor": "none",
            "axes.edgecolor": theme.faint,
            "axes.labelcolor": theme.text,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "xtick.color": theme.text,
            "ytick.color": theme.text,
            "text.color": theme.text,
            "legend.frameon": False,
            "font.size": 10,
        }
        for picture, draw in PICTURES.items():
            with mpl.rc_context(style):
                path = FOLDER / f"{picture}-{name}.svg"
                draw(theme).savefig(path, transparent=True, metadata={"Date": None})
                print(f"wrote {path}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
