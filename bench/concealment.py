"""Concealment scored on real speech: PESQ, STOI and PLCMOS at 1, 3, 5, 10 and 20 % loss, random and bursty.

Usage::

    .venv/bin/python bench/concealment.py [--json FILE] [--write docs/concealment.md] [--quick]

Speech: the recordings of ``../shared/vectors`` (or ``CALLREPLAY_VECTORS``) and espeak-ng voices. It is coded
in 20 ms packets, packets are lost by a seeded pattern, the same for every method, and what each method makes
of it is compared with the decoded speech without loss. A method is any callable from packets to samples
(:class:`Contender`), so a codec with a concealment of its own is scored by the same code. PLCMOS is scored where
the package ``speechmos`` is installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench-codecs"
VECTORS = Path(os.environ.get("CALLREPLAY_VECTORS", ROOT.parent / "shared" / "vectors"))

Packet = bytes | None  # None: lost
Samples = NDArray[np.int16]
Decoder = Callable[[Sequence[Packet]], Samples]
Encoder = Callable[[Samples], list[bytes]]

RATES = (0.01, 0.03, 0.05, 0.10, 0.20)
SEEDS = (1, 2, 3)
MEAN_BURST = 2.5  # packets of 20 ms
_MODELS: dict[str, Any] = {}
SEGMENT_SECONDS = 8
VOICES = (("en-us", 170), ("en-gb+f3", 160), ("de+m4", 150), ("es+f2", 165))
SENTENCES = (
    "Good morning, this is the service desk. I can see your order from the third of May, and the parcel left "
    "our warehouse yesterday afternoon. Would you like me to send you the tracking number by mail?"
)


@dataclass(frozen=True)
class Contender:
    """One way to turn packets, some of them lost, into samples."""

    name: str
    decoder: Decoder
    ours: bool = False


@dataclass(frozen=True)
class Codec:
    """A codec under test at ``rate_hz``; the first contender is ours."""

    name: str
    rate_hz: int
    encoder: Encoder
    contenders: tuple[Contender, ...]


@dataclass
class Options:
    """What to score; ``quick`` takes one seed and half the speech."""

    json: Path | None = None
    write: Path | None = None
    quick: bool = False
    codecs: list[str] = field(default_factory=list)


def _pipe(codec: str, method: str, data: bytes) -> bytes:
    done = subprocess.run(
        [BUILD / "conceal_bench", codec, method], input=data, capture_output=True, check=True
    )
    return done.stdout


def _frames(packets: Sequence[Packet]) -> bytes:
    return b"".join(len(p or b"").to_bytes(2, "little") + (p or b"") for p in packets)


def native_encoder(codec: str) -> Encoder:
    """Encode by ``conceal_bench``, one packet per 20 ms."""

    def encode(pcm: Samples) -> list[bytes]:
        data = _pipe(codec, "encode", pcm.astype("<i2").tobytes())
        packets = []
        while data:
            size = int.from_bytes(data[:2], "little")
            packets.append(data[2 : 2 + size])
            data = data[2 + size :]
        return packets

    return encode


def native_contender(codec: str, method: str) -> Contender:
    """Decode and conceal by ``conceal_bench``."""

    def decode(packets: Sequence[Packet]) -> Samples:
        return np.frombuffer(_pipe(codec, method, _frames(packets)), "<i2").astype(np.int16)

    return Contender(method, decode, ours=method in OURS)


METHODS = ("callreplay", "spandsp", "silence", "repeat")
OURS = ("callreplay", "best")
# G.729 conceals by itself; `callreplay` is then concealment=exact, `best` concealment=best
OWN_METHODS = ("callreplay", "best", "bcg729", "libavcodec")
METRICS = {"pesq": 2, "stoi": 3, "plcmos": 2}  # and the digits that are shown
# Ours and bcg729's do what the recommendation says; what differs is which bits saturate. libavcodec's is not exact.
SAME_ALGORITHM = {"bcg729": {"pesq": 0.01, "stoi": 0.001}}
REFERENCES = ("repeat",)  # shown, but no bar: it is no library's, and it never falls silent


def codecs() -> tuple[Codec, ...]:
    """The codecs that are scored; add a Codec here to score another."""
    listed = (
        ("g711u", 8000, METHODS),
        ("g722", 16000, METHODS),
        ("g726", 8000, METHODS),
        ("g729", 8000, OWN_METHODS),
    )
    return tuple(
        Codec(name, rate, native_encoder(name), tuple(native_contender(name, m) for m in methods))
        for name, rate, methods in listed
    )


def random_loss(count: int, rate: float, seed: int) -> NDArray[np.bool_]:
    """Independent losses; the first five packets always arrive."""
    lost = np.random.default_rng(seed).random(count) < rate
    lost[:5] = False
    return lost


def bursty_loss(count: int, rate: float, seed: int) -> NDArray[np.bool_]:
    """Gilbert's two states: mean loss ``rate``, mean burst ``MEAN_BURST`` packets."""
    generator = np.random.default_rng(seed)
    leave = 1 / MEAN_BURST
    enter = leave * rate / (1 - rate)
    lost = np.zeros(count, bool)
    bad = False
    for i, draw in enumerate(generator.random(count)):
        bad = draw >= leave if bad else draw < enter
        lost[i] = bad and i >= 5
    return lost


