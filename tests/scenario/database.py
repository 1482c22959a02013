"""A real embedded PostgreSQL for the session, an empty database for each test, and captures made of columns."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from callreplay.store.database import Database
from callreplay.store.embedded import EmbeddedPostgres
from tests.scenario.cluster import prepare


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    # Not pytest's tmp_path: its folders are 0700, and PostgreSQL, which refuses to run as root, could not enter them.
    folder = Path(tempfile.mkdtemp(prefix="callreplay-test-"))
    folder.chmod(0o755)
    prepare(folder)
    try:
        with EmbeddedPostgres(
            folder, port=0, settings={"fsync": "off", "shared_buffers": "32MB"}
        ) as postgres:
            yield postgres
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def emptied(server: EmbeddedPostgres) -> Callable[[], str]:
    """Takes every call, volume and audit line out of the database; returns its URL."""

    def empty() -> str:
        with psycopg.connect(server.url, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
                "AND tablename NOT IN ('schema_version', 'roles')"
            ).fetchall()
            names = sql.SQL(", ").join(sql.Identifier(str(row[0])) for row in tables)
            connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(names))
            connection.execute("INSERT INTO tenants (name) VALUES ('default')")
            connection.execute("INSERT INTO reader_roles (role) VALUES ('callreplay')")
        return server.url

    return empty


@pytest.fixture
def url(emptied: Callable[[], str]) -> str:
    """The database with no calls, volumes or audit lines in it."""
    return emptied()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database(url, size=4) as opened:
        yield opened
