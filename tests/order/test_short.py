"""The short road of plain streams and the long one come to the same, whatever the packets."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay import packets, signalling
from callreplay.codecs import BY_NAME, STATIC, Codec
from callreplay.errors import CaptureError
from callreplay.model import Flow, GapReason
from callreplay.order.arrange import arrange
from callreplay.order.events import collect_events
from callreplay.order.plain import Plain, long_losses
from callreplay.order.short import order_plainly
from callreplay.order.statistics import measure
from callreplay.order.streams import OrderedStream, Packets, order_stream
from callreplay.packets.arena import Arena
from tests.scenario.call import Direction, Network, SyntheticScan

ROOT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("CALLREPLAY_VECTORS", ROOT.parent / "shared" / "vectors"))
EVENTS = {101: BY_NAME["TELEPHONE-EVENT"]}
CODECS = {0: (160, 160), 8: (80, 80), 9: (160, 160), 18: (20, 160), 3: (33, 160)}
"""Octets and ticks of a packet by payload type."""
FIELDS = ("sequence", "timestamp", "arrival_ns", "size", "payload_type", "flags")

Maps = Sequence[Mapping[int, Codec]]


def plain(value: Any) -> Any:
    """A value that can be compared, whatever arrays it holds."""
    if isinstance(value, np.ndarray):
        return value.dtype.descr, value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value) if each.name[0] != "_"}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def told(scan: Packets, ordered: OrderedStream) -> dict[str, Any]:
    """All that the rooms behind take from an ordered stream: itself, its events, its leg, its figures."""
    reference, evidence, events = ordered.reference, ordered.evidence, collect_events(ordered)
    found = plain(ordered)
    del found["gaps"]  # which road it came by
    leg, aside = arrange(scan, [ordered], Arena())
    figures = measure([ordered], leg.gaps, leg.spans[0].codec if leg.spans else None)
    return {
        "stream": found,
        "more": plain([reference, evidence, events, leg.spans, leg.gaps, figures, aside]),
    } | {"columns": plain(list(leg.arrays[2:]))}


def same_both_ways(scan: Packets, signalled: Maps = (), hints: Mapping[int, Codec] | None = None) -> int:
    """How many streams take the short road; each must come to what the long one makes of it."""
    taken = 0
    for stream in scan.streams:
        short = order_plainly(scan, stream, signalled, hints or {}, Arena())
        if short is not None:
            taken += 1
            assert told(scan, short) == told(
                scan, order_stream(scan, stream, signalled, hints or {}, Arena())
            )
    return taken


def spoken(
    payload_type: int, seed: int, loss: float, jitter_ms: float, ppm: float, digits: bool
) -> SyntheticScan:
    octets, ticks = CODECS[payload_type]
    direction = Direction(Flow("10.0.0.1", 4000, "10.0.0.2", 5000), ppm=ppm, sequence=65500 + seed)
    direction.use(STATIC[payload_type], payload_type, octets, ticks).talk(3)
    if digits:
        direction.digit(5, 0.2)
    direction.talk(2)
    carried = Network(20, jitter_ms, loss, seed=seed).carry(direction.packets, direction.start_ns)
    return SyntheticScan(carried)


@pytest.mark.parametrize("payload_type", CODECS)
@pytest.mark.parametrize("digits", [False, True])
def test_an_ordinary_stream_takes_the_short_road(payload_type: int, digits: bool) -> None:
    # The simulation sends the three ends of a digit at once: jitter would put them out of order.
    scan = spoken(payload_type, 3, 0.02, 0 if digits else 8, -150, digits)
    assert same_both_ways(scan, [EVENTS] if digits else ()) == 1


@settings(max_examples=60, deadline=None)
@given(
    payload_type=st.sampled_from(sorted(CODECS)),
    seed=st.integers(0, 1 << 16),
    loss=st.sampled_from([0.0, 0.01, 0.2]),
    jitter_ms=st.sampled_from([0.0, 15.0, 40.0, 150.0]),
    ppm=st.sampled_from([0.0, 80.0, -2500.0]),
    digits=st.booleans(),
    changes=st.lists(
        st.tuples(st.sampled_from(FIELDS), st.floats(0, 1), st.integers(-(1 << 33), 1 << 33)), max_size=3
    ),
    whole=st.booleans(),
)
def test_both_roads_come_to_the_same_whatever_is_changed(
    payload_type: int,
    seed: int,
    loss: float,
    jitter_ms: float,
    ppm: float,
    digits: bool,
    changes: list[tuple[str, float, int]],
    whole: bool,
) -> None:
    scan = spoken(payload_type, seed, loss, jitter_ms, ppm, digits)
    count = len(scan.rtp.offset)
    for name, place, by in changes:
        column = getattr(scan.rtp, name)
        row = min(int(place * count), count - 1)
        # Small changes are those that may be overlooked; from a place on, a stream leaps or changes.
        rows = slice(row, None) if whole else slice(row, row + 1)
        change = by if abs(by) > 1 << 32 else by % 401 - 200
        column[rows] = (
            column[rows].astype(np.int64) + change * (10**6 if name == "arrival_ns" else 1)
        ).astype(column.dtype)
    same_both_ways(scan, [EVENTS] if digits else ())


def _captures() -> list[Path]:
    found = [
        path for folder in ("two-leg", "rtpdump", "sip") for path in sorted((VECTORS / folder).rglob("*"))
    ]
    found += sorted((ROOT / "samples").glob("*.pcap*"))
    return [path for path in found if path.is_file() and path.stat().st_size < 4 << 20]


def test_both_roads_come_to_the_same_of_every_capture() -> None:
    taken = streams = 0
    for path in _captures():
        try:
            scan = packets.scan(packets.open_buffer(path, warnings=[]))
        except CaptureError:  # a text beside the captures
            continue
        calls = signalling.calls_of(scan.messages)
        taken += same_both_ways(scan, [media.payload_types for call in calls for media in call.media])
        streams += len(scan.streams)
    assert streams < 10 or 2 * taken > streams, (taken, streams)


def test_rows_outside_and_lengths_that_differ_are_refused() -> None:
    scan = spoken(0, 1, 0.0, 0.0, 0.0, digits=False)
    rtp, kinds = scan.rtp, np.ones(256, np.uint8)
    source = rtp.offset, rtp.size, rtp.timestamp, rtp.arrival_ns, rtp.sequence, rtp.payload_type, rtp.flags
    events = np.empty((0, 4), np.int64)

    def take(rows: Any, first: int, count: int, room: int = 1000, columns: Any = source) -> bool:
        to = [np.empty(room, kind) for kind in ("i8", "u2", "i8", "i8", "i8", "u1", "u1", "i4")]
        return Plain(kinds, 0, 160, 160, 8000, False, 16000).take(
            columns, rows, first, count, 1, tuple(to), events
        )

    total = len(rtp.offset)
    assert take(None, 0, total)
    for rows, first, count in (
        (None, total, 1), (None, -1, 1), (np.array([0, total], np.int32), 0, 2), (np.zeros(2, np.int32), 1, 2),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="no such rows"):
            take(rows, first, count)
    with pytest.raises(ValueError, match="no room"):
        take(None, 0, 20, room=19)
    with pytest.raises(ValueError, match="differ in length"):
        take(None, 0, 1, columns=(rtp.offset[:-1], *source[1:]))
    with pytest.raises(ValueError, match="known length"):
        Plain(np.zeros(256, np.uint8), 0, 160, 160, 8000, False, 16000)


def test_long_losses_are_counted_as_numpy_counts_them() -> None:
    scan = spoken(0, 5, 0.3, 0.0, 0.0, digits=False)
    short = order_plainly(scan, scan.streams[0], [], {}, Arena())
    assert short is not None
    assert short.gaps is not None
    gaps = short.gaps
    expected = int(np.count_nonzero((gaps["reason"] == GapReason.LOST) & (gaps["packets"] >= 3)))
    assert long_losses(gaps, 3) == expected > 0
    assert long_losses(gaps[::2], 1) == len(gaps[::2])
    assert long_losses(gaps[:0], 1) == 0
    with pytest.raises(ValueError, match="gaps"):
        long_losses(np.zeros(3, np.int64), 1)
