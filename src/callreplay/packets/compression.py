"""What compressed captures hold, in bounded pieces: gzip, bzip2, xz, Zstandard, and the members of ZIP archives."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import CaptureError, LimitError, UnsupportedError

if TYPE_CHECKING:
    import zipfile

__all__ = ["PIECE", "compression", "members", "pieces"]

PIECE: Final = 1 << 20
_ZSTD_PIECE: Final = 1 << 11
"""Octets for a Zstandard decompressor at a time. It cannot be told to stop: a block of four octets gives up to 128 KiB
(RFC 8878 sections 3.1.1.2.2 and 3.1.1.2.4), so 2 KiB give 64 MiB at most, and a mebibyte 32 GiB."""
_XZ_MEMORY: Final = 256 << 20
"""The strongest preset of xz takes 65 MiB; the format allows 4 GiB."""
_MAX_DIRECTORY: Final = 16 << 20
_SHOWN: Final = 5

_MAGIC: Final = {
    "gzip": b"\x1f\x8b",
    "zstd": b"\x28\xb5\x2f\xfd",
    "xz": b"\xfd7zXZ\0",
    "zip": b"PK\3\4",
}
_BZIP2: Final = (b"1AY&SY", b"\x17rE8P\x90")  # a block, or the end of a stream without any


def compression(head: bytes) -> str:
    """By its first ten octets: "gzip", "bzip2", "xz", "zstd", "zip", or '' for what is not compressed."""
    if head[:3] == b"BZh" and head[3:4] in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"):
        return "bzip2" if head[4:10] in _BZIP2 else ""
    for name, magic in _MAGIC.items():
        if head.startswith(magic):
            return name
    return ""


class _Decoder(Protocol):
    """One member of a stream. ``feed`` gives pieces of at most PIECE octets, but Zstandard's."""

    def feed(self, chunk: bytes | memoryview) -> Iterator[bytes]: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused(self) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    def feed(self, chunk: bytes | memoryview) -> Iterator[bytes]:
        # zlib stops at max_length and keeps the rest, so that a bomb comes in bounded pieces
        while len(chunk) and not self._inner.eof:
            yield self._inner.decompress(chunk, PIECE)
            chunk = self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused(self) -> bytes:
        return self._inner.unused_data


