"""``transcode_many``: a batch inside somebody else's program: threads, results as they finish, sync and async."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sized
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final

from callreplay.batch.destinations import Memory, open_destination
from callreplay.batch.engine import cut_shares
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.batch.worker import WORKER_MEMORY, Feed, Order, run_feed
from callreplay.cores import cores
from callreplay.formats import Options

__all__ = ["Result", "transcode_many", "transcode_many_async"]


@dataclass(frozen=True, slots=True)
class Result:
    """One output: its row, and its bytes where no destination was given."""

    row: Row
    data: bytes | None

    @property
    def error(self) -> str:
        """What went wrong, empty where nothing did."""
        return self.row.error


def _as_job(item: Job | str | os.PathLike[str], number: int) -> Job:
    if isinstance(item, Job):
        return item
    path = os.fspath(item)
    size = os.path.getsize(path) if os.path.exists(path) else 0  # noqa: PTH110, PTH202
    return Job((path,), f"{number:08d}", size=size)


_AHEAD: Final = 8  # jobs read of an iterator before somebody takes them


class _Listed(Feed):
    """Jobs of a list, in shares, for all threads."""

    def __init__(self, jobs: list[Job], workers: int) -> None:
        self._shares = cut_shares(jobs, workers)
        self._taking = threading.Lock()

    def more(self, wait: bool) -> list[Job] | None:
        with self._taking:
            return next(self._shares, None)

    def close(self) -> None:
        pass


class _Read(Feed):
    """Jobs of an iterator, for all threads. One of its own reads them: it may be slow, or wait for something itself."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._queue: queue.Queue[Job | BaseException | None] = queue.Queue(_AHEAD)  # None: no more
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="callreplay-reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        last: BaseException | None = None
        try:
            for job in self._jobs:
                if not _put(self._queue, job, self._closed):
                    return
        except BaseException as error:
            last = error
        _put(self._queue, last, self._closed)

    def more(self, wait: bool) -> list[Job] | None:
        jobs: list[Job] = []
        while not self._closed.is_set():
            try:
                job = self._queue.get(wait and not jobs, timeout=0.1)
            except queue.Empty:
                if wait and not jobs:
                    continue
                return jobs
            if not isinstance(job, Job):
                self._queue.put(job)  # for the others, and for the next time
                if jobs:
                    return jobs
                if job is not None:
                    raise job
                return None
            jobs.append(job)
        return None

    def close(self) -> None:
        self._closed.set()
        self._thread.join(1.0)  # an iterator that waits for something is left waiting


def _put(to: queue.Queue[Any], item: object, closed: threading.Event) -> bool:
    """Put it in as soon as there is room; False if it was closed before."""
    while not closed.is_set():
        try:
            to.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _results_of(feed: Feed, order: Order, destination: str) -> Generator[Result, None, None]:
    if destination:
        for _, row in run_feed(feed, order, open_destination(destination)):
            yield Result(row, None)
        return
    memory = Memory()
    for _, row in run_feed(feed, order, memory):
        yield Result(row, memory.files.pop(row.output, None))


class _Run:
    """Threads that put results into a queue; at most two for each of them wait there to be taken."""

    def __init__(self, jobs: _Listed | _Read, order: Order, destination: str, workers: int) -> None:
        self._jobs, self._order, self._destination = jobs, order, destination
        self._queue: queue.Queue[Result | BaseException | None] = queue.Queue(2 * workers)
        self._stopped = threading.Event()
        self._working = workers
        self._threads = [
            threading.Thread(target=self._serve, name=f"callreplay-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        try:
            with closing(_results_of(self._jobs, self._order, self._destination)) as results:
                for result in results:
                    if not _put(self._queue, result, self._stopped):
                        return
        except BaseException as error:
            _put(self._queue, error, self._stopped)
        _put(self._queue, None, self._stopped)

    def take(self) -> Result | None:
        """The next result; None after the last, or when closed."""
        while self._working and not self._stopped.is_set():
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is not None:
                return item
            self._working -= 1
        return None

    def close(self) -> None:
        """Stop the threads; what they have half written does not stay."""
        self._stopped.set()
        self._jobs.close()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        for thread in self._threads:
            thread.join()


def _start(
    jobs: Iterable[Job | str | os.PathLike[str]],
    format: str,
    *,
    destination: str = "",
    workers: int = 0,
    memory: int = 0,
    **options: Any,
) -> Callable[[], _Run]:
    """Check the arguments; what starts the run."""
    count = workers or cores()
    order = Order(format, Options.of(options), memory // count or WORKER_MEMORY)
    order.suffix()
    numbered = enumerate(jobs, 1)
    every = (_as_job(item, number) for number, item in numbered)
    if isinstance(jobs, Sized):
        listed = _Listed(list(every), count)
        return lambda: _Run(listed, order, destination, count)
    return lambda: _Run(_Read(every), order, destination, count)


def transcode_many(
    jobs: Iterable[Job | str | os.PathLike[str]],
    format: str = "wav",
    **arguments: Any,
) -> Iterator[Result]:
    """Transcode captures and give each result as it finishes, in no fixed order.

    ``jobs`` are captures (paths) or ``Job``s, of a list or of an iterator that is read as the work goes on.
    ``arguments`` are ``destination``, ``workers`` (threads; one per core), ``memory`` (octets for all of them; 512 MiB
    each) and the fields of ``formats.Options``. Without ``destination`` the bytes are in the results. Work waits for
    its results to be taken, so that few are in memory at once. Errors are results too; only wrong arguments raise
    (ArgumentError). Closing the iterator stops the work.
    """
    return _results(_start(jobs, format, **arguments))


def _results(start: Callable[[], _Run]) -> Iterator[Result]:
    run = start()
    try:
        while (result := run.take()) is not None:
            yield result
    finally:
        run.close()


async def transcode_many_async(
    jobs: Iterable[Job | str | os.PathLike[str]], format: str = "wav", **arguments: Any
) -> AsyncIterator[Result]:
    """``transcode_many`` for asyncio: the event loop stays free while threads work; a cancelled task stops them."""
    run = _start(jobs, format, **arguments)()
    try:
        while (result := await asyncio.to_thread(run.take)) is not None:
            yield result
    finally:
        run.close()
