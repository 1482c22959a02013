"""Calls as they are shown: rows with their files and events, and the JSON that the Transcoder answers with."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from zoneinfo import ZoneInfo

from psycopg.rows import DictRow

from callreplay.parameters import camel
from callreplay.store.database import Connection
from callreplay.store.opening import StoredFile
from callreplay.store.query import TOLD, tell
from callreplay.store.rows import SPEECH, CallRow, EventRow, FileRow
from callreplay.store.search import Reach, format_time, is_within

__all__ = [
    "StoredCall",
    "add_all",
    "as_json",
    "complete",
    "describe",
    "identified",
    "keep_speech",
    "load",
    "lock_identities",
    "lock_identity",
]


@dataclass(slots=True)
class StoredCall:
    """A row of ``calls``, its ``call_files`` by position, its ``call_events`` by time."""

    row: DictRow
    files: list[DictRow] = field(default_factory=list)
    events: list[DictRow] = field(default_factory=list)
    has_words: bool = False  # a transcript, where somebody looked for one

    @property
    def uuid(self) -> uuid.UUID:
        """The call's uuid."""
        found: uuid.UUID = self.row["uuid"]
        return found

    def recordings(self) -> list[StoredFile]:
        """The recordings, caller's first, each to be opened through its volume."""
        ordered = sorted(self.files, key=lambda file: (file["leg"] == "called", file["position"]))
        return [
            StoredFile(file["volume_path"], file["volume_uuid"], file["volume_id"], file["path"])
            for file in ordered
        ]


def complete(connection: Connection, rows: Sequence[DictRow], *, events: bool = False) -> list[StoredCall]:
    """The rows with their files, and with their events if asked."""
    calls = {row["uuid"]: StoredCall(row) for row in rows}
    keys = list(calls)
    for file in connection.execute(
        "SELECT f.*, v.path AS volume_path, v.uuid AS volume_uuid FROM call_files f "
        "JOIN storage_volumes v ON v.id = f.volume_id WHERE f.call_uuid = ANY(%s) "
        "ORDER BY f.call_uuid, f.position, f.id",
        (keys,),
    ):
        calls[file["call_uuid"]].files.append(file)
    if events:
        for event in connection.execute(
            "SELECT * FROM call_events WHERE call_uuid = ANY(%s) ORDER BY call_uuid, at, id", (keys,)
        ):
            calls[event["call_uuid"]].events.append(event)
    return list(calls.values())


def load(connection: Connection, reach: Reach | int, call: uuid.UUID) -> StoredCall | None:
    """One call with everything; None where there is none within reach."""
    row = is_within(connection, reach, call)
    return complete(connection, [row], events=True)[0] if row else None


def lock_identity(connection: Connection, tenant_id: int, identity: str) -> None:
    """Wait until nobody else files the call of that identity; held to the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (identity, tenant_id))


def identified(connection: Connection, tenant_id: int, identity: str) -> uuid.UUID | None:
    """The call of that identity; None where the tenant has none."""
    row = connection.execute(
        "SELECT uuid FROM calls WHERE tenant_id = %s AND identity = %s", (tenant_id, identity)
    ).fetchone()
    return None if row is None else cast("uuid.UUID", row["uuid"])


def lock_identities(
    connection: Connection, tenant_id: int, identities: Sequence[str]
) -> dict[str, uuid.UUID]:
    """As `lock_identity` for many, in an order that all take; those that the tenant has, with their calls."""
    ordered = sorted(identities)
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(identity, %s)) "
        "FROM unnest(%s::text[]) WITH ORDINALITY AS given (identity, place)",
        (tenant_id, ordered),
    ).fetchall()
    rows = connection.execute(
        "SELECT identity, uuid FROM calls WHERE tenant_id = %s AND identity = ANY(%s)", (tenant_id, ordered)
    ).fetchall()
    return {row["identity"]: row["uuid"] for row in rows}


def add_all(connection: Connection, rows: Sequence[CallRow | FileRow | EventRow]) -> None:
    """Add rows of one table: of calls, of recordings of them, or of digits keyed in."""
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(rows[0].statement()[0], [row.statement()[1] for row in rows])


def describe(connection: Connection, reach: Reach, call: uuid.UUID, description: str) -> bool:
    """Set a call's description; False where there is none within reach."""
    if is_within(connection, reach, call) is None:
        return False
    row = connection.execute(
        "UPDATE calls SET description = %s WHERE uuid = %s AND tenant_id = %s RETURNING uuid",
        (description, call, reach.tenant_id),
    ).fetchone()
    return row is not None


