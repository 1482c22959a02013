"""The talk of a call in pieces: what recognisers and data sets take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from callreplay.audio.blocks import check_pcm_type
from callreplay.audio.segments import Segment, Segmenter, segments_of
from callreplay.outputs.options import Options

if TYPE_CHECKING:
    from callreplay.capture import Call

__all__ = ["call_segments"]


def call_segments(
    call: Call, seconds: float, channels: str, *, rate: int, dtype: Any, pause_s: float, dtmf: str
) -> Iterator[Segment]:
    """See ``Call.segments``."""
    kind = check_pcm_type(dtype)
    apart = channels == "apart"
    mixed = "stereo" if apart else channels
    options = Options(channels=mixed, rate=rate or call.sample_rate_hz, dtmf=dtmf)
    renderer = call.renderer(options)
    segmenter = Segmenter(
        renderer.rate_hz,
        renderer.channels,
        seconds,
        apart=apart or mixed != "stereo",
        pause_s=pause_s,
        heard_hz=call.sample_rate_hz,
    )
    pieces = segments_of(iter(renderer), segmenter)
    if mixed in ("caller", "called"):
        side = ("caller", "called").index(mixed)
        pieces = (replace(piece, channel=side) for piece in pieces)
    elif mixed == "mono":
        pieces = (replace(piece, channel=None) for piece in pieces)
    if kind == np.int16:
        return pieces
    return (replace(piece, pcm=piece.pcm.astype(np.float32) / 32768) for piece in pieces)