def _ffmpeg(arguments: Sequence[str | Path], rate_hz: int) -> Samples:
    command = [
        "ffmpeg",
        "-loglevel",
        "error",
        *map(str, arguments),
        "-ac",
        "1",
        "-ar",
        str(rate_hz),
        "-f",
        "s16le",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, "<i2").astype(np.int16)


def _capture(path: Path) -> bytes:
    """The payloads of an rtpproxy ad-hoc recording (PCMU), one after the other."""
    data, at, octets = path.read_bytes(), 0, bytearray()
    while at + 30 <= len(data):
        size = int.from_bytes(data[at + 28 : at + 30], "little")
        packet = data[at + 30 : at + 30 + size]
        at += 30 + size
        if len(packet) > 12 and packet[1] & 127 == 0:
            octets += packet[12:]
    return bytes(octets)


def speech(rate_hz: int) -> list[tuple[str, Samples]]:
    """Named segments of about eight seconds at ``rate_hz``, loud enough to be scored."""
    long: list[tuple[str, Samples]] = []
    for name in ("audio_tiny16.wav", "demo-congrats.wav", "demo-thanks.wav"):
        long.append((Path(name).stem, _ffmpeg(["-i", VECTORS / "speech" / name], rate_hz)))
    raw: list[str | Path] = ["-f", "s16le", "-ar", "8000", "-i", VECTORS / "speech" / "hts1a.raw"]
    long.append(("hts1a", _ffmpeg(raw, rate_hz)))
    for side in ("a", "o"):
        law = BUILD / f"call1_{side}.ul"
        law.write_bytes(_capture(VECTORS / "two-leg" / f"call1_ulaw.{side}.rtp"))
        long.append((f"call1-{side}", _ffmpeg(["-f", "mulaw", "-ar", "8000", "-i", law], rate_hz)))
    for voice, speed in VOICES:
        wav = BUILD / f"{voice}.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", wav, SENTENCES], check=True)
        long.append((f"espeak-{voice}", _ffmpeg(["-i", wav], rate_hz)))
    segments = []
    for name, samples in long:
        size = SEGMENT_SECONDS * rate_hz
        for i in range(max(1, len(samples) // size)):
            piece = samples[i * size : (i + 1) * size]
            if len(piece) >= 3 * rate_hz - 200 and np.sqrt(np.mean(piece.astype(float) ** 2)) > 100:
                segments.append((f"{name}-{i}", piece))
    return segments


def score(reference: Samples, degraded: Samples, rate_hz: int) -> tuple[float, float]:
    """(PESQ MOS-LQO, STOI): narrowband PESQ at 8 kHz, wideband at 16 kHz."""
    pesq = importlib.import_module("pesq").pesq  # neither package has types
    stoi = importlib.import_module("pystoi").stoi
    mos = float(pesq(rate_hz, reference, degraded, "nb" if rate_hz == 8000 else "wb"))
    return mos, float(stoi(reference.astype(float), degraded.astype(float), rate_hz))


def plcmos(degraded: Samples, rate_hz: int) -> float | None:
    """PLCMOS v2, a rating without reference at 16 kHz; None without ``speechmos``."""
    try:
        module = importlib.import_module("speechmos.plcmos")
    except ImportError:
        return None
    from scipy.signal import resample_poly

    model = _MODELS.setdefault("plcmos", None) or module.PLCMOS(embed_rounds=3)
    _MODELS["plcmos"] = model
    np.random.seed(1)  # the model's raters are drawn from it
    wide = resample_poly(degraded.astype(float), 16000, rate_hz) / 32768
    return float(model(np.clip(wide, -1, 1))["plcmos"])


def _score_segment(job: tuple[str, int, Samples, bool]) -> list[dict[str, Any]]:
    """Every method and condition of one segment."""
    name, index, samples, quick = job
    codec = next(c for c in codecs() if c.name == name)
    packets = codec.encoder(samples)
    clean = codec.contenders[0].decoder(packets)
    rows = []
    for pattern, loss in (("random", random_loss), ("bursty", bursty_loss)):
        for rate in RATES:
            for seed in SEEDS[: 1 if quick else None]:
                lost = loss(len(packets), rate, index * 1000 + seed * 100 + int(rate * 100))
                if not lost.any():
                    continue
                arrived = [None if gone else p for p, gone in zip(packets, lost, strict=True)]
                for contender in codec.contenders:
                    heard = contender.decoder(arrived)
                    mos, intelligibility = score(clean, heard, codec.rate_hz)
                    rows.append(
                        {
                            "codec": name,
                            "pattern": pattern,
                            "rate": rate,
                            "method": contender.name,
                            "pesq": mos,
                            "stoi": intelligibility,
                            "plcmos": plcmos(heard, codec.rate_hz),
                        }
                    )
    return rows


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("codec", "pattern", "rate", "method")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        dict(zip(keys, group, strict=True))
        | {"scores": len(values)}
        | {
            name: round(float(np.mean([value[name] for value in values])), digits + 1)
            for name, digits in METRICS.items()
            if values[0][name] is not None
        }
        for group, values in groups.items()
    ]


def _judge(means: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per condition: is ours at least equal to the best of the libraries, in both scores?"""
    verdicts = []
    judged = {m["codec"]: m["method"] for m in means if m["method"] in OURS}  # the last of them
    for ours in (m for m in means if m["method"] == judged.get(m["codec"])):
        condition = {k: ours[k] for k in ("codec", "pattern", "rate")}
        others = [
            m for m in means if m["method"] not in (*OURS, *REFERENCES) and condition.items() <= m.items()
        ]
        bars = {
            k: max(m[k] - SAME_ALGORITHM.get(m["method"], {}).get(k, 0.0) for m in others)
            for k in METRICS
            if k in ours
        }
        verdicts.append({**condition, "met": all(ours[k] >= bars[k] for k in bars)})
    return verdicts


def markdown(result: dict[str, Any]) -> dict[str, str]:
    """The tables of docs/concealment.md by codec, each with its heading."""
    tables = {}
    for codec in dict.fromkeys(m["codec"] for m in result["means"]):
        rows = [m for m in result["means"] if m["codec"] == codec]
        methods = list(dict.fromkeys(m["method"] for m in rows))
        lines = [
            f"### {codec}",
            "",
            "| loss | " + " | ".join(methods) + " |",
            "| --- " * (len(methods) + 1) + "|",
        ]
        conditions = {(m["pattern"], m["rate"]) for m in rows}
        for pattern, rate in sorted(conditions, key=lambda each: (each[0] == "bursty", each[1])):
            cells = {m["method"]: m for m in rows if (m["pattern"], m["rate"]) == (pattern, rate)}
            best = {k: max(c[k] for c in cells.values()) for k in METRICS if k in rows[0]}
            texts = []
            for method in methods:
                c = cells[method]
                parts = [
                    f"**{c[k]:.{digits}f}**" if c[k] == best[k] else f"{c[k]:.{digits}f}"
                    for k, digits in METRICS.items()
                    if k in c
                ]
                texts.append(" / ".join(parts))
            lines.append(f"| {rate:.0%} {pattern} | " + " | ".join(texts) + " |")
        tables[codec] = "\n".join(lines)
    return tables


def rewrite(page: str, tables: dict[str, str]) -> str:
    """``page`` with its tables below MARK replaced by ``tables``; those of other codecs stay."""
    head, _, old = page.partition(MARK)
    kept = {part.split("\n", 1)[0]: "### " + part.strip() for part in old.split("### ")[1:]}
    body = "\n\n".join((kept | tables).values())
    return f"{head.rstrip()}\n\n{MARK}\n\n{body}\n"


def _print(result: dict[str, Any]) -> None:
    for codec in dict.fromkeys(m["codec"] for m in result["means"]):
        methods = list(dict.fromkeys(m["method"] for m in result["means"] if m["codec"] == codec))
        table = Table("loss", *methods, "", title=f"Concealment of {codec}: PESQ / STOI, means")
        for verdict in (v for v in result["bars"] if v["codec"] == codec):
            condition = {k: verdict[k] for k in ("codec", "pattern", "rate")}
            cells = {m["method"]: m for m in result["means"] if condition.items() <= m.items()}
            table.add_row(
                f"{verdict['rate']:.0%} {verdict['pattern']}",
                *(
                    " / ".join(f"{cells[m][k]:.{d + 1}f}" for k, d in METRICS.items() if k in cells[m])
                    for m in methods
                ),
                "[green]met[/green]" if verdict["met"] else "[red]missed[/red]",
            )
        Console().print(table)


def _build() -> None:
    for command in (
        ["cmake", "-S", str(ROOT / "bench" / "peers"), "-B", str(BUILD), "-G", "Ninja"],
        ["cmake", "--build", str(BUILD), "--target", "conceal_bench"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench/concealment: {command[0]} failed:\n{done.stdout}{done.stderr}")


MARK = "<!-- scores: made by bench/concealment.py --write -->"


def run(options: Options) -> dict[str, Any]:
    """Score every codec and print the table; returns means per condition and whether each bar is met."""
    if not VECTORS.is_dir():
        raise SystemExit(f"bench/concealment: no speech at {VECTORS}; set CALLREPLAY_VECTORS")
    _build()
    jobs = []
    for codec in codecs():
        if options.codecs and codec.name not in options.codecs:
            continue
        segments = speech(codec.rate_hz)
        segments = segments[:: 2 if options.quick else 1]
        jobs += [(codec.name, i, samples, options.quick) for i, (_, samples) in enumerate(segments)]
    with ProcessPoolExecutor() as pool:
        rows = [row for found in pool.map(_score_segment, jobs) for row in found]
    means = _means(rows)
    result = {"stage": "concealment", "means": means, "bars": _judge(means)}
    _print(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.write is not None:
        options.write.write_text(rewrite(options.write.read_text(), markdown(result)))
    return result


def rows() -> list[dict[str, Any]]:
    """The scores as rows of ``bench/run.py``: PESQ of ours over the best library's, at least 1 (G.729: equal)."""
    return [
        {"name": f"{bar['codec']}, {bar['rate']:.0%} {bar['pattern']} loss", "met": bar["met"]}
        for bar in run(Options())["bars"]
    ]


def main(arguments: list[str]) -> int:
    """The command line; exit status 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description="Concealment scored on real speech")
    parser.add_argument("--json", type=Path, help="also write the means here")
    parser.add_argument("--write", type=Path, help="put the tables into this Markdown page")
    parser.add_argument("--quick", action="store_true", help="one seed, half the speech")
    parser.add_argument(
        "--codec", action="append", default=[], dest="codecs", help="only this one; repeatable"
    )
    options = Options(**vars(parser.parse_args(arguments)))
    return 0 if all(bar["met"] for bar in run(options)["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
