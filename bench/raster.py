"""Raster: one hour of two-leg PCM to a 1000x200 PNG, against ffmpeg's showwavespic, in one run.

And one hour of a two-leg G.711 call from its capture to the PNG in one pass, against our own WAV of it and ffmpeg's
showwavespic of that, which is what one would do without.

Times are CPU seconds: ours of this process, reading the same WAV included; the peer's of its own process.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

import callreplay
from bench._captures import leg, write_pcap
from callreplay.outputs.ink import PictureOptions
from callreplay.outputs.peaks import Peaks
from callreplay.outputs.waveform import columns_per_pixel, waveform_png

HOUR = 3600
RATE = 8000
REPEATS = 3


def _make_wav(path: Path) -> None:
    random = np.random.default_rng(3)
    t = np.arange(60 * RATE)
    minute = np.stack(
        [random.normal(0, 4000, len(t)) * (np.sin(t / period) > 0) for period in (9000, 13000)], axis=1
    )
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        block = minute.clip(-32768, 32767).astype("<i2").tobytes()
        for _ in range(HOUR // 60):
            out.writeframes(block)


def _ours(path: Path) -> float:
    begin = time.process_time()
    pcm = np.memmap(path, np.dtype("<i2"), "r", offset=44).reshape(-1, 2)
    options = PictureOptions(1000, 200)
    peaks = Peaks.fit(2, len(pcm), options.width * columns_per_pixel(len(pcm), options.width))
    for start in range(0, len(pcm), 1 << 16):
        peaks.write(pcm[start : start + (1 << 16)])
    waveform_png(peaks, len(pcm) / RATE, options)
    return time.process_time() - begin


def _showwavespic(path: Path, out: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    picture = "showwavespic=s=1000x200:split_channels=1"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", path, "-filter_complex", picture, "-frames:v", "1", out],
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _save(capture: Path, out: Path) -> float:
    begin = time.process_time()
    with callreplay.open(capture) as opened:
        opened.calls[0].save(out, channels="stereo")
    return time.process_time() - begin


def _capture_rows(folder: Path) -> list[dict[str, object]]:
    capture, wav, png = folder / "hour.pcap", folder / "call.wav", folder / "call.png"
    write_pcap(capture, leg(HOUR, 0), leg(HOUR, 1))
    one_pass = min(_save(capture, png) for _ in range(REPEATS))
    rows: list[dict[str, object]] = [
        {"name": "1 h G.711 capture to PNG, one pass", "cpu_s": one_pass, "x_real_time": HOUR / one_pass}
    ]
    if shutil.which("ffmpeg"):
        detour = min(_save(capture, wav) + _showwavespic(wav, folder / "x.png") for _ in range(REPEATS))
        rows.append({"name": "capture to WAV, showwavespic", "cpu_s": detour, "ratio": detour / one_pass})
    return rows


def run() -> list[dict[str, object]]:
    """Rows of name, cpu_s, and for the peer its ratio to us and the bar."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "hour.wav"
        _make_wav(wav)
        _ours(wav)
        ours, theirs = [], []
        for _ in range(REPEATS):
            ours.append(_ours(wav))
            if shutil.which("ffmpeg"):
                theirs.append(_showwavespic(wav, Path(folder) / "x.png"))
        capture_rows = _capture_rows(Path(folder))
    best = min(ours)
    rows: list[dict[str, object]] = [
        {"name": "1 h two legs to 1000x200 PNG", "cpu_s": best, "x_real_time": HOUR / best}
    ]
    if theirs:
        rows.append(
            {"name": "ffmpeg showwavespic", "cpu_s": min(theirs), "ratio": min(theirs) / best, "bar": 10.0}
        )
    return rows + capture_rows
