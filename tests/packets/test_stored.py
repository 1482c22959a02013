"""A stored leg read by its side index is what its scan gives; where it is not plain, it is scanned."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import captures as c
from tests.cases import FOLDER, UNSHRUNK

import callreplay
from callreplay import packets
from callreplay.codecs import STATIC
from callreplay.errors import CallReplayError
from callreplay.model import CallDescription, Flow, MediaDescription, RtpColumns, Stream
from callreplay.packets import recording
from callreplay.packets import stored as stored_legs
from callreplay.packets.arena import fetch
from callreplay.packets.walking import Walk

T = 1_700_000_000_000_000_000
FLOW = Flow("10.0.0.1", 4000, "10.0.0.2", 5000, "02:00:00:00:00:01", "02:00:00:00:00:02")
SAMPLES = Path(__file__).parents[2] / "samples"
Leg = tuple[bytes, recording.LegIndex]
NAMES = tuple(column for column in RtpColumns.__dataclass_fields__)


def leg_of(scan: packets.Scan, streams: list[Stream]) -> Leg:
    """Streams of a scan stored as filing stores a leg."""
    rows = np.sort(np.concatenate([np.arange(len(scan.rtp.offset))[stream.rows] for stream in streams]))
    target = io.BytesIO()
    flow = streams[0].flow
    ssrcs = np.array([stream.ssrc for stream in scan.streams], np.uint32)
    size, lengths = recording.write_packets(target, scan.data, scan.spill, scan.rtp, rows, ssrcs, flow, fetch)
    numbers = np.zeros(len(scan.streams), np.uint16)
    numbers[[stream.index for stream in streams]] = np.arange(len(streams))
    head = size - int(lengths.sum(dtype=np.int64))
    of = [replace(stream, index=number) for number, stream in enumerate(streams)]
    columns = (scan.rtp.arrival_ns[rows], numbers[scan.rtp.stream[rows]], lengths)
    index = recording.LegIndex(
        "caller", CallDescription("a@b"), of, *columns, scan.rtp.flags[rows].astype(np.uint8), head
    )
    return target.getvalue(), index


def again(index: recording.LegIndex) -> recording.LegIndex:
    """As it is read: what takes it may change it."""
    target = io.BytesIO()
    recording.write_index(target, index)
    return recording.parse_index(target.getvalue())


def told(scan: packets.Scan) -> dict[str, Any]:
    """Everything that a scan holds, as plain data."""
    streams = [
        replace(stream, rows=np.arange(len(scan.rtp.offset))[stream.rows].tolist()) for stream in scan.streams
    ]
    said = (scan.counters, scan.warnings, scan.container, scan.truncated, scan.first_ns, scan.last_ns)
    others = (scan.links, scan.beside, scan.unread, scan.codecs, scan.messages, scan.rtcp, len(scan.spill))
    columns = {name: getattr(scan.rtp, name).tolist() for name in NAMES}
    kinds = {name: getattr(scan.rtp, name).dtype for name in NAMES}
    return {"streams": streams, "said": said, "others": others, **columns, "kinds": kinds}


def agree(octets: bytes, index: recording.LegIndex) -> bool:
    """Whether the leg was walked; it then came to what its scan comes to."""
    data = np.frombuffer(octets, np.uint8)
    try:
        short = stored_legs.walked(data, again(index), "leg")
    except CallReplayError as error:
        with pytest.raises(type(error)):
            packets.scan(data, name="leg", recorded=True)
        return False
    if short is None:
        return False
    assert told(short) == told(
        stored_legs.restored(packets.scan(data, name="leg", recorded=True), again(index))
    )
    return True


def plain_payload(number: int) -> bytes:
    return bytes([number & 255]) * 160


def media(
    count: int = 60, *, ssrcs: int = 1, pause_ms: int = 0, payload: Callable[[int], bytes] = plain_payload
) -> Leg:
    """A leg whose senders take turns, with markers, CSRCs, an extension, and a pause in the middle."""
    octets = b"#!rtpplay1.0 10.0.0.1/4000\n" + struct.pack(">IIIHH", T // 10**9, 0, 0x0A000001, 4000, 0)
    head, times, lengths = len(octets), [], []
    for number in range(count):
        packet = bytearray(
            c.rtp(number, number * 160, 7 + number % ssrcs, 0, payload(number), number % 9 == 0)
        )
        if number % 7 == 3:
            packet[0] |= 2
            packet[12:12] = bytes(8)
        if number % 11 == 5:
            packet[0] |= 0x10
            at = 12 + 4 * (packet[0] & 15)
            packet[at:at] = struct.pack(">HH", 0xBEDE, 1) + bytes(4)
        late = number * 20 + (pause_ms if number >= count // 2 else 0)
        octets += struct.pack(">HHI", len(packet) + 8, len(packet), late) + packet
        times.append(T + late * 1_000_000 + 123_456)
        lengths.append(len(packet) + 8)
    streams = [Stream(number, FLOW, 7 + number, slice(0, 0), 0) for number in range(ssrcs)]
    index = recording.LegIndex(
        "caller", CallDescription("a@b"), streams, np.array(times, np.int64),
        (np.arange(count) % ssrcs).astype(np.uint16), np.array(lengths, np.uint16), np.zeros(count, np.uint8), head,
    )  # fmt: skip
    return octets, index


@pytest.mark.parametrize(
    "path", sorted([*SAMPLES.glob("*.pcap*"), *FOLDER.glob("*.pcap*")]), ids=lambda path: path.name
)
def test_real_legs_are_walked_to_what_their_scans_give(path: Path) -> None:
    scan = packets.scan(packets.open_buffer(path, warnings=[]), name=path.name)
    for stream in scan.streams[:12]:
        octets, index = leg_of(scan, [stream])
        moved = agree(octets, index)
        types = scan.rtp.payload_type[stream.rows]
        pauses = np.diff(scan.rtp.arrival_ns[stream.rows]).max(initial=0) > 86_400 * 10**9
        assert moved or pauses or (types >= 64).any(), stream
    agree(*leg_of(scan, scan.streams)) if 0 < len(scan.streams) < 9 else None


@pytest.mark.parametrize(("ssrcs", "pause_ms", "plain"), [
    (1, 0, True), (1, 5000, True), (3, 900, True), (3, 1500, False), (16, 0, True), (17, 0, False),
    (1, 86_400_000 + 21, False),
])  # fmt: skip
def test_what_is_plain(ssrcs: int, pause_ms: int, plain: bool) -> None:
    assert agree(*media(ssrcs=ssrcs, pause_ms=pause_ms)) is plain


def test_what_is_not_plain_is_scanned() -> None:
    octets, index = media()
    at = index.head + int(index.length[:20].sum())

    def changed(place: int, *values: int) -> bytes:
        return octets[:place] + bytes(values) + octets[place + len(values) :]

    assert agree(octets, index)
    assert not agree(octets[:-1], index), "cut"
    assert not agree(octets + bytes(20), index), "longer than the index"
    assert not agree(changed(at + 8, 0xA0), index), "padding"
    assert not agree(changed(at + 8, 0x40), index), "another version"
    assert not agree(changed(at + 9, 200), index), "RTCP"
    assert not agree(changed(at + 8, 0x8F), changed_length(index, 20, 24)), "no room for its CSRCs"
    assert not agree(changed(at + 4, 0, 0, 0, 0), index), "earlier than the one before"
    assert not agree(changed(at, 0, 100), index), "another length"
    assert not agree(changed(at + 2, 0, 0), index), "RTCP, as rtpdump has it"
    assert not agree(octets, changed_length(index, 20, int(index.length[20]) - 1)), "another's index"
    assert not agree(octets, replace(index, head=index.head + 1)), "another's head"


def changed_length(index: recording.LegIndex, row: int, length: int) -> recording.LegIndex:
    lengths = index.length.copy()
    lengths[row] = length
    return replace(index, length=lengths)


def test_a_walk_never_reads_beyond_its_file() -> None:
    octets, index = media(8)
    for stop in range(index.head, len(octets)):
        columns = [np.zeros(8, kind) for kind in ("i8", "u4", "u2", "u2", "u1", "u1")]
        whole = np.frombuffer(octets[:stop], np.uint8)
        assert not Walk(index.head).take(whole, index.length, *columns)
        assert int(columns[0].max(initial=0)) <= stop
    with pytest.raises(ValueError, match="differ"):
        Walk(0).take(np.frombuffer(octets, np.uint8), index.length, *[column[:7] for column in columns])
    with pytest.raises(ValueError, match="within"):
        Walk(-1)


SHORT = media(12, ssrcs=2)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4), st.data())
@settings(max_examples=150, deadline=None, phases=UNSHRUNK)
def test_whatever_is_altered_a_walk_agrees_with_the_scan(
    changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    octets, index = bytearray(SHORT[0]), SHORT[1]
    for place, value in changes:
        octets[place % len(octets)] = value
    row = data.draw(st.integers(-30, 11))
    if row >= 0:
        index = changed_length(index, row, data.draw(st.integers(0, 300)))
    # What a damaged leg comes to with an index that is not its own is refused; the walk then gives it to the scan.
    try:
        agree(bytes(octets), index)
    except CallReplayError:
        pytest.fail("walked, and then refused")


def stored(folder: Path, octets: bytes, index: recording.LegIndex) -> Path:
    path = folder / "leg.rtp"
    path.write_bytes(octets)
    with recording.index_path(path).open("wb") as file:
        recording.write_index(file, index)
    return path


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("secret", [False, True])
def test_a_stored_leg_is_refused_where_its_capture_is(
    secret: bool, short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the payloads show of encryption was lost with the streams that the side index gives back."""
    if not short:
        monkeypatch.setattr(stored_legs, "walked", lambda *_: None)
    random = Random(1)
    octets, index = media(100, payload=(lambda _: random.randbytes(170)) if secret else plain_payload)
    with callreplay.open(stored(tmp_path, octets, index)) as capture:
        assert bool(capture.calls[0].encrypted) is secret
    # Signalling that asks for SRTP is not believed where the payloads show that it was not used.
    index.call.media = [MediaDescription("called", "10.0.0.2", 5000, {0: STATIC[0]}, encrypted=True)]
    with callreplay.open(stored(tmp_path, octets, index)) as capture:
        assert bool(capture.calls[0].encrypted) is secret


def test_a_leg_is_opened_by_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, *media(400))
    with callreplay.open(path) as capture:
        heard = capture.calls[0].mix()
        said = capture.report()
    with monkeypatch.context() as patched:
        patched.setattr(packets, "scan", lambda *_, **__: pytest.fail("scanned"))
        callreplay.open(path)
    monkeypatch.setattr(stored_legs, "walked", lambda *_: None)
    with callreplay.open(path) as capture:
        assert np.array_equal(heard, capture.calls[0].mix())
        assert capture.report() == said
