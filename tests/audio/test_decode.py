"""The conveyor from Python: any number of legs, any mix, one truth."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import laws

from callreplay import _core
from callreplay.audio.decode import ChunkKind, Conveyor, decode_leg, decode_many, leg_samples
from callreplay.audio.external import undecodable
from callreplay.audio.legs import Concealment, native_leg
from callreplay.audio.mix import Renderer, RenderGroup
from callreplay.codecs import BY_NAME, STATIC, Codec, parse_rtpmap, payload_octets
from callreplay.errors import ArgumentError, BoundsError
from callreplay.model import GAP_DTYPE, GapReason, LegColumns, PacketFlag, Span

Pcm = NDArray[np.int16]
L16 = parse_rtpmap("L16/8000")
G726_40 = parse_rtpmap("G726-40/8000")
AAL2_24 = parse_rtpmap("AAL2-G726-24/8000")
CODECS = [STATIC[0], STATIC[8], STATIC[9], STATIC[18], L16, STATIC[2], G726_40, AAL2_24]


def made_leg(codec: Codec, packets: int, seed: int, *, loss: float = 0.05) -> LegColumns:
    """A leg of random payloads with losses, pauses, and for G.729 packets of 1 to 4 frames with SIDs."""
    dice = np.random.default_rng((seed, packets))
    sizes, stamps, kept, gaps = [], [], [], []
    tick = 0
    for index in range(packets):
        if codec.name == "G729":
            frames = int(dice.integers(1, 5))
            sid = dice.random() < 0.1
            size, ticks = 10 * frames + 2 * sid, 80 * (frames + sid)
        else:
            ticks = int(dice.choice([80, 160, 240]))
            size = payload_octets(codec, ticks)
        if index and dice.random() < loss:
            gaps.append((0, tick, ticks, 1, GapReason.LOST))
        else:
            sizes.append(size)
            stamps.append(tick)
            kept.append(index)
        tick += ticks
        if dice.random() < 0.02:
            gaps.append((0, tick, 1600, 0, GapReason.SILENCE))
            tick += 1600
    size_column = np.array(sizes, np.uint16)
    offset = np.concatenate([[0], np.cumsum(size_column.astype(np.int64))[:-1]]).astype(np.int64)
    data = dice.integers(0, 256, int(size_column.sum()), dtype=np.uint8)
    rows = len(sizes)
    span = Span(codec, 0, rows, 7, 0, 96, 1_000_000_000, tick)
    return LegColumns(
        data, np.zeros(0, np.uint8), offset, size_column, np.array(stamps, np.int64), np.zeros(rows, np.int64),
        np.array(kept, np.int64), np.full(rows, 96, np.uint8), np.zeros(rows, np.uint8), [span],
        np.array(gaps, GAP_DTYPE),
    )  # fmt: skip


def _legs(count: int) -> list[LegColumns]:
    return [made_leg(CODECS[i % len(CODECS)], 5 + (i * 37) % 90, i) for i in range(count)]


def _joined(legs: list[LegColumns], width: int, block_ms: int) -> list[NDArray[np.int64]]:
    """Of each leg's samples, from chunks: rows of span, sample, value and kind."""
    found: list[list[NDArray[np.int64]]] = [[] for _ in legs]
    for chunk in decode_many(legs, width=width, block_ms=block_ms):
        rows = np.empty((len(chunk.pcm), 4), np.int64)
        rows[:, 0], rows[:, 3] = chunk.span, chunk.kind
        rows[:, 1] = np.arange(chunk.first_sample, chunk.first_sample + len(chunk.pcm))
        rows[:, 2] = chunk.pcm
        found[chunk.leg].append(rows)
    joined = [np.concatenate([np.empty((0, 4), np.int64), *parts]) for parts in found]
    joined = [rows[np.lexsort((rows[:, 1], rows[:, 0]))] for rows in joined]
    for rows in joined:
        assert not (rows[1:, :2] == rows[:-1, :2]).all(axis=1).any(), "a sample came twice"
    return joined


