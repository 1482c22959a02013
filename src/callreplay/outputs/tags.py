"""What a file says of itself, written: title, start, parties and call ids, in each format's own way.

WAV has two places, LIST/INFO (texts) and the broadcast extension (EBU Tech 3285: when the first sample was, to the
sample, counted from midnight UTC). Others have comments or tags, which their encoders write from the same names.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from callreplay.clock import moment

__all__ = ["COMMENT_NAMES", "comment_text", "flac_with_length", "wav_with_tags"]

COMMENT_NAMES: Final = ("CALLER", "CALLED", "CALLID", "UUID")
"""What has no name of its own in INFO, ID3 or MP4: it goes into their comment, ``NAME=value`` lines."""

_INFO: Final = {"TITLE": b"INAM", "DATE": b"ICRD"}
_LARGEST: Final = 0xFFFFFFFF
_DAY_NS: Final = 86_400_000_000_000
_BEXT: Final = struct.Struct("<256s32s32s10s8sQH254x")
"""Title, originator, reference, date, time, samples since midnight, version 1 (whose unique material identifier, of 64
octets, is not set) and what is reserved; texts are cut to their field, and filled up with zeros."""


def comment_text(comments: Mapping[str, str]) -> str:
    """What of ``comments`` has no field of its own, as the text of a comment field."""
    return "\n".join([f"{name}={comments[name]}" for name in COMMENT_NAMES if name in comments])


def _chunk(name: bytes, data: bytes) -> bytes:
    size = len(data)
    return name + size.to_bytes(4, "little") + data + (b"\0" if size & 1 else b"")


def _info(comments: Mapping[str, str]) -> bytes:
    texts = {chunk: comments[name] for name, chunk in _INFO.items() if name in comments}
    if text := comment_text(comments):
        texts[b"ICMT"] = text
    texts[b"ISFT"] = "callreplay"
    parts = [_chunk(name, text.encode("utf-8", "replace") + b"\0") for name, text in texts.items()]
    return _chunk(b"LIST", b"INFO" + b"".join(parts))


def _bext(comments: Mapping[str, str], start_ns: int, rate_hz: int, channels: int) -> bytes:
    # To the nearest sample, which may be the first one of the next day.
    second, rest = divmod(start_ns, 1_000_000_000)
    samples = second * rate_hz + (rest * rate_hz + 500_000_000) // 1_000_000_000
    date, _, clock = moment(samples // rate_hz * 1_000_000_000).isoformat().partition("T")
    reference = samples % (_DAY_NS // 1_000_000_000 * rate_hz)
    history = f"A=PCM,F={rate_hz},W=16,M={'stereo' if channels == 2 else 'mono'},T=callreplay\r\n"
    fixed = _BEXT.pack(
        comments.get("TITLE", "").encode("ascii", "replace"),
        b"callreplay",
        (comments.get("UUID") or comments.get("CALLID", "")).encode("ascii", "replace"),
        date.encode(),
        clock.encode(),
        reference,
        1,
    )
    return _chunk(b"bext", fixed + history.encode())


def wav_with_tags(
    header: bytes, comments: Mapping[str, str], start_ns: int, rate_hz: int, channels: int
) -> bytes:
    """The header of a WAV or RF64, which ends with its data chunk's own, with what the file says of itself before that.

    A file that only that would make larger than RIFF can count is left bare.
    """
    if not comments:
        return header
    tags = _info(comments)
    if start_ns > 0:
        tags = _bext(comments, start_ns, rate_hz, channels) + tags
    out = bytearray(header[:-8] + tags + header[-8:])
    (size,) = struct.unpack_from("<I", header, 4)
    if header[:4] == b"RF64":
        (large,) = struct.unpack_from("<Q", header, 20)  # of ds64, which comes first
        struct.pack_into("<Q", out, 20, large + len(tags))
    elif size + len(tags) >= _LARGEST:
        return header
    else:
        struct.pack_into("<I", out, 4, size + len(tags))
    return bytes(out)


def flac_with_length(head: bytes, frames: int) -> bytes:
    """The first octets of a FLAC file, at least 42, with the number of samples that a stream leaves out (36 bits)."""
    if head[:4] != b"fLaC" or head[4] & 0x7F or not 0 < frames < 1 << 36:
        return head
    out = bytearray(head)
    out[21] = out[21] & 0xF0 | frames >> 32  # RFC 9639 8.2: after 4 + 4 + 13 octets, from bit 4 on
    out[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(out)
