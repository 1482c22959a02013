"""Placement, resampling, drift, saturation, windows and tones, measured on the output."""

import numpy as np
import pytest
from numpy.typing import NDArray

from callreplay.codecs import Codec
from callreplay.errors import ArgumentError
from callreplay.mix import Renderer, RenderGroup, default_rate_hz
from callreplay.model import Event, LegColumns, Span
from tests import laws

BASE = 1_700_000_000_000_000_000
MS = 1_000_000
DTMF_HZ = {"1": (697, 1209), "5": (770, 1336), "9": (852, 1477), "0": (941, 1336), "*": (941, 1209),
           "#": (941, 1477), "A": (697, 1633), "D": (941, 1633)}  # fmt: skip


def l16(pcm: NDArray[np.int16], rate: int = 8000, anchor_ms: float = 0, drift_ppm: float = 0) -> LegColumns:
    """A leg that sounds exactly as ``pcm``, in packets of 20 ms."""
    step = rate // 50
    rows = [(i, i // step, pcm[i : i + step].astype(">i2").tobytes(), 0) for i in range(0, len(pcm), step)]
    codec = Codec("L16", rate, rate)
    anchor = BASE + round(anchor_ms * MS)
    return laws.make_leg(rows, [Span(codec, 0, len(rows), 1, 0, 96, anchor, len(pcm), drift_ppm)])


def render(*legs: LegColumns | None, rate: int | None = None, **options: object) -> NDArray[np.int16]:
    renderer = Renderer(legs, rate, **options)  # type: ignore[arg-type]
    return renderer.read(renderer.frames)


def noise(count: int, seed: int = 1, scale: int = 8000) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-scale, scale, count).astype(np.int16)


def sine(hz: float, count: int, rate: int, amplitude: float = 10000) -> NDArray[np.int16]:
    return np.round(amplitude * np.sin(2 * np.pi * hz * np.arange(count) / rate)).astype(np.int16)


def amplitude(pcm: NDArray[np.int16], hz: float, rate: int) -> float:
    """Amplitude of the tone at ``hz`` under a Blackman window."""
    window = np.blackman(len(pcm))
    turn = np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / rate)
    return float(2 * abs((pcm * window * turn).sum()) / window.sum())


def impulse(at: int, count: int = 8000) -> NDArray[np.int16]:
    pcm = np.zeros(count, np.int16)
    pcm[at] = 20000
    return pcm


@pytest.mark.parametrize(("anchor_ms", "at"), [(0, 0), (0, 4001), (125, 7), (12.5, 7999)])
def test_impulses_stand_at_their_sample(anchor_ms: float, at: int) -> None:
    mixed = render(l16(impulse(at), anchor_ms=anchor_ms), origin_ns=BASE)
    assert np.flatnonzero(mixed).tolist() == [at + round(anchor_ms * 8)]


def test_impulses_stand_at_their_time_after_resampling() -> None:
    mixed = render(l16(impulse(4000), anchor_ms=100), rate=16000, origin_ns=BASE)
    assert int(np.argmax(np.abs(mixed))) == 2 * (4000 + 800)


@pytest.mark.parametrize("drift_ppm", [-300.0, 50.0, 300.0])
def test_drift_is_corrected(drift_ppm: float) -> None:
    """Tick t stands at t / rate / (1 + drift)."""
    count = 8000 * 60
    mixed = render(l16(impulse(count - 4000, count), drift_ppm=drift_ppm))
    expected = (count - 4000) / (1 + drift_ppm * 1e-6)
    assert abs(int(np.argmax(np.abs(mixed))) - expected) <= 1
    assert len(mixed) == pytest.approx(count / (1 + drift_ppm * 1e-6), abs=1)
    uncorrected = render(l16(impulse(count - 4000, count), drift_ppm=drift_ppm), correct_drift=False)
    assert int(np.argmax(np.abs(uncorrected))) == count - 4000


