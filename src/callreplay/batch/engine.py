"""The engine: jobs cut into shares, the shares handed to a crew, rows written as they come.

Whatever dies, of a worker or of the run, outputs that are whole are not made again: a worker's row is in its journal
before its output appears, and the journal is compared with the outputs, by digest, before anything is redone.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import field, replace
from importlib.util import find_spec
from itertools import chain
from math import inf
from pathlib import Path
from typing import Final

from callreplay.batch.crew import Crew, Event, LocalCrew
from callreplay.batch.destinations import Destination, open_destination, place_name
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import (
    MANIFEST,
    ManifestWriter,
    Row,
    check_manifest,
    journal_path,
    journals,
    parquet_path,
    read_rows,
    write_parquet,
)
from callreplay.batch.resume import recover, stands, survey
from callreplay.batch.shards import Shards, Shelf, halves, plan, row_name
from callreplay.batch.summary import BatchError, Summary
from callreplay.batch.worker import LEAST_MEMORY, WORKER_MEMORY, Order, job_key
from callreplay.cores import cores
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError, UnsupportedError
from callreplay.outputs.options import Options

__all__ = ["SHARDS", "BatchSettings", "cut_shares", "plan_of", "run_batch"]

SHARDS: Final = "shards"
_SHARE_JOBS: Final = 512
_SHARE_BYTES: Final = 2 << 30
_SHARES_PER_WORKER: Final = 4  # of what is left; where workers do not stream, of everything
_LEAST_BYTES: Final = 64 << 10  # what a small or unknown input counts as
_DEATHS: Final = 3  # of a job alone with its worker
_PARTS: Final = 8  # of what is left of a share whose worker died


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How a run works. ``max_errors`` rows with errors before it stops.

    ``destination``: a folder, or a URL of an object store. ``workers``, 0: one per core that this process may use.
    ``memory`` octets for all workers together, 0: 512 MiB for each. Less than 128 MiB for each means fewer workers.
    ``speech``: rows tell who talks how long. ``format`` ``shards`` makes a data set of the calls' talk, as ``shards``
    says. ArgumentError for values that are none of these.
    """

    destination: str | os.PathLike[str]
    format: str = "wav"
    options: Options = field(default_factory=Options)
    workers: int = 0
    memory: int = 0
    max_errors: int | None = None
    resume: bool = True
    manifest: str = ""
    speech: bool = False
    shards: Shards = field(default_factory=Shards)

    def __post_init__(self) -> None:
        """Check what no later stage checks."""
        place_name(self.destination)
        for name, value in (("workers", self.workers), ("memory", self.memory)):
            if not isinstance(value, int) or value < 0:
                raise ArgumentError(f"{name} must be a whole number, 0 or more, not {value!r}")

    @property
    def place(self) -> str:
        """The destination as text."""
        return place_name(self.destination)

    def manifest_path(self) -> Path:
        """The manifest: in the destination folder, or in the current one for an object store."""
        if self.manifest:
            return Path(self.manifest)
        return Path(MANIFEST) if "://" in self.place else Path(self.place) / MANIFEST

    def order(self) -> Order:
        """What a worker is to make of every call."""
        memory = self.worker_memory()
        if self.format != SHARDS:
            return Order(self.format, self.options, memory, self.speech)
        return Order(self.format, self.shards.fill(self.options), memory, self.speech, self.shards)

    def worker_count(self) -> int:
        """Workers: as asked, or one per core this process may use, as far as the memory goes."""
        wanted = self.workers or cores()
        return min(wanted, max(1, self.memory // LEAST_MEMORY)) if self.memory else wanted

    def worker_memory(self) -> int:
        """Octets for one worker."""
        return self.memory // self.worker_count() if self.memory else WORKER_MEMORY


def cut_shares(jobs: Sequence[Job], workers: int, *, streams: bool = True) -> Iterator[list[Job]]:
    """Runs of jobs for workers to take.

    ``streams``: workers take on a share before they are through with the last. Then long calls come first and shares
    become ever smaller, so that lanes are full and workers busy to the end. Otherwise a share must fill lanes by
    itself.
    """
    parts = workers * _SHARES_PER_WORKER
    most, left = _SHARE_JOBS, inf
    if streams:
        # By powers of two: within one, captures that lie side by side stay so.
        jobs = sorted(jobs, key=lambda job: -job.size.bit_length())
        left = sum(map(_weight, jobs))
    else:
        most = min(most, max(1, -(-len(jobs) // parts)))
    share: list[Job] = []
    size = 0
    for job in jobs:
        if share and (len(share) >= most or size + _weight(job) > min(_SHARE_BYTES, left / parts)):
            yield share
            left -= size
            share, size = [], 0
        share.append(job)
        size += _weight(job)
    if share:
        yield share


def _weight(job: Job) -> int:
    return max(job.size, _LEAST_BYTES)


def _faulty(job: Job, order: Order, error: str) -> Row:
    """The row of a job that gives no output; one that has an ``error`` was not tried."""
    output = "" if job.error else job.output(1, order.suffix())
    if job.members and order.shards:
        output = row_name(order.shards.kind, job.name, job.members[0].output(1, ""))
        job = job.members[0]
    return Row(job.captures[0], output, 0, job_key(job, order), error=error, finished=time.time())


def run_batch(
    jobs: Sequence[Job],
    settings: BatchSettings,
    *,
    on_start: Callable[[Sequence[Job]], None] = lambda _: None,
    on_row: Callable[[Row], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    crew: Callable[[Order], Crew] | None = None,
) -> Summary:
    """Transcode all jobs; rows go to the manifest and to ``on_row`` as outputs finish.

    ``on_start`` is given the jobs that are not whole already. ``stop`` is asked twice a second; when it says True, the
    calls in flight are finished and the summary says interrupted. ``crew`` makes the workers (Ray's, in a cluster);
    processes if it is not given, which import the caller's script: it calls this below ``if __name__ == "__main__":``.
    Raises BatchError, with the summary, when ``max_errors`` is passed, at once: the manifest says what is whole;
    BatchError without one where processes do not start; ArgumentError, before anything is written, where the manifest
    would be written over a file that is none; UnsupportedError without pyarrow, which writes the manifest's Parquet.
    """
    if not find_spec("pyarrow"):
        raise UnsupportedError("a batch needs pyarrow: pip install 'callreplay[batch]'")
    most_errors = inf if settings.max_errors is None else settings.max_errors
    if most_errors < 0:
        raise ArgumentError(f"max_errors must be 0 or more, not {most_errors}")
    path = settings.manifest_path()
    check_manifest(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workers = settings.worker_count()
    order = settings.order()
    place = _place(settings.place, order)
    began = time.monotonic()
    with ManifestWriter(path, fresh=not settings.resume) as manifest:
        for row in recover(path, place):
            manifest.write(row)
        _remove(journals(path))
        left = _left(jobs, order, path, place, settings.resume)
        todo = [job for job in left if not job.error]
        faulty = (_faulty(job, order, job.error) for job in left if job.error)
        place.sweep([job.name for job in todo])
        on_start([member for job in todo for member in job.members or (job,)])
        summary = Summary(inputs=len(jobs), skipped=len(jobs) - sum(len(job.members) or 1 for job in left))
        chosen = crew(order) if crew else LocalCrew(workers, order, settings.place, path)
        run = _Run(chosen, cut_shares(todo, workers, streams=chosen.streams), order, place, path, stop)
        try:
            for row in chain(faulty, run.rows()):
                manifest.write(row)
                summary.add(row)
                on_row(row)
                if summary.errors > most_errors:
                    break
        finally:
            run.close()
            for row in recover(path, place):
                manifest.write(row)
            _remove(journals(path))
        summary.interrupted = run.interrupted
        summary.elapsed_s = time.monotonic() - began
        write_parquet(path, parquet_path(path))
    if summary.errors > most_errors:
        raise BatchError(f"{summary.errors:,} errors, more than the {most_errors:,} allowed", summary)
    return summary


def plan_of(jobs: Sequence[Job], settings: BatchSettings) -> tuple[Order, Sequence[Job]]:
    """What a run would do: how, and the jobs that are left."""
    order = settings.order()
    place = _place(settings.place, order)
    return order, _left(jobs, order, settings.manifest_path(), place, settings.resume)


def _place(name: str, order: Order) -> Destination:
    place = open_destination(name)
    return Shelf(place, order.shards.kind) if order.shards else place


def _left(
    jobs: Sequence[Job], order: Order, manifest: Path, place: Destination, resume: bool
) -> Sequence[Job]:
    """What is still to do."""
    if isinstance(place, Shelf):
        return plan(jobs, order, manifest, place, resume=resume)
    return survey(jobs, order, manifest, place) if resume else jobs


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Share:
    """A share in flight: its jobs, and the rows that came of each (a job without any call has one of call 0)."""

    jobs: list[Job]
    alone: bool
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.rows.setdefault(row.key, []).append(row)

    def _whole(self, job: Job, order: Order) -> bool:
        rows = self.rows.get(job_key(job, order), [])
        return bool(rows) and len({row.call for row in rows}) >= rows[0].calls

    def left(self, order: Order) -> list[Job]:
        """The jobs that are not done, told to skip their calls that are."""
        left = []
        for job in self.jobs:
            if job.members:  # told of as a whole
                if not all(self._whole(member, order) for member in job.members):
                    left.append(job)
                continue
            rows = self.rows.get(job_key(job, order), [])
            skip = job.skip | {row.call for row in rows}
            if not rows:
                left.append(job)
            elif 0 not in skip and len(skip) < rows[0].calls:
                left.append(replace(job, skip=skip))
        return left


class _Run:
    """Shares handed out and their rows taken in. A share whose worker died is cut up; a job that kills gets a row."""

    def __init__(
        self,
        crew: Crew,
        shares: Iterator[list[Job]],
        order: Order,
        place: Destination,
        manifest: Path,
        stop: Callable[[], bool],
    ) -> None:
        self._crew, self._shares, self._order, self._place = crew, shares, order, place
        self._manifest, self._stop = manifest, stop
        self._again: deque[list[Job]] = deque()
        self._number = 0
        self._running: dict[int, _Share] = {}
        self._deaths: Counter[str] = Counter()
        self._generator = self._work()
        self.interrupted = False

    def rows(self) -> Iterator[Row]:
        """Every row, as its output finishes."""
        return self._generator

    def close(self) -> None:
        """Stop at once, if it is not done, and leave nothing half written."""
        self._generator.close()
        self._place.sweep([job.name for share in self._running.values() for job in share.jobs])

    def _hand_out(self) -> None:
        while self._crew.free(alone=False) and (jobs := next(self._shares, None)):
            self._start(jobs, alone=False)
        # What a worker had when it died comes last, and with a worker to itself: it may be what killed it.
        while self._again and self._crew.free(alone=True):
            self._start(self._again.popleft(), alone=True)

    def _start(self, jobs: list[Job], *, alone: bool) -> None:
        self._number += 1
        self._running[self._number] = _Share(jobs, alone)
        self._crew.start(self._number, jobs, alone=alone)

    def _work(self) -> Generator[Row, None, None]:
        with self._crew as crew:
            while True:
                if not self.interrupted and self._stop():
                    self.interrupted = True
                    crew.finish()
                if not self.interrupted:
                    self._hand_out()
                if not self._running:
                    return
                for event in crew.events(0.5):
                    yield from self._take(event)

    def _take(self, event: Event) -> Iterator[Row]:
        share = self._running[event.share]
        if event.row is not None:
            share.add(event.row)
            yield event.row
        if not event.ended:
            return
        if event.error:
            # What its journal says was whole when it died is not done twice.
            seen = {(row.key, row.output) for rows in share.rows.values() for row in rows}
            for row in read_rows(journal_path(self._manifest, event.share)):
                if (row.key, row.output) not in seen and stands(row, self._place):
                    share.add(row)
                    yield row
            left = share.left(self._order)
            self._place.sweep([job.name for job in left])
            yield from self._after_death(share, left, event.error)
        del self._running[event.share]

    def _after_death(self, share: _Share, left: list[Job], error: str) -> Iterator[Row]:
        """Put the jobs back in parts, until what kills is alone; give up on one that died alone three times."""
        if share.alone and len(share.jobs) == 1:
            if left and len(left[0].members) > 1:
                self._again += [[part] for part in halves(left[0])]
                return
            for job in left:
                self._deaths[job.name] += 1
                if self._deaths[job.name] >= _DEATHS:
                    yield _faulty(job, self._order, error)
                    return
        size = max(1, len(left) // _PARTS)
        self._again += [left[at : at + size] for at in range(0, len(left), size)]
