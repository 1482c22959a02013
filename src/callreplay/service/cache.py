"""The cache of transcoded calls: made once for any number of equal requests, in any number of worker processes.

An entry is a file named by its key. It is written as ``KEY.part`` under an exclusive lock on ``KEY.lock`` and renamed
when whole, so what bears an entry's name is never half of one. Who finds the lock taken follows the part as it grows.
A file that is whole is no longer writable: its mode tells who follows it, though it be renamed and evicted between two
looks. Where the lock falls before that, its holder was killed, and the next one starts anew. The total is bounded (see
``room``). A reader keeps its open file, whatever is evicted meanwhile. What nobody waits for any more is not made to
its end.

Locks, and who owns what:

- Between processes: ``flock`` on ``KEY.lock`` makes its holder the only writer of ``KEY.part``. The kernel lets go of
  it when the holder ends, however it ends. The lock is of the open file, so whoever gets it looks whether the name
  still leads to that file (``_lock``): the last holder removes the name before it lets go.
- Within a process: ``Cache._guard`` protects the table of jobs, and is held only to look, to take ``KEY.lock`` without
  waiting, and to note the job. No rendering, and no wait, happens under it. ``_Job.changed`` protects one job's
  figures; whoever waits there looks every half second whether its own client has gone.
- Order: ``_guard`` before ``changed`` (``open``); nobody takes ``_guard`` while holding ``changed``. ``Room``'s ledger
  is locked last and never around either.
- The descriptor of the lock belongs to ``open`` until ``_begin`` has handed it to the pool's work, which closes it
  after the job has left the table and the name of the lock is gone: in this order, so that whoever finds no job finds
  the entry whole, or may begin anew.
- A descriptor of an entry belongs to its ``Entry`` until ``take``. A job counts how many entries and openers wait for
  it, and work that nobody wants ends at the next block.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import os
import stat
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from callreplay.service.metrics import Metrics
from callreplay.service.room import Piece, Room

__all__ = ["Abandoned", "Cache", "Entry"]

_BLOCK: Final = 1 << 16
_POLL_SECONDS: Final = 0.01
_LOOK_SECONDS: Final = 0.5  # after which who waits looks whether anybody still waits for him
_LINGER_SECONDS: Final = 10.0  # that work goes on for nobody: a redirect is followed, a player comes back
_NICER: Final = 5
_STAY_SECONDS: Final = (
    5.0  # that a thread waits for more work: making one costs as much as a tenth of a rendering
)


class Abandoned(Exception):  # noqa: N818  # an end that was asked for
    """Nobody waits for the work any more."""


@dataclass
class _Job:
    """Work of this process on one key, and how many wait for it."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    size: int = 0
    done: bool = False
    error: BaseException | None = None
    waiting: int = 0
    left_at: float = field(default_factory=time.monotonic)
    told: list[Callable[[], object]] = field(default_factory=list)

    def tell(self, begun: Callable[[], object]) -> None:
        """Call ``begun`` once there are octets, or the end; from whatever thread makes them."""
        with self.changed:
            if not (self.size or self.done):
                self.told.append(begun)
                return
        begun()

    def grown(self, size: int) -> None:
        """There are so many octets."""
        with self.changed:
            self.size = size
            self._say()

    def end(self, error: BaseException | None) -> None:
        """There will be no more."""
        with self.changed:
            self.error, self.done = error, True
            self._say()

    def _say(self) -> None:
        self.changed.notify_all()
        if self.told and (self.size or self.done):
            for begun in self.told:
                with contextlib.suppress(RuntimeError):  # its event loop has ended
                    begun()
            self.told.clear()

    def join(self) -> None:
        with self.changed:
            self.waiting += 1

    def leave(self) -> None:
        with self.changed:
            self.waiting -= 1
            self.left_at = time.monotonic()

    def is_wanted(self) -> bool:
        with self.changed:
            return self.waiting > 0 or time.monotonic() - self.left_at < _LINGER_SECONDS


