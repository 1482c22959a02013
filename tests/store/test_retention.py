from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import numpy as np
import pytest
from argon2 import PasswordHasher
from tests import programs

import callreplay
from callreplay.errors import ArgumentError, CaptureError
from callreplay.importing import filing
from callreplay.store import accounts, retention, volumes
from callreplay.store.audit import Actor
from callreplay.store.database import Database
from callreplay.store.handle import Handle
from callreplay.store.journal import Journal

NOW = datetime(2012, 7, 10, tzinfo=UTC)
DAY_NS = 86_400 * 10**9


@pytest.fixture
def filed(database: Database, tmp_path: Path, case: ModuleType) -> list[filing.Filed]:
    """Five calls, the first on 2012-06-20, a day apart."""
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "v")
    found = []
    for day in range(5):
        rows = case.capture(20)
        rows.columns.arrival_ns += day * DAY_NS
        call = case.record(rows, f"day {day}")
        call.start_ns += day * DAY_NS
        call.end_ns += day * DAY_NS
        found.append(filing.file_call(database, 1, rows, call, case.UTC))
    return found


def left(database: Database) -> list[str]:
    with database.connection() as connection:
        rows = connection.execute("SELECT wire_call_id FROM calls ORDER BY started_at").fetchall()
    return [row["wire_call_id"] for row in rows]


def policy(database: Database, name: str, days: int | None = None) -> None:
    with database.connection() as connection:
        retention.set_policy(connection, "default", name, days)


def test_forever_keeps(database: Database, filed: list[filing.Filed]) -> None:
    assert list(retention.retain(database, now=NOW + timedelta(days=9999))) == []
    assert len(left(database)) == 5


def test_period(database: Database, filed: list[filing.Filed], tmp_path: Path, case: ModuleType) -> None:
    policy(database, "period", 18)
    dry = [removal.uuid for removal in retention.retain(database, now=NOW, dry_run=True)]
    assert dry == [filed[0].uuid, filed[1].uuid]
    assert len(left(database)) == 5
    removals = list(retention.retain(database, now=NOW))
    assert [removal.uuid for removal in removals] == dry
    assert {removal.reason for removal in removals} == {"period: 18 days"}
    assert left(database) == ["day 2", "day 3", "day 4"]
    assert not (tmp_path / "v/2012/06/20").exists()
    case.check(database, tmp_path / "v")
    with database.connection() as connection:
        lines = connection.execute(
            "SELECT * FROM audit_log WHERE action = 'call.delete' ORDER BY id"
        ).fetchall()
    assert [line["object"] for line in lines] == [str(uuid) for uuid in dry]
    assert lines[0]["reason"] == "period: 18 days"
    assert lines[0]["detail"]["wire_call_id"] == "day 0"
    assert lines[0]["detail"]["bytes"] == removals[0].size_bytes > 0
    assert list(retention.retain(database, now=NOW)) == []


def test_a_policy_may_be_tried_first(database: Database, filed: list[filing.Filed]) -> None:
    tried = retention.Policy("default", "period", 18)
    dry = [removal.uuid for removal in retention.retain(database, now=NOW, dry_run=True, tried=tried)]
    assert dry == [filed[0].uuid, filed[1].uuid]
    assert list(retention.retain(database, now=NOW)) == []
    other = retention.Policy("no such tenant", "period", 18)
    with pytest.raises(ArgumentError, match="no such tenant"):
        list(retention.retain(database, now=NOW, dry_run=True, tried=other))
    with pytest.raises(ValueError, match="dry run"):
        list(retention.retain(database, now=NOW, tried=tried))


def test_a_dry_run_changes_nothing(database: Database, filed: list[filing.Filed], tmp_path: Path) -> None:
    """Not even what a killed import left, and whatever policy it tries."""
    with database.connection() as connection:
        (volume,) = volumes.listing(connection)
    opened = volume.open()
    assert isinstance(opened, Handle)
    with opened, Journal(opened, uuid4()) as journal, journal.create("1.rtp") as part:
        part.write(b"x")
    with database.connection() as connection:
        connection.execute("UPDATE calls SET legal_hold = true WHERE uuid = %s", (filed[0].uuid,))

    def state() -> tuple[object, ...]:
        with database.connection() as connection:
            tables = [
                connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                for table in ("calls", "call_files", "tenants", "storage_volumes", "audit_log")
            ]
        return tables, {path: path.stat().st_mtime_ns for path in (tmp_path / "v").rglob("*")}

    before = state()
    command = [
        sys.executable,
        "-c",
        "from callreplay.cli import main; main()",
        "retain",
        "--dry-run",
        "--json",
    ]
    command += ["--set", "period", "--days", "18", "--database", database.url]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["callId"] for line in lines] == [str(call.uuid) for call in filed[1:]]
    assert state() == before


