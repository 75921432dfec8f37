"""An episode as one .npz file, and back; a file is checked before anything in it is used.

The file holds an array for each field, and ``meta``, the rest as JSON in bytes. A frame is kept as
its difference (exclusive or) from the one before, since most of a picture does not change. Nothing
in a file is unpickled or evaluated, and its size is known before it is unpacked.
"""

import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.files import replacing
from plasticrl.viewer.scene import Scene, Symbol
from plasticrl.viewer.synapses import Quantized, Synapses

FORMAT = "plasticrl episode 2"
MAX_BYTES = 2**28
"""The most bytes that a file may unpack to."""
MAX_META = 2**22
"""The most bytes of ``meta``, since parsed JSON is many times as large as its text."""

_HEADER = re.compile(
    rb"\{'descr': '(\|b1|\|[iu]1|<[iu][248]|<f[248])', 'fortran_order': False, "
    rb"'shape': \(([0-9, ]*)\), \} *\n"
)
_HEADER_SPACE = 2**10
"""Bytes that are more than enough for the header of one .npy file."""
_META: dict[str, tuple[type, ...]] = {
    "format": (str,),
    "title": (str,),
    "env_id": (str,),
    "preset": (str,),
    "seed": (int,),
    "ablated": (bool,),
    "terminated": (bool,),
    "scene": (dict, type(None)),
    "texts": (list, type(None)),
    "synapses": (dict, type(None)),
}
_PLAIN = ("title", "env_id", "preset", "seed", "ablated", "terminated")
_SYNAPSES: dict[str, tuple[type, ...]] = {
    "trace_scale": (float,),
    "change_scale": (float,),
    "shape": (list,),
    "block": (int,),
    "eta": (float, type(None)),
}
_SCENE: dict[str, tuple[type, ...]] = {
    "symbols": (list,),
    "captions": (list,),
    "actions": (list,),
    "trail": (str,),
    "goal": (str,),
}
_SYMBOL = (str, str, str, str, bool)
_EPISODE_ARRAYS = ("actions", "rewards", "values", "modulation", "frames")
_SYNAPSE_ARRAYS = ("trace", "change", "weight", "alpha", "trace_abs_mean", "trace_saturation")


def save_npz(episode: EpisodeTrace, path: str | Path) -> None:
    """Write the whole episode to ``path``, replacing an existing file after a complete write.

    Raises:
        ViewerError: the file cannot be written, or would be larger than can be read again.
    """
    path = Path(path)
    arrays = {name: np.asarray(array, order="C") for name, array in _arrays(episode).items()}
    if sum(array.nbytes for array in arrays.values()) > MAX_BYTES - 2**20:  # 2**20 for headers
        raise ViewerError(
            f"cannot record to {path}: {episode.n_steps} steps are more than {MAX_BYTES >> 20} MiB"
        )
    if arrays["meta"].nbytes > MAX_META - _HEADER_SPACE:
        raise ViewerError(f"cannot record to {path}: its texts are more than {MAX_META >> 20} MiB")
    with replacing(path, "record") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_npz(path: str | Path) -> EpisodeTrace:
    """Read the episode that ``save_npz`` wrote to ``path``.

    Raises:
        ViewerError: the file is missing, broken, of another kind, or contradicts itself.
    """
    try:
        return _episode(_read(Path(path)))
    except OSError as error:
        raise ViewerError(f"cannot read {path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # RuntimeError is for a password or a version of zip that Python does not support.
        raise ViewerError(f"cannot read {path}: it is no whole .npz file ({error})") from error
    except ValueError as error:
        raise ViewerError(f"cannot read {path}: it is no recorded episode ({error})") from error


def _arrays(episode: EpisodeTrace) -> dict[str, NDArray[Any]]:
    """All arrays of the file, ``meta`` included."""
    meta: dict[str, Any] = {"format": FORMAT, "scene": None, "synapses": None}
    meta |= {name: getattr(episode, name) for name in (*_PLAIN, "texts")}
    arrays = {name: getattr(episode, name) for name in _EPISODE_ARRAYS}
    if (frames := arrays["frames"]) is not None:
        arrays["frames"] = np.concatenate([frames[:1], frames[1:] ^ frames[:-1]])
    if (scene := episode.scene) is not None:
        meta["scene"] = {name: getattr(scene, name) for name in _SCENE}
        arrays["grid"] = scene.grid
    if (synapses := episode.synapses) is not None:
        meta["synapses"] = {
            "trace_scale": float(synapses.trace.scale),
            "change_scale": float(synapses.change.scale),
            "shape": synapses.shape,
            "block": synapses.block,
            "eta": None if synapses.eta is None else float(synapses.eta),
        }
        arrays |= {name: getattr(synapses, name) for name in _SYNAPSE_ARRAYS[2:]}
        arrays |= {"trace": synapses.trace.levels, "change": synapses.change.levels}
    arrays["meta"] = np.frombuffer(json.dumps(meta, allow_nan=False).encode(), dtype=np.uint8)
    return {name: array for name, array in arrays.items() if array is not None}


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > MAX_BYTES:
            raise ValueError(f"it unpacks to {size:,} bytes, more than {MAX_BYTES:,}")
        arrays = {}
        for member in members:
            name, dot, suffix = member.filename.rpartition(".")
            if (dot, suffix) != (".", "npy") or name in arrays:
                raise ValueError(f"{member.filename!r:.60} does not belong in it")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member.filename!r:.60} is compressed in another way")
            if name == "meta" and member.file_size > MAX_META:
                raise ValueError(
                    f"meta unpacks to {member.file_size:,} bytes, more than {MAX_META:,}"
                )
            # This reads at most ``file_size`` bytes, even if the packed ones would unpack to more.
            arrays[name] = _array(name, archive.read(member))
    return arrays


