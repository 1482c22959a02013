"""Retention: which calls go when. Keep for a period, until backed up, until space is needed; never under legal hold.

A tenant's policy is in its row; a tag may carry days of its own, and of several the longest counts. Every call that
goes leaves a line in the audit log, written in the transaction that deletes it; its files go after the commit, and a
journal makes sure that they do (`callreplay.store.journal`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

from psycopg.rows import DictRow

from callreplay.errors import ArgumentError, OutputError
from callreplay.model import recording_files
from callreplay.store import accounts, audit, volumes
from callreplay.store.audit import SYSTEM, Actor
from callreplay.store.database import Connection, Database
from callreplay.store.handle import Handle
from callreplay.store.journal import Journal
from callreplay.store.progress import IN_PROGRESS
from callreplay.store.volumes import Volume, VolumeError

__all__ = [
    "POLICIES",
    "Policy",
    "Removal",
    "erase",
    "held",
    "hold",
    "needed",
    "note_backup",
    "policy_of",
    "remove",
    "retain",
    "set_policy",
    "set_tag",
    "tag",
    "tags",
]

POLICIES: Final = ("forever", "period", "backup", "space")
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
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
class Policy:
    """What a tenant's policy might be, to see what it would remove. ``days`` go with ``period`` only."""

    tenant: str
    policy: str
    days: int | None = None


def _check(policy: str, days: int | None) -> None:
    if policy not in POLICIES:
        raise ArgumentError(f"policy: one of {', '.join(POLICIES)}, not {policy!r}")
    if (policy == "period") != (days is not None) or (days is not None and not 0 < days < 36_525):
        raise ArgumentError("days: a number from 1 on goes with the policy 'period', and only with it")


def set_policy(
    connection: Connection, tenant: str, policy: str, days: int | None = None, *, actor: Actor = SYSTEM
) -> None:
    """Set a tenant's policy. Raises ArgumentError for an unknown tenant or policy, or a period without days."""
    _check(policy, days)
    row = connection.execute(
        "UPDATE tenants SET retention = %s, retention_days = %s WHERE name = %s RETURNING id",
        (policy, days, tenant),
    ).fetchone()
    if row is None:
        raise ArgumentError(f"tenant: there is none named {tenant!r}")
    said = {"policy": policy, "days": days}
    audit.note(connection, actor, "retention.policy", tenant, tenant_id=row["id"], detail=said)


def set_tag(
    connection: Connection, tenant: str, tag: str, days: int | None, *, actor: Actor = SYSTEM
) -> None:
    """Give a tag days of its own, None for none. Raises ArgumentError for an unknown tenant or days below 1."""
    if not tag or (days is not None and not 0 < days < 36_525):
        raise ArgumentError("tag: a name, and days from 1 on or none")
    owner = accounts.tenant_id(connection, tenant)
    connection.execute(
        "INSERT INTO tags (tenant_id, name, retention_days) VALUES (%s, %s, %s) "
        "ON CONFLICT (tenant_id, name) DO UPDATE SET retention_days = EXCLUDED.retention_days",
        (owner, tag, days),
    )
    said = {"tag": tag, "days": days}
    audit.note(connection, actor, "retention.policy", tag, tenant_id=owner, detail=said)


def policy_of(connection: Connection, tenant_id: int) -> DictRow:
    """A tenant's ``policy`` and ``days``."""
    row = connection.execute(
        "SELECT retention AS policy, retention_days AS days FROM tenants WHERE id = %s", (tenant_id,)
    ).fetchone()
    assert row is not None
    return row


def tags(connection: Connection, tenant_id: int) -> list[DictRow]:
    """The tags that a tenant has given days, or that calls have: ``name``, ``days``, ``calls`` (how many)."""
    return connection.execute(
        "SELECT name, max(days) AS days, max(calls) AS calls FROM ("
        "SELECT name, retention_days AS days, 0 AS calls FROM tags WHERE tenant_id = %(tenant)s UNION ALL "
        "SELECT t, NULL, count(*) FROM calls, unnest(tags) AS t WHERE tenant_id = %(tenant)s GROUP BY t"
        ") AS found GROUP BY name ORDER BY name LIMIT 1000",
        {"tenant": tenant_id},
    ).fetchall()


