"""A running total that several processes share, in a file."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["Ledger", "octets_on_disk"]

_FORM: Final = struct.Struct("<q")


def octets_on_disk(status: os.stat_result) -> int:
    """What a file takes of the disk: whole blocks, which for many small files is far more than their lengths.

    Not ``st_blocks``: file systems allocate ahead of what is written, and take it back later.
    """
    block = max(status.st_blksize, 512)
    return -(-status.st_size // block) * block


class Ledger:
    """A number of octets in the file ``path``, changed by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()  # one open file a time is enough for a process

    def _change(self, change: Callable[[int], int]) -> int:
        with self._guard:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                kept = os.pread(descriptor, _FORM.size, 0)
                total = change(_FORM.unpack(kept)[0] if len(kept) == _FORM.size else 0)
                os.pwrite(descriptor, _FORM.pack(total), 0)
                return total
            finally:
                os.close(descriptor)

    def add(self, octets: int) -> int:
        """Add to the total, or take from it; the total then."""
        return self._change(lambda total: max(0, total + octets))

    def set(self, octets: int) -> None:
        """Begin anew from what was counted."""
        self._change(lambda _: octets)

    def total(self) -> int:
        """The total now."""
        return self._change(lambda total: total)
