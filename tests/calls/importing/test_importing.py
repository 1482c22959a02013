"""From a capture file over the embedded PostgreSQL and back to sound, as a user's commands do it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import callreplay
from callreplay.calls import importer, volumes
from callreplay.calls.database import Database
from callreplay.calls.importer import Job, Outcome

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
NAMES = ("reservation.pcap", "support.pcap", "wideband.pcapng")
COMMAND = [sys.executable, "-c", "from callreplay.cli import main; main()"]


def run(url: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160"}
    command = [*COMMAND, *map(str, arguments), "--database", url]
    return subprocess.run(command, capture_output=True, check=False, text=True, env=environment)


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Path:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    return tmp_path / "shelf"


def import_(database: Database, path: Path) -> Outcome:
    outcome = importer.import_one(database, Job(database.url, 1), path)
    assert outcome.error == ""
    return outcome


@pytest.mark.parametrize("name", NAMES)
def test_stored_legs_sound_as_the_capture_did(name: str, database: Database, shelf: Path) -> None:
    (call,) = import_(database, SAMPLES / name).calls
    legs = [shelf / path for path in call["paths"]]
    assert len(legs) == 2
    with callreplay.open(SAMPLES / name) as capture:
        (before,) = capture.calls
        wanted = before.mix()
        for order in (legs, legs[::-1]):
            with callreplay.open(*order) as stored:
                (after,) = stored.calls
                assert (after.start_ns, after.end_ns) == (before.start_ns, before.end_ns)
                assert after.description == before.description
                assert [leg.flows for leg in after.legs] == [leg.flows for leg in before.legs]
                assert [leg.codecs for leg in after.legs] == [leg.codecs for leg in before.legs]
                np.testing.assert_array_equal(after.mix(), wanted)
    assert np.abs(wanted).max() > 1000


def test_a_damaged_side_index_costs_a_warning(database: Database, shelf: Path) -> None:
    (call,) = import_(database, SAMPLES / "reservation.pcap").calls
    legs = [shelf / path for path in call["paths"]]
    index = legs[0].with_name(legs[0].name + ".idx")
    index.write_bytes(index.read_bytes()[:-1])
    with callreplay.open(*legs) as stored:
        assert any("without its side index" in text for text in stored.warnings)
        assert stored.calls[0].mix().any()


def test_the_commands_end_to_end(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(SAMPLES / name, folder)
    (folder / "notes.txt").write_text("no capture")
    assert run(url, "import", folder).returncode == 1  # no volume yet
    assert run(url, "volumes", "add", tmp_path / "a", "--quota", "1G").returncode == 0
    dry = run(url, "import", folder, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "3 calls to add" in dry.stderr
    done = run(url, "import", folder, "--json", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    calls = [json.loads(line) for line in done.stdout.splitlines()]
    assert [call["added"] for call in calls] == [True] * 3
    assert "3 calls added, 0 known already, 1 other files passed over" in done.stderr
    again = run(url, "import", folder / "*.pcap*")
    assert "0 calls added, 3 known already" in again.stderr
    found = json.loads(run(url, "calls", "find", "--json").stdout)
    assert {call["callId"] for call in found} == {call["callId"] for call in calls}
    chosen = next(call for call in calls if call["capture"].endswith("support.pcap"))
    table = run(url, "calls", "find", "--callerNumber", chosen["callerNumber"])
    assert chosen["callId"] in table.stdout
    out = tmp_path / "x.wav"
    made = run(url, "calls", "transcode", "--callId", chosen["callId"], "-o", out)
    assert made.returncode == 0, made.stderr
    with wave.open(str(out)) as wav, callreplay.open(SAMPLES / "support.pcap") as capture:
        assert wav.getnframes() == len(capture.calls[0].mix())
    assert run(url, "volumes", "add", tmp_path / "b", "--name", "second").returncode == 0
    moved = run(url, "volumes", "join", "1", "second")
    assert moved.stdout.startswith("3 calls"), moved.stderr
    assert not list((tmp_path / "a").rglob("*.rtp"))
    assert "removed" in run(url, "volumes", "retire", "1").stdout
    listed = json.loads(run(url, "volumes", "list", "--json").stdout)
    assert [(volume["name"], volume["warning"]) for volume in listed] == [("second", "")]
    assert run(url, "calls", "hold", chosen["callId"], "--reason", "case 7").returncode == 0
    run(url, "retain", "--set", "period", "--days", "1")
    left = json.loads(run(url, "calls", "find", "--json").stdout)
    assert [call["callId"] for call in left] == [chosen["callId"]]
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture at all")
    assert run(url, "import", bad).returncode == 2
    assert run(url, "import", tmp_path / "absent.pcap").returncode == 2


def test_watch_takes_the_finished_and_sets_the_bad_aside(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    run(url, "volumes", "add", tmp_path / "a")
    shutil.copy(SAMPLES / "support.pcap", folder)
    (folder / "bad.pcap").write_bytes(b"no capture at all")
    done = run(url, "watch", folder, "--once", "--settle", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["added"] for line in done.stdout.splitlines()] == [True]
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {"done/support.pcap", "failed/bad.pcap", "failed/bad.pcap.reason.txt"}
