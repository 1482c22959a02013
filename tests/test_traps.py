"""The 25 traps, each as a capture that sets it and an assertion on the audio or the report that comes out.

``TRAPS`` says where each has its test. The traps of order and timeline have more of them in tests/order, those of the
wire in tests/packets; here each goes the whole way, from a capture file to what is heard.
"""

import ast
import dataclasses
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import callreplay
from callreplay.codecs import STATIC
from callreplay.errors import EncryptedError
from callreplay.model import Flow, GapReason
from tests import captures as c
from tests.captures import Interface, pcap, pcapng, rtp, sdp, sip, udp
from tests.scenario.audio import heard, open_call, ulaw
from tests.scenario.call import Call, Network, Packet

START = 1_700_000_000_000_000_000
MS = 1_000_000
A, B = ("10.0.0.1", 4000), ("10.0.0.2", 5000)
VECTORS = Path(
    os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[2] / "shared" / "vectors")
)

HERE = "test_traps.py"
TRAPS: dict[int, tuple[str, str]] = {
    1: ("channels padded by sample count slide apart", f"{HERE}::test_trap_1_the_reply_stands_where_it_was_spoken"),
    2: ("hold and pauses are not written", f"{HERE}::test_trap_2_and_20_hold_is_time_in_every_output"),
    3: ("a stale packet after hold adds silence twice", f"{HERE}::test_trap_3_a_stale_packet_is_not_heard"),
    4: ("a bogus leap makes a giant file", f"{HERE}::test_trap_4_a_bogus_jump_makes_no_giant_file"),
    5: ("comfort noise with a wild timestamp", f"{HERE}::test_trap_5_wild_comfort_noise_moves_no_word"),
    6: ("G.722's clock taken for its sample rate", f"{HERE}::test_trap_6_g722_clock_is_not_its_sample_rate"),
    7: ("G.722 that really ticks at 16000", f"{HERE}::test_trap_7_g722_sounds_the_same_whatever_it_ticks"),
    8: ("legs of different rates", f"{HERE}::test_trap_8_legs_of_different_rates_keep_their_speed"),
    9: ("G.729 SID decoded as speech", f"{HERE}::test_trap_9_sid_frames_are_comfort_noise_from_one_decoder"),
    10: ("G.729 split by ptime", f"{HERE}::test_trap_10_g729_is_split_by_length_never_by_ptime"),
    11: ("digits chop the audio or come thrice", f"{HERE}::test_trap_11_digits_come_once_and_audio_stays"),
    12: ("events among audio on one timestamp", f"{HERE}::test_trap_12_audio_below_an_event_keeps_its_time"),
    13: ("SSRC changes drop a party", f"{HERE}::test_trap_13_twelve_ssrcs_are_one_voice"),
    14: ("a leg without packets", f"{HERE}::test_trap_14_an_empty_leg_is_a_silent_channel_of_full_length"),
    15: ("the same audio captured twice", f"{HERE}::test_trap_15_a_call_captured_twice_sounds_once"),
    16: ("jitter becomes silence, capture loss network loss", f"{HERE}::test_trap_16_jitter_is_not_heard"),
    17: ("device clocks differ", f"{HERE}::test_trap_17_a_drifting_voice_stays_in_step"),
    18: ("time lost with every gap in a resampler", f"{HERE}::test_trap_18_gaps_cost_no_time_at_any_rate"),
    19: ("the mono sum clips or pumps", f"{HERE}::test_trap_19_the_sum_saturates_and_keeps_its_gain"),
    20: ("wrong total duration", f"{HERE}::test_trap_2_and_20_hold_is_time_in_every_output"),
    21: ("payload types without SDP", f"{HERE}::test_trap_21_an_unknown_payload_type_is_never_guessed_silently"),
    22: ("encapsulations come up empty", f"{HERE}::test_trap_22_a_mirrored_call_is_heard"),
    23: ("pcapng resolutions", f"{HERE}::test_trap_23_each_interface_keeps_its_time"),
    24: ("trailers and extensions taken as payload", f"{HERE}::test_trap_24_only_payload_is_heard"),
    25: ("SRTP in a partial capture", "packets/test_decrypt.py::test_keys_in_the_sdp_decrypt_a_call_from_any_point"),
}  # fmt: skip
"""Number in the list of traps: what it is, and the test (below tests/) that shows it on the audio or the report."""
EVENTS = {101: "telephone-event/8000"}


