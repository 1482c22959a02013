r"""A stored leg: the RTP of one direction of a call as an rtpdump file, and the side index that keeps the whole truth.

``X.rtp`` is rtpdump (``#!rtpplay1.0``), which any tool reads but which has milliseconds, one address and no payload
types. ``X.rtp.idx`` beside it keeps, one entry a record: arrival in ns, the stream (SSRC, both endpoints, MACs) and the
packet flags; and once: what signalling said of the call and its payload types. Layout, all little-endian::

    8 octets   b"CRIDX\x00\x01\n"
    u32        length of the header
    header     JSON, UTF-8
    u64        n, the number of records
    i64[n]     arrival_ns
    u16[n]     stream, an index into the header's list
    u16[n]     octets of the record, its head of eight included
    u8[n]      PacketFlag bits
    u32        CRC-32 of everything before
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import Codec
from callreplay.deferred import dataclass
from callreplay.errors import FormatError
from callreplay.model import (
    INDEX_SUFFIX,
    CallDescription,
    Diversion,
    Flow,
    MediaDescription,
    OtherMedia,
    PacketFlag,
    RtpColumns,
    Side,
    SignalledDigit,
    Stream,
    check_intact,
)
from callreplay.packets import dump
from callreplay.packets.arena import fetch as from_capture
from callreplay.packets.arena import scattered

__all__ = [
    "LARGEST_HEADER",
    "Fetch",
    "LegIndex",
    "index_path",
    "parse_index",
    "read_index",
    "restore",
    "streams_of",
    "write_index",
    "write_packets",
]

_MAGIC: Final = b"CRIDX\x00\x01\n"
_CHUNK: Final = 8192
"""Records built at once: about 2 MB of 20 ms G.711."""
_OCTETS: Final = 4 << 20
"""And payload built at once, of packets that are larger."""
_RESIDENT: Final = 16 << 20
"""Octets of a capture that are read where they are: of more no more than these need be in memory."""
LARGEST_HEADER: Final = dump.LARGEST_HEADER
"""RTP header, 15 CSRC and an extension of 64 octets: packets with longer extensions are written without them."""
Fetch = Callable[[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], int], NDArray[np.uint8]]
"""As `callreplay.packets.arena.fetch`."""
_MAX_STREAMS: Final = 1 << 16
_REPORT_FIELDS: Final = 7


@dataclass(slots=True)
class LegIndex:
    """What a side index says: one entry per record of the rtpdump file beside it, in the same order."""

    side: Side
    call: CallDescription
    streams: list[Stream]
    arrival_ns: NDArray[np.int64]
    stream: NDArray[np.uint16]
    length: NDArray[np.uint16]
    flags: NDArray[np.uint8]
    head: int  # octets before the first record
    capture: str = ""
    inferred: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    reports: list[tuple[int, ...]] = field(default_factory=list)
    """RTCP sender reports of the leg's streams, each the fields of `callreplay.packets.SenderReport` in order."""


def index_path(recording: Path) -> Path:
    """Where the side index of ``recording`` is."""
    return recording.parent / (recording.name + INDEX_SUFFIX)  # with_name() would refuse "." and "/"


def write_packets(
    target: BinaryIO,
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    columns: RtpColumns,
    rows: NDArray[np.signedinteger[Any]],
    ssrcs: NDArray[np.uint32],
    flow: Flow,
    fetch: Fetch,
) -> tuple[int, NDArray[np.uint16]]:
    """Write the rows of a scan as rtpdump records; returns the octets written and each record's length.

    ``data`` is the mapped capture and ``spill`` the reassembled octets, as `RtpColumns` counts them; ``rows`` are in
    arrival order; ``ssrcs`` are those of the streams; ``flow`` names the sender in the file's first lines; ``fetch``
    lays octets of rows side by side and raises FormatError for a row outside its buffer. The packets are written as
    they were, CSRC and header extension included; padding is dropped. Rows whose header is no longer beside their
    payload (unpacked RFC 2198 blocks, decrypted SRTP) get a plain one. Nothing is allocated per packet.
    """
    start_ns = int(columns.arrival_ns[rows[0]]) if len(rows) else 0
    head = f"#!rtpplay1.0 {flow.source or '0.0.0.0'}/{flow.source_port}\n".encode("ascii", "replace")
    head += struct.pack(
        ">IIIHH",
        start_ns // 10**9 & 0xFFFFFFFF,
        start_ns % 10**9 // 1000,
        _ipv4(flow.source),
        flow.source_port,
        0,
    )
    written = target.write(head)
    every = np.empty(len(rows), np.uint16)
    done = 0
    for chunk, lengths in _chunks(data, spill, columns, rows, ssrcs, start_ns, fetch):
        written += target.write(chunk.data)
        every[done : done + len(lengths)] = lengths
        done += len(lengths)
    check_intact(data, spill)
    return written, every


def _ipv4(address: str) -> int:
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
        return 0
    return int.from_bytes(bytes(int(part) for part in parts), "big")


