"""Filing calls many at a time: one transaction for all of them, and two syncs of a volume instead of seven a call.

The steps are those of `callreplay.importing.filing`, each done for all calls before the next: parts and notes are
written, the volume is synced, parts are linked, the volume is synced, rows are inserted, and the commit decides. Where
anything goes wrong all of it is undone, and the calls are filed one by one: what is wrong with one costs no other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg

from callreplay.importing.filing import (
    CallRecord,
    CaptureRows,
    Draft,
    Filed,
    Parts,
    candidates,
    estimate_of,
    file_call,
    identity,
    insert,
    link,
    prepare,
    recording_name,
    rows_of,
    write_legs,
)
from callreplay.packets import recording
from callreplay.packets.arena import fetch
from callreplay.store import progress, records, volumes
from callreplay.store.database import Connection, Database
from callreplay.store.opening import AnyHandle, journal_of
from callreplay.store.volumes import Volume, VolumeFullError

__all__ = ["Together"]

_AT_MOST: Final = 32
_ROWS: Final = 1 << 20
"""Packets of calls that wait, whose captures are held."""

Done = Callable[[Filed | Exception], None]


@dataclass(slots=True, eq=False)
class _One:
    """A call that waits, with what files it."""

    capture: CaptureRows
    call: CallRecord
    done: Done
    fetching: Callable[[CallRecord], recording.Fetch]
    row: UUID | None
    uuid: UUID
    key: str = ""
    draft: Draft | None = None
    parts: Parts = field(default_factory=list)


class _Several(Exception):  # noqa: N818  # no fault
    """The calls are to be filed one by one."""


class Together:
    """Takes calls of a tenant and files them a few dozen at a time; ``flush`` files those that wait.

    ``done`` of each call gets what became of it: `Filed`, or what `file_call` would have raised.
    """

    def __init__(
        self, database: Database, tenant_id: int, zone: ZoneInfo, volume: int | None, most: int = _AT_MOST
    ) -> None:
        self._database, self._tenant_id, self._zone, self._volume = database, tenant_id, zone, volume
        self._most = most
        self._waiting: list[_One] = []
        self._packets = 0

    def add(
        self,
        capture: CaptureRows,
        call: CallRecord,
        done: Done,
        fetching: Callable[[CallRecord], recording.Fetch] = lambda _: fetch,
        row: UUID | None = None,
    ) -> None:
        """Have a call filed, now or with others."""
        self._waiting.append(_One(capture, call, done, fetching, row, row or uuid4()))
        self._packets += sum(len(leg.rows) for leg in call.legs)
        if len(self._waiting) >= self._most or self._packets >= _ROWS:
            self.flush()

    @property
    def waiting(self) -> int:
        """Calls that are not filed yet."""
        return len(self._waiting)

    def flush(self) -> None:
        """File what waits."""
        waiting, self._waiting, self._packets = self._waiting, [], 0
        if not waiting:
            return
        filed: dict[int, Filed] | None = None
        if len(waiting) > 1:
            with contextlib.suppress(_Several):
                filed = self._file(waiting)
        if filed is not None:
            for one in waiting:
                one.done(filed[id(one)])
            return
        stopped: Exception | None = None
        for one in waiting:
            stopped = self._alone(one, stopped)

    def _alone(self, one: _One, stopped: Exception | None) -> Exception | None:
        """File one; what stops all others is returned."""
        if stopped is not None:
            one.done(stopped)
            return stopped
        try:
            one.done(
                file_call(
                    self._database,
                    self._tenant_id,
                    one.capture,
                    one.call,
                    self._zone,
                    self._volume,
                    one.fetching,
                    one.row,
                )
            )
        except Exception as error:
            one.done(error)
            return error if isinstance(error, OSError | psycopg.OperationalError) else None
        return None

    def _file(self, waiting: list[_One]) -> dict[int, Filed]:
        """File all in one transaction. Raises _Several, with nothing done, where one of them cannot be."""
        with contextlib.ExitStack() as stack:
            drafts: list[Draft] = []
            decided = False
            connection: Connection | None = None
            try:
                for one in waiting:
                    one.key = identity(one.capture, one.call)
                if len({one.key for one in waiting}) < len(waiting):
                    raise _Several
                connection = stack.enter_context(self._database.connection())
                known = records.lock_identities(connection, self._tenant_id, [one.key for one in waiting])
                fresh = [one for one in waiting if one.key not in known]
                self._write(stack, connection, fresh, drafts)
                filed = {id(one): Filed(known[one.key], added=False) for one in waiting if one.key in known}
                filed |= self._insert(connection, fresh)
                for one in waiting:
                    if one.key in known and one.row is not None and one.row != known[one.key]:
                        progress.drop(connection, one.row)
                decided = True
                connection.commit()
            except Exception as error:
                if decided and not (
                    isinstance(error, psycopg.Error) and connection and not connection.closed
                ):
                    raise  # it may have been made: the journals stand, and the next start asks
                self._undo(connection, drafts)
                raise _Several from error
            except BaseException:
                if not decided:
                    self._undo(connection, drafts)
                raise
            for draft in drafts:
                draft.journal.finish()
        return filed

    @staticmethod
    def _undo(connection: Connection | None, drafts: list[Draft]) -> None:
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.rollback()
        for draft in drafts:
            with contextlib.suppress(OSError):
                draft.unlink()
                draft.journal.finish()

    def _write(
        self, stack: contextlib.ExitStack, connection: Connection, fresh: list[_One], drafts: list[Draft]
    ) -> None:
        """The files of all, linked to their names and durable."""
        shelves = _Shelves(stack, connection, self._volume)
        for one in fresh:
            if not one.call.legs:
                continue
            one.call.hear()
            volume, handle = shelves.take(estimate_of(one.capture, one.call))
            journal = journal_of(handle, one.uuid).__enter__()
            stack.callback(journal.close)
            one.draft = Draft(volume, handle, journal)
            drafts.append(one.draft)
            one.parts = write_legs(one.draft, one.capture, one.call, one.fetching(one.call), durable=False)
        pairs, names = [], set[str]()
        for one in fresh:
            if one.draft is not None:
                _, noted, chosen = prepare(one.draft, one.parts, recording_name(one.call, self._zone))
                if names.intersection(
                    path for _, path in noted
                ):  # of two calls of one second and its parties
                    free = max(chosen) + 1
                    while names.intersection(path for _, path in noted):
                        _, noted, chosen = prepare(
                            one.draft, one.parts, recording_name(one.call, self._zone), free
                        )
                        free += 1
                names.update(path for _, path in noted)
                one.draft.journal.note(*noted, durable=False)
                pairs.append((one.draft, noted, chosen))
        shelves.sync()
        for draft, noted, chosen in pairs:
            if not link(draft, noted, chosen):
                raise _Several
        shelves.sync()

    def _insert(self, connection: Connection, fresh: list[_One]) -> dict[int, Filed]:
        sizes: dict[int, tuple[Volume, int]] = {}
        filed = {}
        entries = []
        for one in fresh:
            entries.append(rows_of(self._tenant_id, one.uuid, one.key, one.capture, one.call, one.draft))
            filed[id(one)] = Filed(one.uuid, added=True)
            if one.draft is not None:
                volume = one.draft.volume
                sizes[volume.id] = (volume, sizes.get(volume.id, (volume, 0))[1] + one.draft.size)
                filed[id(one)] = one.draft.filed(one.uuid)
        insert(connection, entries, {one.uuid for one in fresh if one.row is not None})
        # Last, and in one order: their rows are locked to the end of the transaction, which is the commit.
        for _, (volume, size) in sorted(sizes.items()):
            if not volumes.claim(connection, volume, size):
                raise _Several
        return filed


class _Shelves:
    """The volumes that take calls, each opened once; in turn, as long as they have room."""

    def __init__(self, stack: contextlib.ExitStack, connection: Connection, which: int | None) -> None:
        self._stack = stack
        self._left = [(volume, volume.left_bytes) for volume in candidates(connection, which, 1)]
        self._open: dict[int, AnyHandle] = {}

    def take(self, size: int) -> tuple[Volume, AnyHandle]:
        """A volume with room for a call, charged with it. Raises VolumeFullError where none has."""
        # Those whose reserve the call would touch come last.
        order = sorted(self._left, key=lambda pair: pair[1] - size < pair[0].reserved_bytes)
        for pair in order:
            volume, left = pair
            if left < size:
                continue
            if volume.id not in self._open:
                self._open[volume.id] = volume.open()
                self._stack.callback(self._open[volume.id].close)
            self._left.remove(pair)
            self._left.append((volume, left - size))
            return volume, self._open[volume.id]
        raise VolumeFullError("no volume has room")

    def sync(self) -> None:
        """All that was written to them is on the disk."""
        for handle in self._open.values():
            handle.sync_all()
