"""Import: megabytes of capture a second from page cache into volume and database, and the memory it takes.

One process imports a gigabyte of G.711 calls at the same time, 24 long ones and 200 shorter ones, into an embedded
PostgreSQL: scan, order, writing and syncing of every leg, one transaction per call. ``ratio`` is the throughput over
the promised 100 MB/s, and the importing process's resident memory, pages of the mapped capture included, over 300 MiB.
"""

from __future__ import annotations

import json
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
    return [row for calls, seconds in SHAPES for row in _rows(calls, seconds)]


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
