"""Speex: our encoder against libspeex at complexity 3, quality 8, by CPU time in one run.

Rows: 256 calls at once, one call alone without segments, one long call by segments, each narrowband and wideband. The
peer codes one call after the other; its time is scaled to the same number of samples.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from callreplay.outputs.speex import OggSpeexWriter, SpeexBatch

CALLS = 256
CALL_S = 4
LONG_S = 120
QUALITY = 8
COMPLEXITY = 3
REPEATS = 3
BATCH_BAR = {8000: 6.0, 16000: 5.0}
PEERS = Path(__file__).parent / "peers"


def _build_peer(folder: Path) -> Path | None:
    """The peer's program, or None without a compiler or libspeex."""
    compiler = shutil.which("c++")
    if compiler is None:
        return None
    program = folder / "speex_encode"
    command: list[str | Path] = [
        compiler,
        "-O2",
        "-std=c++20",
        PEERS / "speex_encode_main.cpp",
        "-lspeex",
        "-o",
        program,
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    return program if done.returncode == 0 else None


def _speech(folder: Path, rate_hz: int) -> NDArray[np.int16]:
    """Two minutes of a synthetic voice."""
    text = "Good morning, I would like to change my reservation for the evening of the third of May. " * 8
    said, raw = folder / "said.wav", folder / "said.raw"
    subprocess.run(["espeak-ng", "-w", said, text], check=True, capture_output=True)
    shape = ["-r", str(rate_hz), "-c", "1", "-b", "16", "-e", "signed", "-t", "raw"]
    subprocess.run(["sox", said, *shape, raw, "gain", "-n", "-6"], check=True, capture_output=True)
    pcm = np.fromfile(raw, np.int16)
    return np.resize(pcm, LONG_S * rate_hz)


def _cpu_s(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _batch(calls: list[NDArray[np.int16]], rate_hz: int) -> None:
    writers = [OggSpeexWriter(rate_hz, QUALITY) for _ in calls]
    SpeexBatch().encode(writers, calls, end=True)


def _alone(pcm: NDArray[np.int16], rate_hz: int, segments: bool) -> None:
    writer = OggSpeexWriter(rate_hz, QUALITY, segments=segments)
    writer.write(pcm)
    writer.finish()


def run() -> list[dict[str, object]]:
    """Rows of name, cpu_s (of two minutes of PCM), and the peer's time over ours with its bar."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = _build_peer(folder)
        for rate_hz in (8000, 16000):
            pcm = _speech(folder, rate_hz)
            pcm.tofile(folder / "pcm.raw")
            length = CALL_S * rate_hz
            calls = [np.roll(pcm, -977 * i)[:length].copy() for i in range(CALLS)]
            scale = len(pcm) / (CALLS * length)
            batch, alone, segmented, theirs = [], [], [], []
            for _ in range(REPEATS):
                batch.append(scale * _cpu_s(lambda calls=calls, rate_hz=rate_hz: _batch(calls, rate_hz)))  # type: ignore[misc]
                alone.append(_cpu_s(lambda pcm=pcm, rate_hz=rate_hz: _alone(pcm, rate_hz, False)))  # type: ignore[misc]
                segmented.append(_cpu_s(lambda pcm=pcm, rate_hz=rate_hz: _alone(pcm, rate_hz, True)))  # type: ignore[misc]
                if peer is not None:
                    run_peer: list[str | Path] = [
                        peer,
                        str(rate_hz),
                        str(QUALITY),
                        str(COMPLEXITY),
                        folder / "pcm.raw",
                    ]
                    theirs.append(float(subprocess.run(run_peer, check=True, capture_output=True).stdout))
            for label, times, bar in (
                (f"{CALLS} calls at once", batch, BATCH_BAR[rate_hz]),
                ("one call alone", alone, 1.0),
                ("one long call by segments", segmented, 4.0),
            ):
                row: dict[str, object] = {
                    "name": f"speex {rate_hz} Hz q{QUALITY}: {label}",
                    "cpu_s": min(times),
                }
                if theirs:
                    row |= {"ratio": min(theirs) / min(times), "bar": bar}
                rows.append(row)
            if theirs:
                rows.append({"name": f"libspeex {rate_hz} Hz, complexity {COMPLEXITY}", "cpu_s": min(theirs)})
    return rows
