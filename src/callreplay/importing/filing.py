"""Filing one call: its recordings on a volume and its row in the database, either both or neither.

The files are written aside, synced and linked to their names before the transaction commits; a journal on the volume
tells the next start what to do with the files of a process that was killed in between (`callreplay.store.journal`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from callreplay.clock import moment
from callreplay.errors import OutputError
from callreplay.model import INDEX_SUFFIX, CallDescription, Event, Flow, RtpColumns, Side, Stream
from callreplay.packets import recording
from callreplay.packets.arena import fetch, release
from callreplay.store import records, volumes
from callreplay.store.database import Connection, Database
from callreplay.store.journal import Journal, fsync_directory
from callreplay.store.volumes import Volume, VolumeFullError

__all__ = ["CallRecord", "CaptureRows", "Filed", "LegRecord", "file_call", "identity", "recording_name"]

_UNSAFE: Final = re.compile(r"[^0-9A-Za-z+*#.@-]+")
_LONGEST_PARTY: Final = 40
_MAX_INDEX: Final = 10_000


@dataclass(slots=True)
class CaptureRows:
    """What the rows of a call's legs count into: a scanned capture. ``name`` is the file it came from."""

    name: str
    data: NDArray[np.uint8]
    spill: NDArray[np.uint8]
    columns: RtpColumns
    streams: list[Stream]


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
        ssrcs = np.fromiter((stream.ssrc for stream in capture.streams), np.uint32, len(capture.streams))
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
    """What a pass over a leg's rows makes resident."""
    columns = [getattr(capture.columns, column.name) for column in fields(capture.columns)]
    return [capture.data, capture.spill, *columns, leg.rows]


def recording_name(call: CallRecord, zone: ZoneInfo) -> str:
    """``YYYY/MM/DD/HH/YYYY-MM-DD_HH-MM-SS_CALLER_CALLED`` in the time zone ``zone``; the index and suffix follow."""
    start = datetime.fromtimestamp(call.start_ns // 10**9, UTC).astimezone(zone)
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
    volume: str = "",
    fetcher: Callable[[CallRecord], recording.Fetch] = lambda _: fetch,
) -> Filed:
    """File a call on the next volume that has room, or on ``volume`` (id, name or path).

    ``fetcher`` gives what takes the packets out of the capture (`callreplay.importing.ahead`).

    Raises:
        VolumeFullError: no volume has room; nothing was written.
        OutputError: a volume cannot be written to for another reason; nothing was written.
        psycopg.Error: the database refused; nothing was written.

    """
    key = identity(capture, call)
    uuid = uuid4()
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(database.connection())
        # Two imports of the same call at the same time: the second waits, then finds it there.
        records.lock_identity(connection, tenant_id, key)
        known = records.identified(connection, tenant_id, key)
        if known is not None:
            return Filed(known, added=False)
        if not call.legs:
            _insert_call(connection, tenant_id, uuid, key, capture, call)
            return Filed(uuid, added=True)
        draft, journal = _write_somewhere(connection, capture, call, uuid, zone, volume, fetcher(call))
        decided = False
        try:
            _insert_call(connection, tenant_id, uuid, key, capture, call)
            _insert_files(connection, uuid, draft)
            decided = True
            connection.commit()
        except BaseException as error:
            # Interrupted in the commit, or cut off: it may have been made. The journal stands, and the next start asks.
            if not decided or (isinstance(error, psycopg.Error) and not connection.closed):
                with contextlib.suppress(psycopg.Error):
                    connection.rollback()
                draft.unlink()
                journal.finish()
            raise
        finally:
            journal.__exit__(None, None, None)
        journal.finish()
    names = tuple(entry.path for entry in draft.files)
    return Filed(uuid, True, draft.volume.id, names, draft.size)


@dataclass(slots=True)
class _File:
    leg: LegRecord
    position: int
    path: str
    size: int
    sha256: bytes


@dataclass(slots=True)
class _Draft:
    """The files of a call on one volume, linked to their names but not yet committed."""

    volume: Volume
    files: list[_File] = field(default_factory=list)
    size: int = 0
    linked: list[Path] = field(default_factory=list)
    folder: Path | None = None

    def unlink(self) -> None:
        for path in self.linked:
            path.unlink(missing_ok=True)
        if self.folder is not None:
            volumes.prune(self.volume.path, self.folder)


