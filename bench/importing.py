"""Import: megabytes of capture a second from page cache into volume and database, and the memory it takes.

One process imports a gigabyte of G.711 calls at the same time, 24 long ones and 200 shorter ones, into an embedded
PostgreSQL: scan, order, writing and syncing of every leg, one transaction per call. ``ratio`` is the throughput over
the promised 100 MB/s, and the importing process's resident memory, pages of the mapped capture included, over 300 MiB.

A last row asks whether workers wait for one another: captures of a call each are imported onto one volume by one worker
and by four, while every sync of theirs and of the database takes ``CALLREPLAY_BENCH_SYNC_MS`` (50) longer, as on a slow
disk. ``ratio`` is how many times as many calls the four file in a second. CALLREPLAY_BENCH_ONLY: waiting, for that row.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import _captures

SHAPES = ((24, 1900), (200, 228))
"""Calls at the same time and the seconds of each: 1.05 GB in all."""

WORKERS = 4
SYNC_MS = int(os.environ.get("CALLREPLAY_BENCH_SYNC_MS", "50"))
ONLY = os.environ.get("CALLREPLAY_BENCH_ONLY", "")
_FIRST = 8  # calls until all workers are under way
_COUNTED = 24
_SLOW = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
#define SLOWER(name) int name(int file) { usleep(MS * 1000); return ((int (*)(int))dlsym(RTLD_NEXT, #name))(file); }
SLOWER(fsync) SLOWER(fdatasync) SLOWER(syncfs)
"""

_PACED = """
import sys, time
from pathlib import Path
from callreplay.importing.importer import Job
from callreplay.importing.workers import import_captures

if __name__ == "__main__":
    url, jobs, first, *paths = sys.argv[1:]
    ends = []
    for outcome in import_captures(Job(url, 1), [Path(path) for path in paths], int(jobs)):
        if outcome.error or outcome.added != 1:
            sys.exit(str(outcome))
        ends.append(time.monotonic())
    print((len(paths) - int(first)) / (ends[-1] - ends[int(first) - 1]))
"""

_CHILD = """
import json, resource, sys, threading, time
from pathlib import Path
from callreplay.store import volumes
from callreplay.store.database import Database
from callreplay.importing.importer import Job, import_one

def status(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024

path, url, shelf = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
with path.open("rb") as file:
    while file.read(1 << 20):
        pass
peak, done = [0, 0], threading.Event()

def watch():
    while not done.wait(0.005):
        peak[0] = max(peak[0], status("RssAnon"))
        peak[1] = max(peak[1], status("VmRSS"))

with Database(url, size=2) as database:
    with database.connection() as connection:
        volumes.add(connection, shelf)
    thread = threading.Thread(target=watch)
    thread.start()
    wall, cpu = time.monotonic(), time.process_time()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    outcome = import_one(database, Job(url, 1), path)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    done.set()
    thread.join()
print(json.dumps({"error": outcome.error, "added": outcome.added, "wall": wall, "cpu": cpu, "octets": outcome.octets,
                  "anonymous": peak[0], "resident": peak[1], "faults": faults}))
"""


def write(path: Path, calls: int, seconds: float) -> int:
    """Write a capture of ``calls`` two-way calls at the same time; returns its octets."""
    # What they say differs, or they would be taken for one call captured on several hops.
    legs = [
        _captures.leg(seconds, side, call=call, seed=2 * call) for call in range(calls) for side in (0, 1)
    ]
    _captures.write_pcap(path, *legs)
    return path.stat().st_size


def prolong(path: Path, times: int, seconds: int) -> int:
    """Make the calls of a capture of ``seconds`` so many times as long, the same said again; returns its octets."""
    records = _captures.read_pcap(path)
    with path.open("ab") as out:
        for turn in range(1, times):
            later = records.copy()
            later["sec"] += turn * seconds
            later["sequence"] = (later["sequence"].astype(np.int64) + turn * seconds * 50) & 0xFFFF
            later["timestamp"] = (later["timestamp"].astype(np.int64) + turn * seconds * 8000) & 0xFFFFFFFF
            later.tofile(out)
    return path.stat().st_size


