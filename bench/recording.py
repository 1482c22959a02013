"""Recording: packets a second through the splitter alone, and calls through all of it, from packets to rows.

Every payload of the generator carries the number of its call, its direction and its packet, so that what was stored
shows which packets are lost, there twice, or in a foreign call.
Calls are set up and ended by SIP; each has two directions of
20 ms, 1 % loss and 30 ms of jitter. CPU seconds, not those of a clock: the bars are for one core.

CALLREPLAY_BENCH_CALLS: how many calls go on at the same time (2,000); CALLREPLAY_BENCH_SECONDS: how long (20);
CALLREPLAY_BENCH_KILLS: how often a recorder is killed (10). CALLREPLAY_BENCH_WIRE_SECONDS: how long calls are sent over
a veth pair in a network namespace, as root (60; the bar is for 600), CALLREPLAY_BENCH_WIRE_CALLS how many at a time
(as many as CALLREPLAY_BENCH_CALLS), CALLREPLAY_BENCH_WORKERS by how many workers they are split (1: in the process),
CALLREPLAY_BENCH_CORE the core that the recorder and its imports are kept on (0). CALLREPLAY_BENCH_ONLY: wire, for that
row alone.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import _captures

CALLS = int(os.environ.get("CALLREPLAY_BENCH_CALLS", "2000"))
SECONDS = int(os.environ.get("CALLREPLAY_BENCH_SECONDS", "20"))
KILLS = int(os.environ.get("CALLREPLAY_BENCH_KILLS", "10"))
WIRE_SECONDS = int(os.environ.get("CALLREPLAY_BENCH_WIRE_SECONDS", "60"))
WIRE_CALLS = int(os.environ.get("CALLREPLAY_BENCH_WIRE_CALLS", str(CALLS)))
WORKERS = int(os.environ.get("CALLREPLAY_BENCH_WORKERS", "1"))
CORE = os.environ.get("CALLREPLAY_BENCH_CORE", "0")
ONLY = os.environ.get("CALLREPLAY_BENCH_ONLY", "")
_HELD = 150.0
_SHOWS = 8
_SIP = (
    "{start}\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{number}\r\nFrom: <sip:{caller}@{near}>;tag=a{number}\r\n"
    "To: <sip:{called}@{far}>{tag}\r\nCall-ID: {number}@bench\r\nCSeq: {cseq}\r\n{kind}"
    "Content-Length: {size}\r\n\r\n{body}"
)


def _address(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def _ends(number: int) -> tuple[str, str]:
    return _address(0x0A000000 + 2 * number), _address(0x0A000001 + 2 * number)


def _sdp(address: str, port: int) -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )


def _messages(number: int, begin_ns: int, end_ns: int | None) -> Iterator[tuple[int, bytes]]:
    """The frames of a call's signalling."""
    near, far = _ends(number)
    steps = [
        (0, 0, "INVITE sip:b@{far} SIP/2.0", "1 INVITE", _sdp(near, 20000), False),
        (20, 1, "SIP/2.0 180 Ringing", "1 INVITE", "", True),
        (40, 1, "SIP/2.0 200 OK", "1 INVITE", _sdp(far, 30000), True),
        (45, 0, "ACK sip:b@{far} SIP/2.0", "1 ACK", "", True),
    ]
    timed = [
        (begin_ns + ms * 1_000_000, sender, start, cseq, body, tagged)
        for ms, sender, start, cseq, body, tagged in steps
    ]
    if end_ns is not None:
        timed.append((end_ns, 0, "BYE sip:b@{far} SIP/2.0", "2 BYE", "", True))
        timed.append((end_ns + 5_000_000, 1, "SIP/2.0 200 OK", "2 BYE", "", True))
    for at, sender, start, cseq, body, tagged in timed:
        source, target = (near, far) if sender == 0 else (far, near)
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = _SIP.format(
            start=start.format(far=far), via=source, number=number, caller=f"1{number:06}", called=f"2{number:06}",
            near=near, far=far, tag=f";tag=b{number}" if tagged else "", cseq=cseq, kind=kind, size=len(body),
            body=body,
        ).encode()  # fmt: skip
        yield at, _frame(source, target, text)


def _frame(source: str, target: str, payload: bytes) -> bytes:
    ends = b"".join(bytes(map(int, text.split("."))) for text in (source, target))
    udp = (5060).to_bytes(2, "big") * 2 + (8 + len(payload)).to_bytes(2, "big") + b"\0\0" + payload
    head = b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + b"\0\0\0\0\x40\x11\0\0" + ends
    return b"\x02" * 12 + b"\x08\x00" + head + udp


