"""Filing one call: its recordings on a volume and its row in the database, either both or neither.

The files are written aside, synced and linked to their names before the transaction commits; a journal on the volume
tells the next start what to do with the files of a process that was killed in between (`callreplay.store.journal`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO, Final, cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
from numpy.typing import NDArray

from callreplay.errors import OutputError
from callreplay.model import INDEX_SUFFIX, CallDescription, Event, Flow, RtpColumns, Side, Stream
from callreplay.packets import recording
from callreplay.packets.arena import fetch, release
from callreplay.store import progress, records, volumes
from callreplay.store.database import Connection, Database
from callreplay.store.opening import AnyHandle, AnyJournal, journal_of
from callreplay.store.rows import CallRow, EventRow, FileRow, clean_time, figures_of
from callreplay.store.volumes import Volume, VolumeError, VolumeFullError

__all__ = [
    "CallRecord",
    "CaptureRows",
    "Draft",
    "Filed",
    "LegRecord",
    "Parts",
    "candidates",
    "estimate_of",
    "file_call",
    "identity",
    "insert",
    "link",
    "prepare",
    "recording_name",
    "rows_of",
    "write_legs",
]

_UNSAFE: Final = re.compile(r"[^0-9A-Za-z+*#.@-]+")
_LONGEST_PARTY: Final = 40
_MAX_INDEX: Final = 10_000
_SMALL: Final = 16 << 20
"""Octets of a capture that stays in memory until all legs of a call are written: its pages cost more to have back."""
Parts = list[list[tuple[str, str]]]
"""Of each leg, the names of its parts beside the journal, and what ends the names that they get."""


@dataclass(slots=True)
class CaptureRows:
    """What the rows of a call's legs count into: a scanned capture. ``name`` is the file it came from."""

    name: str
    data: NDArray[np.uint8]
    spill: NDArray[np.uint8]
    columns: RtpColumns
    streams: list[Stream]
    _ssrcs: NDArray[np.uint32] | None = field(default=None, init=False, repr=False)

    @property
    def ssrcs(self) -> NDArray[np.uint32]:
        """That of each stream. Made once: a capture may have as many streams as calls."""
        if self._ssrcs is None:
            self._ssrcs = np.fromiter((stream.ssrc for stream in self.streams), np.uint32, len(self.streams))
        return self._ssrcs


@dataclass(slots=True)
class LegRecord:
    """One direction of a call. ``rows`` are all its packets in arrival order, events and duplicates included.

    ``figures`` are columns of ``call_files``: codec, payload_type, clock_rate, ssrc, duration_ms, packets, lost,
    duplicates, reordered, jitter_ms, mos, gaps. ``reports`` are the RTCP sender reports of its streams, as the side
    index keeps them.
    """

    side: Side
    rows: NDArray[np.signedinteger[Any]]
    flow: Flow
    figures: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    reports: list[tuple[int, ...]] = field(default_factory=list)


