"""Columns that need not stay in memory: above a threshold they live in an unlinked temporary file.

A ten-hour call has millions of rows; each pass touches a few columns, once, front to back. Columns that a pass is done
with are dropped from residency: the kernel keeps or writes their pages as it sees fit, and reads them back on touch.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["THRESHOLD_BYTES", "Arena", "release"]

THRESHOLD_BYTES: Final = 1 << 20


class _Mapping(mmap.mmap):
    """A shared mapping of an unlinked file of ours: dropping its pages loses nothing."""


class Arena:
    """Makes columns: small ones in memory, those of ``threshold`` bytes and more in a temporary file each."""

    def __init__(self, threshold: int = THRESHOLD_BYTES) -> None:
        self._threshold = threshold

    def empty(self, length: int, dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised column ``(length,)``; OSError when the temporary directory is full or not writable."""
        kind = np.dtype(dtype)
        octets = length * kind.itemsize
        if octets < self._threshold:
            return np.empty(length, kind)
        with tempfile.TemporaryFile(prefix="callreplay-") as file:
            file.truncate(octets)
            return np.frombuffer(_Mapping(file.fileno(), octets), kind)


def release(*columns: NDArray[Any]) -> None:
    """Drop the resident pages of columns made by an Arena; other arrays (and views of them) are left alone."""
    for column in columns:
        owner: object = column
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, memoryview):
            owner = owner.obj
        if isinstance(owner, _Mapping):
            owner.madvise(mmap.MADV_DONTNEED)