def held(connection: Connection, tenant_id: int, limit: int = 200) -> list[DictRow]:
    """A tenant's calls under legal hold, the newest first: ``uuid``, ``started_at`` and the parties."""
    return connection.execute(
        "SELECT uuid, started_at, caller_number, caller_name, called_number, called_name FROM calls "
        "WHERE tenant_id = %s AND legal_hold ORDER BY started_at DESC, uuid LIMIT %s",
        (tenant_id, limit),
    ).fetchall()


def note_backup(
    connection: Connection, tenant: str, imported_before: datetime, *, actor: Actor = SYSTEM
) -> int:
    """Note that what was imported before a time is in a backup, which lets ``backup`` remove it; how many calls."""
    owner = accounts.tenant_id(connection, tenant)
    noted = connection.execute(
        "UPDATE calls SET backed_up_at = now() WHERE tenant_id = %s AND imported_at < %s AND backed_up_at IS NULL "
        "AND status <> 'in progress'",
        (owner, imported_before),
    ).rowcount
    before = {"before": imported_before.isoformat(), "calls": noted}
    audit.note(connection, actor, "retention.backup", tenant, tenant_id=owner, detail=before)
    return noted


def tag(
    connection: Connection, uuid: UUID, add: Sequence[str], remove: Sequence[str], *, actor: Actor = SYSTEM
) -> bool:
    """Give a call tags and take others from it; False where there is no such call."""
    row = connection.execute(
        "UPDATE calls SET tags = ARRAY(SELECT DISTINCT t FROM unnest(tags || %(add)s::text[]) AS t "
        "WHERE t <> ALL (%(remove)s::text[]) ORDER BY t) WHERE uuid = %(uuid)s RETURNING tenant_id, tags",
        {"add": list(add), "remove": list(remove), "uuid": uuid},
    ).fetchone()
    if row is None:
        return False
    said = {"tags": row["tags"]}
    audit.note(connection, actor, "call.tag", str(uuid), tenant_id=row["tenant_id"], detail=said)
    return True


def hold(
    connection: Connection,
    uuid: UUID,
    held: bool,
    *,
    actor: Actor = SYSTEM,
    reason: str = "",
    tenant_id: int | None = None,
) -> bool:
    """Put a call (of ``tenant_id``, where that is given) under legal hold or release it; False where there is none."""
    row = connection.execute(
        "UPDATE calls SET legal_hold = %(held)s WHERE uuid = %(uuid)s "
        "AND (%(tenant)s::integer IS NULL OR tenant_id = %(tenant)s) RETURNING tenant_id",
        {"held": held, "uuid": uuid, "tenant": tenant_id},
    ).fetchone()
    if row is None:
        return False
    action = "call.hold" if held else "call.release"
    audit.note(connection, actor, action, str(uuid), tenant_id=row["tenant_id"], reason=reason)
    return True


