"""A picture of a run: throughput and quality over time, from its manifest."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.batch.manifest import Row
from callreplay.errors import ArgumentError

__all__ = ["report_png"]

_WIDTH: Final = 1000
_HEIGHT: Final = 620
_INK, _RULE, _SOFT = (51, 65, 85), (226, 232, 240), (100, 116, 139)
_BLUE, _TEAL, _ROSE = (37, 99, 235), (13, 148, 136), (225, 29, 72)


_COLUMNS: Final = np.dtype([("at", "f8"), ("seconds", "f8"), ("mos", "f8"), ("ok", "?")])


def report_png(rows: Iterable[Row]) -> bytes:
    """Draw a run: hours of audio finished per minute, MOS of the calls, and errors, over the time of the run.

    Raises ArgumentError where no row has a time.
    """
    from PIL import Image, ImageDraw

    # Millions of rows are a few octets each here.
    table = np.fromiter(
        (
            (row.finished, row.duration_s, np.nan if row.mos is None else row.mos, not row.error)
            for row in rows
            if row.finished
        ),
        _COLUMNS,
    )
    if not len(table):
        raise ArgumentError("the manifest holds no finished row")
    at, ok = table["at"], table["ok"]
    began, lasted = at.min(), max(float(at.max() - at.min()), 1.0)
    bins = 60
    column = np.minimum(((at - began) / lasted * bins).astype(np.int64), bins - 1)
    audio = np.bincount(column[ok], table["seconds"][ok], bins) / 3600 / (lasted / bins / 60)
    failed = np.bincount(column[~ok], minlength=bins).astype(np.float64)
    mos = np.where(ok, table["mos"], np.nan)
    image = Image.new("RGB", (_WIDTH, _HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    total = float(table["seconds"][ok].sum()) / 3600
    head = f"{int(ok.sum()):,} calls, {total:,.1f} h of audio in {lasted:,.0f} s, {int((~ok).sum()):,} errors"
    _text(draw, (40, 18), head, 18, _INK)
    _bars(draw, (40, 60, _WIDTH - 40, 260), audio, _BLUE, "hours of audio per minute")
    _mos_dots(draw, (40, 300, _WIDTH - 40, 470), (at - began) / lasted, mos)
    _bars(draw, (40, 510, _WIDTH - 40, 580), failed, _ROSE, "errors")
    _text(draw, (40, 588), "0 s", 12, _SOFT)
    _text(draw, (_WIDTH - 90, 588), f"{lasted:,.0f} s", 12, _SOFT)
    out = io.BytesIO()
    image.quantize(64).save(out, "PNG", optimize=True)
    return out.getvalue()


def _text(draw: object, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int]) -> None:
    from PIL import ImageFont

    draw.text(at, text, fill=colour, font=ImageFont.load_default(size))  # type: ignore[attr-defined]


def _bars(
    draw: object,
    box: tuple[int, int, int, int],
    values: NDArray[np.float64],
    colour: tuple[int, int, int],
    title: str,
) -> None:
    left, top, right, bottom = box
    most = float(values.max()) or 1.0
    _text(draw, (left, top - 2), f"{title} (most {float(values.max()):,.4g})", 13, _SOFT)
    draw.line((left, bottom, right, bottom), fill=_RULE, width=1)  # type: ignore[attr-defined]
    step = (right - left) / len(values)
    for index, value in enumerate(values):
        height = (bottom - top - 18) * float(value) / most
        if height >= 0.5:
            x = left + index * step
            draw.rectangle((x + 1, bottom - height, x + step - 2, bottom - 1), fill=colour)  # type: ignore[attr-defined]


def _mos_dots(
    draw: object, box: tuple[int, int, int, int], share: NDArray[np.float64], mos: NDArray[np.float64]
) -> None:
    left, top, right, bottom = box
    _text(draw, (left, top - 18), "MOS of the worse leg (1 to 4.5)", 13, _SOFT)
    for level in (1, 2, 3, 4):
        y = bottom - (level - 1) / 3.5 * (bottom - top)
        draw.line((left, y, right, y), fill=_RULE, width=1)  # type: ignore[attr-defined]
        _text(draw, (left - 18, round(y) - 8), str(level), 12, _SOFT)
    for x, value in zip(share, mos, strict=True):
        if np.isfinite(value):
            px, py = left + x * (right - left), bottom - (value - 1) / 3.5 * (bottom - top)
            draw.ellipse((px - 2, py - 2, px + 2, py + 2), fill=_TEAL)  # type: ignore[attr-defined]
