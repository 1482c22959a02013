"""Decoders against their peers: Msamples/s per core over thousands of streams, in ratios of one run.

Usage::

    .venv/bin/python bench/codecs.py [--json FILE] [--codec g722]... [--streams 4096] [--no-native]

Builds ``bench/peers`` (the product and its peers in one program, ``codec_bench``), runs it with the peers
as the distribution ships them and, where ``bench/peers/native_peers.sh`` can rebuild them, once more with
peers built ``-O3 -march=native``. Ratios only ever compare rows of the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench-codecs"
NATIVE = ROOT / "build" / "peers" / "native"
SPEECH = ROOT / "build" / "bench-speech"

TEXT = (
    "The quick brown fox jumps over the lazy dog. She sells sea shells by the sea shore, and the shells she "
    "sells are surely sea shells. Please hold the line while we connect you to the next available agent. "
    "Your call may be recorded for training and quality purposes."
)


@dataclass(frozen=True)
class Bar:
    """At least ``ratio`` times the fastest of ``against``, for our row ``ours`` in one setting.

    ``unless``: not where there are rows of this set, which the peers that are rebuilt for the processor use as well.
    """

    codec: str
    ours: str
    setting: str
    against: tuple[str, ...]
    ratio: float
    builds: tuple[str, ...] = ("debian", "native")
    unless: str = ""


BARS = (
    Bar("g722", "avx2", "batch", ("libavcodec", "spandsp"), 10.0),
    Bar("g722", "avx512", "batch", ("libavcodec", "spandsp"), 12.0),
    Bar("g722", "scalar", "alone", ("spandsp",), 1.0),
    Bar("g726", "avx2", "batch", ("libavcodec", "spandsp"), 8.0),
    Bar("g726", "avx512", "batch", ("libavcodec", "spandsp"), 8.0),
    Bar("g726", "scalar", "alone", ("libavcodec", "spandsp"), 1.0),
    Bar("g711u", "avx2", "batch", ("libavcodec",), 10.0),
    Bar("g711a", "avx2", "batch", ("libavcodec",), 10.0),
    Bar("g729", "avx2", "batch", ("bcg729",), 8.0, ("debian",)),
    Bar("g729", "avx512", "batch", ("bcg729",), 8.0, ("debian",)),
    Bar("g729", "avx2", "batch", ("bcg729",), 5.0, ("native",)),
    Bar("g729", "avx512", "batch", ("bcg729",), 5.0, ("native",)),
    Bar("g729", "scalar", "alone", ("bcg729",), 1.0),
    Bar("g711u", "avx2", "batch", ("spandsp",), 1.5, ("native",), unless="avx512"),
    Bar("g711a", "avx2", "batch", ("spandsp",), 1.5, ("native",), unless="avx512"),
    Bar("g711u", "avx512", "batch", ("spandsp",), 1.5, ("native",)),
    Bar("g711a", "avx512", "batch", ("spandsp",), 1.5, ("native",)),
)
# What the engine chooses for a number of streams, in rows "CODEC widths", against the best set for so many.
CHOICE = 1 / 1.1


@dataclass
class Options:
    """What to run; ``codecs`` empty means all. ``native`` rebuilds the peers (minutes, once)."""

    json: Path | None = None
    codecs: list[str] = field(default_factory=list)
    streams: int = 4096
    repeats: int = 7
    native: bool = True


def _command(*words: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(w) for w in words], env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench/codecs: {words[0]} failed:\n{done.stderr or done.stdout}")
    return done.stdout


def _build() -> Path:
    _command("cmake", "-S", ROOT / "bench" / "peers", "-B", BUILD, "-G", "Ninja")
    _command("cmake", "--build", BUILD)
    return BUILD / "codec_bench"


def _speech() -> list[str]:
    """Synthesise the speech at both rates; the same text always gives the same samples."""
    SPEECH.mkdir(parents=True, exist_ok=True)
    spoken = SPEECH / "spoken.wav"
    arguments = []
    for kilohertz in (8, 16):
        raw = SPEECH / f"speech{kilohertz}.raw"
        if not raw.exists():
            if not spoken.exists():
                _command("espeak-ng", "-v", "en", "-w", spoken, TEXT)
            _command(
                "ffmpeg",
                "-loglevel",
                "error",
                "-y",
                "-i",
                spoken,
                "-ar",
                f"{kilohertz}000",
                "-f",
                "s16le",
                raw,
            )
        arguments += [f"--speech{kilohertz}", str(raw)]
    return arguments


def _measure(program: Path, options: Options, library_path: Path | None) -> list[dict[str, Any]]:
    env = dict(os.environ)
    if library_path is not None:
        env["LD_LIBRARY_PATH"] = str(library_path)
    common = [*_speech(), "--streams", str(options.streams), "--repeats", str(options.repeats)]
    rows: list[dict[str, Any]] = []
    for codec in options.codecs or [""]:
        chosen = ["--codec", codec] if codec else []
        rows += json.loads(_command(program, *common, *chosen, env=env))["rows"]
    return rows


def _judge(build: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every bar whose rows are all there, with the ratio reached."""
    speed = {(r["codec"], r["name"], r["setting"]): float(r["msamples_per_s"]) for r in rows}
    verdicts = []
    for bar in BARS:
        ours = speed.get((bar.codec, bar.ours, bar.setting))
        peers = {p: speed[key] for p in bar.against if (key := (bar.codec, p, bar.setting)) in speed}
        better = (bar.codec, bar.unless, bar.setting) in speed
        if build not in bar.builds or ours is None or not peers or better:
            continue
        fastest = max(peers, key=lambda p: peers[p])
        ratio = ours / peers[fastest]
        verdicts.append(
            {
                "codec": bar.codec,
                "ours": bar.ours,
                "setting": bar.setting,
                "peers": build,
                "fastest_peer": fastest,
                "ratio": round(ratio, 2),
                "bar": bar.ratio,
                "met": ratio >= bar.ratio,
            }
        )
    return verdicts


