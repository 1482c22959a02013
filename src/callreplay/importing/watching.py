"""Watching a folder: captures are imported as they are finished, then moved away, deleted or left as told.

A file is finished when it has come to rest: a writer may close and reopen it, so what counts is that size and
modification time stay the same for a while; a file that grows is left alone. A file renamed into the folder is whole
already and only has to pass the same test once. Bad captures go to the folder of failures with a note of the reason.
What was done is known by the database and by where the file is, so a restart needs no memory: a capture that was
imported but not yet moved when the process died is read again and adds nothing.

Files of a rotation are read together. Where a call goes on at the end of the last, the files that hold it stay until
the next is there, or until none has come for ``linger_seconds``; what was filed of them is noted in a hidden file
beside them (`callreplay.importing.rotation.Carry`), before any is put away.

One thread sweeps, and everything of a ``Watch`` is its own; nothing is locked. What other programs do to the folder
meanwhile is what each step looks out for:

- A file's size and time are taken before it is read and again after. Where they differ it grew under our hands: what
  was filed stays, and the file is read again when it rests.
- The order is: calls are committed, then the note of the rotation is written and synced, then files are put away.
  Killed between any two, the next start reads files again whose calls are filed, which adds nothing; never is a file
  put away whose calls are not filed.
- A fault that is not the capture's (a full volume, a database that is gone) leaves the file and puts it off for a
  minute; volumes are settled with the database (``volumes.reconcile``) before anything of the kind is tried again.
- Events of the folder only wake the sweep. It believes what it sees there, so a lost event costs a moment.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from callreplay.errors import ArgumentError
from callreplay.importing import portions, rotation
from callreplay.importing.importer import Job, Outcome, import_run, import_unit
from callreplay.importing.rotation import Carry, Member
from callreplay.importing.turning import Turning
from callreplay.model import INDEX_SUFFIX
from callreplay.outputs.atomic import AtomicFile
from callreplay.store import volumes
from callreplay.store.database import Database
from callreplay.store.journal import FOLDER

__all__ = ["AFTER", "Watch"]

AFTER: Final = ("move", "delete", "keep")

_REASON_SUFFIX: Final = ".reason.txt"
_TEMPORARY: Final = (".part", ".tmp", ".partial", ".filepart", ".crdownload", _REASON_SUFFIX, INDEX_SUFFIX)
_RETRY_SECONDS: Final = 60.0
_LONGEST_LINGER: Final = 600.0
_IDLE_PACE: Final = 40  # seconds of rest for one of looking: 2.5 % of a core
_STATE: Final = ".callreplay-watch.json"


@dataclass(slots=True)
class _Seen:
    size: int
    modified_ns: int
    since: float


@dataclass(slots=True)
class _Run:
    """A rotation under way: what its last reading left, and the names of the files that stay for it, in order.

    The last of them tells of ``last_seconds``.
    """

    carry: Carry = field(default_factory=Carry)
    staying: list[str] = field(default_factory=list)
    last_seconds: float = 0.0


@dataclass(slots=True)
class _Idle:
    """Sweeps that find nothing to do take a small share of a core, however many files there are to look at."""

    busy: bool = False
    until: float = 0.0

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether it is time for a sweep; the block is the sweep."""
        if time.monotonic() < self.until:
            yield False
            return
        self.busy, began = False, time.thread_time()
        yield True
        cost = time.thread_time() - began
        self.until = 0.0 if self.busy else time.monotonic() + cost * _IDLE_PACE


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
        linger_seconds: how long the next file of a rotation is waited for where a call goes on; if not given, twice
            as long as the last file tells of, 10 minutes at most.
    """

    folder: Path
    job: Job
    after: str = "move"
    done: Path | None = None
    failed: Path | None = None
    settle_seconds: float = 2.0
    linger_seconds: float | None = None
    _runs: dict[str, _Run] = field(default_factory=dict)
    _turnings: dict[str, Turning] = field(default_factory=dict)
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _kept: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _later: dict[Path, float] = field(default_factory=dict)
    _names: dict[Path, str] = field(default_factory=dict)
    _unsettled: float = 0.0

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
        self._runs = _load(self.folder / _STATE)
        if once:
            self.linger_seconds = 0.0
        try:
            self._watch(stop, report, once)
        finally:
            for name in list(self._turnings):
                self._end_turning(name)

    def _watch(self, stop: threading.Event, report: Callable[[Outcome], None], once: bool) -> None:
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
            idle = _Idle()

            def told(outcome: Outcome) -> None:
                idle.busy = True
                report(outcome)

            for _ in watch(
                self.folder,
                stop_event=stop,
                rust_timeout=pause_ms,
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                with idle.turn() as due:
                    if due:
                        self._sweep(database, told, stop)

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
        if path not in self._kept:
            return False
        try:
            state = path.stat()
        except OSError:
            return False
        return self._kept.get(path) == (state.st_size, state.st_mtime_ns)

    def _sweep(self, database: Database, report: Callable[[Outcome], None], stop: threading.Event) -> None:
        """Import what has come to rest."""
        if self._unsettled and time.monotonic() >= self._unsettled:
            # The database was gone in the middle of a call, perhaps: before that call is tried again.
            try:
                with database.connection() as connection:
                    volumes.reconcile(connection)
            except (psycopg.Error, OSError):
                self._unsettled = time.monotonic() + _RETRY_SECONDS
                for path, until in self._later.items():
                    self._later[path] = max(until, self._unsettled)
                return
            self._unsettled = 0.0
        present = list(self._files())
        turning = self._turning(present)
        for path in present:
            if stop.is_set():
                return
            if path in turning:
                group = turning[path]
                if path == group[-1]:  # looked at once, when every one of them has been seen
                    self._import_group(database, group, report, stop)
                continue
            if self._is_kept(path) or time.monotonic() < self._later.get(path, 0.0) or not self._rests(path):
                continue
            self._import(database, path, report)
        here = set(present)
        for known in (self._seen, self._later, self._names):
            for path in known.keys() - here:
                known.pop(path, None)

    def _turning(self, present: list[Path]) -> dict[Path, list[Path]]:
        """The files that may be of a rotation, each with all of its kind: by their names, or for having company."""
        groups: dict[str, list[Path]] = {}
        for path in present:
            if path not in self._names:
                found = rotation.key(path)
                self._names[path] = "" if found is None else self._name(found[0], found[1])
            name = self._names[path]
            if name and not self._is_kept(path):
                groups.setdefault(name, []).append(path)
        return {
            path: group
            for name, group in groups.items()
            if len(group) > 1 or "\0" in name or name in self._runs or _numbered(group[0])
            for path in group
        }

    def _name(self, folder: Path, constant: str) -> str:
        return str(folder.relative_to(self.folder) / constant)

    def _import_group(
        self, database: Database, group: list[Path], report: Callable[[Outcome], None], stop: threading.Event
    ) -> None:
        """Import what has come to rest of a rotation; the calls that go on at its end only when no file will follow."""
        if any(time.monotonic() < self._later.get(path, 0.0) for path in group):
            return
        resting = [path for path in group if self._rests(path)]
        if not resting:
            return
        found = rotation.key(group[0])
        assert found is not None
        name = self._name(*found[:2])
        state = self._runs.get(name, _Run())
        whole = len(resting) == len(group)
        names, staying = {path.name for path in resting}, set(state.staying)
        if staying - names and staying <= {path.name for path in group}:
            return  # after a restart each of them has to be seen at rest again
        if names == staying and not (whole and self._lingered(resting, state.last_seconds)):
            return
        members = rotation.members(resting)
        alone = set(resting) - {member.path for member in members}
        for path in sorted(alone):
            self._import(database, path, report)
        found_runs = rotation.runs(members)
        for run in found_runs:
            if stop.is_set():
                return
            seconds = 1e-9 * (run[-1].last_ns - run[-1].first_ns)
            final = run is not found_runs[-1] or (whole and self._lingered(resting, seconds))
            if len(run) == 1 and final and not state.staying:
                self._import(database, run[0].path, report)
            elif not self._import_run(database, name, run, final, report):
                return

    def _lingered(self, resting: list[Path], last_seconds: float) -> bool:
        """Whether the next file of a rotation has been waited for long enough."""
        wanted = self.linger_seconds
        if wanted is None:
            wanted = min(2 * last_seconds, _LONGEST_LINGER)
        try:
            since = max(self._seen[path].since for path in resting if path in self._seen)
            written = max(path.stat().st_mtime for path in resting)
        except (OSError, ValueError):
            return False
        return min(time.monotonic() - since, time.time() - written) >= wanted

    def _import_run(
        self,
        database: Database,
        name: str,
        run: tuple[Member, ...],
        final: bool,
        report: Callable[[Outcome], None],
    ) -> bool:
        """Import a run of files and put away those that no call needs any more; False where it stopped."""
        state = self._runs.get(name, _Run())
        names = [member.path.name for member in run]
        # Files that stayed for a call must still be there, or what was read of them says nothing of these.
        known = len(state.staying) if state.staying and names[: len(state.staying)] == state.staying else 0
        carry, away = state.carry if known else Carry(), 0
        try:
            before = [member.path.stat() for member in run]
        except FileNotFoundError:
            return False
        for outcome, left, needed in self._read_run(database, name, run, carry, known, final):
            if not outcome.final:
                self._end_turning(name)
                self._unsettled = time.monotonic() + _RETRY_SECONDS
                for member in run:
                    self._later[member.path] = self._unsettled
                report(outcome)
                return False
            try:
                grown = any(
                    (state_then.st_size, state_then.st_mtime_ns)
                    != ((now := member.path.stat()).st_size, now.st_mtime_ns)
                    for state_then, member in zip(before[away:], run[away:], strict=True)
                )
            except FileNotFoundError:
                grown = True
            if grown:
                self._end_turning(name)
                return False
            seconds = 1e-9 * (run[-1].last_ns - run[-1].first_ns)
            self._remember(name, _Run(left, names[needed:], seconds))
            for member, status in zip(run[away:needed], before[away:needed], strict=True):
                try:
                    self._put_away(
                        member.path,
                        Outcome(str(member.path), error=outcome.error),
                        (status.st_size, status.st_mtime_ns),
                    )
                except OSError as error:
                    outcome.warnings.append(f"cannot be put away: {error}")
                    self._later[member.path] = time.monotonic() + _RETRY_SECONDS
            away = max(away, needed)
            report(outcome)
        return True

    def _read_run(
        self, database: Database, name: str, run: tuple[Member, ...], carry: Carry, known: int, final: bool
    ) -> Iterator[tuple[Outcome, Carry, int]]:
        """Read what is new of a rotation: large ones are split by call as their files come, others read at once."""
        turning = self._turnings.get(name)
        if turning is None and not portions.is_large([member.path for member in run]):
            yield from import_run(database, self.job, run, carry, known, final=final)
            return
        if turning is None or not turning.goes_on_with([member.path.name for member in run]):
            self._end_turning(name)
            turning = self._turnings[name] = Turning(carry)
        done = turning.feed(database, self.job, run, final=final)
        if final:
            self._end_turning(name)
        yield done

    def _end_turning(self, name: str) -> None:
        turning = self._turnings.pop(name, None)
        if turning is not None:
            turning.close()

    def _remember(self, name: str, run: _Run) -> None:
        """Note, durably, what a reading left, before files are put away."""
        self._runs.pop(name, None)
        if run.staying:
            self._runs[name] = run
        path = self.folder / _STATE
        if not self._runs:
            path.unlink(missing_ok=True)
            return
        content = {
            name: {
                "until": run.carry.until_ns,
                "waiting": sorted(run.carry.waiting),
                "staying": run.staying,
                "seconds": run.last_seconds,
            }
            for name, run in self._runs.items()
        }
        with AtomicFile(path) as file:
            file.write(json.dumps(content).encode("ascii"))

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
        (outcome,) = import_unit(database, self.job, path)
        try:
            after = path.stat()
        except FileNotFoundError:
            report(outcome)
            return
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            # It grew under the reader's hands after all: the calls filed so far are whole, the rest comes later.
            self._seen.pop(path, None)
            return
        if not outcome.final:
            # A full volume or an absent database is not the capture's fault: it stays, and is tried again.
            self._unsettled = self._later[path] = time.monotonic() + _RETRY_SECONDS
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


def _load(path: Path) -> dict[str, _Run]:
    """What a watch before this one noted; nothing where there is no note, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="ascii"))
        return {
            str(name): _Run(
                Carry(
                    int(run["until"]),
                    frozenset((str(call), int(start)) for call, start in run["waiting"]),
                ),
                [str(member) for member in run["staying"]],
                float(run["seconds"]),
            )
            for name, run in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _numbered(path: Path) -> bool:
    found = rotation.key(path)
    return (found is not None and found[2] > 0) or path.name[-1].isdigit()
