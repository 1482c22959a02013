"""Sessions that wait in vain, and a schema of tomorrow."""

from __future__ import annotations

import contextlib
import time

import psycopg
import pytest
from tests import programs

from callreplay.errors import UnsupportedError
from callreplay.store.database import Connection, Database, Limits, connect, migrate, why


def _idle(connection: Connection) -> None:
    time.sleep(3)
    connection.execute("SELECT 1")


def test_a_lock_that_a_client_holds_costs_an_error(database: Database, url: str) -> None:
    limits = Limits(lock=1, statement=2, idle=2)
    with connect(url) as holder, Database(url, size=2, limits=limits) as limited:
        holder.execute("LOCK TABLE calls")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable) as failed, limited.connection() as connection:
            connection.execute("SELECT FROM calls")
        assert time.monotonic() - began < 30
        assert "waited for in vain" in why(failed.value)
        holder.rollback()
        with pytest.raises(psycopg.errors.QueryCanceled), limited.connection() as connection:
            connection.execute("SELECT pg_sleep(60)")
        with limited.connection() as connection:
            connection.execute("LOCK TABLE calls")
            # A class of its own, in newer psycopgs.
            with pytest.raises(psycopg.Error, match="idle-in-transaction"):
                _idle(connection)
            connection.close()
        holder.execute("SET lock_timeout = '5s'; LOCK TABLE calls")


def test_a_schema_of_a_newer_version_is_one_line(database: Database, url: str) -> None:
    with connect(url) as connection:
        (before,) = connection.execute("SELECT version_num FROM schema_version").fetchall()
        connection.execute("UPDATE schema_version SET version_num = '9999'")
    try:
        with pytest.raises(UnsupportedError, match="schema 9999, of a newer callreplay"):
            migrate(url)
        for words in (("volumes", "list"), ("serve", "--port", "0")):
            done = programs.run([*words, "--database-url", url], capture_output=True, text=True, timeout=60)
            lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
            assert done.returncode != 0, words
            assert sum("schema 9999" in line for line in lines) == 1, done.stderr
            assert "Traceback" not in done.stderr
    finally:
        with connect(url) as connection:
            connection.execute("UPDATE schema_version SET version_num = %(version_num)s", before)


def test_a_connection_that_has_rested_is_looked_at_before_it_is_used(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callreplay.store.database._FRESH_SECONDS", 0.0)
    with Database(url, size=1) as one, connect(url) as other:
        with one.connection() as connection:
            number = connection.info.backend_pid
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (number,))
        with one.connection() as connection:
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
            assert connection.info.backend_pid != number


def test_a_server_that_has_gone_costs_one_request_an_error(database: Database, url: str) -> None:
    with Database(url, size=4) as four, connect(url) as other:
        with contextlib.ExitStack() as all_of_them:
            lent = [all_of_them.enter_context(four.connection()) for _ in range(4)]
            gone = [connection.info.backend_pid for connection in lent]
        for number in gone:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (number,))
        with pytest.raises(psycopg.OperationalError), four.connection() as connection:
            connection.execute("SELECT 1")
        for _ in range(4):  # used a moment ago as well, and asked now whether they are there
            with four.reading() as connection:
                assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
                assert connection.info.backend_pid not in gone


def test_each_statement_of_a_reading_is_a_transaction(database: Database, url: str) -> None:
    kept = "SELECT value FROM settings WHERE key = 'test.reading'"
    with Database(url, size=1) as one, connect(url) as other:
        with one.reading() as connection:
            connection.execute("INSERT INTO settings (key, value) VALUES ('test.reading', '1')")
            assert other.execute(kept).fetchone() is not None, "without an end of the block"
            with pytest.raises(psycopg.errors.SyntaxError):
                connection.execute("SELEKT")
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.errors.DivisionByZero), one.connection() as connection:
            connection.execute("DELETE FROM settings WHERE key = 'test.reading'; SELECT 1 / 0")
        other.rollback()
        assert other.execute(kept).fetchone() is not None, "a transaction again"
        other.execute("DELETE FROM settings WHERE key = 'test.reading'")
