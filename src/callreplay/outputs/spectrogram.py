"""The spectrogram of a call as a PNG."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import ArgumentError
from callreplay.outputs.ink import LEVELS, PictureOptions, axis_height_of, draw_axis, draw_labels
from callreplay.outputs.png import indexed_png

__all__ = ["Spectrogram"]


class Spectrogram:
    """A spectrogram of PCM taken block by block, in memory bounded by the picture.

    Hann windows of ``window`` samples, up to eight per pixel column, their power averaged. Frequencies run from 0 at
    the bottom of a band to half the sample rate at its top.
    """

    WINDOWS_PER_COLUMN: Final = 8

    def __init__(
        self, channels: int, frames: int, sample_rate_hz: int, options: PictureOptions | None = None
    ) -> None:
        if channels not in (1, 2):
            raise ArgumentError(f"a spectrogram has one or two channels, not {channels}")
        self.options = options or PictureOptions()
        self.channels, self.frames, self.rate = channels, frames, sample_rate_hz
        self.window = 256 * max(1, round(sample_rate_hz / 8000))
        self._hann = np.hanning(self.window).astype(np.float32)
        count = max(1, min(self.options.width * self.WINDOWS_PER_COLUMN, max(frames - self.window, 0) + 1))
        self._starts = (np.arange(count, dtype=np.int64) * max(frames - self.window, 0)) // max(count - 1, 1)
        self._next = 0
        self._power = np.zeros((self.options.width, channels, self.window // 2 + 1), np.float64)
        self._hits = np.zeros(self.options.width, np.int64)
        self._carry = np.zeros((0, channels), np.int16)
        self._carry_at = 0

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Take a block: int16, (n,) or (n, channels)."""
        block = np.concatenate([self._carry, pcm.reshape(-1, self.channels)])
        end = self._carry_at + len(block)
        stop = int(np.searchsorted(self._starts, end - self.window, side="right"))
        for first in range(self._next, stop, 256):
            starts = self._starts[first : min(first + 256, stop)]
            columns = np.minimum(
                starts * self.options.width // max(self.frames - self.window + 1, 1), self.options.width - 1
            )
            index = (starts - self._carry_at)[:, None] + np.arange(self.window)
            frames = block[index].transpose(0, 2, 1).astype(np.float32) * self._hann
            power = np.abs(np.fft.rfft(frames, axis=-1)) ** 2
            np.add.at(self._power, columns, power)
            np.add.at(self._hits, columns, 1)
        self._next = max(self._next, stop)
        keep_from = int(self._starts[self._next]) if self._next < len(self._starts) else end
        keep = max(0, min(len(block), keep_from - self._carry_at))
        self._carry, self._carry_at = block[keep:].copy(), self._carry_at + keep

    def png(self) -> bytes:
        """The picture: 75 dB from the loudest bins down, caller above and called below."""
        if self._next < len(self._starts):  # shorter than announced, or than one window
            missing = self.window - len(self._carry)
            if self._next == 0 and missing > 0:
                self.write(np.zeros((missing, self.channels), np.int16))
        width, height = self.options.width, self.options.height
        hits = self._hits > 0
        mean = self._power / np.maximum(self._hits, 1)[:, None, None]
        if hits.any() and not hits.all():
            filled = np.maximum.accumulate(np.where(hits, np.arange(width), 0))
            mean = mean[np.maximum(filled, int(np.argmax(hits)))]
        reference = (32768.0 * self.window / 4) ** 2
        decibels = 10 * np.log10(mean / reference + 1e-12)
        # The noise floor stays dark: nothing under -60 dB of full scale is magnified.
        top = max(float(np.quantile(decibels, 0.999)), -45.0)
        shade = np.clip((decibels - top + 75) / 75, 0, 1)
        image = np.zeros((height, width), np.uint8)
        duration_s = self.frames / self.rate
        axis_height = axis_height_of(self.options, duration_s)
        usable = height - axis_height
        gap = 1 if self.channels == 2 and usable >= 40 else 0
        band = (usable - gap) // self.channels
        bands = [(channel * (band + gap), band) for channel in range(self.channels)]
        for channel, (start, _) in enumerate(bands):
            rows = np.linspace(self.window // 2, 0, band)
            low = np.floor(rows).astype(np.int64)
            part = rows - low
            column = shade[:, channel, :]
            high = np.minimum(low + 1, self.window // 2)
            mixed = column[:, low] * (1 - part) + column[:, high] * part
            image[start : start + band] = np.rint(mixed.T * (_HEAT - 1)).astype(np.uint8)
        inks = _HeatInks()
        if gap:
            image[band, :] = inks.rule
        if axis_height:
            draw_axis(image, inks, duration_s, usable)
        draw_labels(image, inks, self.options.labels, bands)
        return indexed_png(image, _heat())


_HEAT: Final = 256 - LEVELS - 1  # shades of loudness; the rest is for text and rules


class _HeatInks:
    """Light text and a dim rule, behind the shades of loudness."""

    rule = _HEAT
    text_base = _HEAT + 1


@lru_cache(1)
def _heat() -> bytes:
    """A dark-to-bright colour map (even in lightness, safe for colour-blind readers), and the inks after it."""
    stops = np.array([0.0, 0.25, 0.5, 0.75, 0.92, 1.0])
    colours = np.array(
        [[8, 10, 26], [46, 26, 102], [140, 41, 129], [231, 95, 92], [254, 190, 120], [252, 253, 220]]
    )
    ramp = np.linspace(0, 1, _HEAT)
    text = np.linspace(colours[0], (203, 213, 225), LEVELS)
    heat = np.stack([np.interp(ramp, stops, colours[:, c]) for c in range(3)], axis=1)
    return np.concatenate([heat, [(62, 66, 92)], text]).round().astype(np.uint8).tobytes()
