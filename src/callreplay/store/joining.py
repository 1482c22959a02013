"""Joining two volumes: every call of the one moves to the other, and stays whole whenever the work is cut short."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from callreplay.errors import ArgumentError, OutputError
from callreplay.model import recording_files
from callreplay.store import audit
from callreplay.store.audit import SYSTEM, Actor
from callreplay.store.database import Connection
from callreplay.store.opening import AnyHandle, AnyJournal, journal_of
from callreplay.store.volumes import Volume, VolumeFullError, claim, reconcile

__all__ = ["Joined", "calls_on", "join"]


@dataclass(slots=True)
class Joined:
    """What became of a join: calls and octets moved, a line for each call that stayed, and whether it was stopped."""

    calls: int = 0
    size_bytes: int = 0
    failed: list[str] = field(default_factory=list)
    stopped: bool = False


def join(
    connection: Connection,
    source: Volume,
    target: Volume,
    *,
    actor: Actor = SYSTEM,
    step: Callable[[int], bool] = lambda _: True,
) -> Joined:
    """Move every call of ``source`` to ``target``. ``step`` is told of each call before it moves; False stops the join.

    Each call moves in a transaction of its own, so a stop in between loses and doubles nothing and a second run goes
    on. A call with a recording that is missing or cannot be copied stays. ``connection`` must not be in a transaction.

    Raises:
        VolumeError: one of the two cannot be reached; what was moved stays moved.
        VolumeFullError: ``target`` has no room for the next call; what was moved stays moved.

    """
    if source.id == target.id or target.retired:
        raise ArgumentError("join needs two volumes, and the second must be in use")
    done = Joined()
    with source.open() as outgoing, target.open() as incoming:
        for number, call in enumerate(_calls(connection, source)):
            if not step(number):
                done.stopped = True
                break
            try:
                done.size_bytes += _move(connection, call, (source, outgoing), (target, incoming))
                done.calls += 1
            except VolumeFullError:
                raise
            except OutputError as error:
                done.failed.append(f"call {call}: {error}")
    with connection.transaction():
        if done.failed:
            reconcile(connection)
        said = {
            "into": str(target.path),
            "calls": done.calls,
            "bytes": done.size_bytes,
            "failed": len(done.failed),
        }
        audit.note(connection, actor, "volume.join", str(source.path), detail=said)
    return done


def calls_on(connection: Connection, volume: Volume) -> int:
    """How many calls have files on a volume."""
    row = connection.execute(
        "SELECT count(DISTINCT call_uuid) AS calls FROM call_files WHERE volume_id = %s", (volume.id,)
    ).fetchone()
    return int(row["calls"]) if row else 0


def _calls(connection: Connection, volume: Volume) -> Iterator[UUID]:
    """The calls on a volume, earliest first, each asked for when the one before has been seen to.

    Along the index of its paths, which begin with the day: there may be millions.
    """
    path, before = "", None
    while True:
        with connection.transaction():
            row = connection.execute(
                "SELECT path, call_uuid FROM call_files WHERE volume_id = %s AND path > %s ORDER BY path LIMIT 1",
                (volume.id, path),
            ).fetchone()
        if row is None:
            return
        path = row["path"]
        if row["call_uuid"] != before:  # of one that stays, the second file follows
            yield row["call_uuid"]
        before = row["call_uuid"]


def _move(
    connection: Connection, call: UUID, source: tuple[Volume, AnyHandle], target: tuple[Volume, AnyHandle]
) -> int:
    size = 0
    (origin, outgoing), (goal, incoming) = source, target
    with journal_of(incoming, call) as coming, journal_of(outgoing, call) as going:
        with connection.transaction():
            files = connection.execute(
                "SELECT id, path FROM call_files WHERE call_uuid = %s AND volume_id = %s ORDER BY position FOR UPDATE",
                (call, origin.id),
            ).fetchall()
            for number, file in enumerate(files):
                size += _copy_recording(coming, outgoing, str(file["path"]), number)
                connection.execute(
                    "UPDATE call_files SET volume_id = %s WHERE id = %s", (goal.id, file["id"])
                )
            if not claim(connection, goal, size):
                raise VolumeFullError(f"volume {goal.id} ({goal.path}) has no room for call {call}")
            connection.execute(
                "UPDATE storage_volumes SET used_bytes = greatest(used_bytes - %s, 0) WHERE id = %s",
                (size, origin.id),
            )
            names = [str(file["path"]) for file in files]
            going.note(*(("", file) for name in names for file in recording_files(name)))
        coming.finish()
        for error in outgoing.remove(names).values():
            raise error
        going.finish()
    return size


def _copy_recording(journal: AnyJournal, source: AnyHandle, name: str, number: int) -> int:
    """Copy a recording with its side index, where it has one; the octets of both."""
    size = 0
    for suffix in recording_files(""):
        # Only the side index may be missing: a recording that is would leave its row without a file.
        if suffix and source.status(name + suffix) is None:
            continue
        size += _copy(journal, source, name + suffix, f"{number}{suffix}")
    return size


def _copy(journal: AnyJournal, source: AnyHandle, name: str, label: str) -> int:
    try:
        with os.fdopen(source.open(name), "rb") as origin, journal.create(label) as part:
            shutil.copyfileobj(origin, part, 1 << 20)
            part.flush()
            os.fsync(part.fileno())
            size = part.tell()
        journal.note((journal.part(label), name))
        folder = name.rpartition("/")[0]
        made = journal.volume.make_folder(folder) if folder else [""]
        journal.link(journal.part(label), name)
        for each in made:
            journal.volume.sync(each)
    except OSError as error:
        raise OutputError(
            f"{source.label}: {name} cannot be copied to {journal.volume.label}: {error.strerror or error}"
        ) from error
    return size