def _write_somewhere(
    connection: Connection,
    capture: CaptureRows,
    call: CallRecord,
    uuid: UUID,
    zone: ZoneInfo,
    which: str,
    fetching: recording.Fetch,
) -> tuple[_Draft, Journal]:
    estimate = _estimate(capture, call)
    if which:
        chosen = volumes.find(connection, which)
        if chosen.retired:
            raise OutputError(f"volume {chosen.id} ({chosen.path}) is retired and takes no new calls")
        candidates = [chosen] if chosen.left_bytes >= estimate else []
    else:
        candidates = volumes.active(connection, estimate)
    for volume in candidates:
        try:
            with (
                connection.transaction()
            ):  # what a volume was charged with is taken back where it turns out full
                written = _write(connection, volume, capture, call, uuid, zone, fetching)
        except OSError as error:
            if error.errno in volumes.FULL:
                continue
            raise OutputError(f"volume {volume.id} ({volume.path}): {error.strerror or error}") from error
        if written is not None:
            return written
    raise VolumeFullError(
        f"no room for a call of {estimate:,} octets on {f'volume {which}' if which else 'any active volume'}: "
        "add a volume, raise a quota, or run `callreplay retain`"
    )


def _estimate(capture: CaptureRows, call: CallRecord) -> int:
    """Octets the files will have, a little more rather than less."""
    payload = sum(int(capture.columns.size[leg.rows].sum(dtype=np.int64)) for leg in call.legs)
    return payload + sum(len(leg.rows) * (8 + 12 + 11) + 16384 for leg in call.legs)


def _write(
    connection: Connection,
    volume: Volume,
    capture: CaptureRows,
    call: CallRecord,
    uuid: UUID,
    zone: ZoneInfo,
    fetching: recording.Fetch,
) -> tuple[_Draft, Journal] | None:
    """Write, sync and link a call's files; None where the volume's quota turns out to be used up."""
    journal = Journal(volume.path, uuid)
    journal.__enter__()
    draft = _Draft(volume)
    try:
        parts: list[list[tuple[Path, str]]] = []
        for number, leg in enumerate(call.legs, 1):
            packets, index = (journal.part(f"{number}{suffix}") for suffix in (".rtp", INDEX_SUFFIX))
            size, sha256 = _write_parts(packets, index, capture, call, leg, fetching)
            draft.files.append(_File(leg, number, "", size, sha256))
            draft.size += size + index.stat().st_size
            parts.append([(packets, ""), (index, INDEX_SUFFIX)])
        if not volumes.claim(connection, volume, draft.size):
            journal.finish()
            journal.__exit__(None, None, None)
            return None
        _link(journal, draft, parts, recording_name(call, zone))
    except BaseException:
        draft.unlink()
        with contextlib.suppress(OSError):
            journal.finish()
        journal.__exit__(None, None, None)
        raise
    return draft, journal


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
    packets: Path,
    index: Path,
    capture: CaptureRows,
    call: CallRecord,
    leg: LegRecord,
    fetching: recording.Fetch,
) -> tuple[int, bytes]:
    with packets.open("wb") as file:
        hashing = _Hashing(file, _pages(capture, leg))
        size, lengths = recording.write_packets(
            cast("BinaryIO", hashing),
            capture.data,
            capture.spill,
            capture.columns,
            leg.rows,
            capture.streams,
            leg.flow,
            fetching,
        )
        file.flush()
        os.fsync(file.fileno())
    used = np.unique(capture.columns.stream[leg.rows])
    numbers = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.uint16)
    numbers[used] = np.arange(len(used))
    entry = recording.LegIndex(
        leg.side,
        call.description,
        [capture.streams[number] for number in used],
        capture.columns.arrival_ns[leg.rows],
        numbers[capture.columns.stream[leg.rows]],
        lengths,
        capture.columns.flags[leg.rows].astype(np.uint8),
        size - int(lengths.sum(dtype=np.int64)),
        capture.name,
        call.inferred,
        reports=leg.reports,
    )
    with index.open("wb") as file:
        recording.write_index(file, entry)
        release(*_pages(capture, leg))
        file.flush()
        os.fsync(file.fileno())
    return size, hashing.sha256.digest()


