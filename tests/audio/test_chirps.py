"""Every received packet located in the mix: legs within half a millisecond, whatever their packets and codecs are."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.chirps import Leg, Network, measure, record

pytest.importorskip("av")

P95_MS, MOST_MS = 0.5, 2.0


def _apart(errors: list[NDArray[np.float64]]) -> tuple[float, float]:
    """95th percentile and greatest distance of the legs: each packet's error against the other leg's, in ms."""
    one, other = (values[np.isfinite(values)] for values in errors)
    assert len(one) > 0.8 * len(errors[0])
    assert len(other) > 0.8 * len(errors[1])
    apart = np.abs(np.concatenate([one - np.median(other), other - np.median(one)]))
    return float(np.percentile(apart, 95)), float(apart.max())


_CASES = {
    "20 and 60 ms": ([("PCMU", 20, 12.0)], [("PCMU", 60, 12.0)]),
    "20, 40, 60 ms": ([("PCMA", 20, 4.0), ("PCMA", 40, 4.0), ("PCMA", 60, 6.0)], [("PCMU", 20, 14.0)]),
    "G.722 and G.711": ([("G722", 20, 12.0)], [("PCMA", 30, 12.0)]),
    "Opus and G.711": ([("OPUS", 20, 12.0)], [("PCMU", 20, 12.0)]),
    "Opus of 60 ms and G.722": ([("OPUS", 60, 12.0)], [("G722", 40, 12.0)]),
    "L16 to G.722 and back": ([("L16", 20, 4.0), ("G722", 20, 4.0), ("L16", 20, 4.0)], [("PCMU", 20, 12.0)]),
}


@pytest.mark.parametrize("name", _CASES)
def test_packet_length_and_codec_are_no_delay(name: str) -> None:
    legs = [Leg(runs) for runs in _CASES[name]]
    capture, hints = record(legs)
    p95, most = _apart(measure(capture, legs, hints))
    assert p95 <= P95_MS
    assert most <= MOST_MS


@pytest.mark.parametrize("jitter", ["even", "tail", "bell"])
def test_jitter_and_loss_leave_legs_together(jitter: str) -> None:
    legs = [
        Leg([("PCMU", 20, 30.0)], Network(20, jitter, 0.2, seed=5)),
        Leg([("PCMU", 30, 30.0)], Network(20, jitter, 0.2, seed=6)),
    ]
    capture, hints = record(legs)
    errors = measure(capture, legs, hints)
    for values in errors:
        spread = values[np.isfinite(values)] - np.nanmedian(values)
        assert np.percentile(np.abs(spread), 95) <= P95_MS
    p95, _ = _apart(errors)
    # the least of n delays, spread evenly over 120 ms, lies 120 / n ms above their floor, in a bell's tail further
    assert p95 <= P95_MS + {"even": 0.3, "tail": 0.1, "bell": 25.0}[jitter]


def test_a_mutant_that_moves_audio_by_a_millisecond_and_a_half_is_caught() -> None:
    legs = [Leg([("PCMU", 20, 12.0)]), Leg([("PCMU", 20, 12.0)])]
    capture, hints = record(legs)
    assert _apart(measure(capture, legs, hints))[0] <= P95_MS
    assert _apart(measure(capture, legs, hints, moved_ms=1.5))[0] > P95_MS
