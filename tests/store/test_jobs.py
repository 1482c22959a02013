"""Jobs: kept fresh by who works, read and stopped by who watches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from callreplay.errors import OutputError
from callreplay.store import accounts, jobs
from callreplay.store.audit import Actor

if TYPE_CHECKING:
    from callreplay.store.database import Database

pytestmark = pytest.mark.database
BOSS = Actor("boss", "192.0.2.1", "r1")


def listed(database: Database, **asked: Any) -> list[dict[str, Any]]:
    with database.connection() as connection:
        tenant = accounts.tenant_id(connection, "default")
        return jobs.listing(connection, asked.pop("tenant", tenant), **asked)


def test_a_job_is_seen_while_it_runs_and_when_it_has_ended(database: Database) -> None:
    with database.connection() as connection:
        tenant = accounts.tenant_id(connection, "default")
    with jobs.running(database, "import", what="a b", actor=BOSS, tenant_id=tenant, total=9) as job:
        assert job.step()
        assert job.step(5)
        deadline = time.monotonic() + 60
        while listed(database)[0]["done"] != 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [seen] = listed(database)
        assert (seen["state"], seen["total"], seen["what"], seen["actor"]) == ("running", 9, "a b", "boss")
        job.result = {"calls": 5}
    [seen] = listed(database)
    assert (seen["state"], seen["result"], seen["done"]) == ("done", {"calls": 5}, 5)
    assert seen["ended_at"] >= seen["started_at"]
    assert listed(database, tenant=tenant + 1) == []
    assert len(listed(database, tenant=tenant + 1, system=True)) == 1


def test_a_job_that_fails_says_why(database: Database) -> None:
    with pytest.raises(OutputError), jobs.running(database, "join"):
        raise OutputError("the disk \0 is full")
    [seen] = listed(database, system=True)
    assert (seen["state"], seen["error"]) == ("failed", "the disk  is full")


def test_who_watches_can_stop_it(database: Database) -> None:
    with database.connection() as connection:
        tenant = accounts.tenant_id(connection, "default")
    with jobs.running(database, "erase", tenant_id=tenant) as job:
        with database.connection() as connection:
            assert not jobs.ask_to_stop(connection, job.id, tenant + 1, actor=BOSS), "another tenant's"
            assert not jobs.ask_to_stop(connection, job.id + 1, tenant, actor=BOSS)
            assert jobs.ask_to_stop(connection, job.id, tenant, actor=BOSS)
        assert job.asked.wait(60)
        done = 0
        while job.step():
            done += 1
        assert done == 0
    [seen] = listed(database)
    assert seen["state"] == "cancelled"
    with database.connection() as connection:
        assert not jobs.ask_to_stop(connection, job.id, tenant), "it has ended"
        row = connection.execute("SELECT actor, action, object FROM audit_log ORDER BY id DESC").fetchone()
    assert row == {"actor": "boss", "action": "job.cancel", "object": str(job.id)}


def test_a_job_whose_process_died_is_lost(database: Database) -> None:
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO jobs (kind, actor, seen_at) VALUES ('batch', 'x', now() - interval '61 seconds')"
        )
    [seen] = listed(database, system=True)
    assert seen["state"] == "lost"


def test_removals_are_counted_and_stop_when_asked(database: Database) -> None:
    class Gone:
        size_bytes = 10

        def __init__(self, error: str = "") -> None:
            self.error = error

    job = jobs.Job(1, None)
    seen = []
    for removal in jobs.counted(job, iter([Gone(), Gone("held"), Gone(), Gone()])):
        seen.append(removal)
        if len(seen) == 3:
            job.asked.set()
    assert len(seen) == 3
    assert job.result == {"calls": 2, "bytes": 20, "failed": 1}
    assert job.is_cancelled
