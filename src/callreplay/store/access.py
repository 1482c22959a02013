"""Which database a command uses: a server by URL, or the embedded one in the data directory.

The embedded server may be running already, started by the service: then a command only connects to it. A server that
a command started itself stops with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from callreplay.store import volumes
from callreplay.store.cluster import NAME, OWNER
from callreplay.store.database import connect, migrate
from callreplay.store.embedded import EmbeddedPostgres
from callreplay.store.places import DATABASE_VARIABLE, default_data_dir

__all__ = ["opened", "ready"]


@contextmanager
def opened(url: str = "", data_dir: Path | None = None) -> Iterator[str]:
    """Yield the URL of a database with the newest schema.

    Raises:
        psycopg.OperationalError: the server at ``url`` is not there or refuses.
        EmbeddedError: the embedded server cannot be started.
    """
    url = url or os.environ.get(DATABASE_VARIABLE, "")
    if url:
        ready(url, data_dir)
        yield url
        return
    folder = (data_dir or default_data_dir()).resolve()
    running = _running(folder)
    if running:
        ready(running, folder)
        yield running
        return
    with EmbeddedPostgres(folder, port=0) as server:
        ready(server.url, folder)
        yield server.url


def ready(url: str, data_dir: Path | None = None) -> None:
    """Bring the database at ``url`` up to date: its schema, the marks of its volumes, and where those of ``data_dir`` are.

    Raises as `callreplay.store.database.migrate`.
    """
    migrate(url)
    with connect(url) as connection:
        volumes.adopt(connection)
        if data_dir is not None:
            volumes.locate(connection, data_dir)


def _running(folder: Path) -> str:
    """The URL of the embedded server that runs in ``folder``, '' where none answers."""
    try:
        lines = (folder / "cluster" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        passwords = json.loads((folder / "database.json").read_text(encoding="utf-8"))
        # A server of an older version that still runs knows no owner.
        user, password = OWNER, passwords.get("owner_password")
        if password is None:
            user, password = NAME, passwords["password"]
        port = int(lines[3])
    except (OSError, ValueError, KeyError, IndexError):
        return ""
    host = lines[5].strip() if len(lines) > 5 else ""
    host = "127.0.0.1" if host in ("", "*", "0.0.0.0", "::") else host
    host = f"[{host}]" if ":" in host else host
    url = f"postgresql://{user}:{quote(password, safe='')}@{host}:{port}/callreplay"
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return ""
    return url
