"""What an audio file says of itself, read back: WAV, FLAC, Ogg (Opus, Speex, Vorbis), MP3 and MP4.

The files may be anybody's and damaged: every size is checked against what is there, and what does not fit ends the
reading of that file with what was found so far.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import field
from typing import BinaryIO, Final

from callreplay.deferred import dataclass
from callreplay.errors import FormatError, OutputError
from callreplay.outputs.tags import COMMENT_NAMES

__all__ = ["FileTags", "audio_format", "read_tags", "read_tags_of"]

_MOST: Final = 1 << 20  # octets of all tags together
_FARTHEST: Final = 1 << 48  # of a chunk that is passed over: longer than any file
_MOST_CHUNKS: Final = 4096


@dataclass(slots=True)
class FileTags:
    """``comments`` by upper-case name (TITLE, DATE, CALLER, …); rate, channels and frames where the header has them.

    ``time_reference``: of a WAV's broadcast extension: samples from midnight of ``origination`` to the first one.
    """

    format: str
    comments: dict[str, str] = field(default_factory=dict)
    rate_hz: int = 0
    channels: int = 0
    frames: int | None = None
    origination: str = ""
    time_reference: int | None = None

    @property
    def duration_s(self) -> float | None:
        """Seconds, where the header tells; None elsewhere."""
        return self.frames / self.rate_hz if self.frames is not None and self.rate_hz else None


_MAGIC: Final = {b"RIFF": "wav", b"RF64": "wav", b"fLaC": "flac", b"OggS": "ogg"}


def audio_format(path: str | os.PathLike[str]) -> str:
    """``wav``, ``flac``, ``ogg``, ``mp3`` or ``m4a`` by the file's first octets; empty for any other file."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            return _kind(file.read(12))
    except (OSError, ValueError):
        return ""


def _at_once(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)  # a named pipe would be waited for


def _kind(head: bytes) -> str:
    if found := _MAGIC.get(head[:4]):
        return found if found != "wav" or head[8:12] == b"WAVE" else ""
    if head[4:8] == b"ftyp":
        return "m4a"
    return "mp3" if head[:3] == b"ID3" else ""


def read_tags(path: str | os.PathLike[str]) -> FileTags:
    """What the file at ``path`` says of itself.

    Raises FormatError for a file of none of these formats, OutputError for one that cannot be read.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            return read_tags_of(file, os.fspath(path))
    except OSError as error:
        raise OutputError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from error


def read_tags_of(file: BinaryIO, name: str) -> FileTags:
    """``read_tags`` of a file that is open, stands at its start and can seek."""
    kind = _kind(file.read(12))
    if not kind:
        raise FormatError(f"{name!r} is no WAV, FLAC, Ogg, MP3 or MP4 file")
    tags = FileTags(kind)
    file.seek(0)
    with contextlib.suppress(struct.error, IndexError, UnicodeError, _TooLargeError):
        _READERS[kind](file, tags)
    return tags


class _TooLargeError(Exception):
    """A file whose tags are larger than any that somebody wrote on purpose."""


def _skip(file: BinaryIO, size: int) -> None:
    if size >= _FARTHEST:
        raise _TooLargeError
    file.seek(size, os.SEEK_CUR)


def _take(file: BinaryIO, size: int) -> bytes:
    if size > _MOST:
        raise _TooLargeError
    data = file.read(size)
    if len(data) < size:
        raise struct.error("the file ends")
    return data


def _texts(tags: FileTags, text: str) -> None:
    """A comment field's ``NAME=value`` lines; any other text is a COMMENT."""
    lines = [line.partition("=") for line in text.split("\n")]
    if all(equals and name in COMMENT_NAMES for name, equals, _ in lines):
        tags.comments.update({name: value for name, _, value in lines})
    else:
        tags.comments["COMMENT"] = text


def _wav(file: BinaryIO, tags: FileTags) -> None:
    file.seek(12)
    data_size: int | None = None
    block = 0
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            counted = size if size != 0xFFFFFFFF else data_size
            if counted is not None and block:
                tags.frames = counted // block
            if counted is None:
                break
            _skip(file, counted + (counted & 1))
            continue
        if name not in (b"fmt ", b"ds64", b"bext", b"LIST"):
            _skip(file, size + (size & 1))
            continue
        body = _take(file, size + (size & 1))[:size]
        if name == b"fmt ":
            _, tags.channels, tags.rate_hz, _, block = struct.unpack_from("<HHIIH", body)
        elif name == b"ds64":
            (data_size,) = struct.unpack_from("<Q", body, 8)
        elif name == b"bext":
            (tags.time_reference,) = struct.unpack_from("<Q", body, 338)
            day, clock = body[320:330].decode("ascii", "replace"), body[330:338].decode("ascii", "replace")
            tags.origination = f"{day}T{clock}"
        elif body[:4] == b"INFO":
            _info(body[4:], tags)


def _info(data: bytes, tags: FileTags) -> None:
    names = {b"INAM": "TITLE", b"ICRD": "DATE", b"ISFT": "ENCODER", b"IART": "ARTIST"}
    at = 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        text = data[at + 8 : at + 8 + size].split(b"\0")[0].decode("utf-8", "replace")
        if name == b"ICMT":
            _texts(tags, text)
        elif name in names:
            tags.comments[names[name]] = text
        at += 8 + size + (size & 1)


