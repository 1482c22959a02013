"""Storage volumes: where the files of calls are, which one takes the next call, adding, moving and retiring them.

``quota`` is the most that callreplay puts on a volume (0: no limit but the disk's). ``reserved`` is the room that is to
be there for new calls: the choice of a volume goes first to those whose reserve stays whole, and retention by space
restores it. A volume where even deleting every call would not give the reserve (used + free < reserved) is warned of.

A stored file is reached through ``Volume.open`` alone (`callreplay.store.handle`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from callreplay.errors import ArgumentError, OutputError
from callreplay.model import recording_files
from callreplay.store import audit
from callreplay.store.audit import SYSTEM, Actor
from callreplay.store.database import Connection
from callreplay.store.handle import VolumeError, mark, marker_of, unmark
from callreplay.store.objects import ObjectHandle, is_object_url
from callreplay.store.opening import AnyHandle, StoredFile, open_volume, settled

__all__ = [
    "FULL",
    "Volume",
    "VolumeError",
    "VolumeFullError",
    "active",
    "add",
    "adopt",
    "change",
    "claim",
    "find",
    "first",
    "listing",
    "locate",
    "move",
    "put",
    "reconcile",
    "retire",
]

_log = logging.getLogger(__name__)

FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))
"""What a write says when a volume takes no more."""
_SLACK: Final = 1 << 20
"""Octets left alone on every disk: directories and journals need some."""
_WITNESSES: Final = 20
"""Files, of those that the database has on a volume, of which one must be there before the volume is marked."""


class VolumeFullError(OutputError):
    """No active volume has room for the call; nothing of it was written."""


@dataclass(frozen=True, slots=True)
class Volume:
    """One row of ``storage_volumes``; sizes in octets."""

    id: int
    name: str
    path: Path | str
    """A folder, or the URL of a place on an object store."""
    uuid: UUID
    quota_bytes: int
    reserved_bytes: int
    used_bytes: int
    retired: bool

    def open(self) -> AnyHandle:
        """The volume itself. Raises VolumeError where it is not mounted, was moved, or another is in its place."""
        return open_volume(self.path, self.uuid, self.id)

    def file(self, path: str) -> StoredFile:
        """A recording on it, to be opened later."""
        return StoredFile(str(self.path), self.uuid, self.id, path)

    @property
    def free_bytes(self) -> int:
        """What the disk has left, -1 where the volume cannot be reached."""
        try:
            with self.open() as opened:
                return opened.free_bytes
        except OSError:
            return -1

    @property
    def left_bytes(self) -> int:
        """What may still be put on the volume: the smaller of the disk's and the quota's rest."""
        return self._left(self.free_bytes)

    def _left(self, free: int) -> int:
        left = free - _SLACK
        if self.quota_bytes:
            left = min(left, self.quota_bytes - self.used_bytes)
        return max(left, 0)

    @property
    def warning(self) -> str:
        """Why someone should look at this volume; '' when all is well."""
        try:
            with self.open() as opened:
                free = opened.free_bytes
        except VolumeError as error:
            return str(error).removeprefix(f"volume {self.id} ({self.path}) ")
        if self.used_bytes + free < self.reserved_bytes:
            return "used + free is less than reserved"
        if self._left(free) == 0 and not self.retired:
            return "full"
        return ""


_COLUMNS: Final = (
    "id, name, path, uuid, quota_bytes, reserved_bytes, used_bytes, deleted_at IS NOT NULL AS retired"
)


def _place(text: str | os.PathLike[str]) -> Path | str:
    """A folder without links in it, or the URL of a place on an object store."""
    return str(text).rstrip("/") if is_object_url(text) else Path(text)


def _resolved(text: str | os.PathLike[str]) -> Path | str:
    place = _place(text)
    return place.resolve() if isinstance(place, Path) else place


def _overlap(one: Path | str, other: Path | str) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one == other or one in other.parents or other in one.parents
    first, second = f"{one}/", f"{other}/"
    return first.startswith(second) or second.startswith(first)


def _volume(row: dict[str, object]) -> Volume:
    values = dict(row)
    values["path"] = _place(str(values["path"]))
    return Volume(**values)  # type: ignore[arg-type]


def listing(connection: Connection) -> list[Volume]:
    """Every volume, by id."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM storage_volumes ORDER BY id").fetchall()
    return [_volume(row) for row in rows]


