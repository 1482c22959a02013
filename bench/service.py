"""The service under load, on loopback: by wrk for what is cached; 200 clients and long calls for what is not.

/healthz has to answer within 100 ms (p99) while 200 clients ask for different calls: bars in milliseconds, promised for
two processors of today. What is called CPU is the service's own, user and system; PostgreSQL's stands beside it. New
WAVs and cached redirects are measured with few entries in the cache and with 100,000. Starts of commands are rows of
``pipeline``.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench._captures import leg, write_pcap

SECONDS = 4
CLIENTS = 200
CALL_SECONDS = 20.0
FORMATS = ("spx", "wav", "png")
HEALTH_MS = 100.0
FIRST_BYTE_MS = {"wav": 60.0, "spx": 300.0}
PEAKS_MS = 300.0
LONG = ("PCMU", "G729")
LARGE_BYTES = 1 << 20
ENTRIES = 100_000
NEW_WAV_CPU_MS = 6.0
REDIRECTS_A_CORE = 1000.0
GROWTH_MIB = 256.0
# Asks from a process of its own: the clients' threads would be in the way of its clock.
PROBE = """
import http.client, json, select, sys, time
connection = http.client.HTTPConnection(sys.argv[1])
times = []
while not select.select([sys.stdin], [], [], 0.01)[0]:
    started = time.perf_counter()
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == b"ok\\n"
    times.append((time.perf_counter() - started) * 1000)
print(json.dumps(times))
"""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _wrk(url: str, headers: dict[str, str], connections: int) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", url]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert rate
    assert tail
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail[2]]
    return {"requests per second": float(rate[1]), "p99 ms": float(tail[1]) * scale}


def _make_calls(folder: Path) -> None:
    """One capture of many short calls, and one of a call of an hour."""
    folder.mkdir()
    short = [leg(CALL_SECONDS, side, call=n, seed=2 * n + 1) for n in range(CLIENTS) for side in (0, 1)]
    write_pcap(folder / "short.pcap", *short)
    for number, codec in enumerate(LONG, CLIENTS):
        legs = (leg(3600, side, codec, call=number, seed=2 * number + 1) for side in (0, 1))
        write_pcap(folder / f"long-{codec}.pcap", *legs)


def _memory_mib(pid: int) -> dict[str, float]:
    """Resident now, and the most since it was asked last."""
    text = Path(f"/proc/{pid}/status").read_text()
    now, peak = (
        int(m[1]) / 1024 for m in (re.search(rf"{k}:\s+(\d+)", text) for k in ("VmRSS", "VmHWM")) if m
    )
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return {"now": now, "peak": peak}


def _many_clients(base: str, auth: tuple[str, str], calls: list[str], pid: int) -> list[dict[str, Any]]:
    """Every client asks for its own call in each format, all of them at once; nothing is cached."""
    before = _memory_mib(pid)["now"]
    together = threading.Barrier(len(calls) + 1)
    seconds: list[float] = []
    wrong: list[str] = []

    def client(call: str) -> None:
        with httpx.Client(base_url=base, auth=auth, timeout=120, follow_redirects=True) as asking:
            together.wait()
            for form in FORMATS:
                started = time.perf_counter()
                try:
                    answer = asking.get("/CallRecorder/Transcoder", params={"callId": call, "format": form})
                    if answer.status_code != 200 or len(answer.content) < 1000:
                        wrong.append(f"{form} {answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    wrong.append(f"{form} {error!r}")
                seconds.append(time.perf_counter() - started)

    threads = [threading.Thread(target=client, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    command = [sys.executable, "-c", PROBE, base.removeprefix("http://")]
    probe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    together.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    health = sorted(json.loads(probe.communicate("")[0]))
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {len(seconds)} requests failed: {wrong[0]}")
    memory = _memory_mib(pid)
    load = f"service: {len(calls)} clients, {len(seconds)} uncached calls"
    rate, slow = len(seconds) / took, sorted(seconds)[int(len(seconds) * 0.99)] * 1000
    p99, growth = health[int(len(health) * 0.99)], memory["peak"] - before
    health_row = {"requests": len(health), "ratio": p99, "bar": HEALTH_MS, "bar_kind": "at_most"}
    sizes = {"MiB before": before, "MiB peak": memory["peak"], "MiB after": memory["now"]}
    return [
        {"name": load, "requests per second": rate, "p99 ms": slow},
        {"name": f"{load}: /healthz p99, ms", **health_row},
        {
            "name": f"{load}: memory grows, MiB",
            **sizes,
            "ratio": growth,
            "bar": GROWTH_MIB,
            "bar_kind": "at_most",
        },
    ]


def _renewed(recordings: Path) -> None:
    """Touch the long recordings: calls of them are opened anew."""
    for path in recordings.rglob("*.rtp"):
        if path.stat().st_size > LARGE_BYTES:
            path.touch()


def _first_byte(
    base: str, auth: tuple[str, str], call: str, form: str, codec: str, pid: int, recordings: Path
) -> dict[str, Any]:
    """From the request, over the redirect, to the first audio; the worst of three, none cached or opened before.

    The CPU has what is rendered beside it until that arrives, for the rendering goes on: on busy machines that is more.
    """
    found, spent = [], []
    with httpx.Client(base_url=base, auth=auth, timeout=60, follow_redirects=True) as client:
        client.get("/healthz")
        for attempt in range(4):
            # To the first audio it is an hour all the same; who leaves then leaves work that goes on for a while.
            end = 3600 - attempt if form == "wav" else 60 - attempt
            parameters = {"callId": call, "format": form, "end": str(end)}
            if attempt < 3:
                _renewed(recordings)
            started, begun = time.perf_counter(), _cpu_ms(pid)
            with client.stream("GET", "/CallRecorder/Transcoder", params=parameters) as answer:
                blocks = answer.iter_raw()
                size = 0
                while size <= 200:  # more than the headers of a file
                    size += len(next(blocks))
                found.append((time.perf_counter() - started) * 1000)
                spent.append(_cpu_ms(pid) - begun)
                for _ in blocks:
                    pass
    name = f"service: first audio of an hour of {codec}, {form}, ms"
    row = {
        "name": name,
        "ms of CPU": min(spent[:3]),
        "opened before: ms of CPU": spent[3],
        "ratio": max(found[:3]),
    }
    return row | {"bar": FIRST_BYTE_MS[form], "bar_kind": "at_most"}


def _fill_cache(folder: Path) -> None:
    """Entries of a cache that has been in use for long: names of one file a shelf, as making files takes minutes."""
    for shelf in range(256):
        place = folder / f"{shelf:02x}"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        first, *others = (place / f"{shelf:02x}{number:062x}" for number in range(shelf, ENTRIES, 256))
        first.write_bytes(b"x")
        for other in others:
            other.hardlink_to(first)


def _cpu_ms(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) * 1000.0 / os.sysconf("SC_CLK_TCK")


def _descendants_ms(pid: int) -> float:
    """CPU of the processes that a process has started, and of those that these have: here PostgreSQL's."""
    spent = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                spent += _cpu_ms(int(child)) + _descendants_ms(int(child))
            except OSError:  # it has ended
                continue
    return spent


