"""Removing calls, many in one transaction: their rows, a line for each in the audit log, and their files.

Files are listed in a journal on each volume before the commit and go after it (`callreplay.store.journal`). Rows of a
call and of its files are locked in one order from the choice to the commit: whoever moves files meanwhile
(`callreplay.store.joining`) comes before or after all of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow

from callreplay.errors import OutputError
from callreplay.model import recording_files
from callreplay.store import audit, volumes
from callreplay.store.database import Connection, Database
from callreplay.store.handle import Found
from callreplay.store.opening import AnyDeparture, AnyHandle, departure_of
from callreplay.store.progress import IN_PROGRESS
from callreplay.store.volumes import Volume, VolumeError

__all__ = ["Begun", "Removal", "Way", "begin", "remove", "take"]


@dataclass(slots=True)
class Removal:
    """A call that went, or would go: why, and how many octets its files have. One with an ``error`` stays."""

    uuid: UUID
    tenant: str
    started_at: datetime
    reason: str
    sizes: dict[int, int] = field(default_factory=dict)
    """By volume."""
    error: str = ""

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(self.sizes.values())


@dataclass(frozen=True, slots=True)
class Way:
    """How calls go: on behalf of whom, or not really. ``is_enough`` is told of each; true: it is the last."""

    actor: str = "system"
    dry_run: bool = False
    is_enough: Callable[[Removal], bool] = lambda _: False


@dataclass(slots=True)
class _Call:
    row: DictRow
    removal: Removal
    names: dict[int, list[str]] = field(default_factory=dict)
    files: dict[int, list[Found]] = field(default_factory=dict)
    handles: dict[int, AnyHandle] = field(default_factory=dict)


@dataclass(slots=True)
class Begun:
    """Calls whose rows are gone, and whose files go by ``finish``; any thread may do that."""

    removals: list[Removal]
    gone: list[_Call] = field(default_factory=list)
    listed: dict[int, AnyDeparture] = field(default_factory=dict)
    opened: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def finish(self) -> list[Removal]:
        """Remove the files; the calls, with an error where one is left to the next try."""
        with self.opened:
            for number, departure in self.listed.items():
                names = [name for call in self.gone for name in call.names.get(number, ())]
                failed = departure.volume.remove(names)
                for call in self.gone if failed else ():
                    _tell(call, number, failed)
                if not failed:
                    departure.finish()
        return self.removals


def begin(database: Database, statement: str, values: Mapping[str, Any], way: Way) -> Begun:
    """Remove the rows of the calls that ``statement`` chooses, in its order; not of those whose volumes cannot do it.

    The statement gives ``uuid``, ``tenant_id``, ``tenant``, ``started_at``, ``wire_call_id`` and ``reason`` of ``calls
    c``. They are locked before anything is asked about them, unless it is a dry run.

    Raises psycopg.Error: nothing was removed.
    """
    lock = "" if way.dry_run else " FOR UPDATE OF c"
    with contextlib.ExitStack() as opened:
        with database.connection() as connection:
            rows = connection.execute(f"{statement}{lock}".encode(), values).fetchall()
            if not rows:
                return Begun([])
            calls = _looked_at(connection, opened, rows, way)
            begun = Begun([call.removal for call in calls])
            if way.dry_run:
                return begun
            begun.listed = _listed(opened, [call for call in calls if not call.removal.error])
            begun.gone = [call for call in calls if not call.removal.error]
            _delete(connection, begun.gone, way.actor)
        begun.opened = opened.pop_all()
    return begun


def take(database: Database, statement: str, values: Mapping[str, Any], way: Way) -> list[Removal]:
    """As ``begin``, with their files."""
    return begin(database, statement, values, way).finish()


def remove(
    database: Database, uuid: UUID, *, reason: str, actor: str = "system", unless_held: bool = True
) -> int | None:
    """Remove one call with its files, audited; returns the octets freed, None where it is gone already or held.

    Raises OutputError where a volume of the call cannot be reached, or the call goes on: it then stays whole.
    """
    done = take(
        database,
        "SELECT c.uuid, c.tenant_id, '' AS tenant, c.started_at, c.wire_call_id, %(reason)s AS reason FROM calls c "
        "WHERE c.uuid = %(uuid)s AND NOT (%(unless)s AND c.legal_hold) AND c.status <> %(going)s",
        {"uuid": uuid, "reason": reason, "unless": unless_held, "going": IN_PROGRESS},
        Way(actor),
    )
    if not done:
        with database.connection() as connection:
            row = connection.execute("SELECT status FROM calls WHERE uuid = %s", (uuid,)).fetchone()
        if row is not None and row["status"] == IN_PROGRESS:
            raise OutputError(f"call {uuid} goes on: it can be removed once it is over")
        return None
    if done[0].error:
        raise OutputError(done[0].error)
    return done[0].size_bytes


def _looked_at(
    connection: Connection, opened: contextlib.ExitStack, rows: Sequence[DictRow], way: Way
) -> list[_Call]:
    """The calls with what is there of their files; no more than are enough."""
    calls = {
        row["uuid"]: _Call(row, Removal(row["uuid"], row["tenant"], row["started_at"], row["reason"]))
        for row in rows
    }
    lock = "" if way.dry_run else " FOR UPDATE"
    for file in connection.execute(
        f"SELECT call_uuid, volume_id, path FROM call_files WHERE call_uuid = ANY(%s) ORDER BY id{lock}".encode(),
        (list(calls),),
    ):
        calls[file["call_uuid"]].names.setdefault(file["volume_id"], []).append(file["path"])
    _look(list(calls.values()), _Handles(connection, opened))
    found = []
    for call in calls.values():
        found.append(call)
        if not call.removal.error and way.is_enough(call.removal):
            break
    return found


class _Handles:
    """The volumes, each opened once, when it is needed."""

    def __init__(self, connection: Connection, opened: contextlib.ExitStack) -> None:
        self._volumes: dict[int, Volume] = {each.id: each for each in volumes.listing(connection)}
        self._opened = opened
        self._handles: dict[int, AnyHandle | VolumeError] = {}

    def __call__(self, number: int) -> AnyHandle:
        """The volume of that id. Raises VolumeError."""
        if number not in self._handles:
            try:
                opened = self._volumes[number].open()
                self._opened.callback(opened.close)
                self._handles[number] = opened
            except VolumeError as error:
                self._handles[number] = error
        found = self._handles[number]
        if isinstance(found, VolumeError):
            raise found
        return found


def _look(calls: Sequence[_Call], handles: _Handles) -> None:
    by_volume: dict[int, list[_Call]] = {}
    for call in calls:
        for number in call.names:
            by_volume.setdefault(number, []).append(call)
    for number, of_volume in by_volume.items():
        try:
            there = {
                each.path: each
                for each in handles(number).found(name for call in of_volume for name in call.names[number])
            }
        except OSError as error:
            if len(of_volume) > 1 and not isinstance(error, VolumeError):
                for call in of_volume:  # one that cannot be looked at costs the others nothing
                    _look([call], handles)
            else:
                for call in of_volume:
                    call.removal.error = _why(call, error)
            continue
        for call in of_volume:
            files = [
                there[file] for name in call.names[number] for file in recording_files(name) if file in there
            ]
            call.files[number], call.handles[number] = files, handles(number)
            call.removal.sizes[number] = sum(each.size for each in files)


def _why(call: _Call, error: OSError) -> str:
    return (
        str(error)
        if isinstance(error, VolumeError)
        else f"call {call.removal.uuid} cannot be removed: {error}"
    )


def _listed(opened: contextlib.ExitStack, calls: Sequence[_Call]) -> dict[int, AnyDeparture]:
    """A journal on each volume, by its id, that lists the files of the calls; where it cannot, they stay."""
    listed: dict[int, AnyDeparture] = {}
    for number, handle in {
        number: handle for call in calls for number, handle in call.handles.items()
    }.items():
        here = [call for call in calls if number in call.files and not call.removal.error]
        try:
            departure = departure_of(handle).__enter__()
            opened.callback(departure.close)
            departure.enlist((call.removal.uuid, file) for call in here for file in call.files[number])
            listed[number] = departure
        except OSError as error:
            for call in here:
                call.removal.error = _why(call, error)
    return listed


def _delete(connection: Connection, calls: Sequence[_Call], actor: str) -> None:
    if not calls:
        return
    # At once, and not at the commit: the row of a volume, which imports wait for, is held for no more than that.
    connection.execute("SET CONSTRAINTS call_files_figures IMMEDIATE")
    connection.execute("DELETE FROM calls WHERE uuid = ANY(%s)", ([call.removal.uuid for call in calls],))
    audit.write_many(
        connection,
        "call.delete",
        actor,
        [
            audit.Line(
                call.row["tenant_id"],
                str(call.removal.uuid),
                call.removal.reason,
                {
                    "bytes": call.removal.size_bytes,
                    "started_at": call.row["started_at"].isoformat(),
                    "wire_call_id": call.row["wire_call_id"],
                },
            )
            for call in calls
        ],
    )
    freed: dict[int, int] = {}
    for call in calls:
        for number, size in call.removal.sizes.items():
            freed[number] = freed.get(number, 0) + size
    for number in sorted(freed):
        connection.execute(
            "UPDATE storage_volumes SET used_bytes = greatest(used_bytes - %s, 0) WHERE id = %s",
            (freed[number], number),
        )


def _tell(call: _Call, number: int, failed: Mapping[str, OSError]) -> None:
    """The call is gone; what could not be removed of it stays listed, and is tried again."""
    for name in call.names.get(number, ()):
        for file in recording_files(name):
            if file in failed:
                call.removal.error = f"{file} of the call cannot be removed yet: {failed[file]}"
