"""Retention: which calls go when. Keep for a period, until backed up, until space is needed; never under legal hold.

A tenant's policy is in its row; a tag may carry days of its own, and of several the longest counts. How
calls go: `callreplay.store.removing`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg.rows import DictRow

from callreplay.errors import ArgumentError
from callreplay.store import accounts, audit, progress, volumes
from callreplay.store.audit import SYSTEM, Actor
from callreplay.store.database import Connection, Database
from callreplay.store.removing import Removal, Way, begin, remove, take
from callreplay.store.volumes import Volume

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

    Yields the calls removed (with ``dry_run``: that would be). Many go in one transaction.

    The calls of recorders that are gone end first. Periods and backups then, over all tenants; then, volume by volume,
    the oldest calls of the tenants that keep calls until space is needed, until the volume has its reserve again. A dry
    run may say what ``tried`` would remove if it were the policy of its tenant. A call on a volume that cannot be
    reached, or whose files cannot be removed, stays whole and is told with its ``error``; the others go on.

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
    if not dry_run:
        with database.connection() as connection:
            progress.end_lost(connection)
    moment = now or datetime.now(UTC)
    removing = _Removing(database, tried, actor, dry_run=dry_run, only=only)
    gone: dict[int, int] = {}
    for removal in removing.run(_DUE, {"now": moment}, removing.expired(moment)):
        for volume_id, size in removal.sizes.items():
            gone[volume_id] = gone.get(volume_id, 0) + size
        yield removal
    with database.connection() as connection:
        every = volumes.listing(connection)
    for volume in every:
        missing = needed(volume) - (gone.get(volume.id, 0) if dry_run else 0)
        if missing > 0:
            oldest = removing.oldest(volume.id)
            yield from removing.run(_SPARE, {"volume": volume.id}, oldest, (volume.id, missing))


# Each by an index of its own.
_NUMBERED: Final = """
    SELECT uuid, started_at, legal_hold, status = 'in progress' AS goes_on FROM calls
     WHERE tenant_id = %(tenant)s
       AND (("left"(caller_number, 60) = "left"(%(number)s, 60) AND caller_number = %(number)s)
            OR ("left"(called_number, 60) = "left"(%(number)s, 60) AND called_number = %(number)s))
       AND (started_at, uuid) > (%(after)s, %(uuid)s)
     ORDER BY started_at, uuid LIMIT %(batch)s
"""
_OF_NUMBER: Final = """
    SELECT c.uuid, c.tenant_id, %(name)s AS tenant, c.started_at, c.wire_call_id, %(why)s AS reason FROM calls c
     WHERE c.uuid = ANY(%(uuids)s) AND NOT c.legal_hold AND c.status <> 'in progress'
       AND (c.caller_number = %(number)s OR c.called_number = %(number)s)
     ORDER BY c.started_at, c.uuid
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
    number = number.strip()
    if not number or "\0" in number:
        raise ArgumentError("number: whose calls are to be erased")
    with database.connection() as connection:
        owner = accounts.tenant_id(connection, tenant)
    why = f"erased by number: {reason}" if reason else "erased by number"
    values = {"tenant": owner, "number": number, "name": tenant, "why": why}
    way = Way(actor, dry_run)
    for batch in _batches(_pages(database, _NUMBERED, values)):
        uuids = [row["uuid"] for row in batch if not _stays(row)]
        done = take(database, _OF_NUMBER, {**values, "uuids": uuids}, way) if uuids else []
        held = [
            Removal(row["uuid"], tenant, row["started_at"], why, error=said)
            for row in batch
            if (said := _stays(row))
        ]
        yield from sorted([*done, *held], key=lambda each: (each.started_at, each.uuid))


def _stays(row: DictRow) -> str:
    """Why a call cannot be erased; '' where it can."""
    if row["legal_hold"]:
        return "under legal hold"
    return "it goes on: erase it once it is over" if row["goes_on"] else ""


def needed(volume: Volume) -> int:
    """Octets that must go before a volume has its reserve again."""
    if volume.retired or volume.reserved_bytes == 0 or volume.free_bytes < 0:
        return 0
    return max(0, volume.reserved_bytes - volume.left_bytes)


# The tenants' policies, with one of them as if it had been set.
_TENANTS: Final = """
    SELECT id, name, CASE WHEN name = %(tried_tenant)s THEN %(tried_policy)s ELSE retention END AS retention,
           CASE WHEN name = %(tried_tenant)s THEN %(tried_days)s ELSE retention_days END AS retention_days
      FROM tenants
"""
_TAGGED: Final = """
    SELECT max(g.retention_days) AS days FROM tags g
     WHERE g.tenant_id = c.tenant_id AND g.name = ANY (c.tags) AND g.retention_days IS NOT NULL
"""