def _media(
    number: int, begin_ns: int, seconds: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.void]]]:
    """Both directions, each payload with call, direction and packet in its first twelve octets."""
    for side in (0, 1):
        count = int(seconds * 50)
        if count < 1:
            continue
        marks = np.zeros((count, 160), np.uint8)
        marks[:, 0:4] = np.frombuffer(np.full(count, number, ">u4").tobytes(), np.uint8).reshape(count, 4)
        marks[:, 4] = side
        marks[:, 5:9] = np.frombuffer(np.arange(count, dtype=">u4").tobytes(), np.uint8).reshape(count, 4)
        marks[:, 9:] = np.random.default_rng((number, side)).integers(0, 256, 151, dtype=np.uint8)
        times, records = _captures.leg(
            seconds, side, call=number, seed=number + 1, loss=0.01, jitter_ms=30.0, payload=marks.reshape(-1)
        )
        yield times - _captures.START_NS + begin_ns + 60_000_000, records


class Load:
    """Calls that begin at even times and last ``_HELD`` seconds, as seen for ``seconds``."""

    def __init__(self, calls: int, seconds: float) -> None:
        start = _captures.START_NS
        every = _HELD / calls
        self.sent: dict[tuple[int, int], int] = {}
        media: list[tuple[NDArray[np.int64], NDArray[np.void]]] = []
        self.messages: list[tuple[int, bytes]] = []
        rng = random.Random(7)
        first = [(number, 0.0, rng.uniform(1, _HELD)) for number in range(calls)]
        later = [(calls + n, n * every, _HELD) for n in range(int(seconds / every))]
        for number, begin, held in (*first, *later):
            begin_ns = start + int((begin + (number < calls) * 0.9 * number / calls) * 1e9)
            left = seconds - (begin_ns - start) / 1e9
            over = held < left - 1
            talk = min(held, max(0.0, left - 0.5))
            self.messages += _messages(number, begin_ns, begin_ns + int((talk + 0.2) * 1e9) if over else None)
            for side, (times, records) in enumerate(_media(number, begin_ns, talk)):
                self.sent[number, side] = len(records)
                media.append((times, records))
        self.calls = len(first) + len(later)
        self._media = media

    def write(self, path: Path) -> int:
        """As one pcap in order of time; returns its packets."""
        times = np.concatenate([times for times, _ in self._media] or [np.empty(0, np.int64)])
        records = [octets.tobytes() for _, octets in self._media]
        size = self._media[0][1].dtype.itemsize
        flat = np.frombuffer(b"".join(records), np.uint8).reshape(-1, size).copy()
        frames = flat[:, 16:]
        order = np.argsort(times, kind="stable")
        self.messages.sort(key=lambda message: message[0])
        at, total = 0, 0
        with path.open("wb") as out:
            out.write(np.array([0xA1B23C4D, 0x00040002, 0, 0, 262144, 1], "<u4").tobytes())
            edges = np.searchsorted(times[order], [message[0] for message in self.messages])
            for edge, (time_ns, frame) in zip([*edges, len(order)], [*self.messages, (0, b"")], strict=True):
                chosen = order[at:edge]
                if len(chosen):
                    block = np.empty((len(chosen), size), np.uint8)
                    head = np.empty((len(chosen), 4), "<u4")
                    head[:, 0], head[:, 1] = times[chosen] // 10**9, times[chosen] % 10**9
                    head[:, 2:] = size - 16
                    block[:, :16] = head.view(np.uint8).reshape(len(chosen), 16)
                    block[:, 16:] = frames[chosen]
                    out.write(block.tobytes())
                    total += len(chosen)
                if frame:
                    second, below = divmod(time_ns, 10**9)
                    out.write(np.array([second, below, len(frame), len(frame)], "<u4").tobytes() + frame)
                    total += 1
                at = edge
        return total


