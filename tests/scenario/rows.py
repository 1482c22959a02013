"""Many calls as rows, with files of a few octets: for what is about rows and files and not about audio."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from callreplay.model import recording_files
from callreplay.store.database import Database


def add_calls(database: Database, folder: Path, count: int, start: datetime, volume: int = 1) -> None:
    """``count`` calls of the default tenant on a volume whose folder is ``folder``, two legs each, an hour apart."""
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO calls (tenant_id, identity, wire_call_id, started_at, ended_at) "
            "SELECT 1, 'made ' || n, 'call ' || n, %(start)s + n * interval '1 hour', "
            "%(start)s + n * interval '1 hour' + interval '1 minute' FROM generate_series(0, %(count)s - 1) AS n",
            {"start": start, "count": count},
        )
        connection.execute(
            "INSERT INTO call_files (call_uuid, leg, position, volume_id, path, size_bytes, packets) "
            "SELECT uuid, (ARRAY['caller', 'called'])[leg], leg, %s, "
            "to_char(started_at, 'YYYY/MM/DD/HH24/') || uuid || '-' || leg || '.rtp', 3, 1 "
            "FROM calls, generate_series(1, 2) AS leg WHERE identity LIKE 'made %%' ORDER BY started_at, leg",
            (volume,),
        )
        size = 0
        for row in connection.execute(
            "SELECT path FROM call_files WHERE volume_id = %s", (volume,)
        ).fetchall():
            for name in recording_files(row["path"]):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                size += (folder / name).write_bytes(b"rtp")
        connection.execute("UPDATE storage_volumes SET used_bytes = %s WHERE id = %s", (size, volume))
