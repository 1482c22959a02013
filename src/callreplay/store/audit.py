"""The audit log: who did what, when, from where. Rows are only ever added."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from callreplay.store.database import Connection

__all__ = ["listing", "write", "write_once"]


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
