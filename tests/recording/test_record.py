"""`callreplay record` as a process: from standard input, from an interface, from agents; killed, and begun again."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests import programs
from tests.captures import Record, hep3, pcap, pcapng
from tests.importing.test_rotation import call, rows, whole
from typer.testing import CliRunner

from callreplay.cli.app import build
from callreplay.errors import CallReplayError, CaptureError
from callreplay.importing.importer import Job, Outcome
from callreplay.recording.recorder import Figures, Recorder
from callreplay.recording.sources import Agents, Stream
from callreplay.store import volumes
from callreplay.store.database import Database

INVITE, MEDIA = b"SIP/2.0", 42


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Path:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf")
    return tmp_path / "shelf"


@contextmanager
def recorder(database: Database, spools: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A recorder that is ready, killed at the end if it is there still."""
    command = ["record", *arguments, "--database-url", database.url, "--spool", str(spools), "--flush", "0.2"]
    process = programs.Program(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert b"recording from" in line, line + process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stderr):
            if stream is not None:
                stream.close()


def ended(process: subprocess.Popen[bytes], number: int | None = signal.SIGINT) -> str:
    """What it said until it was gone, having been told so."""
    if number is not None:
        process.send_signal(number)
    _, said = process.communicate(timeout=120)
    return said.decode()


def until(condition: object, seconds: float = 60) -> None:
    """Wait for what must come."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def children(parent: int) -> list[int]:
    """The processes that a process began."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found += [int(number) for number in (task / "children").read_text().split()]
    return found


def spooled(spools: Path) -> int:
    """How many packets are whole on the disk, in the spools (pcapng) of calls that go on."""
    count = 0
    for path in spools.glob("open-*/*"):
        octets, at = path.read_bytes(), 0
        while at + 8 <= len(octets):
            kind, size = struct.unpack_from("<II", octets, at)
            if size < 12 or at + size > len(octets):
                break
            count += kind == 6  # an enhanced packet block
            at += size
    return count


def pumped(
    database: Database, spools: Path, content: bytes, *, leave: bool = False
) -> tuple[Figures, list[Outcome]]:
    """What a recorder in this process makes of a stream, which ends, or which it leaves."""
    ours, theirs = os.pipe()
    told, seen = threading.Event(), list[Outcome]()
    recorder = Recorder(
        [Stream(ours)], Job(database.url, 1, source="a pipe"), spools, 0.1, 0, report=seen.append
    )

    def write() -> None:
        with os.fdopen(theirs, "wb") as out:
            out.write(content)
            out.flush()
            if leave:
                until(lambda: sum(p.stat().st_size for p in spools.glob("open-*/*")) > len(content) / 2)
                told.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        recorder.run(threading.Event(), told)
    finally:
        thread.join()
        os.close(ours)
    return recorder.figures, seen


@pytest.mark.parametrize("container", [pcap, pcapng])
def test_from_a_stream(container: object, database: Database, shelf: Path, tmp_path: Path) -> None:
    records = sorted(record for number in (1, 2, 3) for record in call(number, 700 * number, 3))
    assert callable(container)
    figures, seen = pumped(database, tmp_path / "spools", container(records))
    assert [outcome.error for outcome in seen] == [""] * 3
    assert (figures.packets, figures.added, figures.in_progress, figures.waiting) == (len(records), 3, 0, 0)
    assert rows(database) == [whole(1, 3), whole(2, 3), whole(3, 3)]
    assert [path.name for path in (tmp_path / "spools").rglob("*") if path.is_file()] == ["lock", "recorder"]
    with database.connection() as connection:
        assert connection.execute("SELECT DISTINCT source FROM calls").fetchall() == [{"source": "a pipe"}]


def test_a_stream_that_is_damaged_is_filed_as_far_as_it_came(
    database: Database, shelf: Path, tmp_path: Path
) -> None:
    content = pcapng(sorted(call(1, 0, 3)))
    with pytest.raises(CaptureError, match="damaged at octet"):
        pumped(database, tmp_path / "spools", content + bytes(64))
    assert rows(database) == [whole(1, 3)]


@pytest.mark.parametrize(
    ("keep", "said"), [(0, "empty"), (10, "ends after 10 octets"), (-7, "cut: it ends inside the record")]
)
def test_a_stream_that_is_empty_or_cut_says_so(
    keep: int, said: str, database: Database, shelf: Path, tmp_path: Path
) -> None:
    content = pcap(sorted(call(1, 0, 3)))
    with pytest.raises(CaptureError, match=said):
        pumped(database, tmp_path / "spools", content[:keep])
    assert [name for name, *_ in rows(database)] == (["call-1@a"] if keep < 0 else [])


def test_what_goes_on_is_left_to_the_next_start(database: Database, shelf: Path, tmp_path: Path) -> None:
    records, spools = sorted(call(1, 0, 3)), tmp_path / "spools"
    figures, _ = pumped(database, spools, pcap(records[:200]), leave=True)
    assert (figures.in_progress, rows(database)) == (1, [("call-1@a", "in progress", False, {})])
    pumped(database, spools, pcap(records[200:]))
    assert rows(database) == [whole(1, 3)]


