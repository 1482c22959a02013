"""Calls in the clear are never taken for SRTP, and SRTP of four packets and more never for a call in the clear."""

from __future__ import annotations

import base64
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from tests import captures as c

import callreplay
from bench import encryption as e
from callreplay.errors import EncryptedError
from callreplay.model import PacketFlag
from callreplay.packets.rows import count_parity

A, B = "10.0.0.1", "10.0.0.2"
SHORTEST: Final = 4


@pytest.fixture(scope="module", autouse=True)
def _vectors() -> None:
    if not e.VECTORS.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("no vectors")
        pytest.skip(f"{e.VECTORS} is missing; set CALLREPLAY_VECTORS")


@pytest.mark.parametrize("length", [2, SHORTEST, 100])
def test_nothing_in_the_clear_is_refused_or_doubted(length: int) -> None:
    found: Counter[str] = Counter()
    for (codec, sound), (payload_type, ticks, leg) in e.material().items():
        for part in e.parts(leg, length, 2):
            said = e.verdict(e.on_the_wire(payload_type, ticks, part))
            assert said == "played", (codec, sound)
            found[codec] += 1
    assert set(found) == {"pcm_mulaw", "pcm_alaw", "g722", "g729"}
    assert found.total() > 250


@pytest.mark.parametrize("profile", e.PROFILES)
@pytest.mark.parametrize(
    ("length", "said"), [(2, "told"), (3, "told"), (SHORTEST, "refused"), (100, "refused")]
)
def test_nothing_encrypted_is_played_without_a_word(profile: str, length: int, said: str) -> None:
    for number, (name, (payload_type, ticks, leg)) in enumerate(e.material().items()):
        if number % 6 == 0 or name[0] == "g729":
            (part,) = e.parts(leg, length, 1)
            assert e.verdict(e.on_the_wire(payload_type, ticks, part, profile)) == said, name


def _kept(capture: bytes, share: float) -> bytes:
    """The capture without some of its packets."""
    generator, at, kept = random.Random(1), 24, capture[:24]
    while at < len(capture):
        end = at + 16 + int.from_bytes(capture[at + 8 : at + 12], "little")
        kept += capture[at:end] if generator.random() < share else b""
        at = end
    return kept


@pytest.mark.parametrize("profile", e.PROFILES)
def test_a_fifth_of_the_packets_lost_hides_nothing(profile: str) -> None:
    for codec in ("pcm_alaw", "g729"):
        payload_type, ticks, leg = next(value for (of, _), value in e.material().items() if of == codec)
        for secret, said in ((profile, "refused"), ("", "played")):
            assert e.verdict(_kept(e.on_the_wire(payload_type, ticks, leg[:20], secret), 0.8)) == said


def test_a_call_encrypted_from_its_middle_on_is_refused() -> None:
    payload_type, ticks, leg = e.material()["pcm_alaw", "speech hts1a"]
    leg = (leg * 10)[:1000]
    clear, secret = (e.on_the_wire(payload_type, ticks, leg, profile) for profile in ("", "AES-GCM"))
    size = (len(clear) - 24) // 1000
    longer = (len(secret) - 24) // 1000
    assert e.verdict(clear[: 24 + 400 * size] + secret[24 + 400 * longer :]) == "refused"


def test_packets_of_g729_whose_clock_is_wrong_are_no_tag() -> None:
    """30 ms of frames at steps of 20 ms are just 10 octets too long; their parity tells that they are in the clear."""
    generator = random.Random(2)
    for name, octets in e.g729():
        if name == "PARITY":  # made of parity errors
            continue
        leg = [octets[at : at + 30] for at in range(0, min(len(octets), 3000) - 29, 30)]
        for length in (5, 50):
            assert e.verdict(e.on_the_wire(18, 160, leg[:length])) == "played", name
        assert e.verdict(e.on_the_wire(18, 160, [generator.randbytes(30) for _ in leg])) == "refused"


