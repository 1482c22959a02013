"""Packets among the audio that take no time, media that shares the audio's port, and timestamps at a wrong rate.

Both legs say random octets of G.711 over a perfect network, so every sample of the mix has one right place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

import callreplay
from callreplay.model import CallDescription, OtherMedia
from callreplay.packets.recording import _call_from_json, _call_to_json
from tests.captures import event, pcap, rtp, sdp, sip, udp

Record = tuple[int, bytes]
START_NS = 1_700_000_000_000_000_000
PTIME_NS = 20_000_000
CALLER, CALLED = ("10.0.0.1", 4000), ("10.0.0.2", 5000)
Pcm = NDArray[np.int16]


def noise(samples: int, seed: int) -> bytes:
    """µ-law octets; no two packets are alike."""
    return np.random.default_rng(seed).integers(0, 256, samples, np.uint8).tobytes()


def decoded(octets: bytes, law: str = "PCMU") -> Pcm:
    with callreplay.open(pcap(leg(CALLER, CALLED, 9, octets, kind=0 if law == "PCMU" else 8))) as capture:
        return capture.calls[0].caller.pcm()


def leg(
    source: tuple[str, int],
    destination: tuple[str, int],
    ssrc: int,
    octets: bytes,
    *,
    kind: int = 0,
    step: int = 160,
    first: int = 1,
    stamp: int = 1000,
    begin_ns: int = START_NS,
    beside: Callable[[int], Iterable[tuple[int, bytes, int]]] = lambda _: (),
) -> list[Record]:
    """A leg of packets of 20 ms; ``beside`` gives (payload type, payload, ticks on) of what follows the n-th one."""
    records, number = [], first
    for packet in range(len(octets) // 160):
        at = begin_ns + packet * PTIME_NS
        said = (kind, octets[packet * 160 : packet * 160 + 160], 0)
        for place, (payload_type, payload, on) in enumerate((said, *beside(packet))):
            datagram = rtp(number, stamp + packet * step + on, ssrc, payload_type, payload)
            records.append((at + place * 4_000_000, udp(*source, *destination, datagram)))
            number += 1
    return records


def signalling(offer: str, answer: str, end_s: float = 60) -> list[Record]:
    """INVITE, 200 OK, ACK before the media and BYE after it."""
    to = "<sip:200@pbx>;tag=b"
    said = (
        (-2.0, CALLER, sip("INVITE sip:200@pbx SIP/2.0", body=offer)),
        (-1.0, CALLED, sip("SIP/2.0 200 OK", to=to, body=answer)),
        (-0.9, CALLER, sip("ACK sip:200@pbx SIP/2.0", to=to, cseq="1 ACK")),
        (end_s, CALLER, sip("BYE sip:200@pbx SIP/2.0", to=to, cseq="2 BYE")),
    )
    return [
        (
            START_NS + round(at * 1e9),
            udp(source[0], 5060, (CALLED if source is CALLER else CALLER)[0], 5060, octets),
        )
        for at, source, octets in said
    ]


def plain(**more: str) -> list[Record]:
    formats = {0: "PCMU/8000"}
    return signalling(
        sdp(*CALLER, formats) + more.get("offer", ""), sdp(*CALLED, formats) + more.get("answer", "")
    )


def opened(*parts: list[Record]) -> callreplay.Call:
    with callreplay.open(pcap(sorted(record for part in parts for record in part))) as capture:
        (call,) = capture.calls
        return call


def warnings(call: callreplay.Call) -> str:
    return "\n".join(call.report(audio=False)["warnings"])


FOUR_A_SECOND = {
    "keepalive of an unknown type (RFC 6263 4.6)": (126, b"\0", 0),
    "empty payload": (0, b"", 0),
    "Cisco NSE": (100, event(192, 0), 0),
    "fax event nobody signalled": (101, event(36, 160), 0),
    "a tick on": (126, b"\0", 1),
}


@pytest.mark.parametrize("signalled", [True, False], ids=["sip", "no sip"])
@pytest.mark.parametrize("name", FOUR_A_SECOND)
def test_packets_beside_the_audio_take_no_time(name: str, signalled: bool) -> None:
    caller, called = noise(16_000, 1), noise(16_000, 2)
    extra = FOUR_A_SECOND[name]
    parts = [
        leg(CALLER, CALLED, 1, caller, beside=lambda packet: [extra] if packet % 12 == 5 else ()),
        leg(CALLED, CALLER, 2, called),
    ]
    call = opened(*parts, plain() if signalled else [])
    mixed = call.mix("stereo")
    assert np.array_equal(mixed[:, 0], decoded(caller))
    assert np.array_equal(mixed[:, 1], decoded(called))
    assert call.caller.statistics.lost == 0
    if extra[0]:
        assert (
            f"payload type {extra[0]}: 8 packets of UNKNOWN/8000 take no time beside the audio"
            in warnings(call)
        )
        assert "hint" not in warnings(call)


def test_fec_that_the_description_names_takes_no_time() -> None:
    caller, called = noise(16_000, 1), noise(16_000, 2)
    formats = {0: "PCMU/8000", 127: "parityfec/8000"}
    call = opened(
        leg(CALLER, CALLED, 1, caller, beside=lambda n: [(127, noise(170, n), 0)] if n % 3 == 2 else ()),
        leg(CALLED, CALLER, 2, called),
        signalling(sdp(*CALLER, formats), sdp(*CALLED, formats)),
    )
    assert np.array_equal(call.mix("stereo")[:, 0], decoded(caller))
    assert "packets of PARITYFEC/8000 take no time" in warnings(call)


def test_events_in_the_audio_s_place_leave_their_time_silent() -> None:
    """Eight packets of one fax event stand where eight packets of audio would: the audio after them keeps its place."""
    caller, called = noise(16_000, 1), noise(16_000, 2)
    records = [
        (at, udp(*CALLER, *CALLED, rtp(41 + number - 40, 1000 + 40 * 160, 1, 101, event(32, 160 * number))))
        if 40 <= (number := index) < 48
        else (at, octets)
        for index, (at, octets) in enumerate(leg(CALLER, CALLED, 1, caller))
    ]
    mixed = opened(records, leg(CALLED, CALLER, 2, called), plain()).mix("stereo")
    want = decoded(caller)
    want[6400:7680] = 0
    assert np.array_equal(mixed[:, 0], want)
    assert np.array_equal(mixed[:, 1], decoded(called))


def test_a_codec_nobody_knows_keeps_the_time_that_it_took() -> None:
    """After a second of G.711 a second of a codec without a name, then G.711 again: silence, not a cut."""
    caller = noise(24_000, 1)
    records = [
        (
            at,
            udp(*CALLER, *CALLED, rtp(index + 1, 1000 + index * 160, 1, 97, noise(31, index)))
            if 50 <= index < 100
            else octets,
        )
        for index, (at, octets) in enumerate(leg(CALLER, CALLED, 1, caller))
    ]
    call = opened(records)
    want = decoded(caller)
    want[8000:16_000] = 0
    assert np.array_equal(call.caller.pcm(), want)
    assert [str(codec) for codec in call.caller.codecs] == ["PCMU/8000", "UNKNOWN/8000"]
    assert "payload type 97: codec unknown" in warnings(call)


@pytest.mark.parametrize("frames", [1, 3], ids=lambda n: f"{n} packets a frame")
@pytest.mark.parametrize("described", ["own port", "bundle-only", "no sip"])
def test_video_on_the_audio_s_port_is_no_part_of_the_leg(described: str, frames: int) -> None:
    """RFC 8843: PCMU and H.264 on one port, 30 frames a second at 90 kHz."""
    caller, called = noise(32_000, 1), noise(32_000, 2)
    video = [
        (
            START_NS + frame * 33_333_333 + part * 300_000,
            udp(
                *CALLER,
                *CALLED,
                rtp(frame * frames + part, frame * 3000, 77, 96, noise(900, frame * 9 + part)),
            ),
        )
        for frame in range(120)
        for part in range(frames)
    ]
    port = {"own port": (CALLER[1], CALLED[1]), "bundle-only": (0, 0)}.get(described)
    said = plain(
        **{
            name: f"m=video {number} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            for name, number in zip(("offer", "answer"), port or (), strict=False)
        }
    )
    call = opened(leg(CALLER, CALLED, 1, caller), leg(CALLED, CALLER, 2, called), video, said if port else [])
    mixed = call.mix("stereo")
    assert np.array_equal(mixed[:, 0], decoded(caller))
    assert np.array_equal(mixed[:, 1], decoded(called))
    assert [str(codec) for codec in call.caller.codecs] == ["PCMU/8000"]
    assert (f"{120 * frames} packets of a second sender" in warnings(call)) == (port is None)


def test_audio_keeps_its_port_though_video_was_offered_there() -> None:
    """A payload type that the audio has too decides nothing."""
    caller = noise(16_000, 1)
    call = opened(
        leg(CALLER, CALLED, 1, caller),
        plain(answer=f"m=video {CALLED[1]} RTP/AVP 0 96\r\na=rtpmap:96 H264/90000\r\n"),
    )
    assert np.array_equal(call.mix("caller"), decoded(caller))


def test_each_branch_of_a_forked_call_has_its_own_numbers() -> None:
    """183 of one phone maps 98 to PCMU, 200 of another to PCMA (RFC 3261 13.2.2.4): two dialogs, one INVITE."""
    other = ("10.0.0.3", 7000)
    octets = noise(16_000, 1)
    to = "<sip:200@pbx>;tag="
    said = (
        (
            -2.0,
            CALLER,
            sip("INVITE sip:200@pbx SIP/2.0", body=sdp(*CALLER, {0: "PCMU/8000", 98: "PCMU/8000"})),
        ),
        (
            -1.0,
            CALLED,
            sip("SIP/2.0 183 Session Progress", to=to + "b1", body=sdp(*CALLED, {98: "PCMU/8000"})),
        ),
        (0.995, CALLED, sip("SIP/2.0 200 OK", to=to + "b2", body=sdp(*other, {98: "PCMA/8000"}))),
        (0.996, CALLER, sip("ACK sip:200@pbx SIP/2.0", to=to + "b2", cseq="1 ACK")),
    )
    call = opened(
        [
            (START_NS + round(at * 1e9), udp(source[0], 5060, "10.0.0.9", 5060, text))
            for at, source, text in said
        ],
        leg(CALLER, CALLED, 1, octets[:8000], kind=98),
        leg(CALLER, other, 3, octets[8000:], kind=98, first=900, stamp=77, begin_ns=START_NS + 10**9),
    )
    want = np.concatenate([decoded(octets[:8000]), decoded(octets[8000:], "PCMA")])
    assert np.array_equal(call.mix("caller"), want)


def test_a_new_description_leaves_the_streams_before_it_alone() -> None:
    """A re-INVITE gives 97 another codec for the stream that begins then."""
    octets = noise(16_000, 1)
    first, second = {97: "PCMU/8000"}, {97: "PCMA/8000"}
    again = [
        (at + 2_995_000_000, text)
        for at, text in signalling(sdp(*CALLER, second), sdp(*CALLED, second), end_s=60)[:2]
    ]
    call = opened(
        signalling(sdp(*CALLER, first), sdp(*CALLED, first)),
        [(at - 10**9, octets_) for at, octets_ in again],
        leg(CALLER, CALLED, 1, octets[:8000], kind=97),
        leg(CALLER, CALLED, 3, octets[8000:], kind=97, begin_ns=START_NS + 10**9),
    )
    want = np.concatenate([decoded(octets[:8000]), decoded(octets[8000:], "PCMA")])
    assert np.array_equal(call.mix("caller"), want)


@pytest.mark.parametrize("step", [320, 170, 161, 80, 158])
def test_timestamps_at_a_wrong_rate_are_counted_by_the_payloads(step: int) -> None:
    caller, called = noise(160 * 3000, 1), noise(160 * 3000, 2)
    call = opened(
        leg(CALLER, CALLED, 1, caller, step=step, stamp=(1 << 32) - 5000), leg(CALLED, CALLER, 2, called)
    )
    mixed = call.mix("stereo")
    assert mixed.shape == (480_000, 2)
    assert np.array_equal(mixed[:, 0], decoded(caller))
    assert np.array_equal(mixed[:, 1], decoded(called))
    assert len(call.caller.columns.gaps) == 0
    assert f"timestamps step by {step} where the payloads last 160 ticks" in warnings(call)


def test_a_second_of_a_wrong_rate_is_enough_and_a_handful_of_packets_is_not() -> None:
    octets = noise(160 * 50, 1)
    call = opened(leg(CALLER, CALLED, 1, octets, step=320))
    assert np.array_equal(call.mix("caller"), decoded(octets))
    few = opened(leg(CALLER, CALLED, 1, octets[: 160 * 20], step=320))
    assert "timestamps step" not in warnings(few)


def test_losses_and_pauses_keep_their_length_at_a_wrong_rate() -> None:
    """Every 50th packet is lost, and a pause of two seconds in the middle counts twice as well."""
    caller, called = noise(160 * 1000, 1), noise(160 * 1100, 2)
    first = leg(CALLER, CALLED, 1, caller[: 160 * 500], step=320)
    second = leg(
        CALLER, CALLED, 1, caller[160 * 500 :], step=320, first=501,
        stamp=1000 + 600 * 320, begin_ns=START_NS + 600 * PTIME_NS,
    )  # fmt: skip
    kept = [record for index, record in enumerate([*first, *second]) if index % 50 != 20]
    call = opened(kept, leg(CALLED, CALLER, 2, called))
    mixed, want = call.mix("stereo"), decoded(caller)
    assert len(mixed) == 160 * 1100
    assert call.caller.statistics.lost == 20
    assert np.array_equal(mixed[:1000, 0], want[:1000])
    assert np.array_equal(mixed[160 * 611 : 160 * 619, 0], want[160 * 511 : 160 * 519])
    assert not mixed[160 * 501 : 160 * 599, 0].any()


def test_a_pause_that_timestamps_count_is_no_wrong_rate() -> None:
    """Packets of 20 ms each 30 ms, as their timestamps say: the payloads are shorter, and arrival agrees."""
    octets = noise(160 * 400, 1)
    records = [
        (
            START_NS + packet * 30_000_000,
            udp(*CALLER, *CALLED, rtp(packet, packet * 240, 1, 0, octets[160 * packet :][:160])),
        )
        for packet in range(400)
    ]
    call = opened(records)
    assert "timestamps step" not in warnings(call)
    assert call.duration_s == pytest.approx(399 * 0.03 + 0.02)


def test_media_that_outlasts_its_arrival_is_told() -> None:
    """All packets within a second, as a converter writes them: believed, for nothing says otherwise, but told."""
    octets = noise(160 * 500, 1)
    records = [
        (
            START_NS + packet * 2_000_000,
            udp(*CALLER, *CALLED, rtp(packet, packet * 160, 1, 0, octets[160 * packet :][:160])),
        )
        for packet in range(500)
    ]
    call = opened(records)
    assert call.duration_s == pytest.approx(10)
    assert "its timestamps cover 10.0 s, but it arrived within 1.0 s" in warnings(call)
    assert "timestamps cover" not in warnings(opened(leg(CALLER, CALLED, 1, octets)))


def test_other_media_is_recorded_with_its_payload_types() -> None:
    call = CallDescription(
        "a@b", other_media=[OtherMedia("10.0.0.1", 4000, (96, 97)), OtherMedia("10.0.0.1", 4002)]
    )
    stored = _call_to_json(call)
    assert _call_from_json(stored).other_media == call.other_media
    stored["other_media"] = [["10.0.0.1", 4000]]  # as stored before payload types were
    stored["media"] = []
    assert _call_from_json(stored).other_media == [OtherMedia("10.0.0.1", 4000)]
