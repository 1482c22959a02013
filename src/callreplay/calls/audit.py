"""The audit log: who did what, when, from where. Rows are only ever added."""

from __future__ import annotations

from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from callreplay.calls.database import Connection

__all__ = ["listing", "write"]


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


def listing(
    connection: Connection,
    tenant_id: int,
    *,
    system: bool = False,
    before: int | None = None,
    target: str = "",
    limit: int = 100,
) -> list[DictRow]:
    """Rows of a tenant, newest first; those older than row ``before``.

    With ``system`` also the rows of no tenant. They name files of every tenant.
    """
    return connection.execute(
        "SELECT id, at, actor, action, object, host(address) AS address, request_id, reason, detail FROM audit_log "
        "WHERE (tenant_id = %(tenant)s OR (%(system)s AND tenant_id IS NULL)) "
        "AND (%(before)s::bigint IS NULL OR id < %(before)s) AND (%(target)s = '' OR object = %(target)s) "
        "ORDER BY id DESC LIMIT %(limit)s",
        {"tenant": tenant_id, "system": system, "before": before, "target": target, "limit": limit},
    ).fetchall()
