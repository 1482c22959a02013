from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import callreplay
from callreplay.codecs import STATIC
from callreplay.errors import FormatError
from callreplay.model import CallDescription, Flow, MediaDescription, PacketFlag, RtpColumns, Stream
from callreplay.packets import dump, recording
from callreplay.packets.arena import fetch

FLOW = Flow("10.0.0.1", 4000, "10.0.0.2", 5000, "02:00:00:00:00:01", "02:00:00:00:00:02")
EPOCH = 1_700_000_000_123_456_789


def packet(
    sequence: int, payload: bytes, *, csrc: int = 0, extension: int = -1, padding: int = 0, pt: int = 0
) -> bytes:
    first = 0x80 | csrc | (0x10 if extension >= 0 else 0) | (0x20 if padding else 0)
    head = struct.pack(">BBHII", first, pt, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, 0xCAFE)
    head += bytes(range(4)) * csrc
    if extension >= 0:
        head += struct.pack(">HH", 0xBEDE, extension) + b"\xaa" * (4 * extension)
    return head + payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def scanned(packets: list[tuple[bytes, int, int]]) -> tuple[np.ndarray, RtpColumns]:
    """``(packet, payload size, padding)`` with junk between, as a scan would describe them."""
    data, offsets, flags = bytearray(b"\x80" * 40), [], []
    for raw, size, padding in packets:
        data += b"junk" * 5
        offsets.append(len(data) + len(raw) - padding - size)
        data += raw
        flags.append((PacketFlag.PADDED if padding else 0) | (PacketFlag.EXTENSION if raw[0] & 16 else 0))
    count = len(packets)
    fields = [struct.unpack_from(">BBHII", raw) for raw, _, _ in packets]
    columns = RtpColumns(
        np.array(offsets, np.int64),
        EPOCH + np.arange(count, dtype=np.int64) * 20_000_001,
        np.array([field[3] for field in fields], np.uint32),
        np.zeros(count, np.int32),
        np.array([field[2] for field in fields], np.uint16),
        np.array([size for _, size, _ in packets], np.uint16),
        np.array([field[1] & 0x7F for field in fields], np.uint8),
        np.array(flags, np.uint8),
    )
    return np.frombuffer(bytes(data), np.uint8), columns


def written(
    data: np.ndarray, columns: RtpColumns, spill: bytes = b""
) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The header and the records, read as rtpdump's own definition says."""
    target = io.BytesIO()
    rows = np.arange(len(columns.offset), dtype=np.int64)
    size, lengths = recording.write_packets(
        target,
        data,
        np.frombuffer(spill, np.uint8),
        columns,
        rows,
        np.array([0xCAFE], np.uint32),
        FLOW,
        fetch,
    )
    content = target.getvalue()
    assert size == len(content)
    line, _, rest = content.partition(b"\n")
    records, at = [], 16
    while at < len(rest):
        length, plen, offset = struct.unpack_from(">HHI", rest, at)
        assert plen == length - 8
        records.append((offset, rest[at + 8 : at + length]))
        at += length
    assert at == len(rest)
    assert lengths.tolist() == [len(content) + 8 for _, content in records]
    return line + b"\n" + rest[:16], records


