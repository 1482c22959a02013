"""Rows of calls that go on: what signalling says of them is told to the database while they are recorded.

The loop of the recorder notes what changed, once an interval and after its packets were synced; a thread of its own
writes it, so that a slow database costs no packet. What it cannot write yet waits, the newest word on each call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID, uuid4

import psycopg

from callreplay.importing.importer import Job
from callreplay.model import CallDescription
from callreplay.splitting.groups import Group
from callreplay.splitting.spooling import Spooler
from callreplay.store import progress
from callreplay.store.database import Database
from callreplay.store.progress import Change
from callreplay.store.rows import CallRow

__all__ = ["Progress"]

_log = logging.getLogger(__name__)
_AT_A_TIME: Final = 200
_ENDS_SECONDS: Final = 10.0
"""So often the ends of calls that go on are moved to now."""
_PATIENCE: Final = 30.0


@dataclass(slots=True)
class Progress:
    """Tells the database of ``job`` of the calls that the ``recorder`` has. Its thread runs until ``close``."""

    job: Job
    recorder: UUID
    folder: str
    _pending: dict[UUID, Change] = field(default_factory=dict)
    _lost: list[UUID] = field(default_factory=list)
    _clock_ns: int = 0
    _guard: threading.Condition = field(default_factory=threading.Condition)
    _over: bool = False
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def open(self) -> dict[str, UUID]:
        """Say that the recorder begins; the rows that it left, by Call-ID. Raises psycopg.Error."""
        with Database(self.job.url, size=1) as database, database.connection() as connection:
            progress.register(connection, self.recorder, self.folder)
            left = progress.rows_of(connection, self.recorder)
        self._thread.start()
        return {call_id or str(row): row for row, call_id in left.items()}

    def note(self, spooler: Spooler, lost: Iterable[UUID] = ()) -> None:
        """What changed since the last time; what came before now is on the disk. ``lost``: calls without packets."""
        board = spooler.board
        changes = [Change(row, None) for row in board.orphans]
        board.orphans.clear()
        for group in board.groups.values():
            if group.changed and group.talks and group.merged_into is None:
                group.changed = False
                change = self._change(spooler, group)
                if change is not None:
                    changes.append(change)
        with self._guard:
            self._pending.update((change.uuid, change) for change in changes)
            self._lost += lost
            self._clock_ns = max(self._clock_ns, spooler.clock_ns)
            self._guard.notify()

    def _change(self, spooler: Spooler, group: Group) -> Change | None:
        call = spooler.hearing.describe(group)
        if call is None or (self.job.rules is not None and not self.job.rules.keeps(call)):
            gone, group.row = group.row, None
            return None if gone is None else Change(gone, None)
        group.row = group.row or uuid4()
        row, files = self._row(group.row, call, spooler.splitter.last_ns), spooler.files_of(group)
        said = (replace(row, ended_at=row.started_at), files)
        if said == group.told:
            return None
        group.told = said
        names = sorted(talk.name for talk in group.talks)
        return Change(group.row, row, call.call_id if call.call_id in names else names[0], files)

    def _row(self, uuid: UUID, call: CallDescription, now_ns: int) -> CallRow:
        return CallRow(
            uuid,
            self.job.tenant_id,
            f"in progress {uuid}",
            call.start_ns,
            now_ns,
            call.answer_ns or None,
            call.call_id,
            call.protocol,
            progress.IN_PROGRESS,
            caller_ip=call.caller_address,
            caller_number=call.caller_number,
            caller_name=call.caller_name,
            called_ip=call.called_address,
            called_number=call.called_number,
            called_name=call.called_name,
            related=call.related,
            source=self.job.source,
            hop_numbers="".join(f" {each}" for each in call.called_numbers if each != call.called_number),
        )

    def handed_on(self, row: UUID | None) -> None:
        """A call is over and on its way to the import, which has the last word."""
        with self._guard:
            if row is not None:
                self._pending.pop(row, None)

    def close(self) -> None:
        """Write what waits, if the database takes it within half a minute, and end the thread."""
        with self._guard:
            self._over = True
            self._guard.notify()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        ends_due, told_ns = 0.0, 0
        with Database(self.job.url, size=1) as database:
            while True:
                with self._guard:
                    while not (self._pending or self._lost or self._over or self._clock_ns > told_ns):
                        self._guard.wait()
                    changes, self._pending = self._pending, {}
                    lost, self._lost = self._lost, []
                    clock_ns, over = self._clock_ns, self._over
                ends = time.monotonic() >= ends_due
                try:
                    self._write(database, changes, lost)
                    with database.connection() as connection:
                        progress.beat(connection, self.recorder, clock_ns, ends=ends)
                        if ends:
                            progress.end_lost(connection)
                except (psycopg.Error, OSError) as error:
                    _log.warning("calls in progress: %s", " ".join(str(error).split()))
                    with self._guard:
                        self._pending = changes | self._pending
                        self._lost = lost + self._lost
                        if self._over:
                            return
                        self._guard.wait(1.0)
                    continue
                told_ns = clock_ns
                ends_due = time.monotonic() + _ENDS_SECONDS if ends else ends_due
                if over:
                    return

    def _write(self, database: Database, changes: dict[UUID, Change], lost: list[UUID]) -> None:
        every = list(changes.values())
        for first in range(0, len(every), _AT_A_TIME):
            with database.connection() as connection:
                progress.apply(connection, self.recorder, every[first : first + _AT_A_TIME])
        if lost:
            with database.connection() as connection:
                progress.interrupt(connection, lost)
