"""Which database a command uses: a server by URL, or the embedded one in the data directory.

The embedded server may be running already, started by the service or another command: then a command only connects to
it. A server that a command started itself stops with the last that uses it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callreplay.store import volumes
from callreplay.store.cluster import DEFAULT_PASSWORD, Cluster, EmbeddedError
from callreplay.store.database import connect, migrate
from callreplay.store.embedded import DEFAULT_PORT, EmbeddedPostgres, is_free
from callreplay.store.places import DATABASE_VARIABLE, default_data_dir

__all__ = ["opened", "reader_password", "ready"]


@contextmanager
def opened(
    url: str = "", data_dir: Path | None = None, *, build: bool = False, volume: bool = False
) -> Iterator[str]:
    """Yield the URL of a database with the newest schema; the embedded one is made where ``build`` says so.

    With ``volume`` it has a first volume in its data directory, as a service gives it one.

    Raises:
        psycopg.OperationalError: the server at ``url`` is not there or refuses.
        EmbeddedError: the embedded server cannot be started, or is not there and is not to be made.
        UnsupportedError: as `callreplay.store.database.migrate`.
    """
    url = url or os.environ.get(DATABASE_VARIABLE, "")
    if url:
        ready(url, data_dir)
        yield url
        return
    folder = (data_dir or default_data_dir()).resolve()
    if not build and not (folder / "cluster" / "PG_VERSION").exists():
        raise EmbeddedError(
            f"there is no database in {folder}: import captures or start `callreplay serve` first, "
            "or name another --data-dir or --database-url"
        )
    with EmbeddedPostgres(folder, port=_usual_port(folder), keep=False) as server:
        ready(server.url, folder)
        if volume:
            with connect(server.url) as connection:
                volumes.first(connection, folder)
        yield server.url


def reader_password(url: str, data_dir: Path | None) -> str:
    """The password of an embedded server's published login; '' for the default one, and for another server."""
    if url or os.environ.get(DATABASE_VARIABLE, ""):
        return ""
    cluster = Cluster((data_dir or default_data_dir()).resolve())
    try:
        found = str(json.loads(cluster.passwords_path.read_text(encoding="utf-8"))["password"])
    except (OSError, ValueError, KeyError):
        return ""
    return "" if found == DEFAULT_PASSWORD else found


def _usual_port(folder: Path) -> int:
    """The port for a server that a command starts: that of the service, which can then use it when it comes."""
    try:
        port = int((folder / "port").read_text(encoding="ascii"))
    except (OSError, ValueError):
        port = DEFAULT_PORT
    return port if is_free("127.0.0.1", port) else 0


def ready(url: str, data_dir: Path | None = None) -> None:
    """Bring the database at ``url`` up to date: its schema, its volumes' marks, and where those of ``data_dir`` are.

    Raises as `callreplay.store.database.migrate`.
    """
    migrate(url)
    with connect(url) as connection:
        volumes.adopt(connection)
        if data_dir is not None:
            volumes.locate(connection, data_dir)
