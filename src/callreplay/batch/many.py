"""``transcode_many``: a batch inside somebody else's program: threads, results as they finish, sync and async."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sized
from contextlib import closing, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Final, Unpack

from callreplay.batch.destinations import Once, open_destination
from callreplay.batch.engine import BatchSettings, cut_shares
from callreplay.batch.jobs import Job, Namer, own_name
from callreplay.batch.manifest import Row
from callreplay.batch.summary import Summary
from callreplay.batch.worker import Feed, Order, run_feed, run_in_memory
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.outputs.formats import FormatName
from callreplay.outputs.option_values import OptionValues
from callreplay.outputs.options import Options

__all__ = ["Result", "transcode_many", "transcode_many_async"]

Item = Job | str | os.PathLike[str]
Naming = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Result:
    """One output: its row, and its bytes where no destination was given."""

    row: Row
    data: bytes | None

    @property
    def error(self) -> str:
        """What went wrong, empty where nothing did."""
        return self.row.error


def _checked(item: Item) -> Job | str:
    if isinstance(item, Job):
        return item
    if hasattr(item, "as_py"):  # what PyArrow's arrays give
        item = item.as_py()
    if not isinstance(item, str | os.PathLike) or not isinstance(path := os.fspath(item), str):
        raise ArgumentError(f"a capture is named by a path or a Job, not by {type(item).__name__}")
    return path


def _as_job(item: Job | str, name: Naming) -> Job:
    if isinstance(item, Job):
        return item
    size = 0
    with suppress(OSError, ValueError):  # its row will say what is wrong with it
        size = os.stat(item).st_size  # noqa: PTH116  # of every path, and half of pathlib's time
    return Job((item,), name(item), size=size)


class _Source(Feed):
    """Jobs for all threads, until it is closed: then they drop what they have. ``error``: why there are no more."""

    error: BaseException | None = None
    stop: Callable[[], bool] | None = None  # asked whether no more calls are to be begun

    def __init__(self) -> None:
        self._closed = threading.Event()

    def stopped(self) -> bool:
        return self._closed.is_set() or (self.stop is not None and self.stop())

    def dropped(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Let nobody wait for it any longer."""
        self._closed.set()


class _Listed(_Source):
    """Jobs of a list, in shares."""

    def __init__(self, items: list[Job | str], workers: int, name: Naming) -> None:
        super().__init__()
        self._name = name
        self._shares = self._cut(items, workers)
        self._taking = threading.Lock()

    def _cut(self, items: list[Job | str], workers: int) -> Iterator[list[Job]]:
        # In the first thread that asks: the sizes of many files are long in coming.
        jobs = []
        for item in items:
            if self.dropped():
                return
            jobs.append(_as_job(item, self._name))
        yield from cut_shares(jobs, workers)

    def more(self, wait: bool) -> list[Job] | None:
        with self._taking:
            return next(self._shares, None)


_AHEAD: Final = 8  # jobs read of an iterator before somebody takes them
_GRACE_S: Final = 0.2


