"""A watch under load: a thousand captures at once, stopped and killed in the middle of them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import programs
from tests.captures import pcap, rtp, udp
from tests.importing.test_filing import check
from tests.laws import grows_no_faster
from tests.scenario.ladder import MS, A, B, Ladder, sdp

from callreplay.importing import rotation
from callreplay.importing.importer import Job, Outcome, import_unit
from callreplay.importing.watching import Watch
from callreplay.store import volumes
from callreplay.store.database import Database

FILES = 1000
TALKS = 50  # every so many files hold a call with media


def small(number: int) -> bytes:
    """A refused call of two messages, or one of a quarter of a second."""
    ladder = Ladder(f"call-{number}@a", 1_700_000_000_000 + 1000 * number)
    ladder.invite(sdp(A, 4000))
    talk = number % TALKS == 0
    ladder.reply("200 OK" if talk else "486 Busy Here", sdp(B, 5000) if talk else "")
    ladder.ack()
    records = [
        (message.arrival_ns, udp(message.flow.source, 5060, message.flow.destination, 5060, message.payload))
        for message in ladder.messages
    ]
    for n in range(13 if talk else 0):
        for side, ends in enumerate(((A, 4000, B, 5000), (B, 5000, A, 4000))):
            payload = bytes([0xD0 + (number + n + side) % 16]) * 160
            packet = rtp(n, n * 160, 2 * number + side, 0, payload, n == 0)
            records.append(((ladder.time_ms + 20 * n + side) * MS, udp(*ends, packet)))
    return pcap(records)


@pytest.mark.slow
def test_a_thousand_files_and_a_watch_that_is_stopped(database: Database, url: str, tmp_path: Path) -> None:
    shelf, inbox = tmp_path / "shelf", tmp_path / "inbox"
    inbox.mkdir()
    with database.connection() as connection:
        volumes.add(connection, shelf)
    for number in range(FILES):
        (inbox / f"call-{number:04}.pcap").write_bytes(small(number))
    bad = {f"bad-{number}.pcap" for number in range(5)}
    for name in bad:
        (inbox / name).write_bytes(b"no capture at all")
    growing, over = inbox / "growing.pcap", threading.Event()

    def grow() -> None:
        content = small(FILES)
        growing.write_bytes(content[:40])
        while not over.wait(0.2):
            with growing.open("ab") as file:
                file.write(b"\0")

    def count() -> int:
        with database.connection() as connection:
            row = connection.execute("SELECT count(*) AS n FROM calls").fetchone()
        assert row is not None
        return int(row["n"])

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for number, wanted in ((signal.SIGKILL, 100), (signal.SIGTERM, 350), (signal.SIGTERM, FILES)):
            command = ["watch", str(inbox), "--settle", "1", "--database", url]
            with programs.Program(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as watch:
                assert watch.stderr is not None
                reader = threading.Thread(target=watch.stderr.read)
                reader.start()
                deadline = time.monotonic() + 120
                while count() < wanted and watch.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                if wanted == FILES:  # the last is filed before it is moved
                    while list(inbox.glob("call-*")) and time.monotonic() < deadline:
                        time.sleep(0.02)
                os.kill(watch.pid, number)
                code = watch.wait(60)
                reader.join()
            assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
            assert wanted <= count() <= FILES
            if wanted < FILES:
                assert count() < FILES, "it was to be stopped in the middle"
        assert growing.is_file()
        assert [path.name for path in inbox.iterdir() if path.is_file()] == ["growing.pcap"]
    finally:
        over.set()
        writer.join()
    assert {path.name for path in (inbox / "done").iterdir()} == {f"call-{n:04}.pcap" for n in range(FILES)}
    failed = {path.name: path for path in (inbox / "failed").iterdir()}
    assert set(failed) == bad | {f"{name}.reason.txt" for name in bad}
    assert all("not a capture" in failed[f"{name}.reason.txt"].read_text() for name in bad)
    with database.connection() as connection:
        names = connection.execute("SELECT wire_call_id FROM calls").fetchall()
    assert sorted(row["wire_call_id"] for row in names) == sorted(f"call-{n}@a" for n in range(FILES))
    check(database, shelf, silent=FILES - FILES // TALKS)


def test_thousands_of_files_put_off_cost_next_to_nothing(
    database: Database, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,000 captures that cannot be filed, as there is no volume, are looked at for less than 5 % of a core.

    After each look that found nothing to do comes a pause of forty times the processor's time that it took. A busy
    machine makes the pauses longer, never shorter.
    """
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(4000):
        (inbox / f"call-{number:04}.pcap").write_bytes(b"x")
    watching = Watch(inbox, Job(url, 1), settle_seconds=0.1)
    for path in inbox.iterdir():
        watching._later[path] = time.monotonic() + 3600
    stop = threading.Event()
    looks: list[tuple[float, float, float]] = []
    imported: list[Path] = []
    sweep = Watch._sweep

    def look(*arguments: Any) -> None:
        began, spent = time.monotonic(), time.thread_time()
        sweep(*arguments)
        looks.append((began, time.thread_time() - spent, time.monotonic()))
        if len(looks) == 4:
            stop.set()

    monkeypatch.setattr(Watch, "_sweep", look)
    monkeypatch.setattr(Watch, "_import", lambda _watch, _database, path, _report: imported.append(path))
    thread = threading.Thread(target=watching.run, args=(stop,))
    thread.start()
    thread.join(120)
    stop.set()
    thread.join()
    assert not imported
    assert len(looks) >= 4
    # The first look is before anything is waited for.
    for (_, spent, ended), (began, _, _) in itertools.pairwise(looks[1:]):
        assert spent > 0
        assert spent < 0.05 * (began - ended + spent)