def _link(journal: Journal, draft: _Draft, parts: list[list[tuple[Path, str]]], name: str) -> None:
    """Give the parts their names: the first indices from 1 on that are free, one per leg."""
    folder = draft.folder = (journal.volume / name).parent
    made = _make_folder(folder, journal.volume)
    first = 1
    while True:
        chosen = list(islice(_free_indices(journal.volume, name, first), len(parts)))
        if len(chosen) < len(parts):
            raise OutputError(f"{name}: no free index left")
        pairs = [
            (part, f"{name}-{index}.rtp{suffix}")
            for index, pair in zip(chosen, parts, strict=True)
            for part, suffix in pair
        ]
        journal.note(*((part.name, path) for part, path in pairs))
        try:
            for part, path in pairs:
                os.link(part, journal.volume / path)
                draft.linked.append(journal.volume / path)
        except FileNotFoundError:
            # Retention pruned the folder, empty until now, after it was made.
            draft.unlink()
            draft.linked.clear()
            made = _make_folder(folder, journal.volume)
            continue
        except FileExistsError:
            # Another import took one of the names since: ours go, and the search goes on behind them.
            draft.unlink()
            draft.linked.clear()
            first = chosen[0] + 1
            continue
        break
    for entry, index in zip(draft.files, chosen, strict=True):
        entry.path, entry.position = f"{name}-{index}.rtp", index
    for directory in made:
        fsync_directory(directory)


def _free_indices(volume: Path, name: str, first: int) -> Iterator[int]:
    return (index for index in range(first, _MAX_INDEX) if not (volume / f"{name}-{index}.rtp").exists())


def _make_folder(folder: Path, volume: Path) -> list[Path]:
    """Make ``folder`` and what is missing above it; returns the directories whose entries are to be synced."""
    changed = [folder]
    while not folder.exists() and folder != volume:
        folder = folder.parent
        changed.append(folder)
    changed[0].mkdir(mode=0o750, parents=True, exist_ok=True)
    return changed


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


def _address(text: str | None) -> str | None:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None


def _clean(text: str) -> str:
    """PostgreSQL's text has no NUL, and a name from the wire needs no more than this much."""
    return text.replace("\x00", "")[:255]


def _insert_call(
    connection: Connection, tenant_id: int, uuid: UUID, key: str, capture: CaptureRows, call: CallRecord
) -> None:
    description = call.description
    caller, called = _end(call, "caller"), _end(call, "called")
    records.add_call(
        connection,
        {
            "uuid": uuid,
            "tenant": tenant_id,
            "identity": key,
            "wire": _clean(description.call_id),
            "protocol": description.protocol,
            "status": _clean(description.status),
            "inferred": call.inferred,
            "started": moment(call.start_ns),
            "answered": moment(description.answer_ns) if description.answer_ns else None,
            "ended": moment(max(call.end_ns, call.start_ns)),
            "caller_ip": _address(caller["ip"]),
            "caller_port": caller["port"],
            "caller_mac": caller["mac"],
            "caller_number": _clean(description.caller_number),
            "caller_name": _clean(description.caller_name),
            "called_ip": _address(called["ip"]),
            "called_port": called["port"],
            "called_mac": called["mac"],
            "called_number": _clean(description.called_number),
            "called_name": _clean(description.called_name),
            "quality": Jsonb(call.quality),
            "related": [_clean(text) for text in description.related],
            "source": _clean(capture.name),
        },
    )
    for leg in call.legs:
        for event in leg.events:
            at = moment(event.start_ns)
            records.add_event(connection, uuid, at, leg.side, event.digit, round(event.duration_ms))


def _insert_files(connection: Connection, uuid: UUID, draft: _Draft) -> None:
    for entry in draft.files:
        start = entry.leg.figures.get("start_ns")
        records.add_file(
            connection,
            entry.leg.figures,
            {
                "uuid": uuid,
                "leg": entry.leg.side,
                "position": entry.position,
                "volume": draft.volume.id,
                "path": entry.path,
                "size": entry.size,
                "sha256": entry.sha256,
                "started": moment(start) if start else None,
            },
        )