def _judge_choice(build: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One verdict a codec: of the number of streams where the choice is furthest from the best set."""
    verdicts = []
    for codec in dict.fromkeys(r["codec"] for r in rows if r["name"] == "chosen"):
        worst: dict[str, Any] | None = None
        for setting in dict.fromkeys(r["setting"] for r in rows if r["codec"] == codec):
            speed = {
                r["name"]: float(r["msamples_per_s"])
                for r in rows
                if (r["codec"], r["setting"]) == (codec, setting)
            }
            chosen = speed.pop("chosen")
            best = max(speed, key=lambda name: speed[name])
            ratio = chosen / speed[best]
            if worst is None or ratio < worst["ratio"]:
                worst = {"setting": setting, "fastest_peer": best, "ratio": ratio}
        assert worst is not None
        verdicts.append(
            worst
            | {"codec": codec, "ours": "chosen", "peers": build, "bar": round(CHOICE, 3)}
            | {"ratio": round(worst["ratio"], 3), "met": worst["ratio"] >= CHOICE}
        )
    return verdicts


def _tables(result: dict[str, Any], console: Console) -> None:
    for build, rows in result["builds"].items():
        table = Table(title=f"Decoders, {result['streams']} streams, 20 ms packets, peers: {build}")
        for heading in ("codec", "setting", "who", "Msamples/s per core", "x fastest peer"):
            table.add_column(heading, justify="left" if heading in ("codec", "setting", "who") else "right")
        for row in rows:
            peers = [
                float(r["msamples_per_s"])
                for r in rows
                if r["kind"] == "peer" and (r["codec"], r["setting"]) == (row["codec"], row["setting"])
            ]
            ratio = f"{row['msamples_per_s'] / max(peers):.2f}" if peers else ""
            who = row["name"] if row["kind"] == "ours" else f"[dim]{row['name']}[/dim]"
            table.add_row(row["codec"], row["setting"], who, f"{row['msamples_per_s']:.1f}", ratio)
        console.print(table)
    table = Table(title="Bars")
    for heading in ("codec", "setting", "ours", "against", "ratio", "bar", ""):
        table.add_column(heading)
    for bar in result["bars"]:
        against = f"{bar['fastest_peer']} ({bar['peers']})"
        verdict = "[green]met[/green]" if bar["met"] else "[red]missed[/red]"
        table.add_row(
            bar["codec"],
            bar["setting"],
            bar["ours"],
            against,
            f"{bar['ratio']:.2f}",
            f"{bar['bar']:.1f}",
            verdict,
        )
    console.print(table)


def run(options: Options) -> dict[str, Any]:
    """Build, measure and print; returns what ``--json`` writes: rows per build of the peers, and the bars."""
    program = _build()
    builds = {"debian": _measure(program, options, None)}
    if options.native:
        subprocess.run([ROOT / "bench" / "peers" / "native_peers.sh"], check=False, stdout=subprocess.DEVNULL)
        if (NATIVE / "lib").is_dir():
            builds["native"] = _measure(program, options, NATIVE / "lib")
    result: dict[str, Any] = {
        "stage": "codecs",
        "streams": options.streams,
        "builds": builds,
        "bars": [
            *(verdict for build, rows in builds.items() for verdict in _judge(build, rows)),
            *_judge_choice("debian", builds["debian"]),
        ],
    }
    _tables(result, Console())
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


def rows() -> list[dict[str, Any]]:
    """The bars as rows of ``bench/run.py``."""
    return [
        {
            "name": f"{bar['codec']} {bar['ours']} {bar['setting']} against {bar['fastest_peer']} ({bar['peers']})"
        }
        | {"ratio": bar["ratio"], "bar": bar["bar"]}
        for bar in run(Options())["bars"]
    ]


def main(arguments: list[str]) -> int:
    """The command line; exit status 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description="Decoders against their peers, in one run")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument(
        "--codec", action="append", default=[], dest="codecs", help="only this one; repeatable"
    )
    parser.add_argument("--streams", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-native", action="store_false", dest="native", help="do not rebuild the peers")
    options = Options(**vars(parser.parse_args(arguments)))
    return 0 if all(bar["met"] for bar in run(options)["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
