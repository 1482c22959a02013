"""Storage volumes: where the files of calls are, which one takes the next call, joining and retiring them.

``quota`` is the most that callreplay puts on a volume (0: no limit but the disk's). ``reserved`` is the room that is to
be there for new calls: the choice of a volume goes first to those whose reserve stays whole, and retention by space
restores it. A volume where even deleting every call would not give the reserve (used + free < reserved) is warned of.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from callreplay.errors import ArgumentError, OutputError
from callreplay.model import recording_files
from callreplay.store import audit
from callreplay.store.database import Connection
from callreplay.store.journal import Journal, fsync_directory, settle

__all__ = [
    "FULL",
    "Volume",
    "VolumeFullError",
    "active",
    "add",
    "claim",
    "find",
    "join",
    "listing",
    "prune",
    "reconcile",
    "retire",
    "unlink_files",
]

FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))
"""What a write says when a volume takes no more."""
_SLACK: Final = 1 << 20
"""Octets left alone on every disk: directories and journals need some."""


class VolumeFullError(OutputError):
    """No active volume has room for the call; nothing of it was written."""


@dataclass(frozen=True, slots=True)
class Volume:
    """One row of ``storage_volumes``; sizes in octets."""

    id: int
    name: str
    path: Path
    quota_bytes: int
    reserved_bytes: int
    used_bytes: int
    retired: bool

    @property
    def free_bytes(self) -> int:
        """What the disk has left, -1 where the path cannot be asked."""
        try:
            return shutil.disk_usage(self.path).free
        except OSError:
            return -1

    @property
    def left_bytes(self) -> int:
        """What may still be put on the volume: the smaller of the disk's and the quota's rest."""
        left = self.free_bytes - _SLACK
        if self.quota_bytes:
            left = min(left, self.quota_bytes - self.used_bytes)
        return max(left, 0)

    @property
    def warning(self) -> str:
        """Why someone should look at this volume; '' when all is well."""
        free = self.free_bytes
        if free < 0:
            return "cannot be reached"
        if self.used_bytes + free < self.reserved_bytes:
            return "used + free is less than reserved"
        if self.left_bytes == 0 and not self.retired:
            return "full"
        return ""


_COLUMNS: Final = "id, name, path, quota_bytes, reserved_bytes, used_bytes, deleted_at IS NOT NULL AS retired"


def _volume(row: dict[str, object]) -> Volume:
    values = dict(row)
    values["path"] = Path(str(values["path"]))
    return Volume(**values)  # type: ignore[arg-type]


def listing(connection: Connection) -> list[Volume]:
    """Every volume, by id."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM storage_volumes ORDER BY id").fetchall()
    return [_volume(row) for row in rows]


def find(connection: Connection, which: str) -> Volume:
    """The volume of that id, name or path. Raises ArgumentError where there is none."""
    for volume in listing(connection):
        if which in (str(volume.id), volume.name, str(volume.path)) and which:
            return volume
    raise ArgumentError(f"volume: there is none with id, name or path {which!r}")


def active(connection: Connection, size: int = 0) -> list[Volume]:
    """The volumes that may take ``size`` octets, in the order to try them.

    Round robin: the one that was filled longest ago first; those whose reserve the call would touch come last; those
    without room, and those that cannot be reached, not at all.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM storage_volumes WHERE deleted_at IS NULL ORDER BY filled_at NULLS FIRST, id"
    ).fetchall()
    volumes = [volume for volume in map(_volume, rows) if volume.left_bytes >= max(size, 1)]
    return sorted(volumes, key=lambda volume: volume.left_bytes - size < volume.reserved_bytes)


def claim(connection: Connection, volume: Volume, size: int) -> bool:
    """Account ``size`` octets to a volume, in the caller's transaction; False where that would break its quota."""
    row = connection.execute(
        "UPDATE storage_volumes SET used_bytes = used_bytes + %(size)s, filled_at = clock_timestamp() "
        "WHERE id = %(id)s AND deleted_at IS NULL "
        "AND (quota_bytes = 0 OR used_bytes + %(size)s <= quota_bytes) RETURNING id",
        {"id": volume.id, "size": size},
    ).fetchone()
    return row is not None


def add(
    connection: Connection, path: Path, *, name: str = "", quota_bytes: int = 0, reserved_bytes: int = 0
) -> Volume:
    """Add the folder ``path`` (made where missing) as a volume.

    Raises:
        ArgumentError: it is a volume already, lies inside one, or a size is negative.
        OutputError: it cannot be written to.

    """
    if quota_bytes < 0 or reserved_bytes < 0:
        raise ArgumentError("quota and reserved must not be negative")
    if quota_bytes and reserved_bytes > quota_bytes:
        raise ArgumentError("reserved must not be more than the quota")
    path = path.resolve()
    for other in listing(connection):
        if path == other.path or path in other.path.parents or other.path in path.parents:
            raise ArgumentError(f"{path} and volume {other.id} ({other.path}) overlap")
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        probe = path / ".callreplay-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"volume {path} cannot be written to: {error.strerror}") from error
    row = connection.execute(
        "INSERT INTO storage_volumes (name, path, quota_bytes, reserved_bytes) VALUES (%s, %s, %s, %s) "
        f"RETURNING {_COLUMNS}",
        (name, str(path), quota_bytes, reserved_bytes),
    ).fetchone()
    assert row is not None
    said: dict[str, Any] = {"quota": quota_bytes, "reserved": reserved_bytes}
    audit.write(connection, "volume.add", actor="system", target=str(path), detail=said)
    return _volume(row)


