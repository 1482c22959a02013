"""Captures as arrays of octets: mapped where they are files, in the clear where they are compressed."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import warnings as python_warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeGuard, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import CaptureError, LimitError
from callreplay.model import check_intact
from callreplay.packets.arena import JoinedMapping, Mapping, release
from callreplay.packets.compression import PIECE, compression, members, pieces
from callreplay.packets.opening import PATHS
from callreplay.spare import folder, room, temporary_file

if TYPE_CHECKING:  # what few callers have is loaded by those
    from pathlib import Path

Octets = bytes | bytearray | memoryview | mmap.mmap | NDArray[Any]

__all__ = [
    "CaptureWarning",
    "Member",
    "Opener",
    "Readable",
    "is_opener",
    "join",
    "lay_together",
    "open_buffer",
    "open_octets",
    "open_path",
]

_IN_MEMORY: Final = 16 << 20
_LIMIT: Final = 1 << 40
_FLAGS: Final = mmap.MAP_SHARED
_AT_ONCE: Final = getattr(mmap, "MAP_POPULATE", 0)
"""A capture is read from its first octet to its last: one call that maps all its pages costs less than their faults."""
_MOST_LAYERS: Final = 3
"""A ZIP archive may hold a capture compressed with gzip; what is packed more often is no capture."""


@runtime_checkable
class Opener(Protocol):
    """A file that opens itself: one that is reached by a descriptor, and not by its path alone."""

    @property
    def name(self) -> str:
        """What to call it."""

    def open(self, suffix: str = "") -> int:
        """A descriptor for reading, of the file or (``suffix``) of the one beside it. Raises OSError."""


def is_opener(source: object) -> TypeGuard[Opener]:
    """Whether it is an `Opener`. ``isinstance`` takes 100 µs for such a protocol in Python 3.11."""
    if isinstance(source, PATHS) or hasattr(source, "read"):
        return False
    return hasattr(source, "open") and hasattr(source, "name")


class CaptureWarning(UserWarning):
    """Something about a capture that did not stop it from being read."""


class Readable(Protocol):
    """A stream of octets: standard input, a pipe, a socket's file."""

    def read(self, size: int, /) -> bytes: ...


def open_buffer(
    source: str | os.PathLike[str] | Opener | Octets | Readable,
    *,
    warnings: list[str] | None = None,
    limit: int = _LIMIT,
    member: str = "",
    pipes: bool = False,
) -> NDArray[np.uint8]:
    """The octets of a capture, ``(n,)`` uint8, read-only and without a copy: a mapped file or the buffer given.

    What is compressed (gzip, bzip2, xz, Zstandard with the extra ``zstd``, a ZIP archive of one file, or its
    ``member``) is decompressed, above 16 MiB into an unlinked temporary file that is mapped in turn; and so are streams
    kept, which are read to their end. A compressed file that ends too soon is read up to the cut; the message goes to
    ``warnings`` or, where that is None, is issued as CaptureWarning. ``pipes``: a path may be a pipe, which is waited
    for.

    Raises CaptureError for an empty file, one that is not a regular file or cannot be opened, and corrupt compression;
    LimitError where more would come out than ``limit`` octets or than half of what the temporary directory has free;
    UnsupportedError for Zstandard without the extra.

    A file may grow while it is in use. Where it shrinks, what used it raises OutputError (``Mapping.check``); a file
    that is replaced by renaming another one over it stays whole.
    """
    name, data = _source(source, limit, pipes)
    if not len(data):
        raise CaptureError(f"{name}: empty")
    said: list[str] = []
    data = _clear(data, name, limit, member, said)
    if warnings is not None:
        warnings.extend(said)
    else:
        for message in said:
            python_warnings.warn(message, CaptureWarning, stacklevel=2)
    return data


def _clear(data: NDArray[np.uint8], name: str, limit: int, member: str, said: list[str]) -> NDArray[np.uint8]:
    """What is compressed decompressed, all else as it is."""
    for _ in range(_MOST_LAYERS):
        kind = compression(data[:10].tobytes())
        if not kind:
            break
        packed = data
        try:
            data = _kept(pieces(packed, name, kind, said, member), name, limit)
        finally:
            check_intact(packed)
        member = ""
        if not len(data):
            raise CaptureError(f"{name}: nothing inside the compression")
    return data


