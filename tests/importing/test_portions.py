"""Captures that are split up before they are read give the calls that they give at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.captures import pcap
from tests.importing import test_rotation
from tests.importing.test_rotation import PIECES, call, rows, split, whole, write

from callreplay.importing import portions, workers
from callreplay.importing.importer import Job, Outcome
from callreplay.importing.watching import Watch
from callreplay.splitting.spooling import Spooler
from callreplay.store import volumes
from callreplay.store.database import Database


@pytest.fixture
def job(database: Database, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(portions, "LARGE", 0)
    return Job(database.url, 1)


def test_a_rotation_is_split_up(job: Job, database: Database, tmp_path: Path) -> None:
    """The calls of three files, one of which is cut; read whole later, they are known."""
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    records = call(1, 0, 25) + call(2, 500, 4) + call(3, 21_000, 3)
    names = PIECES["tcpdump -C"]
    paths = [
        write(tmp_path / name, piece) for name, piece in zip(names, split(records, (10, 20)), strict=True)
    ]
    (outcome,) = workers.import_captures(job, paths)
    assert (outcome.error, outcome.files, outcome.added) == ("", 3, 3)
    assert {line["capture"] for line in outcome.calls} == {f"{paths[0]} … {names[-1]}"}
    assert rows(database) == [whole(1, 25), whole(2, 4), whole(3, 3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "LARGE", 1 << 30)
        (again,) = workers.import_captures(job, paths)
    assert (again.added, len(again.calls)) == (0, 3)
    paths[1].write_bytes(paths[1].read_bytes()[:-30])
    (cut,) = workers.import_captures(job, paths)
    assert cut.warnings[0].startswith("cap.pcap1: the capture ends inside the record at octet")


def test_a_full_volume_ends_it(job: Job, database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf", quota_bytes=1)
    path = tmp_path / "calls.pcap"
    path.write_bytes(pcap(sorted(record for number in range(3) for record in call(number, 100 * number, 1))))
    (outcome,) = workers.import_captures(job, [path])
    assert "no room" in outcome.error
    assert not outcome.final
    assert rows(database) == []


def test_watching_a_large_rotation(job: Job, database: Database, tmp_path: Path) -> None:
    """Files stay as long as a call of theirs goes on, and a watch that is begun anew goes on with them."""
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    test_rotation.test_watching_a_rotation(database, tmp_path / "shelf", tmp_path)


def test_each_file_is_split_once(job: Job, database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    inbox, names = tmp_path / "inbox", PIECES["dumpcap -b"]
    inbox.mkdir()
    read: list[str] = []
    split_one = portions._split

    def counted(spooler: Spooler, path: Path) -> Iterator[str]:
        read.append(path.name)
        return split_one(spooler, path)

    seen: list[Outcome] = []
    stop = threading.Event()
    watching = Watch(inbox, job, settle_seconds=0.1, linger_seconds=1.5)
    thread = threading.Thread(target=watching.run, args=(stop, seen.append))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "_split", counted)
        thread.start()
        try:
            for name, piece in zip(names, split(call(1, 0, 25) + call(2, 500, 3), (10, 20)), strict=True):
                write(inbox / f".{name}", piece).rename(inbox / name)
                until = time.monotonic() + 60
                while name not in read and time.monotonic() < until:
                    time.sleep(0.02)
            until = time.monotonic() + 60
            while len(rows(database)) < 2 and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            stop.set()
            thread.join()
    assert rows(database) == [whole(1, 25), whole(2, 3)]
    assert read == list(names)
    assert [outcome.error for outcome in seen] == [""] * len(seen)
