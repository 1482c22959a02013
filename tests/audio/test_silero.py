"""Silero's detector: talk is found where it is, whatever the blocks; without the extra it says what to install."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import callreplay
from callreplay.audio import silero

SAMPLE = Path(__file__).parents[2] / "samples" / "reservation.pcap"
installed = pytest.mark.skipif(
    not silero.available(), reason="Silero's detector is not installed: pip install 'callreplay[vad]'"
)


@installed
def test_talk_is_found_where_ours_finds_it() -> None:
    call = callreplay.open(SAMPLE)[0]
    for leg in call:
        ours, theirs = leg.speech(), leg.speech(detector="silero")
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert abs(one.start_s - other.start_s) < 0.2
            assert abs(one.end_s - other.end_s) < 0.2
            assert one.level_dbfs is not None
            assert other.level_dbfs is not None
            assert abs(one.level_dbfs - other.level_dbfs) < 2
        assert all(one.end_s < two.start_s for one, two in pairwise(theirs))
    figures = call.speech("silero")
    assert figures.talk_s == pytest.approx(call.speech().talk_s, abs=0.6)


@installed
@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_where_blocks_are_cut_changes_nothing(rate_hz: int) -> None:
    pcm = callreplay.open(SAMPLE)[0].caller.pcm(rate=rate_hz, end=7.0)
    whole = silero.SileroMeter(rate_hz, 2.0)
    whole.write(pcm)
    cut = silero.SileroMeter(rate_hz, 2.0)
    for part in np.split(pcm, [1, 7, 300, 300, 5000, 23456]):
        cut.write(part)
    found = whole.result()
    assert found == cut.result()
    assert found
    assert found[0].start_s > 2.0 + 4.0


@installed
def test_silence_is_none_and_what_does_not_fit_is_refused() -> None:
    meter = silero.SileroMeter(8000)
    meter.write(np.zeros(12345, np.int16))
    assert meter.result() == []
    assert silero.SileroMeter(8000).result() == []
    with pytest.raises(callreplay.ArgumentError, match="rate_hz"):
        silero.SileroMeter(44100)
    with pytest.raises(callreplay.ArgumentError, match="int16"):
        silero.SileroMeter(8000).write(np.zeros(100, np.float32))


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    leg = callreplay.open(SAMPLE)[0].caller
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    silero._network.cache_clear()
    with pytest.raises(callreplay.UnsupportedError, match=r"callreplay\[vad\]"):
        leg.speech(detector="silero")


def test_another_detector_is_refused() -> None:
    with pytest.raises(callreplay.ArgumentError, match="native, silero"):
        callreplay.open(SAMPLE)[0].caller.speech(detector="energy")  # type: ignore[arg-type]
