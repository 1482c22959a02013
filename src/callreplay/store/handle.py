"""The way to stored files: a descriptor of a volume's folder that is known to be the volume.

A volume's folder bears a marker with the volume's uuid, which the database knows. A folder without it is not the
volume: the empty mount point of a disk that is not there, a folder that was moved, or one that somebody wrote into the
database. Nothing is read from there, written or removed. Every path is resolved beneath the descriptor.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple
from uuid import UUID

from callreplay.errors import OutputError
from callreplay.model import recording_files
from callreplay.store.beneath import folder_beneath, make_folders, open_beneath, open_checked, parts_of

__all__ = [
    "FOLDER",
    "Found",
    "Handle",
    "MissingError",
    "VolumeError",
    "mark",
    "marker_of",
    "stored_parts",
    "unmark",
]

FOLDER: Final = ".callreplay"
"""A volume's own folder: its marker and its journals."""
_MARKER: Final = "volume.json"
_MODE: Final = 0o640
_LARGEST_MARKER: Final = 4096
_THREADS: Final = 8  # folders that are emptied at a time,
_SLOW_SECONDS: Final = 0.001  # where a file takes longer than this,
_FIRST: Final = 32  # as the first ones tell
_READ: Final = os.O_RDONLY | os.O_NONBLOCK  # a named pipe would keep us waiting for its writer


_NOT_THERE: Final = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO, errno.ENAMETOOLONG)
)
"""What the kernel says of a name that is no file of ours: missing, a link on the way, a folder, no name at all."""


class VolumeError(OutputError):
    """A volume is not where the database says, or another one is there; the message says which."""


