"""Peaks of several resolutions in one file, made to be read by ranges: what a player shows of a call at any zoom.

Little-endian throughout. A head of 32 octets: ``CRZOOM01``, sample rate (uint32), channels (uint32), frames (uint64),
number of levels (uint32), zero (uint32). Then 16 octets for each level: samples per pixel (uint32), pixels (uint32),
place in the file (uint64). Then the levels, the coarsest first: lowest and highest sample (int8) of each pixel's
channels in turn, as in audiowaveform's data of 8 bits. Each level has four times the pixels of the one before.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.outputs.peaks import Peaks

__all__ = ["MAGIC", "finest_of", "zoom_file"]

MAGIC: Final = b"CRZOOM01"
_FACTOR: Final = 4
_MOST_PIXELS: Final = 500_000  # of the finest level: two megabytes for two channels
_FEW_PIXELS: Final = 4096  # the coarsest level has no more: as wide as screens are
_FINEST: Final = 16


def finest_of(frames: int) -> int:
    """Samples per pixel of the finest level: a power of two, 16 for some minutes, 64 for an hour at 8000 Hz."""
    samples = _FINEST
    while frames > samples * _MOST_PIXELS:
        samples *= 2
    return samples


def zoom_file(parts: Sequence[Peaks], rate_hz: int, frames: int) -> bytes:
    """The file of peaks of consecutive parts of a call, whose ``samples_per_pixel`` is ``finest_of(frames)``."""
    levels = [(parts[0].samples_per_pixel, np.concatenate([_octets(peaks) for peaks in parts]))]
    while len(levels[0][1]) > _FEW_PIXELS:
        samples, pixels = levels[0]
        levels.insert(0, (samples * _FACTOR, _coarser(pixels)))
    place = 32 + 16 * len(levels)
    head = [MAGIC, struct.pack("<IIQII", rate_hz, parts[0].channels, frames, len(levels), 0)]
    for samples, pixels in levels:
        head.append(struct.pack("<IIQ", samples, len(pixels), place))
        place += pixels.nbytes
    return b"".join([*head, *(pixels.tobytes() for _, pixels in levels)])


def _octets(peaks: Peaks) -> NDArray[np.int8]:
    """(pixels, channels, 2): lowest and highest, divided by 256 towards zero."""
    data = peaks.buckets
    pairs = np.stack([data["low"], data["high"]], axis=-1)
    pairs[data["count"] == 0] = 0
    # A shift rounds down: negative values are brought up first (-32768 + 255 is still an int16).
    pairs += (pairs < 0) * np.int16(255)
    return (pairs >> 8).astype(np.int8)


def _coarser(pixels: NDArray[np.int8]) -> NDArray[np.int8]:
    if len(pixels) % _FACTOR:
        pixels = np.concatenate([pixels, np.repeat(pixels[-1:], -len(pixels) % _FACTOR, axis=0)])
    low, high = pixels[..., 0], pixels[..., 1]
    parts = range(_FACTOR)
    merged = np.empty((len(pixels) // _FACTOR, pixels.shape[1], 2), np.int8)
    merged[..., 0] = low[0::_FACTOR]
    merged[..., 1] = high[0::_FACTOR]
    for part in parts[1:]:
        np.minimum(merged[..., 0], low[part::_FACTOR], out=merged[..., 0])
        np.maximum(merged[..., 1], high[part::_FACTOR], out=merged[..., 1])
    return merged
