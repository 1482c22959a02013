"""Sessions that wait in vain, and a schema of tomorrow."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

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
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                _idle(connection)
            connection.close()
        holder.execute("SET lock_timeout = '5s'; LOCK TABLE calls")


def test_a_schema_of_a_newer_version_is_one_line(database: Database, url: str) -> None:
    with connect(url) as connection:
        (row,) = connection.execute(
            "UPDATE schema_version SET version_num = '9999' RETURNING version_num"
        ).fetchall()
        assert row["version_num"] == "9999"
    try:
        with pytest.raises(UnsupportedError, match="schema 9999, of a newer callreplay"):
            migrate(url)
        program = str(Path(sys.executable).with_name("callreplay"))
        for words in (("volumes", "list"), ("serve", "--port", "0")):
            done = subprocess.run(
                [program, *words, "--database-url", url],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
            assert done.returncode != 0, words
            assert sum("schema 9999" in line for line in lines) == 1, done.stderr
            assert "Traceback" not in done.stderr
    finally:
        with connect(url) as connection:
            connection.execute("UPDATE schema_version SET version_num = '0007'")
