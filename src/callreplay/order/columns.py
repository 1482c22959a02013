"""A stream's packets while they are put in order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass
from callreplay.packets.arena import Arena, release

__all__ = ["Columns"]


_KINDS = tuple(map(np.dtype, ("i8", "u2", "i8", "i8", "i8", "u1", "u1", "i4")))
_Any = NDArray[Any]
_Eight = tuple[_Any, _Any, _Any, _Any, _Any, _Any, _Any, _Any]


@dataclass(slots=True)
class Columns:
    """The columns of one stream while it is put in order; same length all, ``missing`` as in ``walk_stream``."""

    offset: NDArray[np.int64]
    size: NDArray[np.uint16]
    timestamp: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    sequence: NDArray[np.int64]
    payload_type: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    missing: NDArray[np.int32]

    @classmethod
    def empty(cls, rows: int, arena: Arena) -> Columns:
        """Uninitialised columns of ``rows`` rows."""
        return cls(*arena.several(rows, _KINDS))

    def each(self) -> _Eight:
        """All columns, in the order of the fields."""
        return (
            self.offset,
            self.size,
            self.timestamp,
            self.arrival_ns,
            self.sequence,
            self.payload_type,
            self.flags,
            self.missing,
        )

    def rows(self, first: int, stop: int) -> Columns:
        """A view of some rows; itself where that is all of them."""
        if first == 0 and stop == len(self):
            return self
        return Columns(*(column[first:stop] for column in self.each()))

    def take(self, order: NDArray[Any]) -> None:
        """Permute every column in place; one column's worth of memory at a time."""
        for column in self.each():
            column[:] = column[order]
            release(column)

    def __len__(self) -> int:
        return len(self.offset)
