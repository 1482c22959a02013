"""The fields of ``Options`` as keywords, for type checkers. Made by scripts/parameters."""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["OptionValues"]


class OptionValues(TypedDict, total=False):
    """The fields of ``Options`` as keywords, for type checkers: a wrong name or value fails before anything runs."""

    channels: Literal["", "mono", "stereo", "caller", "called"]
    rate: int
    start: float
    end: float | None
    dtmf: Literal["tone", "mute"]
    concealment: Literal["exact", "best"]
    limiter: bool
    loudness: float | None
    loudness_by: Literal["mix", "leg"]
    sample_format: Literal["int16", "ulaw", "alaw"]
    quality: int
    vbr: bool
    vad: bool
    dtx: bool
    segments: bool
    bitrate: int
    width: int
    height: int
    theme: Literal["light", "dark", "transparent"]
    background: str
    caller_color: str
    called_color: str
    axis: bool | None
    labels: tuple[str, ...]
    spectrogram: bool
    samples_per_pixel: int
    bits: Literal[8, 16]
    peaks_version: Literal[1, 2]
    metadata: bool
    title: str
