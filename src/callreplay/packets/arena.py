"""Columns that need not stay in memory: long ones live in an unlinked temporary file each.

A ten-hour call has millions of rows; each pass touches a few columns, once, front to back. Columns that a pass is done
with are dropped from residency: the kernel keeps or writes their pages as it sees fit, and reads them back on touch.
"""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from callreplay.arrays import empty_each
from callreplay.errors import FormatError, OutputError
from callreplay.model import mappings
from callreplay.packets import fetching
from callreplay.packets.guard import forget, lost, watch
from callreplay.packets.joined import Joined
from callreplay.spare import folder, temporary_file

__all__ = [
    "APART",
    "BUDGET_BYTES",
    "THRESHOLD_BYTES",
    "Arena",
    "JoinedMapping",
    "Mapping",
    "fetch",
    "release",
    "scattered",
]

THRESHOLD_BYTES: Final = 4 << 20  # a column of this size goes to a file
# And so does any above 128 KiB, once an arena holds this much: an hour of two legs fits.
BUDGET_BYTES: Final = 12 << 20
# 16,384 packets' times: a capture of many calls of half an hour is bounded as one long call is.
_SMALL: Final = 1 << 17
# Columns up to _SMALL stay in memory as long as they take no more than the budget together; then they share files of
# this size, so that a capture of thousands of short calls is bounded too. Below _TINY a file's pages would be wasted.
_SEGMENT_BYTES: Final = 4 << 20
_RESIDENT: Final = 2 << 20  # captures up to here stay resident: a few dozen are open at a time
_TINY: Final = 1 << 10
_ALIGNMENT: Final = 64
APART: Final = 1 << 15
"""Octets from one row to the next, on average, from which on rows are read from the file: a fault of a mapping costs
what two reads do, and brings 64 KiB at least."""
_SPAN: Final = 32 << 20
_FEW: Final = 1 << 20
_WIDEST: Final = 32  # octets of a number in one of several columns
_FEW_ROWS: Final = _SMALL // _WIDEST
_SOME_ROWS: Final = 4 * _FEW_ROWS
_NOTHING: Final[NDArray[np.uint8]] = np.empty(0, np.uint8)


@lru_cache(16)
def _octets(kinds: tuple[np.dtype[Any], ...]) -> int:
    """Of a row with a number of each kind."""
    return sum(kind.itemsize for kind in kinds)


class _Watched:
    """A mapping of files that are not ours alone.

    Octets that are gone when they are read (the file shrank, its disk failed or was full) are zeros, and ``check`` then
    raises. ``of`` names the file.
    """

    of = ""
    _watched = -1
    _files: NDArray[np.int64] | None = None
    _short = False

    def watch(self, of: str, *, writable: bool = False) -> Self:
        """Watch it until it goes."""
        self.of, self._watched = of, watch(self, writable)  # type: ignore[arg-type]  # the classes below are buffers
        return self

    def keep(self, files: Sequence[tuple[int, int, int]]) -> Self:
        """Keep ``files``, (start, stop, descriptor) in order, open until it goes, so that ``fetch`` can read them.

        Where the process may not have so many open, it is done without.
        """
        kept: list[tuple[int, int, int]] = []
        try:
            for start, stop, descriptor in files:
                kept.append((start, stop, os.dup(descriptor)))
        except OSError:
            for _, _, descriptor in kept:
                os.close(descriptor)
        else:
            self._files = np.array(kept, np.int64)
        return self

    def own(self, descriptor: int) -> None:
        """Take over the descriptor of the one file that is mapped, whole: ``keep`` without another one."""
        self._files = np.array([(0, len(self), descriptor)], np.int64)  # type: ignore[arg-type]

    def fill(
        self, offsets: NDArray[np.int64], sizes: NDArray[np.int64], before: int, out: NDArray[np.uint8]
    ) -> bool:
        """Fill ``out`` from the files as ``fetch`` says; False where none were kept. Raises as ``check`` does."""
        if self._files is None:
            return False
        self._short = not fetching.read(self._files, offsets, sizes, before, out) or self._short
        self.check()
        return True

    def check(self) -> None:
        """Raise OutputError where what was read of the mapping, or written to it, is not what the file has."""
        if self._short or lost(self._watched):
            raise OutputError(
                f"{self.of}: the file shrank while it was in use, or its disk failed or is full"
            )

    def __del__(self) -> None:
        forget(self._watched)
        if self._files is not None:
            for descriptor in self._files[:, 2].tolist():
                with suppress(OSError):
                    os.close(descriptor)


class Mapping(_Watched, mmap.mmap):
    """A shared mapping of a file, the capture or an unlinked one of ours: dropping its pages loses nothing."""


class JoinedMapping(_Watched, Joined):
    """Several captures mapped side by side."""


