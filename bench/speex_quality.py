"""Speex quality: PESQ of our encoder and of libspeex at complexity 3, both decoded by libspeex, for every file.

usage: python bench/speex_quality.py OUT.md FILE...

FILE: any speech that sox reads (.raw is 8 kHz int16), or a capture, or two joined by ``+``: both legs of its call,
mixed.
With ten files or more the table is the one of docs/speex-quality.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import callreplay
from callreplay.speex import OggSpeexWriter

QUALITIES = (2, 4, 6, 8, 10)
LONGEST_S = 12
RAW = ("-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1")


def _read(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def _decode(folder: Path, stream: Path) -> NDArray[np.int16]:
    subprocess.run(["speexdec", stream, folder / "out.wav"], check=True, capture_output=True)
    return _read(folder / "out.wav")


def compare(folder: Path, file: Path, rate_hz: int, quality: int) -> tuple[float, float]:
    """PESQ of ours and of libspeex."""
    from pesq import pesq

    source, band = folder / "in.wav", "nb" if rate_hz == 8000 else "wb"
    captures = str(file).split("+")
    if captures[0].endswith((".pcap", ".pcapng", ".cap", ".rtp")):
        with callreplay.open(*captures) as capture:
            file = folder / "mixed.wav"
            capture.calls[0].save(file, channels="mono")
    head = RAW if file.suffix == ".raw" else ()
    shape = ("-r", str(rate_hz), "-c", "1", "-b", "16")
    subprocess.run(
        ["sox", *head, file, *shape, source, "trim", "0", str(LONGEST_S)], check=True, capture_output=True
    )
    pcm = _read(source)
    writer = OggSpeexWriter(rate_hz, quality)
    (folder / "ours.spx").write_bytes(writer.write(pcm) + writer.finish())
    options = ["-n" if rate_hz == 8000 else "-w", "--quality", str(quality), "--comp", "3"]
    subprocess.run(["speexenc", *options, source, folder / "peer.spx"], check=True, capture_output=True)
    scores = []
    for stream in ("ours.spx", "peer.spx"):
        decoded = _decode(folder, folder / stream)
        length = min(len(pcm), len(decoded))
        scores.append(float(pesq(rate_hz, pcm[:length], decoded[:length], band)))
    return scores[0], scores[1]


def main(out: Path, files: list[Path]) -> None:
    """Write the table."""
    lines = [
        "# Speex quality against libspeex",
        "",
        "PESQ (MOS-LQO) of ours / of libspeex 1.2 at complexity 3, both decoded by libspeex: `bench/speex_quality.py`.",
    ]
    with tempfile.TemporaryDirectory() as name:
        for rate_hz, title in ((8000, "Narrowband"), (16000, "Wideband (PESQ-WB)")):
            lines += ["", f"## {title}", "", "| file | " + " | ".join(f"q{q}" for q in QUALITIES) + " |"]
            lines.append("|---" * (len(QUALITIES) + 1) + "|")
            differences: list[list[float]] = []
            for file in files:
                scores = [compare(Path(name), file, rate_hz, quality) for quality in QUALITIES]
                differences.append([ours - theirs for ours, theirs in scores])
                cells = " | ".join(f"{ours:.3f} / {theirs:.3f}" for ours, theirs in scores)
                lines.append(f"| {file.name.split('+')[0]} | {cells} |")
            table = np.array(differences)
            for label, row in (
                ("mean difference", table.mean(axis=0)),
                ("worst", table.min(axis=0)),
                ("best", table.max(axis=0)),
            ):
                lines.append(f"| **{label}** | " + " | ".join(f"{value:+.3f}" for value in row) + " |")
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
