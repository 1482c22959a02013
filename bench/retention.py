"""Removing what has expired: calls by the thousand with their rows, their files and a line each in the audit log.

``CALLREPLAY_BENCH_ROWS=N scripts/bench retention`` makes N calls of two legs with files of a few octets (four of them a
call) in an embedded PostgreSQL of its own, nine in ten of them older than the period, and gives what a call that goes
takes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from callreplay.model import recording_files
from callreplay.store import retention, volumes
from callreplay.store.database import Database, migrate
from callreplay.store.embedded import EmbeddedPostgres

NOW = datetime(2026, 6, 1, tzinfo=UTC)
A_DAY = 10_000  # calls: a million in a hundred days
BAR_SECONDS = 600  # for a million
ROWS = """
INSERT INTO calls (tenant_id, identity, wire_call_id, protocol, status, started_at, ended_at, caller_ip, caller_number,
                   caller_name, called_ip, called_number, called_name, length_ms, codecs)
SELECT (SELECT min(id) FROM tenants), n::text, md5(n::text) || '@10.0.0.1', 'sip', 'answered', start,
       start + interval '2 min', inet '10.20.0.0' + n %% 4000, (1000 + n %% 4000)::text, 'Ana ' || n %% 97,
       inet '10.0.0.1' + n %% 4, '07' || lpad((n * 7919 %% 10000000)::text, 8, '0'), '', 120000, '{PCMA}'
  FROM (SELECT n, %(begin)s::timestamptz + n * %(step)s::interval AS start
          FROM generate_series(%(from)s::bigint, %(to)s::bigint) AS n) AS made
"""
FILES = """
INSERT INTO call_files (call_uuid, leg, position, volume_id, path, size_bytes, codec, started_at, duration_ms, packets)
SELECT uuid, (ARRAY['caller', 'called'])[leg], leg, %(volume)s,
       to_char(started_at, 'YYYY/MM/DD/HH24/YYYY-MM-DD_HH24-MI-SS_') || caller_number || '_' || called_number || '_' ||
       identity || '-' || leg || '.rtp', 3, 'PCMA', started_at, 120000, 6000
  FROM calls, generate_series(1, 2) AS leg
 ORDER BY calls.started_at, leg
"""


def fill(url: str, folder: Path, rows: int, days: int) -> None:
    """Make ``rows`` calls, nine in ten of them older than ``days``, with their files."""
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.transaction():
            step = timedelta(days=1) / A_DAY
            begin = NOW - timedelta(days=days) - step * (rows * 9 // 10)
            for start in range(0, rows, 50_000):
                values = {"from": start, "to": min(start + 50_000, rows) - 1, "begin": begin, "step": step}
                connection.execute(ROWS.encode(), values)
            connection.execute("ALTER TABLE call_files DISABLE TRIGGER call_files_figures")
            connection.execute(FILES.encode(), {"volume": 1})
            connection.execute("ALTER TABLE call_files ENABLE TRIGGER call_files_figures")
            size = 6 * 2 * rows
            connection.execute("UPDATE storage_volumes SET used_bytes = %s", (size,))
        connection.execute("VACUUM ANALYZE calls, call_files")
        made: set[Path] = set()
        with connection.cursor(name="files", withhold=True) as cursor:
            cursor.itersize = 10_000
            cursor.execute("SELECT path FROM call_files ORDER BY path")
            for row in cursor:
                for name in recording_files(row[0]):
                    path = folder / name
                    if path.parent not in made:
                        path.parent.mkdir(parents=True, exist_ok=True)
                        made.add(path.parent)
                    path.write_bytes(b"rtp")


def server_cpu_s(url: str) -> float:
    """The CPU seconds that the server's processes have had, those that ended among them."""
    with psycopg.connect(url) as connection:
        backend = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    postmaster = backend[1]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == postmaster:
            ticks += int(fields[11]) + int(fields[12])
        elif stat.parent.name == postmaster:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def run(rows: int = 0) -> list[dict[str, Any]]:
    """One row: what a call that goes takes; ``CALLREPLAY_BENCH_ROWS`` sets how many there are (100,000)."""
    rows = rows or int(os.environ.get("CALLREPLAY_BENCH_ROWS", "100000"))
    days = 1 + rows // 10 // A_DAY
    folder = Path(tempfile.mkdtemp(prefix="callreplay-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "data", port=0, settings={"max_wal_size": "4GB"}) as server:
            migrate(server.url)
            with Database(server.url, size=4) as database:
                with database.connection() as connection:
                    volumes.add(connection, folder / "volume")
                    retention.set_policy(connection, "default", "period", days)
                fill(server.url, folder / "volume", rows, days)
                server_s = server_cpu_s(server.url)
                started, ours = time.perf_counter(), time.process_time()
                gone = sum(not removal.error for removal in retention.retain(database, now=NOW))
                seconds, ours = time.perf_counter() - started, time.process_time() - ours
                server_s = server_cpu_s(server.url) - server_s
                left = sum(path.is_file() for path in (folder / "volume").rglob("*.rtp"))
                with database.connection() as connection:
                    counted = connection.execute("SELECT count(*) AS files FROM call_files").fetchone()
                if counted is None or left != counted["files"] or left != 2 * (rows - gone):
                    raise RuntimeError(f"{left} recordings are left of {rows - gone} calls")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    million = seconds / gone * 1e6
    return [
        {
            "name": f"retain, {gone} of {rows} calls with four files each",
            "seconds": seconds,
            "calls/s": gone / seconds,
            "own CPU us/call": ours / gone * 1e6,
            "server CPU us/call": server_s / gone * 1e6,
            "seconds for a million": million,
            "ratio": million / BAR_SECONDS,
            "bar": 1.0,
            "bar_kind": "at_most",
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=0)
    options = parser.parse_args()
    for row in run(options.rows):
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
