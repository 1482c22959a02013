"""Files and rows together: what a killed process leaves half done on a volume is found and settled at the next start.

Every change of files notes first, in a journal on the same volume, which call it is about and which paths it may touch;
PostgreSQL's commit then decides. A journal that no living process holds is settled by asking the database whether the
call is there: what belongs to a call stays, what belongs to none goes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final
from uuid import UUID

__all__ = ["Journal", "fsync_directory", "journals", "settle"]

FOLDER: Final = ".callreplay"
_MODE: Final = 0o640


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Journal:
    """What one process is about to do to one call's files on one volume. Locked while the process lives.

    A call comes in: its files are written as parts beside the journal and linked to their paths; parts prove later
    which of the listed paths are really ours. A call goes out: its paths are listed and unlinked after the commit.
    """

    def __init__(self, volume: Path, call: UUID) -> None:
        self.folder = volume / FOLDER
        self.volume = volume
        self.call = call
        self.path = self.folder / f"{call}.json"
        self._descriptor = -1
        self._parts: list[Path] = []

    def __enter__(self) -> Journal:
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing releases the lock. A journal that still stands is settled by whoever comes next.
        os.close(self._descriptor)

    def part(self, name: str) -> Path:
        """Where to write a file before it has its place."""
        path = self.folder / f"{self.call}.{name}.part"
        self._parts.append(path)
        return path

    def note(self, *entries: tuple[str, str]) -> None:
        """List ``(part or '', path relative to the volume)``, durable before this returns."""
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        os.write(self._descriptor, lines.encode())
        os.fsync(self._descriptor)
        fsync_directory(self.folder)

    def finish(self) -> None:
        """Drop the parts and the journal: the database has decided and the files agree with it."""
        for part in self._parts:
            part.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def journals(volume: Path) -> Iterator[Path]:
    """The journals standing on a volume, of living and of dead processes."""
    folder = volume / FOLDER
    if folder.is_dir():
        yield from sorted(folder.glob("*.json"))


def settle(volume: Path, exists: Callable[[UUID], set[str] | None]) -> int:
    """Settle the journals of dead processes on ``volume``; returns how many.

    ``exists(call)`` gives the paths on this volume that the database has for the call, None where it has no such call.
    """
    settled = 0
    for path in journals(volume):
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not path.exists():
                continue
            _settle_one(volume, path, file.read(), exists)
            settled += 1
    return settled


def _settle_one(volume: Path, path: Path, content: bytes, exists: Callable[[UUID], set[str] | None]) -> None:
    call = UUID(path.stem)
    kept = exists(call) or set()
    for line in content.splitlines():
        try:
            part, name = json.loads(line)
        except ValueError:
            continue  # the last line of a process killed while it wrote it: nothing was done under it yet
        final = volume / name
        owned = (path.parent / part) if part else None
        with contextlib.suppress(FileNotFoundError):
            if name not in kept and (owned is None or owned.samefile(final)):
                final.unlink()
    for part in path.parent.glob(f"{call}.*.part"):
        part.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