@pytest.mark.parametrize(("source", "target"), [(8000, 16000), (16000, 8000)])
def test_the_pass_band_is_flat(source: int, target: int) -> None:
    """Ripple below 0.1 dB to 3.4 kHz."""
    for hz in (100, 300, 1000, 2000, 3000, 3200, 3400):
        out = render(l16(sine(hz, source, source), source), rate=target)
        middle = out[target // 8 : -target // 8]
        assert abs(20 * np.log10(amplitude(middle, hz, target) / 10000)) < 0.1, hz


@pytest.mark.parametrize(("hz", "image"), [(1000, 7000), (3000, 5000), (3400, 4600)])
def test_images_are_80_db_down(hz: int, image: int) -> None:
    out = render(l16(sine(hz, 8000, 8000, 20000), 8000), rate=16000)[2000:-2000]
    assert 20 * np.log10(amplitude(out, image, 16000) / 20000) < -80


@pytest.mark.parametrize("hz", [4800, 5000, 6000, 7000, 7900])
def test_aliases_are_80_db_down(hz: int) -> None:
    out = render(l16(sine(hz, 16000, 16000, 20000), 16000), rate=8000)[1000:-1000]
    assert 20 * np.log10(max(amplitude(out, 8000 - hz, 8000), 1e-9) / 20000) < -80


def test_legs_are_added_and_saturated() -> None:
    one, two = noise(8000, 1, 32767), noise(8000, 2, 32767)
    total = one.astype(np.int32) + two
    assert (np.abs(total) > 32768).any()
    assert np.array_equal(render(l16(one), l16(two)), total.clip(-32768, 32767))
    assert np.array_equal(render(l16(one), l16(two), channels="stereo"), np.stack([one, two], 1))
    assert np.array_equal(render(l16(one), l16(two), channels="called"), two)


@pytest.mark.parametrize("rate", [8000, 16000, 11025])
@pytest.mark.parametrize(
    ("start", "end"), [(0.0, 0.4), (0.25, 0.5), (0.731, None), (0.9999, 1.0), (5.0, 6.0)]
)
def test_windows_are_slices(rate: int, start: float, end: float | None) -> None:
    legs = l16(noise(8000, 3)), l16(noise(8000, 4), anchor_ms=100)
    whole = render(*legs, rate=rate)
    stop = len(whole) if end is None else round(end * rate)
    part = render(*legs, rate=rate, start_s=start, end_s=end)
    assert np.array_equal(part, whole[round(start * rate) : stop])


def test_seeking_gives_the_same_samples() -> None:
    renderer = Renderer([l16(noise(8000, 5))], 16000)
    whole = renderer.read(renderer.frames)
    for frame in (9000, 10, 15999, 0):
        renderer.seek(frame)
        assert np.array_equal(renderer.read(500), whole[frame : frame + 500])
    with pytest.raises(ArgumentError, match="frame"):
        renderer.seek(renderer.frames + 1)


@pytest.mark.parametrize("digit", sorted(DTMF_HZ))
def test_digits_sound_at_their_frequencies(digit: str) -> None:
    event = Event(digit, BASE + 200 * MS, 400.0, -10)
    leg = l16(noise(8000, 6))
    tone = render(leg, dtmf="tone", events=[[event]])
    low, high = (amplitude(tone[1700:4700], hz, 8000) for hz in DTMF_HZ[digit])
    others = [amplitude(tone[1700:4700], hz, 8000) for hz in (697, 770, 852, 941, 1209, 1336, 1477, 1633)
              if hz not in DTMF_HZ[digit]]  # fmt: skip
    assert min(low, high) > 30 * max(others)
    assert 20 * np.log10(high / low) == pytest.approx(2, abs=0.3)
    muted = render(leg, dtmf="mute", events=[[event]])
    assert not muted[1600:4800].any()
    kept = render(leg, dtmf="keep", events=[[event]])
    assert np.array_equal(kept[:1600], muted[:1600])
    assert np.array_equal(kept[4800:], muted[4800:])
    assert kept[1600:4800].any()


def test_out_is_what_is_read() -> None:
    leg = l16(noise(8000, 7))

    def make(out: NDArray[np.int16] | None) -> NDArray[np.int16]:
        renderer = Renderer([leg], 16000)
        if out is None:
            return renderer.read(renderer.frames)
        return out[: renderer.read_into(out)]

    laws.out_equals_returned(make)
    laws.same_bytes_twice(lambda: make(None))
    laws.gil_is_released(lambda: render(l16(noise(800_000, 8)), rate=16000))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_blocks_of_any_length_are_the_whole(rate: int) -> None:
    legs = l16(noise(2000, 9)), l16(noise(1500, 10), anchor_ms=31)
    whole = render(*legs, rate=rate, channels="stereo")
    laws.streamed_equals_one_shot(
        whole, lambda size: list(Renderer(legs, rate, "stereo", block_frames=size)), rate // 50
    )


def test_groups_give_what_renderers_give() -> None:
    calls = [(l16(noise(1000 + 37 * i, i)), l16(noise(1500, 99 - i), anchor_ms=i)) for i in range(40)]
    group = RenderGroup()
    got: dict[int, list[NDArray[np.int16]]] = {group.add(legs, 16000, "stereo"): [] for legs in calls}
    for call, block, _ in group:
        got[call].append(block)
    for call, legs in enumerate(calls):
        assert np.array_equal(np.concatenate(got[call]), render(*legs, rate=16000, channels="stereo"))


def test_the_rate_follows_the_legs_and_bad_options_are_refused() -> None:
    leg = l16(noise(100, 1))
    assert default_rate_hz([leg, None]) == 8000
    assert default_rate_hz([leg, l16(noise(100, 1), 16000)]) == 16000
    for options, words in (
        ({"rate": 7999}, "rate_hz"),
        ({"channels": "left"}, "channels"),
        ({"dtmf": "loud"}, "dtmf"),
        ({"start_s": -1.0}, "start_s"),
        ({"start_s": float("nan")}, "start_s"),
        ({"block_frames": 0}, "block_frames"),
    ):
        with pytest.raises(ArgumentError, match=words):
            render(leg, **options)