def retain(
    database: Database,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
    actor: str = "system",
    tried: Policy | None = None,
    only: int | None = None,
) -> Iterator[Removal]:
    """Apply every policy, or that of the tenant ``only``.

    Yields the calls removed (with ``dry_run``: that would be), one transaction each.

    Periods and backups first, over all tenants; then, volume by volume, the oldest calls of the tenants that keep
    calls until space is needed, until the volume has its reserve again. A dry run may say what ``tried`` would
    remove if it were the policy of its tenant. A call on a volume that cannot be reached, or whose files cannot be
    removed, stays whole and is told with its ``error``; the others go on.

    Raises:
        ArgumentError: ``tried`` is no policy, or of no tenant.
        ValueError: ``tried`` without ``dry_run``.

    """
    if tried is not None:
        if not dry_run:
            raise ValueError("a policy can be tried by a dry run only")
        _check(tried.policy, tried.days)
        with database.connection() as connection:
            if connection.execute("SELECT FROM tenants WHERE name = %s", (tried.tenant,)).fetchone() is None:
                raise ArgumentError(f"tenant: there is none named {tried.tenant!r}")
    moment = now or datetime.now(UTC)
    gone: dict[int, int] = {}
    for candidate, reason in _candidates(database, _EXPIRED, {"now": moment, "only": only}, tried):
        removal = _take(database, candidate, reason, dry_run, actor)
        if removal is not None:
            for volume_id, size in removal.sizes.items():
                gone[volume_id] = gone.get(volume_id, 0) + size
            yield removal
    with database.connection() as connection:
        every = volumes.listing(connection)
    for volume in every:
        yield from _make_room(
            database, volume, gone.get(volume.id, 0) if dry_run else 0, dry_run, actor, tried, only
        )


_NUMBERED: Final = """
    SELECT uuid, legal_hold, started_at, status FROM calls
     WHERE tenant_id = %(tenant)s AND (caller_number = %(number)s OR called_number = %(number)s)
       AND (started_at, uuid) > (%(after)s, %(uuid)s)
     ORDER BY started_at, uuid LIMIT %(batch)s
"""


def erase(
    database: Database,
    tenant: str,
    number: str,
    *,
    dry_run: bool = False,
    actor: str = "system",
    reason: str = "",
) -> Iterator[Removal]:
    """Remove every call of a tenant that a number made or got, whatever the policies; yields them as ``retain`` does.

    The number is that of the calls, digit by digit. A call under legal hold stays, and is told with an ``error``.
    Raises ArgumentError for an unknown tenant or an empty number.
    """
    if not number.strip() or "\0" in number:
        raise ArgumentError("number: whose calls are to be erased")
    with database.connection() as connection:
        owner = accounts.tenant_id(connection, tenant)
    why = f"erased by number: {reason}" if reason else "erased by number"
    place: dict[str, Any] = {"after": datetime.min.replace(tzinfo=UTC), "uuid": UUID(int=0), "batch": _BATCH}
    while True:
        with database.connection() as connection:
            found = connection.execute(
                _NUMBERED, {"tenant": owner, "number": number.strip(), **place}
            ).fetchall()
        for row in found:
            candidate = _Candidate(row["uuid"], owner, tenant, row["started_at"])
            if row["legal_hold"]:
                yield Removal(row["uuid"], tenant, row["started_at"], why, error="under legal hold")
            elif row["status"] == IN_PROGRESS:
                said = "it goes on: erase it once it is over"
                yield Removal(row["uuid"], tenant, row["started_at"], why, error=said)
            elif (removal := _take(database, candidate, why, dry_run, actor)) is not None:
                yield removal
        if len(found) < _BATCH:
            return
        place |= {"after": found[-1]["started_at"], "uuid": found[-1]["uuid"]}


def needed(volume: Volume) -> int:
    """Octets that must go before a volume has its reserve again."""
    if volume.retired or volume.reserved_bytes == 0 or volume.free_bytes < 0:
        return 0
    return max(0, volume.reserved_bytes - volume.left_bytes)


@dataclass(frozen=True, slots=True)
class _Candidate:
    uuid: UUID
    tenant_id: int
    tenant: str
    started_at: datetime


# The tenants' policies, with one of them as if it had been set.
_TENANTS: Final = """
    SELECT id, name, CASE WHEN name = %(tried_tenant)s THEN %(tried_policy)s ELSE retention END AS retention,
           CASE WHEN name = %(tried_tenant)s THEN %(tried_days)s ELSE retention_days END AS retention_days
      FROM tenants
"""