def test_a_full_volume_leaves_the_spools(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "shelf", quota_bytes=1)
    figures, seen = pumped(database, tmp_path / "spools", pcap(sorted(call(1, 0, 2))))
    assert (figures.waiting, len(seen), rows(database)) == (1, 1, [])
    assert "no room" in seen[0].error
    with database.connection() as connection:
        volumes.add(connection, tmp_path / "more")
    pumped(database, tmp_path / "spools", pcap([]) + pcap(sorted(call(2, 0, 1)))[24:])
    assert rows(database) == [whole(1, 2), whole(2, 1)]


def test_drops_are_told_of_the_calls_that_go_on(database: Database, shelf: Path, tmp_path: Path) -> None:
    class Lossy(Stream):
        def drops(self) -> int:
            return 7

    ours, theirs = os.pipe()
    os.write(theirs, pcap(sorted(call(1, 0, 1)))[:30_000])
    told, said = threading.Event(), list[str]()
    recorder = Recorder([Lossy(ours)], Job(database.url, 1), tmp_path / "spools", 0.05, 0, warn=said.append)
    thread = threading.Thread(target=recorder.run, args=(told,))
    thread.start()
    until(lambda: said)
    told.set()
    thread.join()
    os.close(ours)
    os.close(theirs)
    assert "the kernel dropped 7 packets" in said[0]
    with database.connection() as connection:
        (row,) = connection.execute("SELECT quality FROM calls").fetchall()
    assert row["quality"]["capture_drops"] >= 7


def test_killed_and_begun_again(database: Database, shelf: Path, tmp_path: Path) -> None:
    """A kill at any time: what was on the disk is there, once; the pieces of a call are one call."""
    records = sorted(record for number in range(4) for record in call(number, 400 * number, 3))
    spools, half = tmp_path / "spools", len(records) // 2
    with recorder(database, spools, "-") as process:
        assert process.stdin is not None
        process.stdin.write(pcap(records[:half]))
        process.stdin.flush()
        until(lambda: spooled(spools) >= half)
        process.kill()
    with recorder(database, spools, "-") as process:
        _, said = process.communicate(pcap(records[half:]), timeout=120)
    assert b"4 calls added, 0 go on, 0 wait" in said
    assert rows(database) == [whole(number, 3) for number in range(4)]


def test_no_process_of_a_killed_recorder_is_left(database: Database, shelf: Path, tmp_path: Path) -> None:
    """Who imports what it splits waits at a pipe that nothing closes: it has to ask whether its parent is there."""
    with recorder(database, tmp_path / "spools", "-") as process:
        assert process.stdin is not None
        process.stdin.write(pcap(call(1, 0, 1)))
        process.stdin.write(pcap(call(2, 20_000, 1))[24:])  # much later, so that the first is over
        process.stdin.flush()
        until(lambda: len(rows(database)) >= 1)
        begun = children(process.pid)
        assert begun
        process.kill()
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in begun))


def test_two_recorders_share_a_database_and_one_is_killed(
    database: Database, shelf: Path, tmp_path: Path
) -> None:
    """Each files the calls whose signalling it saw. Packets that both were given, of one clock, are one call."""
    records = [sorted(record for number in numbers for record in call(number, 400 * number, 3))
               for numbers in ((0, 1, 2), (2, 3, 4))]  # fmt: skip
    half = len(records[0]) // 2
    folders = [tmp_path / "first", tmp_path / "second"]
    with recorder(database, folders[1], "-", "--name", "south") as south:
        with recorder(database, folders[0], "-", "--name", "north") as north:
            assert north.stdin is not None
            north.stdin.write(pcap(records[0][:half]))
            north.stdin.flush()
            until(lambda: spooled(folders[0]) >= half)
            north.kill()
        _, said = south.communicate(pcap(records[1]), timeout=120)
        assert b"3 calls added, 0 go on, 0 wait" in said
    with recorder(database, folders[0], "-", "--name", "north") as north:
        _, said = north.communicate(pcap(records[0][half:]), timeout=120)
    assert b"2 calls added, 0 go on, 0 wait" in said
    assert rows(database) == [whole(number, 3) for number in range(5)]
    with database.connection() as connection:
        found = connection.execute("SELECT wire_call_id, source FROM calls ORDER BY wire_call_id").fetchall()
        volumes.reconcile(connection)
    assert [row["source"].partition(":")[0] for row in found] == ["north", "north", "south", "south", "south"]
    assert len(list(shelf.rglob("*.rtp"))) == 10