def _vector(name: str) -> bytes:
    path = VECTORS / name
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing")
        pytest.skip(f"{path} is missing; set CALLREPLAY_VECTORS")
    return path.read_bytes()


def _records(packets: list[tuple[float, bytes]], side: int = 0) -> list[tuple[int, bytes]]:
    here, there = (A, B) if side == 0 else (B, A)
    return [(START + int(at * MS), udp(*here, *there, packet)) for at, packet in packets]


def _open(*legs: list[tuple[int, bytes]], codecs: dict[int, str] | None = None) -> callreplay.Call:
    capture = callreplay.open(pcap(sorted(record for leg in legs for record in leg)), codecs=codecs)
    assert len(capture.calls) == 1
    return capture.calls[0]


def _law(count: int, seed: int = 1) -> list[bytes]:
    octets = np.random.default_rng(seed).integers(0, 256, count * 160, dtype=np.uint8).tobytes()
    return [octets[i * 160 : (i + 1) * 160] for i in range(count)]


def _serial_frames(name: str) -> list[bytes]:
    """ITU serial words to RTP octets, one element a 10 ms frame: 10, 2 or 0 octets."""
    words = np.frombuffer(_vector(name), "<u2")
    frames, at = [], 0
    while at + 2 <= len(words):
        count = int(words[at + 1])
        bits = (words[at + 2 : at + 2 + count] == 0x81).astype(np.uint8)
        frames.append(np.packbits(bits).tobytes())
        at += 2 + count
    return frames


