"""What a capture may be given as, besides a path and a buffer: file objects, URLs, what fsspec and obstore open.

What has to be fetched is read to its end, piece by piece: up to 16 MiB stay in memory, more goes to an unlinked
temporary file that is mapped, as a capture on a disk is.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import ArgumentError, CaptureError, LimitError, UnsupportedError
from callreplay.packets.arena import Mapping
from callreplay.spare import folder, room, temporary_file

__all__ = ["PATHS", "fetched_beside", "is_url", "localised", "name_of"]

_PIECE: Final = 1 << 20
_IN_MEMORY: Final = 16 << 20
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_OBSTORE: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
_TIMEOUT_S: Final = 60.0
PATHS: Final = (str, os.PathLike)
"""To write ``str | os.PathLike`` where it is asked makes that type anew each time."""
_AS_THEY_ARE: Final = (os.PathLike, bytes, bytearray, memoryview, mmap.mmap, np.ndarray)


def is_url(source: object) -> bool:
    """Whether that is a text that begins as a URL does: ``s3://…``, ``https://…``."""
    return isinstance(source, str) and _URL.match(source) is not None


def name_of(source: object) -> str:
    """What messages call a source."""
    if isinstance(source, PATHS):
        return str(source)
    if getattr(source, "name", "") in ("<stdin>", 0):
        return "standard input"
    for each in (source, getattr(source, "file", None)):
        for attribute in ("name", "full_name", "path"):
            if isinstance(name := getattr(each, attribute, None), str):
                return name
    return "stream" if _is_file(source) else "<buffer>"


def localised(source: Any) -> Any:
    """``source`` itself where it is a path or a buffer, else its octets: ``(n,)`` uint8, or a path for ``file://``.

    File objects (``read``; binary) are read from where they stand to their end; files on a disk that stand at their
    start are mapped and not read. ``fsspec.open`` objects and paths of others (``open("rb")``) are opened. URLs are
    fetched: http and https as they are, others through obstore or fsspec, whichever is installed and knows the scheme.

    Raises ArgumentError for files opened as text, UnsupportedError where the package is missing that a URL needs,
    CaptureError where it cannot be fetched, LimitError where it is too large for the temporary folder.
    """
    if isinstance(source, str):
        return _fetched(source) if is_url(source) else source
    if isinstance(source, _AS_THEY_ARE):
        return source
    if _is_file(source):
        return _of_file(source)
    if hasattr(source, "open") and hasattr(source, "fs"):  # fsspec's OpenFile, and universal_pathlib's paths
        with _telling(name_of(source)), _opened(source) as file:
            return _of_file(file)
    return source


def fetched_beside(url: str, suffix: str) -> bytes | OSError | None:
    """The octets at ``url`` with ``suffix`` behind it; None where there are none, or why they cannot be fetched."""
    try:
        found = localised(url + suffix)
    except CaptureError as error:
        cause = error.__cause__
        absent = isinstance(cause, FileNotFoundError) or getattr(cause, "code", 0) == 404
        return None if absent else OSError(str(error).removeprefix(f"{url}{suffix}: "))
    return found.tobytes() if isinstance(found, np.ndarray) else None


def _opened(source: Any) -> Any:
    return source.open("rb") if hasattr(source, "is_file") else source.open()


def _is_file(source: object) -> bool:
    return hasattr(source, "read") and not isinstance(source, mmap.mmap)


def _of_file(file: Any) -> NDArray[np.uint8]:
    if isinstance(file, io.TextIOBase):
        raise ArgumentError(f"{name_of(file)} is open as text: open it as 'rb'")
    mapped = _mapped(getattr(file, "file", file))
    return _spooled(_pieces(file), name_of(file)) if mapped is None else mapped


def _mapped(file: Any) -> NDArray[np.uint8] | None:
    """A plain file on a disk that stands at its start; None for any other."""
    if not isinstance(file, io.BufferedReader | io.BufferedRandom | io.FileIO):
        return None
    try:
        if isinstance(file, io.BufferedRandom):
            file.flush()
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not status.st_size or file.tell():
            return None
        return _map(file, name_of(file))
    except (OSError, ValueError):
        return None


def _map(file: Any, name: str) -> NDArray[np.uint8]:
    mapped = Mapping(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.keep([(0, len(mapped), file.fileno())])
    return np.frombuffer(mapped.watch(name), np.uint8)


def _pieces(file: Any) -> Iterator[Any]:
    while piece := file.read(_PIECE):
        if isinstance(piece, str):
            raise ArgumentError(f"{name_of(file)} gives text, not octets: open it as 'rb'")
        yield piece


def _spooled(pieces: Iterable[Any], name: str) -> NDArray[np.uint8]:
    kept, total, limit = bytearray(), 0, 0
    file: IO[bytes] | None = None
    try:
        for piece in pieces:
            total += len(piece)
            if file is None and total > _IN_MEMORY:
                file = temporary_file()
                limit = room() // 2
                file.write(kept)
                kept.clear()
            if file is None:
                kept += piece
                continue
            if total > limit:
                raise LimitError(f"{name}: more than half of what {folder()} has free")
            file.write(piece)
        if file is None:
            return np.frombuffer(bytes(kept), np.uint8)
        file.flush()
        return _map(file, name)
    finally:
        if file is not None:
            file.close()


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """What other libraries raise, as CaptureError: theirs are of many families."""
    try:
        yield
    except (ArgumentError, CaptureError, LimitError, UnsupportedError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).partition("\nDebug source:")[0].split())
        raise CaptureError(f"{name}: {text or type(error).__name__}") from error


def _fetched(url: str) -> NDArray[np.uint8] | str:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname, urlopen

    scheme = url.partition(":")[0].lower()
    if scheme == "file":
        return url2pathname(urlsplit(url).path)
    if scheme in ("http", "https"):
        with _telling(url), urlopen(url, timeout=_TIMEOUT_S) as answer:
            return _spooled(_pieces(answer), url)
    if scheme in _OBSTORE:
        with suppress(ImportError):
            return _by_obstore(url)
    try:
        import fsspec
    except ImportError:
        needed = "obstore: pip install 'callreplay[batch]'" if scheme in _OBSTORE else "fsspec"
        raise UnsupportedError(f"{url}: a URL with {scheme}:// needs {needed}") from None
    with _telling(url), fsspec.open(url, "rb") as file:
        return _spooled(_pieces(file), url)


def _by_obstore(url: str) -> NDArray[np.uint8]:
    import obstore

    with _telling(url):
        folder, _, name = url.rpartition("/")
        if not name or folder.endswith(":/"):
            raise CaptureError(f"{url}: names no object")
        return _spooled(obstore.get(obstore.store.from_url(folder), name).stream(_PIECE), url)
