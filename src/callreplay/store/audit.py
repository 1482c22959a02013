"""The audit log: who did what, when, from where. Rows are only ever added, and chained by hash at their commit."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from callreplay.store.database import Connection, Database

__all__ = [
    "SYSTEM",
    "Actor",
    "Chain",
    "Line",
    "as_csv",
    "every",
    "listing",
    "note",
    "verify",
    "write",
    "write_many",
    "write_once",
]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, for the audit log."""

    login: str
    address: str | None = None
    request_id: str = ""


SYSTEM: Final = Actor("system")
"""Who runs a command."""


def note(
    connection: Connection,
    actor: Actor,
    action: str,
    target: str,
    *,
    tenant_id: int | None = None,
    reason: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a row of what ``actor`` did."""
    write(
        connection,
        action,
        tenant_id=tenant_id,
        actor=actor.login,
        target=target,
        address=actor.address,
        request_id=actor.request_id,
        reason=reason,
        detail=detail,
    )


def write(
    connection: Connection,
    action: str,
    *,
    tenant_id: int | None = None,
    actor: str = "",
    target: str = "",
    address: str | None = None,
    request_id: str = "",
    reason: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a row. ``target`` is what it was done to: a call's uuid, a path, a login. No secret may be in it."""
    connection.execute(
        "INSERT INTO audit_log (tenant_id, actor, action, object, address, request_id, reason, detail) "
        "VALUES (%s, %s, %s, %s, %s::inet, %s, %s, %s)",
        (tenant_id, actor, action, target, address, request_id, reason, Jsonb(detail or {})),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """What happened to one of many: ``target`` as in ``write``."""

    tenant_id: int | None
    target: str
    reason: str
    detail: dict[str, Any]


def write_many(connection: Connection, action: str, actor: str, lines: Sequence[Line]) -> None:
    """Add a row for each of ``lines``, in their order, by one statement."""
    connection.execute(
        "INSERT INTO audit_log (tenant_id, actor, action, object, reason, detail) "
        "SELECT tenant, %(actor)s, %(action)s, target, reason, detail::jsonb FROM unnest(%(tenants)s::integer[], "
        "%(targets)s::text[], %(reasons)s::text[], %(details)s::text[]) "
        "WITH ORDINALITY AS line (tenant, target, reason, detail, place) ORDER BY place",
        {
            "actor": actor,
            "action": action,
            "tenants": [line.tenant_id for line in lines],
            "targets": [line.target for line in lines],
            "reasons": [line.reason for line in lines],
            "details": [json.dumps(line.detail) for line in lines],
        },
    )


def write_once(
    connection: Connection,
    action: str,
    *,
    once: str,
    tenant_id: int | None,
    actor: str,
    target: str,
    address: str | None,
    request_id: str,
    reason: str = "",
) -> None:
    """As ``write``, unless there is a row of the same action and target with the same ``once`` in its detail."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"audit {action} {once}",))
    row = connection.execute(
        "SELECT 1 FROM audit_log WHERE object = %s AND object <> '' AND action = %s AND detail ->> 'once' = %s LIMIT 1",
        (target, action, once),
    ).fetchone()
    if row is None:
        write(
            connection,
            action,
            tenant_id=tenant_id,
            actor=actor,
            target=target,
            address=address,
            request_id=request_id,
            reason=reason,
            detail={"once": once},
        )


def listing(
    connection: Connection,
    tenant_id: int,
    *,
    system: bool = False,
    before: int | None = None,
    actor: str = "",
    action: str = "",
    target: str = "",
    begin: datetime | None = None,
    end: datetime | None = None,
    limit: int = 100,
) -> list[DictRow]:
    """Rows of a tenant, newest first; those older than row ``before``, and only of what else is given.

    ``end`` is exclusive. With ``system`` also the rows of no tenant. They name files of every tenant.
    """
    return connection.execute(
        "SELECT id, at, actor, action, object, host(address) AS address, request_id, reason, detail FROM audit_log "
        "WHERE (tenant_id = %(tenant)s OR (%(system)s AND tenant_id IS NULL)) "
        "AND (%(before)s::bigint IS NULL OR id < %(before)s) "
        "AND (%(actor)s = '' OR actor = %(actor)s) AND (%(action)s = '' OR action = %(action)s) "
        "AND (%(target)s = '' OR object = %(target)s) "
        "AND (%(begin)s::timestamptz IS NULL OR at >= %(begin)s) "
        "AND (%(end)s::timestamptz IS NULL OR at < %(end)s) "
        "ORDER BY id DESC LIMIT %(limit)s",
        {
            "tenant": tenant_id,
            "system": system,
            "before": before,
            "actor": actor,
            "action": action,
            "target": target,
            "begin": begin,
            "end": end,
            "limit": limit,
        },
    ).fetchall()


EXPORTED: Final = ("id", "at", "actor", "action", "object", "address", "request_id", "reason", "detail")
"""What an export holds of a row, in this order."""


def every(database: Database, tenant_id: int, **asked: Any) -> Iterator[dict[str, Any]]:
    """All rows that ``listing`` would find, newest first, as plain JSON data: times ISO 8601, UTC."""
    before: int | None = None
    while True:
        with database.connection() as connection:
            rows = listing(connection, tenant_id, before=before, limit=_PAGE, **asked)
        for row in rows:
            yield {name: row[name] for name in EXPORTED} | {"at": row["at"].isoformat()}
        if len(rows) < _PAGE:
            return
        before = rows[-1]["id"]


def as_csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The rows as CSV, with a head. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(EXPORTED)
    for row in rows:
        values = (*(row[name] for name in EXPORTED[:-1]), json.dumps(row["detail"], ensure_ascii=False))
        writer.writerow(["'" + v if isinstance(v, str) and v[:1] in _FORMULA else v for v in values])
        if out.tell() > 1 << 16:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


_PAGE: Final = 1000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_GENESIS: Final = hashlib.sha256(b"callreplay audit").digest()
# Written out, not the function that the trigger calls: what is checked must not depend on what might be at fault.
_CHAIN: Final = """
    SELECT c.position, c.audit_id, c.hash, a.id IS NOT NULL AS there,
           jsonb_build_array(a.id, (extract(epoch FROM a.at) * 1000000)::bigint, a.tenant_id, a.actor, a.action,
                             a.object, host(a.address), a.request_id, a.reason, a.detail)::text AS text
      FROM audit_chain c LEFT JOIN audit_log a ON a.id = c.audit_id ORDER BY c.position
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """What a verification found: the rows checked, the hash of the last, and what is wrong ('' for nothing)."""

    rows: int
    head: str
    error: str = ""


def verify(connection: Connection, head: tuple[int, str] | None = None) -> Chain:
    """Compute every hash of the audit log anew.

    A chain that was cut at its end is whole by itself: ``head``, the row and hash that an earlier verification gave and
    that was kept elsewhere, is looked for in it.
    """
    rows, last, seen = 0, _GENESIS, head is None
    with connection.cursor(name="audit_chain") as cursor:
        cursor.itersize = 1000
        for row in cursor.execute(_CHAIN):
            rows += 1
            number = f"row {row['audit_id']} of the audit log"
            if row["position"] != rows:
                return Chain(rows - 1, last.hex(), f"the chain has a gap before {number}")
            if not row["there"]:
                return Chain(rows - 1, last.hex(), f"{number} was taken out")
            last = hashlib.sha256(last + str(row["text"]).encode()).digest()
            if last != bytes(row["hash"]):
                return Chain(rows - 1, bytes(row["hash"]).hex(), f"{number} is not what was written")
            seen = seen or (rows, last.hex()) == head
    return Chain(rows, last.hex(), _loose_ends(connection, rows, last, seen, head))


def _loose_ends(
    connection: Connection, rows: int, last: bytes, seen: bool, head: tuple[int, str] | None
) -> str:
    loose = connection.execute(
        "SELECT min(id) AS id FROM audit_log a WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id)"
    ).fetchone()
    if loose is not None and loose["id"] is not None:
        return f"row {loose['id']} of the audit log is not in the chain"
    if not seen and head is not None:
        return f"{head[0]}:{head[1]} is not in the chain: its end was cut off, or it was written anew"
    end = connection.execute("SELECT position, hash FROM audit_head").fetchone()
    if (end["position"], bytes(end["hash"])) != (rows, last) if end is not None else rows:
        return "the chain does not end where its head says"
    return ""