def retire(connection: Connection, volume: Volume) -> bool:
    """Stop new calls on a volume. One without calls is removed; returns whether it was.

    Its files stay readable under the same id as long as calls are on it.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM call_files WHERE volume_id = %s) AS holds", (volume.id,)
    ).fetchone()
    holds = bool(row and row["holds"])
    if holds:
        connection.execute(
            "UPDATE storage_volumes SET deleted_at = coalesce(deleted_at, now()) WHERE id = %s", (volume.id,)
        )
    else:
        connection.execute("DELETE FROM storage_volumes WHERE id = %s", (volume.id,))
    said = {"removed": not holds}
    audit.write(connection, "volume.retire", actor="system", target=str(volume.path), detail=said)
    return not holds


def reconcile(connection: Connection) -> int:
    """Settle what killed processes left on every reachable volume; returns how many journals were settled."""
    settled = 0
    for volume in listing(connection):

        def exists(call: UUID, volume: Volume = volume) -> set[str] | None:
            rows = connection.execute(
                "SELECT f.path FROM calls c LEFT JOIN call_files f ON f.call_uuid = c.uuid AND f.volume_id = %s "
                "WHERE c.uuid = %s",
                (volume.id, call),
            ).fetchall()
            paths = {str(row["path"]) for row in rows if row["path"]}
            return {name for path in paths for name in recording_files(path)} if rows else None

        if volume.path.is_dir():
            settled += settle(volume.path, exists)
    return settled


def unlink_files(volume: Path, paths: list[str]) -> int:
    """Remove stored files with their side indexes; returns the octets they had. Missing ones count nothing."""
    freed = 0
    for name in paths:
        for path in map(volume.joinpath, recording_files(name)):
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                continue
            freed += size
        prune(volume, (volume / name).parent)
    return freed


def prune(volume: Path, folder: Path) -> None:
    """Remove the hour, day, month and year folders that became empty, or were made in vain."""
    while folder != volume and volume in folder.parents:
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def join(connection: Connection, source: Volume, target: Volume) -> tuple[int, int]:
    """Move every call of ``source`` to ``target``; returns calls and octets moved.

    Each call moves in a transaction of its own, so a stop in between loses and doubles nothing and a second run goes
    on. ``connection`` must not be in a transaction.

    Raises:
        VolumeFullError: ``target`` has no room for the next call; what was moved stays moved.

    """
    if source.id == target.id or target.retired:
        raise ArgumentError("join needs two volumes, and the second must be in use")
    calls = moved = 0
    while True:
        with connection.transaction():
            row = connection.execute(
                "SELECT c.uuid FROM calls c JOIN call_files f ON f.call_uuid = c.uuid WHERE f.volume_id = %s "
                "ORDER BY c.started_at LIMIT 1",
                (source.id,),
            ).fetchone()
        if row is None:
            break
        moved += _move(connection, row["uuid"], source, target)
        calls += 1
    with connection.transaction():
        said = {"into": str(target.path), "calls": calls, "bytes": moved}
        audit.write(connection, "volume.join", actor="system", target=str(source.path), detail=said)
    return calls, moved


def _move(connection: Connection, call: UUID, source: Volume, target: Volume) -> int:
    size = 0
    with Journal(target.path, call) as incoming, Journal(source.path, call) as outgoing:
        with connection.transaction():
            files = connection.execute(
                "SELECT id, path FROM call_files WHERE call_uuid = %s AND volume_id = %s ORDER BY position FOR UPDATE",
                (call, source.id),
            ).fetchall()
            for number, file in enumerate(files):
                name = str(file["path"])
                for suffix in recording_files(""):
                    if (source.path / (name + suffix)).exists():
                        size += _copy(
                            incoming, source.path / (name + suffix), name + suffix, f"{number}{suffix}"
                        )
                connection.execute(
                    "UPDATE call_files SET volume_id = %s WHERE id = %s", (target.id, file["id"])
                )
            if not claim(connection, target, size):
                raise VolumeFullError(f"volume {target.id} ({target.path}) has no room for call {call}")
            connection.execute(
                "UPDATE storage_volumes SET used_bytes = greatest(used_bytes - %s, 0) WHERE id = %s",
                (size, source.id),
            )
            names = [str(file["path"]) for file in files]
            outgoing.note(*(("", file) for name in names for file in recording_files(name)))
        unlink_files(source.path, names)
        incoming.finish()
        outgoing.finish()
    return size


def _copy(journal: Journal, origin: Path, name: str, label: str) -> int:
    part = journal.part(label)
    try:
        shutil.copyfile(origin, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        journal.note((part.name, name))
        final = journal.volume / name
        final.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.link(part, final)
        fsync_directory(final.parent)
    except OSError as error:
        raise OutputError(f"{origin} cannot be copied to {journal.volume}: {error.strerror}") from error
    return part.stat().st_size