class _Bounded:
    """bzip2 and xz, whose decompressors keep what they could not give yet."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def feed(self, chunk: bytes | memoryview) -> Iterator[bytes]:
        yield self._inner.decompress(chunk, PIECE)
        while not self._inner.eof and not self._inner.needs_input:
            yield self._inner.decompress(b"", PIECE)

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._inner.unused_data)


class _Zstd:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def feed(self, chunk: bytes | memoryview) -> Iterator[bytes]:
        yield self._inner.decompress(chunk)

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._inner.unused_data)


def _maker(kind: str) -> Callable[[], _Decoder]:
    if kind == "gzip":
        return _Gzip
    if kind == "bzip2":
        import bz2

        return lambda: _Bounded(bz2.BZ2Decompressor())
    if kind == "xz":
        import lzma

        return lambda: _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY))
    try:
        import zstandard
    except ImportError:
        raise UnsupportedError("the capture is compressed with Zstandard: install callreplay[zstd]") from None
    return lambda: _Zstd(zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj())


def pieces(
    data: NDArray[np.uint8], name: str, kind: str, said: list[str], member: str = ""
) -> Iterator[bytes]:
    """What ``data``, compressed as ``kind`` says, decompresses to.

    Streams of several members (RFC 1952 section 2.2, RFC 8878 section 3.1) are read to the end. Of what is cut or
    corrupt later on comes what stands before, and a sentence is put into ``said``. Raises CaptureError where nothing of
    it can be read, UnsupportedError where the package for it is missing.
    """
    if kind == "zip":
        yield from _zip_pieces(data, name, member, said)
        return
    make = _maker(kind)
    view = data.data
    at, decoder, whole, midway = 0, make(), 0, False
    step = _ZSTD_PIECE if kind == "zstd" else PIECE
    while at < len(view):
        chunk: bytes | memoryview = view[at : at + step]
        at += len(chunk)
        while len(chunk):
            try:
                yield from decoder.feed(chunk)
            except Exception as error:  # zlib.error, OSError, LZMAError, ZstdError: one meaning
                if "emory" in str(error):
                    raise LimitError(f"{name}: decompressing it takes too much memory: {error}") from error
                if not whole and at <= PIECE:
                    raise CaptureError(f"{name}: corrupt compression: {error}") from error
                said.append(f"{name}: corrupt compression after {whole} whole members; read up to there")
                return
            midway = not decoder.eof
            if midway:
                break
            whole += 1
            chunk = decoder.unused
            decoder = make()
            if not bytes(chunk).strip(b"\0"):
                break  # padding after the last member
    if midway:
        said.append(f"{name}: the compressed data ends too soon; read up to the cut")


class _View(io.RawIOBase):
    """A buffer as a file, without a copy."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        if start + offset < 0:
            raise OSError("before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._view[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def members(data: NDArray[np.uint8], name: str) -> list[str]:
    """The files in a ZIP archive, folders and what operating systems add left out.

    Raises CaptureError where it is damaged, LimitError where its directory is larger than 16 MiB.
    """
    return [info.filename for info in _open_zip(data, name)[1]]


def _open_zip(data: NDArray[np.uint8], name: str) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    import zipfile

    if _directory_size(data) > _MAX_DIRECTORY:
        raise LimitError(f"{name}: a ZIP archive of too many files")
    try:
        archive = zipfile.ZipFile(io.BufferedReader(_View(data.data)))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise CaptureError(f"{name}: a damaged ZIP archive: {error}") from error
    files = [
        info
        for info in archive.infolist()
        if not info.filename.endswith("/")
        and not info.filename.startswith("__MACOSX/")
        and not info.filename.rpartition("/")[2].startswith(".")
    ]
    return archive, files


def _directory_size(data: NDArray[np.uint8]) -> int:
    """Octets of the central directory, as the end of the archive has it (APPNOTE 4.3.16, 4.3.14)."""
    tail = data[-65557 - 20 :].tobytes()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < 22:
        return 0
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if size == 0xFFFFFFFF and tail[max(0, at - 20) : max(0, at - 16)] == b"PK\6\7":
        place = int.from_bytes(tail[at - 12 : at - 4], "little")
        return int.from_bytes(data[place + 40 : place + 48].tobytes(), "little")
    return size


def _zip_pieces(data: NDArray[np.uint8], name: str, member: str, said: list[str]) -> Iterator[bytes]:
    from lzma import LZMAError
    from zipfile import BadZipFile

    archive, files = _open_zip(data, name)
    if not files:
        raise CaptureError(f"{name}: a ZIP archive without a file in it")
    if not member and len(files) > 1:
        shown = ", ".join(info.filename for info in files[:_SHOWN]) + (", …" if len(files) > _SHOWN else "")
        raise CaptureError(f"{name}: a ZIP archive of {len(files)} files ({shown}): unpack it")
    chosen = next((info for info in files if info.filename == member), None) if member else files[0]
    if chosen is None:
        raise CaptureError(f"{name}: no file {member} in the archive")
    if chosen.flag_bits & 1:
        raise CaptureError(f"{name}: {chosen.filename} in it is encrypted with a password")
    given = 0
    try:
        with archive.open(chosen) as file:
            while piece := file.read(PIECE):
                given += len(piece)
                yield piece
    except NotImplementedError as error:
        raise CaptureError(f"{name}: {chosen.filename} in it: {error}") from error
    except (
        BadZipFile,
        EOFError,
        OSError,
        zlib.error,
        LZMAError,
        ValueError,
        RuntimeError,
    ) as error:
        if not given:
            raise CaptureError(f"{name}: {chosen.filename} in it is damaged: {error}") from error
        said.append(f"{name}: {chosen.filename} in it is damaged ({error}); read up to there")
