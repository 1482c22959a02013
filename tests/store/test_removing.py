"""Many calls go at once: their rows in one transaction, their files beside it, and what is cut off is settled."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.scenario.rows import add_calls

from callreplay.errors import OutputError
from callreplay.model import recording_files
from callreplay.store import audit, handle, removing, retention, volumes
from callreplay.store.database import Database
from callreplay.store.handle import FOLDER, Handle
from callreplay.store.journal import Departure, settle
from callreplay.store.progress import IN_PROGRESS

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class KilledError(BaseException):
    """Nothing of the program catches it: as if the process ended here."""


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    """A volume with 40 calls of two legs, an hour apart; those of tenant 1 may go."""
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "v")
        retention.set_policy(connection, "default", "period", 1)
    add_calls(database, tmp_path / "v", 40, NOW - timedelta(days=40))
    return tmp_path / "v"


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and FOLDER not in path.parts
    }


def rows(database: Database) -> set[str]:
    with database.connection() as connection:
        found = connection.execute("SELECT path FROM call_files").fetchall()
    return {name for row in found for name in recording_files(row["path"])}


def test_all_of_them_go_with_their_files_and_folders(database: Database, folder: Path) -> None:
    assert len(files(folder)) == 160
    with database.connection() as connection:
        used = connection.execute("SELECT used_bytes FROM storage_volumes").fetchone()
    done = list(retention.retain(database, now=NOW))
    assert used is not None
    assert sum(each.size_bytes for each in done) == used["used_bytes"]
    assert [each.started_at for each in done] == sorted(each.started_at for each in done)
    assert {path.name for path in folder.iterdir()} == {FOLDER}
    assert [path.name for path in (folder / FOLDER).iterdir()] == ["volume.json"]
    with database.connection() as connection:
        left = connection.execute("SELECT used_bytes FROM storage_volumes").fetchone()
        told = connection.execute(
            "SELECT object FROM audit_log WHERE action = 'call.delete' ORDER BY id"
        ).fetchall()
        assert not audit.verify(connection).error
    assert left == {"used_bytes": 0}
    assert [row["object"] for row in told] == [str(each.uuid) for each in done]


@pytest.mark.parametrize("stage", ["before the commit", "after the commit", "half of the files"])
def test_a_removal_that_is_cut_off_is_settled(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Never a row without its file, and no file without a row for longer than to the next start."""
    remove_in = Handle._remove_in
    seen: list[str] = []

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    def half(self: Handle, place: str, names: list[str]) -> dict[str, OSError]:
        seen.append(place)
        if len(seen) > 6:
            raise KilledError
        return remove_in(self, place, names)

    with monkeypatch.context() as patched:
        if stage == "before the commit":
            patched.setattr(audit, "write_many", killed)
        else:
            patched.setattr(Handle, "_remove_in", half if stage == "half of the files" else killed)
        with pytest.raises(KilledError):
            list(retention.retain(database, now=NOW))
    assert rows(database) <= files(folder)
    assert list((folder / FOLDER).glob("*.calls"))
    with database.connection() as connection:
        volumes.reconcile(connection)
    assert rows(database) == files(folder)
    assert not list((folder / FOLDER).glob("*.calls"))
    list(retention.retain(database, now=NOW))
    assert rows(database) == files(folder) == set()


def test_a_file_that_came_since_stays(tmp_path: Path) -> None:
    """A call that came after the crash may have the path of one that went; a living process's list is let alone."""
    volume, gone, there = uuid4(), uuid4(), uuid4()
    handle.mark(tmp_path, volume)
    for name in ("old.rtp", "again.rtp", "kept.rtp"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, ns=(10**18, 10**18))

    def exists(call: UUID) -> set[str] | None:
        return {"kept.rtp"} if call == there else None

    with Handle(tmp_path, volume, 1) as here:
        with Departure(here) as departure:
            listed = here.found(["old.rtp", "again.rtp", "kept.rtp"])
            departure.enlist((there if each.path == "kept.rtp" else gone, each) for each in listed)
            (tmp_path / "again.rtp").write_text("of another call")
            assert settle(here, exists) == 0
        assert settle(here, exists) == 1
        assert settle(here, exists) == 0
    assert sorted(path.name for path in tmp_path.glob("*.rtp")) == ["again.rtp", "kept.rtp"]


