"""Calls that go on: rows from the INVITE on, ended by the import, found again after a crash, never there twice."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from tests.captures import pcap
from tests.importing.test_rotation import call, rows, whole
from tests.recording.test_record import ended, pumped, recorder, shelf, spooled, until

from callreplay.errors import OutputError
from callreplay.service.app import create_app
from callreplay.service.rounds import Rounds
from callreplay.service.settings import Settings
from callreplay.store import progress, records, retention, search
from callreplay.store.database import Database
from callreplay.store.search import CallQuery, Reach

__all__ = ["shelf"]

UTC_ZONE = ZoneInfo("UTC")


def every(database: Database) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute("SELECT * FROM calls ORDER BY started_at, wire_call_id").fetchall()


def left(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("SELECT count(*) AS n FROM calls_in_progress").fetchone()
    assert row is not None
    return int(row["n"])


def going(database: Database, count: int = 1) -> list[dict[str, Any]]:
    """The calls, once so many are answered and go on."""
    until(
        lambda: (
            len([row for row in every(database) if row["status"] == "in progress" and row["answered_at"]])
            == count
        )
    )
    return every(database)


@contextmanager
def given(
    database: Database, spools: Path, records_: list[tuple[int, bytes]]
) -> Iterator[subprocess.Popen[bytes]]:
    """A recorder that was given the beginning of a capture on standard input, and waits for more."""
    with recorder(database, spools, "-") as process:
        assert process.stdin is not None
        process.stdin.write(pcap(records_))
        process.stdin.flush()
        yield process


def test_a_row_from_the_invite_on_becomes_that_of_the_call(
    database: Database, shelf: Path, tmp_path: Path
) -> None:
    """Found, shown and scoped as any other; what people put to it stays; and it is never there twice."""
    records_ = sorted(call(1, 0, 3))
    half = len(records_) // 2
    with given(database, tmp_path / "spools", records_[:half]) as process:
        assert process.stdin is not None
        (row,) = going(database)
        assert (row["wire_call_id"], row["caller_number"], row["protocol"]) == ("call-1@a", "101", "sip")
        with database.connection() as connection:
            found = search.find(connection, 1, CallQuery(caller_number="101"))
            assert [each["uuid"] for each in found] == [row["uuid"]]
            said = records.as_json(records.complete(connection, found)[0], UTC_ZONE)
            assert (said["status"], said["legs"]) == ("in progress", [])
            reach = Reach.parse(1, "callerNumber=999", UTC_ZONE)
            assert records.load(connection, reach, row["uuid"]) is None
            assert retention.tag(connection, row["uuid"], ["kept"], [])
        process.stdin.write(pcap(records_[half:])[24:])
        process.stdin.close()
        process.stdin = None
        assert "1 calls added, 0 go on" in ended(process, None)
    (stored,) = every(database)
    assert (stored["uuid"], stored["status"], stored["tags"]) == (row["uuid"], "answered", ["kept"])
    assert (rows(database), left(database)) == ([whole(1, 3)], 0)


def test_killed_with_calls_in_progress(database: Database, shelf: Path, tmp_path: Path) -> None:
    """The next start goes on with the rows; where the spools are gone, calls end as interrupted."""
    records_, spools = sorted(record for n in (1, 2) for record in call(n, 400 * n, 3)), tmp_path / "spools"
    half = len(records_) // 2
    with given(database, spools, records_[:half]) as process:
        before = {row["wire_call_id"]: row["uuid"] for row in going(database, 2)}
        until(lambda: spooled(spools) >= half)
        process.kill()
    assert {row["status"] for row in every(database)} == {"in progress"}
    with recorder(database, spools, "-") as process:
        process.communicate(pcap(records_[half:]), timeout=120)
    assert {row["wire_call_id"]: row["uuid"] for row in every(database)} == before
    assert (rows(database), left(database)) == ([whole(1, 3), whole(2, 3)], 0)
    with given(database, spools, sorted(call(3, 0, 3))[:100]) as process:
        until(lambda: left(database) == 1)
        process.kill()
    for folder in spools.glob("open-*"):
        shutil.rmtree(folder)
    pumped(database, spools, pcap([]) + pcap(sorted(call(4, 0, 1)))[24:])
    assert {row["wire_call_id"]: row["status"] for row in every(database)} == {
        "call-1@a": "answered", "call-2@a": "answered", "call-3@a": "interrupted", "call-4@a": "answered"
    }  # fmt: skip
    assert left(database) == 0


def _silent(database: Database, spools: Path) -> None:
    """Let the recorder of a folder have been silent for longer than calls wait for it."""
    with database.connection() as connection:
        found = connection.execute(
            "UPDATE recorders SET seen_at = now() - %s WHERE spools = %s",
            (progress.LEASE + timedelta(seconds=1), str(spools.resolve())),
        )
        assert found.rowcount == 1


def _heard_us(database: Database, spools: Path) -> int:
    """The time of packets that the recorder of a folder has said to be on the disk."""
    with database.connection() as connection:
        (row,) = connection.execute(
            "SELECT coalesce(extract(epoch FROM clock_at) * 1000000, 0)::bigint AS us FROM recorders WHERE spools = %s",
            (str(spools.resolve()),),
        ).fetchall()
    return int(row["us"])


def _begun(database: Database, spools: Path, number: int) -> tuple[UUID, bytes]:
    """A call that goes on when its recorder is killed: its row, and the packets that nobody recorded."""
    records_ = sorted(call(number, 400 * number, 3))
    half = len(records_) // 2
    before = left(database)
    with given(database, spools, records_[:half]) as process:
        until(lambda: left(database) == before + 1 and spooled(spools) >= half)
        until(lambda: all(row["answered_at"] for row in every(database)))
        # With its word on the last packet it has looked for lost recorders too, and has nothing more to say.
        until(lambda: _heard_us(database, spools) >= records_[half - 1][0] // 1000)
        process.kill()
    (row,) = [row for row in every(database) if row["wire_call_id"] == f"call-{number}@a"]
    return row["uuid"], pcap(records_[half:])


def test_a_recorder_that_stays_away(database: Database, shelf: Path, tmp_path: Path) -> None:
    """Another one, or retention, ends its calls after a time; should it come back, it goes on with them."""
    uuid, rest = _begun(database, tmp_path / "one", 1)
    with database.connection() as connection:
        assert progress.end_lost(connection) == 0  # it was heard of just now
    _silent(database, tmp_path / "one")
    other, _ = _begun(database, tmp_path / "two", 2)
    assert {row["uuid"]: row["status"] for row in every(database)} == {
        uuid: "interrupted", other: "in progress"
    }  # fmt: skip
    with database.connection() as connection:
        assert progress.going(connection, uuid) is None
        assert progress.going(connection, other) is not None
    _silent(database, tmp_path / "two")
    assert list(retention.retain(database, dry_run=True)) == []
    assert [row["status"] for row in every(database)].count("interrupted") == 1
    assert list(retention.retain(database)) == []
    assert [row["status"] for row in every(database)] == ["interrupted"] * 2
    with recorder(database, tmp_path / "one", "-") as process:
        process.communicate(rest, timeout=120)
    assert {row["uuid"]: row["status"] for row in every(database)} == {uuid: "answered", other: "interrupted"}
    assert (rows(database)[:1], left(database)) == ([whole(1, 3)], 1)
    with database.connection() as connection:
        connection.execute("DELETE FROM calls WHERE uuid = %s", (other,))
        assert progress.end_lost(connection) == 0
    assert left(database) == 0


def test_a_service_ends_the_calls_of_a_killed_recorder(
    database: Database, shelf: Path, tmp_path: Path
) -> None:
    """Where no other recorder runs: at its start, and again and again; several services at once."""
    first, _ = _begun(database, tmp_path / "one", 1)
    _silent(database, tmp_path / "one")
    with ExitStack() as running:
        for number in range(2):
            service = create_app(
                Settings(database_url=database.url, data_dir=str(tmp_path / str(number)))
            ).state.service
            service.open()
            running.callback(service.close)
        until(lambda: [row["status"] for row in every(database)] == ["interrupted"])
    assert "rounds" not in {thread.name for thread in threading.enumerate()}
    second, _ = _begun(database, tmp_path / "two", 2)
    rounds = [Rounds(database, seconds=0.05) for _ in range(2)]
    for each in rounds:
        each.begin()
    try:
        with database.connection() as connection:  # whoever holds a row is waited for by none
            connection.execute("SELECT FROM calls WHERE uuid = %s FOR UPDATE", (first,))
            _silent(database, tmp_path / "two")
            until(lambda: [row["status"] for row in every(database)] == ["interrupted"] * 2)
    finally:
        for each in rounds:
            each.close()
    assert {row["uuid"] for row in every(database)} == {first, second}


def test_a_recorder_that_the_database_did_not_hear(database: Database, shelf: Path, tmp_path: Path) -> None:
    """Its calls were ended while it could not reach the database: its next word makes them go on."""
    records_ = sorted(call(1, 0, 3))
    half = len(records_) // 2
    with given(database, tmp_path / "spools", records_[:half]) as process:
        assert process.stdin is not None
        (row,) = going(database)
        with database.connection() as connection:
            connection.execute("UPDATE calls SET status = %s", (progress.INTERRUPTED,))
        process.stdin.write(pcap(records_[half:])[24:])
        process.stdin.close()
        process.stdin = None
        ended(process, None)
    (stored,) = every(database)
    assert (stored["uuid"], stored["status"], left(database)) == (row["uuid"], "answered", 0)


def test_what_is_known_or_not_kept_leaves_no_row(database: Database, shelf: Path, tmp_path: Path) -> None:
    """A call that was stored before; one that the rules do not keep; one whose row was made too late."""
    content = pcap(sorted(call(1, 0, 2)))
    pumped(database, tmp_path / "spools", content)
    (row,) = every(database)
    with recorder(database, tmp_path / "spools", "-") as process:
        assert process.stdin is not None
        process.stdin.write(content[:20_000])
        process.stdin.flush()
        until(lambda: left(database) == 1)
        process.stdin.write(content[20_000:])
        process.stdin.close()
        process.stdin = None
        ended(process, None)
    assert [each["uuid"] for each in every(database)] == [row["uuid"]]
    with recorder(database, tmp_path / "spools", "-", "--never", "102") as process:
        assert process.stdin is not None
        process.stdin.write(pcap(sorted(call(2, 0, 2)))[:20_000])
        process.stdin.flush()
        until(lambda: beaten(database))
        process.stdin.close()
        process.stdin = None
        said = ended(process, None)
    assert "cut: it ends inside the record" in said
    assert process.returncode != 0
    assert [each["uuid"] for each in every(database)] == [row["uuid"]]
    assert left(database) == 0
    with database.connection() as connection:
        late = progress.Change(row["uuid"], None)
        progress.apply(connection, UUID(int=1), [late])
    assert rows(database) == [whole(1, 2)]


def beaten(database: Database) -> bool:
    with database.connection() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM recorders WHERE seen_at > now() - interval '0.5 s' AND clock_at IS NOT NULL"
        ).fetchone()
    return bool(row and row["n"])


def test_retention_leaves_what_goes_on(database: Database, shelf: Path, tmp_path: Path) -> None:
    with recorder(database, tmp_path / "spools", "-") as process:
        assert process.stdin is not None
        process.stdin.write(pcap(sorted(call(1, 0, 3))[:200]))
        process.stdin.flush()
        (row,) = going(database)
        with database.connection() as connection:
            retention.set_policy(connection, "default", "period", 1)
            assert retention.note_backup(connection, "default", datetime.now(UTC) + timedelta(days=1)) == 0
        assert list(retention.retain(database, now=datetime.now(UTC) + timedelta(days=900))) == []
        (told,) = retention.erase(database, "default", "101")
        assert "goes on" in told.error
        with pytest.raises(OutputError, match="goes on"):
            retention.remove(database, row["uuid"], reason="a test")
        ended(process)
    (stored,) = every(database)
    assert (stored["uuid"], stored["status"]) == (row["uuid"], "answered")
    assert len(list(retention.retain(database, now=datetime.now(UTC) + timedelta(days=900)))) == 1
