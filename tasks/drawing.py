"""Pictures of episodes and of a plastic net's two matrices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from plasticrl.core import PlasticConnection

WIDEST = 2.0
"""A picture's width in a row of them, as a multiple of a square one's."""
BRIGHTEST = 99.5
"""Percentile of a matrix's absolute values at which its colours end."""
INK, OTHER = "#333333", "#c9c9c9"
"""Of text, and of what is there beside what matters."""
RIGHT, WRONG, HIDDEN = "#2a7f62", "#c8553d", "#f2b28c"
DPI = 110


def save(folder: Path, **figures: Figure) -> list[Path]:
    """Each figure as a PNG of its name in the folder: the files."""
    files = []
    for stem, figure in figures.items():
        files.append(folder / f"{stem}.png")
        figure.savefig(files[-1], dpi=DPI)
    return files


def completions(
    connection: PlasticConnection,
    titles: Sequence[str],
    rows: Sequence[Sequence[Tensor]],
    errors: list[str],
    units: str,
    folder: Path,
) -> list[Path]:
    """``episode.png``, a row for each episode, and ``matrices.png``, in ``folder``.

    Args:
        connection: the plastic net's.
        titles, rows, errors: see ``episodes``.
        units: names the connection's.
    """
    return save(
        folder,
        episode=episodes(titles, rows, errors),
        matrices=matrices(connection.weight, connection.alpha, units),
    )


def column_titles(n_shown: int) -> list[str]:
    """Of pictures that were shown, then half of one, the answer and the whole."""
    return [*(f"shown {i + 1}" for i in range(n_shown)), "half of one", "completed", "the whole"]


def episodes(titles: Sequence[str], rows: Sequence[Sequence[Tensor]], errors: list[str]) -> Figure:
    """A row of pictures for each episode.

    Args:
        titles: of the columns.
        rows: of each episode, pictures (height, width) from -1 to 1, NaN where something is erased.
        errors: of each episode, what stands under its last picture but one, the answer.
    """
    height, width = rows[0][0].shape
    across = 1.15 * min(max(1.0, width / height), WIDEST)
    size = (
        across * len(titles) + 0.2,
        across * height / width * len(rows) + 0.15 * len(rows) + 0.3,
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for place, (row, error) in enumerate(zip(rows, errors, strict=True)):
        for axis, title, picture in zip(axes[place], titles, row, strict=True):
            show(axis, picture, title if place == 0 else "")
        axes[place, -2].set_xlabel(error, fontsize=8, color=INK)
    return figure


def show(axis: Axes, picture: Tensor, title: str) -> None:
    """Grey from -1 to 1; what is not a number, and so not shown, in a colour."""
    colours = colormaps["gray"].with_extremes(bad=HIDDEN)
    axis.imshow(picture.cpu().numpy(), cmap=colours, vmin=-1, vmax=1)
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_color(OTHER)


def label_panel(axis: Axes, text: str) -> None:
    """Name a row of panels over the same steps, at its left."""
    axis.set_ylabel(text, fontsize=8, color=INK, rotation=0, ha="right", va="center")
    axis.tick_params(labelsize=7, colors=INK)
    axis.spines[:].set_visible(False)


def matrices(weight: Tensor, alpha: Tensor, units: str) -> Figure:
    """The fixed weights (N, N) beside the plasticity coefficients (N, N); ``units`` names these."""
    figure = Figure(figsize=(9.6, 4.1), layout="constrained")
    axes = figure.subplots(1, 2)
    titles = ["fixed weights", "plasticity coefficients"]
    for axis, title, matrix in zip(axes, titles, (weight, alpha), strict=True):
        values = matrix.detach().cpu().numpy()
        end = float(np.percentile(np.abs(values), BRIGHTEST))
        image = axis.imshow(values, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
        axis.set_title(title, fontsize=10, color=INK)
        axis.set_xlabel(f"from unit ({units})", fontsize=8, color=INK)
        axis.set_ylabel("to unit", fontsize=8, color=INK)
        axis.tick_params(labelsize=7, colors=INK)
        axis.spines[:].set_visible(False)
        figure.colorbar(image, ax=axis, shrink=0.8, extend="both").ax.tick_params(labelsize=7)
    return figure