def measure(path: Path, url: str, shelf: Path) -> dict[str, Any]:
    """Import ``path`` in a process of its own; wall and CPU seconds, octets, peaks of memory in octets, page faults."""
    # The capture was read once by the child before the clock starts: it lies in the page cache.
    command = [sys.executable, "-c", _CHILD, str(path), url, str(shelf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def run() -> list[dict[str, Any]]:
    """The rows of the table."""
    shapes = () if ONLY == "waiting" else SHAPES
    return [*(row for calls, seconds in shapes for row in _rows(calls, seconds)), _waiting()]


def _waiting() -> dict[str, Any]:
    """Calls a second of one worker and of several, where all that takes time is waiting for the disk."""
    from callreplay.store.database import migrate
    from callreplay.store.embedded import EmbeddedPostgres

    folder = Path(tempfile.mkdtemp(prefix="callreplay-bench-"))
    folder.chmod(0o755)
    slow = folder / "slow.so"
    source = folder / "slow.c"
    source.write_text(_SLOW)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", f"-DMS={SYNC_MS}", "-o", slow, source, "-ldl"], check=True
    )
    try:
        with EmbeddedPostgres(folder / "data", port=0) as postgres:  # at the pace of this disk
            migrate(postgres.url)
        os.environ["LD_PRELOAD"] = str(slow)
        with EmbeddedPostgres(folder / "data", port=0) as postgres:
            rates = {jobs: _paced(folder, postgres.url, jobs) for jobs in (1, WORKERS)}
    finally:
        os.environ.pop("LD_PRELOAD", None)
        shutil.rmtree(folder, ignore_errors=True)
    return {"name": f"calls onto one volume, each sync {SYNC_MS} ms longer: {WORKERS} workers over one",
            "calls/s": rates[WORKERS], "ratio": rates[WORKERS] / rates[1], "bar": 3.0}  # fmt: skip


def _paced(folder: Path, url: str, jobs: int) -> float:
    """Calls that ``jobs`` workers file in a second, once all are under way."""
    from callreplay.store import volumes
    from callreplay.store.database import Database

    paths = []
    for number in range(_FIRST + _COUNTED):
        legs = [_captures.leg(5.0, side, call=number, seed=1000 * jobs + 2 * number) for side in (0, 1)]
        paths.append(folder / f"{jobs}-{number}.pcap")
        _captures.write_pcap(paths[-1], *legs)
    with Database(url, size=1) as database, database.connection() as connection:
        if not volumes.listing(connection):
            volumes.add(connection, folder / "shelf")
    # A process of its own, for what is put before the C library is so where a program starts.
    command = [sys.executable, "-c", _PACED, url, str(jobs), str(_FIRST), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout)


def _rows(calls: int, seconds: int) -> list[dict[str, Any]]:
    from callreplay.store.database import migrate
    from callreplay.store.embedded import EmbeddedPostgres

    # PostgreSQL refuses to run as root and must be able to enter the folder.
    folder = Path(tempfile.mkdtemp(prefix="callreplay-bench-"))
    folder.chmod(0o755)
    try:
        path = folder / "calls.pcap"
        write(path, calls, seconds)
        with EmbeddedPostgres(folder / "data", port=0) as postgres:
            migrate(postgres.url)
            figures = measure(path, postgres.url, folder / "shelf")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if figures["error"] or figures["added"] != calls:
        raise RuntimeError(f"import: {figures}")
    megabytes = figures["octets"] / 1e6
    rate = megabytes / figures["wall"]
    return [
        {"name": f"{calls} calls: throughput, MB/s over 100", "MB": megabytes, "MB/s": rate,
         "wall_s": figures["wall"], "cpu_s": figures["cpu"], "MB/cpu_s": megabytes / figures["cpu"],
         "ratio": rate / 100, "bar": 1.0},
        {"name": f"{calls} calls: resident memory over 300 MiB", "MB": megabytes, "MiB": figures["resident"] / 2**20,
         "anonymous_MiB": figures["anonymous"] / 2**20, "faults": figures["faults"],
         "ratio": figures["resident"] / (300 * 2**20), "bar": 1.0, "bar_kind": "at_most"},
    ]  # fmt: skip
