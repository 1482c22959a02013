"""A renderer with its mix mastered: loudness measured over the whole call, gains, the limiter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.audio.mastering import Limiter, LoudnessBy, LoudnessMeter, Master, gain_of
from callreplay.audio.mix import Channels, Renderer

__all__ = ["MasteredRenderer"]

_BLOCK: Final = 1 << 16


class MasteredRenderer:
    """Reads like a :class:`Renderer`, whose legs it takes apart and puts together again.

    ``make(channels)`` renders the whole call. ``loudness``: LUFS that the mix, or each leg by itself, is brought to;
    None leaves levels alone. Memory is bounded by blocks; with ``loudness`` the call is decoded twice.
    """

    def __init__(
        self,
        make: Callable[[Channels], Renderer],
        channels: Channels,
        start_s: float,
        end_s: float | None,
        *,
        limiter: bool,
        loudness: float | None,
        loudness_by: LoudnessBy,
    ) -> None:
        apart: Channels = "stereo" if channels == "mono" else channels
        self._renderer = make(apart)
        self._mono = channels == "mono"
        self._limiter = limiter
        self.rate_hz: Final = self._renderer.rate_hz
        self.channels: Final = 1 if self._mono else self._renderer.channels
        total = self._renderer.frames
        self._first = round(min(start_s * self.rate_hz, total))
        stop = total if end_s is None else max(self._first, round(min(end_s * self.rate_hz, total)))
        self.frames: Final = stop - self._first
        self._gains = self._measure(make(apart), loudness, loudness_by)
        self._blocks: Iterator[NDArray[np.int16]] | None = (
            None  # what `read_into` reads, and what of it waits
        )
        self._rest = np.zeros(0, np.int16)
        self.position = 0
        """The next frame that ``read_into`` gives."""

    def _measure(self, whole: Renderer, loudness: float | None, by: LoudnessBy) -> tuple[float, ...]:
        width = whole.channels
        if loudness is None:
            return (1.0,) * width
        if by == "leg":
            legs = [LoudnessMeter(self.rate_hz) for _ in range(width)]
            for block in whole:
                for meter, column in zip(legs, block.reshape(len(block), -1).T, strict=True):
                    meter.write(column)
            return tuple(gain_of(meter.result(), loudness) for meter in legs)
        meter = LoudnessMeter(self.rate_hz, self.channels)
        for block in whole:
            meter.write(block.sum(axis=1, dtype=np.float64) if self._mono else block)
        return (gain_of(meter.result(), loudness),) * width

    def _legs(self, first: int, count: int) -> Iterator[NDArray[np.int16]]:
        self._renderer.seek(first)
        while count > 0 and len(block := self._renderer.read(min(count, _BLOCK))):
            count -= len(block)
            yield block

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        reach = Limiter.reach(self.rate_hz) if self._limiter else 0
        skip = min(reach, self._first)
        master = Master(
            self.rate_hz, self._gains, mono=self._mono, limiter=self._limiter, skip=skip, frames=self.frames
        )
        return master.stream(self._legs(self._first - skip, skip + self.frames + reach))

    def read_into(self, out: NDArray[np.int16] | NDArray[np.float32]) -> int:
        """Fill ``out`` with the next frames, int16 or float32 (int16 divided by 32768); how many there were."""
        self._blocks = iter(self) if self._blocks is None else self._blocks
        done = 0
        while done < len(out):
            if not len(self._rest) and (block := next(self._blocks, None)) is not None:
                self._rest = block
            part = self._rest[: len(out) - done]
            if not len(part):
                break
            out[done : done + len(part)] = part if out.dtype == np.int16 else part / np.float32(32768)
            done += len(part)
            self._rest = self._rest[len(part) :]
        self.position += done
        return done
