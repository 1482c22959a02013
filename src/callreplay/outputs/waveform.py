"""The waveform of a call as a small PNG.

Caller above, called below (or one band for mono), peaks in a soft shade with the RMS inside them in a strong one,
silence as a thin line, lost audio marked. Drawing is native and anti-aliased by exact coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.outputs.ink import (
    LEVELS,
    PictureOptions,
    Rgb,
    Theme,
    axis_height_of,
    draw_axis,
    draw_labels,
    mixed,
)
from callreplay.outputs.peaks import Peaks
from callreplay.outputs.png import indexed_png

__all__ = ["Marks", "columns_per_pixel", "waveform_png"]

_NOISE_FLOOR: Final = (
    0.05  # of full scale (-26 dBFS): a peak below this is never magnified to look like speech
)
_HEADROOM: Final = 0.94  # of the band's height that the loudest ordinary speech reaches
_CLICK: Final = 1.5  # times the loudness of ordinary speech: a peak above it may be cut


@dataclass(frozen=True, slots=True)
class Marks:
    """Stretches of one channel to mark, as columns, in the order in which they are drawn."""

    channel: int
    start_s: NDArray[np.float64]
    stop_s: NDArray[np.float64]
    loss: NDArray[np.bool_]  # the others are silence: no media (hold, DTX, one-way)


def columns_per_pixel(frames: int, width: int) -> int:
    """How many buckets to take per pixel column: 4 where the audio is long enough, so that slopes look smooth."""
    return max(1, min(4, frames // max(width, 1)))


class _Palette:
    """Indexed colours with alpha, and where each shade family starts."""

    def __init__(self, theme: Theme, channels: int) -> None:
        self.rgba: list[tuple[int, int, int, int]] = []
        ground = theme.matte
        clear = theme.background is None
        self._add(ground, 0 if clear else 255)
        self.rule = self._add(theme.rule, 110 if clear else 255)
        self.text_base = self._family(theme.text, ground, clear, 1.0)
        self.loss = self._add(theme.loss, 255)
        self.loss_tint = self._add(
            mixed(theme.loss, ground, 0.16) if not clear else theme.loss, 40 if clear else 255
        )
        self.peak_base: list[int] = []
        self.rms_base: list[int] = []
        self.silence: list[int] = []
        for colour in (theme.caller, theme.called)[:channels]:
            soft = mixed(colour, ground, 0.55)
            self.peak_base.append(self._family(soft, ground, clear, 1.0))
            base = len(self.rgba)
            self.rgba += [(*mixed(colour, soft, k / (LEVELS - 1)), 255) for k in range(LEVELS)]
            self.rms_base.append(base)
            self.silence.append(self._add(mixed(colour, ground, 0.35), 255))
        self._colours = bytes(octet for colour in self.rgba for octet in colour[:3])
        self._alpha = bytes(colour[3] for colour in self.rgba) if clear else b""

    def _add(self, colour: Rgb, alpha: int) -> int:
        self.rgba.append((*colour, alpha))
        return len(self.rgba) - 1

    def _family(self, colour: Rgb, ground: Rgb, clear: bool, strength: float) -> int:
        base = len(self.rgba)
        for k in range(LEVELS):
            amount = strength * k / (LEVELS - 1)
            self.rgba.append(
                (*colour, round(255 * amount)) if clear else (*mixed(colour, ground, amount), 255)
            )
        return base

    def png(self, image: NDArray[np.uint8]) -> bytes:
        """The image as an indexed PNG."""
        return indexed_png(image, self._colours, self._alpha)


@lru_cache(32)
def _palette(theme: Theme, channels: int) -> _Palette:
    return _Palette(theme, channels)


def _auto_scale(peaks: NDArray[np.void]) -> float:
    """Magnification: ordinary loud speech fills the band, rare clicks may clip, noise stays noise."""
    extent = np.maximum(peaks["high"], np.negative(peaks["low"], dtype=np.int32)).ravel()
    extent = extent[extent >= 0]  # a bucket without samples has its low above its high
    if not len(extent):
        return 1.0
    peak = float(extent.max())
    loud = _high(extent, 0.995)
    # The loudest syllable keeps its top; what is far above all speech is a click.
    loud = peak if peak <= _CLICK * loud else loud
    return _HEADROOM / max(loud / 32768, _NOISE_FLOOR)


def _high(values: NDArray[np.int32], share: float) -> float:
    """``numpy.quantile`` of few values, between the two that lie around it, without what it takes to say so."""
    place = (len(values) - 1) * share
    below = int(place)
    pair = np.partition(values, (below, min(below + 1, len(values) - 1)))[below : below + 2]
    low, high, part = int(pair[0]), int(pair[-1]), place - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def _draw_marks(
    image: NDArray[np.uint8],
    palette: _Palette,
    bands: list[tuple[int, int]],
    marks: Sequence[Marks],
    duration_s: float,
) -> None:
    if duration_s <= 0:
        return
    for channel, (top, height) in enumerate(bands):
        columns = [(of.start_s, of.stop_s, of.loss) for of in marks if of.channel == channel]
        if columns:
            start_s, stop_s, loss = (np.concatenate(each) for each in zip(*columns, strict=True))
            _core.draw_marks(
                image,
                start_s / duration_s,
                stop_s / duration_s,
                loss,
                top=top,
                height=height,
                loss_colour=palette.loss,
                tint=palette.loss_tint,
                silence=palette.silence[channel],
            )


def waveform_png(
    peaks: Peaks, duration_s: float, options: PictureOptions | None = None, marks: Sequence[Marks] = ()
) -> bytes:
    """Draw peaks made by ``Peaks.fit(channels, frames, width * columns_per_pixel(frames, width))`` as a PNG.

    ``duration_s`` is the time the picture spans; ``marks`` are drawn over their channel's band. One or two channels.
    """
    options = options or PictureOptions()
    data = peaks.buckets
    if peaks.channels > 2:
        raise ArgumentError(f"a waveform has one or two channels, not {peaks.channels}")
    per_pixel = len(data) // options.width
    if per_pixel < 1:
        raise ArgumentError(f"{options.width} columns need at least as many buckets, not {len(data)}")
    palette = _palette(options.resolved(), peaks.channels)
    image = np.zeros((options.height, options.width), np.uint8)
    axis_height = axis_height_of(options, duration_s)
    usable = options.height - axis_height
    gap = 2 if usable >= 40 else 0
    band_height = (usable - gap * (peaks.channels - 1)) // peaks.channels
    bands = [(channel * (band_height + gap), band_height) for channel in range(peaks.channels)]
    scale = _auto_scale(data)
    for channel, (top, height) in enumerate(bands):
        _core.draw_band(
            image,
            data,
            channel=channel,
            left=0,
            top=top,
            width=options.width,
            height=height,
            columns_per_pixel=per_pixel,
            levels=LEVELS,
            peak_base=palette.peak_base[channel],
            rms_base=palette.rms_base[channel],
            scale=scale,
        )
    _draw_marks(image, palette, bands, marks, duration_s)
    if peaks.channels == 2 and gap:
        image[band_height : band_height + 1, :] = palette.rule
    if axis_height:
        draw_axis(image, palette, duration_s, usable)
    draw_labels(image, palette, options.labels, bands)
    return palette.png(image)
