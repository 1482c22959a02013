"""Calls that go on from file to file of a rotation, from packets to rows."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.captures import Record, pcap, pcapng, rtp, udp
from tests.scenario.ladder import MS, A, B, Ladder, sdp

import callreplay
from callreplay.importing import portions, rotation, watching, workers
from callreplay.importing.importer import Job, Outcome, import_run
from callreplay.importing.watching import Watch
from callreplay.store import volumes
from callreplay.store.database import Database

START_MS = 1_700_000_000_000
PIECES = {
    "tcpdump -C": ("cap.pcap", "cap.pcap1", "cap.pcap2"),
    "tcpdump -C -W": ("cap.pcap2", "cap.pcap0", "cap.pcap1"),  # the ring has gone round
    "tcpdump -G": ("x-20231114-221320.pcap", "x-20231114-221330.pcap", "x-20231114-221340.pcap"),
    "dumpcap -b": tuple(f"ring_{n:05}_2023111422{n:02}00.pcapng" for n in (9, 10, 11)),
    "compressed": ("cap.pcap.gz", "cap.pcap1.gz", "cap.pcap2.gz"),
}


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Path:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    return tmp_path / "shelf"


def call(number: int, begin_ms: int, seconds: int, *, bye: bool = True) -> list[Record]:
    """A signalled call of both directions: a packet of PCMU every 20 ms, no two alike."""
    ladder = Ladder(f"call-{number}@a", START_MS + begin_ms)
    ladder.caller, ports = f"<sip:{100 + number}@a.example>", (4000 + 4 * number, 5000 + 4 * number)
    ladder.invite(sdp(A, ports[0]))
    ladder.reply("200 OK", sdp(B, ports[1]))
    ladder.ack()
    talk = ladder.time_ms
    ladder.time_ms = talk + seconds * 1000
    if bye:
        ladder.add("BYE", "2 BYE", gap_ms=0)
    records = [
        (message.arrival_ns, udp(message.flow.source, 5060, message.flow.destination, 5060, message.payload))
        for message in ladder.messages
    ]
    random = np.random.default_rng(number)
    for side, (source, target) in enumerate(((A, B), (B, A))):
        for n in range(seconds * 50):
            packet = rtp(n, n * 160, 10 * number + side + 1, 0, random.bytes(160), n == 0)
            ends = (source, ports[side], target, ports[1 - side])
            records.append(((talk + n * 20 + side) * MS, udp(*ends, packet)))
    return records


def split(records: Sequence[Record], seconds: Sequence[int]) -> list[list[Record]]:
    """Records in order of time, cut ``seconds`` after the start."""
    ordered = sorted(records, key=lambda record: record[0])
    bounds = [0, *((START_MS + second * 1000) * MS for second in seconds), 1 << 62]
    return [[record for record in ordered if begin <= record[0] < end] for begin, end in pairwise(bounds)]


def write(path: Path, records: Sequence[Record]) -> Path:
    content = pcapng(records) if ".pcapng" in path.name else pcap(records)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def rows(database: Database) -> list[tuple[str, str, bool, dict[str, int]]]:
    with database.connection() as connection:
        found = connection.execute(
            "SELECT wire_call_id, status, inferred, (SELECT jsonb_object_agg(leg, packets) FROM call_files "
            "WHERE call_uuid = uuid) AS legs FROM calls ORDER BY started_at, wire_call_id"
        ).fetchall()
    return [(row["wire_call_id"], row["status"], row["inferred"], row["legs"] or {}) for row in found]


def whole(number: int, seconds: int) -> tuple[str, str, bool, dict[str, int]]:
    return f"call-{number}@a", "answered", False, {"caller": 50 * seconds, "called": 50 * seconds}


@pytest.mark.parametrize("names", PIECES.values(), ids=PIECES)
def test_a_call_over_three_files_is_one(
    names: tuple[str, ...], database: Database, shelf: Path, tmp_path: Path
) -> None:
    records = call(1, 0, 25) + call(2, 500, 4) + call(3, 21_000, 3)
    folder = tmp_path / "captures"
    folder.mkdir()
    paths = [write(folder / name, piece) for name, piece in zip(names, split(records, (10, 20)), strict=True)]
    job = Job(database.url, 1)
    outcomes = list(workers.import_captures(job, sorted(paths)))
    assert [(outcome.error, outcome.files, outcome.added) for outcome in outcomes] == [("", 3, 3)]
    assert rows(database) == [whole(1, 25), whole(2, 4), whole(3, 3)]
    (again,) = workers.import_captures(job, paths)
    assert (again.error, again.added, len(again.calls)) == ("", 0, 3)
    # The same sound as from one file, to the sample.
    with callreplay.open(write(tmp_path / "whole.pcap", sorted(records))) as capture:
        wanted = next(one for one in capture.calls if one.description.call_id == "call-1@a").mix()
    stored = next(line["paths"] for line in outcomes[0].calls if line["wireCallId"] == "call-1@a")
    with callreplay.open(*(shelf / path for path in stored)) as filed:
        np.testing.assert_array_equal(filed.calls[0].mix(), wanted)


def test_a_file_cut_short_costs_its_last_record(database: Database, shelf: Path, tmp_path: Path) -> None:
    pieces = split(call(1, 0, 25), (10, 20))
    paths = [write(tmp_path / name, piece) for name, piece in zip(PIECES["tcpdump -C"], pieces, strict=True)]
    paths[1].write_bytes(paths[1].read_bytes()[:-300])  # the last record and the end of the one before
    (outcome,) = workers.import_captures(Job(database.url, 1), paths)
    assert outcome.error == ""
    assert outcome.warnings[0].startswith("cap.pcap1: the capture ends inside the record")
    ((_, _, _, legs),) = rows(database)
    assert sum(legs.values()) == 2 * 25 * 50 - 1


def test_what_does_not_follow_stays_apart(tmp_path: Path) -> None:
    one, other = call(1, 0, 4), call(2, 3_600_000, 4)
    unlike = [
        write(tmp_path / name, records)
        for name, records in (
            ("a_20231114_221320.pcap", one),
            ("a_20231114_231320.pcap", other),  # an hour later
            ("b_20231114_221320.pcap", one),  # another name
            ("tap1.pcap", one),
            ("tap2.pcap", other),
        )
    ]
    overlapping = [write(tmp_path / f"c_20231114_22132{n}.pcap", call(3, n, 9)) for n in (0, 1)]
    (tmp_path / "a_20231114_221325.pcap").write_bytes(b"no capture")
    paths = [*unlike, *overlapping, tmp_path / "a_20231114_221325.pcap"]
    assert rotation.rotations(paths) == paths


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_rotation_too_long_to_be_read_at_once(
    jobs: int, database: Database, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three files at a time: what may go on is left to the next reading, what is filed is known there by its end."""
    if jobs == 1:
        monkeypatch.setattr(rotation, "_MOST_FILES", 4)
    monkeypatch.setattr(rotation, "_QUIET_NS", 3 * 10**9)
    monkeypatch.setattr(rotation, "_HELD_NS", 5 * 10**9)
    monkeypatch.setattr(rotation, "_ENDED_NS", 10**9)
    calls = {1: (0, 3), 2: (1_000, 14), 3: (8_500, 3), 4: (19_000, 6), 5: (31_000, 8), 6: (44_000, 6)}
    records = [
        record for number, (begin, seconds) in calls.items() for record in call(number, begin, seconds)
    ]
    pieces = split(records, range(5, 50, 5))
    paths = [write(tmp_path / f"cap.pcap{n}", piece) for n, piece in enumerate(pieces)]
    outcomes = list(workers.import_captures(Job(database.url, 1), paths, jobs))
    assert sum(outcome.files for outcome in outcomes) == len(paths)
    assert len(outcomes) > 2 if jobs == 1 else len(outcomes) == 1
    assert [(outcome.error, outcome.warnings) for outcome in outcomes] == [("", [])] * len(outcomes)
    assert rows(database) == [whole(number, seconds) for number, (_, seconds) in calls.items()]