def test_parity_is_counted_as_the_clause_says() -> None:
    generator = np.random.default_rng(3)
    sizes = generator.integers(0, 35, 300).astype(np.uint16)
    offset = np.cumsum(sizes, dtype=np.int64) - sizes
    data = generator.integers(0, 256, int(sizes.sum()), dtype=np.uint8)
    flags = np.zeros(300, np.uint8)
    flags[10:20] = PacketFlag.TRUNCATED
    flags[20:30] = PacketFlag.SPILL  # which holds none of them
    held = frames = 0
    for row in [*range(10), *range(30, 300)]:
        payload = data[offset[row] : offset[row] + sizes[row]].tobytes()
        for at in range(0, len(payload) // 10 * 10, 10):
            bits = f"{int.from_bytes(payload[at : at + 10], 'big'):080b}"
            frames += 1
            held += bits[18:24].count("1") % 2 != int(bits[26])
    rows = np.arange(-2, 310)
    assert count_parity(data, np.zeros(0, np.uint8), offset, sizes, flags, rows) == (held, frames)
    assert frames > 300


def test_a_zrtp_hello_that_nobody_answers_encrypts_nothing() -> None:
    payload_type, ticks, leg = e.material()["g729", "SPEECH"]
    hello = e.T, c.udp(A, 4000, B, 5000, c.zrtp())
    for profile, said in (("", "played"), ("AES-CM, tag 32", "refused")):
        capture = c.pcap([hello]) + e.on_the_wire(payload_type, ticks, leg, profile)[24:]
        assert e.verdict(capture) == said


def _offered(leg: list[bytes], answered: bool) -> bytes:
    """A call whose offer has keys; the answer takes them or, as best effort allows, ignores them."""
    key = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(bytes(30)).decode()}\r\n"
    offer = c.sdp(A, 4000, {18: "G729/8000"}) + key
    answer = c.sdp(B, 5000, {18: "G729/8000"}) + key * answered
    said = (
        c.sip("INVITE sip:200@pbx SIP/2.0", body=offer),
        c.sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=answer),
    )
    records = [
        (e.T - 10**9, c.udp(A, 5060, B, 5060, said[0])),
        (e.T - 10**8, c.udp(B, 5060, A, 5060, said[1])),
    ]
    return c.pcap(records) + e.on_the_wire(18, 160, leg)[24:]


def test_keys_that_were_offered_and_not_taken_refuse_nothing() -> None:
    _, _, leg = e.material()["g729", "SPEECH"]
    assert e.verdict(_offered(leg, answered=False)) == "played"
    generator = random.Random(3)
    assert e.verdict(_offered([generator.randbytes(20) for _ in leg], answered=True)) == "refused"


@pytest.mark.parametrize(("size", "said"), [(160, "played"), (170, "told")])
def test_signalling_in_the_clear_does_not_hide_a_tag(size: int, said: str) -> None:
    generator = random.Random(6)
    leg = [generator.randbytes(size) for _ in range(3)]
    body = c.sdp(A, 4000, {0: "PCMU/8000"})
    records = [(e.T - 10**9, c.udp(A, 5060, B, 5060, c.sip("INVITE sip:200@pbx SIP/2.0", body=body)))]
    assert e.verdict(c.pcap(records) + e.on_the_wire(0, 160, leg)[24:]) == said


@pytest.mark.parametrize(("tag", "said"), [(0, "played"), (4, "refused"), (10, "refused")])
def test_g726_tells_by_its_length(tag: int, said: str) -> None:
    """Payload type 2 is half an octet a tick. Its octets may be spread evenly in the clear too."""
    generator = random.Random(7)
    leg = [generator.randbytes(80 + tag) for _ in range(60)]
    assert e.verdict(e.on_the_wire(2, 160, leg)) == said


def test_even_octets_of_the_right_length_are_told() -> None:
    generator = random.Random(4)
    leg = [generator.randbytes(160) for _ in range(60)]
    with callreplay.open(e.on_the_wire(0, 160, leg)) as capture:
        assert any("may be encrypted" in warning for warning in capture.calls[0].report()["warnings"])


@pytest.mark.parametrize(
    ("name", "ticks", "head"),
    [
        ("opus/48000", 960, lambda i: b"\xf8" if i % 4 else b"\x78"),
        (
            "opus/48000",
            960,
            lambda i: b"\x68\x78\xd8\xf8\x48"[i % 5 : i % 5 + 1],
        ),  # five configurations in turn
        ("GSM/8000", 160, lambda _: b"\xd3"),
        ("G723/8000", 240, lambda _: b"\xf0"),
    ],
)
def test_codecs_with_marks_tell_by_them(name: str, ticks: int, head: Callable[[int], bytes]) -> None:
    """Payloads of these are evenly spread in the clear as well; a dynamic payload type says no length."""
    generator = random.Random(5)
    size = {"opus/48000": 80, "GSM/8000": 33, "G723/8000": 24}[name]
    clear = [head(i) + generator.randbytes(size - 1) for i in range(50)]
    secret = [generator.randbytes(size + 10) for _ in range(50)]
    for leg, refused in ((clear, False), (secret, True)):
        with callreplay.open(e.on_the_wire(111, ticks, leg), codecs={111: name}) as capture:
            assert bool(capture.calls[0].encrypted) is refused
            if refused:
                with pytest.raises(EncryptedError):
                    capture.calls[0].mix()
