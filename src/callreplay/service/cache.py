"""The cache of transcoded calls: made once for any number of equal requests, in any number of worker processes.

An entry is a file named by its key. It is written as ``KEY.part`` under an exclusive lock on ``KEY.lock`` and renamed
when whole, so what bears an entry's name is never half of one. Who finds the lock taken follows the part as it grows.
A file that is whole is no longer writable: its mode tells who follows it, though it be renamed and evicted between two
looks. Where the lock falls before that, its holder was killed, and the next one starts anew. The total is bounded: the
least recently used entries go first. A reader keeps its open file, whatever is evicted meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callreplay.service.metrics import Metrics

__all__ = ["Cache", "Entry"]

_BLOCK: Final = 1 << 16
_POLL_SECONDS: Final = 0.01
_NICER: Final = 5
_ROOM: Final = 0.9  # evict down to this share of the bound


@dataclass
class _Job:
    """Work of this process on one key."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    size: int = 0
    done: bool = False
    error: BaseException | None = None


class Entry:
    """An entry that is open for reading: whole (``size`` known) or still growing (``size`` None)."""

    def __init__(self, cache: Cache, key: str, descriptor: int, job: _Job | None, whole: bool) -> None:
        self._cache, self.key, self._job = cache, key, job
        self.descriptor = descriptor
        self.size: int | None = os.fstat(descriptor).st_size if whole else None

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.descriptor)

    def wait(self) -> int:
        """Wait until the entry is whole; its size. Raises what the work raised."""
        position = 0
        while self.size is None:
            grown = self._grown(position)
            position = max(grown, position)
        return self.size

    def blocks(self) -> Iterator[bytes]:
        """The bytes from the start, as they come to be. Raises what the work raised."""
        position = 0
        while True:
            while data := os.pread(self.descriptor, _BLOCK, position):
                position += len(data)
                yield data
            if self.size is not None:
                if position >= self.size:
                    return
                continue
            self._grown(position)

    def _grown(self, position: int) -> int:
        """Wait until there is more than ``position`` octets, or the end."""
        job = self._job
        if job is None:
            return self._grown_elsewhere(position)
        with job.changed:
            while not job.done and job.size <= position:
                job.changed.wait()
            if job.error is not None:
                raise job.error
            if job.done:
                self.size = job.size
            return job.size

    def _grown_elsewhere(self, position: int) -> int:
        while True:
            locked = self._cache.is_locked(self.key)
            status = os.fstat(self.descriptor)
            if not status.st_mode & stat.S_IWUSR:
                self.size = status.st_size
                return self.size
            if status.st_size > position:
                return status.st_size
            if not locked:
                raise OSError("the process that made this file has gone")
            time.sleep(_POLL_SECONDS)