class Entry:
    """An entry that is open for reading: whole (``size`` known) or still growing (``size`` None).

    Whoever has it closes it, or takes its file. ``gone`` is set when the one who asked has left.
    """

    def __init__(
        self, cache: Cache, key: str, file: io.FileIO, job: _Job | None, whole: bool, gone: threading.Event
    ) -> None:
        self._cache, self.key, self._job, self.gone = cache, key, job, gone
        self._file: io.FileIO | None = file
        self.size: int | None = os.fstat(file.fileno()).st_size if whole else None
        if job is not None:
            job.join()

    def __enter__(self) -> Entry:
        """Give it to a block, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """Close what nobody did."""
        self.close()

    @property
    def descriptor(self) -> int:
        """The file's."""
        assert self._file is not None
        return self._file.fileno()

    def take(self) -> io.FileIO:
        """Its file, which is the caller's to close from now on."""
        taken, self._file = self._file, None
        assert taken is not None
        self.close()
        return taken

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        job, self._job = self._job, None
        if job is not None:
            job.leave()

    def wait(self) -> int:
        """Wait until the entry is whole; its size. Raises what the work raised, and Abandoned."""
        position = 0
        while self.size is None:
            grown = self._grown(position)
            position = max(grown, position)
        return self.size

    def blocks(self) -> Iterator[bytes]:
        """The bytes from the start, as they come to be. Raises what the work raised, and Abandoned."""
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
                job.changed.wait(_LOOK_SECONDS)
                _check(self.gone)
            if job.error is not None:
                raise job.error
            if job.done:
                self.size = job.size
            return job.size

    def _grown_elsewhere(self, position: int) -> int:
        while True:
            _check(self.gone)
            locked = self._cache.is_locked(self.key)
            self._cache.want(self.key)
            status = os.fstat(self.descriptor)
            if not status.st_mode & stat.S_IWUSR:
                self.size = status.st_size
                return self.size
            if status.st_size > position:
                return status.st_size
            if not locked:
                raise OSError("the process that made this file has gone")
            time.sleep(_POLL_SECONDS)


def _check(gone: threading.Event) -> None:
    if gone.is_set():
        raise Abandoned


async def _begun(job: _Job, gone: threading.Event) -> None:
    """Wait for the job's first octets, or its end. Raises Abandoned once ``gone`` is set."""
    # One future and a timer: asyncio.wait_for() takes a task as well, and two more turns of the loop.
    loop = asyncio.get_running_loop()
    waits: asyncio.Future[None] = loop.create_future()
    timer: asyncio.TimerHandle

    def wake() -> None:
        if not waits.done():
            waits.set_result(None)

    def look() -> None:
        nonlocal timer
        if gone.is_set():
            wake()
        else:
            timer = loop.call_later(_LOOK_SECONDS, look)

    job.tell(partial(loop.call_soon_threadsafe, wake))
    timer = loop.call_later(_LOOK_SECONDS, look)
    try:
        await waits
    finally:
        timer.cancel()
    _check(gone)


class _Pool:
    """At most ``slots`` threads, which take the owners' work in turn: of each the oldest. They stay for a while."""

    def __init__(self, slots: int) -> None:
        self._slots, self._threads, self._idle, self._queued = slots, 0, 0, 0
        self._there = threading.Condition()
        self._queues: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()

    def submit(self, owner: str, work: Callable[[], None]) -> None:
        with self._there:
            self._queues.setdefault(owner, deque()).append(work)
            self._queued += 1
            if self._queued <= self._idle:
                self._there.notify()
                return
            if self._threads >= self._slots:
                return
            self._threads += 1
        threading.Thread(target=self._run, name="transcode-pool", daemon=True).start()

    def _next(self) -> Callable[[], None] | None:
        with self._there:
            self._idle += 1
            is_there = self._there.wait_for(lambda: self._queues, _STAY_SECONDS)
            self._idle -= 1
            if not is_there:
                self._threads -= 1
                return None
            owner, queue = self._queues.popitem(last=False)
            work = queue.popleft()
            self._queued -= 1
            if queue:
                self._queues[owner] = queue  # behind the others
            return work

    def _run(self) -> None:
        if sys.platform == "linux":
            # There a priority is a thread's, and goes over to those that native code starts from it: the event loop and
            # the database come first. SCHED_BATCH, which keeps the share, did not help the loop's p99; more than a
            # little less would let others keep a thread from running that holds the GIL.
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        while (work := self._next()) is not None:
            work()
            del work  # what it holds is not kept while the thread waits


