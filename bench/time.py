"""Time: how far the two legs of a call lie apart, packet by packet; docs/time.md shows these tables.

Each received packet carries a chirp and is located in the mix by cross-correlation (tests/chirps.py), at 48 kHz. Rows
give milliseconds between the legs: 95 % of the packets, and the worst. ``ratio`` is the 95 % over half a millisecond.
Needs the extra ``av``, whose encoders make the calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.chirps import Leg, Network, measure, record

from callreplay.order.timeline import fit_clock

_CALLS: dict[str, tuple[list[tuple[str, int, float]], list[tuple[str, int, float]]]] = {
    "PCMU 20 ms, PCMU 60 ms": ([("PCMU", 20, 20.0)], [("PCMU", 60, 20.0)]),
    "PCMA 20, 40, then 60 ms, PCMU 20 ms": (
        [("PCMA", 20, 6.0), ("PCMA", 40, 6.0), ("PCMA", 60, 6.0)],
        [("PCMU", 20, 18.0)],
    ),
    "G.722 20 ms, PCMA 30 ms": ([("G722", 20, 20.0)], [("PCMA", 30, 20.0)]),
    "Opus 20 ms, PCMU 20 ms": ([("OPUS", 20, 20.0)], [("PCMU", 20, 20.0)]),
    "Opus 60 ms, G.722 40 ms": ([("OPUS", 60, 20.0)], [("G722", 40, 20.0)]),
}


def _apart(legs: list[Leg]) -> tuple[float, float, int]:
    capture, hints = record(legs)
    one, other = (found[np.isfinite(found)] for found in measure(capture, legs, hints))
    apart = np.abs(np.concatenate([one - np.median(other), other - np.median(one)]))
    return float(np.percentile(apart, 95)), float(apart.max()), len(apart)


def _placement() -> list[dict[str, Any]]:
    rows = []
    for name, (one, other) in _CALLS.items():
        for jitter, loss in (("none", 0.0), ("tail", 0.2), ("even", 0.2)):
            legs = [Leg(one, Network(20, jitter, loss, 5)), Leg(other, Network(20, jitter, loss, 6))]
            p95, most, packets = _apart(legs)
            label = f"{name}; jitter {jitter}, {loss:.0%} lost"
            rows.append(
                {"name": label, "packets": packets, "p95 ms": p95, "most ms": most, "ratio": p95 / 0.5}
            )
    return rows


def _drift() -> list[dict[str, Any]]:
    """An hour of a sender whose clock is wrong, against one that is right: where its ends stand."""
    rows = []
    random = np.random.default_rng(3)
    ticks = np.arange(180_000, dtype=np.int64) * 160
    flags = np.zeros(len(ticks), np.uint8)
    for ppm in (0.0, 1.0, 5.0, 11.0, 50.0, -200.0, 500.0):
        true_ns = ticks * 125_000 / (1 + ppm * 1e-6)
        kept = random.random(len(ticks)) > 0.1
        arrival = (true_ns + random.random(len(ticks)) * 120e6).astype(np.int64)
        clock = fit_clock(ticks[kept], arrival[kept], flags[kept], 8000)
        placed = clock.anchor_ns + ticks[[0, -1]] * 125_000 / (1 + clock.drift_ppm * 1e-6)
        worst = float(np.abs(placed - true_ns[[0, -1]]).max()) * 1e-6
        rows.append(
            {
                "name": f"{ppm:+.0f} ppm for an hour, jitter 120 ms, 10 % lost",
                "estimate ppm": clock.estimated_ppm,
                "corrected ppm": clock.drift_ppm,
                "most ms": worst,
                "ratio": worst,
                "bar": 1.0,
                "bar_kind": "at_most",
            }
        )
    return rows


def rows() -> list[dict[str, Any]]:
    """Placement of legs of different packets and codecs, then drift over an hour."""
    return [*_placement(), *_drift()]
