"""Jobs: work of minutes and hours that others can watch and stop, whichever process does it.

Whoever works keeps a row of table ``jobs`` fresh; whoever watches reads it, and asks for an end there. The worker hears
of it within a second or so, and stops at a place of its own choosing: between two calls, two captures.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from callreplay.store import audit
from callreplay.store.audit import SYSTEM, Actor
from callreplay.store.database import Connection, Database
from callreplay.store.rows import clean_text

__all__ = ["KINDS", "Job", "ask_to_stop", "counted", "listing", "own", "running"]

_log = logging.getLogger("callreplay.store")
KINDS: Final = ("import", "batch", "export", "join", "retain", "erase")
_BEAT_SECONDS: Final = 1.0
_LOST: Final = "60 seconds"  # without a word: the process has died
_KEPT: Final = "90 days"
_LONGEST: Final = 2000  # characters of a text


class Job:
    """Work under way. ``result`` is what came of it, shown when it has ended: ``calls``, ``bytes``, ``failed``."""

    def __init__(self, number: int, total: int | None) -> None:
        self.id, self.total, self.done = number, total, 0
        self.result: dict[str, Any] = {}
        self.is_cancelled = False
        self.asked = threading.Event()
        """Set when the job is to end; by its watchers, or by the process that runs it."""

    def step(self, done: int | None = None, total: int | None = None) -> bool:
        """Say how far it is (one more, if not said). False: it is to end here."""
        self.done = self.done + 1 if done is None else done
        self.total = self.total if total is None else total
        self.is_cancelled = self.is_cancelled or self.asked.is_set()
        return not self.is_cancelled


@contextmanager
def running(
    database: Database,
    kind: str,
    *,
    what: str = "",
    actor: Actor = SYSTEM,
    tenant_id: int | None = None,
    total: int | None = None,
) -> Iterator[Job]:
    """A job for as long as the block runs; an exception makes it a failed one, and goes on."""
    with database.connection() as connection:
        connection.execute("DELETE FROM jobs WHERE started_at < now() - %s::interval", (_KEPT,))
        row = connection.execute(
            "INSERT INTO jobs (tenant_id, kind, what, actor, total) VALUES (%s, %s, %s, %s, %s) RETURNING id",
            (tenant_id, kind, clean_text(what, _LONGEST), actor.login, total),
        ).fetchone()
    assert row is not None
    job = Job(row["id"], total)
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(database, job, over), name=f"job {job.id}", daemon=True)
    beating.start()
    state, error = "failed", "stopped"
    try:
        yield job
        state, error = "cancelled" if job.is_cancelled else "done", ""
    except Exception as failure:
        error = str(failure) or type(failure).__name__
        raise
    finally:
        over.set()
        beating.join()
        with database.connection() as connection:
            connection.execute(
                "UPDATE jobs SET state = %s, error = %s, result = %s, done = %s, total = %s, seen_at = now(), "
                "ended_at = now() WHERE id = %s",
                (
                    state,
                    error.replace("\0", "")[:_LONGEST],
                    Jsonb(job.result),
                    job.done,
                    job.total,
                    job.id,
                ),
            )


class _Removed(Protocol):
    @property
    def size_bytes(self) -> int: ...
    @property
    def error(self) -> str: ...


R = TypeVar("R", bound=_Removed)


def counted(job: Job | None, removals: Iterable[R]) -> Iterator[R]:
    """Removals as they are done, counted in the job's result; no more of them when it is to end."""
    for removal in removals:
        yield removal
        if job is None:
            continue
        kind = "failed" if removal.error else "calls"
        job.result[kind] = job.result.get(kind, 0) + 1
        if not removal.error:
            job.result["bytes"] = job.result.get("bytes", 0) + removal.size_bytes
        if not job.step():
            return


def _beat(database: Database, job: Job, over: threading.Event) -> None:
    while not over.wait(_BEAT_SECONDS):
        try:
            with database.connection() as connection:
                row = connection.execute(
                    "UPDATE jobs SET done = %s, total = %s, seen_at = now() WHERE id = %s "
                    "RETURNING cancel_asked_at IS NOT NULL AS asked",
                    (job.done, job.total, job.id),
                ).fetchone()
        except psycopg.Error as error:
            _log.warning("job %d cannot say how far it is: %s", job.id, error)
            continue
        if row is not None and row["asked"]:
            job.asked.set()


def listing(
    connection: Connection, tenant_id: int, *, system: bool = False, limit: int = 100
) -> list[DictRow]:
    """A tenant's jobs, those under way first, then the newest; with ``system`` those of every tenant and of none.

    ``state`` is ``lost`` where the process was not heard of for a minute; ``tenant`` is a name, or None.
    """
    return connection.execute(
        "SELECT j.id, j.kind, j.what, j.actor, j.done, j.total, j.result, j.error, j.started_at, j.ended_at, "
        "j.cancel_asked_at, t.name AS tenant, CASE WHEN j.state = 'running' AND j.seen_at < now() - %(lost)s::interval "
        "THEN 'lost' ELSE j.state END AS state FROM jobs j LEFT JOIN tenants t ON t.id = j.tenant_id "
        "WHERE %(system)s OR j.tenant_id = %(tenant)s ORDER BY j.state <> 'running', j.id DESC LIMIT %(limit)s",
        {"lost": _LOST, "system": system, "tenant": tenant_id, "limit": limit},
    ).fetchall()


def own(connection: Connection, number: int, kind: str, tenant_id: int, actor: str) -> DictRow | None:
    """The job of that number and kind, where ``actor`` of the tenant began it; ``state`` is as in ``listing``."""
    return connection.execute(
        "SELECT id, what, done, total, result, error, cancel_asked_at, CASE WHEN state = 'running' "
        "AND seen_at < now() - %s::interval THEN 'lost' ELSE state END AS state FROM jobs "
        "WHERE id = %s AND kind = %s AND tenant_id = %s AND actor = %s",
        (_LOST, number, kind, tenant_id, actor),
    ).fetchone()


def ask_to_stop(
    connection: Connection, number: int, tenant_id: int, *, system: bool = False, actor: Actor = SYSTEM
) -> bool:
    """Ask a job to end; False where none of that number runs. ``tenant_id``, ``system``: as ``listing``."""
    row = connection.execute(
        "UPDATE jobs SET cancel_asked_at = coalesce(cancel_asked_at, now()) WHERE id = %s AND state = 'running' "
        "AND (%s OR tenant_id = %s) RETURNING tenant_id, kind, what",
        (number, system, tenant_id),
    ).fetchone()
    if row is None:
        return False
    said = {"kind": row["kind"], "what": row["what"]}
    audit.note(connection, actor, "job.cancel", str(number), tenant_id=row["tenant_id"], detail=said)
    return True
