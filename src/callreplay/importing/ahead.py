"""Payloads of calls to come, fetched together: one walk over a capture serves all the legs of several calls.

Where hundreds of calls were recorded at the same time the packets of one leg lie 100 KB apart; fetched leg by leg every
packet costs a fault or a read. Those of a few calls together lie close enough to be copied from the mapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.importing.filing import CallRecord, CaptureRows, LegRecord
from callreplay.model import PacketFlag
from callreplay.packets.arena import fetch
from callreplay.packets.recording import LARGEST_HEADER, Fetch

__all__ = ["ReadAhead"]

_BUDGET: Final = 48 << 20  # octets held; 8 calls of four minutes of G.711
_NEAR: Final = 1 << 13
"""Octets from one packet of a leg to the next: what lies closer is copied as fast leg by leg."""
_SPILL: Final = int(PacketFlag.SPILL)


class ReadAhead:
    """Fetches for ``calls``, which are filed in this order; some of them may be passed over."""

    def __init__(self, capture: CaptureRows, calls: Sequence[CallRecord]) -> None:
        self._capture = capture
        self._places = {id(call): place for place, call in enumerate(calls)}
        self._calls = calls
        self._held = range(0)
        self._offsets = self._sizes = self._starts = np.empty(0, np.int64)
        # One buffer for all: the pages of a new one are most of what a walk costs.
        self._octets = np.empty(_BUDGET, np.uint8)

    def of(self, call: CallRecord) -> Fetch:
        """A fetch for the legs of ``call``. Raises as `callreplay.packets.arena.fetch` does."""
        place = self._places.get(id(call))
        if place is None:
            return fetch
        if place not in self._held:
            self._hold(place)
        return self._fetch if len(self._held) else fetch

    def _hold(self, place: int) -> None:
        """Take the payloads of the call at ``place`` and of as many after it as there is room for."""
        self._held = range(place, place)
        if not any(self._scattered(leg) for leg in self._calls[place].legs):
            return
        chosen: list[NDArray[np.int64]] = []
        sizes: list[NDArray[np.int64]] = []
        columns, room, stop = self._capture.columns, _BUDGET, place
        for call in self._calls[place:]:
            rows = [leg.rows for leg in call.legs]
            room -= sum(len(own) for own in rows) * LARGEST_HEADER
            if room < 0:
                break
            kept = [own[(columns.flags[own] & _SPILL) == 0] for own in rows]
            own_sizes = [columns.size[own].astype(np.int64) for own in kept]
            room -= sum(int(size.sum()) for size in own_sizes)
            if room < 0:
                break
            chosen += [columns.offset[own] for own in kept]
            sizes += own_sizes
            stop += 1
        nothing = np.empty(0, np.int64)
        offsets, lengths = np.concatenate([nothing, *chosen]), np.concatenate([nothing, *sizes])
        order = np.argsort(offsets, kind="stable")
        self._offsets, self._sizes = offsets[order], lengths[order]
        fetch(self._capture.data, self._offsets, self._sizes, LARGEST_HEADER, self._octets)
        self._starts = np.cumsum(self._sizes + LARGEST_HEADER) - self._sizes
        self._held = range(place, stop)

    def _scattered(self, leg: LegRecord) -> bool:
        if not len(leg.rows):
            return False
        ends = self._capture.columns.offset[leg.rows[[0, -1]]]
        return abs(int(ends[1]) - int(ends[0])) > len(leg.rows) * _NEAR

    def _fetch(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], sizes: NDArray[np.int64], before: int
    ) -> NDArray[np.uint8]:
        places = np.searchsorted(self._offsets, offsets)
        if (
            data is not self._capture.data
            or before > LARGEST_HEADER
            or (len(places) and places.max() >= len(self._offsets))
            or not np.array_equal(self._offsets[places], offsets)
            or not np.array_equal(self._sizes[places], sizes)
        ):
            return fetch(data, offsets, sizes, before)
        return fetch(self._octets, self._starts[places], sizes, before)