def test_the_grouping_never_changes_a_sample() -> None:
    """The law of the conveyor, over codecs, lengths, widths, block lengths and orders."""
    legs = _legs(60)
    alone = [_joined([leg], 1, 500)[0] for leg in legs]
    assert all(len(rows) for rows in alone)
    for width, block_ms in ((2, 20), (7, 120), (64, 200), (1000, 1000)):
        assert all(map(np.array_equal, _joined(legs, width, block_ms), alone))
    order = np.random.default_rng(1).permutation(len(legs))
    shuffled = _joined([legs[i] for i in order], 16, 100)
    assert all(np.array_equal(rows, alone[i]) for rows, i in zip(shuffled, order, strict=True))


def test_hundreds_of_legs_into_arrays() -> None:
    legs = _legs(400)
    out = [np.zeros(leg_samples(leg) + 3, np.int16) for leg in legs]
    filled = decode_many(legs, out, width=128)
    for leg, array in zip(legs, filled, strict=True):
        assert np.array_equal(array, decode_leg(leg))


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_laws_of_decoding(codec: Codec) -> None:
    leg = made_leg(codec, 120, 3)
    whole = decode_leg(leg)
    assert len(whole) == leg_samples(leg)
    laws.out_equals_returned(lambda out: decode_leg(leg, out))
    laws.same_bytes_twice(lambda: decode_leg(leg).tobytes())

    def stream(block: int) -> list[Pcm]:
        return list(
            Renderer([leg], codec.sample_rate_hz, block_frames=block, dtmf="keep", correct_drift=False)
        )

    laws.streamed_equals_one_shot(whole, stream)


CONCEALMENTS: list[tuple[Codec, Concealment]] = [
    *((codec, "exact") for codec in CODECS),
    (STATIC[18], "best"),
]


