"""What may be done to a mix on its way out, where it is asked for: loudness and a true-peak limiter.

Both work on the legs' sum before it becomes int16, so what would have clipped does not. What a sample becomes depends
on those around it and on gains measured over the whole call, so a window is the slice of the whole.

Sources: ITU-R BS.1770-5 (loudness, gating, true peak).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CEILING_DBTP", "Limiter", "LoudnessBy", "LoudnessMeter", "Master", "gain_of"]

Pcm = NDArray[np.int16]
Wave = NDArray[np.float64]
LoudnessBy = Literal["mix", "leg"]

CEILING_DBTP: Final = -1.0
_FULL_SCALE: Final = 32768.0
_BLOCK_MS: Final = 100  # a gating block of 400 ms is four of these
_LOOKAHEAD_MS: Final = 5
_PHASES: Final = 4  # of the oversampling that true peaks are looked for in
_PEAK_TAPS: Final = 12  # to either side
# Annex 1: the shelf and the high pass, as analogue parameters so that any rate can be served.
_SHELF: Final = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS: Final = (38.13547087602444, 0.5003270373238773)
_OFFSET: Final = -0.691
_ABSOLUTE_GATE: Final = -70.0
_RELATIVE_GATE: Final = -10.0
_SETTLED_S: Final = 0.1  # the weighting's response has fallen below -140 dB by then


def _biquads(rate_hz: int) -> list[tuple[list[float], list[float]]]:
    f0, gain_db, q = _SHELF
    k = math.tan(math.pi * min(f0, 0.49 * rate_hz) / rate_hz)
    high = 10 ** (gain_db / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = (
        [(high + middle * k / q + k * k) / a0, 2 * (k * k - high) / a0, (high - middle * k / q + k * k) / a0],
        [2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0],
    )
    f0, q = _HIGH_PASS
    k = math.tan(math.pi * f0 / rate_hz)
    a0 = 1 + k / q + k * k
    return [shelf, ([1.0, -2.0, 1.0], [2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])]


@cache
def _weighting(rate_hz: int) -> Wave:
    """The K weighting's impulse response; short enough to convolve with, by transforms."""
    count = round(_SETTLED_S * rate_hz)
    response = [1.0] + [0.0] * (count - 1)
    for b, a in _biquads(rate_hz):
        x1 = x2 = y1 = y2 = 0.0
        for i, x in enumerate(response):
            y = b[0] * x + b[1] * x1 + b[2] * x2 - a[0] * y1 - a[1] * y2
            x1, x2, y1, y2 = x, x1, y, y1
            response[i] = y
    return np.array(response)


class LoudnessMeter:
    """Integrated loudness (BS.1770) of int16 blocks ``(n,)`` or ``(n, channels)``; how they are cut changes nothing."""

    def __init__(self, rate_hz: int, channels: int = 1) -> None:
        self._response = _weighting(rate_hz)
        self._size = rate_hz * _BLOCK_MS // 1000
        self._tail = np.zeros((len(self._response) - 1, channels))
        self._rest = np.zeros((0, channels))
        self._powers = array("d")  # of 100 ms, all channels added

    def write(self, pcm: Pcm | Wave) -> None:
        """Take a block."""
        wide = np.asarray(pcm, np.float64).reshape(len(pcm), -1) / _FULL_SCALE
        step = 1 << 16
        for start in range(0, len(wide), step):
            self._weigh(wide[start : start + step])

    def _weigh(self, wide: Wave) -> None:
        block = np.concatenate([self._tail, wide])
        size = 1 << (len(block) + len(self._response) - 1).bit_length()
        spectrum = np.fft.rfft(block, size, axis=0) * np.fft.rfft(self._response, size)[:, None]
        weighted = np.fft.irfft(spectrum, size, axis=0)[len(self._tail) : len(block)]
        self._tail = block[len(block) - len(self._tail) :]
        joined = np.concatenate([self._rest, weighted])
        whole = len(joined) // self._size * self._size
        parts = joined[:whole].reshape(-1, self._size, joined.shape[1])
        self._powers.extend((parts**2).mean(axis=1).sum(axis=1).tolist())
        self._rest = joined[whole:].copy()

    def result(self) -> float | None:
        """LUFS of what was written; None below the absolute gate, and for less than 400 ms."""
        powers = np.array(self._powers)
        if len(powers) < 4:
            return None
        blocks = (powers[:-3] + powers[1:-2] + powers[2:-1] + powers[3:]) / 4
        gated = blocks[blocks > 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)]
        if not len(gated):
            return None
        gated = gated[gated > gated.mean() * 10 ** (_RELATIVE_GATE / 10)]
        return _OFFSET + 10 * math.log10(float(gated.mean()))


def gain_of(loudness: float | None, target: float) -> float:
    """The factor that takes ``loudness`` to ``target`` (LUFS); 1 where there is nothing to hear."""
    return 1.0 if loudness is None else 10 ** ((target - loudness) / 20)


