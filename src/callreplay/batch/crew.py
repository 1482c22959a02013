"""Who does the work: a crew takes shares and tells of every row as its output finishes.

The local crew is processes, not threads: putting a call's packets in order is Python's work and would hold the GIL
against the others; the conveyor inside each process then has its lanes to itself. Each process has a pipe of its own,
so that the death of one is known at once, and touches no other.

Pipes are short, and a worker writes its rows without looking whether there is something to read. So the parent never
waits to write: a thread for each worker does. It only reads, whatever has come, and what a worker writes finds room.

Who owns what, and in which order:

- All of a ``LocalCrew`` but the senders belongs to the one thread that runs the batch; nothing there is locked. A
  sender has two things, its worker's queue and the writing half of the pipe; nobody else writes there. It ends on
  ``_FINISH``, or where the pipe breaks.
- A share belongs to one worker from ``start`` until its end is told, by the worker (its number, after its last row) or
  by the pipe's end. Rows and the number go through one pipe, so the number never comes before a row.
- A worker notes a row in the share's journal before it sends it. The parent removes the journal only when whoever took
  the ``Event`` of the end came back for the next, and so has its rows. A run killed at any point therefore has each
  row in the journal, in the manifest, or in both.
- A worker that ends before it was ``READY`` has not touched its share: a new one gets it, three times at most.
- A closed pipe is what tells of a death. ``join`` reaps the process first and closes the pipe then, since the number of
  a closed descriptor may be another file's at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import pickle
import select
import signal
import threading
from collections import deque
from collections.abc import Iterator
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Final, Protocol, Self

from callreplay.batch.destinations import open_destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row, as_line, as_values, journal_path
from callreplay.batch.summary import BatchError
from callreplay.batch.worker import Feed, Order, run_feed
from callreplay.cores import begin_worker, start_workers
from callreplay.deferred import dataclass

__all__ = ["Crew", "Event", "LocalCrew"]

Share = list[Job]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_FINISH: Final = pickle.dumps(None)
_MOST_HEARD: Final = 64  # things that one worker says before others are listened to
_STARTS: Final = 3  # that fail one after the other: then the next will, too


@dataclass(frozen=True, slots=True)
class Event:
    """Of share number ``share``: a row, or its end (``ended``), which was a bad one where there is an ``error``."""

    share: int
    row: Row | None = None
    ended: bool = False
    error: str = ""


class Crew(Protocol):
    """Workers that take shares; a context manager. Left by an exception, they stop at once.

    ``alone``: the share has a worker to itself. ``streams``: workers take on shares before they are through with the
    last, so that many small ones cost nothing.
    """

    streams: bool

    def free(self, *, alone: bool) -> bool:
        """Whether somebody can take a share."""
        ...

    def start(self, share: int, jobs: Share, *, alone: bool) -> None:
        """Hand out a share under a number, when ``free`` said so."""
        ...

    def finish(self) -> None:
        """Ask everybody to begin no more calls: shares end with what is in flight."""
        ...

    def events(self, seconds: float) -> Iterator[Event]:
        """What has happened, after waiting for it at most so long."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Says(Enum):
    """What a worker says beside rows and the numbers of shares that are done."""

    READY = 0  # it has started, and can be given its first share
    HUNGRY = 1  # it could take on more
    BYE = 2  # it was told to finish, and has


class _Ready:
    """Asks whether a pipe has something to read: ``Connection.poll`` makes a selector each time, in 0.05 ms."""

    def __init__(self, pipe: Connection) -> None:
        self._poll = select.poll()
        self._poll.register(pipe.fileno(), select.POLLIN)

    def __call__(self) -> bool:
        return bool(self._poll.poll(0))


def _told(share: int, row: Row) -> bytes:
    """A row as it goes through a pipe, where ``recv`` gives the share's number and the row's values."""
    return pickle.dumps((share, as_values(row)))


@dataclass(slots=True)
class _Part:
    """A share that a worker has: its jobs that are not done, by identity, and its journal."""

    jobs: dict[int, Job]
    journal: IO[str]


