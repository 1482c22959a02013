"""The traps that end in audio, each as a capture that sets it and an assertion on what comes out.

The traps of order and timeline (1-5, 7, 11-18, 20, 21) have their tests in tests/order, those of the wire (22-25) in
tests/packets; here stand the ones that need the whole way to be shown, and others once more where they can be heard.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import callreplay
from callreplay.errors import EncryptedError
from callreplay.model import GapReason
from tests.captures import pcap, rtp, sdp, sip, udp

START = 1_700_000_000_000_000_000
MS = 1_000_000
A, B = ("10.0.0.1", 4000), ("10.0.0.2", 5000)
VECTORS = Path(
    os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[2] / "shared" / "vectors")
)


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
def test_trap_2_and_20_hold_is_time_in_every_output(channels: str) -> None:
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
    assert call.mix().shape == (32000, 2)
    assert call.duration_s == 2.0


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