class Member(NamedTuple):
    """A file, or one in a ZIP archive: its name in that or '', its octets in the clear, whether they were cut short."""

    name: str
    data: NDArray[np.uint8]
    cut: bool


def open_path(
    path: str | os.PathLike[str], warnings: list[str]
) -> tuple[list[Member], tuple[int, int] | None]:
    """What is at ``path`` as ``open_buffer`` opens it, pipes too, each member of a ZIP archive by itself.

    Also returns which file that is, by device and inode; None for what is no regular file.
    """
    name = os.fspath(path)
    try:
        # To open a pipe and close it would end whoever writes to it.
        status = os.stat(name)  # noqa: PTH116
        regular = stat.S_ISREG(status.st_mode) and status.st_size > 0
    except (OSError, ValueError):
        regular = False
    said: list[str] = []
    if not regular:  # most often a file that cannot be opened, which is told there
        data = open_buffer(path, warnings=said, pipes=True)
        warnings += said
        return [Member("", data, bool(said))], None
    return _unpacked(_map(name), name, warnings), (status.st_dev, status.st_ino)


def open_octets(source: Opener | Octets | Readable, name: str, warnings: list[str]) -> list[Member]:
    """As ``open_path`` for what has no path: octets, a stream, or what opens files; messages call it ``name``."""
    _, data = _source(source, _LIMIT, True)
    if not len(data):
        raise CaptureError(f"{name}: empty")
    return _unpacked(data, name, warnings)


def _unpacked(data: NDArray[np.uint8], name: str, warnings: list[str]) -> list[Member]:
    """What is compressed in the clear, each member of a ZIP archive by itself."""
    found: list[Member] = []
    said: list[str]
    for member in members(data, name) if data[:4].tobytes() == b"PK\3\4" else ():
        said = []
        found.append(Member(member, _clear(data, name, _LIMIT, member, said), bool(said)))
        warnings += said
    if not found:
        said = []
        found.append(Member("", _clear(data, name, _LIMIT, "", said), bool(said)))
        warnings += said
    return found


def _source(
    source: str | os.PathLike[str] | Opener | Octets | Readable, limit: int, pipes: bool
) -> tuple[str, NDArray[np.uint8]]:
    if isinstance(source, PATHS):
        name = os.fspath(source)
        # An empty path is this folder, as pathlib has it.
        return name, _piped(name, limit) if pipes and _is_pipe(name) else _map(name or ".")
    if is_opener(source):
        opener = source
        return source.name, _map(source.name, lambda *_: opener.open())
    if hasattr(source, "read") and not isinstance(source, mmap.mmap):
        name = "standard input" if getattr(source, "name", "") in ("<stdin>", 0) else "stream"
        return name, _kept(_read(cast(Readable, source), name), name, limit)
    view: memoryview = memoryview(cast(bytes, source))  # anything that exports a buffer
    if not view.contiguous:
        raise CaptureError("the buffer is not contiguous")
    data = np.frombuffer(view.cast("B") if view.nbytes else b"", np.uint8)
    data.flags.writeable = False
    return "capture", data


def _is_pipe(name: str) -> bool:
    try:
        mode = os.stat(name).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _piped(name: str, limit: int) -> NDArray[np.uint8]:
    """A named pipe, /dev/stdin or a process substitution of a shell."""
    try:
        with open(name, "rb", buffering=0) as file:  # noqa: PTH123
            return _kept(_read(file, name), name, limit)
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror}") from error


