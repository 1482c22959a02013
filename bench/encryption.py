"""Encryption: how often calls in the clear are taken for SRTP, and SRTP for a call, by the length of a leg.

Real speech encoded here, the ITU's G.729 streams, silence, comfort noise, music, DTMF and white noise of many levels,
each in the clear and through libsrtp; legs of 1 to 1000 packets without signalling. ``refused`` counts legs that the
pipeline refuses, ``told`` those that it plays with a warning that they may be encrypted, ``played`` the rest: no leg
that is encrypted, and every one in the clear, must be there. Needs the vectors (``CALLREPLAY_VECTORS``).
"""

from __future__ import annotations

import functools
import os
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pylibsrtp
from numpy.typing import NDArray
from tests import captures as c

import callreplay

VECTORS: Final = Path(
    os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[2] / "shared" / "vectors")
)
LENGTHS: Final = (1, 2, 3, 4, 5, 20, 100, 1000)
CODECS: Final = {"pcm_mulaw": (0, 8000), "pcm_alaw": (8, 8000), "g722": (9, 16000)}
PROFILES: Final = {
    "AES-CM, tag 80": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AES-CM, tag 32": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    "AES-GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
}
Leg = list[bytes]
T: Final = 1_700_000_000_000_000_000
_SECONDS: Final = 5
Audio = NDArray[np.float64]


def _speech(rate: int) -> Iterator[tuple[str, Audio]]:
    for path in sorted((VECTORS / "speech").glob("*.wav")):
        with wave.open(str(path)) as file:
            found = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(float)
            yield f"speech {path.stem}", _at(found, file.getframerate(), rate)
    raw = np.fromfile(VECTORS / "speech" / "hts1a.raw", np.int16).astype(float)
    yield "speech hts1a", _at(raw, 8000, rate)


def _at(audio: Audio, have: int, want: int) -> Audio:
    return np.asarray(np.interp(np.arange(0, len(audio), have / want), np.arange(len(audio)), audio))


def _sounds(rate: int) -> Iterator[tuple[str, Audio]]:
    """Everything that a call may carry, at ``rate`` samples a second."""
    time = np.arange(_SECONDS * rate) / rate
    generator = np.random.default_rng(1)
    yield from _speech(rate)
    for name, audio in list(_speech(rate)):
        yield f"{name}, loud", audio * 32767 / np.abs(audio).max() * 2
    yield "silence", np.zeros(len(time))
    yield "dtmf", 8000 * (np.sin(2 * np.pi * 770 * time) + np.sin(2 * np.pi * 1336 * time))
    yield "ringback", 6000 * np.sin(2 * np.pi * 425 * time) * (time % 5 < 1)
    for level in (0.0005, 0.003, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0):
        yield f"white noise {level}", generator.normal(0, level * 32767, len(time))
        yield f"uniform noise {level}", generator.uniform(-level * 32767, level * 32767, len(time))
        pink = np.cumsum(generator.normal(0, 1, len(time)))
        pink -= np.convolve(pink, np.ones(400) / 400, "same")
        yield f"comfort noise {level}", pink * level * 32767 / np.abs(pink).max()
    music = sum(
        np.sin(2 * np.pi * 220 * 2 ** (note / 12) * harmonic * time) / harmonic * np.exp(-3 * (time * 2 % 1))
        for note in (0, 4, 7, 12)
        for harmonic in (1, 2, 3, 4, 5)
    )
    for level in (0.05, 0.2, 1.0, 2.0):
        yield f"music {level}", music * level * 32767 / np.abs(music).max()


def _encode(codec: str, audio: Audio) -> bytes:
    context: Any = av.CodecContext.create(codec, "w")
    context.sample_rate, context.format, context.layout = CODECS[codec][1], "s16", "mono"
    frame = av.AudioFrame.from_ndarray(
        np.clip(audio, -32768, 32767).astype(np.int16)[None, :], format="s16", layout="mono"
    )
    frame.sample_rate = CODECS[codec][1]
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def g729() -> Iterator[tuple[str, bytes]]:
    """The ITU's streams as the octets that RTP carries; frames that are not speech left out."""
    for path in sorted((VECTORS / "g729").glob("*.[bB][iI][tT]")):
        words, at, octets = np.fromfile(path, "<u2"), 0, b""
        while at + 2 <= len(words):
            size = int(words[at + 1])
            bits = words[at + 2 : at + 2 + size]
            if size == 80 and bits.all():
                octets += np.packbits(bits == 0x81).tobytes()
            at += 2 + size
        yield path.stem, octets


