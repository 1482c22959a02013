"""What commands beside the service do, in figures that the service's metrics repeat: imports, watch, record."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from callreplay.store import volumes
from callreplay.store.database import Connection, Database
from callreplay.store.volumes import Volume

__all__ = ["Activity", "Stored", "note", "stored"]

_PREFIX = "activity."


@dataclass(frozen=True, slots=True)
class Activity:
    """What a command has done since the database was made. ``by``: import, watch or record."""

    by: str
    captures: int
    failed: int
    calls: int
    warnings: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored, for metrics. ``calls`` is PostgreSQL's estimate: counting millions takes too long."""

    calls: int
    volumes: list[Volume]
    filled_at: datetime | None
    activities: list[Activity]


def note(database: Database, by: str, *, failed: bool, calls: int, warnings: int) -> None:
    """Count a capture (a call, of a recorder) that ``by`` has done with. Where the database is away, nothing is."""
    done = {"captures": 1, "failed": int(failed), "calls": calls, "warnings": warnings}
    with contextlib.suppress(psycopg.OperationalError), database.connection() as connection:
        connection.execute(
            "INSERT INTO settings (key, value) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET changed_at = now(), "
            "value = (SELECT jsonb_object_agg(e.key, "
            "coalesce((settings.value ->> e.key)::bigint, 0) + e.value::bigint) "
            "FROM jsonb_each_text(excluded.value) e)",
            (_PREFIX + by, Jsonb(done)),
        )


def stored(connection: Connection) -> Stored:
    """The figures of now."""
    row = connection.execute(
        "SELECT greatest(c.reltuples, 0)::bigint AS calls, (SELECT max(filled_at) FROM storage_volumes) AS filled_at "
        "FROM pg_class c WHERE c.oid = 'calls'::regclass"
    ).fetchone()
    assert row is not None
    rows = connection.execute(
        "SELECT key, value, changed_at FROM settings WHERE starts_with(key, %s) ORDER BY key", (_PREFIX,)
    ).fetchall()
    activities = [
        Activity(by=str(each["key"]).removeprefix(_PREFIX), at=each["changed_at"], **each["value"])
        for each in rows
    ]
    return Stored(row["calls"], volumes.listing(connection), row["filled_at"], activities)