# Whether calls that were found are due, asked again when they are locked. A tag's days override the tenant's; with
# several such tags the longest keeps the call.
_DUE: Final = f"""
    SELECT c.uuid, c.tenant_id, t.name AS tenant, c.started_at, c.wire_call_id,
           CASE WHEN g.days IS NOT NULL THEN 'tag: ' || g.days || ' days'
                WHEN t.retention = 'period' THEN 'period: ' || t.retention_days || ' days'
                ELSE 'backed up' END AS reason
      FROM calls c
      JOIN ({_TENANTS}) t ON t.id = c.tenant_id
      LEFT JOIN LATERAL ({_TAGGED}) g ON true
     WHERE c.uuid = ANY(%(uuids)s) AND NOT c.legal_hold AND c.status <> 'in progress'
       AND CASE WHEN g.days IS NOT NULL THEN c.started_at < %(now)s - make_interval(days => g.days)
                WHEN t.retention = 'period' THEN c.started_at < %(now)s - make_interval(days => t.retention_days)
                WHEN t.retention = 'backup' THEN c.backed_up_at IS NOT NULL
                ELSE false END
     ORDER BY c.started_at, c.uuid
"""
# Tags with days of their own are not up for space.
_SPARE: Final = f"""
    SELECT c.uuid, c.tenant_id, t.name AS tenant, c.started_at, c.wire_call_id, 'space' AS reason
      FROM calls c
      JOIN ({_TENANTS}) t ON t.id = c.tenant_id
     WHERE c.uuid = ANY(%(uuids)s) AND NOT c.legal_hold AND c.status <> 'in progress' AND t.retention = 'space'
       AND EXISTS (SELECT FROM call_files f WHERE f.call_uuid = c.uuid AND f.volume_id = %(volume)s)
       AND (SELECT s.days FROM ({_TAGGED}) s) IS NULL
     ORDER BY c.started_at, c.uuid
"""

# What may be due, of one tenant, the oldest first: along the index that has the tenant's calls by time.
_BEFORE: Final = """
    SELECT c.uuid, c.started_at FROM calls c
     WHERE c.tenant_id = %(tenant)s AND c.started_at < %(before)s AND NOT c.legal_hold
       AND (c.started_at, c.uuid) > (%(after)s, %(uuid)s)
     ORDER BY c.started_at, c.uuid LIMIT %(batch)s
"""
_BACKED_UP: Final = """
    SELECT c.uuid, c.started_at FROM calls c
     WHERE c.tenant_id = %(tenant)s AND c.backed_up_at IS NOT NULL AND NOT c.legal_hold
       AND (c.started_at, c.uuid) > (%(after)s, %(uuid)s)
     ORDER BY c.started_at, c.uuid LIMIT %(batch)s
"""
_ON_VOLUME: Final = """
    SELECT c.uuid, c.started_at FROM calls c
     WHERE c.tenant_id = %(tenant)s AND NOT c.legal_hold
       AND EXISTS (SELECT FROM call_files f WHERE f.call_uuid = c.uuid AND f.volume_id = %(volume)s)
       AND (c.started_at, c.uuid) > (%(after)s, %(uuid)s)
     ORDER BY c.started_at, c.uuid LIMIT %(batch)s
"""
# By tag there is no order in an index: all of them are sorted once. A tag that keeps calls for longer than their
# tenant's period takes none.
_TAGGED_BEFORE: Final = f"""
    SELECT DISTINCT c.started_at, c.uuid
      FROM tags g
      JOIN ({_TENANTS}) t ON t.id = g.tenant_id
      JOIN calls c ON c.tenant_id = g.tenant_id AND c.tags @> ARRAY[g.name]
                  AND c.started_at < %(now)s - make_interval(days => g.retention_days)
     WHERE NOT c.legal_hold AND (%(only)s::integer IS NULL OR t.id = %(only)s)
       AND (t.retention <> 'period' OR g.retention_days < t.retention_days)
     ORDER BY c.started_at, c.uuid
"""