def test_a_call_that_moves_meanwhile_goes_from_where_it_went(database: Database, folder: Path) -> None:
    """Whoever moves files has their rows locked; who removes them waits, and looks again."""
    with database.connection() as connection:
        target = volumes.add(connection, folder.parent / "w")
        call = connection.execute("SELECT call_uuid, path FROM call_files ORDER BY id LIMIT 1").fetchone()
    assert call is not None
    copied = target.path / call["path"]
    copied.parent.mkdir(parents=True)
    copied.write_text("moved")
    freed: list[int | None] = []
    with database.connection() as moving:
        moving.execute("UPDATE call_files SET volume_id = %s WHERE path = %s", (target.id, call["path"]))
        other = threading.Thread(
            target=lambda: freed.append(removing.remove(database, call["call_uuid"], reason="asked"))
        )
        other.start()
        waiting = 0
        while not waiting and other.is_alive():
            with database.connection() as looking:
                row = looking.execute(
                    "SELECT count(*) AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database()"
                ).fetchone()
            waiting = row["waiting"] if row else 0
            time.sleep(0.01)
        assert other.is_alive()
    other.join()
    assert freed[0]
    assert not copied.exists()


def test_one_that_cannot_be_removed_costs_the_others_nothing(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connection() as connection:
        call = connection.execute("SELECT call_uuid, path FROM call_files ORDER BY id LIMIT 1").fetchone()
    assert call is not None
    found = Handle.found

    def refused(self: Handle, paths: object) -> object:
        given = list(paths)  # type: ignore[call-overload]
        if call["path"] in given:
            raise PermissionError(13, "Permission denied")
        return found(self, given)

    monkeypatch.setattr(Handle, "found", refused)
    done = list(retention.retain(database, now=NOW))
    assert [each.uuid for each in done if each.error] == [call["call_uuid"]]
    assert len(done) == 40
    assert len(rows(database)) == 4
    with pytest.raises(OutputError, match="Permission denied"):
        removing.remove(database, call["call_uuid"], reason="asked")


def test_a_call_that_goes_on_stays_whole(database: Database, folder: Path) -> None:
    """Its packets are still being written: neither its age nor its number's erasure takes it."""
    before = files(folder)
    with database.connection() as connection:
        connection.execute("UPDATE calls SET status = %s, caller_number = '555'", (IN_PROGRESS,))
        row = connection.execute("SELECT call_uuid FROM call_files LIMIT 1").fetchone()
    assert row is not None
    with pytest.raises(OutputError, match="goes on: it can be removed once it is over"):
        removing.remove(database, row["call_uuid"], reason="asked", unless_held=False)
    assert list(retention.retain(database, now=NOW)) == []
    erased = retention.erase(database, "default", "555", actor="admin", reason="asked")
    assert {each.error for each in erased} == {"it goes on: erase it once it is over"}
    assert files(folder) == before == rows(database)
    with database.connection() as connection:
        connection.execute("UPDATE calls SET status = 'answered' WHERE uuid = %s", (row["call_uuid"],))
    assert removing.remove(database, row["call_uuid"], reason="asked")
    assert files(folder) == rows(database) < before


def test_nothing_is_sorted_for_a_page_of_what_is_due(database: Database, folder: Path) -> None:
    """The whole table was, for each 500 calls."""
    values = {
        "tenant": 1,
        "before": NOW,
        "after": NOW - timedelta(days=99),
        "uuid": UUID(int=0),
        "batch": 1000,
        "volume": 1,
    }
    with database.connection() as connection:
        # Of a few hundred rows that were analyzed meanwhile, a sort is the cheapest.
        for way in ("seqscan", "bitmapscan", "sort"):
            connection.execute(f"SET LOCAL enable_{way} = off".encode())
        for query in (retention._BEFORE, retention._BACKED_UP, retention._ON_VOLUME):
            plan = connection.execute(f"EXPLAIN {query}".encode(), values).fetchall()
            text = "\n".join(str(line["QUERY PLAN"]) for line in plan)
            assert "Sort" not in text, text
            assert "Index Scan using calls_" in text or "Index Only Scan using calls_" in text, text