class _Read(_Source):
    """Jobs of an iterator. A thread of its own reads them: it may be slow, or wait for something itself."""

    def __init__(self, items: Iterator[Item], name: Naming) -> None:
        super().__init__()
        self._name = name
        self._items = items
        self._queue: SimpleQueue[Job | None] = SimpleQueue()  # None: no more
        self._room = threading.Semaphore(_AHEAD)
        self._thread = threading.Thread(target=self._read, name="callreplay-reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for item in self._items:
                job = _as_job(_checked(item), self._name)
                self._room.acquire()
                if self.dropped():
                    return
                self._queue.put(job)
        except BaseException as error:
            self.error = error
        self._queue.put(None)

    def more(self, wait: bool) -> list[Job] | None:
        jobs: list[Job] = []
        while len(jobs) < _AHEAD:
            try:
                job = self._queue.get(block=wait and not jobs)
            except Empty:
                break
            if job is None:
                self._queue.put(None)  # for the others, and for the next time
                return jobs or None
            self._room.release()
            jobs.append(job)
        return jobs

    def close(self) -> None:
        super().close()
        self._room.release()
        self._queue.put(None)
        self._thread.join(_GRACE_S)  # an iterator that waits for something is left waiting


Delivered = Result | BaseException | None  # None: a thread has ended


class _Run:
    """Threads that deliver results; at most two for each of them wait to be taken."""

    def __init__(
        self,
        source: _Source,
        order: Order,
        place: str,
        workers: int,
        deliver: Callable[[Delivered], None],
        progress: Callable[[Summary], None] | None = None,
        inputs: int = 0,
    ) -> None:
        self._progress, self._seen, self._began = progress, Summary(inputs=inputs), time.monotonic()
        self._source, self._order, self._place, self._deliver = source, order, place, deliver
        self._taken: dict[str, object] = {}  # names of outputs
        self._room = threading.Semaphore(2 * workers)
        self.working = workers
        self._threads = [
            threading.Thread(target=self._serve, name=f"callreplay-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> Generator[Result, None, None]:
        if self._place:
            place = Once(open_destination(self._place), self._taken)
            for _, row in run_feed(self._source, self._order, place):
                yield Result(row, None)
        else:
            for row, data in run_in_memory(self._source, self._order):
                yield Result(row, data)

    def _serve(self) -> None:
        try:
            with closing(self._work()) as results:
                for result in results:
                    self._room.acquire()
                    if self._source.dropped():
                        break
                    self._deliver(result)
        except BaseException as error:
            self._deliver(error)
        self._deliver(None)

    def take(self, item: Delivered) -> Result | None:
        """The result of what was delivered, if it is one; raises what is an error, the jobs' own after the last."""
        if isinstance(item, Result):
            self._room.release()
            self._seen.add(item.row)
            if self._progress is not None:
                self._seen.elapsed_s = time.monotonic() - self._began
                self._progress(replace(self._seen))
            return item
        if item is None:
            self.working -= 1
            item = None if self.working else self._source.error
        if item is not None:
            raise item
        return None

    def close(self) -> None:
        """Stop the threads within a block of audio; what they have half written does not stay."""
        self._source.close()
        self._room.release(len(self._threads))
        for thread in self._threads:
            thread.join()


_Start = Callable[[Callable[[Delivered], None]], _Run]


def _start(
    jobs: Iterable[Item],
    format: str,
    *,
    destination: str | os.PathLike[str] = "",
    workers: int = 0,
    memory: int = 0,
    speech: bool = False,
    progress: Callable[[Summary], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **options: Any,
) -> _Start:
    """Check the arguments; what starts the run, given what takes the results."""
    settings = BatchSettings(destination, format, Options.of(options), workers, memory)
    order = Order(format, settings.options, settings.worker_memory(), speech)
    # Without a destination names need not differ, and none is remembered.
    name = Namer().name if settings.place else own_name
    order.suffix()
    count = settings.worker_count()
    if isinstance(jobs, str | bytes | os.PathLike | Job):
        raise ArgumentError(f"jobs are paths or Jobs of a list or an iterator, not a {type(jobs).__name__}")
    if isinstance(jobs, Sized):
        listed = list(map(_checked, jobs))
        source: Callable[[], _Source] = lambda: _Listed(listed, count, name)  # noqa: E731
        inputs = len(listed)
    else:
        items, inputs = iter(jobs), 0
        source = lambda: _Read(items, name)  # noqa: E731

    def start(deliver: Callable[[Delivered], None]) -> _Run:
        chosen = source()
        chosen.stop = stop
        return _Run(chosen, order, settings.place, count, deliver, progress, inputs)

    return start


class Arguments(OptionValues, total=False):
    """Keywords of ``transcode_many`` for type checkers; its docstring says what they are."""

    destination: str | os.PathLike[str]
    workers: int
    memory: int
    speech: bool
    progress: Callable[[Summary], None] | None
    stop: Callable[[], bool] | None


def transcode_many(
    jobs: Iterable[Item],
    format: FormatName = "wav",
    **arguments: Unpack[Arguments],
) -> Generator[Result, None, None]:
    """Transcode captures and give each result as it finishes, in no fixed order.

    ``jobs`` are captures (paths, also of an Arrow array or a Series) or ``Job``s, of a list or of an iterator that
    is read as the work goes on. Outputs are named as ``callreplay batch`` names them: ``x.pcap`` gives ``x.wav``, a
    second one of that name ``x~2.wav``. ``arguments`` are ``destination`` (a folder or a URL), ``workers``
    (threads; one per core), ``memory`` (octets for all of them, 512 MiB each; below 128 MiB each there are fewer),
    ``speech`` (rows tell who talks how long; each leg is decoded once more for that), ``progress`` (called with a
    ``Summary`` so far before each result is given, by whom takes it; ``inputs`` is 0 where jobs come of an
    iterator), ``stop`` (asked by the threads now and then: once it says True no more calls are begun, those under
    way finish) and the fields of ``Options``. Without ``destination`` the bytes are in the results. With it, a
    result whose output another job has is an error. Work waits for its results to be taken, so that few are in
    memory at once. Errors are results too; only wrong arguments raise (ArgumentError), at once, and what the
    iterator raised, after the results of what it gave before. Closing the iterator drops the calls under way and
    returns when the block of audio that each thread has in hand is through.
    """
    return _results(_start(jobs, format, **arguments))


def _results(start: _Start) -> Generator[Result, None, None]:
    delivered: SimpleQueue[Delivered] = SimpleQueue()
    run = start(delivered.put)
    try:
        while run.working:
            if (result := run.take(delivered.get())) is not None:
                yield result
    finally:
        run.close()


def transcode_many_async(
    jobs: Iterable[Item], format: FormatName = "wav", **arguments: Unpack[Arguments]
) -> AsyncGenerator[Result, None]:
    """``transcode_many`` for asyncio: the event loop stays free while threads work; a cancelled task stops them.

    The threads are its own, none of the loop's executor.
    """
    return _results_async(_start(jobs, format, **arguments))


async def _results_async(start: _Start) -> AsyncGenerator[Result, None]:
    import asyncio

    loop = asyncio.get_running_loop()
    delivered: asyncio.Queue[Delivered] = asyncio.Queue()

    def deliver(item: Delivered) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(delivered.put_nowait, item)

    run = start(deliver)
    try:
        while run.working:
            if (result := run.take(await delivered.get())) is not None:
                yield result
    finally:
        await _aside(run.close)


async def _aside(wait: Callable[[], None]) -> None:
    """Have a thread of its own wait: those of the loop's executor may all be taken."""
    import asyncio

    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def waiting() -> None:
        wait()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=waiting, name="callreplay-closing", daemon=True)
    thread.start()
    await done.wait()
    thread.join()