class _PipeFeed(Feed):
    """Shares through a worker's pipe. Each has a journal until the parent has all of its rows, and removes it."""

    def __init__(self, pipe: Connection, manifest: Path) -> None:
        self._pipe, self._manifest = pipe, manifest
        self._given: deque[tuple[int, Share]] = deque()
        self._parts: dict[int, _Part] = {}
        self._shares: dict[int, int] = {}  # of jobs under way, by identity
        self._ready = _Ready(pipe)
        self._asked = True  # a worker is started to be given something
        self._stopped = False

    def _receive(self) -> None:
        said = self._pipe.recv()
        if said is None:
            self._stopped = True
        else:
            self._given.append(said)
            self._asked = False

    def more(self, wait: bool) -> Share | None:
        while not self.stopped():
            if self._given:
                number, jobs = self._given.popleft()
                journal = journal_path(self._manifest, number).open("w", encoding="utf-8")
                self._parts[number] = _Part({id(job): job for job in jobs}, journal)
                self._shares.update((id(job), number) for job in jobs)
                return jobs
            if not self._asked:
                self._asked = True
                self._pipe.send(_Says.HUNGRY)
            if not wait:
                return []
            self._receive()
        return None

    def stopped(self) -> bool:
        while self._ready():
            self._receive()
        return self._stopped

    def share_of(self, job: Job) -> int:
        """The number of the share that holds the job."""
        return self._shares[id(job)]

    def note(self, job: Job, row: Row) -> None:
        journal = self._parts[self.share_of(job)].journal
        journal.write(as_line(row))
        journal.flush()

    def done(self, job: Job) -> None:
        number = self._shares.pop(id(job))
        part = self._parts[number]
        del part.jobs[id(job)]
        if not part.jobs:
            self._parts.pop(number).journal.close()
            self._pipe.send(number)


def _give_memory_back() -> None:
    # glibc learns from the first large block that is freed to keep such blocks, and holds twice what is in use. Told
    # where a large one begins, it gives back all that is free at the heap's end, and gets it again for the next call.
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 8 << 20)


def _serve(pipe: Connection, order: Order, destination: str, manifest: Path) -> None:
    """A worker process: shares come through the pipe; rows go back, each share's number after its last one."""
    # Control-C and a service manager's SIGTERM reach the whole group; the workers finish what they have.
    begin_worker(goes_on=True)  # and ends with a killed run: it would write beside the next
    _give_memory_back()
    feed = _PipeFeed(pipe, manifest)
    try:
        place = open_destination(destination)
        gc.freeze()  # what is imported stays: no need to look through it again and again
        pipe.send(_Says.READY)
        for job, row in run_feed(feed, order, place):
            pipe.send_bytes(_told(feed.share_of(job), row))
        pipe.send(_Says.BYE)
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


class _Worker:
    """A process. ``first`` is its first share until it is ready: a process that ends before has not died of it."""

    def __init__(self, first: tuple[int, Share], order: Order, destination: str, manifest: Path) -> None:
        self.first: tuple[int, Share] | None = first
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, order, destination, manifest), daemon=True
        )
        start_workers(self.process.start)
        theirs.close()
        self.ready = _Ready(self.pipe)
        self.shares: dict[int, None] = {}
        self.hungry = self.alone = False
        self._unsent: SimpleQueue[bytes] = SimpleQueue()
        self._sender = threading.Thread(target=self._send, name="callreplay-sender", daemon=True)
        self._sender.start()

    def send(self, said: tuple[int, Share] | None) -> None:
        """Have a numbered share sent; None, the last: finish. At once, however slow the worker is to read it."""
        self._unsent.put(pickle.dumps(said))

    def begin(self) -> None:
        """It is ready: have its first share sent."""
        first, self.first = self.first, None
        if first is not None:
            self.send(first)

    def finish(self) -> None:
        """Have it told to finish, without a first share that it has not had."""
        self.first = None
        self.send(None)

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # it died; the closed pipe says so among the events
            said = b""
            while said != _FINISH:
                said = self._unsent.get()
                self.pipe.send_bytes(said)

    def join(self) -> int | None:
        """Wait for it to end, close the pipe; its exit code."""
        self.process.join()
        self.send(None)
        self._sender.join()
        self.pipe.close()
        return self.process.exitcode


