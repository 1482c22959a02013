"""SRTP and RED end to end: libsrtp encrypts, the capture carries the keys in its SDP, the pipeline gives the audio."""

from __future__ import annotations

import base64

import numpy as np
import pylibsrtp
import pytest
from tests import captures as c

import callreplay
from callreplay.errors import EncryptedError

T = 1_700_000_000_000_000_000
A, B = "10.0.0.1", "10.0.0.2"
KEYS = {A: bytes(range(30)), B: bytes(range(60, 90))}
Sent = list[tuple[int, bytes]]


def _payloads(seed: int, count: int = 60) -> list[bytes]:
    octets = np.random.default_rng(seed).integers(0, 256, count * 160, dtype=np.uint8)
    return [octets[i * 160 : (i + 1) * 160].tobytes() for i in range(count)]


def _signalled(profile: str, formats: dict[int, str], keys: bool) -> Sent:
    def body(address: str, port: int) -> str:
        key = base64.b64encode(KEYS[address]).decode()
        text = c.sdp(address, port, formats, profile=profile)
        return text + (f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n" if keys else "")

    invite = c.sip("INVITE sip:200@pbx SIP/2.0", body=body(A, 4000))
    ok = c.sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=body(B, 5000))
    return [
        (T - 2 * 10**9, c.udp(A, 5060, B, 5060, invite)),
        (T - 10**9, c.udp(B, 5060, A, 5060, ok)),
    ]


def _secret(address: str, payloads: list[bytes], first: int, **header: object) -> list[bytes]:
    """What is on the wire from packet ``first`` on; the sender began 65536 * 2 packets before it."""
    policy = pylibsrtp.Policy(
        key=KEYS[address],
        ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    )
    sender = pylibsrtp.Session(policy)
    for index in range(0, first, 8000):  # libsrtp follows the rollovers
        sender.protect(c.rtp(index, 0, 7, 0, b""))
    return [
        sender.protect(c.rtp(first + i, i * 160, 7, 0, payload, **header))  # type: ignore[arg-type]
        for i, payload in enumerate(payloads)
    ]


def _wire(packets: list[bytes], address: str) -> Sent:
    ends = ((A, 4000), (B, 5000)) if address == A else ((B, 5000), (A, 4000))
    return [(T + i * 20_000_000, c.udp(*ends[0], *ends[1], packet)) for i, packet in enumerate(packets)]


def _call(first: int, keys: bool = True, **header: object) -> tuple[Sent, list[bytes], list[bytes]]:
    one, two = _payloads(1), _payloads(2)
    sent = _signalled("RTP/SAVP", {0: "PCMU/8000"}, keys)
    sent += _wire(_secret(A, one, first, **header), A) + _wire(_secret(B, two, first), B)
    return sorted(sent), one, two


def _clear(one: list[bytes], two: list[bytes]) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    sent = _signalled("RTP/AVP", {0: "PCMU/8000"}, False)
    for address, payloads in ((A, one), (B, two)):
        sent += _wire([c.rtp(9 + i, i * 160, 7, 0, payload) for i, payload in enumerate(payloads)], address)
    with callreplay.open(c.pcap(sorted(sent))) as capture:
        return capture.calls[0].mix()


@pytest.mark.parametrize("first", [5, 65510, 131_100])
def test_keys_in_the_sdp_decrypt_a_call_from_any_point(first: int) -> None:
    sent, one, two = _call(first)
    with callreplay.open(c.pcap(sent)) as capture:
        (call,) = capture.calls
        assert np.array_equal(call.mix(), _clear(one, two))
        assert capture.counters()["srtp_decrypted"] == 120
        assert not any("SRTP" in warning for warning in capture.warnings)


@pytest.mark.parametrize(
    "header",
    [{"csrc": (1, 2, 3)}, {"extension": (0xBEDE, bytes(12))}, {"csrc": (9,), "extension": (1, b"abcd")}],
)
def test_headers_of_any_length_are_authenticated(header: dict[str, object]) -> None:
    sent, one, two = _call(5, True, **header)
    with callreplay.open(c.pcap(sent)) as capture:
        assert np.array_equal(capture.calls[0].mix(), _clear(one, two))


def test_without_keys_the_call_is_refused() -> None:
    sent, _, _ = _call(5, keys=False)
    with callreplay.open(c.pcap(sent)) as capture, pytest.raises(EncryptedError):
        capture.calls[0].mix()


def test_wrong_keys_are_refused_and_never_noise() -> None:
    sent, _, _ = _call(5)
    wrong = base64.b64encode(bytes(30))
    sent = [
        (time, frame.replace(base64.b64encode(KEYS[A]), wrong).replace(base64.b64encode(KEYS[B]), wrong))
        for time, frame in sent
    ]
    with callreplay.open(c.pcap(sent)) as capture, pytest.raises(EncryptedError):
        capture.calls[0].mix()


def test_forged_packets_are_dropped_and_told() -> None:
    sent, _, _ = _call(5)
    last = bytearray(sent[-1][1])
    last[-1] ^= 1
    sent[-1] = (sent[-1][0], bytes(last))
    with callreplay.open(c.pcap(sent)) as capture:
        assert capture.counters()["srtp_failed"] == 1
        assert any("1 SRTP packets do not authenticate" in warning for warning in capture.warnings)
        assert capture.calls[0].mix().any()


@pytest.mark.parametrize("hinted", [False, True])
def test_red_fills_lost_packets(hinted: bool) -> None:
    one, two = _payloads(1), _payloads(2)
    types = {0: "PCMU/8000"} if hinted else {96: "red/8000", 0: "PCMU/8000"}
    sent = _signalled("RTP/AVP", types, False)
    for address, payloads in ((A, one), (B, two)):
        carried = [
            c.red(payload, 0, *(((0, 160, payloads[i - 1]),) if i else ()))
            for i, payload in enumerate(payloads)
        ]
        wire = _wire([c.rtp(9 + i, i * 160, 7, 96, octets) for i, octets in enumerate(carried)], address)
        sent += [packet for i, packet in enumerate(wire) if i % 7 != 2]
    codecs = {96: "red/8000"} if hinted else None
    with callreplay.open(c.pcap(sorted(sent)), codecs=codecs) as capture:
        (call,) = capture.calls
        assert np.array_equal(call.mix(), _clear(one, two))
        assert capture.counters()["red"] > 90
