"""Watching a folder: captures are imported as they are finished, then moved away, deleted or left as told.

A file is finished when it has come to rest: a writer may close and reopen it, so what counts is that size and
modification time stay the same for a while; a file that grows is left alone. A file renamed into the folder is whole
already and only has to pass the same test once. Bad captures go to the folder of failures with a note of the reason.
What was done is known by the database and by where the file is, so a restart needs no memory: a capture that was
imported but not yet moved when the process died is read again and adds nothing.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callreplay.calls import volumes
from callreplay.calls.database import Database
from callreplay.calls.importer import Job, Outcome, import_one
from callreplay.calls.journal import FOLDER
from callreplay.errors import ArgumentError
from callreplay.recording import INDEX_SUFFIX

__all__ = ["AFTER", "Watch"]

AFTER: Final = ("move", "delete", "keep")

_REASON_SUFFIX: Final = ".reason.txt"
_TEMPORARY: Final = (".part", ".tmp", ".partial", ".filepart", ".crdownload", _REASON_SUFFIX, INDEX_SUFFIX)
_RETRY_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Seen:
    size: int
    modified_ns: int
    since: float


@dataclass(slots=True)
class Watch:
    """A folder being watched.

    Args:
        folder: where captures arrive; its subfolders are watched too.
        job: how to import.
        after: ``move`` to ``done``, ``delete``, or ``keep`` where they are.
        done: folder for imported captures (``move``); FOLDER/done if not given.
        failed: folder for bad ones, each with ``NAME.reason.txt``; FOLDER/failed if not given.
        settle_seconds: how long a file must rest before it counts as finished.
    """

    folder: Path
    job: Job
    after: str = "move"
    done: Path | None = None
    failed: Path | None = None
    settle_seconds: float = 2.0
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _kept: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _later: dict[Path, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ArgumentError(f"{self.folder}: not a folder")
        if self.after not in AFTER:
            raise ArgumentError(f"after: one of {', '.join(AFTER)}, not {self.after!r}")
        if self.settle_seconds <= 0:
            raise ArgumentError("settle: a number of seconds above 0")
        self.folder = self.folder.resolve()
        self.done = (self.done or self.folder / "done").resolve()
        self.failed = (self.failed or self.folder / "failed").resolve()
        for target in (self.done, self.failed):
            if target == self.folder:
                raise ArgumentError(f"{target}: done and failed captures need a folder of their own")

    def run(
        self,
        stop: threading.Event,
        report: Callable[[Outcome], None] = lambda outcome: None,
        once: bool = False,
    ) -> None:
        """Watch until ``stop`` is set; with ``once`` only until everything there now is imported.

        ``report`` is called with the outcome of every capture.
        """
        from watchfiles import watch

        with Database(self.job.url, size=2) as database:
            with database.connection() as connection:
                volumes.reconcile(connection)
            self._sweep(database, report, stop)
            if once:
                while not stop.is_set() and self._waiting():
                    stop.wait(min(self.settle_seconds / 4, 0.5))
                    self._sweep(database, report, stop)
                return
            # Changes only wake us; the sweep looks at the folder itself, so an event that was lost costs a moment.
            pause_ms = int(max(50, min(self.settle_seconds * 500, 1000)))
            for _ in watch(
                self.folder,
                stop_event=stop,
                rust_timeout=pause_ms,
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                self._sweep(database, report, stop)

    def _files(self) -> Iterator[Path]:
        assert self.done is not None
        assert self.failed is not None
        for base, folders, names in os.walk(self.folder):
            here = Path(base)
            folders[:] = [
                name
                for name in sorted(folders)
                if not name.startswith(".") and here / name not in (self.done, self.failed) and name != FOLDER
            ]
            for name in sorted(names):
                if not name.startswith(".") and not name.endswith(_TEMPORARY):
                    yield here / name

    def _waiting(self) -> bool:
        """Whether files are there that are neither imported nor put off."""
        return any(path not in self._later and not self._is_kept(path) for path in self._files())

    def _is_kept(self, path: Path) -> bool:
        try:
            state = path.stat()
        except OSError:
            return False
        return self._kept.get(path) == (state.st_size, state.st_mtime_ns)

    def _sweep(self, database: Database, report: Callable[[Outcome], None], stop: threading.Event) -> None:
        """Import what has come to rest."""
        present: set[Path] = set()
        for path in self._files():
            present.add(path)
            if stop.is_set():
                return
            if self._is_kept(path) or time.monotonic() < self._later.get(path, 0.0) or not self._rests(path):
                continue
            self._import(database, path, report)
        for known in (self._seen, self._later):
            for path in [path for path in known if path not in present]:
                del known[path]

    def _rests(self, path: Path) -> bool:
        try:
            state = path.stat()
        except FileNotFoundError:
            return False
        seen = self._seen.get(path)
        now = time.monotonic()
        if seen is None or (seen.size, seen.modified_ns) != (state.st_size, state.st_mtime_ns):
            self._seen[path] = _Seen(state.st_size, state.st_mtime_ns, now)
            # At the first sight of a file that was last written long ago there is nothing to wait for.
            return (
                seen is None
                and state.st_size > 0
                and time.time() - state.st_mtime > max(self.settle_seconds, 1.0)
            )
        return state.st_size > 0 and now - seen.since >= self.settle_seconds

    def _import(self, database: Database, path: Path, report: Callable[[Outcome], None]) -> None:
        try:
            before = path.stat()
        except FileNotFoundError:
            return
        outcome = import_one(database, self.job, path)
        try:
            after = path.stat()
        except FileNotFoundError:
            report(outcome)
            return
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            # It grew under the reader's hands after all: the calls filed so far are whole, the rest comes later.
            self._seen.pop(path, None)
            return
        if outcome.error and not outcome.bad:
            # A full volume or an absent database is not the capture's fault: it stays, and is tried again.
            self._later[path] = time.monotonic() + _RETRY_SECONDS
        else:
            try:
                self._put_away(path, outcome, (after.st_size, after.st_mtime_ns))
            except OSError as error:
                # Taken away by another, or nowhere to put it: the calls are filed, the watch goes on.
                outcome.warnings.append(f"cannot be put away: {error}")
                self._later[path] = time.monotonic() + _RETRY_SECONDS
        report(outcome)

    def _put_away(self, path: Path, outcome: Outcome, state: tuple[int, int]) -> None:
        assert self.done is not None
        assert self.failed is not None
        self._seen.pop(path, None)
        self._later.pop(path, None)
        if outcome.error:
            target = self._move(path, self.failed)
            target.with_name(target.name + _REASON_SUFFIX).write_text(
                outcome.error + "\n", encoding="utf-8", errors="replace"
            )
        elif self.after == "delete":
            path.unlink()
        elif self.after == "move":
            self._move(path, self.done)
        else:
            self._kept[path] = state

    def _move(self, path: Path, target: Path) -> Path:
        """Move into ``target`` under the same relative name, numbered where that is taken."""
        goal = target / path.relative_to(self.folder)
        goal.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while goal.exists():
            goal = goal.with_name(f"{path.stem}.{number}{path.suffix}")
            number += 1
        shutil.move(path, goal)
        return goal