# A tag's days override the tenant's; with several such tags the longest keeps the call.
_EXPIRED: Final = f"""
    SELECT c.uuid, c.tenant_id, t.name AS tenant, c.started_at,
           CASE WHEN g.days IS NOT NULL THEN 'tag: ' || g.days || ' days'
                WHEN t.retention = 'period' THEN 'period: ' || t.retention_days || ' days'
                ELSE 'backed up' END AS reason
      FROM calls c
      JOIN ({_TENANTS}) t ON t.id = c.tenant_id
      LEFT JOIN LATERAL (SELECT max(g.retention_days) AS days FROM tags g
                          WHERE g.tenant_id = c.tenant_id AND g.name = ANY (c.tags)
                            AND g.retention_days IS NOT NULL) g ON true
     WHERE NOT c.legal_hold AND c.status <> 'in progress' AND (%(only)s::integer IS NULL OR c.tenant_id = %(only)s)
       AND CASE WHEN g.days IS NOT NULL THEN c.started_at < %(now)s - make_interval(days => g.days)
                WHEN t.retention = 'period' THEN c.started_at < %(now)s - make_interval(days => t.retention_days)
                WHEN t.retention = 'backup' THEN c.backed_up_at IS NOT NULL
                ELSE false END
       AND (c.started_at, c.uuid) > (%(after)s, %(uuid)s)
     ORDER BY c.started_at, c.uuid
     LIMIT %(batch)s
"""

# The oldest first; tags with days of their own are not up for space.
_OLDEST: Final = f"""
    SELECT c.uuid, c.tenant_id, t.name AS tenant, c.started_at, 'space' AS reason
      FROM calls c
      JOIN ({_TENANTS}) t ON t.id = c.tenant_id
     WHERE NOT c.legal_hold AND t.retention = 'space' AND (%(only)s::integer IS NULL OR c.tenant_id = %(only)s)
       AND EXISTS (SELECT FROM call_files f WHERE f.call_uuid = c.uuid AND f.volume_id = %(volume)s)
       AND NOT EXISTS (SELECT FROM tags g WHERE g.tenant_id = c.tenant_id AND g.name = ANY (c.tags)
                          AND g.retention_days IS NOT NULL)
       AND (c.started_at, c.uuid) > (%(after)s, %(uuid)s)
     ORDER BY c.started_at, c.uuid
     LIMIT %(batch)s
"""


def _candidates(
    database: Database, query: str, parameters: dict[str, Any], tried: Policy | None
) -> Iterator[tuple[_Candidate, str]]:
    """Rows of a query in batches, so that neither memory nor a transaction grows with the number of calls."""
    position: dict[str, Any] = {
        "after": datetime.min.replace(tzinfo=UTC),
        "uuid": UUID(int=0),
        "batch": _BATCH,
        "tried_tenant": tried.tenant if tried else None,
        "tried_policy": tried.policy if tried else None,
        "tried_days": tried.days if tried else None,
    }
    while True:
        with database.connection() as connection:
            rows = connection.execute(query, {**parameters, **position}).fetchall()
        for row in rows:
            yield (
                _Candidate(row["uuid"], row["tenant_id"], row["tenant"], row["started_at"]),
                row["reason"],
            )
        if len(rows) < _BATCH:
            return
        position.update(after=rows[-1]["started_at"], uuid=rows[-1]["uuid"])


def _make_room(
    database: Database,
    volume: Volume,
    freed: int,
    dry_run: bool,
    actor: str,
    tried: Policy | None,
    only: int | None,
) -> Iterator[Removal]:
    missing = needed(volume) - freed
    if missing <= 0:
        return
    for candidate, reason in _candidates(database, _OLDEST, {"volume": volume.id, "only": only}, tried):
        removal = _take(database, candidate, reason, dry_run, actor)
        if removal is None:
            continue
        yield removal
        missing -= removal.sizes.get(volume.id, 0)
        if missing <= 0:
            return