def _vorbis(data: bytes, tags: FileTags) -> None:
    """A Vorbis comment header: a vendor, and ``NAME=value`` texts, each behind its size."""
    (size,) = struct.unpack_from("<I", data)
    at = 4 + size
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(count):
        (size,) = struct.unpack_from("<I", data, at)
        if at + 4 + size > len(data):
            return
        name, _, value = data[at + 4 : at + 4 + size].decode("utf-8", "replace").partition("=")
        tags.comments[name.upper()] = value
        at += 4 + size


def _flac(file: BinaryIO, tags: FileTags) -> None:
    file.seek(4)
    for _ in range(_MOST_CHUNKS):
        head = _take(file, 4)
        size = int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == 0:
            body = _take(file, size)
            packed = int.from_bytes(body[10:18], "big")  # RFC 9639 8.2: 20, 3, 5 and 36 bits
            tags.rate_hz, tags.channels = packed >> 44, (packed >> 41 & 7) + 1
            tags.frames = packed & (1 << 36) - 1 or None
        elif head[0] & 0x7F == 4:
            _vorbis(_take(file, size), tags)
        else:
            _skip(file, size)
        if head[0] & 0x80:
            return


def _ogg_packets(file: BinaryIO) -> Iterator[bytes]:
    """Packets of the first logical stream (RFC 3533), as long as their sum is bounded."""
    packet, total, serial = bytearray(), 0, b""
    while True:
        head = _take(file, 27)
        lacing = _take(file, head[26])
        body = _take(file, sum(lacing))
        if head[:4] != b"OggS":
            return
        total += len(body)
        if total > _MOST:
            raise _TooLargeError
        serial = serial or head[14:18]
        if head[14:18] != serial:
            continue
        at = 0
        for size in lacing:
            packet += body[at : at + size]
            at += size
            if size < 255:
                yield bytes(packet)
                packet.clear()


def _ogg(file: BinaryIO, tags: FileTags) -> None:
    packets = _ogg_packets(file)
    first = next(packets, b"")
    second = next(packets, b"")
    if first[:8] == b"OpusHead":
        tags.format, tags.channels = "opus", first[9]
        (tags.rate_hz,) = struct.unpack_from("<I", first, 12)  # of the input, as RFC 7845 5.1 has it
        _vorbis(second.removeprefix(b"OpusTags"), tags)
    elif first[:8] == b"Speex   ":
        tags.format = "spx"
        tags.rate_hz, _, _, tags.channels = struct.unpack_from("<IIII", first, 36)
        _vorbis(second, tags)
    elif first[:7] == b"\1vorbis":
        tags.channels, tags.rate_hz = struct.unpack_from("<BI", first, 11)
        _vorbis(second[7:], tags)


def _synchsafe(four: bytes) -> int:
    return four[0] << 21 | four[1] << 14 | four[2] << 7 | four[3]


_ID3_ENCODINGS: Final = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_ID3_NAMES: Final = {
    b"TIT2": "TITLE",
    b"TDRC": "DATE",
    b"TYER": "DATE",
    b"TSSE": "ENCODER",
    b"TPE1": "ARTIST",
}


def _id3(file: BinaryIO, tags: FileTags) -> None:
    head = _take(file, 10)
    data = _take(file, _synchsafe(head[6:10]))
    at = 0
    while at + 10 <= len(data) and data[at] != 0:
        name = data[at : at + 4]
        size = (
            _synchsafe(data[at + 4 : at + 8])
            if head[3] == 4
            else int.from_bytes(data[at + 4 : at + 8], "big")
        )
        body = data[at + 10 : at + 10 + size]
        at += 10 + size
        if len(body) < 2 or body[0] >= len(_ID3_ENCODINGS) or name[:1] != b"T":
            continue
        text = body[1:].decode(_ID3_ENCODINGS[body[0]], "replace").strip("\0")
        if name == b"TXXX":
            key, _, value = text.partition("\0")
            if key.upper() == "COMMENT":
                _texts(tags, value.lstrip("\ufeff"))
            else:
                tags.comments[key.upper()] = value.lstrip("\ufeff")
        elif name in _ID3_NAMES:
            tags.comments[_ID3_NAMES[name]] = text


_MP4_NAMES: Final = {b"\xa9nam": "TITLE", b"\xa9day": "DATE", b"\xa9too": "ENCODER", b"\xa9ART": "ARTIST"}


def _atoms(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        yield name, data[at + 8 : at + size]
        at += size


def _mp4(file: BinaryIO, tags: FileTags) -> None:
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        size, name = struct.unpack(">I4s", head)
        if size == 1:
            size = int.from_bytes(_take(file, 8), "big") - 8
        if size < 8:
            return
        if name == b"moov":
            _ilst(_take(file, size - 8), tags)
            return
        _skip(file, size - 8)


def _ilst(moov: bytes, tags: FileTags) -> None:
    for name, body in _atoms(moov):
        if name != b"udta":
            continue
        for _, meta in ((n, b) for n, b in _atoms(body) if n == b"meta"):
            for _, listed in ((n, b) for n, b in _atoms(meta[4:]) if n == b"ilst"):
                for key, item in _atoms(listed):
                    for _, value in ((n, b) for n, b in _atoms(item) if n == b"data"):
                        text = value[8:].decode("utf-8", "replace")
                        if key == b"\xa9cmt":
                            _texts(tags, text)
                        elif key in _MP4_NAMES:
                            tags.comments[_MP4_NAMES[key]] = text


_READERS: Final = {"wav": _wav, "flac": _flac, "ogg": _ogg, "mp3": _id3, "m4a": _mp4}