def verify(
    shelf: Path, sent: dict[tuple[int, int], int], spared: Set[bytes] = frozenset()
) -> tuple[int, int, int, int]:
    """(packets stored, lost, double, foreign) of what lies on a volume; ``spared`` are marks that may be lost."""
    from callreplay import packets

    foreign = 0
    marks = list[NDArray[np.uint64]]()
    for path in shelf.rglob("*.rtp"):
        scan = packets.scan(packets.open_buffer(path), recorded=True)
        octets = scan.data[scan.rtp.offset.astype(np.int64)[:, None] + np.arange(9)].astype(np.uint64)
        weights = np.array([57, 49, 41, 33, 32, 24, 16, 8, 0], np.uint64)
        found = np.bitwise_or.reduce(octets << weights, axis=1)
        owners = np.unique(found >> np.uint64(32), return_counts=True)[1]
        foreign += int(owners.sum() - owners.max(initial=0))
        marks.append(found)
    every = np.sort(np.concatenate(marks or [np.empty(0, np.uint64)]))
    stored = len(every)
    double = int((every[1:] == every[:-1]).sum())
    loose = np.array([_number(mark) for mark in spared if mark[4] < 2], np.uint64)
    if double or len(loose):
        every = np.union1d(every, loose)
    sides = every >> np.uint64(32)  # in order
    first = np.flatnonzero(np.diff(sides, prepend=sides[:1] - np.uint64(1)))
    counts = np.diff(first, append=len(sides))
    there = dict(zip(sides[first].tolist(), counts.tolist(), strict=True))
    lost = sum(count - there.get(call << 1 | side, 0) for (call, side), count in sent.items())
    return stored, lost, double, foreign


def _number(mark: bytes) -> int:
    """Call, direction and packet of a payload as one number: 31, 1 and 32 bits."""
    return int.from_bytes(mark[:4], "big") << 33 | mark[4] << 32 | int.from_bytes(mark[5:9], "big")


def _split_alone(path: Path, packets: int) -> dict[str, Any]:
    """The table and the spools in memory, without the disk: the second pass, when every way is known."""
    from callreplay.packets.recognise import recognise
    from callreplay.splitting.splitter import Splitter
    from callreplay.splitting.stops import Stop

    data = np.fromfile(path, np.uint8)
    found = recognise(data[: 1 << 20])
    splitter, best = Splitter(), 0.0
    spools: dict[frozenset[bytes], int] = {}
    folder = tempfile.mkdtemp(dir="/dev/shm")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(4):
            splitter.open(data, found.number, **found.options)
            took = 0.0
            while True:
                began = time.process_time()
                stop = splitter.run(1 << 15)
                took += time.process_time() - began
                if stop == Stop.WAY:
                    way = splitter.pending()[0]
                    source, _, target, _ = splitter.way(way)
                    call = frozenset((source, target))
                    if call not in spools:
                        spools[call] = splitter.spool(b"%x" % len(spools), True)
                    splitter.place(way, spools[call])
                    splitter.keep(splitter.spool_of(way))
                elif stop == Stop.END:
                    break
                if splitter.buffered > 128 << 20:
                    splitter.flush(descriptor)
                    for name in Path(folder).iterdir():
                        os.truncate(name, 0)
            best = max(best, packets / took)
    finally:
        os.close(descriptor)
        shutil.rmtree(folder)
    return {"name": "splitter alone, packets/s over 2 M", "packets": packets, "spools": len(spools), "packets/s": best,
            "ratio": best / 2e6, "bar": 1.0}  # fmt: skip


