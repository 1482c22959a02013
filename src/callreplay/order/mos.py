"""Listening quality by the E-model, from packet loss alone.

ITU-T G.107 (06/2015): R = Ro - Is - Id - Ie,eff + A with every parameter the capture does not show at its default,
which makes Ro - Is 93.2 (clause 7.7). Equipment impairment and loss robustness per codec: ITU-T G.113 (11/2007)
appendix I. Delay is not visible at one tap: 100 ms or less is assumed, where Idd is nought (clause 7.4), unless given.
The scale is narrowband for every codec; a wideband codec gets the R of its narrowband competitor at best.
"""

from __future__ import annotations

import math
from typing import Final

from callreplay.codecs import Codec
from callreplay.deferred import dataclass

__all__ = ["Quality", "burst_ratio", "estimate"]

_DEFAULT_R: Final = 93.2

# Ie (G.113 table I.1) and Bpl (table I.5, random loss, with the codec's own concealment).
_IMPAIRMENT: Final[dict[str, tuple[float, float]]] = {
    "PCMU": (0.0, 25.1),
    "PCMA": (0.0, 25.1),
    "G729": (11.0, 19.0),
    "G723": (15.0, 16.1),
    "GSM": (20.0, 10.0),
    "AMR": (5.0, 10.0),
    "G726-40": (2.0, 4.3),
    "G726-32": (7.0, 4.3),
    "G726-24": (25.0, 4.3),
    "G726-16": (50.0, 4.3),
}
# Not in the appendix: these stand in, and ``Quality.assumed`` says so.
_ASSUMED: Final[dict[str, tuple[float, float]]] = {
    "G722": (0.0, 25.1),
    "L16": (0.0, 25.1),
    "OPUS": (0.0, 25.1),
    "ILBC": (11.0, 32.0),
    "SPEEX": (11.0, 19.0),
    "AMR-WB": (5.0, 10.0),
}


@dataclass(frozen=True, slots=True)
class Quality:
    """Transmission rating ``r`` (0 to 93.2), ``mos`` (1 to 4.5, MOS-CQE); ``assumed``: the codec is not in G.113."""

    r: float
    mos: float
    assumed: bool


def burst_ratio(lost: int, bursts: int, expected: int) -> float:
    """BurstR of G.107 clause 7.5: mean length of the bursts of loss over that of random loss, 1 / (1 - p).

    1.0 without loss; below 1 when losses keep apart.
    """
    if lost <= 0 or bursts <= 0 or expected <= 0:
        return 1.0
    probability = lost / expected if lost < expected else 1.0
    ratio = lost / bursts * (1 - probability)
    return ratio if ratio > 1e-3 else 1e-3


def estimate(
    codec: Codec, loss_percent: float, ratio: float = 1.0, delay_ms: float = 100.0
) -> Quality | None:
    """R and MOS of one direction; None for a codec with no known figures.

    ``loss_percent`` is 0..100, ``ratio`` BurstR, ``delay_ms`` the one-way delay from mouth to ear.

    >>> from callreplay.codecs import STATIC
    >>> quality = estimate(STATIC[0], 0.0)
    >>> round(quality.r, 1), round(quality.mos, 2)
    (93.2, 4.41)
    """
    name = codec.name
    figures, assumed = _IMPAIRMENT.get(name), False
    if figures is None:
        name = name.removeprefix("AAL2-")
        figures = _IMPAIRMENT.get(name)
    if figures is None:
        figures, assumed = _ASSUMED.get(name), True
        if figures is None:
            return None
    impairment, robustness = figures
    loss = loss_percent if 0.0 <= loss_percent <= 100.0 else min(max(loss_percent, 0.0), 100.0)
    # Equation 7-29.
    effective = impairment + (95 - impairment) * loss / (loss / ratio + robustness) if loss else impairment
    r = _DEFAULT_R - effective - (_delay_impairment(delay_ms) if delay_ms > 100 else 0.0)
    r = r if 0.0 <= r <= 100.0 else min(max(r, 0.0), 100.0)
    return Quality(r, _mos(r), assumed)


def _delay_impairment(delay_ms: float) -> float:
    """Idd, equations 7-27 and 7-28, sT = mT / 100 = 1."""
    if delay_ms <= 100:
        return 0.0
    x = math.log2(delay_ms / 100)
    return 25 * (math.pow(1 + x**6, 1 / 6) - 3 * math.pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def _mos(r: float) -> float:
    """Equation B-4 of annex B."""
    if r <= 6.5153:  # below, the cubic dips under 1
        return 1.0
    return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6
