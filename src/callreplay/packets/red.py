"""RFC 2198: redundant audio unpacked into rows of its own, so that ``order`` can fill losses with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from callreplay.model import RtpColumns, Stream
from callreplay.packets.arena import Arena
from callreplay.packets.rows import group
from callreplay.packets.scan import Scan

__all__ = ["regroup", "unpack_red"]


def unpack_red(scan: Scan, payload_types: Iterable[int]) -> Scan:
    """``scan`` with the payloads of ``payload_types`` (those that signalling or a hint calls ``red``) unpacked.

    The packet's row becomes its primary block; each redundant block becomes a row before it with the same sequence
    number and arrival, its own timestamp and payload type, and the flag REDUNDANT. Offsets point into the same
    octets. A payload type is unpacked on a stream only where nine payloads of ten are RED there; others of a stream
    that is, and make no sense, are kept as they are and counted (``red_malformed``). Returns ``scan`` itself where
    there is nothing to unpack.
    """
    if not payload_types:
        return scan
    wanted = np.zeros((len(scan.streams), 128), np.uint8)
    wanted[:, [pt for pt in set(payload_types) if 0 <= pt < 128]] = 1
    if not wanted.any():
        return scan
    from callreplay.packets.blocks import count_blocks, fill_blocks

    _, _, good = count_blocks(scan.data, scan.spill, scan.rtp, wanted)
    for index in np.flatnonzero(good).tolist():
        types = scan.rtp.payload_type[scan.streams[index].rows]
        if good[index] < 0.9 * int(wanted[index][types].sum()):
            wanted[index] = 0
    wanted[good == 0] = 0
    if not wanted.any():
        return scan
    rows, bad, good = count_blocks(scan.data, scan.spill, scan.rtp, wanted)
    arena = Arena()
    columns = RtpColumns(
        *(
            arena.empty(rows, getattr(scan.rtp, column.name).dtype)
            for column in dataclasses.fields(RtpColumns)
        )
    )
    fill_blocks(scan.data, scan.spill, scan.rtp, wanted, columns)
    counters = scan.counters | {"red": int(good.sum()), "red_blocks": rows - len(scan.rtp.offset)}
    if bad:
        counters["red_malformed"] = bad
    return dataclasses.replace(
        scan, rtp=columns, streams=regroup(scan.streams, columns, arena), counters=counters
    )


def regroup(streams: list[Stream], columns: RtpColumns, arena: Arena) -> list[Stream]:
    """``streams`` with ``rows`` that fit ``columns``."""
    packets = np.bincount(columns.stream, minlength=len(streams))
    ends = np.cumsum(packets)
    starts = (ends - packets).astype(np.int64)
    grouped = arena.empty(len(columns.offset), np.int32)
    group(columns.stream, starts.copy(), grouped)
    return [
        dataclasses.replace(stream, rows=grouped[starts[index] : ends[index]])
        for index, stream in enumerate(streams)
    ]
