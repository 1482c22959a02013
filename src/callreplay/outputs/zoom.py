"""Peaks of several resolutions in one file, made to be read by ranges: what a player shows of a call at any zoom.

Little-endian throughout. A head of 32 octets: ``CRZOOM01``, sample rate (uint32), channels (uint32), frames (uint64),
number of levels (uint32), zero (uint32). Then 16 octets for each level: samples per pixel (uint32), pixels (uint32),
place in the file (uint64). Then the levels, the coarsest first: lowest and highest sample (int8) of each pixel's
channels in turn, as in audiowaveform's data of 8 bits. Each level has four times the pixels of the one before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay import _core

__all__ = ["MAGIC", "finest_of", "pixels_of", "zoom_file"]

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


def pixels_of(blocks: Iterable[NDArray[np.int16]], samples: int) -> NDArray[np.int8]:
    """(pixels, channels, 2): lowest and highest of each ``samples`` frames of PCM, divided by 256 towards zero.

    Blocks are (n, channels) and may be cut anywhere.
    """
    found, rest = [], None
    for block in blocks:
        joined = block if rest is None else np.concatenate([rest, block])
        whole = len(joined) // samples * samples
        found.append(_core.peaks8(joined[:whole], samples))
        rest = joined[whole:].copy() if whole < len(joined) else None
    if rest is not None:
        found.append(_core.peaks8(rest, samples))
    return np.concatenate(found) if found else np.empty((0, 1, 2), np.int8)


def zoom_file(
    parts: Sequence[NDArray[np.int8]], samples: int, channels: int, rate_hz: int, frames: int
) -> bytes:
    """The file of consecutive parts of a call, as ``pixels_of`` gives them for ``samples`` = ``finest_of(frames)``."""
    whole = [part for part in parts if len(part)] or [np.empty((0, channels, 2), np.int8)]
    levels = [(samples, np.concatenate(whole))]
    while len(levels[0][1]) > _FEW_PIXELS:
        samples, pixels = levels[0]
        levels.insert(0, (samples * _FACTOR, _coarser(pixels)))
    place = 32 + 16 * len(levels)
    head = [MAGIC, struct.pack("<IIQII", rate_hz, channels, frames, len(levels), 0)]
    for samples, pixels in levels:
        head.append(struct.pack("<IIQ", samples, len(pixels), place))
        place += pixels.nbytes
    return b"".join([*head, *(pixels.tobytes() for _, pixels in levels)])


def _coarser(pixels: NDArray[np.int8]) -> NDArray[np.int8]:
    if len(pixels) % _FACTOR:
        pixels = np.concatenate([pixels, np.repeat(pixels[-1:], -len(pixels) % _FACTOR, axis=0)])
    # Columns of their own, so that NumPy's loops run over many pixels at a time.
    columns = np.ascontiguousarray(pixels.reshape(-1, _FACTOR, pixels.shape[1] * 2).transpose(1, 2, 0))
    low, high = np.minimum.reduce(columns[:, 0::2]), np.maximum.reduce(columns[:, 1::2])
    return np.stack([low.T, high.T], axis=-1)
