"""The way to stored files: through the marked folder of the volume, and beneath it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path
from uuid import uuid4

import pytest
from tests.importing.test_filing import UTC, capture, check, record, tree

import callreplay
from callreplay.errors import CaptureError
from callreplay.importing import filing
from callreplay.service import engine
from callreplay.store import beneath, joining, records, retention, volumes
from callreplay.store import handle as module
from callreplay.store.database import Database
from callreplay.store.handle import Handle, VolumeError, mark
from callreplay.store.volumes import Volume


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of resolving a path: the kernel's and ours."""
    if request.param == "walk":
        monkeypatch.setattr(beneath, "_syscall", None)
    else:
        folder = os.open("/", os.O_RDONLY)
        try:
            if beneath._openat2(folder, "usr", os.O_RDONLY | os.O_DIRECTORY, 0) is None:
                pytest.skip("this kernel has no openat2")
        finally:
            os.close(folder)
    return str(request.param)


@pytest.fixture
def handle(tmp_path: Path) -> Handle:
    """A volume with a file, and beside it what must not be reached."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "volume"
    (root / "2026").mkdir(parents=True)
    (root / "2026" / "a.rtp").write_text("a")
    uuid = uuid4()
    mark(root, uuid)
    return Handle(root, uuid, 1)


HOSTILE = (
    "", ".", "..", "/", "../secret", "2026/../../secret", "2026/../2026/a.rtp", "/etc/passwd", "./2026/a.rtp",
    "2026//a.rtp", "2026/", "2026", "\0", "2026/a.rtp\0", "link", "linked/passwd", "2026/up/secret", "fifo", "socket",
    "missing", "2026/a.rtp/b", ".callreplay/volume.json", "x" * 300, "proc/self/root",
)  # fmt: skip


def test_nothing_but_its_files_is_reached(way: str, handle: Handle, tmp_path: Path) -> None:
    root = tmp_path / "volume"
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to("/etc")
    (root / "2026" / "up").symlink_to("../..")
    (root / "proc").symlink_to("/proc")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "socket"))
    with handle as opened:
        descriptor = opened.open("2026/a.rtp")
        assert os.read(descriptor, 9) == b"a"
        os.close(descriptor)
        before = sorted(root.rglob("*"))
        for path in HOSTILE:
            with pytest.raises(FileNotFoundError):
                opened.open(path)
            if path not in ("link", "fifo", "socket"):
                assert opened.remove([path]) == {}, path
        assert sorted(root.rglob("*")) == before
        # A link that was stored as one goes, and not what it points to.
        opened.remove(["link"])
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (root / "link").is_symlink()


def test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere(
    way: str, handle: Handle, tmp_path: Path
) -> None:
    root = tmp_path / "volume"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.rtp").write_text("not yours")
    shutil.rmtree(root / "2026")
    (root / "2026").symlink_to(outside)
    with handle as opened:
        for attempt in (
            lambda: opened.open("2026/a.rtp"),
            lambda: opened.make_folder("2026/01"),
            lambda: opened.sync("2026"),
        ):
            with pytest.raises(OSError, match="2026"):
                attempt()
        assert opened.remove(["2026/a.rtp"]) == {}
    assert sorted(path.name for path in outside.iterdir()) == ["a.rtp"]


def two(database: Database, tmp_path: Path) -> tuple[Volume, Volume]:
    with database.connection() as connection:
        return (
            volumes.add(connection, tmp_path / "a", name="first"),
            volumes.add(connection, tmp_path / "b", name="second", reserved_bytes=1),
        )


def test_an_empty_mount_point_is_an_error_of_that_volume(database: Database, tmp_path: Path) -> None:
    """Through every door: import, reading, zip, the service's link, join, retention, the journal."""
    first, second = two(database, tmp_path)
    rows = capture(20)
    calls = [
        filing.file_call(database, 1, rows, record(rows, f"{number} {n}"), UTC, number)
        for number in (first.id, second.id)
        for n in range(2)
    ]
    (tmp_path / "a").rename(tmp_path / "disk")
    (tmp_path / "a").mkdir()  # the mount point without its disk
    with database.connection() as connection:
        assert "not mounted" in volumes.find(connection, number=1).warning
        stored = records.load(connection, 1, calls[0].uuid)
    assert stored is not None
    files = stored.recordings()
    with pytest.raises(VolumeError, match="not mounted"):
        filing.file_call(database, 1, rows, record(rows, "new"), UTC, first.id)
    assert filing.file_call(database, 1, rows, record(rows, "new"), UTC).volume_id == second.id
    with pytest.raises(CaptureError, match="not mounted"):
        callreplay.open(*files)
    with pytest.raises(VolumeError):
        files[0].status()
    with pytest.raises(VolumeError):
        b"".join(engine.render(files, "rtp", {}).data)
    for ends in ((first, second), (second, first)):
        with database.connection() as connection, pytest.raises(VolumeError):
            joining.join(connection, *ends)
    with database.connection() as connection:
        assert volumes.reconcile(connection) == 0
        retention.set_policy(connection, "default", "period", 1)
    # Retention: the calls of that volume stay, each told of; those of the other go.
    for dry_run in (True, False):
        gone = list(retention.retain(database, dry_run=dry_run))
        assert sorted(bool(removal.error) for removal in gone) == [False] * 3 + [True] * 2
        assert all("not mounted" in removal.error for removal in gone if removal.error)
    assert tree(tmp_path / "a") == []
    assert list((tmp_path / "a").iterdir()) == []
    with database.connection() as connection:
        kept = connection.execute("SELECT uuid FROM calls").fetchall()
    assert {row["uuid"] for row in kept} == {calls[0].uuid, calls[1].uuid}
    # Mounted again, nothing was lost.
    (tmp_path / "a").rmdir()
    (tmp_path / "disk").rename(tmp_path / "a")
    assert callreplay.open(*files).calls
    assert len(list(retention.retain(database))) == 2
    with database.connection() as connection:
        volumes.retire(connection, volumes.find(connection, number=2))
    check(database, tmp_path / "a")