@pytest.mark.parametrize("loss", [0.03, 0.2])
@pytest.mark.parametrize(("codec", "concealment"), CONCEALMENTS, ids=str)
def test_a_window_is_a_slice_with_losses_too(codec: Codec, concealment: Concealment, loss: float) -> None:
    leg = made_leg(codec, 1500, 9, loss=loss)
    whole = decode_leg(leg, concealment=concealment)
    renderer = Renderer(
        [leg], codec.sample_rate_hz, dtmf="keep", correct_drift=False, concealment=concealment
    )

    def window(start: int, stop: int) -> Pcm:
        renderer.seek(start)
        return renderer.read(stop - start)

    laws.windows_are_slices(whole, window)
    ended = Renderer(
        [leg], codec.sample_rate_hz, "mono", 1.0, 2.5,
        dtmf="keep", correct_drift=False, concealment=concealment,
    )  # fmt: skip
    assert np.array_equal(
        ended.read(ended.frames), whole[codec.sample_rate_hz : codec.sample_rate_hz * 5 // 2]
    )


@pytest.mark.parametrize("concealment", ["exact", "best"])
@pytest.mark.parametrize(("rate", "start"), [(8000, 0.0), (8000, 11.3), (16000, 3.0)])
def test_long_rounds_of_g729_cut_into_pieces_sound_as_short_ones(
    rate: int, start: float, concealment: Concealment
) -> None:
    """Which rounds a renderer takes by itself, beside those that are too short to be cut."""
    legs = [made_leg(STATIC[18], 1500, 3, loss=0.02), made_leg(STATIC[18], 1200, 4, loss=0.0)]

    def pcm(block_ms: int | None) -> Pcm:
        renderer = Renderer(
            legs, rate, "stereo", start, block_frames=30_000, block_ms=block_ms, concealment=concealment
        )
        return np.concatenate(list(renderer))

    assert np.array_equal(pcm(None), pcm(500))


def _talk_with_lost_sids(seed: int, *, loss: float) -> LegColumns:
    """G.729: one pause with its SIDs, then talk of many seconds with pauses whose SIDs were all lost."""
    dice = np.random.default_rng(seed)
    rows: list[tuple[int, int, bytes, int]] = []
    gaps: list[tuple[int, int, int, int, int]] = []
    tick = number = 0

    def lose(packets: int) -> None:
        nonlocal tick, number
        gaps.append((0, tick, 160 * packets, packets, GapReason.LOST))
        tick, number = tick + 160 * packets, number + packets

    def pause(ticks: int) -> None:
        nonlocal tick
        gaps.append((0, tick, ticks, 0, GapReason.SILENCE))
        tick += ticks

    for turn in range(5):
        for packet in range(60 if turn == 0 else int(dice.integers(170, 260))):
            if packet > 0 and dice.random() < loss:
                lose(1)
                continue
            rows.append((tick, number, dice.bytes(20), 0))
            tick, number = tick + 160, number + 1
        if turn == 0:
            for _ in range(2):
                rows.append((tick, number, dice.bytes(2), 0))
                tick, number = tick + 80, number + 1
                pause(800)
        else:
            lose(int(dice.integers(1, 3)))
            pause(int(dice.integers(1600, 4000)))
    return laws.make_leg(rows, [Span(STATIC[18], 0, len(rows), 7, 0, 18, 1_000_000_000, tick)], gaps)


@pytest.mark.parametrize("loss", [0.0, 0.1])
@pytest.mark.parametrize("concealment", ["exact", "best"])
def test_a_window_knows_the_last_sid_however_long_ago_it_came(concealment: Concealment, loss: float) -> None:
    leg = _talk_with_lost_sids(4, loss=loss)
    whole = decode_leg(leg, concealment=concealment)
    chunks = [c for c in decode_many([leg], concealment=concealment) if c.kind == ChunkKind.NOISE]
    later = sum(len(c.pcm) for c in chunks if c.first_sample > 16000)
    assert later > 6000  # the pauses without a SID are noise
    renderer = Renderer([leg], 8000, dtmf="keep", correct_drift=False, concealment=concealment)
    for chunk in chunks:
        for start in (chunk.first_sample - 400, chunk.first_sample + 100):
            renderer.seek(max(start, 0))
            part = renderer.read(1200)
            assert np.array_equal(part, whole[max(start, 0) :][: len(part)]), f"from {start} on"


def test_the_grouping_never_changes_a_sample_of_bridged_frames() -> None:
    legs = [made_leg(STATIC[18], 20 + 7 * i, i, loss=0.15) for i in range(40)]
    alone = [decode_leg(leg, concealment="best") for leg in legs]
    assert any(not np.array_equal(pcm, decode_leg(leg)) for pcm, leg in zip(alone, legs, strict=True))
    for width, block_ms in ((40, 20), (7, 300)):
        out = [np.zeros(leg_samples(leg), np.int16) for leg in legs]
        filled = decode_many(legs, out, width=width, block_ms=block_ms, concealment="best")
        assert all(map(np.array_equal, filled, alone))


def test_without_a_loss_best_is_exact() -> None:
    leg = made_leg(STATIC[18], 300, 2, loss=0)
    assert np.array_equal(decode_leg(leg, concealment="best"), decode_leg(leg))


def test_losses_of_other_decoders_are_bridged_too() -> None:
    """In PCM from elsewhere: bridged or faded, and nothing that was received is touched."""
    codec = parse_rtpmap("opus/48000/2")
    voice = np.round(8000 * np.sin(np.arange(48000 * 4) * 0.03)).astype(np.int16)
    span = Span(codec, 0, 0, 7, 0, 96, 0, 48000 * 4)
    nothing = np.zeros(0, np.int64)
    empty = np.zeros(0, np.uint8)
    gaps = np.array([(0, 9600, 960, 1, GapReason.LOST), (0, 48000, 9600, 10, GapReason.LOST)], GAP_DTYPE)
    leg = LegColumns(
        empty, empty, nothing, np.zeros(0, np.uint16), nothing, nothing, nothing, empty, empty, [span], gaps
    )
    holed = voice.copy()
    holed[9600:10560] = holed[48000:57600] = 0
    heard = decode_leg(leg, external={0: holed})
    here = holed != 0
    assert np.array_equal(heard[here], holed[here])
    bridged = heard[9600:10560].astype(float) - voice[9600:10560]
    assert 10 * np.log10((voice[9600:10560].astype(float) ** 2).mean() / (bridged**2).mean()) > 10
    assert heard[48000 : 48000 + 2400].any()
    assert not heard[48000 + 2880 : 57600 - 2880].any()


def test_decoding_releases_the_gil() -> None:
    leg = made_leg(STATIC[18], 4000, 4)
    laws.gil_is_released(lambda: decode_leg(leg))


def test_occupancy_tells_how_full_the_lanes_were() -> None:
    conveyor = Conveyor([made_leg(STATIC[18], 200, i, loss=0) for i in range(64)])
    for _ in conveyor:
        pass
    used = conveyor.occupancy
    if _core.isa_active() != "scalar":
        assert used["rounds"] > 0
        assert 0.8 < used["lane_used"] / used["lane_slots"] <= 1
    alone = Conveyor([made_leg(STATIC[18], 200, 1)])
    for _ in alone:
        pass
    assert alone.occupancy["rounds"] + alone.occupancy["scalar_rounds"] > 0  # whatever is cheaper here


def _samples_under(isa: str) -> tuple[str, bool, str]:
    """Of a process that is told to use an instruction set (empty: free): the one it uses, whether it was forced, and a
    digest of what it decodes."""
    script = (
        "import hashlib; from tests.audio.test_decode import _legs; from callreplay import _core; "
        "from callreplay.audio.decode import decode_many, leg_samples; import numpy as np; legs = _legs(40); "
        "out = decode_many(legs, [np.zeros(leg_samples(l), np.int16) for l in legs]); "
        "print(_core.isa_active(), _core.isa_forced(), hashlib.sha256(b''.join(o.tobytes() for o in out)).hexdigest())"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)} | ({"CALLREPLAY_SIMD": isa} if isa else {})
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root, env=environment
    )
    active, forced, digest = done.stdout.split()
    return active, forced == "True", digest


