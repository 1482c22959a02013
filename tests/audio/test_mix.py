"""Placement, resampling and mixing, against arithmetic."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import laws

from callreplay.audio.mix import Renderer
from callreplay.codecs import parse_rtpmap
from callreplay.errors import ArgumentError
from callreplay.model import Event, LegColumns, Span

NS = 1_000_000_000


def linear(pcm: NDArray[np.int16], rate: int, anchor_ns: int = 0, drift_ppm: float = 0.0) -> LegColumns:
    """A leg whose decoded audio is exactly ``pcm``: L16 in packets of 20 ms."""
    codec = parse_rtpmap(f"L16/{rate}")
    step = rate // 50
    pcm = np.pad(pcm, (0, -len(pcm) % step))
    rows = len(pcm) // step
    index = np.arange(rows, dtype=np.int64)
    return LegColumns(
        pcm.astype(">i2").view(np.uint8), np.zeros(0, np.uint8), index * step * 2, np.full(rows, step * 2, np.uint16),
        index * step, index * 0, index, np.full(rows, 11, np.uint8), np.zeros(rows, np.uint8),
        [Span(codec, 0, rows, 1, 0, 11, anchor_ns + 10 * NS, len(pcm), drift_ppm)],
    )  # fmt: skip


def _tone(frequency: float, rate: int, seconds: float = 2.0, amplitude: float = 10000) -> NDArray[np.int16]:
    t = np.arange(int(rate * seconds)) / rate
    return np.rint(amplitude * np.sin(2 * np.pi * frequency * t)).astype(np.int16)


def _read(
    *legs: LegColumns | None, rate: int | None = None, channels: str = "mono", **more: object
) -> NDArray[np.int16]:
    renderer = Renderer(list(legs), rate, channels, **more)  # type: ignore[arg-type]
    return renderer.read(renderer.frames)


@pytest.mark.parametrize("delay_samples", [0, 1, 2, 79, 80, 81, 12345])
def test_impulses_stand_at_their_sample(delay_samples: int) -> None:
    click = np.zeros(1600, np.int16)
    click[100] = 30000
    late = linear(click, 8000, anchor_ns=delay_samples * NS // 8000)
    out = _read(linear(click, 8000), late, channels="stereo")
    assert np.flatnonzero(out[:, 0]).tolist() == [100]
    assert np.flatnonzero(out[:, 1]).tolist() == [100 + delay_samples]


def test_the_sum_is_exact_and_saturates() -> None:
    random = np.random.default_rng(1)
    one, other = (random.integers(-32768, 32768, 8000).astype(np.int16) for _ in range(2))
    out = _read(linear(one, 8000), linear(other, 8000))
    assert np.array_equal(out, (one.astype(np.int32) + other).clip(-32768, 32767))


@pytest.mark.parametrize(("source", "target"), [(8000, 16000), (16000, 8000), (8000, 48000), (8000, 11025)])
def test_the_passband_is_flat(source: int, target: int) -> None:
    for frequency in (100.0, 300.0, 1000.0, 2000.0, 3000.0, 3400.0):
        out = _read(linear(_tone(frequency, source), source), rate=target).astype(np.float64)
        middle = out[target // 2 : target * 3 // 2]
        t = np.arange(len(middle)) / target
        level = np.abs(np.mean(middle * np.exp(-2j * np.pi * frequency * t))) * 2 / 10000
        assert abs(20 * np.log10(level)) < 0.1, f"{frequency} Hz"


def test_the_stop_band_is_80_db_down() -> None:
    """8 to 16 kHz: no image above 4.6 kHz. 16 to 8 kHz: nothing folds back from above 4.6 kHz."""
    up = _read(linear(_tone(3400, 8000, amplitude=30000), 8000), rate=16000).astype(np.float64)
    window = np.blackman(16384)
    spectrum = np.abs(np.fft.rfft(up[4000 : 4000 + 16384] * window))
    image = spectrum[int(4600 / 16000 * 16384) - 40 : int(4600 / 16000 * 16384) + 40].max()
    assert 20 * np.log10(image / spectrum.max()) < -80
    for frequency in (4700.0, 5300.0, 6000.0, 7900.0):
        down = _read(linear(_tone(frequency, 16000, amplitude=30000), 16000), rate=8000).astype(np.float64)
        folded = np.sqrt(np.mean(down[2000:14000] ** 2)) / (30000 / np.sqrt(2))
        # Rounding to 16 bits alone leaves 0.29 of a step: -97 dB.
        assert 20 * np.log10(folded + 1e-12) < -80, f"{frequency} Hz"


@pytest.mark.parametrize("ppm", [-300.0, 15.0, 150.0, 2000.0])
def test_a_drifting_clock_is_put_right(ppm: float) -> None:
    """A click every second of the sender's clock stands at the true times, to a sample, to the end."""
    seconds = 60 if abs(ppm) > 20 else 600
    pcm = np.zeros(8000 * seconds, np.int16)
    pcm[4000::8000] = 30000
    out = _read(linear(pcm, 8000, drift_ppm=ppm))
    places = np.array([4000 + 8000 * k for k in range(seconds)]) / (1 + ppm * 1e-6)
    for place in places:
        near = out[int(place) - 40 : int(place) + 40].astype(np.int32)
        assert abs(int(np.argmax(near)) + int(place) - 40 - place) <= 1


