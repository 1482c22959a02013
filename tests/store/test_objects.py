"""A volume on an object store: calls are filed, read, moved, retained, backed up and settled there as in a folder."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tests.scenario.stores import BUCKET, object_store

import callreplay
from callreplay.errors import ArgumentError
from callreplay.importing import filing
from callreplay.store import backup, joining, objects, records, retention, volumes
from callreplay.store.database import Database
from callreplay.store.objects import ObjectHandle
from callreplay.store.volumes import VolumeError

pytest.importorskip("obstore")
URL = f"s3://{BUCKET}/calls"
MARKER = "calls/.callreplay/volume.json"


class KilledError(BaseException):
    """Nothing of the program catches it: as if the process ended here."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with object_store() as (environment, kept):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        objects._store.cache_clear()
        yield kept
        objects._store.cache_clear()


@pytest.fixture
def volume(database: Database, bucket: Any) -> volumes.Volume:
    with database.connection() as connection:
        return volumes.add(connection, URL + "/")


def keys(bucket: Any) -> set[str]:
    return {name for name in bucket.keys if name != MARKER}


def rows(database: Database) -> set[str]:
    with database.connection() as connection:
        found = connection.execute("SELECT path FROM call_files").fetchall()
    return {f"calls/{row['path']}{suffix}" for row in found for suffix in ("", ".idx")}


def file_one(database: Database, case: ModuleType, name: str = "one") -> filing.Filed:
    rows = case.capture(50)
    return filing.file_call(database, 1, rows, case.record(rows, name), case.UTC)


def settle(database: Database, monkeypatch: pytest.MonkeyPatch) -> int:
    """As if hours had gone by."""
    with monkeypatch.context() as patched, database.connection() as connection:
        patched.setattr(objects, "LEASE_SECONDS", -60.0)
        return volumes.reconcile(connection)


