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


def test_12_a_tag_that_was_left_on_is_cut() -> None:
    with open_case("12") as capture:
        (call,) = capture.calls
        assert call.duration_s == pytest.approx(20.0, abs=0.001)
        assert any("authentication tag" in text for text in call.caller.warnings)
        mixed = call.mix()
        caller, called = tone_bursts(mixed[:, 0], CALLER), tone_bursts(mixed[:, 1], CALLED)
        assert (len(caller), len(called)) == (39, 38)
        assert np.abs(np.array(called) - np.array(caller)[:38] - 0.25).max() <= 0.02
        assert np.abs(mixed[:1600, 0]).max() < 16_000  # no octet of a tag is heard as a click


def test_14_media_without_keys_have_their_time() -> None:
    with open_case("14") as capture:
        (call,) = capture.calls
        assert call.duration_s == pytest.approx(20.0, abs=0.001)
        assert abs(call.start_ns - 1_700_000_000_000_000_000) <= 20_000_001
        assert [leg.statistics.late for leg in call.legs] == [0, 0]


def test_16_stereo_is_mixed() -> None:
    with open_case("16") as capture:
        (call,) = capture.calls
        assert call.duration_s == pytest.approx(20.0, abs=0.001)
        assert str(call.caller.codecs[0]) == "PCMU/8000/2"
        assert len(tone_bursts(call.mix()[:, 0], CALLER)) == 39


def test_17_unsignalled_stereo_is_no_linear_pcm() -> None:
    with open_case("17") as capture:
        (call,) = capture.calls
        assert str(call.caller.codecs[0]) == "PCMU/8000/2"
        assert call.report()["legs"][0]["levels"]["rms_dbfs"] == pytest.approx(
            -30, abs=5
        )  # two voices, averaged


def test_19_amr_is_unpacked_as_it_is_packed() -> None:
    pytest.importorskip("av")
    with open_case("19") as capture:
        (call,) = capture.calls
        assert any("octet-aligned by its payloads" in text for text in call.caller.warnings)
        assert len(tone_bursts(call.mix()[:, 0], CALLER)) == 18


def test_21_payloads_outvote_a_type_that_cannot_be() -> None:
    with open_case("21") as capture:
        (call,) = capture.calls
        assert call.duration_s == pytest.approx(20.0, abs=0.001)
        assert call.caller.events == call.called.events == []
        mixed = call.mix()
        assert len(tone_bursts(mixed[:, 0], CALLER)) == 38
        assert len(tone_bursts(mixed[:, 1], CALLED)) == 37


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


def test_24_digits_alone_have_their_time() -> None:
    with open_case("24") as capture:
        (call,) = capture.calls
        assert abs(call.start_ns - 1_700_000_003_000_000_000) <= 20_000_001
        assert call.duration_s == pytest.approx(6.0, abs=0.25)
        assert "".join(event.digit for event in call.caller.events) == "471"
        assert not any("cannot be decoded" in text for text in call.caller.warnings)
        assert call.mix("mono", dtmf="tone").shape[0] == pytest.approx(call.duration_s * 8000, abs=1)


def test_26_an_answer_that_is_sent_ahead_plays_where_it_arrived() -> None:
    with open_case("26") as capture:
        (call,) = capture.calls
        assert call.duration_s == pytest.approx(20.0, abs=0.021)
        mixed = call.mix()
        answers = tone_bursts(mixed[:, 1], CALLED)
        questions = tone_bursts(mixed[:, 0], CALLER)
        assert questions
        first = min(answer for answer in answers)
        asked = max(question for question in questions if question < first)
        assert first - asked == pytest.approx(1.1, abs=0.05)
        assert call.called.statistics.late == 0
