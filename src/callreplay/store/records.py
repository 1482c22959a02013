"""Calls as they are shown: rows with their files and events, and the JSON that the Transcoder answers with."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from callreplay.store.database import Connection
from callreplay.store.search import Reach, format_time, is_within

__all__ = [
    "StoredCall",
    "add_call",
    "add_event",
    "add_file",
    "as_json",
    "complete",
    "describe",
    "find_volume",
    "identified",
    "load",
    "lock_identity",
]


@dataclass(slots=True)
class StoredCall:
    """A row of ``calls``, its ``call_files`` (each with ``volume_path``) by position, its ``call_events`` by time."""

    row: DictRow
    files: list[DictRow] = field(default_factory=list)
    events: list[DictRow] = field(default_factory=list)

    @property
    def uuid(self) -> uuid.UUID:
        """The call's uuid."""
        found: uuid.UUID = self.row["uuid"]
        return found

    def paths(self) -> list[Path]:
        """Where the recordings are, caller's first."""
        ordered = sorted(self.files, key=lambda file: (file["leg"] == "called", file["position"]))
        return [Path(file["volume_path"]) / file["path"] for file in ordered]


def complete(connection: Connection, rows: Sequence[DictRow], *, events: bool = False) -> list[StoredCall]:
    """The rows with their files, and with their events if asked."""
    calls = {row["uuid"]: StoredCall(row) for row in rows}
    keys = list(calls)
    for file in connection.execute(
        "SELECT f.*, v.path AS volume_path FROM call_files f JOIN storage_volumes v ON v.id = f.volume_id "
        "WHERE f.call_uuid = ANY(%s) ORDER BY f.call_uuid, f.position, f.id",
        (keys,),
    ):
        calls[file["call_uuid"]].files.append(file)
    if events:
        for event in connection.execute(
            "SELECT * FROM call_events WHERE call_uuid = ANY(%s) ORDER BY call_uuid, at, id", (keys,)
        ):
            calls[event["call_uuid"]].events.append(event)
    return list(calls.values())


def load(connection: Connection, reach: Reach, call: uuid.UUID) -> StoredCall | None:
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


def add_call(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add the row of a call; ``values`` has every key that the statement names."""
    connection.execute(
        "INSERT INTO calls (uuid, tenant_id, identity, wire_call_id, protocol, status, inferred, started_at, "
        "answered_at, ended_at, caller_ip, caller_port, caller_mac, caller_number, caller_name, called_ip, "
        "called_port, called_mac, called_number, called_name, quality, related, source) VALUES (%(uuid)s, "
        "%(tenant)s, %(identity)s, %(wire)s, %(protocol)s, %(status)s, %(inferred)s, %(started)s, %(answered)s, "
        "%(ended)s, %(caller_ip)s, %(caller_port)s, %(caller_mac)s, %(caller_number)s, %(caller_name)s, "
        "%(called_ip)s, %(called_port)s, %(called_mac)s, %(called_number)s, %(called_name)s, %(quality)s, "
        "%(related)s, %(source)s)",
        values,
    )


def add_event(
    connection: Connection, call: uuid.UUID, at: datetime, leg: str, digit: str, length_ms: int
) -> None:
    """Add a digit that a party of a call keyed in."""
    connection.execute(
        "INSERT INTO call_events (call_uuid, at, leg, kind, detail, length_ms) VALUES (%s, %s, %s, 'dtmf', %s, %s)",
        (call, at, leg, digit, length_ms),
    )


_FIGURES: Final[dict[str, Any]] = {
    "codec": "",
    "payload_type": None,
    "clock_rate": None,
    "ssrc": None,
    "duration_ms": 0,
    "packets": 0,
    "lost": 0,
    "duplicates": 0,
    "reordered": 0,
    "jitter_ms": None,
    "mos": None,
    "gaps": [],
}


def add_file(connection: Connection, figures: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Add the row of a recording: what was measured of it (``figures``), and where it is (``values``)."""
    names = ", ".join(_FIGURES)
    places = ", ".join(f"%({name})s" for name in _FIGURES)
    measured = {name: figures.get(name, default) for name, default in _FIGURES.items()}
    measured["gaps"] = Jsonb(measured["gaps"])
    connection.execute(
        f"INSERT INTO call_files (call_uuid, leg, position, volume_id, path, size_bytes, sha256, started_at, "
        f"{names}) VALUES (%(uuid)s, %(leg)s, %(position)s, %(volume)s, %(path)s, %(size)s, %(sha256)s, "
        f"%(started)s, {places})",
        {**measured, **values},
    )


def describe(connection: Connection, reach: Reach, call: uuid.UUID, description: str) -> bool:
    """Set a call's description; False where there is none within reach."""
    if is_within(connection, reach, call) is None:
        return False
    row = connection.execute(
        "UPDATE calls SET description = %s WHERE uuid = %s AND tenant_id = %s RETURNING uuid",
        (description, call, reach.tenant_id),
    ).fetchone()
    return row is not None


def find_volume(connection: Connection, volume: int) -> DictRow | None:
    """The row of a volume: ``id``, ``path``, ``deleted_at``."""
    return connection.execute("SELECT * FROM storage_volumes WHERE id = %s", (volume,)).fetchone()


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
    for side in ("caller", "called"):
        address = row[f"{side}_ip"]
        shown |= {
            f"{side}IP": None if address is None else str(address),
            f"{side}Port": row[f"{side}_port"],
            f"{side}MAC": row[f"{side}_mac"],
            f"{side}Number": row[f"{side}_number"],
            f"{side}Name": row[f"{side}_name"],
        }
    shown |= {
        "description": row["description"],
        "tags": row["tags"],
        "inferred": row["inferred"],
        "legalHold": row["legal_hold"],
        "quality": row["quality"],
        "legs": [
            {"leg": leg, "files": [_file_json(file) for file in call.files if file["leg"] == leg]}
            for leg in dict.fromkeys(file["leg"] for file in call.files)
        ],
    }
    return shown


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