class Cache:
    """Files under ``folder``, together at most ``limit`` octets; ``slots`` are made at once in this process.

    The bound holds for all processes together, and for what is being written: see ``room``.
    """

    def __init__(self, folder: Path, limit: int, slots: int, metrics: Metrics) -> None:
        self.folder, self.limit, self.metrics = folder, limit, metrics
        self._place = str(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._pool = _Pool(slots)
        self._jobs: dict[str, _Job] = {}
        self._guard = threading.Lock()
        self._room = Room(folder, limit, metrics, self._bury)
        self._sweep()

    def _path(self, key: str, suffix: str = "") -> str:
        # A text: to make a Path takes as long as to open a file.
        return f"{self._place}/{key[:2]}/{key}{suffix}"

    def open(
        self,
        key: str,
        make: Callable[[], Iterator[bytes]],
        *,
        owner: str = "",
        gone: threading.Event | None = None,
        apart: bool = False,
    ) -> Entry:
        """The entry of ``key``; where there is none, ``make`` gives its bytes, in a thread of the pool.

        ``apart``: in a thread of its own, for work that mostly waits.
        Returns when the first bytes are there. ``owner`` is whose work it is: owners take turns. When ``gone`` is set
        nobody waits any more. Raises what ``make`` raises before the first bytes, and Abandoned.
        """
        gone = gone or threading.Event()
        while True:
            entry, job = self._look(key, make, owner, gone, apart=apart)
            if job is not None:
                try:
                    entry = self._first_bytes(key, job, gone)
                finally:
                    job.leave()
            elif entry is None:
                time.sleep(_POLL_SECONDS)
            if entry is not None:
                return entry

    async def open_soon(
        self, key: str, make: Callable[[], Iterator[bytes]], *, owner: str, gone: threading.Event
    ) -> Entry:
        """As ``open``, without a thread that waits. The cache must be near: it is looked into where the loop runs."""
        while True:
            entry, job = self._look(key, make, owner, gone)
            if job is not None:
                try:
                    await _begun(job, gone)
                    entry = self._first_bytes(key, job, gone)
                finally:
                    job.leave()
            elif entry is None:
                await asyncio.sleep(_POLL_SECONDS)
            if entry is not None:
                return entry

    def _look(
        self,
        key: str,
        make: Callable[[], Iterator[bytes]],
        owner: str,
        gone: threading.Event,
        *,
        apart: bool = False,
    ) -> tuple[Entry | None, _Job | None]:
        """The entry, or the work on it, which the caller leaves; neither where another process has begun it."""
        while True:
            _check(gone)
            found = self._open_whole(key, gone)
            if found is not None:
                self.metrics.cache.labels("hit").inc()
                return found, None
            with self._guard:
                job = self._jobs.get(key)
                lock = None
                if job is None:
                    lock = self._lock(key)
                    if lock is not None:
                        if _is_there(self._path(key)):
                            os.close(lock)
                            continue
                        job = self._jobs[key] = _Job()
                if job is not None:
                    job.join()
            if job is None:
                entry = self._follow(key, gone)
                if entry is not None:
                    self.metrics.cache.labels("joined").inc()
                return entry, None
            self.metrics.cache.labels("joined" if lock is None else "miss").inc()
            if lock is not None:
                self._begin(key, job, lock, make, owner, apart=apart)
            return None, job

    def touch(self, key: str) -> bool:
        """Whether the entry of ``key`` is there, whole; it has been used now."""
        try:
            os.utime(self._path(key))
        except FileNotFoundError:
            return False
        self.metrics.cache.labels("hit").inc()
        return True

    def _begin(
        self, key: str, job: _Job, lock: int, make: Callable[[], Iterator[bytes]], owner: str, *, apart: bool
    ) -> None:
        def work() -> None:
            self._work(key, job, lock, make)

        if apart:
            threading.Thread(target=work, name="live", daemon=True).start()
        else:
            self._pool.submit(owner, work)

    def _open_whole(self, key: str, gone: threading.Event) -> Entry | None:
        try:
            file = _open(self._path(key))
        except FileNotFoundError:
            return None
        os.utime(file.fileno())
        return Entry(self, key, file, None, True, gone)

    def _first_bytes(self, key: str, job: _Job, gone: threading.Event) -> Entry | None:
        with job.changed:
            while not job.done and job.size == 0:
                job.changed.wait(_LOOK_SECONDS)
                _check(gone)
            if isinstance(job.error, Abandoned):
                return None  # a moment too late: it is begun again
            if job.error is not None:
                raise job.error
            if job.done:
                return None  # whole: the next look opens it
            try:
                file = _open(self._path(key, ".part"))
            except FileNotFoundError:
                return None
            return Entry(self, key, file, job, False, gone)

    def _follow(self, key: str, gone: threading.Event) -> Entry | None:
        """The part that another process is writing, once it has bytes."""
        self.want(key)
        try:
            file = _open(self._path(key, ".part"))
        except FileNotFoundError:
            return None
        if os.fstat(file.fileno()).st_size == 0 or not self.is_locked(key):
            file.close()
            return None
        return Entry(self, key, file, None, False, gone)

    def want(self, key: str) -> None:
        """Tell the process that is at work on the key that somebody here waits: the time of its lock is how."""
        with contextlib.suppress(FileNotFoundError):
            path = self._path(key, ".lock")
            if time.time() - os.stat(path).st_mtime > 1:  # noqa: PTH116
                os.utime(path)

    def _is_wanted(self, job: _Job, lock: int) -> bool:
        return job.is_wanted() or time.time() - os.fstat(lock).st_mtime < _LINGER_SECONDS

    def _lock(self, key: str) -> int | None:
        path = self._path(key, ".lock")
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # the first of its shelf, or somebody has just emptied the cache
                Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            # The file may have been removed by its last holder between our open and our lock.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116
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
        total = 0
        self.metrics.running.inc()

        def check() -> None:
            if not self._is_wanted(job, lock):
                raise Abandoned

        try:
            _remove(part)
            with open(part, "wb", buffering=0) as file:  # noqa: PTH123
                piece = Piece(key, file, check)
                try:
                    while not self._written(piece, job, make):
                        self._room.wait_for_turn(piece)
                    total = self._room.keep(piece, part, final)
                except BaseException:
                    self._room.drop(piece, part)
                    raise
                finally:
                    piece.end_turn()
        except BaseException as raised:
            error = raised
        finally:
            self.metrics.running.dec()
            with self._guard:
                self._jobs.pop(key, None)
            _remove(self._path(key, ".lock"))
            os.close(lock)
            job.end(error)
        if error is None:
            self._room.shrink(total, key)

    def _written(self, piece: Piece, job: _Job, make: Callable[[], Iterator[bytes]]) -> bool:
        """Write all that ``make`` gives, as long as anybody waits for it; False where the piece gave way."""
        piece.check()
        blocks = make()
        try:
            for data in blocks:
                piece.check()
                is_written = self._room.write(piece, data)
                job.grown(piece.file.tell())
                if not is_written:
                    return False
            return True
        finally:
            if isinstance(blocks, Generator):
                blocks.close()

    def close(self) -> None:
        """Make what there is last."""
        self._room.sync()

    def _sweep(self) -> None:
        """Remove what killed processes left half done, and what the machine may have; count the rest."""
        for key in {path.stem for suffix in ("part", "lock") for path in self.folder.glob(f"*/*.{suffix}")}:
            self._bury(key)
        self._room.sweep()
        self._room.shrink(self._room.recount())

    def _bury(self, key: str) -> bool:
        """Remove the part of a process that was killed at it; False where one is at work."""
        lock = self._lock(key)
        if lock is None:
            return False
        _remove(self._path(key, ".part"))
        _remove(self._path(key, ".lock"))
        os.close(lock)
        return True


def _open(path: str) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def _is_there(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return False
    return True


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
