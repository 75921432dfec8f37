"""A figure of how the net reads the start of a held-out text, word by word."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from plasticrl.tasks import drawing

INCHES_PER_WORD, INCHES_PER_PANEL = 0.17, 1.15


class Reading(NamedTuple):
    """The quantities recorded while a net reads T words."""

    surprise: Tensor
    """-log p(word) in nats for each word except the first, (T - 1,)."""
    modulation: Tensor
    """The modulation of each modulated layer after each word, averaged over its neurons, (L, T)."""
    trace: Tensor
    """Mean |H| of each plastic layer after each word, (L, T)."""


def draw(net: nn.Module, text: Tensor, vocabulary: tuple[str, ...], folder: Path) -> list[Path]:
    """Save ``text.png``: the surprise at each word, and the plastic layers' modulation and trace.

    Args:
        net: the run's own net.
        text: the indices of its words in the vocabulary, (T,).
        folder: where the file is saved.
    """
    words = [vocabulary[word] for word in text.tolist()]
    return drawing.save(folder, text=_figure(read(net, text), words))


@torch.no_grad()
def read(net: nn.Module, text: Tensor) -> Reading:
    """Record what happens in the net while it reads a text (T,) from its initial state."""
    was_training = net.training
    net.eval()
    states: Any = None
    logits, modulations, traces = [], [], []
    for word in text:
        output = net(word.view(1, 1), states)
        states = output.states
        logits.append(output.logits[0, 0])
        plastic = [
            (layer, state)
            for layer, state in zip(net.layers, states, strict=True)  # type: ignore[arg-type]
            if layer.connection is not None
        ]
        signals = [layer.modulation(state) for layer, state in plastic]
        modulations.append([signal.mean() for signal in signals if signal is not None])
        traces.append([state.trace.abs().mean() for _, state in plastic])
    net.train(was_training)
    surprise = F.cross_entropy(torch.stack(logits[:-1]), text[1:], reduction="none")
    return Reading(surprise.cpu(), torch.tensor(modulations).T, torch.tensor(traces).T)


def _figure(reading: Reading, words: list[str]) -> Figure:
    lines = {
        "modulation,\nmean of the\nneurons": reading.modulation,
        "trace, mean\nof |H|": reading.trace,
    }
    panels_below = {text: layers for text, layers in lines.items() if len(layers)}
    n_panels, n_words = 1 + len(panels_below), len(words)
    size = (1.8 + INCHES_PER_WORD * n_words, 0.9 + INCHES_PER_PANEL * n_panels)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_panels, 1, sharex=True, squeeze=False)[:, 0]
    _surprise(panels[0], reading.surprise)
    for axis, (text, layers) in zip(panels[1:], panels_below.items(), strict=True):
        for position, values in enumerate(layers, start=1):
            axis.plot(values.numpy(), ".-", lw=1, ms=4, label=f"layer {position}")
        drawing.legend_beside(axis)
        drawing.label_panel(axis, text)
    for axis in panels:
        axis.grid(color=drawing.GRID_COLOR)
        axis.set_axisbelow(True)
    # A dollar sign in the text does not start a formula.
    panels[-1].set_xticks(range(n_words), words, rotation=90, fontsize=8, parse_math=False)
    panels[-1].set_xlim(-0.7, n_words - 0.3)
    return figure


def _surprise(axis: Axes, surprise: Tensor) -> None:
    mean = surprise.mean().item()
    axis.bar(range(1, len(surprise) + 1), surprise.numpy(), color=drawing.NEUTRAL_COLOR)
    label = f"mean:\nperplexity {surprise.mean().exp().item():,.0f}"
    axis.axhline(mean, color=drawing.TEXT_COLOR, lw=1, label=label)
    drawing.legend_beside(axis)
    drawing.label_panel(axis, "surprise,\n-log p(word),\nnats")
