"""Packets: RTP over Ethernet from a pcap in the page cache to columns and streams, against tshark, in one run.

Times are CPU seconds: ours of this process, the peer's of its own process. tshark gets a shorter capture: its rate does
not depend on the length.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench._captures import leg, write_pcap
from callreplay import packets

BAR_PACKETS_PER_S = 5e6
SECONDS = 10_000  # 1,000,000 packets of two legs
REPEATS = 5


def _ours(path: Path) -> float:
    begin = time.process_time()
    found = packets.scan(packets.open_buffer(path))
    spent = time.process_time() - begin
    if len(found.streams) != 2:
        raise RuntimeError(f"two streams were written, {len(found.streams)} found")
    return spent


def _tshark(path: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        ["tshark", "-q", "-d", "udp.port==20000,rtp", "-z", "rtp,streams", "-r", path],
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run() -> list[dict[str, object]]:
    """Rows of name, cpu_s, packets_per_s; ``ratio`` of our rate to 5 M/s, then to the peer's."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        path, short = Path(folder) / "long.pcap", Path(folder) / "short.pcap"
        count = write_pcap(path, leg(SECONDS, 0, "G729"), leg(SECONDS, 1, "G729"))
        large = Path(folder) / "large.pcap"
        large_count = write_pcap(large, leg(SECONDS / 4, 0), leg(SECONDS / 4, 1))
        short_count = write_pcap(short, leg(SECONDS / 50, 0), leg(SECONDS / 50, 1))
        best = {}
        for name, file, number in (("G.729", path, count), ("G.711", large, large_count)):
            _ours(file)
            best[name] = min(_ours(file) for _ in range(REPEATS)), number
        for name, (spent, number) in best.items():
            rate = number / spent
            rows.append(
                {
                    "name": f"RTP over Ethernet pcap, {name}",
                    "cpu_s": spent,
                    "packets_per_s": rate,
                    "ratio": rate / BAR_PACKETS_PER_S,
                    "bar": 1.0,
                }
            )
        if shutil.which("tshark"):
            spent = _tshark(short)
            spent_rate = short_count / spent
            ours = best["G.711"][1] / best["G.711"][0]
            rows.append(
                {
                    "name": "tshark rtp,streams",
                    "cpu_s": spent,
                    "packets_per_s": spent_rate,
                    "ratio": ours / spent_rate,
                    "bar": 10.0,
                }
            )
    return rows