class MissingError(FileNotFoundError):
    """A volume has no such file: nothing else that is not there is told as this."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, os.strerror(errno.ENOENT), path)


_libc: Final = ctypes.CDLL(None, use_errno=True)


def sync_filesystem(descriptor: int) -> None:
    """Sync the file system of an open folder. Raises OSError, on Linux 5.8 and newer for what could not be written."""
    if _libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _root(path: str | Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def marker_of(path: Path) -> UUID | None:
    """The uuid that the marker in a folder gives; None where there is none. Raises OSError where it cannot be read."""
    root = _root(path)
    try:
        return _marker(root)
    finally:
        os.close(root)


def _marker(root: int) -> UUID | None:
    try:
        descriptor = open_beneath(root, f"{FOLDER}/{_MARKER}", _READ)
    except FileNotFoundError:
        return None
    try:
        content = os.read(descriptor, _LARGEST_MARKER)
    finally:
        os.close(descriptor)
    return _uuid_in(content)


@lru_cache(maxsize=64)  # it is read for each look at a volume, and is the same each time
def _uuid_in(content: bytes) -> UUID | None:
    try:
        return UUID(json.loads(content)["uuid"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def mark(path: Path, uuid: UUID) -> None:
    """Write the marker of a volume into its folder, durably. Raises VolumeError for another's, and OSError."""
    root = _root(path)
    try:
        found = _marker(root)
        if found == uuid:
            return
        if found is not None:
            raise VolumeError(
                f"{path} bears the marker of another volume, {found}: "
                f"remove {FOLDER}/{_MARKER} there if that one is gone"
            )
        make_folders(root, FOLDER)
        with folder_beneath(root, FOLDER) as folder:
            fresh = f"{_MARKER}.{uuid}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(fresh, flags, _MODE, dir_fd=folder), "w", encoding="utf-8") as file:
                json.dump({"uuid": str(uuid)}, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, _MARKER, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        os.fsync(root)
    finally:
        os.close(root)


def unmark(path: Path, uuid: UUID) -> None:
    """Take a volume's marker away, where it can be reached and is that volume's."""
    with contextlib.suppress(OSError):
        root = _root(path)
        try:
            if _marker(root) == uuid:
                with folder_beneath(root, FOLDER) as folder:
                    os.unlink(_MARKER, dir_fd=folder)
        finally:
            os.close(root)


def stored_parts(path: str) -> list[str]:
    """The components of a path that a stored file may have: none in the volume's own folder."""
    parts = parts_of(path)
    if parts[0] == FOLDER:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return parts


class Found(NamedTuple):
    """A file on a volume: its path there, its octets and when it was written."""

    path: str
    size: int
    written_ns: int


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """The names of recordings and their side indexes by folder; a path that no stored file has is left out."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for file in recording_files(path):
            with contextlib.suppress(FileNotFoundError):
                parts = stored_parts(file)
                found.setdefault("/".join(parts[:-1]), []).append(parts[-1])
    return found


class Handle:
    """An open volume. Paths are relative to it, with ``/``. A context manager.

    Args:
        path: the volume's folder.
        uuid: what its marker must say.
        number: the volume's id, for messages.

    Raises:
        VolumeError: the folder cannot be reached, or its marker does not say ``uuid``.

    """

    def __init__(self, path: str | Path, uuid: UUID, number: int) -> None:
        self.label = f"volume {number} ({path})"
        try:
            self._root = _root(path)
        except OSError as error:
            raise VolumeError(f"{self.label} cannot be reached: {error.strerror}") from error
        try:
            found = _marker(self._root)
        except OSError as error:
            os.close(self._root)
            raise VolumeError(f"{self.label} cannot be read: {error.strerror}") from error
        if found != uuid:
            os.close(self._root)
            other = f"another volume is there, {found}" if found else "its folder has no marker"
            raise VolumeError(
                f"{self.label} is not mounted there, or was moved: {other} (callreplay volumes move)"
            )

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the volume; a second time does nothing."""
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    @property
    def free_bytes(self) -> int:
        """What the disk has left for us."""
        status = os.fstatvfs(self._root)
        return status.f_bavail * status.f_frsize

    def open(self, path: str) -> int:
        """A descriptor of the regular file ``path`` for reading. MissingError where there is none, or OSError."""
        try:
            stored_parts(path)
            descriptor = open_checked(self._root, path, _READ)
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise MissingError(path) from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise MissingError(path)
        return descriptor

    def status(self, path: str) -> os.stat_result | None:
        """What the file system knows of ``path``, a link not followed; None where there is nothing."""
        try:
            with self._above(path) as (parent, name):
                return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise

    def unlink(self, path: str) -> int:
        """Remove the file ``path``; the octets it had, 0 where there is none."""
        try:
            with self._above(path) as (parent, name):
                size = os.stat(name, dir_fd=parent, follow_symlinks=False).st_size
                os.unlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return 0
            raise
        return size

    def remove(self, paths: Iterable[str]) -> dict[str, OSError]:
        """Remove recordings with their side indexes, and folders that this leaves empty; what could not be, and why.

        One after the other, as long as that is quick: threads would only wait for one another then. Where each answer
        takes its time, as on a network, folders are seen to side by side.
        """
        groups = list(_by_folder(paths).items())
        failed: dict[str, OSError] = {}
        began, done = time.monotonic(), 0
        while groups and (done < _FIRST or time.monotonic() - began < _SLOW_SECONDS * done):
            folder, files = groups.pop()
            failed |= self._remove_in(folder, files)
            done += len(files)
        if groups:
            with ThreadPoolExecutor(min(_THREADS, len(groups))) as threads:
                for each in threads.map(lambda group: self._remove_in(*group), groups):
                    failed |= each
        return failed

    def _remove_in(self, folder: str, files: list[str]) -> dict[str, OSError]:
        failed: dict[str, OSError] = {}
        try:
            with folder_beneath(self._root, folder) as parent:
                for name in files:
                    try:
                        os.unlink(name, dir_fd=parent)
                    except OSError as error:
                        if error.errno not in _NOT_THERE:
                            failed[f"{folder}/{name}" if folder else name] = error
        except OSError as error:
            if error.errno not in _NOT_THERE:
                return {f"{folder}/{name}" if folder else name: error for name in files}
        self.prune(folder)
        return failed

    def found(self, paths: Iterable[str]) -> list[Found]:
        """What is there of recordings and their side indexes. Raises OSError where a folder cannot be looked into."""
        there: list[Found] = []
        for folder, files in _by_folder(paths).items():
            with contextlib.ExitStack() as opened:
                try:
                    parent = opened.enter_context(folder_beneath(self._root, folder))
                except OSError as error:
                    if error.errno in _NOT_THERE:
                        continue
                    raise
                for name in files:
                    try:
                        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                    except OSError as error:
                        if error.errno in _NOT_THERE:
                            continue
                        raise
                    path = f"{folder}/{name}" if folder else name
                    there.append(Found(path, status.st_size, status.st_mtime_ns))
        return there

    def size_of(self, paths: Iterable[str]) -> int:
        """Octets of stored files with their side indexes; missing ones count nothing."""
        return sum(each.size for each in self.found(paths))

    def prune(self, folder: str) -> None:
        """Remove the hour, day, month and year folders that became empty, or were made in vain."""
        while folder:
            try:
                with contextlib.suppress(FileNotFoundError), self._above(folder) as (parent, name):
                    os.rmdir(name, dir_fd=parent)
            except OSError:
                return
            folder = folder.rpartition("/")[0]

    def make_folder(self, folder: str) -> list[str]:
        """Make a folder and those above it; what to `sync` once its files are there."""
        return make_folders(self._root, folder)

    def sync(self, folder: str) -> None:
        """Make the names in a folder durable."""
        with folder_beneath(self._root, folder) as descriptor:
            os.fsync(descriptor)

    def sync_all(self) -> None:
        """Make all that was written to the volume durable: one call for many files. Raises OSError."""
        sync_filesystem(self._root)

    def name_for(self, name: str, call: UUID) -> str:
        """The name of a call's recordings, before the index that tells them from others'."""
        return name

    def journals(self) -> int:
        """A descriptor of the folder of journals, made where missing; the caller closes it."""
        make_folders(self._root, FOLDER)
        return open_beneath(self._root, FOLDER, os.O_RDONLY | os.O_DIRECTORY)

    def link(self, journals: int, part: str, path: str) -> None:
        """Give a part in the folder of journals the name ``path``. Raises FileExistsError, FileNotFoundError."""
        with self._above(path) as (parent, name):
            os.link(part, name, src_dir_fd=journals, dst_dir_fd=parent, follow_symlinks=False)

    @contextlib.contextmanager
    def _above(self, path: str) -> Iterator[tuple[int, str]]:
        """The folder of ``path`` and its name there."""
        parts = stored_parts(path)
        with folder_beneath(self._root, "/".join(parts[:-1])) as parent:
            yield parent, parts[-1]