def _cached_redirects(base: str, cookie: str, calls: list[str], pid: int, cache: str) -> dict[str, Any]:
    """16 connections of one session, each asking for one call after the other, all of them cached."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        ids = ",".join(f'"{call}"' for call in calls)
        script.write(
            f"local ids, n = {{{ids}}}, 0\n"
            "request = function() n = n + 1; "
            'return wrk.format("GET", "/CallRecorder/Transcoder?format=wav&callId=" .. ids[n % #ids + 1]) end\n'
        )
        script.flush()
        begun, of_database = _cpu_ms(pid), _descendants_ms(pid)
        command = ["wrk", "-t1", "-c16", f"-d{SECONDS}s", "-s", script.name, "-H", f"Cookie: {cookie}", base]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent, of_database = _cpu_ms(pid) - begun, _descendants_ms(pid) - of_database
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    count = int(re.findall(r"(\d+) requests in", text)[0])
    return {
        "name": f"service: cached redirects beside {cache}, a second of one core",
        "ms of CPU": spent / count,
        "ms of PostgreSQL's CPU": of_database / count,
        "requests per second": count / SECONDS,
        "ratio": 1000 * count / spent,
        "bar": REDIRECTS_A_CORE,
    }


def _cpu(
    base: str, auth: tuple[str, str], calls: list[str], pid: int, cache: str, end: str
) -> list[dict[str, Any]]:
    """The service's own processor time for a request, of one session; ``end`` was not asked for before."""
    with httpx.Client(base_url=base, timeout=60) as client:
        client.post("/CallRecorder/Login", data=dict(zip(("user", "password"), auth, strict=True)))

        def spent(asked: list[str], **options: str) -> float:
            begun = _cpu_ms(pid)
            for call in asked:
                given = {"format": "wav", "callId": call, **options}
                answer = client.get("/CallRecorder/Transcoder", params=given)
                assert answer.status_code == 302, answer.text
            return (_cpu_ms(pid) - begun) / len(asked)

        spent(calls[:20], end=f"{end}1")  # all code was run once
        new = spent(calls, end=end)
        spent(calls)
        alone = spent(calls * 3)
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        many = _cached_redirects(base, cookie, calls, pid, cache)
    return [
        {
            "name": f"service: a new WAV of 20 s beside {cache}, ms of CPU",
            "ratio": new,
            "bar": NEW_WAV_CPU_MS,
            "bar_kind": "at_most",
        },
        many,
        {"name": f"service: cached redirects beside {cache}, one at a time", "ms of CPU": alone},
    ]


