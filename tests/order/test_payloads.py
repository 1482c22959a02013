"""What payload types mean when nobody says: inferred with care, or unknown."""

import math
import os
import struct

import numpy as np
import pytest

from callreplay.codecs import BY_NAME, Codec
from callreplay.order.inference import Guess, infer
from callreplay.order.legs import LegMedia, assemble
from tests.order.test_legs import described
from tests.scenario.call import Call, Network


def voice(octets: int, law: str) -> list[bytes]:
    """Payloads of a vowel-like sound under a G.711 law, made with the textbook formulas."""
    pcm = [
        8000 * math.sin(n * 0.09) * (0.5 + 0.5 * math.sin(n * 0.001)) + 3000 * math.sin(n * 0.2)
        for n in range(octets * 200)
    ]
    code = bytes(_ulaw(int(x)) if law == "PCMU" else _alaw(int(x)) for x in pcm)
    return [code[i : i + octets] for i in range(0, len(code), octets)]


def _ulaw(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample) + 132, 32767)
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 15) & 0xFF


def _alaw(sample: int) -> int:
    sign = 0x80 if sample >= 0 else 0
    magnitude = min(abs(sample), 32767) >> 4
    exponent = max(magnitude.bit_length() - 4, 0)
    mantissa = (magnitude >> max(exponent - 1, 0)) & 15
    return (sign | exponent << 4 | mantissa) ^ 0x55


def leg(bodies: list[bytes], ticks: int, clock: int = 8000, payload_type: int = 105) -> LegMedia:
    call = Call.between()
    codec = Codec("X", clock, clock)
    for body in bodies:
        call.caller.payload = lambda number, octets, body=body: body
        call.caller.use(codec, payload_type, len(body), ticks).talk(ticks / clock)
    call.networks = (Network(20, 30, 0.02, seed=3), Network())
    return assemble(call.scan())[0].caller


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_trap_21_g711_is_told_by_its_smoothness(law: str) -> None:
    media = leg(voice(160, law), 160)
    assert str(media.codec) == f"{law}/8000"
    assert media.columns.spans[0].inferred
    assert any("inferred" in text for text in media.warnings)


@pytest.mark.parametrize(
    ("name", "bodies", "ticks", "clock"),
    [
        ("G729", [os.urandom(20) for _ in range(100)], 160, 8000),
        ("GSM", [b"\xd5" + os.urandom(32) for _ in range(100)], 160, 8000),
        ("ILBC", [os.urandom(38) for _ in range(100)], 160, 8000),
        ("ILBC", [os.urandom(50) for _ in range(100)], 240, 8000),
        ("G723", [bytes([n % 2]) + os.urandom(23 - 4 * (n % 2)) for n in range(0, 200)], 240, 8000),
        ("OPUS", [b"\x78" + os.urandom(40 + n % 30) for n in range(200)], 960, 48000),
        (
            "L16",
            [struct.pack(">320h", *(int(9000 * math.sin(k * 0.1)) for k in range(320)))] * 60,
            320,
            16000,
        ),
    ],
)
def test_trap_21_framed_codecs_are_told_by_size_and_step(
    name: str, bodies: list[bytes], ticks: int, clock: int
) -> None:
    if name == "G723":
        bodies = [bytes([body[0] & 0xFC | (0 if len(body) == 24 else 1)]) + body[1:] for body in bodies]
    media = leg(bodies, ticks, clock)
    assert media.codec is not None
    assert (media.codec.name, media.codec.clock_rate_hz) == (name, clock)


@pytest.mark.parametrize(
    ("bodies", "ticks"),
    [
        ([os.urandom(160) for _ in range(200)], 160),  # G.722, or encrypted G.711: noise to either law
        ([os.urandom(170) for _ in range(200)], 160),  # SRTP with its tag
        (voice(160, "PCMU")[:5], 160),  # too few
    ],
)
def test_trap_21_no_guess_is_made_on_thin_evidence(bodies: list[bytes], ticks: int) -> None:
    media = leg(bodies, ticks)
    assert str(media.codec) == "UNKNOWN/8000"
    assert media.codec is not None
    assert media.codec.kind == "other"
    assert any("unknown" in text for text in media.warnings)
    assert media.statistics.mos is None
    assert len(media.columns.offset) > 0


def test_hints_name_payload_types_and_signalling_outranks_them() -> None:
    call = Call.between()
    call.caller.use(BY_NAME["G729"], 118, 20, 160).talk(2)
    media = assemble(call.scan(), hints={118: BY_NAME["G729"]})[0].caller
    assert str(media.codec) == "G729/8000"
    assert not media.columns.spans[0].inferred
    assert media.warnings == []


def test_static_types_need_no_hint_and_yield_to_one() -> None:
    call = Call.between()
    call.caller.use(BY_NAME["PCMU"], 0, 160, 160).talk(2)
    assert str(assemble(call.scan())[0].caller.codec) == "PCMU/8000"
    media = assemble(call.scan(), hints={0: BY_NAME["PCMA"]})[0].caller
    assert str(media.codec) == "PCMA/8000"
    assert media.warnings == []


def test_a_hint_that_signalling_outranks_is_told() -> None:
    call = Call.between()
    call.caller.use(BY_NAME["PCMU"], 0, 160, 160).talk(2)
    media = assemble(call.scan(), [described(call)], hints={0: BY_NAME["PCMA"]})[0].caller
    assert str(media.codec) == "PCMU/8000"
    assert media.warnings == [
        "SSRC 0xaaaa0001: payload type 0: PCMA/8000 was asked for, but signalling says PCMU/8000"
    ]


def test_a_g722_sender_at_16000_is_recognised_without_signalling() -> None:
    octets = [bytes(0xC0 | n * k % 37 for n in range(160)) for k in range(200)]  # both bands, unevenly spread
    media = leg(octets, 320, 16000)
    assert str(media.codec) == "G722/8000"
    assert media.columns.spans[0].end_tick == pytest.approx(200 * 160, abs=480)


def test_infer_on_nothing() -> None:
    from callreplay.order.inference import Sample

    nothing = np.zeros(0, np.int64)
    assert infer(Sample(nothing, nothing, nothing, nothing)) == Guess(None, "only 0 packets")
