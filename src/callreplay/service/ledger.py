"""How much room the cache's processes take together: a running total, and what each piece of work holds of it."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Ledger", "Page", "octets_on_disk"]

_TOTAL: Final = struct.Struct("<q")
_HELD: Final = struct.Struct("<32sq")


def octets_on_disk(status: os.stat_result) -> int:
    """What a file takes of the disk: whole blocks, which for many small files is far more than their lengths.

    Not ``st_blocks``: file systems allocate ahead of what is written, and take it back later.
    """
    block = max(status.st_blksize, 512)
    return -(-status.st_size // block) * block


@dataclass(slots=True)
class Page:
    """The ledger while nobody else changes it: octets in all, and those held by work on a key, written or not yet."""

    octets: int = 0
    held: dict[str, int] = field(default_factory=dict)

    def hold(self, key: str, octets: int) -> None:
        """Hold so many octets for a key from now on; the total changes with it."""
        self.octets = max(0, self.octets + octets - self.held.pop(key, 0))
        if octets:
            self.held[key] = octets


class Ledger:
    """A `Page` in the file ``path``, changed by one process at a time. Keys are 64 hexadecimal digits."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._guard = threading.Lock()  # one open file a time is enough for a process

    @contextmanager
    def page(self) -> Iterator[Page]:
        """The page, to be read and changed by the block alone."""
        with self._guard:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                kept = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
                page = _read(kept)
                yield page
                if (made := _write(page)) != kept:
                    os.pwrite(descriptor, made, 0)
                    if len(made) < len(kept):
                        os.ftruncate(descriptor, len(made))
            finally:
                os.close(descriptor)

    def total(self) -> int:
        """The total now."""
        with self.page() as page:
            return page.octets


def _read(kept: bytes) -> Page:
    page = Page(_TOTAL.unpack_from(kept)[0] if len(kept) >= _TOTAL.size else 0)
    whole = (len(kept) - _TOTAL.size) // _HELD.size * _HELD.size
    if whole > 0:
        held = _HELD.iter_unpack(kept[_TOTAL.size : _TOTAL.size + whole])
        page.held = {key.hex(): octets for key, octets in held}
    return page


def _write(page: Page) -> bytes:
    held = (_HELD.pack(bytes.fromhex(key), octets) for key, octets in page.held.items())
    return _TOTAL.pack(page.octets) + b"".join(held)
