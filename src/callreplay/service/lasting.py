"""Whether the cache's entries are whole after the machine went down.

A file that was renamed when it was written may be half of itself after a crash of the machine, though not after one of
this program. To sync each entry takes a twentieth of what a short call's rendering costs, and waits for the disk. So an
entry bears a mark, the mode's bit for execution, until it is synced, which is when the service ends. The first start
in another run of the kernel removes those that bear it. Where the kernel does not tell one run from another, each
entry is synced before it gets its name. No clock takes part. What an earlier release left bears no mark: it was synced.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

__all__ = ["Lasting"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Lasting:
    """The file ``run`` in ``folder`` says in which run of the kernel the entries that bear the mark were made."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "run"
        try:
            self._run = _BOOT_ID.read_text().strip()
        except OSError:
            self._run = ""

    def settle(self, descriptor: int) -> None:
        """Make a file that is whole ready to be an entry: nobody writes to it, and it is synced or bears the mark."""
        if not self._run:
            os.fsync(descriptor)
        os.fchmod(descriptor, stat.S_IRUSR | (stat.S_IXUSR if self._run else 0))

    def sweep(self, entries: Callable[[], Iterable[Path]]) -> None:
        """Remove what a crash of the machine may have cut: once in a run of the kernel, later starts list no entries.

        Whoever calls lets no other process make an entry meanwhile: it would be taken for one of the run before.
        """
        if self._run and self._said_run() == self._run:
            return
        for path in _marked(entries()):
            path.unlink(missing_ok=True)
        # After the last of them, or a start that was killed in between would believe the rest.
        fresh = self._said.with_name(f"run.{os.getpid()}")
        fresh.write_text(self._run)
        fresh.replace(self._said)

    def _said_run(self) -> str | None:
        try:
            return self._said.read_text()
        except FileNotFoundError:
            return None

    def sync(self, entries: Iterable[Path]) -> None:
        """Sync the entries that are not, and take the mark from them: at the end."""
        for path in _marked(entries):
            with contextlib.suppress(FileNotFoundError):  # evicted
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                    os.fchmod(descriptor, stat.S_IRUSR)
                finally:
                    os.close(descriptor)


def _marked(entries: Iterable[Path]) -> list[Path]:
    found = []
    for path in entries:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mode & stat.S_IXUSR:
                found.append(path)
    return found
