"""``scan``: a capture becomes columns, streams, RTCP and messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import field
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay import addresses
from callreplay.codecs import Codec, parse_rtpmap
from callreplay.deferred import dataclass
from callreplay.errors import CaptureError, UnsupportedError
from callreplay.model import Flow, Message, PacketFlag, RtpColumns, Stream, check_intact
from callreplay.packets.arena import Arena, release
from callreplay.packets.encryption import suspect
from callreplay.packets.keylog import KeyLog, in_capture
from callreplay.packets.messages import MessageReader
from callreplay.packets.names import LINKS, encapsulation, unknown_name
from callreplay.packets.recognise import JOINABLE, Container, recognise
from callreplay.packets.rows import group, mend_times, places
from callreplay.packets.rtcp import Rtcp, SenderReport, parse
from callreplay.packets.scanner import NOTE_DTYPE, Scanner
from callreplay.packets.scanner import span as scanner_span
from callreplay.packets.timebase import Step, mend_steps
from callreplay.packets.unread import DTLS, TLS, Unread, gather_unread, sentences

__all__ = ["CUT", "Beside", "Flows", "Part", "Scan", "scan", "span"]

_SLICE: Final = 1 << 18
_SLICE_OCTETS: Final = 32 << 20
"""Packets and octets of the capture between two releases of pages: of small packets the columns are the larger part."""
_SEVERAL: Final = 1 << 20  # octets of a capture from which on pages of it and of its columns are given back
_RTCP_NOTE: Final = 1
_KINDS: Final = (*map(np.dtype, ("i8", "i8", "u4", "i4", "u2", "u2", "u1", "u1")), NOTE_DTYPE)
CUT: Final = "the capture ends inside the record"
"""How the warning of a capture that was cut begins."""
_ABSURD_NS: Final = 31 * 86400 * 10**9


@dataclass(frozen=True, slots=True)
class Beside:
    """Packets on one flow that are neither RTP nor RTCP: counts of each."""

    flow: Flow
    stun: int
    dtls: int
    zrtp: int
    t38: int
    rtp: int


def span(data: NDArray[np.uint8], name: str = "") -> tuple[int, int] | None:
    """(first, last) packet time of a pcap, pcapng or snoop file, without a look at its packets; None where it has none.

    Raises CaptureError where ``data`` is no capture.
    """
    found = recognise(data, name)
    if found.number not in JOINABLE:
        return None
    first_ns, last_ns = scanner_span(data, found.number, **found.options)
    release(data)
    return (first_ns, last_ns) if last_ns else None


class Flows:
    """The flows of a scan by index, made when asked for; none without a scanner."""

    def __init__(self, scanner: Scanner | None) -> None:
        self._scanner = scanner
        self._made: dict[int, Flow] = {}

    def __getitem__(self, index: int) -> Flow:
        flow = self._made.get(index)
        if flow is None:
            if self._scanner is None:
                raise IndexError(index)
            flow = self._made[index] = _flow(*self._scanner.flow(index))
        return flow


@dataclass(slots=True)
class Scan:
    """What a capture holds. ``data`` is the capture itself (mapped, never copied), ``spill`` reassembled octets.

    ``counters`` counts by name what was met and passed over; ``warnings`` are sentences for the report; times are ns
    since 1970. ``beside`` lists flows with STUN, DTLS, ZRTP or T.38, ``unread`` connections whose signalling was not
    read; ``codecs`` are payload types that the container itself names.
    """

    data: NDArray[np.uint8]
    spill: NDArray[np.uint8]
    rtp: RtpColumns
    streams: list[Stream]
    flows: Flows
    rtcp: Rtcp
    messages: list[Message]
    counters: dict[str, int]
    warnings: list[str]
    container: str
    truncated: bool
    first_ns: int
    last_ns: int
    links: list[str] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    codecs: dict[int, Codec] = field(default_factory=dict)

    @property
    def sender_reports(self) -> list[SenderReport]:
        """RTCP sender reports, in order of arrival."""
        return self.rtcp.sender_reports

    def stream_rows(self, index: int) -> NDArray[np.integer] | slice:
        """The rows of a stream in ``rtp``, in order of arrival: a slice where they stand together."""
        return self.streams[index].rows


_NOWHERE: Final = bytes(4)


def _text(octets: bytes) -> str:
    if len(octets) == 4:
        return "{}.{}.{}.{}".format(*octets) if octets != _NOWHERE else ""
    import ipaddress

    address = ipaddress.ip_address(octets)
    return str(address) if any(octets) else ""


def _flow(
    version: int, source: bytes, sport: int, destination: bytes, dport: int, macs: bytes, path: bytes, interface: int,
    transport: int,
) -> Flow:  # fmt: skip
    plain = version == 4 and _NOWHERE not in (source, destination)
    return Flow(
        "%d.%d.%d.%d" % tuple(source) if plain else _text(source),  # noqa: UP031  # in half of format()'s time
        sport,
        "%d.%d.%d.%d" % tuple(destination) if plain else _text(destination),  # noqa: UP031
        dport,
        macs[6:].hex(":"),
        macs[:6].hex(":"),
        encapsulation(path),
        interface,
    )


Announced = Callable[[list[Message]], Mapping[tuple[str, int], Set[int]]]
"""From messages to the addresses and ports that they name for media, with the payload types that they name there."""


@dataclass(frozen=True, slots=True)
class Part:
    """One capture among those that lie side by side in the data of a scan (see ``join``)."""

    start: int
    stop: int
    name: str


def scan(
    data: NDArray[np.uint8],
    *,
    name: str = "",
    keep_rtcp: bool = True,
    parts: Sequence[Part] = (),
    announced: Announced | None = None,
    recorded: bool = False,
    by_stream: bool = False,
    keys: KeyLog | None = None,
) -> Scan:
    """Read the capture ``data``, ``(n,)`` uint8 (see ``open_buffer``), in one pass without the GIL.

    ``parts`` are captures, each pcap, pcapng or snoop, that lie side by side in ``data``: streams go on from one to the
    next. ``keys`` are secrets of TLS connections, beside those that a pcapng carries. A stream to or from an address
    that ``announced`` finds in the capture's messages is believed from its first packet on, and so are all of a leg
    that we ``recorded``; of any other RFC 3550 A.1 asks for two in sequence, or for eight whose numbers, timestamps and
    times advance together in whatever order the file has them.

    Rows are in order of arrival, ``by_stream`` those of one stream after those of another: whoever walks the streams of
    a capture one by one then walks the columns once.

    Damage is data: counted, and told in ``warnings``. Raises CaptureError where ``data`` is no capture at all,
    UnsupportedError where there are ``keys`` and the extra ``srtp`` is not installed, and OutputError where its file
    shrinks on the way or the temporary directory is full.
    """
    several = list(parts) or [Part(0, len(data), name)]
    kinds = _kinds(data, several)
    found = kinds[0]
    keys = _keys(keys, data)
    # There is room for the smallest packets there can be; only what the rows there are fill becomes resident, and
    # faulting in a file's pages costs several times what memory's do.
    arena = Arena(threshold=12 << 20, budget=48 << 20)
    *made, notes = arena.several(len(data) // min([kind.smallest for kind in kinds]) + 2, _KINDS)
    columns = RtpColumns(*made)
    spill = arena.empty(len(data), np.uint8)
    scanner = Scanner(
        data, found.number, columns, notes, spill, keep_rtcp=keep_rtcp, keep_tls=keys is not None,
        seed=int.from_bytes(os.urandom(8), "little"), **_within(several[0], found),
    )  # fmt: skip
    warnings: list[str] = []
    truncated = False
    for index, (part, kind) in enumerate(zip(several, kinds, strict=True)):
        if index:
            scanner.open(kind.number, **_within(part, kind))
        while scanner.run(_SLICE, _SLICE_OCTETS):
            release(*_each(columns), notes, data)
        state = scanner.state()
        truncated = truncated or state[2]
        said = [*kind.warnings, *_cut(part, *state[2:5])]
        warnings += [f"{part.name}: {text}" for text in said] if parts else said
    first_ns, last_ns, *_, spilled, noted = scanner.state()
    flows = Flows(scanner)
    notes, spill = notes[:noted], spill[:spilled]
    if noted > 1:
        notes = notes[np.argsort(notes["arrival_ns"], kind="stable")]
    lost: dict[str, int] = {}
    reader = MessageReader(flows.__getitem__, lost, keys)
    heard = reader.read(notes, data, spill) if noted else []
    named = announced(heard) if announced and scanner.undecided() else {}
    rows, rough = scanner.settle(_ends(named), recorded)
    counters = scanner.counters() | lost
    columns = RtpColumns(*[column[:rows] for column in _each(columns)])
    columns, steps = _in_time_order(columns, counters, warnings)
    if steps:
        first_ns, last_ns = _count_on(notes, steps, first_ns, last_ns)
        reader = MessageReader(flows.__getitem__, {}, keys)
        heard = reader.read(notes, data, spill)
    streams = _streams(columns, rough, flows, arena, by_stream)
    result = Scan(
        data, spill, columns, streams, flows, Rtcp(), heard, counters,
        warnings, found.name, truncated, first_ns, last_ns, _links(scanner),
    )  # fmt: skip
    result.rtcp = parse(notes[notes["kind"] == _RTCP_NOTE], data, spill) if noted else result.rtcp
    result.unread = _unread(scanner, flows, reader, keys is not None)
    if found.codec:
        result.codecs = _named_codecs(found.codec, columns)
    _count_others(result, scanner)
    suspect(
        result.data,
        result.spill,
        columns,
        result.streams,
        {b.flow for b in result.beside if b.dtls or b.zrtp},
    )
    warnings += _remarks(result)
    check_intact(data)
    arena.check()
    if len(data) >= _SEVERAL:
        release(*_each(columns), data)
    return result


def _kinds(data: NDArray[np.uint8], parts: Sequence[Part]) -> list[Container]:
    """The container of each part. Raises CaptureError for one that is none, OutputError where the file shrank."""
    try:
        return [recognise(data[part.start : part.stop], part.name) for part in parts]
    except CaptureError:
        check_intact(data)
        raise


def _count_others(result: Scan, scanner: Scanner) -> None:
    result.beside = [Beside(result.flows[index], *counts) for index, *counts in scanner.beside()]
    for reason, value, count in scanner.unknowns():
        key = unknown_name(reason, value)
        result.counters[key] = result.counters.get(key, 0) + count


def _keys(given: KeyLog | None, data: NDArray[np.uint8]) -> KeyLog | None:
    """The secrets given and those in the capture itself; None where there are none, or nothing to use them with."""
    within = in_capture(data)
    if given is None and not within:
        return None
    from callreplay.packets.tls import available

    if given is not None and not available():
        raise UnsupportedError("reading TLS needs the package cryptography: install callreplay[srtp]")
    if not within or not available():
        return given
    keys = KeyLog(dict(given.secrets) if given else {})
    keys.add(within)
    return keys


def _unread(scanner: Scanner, flows: Flows, reader: MessageReader, keyed: bool) -> list[Unread]:
    found = scanner.unread()
    beside = scanner.beside()
    if not found and not beside:
        return []
    read = {index for index, kind, _ in found if keyed and kind == TLS and index not in reader.unread}
    found += [
        (index, DTLS, dtls)
        for index, _, dtls, _, _, rtp in beside
        if dtls and not rtp and 5061 in (flows[index].source_port, flows[index].destination_port)
    ]
    reasons = {flows[index]: reason for index, reason in reader.unread.items()}
    named = ((flows[index], kind, packets) for index, kind, packets in found if index not in read)
    return gather_unread(named, reasons)


def _named_codecs(encoding: str, columns: RtpColumns) -> dict[int, Codec]:
    """What the container calls its audio, for each dynamic payload type that it has."""
    codec = parse_rtpmap(encoding)
    return {int(kind): codec for kind in np.unique(columns.payload_type) if kind >= 96}


def _ends(named: Mapping[tuple[str, int], Set[int]]) -> dict[tuple[bytes, int], tuple[int, int]]:
    """Addresses as octets, payload types as bits; names instead of addresses stand for nothing here."""
    found = {}
    for (address, port), types in named.items():
        try:
            octets = addresses.packed(address)
        except ValueError:
            continue
        bits = sum(1 << kind for kind in types if 0 <= kind < 128)
        found[octets, port] = bits & (1 << 64) - 1, bits >> 64
    return found


def _each(columns: RtpColumns) -> tuple[NDArray[Any], ...]:
    first = columns.offset, columns.arrival_ns, columns.timestamp, columns.stream
    return *first, columns.sequence, columns.size, columns.payload_type, columns.flags


def _in_time_order(
    columns: RtpColumns, counters: dict[str, int], warnings: list[str]
) -> tuple[RtpColumns, list[tuple[int, Step]]]:
    """Rows in order of arrival, times that cannot be put right; and steps of the clock, by where they lie in data."""
    mended, unordered = mend_times(columns.arrival_ns, columns.timestamp, columns.stream, columns.flags)
    if mended:
        counters["times_mended"] = mended
        warnings.append(f"{mended} packets had a time more than a day off; reckoned from their neighbours")
    steps = [(int(columns.offset[step.row]), step) for step in mend_steps(columns, warnings)]
    if steps:
        counters["clock_steps"] = len(steps)
        unordered = bool(np.any(columns.arrival_ns[1:] < columns.arrival_ns[:-1]))
    if not unordered:
        return columns, steps
    order = np.argsort(columns.arrival_ns, kind="stable")
    for column in _each(columns):
        column[:] = column[order]
    return columns, steps


def _count_on(
    notes: NDArray[np.void], steps: list[tuple[int, Step]], first_ns: int, last_ns: int
) -> tuple[int, int]:
    """Times of notes, and of the first and last packet, counted on over steps of the clock; notes are sorted anew."""
    for offset, step in steps:
        # What was reassembled lies elsewhere: its time tells on which side of a leap ahead it is.
        whole = (notes["flags"] & PacketFlag.SPILL) == 0
        after = np.where(whole, notes["offset"] > offset, notes["arrival_ns"] >= step.after_ns)
        if step.counted_back:
            notes["arrival_ns"][~after] += step.leap_ns
            first_ns += step.leap_ns
        else:
            notes["arrival_ns"][after] -= step.leap_ns
            last_ns -= step.leap_ns
    notes[:] = notes[np.argsort(notes["arrival_ns"], kind="stable")]
    return first_ns, max(first_ns, last_ns)


def _streams(
    columns: RtpColumns,
    rough: list[tuple[int, int, int, int, int]],
    flows: Flows,
    arena: Arena,
    by_stream: bool,
) -> list[Stream]:
    """Streams with their rows: a slice for one alone, else views of one grouping of all rows (4 octets a row)."""
    if len(rough) == 1:
        return [Stream(0, flows[rough[0][0]], rough[0][1], slice(0, len(columns.offset)), rough[0][2])]
    edges = list(accumulate([packets for _, _, packets, _, _ in rough], initial=0))
    bounds = list(pairwise(edges))
    starts = np.array(edges[:-1], np.int64)
    grouped = arena.empty(len(columns.offset), np.int32)
    rows: list[NDArray[np.integer] | slice]
    if by_stream and places(columns.stream, starts.copy(), grouped) == len(grouped):
        _move(columns, grouped, arena)
        rows = [slice(*bound) for bound in bounds]
    else:
        group(columns.stream, starts.copy(), grouped)
        rows = [grouped[start:end] for start, end in bounds]
    return [
        Stream(index, flows[flow], ssrc, rows[index], packets)
        for index, (flow, ssrc, packets, _, _) in enumerate(rough)
    ]


def _move(columns: RtpColumns, to: NDArray[np.int32], arena: Arena) -> None:
    """Put each row in its place, column by column; a block at a time, so that little is resident."""
    count = len(to)
    spare = arena.empty(8 * count, np.uint8)
    blocks = [slice(start, start + _SLICE) for start in range(0, count, _SLICE)]
    for column in _each(columns):
        moved = spare[: column.itemsize * count].view(column.dtype)
        for block in blocks:
            moved[to[block]] = column[block]
            release(column, moved, to)
        for block in blocks:
            column[block] = moved[block]
            release(column, moved)


def _links(scanner: Scanner) -> list[str]:
    return [LINKS.get(link, f"link type {link}") for link in scanner.interfaces()]


def _within(part: Part, kind: Container) -> dict[str, Any]:
    """What the Scanner must know of a part: its container's options, by the octets of the whole."""
    position = part.start + kind.options.get("position", 0)
    return {**kind.options, "position": min(position, part.stop), "end": part.stop}