def test_windows_are_slices() -> None:
    legs = linear(_tone(440, 8000), 8000), linear(_tone(700, 8000), 8000, anchor_ns=NS // 3)
    whole = _read(*legs, channels="stereo")
    for start, end in ((0.0, 0.5), (0.25, 1.75), (1.0, None), (2.2, 9.0)):
        part = _read(*legs, channels="stereo", start_s=start, end_s=end)
        assert np.array_equal(part, whole[round(start * 8000) : None if end is None else round(end * 8000)])


@pytest.mark.parametrize("ppm", [0.0, 150.0, -900.0, 3000.0])
def test_seeking_gives_the_same_samples(ppm: float) -> None:
    leg = linear(_tone(440, 8000, 4.0), 8000, drift_ppm=ppm)
    whole = _read(leg, rate=16000)
    renderer = Renderer([leg], 16000)
    for place in (0, 1, 12345, 40000, 100, len(whole)):
        renderer.seek(place)
        assert np.array_equal(renderer.read(500), whole[place : place + 500])


def test_a_long_call_begins_with_a_short_block() -> None:
    legs = [linear(np.arange(700_000, dtype=np.int16), 8000)]
    blocks = list(Renderer(legs, 8000))
    assert [len(block) for block in blocks] == [65536, 524_288, 700_000 - 589_824]
    assert np.array_equal(np.concatenate(blocks), _read(*legs))
    assert [len(block) for block in Renderer(legs, 8000, end_s=60.0)] == [480_000]


def test_streaming_law() -> None:
    legs = [linear(_tone(440, 8000), 8000), linear(_tone(700, 16000), 16000)]
    whole = _read(*legs, channels="stereo")
    laws.streamed_equals_one_shot(
        whole, lambda block: list(Renderer(legs, None, "stereo", block_frames=block))
    )


@pytest.mark.parametrize(
    ("digit", "low", "high"), [("1", 697, 1209), ("5", 770, 1336), ("#", 941, 1477), ("D", 941, 1633)]
)
def test_digits_sound_by_their_two_tones(digit: str, low: int, high: int) -> None:
    leg = linear(_tone(440, 8000), 8000)
    events = [[Event(digit, 10 * NS + NS // 2, 400.0, 10)]]
    out = _read(leg, dtmf="tone", events=events)
    inside = out[4080:7120].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(inside * np.hanning(len(inside)), 8000))
    peaks = [int(np.argmax(spectrum[:1075])), 1075 + int(np.argmax(spectrum[1075:]))]
    assert abs(peaks[0] - low) <= 3
    assert abs(peaks[1] - high) <= 3
    assert spectrum[440] < spectrum.max() / 100
    muted = _read(leg, dtmf="mute", events=events)
    assert not muted[4080:7120].any()
    kept = _read(leg, dtmf="keep", events=events)
    assert np.array_equal(kept, _read(leg))
    assert np.array_equal(out[:3900], kept[:3900])


def test_wrong_arguments_are_refused() -> None:
    leg = linear(_tone(440, 8000), 8000)
    for wrong in ({"channels": "left"}, {"rate": 100}, {"rate": 96000}, {"dtmf": "loud"}, {"start_s": -1.0}):
        with pytest.raises(ArgumentError):
            _read(leg, **wrong)
    with pytest.raises(ArgumentError, match="two legs"):
        _read(leg, leg, leg, channels="stereo")


def test_empty_legs_render_to_nothing() -> None:
    assert _read(None, None).shape == (0,)
    assert _read(linear(_tone(440, 8000), 8000), None, channels="stereo")[:, 1].any() == np.False_