def _read(file: Readable, name: str) -> Iterator[bytes]:
    try:
        while piece := file.read(PIECE):
            yield piece
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror}") from error


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
            file = _open(os.fspath(path))
            stack.callback(os.close, file)
            if compression(os.pread(file, 10, 0)):
                data = open_buffer(path, warnings=warnings)
                plain = stack.enter_context(temporary_file())
                for start in range(0, len(data), PIECE):
                    plain.write(data[start : start + PIECE].data)
                    release(data)
                plain.flush()
                files.append((plain.fileno(), len(data)))
            else:
                files.append((file, os.fstat(file).st_size))
        try:
            joined = JoinedMapping(files).watch(f"{paths[0]} … {paths[-1].name}")
            spans = [(start, start + size) for start, (_, size) in zip(joined.starts, files, strict=True)]
            joined.keep([(*span, file[0]) for span, file in zip(spans, files, strict=True)])
        except OSError as error:
            raise CaptureError(f"{paths[0]}: {error.strerror}") from error
    joined.madvise(mmap.MADV_SEQUENTIAL)
    return np.frombuffer(memoryview(joined), np.uint8), spans


def lay_together(buffers: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """The octets of several captures side by side, and where each begins and ends.

    A copy: in memory, or, above 16 MiB, in an unlinked temporary file. Raises LimitError where they are more than half
    of what the temporary directory has free.
    """
    ends = np.cumsum([len(data) for data in buffers]).tolist()

    def parts() -> Iterator[bytes]:
        for data in buffers:
            for start in range(0, len(data), PIECE):
                yield data[start : start + PIECE].tobytes()
                release(data)

    whole = _kept(parts(), "captures", _LIMIT)
    check_intact(*buffers)
    return whole, list(zip([0, *ends[:-1]], ends, strict=True))


def _at_once(name: str, flags: int) -> int:
    """Without O_NONBLOCK a named pipe that nobody writes to would be waited for."""
    return os.open(name, flags | os.O_NONBLOCK)


def _open(path: str, opener: Callable[[str, int], int] = _at_once) -> int:
    """A descriptor of a regular file that is not empty."""
    file = -1
    try:
        file = opener(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(file)
    except (OSError, ValueError) as error:
        if file >= 0:
            os.close(file)
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise CaptureError(f"{path}: {reason}") from error
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return file
    os.close(file)
    reason = "empty" if stat.S_ISREG(status.st_mode) else "not a regular file"
    if stat.S_ISDIR(status.st_mode):
        reason = "a folder, not a regular file; callreplay batch takes folders"
    raise CaptureError(f"{path}: {reason}")


def _map(path: str, opener: Callable[[str, int], int] = _at_once) -> NDArray[np.uint8]:
    file = _open(path, opener)
    try:
        size = os.fstat(file).st_size
        mapped = Mapping(file, 0, flags=_FLAGS | (_AT_ONCE if size <= _IN_MEMORY else 0), prot=mmap.PROT_READ)
        mapped.own(file)
        file = -1
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CaptureError(f"{path}: {reason}") from error
    finally:
        if file >= 0:
            os.close(file)
    if len(mapped) > _IN_MEMORY and hasattr(mmap, "MADV_SEQUENTIAL"):
        mapped.madvise(mmap.MADV_SEQUENTIAL)
    return np.frombuffer(mapped.watch(path), np.uint8)


def _kept(parts: Iterable[bytes], name: str, limit: int) -> NDArray[np.uint8]:
    """The octets of ``parts``: in memory, or, above 16 MiB, in an unlinked temporary file that is mapped."""
    kept = bytearray()
    file: IO[bytes] | None = None
    total = 0
    try:
        for piece in parts:
            total += len(piece)
            if total > limit:
                raise LimitError(f"{name}: more than {limit} octets when decompressed")
            if file is None and total > _IN_MEMORY:
                file = temporary_file()
                limit = min(limit, room() // 2)
                file.write(kept)
                kept.clear()
            if file is not None:
                file.write(piece)
            else:
                kept += piece
        if file is None:
            return np.frombuffer(bytes(kept), np.uint8)
        file.flush()
        mapped = Mapping(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.keep([(0, len(mapped), file.fileno())])
        return np.frombuffer(mapped.watch(f"temporary file in {folder()}"), np.uint8)
    finally:
        if file is not None:
            file.close()
