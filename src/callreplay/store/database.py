"""The database: its pool of connections, its migrations, and the settings kept in it.

Every statement of callreplay stands in this package (``callreplay.store``); values travel as parameters, never in SQL
text. Rows come as dictionaries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from callreplay.errors import UnsupportedError

__all__ = ["Connection", "Database", "connect", "migrate", "schema_version", "why"]

Connection = psycopg.Connection[DictRow]

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MIGRATION_LOCK: Final = (
    0x63616C6C  # 'call': one advisory lock, so that workers starting together migrate once
)
_MINIMUM_VERSION: Final = 140000


def connect(url: str) -> Connection:
    """One connection to ``url`` (``postgresql://…`` or libpq keywords), rows as dictionaries, UTC, not autocommit.

    Raises:
        psycopg.OperationalError: the server is not there or refuses.

    """
    return psycopg.connect(
        url, row_factory=dict_row, options="-c timezone=UTC", application_name="callreplay"
    )


class Database:
    """A pool of connections to one database.

    ``url`` is ``postgresql://…`` or libpq keywords; ``size`` the greatest number of connections. Threads share it.
    """

    def __init__(self, url: str, *, size: int = 16, timeout_seconds: float = 10.0) -> None:
        self.url = url
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=timeout_seconds,
            max_idle=120.0,
            check=ConnectionPool.check_connection,
            kwargs={
                "row_factory": dict_row,
                "options": "-c timezone=UTC",
                "application_name": "callreplay",
            },
            connection_class=psycopg.Connection,
            open=False,
        )

    def open(self) -> None:
        """Connect; waits until the first connection stands."""
        self._pool.open(wait=True)

    def close(self) -> None:
        """Give every connection back to the server."""
        self._pool.close()

    def __enter__(self) -> Database:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one transaction: committed at the end of the block, rolled back on an exception."""
        with self._pool.connection() as connection:
            yield connection

    def statistics(self) -> dict[str, int]:
        """Figures of the pool (``pool_size``, ``pool_available``, ``requests_waiting`` and others)."""
        return dict(self._pool.get_stats())

    def setting(self, key: str, default: Any = None) -> Any:
        """The JSON value of a setting, or ``default``."""
        with self.connection() as connection:
            row = connection.execute("SELECT value FROM settings WHERE key = %s", (key,)).fetchone()
        return default if row is None else row["value"]

    def set_setting(self, key: str, value: Any) -> None:
        """Write a setting."""
        with self.connection() as connection:
            connection.execute(
                "INSERT INTO settings (key, value) VALUES (%s, %s) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed_at = now()",
                (key, Jsonb(value)),
            )

    def first_setting(self, key: str, value: Any) -> Any:
        """The value of a setting; ``value`` is written, and returned, where it has none. Safe between workers."""
        with self.connection() as connection:
            connection.execute(
                "INSERT INTO settings (key, value) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING",
                (key, Jsonb(value)),
            )
            row = connection.execute("SELECT value FROM settings WHERE key = %s", (key,)).fetchone()
        assert row is not None
        return row["value"]


def migrate(url: str) -> None:
    """Bring the schema at ``url`` to the newest version. Any number of processes may do it at once.

    Raises:
        UnsupportedError: the server is older than PostgreSQL 14.
        psycopg.Error: the server is not there, or a statement failed (nothing of that migration then remains).

    """
    import sqlalchemy

    try:
        _migrate(url)
    except sqlalchemy.exc.DBAPIError as error:
        raise (error.orig or error) from None


def _migrate(url: str) -> None:
    # Before the import, which tells of every plugin.
    for name in ("alembic", "alembic.runtime.plugins", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import sqlalchemy
    from alembic import command
    from alembic.config import Config

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, options="-c timezone=UTC"),
        poolclass=sqlalchemy.NullPool,
    )
    try:
        opened = engine.connect()
    except sqlalchemy.exc.DBAPIError as error:
        raise (error.orig or error) from None
    with opened as connection:
        version = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
        if int(version) < _MINIMUM_VERSION:
            raise UnsupportedError(f"PostgreSQL 14 or newer is needed; the server says {version}")
        connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        connection.commit()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
            connection.commit()
        finally:
            connection.rollback()
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_MIGRATION_LOCK,))
            connection.commit()
    engine.dispose()


def why(error: psycopg.Error) -> str:
    """One line that says what is wrong with the database, without what may hold a password."""
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        # libpq could not read the URL, and quotes it.
        return "the database's address is neither postgresql://… nor keywords of libpq"
    text = " ".join(str(error).split())
    return f"the database does not answer: {text}" if isinstance(error, psycopg.OperationalError) else text


def schema_version(connection: Connection) -> str:
    """The newest migration that the database has; '' where it has none."""
    row = connection.execute("SELECT to_regclass('schema_version') IS NOT NULL AS there").fetchone()
    if row is None or not row["there"]:
        return ""
    row = connection.execute("SELECT version_num FROM schema_version").fetchone()
    return "" if row is None else str(row["version_num"])