@cache
def _peak_filters() -> list[Wave]:
    """The samples between the samples: a windowed sinc for each phase but the first."""
    n = np.arange(-_PEAK_TAPS, _PEAK_TAPS + 1)
    found = []
    for phase in range(1, _PHASES):
        t = n - phase / _PHASES
        taps = np.sinc(t) * np.cos(np.pi * t / (2 * _PEAK_TAPS + 2)) ** 2
        found.append(taps / taps.sum())
    return found


def _true_peaks(x: Wave) -> Wave:
    """The highest level of any channel at and behind each sample of ``(n, channels)``; zeros beyond the ends."""
    peaks: Wave = np.abs(x).max(axis=1)
    for column in x.T:
        for taps in _peak_filters():
            between = np.abs(np.convolve(column, taps[::-1], "same"))
            peaks = np.maximum(peaks, between)
            peaks[1:] = np.maximum(peaks[1:], between[:-1])
    return peaks


def _lowest(values: Wave, width: int) -> Wave:
    """The lowest of each run of ``width`` values: ``len - width + 1`` of them."""
    have = 1
    while have < width:
        more = min(have, width - have)
        values = np.minimum(values[:-more], values[more:])
        have += more
    return values


class Limiter:
    """Keeps true peaks below CEILING_DBTP: the gain falls before a peak and rises after it, by 5 ms each.

    Takes and gives float blocks ``(n, channels)`` of int16's scale. Gives later than it takes, but nothing is delayed:
    ``finish`` gives the rest. Where no peak is too high, samples are not touched.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._ahead = max(1, rate_hz * _LOOKAHEAD_MS // 1000)
        self._reach = self.reach(rate_hz)
        self._ceiling = _FULL_SCALE * 10 ** (CEILING_DBTP / 20)
        self._held = np.zeros((self._reach, channels))
        window = np.hanning(2 * self._ahead + 3)[1:-1]
        self._smooth = window / window.sum()

    @staticmethod
    def reach(rate_hz: int) -> int:
        """As many samples on either side matter to one."""
        return 2 * max(1, rate_hz * _LOOKAHEAD_MS // 1000) + 2 * _PEAK_TAPS + 2

    def write(self, block: Wave) -> Wave:
        """Take a block; what is ready of it and of those before."""
        x = self._held = np.concatenate([self._held, block])
        reach, ready = self._reach, len(x) - 2 * self._reach
        if ready <= 0:
            return x[:0]
        self._held = x[ready:]
        wanted = np.minimum(1.0, self._ceiling / np.maximum(_true_peaks(x), 1e-9))
        if (wanted == 1.0).all():
            return x[reach : reach + ready]
        lowest = _lowest(wanted, 2 * self._ahead + 1)  # of sample i: at i - ahead
        gain = np.convolve(lowest, self._smooth, "valid")  # of sample i: at i - 2 ahead
        first = reach - 2 * self._ahead
        # Of 20 bits, so that no sum of another order shows.
        gain = np.round(gain * (1 << 20)) / (1 << 20)
        limited: Wave = x[reach : reach + ready] * gain[first : first + ready, None]
        return limited

    def finish(self) -> Wave:
        """What is left."""
        return self.write(np.zeros((self._reach, self._held.shape[1])))


class Master:
    """Blocks of legs in, the mastered mix out: gains, the sum where ``mono``, the limiter, int16.

    ``gains``: a factor per channel that comes in. ``skip`` frames at the start are taken for what is around them only,
    and after them ``frames`` come out.
    """

    def __init__(
        self, rate_hz: int, gains: tuple[float, ...], *, mono: bool, limiter: bool, skip: int, frames: int
    ) -> None:
        self._gains = np.array(gains)
        self._mono = mono
        width = 1 if mono else len(gains)
        self._limiter = Limiter(rate_hz, width) if limiter else None
        self._skip, self._left = skip, frames

    def stream(self, blocks: Iterable[Pcm]) -> Iterator[Pcm]:
        """The mastered blocks; empty ones are left out."""
        for block in blocks:
            wide = block.reshape(len(block), -1) * self._gains
            if self._mono:
                wide = wide.sum(axis=1, keepdims=True)
            yield from self._give(self._limiter.write(wide) if self._limiter else wide)
        if self._limiter:
            yield from self._give(self._limiter.finish())

    def _give(self, wide: Wave) -> Iterator[Pcm]:
        skipped = min(self._skip, len(wide))
        self._skip -= skipped
        wide = wide[skipped : skipped + self._left]
        self._left -= len(wide)
        if len(wide):
            pcm = np.clip(np.rint(wide), -32768, 32767).astype(np.int16)
            yield pcm[:, 0] if pcm.shape[1] == 1 else pcm
