"""The database: its pool of connections, its migrations, and the settings kept in it.

Every statement of callreplay stands in this package (``callreplay.store``); values travel as parameters, never in SQL
text. Rows come as dictionaries.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from callreplay.errors import UnsupportedError

__all__ = [
    "SERVICE",
    "WORK",
    "Connection",
    "Database",
    "Limits",
    "connect",
    "migrate",
    "schema_version",
    "unmigrated",
    "why",
]

Connection = psycopg.Connection[DictRow]

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MIGRATION_LOCK: Final = (
    0x63616C6C  # 'call': one advisory lock, so that workers starting together migrate once
)
_MINIMUM_VERSION: Final = 140000
_FRESH_SECONDS: Final = 1.0  # a connection used so lately is taken for a good one
_MIGRATION_SECONDS: Final = 300  # for another's migration to end, or for a client to let go of a table
_POLL_SECONDS: Final = 0.1

_UTC: Final = "-c timezone=UTC"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds a session waits: for a lock that another holds, for a statement, idle in a transaction.

    None of them may stop the others for ever: a client that holds a lock and does nothing costs those who wait an
    error, and one of ours that hangs is ended by the server.
    """

    lock: int = 15
    statement: int = 60
    idle: int = 120

    def options(self) -> str:
        """As options of a connection."""
        return (
            f"{_UTC} -c lock_timeout={self.lock}s -c statement_timeout={self.statement}s "
            f"-c idle_in_transaction_session_timeout={self.idle}s"
        )


SERVICE: Final = Limits()
"""Of a service, which answers people."""
WORK: Final = Limits(lock=300, statement=900, idle=3600)
"""Of commands, which write the files of a call within a transaction, and look through all calls."""


def connect(url: str) -> Connection:
    """One connection to ``url`` (``postgresql://…`` or libpq keywords), rows as dictionaries, UTC, not autocommit.

    Raises:
        psycopg.OperationalError: the server is not there or refuses.

    """
    return psycopg.connect(url, row_factory=dict_row, options=WORK.options(), application_name="callreplay")


class Database:
    """A pool of connections to one database.

    ``url`` is ``postgresql://…`` or libpq keywords; ``size`` the greatest number of connections; ``limits`` how long
    its sessions wait. Threads share it.
    """

    def __init__(
        self, url: str, *, size: int = 16, timeout_seconds: float = 10.0, limits: Limits = WORK
    ) -> None:
        self.url = url
        self._doubted = 0.0  # when a connection was last found broken: those used before may be as well
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=timeout_seconds,
            max_idle=120.0,
            check=self._check,
            kwargs={
                "row_factory": dict_row,
                "options": limits.options(),
                "application_name": "callreplay",
            },
            connection_class=psycopg.Connection,
            open=False,
        )

    def _check(self, connection: Connection) -> None:
        """Raise where a connection that has rested for a while is broken: another takes its place then.

        One that was used a moment ago is not asked: that would be a way to the server for every request. Where the
        server died in that moment one request is answered as it would be a moment earlier: 503, come again.
        """
        now = time.monotonic()
        used = getattr(connection, "callreplay_used", 0.0)
        if used <= self._doubted or now - used > _FRESH_SECONDS:
            ConnectionPool.check_connection(connection)
        connection.callreplay_used = now  # type: ignore[attr-defined]

    @contextmanager
    def _lent(self, timeout_seconds: float | None = None) -> Iterator[Connection]:
        with self._pool.connection(timeout_seconds) as connection:
            try:
                yield connection
            finally:
                if connection.broken:
                    self._doubted = time.monotonic()

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
    def reading(self) -> Iterator[Connection]:
        """A connection on which each statement is a transaction of its own: one way to the server instead of three."""
        with self._lent() as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = False

    @contextmanager
    def connection(self, timeout_seconds: float | None = None) -> Iterator[Connection]:
        """A connection for one transaction: committed at the end of the block, rolled back on an exception.

        Raises psycopg.OperationalError where none comes free within ``timeout_seconds`` (None: those of the pool).
        """
        with self._lent(timeout_seconds) as connection:
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