@dataclass(slots=True)
class CallRecord:
    """One call as it is to be filed. Times in ns since the epoch."""

    description: CallDescription
    legs: list[LegRecord]
    start_ns: int
    end_ns: int
    inferred: bool = False
    quality: dict[str, Any] = field(default_factory=dict)
    listen: Callable[[], dict[str, Any]] | None = None
    """Finds out who talks how long, as columns of ``calls``; None where nobody wants to know."""
    speech: dict[str, Any] = field(default_factory=dict)

    def hear(self) -> None:
        """Find out who talks how long, once."""
        if self.listen is not None:
            self.speech, self.listen = self.listen(), None


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of a call: ``added`` is False where the database had it already."""

    uuid: UUID
    added: bool
    volume_id: int = 0
    paths: tuple[str, ...] = ()
    size_bytes: int = 0


def identity(capture: CaptureRows, call: CallRecord) -> str:
    """What makes the call itself, from its signalling and every packet's arrival, SSRC, sequence and timestamp.

    The capture's name, path and format have no part in it: the same packets are the same call.
    """
    digest = hashlib.blake2b(digest_size=20)
    digest.update(repr((call.description.protocol, call.description.call_id, call.start_ns)).encode())
    columns = capture.columns
    for leg in sorted(call.legs, key=lambda leg: leg.side):
        digest.update(leg.side.encode())
        ssrcs = capture.ssrcs
        for first in range(0, len(leg.rows), 1 << 16):
            rows = leg.rows[first : first + (1 << 16)]
            # One after the other: 65,536 rows of one leg may lie among millions of others.
            for column, kind in (
                (columns.arrival_ns, "<i8"),
                (columns.sequence, "<u2"),
                (columns.timestamp, "<u4"),
            ):
                digest.update(np.ascontiguousarray(column[rows], kind).data)
                release(column)
            digest.update(np.ascontiguousarray(ssrcs[columns.stream[rows]], "<u4").data)
            release(columns.stream, leg.rows)
    return digest.hexdigest()


def _pages(capture: CaptureRows, leg: LegRecord) -> list[NDArray[Any]]:
    """What a pass over a leg's rows makes resident; nothing of a small capture, all of which may be."""
    if len(capture.data) <= _SMALL:
        return []
    columns = [getattr(capture.columns, column.name) for column in fields(capture.columns)]
    return [capture.data, capture.spill, *columns, leg.rows]


