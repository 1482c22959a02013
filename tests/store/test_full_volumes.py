"""Volumes that are really full: small tmpfs mounts that run out of octets or inodes at each step of filing a call."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.importing.test_filing import UTC, capture, record, tree

from callreplay.importing import filing
from callreplay.store import volumes
from callreplay.store.database import Database
from callreplay.store.volumes import VolumeFullError

Mount = Callable[[str, str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a tmpfs of these options under a name."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mounted: list[Path] = []

    def mounts(name: str, options: str) -> Path:
        path = tmp_path / name
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "callreplay-test", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"mounts are not allowed here: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield mounts
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def state(database: Database) -> tuple[set[tuple[int, str]], dict[int, int]]:
    """(volume, path) of every file that the database knows, and the octets accounted to each volume."""
    with database.connection() as connection:
        rows = connection.execute("SELECT volume_id, path FROM call_files").fetchall()
        used = {volume.id: volume.used_bytes for volume in volumes.listing(connection)}
    return {(row["volume_id"], row["path"]) for row in rows}, used


def on_disk(folders: dict[int, Path]) -> tuple[set[tuple[int, str]], dict[int, int]]:
    files = {(number, name) for number, folder in folders.items() for name in tree(folder)}
    used = {
        number: sum((folder / name).stat().st_size for name in tree(folder))
        for number, folder in folders.items()
    }
    return {(number, name) for number, name in files if name.endswith(".rtp")}, used


# The root, the volume's own folder and its marker; then a journal, four parts, four folders: the thirteenth inode is
# there for all of them.
@pytest.mark.parametrize("inodes", [*range(4, 13), 0])
def test_a_volume_that_fills_in_mid_call_hands_over(
    inodes: int, database: Database, tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without inodes it runs out of octets: 2 MiB for a call of 3, which others took after the volume was chosen."""
    folders = {1: tmp_path / "a", 2: tmp_path / "b"}
    with database.connection() as connection:
        volumes.add(connection, mount("a", f"size=32m,nr_inodes={inodes}" if inodes else "size=2m"))
        volumes.add(connection, folders[2])
    rows = capture(20 if inodes else 9000)
    if not inodes:
        monkeypatch.setattr(volumes, "_SLACK", -32 << 20)
    filed = filing.file_call(database, 1, rows, record(rows), UTC)
    assert (filed.added, filed.volume_id) == (True, 2)
    assert tree(folders[1]) == []
    assert not [path for path in folders[1].iterdir() if path.name != ".callreplay"]
    assert state(database) == on_disk(folders)
    with database.connection() as connection:
        volumes.retire(connection, volumes.find(connection, number=2))
    before = state(database)
    with pytest.raises(VolumeFullError, match="add a volume, raise a quota"):
        filing.file_call(database, 1, rows, record(rows, "another"), UTC)
    assert state(database) == before == on_disk(folders)
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) AS n FROM calls").fetchone() == {"n": 1}


def test_an_import_fills_one_volume_after_the_other(database: Database, tmp_path: Path, mount: Mount) -> None:
    """As far as quota, reserve and disk go; each call whole on one volume, the account right to the octet."""
    rows = capture(1000)
    folders = {number: mount(str(number), "size=4m") for number in (1, 2, 3)}
    quota, reserved = 1_200_000, 900_000
    with database.connection() as connection:
        volumes.add(connection, folders[1], quota_bytes=quota)
        volumes.add(connection, folders[2], reserved_bytes=reserved)
        volumes.add(connection, folders[3])
    homes: list[int] = []
    # What the four files of a call are estimated at is a little more than what they take.
    largest = 2 * 1000 * (8 + 172 + 13) + (64 << 10)

    def fill() -> None:
        while True:
            call = record(rows, str(len(homes)))
            homes.append(filing.file_call(database, 1, rows, call, UTC).volume_id)
            with database.connection() as connection:
                left = {volume.id: volume.left_bytes for volume in volumes.listing(connection)}
            # The reserve is touched only where no other volume has room.
            assert homes[-1] != 2 or left[2] >= reserved or max(left[1], left[3]) < largest

    with pytest.raises(VolumeFullError):
        fill()
    assert set(homes) == {1, 2, 3}
    assert state(database) == on_disk(folders)
    with database.connection() as connection:
        every = volumes.listing(connection)
    assert every[0].used_bytes <= quota
    assert all(volume.left_bytes < largest for volume in every)
