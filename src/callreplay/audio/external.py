"""Spans that the native engine does not decode: those that PyAV does, and those that nothing here can.

What cannot be decoded is silent, and said: `undecodable` tells it of a codec before anything is decoded, and
`SpanPcm` what a decoder refused.
"""

from __future__ import annotations

import _thread
import mmap
import os
from typing import Final

import numpy as np

from callreplay.audio.legs import Pcm, is_native
from callreplay.codecs import Codec
from callreplay.model import LegColumns, PacketFlag, Span
from callreplay.spare import temporary_file

__all__ = ["SpanPcm", "decode_spans", "decoders", "silent_spans", "undecodable"]


_LONGEST_MS: Final = 120
_IN_MEMORY: Final = 16 << 20
_PIECE: Final = 4 << 20


def decoders() -> str:
    """What may decode here beside the native engine: part of the key of whatever was made with it."""
    from callreplay.audio import pyav

    return pyav.version()


def undecodable(codec: Codec) -> str:
    """Why a codec cannot be decoded here; '' where it can."""
    if is_native(codec) or codec.kind == "event":  # digits are drawn as tones, where they are wanted
        return ""
    from callreplay.audio import pyav

    if not pyav.is_external(codec):
        return f"{codec} cannot be decoded"
    return "" if pyav.available() else pyav.missing_message(codec)


def silent_spans(columns: LegColumns, side: str) -> list[str]:
    """What of a leg cannot be decoded here, a line for each codec; nothing is decoded for it."""
    found: dict[tuple[Codec, int], None] = {
        (span.codec, span.payload_type): None for span in columns.spans if not is_native(span.codec)
    }
    lines: list[str] = []
    for codec, payload_type in found:
        why = undecodable(codec)
        if why:
            from callreplay.audio import pyav

            if not pyav.is_external(codec):
                why = f"{codec} (payload type {payload_type}) cannot be decoded; name it with codec hints"
            lines.append(f"{why}; its part of the {side}'s leg is silent")
    return lines


class SpanPcm:
    """PCM of one span, decoded as far as it is asked for and placed by its timestamps. Threads may share it.

    A long one lies in an unlinked temporary file, whose pages are given back as they are written: memory is bounded.
    """

    def __init__(self, columns: LegColumns, span: Span) -> None:
        from callreplay.audio import pyav

        self._columns, self._span = columns, span
        self._rate, self._clock = span.codec.sample_rate_hz, span.codec.clock_rate_hz
        self._end = span.end_tick * self._rate // self._clock
        # A last packet may tell of more than the span's end allows for: the longest is 120 ms (RFC 7587 section 4.2).
        self._room, self._map = _room(self._end + self._rate * _LONGEST_MS // 1000)
        flags = columns.flags[span.first : span.stop]
        self._rows = (np.flatnonzero((flags & PacketFlag.NOISE) == 0) + span.first).astype(np.int64)
        payloads = (_payload(columns, int(row)) for row in self._rows)
        self._parts = pyav.stream_payloads(span.codec, payloads)
        self._done = self._refused = 0
        self._kept = 0  # octets from the beginning whose pages were given back
        self._lock = _thread.allocate_lock()

    def room(self) -> Pcm:
        """Where the samples come to be; silent as far as it was not filled."""
        return self._room

    def whole(self) -> Pcm:
        """Every sample, from the span's tick 0 to its end or that of its last packet."""
        self.fill(len(self._room))
        return self._room[: self._end]

    def fill(self, stop: int) -> None:
        """Decode the packets that begin before the sample ``stop``."""
        with self._lock:
            while self._done < len(self._rows) and self._place(self._done) < stop:
                part = next(self._parts)
                start = self._place(self._done)
                end = min(start + len(part), len(self._room))
                self._room[start:end] = part[: end - start]
                self._end = max(self._end, end)
                self._refused += not len(part) and int(self._columns.size[self._rows[self._done]]) > 0
                self._done += 1
                self._give_back(2 * start)

    def _place(self, number: int) -> int:
        return max(0, int(self._columns.timestamp[self._rows[number]]) * self._rate // self._clock)

    def _give_back(self, octets: int) -> None:
        if self._map is not None and octets - self._kept > _PIECE:
            stop = octets // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, self._kept, stop - self._kept)
            self._kept = stop

    def refused(self) -> str:
        """What the decoder refused so far, as a warning; '' where it took everything."""
        if not self._refused:
            return ""
        return f"{self._span.codec}: {self._refused} of {len(self._rows)} packets could not be decoded and are silent"


def _room(samples: int) -> tuple[Pcm, mmap.mmap | None]:
    if samples * 2 <= _IN_MEMORY:
        return np.zeros(samples, np.int16), None
    try:
        with temporary_file() as file:
            # Taken now: a disk that fills up later would show as SIGBUS.
            os.posix_fallocate(file.fileno(), 0, 2 * samples)
            mapped = mmap.mmap(file.fileno(), 2 * samples)
    except OSError:
        return np.zeros(samples, np.int16), None
    return np.frombuffer(mapped, np.int16), mapped


def decode_spans(columns: LegColumns) -> dict[int, SpanPcm]:
    """PCM of every span that the native engine does not decode, to be filled as it is needed.

    Where nothing can decode a span it is left out, and silent: `silent_spans` tells of those.
    """
    return {
        index: SpanPcm(columns, span)
        for index, span in enumerate(columns.spans)
        if span.codec.kind != "event" and not is_native(span.codec) and not undecodable(span.codec)
    }


def _payload(columns: LegColumns, row: int) -> bytes:
    store = columns.spill if columns.flags[row] & PacketFlag.SPILL else columns.data
    offset = int(columns.offset[row])
    return store[offset : offset + int(columns.size[row])].tobytes()
