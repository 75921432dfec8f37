"""Episodes as one HTML page that plays them and needs no network and no other file.

The page holds its arrays as text and draws them itself: an environment from its scene, or else
from a sheet of small pictures. Arrays that do not fit are stored coarser, and the page says so.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plasticrl.viewer import page_text
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.files import check_path, replacing
from plasticrl.viewer.packing import Packer
from plasticrl.viewer.scene import Scene
from plasticrl.viewer.still import filmstrip
from plasticrl.viewer.synapses import Quantized, Synapses
from plasticrl.viewer.template import fill
from plasticrl.viewer.waits import waits_are_informative

MAX_BYTES = 5_000_000
N_STILLS = 7
MAX_SHEET = 16_383
"""The most pixels on a side of a WebP picture."""
_SCRIPTS = ("arrays.js", "common.js", "drawing.js", "charts.js", "panels.js", "player.js")


@dataclass(frozen=True)
class Detail:
    """The resolution of the large arrays: the longer side of frames in pixels, the levels of a
    matrix on either side of 0, and the steps from one frame or matrix to the next."""

    side: int
    levels: int
    every: int


DETAILS = (
    Detail(240, 127, 1),
    Detail(240, 31, 1),
    Detail(128, 31, 1),
    Detail(96, 31, 2),
    Detail(64, 15, 4),
    Detail(48, 15, 8),
    Detail(48, 7, 16),
)


class _TooLargeError(Exception):
    """The frames do not fit into one picture at this resolution."""


def save_report(
    pairs: Sequence[page_text.Pair], path: str | Path, rewards: page_text.Rewards | None = None
) -> None:
    """Write the page to ``path``, replacing an existing file after a complete write.

    Args:
        pairs: at least one episode, each with its ablated twin or None.
        path: ends in .html.
        rewards: of the episodes that the page's first line averages over; by default those shown.

    Raises:
        ViewerError: ``path`` is not a .html in a writable folder, or the episodes do not fit.
    """
    path = Path(path)
    check_report_path(path)
    content = page(pairs, rewards).encode()
    with replacing(path, "report") as temporary:
        temporary.write_bytes(content)


def check_report_path(path: Path) -> None:
    """Raise ``ViewerError`` unless a page can be written to ``path``; call it before playing."""
    check_path(path, "report", (".html",))


def page(
    pairs: Sequence[page_text.Pair],
    rewards: page_text.Rewards | None = None,
    max_bytes: int = MAX_BYTES,
) -> str:
    """Return the page's HTML, in the finest of ``DETAILS`` that fits.

    Args:
        pairs, rewards: as in ``save_report``.
        max_bytes: the most bytes of the page in UTF-8.

    Raises:
        ViewerError: the episodes do not fit even in the coarsest detail.
    """
    shown = page_text.rewards_of(pairs)
    fixed = _fixed_parts(pairs, rewards or shown)
    waits = waits_are_informative(shown[0])
    for detail in DETAILS:
        packer = Packer()
        try:
            episodes = [
                {"recordings": [_recording(one, packer, detail) for one in pair if one is not None]}
                for pair in pairs
            ]
        except _TooLargeError:
            continue
        manifest = {"waits": waits, "episodes": episodes}
        html = fill("page.html", ["page.css"], _SCRIPTS, manifest, arrays=packer.text(), **fixed)
        if len(html.encode()) <= max_bytes:
            return html
    steps = max(pair[0].n_steps for pair in pairs)
    raise ViewerError(
        f"{len(pairs)} episodes of {steps} steps do not fit into a page of {max_bytes:,} bytes"
    )


def _fixed_parts(pairs: Sequence[page_text.Pair], rewards: page_text.Rewards) -> dict[str, str]:
    """The parts of the page that do not depend on the resolution."""
    first = pairs[0][0]
    return {
        "title": escape(first.env_id),
        "preset": escape(first.preset),
        "options": "".join(
            f'<option value="{index}">seed {recording.seed}</option>'
            for index, (recording, _) in enumerate(pairs)
        ),
        "headline": escape(page_text.headline(first, rewards)),
        "tiles": page_text.tiles(pairs),
        "still": _still(pairs[0]),
        "notes": page_text.notes(pairs),
    }


def _still(pair: page_text.Pair) -> str:
    """The first episode as one picture, for a browser without scripts."""
    recordings = [recording for recording in pair if recording is not None]
    last = max(recording.n_steps for recording in recordings) - 1
    steps = sorted({round(step) for step in np.linspace(0, last, N_STILLS)})
    strip = filmstrip(recordings, steps)
    if strip is None:
        return "<p>With JavaScript this page plays every step.</p>"
    named = ", ".join(str(step + 1) for step in steps)
    rows = page_text.rows_of_still(recordings)
    caption = (
        f"Steps {named} of seed {pair[0].seed}{rows}. With JavaScript this page plays them all."
    )
    source = _data_uri(strip.quantize(64), "PNG", optimize=True)
    return (
        f'<figure class="still"><img alt="Stills of the first episode" src="{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _recording(recording: EpisodeTrace, packer: Packer, detail: Detail) -> dict[str, Any]:
    """The data of one episode for the script, which has only the parts that were recorded."""
    described: dict[str, Any] = {"env": recording.env_id, "ablated": recording.ablated}
    for name in ("rewards", "values", "modulation"):
        if (series := getattr(recording, name)) is not None:
            described[name] = packer.add(series, "f8")
    if recording.has_discrete_actions:
        described["actions"] = packer.add(recording.actions, "i4")
    if recording.synapses is not None:
        described["synapses"] = _synapses(recording.synapses, packer, detail)
    if recording.scene is not None:
        described["scene"] = _scene(recording.scene, packer)
    elif recording.frames is not None:
        described["frames"] = _sheet(recording.frames, detail)
    return described


def _scene(scene: Scene, packer: Packer) -> dict[str, Any]:
    return {
        "symbols": [symbol._asdict() for symbol in scene.symbols],
        "grid": packer.add(scene.grid, "u1", changes=True),
        "places": packer.add(scene.places, "i4"),
        "captions": list(scene.captions) if scene.caption_width else None,
        "actions": list(scene.actions),
        "trail": scene.trail,
        "goal": scene.goal,
    }


def _synapses(synapses: Synapses, packer: Packer, detail: Detail) -> dict[str, Any]:
    def quantized(matrices: Quantized) -> dict[str, Any]:
        levels = matrices.levels[:: detail.every] * (detail.levels / 127)
        return {
            "levels": packer.add(np.rint(levels), "i1", changes=True),
            "shape": [len(levels), *levels.shape[1:]],
            "unit": matrices.scale / detail.levels,
            "scale": matrices.scale,
        }

    return {
        "trace": quantized(synapses.trace),
        # The page multiplies alpha and trace itself, unless both are means of blocks.
        "change": quantized(synapses.change) if synapses.block > 1 else None,
        "weight": packer.add(synapses.weight, "f4"),
        "alpha": packer.add(synapses.alpha, "f4"),
        "abs_mean": packer.add(synapses.trace_abs_mean, "f8"),
        "shape": list(synapses.shape),
        "block": synapses.block,
        "every": detail.every,
        "levels": detail.levels,
    }


def _sheet(frames: NDArray[np.uint8], detail: Detail) -> dict[str, Any]:
    """The frames side by side in one picture, row after row.

    Raises:
        _TooLargeError: they are more than ``MAX_SHEET`` pixels across or down.
    """
    kept = shrunk(frames[:: detail.every], detail.side)
    height, width = kept.shape[1:3]
    columns = ceil(sqrt(len(kept)))
    size = columns * width, ceil(len(kept) / columns) * height
    if max(size) > MAX_SHEET:
        raise _TooLargeError
    sheet = Image.new("RGB", size)
    for index, frame in enumerate(kept):
        place = index % columns * width, index // columns * height
        sheet.paste(Image.fromarray(frame), place)
    return {
        "source": _webp(sheet),
        "columns": columns,
        "width": width,
        "height": height,
        "every": detail.every,
    }


def _webp(sheet: Image.Image) -> str:
    """Drawn pictures are stored without loss, photographs with loss."""
    exact = _data_uri(sheet, "WEBP", lossless=True, method=2)
    if len(exact) <= sheet.width * sheet.height / 8:
        return exact
    return _data_uri(sheet, "WEBP", quality=80, method=2)


def shrunk(frames: NDArray[np.uint8], side: int = DETAILS[0].side) -> NDArray[np.uint8]:
    """Shrink frames (T, height, width, 3) to a longer side of at most ``side``, as for a page."""
    scale = side / max(frames.shape[1:3])
    if scale >= 1:
        return frames
    size = max(1, round(frames.shape[2] * scale)), max(1, round(frames.shape[1] * scale))
    small = [Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in frames]
    return np.stack([np.asarray(frame) for frame in small])


def _data_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