def find(
    connection: Connection, *, number: int | None = None, name: str = "", path: str | os.PathLike[str] = ""
) -> Volume:
    """The volume of that id, that name or that path; exactly one of them is given.

    Raises ArgumentError where there is none.
    """
    given = [
        (key, value) for key, value in (("id", number), ("name", name), ("path", path)) if value or value == 0
    ]
    if len(given) != 1:
        raise ArgumentError("volume: give its id, its name or its path")
    ((key, value),) = given
    wanted = (value, str(_resolved(str(value)))) if key == "path" else (value,)
    for volume in listing(connection):
        if {"id": volume.id, "name": volume.name, "path": str(volume.path)}[key] in wanted:
            return volume
    raise ArgumentError(f"volume: there is none with {key} {value!r}")


def active(connection: Connection, size: int = 0) -> list[Volume]:
    """The volumes that may take ``size`` octets, in the order to try them.

    Round robin: the one that was filled longest ago first; those whose reserve the call would touch come last; those
    without room, and those that cannot be reached, not at all.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM storage_volumes WHERE deleted_at IS NULL ORDER BY filled_at NULLS FIRST, id"
    ).fetchall()
    left = [(volume, volume.left_bytes) for volume in map(_volume, rows)]
    chosen = [(volume, room) for volume, room in left if room >= max(size, 1)]
    chosen.sort(key=lambda pair: pair[1] - size < pair[0].reserved_bytes)
    return [volume for volume, _ in chosen]


def claim(connection: Connection, volume: Volume, size: int) -> bool:
    """Account ``size`` octets to a volume, in the caller's transaction; False where that would break its quota."""
    row = connection.execute(
        "UPDATE storage_volumes SET used_bytes = used_bytes + %(size)s, filled_at = clock_timestamp() "
        "WHERE id = %(id)s AND deleted_at IS NULL "
        "AND (quota_bytes = 0 OR used_bytes + %(size)s <= quota_bytes) RETURNING id",
        {"id": volume.id, "size": size},
    ).fetchone()
    return row is not None


def _check_sizes(quota_bytes: int, reserved_bytes: int) -> None:
    if quota_bytes < 0 or reserved_bytes < 0:
        raise ArgumentError("quota and reserved must not be negative")
    if quota_bytes and reserved_bytes > quota_bytes:
        raise ArgumentError("reserved must not be more than the quota")


def _check_name(connection: Connection, name: str) -> None:
    if not name:
        return
    if len(name) > 100 or not name.isprintable():
        raise ArgumentError("name: at most 100 printable characters")
    if any(other.name == name for other in listing(connection)):
        raise ArgumentError(f"name: there is a volume named {name!r} already")


def _check_path(connection: Connection, path: Path | str, but: int = 0) -> None:
    for other in listing(connection):
        if other.id != but and _overlap(path, other.path):
            raise ArgumentError(f"{path} and volume {other.id} ({other.path}) overlap")


def add(
    connection: Connection,
    place: Path | str,
    *,
    name: str = "",
    quota_bytes: int = 0,
    reserved_bytes: int = 0,
    actor: Actor = SYSTEM,
) -> Volume:
    """Add a folder (made where missing), or a place on an object store (``s3://bucket/prefix``), and mark it.

    Without a name it is called ``Volume ID``.

    Raises:
        ArgumentError: it is a volume already, lies inside one, the name is taken, or a size is negative.
        OutputError: it cannot be written to, or bears the marker of another volume.

    """
    _check_sizes(quota_bytes, reserved_bytes)
    _check_name(connection, name)
    path = _resolved(place)
    _check_path(connection, path)
    row = connection.execute(
        "WITH taken AS (SELECT nextval(pg_get_serial_sequence('storage_volumes', 'id'))::integer AS id) "
        "INSERT INTO storage_volumes (id, name, path, quota_bytes, reserved_bytes, marked_at) "
        "SELECT id, coalesce(nullif(%s, ''), 'Volume ' || id), %s, %s, %s, now() FROM taken "
        f"RETURNING {_COLUMNS}",
        (name, str(path), quota_bytes, reserved_bytes),
    ).fetchone()
    assert row is not None
    volume = _volume(row)
    try:
        if isinstance(path, Path):
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            mark(path, volume.uuid)
        else:
            ObjectHandle(path, None, volume.id).mark(volume.uuid)
    except VolumeError:
        raise
    except OSError as error:
        raise OutputError(f"volume {path} cannot be written to: {error.strerror or error}") from error
    said: dict[str, Any] = {"quota": quota_bytes, "reserved": reserved_bytes}
    audit.note(connection, actor, "volume.add", str(path), detail=said)
    return volume