def test_legal_hold_stays(database: Database, filed: list[filing.Filed]) -> None:
    policy(database, "period", 1)
    with database.connection() as connection:
        assert retention.hold(connection, filed[1].uuid, True, actor=Actor("ann"), reason="case 7")
    assert len(list(retention.retain(database, now=NOW))) == 4
    assert left(database) == ["day 1"]
    assert retention.remove(database, filed[1].uuid, reason="asked") is None
    with database.connection() as connection:
        retention.hold(connection, filed[1].uuid, False)
    assert len(list(retention.retain(database, now=NOW))) == 1


def test_tags_override(database: Database, filed: list[filing.Filed]) -> None:
    policy(database, "period", 1)
    with database.connection() as connection:
        connection.execute("INSERT INTO tags VALUES (1, 'keep', 1000), (1, 'short', 1), (1, 'plain', NULL)")
        connection.execute("UPDATE calls SET tags = '{short,keep}' WHERE wire_call_id = 'day 0'")
        connection.execute("UPDATE calls SET tags = '{plain}' WHERE wire_call_id = 'day 1'")
    list(retention.retain(database, now=NOW))
    assert left(database) == ["day 0"]
    policy(database, "forever")
    with database.connection() as connection:
        connection.execute("UPDATE calls SET tags = '{short}'")
    list(retention.retain(database, now=NOW))
    assert left(database) == []


def test_until_backed_up(database: Database, filed: list[filing.Filed]) -> None:
    policy(database, "backup")
    with database.connection() as connection:
        connection.execute("UPDATE calls SET backed_up_at = now() WHERE wire_call_id IN ('day 1', 'day 3')")
    list(retention.retain(database, now=NOW))
    assert left(database) == ["day 0", "day 2", "day 4"]


def command(database: Database, *words: str) -> subprocess.CompletedProcess[str]:
    return programs.run([*words, "--database-url", database.url], capture_output=True, text=True)


def test_commands_tag_calls_and_note_a_backup(database: Database, filed: list[filing.Filed]) -> None:
    def done(*words: str) -> str:
        told = command(database, *words)
        assert told.returncode == 0, told.stderr
        return told.stderr

    done("calls", "tag", str(filed[0].uuid), "--add", "keep", "--add", "old")
    done("calls", "tag", str(filed[0].uuid), "--add", "keep", "--remove", "old")
    done("retain", "--tag", "keep", "--days", "36000")
    assert "2 calls removed" not in done("retain", "--set", "backup")
    with database.connection() as connection:
        connection.execute("UPDATE calls SET imported_at = '2012-06-21' WHERE wire_call_id < 'day 3'")
    assert "3 calls noted as backed up" in done("retain", "--backed-up", "2012-06-22T00:00:00")
    assert left(database) == ["day 0", "day 3", "day 4"], "the tag's days outweigh the policy"
    done("retain", "--tag", "keep")
    assert left(database) == ["day 3", "day 4"]
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT action FROM audit_log WHERE action NOT IN ('call.delete', 'volume.add') ORDER BY id"
        )
        said = [row["action"] for row in rows.fetchall()]
    assert said == ["call.tag"] * 2 + ["retention.policy"] * 2 + ["retention.backup", "retention.policy"]
    for wrong in (
        ("calls", "tag", str(uuid4()), "--add", "x"),
        ("calls", "tag", "no-uuid", "--add", "x"),
        ("retain", "--tag", "keep", "--days", "0"),
        ("retain", "--tag", "keep", "--set", "backup"),
        ("retain", "--dry-run", "--backed-up", "2012-06-22T00:00:00"),
        ("retain", "--backed-up", "2012-06-22T00:00:00", "--tenant", "none"),
    ):
        told = command(database, *wrong)
        assert told.returncode == 2, wrong
        assert "Traceback" not in told.stderr


