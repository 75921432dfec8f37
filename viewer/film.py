"""An episode as a film: an animated GIF or WebP, or an MP4."""

import os
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from PIL import Image

from plasticrl.viewer.archive import save_npz
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.scene import Scene

_HOLD_MS = 1500
"""How long the last frame stands before the film starts again."""

Frames = list[Image.Image]


def record(episode: EpisodeTrace, path: str | Path, fps: float = 20) -> None:
    """Write the episode to `path`, as its suffix says: `.npz` is the episode itself, `.gif`,
    `.webp` and `.mp4` are films of environment, trace, modulation and rewards, step by step.

    What was not recorded is left out of a film, and a line says so. An existing file is replaced
    once the new one is whole.

    Args:
        fps: steps per second of a film, up to 50: browsers slow down a GIF that is faster.

    Raises:
        ViewerError: `path` has another suffix or is not in a writable folder, `fps` is out of
            range, or an MP4 is asked for without the extra `video`.
    """
    path = Path(path)
    check_record_path(path)
    if not 0 < fps <= 50:
        raise ViewerError(f"fps must be above 0 and at most 50, not {fps}")
    if path.suffix.lower() == ".npz":
        save_npz(episode, path)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _WRITERS[path.suffix.lower()](Scene(episode).frames(), temporary, fps)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]  # ffmpeg's are of many lines
        raise ViewerError(f"cannot record to {path}: {reason}") from error
    finally:
        with suppress(OSError):  # gone, where it has been renamed
            temporary.unlink()


def check_record_path(path: Path) -> None:
    """Raise ``ViewerError`` unless `record` can write to `path`: asked before the playing."""
    suffix = path.suffix.lower()
    if suffix not in (*_WRITERS, ".npz"):
        *most, last = (*_WRITERS, ".npz")
        raise ViewerError(
            f"cannot record to {path}: the name must end in {', '.join(most)} or {last}"
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ViewerError(f"cannot record to {path}: {path.parent} is not a writable folder")
    if path.is_dir():
        raise ViewerError(f"cannot record to {path}: it is a folder")
    if suffix == ".mp4":
        _check_ffmpeg(path)


def _check_ffmpeg(path: Path) -> None:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise ViewerError(
            f"cannot record to {path}: .mp4 needs the extra `video` "
            "(pip install -c constraints.txt -e '.[video]'); .gif and .webp do without"
        ) from error


def _durations(n_frames: int, fps: float) -> list[int]:
    step_ms = round(1000 / fps)
    return [step_ms] * (n_frames - 1) + [max(step_ms, _HOLD_MS)]


def _write_gif(frames: Frames, path: Path, fps: float) -> None:
    first, *others = _with_one_palette(frames)
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=_durations(len(frames), fps),
        loop=0,
        optimize=True,
    )


def _with_one_palette(frames: Frames) -> Frames:
    """The frames in the 256 colours that suit a sample of them best.

    One palette for all lets the GIF keep what does not change from frame to frame.
    """
    sample = frames[:: -(-len(frames) // 12)]
    mosaic = Image.fromarray(np.concatenate([np.asarray(frame) for frame in sample]))
    palette = mosaic.quantize(255, method=Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _write_webp(frames: Frames, path: Path, fps: float) -> None:
    # Lossless: a heat map's flat little squares are a quarter of what they are blurred.
    frames[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=_durations(len(frames), fps),
        loop=0,
        lossless=True,
        quality=40,
        method=2,
    )


def _write_mp4(frames: Frames, path: Path, fps: float) -> None:
    import imageio_ffmpeg

    held = repeat(frames[-1], round(_HOLD_MS / 1000 * fps))
    writer = imageio_ffmpeg.write_frames(
        str(path),
        frames[0].size,
        fps=fps,
        macro_block_size=2,
        output_params=["-f", "mp4", "-movflags", "+faststart"],
    )
    writer.send(None)
    with closing(writer):
        for frame in chain(frames, held):
            writer.send(frame.tobytes())


_WRITERS: dict[str, Callable[[Frames, Path, float], None]] = {
    ".gif": _write_gif,
    ".webp": _write_webp,
    ".mp4": _write_mp4,
}
