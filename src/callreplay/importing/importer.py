"""Importing captures: every call of every file, filed once.

One worker process per job; a capture is read and filed by one worker, call by call, so memory does not grow with the
number of calls. What cannot be imported is a line of the outcome, never an exception out of a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from callreplay.clock import moment
from callreplay.errors import CallReplayError, CaptureError
from callreplay.importing import portions, reading
from callreplay.importing.ahead import ReadAhead
from callreplay.importing.filing import CallRecord, CaptureRows, Filed, identity
from callreplay.importing.rotation import Carry, Member, again, begins, pending, settled, window
from callreplay.importing.rules import Rules
from callreplay.importing.together import Done, Together
from callreplay.store import accounts, progress, records
from callreplay.store.database import Database
from callreplay.store.rows import clean_text, clean_time
from callreplay.store.volumes import VolumeFullError

__all__ = [
    "Job",
    "Outcome",
    "Unit",
    "import_one",
    "import_portions",
    "import_portions_of",
    "import_run",
    "import_several",
    "import_unit",
]

Unit = Path | tuple[Member, ...]
"""A capture, or the files of a rotation."""

_log = logging.getLogger(__name__)

_MOST_WARNINGS = 100
"""Of a capture that is split up: each of its calls may have some."""
_OWN_FAULTS = (
    psycopg.DataError,
    psycopg.errors.CheckViolation,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
)
"""What is wrong with one call; a full volume or an absent database is wrong with all of them."""


@dataclass(frozen=True, slots=True)
class Job:
    """How to import: database, tenant, where to and under which clock's names."""

    url: str
    tenant_id: int
    zone: str = "UTC"
    volume: int | None = None
    dry_run: bool = False
    source: str = ""
    """What calls say that they were captured from; the file, if empty."""
    rules: Rules | None = None
    """Which calls are kept; all of them if not given."""
    speech: bool = False
    """Whether who talks how long is found out; every call is decoded for that."""
    drops: int = 0
    """Packets that the kernel dropped while a call was recorded, for its quality."""
    row: UUID | None = None
    """That of the call while it was in progress: it becomes that of the first call that signalling tells of."""


@dataclass(slots=True)
class Outcome:
    """What became of one capture, or of ``files`` files of a rotation, named by the first.

    ``calls`` are JSON-ready lines; ``error`` is '' unless the capture failed.

    ``bad`` tells a capture that cannot be read (the input's fault) from a failure of ours (a full volume, say).
    """

    capture: str
    files: int = 1
    calls: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    bad: bool = False
    octets: int = 0
    lost: list[str] = field(default_factory=list)
    """A line for each call that could not be filed for what it is, though the others were."""

    @property
    def final(self) -> bool:
        """Whether to read the capture again would change nothing."""
        return not self.error or self.bad or bool(self.lost)

    @property
    def added(self) -> int:
        """Calls that the database did not have."""
        return sum(call["added"] for call in self.calls)

    def figures(self) -> dict[str, Any]:
        """What of it is counted (`callreplay.store.activity.note`)."""
        return {"failed": bool(self.error), "calls": self.added, "warnings": len(self.warnings)}


def import_unit(database: Database, job: Job, unit: Unit) -> Iterator[Outcome]:
    """Import a capture, or the files of a rotation as one."""
    paths = [unit] if isinstance(unit, Path) else [member.path for member in unit]
    if portions.is_large(paths):
        yield import_portions(database, job, paths)
        return
    if isinstance(unit, Path):
        yield import_one(database, job, unit)
        return
    for outcome, _, _ in import_run(database, job, unit):
        yield outcome


def import_portions(database: Database, job: Job, paths: Sequence[Path]) -> Outcome:
    """Import a large capture, or the files of a rotation, split by call as it is read. Raises nothing."""
    with portions.fed() as feeder:
        return import_portions_of(database, job, paths, feeder, Carry(), feed=paths, final=True)