def _chunks(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    columns: RtpColumns,
    rows: NDArray[np.signedinteger[Any]],
    ssrcs: NDArray[np.uint32],
    start_ns: int,
    fetch: Fetch,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint16]]]:
    arrival_ns, timestamp = np.ascontiguousarray(columns.arrival_ns), np.ascontiguousarray(columns.timestamp)
    stream, sequence = np.ascontiguousarray(columns.stream), np.ascontiguousarray(columns.sequence)
    size, flags = np.ascontiguousarray(columns.size), np.ascontiguousarray(columns.flags)
    told = arrival_ns, timestamp, stream, sequence, size, np.ascontiguousarray(columns.payload_type), flags
    first = 0
    while first < len(rows):
        chosen = rows[first : first + _CHUNK]
        sizes = columns.size[chosen].astype(np.int64)
        count = max(1, int(np.searchsorted(np.cumsum(sizes), _OCTETS, side="right")))
        chosen, sizes = chosen[:count].astype(np.int64), sizes[:count]
        first += count
        source, at = _fetched(data, spill, columns, chosen, sizes, fetch)
        out = np.empty(int(sizes.sum()) + len(chosen) * (LARGEST_HEADER + 8), np.uint8)
        lengths = np.empty(len(chosen), np.uint16)
        try:
            written = dump.records(source, at, chosen, *told, ssrcs, start_ns, out, lengths)
        except ValueError as error:
            raise FormatError(f"a row of the scan points outside its buffer: {error}") from error
        yield out[:written], lengths


