"""An episode as one animated GIF."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.scene import Scene

_HOLD_MS = 1500
"""How long the last frame stands before the GIF starts again."""


def save_gif(episode: EpisodeTrace, path: str | Path, fps: float = 20) -> None:
    """Write the episode to `path`: environment, trace, modulation and rewards, step by step.

    What was not recorded is left out. An existing file is replaced once the new one is whole.

    Args:
        fps: steps per second, up to 50: browsers slow down a GIF that is faster.

    Raises:
        ViewerError: `path` is not a .gif in a writable folder, or `fps` is out of range.
    """
    path = Path(path)
    check_gif_path(path)
    if not 0 < fps <= 50:
        raise ViewerError(f"fps must be above 0 and at most 50, not {fps}")
    step_ms = round(1000 / fps)
    durations = [step_ms] * (episode.n_steps - 1) + [max(step_ms, _HOLD_MS)]
    _write(_with_one_palette(Scene(episode).frames()), durations, path)


def check_gif_path(path: Path) -> None:
    """Raise ``ViewerError`` unless a GIF can be written to `path`: asked before the drawing."""
    if path.suffix.lower() != ".gif":
        raise ViewerError(f"cannot record to {path}: the name must end in .gif")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ViewerError(f"cannot record to {path}: {path.parent} is not a writable folder")


def _with_one_palette(frames: list[Image.Image]) -> list[Image.Image]:
    """The frames in the 256 colours that suit a sample of them best.

    One palette for all lets the GIF keep what does not change from frame to frame.
    """
    sample = frames[:: -(-len(frames) // 12)]
    mosaic = Image.fromarray(np.concatenate([np.asarray(frame) for frame in sample]))
    palette = mosaic.quantize(255, method=Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _write(frames: list[Image.Image], durations: list[int], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
            optimize=True,
        )
        os.replace(temporary, path)
    except OSError as error:
        raise ViewerError(f"cannot record to {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # gone, where it has been renamed
            temporary.unlink()
