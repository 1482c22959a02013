"""Importing what the splitter hands on: a small capture of each group, on as many cores as are given."""

from __future__ import annotations

import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from callreplay.cores import begin_worker, start_workers
from callreplay.importing.importer import Job, Outcome, import_several
from callreplay.importing.portions import whole
from callreplay.importing.workers import close_databases, database_of
from callreplay.splitting.recovery import discard
from callreplay.splitting.spooling import Closed
from callreplay.store.database import Database

__all__ = ["Filer", "import_groups"]

_RETRY_SECONDS: Final = 30.0
_DEATHS: Final = 2
_AT_ONCE: Final = 16
_FAILED: Final = "failed"


def import_groups(database: Database, job: Job, groups: Sequence[Closed]) -> list[Outcome]:
    """Import the calls of groups, whose files may overlap in time. Does not raise for what captures or volumes do."""
    outcomes: dict[int, Outcome] = {}
    readable: list[tuple[int, Path]] = []
    try:
        for number, one in enumerate(groups):
            try:
                readable.append((number, whole(one)))
            except OSError as error:
                outcomes[number] = Outcome(str(one.note), error=str(error))
        jobs = [
            (replace(job, drops=groups[number].drops, row=groups[number].row), path)
            for number, path in readable
        ]
        found = import_several(database, jobs) if jobs else []
        outcomes |= {number: outcome for (number, _), outcome in zip(readable, found, strict=True)}
    finally:
        for number, path in readable:
            if path not in groups[number].files:
                path.unlink(missing_ok=True)
    return [outcomes[number] for number in range(len(groups))]


def _work(job: Job, groups: Sequence[Closed]) -> list[Outcome]:
    """In a worker: the database stays open from group to group."""
    return import_groups(database_of(job.url), job, groups)


@dataclass(slots=True)
class Filer:
    """Takes groups, has them imported, and removes what is done; what fails for now is tried again.

    ``jobs`` processes do it, several groups at a time where many wait; with 0 it is done here, one at each ``poll``. A
    group that cannot be read, or that kills its worker twice, goes to the folder ``failed`` with the reason.
    """

    job: Job
    report: Callable[[Outcome], None] = lambda outcome: None
    jobs: int = 1
    done: int = 0
    added: int = 0
    _interrupted: list[UUID] = field(default_factory=list)
    _pool: ProcessPoolExecutor | None = None
    _queue: list[Closed] = field(default_factory=list)
    _running: dict[Future[list[Outcome]], list[Closed]] = field(default_factory=dict)
    _deaths: dict[Path, int] = field(default_factory=dict)
    _later: list[tuple[float, Closed]] = field(default_factory=list)

    def take(self, one: Closed) -> None:
        """Have a group imported."""
        self._queue.append(one)

    @property
    def waiting(self) -> int:
        """Groups that are not done."""
        return len(self._queue) + sum(map(len, self._running.values())) + len(self._later)

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
                self._settle(one, _work(self.job, [one])[0])
            return
        while self._queue and len(self._running) < 2 * self.jobs:
            if not self._submit(self._some()):
                break
        if not self._running:
            return
        for future in wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED).done:
            groups = self._running.pop(future)
            try:
                outcomes = future.result()
            except BrokenProcessPool:
                for one in groups:
                    self._died(one)
            else:
                for one, outcome in zip(groups, outcomes, strict=True):
                    self._settle(one, outcome)

    def _some(self) -> list[Closed]:
        """The next groups for a worker: those that were there when one died alone, of the others a fair share."""
        if self._queue[0].note in self._deaths:
            return [self._queue.pop(0)]
        count = min(_AT_ONCE, max(1, len(self._queue) // self.jobs))
        taken = [one for one in self._queue[:count] if one.note not in self._deaths]
        kept = [one for one in self._queue[:count] if one.note in self._deaths]
        self._queue[:count] = kept
        return taken

    def _submit(self, groups: list[Closed]) -> bool:
        if self._pool is None:
            # spawn: a forked copy of a process with a ring and threads is not a sound start.
            spawning = multiprocessing.get_context("spawn")
            begin = partial(begin_worker, goes_on=True)
            self._pool = ProcessPoolExecutor(self.jobs, mp_context=spawning, initializer=begin)
        try:
            self._running[start_workers(partial(self._pool.submit, _work, self.job, groups))] = groups
        except BrokenProcessPool:
            self._queue[:0] = groups
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

    def finish(self, leave: threading.Event, seconds: float = 3600.0) -> int:
        """Wait until all is done, or tried once more in vain; the groups that are left to the next start.

        Once ``leave`` is set nothing more is begun, however many wait.
        """
        until = time.monotonic() + seconds
        while (self._queue or self._running) and time.monotonic() < until and not leave.is_set():
            self.poll(0.5)
        return self.waiting

    def close(self) -> None:
        """Let the workers go; what is under way is finished first."""
        close_databases()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
