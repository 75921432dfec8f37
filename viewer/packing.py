"""Arrays as text for a page: the base64 code of a gzip of arrays, one after the other.

Each array is described by its offset in the unpacked bytes, its type and its shape.
"""

import base64
import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"i1": "<i1", "u1": "<u1", "i4": "<i4", "f4": "<f4", "f8": "<f8"}
_ALIGNMENT = 8
"""A browser needs an array to begin at a multiple of the size of its numbers."""


class Packer:
    """Collects arrays; equal ones are stored once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[tuple[bytes, str, tuple[int, ...]], dict[str, Any]] = {}

    def add(self, array: NDArray[Any], kind: str, changes: bool = False) -> dict[str, Any]:
        """Add an array and return its description.

        Args:
            array: of any shape; the values must fit ``kind``.
            kind: "i1", "u1", "i4", "f4" or "f8", the type in which it is stored.
            changes: store entry t as its difference from entry t - 1, modulo the range of the type,
                which packs smaller if little changes; for integers only.
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
        """Return all arrays as text; the same arrays give the same text."""
        packed = gzip.compress(b"".join(self._parts), compresslevel=6, mtime=0)
        return base64.b64encode(packed).decode("ascii")