def keep_speech(
    connection: Connection, reach: Reach | int, call: uuid.UUID, figures: Mapping[str, int]
) -> bool:
    """Keep who talks how long in a call (``SPEECH``; what is missing is not known); False where it is out of reach."""
    if is_within(connection, reach, call) is None:
        return False
    places = ", ".join(f"{name} = %({name})s" for name in SPEECH)
    values = {name: figures.get(name) for name in SPEECH}
    connection.execute(f"UPDATE calls SET {places} WHERE uuid = %(uuid)s", values | {"uuid": call})
    return True


def loss_percent(file: DictRow) -> float:
    """Packets lost of those sent, in percent."""
    sent = file["packets"] + file["lost"]
    return 100.0 * file["lost"] / sent if sent else 0.0


def as_json(call: StoredCall, zone: ZoneInfo) -> dict[str, Any]:
    """The call with the Transcoder's parameter names as keys; times in ``zone``, lengths in seconds.

    ``startedAt`` (RFC 3339) tells apart the two readings of an hour that the clock shows twice.
    """
    row = call.row
    shown: dict[str, Any] = {
        "callId": str(row["uuid"]),
        "wireCallId": row["wire_call_id"],
        "protocol": row["protocol"],
        "status": row["status"],
        "beginTime": format_time(row["started_at"], zone),
        "answerTime": format_time(row["answered_at"], zone) if row["answered_at"] else None,
        "endTime": format_time(row["ended_at"], zone),
        "timeZone": zone.key,
        "startedAt": row["started_at"].astimezone(zone).isoformat(timespec="milliseconds"),
        "duration": row["duration_ms"] / 1000,
    }
    shown |= {each.url: tell(row[each.column]) for each in TOLD}
    shown |= {
        "description": row["description"],
        "tags": row["tags"],
        "inferred": row["inferred"],
        "legalHold": row["legal_hold"],
        "length": row["length_ms"] / 1000,
        "mos": row["mos"],
        "lossPercent": row["loss_percent"],
        "codecs": row["codecs"],
        "oneWay": row["one_way"],
        **{camel(name.removesuffix("_ms")): _figure(name, row[name]) for name in SPEECH},
        "quality": row["quality"],
        "legs": [
            {"leg": leg, "files": [_file_json(file) for file in call.files if file["leg"] == leg]}
            for leg in dict.fromkeys(file["leg"] for file in call.files)
        ],
    }
    return shown


def _figure(column: str, value: int | None) -> float | int | None:
    """A figure of talk: seconds, or a count."""
    return value / 1000 if value is not None and column.endswith("_ms") else value


def _file_json(file: DictRow) -> dict[str, Any]:
    return {
        "volumeId": file["volume_id"],
        "path": file["path"],
        "format": file["format"],
        "size": file["size_bytes"],
        "sha256": file["sha256"].hex() if file["sha256"] else None,
        "codec": file["codec"],
        "payloadType": file["payload_type"],
        "clockRate": file["clock_rate"],
        "ssrc": file["ssrc"],
        "duration": file["duration_ms"] / 1000,
        "packets": file["packets"],
        "lost": file["lost"],
        "lossPercent": round(loss_percent(file), 3),
        "duplicates": file["duplicates"],
        "reordered": file["reordered"],
        "jitterMs": file["jitter_ms"],
        "mos": file["mos"],
        "gaps": file["gaps"],
    }
