"""Files and rows together: what a killed process leaves half done on a volume is found and settled at the next start.

Every change of files notes first, in a journal on the same volume, which call it is about and which paths it may touch;
PostgreSQL's commit then decides. A journal that no living process holds is settled by asking the database whether the
call is there: what belongs to a call stays, what belongs to none goes.

Who owns what, and in which order:

- A journal belongs to the process that holds ``flock`` on it. The kernel lets go when that process ends, however it
  ends, so a journal that can be locked is a dead process's. The lock is of the open file, not of its name: whoever has
  got it must look whether the name still leads to that file, since ``settle`` removes names under the same lock.
- An import writes parts, syncs them, notes their paths (synced), links them, commits, and then drops journal and
  parts. A removal notes the paths, commits, unlinks them, and then drops the journal. Wherever either is cut off, the
  database tells which of the two worlds the files must be brought to; doing it twice changes nothing.
- Nothing here waits while it holds a lock of the database, and ``settle`` waits for nobody: it passes over what it
  cannot lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import BinaryIO, ClassVar, Final, Self, cast
from uuid import UUID, uuid4

from callreplay.store.handle import FOLDER, Found, Handle

__all__ = ["FOLDER", "Departure", "Journal", "settle"]

_MODE: Final = 0o640
_NAME: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json")
_DEPARTURE: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.calls")
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC


class Journal:
    """What one process is about to do to one call's files on one volume. Locked while the process lives.

    A call comes in: its files are written as parts beside the journal and linked to their paths; parts prove later
    which of the listed paths are really ours. A call goes out: its paths are listed and unlinked after the commit.
    """

    _SUFFIX: ClassVar[str] = ".json"

    def __init__(self, volume: Handle, call: UUID) -> None:
        self.volume = volume
        self.call = call
        self._name = f"{call}{self._SUFFIX}"
        self._folder = self._descriptor = -1
        self._parts: list[str] = []

    def __enter__(self) -> Self:
        self._folder = self.volume.journals()
        try:
            while not self._hold():
                self._let_go()
        except BaseException:
            self.close()
            raise
        return self

    def _hold(self) -> bool:
        """Open and lock the file of that name; False where ``settle`` took the name away between the two."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | _FLAGS
        self._descriptor = os.open(self._name, flags, _MODE, dir_fd=self._folder)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        held = os.fstat(self._descriptor)
        try:
            named = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock. A journal that still stands is settled by whoever comes next."""
        try:
            self._let_go()
        finally:
            folder, self._folder = self._folder, -1
            if folder >= 0:
                os.close(folder)

    def _let_go(self) -> None:
        # Forgotten before it is closed: its number may be another file's as soon as it is.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def create(self, label: str) -> BinaryIO:
        """A file to write before it has its place: the part ``label``."""
        name = self.part(label)
        self._parts.append(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS
        return os.fdopen(os.open(name, flags, _MODE, dir_fd=self._folder), "wb")

    def part(self, label: str) -> str:
        """The name of a part."""
        return f"{self.call}.{label}.part"

    def note(self, *entries: tuple[str, str], durable: bool = True) -> None:
        """List ``(name of a part or '', path relative to the volume)``, on the disk before this returns if ``durable``.

        Who does without syncs the volume before anything is done under it (`callreplay.store.handle.Handle.sync_all`).
        """
        self._append(entries, durable=durable)

    def _append(self, entries: Iterable[tuple[object, ...]], *, durable: bool = True) -> None:
        with os.fdopen(os.dup(self._descriptor), "ab") as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in entries).encode())
        if not durable:
            return
        os.fsync(self._descriptor)
        os.fsync(self._folder)

    def link(self, part: str, path: str) -> None:
        """Give a part its path on the volume. Raises FileExistsError, FileNotFoundError, OSError."""
        self.volume.link(self._folder, part, path)

    def finish(self) -> None:
        """Drop the parts and the journal: the database has decided and the files agree with it."""
        for name in (*self._parts, self._name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)


class Departure(Journal):
    """Many calls that go at once: their files on one volume are listed, and unlinked after the commit.

    Each is listed with the time at which it was written. A file of a later time at the same path is that of a call that
    came since, and stays.
    """

    _SUFFIX: ClassVar[str] = ".calls"

    def __init__(self, volume: Handle) -> None:
        super().__init__(volume, uuid4())

    def enlist(self, files: Iterable[tuple[UUID, Found]]) -> None:
        """List files with the calls that they are of, durable before this returns."""
        self._append((str(call), file.path, file.written_ns) for call, file in files)


def settle(volume: Handle, exists: Callable[[UUID], set[str] | None]) -> int:
    """Settle the journals of dead processes on ``volume``; returns how many.

    ``exists(call)`` gives the paths on this volume that the database has for the call, None where it has no such call.
    """
    settled = 0
    folder = volume.journals()
    try:
        for name in _names(folder):
            with contextlib.suppress(FileNotFoundError):
                if (match := _NAME.fullmatch(name)) is not None:
                    settled += _settle_one(volume, folder, UUID(match[1]), exists)
                elif _DEPARTURE.fullmatch(name):
                    settled += _settle_departure(volume, folder, name, exists)
    finally:
        os.close(folder)
    return settled


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


@contextlib.contextmanager
def _abandoned(folder: int, name: str) -> Iterator[BinaryIO | None]:
    """A journal, locked for the block; None where its process lives. FileNotFoundError: another has settled it."""
    with os.fdopen(os.open(name, os.O_RDWR | _FLAGS, dir_fd=folder), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        os.stat(name, dir_fd=folder, follow_symlinks=False)  # gone since
        yield file


def _lines(file: BinaryIO, count: int) -> Iterator[list[object]]:
    for line in file.read().splitlines():
        # The last line of a process killed while it wrote it is not whole: nothing was done under it yet.
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, list) and len(entry) == count:
                yield entry


def _settle_departure(
    volume: Handle, folder: int, name: str, exists: Callable[[UUID], set[str] | None]
) -> bool:
    with _abandoned(folder, name) as file:
        if file is None:
            return False
        kept: dict[str, set[str]] = {}
        for call, path, written_ns in _lines(file, 3):
            if (each := str(call)) not in kept:
                kept[each] = exists(UUID(each)) or set()
            there = volume.status(str(path))
            if path not in kept[each] and there is not None and there.st_mtime_ns <= cast("int", written_ns):
                volume.unlink(str(path))
                volume.prune(str(path).rpartition("/")[0])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
    return True


def _settle_one(volume: Handle, folder: int, call: UUID, exists: Callable[[UUID], set[str] | None]) -> bool:
    name = f"{call}.json"
    with _abandoned(folder, name) as file:
        if file is None:
            return False
        kept = exists(call) or set()
        for part, path in _lines(file, 2):
            if path not in kept and _ours(volume, folder, str(part), str(path)):
                volume.unlink(str(path))
        parts = [each for each in _names(folder) if each.startswith(f"{call}.") and each.endswith(".part")]
        for each in (*parts, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each, dir_fd=folder)
    return True


def _ours(volume: Handle, folder: int, part: str, path: str) -> bool:
    """Whether a listed path is the journal's to remove: any of a call that goes, the very part of one that came."""
    final = volume.status(path)
    if final is None or not part:
        return final is not None
    try:
        own = os.stat(part, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (own.st_dev, own.st_ino) == (final.st_dev, final.st_ino)