def _take(
    database: Database, candidate: _Candidate, reason: str, dry_run: bool, actor: str
) -> Removal | None:
    sizes: dict[int, int] | None = {}
    error = ""
    try:
        if dry_run:
            # Side indexes count too, as they do when the call goes: else a dry run would say that more must go.
            with database.connection() as connection, contextlib.ExitStack() as opened:
                files = _files(connection, opened, candidate.uuid)
                sizes = {volume.id: handle.size_of(names) for volume, handle, names in files}
        else:
            sizes = _remove(database, candidate.uuid, reason, actor, unless_held=True)
    except OSError as failure:
        error = str(failure)
    if sizes is None:
        return None
    return Removal(candidate.uuid, candidate.tenant, candidate.started_at, reason, sizes, error)


def remove(
    database: Database, uuid: UUID, *, reason: str, actor: str = "system", unless_held: bool = True
) -> int | None:
    """Remove one call with its files, audited; returns the octets freed, None where it is gone already or held.

    Raises OutputError where a volume of the call cannot be reached: the call then stays whole.
    """
    sizes = _remove(database, uuid, reason, actor, unless_held=unless_held)
    return None if sizes is None else sum(sizes.values())


_Noted = list[tuple[Journal, Volume, Handle, list[str]]]


def _remove(
    database: Database, uuid: UUID, reason: str, actor: str, *, unless_held: bool
) -> dict[int, int] | None:
    with contextlib.ExitStack() as opened:
        with database.connection() as connection:
            row = connection.execute(
                "SELECT tenant_id, started_at, wire_call_id, legal_hold, status FROM calls WHERE uuid = %s FOR UPDATE",
                (uuid,),
            ).fetchone()
            if row is None or (unless_held and row["legal_hold"]):
                return None
            if row["status"] == IN_PROGRESS:
                raise OutputError(f"call {uuid} goes on: it can be removed once it is over")
            noted = _note(connection, opened, uuid)
            sizes = {volume.id: handle.size_of(names) for _, volume, handle, names in noted}
            for volume_id, size in sizes.items():
                connection.execute(
                    "UPDATE storage_volumes SET used_bytes = greatest(used_bytes - %s, 0) WHERE id = %s",
                    (size, volume_id),
                )
            connection.execute("DELETE FROM calls WHERE uuid = %s", (uuid,))
            detail = {
                "bytes": sum(sizes.values()),
                "started_at": row["started_at"].isoformat(),
                "wire_call_id": row["wire_call_id"],
            }
            audit.write(
                connection,
                "call.delete",
                tenant_id=row["tenant_id"],
                actor=actor,
                target=str(uuid),
                reason=reason,
                detail=detail,
            )
        for journal, _, handle, names in noted:
            handle.remove(names)
            journal.finish()
    return sizes


def _note(connection: Connection, opened: contextlib.ExitStack, uuid: UUID) -> _Noted:
    noted: _Noted = []
    try:
        for volume, handle, names in _files(connection, opened, uuid):
            journal = opened.enter_context(Journal(handle, uuid))
            journal.note(*(("", file) for name in names for file in recording_files(name)))
            noted.append((journal, volume, handle, names))
    except VolumeError:
        _forget(noted)
        raise
    except OSError as error:
        _forget(noted)
        raise OutputError(f"call {uuid} cannot be removed: {error}") from error
    return noted


def _forget(noted: _Noted) -> None:
    """The call stays: what was noted of it on the volumes before goes."""
    for journal, *_ in noted:
        journal.finish()


def _files(
    connection: Connection, opened: contextlib.ExitStack, uuid: UUID
) -> list[tuple[Volume, Handle, list[str]]]:
    """The volumes of a call, open, and its files on each. Raises VolumeError where one of them cannot be reached."""
    files = connection.execute(
        "SELECT volume_id, path FROM call_files WHERE call_uuid = %s ORDER BY position", (uuid,)
    ).fetchall()
    by_id = {volume.id: volume for volume in volumes.listing(connection)}
    found = []
    for volume_id in sorted({cast("int", file["volume_id"]) for file in files}):
        volume = by_id[volume_id]
        names = [str(file["path"]) for file in files if file["volume_id"] == volume_id]
        found.append((volume, opened.enter_context(volume.open()), names))
    return found
