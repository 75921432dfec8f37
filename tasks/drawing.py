"""Figures of episodes and of a plastic net's fixed weights and plasticity coefficients."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from plasticrl.core import PlasticConnection

MAX_ASPECT_RATIO = 2.0
"""Largest width of a panel, relative to that of a square panel."""
COLOR_LIMIT_PERCENTILE = 99.5
"""Percentile of a matrix's absolute values at which its color scale ends."""
TEXT_COLOR, NEUTRAL_COLOR, GRID_COLOR = "#333333", "#c9c9c9", "#eeeeee"
RIGHT_COLOR, WRONG_COLOR, ERASED_COLOR = "#2a7f62", "#c8553d", "#f2b28c"
DPI = 110


def save(folder: Path, **figures: Figure) -> list[Path]:
    """Save each figure in the folder as a PNG named after its keyword, and return the files."""
    files = []
    for stem, figure in figures.items():
        files.append(folder / f"{stem}.png")
        figure.savefig(files[-1], dpi=DPI)
    return files


def save_with_matrices(
    folder: Path, episode: Figure, connection: PlasticConnection, units: str
) -> list[Path]:
    """Save ``episode.png`` and ``matrices.png``, the connection's weights and coefficients.

    Args:
        units: what the connection's units are, for the axis label.
    """
    return save(folder, episode=episode, matrices=matrices(connection, units))


def column_titles(n_shown: int) -> list[str]:
    """Titles of the columns: the pictures shown, the probe, the net's answer and the target."""
    return [*(f"shown {i + 1}" for i in range(n_shown)), "half of one", "completed", "the whole"]


def episode_grid(
    titles: Sequence[str], rows: Sequence[Sequence[Tensor]], errors: list[str]
) -> Figure:
    """A grid with a row of pictures for each episode.

    Args:
        titles: one for each column.
        rows: the pictures of each episode, (height, width) from -1 to 1, NaN where erased. The
            last but one is the net's answer.
        errors: the text below each answer.
    """
    height, width = rows[0][0].shape
    panel_width = 1.15 * min(max(1.0, width / height), MAX_ASPECT_RATIO)
    size = (
        panel_width * len(titles) + 0.2,
        panel_width * height / width * len(rows) + 0.15 * len(rows) + 0.3,
    )
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for i, (row, error) in enumerate(zip(rows, errors, strict=True)):
        for axis, title, picture in zip(axes[i], titles, row, strict=True):
            show_picture(axis, picture, title if i == 0 else "")
        axes[i, -2].set_xlabel(error, fontsize=8, color=TEXT_COLOR)
    return figure


def show_picture(axis: Axes, picture: Tensor, title: str) -> None:
    """Show a gray picture from -1 to 1, with NaN in another color."""
    color_map = colormaps["gray"].with_extremes(bad=ERASED_COLOR)
    axis.imshow(picture.cpu().numpy(), cmap=color_map, vmin=-1, vmax=1)
    axis.set_title(title, fontsize=9, color=TEXT_COLOR)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_color(NEUTRAL_COLOR)


def label_panel(axis: Axes, text: str) -> None:
    """Write a horizontal label to the left of a panel and remove its frame."""
    axis.set_ylabel(text, fontsize=8, color=TEXT_COLOR, rotation=0, ha="right", va="center")
    axis.tick_params(labelsize=7, colors=TEXT_COLOR)
    axis.spines[:].set_visible(False)


def legend_beside(axis: Axes) -> None:
    """Put the legend to the right of a panel."""
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def matrices(connection: PlasticConnection, units: str) -> Figure:
    """The fixed weights (N, N) beside the plasticity coefficients (N, N)."""
    figure = Figure(figsize=(9.6, 4.1), layout="constrained")
    axes = figure.subplots(1, 2)
    titles = ["fixed weights", "plasticity coefficients"]
    for axis, title, matrix in zip(
        axes, titles, (connection.weight, connection.alpha), strict=True
    ):
        values = matrix.detach().cpu().numpy()
        limit = float(np.percentile(np.abs(values), COLOR_LIMIT_PERCENTILE))
        image = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title(title, fontsize=10, color=TEXT_COLOR)
        axis.set_xlabel(f"from unit ({units})", fontsize=8, color=TEXT_COLOR)
        axis.set_ylabel("to unit", fontsize=8, color=TEXT_COLOR)
        axis.tick_params(labelsize=7, colors=TEXT_COLOR)
        axis.spines[:].set_visible(False)
        figure.colorbar(image, ax=axis, shrink=0.8, extend="both").ax.tick_params(labelsize=7)
    return figure