def _recorder(url: str, spools: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "callreplay", "record", "-", "--database-url", url, "--spool", str(spools)]
    return subprocess.Popen([*words, "--flush", "1"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _feed(process: subprocess.Popen[bytes], content: memoryview) -> None:
    assert process.stdin is not None
    for at in range(0, len(content), 1 << 20):
        process.stdin.write(content[at : at + (1 << 20)])
    process.stdin.flush()


def _finish(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin is not None
    process.stdin.close()
    return process.wait()


def _records(content: memoryview) -> list[int]:
    """Where each record of a pcap begins, and the end."""
    found, at = [], 24
    while at < len(content):
        found.append(at)
        at += 16 + int.from_bytes(content[at + 8 : at + 12], "little")
    return [*found, at]


def _microsecond(content: memoryview, at: int) -> int:
    """The time of a record."""
    second, below = (int.from_bytes(content[at + n : at + n + 4], "little") for n in (0, 4))
    return second * 1_000_000 + below // 1000


def _mark(content: memoryview, at: int) -> bytes:
    """What the payload of a packet says: its call, direction and number; anything of a message."""
    return bytes(content[at + 70 : at + 79])


def _unproven(marks: list[bytes], unheard: Set[bytes]) -> set[bytes]:
    """Of calls whose signalling was lost in a kill: directions too short yet to show that they are RTP.

    What nobody announced and may be anything waits in memory, by eight packets at most.
    """
    counted = Counter(mark[:5] for mark in marks if mark[:4] in unheard)
    return {mark for mark in marks if 0 < counted[mark[:5]] < _SHOWS}


def _acknowledged(url: str, microsecond: int) -> None:
    """Wait until the recorder has said that what came up to a time is on the disk."""
    from callreplay.store.database import Database

    with Database(url, size=1) as database:
        while True:
            with database.connection() as connection:
                row = connection.execute(
                    "SELECT extract(epoch FROM clock_at) AS clock FROM recorders"
                ).fetchone()
            if row is not None and row["clock"] and int(row["clock"] * 1_000_000) >= microsecond:
                return
            time.sleep(0.1)


def _killed(folder: Path, url: str, path: Path, load: Load) -> dict[str, Any]:
    """Ten times: packets until they are acknowledged, a few more, and SIGKILL. Of the former all must be there."""
    from callreplay.store import volumes
    from callreplay.store.database import Database

    shelf, spools = folder / "shelf-killed", folder / "spools-killed"
    with Database(url, size=1) as database, database.connection() as connection:
        volumes.add(connection, shelf)
    content = memoryview(path.read_bytes())
    edges, chance = _records(content), random.Random(11)
    header, spared, unheard = content[:24], set[bytes](), set[bytes]()
    bounds = sorted(chance.sample(range(1, len(edges) - 1), KILLS))
    first = 0
    for last in bounds:
        # The last packets before a kill, at most a tenth of a second of them, nobody has promised to keep.
        loose = max(first, last - 50 * CALLS // 5)
        process = _recorder(url, spools)
        _feed(process, header)
        _feed(process, content[edges[first] : edges[loose]])
        said = _microsecond(content, edges[loose - 1])
        if loose > first:
            _acknowledged(url, said)
        _feed(process, content[edges[loose] : edges[last]])
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The database keeps microseconds: what is of the same one need not have been there yet.
        while loose > first and _microsecond(content, edges[loose - 1]) >= said - 1:
            loose -= 1
        spared |= {_mark(content, edges[n]) for n in range(loose, last)}
        spared |= _unproven([_mark(content, edges[n]) for n in range(first, loose)], unheard)
        unheard |= {
            int(found[1]).to_bytes(4, "big")
            for n in range(loose, last)
            if (found := re.search(rb"\r\nCall-ID: (\d+)@bench", content[edges[n] : edges[n + 1]]))
        }
        first = last
    process = _recorder(url, spools)
    _feed(process, header)
    _feed(process, content[edges[first] :])
    code = _finish(process)
    stored, lost, double, foreign = verify(shelf, load.sent, spared)
    return {"name": f"{KILLS} kills: acknowledged packets lost, and any double or foreign", "exit": code,
            "stored": stored, "lost": lost, "double": double, "foreign": foreign,
            "ratio": float(lost + double + foreign), "bar": 0.0, "bar_kind": "at_most"}  # fmt: skip


def _recorded(folder: Path, url: str, path: Path, load: Load, packets: int) -> Iterator[dict[str, Any]]:
    from callreplay.store import volumes
    from callreplay.store.database import Database

    with Database(url, size=1) as database, database.connection() as connection:
        volumes.add(connection, folder / "shelf")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = _recorder(url, folder / "spools")
    _feed(process, memoryview(path.read_bytes()))
    code = _finish(process)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stored, lost, double, foreign = verify(folder / "shelf", load.sent)
    yield {"name": f"{CALLS} calls at a time, {SECONDS} s: packets lost, double or foreign", "exit": code,
           "calls": load.calls, "packets": packets, "stored": stored, "lost": lost, "double": double,
           "foreign": foreign, "ratio": float(lost + double + foreign), "bar": 0.0, "bar_kind": "at_most"}  # fmt: skip
    yield {"name": "CPU seconds, import included, over seconds of traffic", "cpu_s": cpu, "ratio": cpu / SECONDS,
           "cpu_ms_per_call": 1000 * cpu / load.calls}  # fmt: skip


class _Watched:
    """The resident memory and the CPU time of a process and those that it started, looked at once a second."""

    def __init__(self, pid: int) -> None:
        self._pid, self._over = pid, threading.Event()
        self.resident: list[int] = []
        self.all_resident: list[int] = []
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            found = {pid: self._of(pid) for pid in (self._pid, *self._children(self._pid))}
            self.resident.append(found[self._pid])
            self.all_resident.append(sum(found.values()))

    @staticmethod
    def _of(pid: int) -> int:
        try:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0

    @staticmethod
    def _children(pid: int) -> list[int]:
        try:
            return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def _wired(folder: Path, url: str) -> Iterator[dict[str, Any]]:
    """Calls over a veth pair for a time, recorded on one core: drops, what was stored, how soon, and memory."""
    from callreplay.store import volumes
    from callreplay.store.database import Database

    name, ours = f"crb{os.getpid()}", f"crb{os.getpid() % 10**7}"
    said = folder / "sent.json"
    peer = ["type", "veth", "peer", "name", "crsend", "netns", name]
    made = [["ip", "netns", "add", name], ["ip", "link", "add", ours, *peer],
            ["ip", "link", "set", ours, "up"], ["ip", "-n", name, "link", "set", "crsend", "up"]]  # fmt: skip
    with Database(url, size=1) as database, database.connection() as connection:
        volumes.add(connection, folder / "shelf-wire")
    for words in made:
        subprocess.run(words, check=True, capture_output=True)
    try:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["taskset", "-c", CORE] if CORE else []
        command += [sys.executable, "-m", "callreplay", "record", "-i", ours, "--database-url", url, "--ring", "256MiB",
                    "--spool", str(folder / "spools-wire"), "--workers", str(WORKERS)]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert process.stderr is not None
        process.stderr.readline()
        time.sleep(3)
        watched = _Watched(process.pid)
        subprocess.run(
            ["ip", "netns", "exec", name, sys.executable, "-m", "bench._wire", "crsend", str(WIRE_CALLS),
             str(WIRE_SECONDS), str(min(_HELD, WIRE_SECONDS / 2)), str(said)], check=True)  # fmt: skip
        time.sleep(20)  # those that ended last
        process.send_signal(signal.SIGINT)
        _, tail = process.communicate()
        watched.end()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
    told = json.loads(said.read_text())
    sent = {(call, side): count for call, side, count in told["sent"]}
    stored, lost, double, foreign = verify(folder / "shelf-wire", sent)
    with Database(url, size=1) as database, database.connection() as connection:
        row = connection.execute(
            "SELECT count(*) AS calls, percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM imported_at - "
            "ended_at)) AS late, max(extract(epoch FROM imported_at - ended_at)) AS latest FROM calls "
            "WHERE status = 'answered'"
        ).fetchone()
    assert row is not None
    last = tail.decode().strip().splitlines()[-1:]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    half = watched.resident[len(watched.resident) // 3 :] or [0]
    label = f"{WIRE_CALLS} calls at a time on a wire for {WIRE_SECONDS} s, {WORKERS} worker(s), core {CORE or 'any'}"
    yield {"name": f"{label}: packets lost, double or foreign", "recorder": last, "calls": told["calls"],
           "packets": told["packets"], "stored": stored, "lost": lost, "double": double, "foreign": foreign,
           "sender_behind_s": told["behind_s"], "ratio": float(lost + double + foreign), "bar": 0.0,
           "bar_kind": "at_most"}  # fmt: skip
    yield {"name": f"{label}: seconds from a call's end to its row, p95, over 15", "calls_stored": row["calls"],
           "seconds": float(row["late"] or 0), "latest_s": float(row["latest"] or 0),
           "ratio": float(row["late"] or 0) / 15, "bar": 1.0, "bar_kind": "at_most"}  # fmt: skip
    yield {"name": f"{label}: resident MiB of the recorder, over 600", "most_mib": max(half) / 2**20,
           "least_mib": min(half) / 2**20, "with_imports_mib": max(watched.all_resident or [0]) / 2**20,
           "cpu_s_with_sender": cpu, "ratio": max(half) / 2**20 / 600, "bar": 1.0, "bar_kind": "at_most"}  # fmt: skip


def run() -> list[dict[str, Any]]:
    """The rows of the table."""
    from callreplay.store.database import migrate
    from callreplay.store.embedded import EmbeddedPostgres

    folder = Path(tempfile.mkdtemp(prefix="callreplay-bench-"))
    folder.chmod(0o755)
    try:
        wired = list[dict[str, Any]]()
        if os.geteuid() == 0 and WIRE_SECONDS:
            with EmbeddedPostgres(folder / "data-wire", port=0) as postgres:
                migrate(postgres.url)
                wired += _wired(folder, postgres.url)
        if ONLY == "wire":
            return wired
        load = Load(CALLS, SECONDS)
        path = folder / "load.pcap"
        packets = load.write(path)
        rows = [_split_alone(path, packets)]
        with EmbeddedPostgres(folder / "data", port=0) as postgres:
            migrate(postgres.url)
            rows += _recorded(folder, postgres.url, path, load, packets)
        # A database of its own: calls that are known are not stored again.
        with EmbeddedPostgres(folder / "data-killed", port=0) as postgres:
            migrate(postgres.url)
            rows.append(_killed(folder, postgres.url, path, load))
        return [*rows, *wired]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