class Inbox:
    """A folder under watch, where a rotation's files arrive; each watch is that of a new process."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        folder.mkdir()

    def drop(self, name: str, records: Sequence[Record]) -> None:
        part = write(self.folder / f".{name}", records)
        part.rename(self.folder / name)

    def watch(self, wanted: int, linger: float = 60.0) -> list[Outcome]:
        """Watch until there are ``wanted`` outcomes and a while longer."""
        seen: list[Outcome] = []
        stop, enough = threading.Event(), threading.Event()

        def report(outcome: Outcome) -> None:
            seen.append(outcome)
            if len(seen) >= wanted:
                enough.set()

        watching = Watch(self.folder, Job(self.url, 1), settle_seconds=0.1, linger_seconds=linger)
        thread = threading.Thread(target=watching.run, args=(stop, report))
        thread.start()
        try:
            assert enough.wait(60)
            time.sleep(0.3)
        finally:
            stop.set()
            thread.join()
        assert len(seen) == wanted
        assert [outcome.error for outcome in seen] == [""] * wanted
        return seen

    def here(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


def test_watching_a_rotation(database: Database, shelf: Path, tmp_path: Path) -> None:
    """Files that hold a call that goes on stay; the watch is restarted after each of them."""
    inbox, names = Inbox(tmp_path / "inbox", database.url), PIECES["dumpcap -b"]
    calls = call(2, 500, 3) + call(1, 9_000, 5) + call(3, 11_000, 20, bye=False) + call(4, 22_000, 2)
    state = ".callreplay-watch.json"
    stays = [names[:1], names[1:2], names[1:]]
    for number, piece in enumerate(split(calls, (10, 20))):
        inbox.drop(names[number], piece)
        assert [outcome.added for outcome in inbox.watch(1)] == [1]
        away = {f"done/{name}" for name in names[: number + 1] if name not in stays[number]}
        assert inbox.here() == {*away, *stays[number], state}
    assert rows(database) == [whole(2, 3), whole(1, 5), whole(4, 2)]
    assert [outcome.added for outcome in inbox.watch(1, linger=0.5)] == [1]
    assert inbox.here() == {f"done/{name}" for name in names}
    assert rows(database) == [whole(2, 3), whole(1, 5), whole(3, 20), whole(4, 2)]


def test_a_rotation_that_was_there_before_the_watch(database: Database, shelf: Path, tmp_path: Path) -> None:
    inbox, names = Inbox(tmp_path / "inbox", database.url), PIECES["tcpdump -C"]
    for name, piece in zip(names, split(call(1, 0, 25), (10, 20)), strict=True):
        inbox.drop(name, piece)
    (inbox.folder / "cap.pcap3").write_bytes(b"no capture")
    seen: list[Outcome] = []
    watching = Watch(inbox.folder, Job(database.url, 1), settle_seconds=0.1)
    watching.run(threading.Event(), seen.append, once=True)
    assert sum(outcome.added for outcome in seen) == 1
    assert [outcome.bad for outcome in seen].count(True) == 1
    assert rows(database) == [whole(1, 25)]
    failed = {"failed/cap.pcap3", "failed/cap.pcap3.reason.txt"}
    assert inbox.here() == {*(f"done/{name}" for name in names), *failed}


@pytest.mark.parametrize("length", ["small", "large"])
def test_a_rotation_is_put_off_where_no_volume_has_room(
    length: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files stay, volumes are settled before it is tried again, and then all of it is filed."""
    monkeypatch.setattr(watching, "_RETRY_SECONDS", 0.05)
    if length == "large":
        monkeypatch.setattr(portions, "is_large", lambda _: True)
    inbox, names = Inbox(tmp_path / "inbox", database.url), PIECES["tcpdump -C"]
    for name, piece in zip(names, split(call(1, 0, 25), (10, 20)), strict=True):
        inbox.drop(name, piece)
    settled: list[int] = []
    reconcile = volumes.reconcile
    monkeypatch.setattr(volumes, "reconcile", lambda known: settled.append(reconcile(known)))
    seen: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == 1:
            assert inbox.here() == set(names)
            assert rows(database) == []
            with database.connection() as connection:
                volumes.add(connection, tmp_path / "shelf")

    watch = Watch(inbox.folder, Job(database.url, 1), settle_seconds=0.1, linger_seconds=0.0)
    deadline = time.monotonic() + 60
    with Database(database.url, size=2) as own:
        while len(seen) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
            watch._sweep(own, report, threading.Event())
    assert [outcome.final for outcome in seen] == [False, True]
    assert "no room" in seen[0].error
    assert settled == [0]
    assert rows(database) == [whole(1, 25)]
    assert inbox.here() == {f"done/{name}" for name in names}


