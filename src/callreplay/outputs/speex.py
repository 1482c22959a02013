"""Ogg Speex: PCM of calls in, the octets of ``.spx`` files out, page by page.

The encoder is native and codes one call per SIMD lane: one file at a time is written with `OggSpeexWriter`, many at
once, with the lanes full, with `SpeexBatch`. The octets of a file depend on its samples, options, comments and serial
number only, never on how the samples were cut into blocks, on the other files of a batch or on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.errors import ArgumentError

__all__ = ["OggSpeexWriter", "SpeexBatch"]


def _comment_list(comments: Mapping[str, str]) -> list[str]:
    """``NAME=value`` of each; ArgumentError for a name that Vorbis comments do not allow."""
    for name, value in comments.items():
        if not name or not all(" " <= c <= "}" and c != "=" for c in name):
            raise ArgumentError(f"a comment's name is printable ASCII without '=', not {name!r}")
        if "\0" in value:
            raise ArgumentError(f"the comment {name} holds a NUL")
    return [f"{name}={value}" for name, value in comments.items()]


def _mono(block: NDArray[np.int16]) -> NDArray[np.int16]:
    if block.dtype != np.int16 or not (block.ndim == 1 or (block.ndim == 2 and block.shape[1] == 1)):
        raise ArgumentError(f"Speex takes int16 of shape (n,) or (n, 1), not {block.dtype} of {block.shape}")
    return np.ascontiguousarray(block).reshape(-1)


class OggSpeexWriter:
    """One Ogg Speex file under way: blocks of mono int16 PCM in, octets out; a `formats.Sink`.

    ``rate_hz``: 8000 (narrowband) or 16000 (wideband). ``quality``: 0 to 10, as libspeex counts. ``vbr``: the bit rate
    follows the signal. ``vad``: background noise is only described, in a few bits a frame. ``dtx``: and only where it
    changes (it implies ``vad``). ``comments``: of the Vorbis comment header, in this order. ``serial``: the stream's
    number in the file, 0 to 2**32 - 1; by default one derived from the comments and options, so that the same call
    gives the same file. ``segments``: a call of a minute or more at constant bit rate is cut in time and coded by
    several lanes at once; up to 80 s of PCM wait before octets come.
    """

    def __init__(
        self,
        rate_hz: int,
        quality: int = 8,
        vbr: bool = False,
        vad: bool = False,
        dtx: bool = False,
        comments: Mapping[str, str] | None = None,
        serial: int | None = None,
        segments: bool = True,
    ) -> None:
        texts = _comment_list(comments or {})
        if serial is None:
            kind = f"{rate_hz} {quality} {vbr:d} {dtx:d}" + (" vad" if vad else "")
            serial = crc32("\0".join([kind, *texts]).encode())
        elif not 0 <= serial < 1 << 32:
            raise ArgumentError(f"serial must be 0 to {(1 << 32) - 1}, not {serial}")
        if rate_hz not in (8000, 16000):
            raise ArgumentError(f"rate_hz must be 8000 or 16000, not {rate_hz}")
        if not 0 <= quality <= 10:
            raise ArgumentError(f"quality must be 0 to 10, not {quality}")
        self._stream = _core.SpeexStream(rate_hz, quality, vbr, vad, dtx, segments, serial, texts)
        self._batch: _core.SpeexBatch | None = None

    def _encode(self) -> bytes:
        if self._batch is None:
            self._batch = _core.SpeexBatch()
        self._batch.encode([self._stream])
        return self._stream.take()

    def write(self, block: NDArray[np.int16]) -> bytes:
        """Take the next samples, (n,) or (n, 1); return the pages they complete. StateError after `finish`."""
        self.push(block)
        return self._encode()

    def finish(self) -> bytes:
        """Return the rest of the file. What players decode is as long as what was written, to the sample."""
        self.end()
        return self._encode()

    def push(self, block: NDArray[np.int16]) -> None:
        """Take the next samples and keep them for a `SpeexBatch`, or for the next `write`."""
        self._stream.push(_mono(block))

    def end(self) -> None:
        """Say that there are no more samples; a `SpeexBatch` then gives the rest of the file."""
        self._stream.end()


class SpeexBatch:
    """Many files at once, a call per SIMD lane. The GIL is released while it encodes."""

    def __init__(self) -> None:
        self._batch = _core.SpeexBatch()

    def encode(
        self,
        writers: Sequence[OggSpeexWriter],
        blocks: Sequence[NDArray[np.int16] | None] = (),
        end: bool = False,
    ) -> list[bytes]:
        """Give each writer its next block (None: nothing for now) and return the octets each has ready.

        Without ``blocks`` it encodes what was pushed. ``end``: the blocks were the last, the octets complete the
        files. A second or more for each writer keeps the lanes full; blocks may differ in length.
        """
        if blocks and len(writers) != len(blocks):
            raise ArgumentError(f"{len(writers)} writers but {len(blocks)} blocks")
        flat = [None if block is None else _mono(block) for block in blocks]
        streams = [writer._stream for writer in writers]
        for stream, block in zip(streams, flat, strict=False):
            if block is not None:
                stream.push(block)
        if end:
            for stream in streams:
                stream.end()
        self._batch.encode(streams)
        return [stream.take() for stream in streams]