def import_portions_of(
    database: Database,
    job: Job,
    paths: Sequence[Path],
    feeder: portions.Feeder,
    carry: Carry,
    *,
    feed: Sequence[Path],
    final: bool,
) -> Outcome:
    """Import what is over once ``feeder`` has split ``feed``, all of it where ``final``; an outcome of ``paths``.

    Calls that ``carry`` says were dealt with are passed over. Raises nothing.
    """
    outcome = Outcome(str(paths[0]), len(paths))
    job = replace(job, source=job.source or reading.named(paths))

    together = _together(database, job)
    under_way: list[Outcome] = []

    def gather() -> bool:
        """What became of captures whose calls are filed; whether to go on."""
        goes_on = True
        for one in under_way:
            outcome.calls += one.calls
            told = [text for text in one.warnings if text not in outcome.warnings]
            outcome.warnings += told[: max(0, _MOST_WARNINGS - len(outcome.warnings))]
            outcome.lost += one.lost
            if one.error and not one.lost and not outcome.error:
                outcome.error, outcome.bad = one.error, one.bad
            goes_on = goes_on and one.final and not one.bad
        under_way.clear()
        return goes_on

    def take(path: Path) -> bool:
        under_way.append(_import(database, job, (path,), carry, (), final=True, together=together)[0])
        return together.waiting > 0 or gather()

    feeder.take = take
    try:
        outcome.octets = sum(path.stat().st_size for path in paths)
        feeder.feed(feed, outcome.warnings, named=len(paths) > 1)
        if final:
            feeder.finish(outcome.warnings)
    except portions.AbandonedError:
        pass
    except Exception as error:
        _blame(outcome, error)
    together.flush()
    gather()
    _tell_lost(outcome)
    return outcome


def _together(database: Database, job: Job) -> Together:
    return Together(database, job.tenant_id, accounts.zone_of(job.zone), job.volume)


def _blame(outcome: Outcome, error: Exception) -> None:
    """What stopped an import, in words."""
    if isinstance(error, CaptureError):
        outcome.error, outcome.bad = str(error), True
    elif isinstance(error, VolumeFullError):
        outcome.error = str(error)
    elif isinstance(error, CallReplayError | OSError):
        outcome.error = str(error)
        outcome.bad = isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError)
    elif isinstance(error, psycopg.Error):
        outcome.error = f"the database: {error}"
    else:
        # A defect of ours must cost the one capture, not the batch or the watch.
        _log.error("%s", outcome.capture, exc_info=error)
        outcome.error = f"unexpected {type(error).__name__}: {error}"


def _tell_lost(outcome: Outcome) -> None:
    if outcome.lost and not outcome.error:
        outcome.error = (
            f"{len(outcome.lost)} of {len(outcome.lost) + len(outcome.calls)} calls: {outcome.lost[0]}"
        )
        outcome.warnings += outcome.lost[1:]


def import_one(database: Database, job: Job, path: Path) -> Outcome:
    """Import every call of one capture. Does not raise, whatever the capture, a volume or the database may do."""
    outcome, _, _ = _import(database, job, (path,), Carry(), (), final=True)
    return outcome


def import_several(database: Database, jobs: Sequence[tuple[Job, Path]]) -> list[Outcome]:
    """Import small captures of one tenant, their calls filed together. Does not raise."""
    together = _together(database, jobs[0][0])
    outcomes = [
        _import(database, job, (path,), Carry(), (), final=True, together=together)[0] for job, path in jobs
    ]
    together.flush()
    for outcome in outcomes:
        _tell_lost(outcome)
    return outcomes


def import_run(
    database: Database,
    job: Job,
    run: Sequence[Member],
    carry: Carry | None = None,
    known: int = 0,
    *,
    final: bool = True,
) -> Iterator[tuple[Outcome, Carry, int]]:
    """Import files of a rotation, as many at a time as can be read at once; ``final`` where none will follow.

    The first ``known`` members were read before and are here for the calls that ``carry`` left. Yields an outcome, what
    is left to the next reading, and the first member that it needs. Stops after an error: the last is to be read again.
    """
    carry, begin, new = carry or Carry(), 0, min(known, len(run) - 1)
    while new < len(run):
        stop = window(run, begin, new)
        chosen = run[begin:stop]
        paths = [member.path for member in chosen]
        outcome, carry, needed = _import(
            database, job, paths, carry, chosen, final=final and stop == len(run)
        )
        outcome.capture, outcome.files = str(run[new].path), stop - new
        with suppress(OSError):
            outcome.octets = sum(member.path.stat().st_size for member in run[new:stop])
        begin, new = begin + needed, stop
        yield outcome, carry, begin
        if not outcome.final:
            return


