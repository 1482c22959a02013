"""Decoding many legs is decoding each, whatever the grouping."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from callreplay import _core
from callreplay.codecs import STATIC, Codec
from callreplay.decode import ChunkKind, Conveyor, decode_leg, decode_many, leg_samples
from callreplay.errors import ArgumentError, BoundsError
from callreplay.mix import Renderer
from callreplay.model import GapReason, LegColumns, PacketFlag, Span
from tests import laws

L16 = Codec("L16", 8000, 8000)
CODECS = (STATIC[0], STATIC[8], L16, STATIC[9], STATIC[18])


def span(codec: Codec, first: int, stop: int, end_tick: int, anchor_ns: int = 10**18) -> Span:
    return Span(codec, first, stop, 7, 0, 0, anchor_ns, end_tick)


def eventful(codec: Codec, seed: int, packets: int = 40) -> LegColumns:
    """A leg with losses, DTX, comfort noise (SID frames for G.729) and packets of several lengths."""
    dice = random.Random(seed)
    rows: list[tuple[int, int, bytes, int]] = []
    gaps: list[tuple[int, int, int, int, int]] = []
    tick = number = 0
    for _ in range(packets):
        frames = dice.randint(1, 4)
        sid = codec.name == "G729" and dice.random() < 0.1
        octets = {"G729": 10 * frames + 2 * sid, "L16": 160 * frames}.get(codec.name, 80 * frames)
        ticks = 80 * (frames + sid)
        what = dice.random()
        number += 1
        if what < 0.1:
            gaps.append((0, tick, ticks, 1, GapReason.LOST))
            tick += ticks
            continue
        if what < 0.16 and codec.name != "G729":
            rows.append((tick, number, bytes([40, 100, 200]), PacketFlag.NOISE))
            number += 1
        if what < 0.2:
            gaps.append((0, tick, 1600, 0, GapReason.SILENCE))
            tick += 1600
        rows.append((tick, number, dice.randbytes(octets), 0))
        tick += ticks
    return laws.make_leg(rows, [span(codec, 0, len(rows), tick)], gaps)


def many(count: int) -> list[LegColumns]:
    return [eventful(CODECS[i % len(CODECS)], i, 5 + i * 7 % 40) for i in range(count)]


def plain(
    payload: bytes, lost: set[int], reason: GapReason, packets: int, codec: Codec = STATIC[0]
) -> LegColumns:
    kept = [i for i in range(packets) if i not in lost]
    rows = [(i * 160, i if reason is GapReason.LOST else k, payload, 0) for k, i in enumerate(kept)]
    gaps = [(0, min(lost) * 160, len(lost) * 160, len(lost), reason)]
    return laws.make_leg(rows, [span(codec, 0, len(rows), packets * 160)], gaps)


@pytest.mark.parametrize(("width", "block_ms"), [(1, 20), (7, 60), (64, 200), (1024, 1000)])
def test_many_legs_are_decoded_as_each_alone(width: int, block_ms: int) -> None:
    legs = many(200)
    alone = [decode_leg(leg) for leg in legs]
    order = random.Random(width).sample(range(len(legs)), len(legs))
    outs = [np.empty(leg_samples(legs[i]), np.int16) for i in order]
    together = decode_many([legs[i] for i in order], outs, width=width, block_ms=block_ms)
    for i, pcm in zip(order, together, strict=True):
        assert np.array_equal(pcm, alone[i]), i


@pytest.mark.parametrize(("width", "block_ms"), [(3, 20), (200, 500)])
def test_chunks_make_up_the_leg(width: int, block_ms: int) -> None:
    legs = many(100)
    filled = [np.zeros(leg_samples(leg), np.int16) for leg in legs]
    reached = [0] * len(legs)
    for chunk in decode_many(legs, width=width, block_ms=block_ms):
        assert chunk.first_sample >= reached[chunk.leg]
        reached[chunk.leg] = chunk.first_sample + len(chunk.pcm)
        filled[chunk.leg][chunk.first_sample : reached[chunk.leg]] = chunk.pcm
    for leg, pcm in zip(legs, filled, strict=True):
        assert np.array_equal(pcm, decode_leg(leg))


def test_occupancy_is_reported() -> None:
    conveyor = Conveyor([eventful(STATIC[18], i) for i in range(64)])
    for _ in conveyor:
        pass
    occupancy = conveyor.occupancy
    if _core.isa_active() == "scalar":
        assert occupancy["scalar_rounds"] > 0
    else:
        assert 0 < occupancy["lane_used"] <= occupancy["lane_slots"]
        assert occupancy["lane_used"] > 0.5 * occupancy["lane_slots"]


def test_counts_tell_every_sample() -> None:
    leg = plain(b"\x30" * 160, {10}, GapReason.LOST, 50)
    conveyor = Conveyor([leg])
    kinds = dict.fromkeys(ChunkKind, 0)
    for chunk in conveyor:
        kinds[chunk.kind] += len(chunk.pcm)
    counts = conveyor.counts(0)
    assert (counts.decoded_samples, counts.concealed_samples, counts.noise_samples) == (49 * 160, 160, 0)
    assert list(kinds.values()) == [49 * 160, 160, 0]


def test_concealment_then_silence_after_60_ms() -> None:
    tone = (8000 * np.sin(2 * np.pi * 200 * np.arange(160) / 8000)).astype(">i2").tobytes()
    pcm = decode_leg(plain(tone, set(range(20, 40)), GapReason.LOST, 60, L16))
    start = 20 * 160
    assert pcm[start : start + 160].any()
    assert not pcm[start + 480 : 40 * 160].any()
    # the tail of the silence ends where the next packet begins, perhaps under a fade
    assert pcm[41 * 160 :].any()


@pytest.mark.parametrize("reason", [GapReason.SILENCE, GapReason.HOLD])
def test_gaps_that_are_no_loss_keep_the_time(reason: GapReason) -> None:
    payload = bytes(random.Random(4).randbytes(160))
    pcm = decode_leg(plain(payload, set(range(20, 120)), reason, 140))
    sound = decode_leg(plain(payload, {0}, reason, 2))[160:]
    assert len(pcm) == 140 * 160
    assert not pcm[20 * 160 + 480 : 120 * 160].any()
    assert np.array_equal(pcm[139 * 160 :], sound)


@pytest.mark.parametrize("level", [20, 40, 60])
def test_comfort_noise_has_the_level_announced(level: int) -> None:
    """RFC 3389 clause 3: the octet is the level in -dBov; 0 dBov is the overload of the codec's square wave."""
    rows = [(0, 0, b"\xff" * 160, 0), (160, 1, bytes([level]), PacketFlag.NOISE)]
    gaps = [(0, 320, 80000, 0, GapReason.SILENCE)]
    leg = laws.make_leg(rows, [span(STATIC[0], 0, 2, 80320)], gaps)
    noise = decode_leg(leg)[8000:72000].astype(float)
    dbov = 10 * np.log10((noise**2).mean() / 32124.0**2)
    assert dbov == pytest.approx(-level, abs=1)


