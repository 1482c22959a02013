"""How much octets sound like speech, read as one codec or another: only to judge, the decoders proper are native.

Speech at 8 kHz changes little from sample to sample; read as the wrong codec it does not, and encrypted
octets never do.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROUGH", "evenly_spread", "expand", "reading_roughness", "roughness", "two_channels"]

ROUGH: Final = 0.9
"""Rougher than this is no speech: white noise has 2, unvoiced sounds among voiced ones well below 1."""


def _ulaw() -> NDArray[np.float64]:
    inverted = ~np.arange(256) & 0xFF
    magnitude = ((((inverted & 0x0F) << 3) + 0x84) << ((inverted >> 4) & 7)) - 0x84
    return np.where(inverted & 0x80, -magnitude, magnitude).astype(np.float64)


def _alaw() -> NDArray[np.float64]:
    toggled = np.arange(256) ^ 0x55
    exponent = (toggled >> 4) & 7
    mantissa = ((toggled & 0x0F) << 4) + 8
    magnitude = np.where(exponent > 0, (mantissa + 0x100) << np.maximum(exponent - 1, 0), mantissa)
    return np.where(toggled & 0x80, magnitude, -magnitude).astype(np.float64)


_TABLES: Final = {"PCMU": _ulaw(), "PCMA": _alaw()}


def expand(name: str, payload: bytes, channels: int = 1) -> NDArray[np.float64]:
    """Samples ``(n, channels)`` of a payload of PCMU, PCMA or L16, on the scale of 16 bits; a rest is left out."""
    if name in _TABLES:
        audio = _TABLES[name][np.frombuffer(payload, np.uint8)]
    else:
        audio = np.frombuffer(payload[: len(payload) // 2 * 2], ">i2").astype(np.float64)
    return audio[: len(audio) // channels * channels].reshape(-1, channels)


def roughness(audio: NDArray[np.float64]) -> float:
    """Power of the first difference over power, of samples ``(n, channels)`` or ``(n,)``; 2 for white noise."""
    power = float(np.mean(audio**2)) if audio.size else 0.0
    return float(np.mean(np.diff(audio, axis=0) ** 2)) / power if power > 0 and len(audio) > 1 else 2.0


def reading_roughness(name: str, payloads: list[bytes], channels: int = 1) -> float:
    """Roughness of payloads read as a codec; of several channels each by itself."""
    return roughness(expand(name, b"".join(payloads), channels))


def two_channels(name: str, payloads: list[bytes]) -> bool:
    """Whether every other sample belongs to another channel: a sample is nearer to the next but one than to the next.

    Or, of the same sound in both channels, two samples of a pair are nearer to each other than pairs are.
    """
    pairs = expand(name, b"".join(payloads), 2)
    if len(pairs) < 2 or not np.any(pairs):
        return False
    within = float(np.mean((pairs[:, 1] - pairs[:, 0]) ** 2))
    between = float(np.mean((pairs[1:, 0] - pairs[:-1, 1]) ** 2))
    onward = float(np.mean(np.diff(pairs, axis=0) ** 2))
    return onward < 0.9 * (within + between) / 2 or within < 0.5 * between


def evenly_spread(payloads: list[bytes]) -> bool:
    """Whether octets are spread as evenly as only encryption leaves them: chi-square over 256 values, about 255."""
    counts = np.bincount(np.frombuffer(b"".join(payloads), np.uint8), minlength=256)
    expected = counts.sum() / 256
    return bool(expected >= 8 and float(np.sum((counts - expected) ** 2) / expected) < 400)
