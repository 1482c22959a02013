"""The embedded server's log is kept short."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from callreplay.store.embedded import EmbeddedPostgres
from callreplay.store.rotating import rotate


def test_a_long_log_begins_anew_and_the_newest_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "postgresql.log"
    assert not rotate(log, 100)
    with log.open("ab", buffering=0) as server:  # which has it open all the time
        for number in range(6):
            server.write(b"%d" % number * 101)
            assert rotate(log, 100, kept=3)
            assert log.stat().st_size == 0
            assert not rotate(log, 100)
        server.write(b"goes on")
    assert log.read_bytes() == b"goes on"
    kept = {path.name: path.read_bytes()[:1] for path in tmp_path.iterdir() if path != log}
    assert kept == {"postgresql.log.1": b"5", "postgresql.log.2": b"4", "postgresql.log.3": b"3"}
    assert (tmp_path / "postgresql.log.1").stat().st_mode & 0o777 == 0o600


@pytest.mark.database
def test_a_running_server_writes_on(server: EmbeddedPostgres) -> None:
    def complain() -> None:
        with (
            psycopg.connect(server.url, autocommit=True) as connection,
            pytest.raises(psycopg.errors.UndefinedTable),
        ):
            connection.execute("SELECT * FROM no_such_table_of_ours")

    complain()
    assert rotate(server.log_path, 0)
    complain()
    assert b"no_such_table_of_ours" in server.log_path.read_bytes()
    assert b"no_such_table_of_ours" in server.log_path.with_name("postgresql.log.1").read_bytes()
    assert not server.log_path.read_bytes().startswith(b"\0"), "it appends"
