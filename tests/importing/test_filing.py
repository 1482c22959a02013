from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from callreplay.errors import OutputError
from callreplay.importing import filing
from callreplay.importing.filing import CallRecord, CaptureRows, LegRecord
from callreplay.model import CallDescription, Event, Flow, MediaDescription, RtpColumns, Stream
from callreplay.packets import recording
from callreplay.store import volumes
from callreplay.store.database import Database
from callreplay.store.handle import VolumeError
from callreplay.store.volumes import VolumeFullError

UTC = ZoneInfo("UTC")
START = 1_340_230_067_000_000_000  # 2012-06-20 22:07:47 UTC
THERE = Flow("10.0.0.1", 4000, "10.0.0.2", 5000, "02:00:00:00:00:01", "02:00:00:00:00:02")
BACK = Flow("10.0.0.2", 5000, "10.0.0.1", 4000, "02:00:00:00:00:02", "02:00:00:00:00:01")


def capture(packets: int = 50, name: str = "x.pcap") -> CaptureRows:
    """Two legs of 20 ms G.711, interleaved."""
    count = 2 * packets
    body = b"".join(
        struct.pack(">BBHII", 0x80, 0, n // 2, n // 2 * 160, 1 + n % 2) + bytes([n % 256]) * 160
        for n in range(count)
    )
    number = np.arange(count)
    columns = RtpColumns(
        (number * 172 + 12).astype(np.int64),
        START + (number // 2) * 20_000_000 + (number % 2) * 123,
        (number // 2 * 160).astype(np.uint32),
        (number % 2).astype(np.int32),
        (number // 2).astype(np.uint16),
        np.full(count, 160, np.uint16),
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint8),
    )
    streams = [
        Stream(0, THERE, 1, slice(0, count, 2), packets),
        Stream(1, BACK, 2, slice(1, count, 2), packets),
    ]
    return CaptureRows(name, np.frombuffer(body, np.uint8), np.zeros(0, np.uint8), columns, streams)


def record(rows: CaptureRows, call_id: str = "81267@h") -> CallRecord:
    count = len(rows.columns.offset)
    call = CallDescription(
        call_id, "sip", "81267", "Ann", "8666685394", "Zoë", "10.0.0.1", "10.0.0.2", START, status="answered"
    )
    call.media = [MediaDescription("caller", "10.0.0.1", 4000, {})]
    legs = [
        LegRecord("caller", np.arange(0, count, 2), THERE, {"codec": "PCMU/8000", "packets": count // 2}),
        LegRecord("called", np.arange(1, count, 2), BACK, {"codec": "PCMU/8000", "packets": count // 2}),
    ]
    legs[0].events.append(Event("5", START + 10**9, 100.0))
    return CallRecord(call, legs, START, START + count // 2 * 20_000_000)


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Path:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "one")
    return tmp_path / "one"


def tree(folder: Path) -> list[str]:
    """The files of a volume, without its marker."""
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name != ".callreplay/volume.json")


NAME = "2012/06/20/22/2012-06-20_22-07-47_81267_8666685394"


def test_a_call_is_filed_once(database: Database, shelf: Path) -> None:
    rows = capture()
    filed = filing.file_call(database, 1, rows, record(rows), UTC)
    assert filed.added
    assert filed.paths == (f"{NAME}-1.rtp", f"{NAME}-2.rtp")
    assert tree(shelf) == [f"{NAME}-{n}.rtp{suffix}" for n in (1, 2) for suffix in ("", ".idx")]
    again = filing.file_call(database, 1, capture(name="other.pcapng"), record(rows), UTC)
    assert (again.added, again.uuid) == (False, filed.uuid)
    with database.connection() as connection:
        (call,) = connection.execute("SELECT * FROM calls").fetchall()
        files = connection.execute("SELECT * FROM call_files ORDER BY position").fetchall()
        (event,) = connection.execute("SELECT * FROM call_events").fetchall()
        (volume,) = volumes.listing(connection)
    assert (call["uuid"], call["wire_call_id"], call["duration_ms"]) == (filed.uuid, "81267@h", 1000)
    assert (str(call["caller_ip"]), call["caller_port"], call["caller_mac"]) == (
        "10.0.0.1",
        4000,
        "02:00:00:00:00:01",
    )
    assert (str(call["called_ip"]), call["called_port"], call["called_mac"]) == (
        "10.0.0.2",
        5000,
        "02:00:00:00:00:02",
    )
    assert (call["called_name"], call["started_at"].isoformat()) == ("Zoë", "2012-06-20T22:07:47+00:00")
    assert [(file["leg"], file["position"], file["packets"]) for file in files] == [
        ("caller", 1, 50),
        ("called", 2, 50),
    ]
    assert (event["detail"], event["length_ms"]) == ("5", 100)
    assert volume.used_bytes == sum((shelf / name).stat().st_size for name in tree(shelf))


def test_the_side_index_keeps_the_truth(database: Database, shelf: Path) -> None:
    rows = capture()
    filed = filing.file_call(database, 1, rows, record(rows), UTC)
    index = recording.read_index(shelf / (filed.paths[1] + ".idx"))
    assert (index.side, index.capture, index.call.called_name) == ("called", "x.pcap", "Zoë")
    assert index.arrival_ns.tolist() == rows.columns.arrival_ns[1::2].tolist()
    assert [(stream.ssrc, stream.flow) for stream in index.streams] == [(2, BACK)]


def test_same_second_same_parties_take_the_next_indices(database: Database, shelf: Path) -> None:
    rows = capture()
    filing.file_call(database, 1, rows, record(rows), UTC)
    second = filing.file_call(database, 1, rows, record(rows, "another@h"), UTC)
    assert second.paths == (f"{NAME}-3.rtp", f"{NAME}-4.rtp")


def test_time_zone_and_odd_parties_in_names() -> None:
    rows = capture()
    call = record(rows)
    call.description.caller_number = "../../etc/passwd \u202e/"
    call.description.called_number = call.description.called_address = ""
    name = filing.recording_name(call, ZoneInfo("Asia/Tokyo"))
    assert name == "2012/06/21/07/2012-06-21_07-07-47_etc-passwd_unknown"


def test_calls_without_media_are_kept(database: Database, shelf: Path) -> None:
    rows = capture()
    call = CallRecord(
        CallDescription("x", "sip", status="failed 486 Busy Here", start_ns=START), [], START, START
    )
    assert filing.file_call(database, 1, rows, call, UTC).added
    assert not filing.file_call(database, 1, rows, call, UTC).added
    assert tree(shelf) == []


def test_round_robin_quota_and_full(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        for name in ("a", "b"):
            volumes.add(connection, tmp_path / name, quota_bytes=100_000)
    rows = capture()
    homes = [filing.file_call(database, 1, rows, record(rows, str(n)), UTC).volume_id for n in range(4)]
    assert homes == [1, 2, 1, 2]
    before = (tree(tmp_path / "a"), tree(tmp_path / "b"))
    refused = 0
    for n in range(4, 12):
        try:
            filing.file_call(database, 1, rows, record(rows, str(n)), UTC)
        except VolumeFullError:
            refused += 1
    assert 0 < refused < 8
    with pytest.raises(VolumeFullError, match="add a volume"):
        filing.file_call(database, 1, rows, record(rows, "one more"), UTC)
    with database.connection() as connection:
        paths = {
            (row["volume_id"], row["path"])
            for row in connection.execute("SELECT * FROM call_files").fetchall()
        }
        assert all(volume.used_bytes <= volume.quota_bytes for volume in volumes.listing(connection))
    on_disk = {
        (number, name)
        for number, folder in ((1, tmp_path / "a"), (2, tmp_path / "b"))
        for name in tree(folder)
        if name.endswith(".rtp")
    }
    assert on_disk == paths
    assert before[0]


def test_a_disk_that_fills_up_hands_over_to_the_next(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "a")
        volumes.add(connection, tmp_path / "b")
    real = recording.write_index

    def full(target: object, index: recording.LegIndex) -> int:
        part = Path(f"/proc/self/fd/{target.fileno()}").readlink()  # type: ignore[attr-defined]
        if part.is_relative_to(tmp_path / "a"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(target, index)  # type: ignore[arg-type]

    monkeypatch.setattr(recording, "write_index", full)
    rows = capture()
    filed = filing.file_call(database, 1, rows, record(rows), UTC)
    assert filed.volume_id == 2
    assert tree(tmp_path / "a") == []
    assert len(tree(tmp_path / "b")) == 4


@pytest.mark.parametrize("asked", [None, 1])
@pytest.mark.parametrize("happens", ["retired", "full", "gone", "gone since", "broken"])
def test_a_volume_that_cannot_take_a_call_has_nothing_of_it(
    happens: str, asked: int | None, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next volume takes it where none was asked for; where one was, the error says what is the matter with it."""
    first, second, away = tmp_path / "a", tmp_path / "b", tmp_path / "away"
    rows = capture()
    with database.connection() as connection:
        volumes.add(connection, first)
    filing.file_call(database, 1, rows, record(rows, "before"), UTC)
    before = tree(first)
    with database.connection() as connection:
        volumes.add(connection, second)
        (volume, _) = volumes.listing(connection)
        if happens == "full":
            volumes.change(connection, volume, quota_bytes=volume.used_bytes + 1000)
        elif happens == "retired":
            assert not volumes.retire(connection, volume)  # it stays for what is on it
    if happens == "gone":
        first.rename(away)
    if happens == "gone since":
        candidates = filing.candidates

        def late(*arguments: Any) -> list[volumes.Volume]:
            found = candidates(*arguments)
            first.rename(away)
            return found

        monkeypatch.setattr(filing, "candidates", late)
    if happens == "broken":
        real = recording.write_index

        def breaks(target: Any, index: recording.LegIndex) -> int:
            if Path(f"/proc/self/fd/{target.fileno()}").readlink().is_relative_to(first):
                raise OSError(errno.EIO, "Input/output error")
            return real(target, index)

        monkeypatch.setattr(recording, "write_index", breaks)
        with database.connection() as connection:  # the other was filled later
            connection.execute("UPDATE storage_volumes SET filled_at = now() WHERE id = 2")
    says = {
        "retired": "is retired and takes no new calls",
        "full": r"no room for a call of [0-9,]+ octets on volume 1:",
        "gone": f"volume 1.*{first}",
        "gone since": f"volume 1.*{first}",
        "broken": rf"volume 1 \({first}\): Input/output error",
    }[happens]
    if asked is None and happens != "broken":  # a disk that breaks is told, and not passed over
        assert filing.file_call(database, 1, rows, record(rows), UTC, asked).volume_id == 2
        assert len(tree(second)) == 4
    else:
        with pytest.raises(OutputError, match=says) as raised:
            filing.file_call(database, 1, rows, record(rows), UTC, asked)
        assert isinstance(raised.value, VolumeFullError) == (happens == "full")
        assert tree(second) == []
        with database.connection() as connection:
            assert connection.execute("SELECT wire_call_id FROM calls").fetchall() == [
                {"wire_call_id": "before"}
            ]
            assert [each.used_bytes for each in volumes.listing(connection)] == [volume.used_bytes, 0]
    assert tree(away if away.exists() else first) == before


def test_where_every_volume_is_gone_the_first_is_named(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        for name in ("a", "b"):
            volumes.add(connection, tmp_path / name)
            (tmp_path / name).rename(tmp_path / f"{name}-away")
    rows = capture()
    with pytest.raises(VolumeError, match=f"volume 1.*{tmp_path / 'a'}"):
        filing.file_call(database, 1, rows, record(rows), UTC)
    assert not (tmp_path / "a").exists()  # nothing was made in its place


FAILING = """
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NEW; END $$;
CREATE {} TRIGGER fails {} INSERT ON call_files {} FOR EACH ROW EXECUTE FUNCTION fails();
"""
REFUSE, DIE = "RAISE 'refused';", "PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(5);"
AT_COMMIT = ("CONSTRAINT", "AFTER", "DEFERRABLE INITIALLY DEFERRED")
FAILURES = {
    "the row is refused": (REFUSE, "", "BEFORE", ""),
    "the database goes in mid-call": (DIE, "", "BEFORE", ""),
    "the commit is refused": (REFUSE, *AT_COMMIT),
    "the database goes in the commit": (DIE, *AT_COMMIT),
    "the answer to the commit is lost": None,
    "interrupted in the commit": None,
}


@pytest.mark.parametrize("failure", FAILURES)
def test_both_or_neither(
    failure: str, database: Database, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row and files agree once what was left is settled, and a second run files what the first did not."""
    rows = capture()
    filing.file_call(database, 1, rows, record(rows, "before"), UTC)
    statements = FAILURES[failure]
    if statements is not None:
        with database.connection() as connection:
            connection.execute(FAILING.format(*statements))
    else:
        commit = psycopg.Connection.commit

        def commits(self: psycopg.Connection[object]) -> None:
            commit(self)
            if "interrupted" in failure:
                raise KeyboardInterrupt
            self.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(psycopg.Connection, "commit", commits)
    try:
        with pytest.raises((psycopg.Error, KeyboardInterrupt)):
            filing.file_call(database, 1, rows, record(rows), UTC)
    finally:
        monkeypatch.undo()
        with database.connection() as connection:
            connection.execute("DROP FUNCTION IF EXISTS fails CASCADE")
    left = [name for name in tree(shelf) if name.startswith(".callreplay")]
    # Only where nobody can know whether the commit was made is there something to settle.
    assert bool(left) == (failure in list(FAILURES)[3:])
    if not left:
        check(database, shelf)
    with database.connection() as connection:
        volumes.reconcile(connection)
    check(database, shelf)
    made = failure in list(FAILURES)[4:]
    again = [filing.file_call(database, 1, rows, record(rows, name), UTC) for name in ("before", "81267@h")]
    assert [filed.added for filed in again] == [False, not made]
    check(database, shelf)


KILLED = """
import sys, importlib.util
spec = importlib.util.spec_from_file_location("filing_case", sys.argv[1])
case = importlib.util.module_from_spec(spec)
spec.loader.exec_module(case)
from callreplay.store.database import Database
rows = case.capture(20)
with Database(sys.argv[2], size=1) as database:
    for number in range(1000):
        case.filing.file_call(database, 1, rows, case.record(rows, f"call {number}"), case.UTC)
        print(number, flush=True)
"""


@pytest.mark.slow
def test_kill_nine_loses_and_doubles_nothing(database: Database, shelf: Path) -> None:
    generator = np.random.default_rng(9)
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, __file__, database.url], stdout=subprocess.PIPE, cwd=Path.cwd()
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(float(generator.uniform(0.0, 0.4)))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with database.connection() as connection:
            volumes.reconcile(connection)
        check(database, shelf)
    rows = capture(20)
    with database.connection() as connection:
        known = connection.execute("SELECT count(*) AS n FROM calls").fetchone()
    assert known is not None
    added = [filing.file_call(database, 1, rows, record(rows, f"call {n}"), UTC).added for n in range(40)]
    assert added.count(False) == min(known["n"], 40)


def check(database: Database, shelf: Path, silent: int = 0) -> None:
    """Rows and files agree, names are given once, the account of the volume is right, nothing lies about.

    ``silent`` calls have no media.
    """
    with database.connection() as connection:
        rows = connection.execute("SELECT path, size_bytes FROM call_files").fetchall()
        doubled = connection.execute(
            "SELECT wire_call_id FROM calls GROUP BY 1 HAVING count(*) > 1"
        ).fetchall()
        lonely = connection.execute(
            "SELECT uuid FROM calls c WHERE (SELECT count(*) FROM call_files f WHERE f.call_uuid = c.uuid) <> 2"
        ).fetchall()
        (volume,) = volumes.listing(connection)
    assert not doubled
    assert len(lonely) == silent
    files = tree(shelf)
    assert sorted(f"{row['path']}{suffix}" for row in rows for suffix in ("", ".idx")) == files
    assert all((shelf / row["path"]).stat().st_size == row["size_bytes"] for row in rows)
    assert volume.used_bytes == sum((shelf / name).stat().st_size for name in files)