class Arena:
    """Makes columns: small ones in memory, those of ``threshold`` bytes and more in a temporary file each.

    ``budget`` bounds what the columns above 128 KiB take in memory together, and the smaller ones as much again;
    small ones beyond it lie side by side in files.
    """

    def __init__(self, threshold: int = THRESHOLD_BYTES, budget: int = BUDGET_BYTES) -> None:
        self._threshold = threshold
        self._left = self._left_small = budget
        self._segment: NDArray[np.uint8] = _NOTHING
        self._used = 0
        self._files: list[Mapping] = []

    def empty(self, length: int, dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised column ``(length,)``; OSError when the temporary directory is full or not writable."""
        kind = np.dtype(dtype)
        octets = length * kind.itemsize
        small = octets < min(_SMALL, self._threshold)
        if small:
            if octets < _TINY or octets <= self._left_small:
                self._left_small -= octets
                return np.empty(length, kind)
            return self._carve(octets).view(kind)
        if octets < self._threshold and octets <= self._left:
            self._left -= octets
            return np.empty(length, kind)
        return self._mapped(octets).view(kind)

    def several(self, length: int, kinds: tuple[np.dtype[Any], ...]) -> list[NDArray[Any]]:
        """A column ``(length,)`` of each of ``kinds``, as ``empty`` makes one."""
        if length < _SOME_ROWS:
            octets = length * _octets(kinds)
            # Of some rows a few columns may be large and others small: they count as both, which is little.
            large = octets if length >= _FEW_ROWS else 0
            fits = octets <= self._left_small and large <= self._left
            if fits and (not large or length * _WIDEST < self._threshold):
                self._left_small -= octets
                self._left -= large
                return empty_each(length, kinds)
        return [self.empty(length, kind) for kind in kinds]

    def check(self) -> None:
        """Raise OutputError where a file of its columns failed."""
        for file in self._files:
            file.check()

    def _carve(self, octets: int) -> NDArray[np.uint8]:
        """A piece of the current file; it is unmapped when the last of its columns is gone."""
        if self._used + octets > len(self._segment):
            release(self._segment)
            self._segment, self._used = self._mapped(_SEGMENT_BYTES), 0
        piece = self._segment[self._used : self._used + octets]
        self._used += -(-octets // _ALIGNMENT) * _ALIGNMENT
        return piece

    def _mapped(self, octets: int) -> NDArray[np.uint8]:
        with temporary_file() as file:
            file.truncate(octets)
            mapping = Mapping(file.fileno(), octets)
        self._files.append(mapping.watch(f"temporary file in {folder()}", writable=True))
        return np.frombuffer(mapping, np.uint8)


def release(*columns: NDArray[Any]) -> None:
    """Drop the resident pages of columns made by an Arena and of mapped captures; other arrays are left alone.

    What takes less than 128 KiB is left, and a mapping of less than 2 MiB: to have its pages back costs more than they
    do.
    """
    large = [column for column in columns if column.nbytes >= _SMALL]
    if not large:
        return
    for owner in mappings(*large):
        if isinstance(owner, JoinedMapping) or (isinstance(owner, Mapping) and len(owner) >= _RESIDENT):
            owner.madvise(mmap.MADV_DONTNEED)


def scattered(offsets: NDArray[np.int64]) -> bool:
    """Whether rows of a capture lie so far apart that reading them from its file costs less than their pages."""
    return len(offsets) > 0 and int(offsets.max()) - int(offsets.min()) > len(offsets) * APART


def fetch(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    before: int = 0,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """The octets of rows side by side: ``before`` octets ahead of each of ``offsets`` and ``sizes`` from there on.

    Rows of a capture that lie far apart are read from its file; others are copied from ``data``, and the pages that
    this takes are dropped, so that no more than 32 MiB are resident at a time. Ahead of the capture there are zeros.
    ``out`` has room for all of it. Raises FormatError where a row lies outside ``data``, OutputError where the file
    shrank.
    """
    offsets, sizes = np.ascontiguousarray(offsets, np.int64), np.ascontiguousarray(sizes, np.int64)
    if out is None:
        out = np.empty(int(sizes.sum()) + before * len(sizes), np.uint8)
    span = int(offsets.max()) - int(offsets.min()) if len(offsets) else 0
    mapped = mappings(data) if span > _FEW else []
    try:
        for owner in mapped:
            if scattered(offsets) and isinstance(owner, (Mapping, JoinedMapping)):
                whole = np.frombuffer(memoryview(owner), np.uint8).ctypes.data == data.ctypes.data
                if whole and owner.fill(offsets, sizes, before, out):
                    return out
        if not mapped:
            fetching.copy(data, offsets, sizes, before, out)
            return out
        at = 0
        cuts = [0, *(np.flatnonzero(np.diff(offsets // _SPAN)) + 1).tolist(), len(offsets)]
        for first, stop in itertools.pairwise(cuts):
            fetching.copy(data, offsets[first:stop], sizes[first:stop], before, out[at:])
            at += int(sizes[first:stop].sum()) + before * (stop - first)
            release(data)
    except ValueError as error:
        raise FormatError(f"a row of the scan points outside its buffer: {error}") from error
    return out
