"""Careful inference of a codec from many packets: sizes, timestamp steps, arrival, and what the octets look like.

Every rule needs agreement over many packets and a physical check; when the evidence is thin or fits two codecs the
answer is None with the reason, because wrong audio is worse than none (traps 7 and 21).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import BY_NAME, Codec

__all__ = ["FEWEST_PACKETS", "Sample", "infer"]

FEWEST_PACKETS: Final = 16
_AGREE: Final = 0.9


@dataclass(slots=True)
class Sample:
    """Some packets of one payload type, in arrival order (first few thousand are plenty).

    Shapes ``(n,)``: raw ``sequence`` and ``timestamp``, ``arrival_ns``, ``size``; ``payloads`` holds their octets.
    """

    sequence: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    payloads: list[bytes]


def infer(sample: Sample) -> tuple[Codec | None, str]:
    """The codec the packets speak for, or None; and the reason in words."""
    if len(sample.size) and _is_event(sample):
        return BY_NAME["TELEPHONE-EVENT"], "4-octet payloads that count up at a standing timestamp"
    if len(sample.size) < FEWEST_PACKETS:
        return None, f"only {len(sample.size)} packets"
    step = np.diff(sample.timestamp) & 0xFFFFFFFF
    next_in_number = (np.diff(sample.sequence) & 0xFFFF) == 1
    good = next_in_number & (step > 0) & (step < 65536)
    if good.sum() < FEWEST_PACKETS - 1:
        return None, "too few packets follow one another"
    steps, sizes = step[good], sample.size[:-1][good]
    for rule in (_opus, _framed, _octet_per_tick, _linear):
        codec, reason = rule(sample, steps, sizes)
        if codec is not None:
            return codec, reason
    return (
        None,
        f"sizes and timestamp steps fit no codec (usual: {_mode(sizes)} octets, {_mode(steps)} ticks)",
    )


def _mode(values: NDArray[np.int64]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _is_event(sample: Sample) -> bool:
    """RFC 4733: 4 octets, known event, R bit clear, duration not falling while the timestamp stands."""
    if not bool(np.all(sample.size == 4)) or len(sample.payloads) < 3:
        return False
    octets = np.frombuffer(b"".join(sample.payloads), np.uint8).reshape(-1, 4).astype(np.int64)
    duration = octets[:, 2] * 256 + octets[:, 3]
    if np.any(octets[:, 0] > 16) or np.any(octets[:, 1] & 0x40):
        return False
    same = np.diff(sample.timestamp[: len(octets)]) == 0
    rising = np.diff(duration)[same] >= 0
    return bool(same.sum() >= len(same) / 2 and rising.mean() >= _AGREE if same.any() else False)


def _rate_hz(sample: Sample) -> float:
    """Ticks per second of arrival over the sample (the median slope of its thirds, jitter-proof enough for a ratio)."""
    third = len(sample.size) // 3
    ticks = (sample.timestamp[2 * third :] - sample.timestamp[: len(sample.size) - 2 * third]) & 0xFFFFFFFF
    seconds = (sample.arrival_ns[2 * third :] - sample.arrival_ns[: len(sample.size) - 2 * third]) * 1e-9
    usable = seconds > 0
    return float(np.median(ticks[usable] / seconds[usable])) if usable.any() else 0.0


def _opus(sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[Codec | None, str]:
    """RFC 7587: the clock is always 48000; frames of 2.5 to 120 ms; sizes vary, TOC configuration mostly stands."""
    if not 43_000 < _rate_hz(sample) < 53_000:
        return None, ""
    lawful = np.isin(steps, np.array([120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760]))
    tocs = np.array([payload[0] >> 3 for payload in sample.payloads if payload], np.int64)
    if lawful.mean() < _AGREE or len(np.unique(sizes)) < 3 or not len(tocs):
        return None, ""
    if (tocs == _mode(tocs)).mean() < 0.6:
        return None, ""
    return BY_NAME["OPUS"], "ticks at 48000 with Opus frame lengths and varying sizes"


def _framed(sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[Codec | None, str]:
    """Codecs of fixed frames: the size alone gives the ticks, and the timestamps must agree."""
    eight_khz = 6_000 < _rate_hz(sample) < 10_500
    if not eight_khz:
        return None, ""
    whole = (sizes % 10 == 0) | (sizes % 10 == 2)
    ticks = (sizes // 10 + (sizes % 10 == 2)) * 80
    if (whole & (ticks == steps) & (sizes >= 10)).mean() >= _AGREE and np.median(sizes) <= 60:
        return BY_NAME["G729"], "10 octets every 80 ticks"
    heads = np.array([payload[0] for payload in sample.payloads if payload], np.int64)
    if (sizes % 33 == 0).mean() >= _AGREE and (steps == sizes // 33 * 160).mean() >= _AGREE:
        if ((heads >> 4) == 0xD).mean() >= _AGREE:
            return BY_NAME["GSM"], "33 octets every 160 ticks, each with the GSM magic"
        return None, ""
    for octets, frame in ((38, 160), (50, 240)):
        if ((sizes % octets == 0) & (steps == sizes // octets * frame)).mean() >= _AGREE:
            return BY_NAME["ILBC"], f"{octets} octets every {frame} ticks"
    expected = (
        np.array([24, 20, 4, 1])[heads & 3] if len(heads) == len(sample.size) else np.zeros(0, np.int64)
    )
    if len(expected) and (expected == sample.size).mean() >= _AGREE and (steps == 240).mean() >= _AGREE:
        return BY_NAME["G723"], "24, 20 or 4 octets, as their first bits say, every 240 ticks"
    return None, ""


def _expand_ulaw(octets: NDArray[np.uint8]) -> NDArray[np.float64]:
    """G.711 µ-law to linear, only to judge smoothness; the decoder proper is native."""
    inverted = ~octets.astype(np.int64) & 0xFF
    magnitude = ((((inverted & 0x0F) << 3) + 0x84) << ((inverted >> 4) & 7)) - 0x84
    return np.where(inverted & 0x80, -magnitude, magnitude).astype(np.float64)


def _expand_alaw(octets: NDArray[np.uint8]) -> NDArray[np.float64]:
    """G.711 A-law to linear, only to judge smoothness."""
    toggled = octets.astype(np.int64) ^ 0x55
    exponent = (toggled >> 4) & 7
    mantissa = ((toggled & 0x0F) << 4) + 8
    magnitude = np.where(exponent > 0, (mantissa + 0x100) << np.maximum(exponent - 1, 0), mantissa)
    return np.where(toggled & 0x80, magnitude, -magnitude).astype(np.float64)


def _roughness(audio: NDArray[np.float64]) -> float:
    """Power of the first difference over power: 2 for white noise, well below 1 for speech at 8 kHz."""
    power = float(np.mean(audio**2))
    return float(np.mean(np.diff(audio) ** 2)) / power if power > 0 else 2.0


def _octet_per_tick(
    sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[Codec | None, str]:
    """PCMU, PCMA or G.722: one octet a tick. The right law sounds smooth, the wrong one and G.722 do not."""
    if (steps == sizes).mean() < _AGREE or not 6_000 < _rate_hz(sample) < 10_500:
        if (steps == 2 * sizes).mean() >= _AGREE and 13_000 < _rate_hz(sample) < 20_000:
            return BY_NAME["G722"], "one octet every two ticks of 16000, as some G.722 senders count"
        return None, ""
    octets = np.frombuffer(b"".join(sample.payloads), np.uint8)
    ulaw, alaw = _roughness(_expand_ulaw(octets)), _roughness(_expand_alaw(octets))
    best, other = sorted((ulaw, alaw))
    if best > 0.9 or best > 0.8 * other:
        return None, ""
    name = "PCMU" if ulaw < alaw else "PCMA"
    return BY_NAME[name], f"one octet a tick, and smooth as {name} only"


def _linear(sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[Codec | None, str]:
    """L16: two octets a tick, big-endian, smooth."""
    if (2 * steps == sizes).mean() < _AGREE:
        return None, ""
    rate = min((8000, 16000, 32000, 44100, 48000), key=lambda known: abs(known - _rate_hz(sample)))
    if abs(_rate_hz(sample) / rate - 1) > 0.1:
        return None, ""
    whole = [payload for payload in sample.payloads if len(payload) % 2 == 0]
    audio = np.frombuffer(b"".join(whole), ">i2").astype(np.float64)
    if len(audio) < 160 or _roughness(audio) > 0.9:
        return None, ""
    return Codec("L16", rate, rate), "two octets a tick, smooth as linear PCM"
