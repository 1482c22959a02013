"""The local engine: shares on every core, each in a process of its own, so that a crash costs one input and no more.

Processes, not threads: putting a call's packets in order is Python's work and would hold the GIL against the others;
the conveyor inside each process then has its lanes to itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from callreplay.batch.destinations import open_destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import MANIFEST, ManifestWriter, Row, read_rows, write_parquet
from callreplay.batch.share import Order, job_key, run_share
from callreplay.errors import CallReplayError
from callreplay.formats import Options

__all__ = ["BatchError", "BatchSettings", "Summary", "cut_shares", "run_batch", "work"]

_SHARE_JOBS: Final = 512
_SHARE_BYTES: Final = 2 << 30
_SHARES_PER_WORKER: Final = 4


class BatchError(CallReplayError):
    """The run stopped early: too many errors."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How a run works. ``memory`` octets for all workers together; ``max_errors`` rows with errors before it stops."""

    destination: str
    format: str = "wav"
    options: Options = field(default_factory=Options)
    workers: int = 0
    memory: int = 2 << 30
    max_errors: int | None = None
    resume: bool = True
    manifest: str = ""

    def manifest_path(self) -> Path:
        """The manifest: in the destination folder, or in the current one for an object store."""
        if self.manifest:
            return Path(self.manifest)
        return Path(MANIFEST) if "://" in self.destination else Path(self.destination) / MANIFEST

    def worker_count(self) -> int:
        """Workers: as asked, or one per core this process may use."""
        return self.workers or len(os.sched_getaffinity(0))


@dataclass(slots=True)
class Summary:
    """What came of a run. ``skipped`` inputs were whole already; ``audio_s`` and ``cpu_s`` of this run's outputs."""

    inputs: int = 0
    outputs: int = 0
    errors: int = 0
    skipped: int = 0
    audio_s: float = 0.0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    interrupted: bool = False

    def add(self, row: Row) -> None:
        """Count a row."""
        if row.error:
            self.errors += 1
        else:
            self.outputs += 1
            self.audio_s += row.duration_s
        self.cpu_s += row.seconds


def work(jobs: Sequence[Job], order: Order, destination: str) -> list[Row]:
    """Run a share in this process and wait for all of it."""
    return list(run_share(jobs, order, open_destination(destination)))


def _ignore_interrupts() -> None:
    # Control-C reaches the whole process group; the workers finish what they have.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def cut_shares(jobs: Sequence[Job], workers: int) -> Iterator[list[Job]]:
    """Runs of jobs that fill lanes and still leave enough shares to keep every worker busy to the end."""
    most = max(1, min(_SHARE_JOBS, -(-len(jobs) // (workers * _SHARES_PER_WORKER))))
    share: list[Job] = []
    size = 0
    for job in jobs:
        if share and (len(share) >= most or size + job.size > _SHARE_BYTES):
            yield share
            share, size = [], 0
        share.append(job)
        size += job.size
    if share:
        yield share


def _finished(manifest: Path, destination: str) -> set[str]:
    """Keys of the jobs whose every output is there and whole, by the manifest and by the outputs' sizes."""
    place = open_destination(destination)
    good: dict[str, dict[str, Row]] = {}
    for row in read_rows(manifest):
        if row.error:
            good.get(row.key, {}).pop(row.output, None)
        else:
            good.setdefault(row.key, {})[row.output] = row
    return {
        key
        for key, rows in good.items()
        if len(rows) == next(iter(rows.values())).calls
        and all(place.size(r.output) == r.size for r in rows.values())
    }


def run_batch(
    jobs: Sequence[Job],
    settings: BatchSettings,
    *,
    on_row: Callable[[Row], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    pool: Callable[[], Any] | None = None,
) -> Summary:
    """Transcode all jobs; rows go to the manifest and to ``on_row`` as they come.

    ``stop`` is asked between shares; when it says True, what is in flight is finished and the summary says interrupted.
    ``pool`` makes the executor (Ray's, in a cluster). Raises BatchError when ``max_errors`` is passed, after writing
    the manifest.
    """
    path = settings.manifest_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    workers = settings.worker_count()
    order = Order(settings.format, settings.options, max(settings.memory // workers, 1))
    done = _finished(path, settings.destination) if settings.resume else set()
    todo = [job for job in jobs if job_key(job, order) not in done]
    summary = Summary(inputs=len(jobs), skipped=len(jobs) - len(todo))
    began = time.monotonic()
    with ManifestWriter(path, fresh=not settings.resume) as manifest:
        for rows in _rows(
            list(cut_shares(todo, workers)), order, settings, pool or _local_pool(workers), stop, summary
        ):
            manifest.write(rows)
            for row in rows:
                summary.add(row)
                if on_row is not None:
                    on_row(row)
            if settings.max_errors is not None and summary.errors > settings.max_errors:
                raise BatchError(f"{summary.errors} errors, more than the {settings.max_errors} allowed")
    summary.elapsed_s = time.monotonic() - began
    write_parquet(read_rows(path), path.with_suffix(".parquet"))
    return summary


def _local_pool(workers: int) -> Callable[[], ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    return lambda: ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)


def _rows(
    shares: list[list[Job]],
    order: Order,
    settings: BatchSettings,
    pool: Callable[[], Any],
    stop: Callable[[], bool],
    summary: Summary,
) -> Iterator[list[Row]]:
    """Rows of all shares as they finish. A share whose worker died is cut up; a job that kills alone gets its row."""
    waiting = list(reversed(shares))
    deaths: Counter[str] = Counter()
    while waiting and not summary.interrupted:
        running: dict[Future[list[Row]], list[Job]] = {}
        broken = False
        with pool() as executor:
            while (waiting or running) and not broken:
                summary.interrupted = summary.interrupted or stop()
                while waiting and not summary.interrupted and len(running) < settings.worker_count() + 1:
                    share = waiting.pop()
                    running[executor.submit(work, share, order, settings.destination)] = share
                if not running:
                    break
                for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                    share = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        broken = True
                        running[future] = share
                        break
        for future, share in running.items():  # the pool broke: all of these ended with it
            if future.done() and not future.cancelled() and future.exception() is None:
                yield future.result()
                continue
            yield from _after_death(share, waiting, deaths, order)


def _after_death(
    share: list[Job], waiting: list[list[Job]], deaths: Counter[str], order: Order
) -> Iterator[list[Row]]:
    """Put the jobs of a share whose worker died back, singly; give up on one that died alone three times."""
    for job in share:
        if len(share) == 1:
            deaths[job.name] += 1
        if deaths[job.name] >= 3:
            key = job_key(job, order)
            yield [
                Row(job.captures[0], "", 0, key, error="the worker process died on it", finished=time.time())
            ]
        else:
            waiting.insert(0, [job])
