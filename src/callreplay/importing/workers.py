"""Many captures at a time: a process a capture, and what is done where one dies."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing.context import SpawnContext
from pathlib import Path

from callreplay.cores import begin_worker, start_workers
from callreplay.importing.importer import Job, Outcome, Unit, import_unit
from callreplay.importing.rotation import rotations
from callreplay.store import volumes
from callreplay.store.database import Database

__all__ = ["close_databases", "database_of", "import_captures"]

_databases: dict[str, Database] = {}


def database_of(url: str) -> Database:
    """In a worker: a database that stays open from one piece of work to the next."""
    if url not in _databases:
        _databases[url] = Database(url, size=1)
        _databases[url].open()
    return _databases[url]


def close_databases() -> None:
    """Close them, where work was done without workers."""
    for url in list(_databases):
        _databases.pop(url).close()


def import_captures(job: Job, paths: Iterable[Path], jobs: int = 1) -> Iterator[Outcome]:
    """Import captures with ``jobs`` processes; yields the outcome of each as it is done.

    Files of killed imports are settled first. Files of a rotation are read as one capture
    (`callreplay.importing.rotation`).
    """
    units = rotations(paths)
    with Database(job.url, size=2) as database:
        if not job.dry_run:
            with database.connection() as connection:
                volumes.reconcile(connection)
        if jobs <= 1:
            for unit in units:
                yield from import_unit(database, job, unit)
            return
    yield from _in_parallel(job, iter(units), jobs)


def _in_parallel(job: Job, units: Iterator[Unit], jobs: int) -> Iterator[Outcome]:
    # spawn: a forked copy of a process with threads and database connections is not a sound start.
    context = multiprocessing.get_context("spawn")
    while True:
        suspects = yield from _until_broken(job, units, jobs, context)
        if not suspects:
            return
        # A worker died and took the pool with it. Which capture killed it shows when each is read alone; what a
        # killed import left is settled first, so that those which were half done are done whole.
        with Database(job.url, size=1) as database, database.connection() as connection:
            if not job.dry_run:
                volumes.reconcile(connection)
        for unit in suspects:
            alone = yield from _until_broken(job, iter((unit,)), 1, context)
            if alone:
                name, files = (str(unit), 1) if isinstance(unit, Path) else (str(unit[0].path), len(unit))
                said = "the process that read it died; it may have run out of memory"
                yield Outcome(name, files, error=said)


def _until_broken(
    job: Job, units: Iterator[Unit], jobs: int, context: SpawnContext
) -> Generator[Outcome, None, list[Unit]]:
    """Import until ``units`` are through or a worker dies; returns the captures under way when one did."""
    broken: list[Unit] = []
    begin = partial(begin_worker, goes_on=False)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=begin) as pool:
        running: dict[Future[list[Outcome]], Unit] = {}
        wanted = 2 * jobs
        while True:
            for unit in islice(units, 0 if broken else wanted - len(running)):
                try:
                    running[start_workers(partial(pool.submit, _work, job, unit))] = unit
                except BrokenProcessPool:
                    broken.append(unit)
                    break
            if not running:
                return broken
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                try:
                    outcomes = future.result()
                except BrokenProcessPool:
                    broken.append(unit)
                else:
                    yield from outcomes


def _work(job: Job, unit: Unit) -> list[Outcome]:
    return list(import_unit(database_of(job.url), job, unit))
