"""Calls in pieces: no longer than asked for, cut in pauses, whatever the blocks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import callreplay
from callreplay.audio.segments import Segment, Segmenter, segments_of
from callreplay.errors import ArgumentError

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
RATE = 8000


def _talk(stretches: list[tuple[float, float]], seconds: int, seed: int) -> NDArray[np.int16]:
    time_s = np.arange(seconds * RATE) / RATE
    level = np.zeros(len(time_s))
    for start, end in stretches:
        level[(time_s >= start) & (time_s < end)] = 1
    level *= 0.6 + 0.4 * np.sin(2 * np.pi * 5 * time_s)
    noise = np.random.default_rng(seed).normal(size=len(time_s))
    return np.clip(noise * level * 3000, -32768, 32767).astype(np.int16)


BOTH = np.stack(
    [
        _talk([(1, 3), (3.5, 9), (20, 44), (60, 60.8)], 66, 1),
        _talk([(10, 12), (30, 31), (50, 59.8), (60.2, 61)], 66, 2),
    ],
    axis=1,
)


def _pieces(block: int, *, apart: bool, seconds: float = 10.0) -> list[Segment]:
    segmenter = Segmenter(RATE, 2, seconds, apart=apart)
    blocks = (BOTH[at : at + block] for at in range(0, len(BOTH), block))
    found = list(segments_of(blocks, segmenter))
    return sorted(found, key=lambda piece: (piece.channel or 0, piece.start_s))


@pytest.mark.parametrize("apart", [True, False])
def test_pieces_hold_all_talk_once_and_are_cut_in_pauses(apart: bool) -> None:
    pieces = _pieces(len(BOTH), apart=apart)
    for channel in (0, 1) if apart else (None,):
        mine = [piece for piece in pieces if piece.channel == channel]
        # Every sample of talk is in one piece, and none in two.
        held = np.zeros(len(BOTH), int)
        for piece in mine:
            begin = round(piece.start_s * RATE)
            held[begin : begin + len(piece.pcm)] += 1
            source = BOTH[begin : begin + len(piece.pcm)]
            assert np.array_equal(piece.pcm, source if channel is None else source[:, channel])
            assert 0 < piece.duration_s <= 10.0
        assert held.max() == 1
        sound = BOTH[:, channel] if channel is not None else np.abs(BOTH.astype(int)).sum(axis=1)
        loud = np.abs(sound) > 1000
        assert held[loud].all()
    # A pause in which a piece can end: the first stretches of the caller are one piece, not two of other lengths.
    first = min(pieces, key=lambda piece: piece.start_s)
    assert (first.start_s, first.end_s) == pytest.approx((0.8, 9.15), abs=0.1)
    assert (first.talk[0][0].start_s, first.talk[0][0].end_s) == pytest.approx((0.2, 2.2), abs=0.1)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("block", [997, 8000, 64000])
def test_where_blocks_are_cut_changes_no_piece(block: int, apart: bool) -> None:
    def law(pieces: list[Segment]) -> list[tuple[int | None, float, bytes]]:
        return [(piece.channel, piece.start_s, piece.pcm.tobytes()) for piece in pieces]

    assert law(_pieces(block, apart=apart)) == law(_pieces(len(BOTH), apart=apart))


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("apart", [True, False])
def test_talk_is_heard_at_the_rate_that_audio_had(apart: bool, step: int) -> None:
    """The same pieces as of the audio before it was resampled, wherever blocks are cut."""
    high = np.repeat(BOTH[: 20 * RATE], step, axis=0)

    def law(block: int, pcm: Any, rate: int, heard_hz: int) -> list[tuple[Any, ...]]:
        segmenter = Segmenter(rate, 2, 10.0, apart=apart, heard_hz=heard_hz)
        blocks = (pcm[at : at + block] for at in range(0, len(pcm), block))
        found = sorted(segments_of(blocks, segmenter), key=lambda each: (each.channel or 0, each.start_s))
        return [(each.channel, each.start_s, each.duration_s, each.talk) for each in found]

    want = law(len(BOTH), BOTH[: 20 * RATE], RATE, 0)
    assert len(want) > 1
    for block in (len(high), 8000, 997):
        assert law(block, high, step * RATE, RATE) == want
    few = law(1, high[: 3 * RATE + 1], step * RATE, RATE)
    assert few == law(len(high), high[: 3 * RATE + 1], step * RATE, RATE)
    # A rate that does not divide the other is not heard at.
    assert law(997, high, step * RATE, 11025) == law(997, high, step * RATE, 0)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_talk_pieces_end(seed: int) -> None:
    """Every law at once, on random talk: lengths, order, no overlap, and an end."""
    dice = np.random.default_rng(seed)
    edges = np.sort(dice.uniform(0, 58, 2 * int(dice.integers(1, 25))))
    pcm = _talk([(float(a), float(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)], 60, seed)
    longest = float(dice.uniform(1, 12))
    segmenter = Segmenter(RATE, 1, longest, pause_s=float(dice.choice([0, 0.2, 1.0, 3.0])))
    block = int(dice.integers(500, 90_000))
    pieces = list(segments_of((pcm[at : at + block] for at in range(0, len(pcm), block)), segmenter))
    ends = 0.0
    for piece in pieces:
        assert piece.start_s >= ends - 1e-9
        assert piece.duration_s <= longest + 1e-9
        ends = piece.end_s


def test_bad_arguments() -> None:
    for arguments in ((7999, 1, 30.0), (8000, 1, 0.5), (8000, 1, float("nan")), (8000, 1, 4000.0)):
        with pytest.raises(ArgumentError):
            Segmenter(*arguments)
    with pytest.raises(ArgumentError, match="2 channels"):
        Segmenter(8000, 2).write(np.zeros(10, np.int16))


def test_segments_of_a_call() -> None:
    call = callreplay.open(SAMPLES / "reservation.pcap")[0]
    apart = list(call.segments(6.0))
    assert {piece.channel for piece in apart} == {0, 1}
    assert all(piece.rate_hz == 16000 and piece.duration_s <= 6 for piece in apart)
    caller = call.mix("caller", rate=16000)
    for piece in apart:
        if piece.channel == 0:
            first = round(piece.start_s * 16000)
            assert np.array_equal(piece.pcm, caller[first : first + len(piece.pcm)])
    floats = list(call.segments(6.0, "stereo", dtype="float32", rate=8000))
    assert all(piece.pcm.dtype == np.float32 and piece.pcm.shape[1] == 2 for piece in floats)
    assert len(list(call.segments(6.0, "called"))) == sum(piece.channel == 1 for piece in apart)
