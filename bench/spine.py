"""The spine: one hour of a two-leg G.711 call, stage by stage and whole, against the physical limit and today's tools.

The limit is ``cat`` of the input and writing as many octets as the output, with the same fsync. Today's tools: tshark's
payload fields through xxd and sox, and GStreamer's pcapparse, each leg by itself and sox to join them; they place
nothing by time. CPU seconds everywhere (user and system, children included), best of the repeats, one run.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import callreplay
from bench._captures import leg, write_pcap
from callreplay import order, packets, signalling
from callreplay.audio.mix import Renderer

HOUR = 3600
REPEATS = 3


def _cpu() -> float:
    mine, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime


def _best(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        begin = _cpu()
        work()
        times.append(_cpu() - begin)
    return min(times)


def _cat(capture: Path, out: Path, size: int) -> None:
    with capture.open("rb", buffering=0) as source, Path(os.devnull).open("wb", buffering=0) as sink:
        while data := source.read(1 << 20):
            sink.write(data)
    block = np.zeros(1 << 20, np.uint8).tobytes()
    with out.open("wb", buffering=0) as sink:
        left = size
        while left > 0:
            left -= sink.write(block[: min(left, len(block))])
        os.fsync(sink.fileno())


def _shell(command: str) -> None:
    subprocess.run(["bash", "-c", f"set -e; {command}"], check=True, capture_output=True)


def _tshark(capture: Path, folder: Path) -> None:
    for port, name in ((20000, "caller"), (30000, "called")):
        _shell(
            f"tshark -r {capture} -d udp.port==20000,rtp -Y 'udp.srcport=={port}' -T fields -e rtp.payload"
            f" | tr -d ':\\n' | xxd -r -p | sox -t raw -e u-law -r 8000 -c 1 - {folder}/{name}.wav"
        )
    _shell(f"sox -M {folder}/caller.wav {folder}/called.wav {folder}/tools.wav")


def _gstreamer(capture: Path, folder: Path) -> None:
    caps = "application/x-rtp,media=audio,clock-rate=8000,encoding-name=PCMU,payload=0"
    for port, name in ((20000, "caller"), (30000, "called")):
        _shell(
            f"gst-launch-1.0 -q filesrc location={capture} ! pcapparse src-port={port} caps={caps}"
            f" ! rtppcmudepay ! mulawdec ! wavenc ! filesink location={folder}/{name}.wav"
        )
    _shell(f"sox -M {folder}/caller.wav {folder}/called.wav {folder}/tools.wav")


def _stages(capture: Path, count: int) -> list[dict[str, Any]]:
    buffer = packets.open_buffer(capture)
    scan = packets.scan(buffer)
    scanning = _best(lambda: packets.scan(buffer))
    ordering = _best(lambda: order.assemble(scan, signalling.describe(scan.messages)))
    call = callreplay.open(capture).calls[0]
    columns = [one.columns for one in call.legs]

    def drain(channels: str, rate: int | None) -> Callable[[], None]:
        def work() -> None:
            for _ in Renderer(columns, rate, channels):  # type: ignore[arg-type]
                pass

        return work

    rows = [
        {"name": "packets: scan", "cpu_s": scanning, "packets_per_s": count / scanning},
        {"name": "order: two legs", "cpu_s": ordering, "packets_per_s": count / ordering},
    ]
    for name, channels, rate in (
        ("decode + mix, mono 8 kHz", "mono", None),
        ("decode + mix, stereo 8 kHz", "stereo", None),
        ("decode + resample + mix, stereo 16 kHz", "stereo", 16000),
    ):
        spent = _best(drain(channels, rate))
        rows.append({"name": name, "cpu_s": spent, "x_real_time": HOUR / spent})
    return rows


def run() -> list[dict[str, Any]]:
    """Rows: stages, the whole, the limit (ratio: ours over it, at most 4), the tools (ratio: theirs over ours)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture, out = folder / "hour.pcap", folder / "hour.wav"
        count = write_pcap(capture, leg(HOUR, 0, jitter_ms=15), leg(HOUR, 1, jitter_ms=15))
        rows = _stages(capture, count)

        def whole() -> None:
            with callreplay.open(capture) as opened:
                opened.calls[0].save(out, channels="stereo")

        whole()
        size = out.stat().st_size
        ours, limit = [], []
        for _ in range(REPEATS):
            ours.append(_best(whole, 1))
            limit.append(_best(lambda: _cat(capture, folder / "limit", size), 1))
        best = min(ours)
        rows += [
            {"name": "capture to stereo WAV", "cpu_s": best, "x_real_time": HOUR / best},
            {"name": "limit: cat input, write output", "cpu_s": min(limit), "ratio": best / min(limit)}
            | {"bar": 4.0, "bar_kind": "at_most"},
        ]
        begin = time.monotonic()
        for tool, work, needs in (
            ("tshark + xxd + sox", _tshark, ("tshark", "xxd", "sox")),
            ("GStreamer + sox", _gstreamer, ("gst-launch-1.0", "sox")),
        ):
            if all(shutil.which(program) for program in needs) and time.monotonic() - begin < 600:
                spent = _best(lambda work=work: work(capture, folder), 1)  # type: ignore[misc]
                rows.append(
                    {"name": tool, "cpu_s": spent, "x_real_time": HOUR / spent, "ratio": spent / best}
                )
    return rows
