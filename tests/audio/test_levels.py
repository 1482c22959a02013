import math

import numpy as np
import pytest

from callreplay.audio.levels import LevelMeter


@pytest.mark.parametrize("block", [1, 79, 160, 5000, 10**6])
def test_blocks_do_not_matter(block: int) -> None:
    t = np.arange(16000) / 8000
    pcm = np.clip(40000 * np.sin(2 * np.pi * 300 * t) * (t < 1), -32768, 32767).astype(np.int16)
    meter = LevelMeter(8000)
    for start in range(0, len(pcm), block):
        meter.write(pcm[start : start + block])
    levels = meter.result()
    assert levels.peak_dbfs == 0.0
    assert levels.silence == 0.5
    rail = np.abs(pcm.astype(int)) >= 32124
    assert levels.clipped == pytest.approx(np.count_nonzero(rail[1:] & rail[:-1]) / len(pcm))
    assert levels.rms_dbfs == pytest.approx(
        10 * math.log10(np.mean(pcm.astype(float) ** 2) / 32768**2), abs=0.01
    )


def test_nothing_is_silence() -> None:
    levels = LevelMeter(8000).result()
    assert (levels.peak_dbfs, levels.rms_dbfs) == (None, None)
    assert (levels.clipped, levels.silence) == (0.0, 1.0)


def test_digital_silence_has_no_level_and_the_least_of_sounds_has() -> None:
    meter = LevelMeter(8000)
    meter.write(np.zeros(8000, np.int16))
    assert (meter.result().peak_dbfs, meter.result().rms_dbfs) == (None, None)
    meter.write(np.array([1], np.int16))
    assert (meter.result().peak_dbfs, meter.result().rms_dbfs) == (-90.31, -129.34)


def test_a_single_loud_sample_is_not_clipping() -> None:
    meter = LevelMeter(8000)
    meter.write(np.array([0, 32767, 0, -32768, 0], np.int16))
    assert meter.result().clipped == 0.0