def recording_name(call: CallRecord, zone: ZoneInfo) -> str:
    """``YYYY/MM/DD/HH/YYYY-MM-DD_HH-MM-SS_CALLER_CALLED`` in the time zone ``zone``; the index and suffix follow."""
    start = datetime.fromtimestamp(clean_time(call.start_ns) // 10**9, UTC).astimezone(zone)
    parties = [
        _UNSAFE.sub("-", text).strip("-.")[:_LONGEST_PARTY] or "unknown"
        for text in (
            call.description.caller_number or call.description.caller_address,
            call.description.called_number or call.description.called_address,
        )
    ]
    return f"{start:%Y/%m/%d/%H/%Y-%m-%d_%H-%M-%S}_{parties[0]}_{parties[1]}"


def file_call(
    database: Database,
    tenant_id: int,
    capture: CaptureRows,
    call: CallRecord,
    zone: ZoneInfo,
    volume: int | None = None,
    fetcher: Callable[[CallRecord], recording.Fetch] = lambda _: fetch,
    row: UUID | None = None,
) -> Filed:
    """File a call on the next volume that has room, or on the one with the id ``volume``.

    ``row``: that of the call while it was in progress, which becomes its own. ``fetcher`` gives what takes the packets
    out of the capture (`callreplay.importing.ahead`).

    Raises:
        VolumeError: the volume named cannot be reached; nothing was written.
        VolumeFullError: no volume has room; nothing was written.
        OutputError: a volume cannot be written to for another reason; nothing was written.
        psycopg.Error: the database refused; nothing was written.

    """
    key = identity(capture, call)
    uuid = row or uuid4()
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(database.connection())
        # Two imports of the same call at the same time: the second waits, then finds it there.
        records.lock_identity(connection, tenant_id, key)
        known = records.identified(connection, tenant_id, key)
        if known is not None:
            if row is not None and row != known:
                progress.drop(connection, row)
            return Filed(known, added=False)
        heirs = {uuid} if row is not None else set[UUID]()
        if not call.legs:
            insert(connection, [rows_of(tenant_id, uuid, key, capture, call)], heirs)
            return Filed(uuid, added=True)
        call.hear()

        def put(draft: Draft) -> None:
            insert(connection, [rows_of(tenant_id, uuid, key, capture, call, draft)], heirs)

        draft = _write_somewhere(stack, connection, capture, call, uuid, zone, volume, fetcher(call), put)
        try:
            connection.commit()
        except psycopg.Error:
            # Cut off, or interrupted in the commit: it may have been made. The journal stands, and the next start asks.
            if not connection.closed:
                with contextlib.suppress(psycopg.Error):
                    connection.rollback()
                draft.unlink()
                draft.journal.finish()
            raise
        draft.journal.finish()
    return draft.filed(uuid)


@dataclass(slots=True)
class _File:
    leg: LegRecord
    position: int
    path: str
    size: int
    sha256: bytes


@dataclass(slots=True)
class Draft:
    """The files of a call on one volume, linked to their names but not yet committed."""

    volume: Volume
    handle: AnyHandle
    journal: AnyJournal
    files: list[_File] = field(default_factory=list)
    size: int = 0
    linked: list[str] = field(default_factory=list)
    folder: str = ""

    def filed(self, uuid: UUID) -> Filed:
        """What became of the call."""
        names = tuple(entry.path for entry in self.files)
        return Filed(uuid, True, self.volume.id, names, self.size)

    def unlink(self) -> None:
        for path in self.linked:
            self.handle.unlink(path)
        self.linked.clear()
        self.handle.prune(self.folder)


def _write_somewhere(
    stack: contextlib.ExitStack,
    connection: Connection,
    capture: CaptureRows,
    call: CallRecord,
    uuid: UUID,
    zone: ZoneInfo,
    which: int | None,
    fetching: recording.Fetch,
    put: Callable[[Draft], None],
) -> Draft:
    """The files on the first volume that takes them, and their rows; ``stack`` keeps volume and journal open."""
    estimate = estimate_of(capture, call)
    for volume in candidates(connection, which, estimate):
        try:
            # Rows, and what a volume was charged with, are taken back where it turns out full.
            with connection.transaction() as charged, contextlib.ExitStack() as opened:
                handle = volume.open()
                opened.callback(handle.close)
                journal = journal_of(handle, uuid).__enter__()
                opened.callback(journal.close)
                draft = Draft(volume, handle, journal)
                if _write(connection, draft, capture, call, zone, fetching, put):
                    stack.push(opened.pop_all())
                    return draft
                raise psycopg.Rollback(charged)
        except VolumeError:
            if which is not None:
                raise
        except OSError as error:
            if error.errno in volumes.FULL:
                continue
            raise OutputError(f"volume {volume.id} ({volume.path}): {error.strerror or error}") from error
    raise VolumeFullError(
        f"no room for a call of {estimate:,} octets on {'any active volume' if which is None else f'volume {which}'}: "
        "add a volume, raise a quota, or run `callreplay retain`"
    )


def candidates(connection: Connection, which: int | None, size: int) -> list[Volume]:
    """The volumes to try. Raises VolumeError where the one that was asked for is not there, or none of several is."""
    if which is not None:
        chosen = volumes.find(connection, number=which)
        if chosen.retired:
            raise OutputError(f"volume {chosen.id} ({chosen.path}) is retired and takes no new calls")
        chosen.open().close()
        return [chosen] if chosen.left_bytes >= size else []
    found = volumes.active(connection, size)
    if not found:
        absent = [
            volume for volume in volumes.listing(connection) if not volume.retired and volume.free_bytes < 0
        ]
        for volume in absent:
            volume.open().close()
    return found


def estimate_of(capture: CaptureRows, call: CallRecord) -> int:
    """Octets the files will have, a little more rather than less."""
    payload = sum(int(capture.columns.size[leg.rows].sum(dtype=np.int64)) for leg in call.legs)
    return payload + sum(len(leg.rows) * (8 + 12 + 11) + 16384 for leg in call.legs)


def _write(
    connection: Connection,
    draft: Draft,
    capture: CaptureRows,
    call: CallRecord,
    zone: ZoneInfo,
    fetching: recording.Fetch,
    put: Callable[[Draft], None],
) -> bool:
    """Write, sync and link a call's files, and ``put`` its rows; False where the volume's quota is used up by now."""
    journal = draft.journal
    try:
        parts = write_legs(draft, capture, call, fetching, durable=True)
        _link(draft, parts, recording_name(call, zone))
        put(draft)
        # Last: its row is locked to the end of the transaction, which holds for no I/O but the commit's.
        if not volumes.claim(connection, draft.volume, draft.size):
            draft.unlink()
            journal.finish()
            return False
    except BaseException:
        draft.unlink()
        with contextlib.suppress(OSError):
            journal.finish()
        raise
    return True


def write_legs(
    draft: Draft, capture: CaptureRows, call: CallRecord, fetching: recording.Fetch, *, durable: bool
) -> Parts:
    """Write a call's legs beside the journal, synced if ``durable``; the parts of each with what ends their names."""
    journal = draft.journal
    parts: Parts = []
    for number, leg in enumerate(call.legs, 1):
        with (
            journal.create(f"{number}.rtp") as packets,
            journal.create(f"{number}{INDEX_SUFFIX}") as index,
        ):
            size, sha256 = _write_parts(packets, index, capture, call, leg, fetching, durable)
            draft.size += size + index.tell()
        draft.files.append(_File(leg, number, "", size, sha256))
        parts.append(
            [
                (journal.part(f"{number}{part}"), end)
                for part, end in ((".rtp", ""), (INDEX_SUFFIX, INDEX_SUFFIX))
            ]
        )
    release(capture.data)
    return parts


class _Hashing:
    """A binary file that knows the SHA-256 of what was written to it, and drops the pages of its ``sources``."""

    def __init__(self, file: BinaryIO, sources: Sequence[NDArray[Any]]) -> None:
        self.file = file
        self.sources = sources
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        # A leg's packets lie all over the capture: without this all of it would be resident at the end of each.
        release(*self.sources)
        return self.file.write(data)


def _write_parts(
    packets: BinaryIO,
    index: BinaryIO,
    capture: CaptureRows,
    call: CallRecord,
    leg: LegRecord,
    fetching: recording.Fetch,
    durable: bool,
) -> tuple[int, bytes]:
    hashing = _Hashing(packets, _pages(capture, leg))
    size, lengths = recording.write_packets(
        cast("BinaryIO", hashing),
        capture.data,
        capture.spill,
        capture.columns,
        leg.rows,
        capture.ssrcs,
        leg.flow,
        fetching,
    )
    packets.flush()
    if durable:
        os.fsync(packets.fileno())
    streams = capture.columns.stream[leg.rows]
    used = _distinct(streams)
    entry = recording.LegIndex(
        leg.side,
        call.description,
        [capture.streams[number] for number in used],
        capture.columns.arrival_ns[leg.rows],
        np.searchsorted(used, streams).astype(np.uint16),
        lengths,
        capture.columns.flags[leg.rows].astype(np.uint8),
        size - int(lengths.sum(dtype=np.int64)),
        capture.name,
        call.inferred,
        reports=leg.reports,
    )
    recording.write_index(index, entry)
    release(*_pages(capture, leg))
    index.flush()
    if durable:
        os.fsync(index.fileno())
    return size, hashing.sha256.digest()


def _distinct(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """The distinct ones in order. Most legs are of one stream; a sort of all takes twenty times as long."""
    if not len(values):
        return np.empty(0, np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low > len(values):
        return np.unique(values).astype(np.int64)
    return np.flatnonzero(np.bincount(values - low)) + low


def _link(draft: Draft, parts: Parts, name: str) -> None:
    """Give the parts their names: the first indices from 1 on that are free, one per leg."""
    first = 1
    while True:
        made, pairs, chosen = prepare(draft, parts, name, first)
        draft.journal.note(*pairs)
        if link(draft, pairs, chosen):
            break
        # Retention pruned the folder, empty until now, or another import took one of the names: search behind them.
        first = chosen[0] + (draft.handle.status(f"{name}-{chosen[0]}.rtp") is not None)
    for directory in made:
        draft.handle.sync(directory)


def prepare(
    draft: Draft, parts: Parts, name: str, first: int = 1
) -> tuple[list[str], list[tuple[str, str]], list[int]]:
    """The folders to sync, what is to be linked (part, path), and the indices, from ``first`` on, that are free."""
    name = draft.handle.name_for(name, draft.journal.call)
    draft.folder = name.rpartition("/")[0]
    made = draft.handle.make_folder(draft.folder)
    chosen = list(islice(_free_indices(draft.handle, name, first), len(parts)))
    if len(chosen) < len(parts):
        raise OutputError(f"{name}: no free index left")
    pairs = [
        (part, f"{name}-{index}.rtp{suffix}")
        for index, pair in zip(chosen, parts, strict=True)
        for part, suffix in pair
    ]
    return made, pairs, chosen


def link(draft: Draft, pairs: list[tuple[str, str]], chosen: list[int]) -> bool:
    """Link parts that were noted; False, and none is, where a name was taken or the folder removed meanwhile."""
    try:
        for part, path in pairs:
            draft.journal.link(part, path)
            draft.linked.append(path)
    except (FileNotFoundError, FileExistsError):
        draft.unlink()
        return False
    for number, (entry, index) in enumerate(zip(draft.files, chosen, strict=True)):
        entry.path, entry.position = pairs[2 * number][1], index
    return True


def _free_indices(volume: AnyHandle, name: str, first: int) -> Iterator[int]:
    return (index for index in range(first, _MAX_INDEX) if volume.status(f"{name}-{index}.rtp") is None)


def _end(call: CallRecord, side: Side) -> dict[str, Any]:
    """Address, port and MAC of one party: from the packets it sent, else from those it got, else from signalling."""
    description = call.description
    ends: dict[str, Any] = {"ip": getattr(description, f"{side}_address") or None, "port": None, "mac": None}
    row = next((row for row in description.media if row.side == side and not row.fork), None)
    if row is not None:
        ends["port"] = row.port
    for leg in call.legs:
        flow = leg.flow
        if leg.side == side:
            ends.update(ip=flow.source, port=flow.source_port, mac=flow.source_mac or None)
            return ends
        ends.update(ip=flow.destination, port=flow.destination_port, mac=flow.destination_mac or None)
    return ends


Rows = tuple[CallRow, list[FileRow], list[EventRow]]
"""Of a call."""


def insert(connection: Connection, entries: Sequence[Rows], heirs: Set[UUID]) -> None:
    """Add calls with their files and events; ``heirs`` take the rows that they had while they went on."""
    there = set[UUID]()
    if heirs:
        there = progress.take_over_all(connection, [call for call, _, _ in entries if call.uuid in heirs])
    records.add_all(connection, [call for call, _, _ in entries if call.uuid not in there])
    records.add_all(connection, [file for _, files, _ in entries for file in files])
    records.add_all(connection, [event for _, _, events in entries for event in events])


def rows_of(
    tenant_id: int, uuid: UUID, key: str, capture: CaptureRows, call: CallRecord, draft: Draft | None = None
) -> Rows:
    """A call as rows, with the files of its draft."""
    files = _file_rows(uuid, draft) if draft is not None else []
    row, events = _call_rows(tenant_id, uuid, key, capture, call, files)
    return row, files, events


def _call_rows(
    tenant_id: int, uuid: UUID, key: str, capture: CaptureRows, call: CallRecord, files: Sequence[FileRow]
) -> tuple[CallRow, list[EventRow]]:
    """A call as rows, without its files."""
    said = call.description
    caller, called = _end(call, "caller"), _end(call, "called")
    row = CallRow(
        uuid,
        tenant_id,
        key,
        call.start_ns,
        call.end_ns,
        said.answer_ns or None,
        said.call_id,
        said.protocol,
        said.status,
        call.inferred,
        caller["ip"],
        caller["port"],
        caller["mac"],
        said.caller_number,
        said.caller_name,
        called["ip"],
        called["port"],
        called["mac"],
        said.called_number,
        said.called_name,
        call.quality,
        said.related,
        capture.name,
        "".join(f" {number}" for number in said.called_numbers if number != said.called_number),
        **figures_of(files),
        **call.speech,
    )
    events = [
        EventRow(uuid, event.start_ns, leg.side, "dtmf", event.digit, round(event.duration_ms))
        for leg in call.legs
        for event in leg.events
    ]
    return row, events


def _file_rows(uuid: UUID, draft: Draft) -> list[FileRow]:
    """The rows of a call's files."""
    made = []
    for entry in draft.files:
        figures = dict(entry.leg.figures)
        start = figures.pop("start_ns", None)
        place = (uuid, entry.leg.side, entry.position, draft.volume.id, entry.path, entry.size, entry.sha256)
        made.append(FileRow(*place, start or None, **figures))
    return made
