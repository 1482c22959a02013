"""``transcode_many``: a batch inside somebody else's program: threads, results as they finish, sync and async."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sized
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from callreplay.batch.destinations import Memory, open_destination
from callreplay.batch.engine import cut_shares
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.batch.share import Order, run_share
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


def _share(jobs: list[Job], order: Order, destination: str) -> Generator[Result, None, None]:
    if destination:
        for row in run_share(jobs, order, open_destination(destination)):
            yield Result(row, None)
        return
    memory = Memory()
    for row in run_share(jobs, order, memory):
        yield Result(row, memory.files.pop(row.output, None))


class _Run:
    """Threads that put results into a queue; at most two for each of them wait there to be taken."""

    def __init__(self, shares: Iterator[list[Job]], order: Order, destination: str, workers: int) -> None:
        self._shares, self._order, self._destination = shares, order, destination
        self._queue: queue.Queue[Result | BaseException | None] = queue.Queue(2 * workers)
        self._taking, self._stopped = threading.Lock(), threading.Event()
        self._working = workers
        self._threads = [
            threading.Thread(target=self._serve, name=f"callreplay-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._taking:
                    jobs = next(self._shares, None)
                if jobs is None:
                    break
                with closing(_share(jobs, self._order, self._destination)) as results:
                    for result in results:
                        if not self._put(result):
                            return
        except BaseException as error:
            self._put(error)
        self._put(None)

    def _put(self, item: Result | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

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
    memory: int = 1 << 30,
    **options: Any,
) -> Callable[[], _Run]:
    """Check the arguments; what starts the run."""
    count = workers or cores()
    order = Order(format, Options.of(options), max(memory // count, 1))
    order.suffix()
    numbered = enumerate(jobs, 1)
    every: Iterable[Job] = (_as_job(item, number) for number, item in numbered)
    if isinstance(jobs, Sized):
        every = list(every)
    shares = cut_shares(every, count)
    return lambda: _Run(shares, order, destination, count)


def transcode_many(
    jobs: Iterable[Job | str | os.PathLike[str]],
    format: str = "wav",
    **arguments: Any,
) -> Iterator[Result]:
    """Transcode captures and give each result as it finishes, in no fixed order.

    ``jobs`` are captures (paths) or ``Job``s, of a list or of an iterator that is read as the work goes on.
    ``arguments`` are ``destination``, ``workers`` (threads; one per core), ``memory`` (octets of calls under way, 1
    GiB) and the fields of ``formats.Options``. Without ``destination`` the bytes are in the results. Work waits for its
    results to be taken, so that few are in memory at once. Errors are results too; only wrong arguments raise
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