def _pages(database: Database, query: str, values: Mapping[str, Any]) -> Iterator[DictRow]:
    """Rows of a query, a page at a time, so that neither memory nor a transaction grows with the number of calls."""
    place: dict[str, Any] = {"after": datetime.min.replace(tzinfo=UTC), "uuid": UUID(int=0), "batch": _BATCH}
    while True:
        with database.connection() as connection:
            rows = connection.execute(query.encode(), {**values, **place}).fetchall()
        yield from rows
        if len(rows) < _BATCH:
            return
        place.update(after=rows[-1]["started_at"], uuid=rows[-1]["uuid"])


def _all_of(database: Database, query: str, values: Mapping[str, Any]) -> Iterator[DictRow]:
    """Rows of a query that the server runs once and keeps."""
    with (
        database.connection() as connection,
        connection.cursor(name=f"due_{uuid4().hex}", withhold=True) as cursor,
    ):
        cursor.itersize = _BATCH
        cursor.execute(query.encode(), values)
        connection.commit()
        for row in cursor:
            connection.commit()  # no transaction stays open while calls go
            yield row


def _batches(rows: Iterable[DictRow]) -> Iterator[list[DictRow]]:
    """Small ones first: whoever looks on soon sees how it goes, and may still stop it."""
    left, size = iter(rows), 1
    while batch := list(islice(left, size)):
        yield batch
        size = min(2 * size, _BATCH)


@dataclass(slots=True)
class _Removing:
    """One run over the tenants, or over the one ``only``."""

    database: Database
    tried: Policy | None
    actor: str
    dry_run: bool
    only: int | None

    def _values(self) -> dict[str, Any]:
        tried = self.tried
        return {
            "tried_tenant": tried.tenant if tried else None,
            "tried_policy": tried.policy if tried else None,
            "tried_days": tried.days if tried else None,
        }

    def _tenants(self, policy: str = "") -> list[DictRow]:
        with self.database.connection() as connection:
            rows = connection.execute(f"{_TENANTS} ORDER BY id".encode(), self._values()).fetchall()
        return [
            row
            for row in rows
            if self.only in (None, row["id"]) and (not policy or row["retention"] == policy)
        ]

    def expired(self, now: datetime) -> Iterator[DictRow]:
        """Calls that may be due by a period, a backup or a tag, the oldest first."""
        given = {**self._values(), "now": now, "only": self.only}
        sources = [_all_of(self.database, _TAGGED_BEFORE, given)]
        for tenant in self._tenants():
            values = {"tenant": tenant["id"]}
            if tenant["retention"] == "period":
                before = now - timedelta(days=tenant["retention_days"])
                sources.append(_pages(self.database, _BEFORE, {**values, "before": before}))
            if tenant["retention"] == "backup":
                sources.append(_pages(self.database, _BACKED_UP, values))
        return _merged(sources)

    def oldest(self, volume: int) -> Iterator[DictRow]:
        """Calls on a volume of the tenants that keep them until space is needed, the oldest first."""
        return _merged(
            [
                _pages(self.database, _ON_VOLUME, {"tenant": tenant["id"], "volume": volume})
                for tenant in self._tenants("space")
            ]
        )

    def run(
        self,
        statement: str,
        values: Mapping[str, Any],
        found: Iterable[DictRow],
        wanted: tuple[int, int] | None = None,
    ) -> Iterator[Removal]:
        """Remove what was found and is due by ``statement``; of the volume ``wanted`` no more octets than that."""
        missing = wanted[1] if wanted else 0

        def is_enough(removal: Removal) -> bool:
            nonlocal missing
            missing -= removal.sizes.get(wanted[0], 0) if wanted else 0
            return missing <= 0

        way = Way(self.actor, self.dry_run, is_enough) if wanted else Way(self.actor, self.dry_run)
        with ThreadPoolExecutor(1) as thread:
            going: Future[list[Removal]] | None = None
            for batch in _batches(found):
                given = {**self._values(), **values, "uuids": [row["uuid"] for row in batch]}
                begun = begin(self.database, statement, given, way)
                # The files of many go while the next are chosen.
                before, going = going, thread.submit(begun.finish)
                if before is not None:
                    yield from before.result()
                is_last = wanted is not None and missing <= 0
                if is_last or len(batch) < _BATCH:
                    yield from going.result()
                    going = None
                if is_last:
                    return
            if going is not None:
                yield from going.result()


def _merged(sources: Sequence[Iterator[DictRow]]) -> Iterator[DictRow]:
    """The rows of all, in order, each call once."""
    last = None
    for row in heapq.merge(*sources, key=lambda row: (row["started_at"], row["uuid"])):
        if row["uuid"] != last:
            yield row
        last = row["uuid"]
