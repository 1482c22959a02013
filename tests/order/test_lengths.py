"""Length is not time, and a name is not a codec: made streams whose payloads, timestamps and names disagree."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay.codecs import BY_NAME, Codec
from callreplay.order.legs import LegMedia, assemble
from callreplay.order.packings import amr_share
from tests.cases import UNSHRUNK
from tests.order.test_legs import described
from tests.order.test_payloads import voice
from tests.scenario.call import Call, Network
from tests.scenario.truth import duration_ms


def _leg(
    bodies: list[bytes],
    ticks: int,
    payload_type: int,
    codec: Codec | None,
    *,
    clock: int = 8000,
    jitter_ms: float = 0.0,
    loss: float = 0.0,
) -> LegMedia:
    """A leg of these payloads, one every ``ticks``; ``codec`` is what a hint calls it."""
    call = Call.between()
    for body in bodies:
        call.caller.payload = lambda number, octets, body=body: body
        call.caller.use(Codec("X", clock, clock), payload_type, len(body), ticks).talk(ticks / clock)
    call.networks = (Network(20, jitter_ms, loss, seed=3), Network())
    return assemble(call.scan(), hints={payload_type: codec} if codec else {})[0].caller


@settings(max_examples=25, deadline=None, phases=UNSHRUNK)
@given(
    name=st.sampled_from(["PCMU", "PCMA", "G722", "G729"]),
    extra=st.sampled_from([4, 10, 14, 16, 33]),
    packet_ms=st.sampled_from([20, 30, 40]),
    jitter_ms=st.sampled_from([0.0, 20.0, 60.0]),
    loss=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 99),
)
def test_what_is_left_on_a_payload_is_no_time(
    name: str, extra: int, packet_ms: int, jitter_ms: float, loss: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    octets = packet_ms if name == "G729" else packet_ms * 8
    if name == "G729":
        extra = 10  # less than a frame is no frame
    bodies = [random.integers(0, 256, octets + extra, np.uint8).tobytes() for _ in range(600)]
    leg = _leg(bodies, packet_ms * 8, 96, BY_NAME[name], jitter_ms=jitter_ms, loss=loss)
    assert duration_ms(leg) == pytest.approx(600 * packet_ms, abs=10 + (packet_ms * 8 if loss else 0))
    assert leg.statistics.late == 0
    assert set(leg.columns.size.tolist()) == {octets}
    assert any("too many" in text for text in leg.warnings)


def _stereo(law: str, same: bool) -> list[bytes]:
    one = b"".join(voice(160, law))
    other = one if same else b"".join(voice(160, law)[::-1])
    both = np.stack([np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)], axis=1).tobytes()
    return [both[i : i + 320] for i in range(0, len(both), 320)]


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
@pytest.mark.parametrize("same", [True, False])
def test_two_channels_that_were_called_one(law: str, same: bool) -> None:
    leg = _leg(_stereo(law, same), 160, 96, BY_NAME[law], jitter_ms=20)
    assert leg.codec is not None
    assert (leg.codec.name, leg.codec.channels) == (law, 2)
    assert duration_ms(leg) == pytest.approx(4000, abs=5)


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_two_channels_that_nobody_named(law: str) -> None:
    leg = _leg(_stereo(law, False), 160, 105, None, jitter_ms=20)
    assert str(leg.codec) == f"{law}/8000/2"
    assert any("not L16/8000" in text or "L16/8000" in text for text in leg.warnings)


def test_linear_pcm_is_still_told() -> None:
    sound = [int(9000 * math.sin(k * 0.1) * (1 + math.sin(k * 0.003))) // 2 for k in range(160 * 200)]
    octets = np.array(sound, ">i2").tobytes()
    leg = _leg([octets[i : i + 320] for i in range(0, len(octets), 320)], 160, 105, None)
    assert str(leg.codec) == "L16/8000"


@pytest.mark.parametrize("clock", [8000, 16000, 44100, 48000, 90000])
def test_an_unknown_codec_has_the_clock_that_arrival_shows(clock: int) -> None:
    random = np.random.default_rng(2)
    bodies = [
        random.integers(0, 256, 90 + int(random.integers(0, 5)), np.uint8).tobytes() for _ in range(400)
    ]
    leg = _leg(bodies, clock // 50, 105, None, clock=clock, jitter_ms=40)
    assert leg.codec is not None
    assert leg.codec.kind == "other" or leg.codec.name == "OPUS"
    assert leg.codec.clock_rate_hz == clock
    assert duration_ms(leg) == pytest.approx(8000, abs=100)


def _amr(kinds: list[int], *, wide: bool, aligned: bool, frames: int) -> list[bytes]:
    sizes = (
        (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)
        if wide
        else (95, 103, 118, 134, 148, 159, 204, 244, 39)
    )
    random = np.random.default_rng(4)
    found = []
    for first in range(0, len(kinds) - frames + 1, frames):
        mine = kinds[first : first + frames]
        bits = "11110000" if aligned else "1111"
        for index, kind in enumerate(mine):
            bits += f"{int(index + 1 < len(mine))}{kind:04b}1" + ("00" if aligned else "")
        for kind in mine:
            speech = "".join(map(str, random.integers(0, 2, sizes[kind])))
            bits += speech + ("0" * (-len(speech) % 8) if aligned else "")
        bits += "0" * (-len(bits) % 8)
        found.append(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    return found


@settings(max_examples=25, deadline=None, phases=UNSHRUNK)
@given(
    wide=st.booleans(),
    aligned=st.booleans(),
    said=st.sampled_from(["", "octet-align=1", "octet-align=0", "mode-set=7"]),
    frames=st.integers(1, 3),
    modes=st.lists(st.integers(0, 7), min_size=1, max_size=3),
)
def test_amr_is_read_in_the_packing_it_has(
    wide: bool, aligned: bool, said: str, frames: int, modes: list[int]
) -> None:
    kinds = [modes[n % len(modes)] if n % 11 else 8 + wide for n in range(300)]
    bodies = _amr(kinds, wide=wide, aligned=aligned, frames=frames)
    assert amr_share(bodies, wide=wide, aligned=aligned, frames=frames) == 1.0
    codec = BY_NAME["AMR-WB" if wide else "AMR"]
    named = Codec(codec.name, codec.clock_rate_hz, codec.sample_rate_hz, fmtp=said)
    clock = codec.clock_rate_hz
    leg = _leg(bodies, frames * clock // 50, 97, named, clock=clock)
    assert leg.codec is not None
    assert leg.codec.name == codec.name
    assert ("octet-align=1" in leg.codec.fmtp) == aligned
    unnamed = _leg(bodies, frames * clock // 50, 97, None, clock=clock)
    assert unnamed.codec is not None
    assert (unnamed.codec.name, "octet-align=1" in unnamed.codec.fmtp) == (codec.name, aligned)


def test_amr_in_no_packing_is_silent_with_its_reason() -> None:
    random = np.random.default_rng(1)
    bodies = [random.integers(0, 256, 40, np.uint8).tobytes() for _ in range(100)]
    leg = _leg(bodies, 160, 97, BY_NAME["AMR"])
    assert leg.codec is not None
    assert leg.codec.kind == "other"
    assert any("in neither packing" in text for text in leg.warnings)


def test_a_type_that_signalling_gives_to_events_carries_audio() -> None:
    call = Call.between()
    bodies = voice(160, "PCMU")
    call.caller.payload = lambda number, octets: bodies[number % len(bodies)]
    call.caller.use(BY_NAME["PCMU"], 101, 160, 160).talk(4)
    call.called.talk(4)
    description = described(call)
    for media in description.media:
        media.payload_types[101] = BY_NAME["TELEPHONE-EVENT"]
    leg = assemble(call.scan(), [description])[0].caller
    assert str(leg.codec) == "PCMU/8000"
    assert leg.events == []
    assert any("signalling says TELEPHONE-EVENT/8000" in text for text in leg.warnings)
