"""Order: packets a second from the capture's columns to two ordered legs, against reading the columns once.

Times are CPU seconds of this process, best of several interleaved repeats. The peer is NumPy copying the same rows out
of the capture's columns, leg by leg: the least that any ordering has to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callreplay.model import Flow, RtpColumns, Stream
from callreplay.order import assemble

PACKETS = 1_800_000  # five hours, two legs, 20 ms
REPEATS = 5
START_NS = 1_700_000_000 * 10**9


@dataclass(slots=True)
class _Scan:
    data: NDArray[np.uint8]
    spill: NDArray[np.uint8]
    rtp: RtpColumns
    streams: list[Stream]


def synthetic(packets: int, jitter_ms: float = 0.0, loss: float = 0.0) -> _Scan:
    """Columns of a two-leg PCMU call as a scan would give them."""
    random = np.random.default_rng(1)
    number = np.repeat(np.arange(packets // 2), 2)
    leg = np.tile(np.array([0, 1], np.int32), packets // 2)
    late = (random.random(len(number)) * jitter_ms * 1e6).astype(np.int64)
    arrival = START_NS + number * 20_000_000 + leg * 3_000_000 + late
    order = np.argsort(arrival, kind="stable")
    order = order[random.random(len(order)) >= loss]
    number, leg, rows = number[order], leg[order], len(order)
    ends = ("10.0.0.1", 10000, "10.0.0.2", 20000), ("10.0.0.2", 20000, "10.0.0.1", 10000)
    rtp = RtpColumns(
        offset=np.arange(rows) * 160 % (1 << 19),
        arrival_ns=arrival[order],
        timestamp=(number * 160).astype(np.uint32),
        stream=leg,
        sequence=number.astype(np.uint16),
        size=np.full(rows, 160, np.uint16),
        payload_type=np.zeros(rows, np.uint8),
        flags=np.zeros(rows, np.uint8),
    )
    streams = [
        Stream(side, Flow(*ends[side]), side + 1, found, len(found))
        for side in (0, 1)
        for found in [np.flatnonzero(leg == side)]
    ]
    return _Scan(random.integers(0, 256, 1 << 20, np.uint8), np.zeros(0, np.uint8), rtp, streams)


def _copy(scan: _Scan) -> None:
    for stream in scan.streams:
        for name in RtpColumns.__dataclass_fields__:
            getattr(scan.rtp, name)[stream.rows].copy()


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def run() -> list[dict[str, Any]]:
    """One row for a clean call and one for a bad network."""
    rows = []
    for name, jitter_ms, loss in (("in order", 0.0, 0.0), ("jitter 120 ms, 10 % lost", 120.0, 0.1)):
        scan = synthetic(PACKETS, jitter_ms, loss)
        pairs = [(_seconds(partial(assemble, scan)), _seconds(partial(_copy, scan))) for _ in range(REPEATS)]
        ours, peer = (min(column) for column in zip(*pairs, strict=True))
        packets = len(scan.rtp.offset)
        rows.append(
            {
                "name": name,
                "packets": packets,
                "Mpackets/s": packets / ours / 1e6,
                "ns/packet": ours / packets * 1e9,
                "copy ns/packet": peer / packets * 1e9,
                "ratio": peer / ours,
                "noise": float(np.std([one for one, _ in pairs]) / ours),
            }
        )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
