"""Peaks of several resolutions in one file."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from callreplay.outputs.peaks import Peaks
from callreplay.outputs.zoom import MAGIC, finest_of, pixels_of, zoom_file


def levels_of(data: bytes) -> tuple[tuple[int, int, int], list[tuple[int, NDArray[np.int8]]]]:
    """(rate, channels, frames) and for each level its samples per pixel and values (pixels, channels, 2)."""
    assert data[:8] == MAGIC
    rate, channels, frames, count, _ = struct.unpack_from("<IIQII", data, 8)
    levels = []
    for number in range(count):
        samples, pixels, place = struct.unpack_from("<IIQ", data, 32 + 16 * number)
        values = np.frombuffer(data, np.int8, pixels * channels * 2, place)
        levels.append((samples, values.reshape(pixels, channels, 2)))
    assert place + values.nbytes == len(data)
    return (rate, channels, frames), levels


@pytest.mark.parametrize(("frames", "channels"), [(0, 2), (1, 1), (16 * 4096, 2), (100_003, 2), (300_001, 1)])
def test_every_level_is_what_audiowaveform_would_say(frames: int, channels: int) -> None:
    dice = np.random.default_rng(frames)
    pcm = dice.integers(-32768, 32768, (frames, channels), dtype=np.int16)
    pcm[: frames // 3] //= 200  # values that are rounded towards zero
    parts = []
    samples = finest_of(frames)
    cut = frames // 2 // samples * samples
    for block in (pcm[:cut], pcm[cut:]):
        blocks = np.split(block, [n for n in (7, 5000) if n < len(block)])  # cut where no pixel ends
        parts.append(pixels_of(blocks, samples))
    said, levels = levels_of(zoom_file(parts, samples, channels, 8000, frames))
    assert said == (8000, channels, frames)
    assert len(levels[0][1]) <= 4096
    assert levels[-1][0] == samples
    for samples, values in levels:
        peaks = Peaks(channels, samples)
        peaks.write(pcm)
        wanted = peaks.to_dat(8000, bits=8, version=2)[24:]
        assert values.tobytes() == wanted


def test_the_finest_level_is_bounded_whatever_the_length() -> None:
    assert finest_of(8000 * 60) == 16
    assert finest_of(8000 * 3600) == 64
    for frames in (1, 10**6, 10**9, 10**12):
        assert frames <= finest_of(frames) * 500_000
