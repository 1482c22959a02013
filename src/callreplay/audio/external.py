"""Spans that the native engine does not decode: those that PyAV does, and those that nothing here can.

What cannot be decoded is silent, and said: `undecodable` tells it of a codec before anything is decoded, and
`decode_spans` tells what a decoder refused.
"""

from __future__ import annotations

import numpy as np

from callreplay.audio import pyav
from callreplay.audio.legs import External, Pcm, is_native
from callreplay.codecs import Codec
from callreplay.model import LegColumns, PacketFlag, Span

__all__ = ["decode_spans", "decoders", "silent_spans", "undecodable"]


def decoders() -> str:
    """What may decode here beside the native engine: part of the key of whatever was made with it."""
    return pyav.version()


def undecodable(codec: Codec) -> str:
    """Why a codec cannot be decoded here; '' where it can."""
    if is_native(codec) or codec.kind == "event":  # digits are drawn as tones, where they are wanted
        return ""
    if not pyav.is_external(codec):
        return f"{codec} cannot be decoded"
    return "" if pyav.available() else pyav.missing_message(codec)


def silent_spans(columns: LegColumns, side: str) -> list[str]:
    """What of a leg cannot be decoded here, a line for each codec; nothing is decoded for it."""
    found: dict[tuple[Codec, int], None] = {(span.codec, span.payload_type): None for span in columns.spans}
    lines = []
    for codec, payload_type in found:
        why = undecodable(codec)
        if why and not pyav.is_external(codec):
            why = f"{codec} (payload type {payload_type}) cannot be decoded; name it with codec hints"
        if why:
            lines.append(f"{why}; its part of the {side}'s leg is silent")
    return lines


def decode_spans(columns: LegColumns) -> tuple[External, list[str]]:
    """PCM of every span that the native engine does not decode, placed by timestamps; and what was refused.

    Where nothing can decode a span it is left out, and silent: `silent_spans` tells of those.
    """
    done: dict[int, Pcm] = {}
    said: list[str] = []
    for index, span in enumerate(columns.spans):
        if span.codec.kind == "event" or is_native(span.codec) or undecodable(span.codec):
            continue
        done[index], refused, packets = _decode(columns, span)
        if refused:
            said.append(f"{span.codec}: {refused} of {packets} packets could not be decoded and are silent")
    return done, said


def _decode(columns: LegColumns, span: Span) -> tuple[Pcm, int, int]:
    audio = [row for row in range(span.first, span.stop) if not columns.flags[row] & PacketFlag.NOISE]
    rate, clock = span.codec.sample_rate_hz, span.codec.clock_rate_hz
    decoded = pyav.decode_payloads(span.codec, [_payload(columns, row) for row in audio])
    ends = [
        int(columns.timestamp[row]) * rate // clock + len(part)
        for row, part in zip(audio, decoded, strict=True)
    ]
    pcm = np.zeros(max([span.end_tick * rate // clock, *ends]), np.int16)
    refused = 0
    for row, part in zip(audio, decoded, strict=True):
        start = int(columns.timestamp[row]) * rate // clock
        pcm[start : start + len(part)] = part
        refused += not len(part) and int(columns.size[row]) > 0
    return pcm, refused, len(audio)


def _payload(columns: LegColumns, row: int) -> bytes:
    store = columns.spill if columns.flags[row] & PacketFlag.SPILL else columns.data
    offset = int(columns.offset[row])
    return store[offset : offset + int(columns.size[row])].tobytes()