class Cache:
    """Files under ``folder``, together at most ``limit`` octets; ``slots`` are made at once in this process."""

    def __init__(self, folder: Path, limit: int, slots: int, metrics: Metrics) -> None:
        self.folder, self.limit, self.metrics = folder, limit, metrics
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._slots = threading.BoundedSemaphore(slots)
        self._jobs: dict[str, _Job] = {}
        self._guard = threading.Lock()
        self._sweep()

    def _path(self, key: str, suffix: str = "") -> Path:
        return self.folder / key[:2] / (key + suffix)

    def open(self, key: str, make: Callable[[], Iterator[bytes]]) -> Entry:
        """The entry of ``key``; where there is none, ``make`` gives its bytes, in a thread of its own.

        Returns when the first bytes are there. Raises what ``make`` raises before them.
        """
        while True:
            found = self._open_whole(key)
            if found is not None:
                self.metrics.cache.labels("hit").inc()
                return found
            with self._guard:
                job = self._jobs.get(key)
                lock = None
                if job is None:
                    lock = self._lock(key)
                    if lock is not None:
                        if self._path(key).exists():
                            os.close(lock)
                            continue
                        job = self._jobs[key] = _Job()
            if job is None:
                entry = self._follow(key)
                if entry is not None:
                    self.metrics.cache.labels("joined").inc()
                    return entry
                time.sleep(_POLL_SECONDS)
                continue
            self.metrics.cache.labels("joined" if lock is None else "miss").inc()
            if lock is not None:
                name = f"transcode-{key[:8]}"
                threading.Thread(
                    target=self._work, args=(key, job, lock, make), name=name, daemon=True
                ).start()
            entry = self._first_bytes(key, job)
            if entry is not None:
                return entry

    def _open_whole(self, key: str) -> Entry | None:
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        os.utime(descriptor)
        return Entry(self, key, descriptor, None, whole=True)

    def _first_bytes(self, key: str, job: _Job) -> Entry | None:
        with job.changed:
            while not job.done and job.size == 0:
                job.changed.wait()
            if job.error is not None:
                raise job.error
            if job.done:
                return None  # whole: the next look opens it
            try:
                descriptor = os.open(self._path(key, ".part"), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            return Entry(self, key, descriptor, job, whole=False)

    def _follow(self, key: str) -> Entry | None:
        """The part that another process is writing, once it has bytes."""
        try:
            descriptor = os.open(self._path(key, ".part"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if os.fstat(descriptor).st_size == 0 or not self.is_locked(key):
            os.close(descriptor)
            return None
        return Entry(self, key, descriptor, None, whole=False)

    def _lock(self, key: str) -> int | None:
        path = self._path(key, ".lock")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            # The file may have been removed by its last holder between our open and our lock.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            os.close(descriptor)

    def is_locked(self, key: str) -> bool:
        """Whether some process is at work on the key."""
        try:
            descriptor = os.open(self._path(key, ".lock"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _work(self, key: str, job: _Job, lock: int, make: Callable[[], Iterator[bytes]]) -> None:
        part, final = self._path(key, ".part"), self._path(key)
        error: BaseException | None = None
        if sys.platform == "linux":
            # There a priority is a thread's, and goes over to those that native code starts from it: the event loop and
            # the database come first. SCHED_BATCH, which keeps the share, did not help the loop's p99; more than a
            # little less would let others keep a thread from running that holds the GIL.
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        with self._slots:
            self.metrics.running.inc()
            try:
                part.unlink(missing_ok=True)
                with part.open("wb", buffering=0) as file:
                    for data in make():
                        self._write(file, data)
                        with job.changed:
                            job.size += len(data)
                            job.changed.notify_all()
                    os.fsync(file.fileno())
                    os.fchmod(file.fileno(), stat.S_IRUSR)
                part.replace(final)
            except BaseException as raised:
                error = raised
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
            finally:
                self.metrics.running.dec()
                with self._guard:
                    self._jobs.pop(key, None)
                self._path(key, ".lock").unlink(missing_ok=True)
                os.close(lock)
                with job.changed:
                    job.error, job.done = error, True
                    job.changed.notify_all()
        if error is None:
            self.shrink()

    def _write(self, file: io.FileIO, data: bytes) -> None:
        """Write all of it; older entries go where the disk is full."""
        left = memoryview(data)
        while left:
            try:
                # A disk that is nearly full takes a part of it, and says nothing.
                left = left[file.write(left) :]
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._evict_oldest():
                    raise

    def _evict_oldest(self) -> bool:
        return any(self._evict(path, size) for _, size, path in sorted(self._files()))

    def _evict(self, path: Path, size: int) -> bool:
        """Remove an entry; False where another process has."""
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        self.metrics.evicted.inc(size)
        return True

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for shelf in os.scandir(self.folder):
            if not shelf.is_dir(follow_symlinks=False):
                continue
            for entry in os.scandir(shelf.path):
                if entry.name.endswith((".part", ".lock")):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
        return found

    def shrink(self) -> None:
        """Evict the least recently used entries where the bound is passed."""
        files = self._files()
        total = sum(size for _, size, _ in files)
        if total > self.limit:
            for _, size, path in sorted(files):
                if total <= self.limit * _ROOM:
                    break
                self._evict(path, size)
                total -= size
        self.metrics.cache_bytes.set(total)

    def _sweep(self) -> None:
        """Remove what killed processes left half done, or had not begun: a lock without a part."""
        left = [path for suffix in ("part", "lock") for path in self.folder.glob(f"*/*.{suffix}")]
        for key in {path.stem for path in left}:
            lock = self._lock(key)
            if lock is None:
                continue
            self._path(key, ".part").unlink(missing_ok=True)
            self._path(key, ".lock").unlink(missing_ok=True)
            os.close(lock)
        self.shrink()