def test_tenants_are_made_with_an_administrator_and_locked(database: Database) -> None:
    made = command(database, "tenants", "add", "acme", "--timezone", "Europe/Riga", "--login", "ann")
    assert made.returncode == 0, made.stderr
    user, password = (line.split(": ", 1)[1] for line in made.stdout.splitlines())
    with database.connection() as connection:
        found = accounts.find_user(connection, "acme", user)
    assert found is not None
    assert (found.login, found.role) == ("ann", "admin")
    assert PasswordHasher().verify(found.password_hash, password)
    assert (
        command(database, "tenants", "change", "acme", "--timezone", "America/Lima", "--lock").returncode == 0
    )
    with database.connection() as connection:
        assert accounts.find_user(connection, "acme", "ann") is None
    listed = json.loads(command(database, "tenants", "list", "--json").stdout)
    assert listed == [
        {
            "name": "acme",
            "timeZone": "America/Lima",
            "retention": "forever",
            "days": None,
            "users": 1,
            "disabled": True,
        },
        {
            "name": "default",
            "timeZone": "UTC",
            "retention": "forever",
            "days": None,
            "users": 0,
            "disabled": False,
        },
    ]
    assert command(database, "tenants", "change", "acme", "--unlock").returncode == 0
    assert "America/Lima" in command(database, "tenants", "list").stdout
    for wrong in (
        ("add", "acme"),
        ("add", "new", "--timezone", "Mars/Olympus"),
        ("change", "none", "--lock"),
    ):
        told = command(database, "tenants", *wrong)
        assert (told.returncode, told.stdout) == (2, ""), wrong
    with database.connection() as connection:
        assert [row["name"] for row in accounts.tenants(connection)] == ["acme", "default"]
        rows = connection.execute("SELECT action FROM audit_log ORDER BY id").fetchall()
    assert [row["action"] for row in rows] == ["tenant.add", "user.add", "tenant.change", "tenant.change"]


def test_until_space_is_needed(
    database: Database, filed: list[filing.Filed], tmp_path: Path, case: ModuleType
) -> None:
    policy(database, "space")
    assert list(retention.retain(database, now=NOW)) == []
    with database.connection() as connection:
        (volume,) = volumes.listing(connection)
        one = filed[0].size_bytes
        quota = volume.used_bytes + one // 2
        connection.execute(
            "UPDATE storage_volumes SET quota_bytes = %s, reserved_bytes = %s", (quota, 2 * one)
        )
        retention.hold(connection, filed[0].uuid, True)
    dry = [removal.uuid for removal in retention.retain(database, now=NOW, dry_run=True)]
    removals = list(retention.retain(database, now=NOW))
    assert [removal.uuid for removal in removals] == dry == [filed[1].uuid, filed[2].uuid]
    assert {removal.reason for removal in removals} == {"space"}
    assert left(database) == ["day 0", "day 3", "day 4"]
    case.check(database, tmp_path / "v")


def test_a_number_is_erased_and_holds_stay(
    database: Database, filed: list[filing.Filed], tmp_path: Path
) -> None:
    with database.connection() as connection:
        connection.execute("UPDATE calls SET caller_number = '+40721', called_number = '7'")
        connection.execute("UPDATE calls SET caller_number = '5' WHERE uuid = %s", (filed[4].uuid,))
        retention.hold(connection, filed[1].uuid, True)
    looked = list(retention.erase(database, "default", " +40721 ", dry_run=True))
    assert [bool(each.error) for each in looked] == [False, True, False, False]
    assert len(left(database)) == 5
    command(database, "calls", "erase", "+40721", "--reason", "request 12")
    assert left(database) == ["day 1", "day 4"]
    with database.connection() as connection:
        rows = connection.execute("SELECT reason FROM audit_log WHERE action = 'call.delete'").fetchall()
        [job] = connection.execute("SELECT kind, what, state, result FROM jobs").fetchall()
    assert {row["reason"] for row in rows} == {"erased by number: request 12"}
    assert (job["kind"], job["what"], job["state"]) == ("erase", "+40721", "done")
    assert job["result"] == {"calls": 3, "bytes": sum(each.size_bytes for each in looked), "failed": 1}
    for number in ("", " "):
        with pytest.raises(ArgumentError):
            list(retention.erase(database, "default", number))


def test_policies_are_checked(database: Database) -> None:
    with database.connection() as connection:
        for name, days in (("always", None), ("period", None), ("space", 3), ("period", 0)):
            with pytest.raises(ArgumentError):
                retention.set_policy(connection, "default", name, days)
        with pytest.raises(ArgumentError, match="'nobody'"):
            retention.set_policy(connection, "nobody", "space")


