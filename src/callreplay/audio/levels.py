"""What decoded audio says of itself: clipping, silence, level."""

from __future__ import annotations

import math
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass

__all__ = ["LevelMeter", "Levels"]

_FRAME_MS = 20
_SILENCE_DBFS = -60.0  # A-law has no zero (its silence is +-8) and comfort noise sits at -70 or so
_CLIP_LEVEL = 32124  # the largest code word of mu-law decodes to 32124, that of A-law to 32256


@dataclass(frozen=True, slots=True)
class Levels:
    """Figures of one leg. ``clipped``: samples at the codec's rail in runs of two or more, as a share of all."""

    peak_dbfs: float | None  # None for digital silence
    rms_dbfs: float | None
    clipped: float
    silence: float  # share of 20 ms frames below -60 dBFS


@dataclass(slots=True)
class LevelMeter:
    """Measures int16 mono PCM block by block; where the blocks are cut changes nothing but half a frame at the end."""

    rate_hz: int
    _peak: int = 0
    _energy: float = 0.0
    _samples: int = 0
    _clipped: int = 0
    _frames: int = 0
    _silent: int = 0
    _carry: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    _at_rail: bool = False

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Take a block of shape (n,)."""
        if not len(pcm):
            return
        wide = pcm.astype(np.int32)
        magnitude = np.abs(wide)
        self._peak = max(self._peak, int(magnitude.max()))
        self._samples += len(pcm)
        rail = magnitude >= _CLIP_LEVEL
        if rail.any() or self._at_rail:
            before = np.concatenate([[self._at_rail], rail[:-1]])
            self._clipped += int(np.count_nonzero(rail & before))
        self._at_rail = bool(rail[-1])
        block = np.concatenate([self._carry, pcm])
        size = self.rate_hz * _FRAME_MS // 1000
        whole = len(block) // size * size
        frames = block[:whole].reshape(-1, size).astype(np.float32)
        power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size
        self._energy += float(power.sum()) * size
        self._silent += int(np.count_nonzero(power < (32768 * 10 ** (_SILENCE_DBFS / 20)) ** 2))
        self._frames += len(frames)
        self._carry = block[whole:].copy()

    def result(self) -> Levels:
        """The figures so far."""
        rest = self._carry.astype(np.float64)
        energy = self._energy + float(rest @ rest)
        return Levels(
            peak_dbfs=round(20 * math.log10(self._peak / 32768), 2) if self._peak else None,
            rms_dbfs=round(10 * math.log10(energy / self._samples / 32768**2), 2) if energy else None,
            clipped=self._clipped / max(self._samples, 1),
            silence=self._silent / self._frames if self._frames else 1.0,
        )
