"""Batches: a mixed set of calls to wav, spx and png, on one core and on two, against today's tools on a sample of it.

2,000 calls (``CALLREPLAY_BENCH_CALLS`` for fewer): G.711, G.722 and G.729, 30 s to 30 min (most of them short, as calls
are), loss and jitter. Audio time is that of calls, both legs together once. The shell loop is what people do: for each
leg tshark's payload through xxd, decoded by ffmpeg (G.729 by libavcodec), sox to join, speexenc.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench._captures import leg, put_away, write_pcap
from callreplay.batch import BatchSettings, find_jobs, run_batch
from callreplay.outputs.options import Options

CALLS = int(os.environ.get("CALLREPLAY_BENCH_CALLS", "2000"))
CODECS = ("PCMU", "G722", "G729")
SAMPLE = 12  # calls of each codec for the shell loop, one of each twelfth by length
BARS = {
    ("PCMU", "wav"): 10_000.0,
    ("G729", "wav"): 5_000.0,
    ("G729", "spx"): 1_200.0,
    **dict.fromkeys([(codec, "png") for codec in CODECS], 4_000.0),
}
REPEATS = 2  # of every figure of ours; their spread is the row's noise


def _lengths(count: int) -> list[float]:
    """Seconds: log-normal around two minutes, cut to 30 s and 30 min."""
    dice = np.random.default_rng(11)
    return [float(s) for s in np.clip(dice.lognormal(np.log(120), 0.8, count), 30, 1800)]


def _make(folder: Path) -> dict[str, float]:
    """Write the calls; hours of audio by codec."""
    hours = dict.fromkeys(CODECS, 0.0)
    for number, seconds in enumerate(_lengths(CALLS)):
        codec = CODECS[number % len(CODECS)]
        path = folder / codec / f"call{number:05}.pcap"
        path.parent.mkdir(parents=True, exist_ok=True)
        sides = [leg(seconds, side, codec, seed=number, loss=0.01, jitter_ms=20) for side in (0, 1)]
        write_pcap(path, *sides)
        hours[codec] += seconds / 3600
    return hours


def _sample(folder: Path) -> list[Path]:
    """The middle one of each part of the captures, cut by their length into ``SAMPLE`` parts of equal number."""
    captures = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
    return [captures[(2 * part + 1) * len(captures) // (2 * SAMPLE)] for part in range(SAMPLE)]


def _cpu() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def _spread(times: list[float]) -> float:
    """How far repeats lie apart, over the shortest."""
    return (max(times) - min(times)) / min(times)


def _batch(source: Path, out: Path, form: str, workers: int) -> tuple[float, float]:
    """CPU and wall seconds of a run."""
    put_away(out)
    cpu, wall = _cpu(), time.monotonic()
    summary = run_batch(find_jobs([str(source)]), BatchSettings(str(out), form, workers=workers))
    if summary.errors:
        raise SystemExit(f"{summary.errors} errors in the batch")
    return _cpu() - cpu, time.monotonic() - wall


def _shards(folder: Path) -> list[dict[str, Any]]:
    """The rate of shards over that of WAV files with the same sound, both channels at 16 kHz."""
    options = Options(channels="stereo", rate=16000)
    jobs = find_jobs([str(folder / "in" / "PCMU")])
    times: dict[str, list[float]] = {"wav": [], "shards": []}
    for _ in range(REPEATS + 1):  # in turn
        for form, taken in times.items():
            put_away(folder / "out")
            before = _cpu()
            run_batch(jobs, BatchSettings(str(folder / "out"), form, options, workers=1))
            taken.append(_cpu() - before)
    wav, shards = (min(taken) for taken in times.values())
    row = {"name": "PCMU to shards (WebDataset, stereo at 16 kHz) over wav", "cpu_s": shards}
    return [{**row, "ratio": wav / shards, "bar": 0.8, "noise": sum(map(_spread, times.values()))}]


_SHELL = {
    "PCMU": "-f mulaw -ar 8000 -ac 1",
    "G722": "-f g722",
    "G729": "-f g729",
}


def _shell_loop(captures: list[Path], codec: str, form: str, folder: Path) -> float:
    """CPU seconds of the tools for these captures."""
    before = _cpu()
    for capture in captures:
        for side, port in (("a", 20000), ("b", 30000)):
            command = (
                f"tshark -r {capture} -d udp.port==20000,rtp -Y 'udp.srcport=={port}' -T fields -e rtp.payload"
                f" | tr -d ':\\n' | xxd -r -p | ffmpeg -v error -y {_SHELL[codec]} -i - {folder}/{side}.wav"
            )
            subprocess.run(["bash", "-c", command], check=True, capture_output=True)
        mixed = f"sox -m {folder}/a.wav {folder}/b.wav {folder}/m.wav"
        last = f"speexenc --quality 8 --comp 3 {folder}/m.wav {folder}/m.spx" if form == "spx" else "true"
        subprocess.run(["bash", "-c", f"{mixed} && {last}"], check=True, capture_output=True)
    return _cpu() - before


def run() -> list[dict[str, Any]]:
    """Rows: hours of audio per core-minute and x real time per core, scaling, and the shell loop's ratio."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hours = _make(folder / "in")
        spent: dict[tuple[str, str], float] = {}
        noise: dict[tuple[str, str], float] = {}
        for codec in CODECS:
            for form in ("wav", "spx", "png"):
                times = [_batch(folder / "in" / codec, folder / "out", form, 1)[0] for _ in range(REPEATS)]
                spent[codec, form] = cpu = min(times)
                noise[codec, form] = _spread(times)
                ratio = hours[codec] * 3600 / cpu
                row = {
                    "name": f"{codec} to {form}, one worker",
                    "cpu_s": cpu,
                    "h_per_core_min": hours[codec] / cpu * 60,
                }
                row |= {"ratio": ratio, "x_real_time": ratio, "noise": noise[codec, form]}
                if (codec, form) in BARS:
                    row["bar"] = BARS[codec, form]
                rows.append(row)
        rows += _shards(folder)
        walls: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(REPEATS):  # in turn, so that what else the machine does meets both
            for workers, wall in walls.items():
                wall.append(_batch(folder / "in", folder / "out", "wav", workers)[1])
        scaling = {"name": "all to wav: two workers over one, wall time", "bar": 1.8}
        scaling |= {"ratio": min(walls[1]) / min(walls[2]), "noise": sum(map(_spread, walls.values()))}
        rows.append(scaling)
        if all(shutil.which(tool) for tool in ("tshark", "xxd", "ffmpeg", "sox", "speexenc")):
            for codec, form in (("PCMU", "wav"), ("G729", "wav"), ("G729", "spx")):
                chosen = _sample(folder / "in" / codec)
                lengths = _lengths(CALLS)
                seconds = sum(lengths[int(path.stem[4:])] for path in chosen)
                loop = _shell_loop(chosen, codec, form, folder)
                ours = spent[codec, form] / (hours[codec] * 3600) * seconds
                rows.append(
                    {
                        "name": f"shell loop, {codec} to {form}",
                        "cpu_s": loop,
                        "ratio": loop / ours,
                        "bar": 30.0,
                        "noise": noise[codec, form],
                    }
                )
    return rows
