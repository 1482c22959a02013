"""Who does the work: a crew takes shares and tells of every row as its output finishes.

The local crew is processes, not threads: putting a call's packets in order is Python's work and would hold the GIL
against the others; the conveyor inside each process then has its lanes to itself. Each process has a pipe of its own,
so that the death of one is known at once, and touches no other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from callreplay.batch.destinations import open_destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row, as_line, journal_path
from callreplay.batch.share import Order, run_share

__all__ = ["Crew", "Event", "LocalCrew"]

Share = list[Job]


@dataclass(frozen=True, slots=True)
class Event:
    """Of share number ``share``: a row, or its end (``ended``), which was a bad one where there is an ``error``."""

    share: int
    row: Row | None = None
    ended: bool = False
    error: str = ""


class Crew(Protocol):
    """Workers that take one share each; a context manager. Left by an exception, they stop at once."""

    def free(self) -> bool:
        """Whether somebody can take a share."""
        ...

    def start(self, share: int, jobs: Share) -> None:
        """Hand out a share under a number."""
        ...

    def finish(self) -> None:
        """Ask everybody to begin no more calls: shares end with what is in flight."""
        ...

    def events(self, seconds: float) -> Iterator[Event]:
        """What has happened, after waiting for it at most so long."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def _end_with_parent() -> None:
    # A worker that outlived a killed run would write beside the next one.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _serve(pipe: Connection, order: Order, destination: str, journal: Path) -> None:
    """A worker process: shares come through the pipe; rows go back, None after the last, or a text if it fell over."""
    # Control-C and a service manager's SIGTERM reach the whole group; the workers finish what they have.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    place = open_destination(destination)
    while (jobs := pipe.recv()) is not None:
        with journal.open("w", encoding="utf-8") as lines:

            def note(row: Row, lines: Any = lines) -> None:
                lines.write(as_line(row))
                lines.flush()

            try:
                for row in run_share(jobs, order, place, note, pipe.poll):
                    pipe.send(row)
                pipe.send(None)
            except Exception as error:
                pipe.send(f"{type(error).__name__}: {error}")


class _Worker:
    def __init__(self, number: int, order: Order, destination: str, manifest: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        journal = journal_path(manifest, number)
        self.process = context.Process(target=_serve, args=(theirs, order, destination, journal), daemon=True)
        self.process.start()
        theirs.close()
        self.share = -1


class LocalCrew:
    """Processes of this machine, each with a journal beside the manifest."""

    def __init__(self, count: int, order: Order, destination: str, manifest: Path) -> None:
        self._arguments = (order, destination, manifest)
        self._count = count
        self._workers: dict[int, _Worker] = {}

    def free(self) -> bool:
        """Whether a process is idle, or may still be started."""
        return len(self._workers) < self._count or any(w.share < 0 for w in self._workers.values())

    def start(self, share: int, jobs: Share) -> None:
        """Hand the share to an idle process, or to a new one."""
        number = next((n for n, worker in self._workers.items() if worker.share < 0), -1)
        if number < 0:
            number = next(n for n in range(self._count) if n not in self._workers)
            self._workers[number] = _Worker(number, *self._arguments)
        worker = self._workers[number]
        worker.share = share
        with contextlib.suppress(OSError):  # it died; the closed pipe says so among the events
            worker.pipe.send(jobs)

    def finish(self) -> None:
        """Send every process what ends it; one at work sees that something waits in its pipe."""
        for worker in self._workers.values():
            with contextlib.suppress(OSError):
                worker.pipe.send(None)

    def events(self, seconds: float) -> Iterator[Event]:
        """Rows and ends from the pipes; a pipe that closes is a death."""
        owners = {w.pipe: n for n, w in self._workers.items() if w.share >= 0}
        for pipe in wait(list(owners), seconds):
            number = owners[pipe]  # type: ignore[index]
            worker = self._workers[number]
            try:
                said = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                worker.pipe.close()
                del self._workers[number]
                yield Event(worker.share, ended=True, error=_death(worker.process.exitcode))
                continue
            if isinstance(said, Row):
                yield Event(worker.share, row=said)
                continue
            share, worker.share = worker.share, -1
            yield Event(share, ended=True, error=said or "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            if kind is None:
                with contextlib.suppress(OSError):
                    worker.pipe.send(None)
            else:
                worker.process.kill()
        for worker in self._workers.values():
            worker.process.join()
            worker.pipe.close()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the worker process died on it ({signal.Signals(-code).name})"
    return f"the worker process died on it (exit code {code})"
