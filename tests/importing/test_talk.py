"""Who talks how long: with a call however it is filed, where it is asked for, and as the call itself says."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.importing.test_importing import called

import callreplay
from callreplay.importing import importer, reading, rotation, talk
from callreplay.importing.importer import Job, Outcome
from callreplay.importing.watching import Watch
from callreplay.recording.recorder import Recorder
from callreplay.recording.sources import Stream
from callreplay.store import records, search, volumes
from callreplay.store.database import Database
from callreplay.store.rows import SPEECH
from callreplay.store.search import CallQuery

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "reservation.pcap"


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Path:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    return tmp_path / "shelf"


def figures(url: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT {', '.join(SPEECH)} FROM call_list").fetchall()


def wanted(path: Path = SAMPLE) -> dict[str, Any]:
    with callreplay.open(path) as capture:
        return talk.columns_of(capture.calls[0].speech())


def _alone(database: Database, job: Job, folder: Path) -> None:
    assert importer.import_one(database, job, SAMPLE).error == ""


def _several(database: Database, job: Job, folder: Path) -> None:
    paths = [SAMPLE, SAMPLE.with_name("support.pcap")]
    assert [one.error for one in importer.import_several(database, [(job, path) for path in paths])] == [
        "",
        "",
    ]


def _rotated(database: Database, job: Job, folder: Path) -> None:
    for outcome, _, _ in importer.import_run(database, job, rotation.members([SAMPLE])):
        assert outcome.error == ""


def _portions(database: Database, job: Job, folder: Path) -> None:
    assert importer.import_portions(database, job, [SAMPLE]).error == ""


def _watched(database: Database, job: Job, folder: Path) -> None:
    inbox = folder / "inbox"
    inbox.mkdir()
    shutil.copy(SAMPLE, inbox)
    Watch(inbox, job, settle_seconds=0.01).run(threading.Event(), lambda outcome: None, True)


def _recorded(database: Database, job: Job, folder: Path) -> None:
    seen = list[Outcome]()
    source = os.open(SAMPLE, os.O_RDONLY)
    recorder = Recorder([Stream(source)], job, folder / "spools", 0.1, 0, report=seen.append)
    recorder.run(threading.Event(), threading.Event())
    os.close(source)
    assert [one.error for one in seen] == [""]


DOORS = (_alone, _several, _rotated, _portions, _watched, _recorded)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_door_files_the_figures(
    door: Callable[[Database, Job, Path], None], database: Database, shelf: Path, tmp_path: Path
) -> None:
    door(database, Job(database.url, 1, speech=True), tmp_path)
    found = figures(database.url)
    assert wanted() in found
    assert all(None not in row.values() for row in found)


def test_nobody_listens_where_nobody_asks(
    database: Database, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(talk, "heard", refuse)
    _alone(database, Job(database.url, 1), shelf)
    assert figures(database.url) == [dict.fromkeys(SPEECH)]
    # A dry run and a call that the database has decode nothing either.
    assert importer.import_one(database, Job(database.url, 1, dry_run=True, speech=True), SAMPLE).error == ""
    _alone(database, Job(database.url, 1, speech=True), shelf)
    assert figures(database.url) == [dict.fromkeys(SPEECH)]


def test_what_cannot_be_heard_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    call = reading.read(SAMPLE, speech=True).calls[0]
    monkeypatch.setattr("callreplay.packets.why_encrypted", lambda *_: "said so")
    call.hear()
    assert call.speech == {}
    call = reading.read(SAMPLE, speech=True).calls[0]
    monkeypatch.undo()
    monkeypatch.setattr("callreplay.leg.silent_spans", lambda *_: ["a codec that is none"])
    call.hear()
    assert call.speech == {}
    call = reading.read(SAMPLE, speech=True).calls[0]
    monkeypatch.undo()
    monkeypatch.setattr("callreplay.call.Call.speech", lambda _: 1 / 0)
    call.hear()  # a figure does not cost its call
    assert call.speech == {}


def test_stored_calls_are_listened_to_later(database: Database, shelf: Path) -> None:
    _alone(database, Job(database.url, 1), shelf)
    done = called(database.url, "speech", "--query", "callerName=Ana")
    assert (done.returncode, done.stderr) == (0, "1 calls heard, 0 errors\n")
    assert figures(database.url) == [wanted()]
    assert called(database.url, "speech", "--query", "", "-o", "x.rttm").returncode == 2
    assert called(database.url, "speech").returncode == 2
    shutil.rmtree(shelf / "2026")
    done = called(database.url, "speech", "--query", "callerName=Ana")
    assert done.returncode == 1
    assert "1 errors" in done.stderr


def test_figures_are_told_and_found(database: Database, shelf: Path) -> None:
    _alone(database, Job(database.url, 1, speech=True), shelf)
    shown = json.loads(called(database.url, "calls", "find", "--json").stdout)
    row = figures(database.url)[0]
    assert shown[0]["talk"] == row["talk_ms"] / 1000 > 5
    assert shown[0]["calledMonologue"] == row["called_monologue_ms"] / 1000 > 0
    assert shown[0]["callerInterruptions"] == row["caller_interruptions"]
    out = called(
        database.url, "calls", "find", "--csv", "--columns", "talk,silence,overlap,callerTalk"
    ).stdout
    assert out.splitlines()[0] == "talk,silence,overlap,callerTalk"
    silence = row["silence_ms"] * 100 / (row["talk_ms"] + row["silence_ms"])
    asked = {
        "--talk-longer-than": (f"{row['talk_ms'] / 1000 - 0.5:.1f}", f"{row['talk_ms'] / 1000 + 0.5:.1f}"),
        "--silence-above": (f"{silence - 1:.1f}", f"{silence + 1:.1f}"),
    }
    for option, (less, more) in asked.items():
        below = {"--talk-longer-than": "--talk-shorter-than"}.get(option, "--silence-below")
        for name, value, hits in ((option, less, 1), (option, more, 0), (below, more, 1), (below, less, 0)):
            found = json.loads(called(database.url, "calls", "find", "--json", name, value).stdout)
            assert len(found) == hits, (name, value)


def test_figures_are_kept_within_reach_only(database: Database, shelf: Path) -> None:
    _alone(database, Job(database.url, 1), shelf)
    with database.connection() as connection:
        call = connection.execute("SELECT uuid FROM calls").fetchone()
        assert call is not None
        mine = search.Reach(1, (CallQuery(caller_number="nobody"),))
        assert not records.keep_speech(connection, mine, call["uuid"], {"talk_ms": 1})
        assert records.keep_speech(connection, 1, call["uuid"], {"talk_ms": 1})