def change(
    connection: Connection,
    volume: Volume,
    *,
    name: str | None = None,
    quota_bytes: int | None = None,
    reserved_bytes: int | None = None,
    in_use: bool = False,
    actor: Actor = SYSTEM,
) -> Volume:
    """Give a volume another name, quota or reserve; None leaves one as it is.

    ``in_use``: one that was retired takes calls again.

    Raises ArgumentError where the name is taken, or a size is negative, or more is reserved than the quota allows.
    """
    quota = volume.quota_bytes if quota_bytes is None else quota_bytes
    reserved = volume.reserved_bytes if reserved_bytes is None else reserved_bytes
    _check_sizes(quota, reserved)
    if name and name != volume.name:
        _check_name(connection, name)
    row = connection.execute(
        "UPDATE storage_volumes SET name = %s, quota_bytes = %s, reserved_bytes = %s, "
        f"deleted_at = CASE WHEN %s THEN NULL ELSE deleted_at END WHERE id = %s RETURNING {_COLUMNS}",
        (name or volume.name, quota, reserved, in_use, volume.id),
    ).fetchone()
    if row is None:
        raise ArgumentError(f"volume: there is none with id {volume.id}")
    said: dict[str, Any] = {"name": name or volume.name, "quota": quota, "reserved": reserved}
    said |= {"in use": True} if in_use else {}
    audit.note(connection, actor, "volume.change", str(volume.path), detail=said)
    return _volume(row)


def first(connection: Connection, data_dir: Path) -> None:
    """Add a volume in the data directory where there is none at all. Any number of processes may do it at once."""
    connection.execute("LOCK TABLE storage_volumes IN SHARE ROW EXCLUSIVE MODE")
    if not listing(connection):
        volume = add(connection, data_dir / "volumes" / "1", name="Volume 1")
        _note_place(connection, volume, Path(volume.path), str(Path("volumes") / "1"))


def move(connection: Connection, volume: Volume, place: Path | str, *, actor: Actor = SYSTEM) -> Volume:
    """Note that the volume is at ``place`` now: its files were moved, copied, or mounted there.

    Raises:
        ArgumentError: another volume is there or around it.
        VolumeError: the folder does not bear the volume's marker.

    """
    path = _resolved(place)
    _check_path(connection, path, but=volume.id)
    open_volume(path, volume.uuid, volume.id).close()
    row = connection.execute(
        f"UPDATE storage_volumes SET path = %s, home = NULL WHERE id = %s RETURNING {_COLUMNS}",
        (str(path), volume.id),
    ).fetchone()
    assert row is not None
    said = {"from": str(volume.path)}
    audit.note(connection, actor, "volume.move", str(path), detail=said)
    return _volume(row)


def locate(connection: Connection, data_dir: Path) -> None:
    """Let the volumes that lie in a data directory be found where that is now.

    ``home`` keeps the place of such a volume below it. A data directory that was restored or moved has its volumes
    with it: one that its marker proves takes the place of the path that was noted.
    """
    data_dir = data_dir.resolve()
    rows = connection.execute(f"SELECT {_COLUMNS}, home FROM storage_volumes ORDER BY id").fetchall()
    for row in rows:
        home = row.pop("home")
        volume = _volume(row)
        if isinstance(volume.path, str):
            continue
        if home is None and volume.path.is_relative_to(data_dir):
            _note_place(connection, volume, volume.path, str(volume.path.relative_to(data_dir)))
        elif home is not None and volume.path != data_dir / home and _bears(data_dir / home, volume.uuid):
            _note_place(connection, volume, data_dir / home, home)
            _log.info("volume %d is at %s now", volume.id, data_dir / home)