@functools.cache
def material() -> dict[tuple[str, str], tuple[int, int, Leg]]:
    """(codec, sound) -> payload type, ticks a packet, payloads of 20 ms in the clear."""
    found: dict[tuple[str, str], tuple[int, int, Leg]] = {}
    for codec, (payload_type, rate) in CODECS.items():
        for name, audio in _sounds(rate):
            octets = _encode(codec, audio)
            leg = [octets[at : at + 160] for at in range(0, len(octets) - 159, 160)]
            found[codec, name] = payload_type, 160, leg
    for name, octets in g729():
        found["g729", name] = 18, 160, [octets[at : at + 20] for at in range(0, len(octets) - 19, 20)]
    return found


def on_the_wire(payload_type: int, ticks: int, leg: Leg, profile: str = "") -> bytes:
    """A capture of one leg, in the clear or, with a profile, as libsrtp sends it."""
    packets = [c.rtp(i, i * ticks, 7, payload_type, payload) for i, payload in enumerate(leg)]
    if profile:
        number, size = PROFILES[profile]
        policy = pylibsrtp.Policy(
            key=bytes(range(size)), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=number
        )
        sender = pylibsrtp.Session(policy)
        packets = [sender.protect(packet) for packet in packets]
    return c.pcap(
        [
            (T + i * 20_000_000, c.udp("10.0.0.1", 4000, "10.0.0.2", 5000, packet))
            for i, packet in enumerate(packets)
        ]
    )


def verdict(capture: bytes) -> str:
    """``refused``, ``told`` or ``played`` without a word; ``none`` where there is no leg (a lone packet is none)."""
    with callreplay.open(capture) as found:
        if not found.calls:
            return "none"
        call = found.calls[0]
        if call.encrypted:
            return "refused"
        return "told" if any("encrypted" in text for text in call.warnings) else "played"


def parts(leg: Leg, length: int, most: int) -> Iterator[Leg]:
    """Up to ``most`` legs of ``length`` packets out of one, which is repeated where it is shorter."""
    while len(leg) < length:
        leg = leg + leg
    starts = range(0, len(leg) - length + 1, max(1, (len(leg) - length) // most))
    for start in list(starts)[:most]:
        yield leg[start : start + length]


def spread(leg: Leg) -> float:
    """The chi-square of a leg's octets against a uniform spread."""
    counts = np.bincount(np.frombuffer(b"".join(leg), np.uint8), minlength=256)
    return float((counts**2).sum() * 256 / counts.sum() - counts.sum())


def run() -> list[dict[str, object]]:
    """Rows of codec and packets a leg; ``secret_`` counts are of all profiles, of three times the legs.

    ``clear_spread`` is the lowest chi-square of the legs in the clear; encryption has 255, and at most about 400.
    """
    rows: list[dict[str, object]] = []
    for codec in sorted({codec for codec, _ in material()}):
        for length in LENGTHS:
            clear, secret, even = Counter[str](), Counter[str](), float("inf")
            for (of, _), (payload_type, ticks, leg) in material().items():
                for part in parts(leg, length, 12 if length < 1000 else 2) if of == codec else ():
                    even = min(even, spread(part))
                    clear[verdict(on_the_wire(payload_type, ticks, part))] += 1
                    secret.update(verdict(on_the_wire(payload_type, ticks, part, name)) for name in PROFILES)
            row: dict[str, object] = {"name": f"{codec}, {length} packets", "legs": clear.total()}
            row |= {f"clear_{said}": clear[said] for said in ("refused", "told")}
            row["clear_spread"] = round(even)
            row |= {f"secret_{said}": secret[said] for said in ("refused", "told", "played")}
            rows.append(row)
    return rows