def _array(name: str, content: bytes) -> NDArray[Any]:
    """The array in a .npy file of plain numbers, whose content must agree with its header."""
    length = int.from_bytes(content[8:10], "little")
    header = _HEADER.fullmatch(content[10 : 10 + length])
    if content[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise ValueError(f"{name!r:.60} is not an array of numbers")
    shape = tuple(int(size) for size in header[2].replace(b",", b" ").split())
    dtype, values = np.dtype(header[1].decode()), content[10 + length :]
    expected = dtype.itemsize
    for size in shape:
        expected *= size
    if len(values) != expected or len(shape) > 8 or max(shape, default=0) > MAX_BYTES:
        raise ValueError(f"{name!r:.60} says it is {shape!s:.60} and has {len(values)} bytes")
    return np.frombuffer(values, dtype).reshape(shape)


def _episode(arrays: dict[str, NDArray[Any]]) -> EpisodeTrace:
    meta = _meta(arrays)
    scene = None if meta["scene"] is None else _scene(meta["scene"], arrays)
    synapses = None if meta["synapses"] is None else _synapses(meta["synapses"], arrays)
    fields: dict[str, Any] = {name: arrays.pop(name, None) for name in _EPISODE_ARRAYS}
    for name in ("actions", "rewards"):
        if fields[name] is None:
            raise ValueError(f"{name} are missing")
    for name in arrays:
        raise ValueError(f"{name!r:.60} does not belong in it")
    if (frames := fields["frames"]) is not None:
        if frames.dtype != np.uint8 or frames.ndim != 4:
            raise ValueError(f"frames must be uint8 of four axes, not {frames.dtype}")
        fields["frames"] = np.bitwise_xor.accumulate(frames, axis=0)
    return EpisodeTrace(
        **{name: meta[name] for name in _PLAIN},
        texts=None if meta["texts"] is None else tuple(meta["texts"]),
        scene=scene,
        synapses=synapses,
        **fields,
    )


def _meta(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    content = arrays.pop("meta", None)
    if content is None:
        raise ValueError("meta is missing")
    try:
        meta = json.loads(content.tobytes(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("meta is nested too deeply") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}, the only one that this version reads")
    _check_fields("meta", meta, _META)
    if any(not isinstance(text, str) for text in meta["texts"] or ()):
        raise ValueError("texts must be strings")
    return meta


def _scene(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Scene:
    _check_fields("scene", meta, _SCENE)
    if "grid" not in arrays:
        raise ValueError("grid is missing")
    for symbol in meta["symbols"]:
        if not isinstance(symbol, list) or tuple(map(type, symbol)) != _SYMBOL:
            raise ValueError("a symbol must be four texts and true or false")
    lists = {name: tuple(meta[name]) for name in ("captions", "actions")}
    symbols = tuple(Symbol(*symbol) for symbol in meta["symbols"])
    return Scene(**(meta | lists | {"symbols": symbols, "grid": arrays.pop("grid")}))


def _synapses(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Synapses:
    _check_fields("synapses", meta, _SYNAPSES)
    fields: dict[str, Any] = {name: arrays.pop(name, None) for name in _SYNAPSE_ARRAYS}
    for name, array in fields.items():
        if array is None and name != "trace_saturation":
            raise ValueError(f"{name} is missing")
    if list(map(type, meta["shape"])) != [int, int]:
        raise ValueError("shape must be two integers")
    for name in ("trace", "change"):
        fields[name] = Quantized(fields[name], meta[f"{name}_scale"])
    shape = tuple(meta["shape"])
    return Synapses(**fields, shape=shape, block=meta["block"], eta=meta["eta"])


def _check_fields(
    where: str, values: dict[str, Any], expected: dict[str, tuple[type, ...]]
) -> None:
    if set(values) != set(expected):
        raise ValueError(f"{where} must have {', '.join(expected)} and nothing else")
    for name, types in expected.items():
        if type(values[name]) not in types:
            raise ValueError(f"{where}: {name} must be {' or '.join(t.__name__ for t in types)}")


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")
