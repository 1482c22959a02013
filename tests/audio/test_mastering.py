"""Loudness and the limiter, judged by ffmpeg's ebur128 and scipy."""

import re
import subprocess
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from bench._captures import leg, write_pcap
from numpy.typing import NDArray
from scipy.signal import resample_poly
from tests import laws

import callreplay
from callreplay.audio.mastering import CEILING_DBTP, Limiter, LoudnessMeter, gain_of

Wave = NDArray[np.float64]
SAMPLE = "samples/reservation.pcap"


def _talk(rate: int, channels: int = 1) -> NDArray[np.int16]:
    """Eight seconds that come and go, with a second of silence."""
    dice = np.random.default_rng(rate + channels)
    t = np.arange(rate * 8) / rate
    swell = 1 + 0.9 * np.sin(2 * np.pi * 0.3 * t)
    tones = [np.sin(2 * np.pi * hz * t) for hz in (220, 997)][:channels]
    wave = np.stack([6000 * tone * swell + dice.normal(0, 800, len(t)) for tone in tones], axis=1)
    wave[3 * rate : 4 * rate] = 0
    return np.round(wave).astype(np.int16)


def _ebur128(pcm: NDArray[np.int16], rate: int) -> float:
    command = ["ffmpeg", "-hide_banner", "-f", "s16le", "-ar", str(rate), "-ac", str(pcm.shape[1]), "-i", "-"]
    done = subprocess.run(
        [*command, "-af", "ebur128", "-f", "null", "-"], input=pcm.tobytes(), capture_output=True, check=True
    )
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", done.stderr.decode())[-1])


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_is_what_ebur128_measures(rate: int, channels: int) -> None:
    pcm = _talk(rate, channels)
    meter = LoudnessMeter(rate, channels)
    for start in range(0, len(pcm), 12345):
        meter.write(pcm[start : start + 12345])
    assert meter.result() == pytest.approx(_ebur128(pcm, rate), abs=0.1)


def test_silence_and_moments_have_no_loudness() -> None:
    meter = LoudnessMeter(8000)
    assert meter.result() is None
    meter.write(np.zeros(80000, np.int16))
    assert meter.result() is None
    assert gain_of(None, -23) == 1


def _limited(wave: Wave, rate: int, block: int) -> Wave:
    limiter = Limiter(rate, wave.shape[1])
    parts = [limiter.write(wave[i : i + block]) for i in range(0, len(wave), block)]
    return np.concatenate([*parts, limiter.finish()])


@pytest.mark.parametrize("rate", [8000, 48000])
def test_no_true_peak_is_above_the_ceiling(rate: int) -> None:
    loud = _talk(rate, 2).astype(float) * 8
    limited = _limited(loud, rate, 1 << 20)
    assert len(limited) == len(loud)
    peaks = np.abs(resample_poly(limited, 16, 1, axis=0)).max() / 32768
    assert CEILING_DBTP - 0.3 < 20 * np.log10(peaks) < CEILING_DBTP + 0.2
    # In both channels alike, and never more than unity.
    gains = limited[np.abs(loud) > 1000] / loud[np.abs(loud) > 1000]
    assert gains.max() <= 1
    for block in (1, 79, 1000)[1:]:
        assert np.abs(_limited(loud, rate, block) - limited).max() < 1e-6


def test_what_does_not_clip_is_not_touched() -> None:
    quiet = _talk(8000).astype(float)
    assert np.array_equal(_limited(quiet, 8000, 777), quiet)


@pytest.mark.parametrize("channels", ["mono", "stereo", "caller"])
@pytest.mark.parametrize("by", ["mix", "leg"])
def test_a_call_is_brought_to_its_loudness(
    channels: Literal["mono", "stereo", "caller"], by: Literal["mix", "leg"]
) -> None:
    with callreplay.open(SAMPLE) as capture:
        call = capture.calls[0]
        mix = call.mix(channels, loudness=-23, loudness_by=by, limiter=True)
        rate = call.sample_rate_hz
        legs = [call.mix(side, loudness=-23) for side in ("caller", "called")]
    if by == "mix" or channels == "caller":
        meter = LoudnessMeter(rate, 2 if channels == "stereo" else 1)
        meter.write(mix)
        assert meter.result() == pytest.approx(-23, abs=0.2)
    elif channels == "stereo":
        assert np.abs(mix - np.stack(legs, axis=1).astype(int)).max() <= 1


def test_a_window_of_a_mastered_mix_is_a_slice() -> None:
    with callreplay.open(SAMPLE) as capture:
        call = capture.calls[0]
        rate = call.sample_rate_hz
        whole = call.mix("mono", limiter=True, loudness=-5)
        assert not np.array_equal(whole, call.mix("mono", loudness=-5))
        laws.windows_are_slices(
            whole,
            lambda a, b: call.mix("mono", start=a / rate, end=b / rate, limiter=True, loudness=-5),
            count=8,
        )


def test_clipping_is_counted_and_warned_of() -> None:
    with callreplay.open(SAMPLE) as capture:
        report = capture.calls[0].report()
    assert report["mix"] == {"clipped_samples": 0}
    assert not any("clips" in warning for warning in report["warnings"])


def _loud_leg(codes: list[int], seconds: int) -> NDArray[np.uint8]:
    """Mu-law octets that come again and again: 0x80 is 32124, 0x00 is -32124, 0x8f is 16764, 0xff is 0."""
    return np.resize(np.array(codes, np.uint8), seconds * 8000)


def _clipping_capture(path: Path) -> Path:
    """Two legs of three seconds: in each four samples two sums lie within int16, one above and one below it."""
    caller = _loud_leg([0x80, 0x00, 0x8F, 0xFF], 3)
    called = _loud_leg([0x8F, 0x00, 0xFF, 0xFF], 3)
    write_pcap(path, *(leg(3, side, payload=octets) for side, octets in enumerate((caller, called))))
    return path


def test_a_call_that_clips_says_how_often(tmp_path: Path) -> None:
    path = _clipping_capture(tmp_path / "loud.pcap")
    with callreplay.open(path) as capture:
        call = capture.calls[0]
        report = call.report()
        mix, apart = call.mix("mono"), call.mix("stereo")
        limited = call.mix("mono", limiter=True).astype(int)
    sums = apart.sum(axis=1, dtype=np.int32)
    assert sums[:4].tolist() == [32124 + 16764, -2 * 32124, 16764, 0]
    assert report["mix"] == {"clipped_samples": 12000}
    assert np.count_nonzero(np.abs(sums) > 32768) == 12000
    assert [warning for warning in report["warnings"] if "clips at 12000 samples" in warning]
    assert np.array_equal(mix, np.clip(sums, -32768, 32767))
    assert np.abs(limited).max() < 32768 * 10 ** (CEILING_DBTP / 20) + 1


def test_legs_apart_or_quiet_do_not_clip(tmp_path: Path) -> None:
    path = tmp_path / "quiet.pcap"
    half = _loud_leg([0x90, 0x10], 2)  # 15996 each: together just within int16
    write_pcap(path, *(leg(2, side, payload=half) for side in (0, 1)))
    with callreplay.open(path) as capture:
        call = capture.calls[0]
        assert np.abs(call.mix("mono").astype(int)).max() > 30000
        assert call.report()["mix"] == {"clipped_samples": 0}
