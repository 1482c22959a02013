"""Calls that are being recorded: rows like those of stored calls, with a status of their own, until they are over.

A row is begun at the INVITE, once its packets are on the disk, and says what signalling has said so far. When the call
is over the import makes it the row of the stored call, in the transaction that files it: the uuid, and what people have
put to it meanwhile (tags, a description, a hold), stay. One whose recorder lost its spools ends as ``interrupted``.

A recorder says every few seconds that it is there. One that was not heard of for `LEASE` may never come back: whoever
looks (`end_lost`) ends its calls as interrupted. Should it come back all the same, it goes on with them: they are known
by their entries in ``calls_in_progress``, which a call whose packets are lost for good has no more.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from psycopg.rows import DictRow

from callreplay.clock import moment
from callreplay.store.database import Connection
from callreplay.store.rows import CallRow

__all__ = [
    "INTERRUPTED",
    "IN_PROGRESS",
    "LEASE",
    "Change",
    "Going",
    "apply",
    "beat",
    "drop",
    "end_lost",
    "going",
    "interrupt",
    "register",
    "rows_of",
    "take_over_all",
]

IN_PROGRESS: Final = "in progress"
"""``calls.status`` of a call that goes on; of no stored call."""
INTERRUPTED: Final = "interrupted"
"""Of a call whose packets were lost with its recorder."""
LEASE: Final = timedelta(minutes=15)
"""The calls of a recorder that was not heard of for so long end as interrupted."""
_OPEN: Final = f"""(calls.status = '{IN_PROGRESS}' OR calls.status = '{INTERRUPTED}' AND EXISTS (
    SELECT FROM calls_in_progress p WHERE p.call_uuid = calls.uuid))"""
"""Of a call that goes on, or would but for the silence of its recorder."""
_SILENT: Final = timedelta(seconds=60)
"""A recorder that was not heard of for so long is gone."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a recorder says of a call that goes on; without ``row`` there is none any more."""

    uuid: UUID
    row: CallRow | None
    call_id: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Going:
    """Where the packets of a call that goes on lie: files of a folder on ``host``, which bears the recorder's uuid."""

    recorder: UUID
    folder: str
    host: str
    files: tuple[str, ...]
    clock_ns: int
    """What came before is in them."""
    gone: bool
    """Its recorder was not heard of for a minute."""


def register(connection: Connection, recorder: UUID, folder: str) -> None:
    """A recorder begins. Calls of its that were given up go on."""
    connection.execute(
        "INSERT INTO recorders (uuid, spools, host) VALUES (%(uuid)s, %(spools)s, %(host)s) ON CONFLICT (uuid) "
        "DO UPDATE SET spools = excluded.spools, host = excluded.host, seen_at = now()",
        {"uuid": recorder, "spools": folder, "host": socket.gethostname()},
    )
    connection.execute(
        "UPDATE calls SET status = %s FROM calls_in_progress p "
        "WHERE p.recorder = %s AND p.call_uuid = calls.uuid AND calls.status = %s",
        (IN_PROGRESS, recorder, INTERRUPTED),
    )


def end_lost(connection: Connection) -> int:
    """End the calls of recorders that were not heard of for `LEASE`; how many there were.

    They ended where they were last heard of, and have no audio: it lies in spools of the recorder's host.
    """
    # The clock of the database, which wrote the other time too. A recorder that stands in the row's way is alive. Of
    # calls that went on and are no more, by retention say, nothing is to be known again.
    found = connection.execute(
        "WITH forgotten AS (DELETE FROM calls_in_progress p USING recorders r WHERE r.uuid = p.recorder "
        "AND r.seen_at < now() - %(lease)s AND NOT EXISTS (SELECT FROM calls c WHERE c.uuid = p.call_uuid)) "
        "UPDATE calls SET status = %(ended)s WHERE uuid IN (SELECT c.uuid FROM recorders r "
        "JOIN calls_in_progress p ON p.recorder = r.uuid JOIN calls c ON c.uuid = p.call_uuid "
        "WHERE r.seen_at < now() - %(lease)s AND c.status = %(going)s FOR UPDATE OF c SKIP LOCKED)",
        {"ended": INTERRUPTED, "going": IN_PROGRESS, "lease": LEASE},
    )
    return found.rowcount


def rows_of(connection: Connection, recorder: UUID) -> dict[UUID, str]:
    """The calls that the recorder left in progress, with their Call-IDs."""
    rows = connection.execute(
        "SELECT call_uuid, call_id FROM calls_in_progress WHERE recorder = %s", (recorder,)
    ).fetchall()
    return {row["call_uuid"]: row["call_id"] for row in rows}