def test_out_is_what_is_returned() -> None:
    for codec in CODECS:
        leg = eventful(codec, 5)
        laws.out_equals_returned(lambda out, leg=leg: decode_leg(leg, out))  # type: ignore[misc]


def test_blocks_of_any_length_are_the_whole() -> None:
    for codec in CODECS:
        leg = eventful(codec, 6, 12)

        def blocks(size: int, leg: LegColumns = leg) -> list[NDArray[np.int16]]:
            options = {"channels": "mono", "dtmf": "keep", "correct_drift": False}
            return list(Renderer([leg], None, block_frames=size, **options))  # type: ignore[arg-type]

        laws.streamed_equals_one_shot(decode_leg(leg), blocks, 160 if codec.name == "G722" else 80)


def test_the_same_leg_gives_the_same_samples() -> None:
    for codec in CODECS:
        leg = eventful(codec, 8)
        laws.same_bytes_twice(lambda leg=leg: decode_leg(leg))  # type: ignore[misc]


def test_lanes_equal_scalar() -> None:
    laws.lanes_equal_scalar(
        "import hashlib, numpy as np\n"
        "from callreplay.decode import decode_many, leg_samples\n"
        "from tests.test_decode import many\n"
        "legs = many(80)\n"
        "digest = hashlib.sha256()\n"
        "for pcm in decode_many(legs, [np.empty(leg_samples(leg), np.int16) for leg in legs]):\n"
        "    digest.update(pcm)\n"
        "print(digest.hexdigest())\n"
    )


def test_the_gil_is_released() -> None:
    leg = eventful(STATIC[18], 9, 4000)
    laws.gil_is_released(lambda: decode_leg(leg))


def _outside(leg: LegColumns) -> None:
    leg.offset = leg.offset.copy()
    leg.offset[3] = len(leg.data) - 1


def _wrong_type(leg: LegColumns) -> None:
    leg.timestamp = leg.timestamp.astype(np.int32)


def _short_column(leg: LegColumns) -> None:
    leg.size = leg.size[:-1]


def _backwards(leg: LegColumns) -> None:
    leg.timestamp = leg.timestamp - 10**9


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (_outside, BoundsError, "row 3"),
        (_wrong_type, ArgumentError, "timestamp"),
        (_short_column, ArgumentError, "differ in length"),
        (_backwards, ArgumentError, "row"),
    ],
)
def test_bad_columns_are_refused(
    spoil: Callable[[LegColumns], None], error: type[Exception], words: str
) -> None:
    leg = eventful(STATIC[0], 1)
    spoil(leg)
    with pytest.raises(error, match=words):
        decode_leg(leg)


def test_too_little_room_is_refused() -> None:
    leg = eventful(STATIC[0], 1)
    with pytest.raises(ArgumentError, match="too few"):
        decode_leg(leg, np.empty(10, np.int16))
    with pytest.raises(ArgumentError, match="too few"):
        decode_many([leg], [np.empty(10, np.int16)])
