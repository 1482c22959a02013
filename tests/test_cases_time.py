"""The cases of ../shared/cases that are decided on sequence, timestamps, arrival and payloads: issue by issue."""

from __future__ import annotations

import numpy as np
import pytest

from callreplay.model import GapReason
from tests.cases import open_case, tone_bursts

CALLER, CALLED = 1000, 1700


def test_08_a_restart_at_zero_keeps_what_is_said_after_it() -> None:
    with open_case("08") as capture:
        (call,) = capture.calls
        mixed = call.mix()
        assert len(tone_bursts(mixed[:, 0], CALLER)) == 39
        assert len(tone_bursts(mixed[:, 1], CALLED)) == 39
        assert call.duration_s == pytest.approx(20.0, abs=0.021)
        assert not any((leg.columns.gaps["reason"] == GapReason.HOLD).any() for leg in call.legs)
        assert call.caller.statistics.duplicates == 0
        assert call.caller.statistics.restarts == 2


def test_18_a_queue_that_fills_is_no_pause() -> None:
    with open_case("18") as capture:
        (call,) = capture.calls
        assert call.duration_s == pytest.approx(20.0, abs=0.051)
        assert all(len(leg.columns.gaps) == 0 for leg in call.legs)
        mixed = call.mix()
        sides = {pitch: tone_bursts(mixed[:, side], pitch) for pitch, side in ((CALLED, 0), (CALLER, 1))}
        assert {len(found) for found in sides.values()} == {39}
        apart = np.array(sides[CALLED]) - np.array(sides[CALLER])
        assert np.abs(apart - 0.25).max() <= 0.05


def test_22_the_clock_of_the_capture_is_set_on() -> None:
    with open_case("22") as capture:
        (call,) = capture.calls
        assert call.duration_s == pytest.approx(20.0, abs=0.021)
        assert any("clock was set by +3600.000 s" in text for text in capture.warnings)
        assert all(len(leg.columns.gaps) == 0 for leg in call.legs)
        mixed = call.mix()
        assert len(tone_bursts(mixed[:, 0], CALLER)) == len(tone_bursts(mixed[:, 1], CALLED)) == 39