def test_a_call_is_filed_read_moved_and_removed(
    database: Database, volume: volumes.Volume, bucket: Any, case: ModuleType, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(objects, "_PIECE", 1000)
    filed = file_one(database, case)
    assert volume.path == URL
    assert all(str(filed.uuid) in path for path in filed.paths)
    assert keys(bucket) == rows(database) == {f"calls/{p}{s}" for p in filed.paths for s in ("", ".idx")}
    with database.connection() as connection:
        folder = volumes.add(connection, tmp_path / "v")
        (call,) = records.complete(connection, connection.execute("SELECT * FROM calls").fetchall())
        assert volumes.listing(connection)[0].used_bytes == sum(
            len(bucket.keys[k].value) for k in keys(bucket)
        )
    assert not file_one(database, case).added
    stored = call.recordings()
    with callreplay.open(*stored) as capture:
        wanted = capture.calls[0].mix()
    assert wanted.any()
    with stored[0].file() as file:
        assert file.read() == bucket.keys[f"calls/{stored[0].path}"].value
        assert os.fstat(file.fileno()).st_size == stored[0].status().st_size
    with volume.open() as opened:
        assert isinstance(opened, ObjectHandle)
        assert opened.read(stored[0].path, 5, 2500) == bucket.keys[f"calls/{stored[0].path}"].value[5:2500]
        for path in ("../x", ".callreplay/volume.json", "a/../../b", "/etc/passwd"):
            with pytest.raises(FileNotFoundError):
                opened.open(path)

    with (tmp_path / "backup.tar").open("wb") as sink:
        written = backup.write(database.url, sink, tmp_path, recordings=True)
    assert (written.files, written.missing) == (4, [])
    with tarfile.open(tmp_path / "backup.tar") as tar:
        inside = tar.extractfile(f"volumes/{volume.id}/{filed.paths[0]}")
        assert inside is not None
        assert inside.read() == bucket.keys[f"calls/{filed.paths[0]}"].value

    before = {name: bucket.keys[name].value for name in keys(bucket)}
    with psycopg.connect(database.url, row_factory=psycopg.rows.dict_row) as connection:
        connection.autocommit = True
        assert joining.join(connection, volume, folder).calls == 1
        assert keys(bucket) == set()
        assert (tmp_path / "v" / filed.paths[0]).read_bytes() == before[f"calls/{filed.paths[0]}"]
        assert joining.join(connection, folder, volume).calls == 1
    assert {name: bucket.keys[name].value for name in keys(bucket)} == before
    with callreplay.open(*stored) as capture:
        assert (capture.calls[0].mix() == wanted).all()

    with database.connection() as connection:
        retention.set_policy(connection, "default", "period", 1)
    (gone,) = retention.retain(database, now=datetime(2026, 1, 1, tzinfo=UTC))
    assert gone.size_bytes == sum(map(len, before.values()))
    assert keys(bucket) == rows(database) == set()
    with database.connection() as connection:
        assert volumes.listing(connection)[0].used_bytes == 0
        assert volumes.retire(connection, volume)
    assert not bucket.keys


@pytest.mark.parametrize("stage", ["before the commit", "after the commit", "as it goes", "when it is gone"])
def test_what_a_killed_process_left_is_settled(
    database: Database, volume: volumes.Volume, bucket: Any, case: ModuleType, monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:  # fmt: skip
    def killed(*_: object, **__: object) -> None:
        raise KilledError

    def work() -> None:
        if stage in ("as it goes", "when it is gone"):
            list(retention.retain(database, now=datetime(2026, 1, 1, tzinfo=UTC)))
        else:
            file_one(database, case)

    if stage in ("as it goes", "when it is gone"):
        file_one(database, case)
        with database.connection() as connection:
            retention.set_policy(connection, "default", "period", 1)
    with monkeypatch.context() as patched:
        patched.setattr(ObjectHandle, "unlink", killed)
        patched.setattr(ObjectHandle, "delete", killed)
        if stage == "before the commit":
            patched.setattr(records, "add_all", killed)
        elif stage == "as it goes":
            patched.setattr("callreplay.store.audit.write_many", killed)
        with pytest.raises(KilledError):
            work()
    assert rows(database) <= keys(bucket)
    left = {name for name in keys(bucket) if ".callreplay" in name}
    assert len(left) == 1
    assert len(keys(bucket)) == 5
    with database.connection() as connection:
        assert volumes.reconcile(connection) == 0  # it may yet live
    assert settle(database, monkeypatch) == 1
    assert keys(bucket) == rows(database)
    assert len(rows(database)) == (4 if stage in ("after the commit", "as it goes") else 0)


def test_another_volume_s_place_and_one_that_is_not_there_are_told(
    database: Database, volume: volumes.Volume, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connection() as connection:
        for place in (URL, f"{URL}/deeper", f"s3://{BUCKET}"):
            with pytest.raises(ArgumentError, match="overlap"):
                volumes.add(connection, place)
        assert volumes.find(connection, path=f"{URL}/").id == volume.id
        other = volumes.add(connection, f"s3://{BUCKET}/calls2")
        with pytest.raises(VolumeError, match="another volume"):
            ObjectHandle(str(other.path), volume.uuid, volume.id)
        connection.execute("UPDATE storage_volumes SET uuid = %s WHERE id = %s", (uuid4(), other.id))
        stranger = volumes.find(connection, number=other.id)
        assert "another volume is there" in stranger.warning
        assert [each.id for each in volumes.active(connection)] == [volume.id]
        connection.rollback()
    del bucket.keys[MARKER]
    assert "no marker" in volume.warning
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    objects._store.cache_clear()
    monkeypatch.setattr(objects, "_RETRY", {"max_retries": 0})
    assert volume.free_bytes == -1


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"uuid": 7}', b"\xff\xfe"])
def test_a_marker_that_is_none_is_no_volume(content: bytes, volume: volumes.Volume, bucket: Any) -> None:
    bucket.keys[MARKER] = content
    with pytest.raises(VolumeError, match="no marker"):
        volume.open()


def test_the_marker_of_another_volume_stays(volume: volumes.Volume, bucket: Any) -> None:
    stranger = ObjectHandle(URL, None, 2)
    before = dict(bucket.keys)
    with pytest.raises(VolumeError, match=f"the marker of another volume, {volume.uuid}"):
        stranger.mark(uuid4())
    stranger.unmark(uuid4())
    assert dict(bucket.keys) == before
    stranger.unmark(volume.uuid)
    assert MARKER not in bucket.keys
