"""Whether the cache's entries are whole after the machine went down.

A file that was renamed when it was written may be half of itself after a crash of the machine, though not after one of
this program. To sync each entry takes a twentieth of what a short call's rendering costs, and waits for the disk. So
none is: all are synced when the service ends, and what was written since is thrown away by the first start after the
machine was started anew. Where the kernel does not tell one start of it from another, each entry is synced.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from callreplay.store.handle import sync_filesystem

__all__ = ["Lasting"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MARGIN_NS: Final = 10**9  # that the clock of files is behind at most


class Lasting:
    """The file ``synced`` in ``folder``: the run of the kernel that made the entries; its time: until when synced."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._mark = folder, folder / "synced"
        try:
            self._boot = _BOOT_ID.read_text().strip()
        except OSError:
            self._boot = ""

    @property
    def syncs_each(self) -> bool:
        """Whether an entry has to be synced before it gets its name."""
        return not self._boot

    def doubtful(self, entries: Iterable[Path]) -> list[Path]:
        """Those of the entries that the machine's last end may have cut; none in the run of the kernel that made them.

        Asked once at the start; whoever asks removes them.
        """
        began = time.time_ns()
        try:
            made_in, synced = self._mark.read_text(), self._mark.stat().st_mtime_ns
        except FileNotFoundError:  # an earlier release synced each
            made_in, synced = "", began
        if not self._boot or made_in == self._boot:
            return []
        found = []
        for path in entries:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ctime_ns > synced - _MARGIN_NS and made_in:
                    found.append(path)
        self._write(began)
        return found

    def sync(self) -> None:
        """Sync all entries, at the end."""
        if self.syncs_each:
            return
        began = time.time_ns()
        with contextlib.suppress(OSError):
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sync_filesystem(folder)
            finally:
                os.close(folder)
            self._write(began)

    def _write(self, synced_ns: int) -> None:
        fresh = self._folder / f"synced.{os.getpid()}"
        with fresh.open("w") as file:
            file.write(self._boot)
            file.flush()
            os.utime(file.fileno(), ns=(synced_ns, synced_ns))
            os.fsync(file.fileno())
        fresh.replace(self._mark)
