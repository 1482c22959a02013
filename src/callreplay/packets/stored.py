"""A stored leg as a scan: by the lengths in its side index where it is plain, else scanned as any capture is.

Both come to the same, which the tests hold them to. An hour's walk takes a tenth of the time of its scan: nothing has
to be looked for, and of the octets nothing is read but the heads of the packets.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.model import RtpColumns, check_intact
from callreplay.packets.arena import Arena, release
from callreplay.packets.encryption import suspect
from callreplay.packets.recognise import RTPDUMP, recognise
from callreplay.packets.recording import LegIndex, restore, streams_of
from callreplay.packets.rtcp import Rtcp
from callreplay.packets.scan import Flows, Scan
from callreplay.packets.walking import Walk

__all__ = ["restored", "walked"]

_BLOCK: Final = 1 << 17  # records between two releases of pages: about 24 MB of 20 ms G.711
_KINDS: Final = tuple(map(np.dtype, ("i8", "u4", "u2", "u2", "u1", "u1")))
_LARGE: Final = 1 << 20
_PAUSE_MS: Final = 1000
"""Where several streams pause for longer, the clock may have been set: `callreplay.packets.timebase` looks then."""
_DAY_MS: Final = 86_400_000  # what is further from its neighbours is mended (rows.mend_times)
_SPAN_MS: Final = 31 * _DAY_MS  # and what spans more is told


def walked(data: NDArray[np.uint8], index: LegIndex, name: str = "") -> Scan | None:
    """What ``restored`` makes of the scan of a stored leg, by its side index; None where the leg is not plain.

    Raises CaptureError where ``data`` is no capture, OutputError where its file shrank.
    """
    kind, rows = recognise(data, name), len(index.length)
    whole = index.head + int(index.length.sum(dtype=np.int64)) == len(data)
    if kind.number != RTPDUMP or kind.options["position"] != index.head or not rows or not whole:
        return None
    arena = Arena(threshold=12 << 20, budget=48 << 20)
    columns = arena.several(rows, _KINDS)
    walk = Walk(index.head)
    for first in range(0, rows, _BLOCK):
        block = slice(first, first + _BLOCK)
        if not walk.take(data, index.length[block], *(column[block] for column in columns)):
            return None
        if rows > _BLOCK:
            release(data, *columns)
    pause_ms = _DAY_MS if walk.sources == 1 else _PAUSE_MS
    if walk.longest_ms > pause_ms or walk.last_ms - walk.first_ms > _SPAN_MS:
        return None
    offset, timestamp, sequence, size, payload_type, flags = columns
    stream = index.stream.astype(np.int32)
    found = Scan(
        data, np.empty(0, np.uint8),
        RtpColumns(offset, index.arrival_ns, timestamp, stream, sequence, size, payload_type, flags),
        streams_of(index, stream), Flows(None), Rtcp(), [], {"records": rows, "rtp": rows}, [], kind.name, False,
        *(kind.options["start_ns"] + ms * 1_000_000 for ms in (walk.first_ms, walk.last_ms)),
    )  # fmt: skip
    suspect(data, found.spill, found.rtp, found.streams, set())
    check_intact(data)
    arena.check()
    if len(data) >= _LARGE:
        release(data)
    return found


def restored(scan: Scan, index: LegIndex) -> Scan:
    """``scan`` of a stored leg with what its side index keeps, in place. Raises FormatError where it is another's."""
    scan.streams = restore(index, scan.rtp, scan.streams)
    suspect(scan.data, scan.spill, scan.rtp, scan.streams, set())
    return scan