def migrate(url: str, target: str = "head") -> None:
    """Bring the schema at ``url`` to the newest version, or to ``target``. Any number of processes may do it at once.

    Raises:
        UnsupportedError: the server is older than PostgreSQL 14, or the schema is newer than this program.
        psycopg.Error: the server is not there, or a statement failed. Nothing of that migration then remains but
            indexes that are made while others write, and the next try goes on with those.

    """
    if target == "head" and _is_newest(url):
        return  # as nearly always: Alembic takes longer to load than most commands take

    import sqlalchemy

    try:
        _migrate(url, target)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _first(error) from None


def _is_newest(url: str) -> bool:
    try:
        with connect(url) as connection:
            version = schema_version(connection)
    except psycopg.ProgrammingError:  # what it is, the migration says
        return False
    return version == max(path.name[:4] for path in MIGRATIONS.glob("versions/[0-9]*.py"))


def _first(error: BaseException) -> BaseException:
    """What the server or the driver said: the error itself, or the one that it came after."""
    orig = getattr(error, "orig", None)
    if isinstance(orig, psycopg.Error):
        return orig
    return _first(error.__context__) if error.__context__ is not None else error


def _migrate(url: str, target: str) -> None:
    # Before the import, which tells of every plugin.
    for name in ("alembic", "alembic.runtime.plugins", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import sqlalchemy
    from alembic import command
    from alembic.config import Config

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(
            url,
            options=f"{_UTC} -c lock_timeout={_MIGRATION_SECONDS}s",
            application_name="callreplay migration",
        ),
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
        _lock(connection)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            _refuse_newer(config, connection)
            connection.commit()  # Alembic begins and ends its own transactions
            command.upgrade(config, target)
            connection.commit()
        finally:
            # A connection that broke off says so by the error that led here; the server took its lock back.
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                connection.rollback()
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_MIGRATION_LOCK,))
                connection.commit()
    engine.dispose()


@contextmanager
def unmigrated(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """While nobody migrates the database of ``connection``, which is not in a transaction; waits for who does.

    For what changes the rights of objects whose rights migrations change as well: the server refuses one of two.
    """
    ask = "SELECT pg_try_advisory_lock(%s)"
    _wait(lambda: connection.execute(ask, (_MIGRATION_LOCK,)).fetchone() == (True,))
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_MIGRATION_LOCK,))


def _lock(connection: Any) -> None:
    """Wait until nobody else migrates."""

    def ask() -> bool:
        got = connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (_MIGRATION_LOCK,)).scalar_one()
        connection.commit()
        return bool(got)

    _wait(ask)


def _wait(ask: Callable[[], bool]) -> None:
    # Not within a statement: an index that is made while others write waits for every statement that began before.
    until = time.monotonic() + _MIGRATION_SECONDS
    while not ask():
        if time.monotonic() > until:
            raise psycopg.errors.LockNotAvailable(
                "another process has been migrating the schema for too long"
            )
        time.sleep(_POLL_SECONDS)


def _refuse_newer(config: Any, connection: Any) -> None:
    """Raise UnsupportedError where a later version of callreplay has been here."""
    from alembic.script import ScriptDirectory

    there = connection.exec_driver_sql("SELECT to_regclass('schema_version') IS NOT NULL").scalar_one()
    version = connection.exec_driver_sql("SELECT version_num FROM schema_version").scalar() if there else None
    known = {script.revision: script for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        newest = max(known)
        raise UnsupportedError(
            f"the database has schema {version}, of a newer callreplay than this one (which knows {newest}): update it"
        )


def why(error: psycopg.Error) -> str:
    """One line that says what is wrong with the database, without what may hold a password."""
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        # libpq could not read the URL, and quotes it.
        return "the database's address is neither postgresql://… nor keywords of libpq"
    text = " ".join(str(error).split())
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return f"the database was waited for in vain: {text}"
    return f"the database does not answer: {text}" if isinstance(error, psycopg.OperationalError) else text


def schema_version(connection: Connection) -> str:
    """The newest migration that the database has; '' where it has none."""
    row = connection.execute("SELECT to_regclass('schema_version') IS NOT NULL AS there").fetchone()
    if row is None or not row["there"]:
        return ""
    row = connection.execute("SELECT version_num FROM schema_version").fetchone()
    return "" if row is None else str(row["version_num"])
