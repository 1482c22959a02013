"""Captures as arrays of octets: mapped where they are files, decompressed where they are gzip or Zstandard."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import stat
import tempfile
import warnings as python_warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import CaptureError, LimitError, UnsupportedError
from callreplay.model import check_intact
from callreplay.packets.arena import JoinedMapping, Mapping, release

Octets = bytes | bytearray | memoryview | mmap.mmap | NDArray[Any]

__all__ = ["CaptureWarning", "Opener", "join", "open_buffer"]

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
_PIECE: Final = 1 << 20
_IN_MEMORY: Final = 16 << 20
_ZSTD_PIECE: Final = 1 << 11
"""Octets for a Zstandard decompressor at a time. It cannot be told to stop: a block of four octets gives up to 128 KiB
(RFC 8878 sections 3.1.1.2.2 and 3.1.1.2.4), so 2 KiB give 64 MiB at most, and a mebibyte 32 GiB."""
_LIMIT: Final = 1 << 40


@runtime_checkable
class Opener(Protocol):
    """A file that opens itself: one that is reached by a descriptor, and not by its path alone."""

    @property
    def name(self) -> str:
        """What to call it."""

    def open(self, suffix: str = "") -> int:
        """A descriptor for reading, of the file or (``suffix``) of the one beside it. Raises OSError."""


class CaptureWarning(UserWarning):
    """Something about a capture that did not stop it from being read."""


def open_buffer(
    source: str | os.PathLike[str] | Opener | Octets,
    *,
    warnings: list[str] | None = None,
    limit: int = _LIMIT,
) -> NDArray[np.uint8]:
    """The octets of a capture, ``(n,)`` uint8, read-only and without a copy: a mapped file or the buffer given.

    gzip and Zstandard (by their magic; Zstandard needs the extra ``zstd``) are decompressed, above 16 MiB into an
    unlinked temporary file that is mapped in turn. A compressed file that ends too soon is read up to the cut; the
    message goes to ``warnings`` or, where that is None, is issued as CaptureWarning.

    Raises CaptureError for an empty file, one that is not a regular file or cannot be opened, and corrupt compression;
    LimitError where more would come out than ``limit`` octets or than half of what the temporary directory has free;
    UnsupportedError for Zstandard without the extra.

    A file may grow while it is in use. Where it shrinks, what used it raises OutputError (``Mapping.check``); a file
    that is replaced by renaming another one over it stays whole.
    """
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        data = _map(Path(name))
    elif isinstance(source, Opener):
        name = source.name
        data = _map(Path(name), lambda *_: source.open())
    else:
        name = "capture"
        view: memoryview = memoryview(cast(bytes, source))  # anything that exports a buffer
        if not view.contiguous:
            raise CaptureError("the buffer is not contiguous")
        data = np.frombuffer(view.cast("B") if view.nbytes else b"", np.uint8)
        data.flags.writeable = False
    if not len(data):
        raise CaptureError(f"{name}: empty")
    head = data[:4].tobytes()
    if head[:2] != GZIP and head != ZSTD:
        return data
    said: list[str] = []
    packed = data
    try:
        data = _decompress(packed, name, head == ZSTD, said, limit)
    finally:
        check_intact(packed)
    if warnings is not None:
        warnings.extend(said)
    else:
        for message in said:
            python_warnings.warn(message, CaptureWarning, stacklevel=2)
    return data


def join(
    paths: Sequence[Path], *, warnings: list[str] | None = None
) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """The octets of several captures side by side, and where each begins and ends; mapped, not copied.

    Compressed ones are decompressed into temporary files. Raises as `open_buffer` does. Every file stays open with
    them: mind the limit of the process.
    """
    with contextlib.ExitStack() as stack:
        files: list[tuple[int, int]] = []
        for path in paths:
            file = stack.enter_context(_open(path))
            if file.peek(4)[:4].startswith((GZIP, ZSTD)):
                data = open_buffer(path, warnings=warnings)
                plain = stack.enter_context(tempfile.TemporaryFile(prefix="callreplay-"))
                for start in range(0, len(data), _PIECE):
                    plain.write(data[start : start + _PIECE].data)
                    release(data)
                plain.flush()
                files.append((plain.fileno(), len(data)))
            else:
                files.append((file.fileno(), os.fstat(file.fileno()).st_size))
        try:
            joined = JoinedMapping(files).watch(f"{paths[0]} … {paths[-1].name}")
            spans = [(start, start + size) for start, (_, size) in zip(joined.starts, files, strict=True)]
            joined.keep([(*span, file[0]) for span, file in zip(spans, files, strict=True)])
        except OSError as error:
            raise CaptureError(f"{paths[0]}: {error.strerror}") from error
    joined.madvise(mmap.MADV_SEQUENTIAL)
    return np.frombuffer(memoryview(joined), np.uint8), spans


def _plainly(name: str, flags: int) -> int:
    # Without O_NONBLOCK a named pipe that nobody writes to would be waited for.
    return os.open(name, flags | os.O_NONBLOCK)


def _open(path: Path, opener: Callable[[str, int], int] = _plainly) -> BufferedReader:
    """A regular file that is not empty."""
    try:
        file = open(path, "rb", opener=opener)  # noqa: SIM115
        status = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise CaptureError(f"{path}: {reason}") from error
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return file
    file.close()
    raise CaptureError(f"{path}: {'empty' if stat.S_ISREG(status.st_mode) else 'not a regular file'}")


def _map(path: Path, opener: Callable[[str, int], int] = _plainly) -> NDArray[np.uint8]:
    with _open(path, opener) as file:
        try:
            mapped = Mapping(file.fileno(), 0, access=mmap.ACCESS_READ)
            mapped.keep([(0, len(mapped), file.fileno())])
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CaptureError(f"{path}: {reason}") from error
    if hasattr(mmap, "MADV_SEQUENTIAL"):
        mapped.madvise(mmap.MADV_SEQUENTIAL)
    return np.frombuffer(mapped.watch(str(path)), np.uint8)


def _decompress(
    data: NDArray[np.uint8], name: str, zstd: bool, said: list[str], limit: int
) -> NDArray[np.uint8]:
    make = _zstd_maker() if zstd else lambda: zlib.decompressobj(31)
    kept = bytearray()
    file: BinaryIO | None = None
    total = 0
    try:
        for piece in _pieces(data, name, zstd, make, said):
            total += len(piece)
            if total > limit:
                raise LimitError(f"{name}: more than {limit} octets when decompressed")
            if file is None and total > _IN_MEMORY:
                file = tempfile.TemporaryFile(prefix="callreplay-")  # noqa: SIM115
                limit = min(limit, shutil.disk_usage(tempfile.gettempdir()).free // 2)
                file.write(kept)
                kept.clear()
            if file is not None:
                file.write(piece)
            else:
                kept += piece
        if not total:
            raise CaptureError(f"{name}: nothing inside the compression")
        if file is None:
            return np.frombuffer(bytes(kept), np.uint8)
        file.flush()
        mapped = Mapping(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.keep([(0, len(mapped), file.fileno())])
        return np.frombuffer(mapped.watch(f"temporary file in {tempfile.gettempdir()}"), np.uint8)
    finally:
        if file is not None:
            file.close()


def _zstd_maker() -> Callable[[], Any]:
    try:
        import zstandard
    except ImportError:
        raise UnsupportedError("the capture is compressed with Zstandard: install callreplay[zstd]") from None
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj


def _pieces(
    data: NDArray[np.uint8], name: str, zstd: bool, make: Callable[[], Any], said: list[str]
) -> Iterator[bytes]:
    """What decompressors made by ``make`` give, member after member (RFC 1952 section 2.2, RFC 8878 section 3.1)."""
    view = data.data
    at, decoder, members, midway = 0, make(), 0, False
    step = _ZSTD_PIECE if zstd else _PIECE
    while at < len(view):
        chunk = view[at : at + step]
        at += len(chunk)
        while chunk:
            try:
                # zlib stops at max_length and keeps the rest, so that a bomb comes in bounded pieces
                piece = decoder.decompress(chunk) if zstd else decoder.decompress(chunk, _PIECE)
            except Exception as error:  # zlib.error, ZstdError: two libraries, one meaning
                if not members and at <= _PIECE:
                    raise CaptureError(f"{name}: corrupt compression: {error}") from error
                said.append(f"{name}: corrupt compression after {members} whole members; read up to there")
                return
            yield piece
            midway = not decoder.eof
            if midway:
                chunk = memoryview(b"" if zstd else decoder.unconsumed_tail)
                continue
            members += 1
            chunk = memoryview(decoder.unused_data)
            decoder = make()
            if chunk and not bytes(chunk).strip(b"\0"):
                chunk = memoryview(b"")  # padding after the last member
    if midway:
        said.append(f"{name}: the compressed data ends too soon; read up to the cut")
