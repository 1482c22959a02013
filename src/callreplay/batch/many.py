"""``transcode_many``: a batch inside somebody else's program: threads, results as they finish, sync and async."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from callreplay.batch.destinations import Memory, open_destination
from callreplay.batch.engine import cut_shares
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.batch.share import Order, run_share
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


def _share(jobs: list[Job], order: Order, destination: str) -> list[Result]:
    if destination:
        return [Result(row, None) for row in run_share(jobs, order, open_destination(destination))]
    memory = Memory()
    return [Result(row, memory.files.pop(row.output, None)) for row in run_share(jobs, order, memory)]


def transcode_many(
    jobs: Iterable[Job | str | os.PathLike[str]],
    format: str = "wav",
    *,
    destination: str = "",
    workers: int = 0,
    memory: int = 1 << 30,
    **options: Any,
) -> Iterator[Result]:
    """Transcode captures and give each result as it finishes, in no fixed order.

    ``jobs`` are captures (paths) or ``Job``s; ``options`` the fields of ``formats.Options``. Without ``destination``
    the bytes are in the results. Errors are results too; only wrong arguments raise (ArgumentError).
    """
    count = workers or len(os.sched_getaffinity(0))
    order = Order(format, Options.of(options), max(memory // count, 1))
    order.suffix()
    shares = list(cut_shares([_as_job(item, number) for number, item in enumerate(jobs, 1)], count))
    return _results(shares, order, destination, count)


def _results(shares: list[list[Job]], order: Order, destination: str, workers: int) -> Iterator[Result]:
    waiting = list(reversed(shares))
    running: set[Future[list[Result]]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="callreplay") as executor:
        while waiting or running:
            while waiting and len(running) <= workers:
                running.add(executor.submit(_share, waiting.pop(), order, destination))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()


async def transcode_many_async(
    jobs: Iterable[Job | str | os.PathLike[str]], format: str = "wav", **arguments: Any
) -> AsyncIterator[Result]:
    """``transcode_many`` for asyncio: the event loop stays free while threads work."""
    results = transcode_many(jobs, format, **arguments)
    while (result := await asyncio.to_thread(next, results, None)) is not None:
        yield result