def _import(
    database: Database,
    job: Job,
    paths: Sequence[Path],
    carry: Carry,
    run: Sequence[Member],
    *,
    final: bool,
    together: Together | None = None,
) -> tuple[Outcome, Carry, int]:
    """Import captures; with ``together`` the outcome is whole once that has been flushed."""
    outcome = Outcome(str(paths[0]), len(paths))
    waiting: set[tuple[str, int]] = set()
    needed, last_ns = len(run), 0
    try:
        outcome.octets = sum(path.stat().st_size for path in paths)
        found = reading.read(*paths, speech=job.speech and not job.dry_run)
        found.rows.name = job.source or found.rows.name
        for call in found.calls if job.drops else ():
            call.quality["capture_drops"] = job.drops
        outcome.warnings += found.warnings
        last_ns = max(found.last_ns, carry.until_ns)
        wanted = []
        for call in found.calls:
            if settled(call, carry) or (job.rules is not None and not job.rules.keeps(call.description)):
                continue
            if not final and pending(call, last_ns):
                first = begins(run, call.start_ns)
                if first >= again(run):
                    waiting.add((call.description.call_id, call.start_ns))
                    needed = min(needed, first)
                    continue
                text = "a call that goes on is longer than can be read at once: filed as far as it was read"
                outcome.warnings.append(text)
            wanted.append(call)
        _have_filed(database, job, found.rows, wanted, outcome, together)
    except Exception as error:
        _blame(outcome, error)
    _tell_lost(outcome)
    return outcome, Carry(last_ns, frozenset(waiting)), needed


def _have_filed(
    database: Database,
    job: Job,
    rows: CaptureRows,
    calls: Sequence[CallRecord],
    outcome: Outcome,
    together: Together | None,
) -> None:
    """Have the calls of a capture filed, at once or, where others are, ``together`` with them."""
    if job.dry_run:
        outcome.calls += [_known(database, job, rows, call) for call in calls]
        return
    own = together or _together(database, job)
    ahead = ReadAhead(rows, calls)
    heir = next((call for call in calls if not call.inferred), None)
    for call in calls:
        own.add(rows, call, _teller(outcome, rows, call), ahead.of, job.row if call is heir else None)
    if together is None:
        own.flush()
    if job.row is not None and heir is None:
        with database.connection() as connection:
            progress.drop(connection, job.row)


def _teller(outcome: Outcome, rows: CaptureRows, call: CallRecord) -> Done:
    """What notes in an outcome what became of a call."""

    def done(result: Filed | Exception) -> None:
        if isinstance(result, Filed):
            outcome.calls.append(_line(call, rows.name, str(result.uuid), result.added, result))
        elif isinstance(result, _OWN_FAULTS) and not isinstance(result, CallReplayError):
            # What a packet says must cost its call, not the others of the capture.
            _log.error("%s, call %r", outcome.capture, call.description.call_id, exc_info=result)
            said = " ".join(str(result).split())
            outcome.lost.append(f"call {clean_text(call.description.call_id)!r} was not filed: {said}")
        elif not outcome.error:
            _blame(outcome, result)

    return done


def _known(database: Database, job: Job, rows: CaptureRows, call: CallRecord) -> dict[str, Any]:
    """What would become of a call."""
    key = identity(rows, call)
    with database.connection() as connection:
        known = records.identified(connection, job.tenant_id, key)
    return _line(call, rows.name, "" if known is None else str(known), known is None, None)


def _line(call: CallRecord, capture: str, uuid: str, added: bool, filed: Filed | None) -> dict[str, Any]:
    """One call as JSON, in the names of the Transcoder's parameters."""
    description = call.description
    start = moment(clean_time(call.start_ns))
    return {
        "callId": uuid,
        "added": added,
        "capture": clean_text(capture, 4096),
        "wireCallId": clean_text(description.call_id),
        "protocol": description.protocol,
        "status": clean_text(description.status),
        "inferred": call.inferred,
        "start": start.isoformat(timespec="milliseconds"),
        "durationSeconds": round((call.end_ns - call.start_ns) / 1e9, 3),
        "callerNumber": clean_text(description.caller_number),
        "callerName": clean_text(description.caller_name),
        "callerIP": clean_text(description.caller_address),
        "calledNumber": clean_text(description.called_number),
        "calledName": clean_text(description.called_name),
        "calledIP": clean_text(description.called_address),
        "legs": [
            {"leg": leg.side, "packets": len(leg.rows), "codec": leg.figures.get("codec", "")}
            for leg in call.legs
        ],
        "volume": filed.volume_id if filed else 0,
        "paths": list(filed.paths) if filed else [],
        "bytes": filed.size_bytes if filed else 0,
    }