def test_forced_instruction_sets_give_the_same_samples() -> None:
    free = _samples_under("")
    assert free[0] in _core.isa_available()
    for isa in _core.isa_available():
        assert _samples_under(isa) == (isa, True, free[2])


@pytest.mark.parametrize("codec", [STATIC[0], STATIC[9]], ids=str)
def test_a_long_loss_fades_out_in_60_ms_and_in_again_before_its_end(codec: Codec) -> None:
    leg = made_leg(codec, 40, 5, loss=0)
    leg.gaps = leg.gaps[:0]
    ticks = np.arange(20) * 160
    keep = 20
    leg.size = np.full(keep, 160, np.uint16)
    leg.offset = np.arange(keep, dtype=np.int64) * 160 % (len(leg.data) - 160)
    leg.timestamp = np.where(np.arange(keep) < 10, ticks, ticks + 1600)
    leg.sequence = np.where(np.arange(keep) < 10, np.arange(keep), np.arange(keep) + 10)
    for name in ("flags", "payload_type"):
        setattr(leg, name, getattr(leg, name)[:keep])
    leg.arrival_ns = leg.arrival_ns[:keep]
    leg.spans[0].stop, leg.spans[0].end_tick = keep, 30 * 160
    leg.gaps = np.array([(0, 1600, 1600, 10, GapReason.LOST)], GAP_DTYPE)
    per_ms = codec.sample_rate_hz // 1000
    pcm = decode_leg(leg)
    lost = pcm[200 * per_ms : 400 * per_ms]
    assert lost[: 20 * per_ms].any()
    assert not lost[62 * per_ms : 140 * per_ms].any()
    assert lost[-20 * per_ms :].any()
    kinds = {chunk.kind for chunk in decode_many([leg])}
    assert kinds == {ChunkKind.DECODED, ChunkKind.CONCEALED}


@pytest.mark.parametrize(
    ("fmtp", "bits"),
    [
        ("", 8),
        ("bitrate=64000", 8),
        ("bitrate=56000", 7),
        ("x=1; Bitrate = 48000", 6),
        ("bitrate=480001", 8),
        ("maxbitrate=48000", 8),
    ],
)
def test_g722_at_the_bitrate_of_the_sdp_equals_libavcodec(fmtp: str, bits: int) -> None:
    """48, 56 and 64 kbit/s: random octets through a leg, and through libavcodec with as many bits a codeword."""
    av = pytest.importorskip("av")
    leg = made_leg(parse_rtpmap("G722/8000", fmtp), 50, 8, loss=0)
    leg.timestamp = np.cumsum(leg.size, dtype=np.int64) - leg.size  # no pauses: one run of octets
    leg.gaps = leg.gaps[:0]
    leg.spans[0].end_tick = int(leg.size.sum())
    peer = av.CodecContext.create("g722", "r")
    peer.sample_rate, peer.layout, peer.options = 16000, "mono", {"bits_per_codeword": str(bits)}
    frames = peer.decode(av.Packet(leg.data.tobytes()))
    wanted = np.concatenate([frame.to_ndarray().ravel() for frame in frames])
    assert np.array_equal(decode_leg(leg), wanted)