def test_the_boundary_of_a_period(database: Database, filed: list[filing.Filed]) -> None:
    """A call of exactly so many days stays; the next microsecond takes it. Summer time has no part in it."""
    policy(database, "period", 18)
    with database.connection() as connection:
        row = connection.execute("SELECT min(started_at) AS first FROM calls").fetchone()
    assert row is not None
    due = row["first"] + timedelta(days=18)
    for now, gone in ((due, []), (due + timedelta(microseconds=1), [filed[0].uuid])):
        for dry_run in (True, False):
            found = [removal.uuid for removal in retention.retain(database, now=now, dry_run=dry_run)]
            assert found == gone
    assert left(database) == ["day 1", "day 2", "day 3", "day 4"]


def test_a_hold_that_comes_in_between(
    database: Database, filed: list[filing.Filed], tmp_path: Path, case: ModuleType
) -> None:
    """The calls were chosen before; whether they are held is asked again when each goes."""
    policy(database, "period", 1)
    going = retention.retain(database, now=NOW)
    assert next(going).uuid == filed[0].uuid
    with database.connection() as connection:
        assert retention.hold(connection, filed[2].uuid, True, actor=Actor("ann"), reason="case 7")
    assert [removal.uuid for removal in going] == [filed[n].uuid for n in (1, 3, 4)]
    assert left(database) == ["day 2"]
    case.check(database, tmp_path / "v")
    with database.connection() as connection:
        lines = connection.execute(
            "SELECT actor, action, object, reason FROM audit_log WHERE action LIKE 'call.%' ORDER BY id"
        ).fetchall()
    deleted = [line["object"] for line in lines if line["action"] == "call.delete"]
    assert deleted == [str(filed[n].uuid) for n in (0, 1, 3, 4)]
    (held,) = [line for line in lines if line["action"] == "call.hold"]
    assert (held["actor"], held["object"], held["reason"]) == ("ann", str(filed[2].uuid), "case 7")


def test_no_more_goes_than_space_needs(
    database: Database, filed: list[filing.Filed], tmp_path: Path, case: ModuleType
) -> None:
    """To the octet: a reserve that one call restores takes one; what a period takes first counts; held ones stay."""
    policy(database, "space")
    with database.connection() as connection:
        (volume,) = volumes.listing(connection)
        sizes = [call.size_bytes for call in filed]

        def reserve(octets: int) -> None:
            connection.execute(
                "UPDATE storage_volumes SET quota_bytes = used_bytes, reserved_bytes = %s", (octets,)
            )
            connection.commit()

        def dry(**tried: retention.Policy) -> list[int]:
            going = retention.retain(database, now=NOW, dry_run=True, **tried)  # type: ignore[arg-type]
            return [[call.uuid for call in filed].index(removal.uuid) for removal in going]

        reserve(sizes[0])
        assert dry() == [0]
        reserve(sizes[0] + 1)
        assert dry() == [0, 1]
        connection.execute("INSERT INTO tags VALUES (1, 'short', 16)")
        connection.execute("UPDATE calls SET tags = '{short}' WHERE wire_call_id = 'day 3'")
        connection.commit()
        assert dry() == [3, 0]
        for call in filed:
            retention.hold(connection, call.uuid, True)
        connection.commit()
        assert dry() == []
        assert list(retention.retain(database, now=NOW)) == []
    assert len(left(database)) == 5
    assert volume.used_bytes == sum(sizes)
    case.check(database, tmp_path / "v")


def test_a_call_is_retained_away_while_it_is_played(
    database: Database, filed: list[filing.Filed], tmp_path: Path
) -> None:
    """Who has it open hears it to the end; who comes later finds no such file."""
    legs = [tmp_path / "v" / path for path in filed[0].paths]
    with callreplay.open(*legs) as before:
        wanted = before.calls[0].mix()
    assert wanted.any()
    policy(database, "period", 18)
    with callreplay.open(*legs) as playing, legs[0].open("rb") as file:
        size = legs[0].stat().st_size
        assert filed[0].uuid in [removal.uuid for removal in retention.retain(database, now=NOW)]
        assert not legs[0].exists()
        np.testing.assert_array_equal(playing.calls[0].mix(), wanted)
        assert len(file.read()) == size
    with pytest.raises(CaptureError, match="No such file"):
        callreplay.open(*legs)
