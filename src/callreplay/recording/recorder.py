"""The loop of a recorder: packets into spools, spools to the disk at an interval, closed ones to the workers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callreplay.errors import CaptureError
from callreplay.importing.importer import Job, Outcome
from callreplay.recording.filer import Filer
from callreplay.recording.progress import Progress
from callreplay.recording.sources import Share, Source, Stream, wait
from callreplay.splitting import recovery
from callreplay.splitting.spooling import Closed, Limits, Spooler
from callreplay.store import volumes
from callreplay.store.database import Database

__all__ = ["Figures", "Recorder"]

_log = logging.getLogger(__name__)
_PATIENCE: Final = 0.1
_GATHER_SECONDS: Final = 60.0


@dataclass(slots=True)
class Figures:
    """What a recorder has seen so far."""

    packets: int = 0
    drops: int = 0
    groups: int = 0
    added: int = 0
    waiting: int = 0
    in_progress: int = 0


@dataclass(slots=True)
class Recorder:
    """Records from ``sources`` into the database of ``job``.

    Args:
        sources: what to take packets from.
        job: where calls go.
        spools: the folder of spools; one recorder at a time.
        flush_seconds: how often spools are written and synced: what is older survives a kill and a loss of power.
        jobs: processes that import.
        limits: when calls are over.
        report: called with the outcome of each group.

    """

    sources: Sequence[Source]
    job: Job
    spools: Path
    flush_seconds: float = 1.0
    jobs: int = 1
    limits: Limits = field(default_factory=Limits)
    report: Callable[[Outcome], None] = lambda outcome: None
    figures: Figures = field(default_factory=Figures)
    warn: Callable[[str], None] = lambda text: None

    def run(self, stop: threading.Event, leave: threading.Event | None = None) -> None:
        """Record until the sources end or ``stop`` is set, then file everything.

        ``leave``: what goes on stays in the spools, and the next start goes on with it. Raises OutputError where
        another recorder has the folder; CaptureError, once all is filed, where a stream is damaged.
        """
        leave = leave or threading.Event()
        with recovery.locked(self.spools):
            with Database(self.job.url, size=1) as database, database.connection() as connection:
                volumes.reconcile(connection)
            filer = Filer(self.job, self.report, self.jobs)
            progress = Progress(self.job, recovery.identity(self.spools), str(self.spools.resolve()))

            def closed(one: Closed) -> None:
                progress.handed_on(one.row)
                filer.take(one)

            spooler = recovery.start(self.spools, closed, self.limits, progress.open())
            progress.note(spooler, spooler.board.rows.values())
            spooler.board.rows.clear()
            for source in self.sources:
                source.begin(spooler, self.flush_seconds)
            try:
                fault = self._record(spooler, filer, progress, stop, leave)
                if not leave.is_set():
                    spooler.finish()
                    self._gather(spooler)
                spooler.flush()
                progress.note(spooler)
                filer.finish(leave)
            finally:
                filer.close()
                filer.poll()
                self._count(spooler, filer)
                progress.note(spooler, filer.take_interrupted())
                progress.close()
                spooler.shut()
        if fault is not None:
            raise fault

    def _record(
        self,
        spooler: Spooler,
        filer: Filer,
        progress: Progress,
        stop: threading.Event,
        leave: threading.Event,
    ) -> CaptureError | None:
        live = list(self.sources)
        clocked = not any(isinstance(source, Stream) for source in live)
        due = time.monotonic() + self.flush_seconds
        while live and not stop.is_set() and not leave.is_set():
            for source in wait(live, min(_PATIENCE, self.flush_seconds)):
                try:
                    if not source.pump(spooler):
                        live.remove(source)
                except CaptureError as error:
                    return error
            if time.monotonic() >= due:
                self._beat(spooler, filer, progress, clocked)
                due = time.monotonic() + self.flush_seconds
            filer.poll()
        return None

    def _gather(self, spooler: Spooler) -> None:
        """Wait until the workers have written what they have of the calls that are handed on."""
        until = time.monotonic() + _GATHER_SECONDS
        while spooler.far.closing and time.monotonic() < until:
            for source in wait([each for each in self.sources if isinstance(each, Share)], _PATIENCE):
                source.pump(spooler)

    def _beat(self, spooler: Spooler, filer: Filer, progress: Progress, clocked: bool) -> None:
        """What is done once an interval."""
        for source in self.sources:
            drops = source.drops()
            if drops:
                self.figures.drops += drops
                spooler.dropped(drops)
                self.warn(
                    f"{source.name}: the kernel dropped {drops} packets; a larger ring (--ring) holds more"
                )
            for text in source.warnings() if isinstance(source, Share) else ():
                self.warn(f"{source.name}: {text}; packets wait in memory")
        if clocked:  # of a wire the clock goes on where no packet comes; a file's stands still with it
            spooler.sweep(max(time.time_ns(), spooler.splitter.last_ns))
        try:
            spooler.flush()
        except OSError as error:
            self.warn(f"{self.spools}: {error.strerror}; packets wait in memory")
        else:
            progress.note(spooler, filer.take_interrupted())
        self._count(spooler, filer)

    def _count(self, spooler: Spooler, filer: Filer) -> None:
        figures = self.figures
        far = spooler.far
        figures.packets = spooler.splitter.counters()["records"] - far.fed + sum(far.packets.values())
        figures.groups, figures.added, figures.waiting = spooler.groups, filer.added, filer.waiting
        figures.in_progress = len(spooler.board.groups)