def test_what_was_put_off_is_not_tried_before_volumes_are_settled(
    database: Database, shelf: Path, tmp_path: Path
) -> None:
    """The database was gone in the middle of a call, and is gone still when that call's turn comes again."""
    inbox = Inbox(tmp_path / "inbox", database.url)
    inbox.drop("call.pcap", split(call(1, 0, 3), ())[0])
    seen: list[Outcome] = []
    watch = Watch(inbox.folder, Job(database.url, 1), settle_seconds=0.01)
    before = time.monotonic()
    watch._unsettled = watch._later[inbox.folder / "call.pcap"] = before
    gone = Database("host=127.0.0.1 port=1 dbname=none", timeout_seconds=0.05)
    gone._pool.open()  # and does not wait for a connection
    try:
        for _ in range(3):
            watch._sweep(gone, seen.append, threading.Event())
            time.sleep(0.02)
    finally:
        gone.close()
    assert watch._unsettled > before + 30
    assert seen == []
    assert inbox.here() == {"call.pcap"}
    watch._unsettled = watch._later[inbox.folder / "call.pcap"] = time.monotonic()
    for _ in range(2):
        time.sleep(0.02)
        watch._sweep(database, seen.append, threading.Event())
    assert watch._unsettled == 0
    assert [outcome.added for outcome in seen] == [1]