@pytest.mark.parametrize("rate", [16, 24, 32])
@pytest.mark.parametrize("packing", ["", "AAL2-"])
def test_g726_is_what_libavcodec_makes_of_its_own_codes(packing: str, rate: int) -> None:
    """Sound that libavcodec coded, in packets of 5 to 60 ms: as loud and as like the original as its own decoder's.

    Not bit for bit: libavcodec does not round as G.726 does, and at 40 kbit/s its predictor forgets twice as fast, so
    that its codes are no others' there. libspandsp is the judge of all rates (tests/native/peers).
    """
    av = pytest.importorskip("av")
    bits = rate // 8
    time = np.arange(32000) / 8000
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * time)) / 8000
    sound = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 1.5 * time) > -0.5)
    pcm = np.asarray(sound * 5000, np.int16)
    name = "g726" if packing else "g726le"
    coder = av.CodecContext.create(name, "w")
    coder.sample_rate, coder.layout, coder.format = 8000, "mono", "s16"
    coder.bit_rate, coder.options = 8000 * bits, {"code_size": str(bits)}
    coder.open()
    frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
    frame.sample_rate = 8000
    octets = b"".join(bytes(packet) for packet in [*coder.encode(frame), *coder.encode(None)])
    options = {"code_size": str(bits), "sample_rate": "8000"}
    with av.open(io.BytesIO(octets), format=name, options=options) as file:
        peer = np.concatenate([part.to_ndarray().ravel() for part in file.decode(audio=0)])

    codec = parse_rtpmap(f"{packing}G726-{rate}/8000")
    rows: list[tuple[int, int, bytes, int]] = []
    tick, at, dice = 0, 0, np.random.default_rng(rate)
    while at < len(octets):
        ticks = int(dice.choice([40, 80, 160, 240, 480]))
        payload = octets[at : at + ticks * bits // 8]
        rows.append((tick, len(rows), payload, 0))
        at, tick = at + len(payload), tick + len(payload) * 8 // bits
    leg = laws.make_leg(rows, [Span(codec, 0, len(rows), 7, 0, 96, 1_000_000_000, tick)], [])
    ours = decode_leg(leg)
    assert len(ours) == tick == len(octets) * 8 // bits

    def error_db(decoded: Pcm) -> float:
        size = min(len(decoded), len(pcm))
        off = decoded[:size].astype(float) - pcm[:size]
        return float(10 * np.log10((off**2).mean() / (pcm.astype(float) ** 2).mean()))

    assert error_db(ours) < {16: -7, 24: -13, 32: -18}[rate]
    assert error_db(ours) < error_db(peer) + 1.5


def test_g726_needs_no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callreplay.audio.pyav.available", lambda: False)
    for name in sorted(BY_NAME):
        if "G726" in name:
            leg = made_leg(parse_rtpmap(f"{name}/8000"), 20, 5)
            assert undecodable(leg.spans[0].codec) == ""
            assert decode_leg(leg).any()


@pytest.mark.parametrize("codec", [STATIC[2], AAL2_24], ids=str)
def test_g726_is_silent_where_its_sender_was_and_noise_where_that_was_described(codec: Codec) -> None:
    """A pause (DTX) has nothing made up; after an RFC 3389 packet it has that packet's noise; speech goes on after."""
    dice, size = np.random.default_rng(4), payload_octets(codec, 160)
    rows = [(160 * i, i, dice.bytes(size), 0) for i in range(50)]
    rows += [(160 * (i + 50), i, dice.bytes(size), 0) for i in range(50, 60)]  # after a second of nothing
    rows.append((160 * 110, 60, bytes([40]), PacketFlag.NOISE))
    rows += [(160 * (i + 99), i, dice.bytes(size), 0) for i in range(61, 70)]  # a second later
    gaps = [(0, 8000, 8000, 0, GapReason.SILENCE), (0, 17600, 8000, 0, GapReason.SILENCE)]
    leg = laws.make_leg(rows, [Span(codec, 0, len(rows), 7, 0, 96, 1_000_000_000, 160 * 169)], gaps)
    pcm = decode_leg(leg)
    assert not pcm[8000:16000].any()
    level = 10 * np.log10((pcm[18000:25600].astype(float) ** 2).mean() / 32767.0**2)
    assert level == pytest.approx(-40, abs=1)
    assert pcm[16000:17600].any()
    assert pcm[25600:].any()


def test_comfort_noise_has_its_level() -> None:
    """RFC 3389: -40 dBov asked for, measured within 1 dB, until speech comes back."""
    leg = made_leg(STATIC[0], 3, 6, loss=0)
    leg.data = np.concatenate([np.full(160, 0xFF, np.uint8), [np.uint8(40)], np.full(160, 0xFF, np.uint8)])
    leg.offset, leg.size = np.array([0, 160, 161], np.int64), np.array([160, 1, 160], np.uint16)
    leg.timestamp, leg.sequence = np.array([0, 160, 16160], np.int64), np.arange(3, dtype=np.int64)
    leg.flags = np.array([0, PacketFlag.NOISE, 0], np.uint8)
    leg.payload_type, leg.arrival_ns = np.array([0, 13, 0], np.uint8), np.zeros(3, np.int64)
    leg.spans[0].stop, leg.spans[0].end_tick = 3, 16320
    leg.gaps = np.array([(0, 320, 15840, 0, GapReason.SILENCE)], GAP_DTYPE)
    noise = decode_leg(leg)[1000:16000].astype(np.float64)
    level = 10 * np.log10((noise**2).mean() / 8031.0**2 / 16)
    assert level == pytest.approx(-40, abs=1)


def test_wrong_columns_are_refused_by_name() -> None:
    leg = made_leg(STATIC[0], 10, 7)
    wrong = made_leg(STATIC[0], 10, 7)
    wrong.offset = wrong.offset.astype(np.int32)
    with pytest.raises(ArgumentError, match="offset"):
        native_leg(wrong)
    wrong = made_leg(STATIC[0], 10, 7)
    wrong.size = wrong.size[:-1]
    with pytest.raises(ArgumentError, match="size"):
        native_leg(wrong)
    wrong = made_leg(STATIC[0], 10, 7)
    wrong.offset[3] = len(wrong.data)
    with pytest.raises(BoundsError):
        native_leg(wrong)
    wrong = made_leg(STATIC[0], 10, 7)
    wrong.offset[3] = -1
    with pytest.raises(BoundsError):
        native_leg(wrong)
    with pytest.raises(ArgumentError, match="out"):
        decode_leg(leg, np.zeros(3, np.int16))
    with pytest.raises(ArgumentError, match="out"):
        decode_many([leg], [])


def test_a_render_group_gives_what_renderers_give() -> None:
    calls = [(_legs(10)[2 * i], _legs(10)[2 * i + 1]) for i in range(5)]
    group = RenderGroup()
    numbers = {group.add(list(legs), 16000, "stereo"): legs for legs in calls}
    parts: dict[int, list[Pcm]] = {number: [] for number in numbers}
    for number, block, _ in group:
        parts[number].append(block)
    for number, legs in numbers.items():
        renderer = Renderer(list(legs), 16000, "stereo")
        assert np.array_equal(np.concatenate(parts[number]), renderer.read(renderer.frames))


def _changing(codecs: Sequence[Codec], seed: int) -> LegColumns:
    """A leg that changes its codec every half second or so, with a loss in each part and a pause between them."""
    dice = np.random.default_rng(seed)
    rows: list[tuple[int, int, bytes, int]] = []
    spans, gaps = [], []
    for number, codec in enumerate(codecs):
        size, first = payload_octets(codec, 160), len(rows)
        kept = [i for i in range(24) if i not in (7, 8)]
        rows += [(160 * i, i, dice.bytes(size), 0) for i in kept]
        anchor = 1_000_000_000 + number * 600_000_000
        spans.append(Span(codec, first, len(rows), 7, 0, 96, anchor, 160 * 24))
        gaps.append((number, 160 * 7, 320, 2, GapReason.LOST))
    return laws.make_leg(rows, spans, gaps)


@pytest.mark.parametrize("gather_ms", [20, 130, 1000, 8000])
def test_a_call_that_comes_to_need_lanes_and_no_longer_does_goes_on_in_its_group(gather_ms: int) -> None:
    """Calls without lanes go on by themselves, straight into the caller's block; others wait for each other."""
    ulaw, g729 = STATIC[0], STATIC[18]
    calls: list[list[LegColumns | None]] = [
        [_changing([ulaw, g729, ulaw], 1), _changing([ulaw] * 3, 2)],
        [_changing([g729, ulaw, g729], 3), _changing([ulaw, ulaw, g729], 4)],
        [_changing([ulaw] * 3, 5), _changing([ulaw] * 2, 6)],
        [_changing([g729] * 2, 7), None],
    ]
    group = RenderGroup(gather_ms=gather_ms)
    numbers = {group.add(legs, 8000, "stereo"): legs for legs in calls}
    parts: dict[int, list[Pcm]] = {number: [] for number in numbers}
    for number, block, last in group:
        assert last or len(block) == 8 * gather_ms
        parts[number].append(block)
    for number, legs in numbers.items():
        renderer = Renderer(legs, 8000, "stereo")
        assert np.array_equal(np.concatenate(parts[number]), renderer.read(renderer.frames))


@pytest.mark.parametrize("codec", [STATIC[0], STATIC[18]], ids=str)
def test_a_block_without_room_waits(codec: Codec) -> None:
    legs: list[LegColumns | None] = [_changing([codec] * 2, 8), _changing([codec], 9)]
    group = RenderGroup(gather_ms=200)
    group.add(legs, 8000, "mono")
    blocks: list[Pcm] = []
    last = False
    while not last:
        with pytest.raises(ArgumentError):
            group._native.read(np.empty(7, np.int16))
        _, block, last = group.read() or (0, np.empty(0, np.int16), True)
        blocks.append(block)
    renderer = Renderer(legs, 8000, "mono")
    assert np.array_equal(np.concatenate(blocks), renderer.read(renderer.frames))


def test_calls_beyond_the_lanes_stand_back() -> None:
    """As many streams go on as are decoded for least at a time; who reads is told how many calls wait for them."""
    group = RenderGroup(gather_ms=20)
    for seed in range(100):
        group.add([_changing([STATIC[18]], seed), None], 8000, "mono")
    standing = group.waiting
    assert 100 - 64 <= standing < 100
    begun = {group.read()[0] for _ in range(300)}  # type: ignore[index]
    assert 0 < len(begun) < 100
    assert 0 < group.waiting <= standing
    while group.read() is not None:
        pass
    assert group.waiting == 0
    for seed in range(9):
        group.add([_changing([STATIC[0]], seed), None], 8000, "mono")
    assert group.read() is not None
    assert group.waiting == 0


def test_who_waits_is_told_of_the_next_round() -> None:
    """Who adds calls as others end learns at once that lanes fall free, not when the round that has ended is over."""
    group = RenderGroup(gather_ms=60_000)
    for _ in range(100):
        group.add([_changing([STATIC[18]], 7), None], 8000, "mono")
    standing = group.waiting
    going = 100 - standing
    assert 0 < going < standing
    for _ in range(going):
        found = group.read()
        assert found is not None
        assert found[2]
    assert group.waiting == standing - going


def test_a_group_that_is_fed_for_ever_takes_numbers_again() -> None:
    legs = _legs(10)
    group = RenderGroup()
    alone = [Renderer([leg], 8000, "mono") for leg in legs]
    whole = [renderer.read(renderer.frames) for renderer in alone]
    under_way: dict[int, tuple[int, list[Pcm]]] = {}
    begun = ended = 0
    while ended < 60:
        while begun < 60 and len(under_way) < 4:
            which = begun % len(legs)
            number = group.add([legs[which]], 8000, "mono")
            assert number not in under_way
            under_way[number] = which, []
            begun += 1
        found = group.read()
        assert found is not None
        number, block, last = found
        assert number < 4
        under_way[number][1].append(block)
        if last:
            which, parts = under_way.pop(number)
            assert np.array_equal(np.concatenate(parts), whole[which])
            assert group.counts(number, 0) == alone[which].counts(0)
            ended += 1
    assert group.read() is None