@pytest.mark.parametrize("happens", ["it grows", "it goes", "done cannot be made", "no volume has room"])
def test_a_capture_is_put_away_only_where_all_of_it_is_stored(
    database: Database, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    inbox, done = tmp_path / "inbox", tmp_path / "done"
    inbox.mkdir()
    path = inbox / "call.pcap"
    path.write_bytes(small(TALKS))
    if happens == "done cannot be made":
        done.write_bytes(b"a file")
    if happens != "no volume has room":
        with database.connection() as connection:
            volumes.add(connection, tmp_path / "shelf")

    def reading(*arguments: Any) -> list[Outcome]:
        outcomes = list(import_unit(*arguments))
        if happens == "it grows":
            path.write_bytes(path.read_bytes() + bytes(16))
        elif happens == "it goes":
            path.unlink()
        return outcomes

    monkeypatch.setattr("callreplay.importing.watching.import_unit", reading)
    watching = Watch(inbox, Job(url, 1), done=done)
    told: list[Outcome] = []
    watching._import(database, path, told.append)
    assert path.exists() == (happens != "it goes")
    assert not done.is_dir()
    if happens == "it grows":
        assert not told
        assert watching._rests(path) is False
        return
    (outcome,) = told
    assert outcome.added == (happens != "no volume has room")
    assert [line.split(":")[0] for line in outcome.warnings if "put away" in line] == (
        ["cannot be put away"] if happens == "done cannot be made" else []
    )
    assert (path in watching._later) == (happens != "it goes")
    assert bool(watching._unsettled) == (happens == "no volume has room")


def test_a_rotation_of_thousands_of_files_is_put_in_order_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work grows with the files, not with their square: ten times as many take about ten times as long."""
    monkeypatch.setattr(
        rotation,
        "members",
        lambda paths: [rotation.Member(path, n * 10**9, (n + 1) * 10**9) for n, path in enumerate(paths)],
    )

    def ordering(count: int) -> Callable[[], object]:
        paths = [tmp_path / f"cap.pcap{number}" for number in range(count)]

        def run() -> None:
            (unit,) = rotation.rotations(paths)
            assert isinstance(unit, tuple)
            assert len(unit) == count

        return run

    grows_no_faster(ordering, 600, 7200)
