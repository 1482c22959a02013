"""Who uses an embedded PostgreSQL: the last one to leave stops it, and only one at a time starts or stops it.

Two locks in the data directory, which the kernel lets go of however a process ends. ``users`` is held, shared, by every
process that uses the server. ``lock`` is held by who starts or stops the server, and by a service for as long as it
runs: it keeps the server, and there is one of them at most.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from callreplay.store.cluster import EmbeddedError

__all__ = ["Shares"]

_POLL_SECONDS: Final = 0.05


class Shares:
    """The two locks of a data directory, as one process holds them."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._lock: int | None = None
        self._users: int | None = None

    @property
    def held(self) -> bool:
        """Whether ``lock`` is ours."""
        return self._lock is not None

    def _open(self, name: str) -> int:
        return os.open(self.data_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _try_lock(self, what: str) -> bool:
        """Take ``lock``, if it is free. A command may wait for a service; raises EmbeddedError for a second service."""
        descriptor = self._open("lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder, _, role = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip().partition(" ")
            os.close(descriptor)
            if what == role == "service":
                raise EmbeddedError(
                    f"{self.data_dir} is in use by another callreplay (process {holder})"
                ) from None
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {what}\n".encode(), 0)
        self._lock = descriptor
        return True

    def take(self, what: str, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Take ``lock``, waiting; False where ``until`` came true before. ``what`` is ``service`` or ``command``.

        Raises EmbeddedError where another service has it and for one that waits too long.
        """
        deadline = time.monotonic() + seconds
        while not self._try_lock(what):
            if until():
                return False
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"{self.data_dir}: another callreplay is starting or stopping the database"
                )
            time.sleep(_POLL_SECONDS)
        return True

    def release(self) -> None:
        """Let go of ``lock``."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    @contextlib.contextmanager
    def starting(self, seconds: float) -> Iterator[None]:
        """Hold ``lock`` while the server is started, unless it is held anyway."""
        held = self.held
        if not held:
            self.take("command", seconds)
        try:
            yield
        finally:
            if not held:
                self.release()

    def join(self) -> None:
        """Be one of the users; waits while somebody stops the server."""
        if self._users is None:
            self._users = self._open("users")
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Whether there is no other user; then none can come until ``join`` or ``leave``."""
        assert self._users is not None
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._users, fcntl.LOCK_SH)
            return False
        return True

    def leave(self) -> None:
        """Be a user no longer."""
        users, self._users = self._users, None
        if users is not None:
            os.close(users)