def test_packets_come_out_as_they_went_in() -> None:
    packets = [
        (packet(1, b"\x01" * 160), 160, 0),
        (packet(2, b"\x02" * 33, csrc=2), 33, 0),
        (packet(3, b"\x03" * 160, extension=1), 160, 0),
        (packet(4, b"\x04" * 80, csrc=15, extension=7), 80, 0),
        (packet(5, b""), 0, 0),
        (packet(6, b"\x06" * 20, extension=0), 20, 0),
        (packet(65535, b"\x07" * 160, pt=127), 160, 0),
    ]
    head, records = written(*scanned(packets))
    assert head[:33] == b"#!rtpplay1.0 10.0.0.1/4000\n" + struct.pack(">IH", EPOCH // 10**9, 123456 >> 16)
    assert head[27:] == struct.pack(">IIIHH", 1_700_000_000, 123456, 0x0A000001, 4000, 0)
    assert [content for _, content in records] == [raw for raw, _, _ in packets]
    assert [offset for offset, _ in records] == [0, 20, 40, 60, 80, 100, 120]


def test_padding_is_dropped_with_its_bit() -> None:
    _, records = written(*scanned([(packet(9, b"\x01" * 20, padding=8), 20, 8)]))
    assert records[0][1] == packet(9, b"\x01" * 20)


def test_rows_without_a_header_get_a_plain_one() -> None:
    data, columns = scanned([(packet(1, b"\x01" * 160, csrc=1), 160, 0), (packet(2, b"\x02" * 160), 160, 0)])
    spill = b"\x07" * 10 + b"\x03" * 60
    columns.flags[1] = PacketFlag.SPILL | PacketFlag.MARKER
    columns.offset[1], columns.size[1] = 10, 60
    _, records = written(data, columns, spill)
    assert records[0][1] == packet(1, b"\x01" * 160, csrc=1)
    plain = bytearray(packet(2, b"\x03" * 60))
    plain[1] |= 0x80
    assert records[1][1] == bytes(plain)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_looks_like_a_header_is_one_or_not(data: st.DataObject) -> None:
    """Octets altered in and ahead of headers: a header that is its own end is kept whole, any other is a plain one."""
    packets = [(packet(n, bytes(20), csrc=n % 4, extension=n % 5 if n % 2 else -1), 20, 0) for n in range(6)]
    octets, columns = scanned(packets)
    altered = octets.copy()
    for _ in range(data.draw(st.integers(0, 12))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(
            st.sampled_from((0, 0x80, 0x90, 0x81, 255))
        )
    _, direct = written(altered, columns)
    spilled = RtpColumns(*(getattr(columns, each.name).copy() for each in dataclasses.fields(columns)))
    spilled.flags |= np.uint8(PacketFlag.SPILL)  # these are fetched side by side first
    _, side_by_side = written(np.zeros(0, np.uint8), spilled, altered.tobytes())
    assert direct == side_by_side
    for number, (_, content) in enumerate(direct):
        offset = int(columns.offset[number])
        assert content == _expected(altered.tobytes(), offset, columns, number)


def _expected(octets: bytes, offset: int, columns: RtpColumns, number: int) -> bytes:
    """The record of a row by the letter of RFC 3550 5.1."""
    fixed = struct.pack(">HII", columns.sequence[number], columns.timestamp[number], 0xCAFE)
    payload = octets[offset : offset + int(columns.size[number])]
    for size in range(12, min(offset, recording.LARGEST_HEADER) + 1, 4):
        head = octets[offset - size : offset]
        if head[0] >> 6 != 2 or head[1] & 0x7F != columns.payload_type[number] or head[2:12] != fixed:
            continue
        end = 12 + 4 * (head[0] & 15)
        if head[0] & 16 and end + 4 <= size:
            end += 4 + 4 * int.from_bytes(head[end + 2 : end + 4], "big")
        elif head[0] & 16:
            continue
        if end == size:
            return head + payload
    return b"\x80" + bytes([columns.payload_type[number]]) + fixed + payload


def test_a_row_outside_its_buffer_is_refused() -> None:
    data, columns = scanned([(packet(1, b"\x01" * 160), 160, 0)])
    columns.size[0] = 5000
    with pytest.raises(FormatError, match="outside"):
        written(data, columns)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", -1),
        ("at", 200),
        ("rows", -1),
        ("rows", 1),
        ("stream", -1),
        ("stream", 1),
        ("out", 0),
        ("lengths", 0),
    ],
)
def test_the_native_side_trusts_no_row(name: str, value: int) -> None:
    data, columns = scanned([(packet(1, b"\x01" * 160), 160, 0)])
    given = {
        "source": data, "at": columns.offset.copy(), "rows": np.zeros(1, np.int64), "arrival_ns": columns.arrival_ns,
        "timestamp": columns.timestamp, "stream": columns.stream, "sequence": columns.sequence, "size": columns.size,
        "payload_type": columns.payload_type, "flags": columns.flags, "ssrcs": np.array([0xCAFE], np.uint32),
        "start_ns": 0, "out": np.empty(400, np.uint8), "lengths": np.empty(1, np.uint16),
    }  # fmt: skip
    assert dump.records(**given) == 180  # type: ignore[arg-type]
    if name in ("out", "lengths"):
        given[name] = given[name][:value]  # type: ignore[index]
    else:
        given[name][0] = value  # type: ignore[index]
    with pytest.raises(ValueError, match=r"outside|several lengths"):
        dump.records(**given)  # type: ignore[arg-type]


def test_many_chunks() -> None:
    count = 20_000
    data, columns = scanned(
        [
            (packet(number, bytes([number % 251]) * (20 + number % 3)), 20 + number % 3, 0)
            for number in range(count)
        ]
    )
    _, records = written(data, columns)
    assert len(records) == count
    assert all(
        records[n][1] == packet(n, bytes([n % 251]) * (20 + n % 3))
        for n in (0, 1, 8191, 8192, 16384, count - 1)
    )


