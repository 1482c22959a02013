"""What losses and wrong clocks cost: a worker's G.711 to wav with and without them, and the mixer alone.

Calls of three minutes. A lost packet is made up from both sides; a sender's clock that is 40 ppm off is
corrected. The mixer gets samples and gives frames: as they are, corrected, and between the rates of telephony.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import _worker as worker
from bench._captures import START_NS, leg, write_pcap
from callreplay.audio.mix import Renderer
from callreplay.codecs import parse_rtpmap
from callreplay.model import GAP_DTYPE, LegColumns, Span

CALLS, SECONDS, REPEATS = 20, 180, 5


def _captures(folder: Path, loss: float, ppm: float) -> Path:
    folder.mkdir()
    for number in range(CALLS):
        sides = [leg(SECONDS, side, seed=number, loss=loss, jitter_ms=20) for side in (0, 1)]
        late = [
            (arrival + np.rint((arrival - START_NS) * (sign * ppm * 1e-6)).astype(np.int64), records)
            for sign, (arrival, records) in zip((1, -1), sides, strict=True)
        ]
        write_pcap(folder / f"call{number}.pcap", *late)
    return folder


def _batches() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = {
            "as they are": _captures(folder / "plain", 0, 0),
            "5 % lost": _captures(folder / "some", 0.05, 0),
            "10 % lost": _captures(folder / "many", 0.1, 0),
            "clocks 40 ppm off": _captures(folder / "drift", 0, 40),
        }
        taken = worker.times(list(made.values()), repeats=REPEATS)
    best = {what: min(times) for what, times in zip(made, taken, strict=True)}
    plain = best["as they are"]
    bars: dict[str, dict[str, Any]] = {
        "10 % lost": {"bar": 1.25, "bar_kind": "at_most"},
        "clocks 40 ppm off": {"bar": 1.25, "bar_kind": "at_most"},
    }
    return [
        {"name": f"PCMU to wav, {what}: CPU time over that without", "cpu_s": cpu, "ratio": cpu / plain}
        | bars.get(what, {})
        for what, cpu in best.items()
    ]


def _mix(from_hz: int, to_hz: int, drift_ppm: float, frames: int = 1 << 13) -> float:
    """CPU nanoseconds a frame of ten minutes, read by so many at a time; the best of several."""
    samples = 600 * from_hz
    pcm = (8000 * np.sin(np.arange(samples) * 0.1)).astype(np.int16)
    codec = parse_rtpmap(f"speex/{from_hz}")  # decoded elsewhere: its PCM is given
    nothing, octets = np.zeros(0, np.int64), np.zeros(0, np.uint8)
    span = Span(codec, 0, 0, 0, 0, 96, 0, samples, drift_ppm)
    columns = LegColumns(
        octets, octets, nothing, np.zeros(0, np.uint16), nothing, nothing, nothing, octets, octets, [span],
        np.zeros(0, GAP_DTYPE),
    )  # fmt: skip
    out = np.empty(frames, np.int16)
    best = float("inf")
    for _ in range(REPEATS):
        read = Renderer(
            [columns], to_hz, external=[{0: pcm}]
        )._native.read  # Python's own costs more than this
        start = time.process_time()
        while read(out):
            pass
        best = min(best, time.process_time() - start)
    return best / 600 / to_hz * 1e9


def rows() -> list[dict[str, Any]]:
    """What losses and drift cost a batch; the mixer alone."""
    copied = _mix(8000, 8000, 0)
    mixer: list[dict[str, Any]] = [
        {
            "name": "mixer, clock 40 ppm off over a copy",
            "ratio": _mix(8000, 8000, 40) / copied,
            "bar": 1.5,
            "bar_kind": "at_most",
        }
    ]
    little = _mix(8000, 8000, 0, 160)
    mixer.append(
        {
            "name": "mixer, reads of 160 frames over those of 8,192, the call from Python included",
            "ns": little,
            "ratio": little / copied,
        }
    )
    for pair in ((8000, 16000), (16000, 8000)):
        each = _mix(*pair, 0)
        name = f"mixer, {pair[0]} to {pair[1]} Hz over a copy"
        mixer.append({"name": name, "ns": each, "ratio": each / copied})
    return [*_batches(), *mixer]
