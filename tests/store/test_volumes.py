from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from callreplay.errors import ArgumentError, OutputError
from callreplay.importing import filing
from callreplay.store import joining, volumes
from callreplay.store.database import Database


def fill(database: Database, case: ModuleType, calls: int, volume: int | None = None) -> None:
    rows = case.capture(20)
    for number in range(calls):
        filing.file_call(database, 1, rows, case.record(rows, f"{volume} {number}"), case.UTC, volume)


def test_add_list_and_refuse(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        first = volumes.add(connection, tmp_path / "one", name="first", quota_bytes=5000, reserved_bytes=100)
        assert (first.id, Path(first.path).is_dir(), first.left_bytes) == (1, True, 5000)
        assert volumes.find(connection, name="first") == volumes.find(connection, number=1) == first
        assert volumes.find(connection, path=tmp_path / "one") == first
        with pytest.raises(ArgumentError, match="overlap"):
            volumes.add(connection, tmp_path / "one" / "inside")
        with pytest.raises(ArgumentError, match="reserved"):
            volumes.add(connection, tmp_path / "two", quota_bytes=1, reserved_bytes=2)
        with pytest.raises(ArgumentError, match="'nine'"):
            volumes.find(connection, name="nine")
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot be written"):
            volumes.add(connection, tmp_path / "file")
        audit = connection.execute("SELECT action, object FROM audit_log").fetchall()
    assert audit == [{"action": "volume.add", "object": str(tmp_path / "one")}]


def test_warnings(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        disk = os.statvfs(tmp_path).f_frsize * os.statvfs(tmp_path).f_blocks
        assert volumes.add(connection, tmp_path / "a", reserved_bytes=2 * disk).warning.startswith(
            "used + free"
        )
        gone = volumes.add(connection, tmp_path / "b")
        shutil.rmtree(gone.path)
        assert gone.warning == "cannot be reached: No such file or directory"
        assert gone.left_bytes == 0
        assert volumes.active(connection)[0].id == 1


def test_the_reserve_is_touched_last(database: Database, tmp_path: Path, case: ModuleType) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "a", quota_bytes=100_000, reserved_bytes=100_000)
        volumes.add(connection, tmp_path / "b")
    rows = case.capture(20)
    homes = [
        filing.file_call(database, 1, rows, case.record(rows, str(n)), case.UTC).volume_id for n in range(3)
    ]
    assert homes == [2, 2, 2]
    with database.connection() as connection:
        volumes.retire(connection, volumes.find(connection, number=2))
    assert filing.file_call(database, 1, rows, case.record(rows, "last"), case.UTC).volume_id == 1


def test_a_named_volume_is_used_or_refused(database: Database, tmp_path: Path, case: ModuleType) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "a")
        volumes.add(connection, tmp_path / "b", name="second")
    rows = case.capture(20)
    homes = {
        filing.file_call(database, 1, rows, case.record(rows, str(n)), case.UTC, 2).volume_id
        for n in range(3)
    }
    assert homes == {2}
    with database.connection() as connection:
        assert volumes.retire(connection, volumes.find(connection, name="second")) is False
    with pytest.raises(OutputError, match="retired"):
        filing.file_call(database, 1, rows, case.record(rows, "x"), case.UTC, 2)


def test_retire_without_calls_removes(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        volume = volumes.add(connection, tmp_path / "a")
        assert volumes.retire(connection, volume) is True
        assert volumes.listing(connection) == []


def test_join_moves_everything(database: Database, tmp_path: Path, case: ModuleType) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "a")
        volumes.add(connection, tmp_path / "b")
    fill(database, case, 3, 1)
    before = {path: (tmp_path / "a" / path).read_bytes() for path in case.tree(tmp_path / "a")}
    with database.connection() as connection:
        source, target = volumes.listing(connection)
        connection.commit()
        done = joining.join(connection, source, target)
        moved = done.size_bytes
    assert (done.calls, done.failed) == (3, [])
    assert moved == (sum(len(content) for content in before.values()))
    assert case.tree(tmp_path / "a") == []
    assert {path: (tmp_path / "b" / path).read_bytes() for path in case.tree(tmp_path / "b")} == before
    with database.connection() as connection:
        source, target = volumes.listing(connection)
        assert (source.used_bytes, target.used_bytes) == (0, moved)
        assert volumes.retire(connection, source) is True


def test_join_stops_whole_where_the_target_is_full(
    database: Database, tmp_path: Path, case: ModuleType
) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "a")
        volumes.add(connection, tmp_path / "b", quota_bytes=20_000)
    fill(database, case, 4, 1)
    with database.connection() as connection:
        source, target = volumes.listing(connection)
        connection.commit()
        with pytest.raises(volumes.VolumeFullError):
            joining.join(connection, source, target)
    with database.connection() as connection:
        volumes.reconcile(connection)
        rows = connection.execute("SELECT volume_id, path FROM call_files").fetchall()
    on_disk = {
        (number, name)
        for number, folder in ((1, "a"), (2, "b"))
        for name in case.tree(tmp_path / folder)
        if name.endswith(".rtp")
    }
    assert {(row["volume_id"], row["path"]) for row in rows} == on_disk
    assert {number for number, _ in on_disk} == {1, 2}
    assert not any(".callreplay" in name for folder in ("a", "b") for name in case.tree(tmp_path / folder))