def test_a_volume_of_another_in_its_place_is_refused(database: Database, tmp_path: Path) -> None:
    first, _ = two(database, tmp_path)
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    with pytest.raises(VolumeError, match="another volume is there"):
        first.open()
    with (
        database.connection() as connection,
        pytest.raises(VolumeError, match="bears the marker of another volume"),
    ):
        volumes.add(connection, tmp_path / "c")


def test_a_volume_moves(database: Database, tmp_path: Path) -> None:
    first, _ = two(database, tmp_path)
    rows = capture(20)
    filed = filing.file_call(database, 1, rows, record(rows), UTC, first.id)
    shutil.copytree(tmp_path / "a", tmp_path / "new")
    shutil.rmtree(tmp_path / "a")
    with database.connection() as connection:
        for wrong in (tmp_path / "b", tmp_path / "b" / "in", tmp_path):
            with pytest.raises((VolumeError, ValueError)):
                volumes.move(connection, first, wrong)
        moved = volumes.move(connection, first, tmp_path / "new")
        assert (moved.id, moved.path, moved.warning) == (first.id, tmp_path / "new", "")
        stored = records.load(connection, 1, filed.uuid)
    assert stored is not None
    assert callreplay.open(*stored.recordings()).calls


def test_a_data_directory_restored_elsewhere_has_its_volumes(database: Database, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with database.connection() as connection:
        volumes.first(connection, data)
        volumes.add(connection, tmp_path / "apart")
        volumes.locate(connection, data)
    rows = capture(20)
    filed = filing.file_call(database, 1, rows, record(rows), UTC, 1)
    data.rename(tmp_path / "elsewhere")
    with database.connection() as connection:
        volumes.locate(connection, tmp_path / "elsewhere")
        home, apart = volumes.listing(connection)
        stored = records.load(connection, 1, filed.uuid)
    assert (home.path, apart.path) == (tmp_path / "elsewhere" / "volumes" / "1", tmp_path / "apart")
    assert home.warning == apart.warning == ""
    assert stored is not None
    assert callreplay.open(*stored.recordings()).calls
    with database.connection() as connection:
        volumes.first(connection, tmp_path / "elsewhere")
        assert len(volumes.listing(connection)) == 2


def test_names_are_unique_and_a_join_tells_what_stays(database: Database, tmp_path: Path) -> None:
    first, second = two(database, tmp_path)
    with database.connection() as connection:
        for taken in ("first", "a\nb", "x" * 101):
            with pytest.raises(ValueError, match="name"):
                volumes.add(connection, tmp_path / "c", name=taken)
        assert volumes.add(connection, tmp_path / "c").name == "Volume 3"
        assert volumes.find(connection, name="Volume 3").id == 3
        with pytest.raises(ValueError, match="its id, its name or its path"):
            volumes.find(connection, number=1, name="first")
    rows = capture(20)
    calls = [filing.file_call(database, 1, rows, record(rows, str(n)), UTC, first.id) for n in range(3)]
    (tmp_path / "a" / calls[1].paths[0]).unlink()
    with database.connection() as connection:
        done = joining.join(connection, first, second)
        (row,) = connection.execute(
            "SELECT array_agg(DISTINCT call_uuid) AS calls FROM call_files WHERE volume_id = 1"
        )
    assert done.calls == 2
    assert len(done.failed) == 1
    assert str(calls[1].uuid) in done.failed[0]
    assert row["calls"] == [calls[1].uuid]
    assert len(tree(tmp_path / "b")) == 8


def _loop(marker: Path) -> None:
    marker.unlink()
    marker.symlink_to(marker.name)


def _folder(marker: Path) -> None:
    marker.unlink()
    marker.mkdir()


MARKERS = {
    "a loop": (_loop, "cannot be read"),
    "a folder": (_folder, "cannot be read"),
    "no JSON": (lambda marker: marker.write_text("{"), "has no marker"),
    "no object": (lambda marker: marker.write_text("[]"), "has no marker"),
    "no uuid": (lambda marker: marker.write_text('{"uuid": 7}'), "has no marker"),
    "not ASCII": (lambda marker: marker.write_bytes(b"\xff\xfe"), "has no marker"),
}


@pytest.mark.parametrize("name", MARKERS)
def test_a_marker_that_is_none_is_no_volume(name: str, tmp_path: Path) -> None:
    """And no descriptor stays open: a service looks at its volumes for years."""
    uuid = uuid4()
    mark(tmp_path, uuid)
    Handle(tmp_path, uuid, 1).close()
    spoil, says = MARKERS[name]
    spoil(tmp_path / ".callreplay" / "volume.json")
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(3):
        with pytest.raises(VolumeError, match=rf"volume 1 \({tmp_path}\).*{says}"):
            Handle(tmp_path, uuid, 1)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize("slow", [False, True])
def test_what_cannot_be_removed_is_told_and_costs_the_others_nothing(
    slow: bool, handle: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, and side by side where each answer takes its time."""
    if slow:
        monkeypatch.setattr(module, "_FIRST", 0)
        monkeypatch.setattr(module, "_SLOW_SECONDS", 0.0)
    root, remove = tmp_path / "volume", os.unlink
    paths = [f"{folder}/{name}.rtp" for folder in ("2026/01", "2026/02", "2026/03") for name in "ab"]
    for path in paths:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(path)
        (root / f"{path}.idx").write_text(path)

    def refused(name: str, *, dir_fd: int) -> None:
        if Path(f"/proc/self/fd/{dir_fd}/{name}").resolve() == root / paths[2]:
            raise PermissionError(errno.EPERM, "Operation not permitted")  # chattr +i
        remove(name, dir_fd=dir_fd)

    monkeypatch.setattr("callreplay.store.handle.os.unlink", refused)
    failed = handle.remove([*paths, "2026/04/gone.rtp", "../x.rtp"])
    assert {name: error.errno for name, error in failed.items()} == {paths[2]: errno.EPERM}
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.rtp*")) == [paths[2], "2026/a.rtp"]
    assert {path.name for path in (root / "2026").iterdir()} == {"a.rtp", "02"}