def _note_place(connection: Connection, volume: Volume, path: Path, home: str) -> None:
    connection.execute(
        "UPDATE storage_volumes SET path = %s, home = %s WHERE id = %s", (str(path), home, volume.id)
    )


def put(connection: Connection, places: dict[int, tuple[Path | str, str | None]]) -> None:
    """Say of every volume, by its id, where a restored database has it: its path, and that below the data directory.

    Where its marker did not come along, `adopt` writes it again once its files are seen there.
    """
    connection.execute(
        "UPDATE storage_volumes SET path = 'restored ' || id, marked_at = NULL"
    )  # two may change places
    for volume in listing(connection):
        path, home = places[volume.id]
        connection.execute(
            "UPDATE storage_volumes SET path = %s, home = %s WHERE id = %s", (str(path), home, volume.id)
        )


def _bears(path: Path, uuid: UUID) -> bool:
    try:
        return marker_of(path) == uuid
    except OSError:
        return False


def adopt(connection: Connection) -> None:
    """Mark the volumes of an installation older than markers, where they are seen to be there.

    One on which the database has files is marked where one of them is; one without files, where its folder is. All
    others stay as they are, and cannot be used, until their disk is mounted and this is done again.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM storage_volumes WHERE marked_at IS NULL ORDER BY id"
    ).fetchall()
    for volume in map(_volume, rows):
        if not _seen(connection, volume):
            _log.warning("volume %d (%s) is not there: none of its files is", volume.id, volume.path)
            continue
        try:
            if isinstance(volume.path, Path):
                mark(volume.path, volume.uuid)
            else:
                ObjectHandle(volume.path, None, volume.id).mark(volume.uuid)
        except OSError as error:
            _log.warning(
                "volume %d (%s) cannot be marked: %s", volume.id, volume.path, error.strerror or error
            )
            continue
        connection.execute("UPDATE storage_volumes SET marked_at = now() WHERE id = %s", (volume.id,))


def _seen(connection: Connection, volume: Volume) -> bool:
    rows = connection.execute(
        "(SELECT path FROM call_files WHERE volume_id = %(id)s ORDER BY id LIMIT %(most)s) UNION ALL "
        "(SELECT path FROM call_files WHERE volume_id = %(id)s ORDER BY id DESC LIMIT %(most)s)",
        {"id": volume.id, "most": _WITNESSES},
    ).fetchall()
    if isinstance(volume.path, str):
        try:
            there = ObjectHandle(volume.path, None, volume.id)
            return not rows or any(there.status(str(row["path"])) is not None for row in rows)
        except OSError:
            return False
    if not rows:
        return volume.path.is_dir()
    return any((volume.path / str(row["path"])).is_file() for row in rows)


def retire(connection: Connection, volume: Volume, *, actor: Actor = SYSTEM) -> bool:
    """Stop new calls on a volume. One without calls is removed, with its marker; returns whether it was.

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
        if isinstance(volume.path, Path):
            unmark(volume.path, volume.uuid)
        else:
            with contextlib.suppress(OSError):
                ObjectHandle(volume.path, None, volume.id).unmark(volume.uuid)
    said = {"removed": not holds}
    audit.note(connection, actor, "volume.retire", str(volume.path), detail=said)
    return not holds


def reconcile(connection: Connection) -> int:
    """Settle what killed processes left on every volume that can be reached; returns how many journals were settled."""
    count = 0
    for volume in listing(connection):

        def exists(call: UUID, volume: Volume = volume) -> set[str] | None:
            rows = connection.execute(
                "SELECT f.path FROM calls c LEFT JOIN call_files f ON f.call_uuid = c.uuid AND f.volume_id = %s "
                "WHERE c.uuid = %s AND c.status <> 'in progress'",  # whose files nobody has promised to keep
                (volume.id, call),
            ).fetchall()
            paths = {str(row["path"]) for row in rows if row["path"]}
            return {name for path in paths for name in recording_files(path)} if rows else None

        try:
            with volume.open() as opened:
                count += settled(opened, exists)
        except OSError as error:
            _log.warning("%s", error)
    return count