def _peaks(
    base: str, auth: tuple[str, str], call: str, codec: str, pid: int, recordings: Path
) -> dict[str, Any]:
    """From the request to the peaks of an hour that a player draws first; the worst of three, as ``_first_byte``."""
    found, spent = [], []
    with httpx.Client(base_url=base, auth=auth, timeout=60, follow_redirects=True) as client:
        client.get("/healthz")
        for attempt in range(3):
            asked = {"callId": call, "format": "zoom", "channels": "stereo", "end": str(3600 - attempt)}
            _renewed(recordings)
            started, begun = time.perf_counter(), _cpu_ms(pid)
            answer = client.get("/CallRecorder/Transcoder", params=asked, headers={"range": "bytes=0-65535"})
            found.append((time.perf_counter() - started) * 1000)
            spent.append(_cpu_ms(pid) - begun)
            assert len(answer.content) == 65536, answer.status_code
    return {
        "name": f"service: the peaks of an hour of {codec}, ms",
        "ms of CPU": min(spent),
        "ratio": max(found),
        "bar": PEAKS_MS,
        "bar_kind": "at_most",
    }


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[str, int]]:
    """The service over ``folder``: its address and process."""
    out = folder / "out"
    command = [str(Path(sys.executable).with_name("callreplay")), "serve", "--data-dir", str(folder / "data"),
               "--port", "0", "--db-port", "0", "--log-level", "warning",
               "--address-connections", "1000", "--samples", str(folder / "captures")]  # fmt: skip
    written = out.stat().st_size if out.exists() else 0
    with out.open("ab") as file:
        process = subprocess.Popen(command, stdout=file)
    try:
        while not (found := re.search(r"serving (http://[^/]+)/", out.read_text()[written:])):
            if process.poll() is not None:
                raise RuntimeError("the service did not start")
            time.sleep(0.1)
        while True:
            try:
                with urllib.request.urlopen(found[1] + "/readyz"):
                    break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait(30)


def _plain(base: str, auth: tuple[str, str]) -> list[dict[str, Any]]:
    """What wrk asks for again and again."""
    secret = {"authorization": "Basic " + base64.b64encode(":".join(auth).encode()).decode()}
    place = f"{base}/CallRecorder/Transcoder?callerName=ana&format=wav"
    try:
        urllib.request.build_opener(_NoRedirect).open(urllib.request.Request(place, headers=secret))
        raise RuntimeError("no redirect")
    except urllib.error.HTTPError as answer:
        location = answer.headers["location"]
    with urllib.request.urlopen(base + location) as whole:
        whole.read()
    asked: tuple[tuple[str, str, dict[str, str], int], ...] = (
        ("cached Transcoder redirects, by password", place, secret, 16),
        ("ranged reads of a temporary URL", base + location, {"range": "bytes=1000-65535"}, 16),
        ("health", base + "/healthz", {}, 4),
    )
    return [
        {"name": f"service: {name}", **_wrk(url, headers, number)} for name, url, headers, number in asked
    ]


def _calls(base: str, auth: tuple[str, str]) -> tuple[list[str], dict[str, str]]:
    """The short calls, and the hour of each codec."""
    with httpx.Client(base_url=base, auth=auth, timeout=60) as client:
        listed = client.get("/CallRecorder/Transcoder", params={"format": "json", "limit": "1000"}).json()
    short = [
        call["callId"] for call in listed if call["callerIP"].startswith("10.0.") and call["duration"] < 60
    ]
    long = {
        codec: call["callId"]
        for codec in LONG
        for call in listed
        if call["duration"] > 3000 and any(codec in each for each in call["codecs"])
    }
    if len(short) < CLIENTS:
        raise RuntimeError(f"{len(short)} calls were imported of {CLIENTS}")
    return short[:CLIENTS], long


def run() -> list[dict[str, Any]]:
    """One row per kind of request."""
    folder = Path(tempfile.mkdtemp(prefix="callreplay-bench-"))
    folder.chmod(0o755)
    try:
        _make_calls(folder / "captures")
        for sample in (Path(__file__).parent.parent / "samples").glob("*.pcap*"):
            shutil.copy(sample, folder / "captures")
        with _serving(folder) as (base, pid):
            password = re.search(r"^password: (\S+)$", (folder / "out").read_text(), re.MULTILINE)
            assert password
            auth = ("admin", password[1])
            short, long = _calls(base, auth)
            rows = _cpu(base, auth, short, pid, "few entries", "19.5")
            for codec, call in long.items():
                of = base, auth, call
                rows.append(_peaks(*of, codec, pid, folder / "data"))
                rows += [_first_byte(*of, form, codec, pid, folder / "data") for form in ("wav", "spx")]
            rows += _plain(base, auth)
        _fill_cache(folder / "data" / "cache")
        with _serving(folder) as (base, pid):
            rows += _cpu(base, auth, short, pid, f"{ENTRIES:,} entries", "19.25")
            return rows + _many_clients(base, auth, short, pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for row in run():
        print(row)
