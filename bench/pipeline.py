"""The pipeline around the kernels: what a call, a run and a start cost, whatever the codec.

G.711 unless a row says otherwise. The limit is what the disk asks for in the same run: read the captures, write as
many octets as the outputs have, each file with its fsync. CPU seconds everywhere (user and system, children included).
``CALLREPLAY_BENCH_CALLS`` (2000) sets how many calls the mixed set has, as in ``batch``.
"""

from __future__ import annotations

import cProfile
import hashlib
import os
import pstats
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import callreplay
from bench import _worker as worker
from bench._captures import leg, put_away, write_pcap
from bench.batch import CALLS, _batch, _cpu, _lengths, _spread
from callreplay import _core

MIXED = max(12, CALLS // 8)
SHORT = max(20, CALLS // 10)
DRIFT_PPM = 40.0
LOSSES = (0.0, 0.01, 0.05, 0.10, 0.20)
LENGTHS = ((10, 60), (60, 20), (600, 4), (3600, 1), *(((36000, 1),) if CALLS >= 1000 else ()))
"""Seconds, and how many calls; ten hours are a capture of 800 MB."""
OCCUPANCY = (1, 2, 4, 8, 16, 32, 64)  # calls at a time
ENTRIES = 100_000
REPEATS = 3
WAV = 16000  # octets a second of a mono file at 8 kHz
SAMPLE = Path(__file__).parents[1] / "samples" / "reservation.pcap"

Row = dict[str, Any]


def _calls(
    folder: Path, lengths: list[float], codec: str = "PCMU", loss: float = 0.01, ppm: float = 0.0
) -> float:
    """Write calls of these lengths; seconds of all. ``ppm``: how fast the caller's clock is, and slow the other."""
    put_away(folder)
    folder.mkdir(parents=True)
    for number, seconds in enumerate(lengths):
        sides = []
        for side in (0, 1):
            arrival, records = leg(seconds, side, codec, seed=number, loss=loss, jitter_ms=20)
            factor = 1 + (ppm, -ppm)[side] * 1e-6
            begin = int(arrival[0])
            sides.append((begin + ((arrival - begin) / factor).astype("int64"), records))
        write_pcap(folder / f"call{number:05}.pcap", *sides)
    return sum(lengths)


def _spent(folder: Path, form: str = "wav", repeats: int = REPEATS) -> tuple[float, float]:
    """CPU seconds of a batch of the folder with one worker, the best of some runs, and their spread."""
    out = folder.with_name(folder.name + "-out")
    times = [_batch(folder, out, form, 1)[0] for _ in range(repeats)]
    return min(times), _spread(times)


def _faults(folder: Path) -> int:
    """Minor page faults of the worker of a batch of the folder to wav."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    _batch(folder, folder.with_name(folder.name + "-out"), "wav", 1)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


def _limit(folder: Path, sizes: Sequence[float]) -> float:
    """CPU seconds to read the captures of the folder and to write files of these sizes, each with its fsync."""
    block = bytes(1 << 20)
    target = folder.with_name(folder.name + "-limit")

    def work() -> float:
        put_away(target)
        target.mkdir()
        before = _cpu()
        for source in folder.iterdir():
            with source.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass
        for number, size in enumerate(sizes):
            left = int(size)
            with (target / str(number)).open("wb", buffering=0) as file:
                while left > 0:
                    left -= file.write(block[: min(left, len(block))])
                os.fsync(file.fileno())
        return _cpu() - before

    return min(work() for _ in range(REPEATS))


def _fixed(folder: Path) -> Iterator[Row]:
    """What a run costs before its first call, and each call of 10 s; how much of Python a call that is opened takes."""
    _calls(folder / "one", [10.0])
    run, noise = _spent(folder / "one")
    yield {
        "name": "a run of one call",
        "cpu_s": run,
        "ratio": run,
        "bar": 0.3,
        "bar_kind": "at_most",
        "noise": noise,
    }
    seconds = _calls(folder / "short", [10.0] * SHORT)
    whole, noise = _spent(folder / "short")
    ratio = seconds / whole
    yield {
        "name": "calls of 10 s to wav",
        "cpu_s": whole,
        "ratio": ratio,
        "x_real_time": ratio,
        "bar": 8000.0,
        "noise": noise,
    }
    each = (whole - run) / (SHORT - 1) * 1e3
    yield {
        "name": "ms a call of 10 s, without the run's",
        "ratio": each,
        "bar": 1.0,
        "bar_kind": "at_most",
        "noise": noise,
    }
    for form in ("png", "spx"):
        more = (_spent(folder / "short", form)[0] - _spent(folder / "one", form)[0]) / (SHORT - 1) * 1e3
        yield {"name": f"ms a call of 10 s to {form}, beyond that to wav", "ms": more, "ratio": more - each}
    faults = (_faults(folder / "short") - _faults(folder / "one")) / (SHORT - 1)
    yield {"name": "minor page faults a call of 10 s, without the run's", "ratio": faults}
    path = folder / "short" / "call00000.pcap"
    callreplay.open(path)
    profile = cProfile.Profile()
    profile.runcall(callreplay.open, path)
    calls = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    yield {"name": "calls of Python to open one", "ratio": float(calls), "bar": 500.0, "bar_kind": "at_most"}


def _mixed(folder: Path) -> Iterator[Row]:
    """The mixed set, and what it costs over the limit."""
    lengths = [min(seconds, 600.0) for seconds in _lengths(MIXED)]
    for codec, form, bar in (
        ("PCMU", "wav", 25_000.0),
        ("G722", "wav", 12_000.0),
        ("G729", "wav", 12_000.0),
        ("PCMU", "png", 12_000.0),
        ("PCMU", "spx", 4_500.0),
    ):
        seconds = _calls(folder / "mixed", lengths, codec)
        spent, noise = _spent(folder / "mixed", form)
        ratio = seconds / spent
        yield {
            "name": f"{codec} to {form}",
            "cpu_s": spent,
            "ratio": ratio,
            "x_real_time": ratio,
            "bar": bar,
            "noise": noise,
        }
        if form == "wav":
            out = folder / "mixed-out"
            limit = _limit(folder / "mixed", [path.stat().st_size for path in out.glob("*.wav")])
            row = {
                "name": f"{codec} to wav over the limit",
                "cpu_s": limit,
                "ratio": spent / limit,
                "noise": noise,
            }
            yield row | ({"bar": 5.0, "bar_kind": "at_most"} if codec == "PCMU" else {})


def _losses(folder: Path) -> Iterator[Row]:
    """What loss costs a worker, against none; and over the limit, which is the same for all but what is not there."""
    folders = []
    for loss in LOSSES:
        folders.append(folder / f"loss{loss}")
        _calls(folders[-1], _lengths(12), loss=loss)
    taken = worker.times(folders, repeats=REPEATS)
    wav = [WAV * seconds for seconds in _lengths(12)]
    for loss, source, times in zip(LOSSES, folders, taken, strict=True):
        row = {
            "name": f"loss of {loss:.0%}: times none's cost, of a worker",
            "cpu_s": min(times),
            "ratio": min(times) / min(taken[0]),
            "over_limit": min(times) / _limit(source, wav),
            "noise": _spread(times) + _spread(taken[0]),
        }
        yield row | ({"bar": 1.25, "bar_kind": "at_most"} if loss == 0.10 else {})


def _drift(folder: Path) -> Iterator[Row]:
    """Clocks that are off, against right ones, with AVX2 and with the best instruction set of this processor."""
    right, wrong = folder / "right", folder / "wrong"
    _calls(right, _lengths(12), loss=0.0)
    _calls(wrong, _lengths(12), loss=0.0, ppm=DRIFT_PPM)
    best = _core.isa_active()
    for isa in dict.fromkeys(("avx2", best) if best == "avx512" else (best,)):
        plain, spent = worker.times((right, wrong), isa=isa, repeats=REPEATS)
        yield {
            "name": f"drift of {DRIFT_PPM:g} ppm, {isa}: a worker's rate over that without",
            "cpu_s": min(spent),
            "ratio": min(plain) / min(spent),
            "over_limit": min(spent) / _limit(wrong, [WAV * seconds for seconds in _lengths(12)]),
            "bar": 0.8,
            "noise": _spread(plain) + _spread(spent),
        }


def _conditions(folder: Path) -> Iterator[Row]:
    """Lengths, and how many calls there are at a time: of a worker, without the start of a run."""
    for each, count in LENGTHS:
        seconds = _calls(folder / "length", [float(each)] * count)
        long = each > 3600
        (times,) = worker.times([folder / "length"], repeats=1 if long else REPEATS, warm=not long)
        yield {
            "name": f"{count} of {each} s",
            "cpu_s": min(times),
            "ratio": seconds / min(times),
            "x_real_time": seconds / min(times),
            "over_limit": min(times) / _limit(folder / "length", [WAV * each] * count),
            "noise": _spread(times),
        }
    for codec in ("PCMU", "G729"):
        folders = []
        for count in OCCUPANCY:
            folders.append(folder / f"{codec}{count}")
            _calls(folders[-1], [120.0] * count, codec)
        for count, times in zip(OCCUPANCY, worker.times(folders, repeats=REPEATS), strict=True):
            yield {
                "name": f"{codec}, {count} of 120 s",
                "cpu_s": min(times),
                "ratio": count * 120.0 / min(times),
                "x_real_time": count * 120.0 / min(times),
                "noise": _spread(times),
            }
        put_away(folder)


def _start() -> Iterator[Row]:
    """CPU of a process, in ms: beyond NumPy's for the library, all of it for the command line."""

    # The threads of NumPy's OpenBLAS wait in loops as they begin, which costs more than most of what is measured here.
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}

    def ms(*arguments: str) -> float:
        def once() -> float:
            before = _cpu()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=alone)
            return (_cpu() - before) * 1e3

        return min(once() for _ in range(2 * REPEATS))

    opened = ms("-c", f"import callreplay; callreplay.open({str(SAMPLE)!r})")
    with tempfile.TemporaryDirectory() as folder:
        written = ms("-m", "callreplay", "transcode", str(SAMPLE), "-o", f"{folder}/out.wav")
    for name, spent, bar in (
        ("ms to import and open, beyond NumPy", opened - ms("-c", "import numpy"), 60.0),
        ("ms of transcode, 20 s", written, 120.0),
        ("ms of --version", ms("-m", "callreplay", "--version"), 60.0),
    ):
        yield {"name": name, "ratio": spent, "bar": bar, "bar_kind": "at_most"}