@pytest.mark.parametrize("per_packet", [1, 2, 3, 4, 6])
def test_trap_10_g729_is_split_by_length_never_by_ptime(per_packet: int) -> None:
    frames = _serial_frames("g729/SPEECH.BIT")[:1200]
    packets = []
    for index in range(0, len(frames), per_packet):
        payload = b"".join(frames[index : index + per_packet])
        packets.append((index * 10.0, rtp(7 + index // per_packet, 80 * index, 1, 18, payload)))
    call = _open(_records(packets))
    truth = np.frombuffer(_vector("g729/SPEECH.PST"), "<i2")[: 80 * len(frames)]
    assert np.array_equal(call.caller.pcm(), truth)


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_trap_9_sid_frames_are_comfort_noise_from_one_decoder(sequence: int) -> None:
    """Annex B as a phone sends it: speech in pairs, a SID as the last of its packet, nothing in between."""
    frames = _serial_frames(f"g729/tstseq{sequence}a.bit")
    packets, at, number = [], 0, 0
    while at < len(frames):
        if not frames[at]:
            at += 1
            continue
        take = 1
        if len(frames[at]) == 10 and at + 1 < len(frames) and frames[at + 1]:
            take = 2
        packets.append((at * 10.0, rtp(number, 80 * at, 1, 18, b"".join(frames[at : at + take]))))
        number, at = number + 1, at + take
    call = _open(_records(packets))
    first = next(i for i, frame in enumerate(frames) if frame)
    truth = np.frombuffer(_vector(f"g729/tstseq{sequence}a.out"), "<i2")[80 * first :]
    got = call.caller.pcm()
    assert first == 0
    assert np.array_equal(got, truth[: len(got)])
    assert len(truth) - len(got) < 80 * 100  # frames that nobody sent at the very end leave no trace


def test_trap_19_the_sum_saturates_and_keeps_its_gain() -> None:
    loud = [b"\x80" * 160] * 50  # the largest positive code word
    call = _open(
        _records([(i * 20.0, rtp(i, i * 160, 1, 0, p)) for i, p in enumerate(loud)]),
        _records([(i * 20.0, rtp(i, i * 160, 2, 0, p)) for i, p in enumerate(loud[:25])], 1),
    )
    mono = call.mix("mono")
    assert (mono[: 25 * 160] == 32767).all()
    assert (mono[25 * 160 :] == 32124).all()


def test_trap_14_an_empty_leg_is_a_silent_channel_of_full_length() -> None:
    call = _open(_records([(i * 20.0, rtp(i, i * 160, 1, 0, p)) for i, p in enumerate(_law(100))]))
    stereo = call.mix("stereo")
    assert stereo.shape == (16000, 2)
    assert stereo[:, 0].any()
    assert not stereo[:, 1].any()
    assert call.report()["one_way"]


@pytest.mark.parametrize("channels", ["mono", "stereo", "caller"])
def test_trap_2_and_20_hold_is_time_in_every_output(channels: Literal["mono", "stereo", "caller"]) -> None:
    """Ten seconds without packets, timestamps running on: the file is as long as the call."""
    law = _law(100)
    packets = [(i * 20.0, rtp(i, i * 160, 1, 0, law[i])) for i in range(50)]
    packets += [(11_000 + i * 20.0, rtp(50 + i, (550 + i) * 160, 1, 0, law[50 + i])) for i in range(50)]
    other = _law(600, 2)
    call = _open(
        _records(packets), _records([(i * 20.0, rtp(i, i * 160, 2, 0, p)) for i, p in enumerate(other)], 1)
    )
    assert len(call.mix(channels)) == 600 * 160
    assert call.duration_s == 12.0
    (gap,) = call.caller.columns.gaps
    assert GapReason(int(gap["reason"])) is GapReason.HOLD


def test_trap_4_a_bogus_jump_makes_no_giant_file() -> None:
    law = _law(100)
    packets = [(i * 20.0, rtp(i, i * 160 + (0 if i < 50 else 700_000_000), 1, 0, law[i])) for i in range(100)]
    call = _open(_records(packets))
    assert call.duration_s == pytest.approx(2.0, abs=0.2)


def test_trap_8_legs_of_different_rates_keep_their_speed() -> None:
    """A G.722 leg beside a G.711 leg: both last as long as they did, at one output rate."""
    call = _open(
        _records([(i * 20.0, rtp(i, i * 160, 1, 9, p)) for i, p in enumerate(_law(100))]),
        _records([(i * 20.0, rtp(i, i * 160, 2, 0, p)) for i, p in enumerate(_law(100, 2))], 1),
    )
    assert call.sample_rate_hz == 16000
    # The filters of G.722 take 1.375 ms: what it says was spoken that much earlier.
    assert call.mix().shape == (32022, 2)
    assert call.duration_s == 2.001375


def test_trap_6_g722_clock_is_not_its_sample_rate() -> None:
    call = _open(_records([(i * 20.0, rtp(i, i * 160, 1, 9, p)) for i, p in enumerate(_law(100))]))
    (span,) = call.caller.columns.spans
    assert (span.codec.clock_rate_hz, span.codec.sample_rate_hz) == (8000, 16000)
    assert len(call.caller.pcm()) == 32000


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_trap_18_gaps_cost_no_time_at_any_rate(rate: int) -> None:
    """Two hundred pauses, resampled: the total is the timeline, and the last word stands where it was spoken."""
    law = _law(2)
    tone = (np.tile([0xA0, 0x20], 80)).astype(np.uint8).tobytes()
    packets = [(i * 100.0, rtp(i, i * 800, 1, 0, tone, True)) for i in range(200)]
    packets.append((20_000.0, rtp(200, 200 * 800, 1, 0, law[0], True)))
    call = _open(_records(packets))
    out = call.mix("mono", rate=rate)
    assert len(out) == round(20.02 * rate)
    loud = np.flatnonzero(np.abs(out.astype(np.int32)) > 3000)
    assert loud.max() / rate == pytest.approx(20.02, abs=0.001)
    starts = loud[np.flatnonzero(np.diff(loud, prepend=-rate) > rate // 50)]
    assert np.allclose(starts / rate, np.arange(201) * 0.1, atol=0.001)


def test_trap_21_an_unknown_payload_type_is_never_guessed_silently() -> None:
    octets = np.random.default_rng(4).integers(0, 256, (100, 47), dtype=np.uint8)
    packets = [(i * 20.0, rtp(i, i * 160, 1, 105, octets[i].tobytes())) for i in range(100)]
    call = _open(_records(packets))
    assert not call.mix().any()
    assert any("105" in warning for warning in call.report()["warnings"])
    hinted = _open(_records(packets), codecs={105: "PCMA/8000"})
    assert [str(codec) for codec in hinted.caller.codecs] == ["PCMA/8000"]


def _call_with_sdp(
    formats: dict[int, str], payloads: list[bytes], profile: str = "RTP/AVP"
) -> list[tuple[int, bytes]]:
    offer = sdp(*A, formats, profile=profile)
    answer = sdp(*B, formats, profile=profile)
    tagged = "<sip:200@pbx>;tag=b"
    first = min(formats)
    packets = [
        (START + 200 * MS + i * 20 * MS, udp(*A, *B, rtp(i, i * 160, 9, first, p)))
        for i, p in enumerate(payloads)
    ]
    return [
        (START, udp("10.0.0.1", 5060, "10.0.0.2", 5060, sip("INVITE sip:200@pbx SIP/2.0", body=offer))),
        (
            START + 100 * MS,
            udp("10.0.0.2", 5060, "10.0.0.1", 5060, sip("SIP/2.0 200 OK", to=tagged, body=answer)),
        ),
        *packets,
    ]


def test_trap_21_sdp_names_dynamic_payload_types() -> None:
    call = callreplay.open(pcap(_call_with_sdp({110: "PCMU/8000"}, _law(50)))).calls[0]
    (span,) = call.caller.columns.spans
    assert (str(span.codec), span.inferred) == ("PCMU/8000", False)


def test_trap_25_srtp_without_keys_is_refused_and_never_noise() -> None:
    secret = np.random.default_rng(5).integers(0, 256, (150, 170), dtype=np.uint8)
    records = _call_with_sdp({0: "PCMU/8000"}, [row.tobytes() for row in secret], "RTP/SAVP")
    call = callreplay.open(pcap(records)).calls[0]
    for attempt in (call.mix, lambda: call.save("never.wav"), lambda: next(call.stream("wav"))):
        with pytest.raises(EncryptedError, match="SRTP"):
            attempt()
    assert call.report()["encrypted"]


def test_a_b_a_codecs_in_one_leg_keep_their_places() -> None:
    """PCMU, then PCMA, then PCMU again: each part decoded by its own law, in its own place (trap 8)."""
    law = _law(90)
    kinds = [0] * 30 + [8] * 30 + [0] * 30
    call = _open(_records([(i * 20.0, rtp(i, i * 160, 1, kinds[i], law[i])) for i in range(90)]))
    assert [span.payload_type for span in call.caller.columns.spans] == [0, 8, 0]
    whole: NDArray[np.int16] = call.caller.pcm()
    for kind, part in ((0, slice(0, 4800)), (8, slice(4800, 9600)), (0, slice(9600, 14400))):
        alone = _open(
            _records([(i * 20.0, rtp(i, i * 160, 1, kind, law[i])) for i in range(90)])
        ).caller.pcm()
        assert (whole[part] == alone[part]).mean() > 0.99


def test_every_trap_has_its_test() -> None:
    assert sorted(TRAPS) == list(range(1, 26))
    for number, (_, place) in TRAPS.items():
        path, _, name = place.partition("::")
        tree = ast.parse((Path(__file__).parent / path).read_text())
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"trap {number}: no {place}"
        assert any(isinstance(node, ast.Assert) for node in ast.walk(functions[name])), place


def _is_heard(call: callreplay.Call, *legs: list[Packet]) -> NDArray[np.bool_]:
    """Each leg's packets sound in its channel, to the sample; returns where (n, 2)."""
    mixed = call.mix("stereo")
    everywhere = np.zeros(mixed.shape, np.bool_)
    for side, packets in enumerate(legs):
        wanted, covered = heard(packets, call.start_ns, len(mixed))
        assert np.array_equal(mixed[covered, side], wanted[covered]), f"leg {side}"
        everywhere[:, side] = covered
    return everywhere


def test_trap_1_the_reply_stands_where_it_was_spoken() -> None:
    scene = Call.between()
    scene.caller.talk(5).advance(3).talk(5)
    scene.called.start_ns = scene.caller.start_ns + 1_234_000_000
    scene.called.talk(2).advance(0.515).talk(4)
    call = open_call(scene.arrived())
    covered = _is_heard(call, scene.caller.packets, scene.called.packets)
    assert len(covered) == 13 * 8000
    assert not call.mix("stereo")[~covered].any()


def test_trap_3_a_stale_packet_is_not_heard() -> None:
    scene = Call.between()
    scene.caller.talk(5)
    old = scene.caller.timestamp
    scene.caller.advance(10)
    stale = scene.caller.send(b"\x00" * 160, timestamp=old)
    scene.caller.talk(5)
    call = open_call(scene.arrived())
    covered = _is_heard(call, [packet for packet in scene.caller.packets if packet is not stale])
    assert call.duration_s == pytest.approx(
        20, abs=0.02
    )  # the stale packet took a number, so one may be lost
    hold = slice(5 * 8000, 15 * 8000)
    assert not covered[hold].any()
    assert not call.mix("stereo")[hold].any()
    (caller, _) = call.report()["legs"]
    assert caller["statistics"]["stale"] == 1
    assert [gap["reason"] for gap in caller["gaps"]] == ["hold"]


def test_trap_5_wild_comfort_noise_moves_no_word() -> None:
    scene = Call.between()
    scene.caller.talk(5).noise(timestamp=12345).advance(3).noise(timestamp=99).advance(2).talk(5)
    for packet in scene.caller.packets:
        packet.marker = packet.payload_type == 13
    call = open_call(scene.arrived())
    covered = _is_heard(call, scene.caller.packets)[:, 0]
    assert call.duration_s == 15.0
    noise = call.mix("caller")[~covered].astype(float)
    assert len(noise) == 5 * 8000
    # 60 below the overload point, which for mu-law is a square wave of 8031 in 14 bits, 32124 in 16 (RFC 3389 3.1)
    assert 20 * np.log10(np.sqrt((noise**2).mean()) / 32124) == pytest.approx(-60, abs=2)


@pytest.mark.parametrize("wrong", [500, 15])
def test_trap_7_g722_sounds_the_same_whatever_it_ticks(wrong: int) -> None:
    """A sender that ticks at 16000 throughout, or for its first 15 packets, against one that keeps RFC 3551."""

    def said(count: int) -> NDArray[np.int16]:
        scene = Call.between()
        scene.caller.use(STATIC[9], 9, 160, 160)
        for index in range(500):
            scene.caller.talk(0.02)
            scene.caller.timestamp += 160 if index < count else 0
        call = open_call(scene.arrived())
        assert bool(call.report()["warnings"]) >= (count > 15)
        return call.mix("caller")

    right = said(0)
    assert len(right) == 160_000
    assert np.array_equal(said(wrong), right)


@pytest.mark.parametrize("fresh_ends", [False, True])
def test_trap_11_digits_come_once_and_audio_stays(fresh_ends: bool) -> None:
    scene = Call.between()
    scene.caller.talk(2)
    starts = []
    for code in (1, 2, 2, 11):
        starts.append(scene.caller.seconds)
        scene.caller.digit(code, 0.2, fresh_ends=fresh_ends).talk(1)
    call = open_call(scene.arrived(), EVENTS)
    covered = _is_heard(call, scene.caller.packets)[:, 0]
    assert len(covered) == round(6.8 * 8000)
    assert not call.mix("caller")[~covered].any()
    (caller, _) = call.report()["legs"]
    assert "".join(event["digit"] for event in caller["events"]) == "122#"
    assert [event["start_s"] for event in caller["events"]] == pytest.approx(starts, abs=0.001)
    assert [event["duration_ms"] for event in caller["events"]] == pytest.approx([200] * 4)
    tones = call.mix("caller", dtmf="tone")
    for start in starts:
        assert np.abs(tones[round(start * 8000) :][:1600].astype(int)).max() > 1000
    assert np.array_equal(tones[covered], call.mix("caller")[covered])


def test_trap_12_audio_below_an_event_keeps_its_time() -> None:
    scene = Call.between()
    scene.caller.talk(1)
    start = scene.caller.timestamp
    for index in range(1, 11):
        scene.caller.talk(0.02)
        scene.caller.send(struct.pack(">BBH", 3, 10, index * 160), payload_type=101, timestamp=start)
    for _ in range(3):
        scene.caller.send(struct.pack(">BBH", 3, 0x8A, 1600), payload_type=101, timestamp=start)
    scene.caller.talk(1)
    call = open_call(scene.arrived(), EVENTS)
    said = b"".join(packet.payload for packet in scene.caller.packets if packet.payload_type == 0)
    assert np.array_equal(call.caller.pcm(), ulaw(said))
    mixed = call.mix("caller")
    assert not mixed[8000:9600].any()  # the digit's time is muted
    assert np.array_equal(mixed[:8000], ulaw(said)[:8000])
    assert np.array_equal(mixed[9600:], ulaw(said)[9600:])
    (caller, _) = call.report()["legs"]
    assert [(event["digit"], event["duration_ms"]) for event in caller["events"]] == [("3", 200.0)]
    assert (caller["gaps"], caller["statistics"]["lost"]) == ([], 0)


def test_trap_13_twelve_ssrcs_are_one_voice() -> None:
    scene = Call.between()
    for index in range(12):
        scene.caller.ssrc = 0xAAAA0000 + index
        scene.caller.sequence += 7777
        scene.caller.timestamp += 0x1234567
        scene.caller.talk(1).advance(0.1)
    scene.called.talk(13)
    call = open_call(scene.arrived())
    covered = _is_heard(call, scene.caller.packets, scene.called.packets)
    assert covered[:, 0].sum() == 12 * 8000
    report = call.report()
    assert len({span["ssrc"] for span in report["legs"][0]["spans"]}) == 12
    assert not report["one_way"]


def _again(packets: list[Packet], delay_ns: int, **changes: Callable[[Packet], object]) -> list[Packet]:
    return [
        dataclasses.replace(
            packet,
            arrival_ns=packet.arrival_ns + delay_ns,
            **{name: value(packet) for name, value in changes.items()},  # type: ignore[arg-type]
        )
        for packet in packets
    ]


@pytest.mark.parametrize("kind", ["twice", "two hops", "b2bua"])
def test_trap_15_a_call_captured_twice_sounds_once(kind: str) -> None:
    scene = Call.between()
    scene.caller.talk(10)
    scene.called.talk(10)
    packets = scene.arrived()
    inner = {
        scene.caller.flow: Flow("10.0.0.99", 6000, "10.0.0.3", 7000),
        scene.called.flow: Flow("10.0.0.3", 7000, "10.0.0.99", 6000),
    }
    changes: dict[str, Callable[[Packet], object]] = {}
    if kind != "twice":
        changes["flow"] = lambda packet: inner[packet.flow]
    if kind == "b2bua":
        changes["ssrc"] = lambda packet: packet.ssrc ^ 0x55555555
        changes["sequence"] = lambda packet: packet.sequence + 999 & 0xFFFF
        changes["timestamp"] = lambda packet: packet.timestamp + 123456 & 0xFFFFFFFF
    once, both = open_call(packets), open_call(packets + _again(packets, 400_000, **changes))
    assert np.array_equal(both.mix("stereo"), once.mix("stereo"))
    _is_heard(both, scene.caller.packets, scene.called.packets)
    report = both.report()
    if kind == "twice":
        assert [leg["statistics"]["duplicates"] for leg in report["legs"]] == [500, 500]
    else:
        word = "B2BUA" if kind == "b2bua" else "two taps"
        assert any(word in warning for warning in report["warnings"])
    assert [leg["statistics"]["lost"] for leg in report["legs"]] == [0, 0]


def test_trap_16_jitter_is_not_heard() -> None:
    """Through a network of +-60 ms the same samples come out, at most 5 ms from their place as a whole."""
    scene = Call.between()
    scene.networks = (Network(20, 120, seed=9), Network(20, seed=2))
    scene.called.start_ns += 500 * MS  # so that the caller is heard first, whatever the jitter
    scene.caller.talk(20)
    scene.called.talk(20)
    call = open_call(scene.arrived())
    out = call.mix("caller")
    said = ulaw(b"".join(packet.payload for packet in scene.caller.packets))
    first = int(np.flatnonzero(out)[0])
    assert np.array_equal(out[first : first + len(said)], said)
    placed = call.start_ns + first * 125_000
    assert abs(placed - scene.caller.packets[0].truth_ns) <= 5_000_000
    (caller, _) = call.report()["legs"]
    assert [gap["reason"] for gap in caller["gaps"]] == ["early_end"]  # the called talked on
    assert caller["statistics"]["lost"] == 0
    assert caller["statistics"]["reordered"] > 0


def test_trap_16_what_the_capture_lost_is_told_from_what_the_network_lost() -> None:
    scene = Call.between()
    scene.caller.talk(20)
    scene.called.talk(20)
    del scene.caller.packets[100:110]  # lost by the network, before the tap
    start = scene.caller.start_ns + 8_030_000_000
    call = open_call([p for p in scene.arrived() if not start < p.arrival_ns < start + 700_000_000])
    figures = [leg["statistics"] for leg in call.report()["legs"]]
    assert [figure["lost"] for figure in figures] == [45, 35]
    assert [figure["lost_in_capture"] for figure in figures] == [35, 35]
    assert len(call.mix()) == 20 * 8000 + 24


def test_trap_17_a_drifting_voice_stays_in_step() -> None:
    """A device 2000 ppm fast: after four minutes its last words stand within 10 ms of where they were said."""
    scene = Call.between()
    scene.caller.ppm = 2000.0
    loud, still = b"\x80\x00" * 80, b"\xff" * 160
    scene.caller.payload = lambda number, octets: loud if number % 100 == 50 else still
    scene.networks = (Network(20, 120, 0.05, seed=5), Network(20))
    scene.called.start_ns += 500 * MS
    scene.caller.talk(240)
    scene.called.talk(241)
    call = open_call(scene.arrived())
    out = np.abs(call.mix("caller").astype(np.int32)) > 15000
    times = call.start_ns + np.flatnonzero(out) * 125_000
    carried = list(scene.networks[0].carry(scene.caller.packets, 0))
    there = {packet.number for packet in carried}
    # Where the packet before was lost, what stands for it sounds of this one already.
    for packet in [p for p in carried if p.payload == loud and p.number - 1 in there]:
        sounding = times[np.abs(times - packet.truth_ns) < 15_000_000]
        assert len(sounding), packet.number
        assert abs(sounding[0] - packet.truth_ns) <= 10_000_000
    statistics = call.report()["legs"][0]["statistics"]
    assert statistics["drift_corrected"]
    assert statistics["drift_ppm"] == pytest.approx(2000, abs=15)


_PLAIN = [(START + i * 20 * MS, rtp(i, i * 160, 1, 0, octets)) for i, octets in enumerate(_law(100))]
_SPEECH = ulaw(b"".join(_law(100)))


def _mirrored(packet: bytes, way: str) -> bytes:
    datagram = c.ipv4(c.udp_datagram(A[1], B[1], packet), A[0], B[0])
    inner = c.ethernet(datagram)
    if way.startswith("erspan"):
        mirror = c.erspan(inner, int(way[-1]))
        return c.frame(c.ipv4(mirror, "192.0.2.1", "192.0.2.2", 47))
    return {
        "qinq": lambda: c.qinq(datagram, 7, 8),
        "sll": lambda: c.linux_sll(c.vlan(datagram, 7), 0x8100),
        "vntag": lambda: c.vntag(c.vlan(datagram, 3), 0x8100),
        "mpls": lambda: c.mpls(datagram, 16, 17),
        "vxlan": lambda: udp("192.0.2.1", 3333, "192.0.2.2", 4789, c.vxlan(inner)),
    }[way]()


@pytest.mark.parametrize("way", ["qinq", "sll", "vntag", "erspan-1", "erspan-2", "erspan-3", "mpls", "vxlan"])
def test_trap_22_a_mirrored_call_is_heard(way: str) -> None:
    frames = [(time, _mirrored(packet, way)) for time, packet in _PLAIN]
    if way != "sll":
        frames.append((START + 2000 * MS, c.ethernet(bytes(50), 0x1234)))
    found = callreplay.open(pcap(frames, link=113 if way == "sll" else 1))
    (call,) = found.calls
    assert np.array_equal(call.mix("caller"), _SPEECH)
    assert found.report()["counters"].get("ethertype 0x1234", 0) == (way != "sll")


@pytest.mark.parametrize(("one", "other"), [(None, 9), (3, 0x80 | 20), (9, 6)])
def test_trap_23_each_interface_keeps_its_time(one: int | None, other: int) -> None:
    """The caller on one interface, the called on another whose clock ticks differently."""
    back = [
        (time + 5_000 * MS, udp(*B, *A, rtp(i, i * 160, 2, 0, octets)), 1)
        for i, ((time, _), octets) in enumerate(zip(_PLAIN, _law(100, 2), strict=True))
    ]
    there = [(time, udp(*A, *B, packet), 0) for time, packet in _PLAIN]
    (call,) = callreplay.open(
        pcapng([*there, *back], [Interface(resolution=one), Interface(resolution=other)])
    ).calls
    mixed = call.mix("stereo")
    assert len(mixed) == pytest.approx(7 * 8000, abs=8)
    assert np.array_equal(mixed[:16000, 0], _SPEECH)
    first = int(np.flatnonzero(mixed[:, 1])[0])
    assert first == pytest.approx(5 * 8000, abs=8)
    assert np.array_equal(mixed[first:, 1], ulaw(b"".join(_law(100, 2)))[: len(mixed) - first])


@pytest.mark.parametrize("size", [4, 10, 160])
def test_trap_24_only_payload_is_heard(size: int) -> None:
    """Ethernet padding, a frame check sequence, CSRC, a header extension and RTP padding: none of it is audio."""
    octets = np.random.default_rng(8).integers(0, 256, 400 * size, np.uint8).tobytes()
    frames = []
    for index in range(400):
        part = octets[index * size : (index + 1) * size]
        plain = index % 4 == 0
        packet = rtp(
            index, index * size, 1, 0, part,
            csrc=() if plain else (1, 2),
            extension=None if plain else (0xBEDE, bytes(8)),
            padding=7 if index % 4 == 3 else 0,
        )  # fmt: skip
        whole = c.ethernet(
            c.ipv4(c.udp_datagram(A[1], B[1], packet), A[0], B[0]), trailer=b"\xde\xad\xbe\xef"
        )
        frames.append((START + index * size * 125_000, whole))
    (call,) = callreplay.open(pcap(frames)).calls
    assert np.array_equal(call.mix("caller"), ulaw(octets))
