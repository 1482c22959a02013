"""A schema is brought up to date while others write, and after it was cut short."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from callreplay.store import migrations
from callreplay.store.database import _MIGRATION_LOCK, migrate, unmigrated
from callreplay.store.embedded import EmbeddedPostgres

CALL = "INSERT INTO calls (tenant_id, identity, started_at, ended_at, backed_up_at) VALUES (1, %s, now(), now(), now())"


@pytest.fixture
def old(bare: str) -> str:
    """The URL of a database with the schema before 0020."""
    migrate(bare, "0017")
    return bare


def soon() -> Iterator[None]:
    """Again and again, for a minute at most."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        yield
        time.sleep(0.02)


def waits(url: str, for_what: str) -> int:
    """The process that makes an index and waits, once it does."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in soon():
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND wait_event_type = 'Lock' "
                "AND datname = current_database() AND pid <> pg_backend_pid()",
                (f"%{for_what}%",),
            ).fetchone()
            if row is not None:
                return int(row[0])
    raise AssertionError(f"nothing waits for {for_what}")


def invalid(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
        ).fetchall()
    return [row[0] for row in rows]


def test_others_write_while_an_index_is_made_and_a_cut_short_one_is_made_anew(old: str) -> None:
    failures: list[Exception] = []

    def bring_up() -> None:
        try:
            migrate(old)
        except Exception as error:
            failures.append(error)

    def begin() -> list[threading.Thread]:
        """Two at once, as the workers of a service start."""
        started = [threading.Thread(target=bring_up) for _ in range(2)]
        for each in started:
            each.start()
        return started

    with psycopg.connect(old) as writer, psycopg.connect(old, autocommit=True) as other:
        writer.execute(CALL, ("open",))
        going = begin()
        maker = waits(old, "CREATE INDEX CONCURRENTLY calls_backed_up")
        # A lock that lets nobody write would be queued behind the first writer, and hold up this one.
        other.execute("SET lock_timeout = '20s'")
        other.execute(CALL, ("meanwhile",))
        other.execute("SELECT pg_terminate_backend(%s)", (maker,))
        for _ in soon():
            if failures:
                break
        # The second goes on where the first was cut off.
        waits(old, "INDEX CONCURRENTLY calls_backed_up")
        assert invalid(old) == ["calls_backed_up"]
        writer.commit()
        for each in going:
            each.join()
        assert len(failures) == 1
        assert isinstance(
            failures[0], psycopg.OperationalError
        )  # of AdminShutdown, which older ones of psycopg lose
        assert invalid(old) == []
        other.execute("SET enable_seqscan = off")
        plan = other.execute(
            "EXPLAIN SELECT uuid FROM calls WHERE tenant_id = 1 AND backed_up_at IS NOT NULL"
        )
        assert "calls_backed_up" in str(plan.fetchall())
        row = other.execute("SELECT count(*) FROM calls WHERE backed_up_at IS NOT NULL").fetchone()
        assert row == (2,)


def test_what_is_up_to_date_costs_a_look_and_no_alembic(server: EmbeddedPostgres) -> None:
    """Every command of the database does it at its start."""
    program = (
        "import sys; from callreplay.store.database import migrate; migrate(sys.argv[1]); "
        "print([name for name in ('alembic', 'sqlalchemy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, server.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_others_write_while_columns_are_waited_for(old: str) -> None:
    """What wants the table for itself lets everybody go first who comes while it waits for a long transaction."""
    migrate(old, "0020")
    with psycopg.connect(old) as writer, psycopg.connect(old, autocommit=True) as other:
        writer.execute(CALL, ("open",))
        going = threading.Thread(target=migrate, args=(old, "0021"))
        going.start()
        waits(old, "LOCK TABLE call_list")
        other.execute("SET lock_timeout = '20s'")
        for number in range(3):
            other.execute(CALL, (f"meanwhile {number}",))
        assert going.is_alive()
        writer.commit()
        going.join()
        row = other.execute("SELECT count(*), count(talk_ms) FROM call_list").fetchone()
        assert row == (4, 0)
        # Calls that nobody listened to take no room in the new indexes.
        other.execute("UPDATE calls SET talk_ms = 5, silence_ms = 5 WHERE identity = 'open'")
        other.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        share = "silence_ms * 100.0::float8 / nullif(talk_ms + silence_ms, 0)"
        for index, what in (("calls_talk", "talk_ms > 4"), ("calls_silence", f"({share}) > 49")):
            plan = other.execute(f"EXPLAIN SELECT uuid FROM calls WHERE tenant_id = 1 AND {what}")
            assert f"{index} on calls" in str(plan.fetchall())


def test_words_that_there_are_get_their_places_and_a_cut_short_migration_is_run_again(old: str) -> None:
    migrate(old, "0021")
    with psycopg.connect(old, autocommit=True) as connection:
        for number in range(3):
            connection.execute(CALL, (f"said {number}",))
        connection.execute(
            "INSERT INTO call_words (call_uuid, words, lexemes) SELECT uuid, '[]', 'hello' FROM calls"
        )
        places = "SELECT count(*) FROM call_words w JOIN calls c USING (started_at, tenant_id) WHERE c.uuid = call_uuid"
        for _ in range(2):
            migrate(old)
            assert connection.execute(places).fetchone() == (3,)
            connection.execute("ALTER TABLE call_words DISABLE TRIGGER place_words")
            connection.execute("UPDATE call_words SET started_at = NULL")
            connection.execute("ALTER TABLE call_words ENABLE TRIGGER place_words")
            connection.execute("UPDATE schema_version SET version_num = '0021'")
        connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT FROM call_words WHERE tenant_id = 1 ORDER BY started_at LIMIT 9"
        )
        assert "call_words_time" in str(plan.fetchall())


def test_what_makes_indexes_beside_writers_is_run_again_where_it_was_cut_short(old: str) -> None:
    """It commits before each index; the kill of one leaves what it did, and the schema's former number."""
    former = "0017"
    for path in sorted(Path(migrations.__path__[0]).glob("versions/0*.py")):
        number = path.name[:4]
        if number <= "0017":
            continue
        migrate(old, number)
        if "create_index" in path.read_text():
            with psycopg.connect(old, autocommit=True) as connection:
                connection.execute("UPDATE schema_version SET version_num = %s", (former,))
            migrate(old, number)
            assert not invalid(old)
        former = number


def test_rights_are_changed_while_nobody_migrates(bare: str) -> None:
    """Of two that change the rights of one object at the same time the server refuses one."""
    entered = threading.Event()

    def change() -> None:
        with psycopg.connect(bare, autocommit=True) as connection, unmigrated(connection):
            entered.set()

    with psycopg.connect(bare, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        thread = threading.Thread(target=change)
        thread.start()
        assert not entered.wait(0.5)
        other.execute("SELECT pg_advisory_unlock(%s)", (_MIGRATION_LOCK,))
        thread.join(30)
        assert entered.is_set()
        with unmigrated(other):
            pass