def test_capture_agents(database: Database, shelf: Path, tmp_path: Path) -> None:
    """Signalling and media by HEP3, over IPv4 to a socket of both families."""
    agents, told = Agents(0), threading.Event()
    recorder = Recorder([agents], Job(database.url, 1), tmp_path / "spools", 0.1, 0)
    thread = threading.Thread(target=recorder.run, args=(told,))
    thread.start()
    records = sorted(call(1, 0, 2))
    shift = time.time_ns() - records[0][0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        for number, (at, octets) in enumerate(records):
            ends = [".".join(map(str, octets[n : n + 4])) for n in (26, 30)]
            ports = [int.from_bytes(octets[n : n + 2], "big") for n in (34, 36)]
            kind = 1 if INVITE in octets[MEDIA:] else 4
            frame = hep3(octets[MEDIA:], ends[0], ports[0], ends[1], ports[1], kind=kind, time_ns=at + shift)
            agent.sendto(frame, ("127.0.0.1", agents.port))
            if number % 20 == 0:
                time.sleep(0.002)
    until(lambda: recorder.figures.packets == len(records))
    told.set()
    thread.join()
    agents.close()
    assert rows(database) == [whole(1, 2)]


@contextmanager
def wire() -> Iterator[tuple[str, str]]:
    """A wire from a network namespace to us: the namespace, and our interface."""
    name, ours = f"cr{os.getpid()}", f"crl{os.getpid() % 10**7}"

    def run(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True)

    try:
        run("ip", "netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespace can be made here")
    try:
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", "crsend", "netns", name)
        run("ip", "link", "set", ours, "up")
        run("ip", "-n", name, "link", "set", "crsend", "up")
        yield name, ours
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


_SEND = """
import socket, struct, sys, time
octets, at = sys.stdin.buffer.read(), 0
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
raw.bind((sys.argv[1], 0))
number = 0
while at < len(octets):
    size = struct.unpack_from("<I", octets, at)[0]
    raw.send(octets[at + 4 : at + 4 + size])
    at += 4 + size
    number += 1
    if number % 50 == 0:
        time.sleep(0.002)
"""


def send(namespace: str, interface: str, records: Sequence[Record]) -> None:
    """Put frames on a wire."""
    octets = b"".join(len(frame).to_bytes(4, "little") + frame for _, frame in records)
    subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", _SEND, interface], input=octets, check=True
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
@pytest.mark.parametrize("workers", [1, 3])
def test_from_an_interface(database: Database, shelf: Path, tmp_path: Path, workers: int) -> None:
    """Calls on a wire, and, by a filter, nothing else; filed five seconds after their BYE. By one process, by several.

    Flows are shared out by a hash: signalling, RTP and RTCP of six calls meet all of three workers.
    """
    numbers = range(10, 16)
    records = sorted(record for number in numbers for record in call(number, 100 * number, 2))
    other = [(at, octets.replace(b"call-7@a", b"call-8@a")) for at, octets in call(7, 0, 1)]
    with (
        wire() as (namespace, interface),
        recorder(
            database, tmp_path / "spools", "-i", interface, "--filter", "not port 4028 and not port 5028",
            "--workers", str(workers)
        ) as process,
    ):  # fmt: skip
        send(namespace, "crsend", [*records, *[record for record in other if INVITE not in record[1]]])
        until(lambda: [status for _, status, _, _ in rows(database)] == ["answered"] * len(numbers))
        said = ended(process)
    assert "0 dropped by the kernel; 6 calls added, 0 go on" in said
    assert [(name, status, legs) for name, status, _, legs in rows(database)] == [
        (f"call-{number}@a", "answered", {"caller": 100, "called": 100}) for number in numbers
    ]
    assert [path.name for path in (tmp_path / "spools").rglob("*") if path.is_file()] == ["lock", "recorder"]


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_workers_of_a_killed_recorder_end(database: Database, shelf: Path, tmp_path: Path) -> None:
    """What workers have spooled is there after a kill of the recorder, and goes on with the next."""
    records = sorted(record for number in range(10, 24) for record in call(number, 50 * number, 1, bye=False))
    byes = sorted(record for number in range(10, 24) for record in call(number, 50 * number, 1))
    spools = tmp_path / "spools"
    with wire() as (namespace, interface):
        with recorder(database, spools, "-i", interface, "--workers", "2") as process:
            send(namespace, "crsend", records)
            until(lambda: spooled(spools) >= len(records))
            assert {path.name[:2] for path in spools.glob("open-1/w*")} == {"w0", "w1"}
            process.kill()
        with recorder(database, spools, "-i", interface, "--workers", "2") as process:
            send(namespace, "crsend", [record for record in byes if b"BYE" in record[1]])
            until(lambda: [status for _, status, _, _ in rows(database)] == ["answered"] * 14)
            assert "14 calls added, 0 go on" in ended(process)
    assert [legs for _, _, _, legs in rows(database)] == [{"caller": 50, "called": 50}] * 14


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to record from"),
        (("capture.pcap",), "captures in files are for `callreplay import`"),
        (("-i", "nosuch0"), "no such network interface"),
        (("-i", "lo", "--filter", "this is no filter"), "filter"),
        (("--hep", "0", "--user", "nobody-of-this-name"), "no user"),
        (("--hep", "70000"), "is no port"),
    ],
)
def test_arguments_that_make_no_sense(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    if "-i" in arguments and os.geteuid() != 0:
        pytest.skip("capturing needs root")
    words = ["record", *arguments, "--data-dir", str(tmp_path / "data")]
    result = CliRunner().invoke(build(words), words)
    assert isinstance(result.exception, CallReplayError)
    assert said in str(result.exception)
    assert not (tmp_path / "data").exists()