class LocalCrew:
    """Processes of this machine; each share has a journal beside the manifest."""

    streams = True

    def __init__(self, count: int, order: Order, destination: str, manifest: Path) -> None:
        self._arguments = (order, destination, manifest)
        self._manifest = manifest
        self._count = count
        self._workers: list[_Worker] = []
        self._failed = 0  # starts, since one was well

    def _may_grow(self) -> bool:
        return len(self._workers) < self._count

    def _taker(self, alone: bool) -> _Worker | None:
        """Who of those that run gets the next share: an idle one, else one that asks for more if none may start."""
        idle = next((worker for worker in self._workers if not worker.shares), None)
        if idle or alone or self._may_grow():
            return idle
        return next((worker for worker in self._workers if worker.hungry and not worker.alone), None)

    def free(self, *, alone: bool) -> bool:
        """Whether a process could take a share, or may still be started."""
        return self._may_grow() or self._taker(alone) is not None

    def start(self, share: int, jobs: Share, *, alone: bool) -> None:
        """Hand the share to a process."""
        worker = self._taker(alone)
        if worker is None:
            self._hire(share, jobs, alone=alone)
            return
        worker.shares[share] = None
        worker.hungry, worker.alone = False, alone
        worker.send((share, jobs))

    def _hire(self, share: int, jobs: Share, *, alone: bool) -> None:
        worker = _Worker((share, jobs), *self._arguments)
        worker.shares[share], worker.alone = None, alone
        self._workers.append(worker)

    def finish(self) -> None:
        """Send every process what ends it."""
        for worker in self._workers:
            worker.finish()

    def events(self, seconds: float) -> Iterator[Event]:
        """Rows and ends from the pipes; a pipe that closes is a death. BatchError where no process gets ready."""
        owners = {worker.pipe.fileno(): worker for worker in self._workers if worker.shares}
        # multiprocessing's own wait() makes a selector each time, in as long as a row takes.
        poll = select.poll()
        for pipe in owners:
            poll.register(pipe, select.POLLIN)
        for pipe, _ in poll.poll(seconds * 1e3):
            worker = owners[pipe]
            yield from self._heard(worker)
            # What has come together is taken together: each wait costs as much as a row.
            for _ in range(_MOST_HEARD):
                if worker not in self._workers or not worker.ready():
                    break
                yield from self._heard(worker)

    def _heard(self, worker: _Worker) -> Iterator[Event]:
        """What a worker says next, or its death."""
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            said = None
        if said is _Says.READY:
            self._failed = 0
            worker.begin()
        elif said is _Says.HUNGRY:
            worker.hungry = True
        elif isinstance(said, tuple):
            share, values = said
            yield Event(share, row=Row(*values))
        elif isinstance(said, int):
            yield from self._end(worker, said)
        else:
            yield from self._bury(worker, said)

    def _bury(self, worker: _Worker, said: object) -> Iterator[Event]:
        """One has ended: well (``BYE``), with an error that it tells, or dead, silently (None)."""
        self._workers.remove(worker)
        died = _death(worker.join())
        if worker.first is not None:
            self._failed += 1
            if self._failed == _STARTS:
                raise BatchError(
                    f"no worker process gets as far as its first job ({said or died}): a script must be a file, which "
                    'the workers import, and call run_batch below `if __name__ == "__main__":`'
                )
            self._hire(*worker.first, alone=worker.alone)
            return
        reasons = {_Says.BYE: "", None: f"the worker process died on it ({died})"}
        for share in list(worker.shares):
            yield from self._end(worker, share, reasons.get(said, str(said)))  # type: ignore[call-overload]

    def _end(self, worker: _Worker, share: int, error: str = "") -> Iterator[Event]:
        del worker.shares[share]
        yield Event(share, ended=True, error=error)
        # Whoever took the event has all of its rows by now.
        journal_path(self._manifest, share).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if kind is None:
                worker.finish()
            else:
                worker.process.kill()
        for worker in self._workers:
            worker.join()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
