"""Room on the disk for what is rendered: counted before it is written, so that the cache's bound is never passed.

Of all processes together. Where what is being written does not fit beside what else is, one piece of work goes first
and the others give way: what they have written is taken back, and written again once it is their turn. A rendering is
the same bytes every time, so who has read a part of it reads on. Only a rendering that is larger than the bound by
itself passes it, alone: nothing else is kept or written meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callreplay.service.lasting import Lasting
from callreplay.service.ledger import Ledger, Page, octets_on_disk
from callreplay.service.metrics import Metrics

__all__ = ["Piece", "Room"]

_BLOCK: Final = 4096
_POLL_SECONDS: Final = 0.01
_EASE: Final = 0.9  # evict down to this share of the bound


@dataclass(slots=True)
class Piece:
    """Work on one key: the part that it writes, and what it holds of the room. ``check`` raises to end the work."""

    key: str
    file: io.FileIO
    check: Callable[[], None]
    held: int = 0
    turn: int | None = field(default=None)  # the descriptor of the lock of whoever goes first

    def goes_first(self, lock: Path) -> bool:
        """Whether it is this piece's turn to go on where not all can: until it ends."""
        if self.turn is None:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self.turn = descriptor
        return True

    def end_turn(self) -> None:
        """Let another go first."""
        if self.turn is not None:
            os.close(self.turn)
            self.turn = None


class Room:
    """At most ``limit`` octets of the disk for the files of ``folder``; the least recently used go first.

    ``bury`` removes the part of a killed process and tells that it did.
    """

    def __init__(self, folder: Path, limit: int, metrics: Metrics, bury: Callable[[str], bool]) -> None:
        self.folder, self.limit, self.metrics = folder, limit, metrics
        self._bury = bury
        self.ledger = Ledger(folder / "total")
        self._lasting = Lasting(folder)
        self._step = max(1, min(1 << 20, limit // 16) // _BLOCK) * _BLOCK
        self._evicting = threading.Lock()

    # -- what is being written ---------------------------------------------------------------------------------------

    def write(self, piece: Piece, data: bytes) -> bool:
        """Write data behind what the piece has written.

        False where it gives way: nothing of it is left, and it begins anew when ``wait_for_turn`` returns.
        """
        if not self._reserve(piece, piece.file.tell() + len(data)):
            self._give_way(piece)
            return False
        left = memoryview(data)
        while left:
            try:
                # A disk that is nearly full takes a part of it, and says nothing.
                left = left[piece.file.write(left) :]
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._evict_oldest():
                    raise
        return True

    def _reserve(self, piece: Piece, wanted: int) -> bool:
        if wanted <= piece.held:
            return True
        wanted = -(-wanted // self._step) * self._step
        while not self._hold(piece, wanted):
            self.make_room(wanted - piece.held)
            if self._hold(piece, wanted):
                break
            if not piece.goes_first(self.folder / "first"):
                return False
            if self._hold_alone(piece, wanted):
                break
            piece.check()
            time.sleep(_POLL_SECONDS)  # until the others have given way, or ended
        return True

    def _hold(self, piece: Piece, wanted: int) -> bool:
        with self.ledger.page() as page:
            if page.octets + wanted - piece.held > self.limit:
                return False
            page.hold(piece.key, wanted)
            piece.held = wanted
            return True

    def _hold_alone(self, piece: Piece, wanted: int) -> bool:
        """Hold it though it does not fit, where the disk shows that there is nothing else."""
        with self.ledger.page() as page:
            self._count(page)
            if page.octets > piece.held and page.octets + wanted - piece.held > self.limit:
                return False
            page.hold(piece.key, wanted)
            piece.held = wanted
            return True

    def _give_way(self, piece: Piece) -> None:
        piece.file.seek(0)
        piece.file.truncate()
        self._release(piece)

    def _release(self, piece: Piece) -> None:
        with self.ledger.page() as page:
            page.hold(piece.key, 0)
            piece.held = 0

    def wait_for_turn(self, piece: Piece) -> None:
        """Wait, after a piece gave way, until it goes first. Raises what ``piece.check`` raises."""
        while not piece.goes_first(self.folder / "first"):
            piece.check()
            time.sleep(_POLL_SECONDS)

    def keep(self, piece: Piece, part: str, final: str) -> int:
        """Make the piece, which is whole, an entry; the total then."""
        self._lasting.settle(piece.file.fileno())
        taken = octets_on_disk(os.fstat(piece.file.fileno()))
        with self.ledger.page() as page:
            os.replace(part, final)  # noqa: PTH105
            page.hold(piece.key, 0)
            page.octets += taken
            piece.held = 0
            return page.octets

    def drop(self, piece: Piece, part: str) -> None:
        """Take back what was written of a piece."""
        with contextlib.suppress(OSError):
            os.unlink(part)  # noqa: PTH108
        self._release(piece)

    # -- what is kept -------------------------------------------------------------------------------------------------

    def files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, octets on the disk and path of each entry."""
        found = []
        for shelf in os.scandir(self.folder):
            if not shelf.is_dir(follow_symlinks=False):
                continue
            with contextlib.suppress(FileNotFoundError):  # somebody has just emptied the cache
                for entry in os.scandir(shelf.path):
                    if not entry.name.endswith((".lock", ".part")):
                        with contextlib.suppress(FileNotFoundError):
                            status = entry.stat(follow_symlinks=False)
                            found.append((status.st_mtime, octets_on_disk(status), Path(entry.path)))
        return found

    def sweep(self) -> None:
        """Remove the entries that the machine's last end may have cut."""
        with self.ledger.page():  # without which no entry is made
            self._lasting.sweep(self._entries)

    def sync(self) -> None:
        """Sync what no sync has reached yet."""
        self._lasting.sync(self._entries())

    def _entries(self) -> list[Path]:
        return [path for _, _, path in self.files()]

    def recount(self) -> int:
        """Begin the ledger anew from what the disk shows and live work holds; the total then."""
        with self.ledger.page() as page:
            self._count(page)
            return page.octets

    def _count(self, page: Page) -> None:
        page.held = {key: octets for key, octets in page.held.items() if not self._bury(key)}
        page.octets = sum(page.held.values()) + sum(octets for _, octets, _ in self.files())

    def make_room(self, wanted: int = 0, keep: str = "") -> int:
        """Evict the least recently used entries but ``keep`` until ``wanted`` octets fit; the total then.

        One look serves for many evictions.
        """
        with self._evicting:
            if (total := self.ledger.total()) + wanted <= self.limit:
                return total
            files = self.files()
            with self.ledger.page() as page:
                there = sum(size for _, size, _ in files) + sum(page.held.values())
            if total > there + self.limit // 4:
                total = self.recount()  # somebody removed files by hand
            for _, size, path in sorted(files):
                if total + wanted <= max(self.limit * _EASE, wanted):
                    break
                if path.name != keep and self._evict(path, size):
                    total -= size
            return self.ledger.total()

    def _evict(self, path: Path, size: int) -> bool:
        """Remove an entry; False where another process has."""
        with self.ledger.page() as page:
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            page.octets = max(0, page.octets - size)
        self.metrics.evicted.inc(size)
        return True

    def _evict_oldest(self) -> bool:
        return any(self._evict(path, size) for _, size, path in sorted(self.files()))

    def shrink(self, total: int, keep: str = "") -> None:
        """Evict the least recently used entries where ``total`` passes the bound; ``keep`` has just been made."""
        self.metrics.cache_bytes.set(total if total <= self.limit else self.make_room(keep=keep))
