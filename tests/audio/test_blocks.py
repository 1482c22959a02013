"""PCM as programs ask for it: types, arrays of theirs, blocks, one timeline."""

import asyncio
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import callreplay
from callreplay.errors import ArgumentError

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
CAPTURES = ("reservation.pcap", "support.pcap", "wideband.pcapng")


@pytest.fixture(params=CAPTURES)
def call(request: pytest.FixtureRequest) -> callreplay.Call:
    with callreplay.open(SAMPLES / str(request.param)) as capture:
        return capture[0]


@pytest.mark.parametrize(
    ("channels", "rate"), [("stereo", 0), ("mono", 16000), ("caller", 48000), ("called", 11025)]
)
def test_floats_are_the_integers_over_32768(call: callreplay.Call, channels: Any, rate: int) -> None:
    whole = call.mix(channels, rate)
    floats = call.mix(channels, rate, dtype="float32")
    assert floats.dtype == np.float32
    assert np.array_equal(floats, whole / np.float32(32768))
    assert np.abs(floats).max() <= 1


@pytest.mark.parametrize("dtype", ["int16", "float32", np.int16, np.float32, np.dtype("float32")])
def test_out_is_filled_and_handed_back(call: callreplay.Call, dtype: Any) -> None:
    want = call.mix(dtype=dtype)
    out = np.full((len(want) + 5, 2), 77, dtype)
    got = call.mix(dtype=dtype, out=out)
    assert got.base is out
    assert np.array_equal(got, want)
    assert (out[len(want) :] == 77).all()
    assert np.array_equal(
        call.caller.pcm(dtype=dtype, out=np.zeros(len(want), dtype), timeline=True),
        call.caller.pcm(dtype=dtype, timeline=True),
    )


def test_what_out_cannot_hold_is_refused(call: callreplay.Call) -> None:
    frames = len(call.mix("mono"))
    wrong: list[tuple[Any, str]] = [
        (np.zeros(frames - 1, np.int16), "too few"),
        (np.zeros(frames, np.float64), "dtype|array of"),
        (np.zeros((frames, 2), np.int16), "shape"),
        (np.zeros(2 * frames, np.int16)[::2], "contiguous"),
        (bytearray(2 * frames), "need an array"),
    ]
    for out, said in wrong:
        with pytest.raises(ArgumentError, match=said):
            call.mix("mono", out=out)
        with pytest.raises(ArgumentError, match=said):
            call.caller.pcm(out, timeline=True, rate=call.sample_rate_hz)
    loud: Any = "int24"
    with pytest.raises(ArgumentError, match="int16 or float32, not 'int24'"):
        call.mix(dtype=loud)


@pytest.mark.parametrize("seconds", [0.0001, 0.02, 0.333, 1.0, 7.0, 1e9])
def test_blocks_are_one_shot_cut_up(call: callreplay.Call, seconds: float) -> None:
    end = 0.01 if seconds < 0.001 else None
    for channels, dtype in product(("stereo", "mono"), ("int16", "float32")):
        arguments: dict[str, Any] = {"channels": channels, "dtype": dtype, "end": end}
        blocks = call.blocks(seconds, **arguments)
        want = call.mix(**arguments)
        number, made = len(blocks), list(blocks)
        assert len(made) == number
        assert np.array_equal(np.concatenate(made), want)
        assert {len(block) for block in made[:-1]} <= {blocks.frames_per_block}
        assert blocks.frames == len(want)


def test_blocks_reuse_an_array(call: callreplay.Call) -> None:
    out = np.zeros((call.sample_rate_hz, 2), np.float32)
    total = []
    for block in call.blocks(1.0, dtype="float32", out=out):
        assert block.base is out
        total.append(block.copy())
    assert np.array_equal(np.concatenate(total), call.mix(dtype="float32"))
    with pytest.raises(ArgumentError, match="too few"):
        call.blocks(1.1, dtype="float32", out=out)
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="seconds"):
            call.blocks(seconds)


def test_blocks_know_their_times(call: callreplay.Call) -> None:
    blocks = call.caller.blocks(0.5, rate=16000, start=1.0, end=3.0, timeline=True)
    starts = [blocks.start_s, *(blocks.start_s for _ in blocks)]
    assert starts == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert repr(blocks) == "<Blocks: 4 of 8000 frames, 1 channels of int16 at 16000 Hz>"


def test_blocks_for_asyncio(call: callreplay.Call) -> None:
    async def gather() -> list[Any]:
        return [block async for block in call.blocks(2.0, "mono", dtype="float32")]

    assert np.array_equal(np.concatenate(asyncio.run(gather())), call.mix("mono", dtype="float32"))


def test_a_leg_on_the_timeline_is_the_channel_of_the_mix(call: callreplay.Call) -> None:
    for leg, channels in ((call.caller, "caller"), (call.called, "called")):
        for rate, window in ((0, {}), (16000, {"start": 1.25, "end": 4.5}), (44100, {"start": 3.0})):
            on: dict[str, Any] = {"rate": rate or call.sample_rate_hz, **window}
            side: Any = channels
            assert np.array_equal(
                leg.pcm(timeline=True, dtmf="tone", **on), call.mix(side, dtmf="tone", **on)
            )


def test_a_leg_alone_begins_at_its_own_first_sample() -> None:
    from tests.captures import pcap, rtp, udp

    start, records = 1_700_000_000_000_000_000, []
    for side, first in ((0, 0), (1, 50)):  # the called party is heard a second later
        ends = [("10.0.0.1", 4000), ("10.0.0.2", 5000)]
        for index in range(first, 150):
            packet = rtp(index, index * 160, 7 + side, 0, bytes([index + 1]) * 160)
            records.append((start + index * 20_000_000, udp(*ends[side], *ends[1 - side], packet)))
    with callreplay.open(pcap(sorted(records))) as capture:
        (call,) = capture
    leg = call.called
    assert (leg.offset_s, len(leg.pcm()), len(leg.pcm(timeline=True))) == (1.0, 16000, 24000)
    assert not leg.pcm(timeline=True)[:8000].any()
    assert np.array_equal(leg.pcm(timeline=True)[8000:], leg.pcm())
    assert np.array_equal(leg.pcm(start=0.5, end=1.0), leg.pcm()[4000:8000])


def test_an_empty_leg_is_silence_of_the_call_s_length() -> None:
    from tests.captures import pcap, rtp, udp

    start = 1_700_000_000_000_000_000
    one_way = pcap(
        (start + index * 20_000_000, udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(index, index * 160, 1)))
        for index in range(50)
    )
    call = callreplay.open(one_way)[0]
    assert call.called.empty
    assert call.called.pcm(timeline=True, dtype="float32").tolist() == [0.0] * 8000
    assert len(call.called.pcm()) == 0


def test_arrays_travel_by_buffer_and_dlpack(call: callreplay.Call) -> None:
    pcm = call.mix(dtype="float32")
    assert np.array_equal(np.from_dlpack(pcm), pcm)
    buffer: Any = pcm
    assert memoryview(buffer).nbytes == pcm.nbytes
