"""Stored recordings to an output file."""

from __future__ import annotations

from pathlib import Path

import pytest

from callreplay.errors import FormatError
from callreplay.service import engine


def test_a_third_recording_is_refused_and_never_left_out_silently() -> None:
    sample = next((Path(__file__).parents[2] / "samples").glob("*.pcap"))
    with pytest.raises(FormatError, match="not 3"):
        engine.render([sample] * 3, "wav", {})  # type: ignore[list-item]