def apply(connection: Connection, recorder: UUID, changes: Iterable[Change]) -> None:
    """Begin, change and drop rows. What has become a stored call meanwhile stays as it is."""
    for change in sorted(
        changes, key=lambda each: each.uuid
    ):  # in the order that who files them locks them in
        if change.row is None:
            drop(connection, change.uuid)
            continue
        if not _update(connection, change.row):
            statement, values = change.row.statement()
            begun = connection.execute(
                f"{statement} ON CONFLICT DO NOTHING RETURNING uuid", values
            ).fetchone()
            if begun is None:
                continue
        connection.execute(
            "INSERT INTO calls_in_progress (call_uuid, recorder, call_id, files) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (call_uuid) DO UPDATE SET recorder = excluded.recorder, files = excluded.files",
            (change.uuid, recorder, change.call_id, list(change.files)),
        )


def _update(connection: Connection, row: CallRow) -> bool:
    """Put a row in the place of that of a call in progress; False where there is none."""
    _, values = row.statement()
    names = [name for name in values if name not in ("uuid", "tenant_id")]
    places = ", ".join(f"{name} = %({name})s" for name in names)
    found = connection.execute(
        f"UPDATE calls SET {places}, imported_at = now() "
        f"WHERE uuid = %(uuid)s AND tenant_id = %(tenant_id)s AND {_OPEN}",
        values,
    )
    return found.rowcount > 0


def take_over_all(connection: Connection, rows: Sequence[CallRow]) -> set[UUID]:
    """Make the rows of calls in progress those of the stored calls; the uuids of those that were such calls."""
    uuids = [row.uuid for row in rows]
    found = connection.execute(
        f"SELECT uuid FROM calls WHERE uuid = ANY(%s) AND {_OPEN} ORDER BY uuid FOR UPDATE OF calls", (uuids,)
    ).fetchall()
    there = {each["uuid"] for each in found}
    for row in rows:
        if row.uuid in there:
            _update(connection, row)
    connection.execute("DELETE FROM calls_in_progress WHERE call_uuid = ANY(%s)", (uuids,))
    return there


def drop(connection: Connection, uuid: UUID) -> None:
    """There is no such call: another row has it, or it is not to be kept."""
    connection.execute(f"DELETE FROM calls WHERE uuid = %s AND {_OPEN}", (uuid,))
    connection.execute("DELETE FROM calls_in_progress WHERE call_uuid = %s", (uuid,))


def interrupt(connection: Connection, uuids: Sequence[UUID]) -> None:
    """Calls whose packets are lost: they ended where they were last heard of."""
    connection.execute("DELETE FROM calls_in_progress WHERE call_uuid = ANY(%s)", (list(uuids),))
    connection.execute(
        "UPDATE calls SET status = %s WHERE uuid = ANY(%s) AND status = %s",
        (INTERRUPTED, list(uuids), IN_PROGRESS),
    )


def beat(connection: Connection, recorder: UUID, clock_ns: int, *, ends: bool) -> None:
    """The recorder is alive; what came before ``clock_ns`` is on the disk. With ``ends`` its calls last till then.

    They go on, too, if they were given up while the recorder could not reach the database.
    """
    clock = moment(clock_ns)
    connection.execute(
        "UPDATE recorders SET seen_at = now(), clock_at = %s WHERE uuid = %s", (clock, recorder)
    )
    if ends:
        connection.execute(
            "UPDATE calls SET ended_at = greatest(ended_at, %(clock)s), status = %(going)s WHERE uuid IN ("
            "SELECT c.uuid FROM calls c JOIN calls_in_progress p ON p.call_uuid = c.uuid "
            "WHERE p.recorder = %(recorder)s AND c.status IN (%(going)s, %(ended)s) FOR UPDATE OF c SKIP LOCKED)",
            {"clock": clock, "going": IN_PROGRESS, "ended": INTERRUPTED, "recorder": recorder},
        )


def going(connection: Connection, uuid: UUID) -> Going | None:
    """Where a call that goes on is recorded; None where it is over."""
    row: DictRow | None = connection.execute(
        "SELECT r.uuid, r.spools, r.host, r.clock_at, r.seen_at, p.files FROM calls_in_progress p "
        "JOIN recorders r ON r.uuid = p.recorder JOIN calls c ON c.uuid = p.call_uuid "
        "WHERE p.call_uuid = %s AND c.status = %s",
        (uuid, IN_PROGRESS),
    ).fetchone()
    if row is None:
        return None
    clock: datetime | None = row["clock_at"]
    clock_ns = 0 if clock is None else round(clock.timestamp() * 1_000_000) * 1000
    gone = datetime.now(UTC) - row["seen_at"] > _SILENT
    return Going(row["uuid"], row["spools"], row["host"], tuple(row["files"]), clock_ns, gone)
