"""``scripts/bench plot FILE.json … -o OUT.png``: every ratio that has a bar, over the runs, oldest first.

A line for each benchmark row, as the share of its bar: on the dark line or above it the promise is kept. Runs of two
processors share no line: a row that several have has one for each.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from bench.compare import where

WIDTH, LEFT, RIGHT, TOP, STEP = 1100, 70, 430, 60, 21
INKS = ("#2563eb", "#0d9488", "#e11d48", "#d97706", "#7c3aed", "#475569", "#0891b2", "#65a30d")
LOW, HIGH = 0.25, 8.0
"""Shares of the bar that the picture shows, on a logarithmic scale; what lies beyond stands at the edge."""


def shorten(text: str, most: int) -> str:
    """The text, its end replaced by an ellipsis where it is too long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shares(documents: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """By row: ratio over bar (turned round where less is better) in each run; None where the run lacks the row.

    Where the runs are of several processors or instruction sets, a row's name says which.
    """
    found: dict[str, list[float | None]] = {}
    several = len({where(document) for document in documents}) > 1
    for index, document in enumerate(documents):
        at = f" ({where(document)})" if several else ""
        for bench, rows in document["benches"].items():
            for row in rows:
                if not row.get("bar") or not row.get("ratio"):
                    continue
                share = row["ratio"] / row["bar"]
                name = row["name"].removeprefix(f"{bench}: ")
                line = found.setdefault(f"{bench}: {name}{at}", [None] * len(documents))
                line[index] = 1 / share if row.get("bar_kind") == "at_most" else share
    return found


def draw(documents: list[dict[str, Any]]) -> Image.Image:
    """The picture; runs are ordered by their time."""
    documents = sorted(documents, key=lambda document: str(document["machine"]["time"]))
    lines = shares(documents)
    ordered = sorted(lines, key=lambda name: -(next((v for v in reversed(lines[name]) if v), 0.0)))
    height = max(320, TOP + STEP * len(ordered) + 60)
    image = Image.new("RGB", (WIDTH, height), "white")
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    bottom, right = height - 50, WIDTH - RIGHT

    def y(share: float) -> float:
        import math

        place = math.log(min(max(share, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
        return bottom - place * (bottom - TOP)

    def x(index: int) -> float:
        return LEFT + 10 + (right - LEFT - 20) * (index / (len(documents) - 1) if len(documents) > 1 else 1.0)

    canvas.text(
        (LEFT, 18), "Measured over promised, by commit", fill="#334155", font=ImageFont.load_default(18)
    )
    for share in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        canvas.line((LEFT, y(share), right, y(share)), fill="#334155" if share == 1 else "#e2e8f0")
        canvas.text((LEFT - 48, y(share) - 8), f"{share:g} x", fill="#64748b", font=font)
    for index, document in enumerate(documents):
        canvas.text(
            (x(index) - 26, bottom + 10), document["machine"]["commit"][:7], fill="#64748b", font=font
        )
    for rank, name in enumerate(ordered):
        ink, values = INKS[rank % len(INKS)], lines[name]
        points = [(x(i), y(value)) for i, value in enumerate(values) if value is not None]
        canvas.line(points, fill=ink, width=2)
        for px, py in points:
            canvas.ellipse((px - 3, py - 3, px + 3, py + 3), fill=ink)
        label = TOP + STEP * rank
        canvas.line((points[-1][0] + 6, points[-1][1], right + 24, label + 8), fill="#e2e8f0")
        last = next(value for value in reversed(values) if value is not None)
        canvas.text((right + 28, label), shorten(f"{last:.2f} x  {name}", 62), fill=ink, font=font)
    return image


def main(arguments: list[str]) -> int:
    """Draw the runs that the arguments name."""
    parser = argparse.ArgumentParser(prog="scripts/bench plot", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")
    chosen = parser.parse_args(arguments)
    documents = [json.loads(path.read_text()) for path in chosen.files]
    if not shares(documents):
        print("the runs have no row with a bar", file=sys.stderr)
        return 2
    draw(documents).quantize(64).save(chosen.output, "PNG", optimize=True)
    return 0