def _fetched(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    columns: RtpColumns,
    rows: NDArray[np.int64],
    sizes: NDArray[np.int64],
    fetch: Fetch,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The payloads with what may be their headers ahead of them, and where each payload begins there.

    Side by side; where they lie close together in the capture, that itself.
    """
    offsets = columns.offset[rows]
    spilled = (columns.flags[rows] & PacketFlag.SPILL) != 0
    near = int(offsets.max()) - int(offsets.min()) <= _RESIDENT and not scattered(offsets)
    if near and fetch is from_capture and not spilled.any():
        return data, offsets
    blocks: list[NDArray[np.uint8]] = []
    starts = np.zeros(len(rows), np.int64)
    at = 0
    for source, mine in ((data, np.flatnonzero(~spilled)), (spill, np.flatnonzero(spilled))):
        if len(mine):
            blocks.append(fetch(source, offsets[mine], sizes[mine], LARGEST_HEADER))
            ends = np.cumsum(sizes[mine] + LARGEST_HEADER)
            starts[mine] = at + ends - sizes[mine]
            at += int(ends[-1])
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), starts


def write_index(target: BinaryIO, index: LegIndex) -> int:
    """Write a side index; returns the octets written."""
    if len(index.streams) > _MAX_STREAMS:
        raise FormatError(f"a leg of {len(index.streams)} streams cannot be indexed")
    header = {
        "side": index.side,
        "call": _call_to_json(index.call),
        "streams": [{"ssrc": stream.ssrc, **_fields_of(stream.flow)} for stream in index.streams],
        "head": index.head,
        "capture": index.capture,
        "inferred": index.inferred,
        "extra": index.extra,
        "reports": index.reports,
    }
    import json

    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"), default=_fields_of)
    return _write_pieces(target, text.encode("utf-8", "replace"), index)


def _write_pieces(target: BinaryIO, text: bytes, index: LegIndex) -> int:
    written = crc = 0
    for piece in (
        _MAGIC + struct.pack("<I", len(text)) + text + struct.pack("<Q", len(index.arrival_ns)),
        np.ascontiguousarray(index.arrival_ns, "<i8").data,
        np.ascontiguousarray(index.stream, "<u2").data,
        np.ascontiguousarray(index.length, "<u2").data,
        np.ascontiguousarray(index.flags, np.uint8).data,
    ):
        crc = zlib.crc32(piece, crc)
        written += target.write(piece)
    return written + target.write(struct.pack("<I", crc))


def read_index(path: Path) -> LegIndex:
    """Read the side index at ``path``. Raises OSError, or FormatError naming the file and what is wrong."""
    try:
        return parse_index(path.read_bytes())
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def parse_index(data: bytes) -> LegIndex:
    """Read the octets of a side index. Raises FormatError where they are cut, altered or of another version."""
    if len(data) < len(_MAGIC) + 16 or not data.startswith(_MAGIC):
        raise FormatError("not a side index of this version")
    if zlib.crc32(data[:-4]) != struct.unpack_from("<I", data, len(data) - 4)[0]:
        raise FormatError("the side index is damaged (CRC-32 differs)")
    header_size = struct.unpack_from("<I", data, 8)[0]
    at = 12 + header_size
    if at + 12 > len(data):
        raise FormatError("the side index is cut short")
    count = struct.unpack_from("<Q", data, at)[0]
    at += 8
    if count > len(data) or at + count * 13 + 4 != len(data):
        raise FormatError("the side index has not as many records as it says")
    arrival = np.frombuffer(data, "<i8", count, at).astype(np.int64)
    stream = np.frombuffer(data, "<u2", count, at + 8 * count).astype(np.uint16)
    length = np.frombuffer(data, "<u2", count, at + 10 * count).astype(np.uint16)
    flags = np.frombuffer(data, np.uint8, count, at + 12 * count).copy()
    try:
        import json

        header = json.loads(data[12 : 12 + header_size])
        streams = [_stream_from_json(number, entry, stream) for number, entry in enumerate(header["streams"])]
        call = _call_from_json(header["call"])
        side: Side = "called" if header["side"] == "called" else "caller"
        index = LegIndex(side, call, streams, arrival, stream, length, flags, int(header["head"]))
        index.capture, index.inferred, index.extra = header["capture"], header["inferred"], header["extra"]
        index.reports = [_report_from_json(row) for row in header.get("reports", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"the side index has a bad header: {error}") from error
    if count and int(stream.max()) >= len(streams):
        raise FormatError("the side index names a stream it does not list")
    return index


def _stream_from_json(number: int, entry: dict[str, Any], stream: NDArray[np.uint16]) -> Stream:
    values = dict(entry)
    ssrc = int(values.pop("ssrc"))
    rows = (stream == number).nonzero()[0].astype(np.int64, copy=False)
    return Stream(number, Flow(**values), ssrc, rows, len(rows))


def _report_from_json(row: list[Any]) -> tuple[int, ...]:
    if len(row) != _REPORT_FIELDS:
        raise ValueError(f"a sender report of {len(row)} fields")
    return tuple(int(value) for value in row)


def _call_to_json(call: CallDescription) -> dict[str, Any]:
    # What was weighed is of the capture; the record keeps what came of it.
    return _fields_of(call) | {"verdicts": []}


def _fields_of(value: Any) -> dict[str, Any]:
    """A dataclass for JSON, as ``asdict`` has it without a copy of all that is in it: json asks for what is inside."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _call_from_json(values: dict[str, Any]) -> CallDescription:
    media = []
    for row in values.pop("media"):
        codecs = {int(number): Codec(**codec) for number, codec in row.pop("payload_types").items()}
        row["crypto"] = tuple(row.get("crypto", ()))
        row["candidates"] = tuple((str(address), int(port)) for address, port in row.get("candidates", ()))
        media.append(MediaDescription(payload_types=codecs, **row))
    other = [
        OtherMedia(str(address), int(port), tuple(int(number) for types in more for number in types))
        for address, port, *more in values.pop("other_media", [])
    ]
    digits = [SignalledDigit(*row) for row in values.pop("digits", [])]
    diversions = [Diversion(*map(str, row)) for row in values.pop("diversions", [])]
    return CallDescription(media=media, other_media=other, digits=digits, diversions=diversions, **values)


def restore(index: LegIndex, columns: RtpColumns, streams: Sequence[Stream]) -> list[Stream]:
    """Give the rows of a scanned recording back what rtpdump could not hold: arrival in ns and their streams.

    ``columns`` and ``streams`` are the scan of the ``.rtp`` file that ``index`` lies beside; ``arrival_ns`` and
    ``stream`` of the columns are changed in place. Rows are matched to records by offset; rows in the spill buffer
    (unpacked redundancy) go with the record before them. Returns the streams in place of ``streams``.

    Raises FormatError where the index is not of this file.
    """
    if not len(columns.offset):
        return list(streams)
    ends = index.head + np.cumsum(index.length, dtype=np.int64)
    mapped = (columns.flags & PacketFlag.SPILL) == 0
    # A packet without payload ends where its record does: the last octet of its header decides.
    last = columns.offset - 1
    if len(last) == len(ends) and mapped.all() and ((last < ends) & (last >= ends - index.length)).all():
        columns.arrival_ns[:], columns.stream[:] = (
            index.arrival_ns,
            index.stream,
        )  # a packet each, as nearly always
    else:
        record = np.where(mapped, np.searchsorted(ends, last, side="right"), 0)
        record = np.maximum.accumulate(record)
        if int(record.max()) >= len(index.length):
            raise FormatError("the side index is not of this recording: it has fewer records")
        columns.arrival_ns[:] = index.arrival_ns[record]
        columns.stream[:] = index.stream[record]
    return streams_of(index, columns.stream)


def streams_of(index: LegIndex, stream: NDArray[np.int32]) -> list[Stream]:
    """The streams of ``index`` with their rows, by the stream of each row."""
    if len(index.streams) == 1:
        (alone,) = index.streams
        return [Stream(alone.index, alone.flow, alone.ssrc, slice(0, len(stream)), len(stream))]
    order = np.argsort(stream, kind="stable")
    bounds = np.searchsorted(stream[order], np.arange(len(index.streams) + 1))
    return [
        Stream(each.index, each.flow, each.ssrc, order[begin:end].astype(np.int64), int(end - begin))
        for each, begin, end in zip(index.streams, bounds[:-1], bounds[1:], strict=True)
    ]