@pytest.mark.parametrize("happens", ["one grows", "one goes", "one goes before", "done cannot be made"])
def test_files_of_a_rotation_are_put_away_only_where_all_of_them_is_stored(
    happens: str, database: Database, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, names = Inbox(tmp_path / "inbox", database.url), PIECES["tcpdump -C"]
    for name, piece in zip(names, split(call(1, 0, 25), (10, 20)), strict=True):
        inbox.drop(name, piece)
    paths = [inbox.folder / name for name in names]
    done = tmp_path / "done"
    if happens == "done cannot be made":
        done.write_bytes(b"a file")

    def reading(*arguments: Any, **named: Any) -> Iterator[tuple[Outcome, rotation.Carry, int]]:
        for found in list(import_run(*arguments, **named)):
            if happens == "one grows":
                with paths[2].open("ab") as file:
                    file.write(bytes(16))
            elif happens == "one goes":
                paths[1].unlink()
            yield found

    monkeypatch.setattr(watching, "import_run", reading)
    (run,) = rotation.runs(rotation.members(paths))
    if happens == "one goes before":
        paths[1].unlink()
    watch = Watch(inbox.folder, Job(database.url, 1), done=done)
    told: list[Outcome] = []
    whole_read = watch._import_run(database, "cap.pcap", run, True, told.append)
    here = set(names) - ({names[1]} if happens.startswith("one goes") else set())
    assert inbox.here() == here  # every one that is left is read again
    assert not done.is_dir()
    assert whole_read == (happens == "done cannot be made")
    if not whole_read:
        assert told == []
        return
    (outcome,) = told
    assert outcome.added == 1
    assert len([line for line in outcome.warnings if line.startswith("cannot be put away")]) == 3
    assert set(watch._later) == set(paths)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"[]",
        b'{"x": 1}',
        b"\xff\xfe",
        b'{"x": {"until": 1}}',
        b'{"x": {"until": 1e999, "waiting": [], "staying": [], "seconds": 1}}',
        b"[" * 100_000,
    ],
)
def test_a_note_that_is_none_of_ours_starts_anew(
    database: Database, shelf: Path, tmp_path: Path, note: bytes
) -> None:
    inbox = Inbox(tmp_path / "inbox", database.url)
    (inbox.folder / ".callreplay-watch.json").write_bytes(note)
    inbox.drop("call.pcap", split(call(1, 0, 3), ())[0])
    seen: list[Outcome] = []
    watching = Watch(inbox.folder, Job(database.url, 1), settle_seconds=0.1)
    watching.run(threading.Event(), seen.append, once=True)
    assert [outcome.added for outcome in seen] == [1]
