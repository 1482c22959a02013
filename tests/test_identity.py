"""The cases of ``../shared/cases`` that ask whose packets these are, and whose call; its README has the truth."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import callreplay

CASES = Path(os.environ.get("CALLREPLAY_CASES", Path(__file__).resolve().parents[2] / "shared" / "cases"))

# Each call: caller, called, packets of both legs.
CALLS: dict[str, list[tuple[str, str, int, int]]] = {
    "01-ivr-same-greeting": [("1000", "2002", 2300, 2300), ("1001", "2002", 2300, 2300)],
    "03-sipp-same-file": [("1001", "2002", 400, 400)] * 2,
    "04-two-sites-same-private-socket": [("1000", "2000", 500, 500), ("1001", "2001", 500, 500)],
    "07-attended-transfer": [
        ("1001", "2002", 500, 500),
        ("2002", "3003", 200, 200),
        ("1001", "3003", 500, 500),
    ],
    "10-relay-ingress": [("", "", 1000, 1000)],
    "11-cisco-bib": [("1001", "2002", 500, 500)],
    "20-ice": [("1001", "2002", 1000, 1000)],
    "30-hunt-group": [("100", "agent2", 2900, 2900)],
    "31-reinvite-first": [("100", "200", 300, 300)],
    "32-shared-multicast-music": [("100", "200", 1440, 1440), ("101", "201", 1440, 1440)],
    "37-second-hop": [("100", "200", 300, 300)],
    "38-call-id-prefix": [("100", "200", 440, 440), ("777", "888", 440, 440)],
}


def case(name: str) -> callreplay.Capture:
    path = CASES / f"{name}.pcap.gz"
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing")
        pytest.skip(f"{path} is missing; set CALLREPLAY_CASES")
    return callreplay.open(path)


def bursts(pcm: NDArray[np.int16], frequency_hz: int) -> list[float]:
    """When bursts of a tone begin, in seconds: 20 ms windows in which most of the energy is the tone's."""
    frames = pcm[: len(pcm) // 160 * 160].reshape(-1, 160).astype(np.float64)
    wave = np.exp(-2j * np.pi * frequency_hz * np.arange(160) / 8000)
    tone = np.abs(frames @ wave) ** 2 / 80
    heard = (tone > 0.5 * (frames**2).sum(axis=1)) & ((frames**2).mean(axis=1) > 1e4)
    return [index * 0.02 for index in np.flatnonzero(np.diff(heard.astype(np.int8), prepend=0) == 1).tolist()]


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_of_a_case(name: str) -> None:
    with case(name) as capture:
        found = [
            (
                call.description.caller_number,
                call.description.called_number,
                *(leg.statistics.packets for leg in call.legs),
            )
            for call in capture.calls
        ]
        assert found == CALLS[name]
        assert not any(leg.statistics.parallel for call in capture.calls for leg in call.legs)
        assert not any("one-way" in text for call in capture.calls for text in call.warnings)


def test_the_second_caller_of_an_ivr_has_the_agent() -> None:
    with case("01-ivr-same-greeting") as capture:
        assert len(bursts(capture.calls[1].called.pcm(), 2400)) == 78


def test_a_consultation_has_its_voice() -> None:
    with case("07-attended-transfer") as capture:
        first, second, _ = capture.calls
        voices = [bursts(leg.pcm(), 2400) for leg in second.legs]
        heard = max(voices, key=len)
        start = (second.start_ns - first.description.start_ns) * 1e-9 + heard[0]
        assert len(heard) >= 4
        assert 5.5 < start < 7.0


def test_both_directions_to_a_recorder_are_caller_and_called() -> None:
    for name in ("10-relay-ingress", "11-cisco-bib"):
        with case(name) as capture:
            (call,) = capture.calls
            assert len(bursts(call.caller.pcm(), 1000)) > 10
            assert len(bursts(call.called.pcm(), 1700)) > 10
            assert call.sides_inferred


def test_every_number_of_a_hunt_group_is_there() -> None:
    with case("30-hunt-group") as capture:
        report = capture.report(audio=False)["calls"][0]
    assert report["called"]["numbers"] == ["QUEUE", "agent0", "agent1", "agent2"]
    assert len(report["why"]) >= 3
    assert all(verdict["answer"] and verdict["reasons"] for verdict in report["why"])


def test_a_call_that_began_before_the_capture_is_marked() -> None:
    with case("31-reinvite-first") as capture:
        (call,) = capture.calls
        assert call.report(audio=False)["begun_before"]
        assert call.duration_s == pytest.approx(6.0, abs=0.05)


def test_copies_are_counted_with_their_reason() -> None:
    with case("37-second-hop") as capture:
        rows = capture.report(audio=False)["calls"][0]["set_aside"]
    assert [(row["kind"], row["packets"], row["seconds"]) for row in rows] == [
        ("copy", 300, pytest.approx(5.98, abs=0.03))
    ] * 2
    assert all("repeats" in row["reason"] for row in rows)
