"""From a capture file over the embedded PostgreSQL and back to sound, as a user's commands do it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import wave
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import programs
from tests.importing.test_filing import tree

import callreplay
from bench import importing
from callreplay.cli import main
from callreplay.importing import importer, reading, workers
from callreplay.importing.importer import Job, Outcome
from callreplay.importing.watching import Watch
from callreplay.store import volumes
from callreplay.store.database import Database

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
NAMES = ("reservation.pcap", "support.pcap", "wideband.pcapng")


def run(url: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160"}
    return programs.run([*arguments, "--database", url], capture_output=True, text=True, env=environment)


def called(url: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """As ``run``, in this process: the interpreter and its imports are most of what a command takes."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    words = [str(argument) for argument in arguments]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["callreplay", *words, "--database", url])
        patch.setenv("COLUMNS", "160")
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


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
    assert called(url, "import", folder).returncode == 1  # no volume yet
    assert called(url, "volumes", "add", tmp_path / "a", "--quota", "1G").returncode == 0
    dry = called(url, "import", folder, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "3 calls to add" in dry.stderr
    done = run(url, "import", folder, "--json", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    calls = [json.loads(line) for line in done.stdout.splitlines()]
    assert [call["added"] for call in calls] == [True] * 3
    assert "3 calls added, 0 known already, 1 other files passed over" in done.stderr
    again = called(url, "import", folder / "*.pcap*")
    assert "0 calls added, 3 known already" in again.stderr
    found = json.loads(called(url, "calls", "find", "--json").stdout)
    assert {call["callId"] for call in found} == {call["callId"] for call in calls}
    chosen = next(call for call in calls if call["capture"].endswith("support.pcap"))
    table = run(url, "calls", "find", "--callerNumber", chosen["callerNumber"])
    assert chosen["callId"] in table.stdout
    out = tmp_path / "x.wav"
    made = called(url, "calls", "transcode", "--callId", chosen["callId"], "-o", out)
    assert made.returncode == 0, made.stderr
    with wave.open(str(out)) as wav, callreplay.open(SAMPLES / "support.pcap") as capture:
        assert wav.getnframes() == len(capture.calls[0].mix())
    batched = run(
        url, "batch", "--query", f"callerNumber={chosen['callerNumber'][1:]}&callId={chosen['callId']}",
        "-o", tmp_path / "batch", "--workers", "1", "--json",
    )  # fmt: skip
    assert batched.returncode == 0, batched.stderr
    row, summary = map(json.loads, batched.stdout.splitlines())
    assert (summary["inputs"], summary["outputs"], summary["errors"]) == (1, 1, 0)
    assert Path(row["output"]).name == chosen["callId"] + ".wav"
    assert (tmp_path / "batch" / row["output"]).read_bytes() == out.read_bytes()
    every = called(url, "batch", "--query", "", "-o", tmp_path / "batch", "--workers", "1", "--json")
    assert json.loads(every.stdout.splitlines()[-1])["skipped"] == 1
    assert len(list((tmp_path / "batch").rglob("*.wav"))) == 3
    for wrong, why in (("callerNumbr=1", "callerNumbr"), ("beginTime=noon", "beginTime"), ("x", "x")):
        refused = called(url, "batch", "--query", wrong, "-o", tmp_path / "none")
        assert refused.returncode != 0
        assert why in refused.stderr
    assert not (tmp_path / "none").exists()
    assert "--query" in called(url, "batch", "-o", tmp_path / "none").stderr
    assert called(url, "volumes", "add", tmp_path / "b", "--name", "second").returncode == 0
    moved = called(url, "volumes", "join", "--volume-id", "1", "--into-name", "second")
    assert moved.stdout.startswith("3 calls"), moved.stderr
    assert not list((tmp_path / "a").rglob("*.rtp"))
    assert "removed" in called(url, "volumes", "retire", "--volume-id", "1").stdout
    listed = json.loads(called(url, "volumes", "list", "--json").stdout)
    assert [(volume["name"], volume["warning"]) for volume in listed] == [("second", "")]
    assert called(url, "calls", "hold", chosen["callId"], "--reason", "case 7").returncode == 0
    called(url, "retain", "--set", "period", "--days", "1")
    left = json.loads(called(url, "calls", "find", "--json").stdout)
    assert [call["callId"] for call in left] == [chosen["callId"]]
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture at all")
    assert called(url, "import", bad).returncode == 2
    assert called(url, "import", tmp_path / "absent.pcap").returncode == 2


def test_a_database_that_is_not_there_is_said_in_a_line() -> None:
    for words in (("volumes", "list"), ("import", SAMPLES / NAMES[0])):
        done = called("postgresql://127.0.0.1:1/none", *words)
        assert done.returncode == 1
        assert done.stderr.startswith("callreplay: the database does not answer: connection failed")
        assert done.stderr.count("\n") == 1


def test_watch_takes_the_finished_and_sets_the_bad_aside(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    called(url, "volumes", "add", tmp_path / "a")
    shutil.copy(SAMPLES / "support.pcap", folder)
    (folder / "bad.pcap").write_bytes(b"no capture at all")
    done = run(url, "watch", folder, "--once", "--settle", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["added"] for line in done.stdout.splitlines()] == [True]
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {"done/support.pcap", "failed/bad.pcap", "failed/bad.pcap.reason.txt"}


class Fatal(type(Path())):  # type: ignore[misc]
    """A capture whose worker dies of it, at once and without a word, as the kernel's out-of-memory killer has it."""

    def __reduce__(self) -> tuple[object, ...]:
        return signal.raise_signal, (signal.SIGKILL,)


def test_a_worker_that_dies_costs_its_capture_alone(database: Database, shelf: Path, tmp_path: Path) -> None:
    paths = [SAMPLES / "reservation.pcap", tmp_path / "fatal.pcap", *(SAMPLES / name for name in NAMES[1:])]
    paths[1].write_bytes(paths[0].read_bytes())
    given = [Fatal(path) if path.stem == "fatal" else path for path in paths]
    outcomes = {
        outcome.capture: outcome for outcome in workers.import_captures(Job(database.url, 1), given, jobs=2)
    }
    assert set(outcomes) == set(map(str, paths))
    failed = outcomes.pop(str(paths[1]))
    assert "the process that read it died" in failed.error
    assert not failed.bad
    # One may have been filed just before the pool fell; read again, it is known.
    assert [(outcome.error, len(outcome.calls)) for outcome in outcomes.values()] == [("", 1)] * 3
    with database.connection() as connection:
        row = connection.execute("SELECT count(*) AS n, count(DISTINCT identity) AS different FROM calls")
        assert row.fetchone() == {"n": 3, "different": 3}
    with database.connection() as connection:
        rows = connection.execute("SELECT path FROM call_files").fetchall()
    files = set(tree(shelf))
    assert files == {row["path"] + suffix for row in rows for suffix in ("", ".idx")}


@pytest.mark.parametrize(
    "error", [ValueError("odd"), OverflowError("odd"), MemoryError("odd"), KeyError("odd")]
)
def test_a_defect_costs_its_capture_alone(
    error: Exception, database: Database, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading.read

    def reads(path: Path, **asked: Any) -> reading.Reading:
        if path.name == NAMES[0]:
            raise error
        return read(path, **asked)

    monkeypatch.setattr(reading, "read", reads)
    outcomes = list(workers.import_captures(Job(database.url, 1), [SAMPLES / name for name in NAMES]))
    assert [(outcome.error, outcome.bad) for outcome in outcomes[1:]] == [("", False)] * 2
    assert outcomes[0].error == f"unexpected {type(error).__name__}: {error}"
    assert not outcomes[0].bad


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_name_that_is_not_utf8(whole: bool, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    called(url, "volumes", "add", tmp_path / "a")
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/na\xefve.pcap"))
    content = (SAMPLES / "support.pcap").read_bytes()
    odd.write_bytes(content if whole else b"no capture at all")
    if whole:
        done = run(url, "import", odd, "--json")
        assert done.returncode == 0, done.stderr
        (line,) = [json.loads(text) for text in done.stdout.splitlines()]
        assert line["added"]
        assert line["capture"].endswith("/na\N{REPLACEMENT CHARACTER}ve.pcap")
    watched = run(url, "watch", folder, "--once", "--settle", "0.2")
    assert watched.returncode == 0, watched.stderr
    assert (folder / ("done" if whole else "failed") / odd.name).is_file()


def test_a_watch_outlives_what_it_cannot_put_away(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    called(url, "volumes", "add", tmp_path / "a")
    shutil.copy(SAMPLES / "support.pcap", folder)
    blocked = tmp_path / "done"
    blocked.write_text("a file where the folder should be")
    seen: list[Outcome] = []
    watch = Watch(folder, Job(url, 1), done=blocked, settle_seconds=0.2)
    watch.run(threading.Event(), seen.append, once=True)
    assert [outcome.added for outcome in seen] == [1]
    assert "cannot be put away" in seen[0].warnings[-1]
    assert (folder / "support.pcap").is_file()


VECTORS = Path(
    os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[3] / "shared" / "vectors")
)

# protocol, wire Call-ID, caller, called, status, {leg: (packets, codec, digits)}
REAL: dict[str, list[tuple[str, str, str, str, str, dict[str, tuple[int, str, str]]]]] = {
    "SIP_DTMF2.cap": [
        ("sip", "5514@192.168.105.110", "2502", "2504", "failed 603 Decline", {}),
        ("sip", "25672@192.168.105.110", "2502", "2504", "answered",
         {"caller": (665, "PCMA/8000", ""), "called": (666, "PCMA/8000", "6789123")}),
    ],
    "codec-negotiation.pcap": [
        ("sip", "1-3685341@127.0.0.1", "alice", "bob", "answered",
         {"caller": (302, "PCMU/8000", ""), "called": (302, "PCMU/8000", "")}),
    ],
    "register-invite-reinvite-bye.pcap": [
        ("sip", "1-3812687@127.0.0.1", "alice", "bob", "answered",
         {"caller": (109, "PCMU/8000", ""), "called": (109, "PCMU/8000", "")}),
    ],
    "rtp-protocol.pcap": [
        ("sip", "1907983263271201083544@10.33.6.101", "MP114.FXS1", "101", "answered",
         {"caller": (201, "PCMA/8000", ""), "called": (47, "PCMA/8000", "")}),
    ],
    "sccp_hw_conf_register.pcapng": [],
    "sip-rtp-g711.pcap": [
        ("sip", "1-1966@10.0.2.20", "sipp", "test", "answered", {"called": (425, "PCMU/8000", "")}),
        ("sip", "1-1968@10.0.2.20", "sipp", "test", "answered", {"called": (414, "PCMA/8000", "")}),
    ],
    "sip-rtp-g729a.pcap": [
        ("sip", "1-24411@10.0.2.20", "sipp", "test", "answered", {"called": (425, "G729/8000", "")}),
    ],
    "skinny.pcap": [
        ("skinny", "19805770", "321", "307", "answered",
         {"caller": (36, "PCMU/8000", ""), "called": (33, "PCMU/8000", "")}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_captures_give_these_calls(name: str, database: Database, shelf: Path) -> None:
    path = VECTORS / "sip" / name
    if not path.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing")
        pytest.skip(f"{path} is not here")
    lines = import_(database, path).calls
    assert [line["added"] for line in lines] == [True] * len(REAL[name])
    with database.connection() as connection:
        digits: dict[tuple[str, str], str] = {}
        for row in connection.execute("SELECT * FROM call_events ORDER BY at, id"):
            key = (str(row["call_uuid"]), row["leg"])
            digits[key] = digits.get(key, "") + row["detail"]
    found = [
        (
            line["protocol"],
            line["wireCallId"],
            line["callerNumber"],
            line["calledNumber"],
            line["status"],
            {
                leg["leg"]: (leg["packets"], leg["codec"], digits.get((line["callId"], leg["leg"]), ""))
                for leg in line["legs"]
            },
        )
        for line in lines
    ]
    assert found == REAL[name]
    with callreplay.open(path) as capture:
        originals = {call.description.call_id: call for call in capture.calls}
        for line in lines:
            if not line["legs"]:
                continue
            before = originals[line["wireCallId"]]
            with callreplay.open(*(shelf / leg for leg in line["paths"])) as stored:
                (after,) = stored.calls
                assert [leg.empty for leg in after.legs] == [leg.empty for leg in before.legs]
                np.testing.assert_array_equal(after.mix(), before.mix())
    assert [line["added"] for line in import_(database, path).calls] == [False] * len(lines)


def test_rtp_alone_becomes_inferred_calls(database: Database, shelf: Path, tmp_path: Path) -> None:
    path = tmp_path / "rtp.pcap"
    importing.write(path, calls=3, seconds=2)
    lines = import_(database, path).calls
    assert len(lines) == 3
    assert all(line["inferred"] and line["protocol"] == "" and len(line["legs"]) == 2 for line in lines)
    assert {frozenset((line["callerIP"], line["calledIP"])) for line in lines} == {
        frozenset((f"10.0.0.{2 * n}", f"10.0.0.{2 * n + 1}")) for n in range(3)
    }
    assert [line["durationSeconds"] for line in lines] == [pytest.approx(2.0, abs=0.05)] * 3
    with callreplay.open(path) as capture:
        mixes = {call.caller.columns.spans[0].ssrc: call.mix() for call in capture.calls}
    for line in lines:
        with callreplay.open(*(shelf / leg for leg in line["paths"])) as stored:
            (call,) = stored.calls
            np.testing.assert_array_equal(call.mix(), mixes[call.caller.columns.spans[0].ssrc])


@pytest.mark.slow
def test_kill_nine_during_an_import(url: str, database: Database, shelf: Path, tmp_path: Path) -> None:
    path = tmp_path / "rtp.pcap"
    importing.write(path, calls=40, seconds=2)
    for tries in range(3):
        child = programs.Program(
            ["import", path, "--database", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with database.connection() as connection:
            deadline = time.monotonic() + 30
            while child.poll() is None and time.monotonic() < deadline:
                row = connection.execute("SELECT count(*) AS n FROM calls").fetchone()
                connection.commit()
                assert row is not None
                if row["n"] > 10 * tries + 3:
                    break
                time.sleep(0.002)
        child.kill()
        child.wait()
    final = called(url, "import", path)
    assert final.returncode == 0, final.stderr
    assert "40 calls" not in final.stderr  # some were there already
    with database.connection() as connection:
        counted = connection.execute(
            "SELECT count(*) AS n, count(DISTINCT identity) AS different FROM calls"
        ).fetchone()
        rows = connection.execute("SELECT path FROM call_files").fetchall()
    assert counted == {"n": 40, "different": 40}
    files = set(tree(shelf))
    assert files == {row["path"] + suffix for row in rows for suffix in ("", ".idx")}


def test_a_growing_file_is_left_alone(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    called(url, "volumes", "add", tmp_path / "a")
    whole = (SAMPLES / "support.pcap").read_bytes()
    target = folder / "growing.pcap"
    target.write_bytes(whole[:1000])
    seen: list[Outcome] = []
    sizes: list[int] = []
    stop = threading.Event()

    def report(outcome: Outcome) -> None:
        seen.append(outcome)
        sizes.append(outcome.octets)
        stop.set()

    watch = Watch(folder, Job(url, 1), settle_seconds=1.0)
    thread = threading.Thread(target=watch.run, args=(stop, report))
    thread.start()
    try:
        step = len(whole) // 12
        for at in range(1000, len(whole), step):
            time.sleep(0.15)
            with target.open("ab") as file:  # closed after each write, as some writers do
                file.write(whole[at : at + step])
        assert not seen
        assert stop.wait(30)
    finally:
        stop.set()
        thread.join()
    assert sizes == [len(whole)]
    assert [outcome.added for outcome in seen] == [1]
    assert (folder / "done" / "growing.pcap").read_bytes() == whole


@pytest.mark.slow
@pytest.mark.serial
def test_memory_does_not_grow_with_the_capture(url: str, tmp_path: Path) -> None:
    octets, resident = [], []
    path = tmp_path / "calls.pcap"
    importing.write(path, calls=40, seconds=60)
    for times in (1, 5):
        octets.append(importing.prolong(path, times, seconds=60))
        figures = importing.measure(path, url, tmp_path / f"shelf{times}")
        assert (figures["error"], figures["added"]) == ("", 40)
        resident.append(figures["resident"])
    assert resident[1] < 300 << 20
    # The rows of the legs and what an arena keeps in memory, but neither the capture nor its columns.
    assert resident[1] - resident[0] < (octets[1] - octets[0]) / 5


def test_folders_that_cannot_be_read_are_told(url: str, shelf: Path, tmp_path: Path) -> None:
    """What lies beside them is imported; the status says that something was not."""
    inbox = tmp_path / "inbox"
    (inbox / "closed").mkdir(parents=True)
    shutil.copy(SAMPLES / NAMES[0], inbox / "call.pcap")
    (inbox / "circle").symlink_to("circle")
    words = ["import", "--database", url, str(inbox)]
    if os.geteuid() != 0:
        (inbox / "closed").chmod(0)
    done = programs.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "1 calls added" in done.stderr
    assert f"callreplay: {inbox}/circle: it cannot be read" in done.stderr
    if os.geteuid() != 0:
        assert "closed: the folder cannot be searched" in done.stderr
    (tmp_path / "empty").mkdir()
    words[-1] = str(tmp_path / "empty")
    done = programs.run(words, capture_output=True, text=True)
    assert "no file was found in" in done.stderr