def index(count: int = 3) -> recording.LegIndex:
    call = CallDescription("abc@h", "sip", caller_number="100", caller_name="Zoë", start_ns=EPOCH)
    call.media = [
        MediaDescription("caller", "10.0.0.1", 4000, {0: STATIC[0], 18: STATIC[18]}, crypto=("1 X inline:y",))
    ]
    streams = [Stream(0, FLOW, 0xCAFE, slice(0, 0), 0), Stream(1, FLOW, 0xBEEF, slice(0, 0), 0)]
    return recording.LegIndex(
        "called",
        call,
        streams,
        EPOCH + np.arange(count, dtype=np.int64) * 20_000_001,
        (np.arange(count) % 2).astype(np.uint16),
        np.full(count, 180, np.uint16),
        np.arange(count).astype(np.uint8),
        43,
        "x.pcap",
    )


def test_index_round_trip(tmp_path: Path) -> None:
    path = recording.index_path(tmp_path / "x.rtp")
    with path.open("wb") as file:
        recording.write_index(file, index())
    back = recording.read_index(path)
    assert (back.side, back.call, back.capture) == ("called", index().call, "x.pcap")
    assert back.arrival_ns.tolist() == index().arrival_ns.tolist()
    assert back.flags.tolist() == [0, 1, 2]
    assert [(stream.ssrc, stream.flow, list(stream.rows)) for stream in back.streams] == [  # type: ignore[arg-type]
        (0xCAFE, FLOW, [0, 2]),
        (0xBEEF, FLOW, [1]),
    ]


def test_restore_gives_back_times_and_streams() -> None:
    """A scan of the recording, as far as rtpdump tells, and one row that only the spill buffer holds."""
    before = index(6)
    offsets = 43 + np.arange(6) * 180 + 20
    columns = RtpColumns(
        np.array([*offsets[:3], 7, *offsets[3:5]], np.int64),
        np.zeros(6, np.int64),
        np.zeros(6, np.uint32),
        np.zeros(6, np.int32),
        np.zeros(6, np.uint16),
        np.full(6, 160, np.uint16),
        np.zeros(6, np.uint8),
        np.array([0, 0, 0, PacketFlag.SPILL, 0, 0], np.uint8),
    )
    streams = recording.restore(before, columns, [Stream(0, Flow("", 0, "", 0), 0xCAFE, slice(0, 6), 6)])
    records = [0, 1, 2, 2, 3, 4]
    assert columns.arrival_ns.tolist() == before.arrival_ns[records].tolist()
    assert [(stream.ssrc, stream.rows.tolist()) for stream in streams] == [  # type: ignore[union-attr]
        (0xCAFE, [0, 2, 3, 5]),
        (0xBEEF, [1, 4]),
    ]
    columns.offset[5] = 43 + 6 * 180 + 20
    with pytest.raises(FormatError, match="fewer records"):
        recording.restore(before, columns, streams)


def test_damaged_index_is_refused(tmp_path: Path) -> None:
    target = io.BytesIO()
    recording.write_index(target, index())
    good = target.getvalue()
    for cut in range(0, len(good), 7):
        with pytest.raises(FormatError):
            recording.parse_index(good[:cut])
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    with pytest.raises(FormatError, match="CRC"):
        recording.parse_index(bytes(flipped))
    (tmp_path / "x.idx").write_bytes(bytes(flipped))
    with pytest.raises(FormatError, match=r"x\.idx"):
        recording.read_index(tmp_path / "x.idx")


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_octets_are_an_index_or_refused(body: bytes) -> None:
    data = b"CRIDX\x00\x01\n" + body
    data += struct.pack("<I", zlib.crc32(data))
    with pytest.raises(FormatError):
        recording.parse_index(data)


@pytest.mark.parametrize("count", [1, 2])
def test_a_stored_leg_of_a_packet_is_read_back(tmp_path: Path, count: int) -> None:
    """RFC 3550 A.1 asks for two packets in sequence of what is not known to be RTP; a leg of ours is."""
    data, columns = scanned([(packet(9 + 7 * i, b"\x20" * 160), 160, 0) for i in range(count)])
    target = tmp_path / "leg.rtp"
    streams = [Stream(0, FLOW, 0xCAFE, slice(0, count), count)]
    with target.open("wb") as file:
        _, lengths = recording.write_packets(
            file,
            data,
            np.zeros(0, np.uint8),
            columns,
            np.arange(count),
            np.array([0xCAFE], np.uint32),
            FLOW,
            fetch,
        )
    stored = index(count)
    stored.length = lengths
    stored.streams, stored.stream = streams, np.zeros(count, np.uint16)
    stored.head = target.stat().st_size - int(lengths.sum())
    with recording.index_path(target).open("wb") as file:
        recording.write_index(file, stored)
    with callreplay.open(target) as capture:
        assert sum(leg.statistics.packets for leg in capture.calls[0].legs) == count
        assert not any("side index" in warning for warning in capture.warnings)
