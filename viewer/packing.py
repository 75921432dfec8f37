"""Arrays as text for a page: one gzip, in base64, of arrays laid end to end.

Each array is described by where it begins in what the gzip unpacks to, its type and its shape.
"""

import base64
import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"i1": "<i1", "u1": "<u1", "i4": "<i4", "f4": "<f4", "f8": "<f8"}
_ALIGNMENT = 8
"""A browser wants an array to begin at a multiple of its numbers' size."""


class Packer:
    """Lays arrays end to end. Equal ones are kept once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[tuple[bytes, str, tuple[int, ...]], dict[str, Any]] = {}

    def add(self, array: NDArray[Any], kind: str, changes: bool = False) -> dict[str, Any]:
        """Take in an array and describe it.

        Args:
            array: of any shape; the values must fit ``kind``.
            kind: "i1", "u1", "i4", "f4" or "f8", as it is kept.
            changes: keep entry t as what it adds to entry t - 1, modulo the type's range, which
                packs smaller where little moves. For integers.
        """
        values = np.ascontiguousarray(array).astype(_TYPES[kind])
        if changes:
            values = np.diff(values, axis=0, prepend=np.zeros_like(values[:1]))
        content, shape = values.tobytes(), tuple(values.shape)
        key = content, kind, shape
        if key not in self._known:
            self._known[key] = {
                "type": kind,
                "shape": list(shape),
                "at": self._size,
                "changes": changes,
            }
            padded = content + bytes(-len(content) % _ALIGNMENT)
            self._parts.append(padded)
            self._size += len(padded)
        return self._known[key]

    def text(self) -> str:
        """All arrays: base64 of their gzip, the same text for the same arrays."""
        packed = gzip.compress(b"".join(self._parts), compresslevel=6, mtime=0)
        return base64.b64encode(packed).decode("ascii")