def _cut(part: Part, truncated: bool, damaged: bool, stop: int) -> list[str]:
    stop -= part.start
    if damaged:
        left = part.stop - part.start - stop
        return [f"the record at octet {stop} makes no sense; the {left} octets from there were not read"]
    if truncated:
        return [f"{CUT} at octet {stop}; read up to there"]
    return []


def _remarks(result: Scan) -> list[str]:
    counters, said = result.counters, []
    span_ns = result.last_ns - result.first_ns
    if span_ns > _ABSURD_NS:
        said.append(f"the capture claims to span {span_ns / 86400e9:.0f} days: its times cannot be trusted")
    if counters.get("odd_times"):
        said.append(f"{counters['odd_times']} packet times are outside what the format allows")
    if (
        counters.get("cut_by_snaplen", 0) > result.truncated
    ):  # the record that the file's end cut is told of already
        said.append(f"{counters['cut_by_snaplen']} packets are cut by the capture (snaplen)")
    if counters.get("fragments_incomplete"):
        said.append(f"{counters['fragments_incomplete']} fragmented datagrams are incomplete")
    if result.rtcp.malformed:
        counters["rtcp_malformed"] = result.rtcp.malformed
    said += sentences(result.unread, unexplained=bool(result.streams) and not result.messages)
    if counters.get("t38"):
        said.append("the capture holds T.38 fax, which is not decoded")
    unknown = [key for key in counters if key.startswith(("link_type", "tunnel"))]
    if unknown:
        said.append("not read: " + ", ".join(f"{key} ({counters[key]} frames)" for key in unknown))
    return said
