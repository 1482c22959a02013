"""Importing what the splitter hands on: a small capture of each group, on as many cores as are given."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from uuid import UUID

from callreplay.importing.importer import Job, Outcome, import_one
from callreplay.importing.portions import whole
from callreplay.splitting.recovery import discard
from callreplay.splitting.spooling import Closed
from callreplay.store.database import Database

__all__ = ["Filer", "import_group"]

_RETRY_SECONDS: Final = 30.0
_DEATHS: Final = 2
_FAILED: Final = "failed"
_database: dict[str, Database] = {}


def import_group(database: Database, job: Job, one: Closed) -> Outcome:
    """Import the calls of a group, whose files may overlap in time. Does not raise for what captures or volumes do."""
    job = replace(job, drops=one.drops, row=one.row)
    path = None
    try:
        path = whole(one)
        return import_one(database, job, path)
    except OSError as error:
        return Outcome(str(one.note), error=str(error))
    finally:
        if path is not None and path not in one.files:
            path.unlink(missing_ok=True)


def _work(job: Job, one: Closed) -> Outcome:
    """In a worker: the database stays open from group to group."""
    if job.url not in _database:
        _database[job.url] = Database(job.url, size=1)
        _database[job.url].__enter__()
    return import_group(_database[job.url], job, one)


@dataclass(slots=True)
class Filer:
    """Takes groups, has them imported, and removes what is done; what fails for now is tried again.

    ``jobs`` processes do it; with 0 it is done here, one group at each ``poll``. A group that cannot be read, or that
    kills its worker twice, goes to the folder ``failed`` with the reason.
    """

    job: Job
    report: Callable[[Outcome], None] = lambda outcome: None
    jobs: int = 1
    done: int = 0
    added: int = 0
    _interrupted: list[UUID] = field(default_factory=list)
    _pool: ProcessPoolExecutor | None = None
    _queue: list[Closed] = field(default_factory=list)
    _running: dict[Future[Outcome], Closed] = field(default_factory=dict)
    _deaths: dict[Path, int] = field(default_factory=dict)
    _later: list[tuple[float, Closed]] = field(default_factory=list)

    def take(self, one: Closed) -> None:
        """Have a group imported."""
        self._queue.append(one)

    @property
    def waiting(self) -> int:
        """Groups that are not done."""
        return len(self._queue) + len(self._running) + len(self._later)

    def take_interrupted(self) -> list[UUID]:
        """The rows of calls in progress whose packets could not be imported since this was last asked."""
        taken, self._interrupted = self._interrupted, []
        return taken

    def poll(self, seconds: float = 0.0) -> None:
        """See to what is done, and give the workers more; waits up to ``seconds`` for one of them."""
        now = time.monotonic()
        self._queue += [one for when, one in self._later if when <= now]
        self._later = [(when, one) for when, one in self._later if when > now]
        if not self.jobs:
            for one in self._queue[:1]:
                self._queue.remove(one)
                self._settle(one, _work(self.job, one))
            return
        while self._queue and len(self._running) < 2 * self.jobs:
            if not self._submit(self._queue.pop(0)):
                break
        if not self._running:
            return
        for future in wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED).done:
            one = self._running.pop(future)
            try:
                self._settle(one, future.result())
            except BrokenProcessPool:
                self._died(one)

    def _submit(self, one: Closed) -> bool:
        if self._pool is None:
            # spawn: a forked copy of a process with a ring and threads is not a sound start.
            self._pool = ProcessPoolExecutor(self.jobs, mp_context=multiprocessing.get_context("spawn"))
        try:
            self._running[self._pool.submit(_work, self.job, one)] = one
        except BrokenProcessPool:
            self._queue.insert(0, one)
            self._pool = None
            return False
        return True

    def _died(self, one: Closed) -> None:
        """A worker died, with everything that was under way: of several, any may have been the reason."""
        self._pool = None
        deaths = self._deaths[one.note] = self._deaths.get(one.note, 0) + 1
        if deaths > _DEATHS:
            said = "the process that read it died; it may have run out of memory"
            self._settle(one, Outcome(str(one.note), error=said, bad=True))
        else:
            self._queue.append(one)

    def _settle(self, one: Closed, outcome: Outcome) -> None:
        if not outcome.final:
            self._later.append((time.monotonic() + _RETRY_SECONDS, one))
        else:
            self._deaths.pop(one.note, None)
            if outcome.error:
                self._keep(one, outcome.error)
                self._interrupted += [one.row] if one.row is not None else []
            discard(one)
            self.done += 1
            self.added += outcome.added
        self.report(outcome)

    def _keep(self, one: Closed, reason: str) -> None:
        folder = one.note.parent.parent / _FAILED
        folder.mkdir(exist_ok=True)
        for number, path in enumerate(one.files):
            if path.exists():
                shutil.copyfile(path, folder / f"{one.note.stem}-{number}.pcapng")
        (folder / f"{one.note.stem}.reason.txt").write_text(reason + "\n", "utf-8", "replace")

    def finish(self, seconds: float = 3600.0) -> int:
        """Wait until all is done, or tried once more in vain; the groups that are left to the next start."""
        until = time.monotonic() + seconds
        while (self._queue or self._running) and time.monotonic() < until:
            self.poll(0.5)
        return self.waiting

    def close(self) -> None:
        """Let the workers go; what is under way is finished first."""
        for url in list(_database):
            _database.pop(url).__exit__(None, None, None)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
