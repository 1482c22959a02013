"""A backup: one tar file with the database, what its volumes are, and the recordings where they are wanted.

In this order: ``backup.json`` (what is in it), ``database.dump`` (PostgreSQL's custom format), ``volumes/ID/PATH`` for
each file, and ``complete.json``, without which the file ends early. The list of files and the dump are of one moment.
`callreplay.store.restoring` reads it.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol

from callreplay import __version__
from callreplay.model import recording_files
from callreplay.store import audit, volumes
from callreplay.store.beneath import parts_of
from callreplay.store.database import Connection, connect, schema_version
from callreplay.store.dumping import dump
from callreplay.store.opening import AnyHandle

__all__ = ["ABOUT", "DUMP", "END", "FORMAT", "Written", "write"]

FORMAT: Final = 1
"""Of the tar file; a reader refuses those that it does not know."""
ABOUT: Final = "backup.json"
DUMP: Final = "database.dump"
END: Final = "complete.json"


class Sink(Protocol):
    """Where the octets go."""

    def write(self, data: Any, /) -> int:
        """Take all of them."""


@dataclass(slots=True)
class Written:
    """What a backup has. ``missing``: recordings that the database names and that are not there."""

    begun: datetime
    calls: int
    files: int = 0
    size_bytes: int = 0
    missing: list[str] = field(default_factory=list)


def write(url: str, sink: Sink, scratch: Path, *, recordings: bool, password: str = "") -> Written:
    """Write a backup of the database at ``url`` to ``sink``.

    Args:
        url: the owner's.
        sink: takes the tar file; it is only written, never sought.
        scratch: a folder for the dump until it is in the tar file; nothing of it stays.
        recordings: whether the files of all calls go in as well.
        password: of the embedded server's published login, which a restore gives it again.

    Raises:
        VolumeError: recordings are wanted and a volume that has some cannot be reached; nothing was written.
        OutputError: the database cannot be dumped, or the sink cannot be written.

    """
    with connect(url) as connection:
        # Nothing that is asked from here on sees what comes in meanwhile, and neither does the dump.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        about, done = _about(connection, recordings=recordings, password=password)
        handles = _handles(connection) if recordings else {}
        with tempfile.TemporaryFile(dir=scratch) as dumped:
            version, snapshot = about.pop("server_version"), about.pop("snapshot")
            dump(url, version, snapshot, dumped)
            with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                _add_json(tar, ABOUT, about)
                _add_file(tar, DUMP, dumped)
                for number, handle in handles.items():
                    with handle:
                        _add_recordings(tar, connection, number, handle, done)
                _add_json(tar, END, {"files": done.files, "bytes": done.size_bytes})
    with connect(url) as connection:
        said = {"calls": done.calls, "files": done.files, "recordings": recordings}
        audit.write(connection, "backup", actor="system", detail=said)
    return done


def _about(connection: Connection, *, recordings: bool, password: str) -> tuple[dict[str, Any], Written]:
    row = connection.execute(
        "SELECT pg_export_snapshot() AS snapshot, now() AS begun, (SELECT count(*) FROM calls) AS calls, "
        "current_setting('server_version_num')::integer AS server_version"
    ).fetchone()
    assert row is not None
    roles = connection.execute(
        "WITH rights (acl) AS (SELECT relacl FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
        "UNION ALL SELECT proacl FROM pg_proc WHERE pronamespace = current_schema()::regnamespace "
        "UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname = current_schema()) "
        "SELECT DISTINCT r.rolname FROM rights, aclexplode(acl) a JOIN pg_roles r ON r.oid = a.grantee "
        "WHERE r.rolname <> current_user AND r.rolname !~ '^pg_' ORDER BY 1"
    ).fetchall()
    places = connection.execute(
        "SELECT id, name, uuid, path, home FROM storage_volumes ORDER BY id"
    ).fetchall()
    about = {
        "format": FORMAT,
        "callreplay": __version__,
        "schema": schema_version(connection),
        "begun": row["begun"].isoformat(),
        "calls": row["calls"],
        "recordings": recordings,
        "roles": [each["rolname"] for each in roles],
        "reader_password": password,
        "volumes": [{**place, "uuid": str(place["uuid"])} for place in places],
        "server_version": row["server_version"],
        "snapshot": row["snapshot"],
    }
    return about, Written(row["begun"], row["calls"])


def _handles(connection: Connection) -> dict[int, AnyHandle]:
    """The volumes that have files, open."""
    rows = connection.execute("SELECT DISTINCT volume_id FROM call_files").fetchall()
    needed = {row["volume_id"] for row in rows}
    opened: dict[int, AnyHandle] = {}
    try:
        for volume in volumes.listing(connection):
            if volume.id in needed:
                opened[volume.id] = volume.open()
    except BaseException:
        for handle in opened.values():
            handle.close()
        raise
    return opened


def _paths(connection: Connection, number: int) -> Iterator[str]:
    """A volume's files in the order of their paths; there may be millions."""
    with connection.cursor(name="files") as cursor:
        cursor.itersize = 5000
        cursor.execute("SELECT path FROM call_files WHERE volume_id = %s ORDER BY path", (number,))
        for row in cursor:
            yield str(row["path"])


def _add_recordings(
    tar: tarfile.TarFile, connection: Connection, number: int, handle: AnyHandle, done: Written
) -> None:
    for path in _paths(connection, number):
        for name in recording_files(path):
            try:
                with os.fdopen(handle.open(name), "rb") as file:
                    done.size_bytes += _add_file(tar, f"volumes/{number}/{'/'.join(parts_of(name))}", file)
            except FileNotFoundError:
                if name == path:  # not every recording has a side index
                    done.missing.append(f"{handle.label}: {path}")
                continue
            done.files += 1


def _add_json(tar: tarfile.TarFile, name: str, value: dict[str, Any]) -> None:
    data = json.dumps(value, indent=1).encode()
    _add(tar, name, io.BytesIO(data), len(data), 0)


def _add_file(tar: tarfile.TarFile, name: str, file: IO[bytes]) -> int:
    file.seek(0)
    status = os.fstat(file.fileno())
    _add(tar, name, file, status.st_size, int(status.st_mtime))
    return status.st_size


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int, changed: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, changed, 0o640
    tar.addfile(entry, file)
    tar.members = []  # type: ignore[attr-defined]  # there may be millions