def _cache(folder: Path) -> Iterator[Row]:
    """An entry that is made and read beside 100,000 others, over one that has few beside it."""
    from callreplay.service.cache import Cache
    from callreplay.service.metrics import Metrics

    def key(number: int) -> str:
        return hashlib.sha256(str(number).encode()).hexdigest()

    def ms(first: int) -> float:
        cache = Cache(folder, 1 << 40, 2, Metrics())
        times = []
        for number in range(first, first + 20):
            before = _cpu()
            cache.open(key(number), lambda: iter([bytes(320_000)])).close()
            times.append((_cpu() - before) * 1e3)
        return sorted(times)[len(times) // 2]

    few = ms(ENTRIES)
    for number in range(ENTRIES):
        path = folder / key(number)[:2] / key(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    many = ms(2 * ENTRIES)
    row = {"name": f"a cache of {ENTRIES:,} entries: cost of a new one over that in an empty one"}
    yield row | {"ratio": many / few, "ms": many, "bar": 2.0, "bar_kind": "at_most"}


def run() -> list[Row]:
    """Rows as the functions above say; ``ratio`` is what the name says."""
    parts: tuple[Callable[[Path], Iterator[Row]], ...] = (_fixed, _mixed, _losses, _drift, _conditions)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for part in parts:
            rows += part(Path(name) / "work")
            put_away(Path(name) / "work")
        (Path(name) / "cache").mkdir()
        rows += _start()
        rows += _cache(Path(name) / "cache")
    return rows
