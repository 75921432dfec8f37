"""An episode as a film: an animated GIF or WebP, or an MP4."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from plasticrl.viewer.archive import save_npz
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.files import check_path, replacing
from plasticrl.viewer.film_frames import FilmFrames

_HOLD_MS = 1500
"""Milliseconds for which the last frame is shown before the film starts again."""
MAX_STEPS = 3000
"""The most steps of a film. Pillow keeps all frames of a GIF or WebP in memory, a third of a
megabyte each. An MP4 is written frame by frame, but the same limit holds for all formats.
"""


def record(episode: EpisodeTrace, path: str | Path, fps: float = 20) -> None:
    """Write the episode to ``path``. The suffix decides the format: ``.npz`` is the episode itself;
    ``.gif``, ``.webp`` and ``.mp4`` are films of environment, trace, modulation and rewards.

    Parts that were not recorded are left out of a film, and a line says so. An existing file is
    replaced after a complete write.

    Args:
        fps: steps per second of a film, at most 50, since browsers slow down faster GIFs.

    Raises:
        ViewerError: ``path`` has another suffix or is not in a writable folder, ``fps`` is out of
            range, a film would have more than ``MAX_STEPS`` steps, an MP4 is asked for without the
            extra ``video``, or the file cannot be written.
    """
    path = Path(path)
    check_record_path(path)
    if not 0 < fps <= 50:
        raise ViewerError(f"fps must be above 0 and at most 50, not {fps}")
    if path.suffix.lower() == ".npz":
        save_npz(episode, path)
        return
    if episode.n_steps > MAX_STEPS:
        raise ViewerError(
            f"cannot record to {path}: {episode.n_steps} steps are too long a film, "
            f"of at most {MAX_STEPS}; a name in .npz keeps them all"
        )
    with replacing(path, "record") as temporary:
        _WRITERS[path.suffix.lower()](FilmFrames(episode), temporary, fps)


def check_record_path(path: Path) -> None:
    """Raise ``ViewerError`` unless ``record`` can write to ``path``; call it before playing."""
    check_path(path, "record", (*_WRITERS, ".npz"))
    if path.suffix.lower() == ".mp4":
        _check_ffmpeg(path)


def _check_ffmpeg(path: Path) -> None:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise ViewerError(
            f"cannot record to {path}: .mp4 needs the extra `video` "
            "(pip install imageio-ffmpeg); .gif and .webp do without"
        ) from error


def _write_with_pillow(drawn: FilmFrames, path: Path, fps: float, **options: Any) -> None:
    frames, step_ms = _with_one_palette(drawn), round(1000 / fps)
    durations = [step_ms] * (drawn.episode.n_steps - 1) + [max(step_ms, _HOLD_MS)]
    next(frames).save(
        path, save_all=True, append_images=frames, duration=durations, loop=0, **options
    )


def _with_one_palette(drawn: FilmFrames) -> Iterator[Image.Image]:
    """The frames in the 256 colors that best fit a sample of them.

    With one palette for all frames, the parts that do not change are stored only once.
    """
    sample = [np.asarray(frame) for frame in drawn.frames(every=-(-drawn.episode.n_steps // 12))]
    palette = Image.fromarray(np.concatenate(sample)).quantize(255, method=Image.Quantize.MEDIANCUT)
    for frame in drawn.frames():
        yield frame.quantize(palette=palette, dither=Image.Dither.NONE)


def _write_mp4(drawn: FilmFrames, path: Path, fps: float) -> None:
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        str(path),
        drawn.still.size,
        fps=fps,
        macro_block_size=2,
        output_params=["-f", "mp4", "-movflags", "+faststart"],
    )
    writer.send(None)
    with closing(writer):
        for frame in drawn.frames():
            writer.send(frame.tobytes())
        for _ in range(round(_HOLD_MS / 1000 * fps)):
            writer.send(frame.tobytes())


# Lossless WebP is four times as small as lossy one for the flat squares of a heat map.
_WEBP: dict[str, Any] = {"format": "WEBP", "lossless": True, "quality": 20, "method": 1}
_WRITERS: dict[str, Callable[[FilmFrames, Path, float], None]] = {
    ".gif": partial(_write_with_pillow, format="GIF", optimize=True),
    ".webp": partial(_write_with_pillow, **_WEBP),
    ".mp4": _write_mp4,
}
