"""Speex quality: PESQ of our encoder and of libspeex at complexity 3, both decoded by libspeex, for every file.

usage: python -m bench.speex_quality OUT.md FILE...

FILE: any speech that sox reads (.raw is 8 kHz int16, .g722 bare G.722), or a capture, or two joined by ``+``: both
legs of its call, mixed. With ten files or more the table is the one of docs/speex-quality.md.

Where a frame happens to begin moves the PESQ of one file by 0.05 and more, with either encoder. A score is therefore
the mean over several beginnings, the same for both encoders, and the table says how far libspeex alone moves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import wave
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import callreplay
from callreplay.outputs.speex import OggSpeexWriter

QUALITIES = (2, 4, 6, 8, 10)
LONGEST_S = 12
BEGINNINGS = (0, 37, 83, 129)
RAW = ("-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1")


def _read(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def _decode(folder: Path, stream: Path) -> NDArray[np.int16]:
    subprocess.run(["speexdec", stream, folder / "out.wav"], check=True, capture_output=True)
    return _read(folder / "out.wav")


def _cut(folder: Path, file: Path, rate_hz: int) -> NDArray[np.int16]:
    """The first seconds of the file, or of the mixed call that it holds."""
    source = folder / "in.wav"
    captures = str(file).split("+")
    if captures[0].endswith((".pcap", ".pcapng", ".cap", ".rtp")):
        with callreplay.open(*captures) as capture:
            file = folder / "mixed.wav"
            capture.calls[0].save(file, channels="mono")
    if file.suffix == ".g722":
        decoded = folder / "decoded.wav"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "g722", "-i", file, decoded], check=True)
        file = decoded
    head = RAW if file.suffix == ".raw" else ()
    shape = ("-r", str(rate_hz), "-c", "1", "-b", "16")
    subprocess.run(
        ["sox", *head, file, *shape, source, "trim", "0", str(LONGEST_S)], check=True, capture_output=True
    )
    return _read(source)


def _score(folder: Path, pcm: NDArray[np.int16], stream: Path, rate_hz: int) -> float:
    from pesq import pesq

    decoded = _decode(folder, stream)
    length = min(len(pcm), len(decoded))
    return float(pesq(rate_hz, pcm[:length], decoded[:length], "nb" if rate_hz == 8000 else "wb"))


def compare(folder: Path, pcm: NDArray[np.int16], rate_hz: int, quality: int) -> tuple[float, float]:
    """PESQ of ours and of libspeex."""
    writer = OggSpeexWriter(rate_hz, quality)
    (folder / "ours.spx").write_bytes(writer.write(pcm) + writer.finish())
    with wave.open(str(folder / "in.wav"), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(pcm.tobytes())
    options = ["-n" if rate_hz == 8000 else "-w", "--quality", str(quality), "--comp", "3"]
    subprocess.run(
        ["speexenc", *options, folder / "in.wav", folder / "peer.spx"], check=True, capture_output=True
    )
    ours, theirs = (_score(folder, pcm, folder / name, rate_hz) for name in ("ours.spx", "peer.spx"))
    return ours, theirs


def measure(file: Path, rate_hz: int) -> NDArray[np.float64]:
    """Scores of shape (qualities, beginnings, 2): ours and libspeex's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pcm = _cut(folder, file, rate_hz)
        delayed = [np.concatenate([np.zeros(d * rate_hz // 8000, np.int16), pcm]) for d in BEGINNINGS]
        return np.array([[compare(folder, x, rate_hz, q) for x in delayed] for q in QUALITIES])


def segments(file: Path, rate_hz: int) -> NDArray[np.float64]:
    """PESQ of a call of 90 s or more made of the file, in one piece and by segments; shape (qualities, 2)."""
    scores = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pcm = _cut(folder, file, rate_hz)
        pcm = np.tile(pcm, -(-90 * rate_hz // len(pcm)))
        span = slice(40 * rate_hz, 60 * rate_hz)
        for quality in QUALITIES:
            row = []
            for cut in (False, True):
                writer = OggSpeexWriter(rate_hz, quality, segments=cut)
                (folder / "x.spx").write_bytes(writer.write(pcm) + writer.finish())
                decoded = _decode(folder, folder / "x.spx")
                (folder / "x.spx").unlink()
                from pesq import pesq

                band = "nb" if rate_hz == 8000 else "wb"
                row.append(float(pesq(rate_hz, pcm[span], decoded[span], band)))
            scores.append(row)
    return np.array(scores)


def _row(label: str, values: NDArray[np.float64]) -> str:
    return f"| **{label}** | " + " | ".join(f"{value:+.3f}" for value in values) + " |"


def _name(file: Path) -> str:
    first, *more = str(file).split("+")
    mixed = bool(more) or first.endswith((".pcap", ".pcapng", ".cap", ".rtp"))
    return Path(first).name + (" (both legs, mixed)" if mixed else "")


def main(out: Path, files: list[Path]) -> None:
    """Write the table."""
    lines = [
        "# Speex quality against libspeex",
        "",
        "PESQ (MOS-LQO) of ours / of libspeex 1.2 at complexity 3, both decoded by libspeex, written by",
        "`python -m bench.speex_quality docs/speex-quality.md FILE...`. Where a frame happens to begin moves the score",
        "of one file by as much as two encoders differ, so every score is the mean over the same file begun",
        f"{', '.join(map(str, BEGINNINGS))} samples later (at 8 kHz).",
        "The last row is how far libspeex alone moves from one beginning to the next.",
        "",
        "Segments (a call of a minute or more at constant bit rate, cut in time and coded by several lanes at once)",
        "are on by default: `segments=False` or `--no-segments` codes such a call in one piece.",
        "",
        "The files are those of Debian's Asterisk prompts and of the project's test speech, and recorded calls.",
    ]
    head = "|  | " + " | ".join(f"q{q}" for q in QUALITIES) + " |"
    rule = "|---" * (len(QUALITIES) + 1) + "|"
    with ProcessPoolExecutor(2) as pool:
        for rate_hz, title in ((8000, "Narrowband"), (16000, "Wideband (PESQ-WB)")):
            lines += ["", f"## {title}", "", head, rule]
            scores = np.array(list(pool.map(measure, files, repeat(rate_hz))))
            for file, of_file in zip(files, scores.mean(axis=2), strict=True):
                cells = " | ".join(f"{ours:.3f} / {theirs:.3f}" for ours, theirs in of_file)
                lines.append(f"| {_name(file)} | {cells} |")
            table = (scores[..., 0] - scores[..., 1]).mean(axis=2)
            lines += [
                _row("mean difference", table.mean(axis=0)),
                _row("worst file", table.min(axis=0)),
                _row("best file", table.max(axis=0)),
                _row("worst single run", (scores[..., 0] - scores[..., 1]).min(axis=(0, 2))),
                _row("libspeex from itself", scores[..., 1].std(axis=2, ddof=1).mean(axis=0)),
            ]
            lines += ["", f"## {title}: a long call, by segments against in one piece", "", head, rule]
            cut = np.array(list(pool.map(segments, files[:6], repeat(rate_hz))))
            difference = cut[..., 1] - cut[..., 0]
            lines += [
                _row("mean difference", difference.mean(axis=0)),
                _row("worst file", difference.min(axis=0)),
            ]
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
