"""Volumes on object stores (``s3://bucket/prefix``, ``gs://``, ``az://``), with the face of `callreplay.store.handle`.

An object is there whole or not at all: a put, of many parts where it is large, shows it when the last octet is known.
Names have the uuid of their call in them, so that no two calls ever ask for the same one and none is used again; what
is listed in a journal can be removed at any time, and twice.

There are no locks on an object store. A journal is that of a dead process once it is older than any transaction can be
(`LEASE_SECONDS`): the server ends those that are idle for an hour.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import TracebackType
from typing import IO, Any, BinaryIO, Final, Self
from uuid import UUID, uuid4

from callreplay.errors import OutputError, UnsupportedError
from callreplay.model import recording_files
from callreplay.store.handle import FOLDER, Found, MissingError, VolumeError, stored_parts

__all__ = [
    "LEASE_SECONDS",
    "UNBOUNDED",
    "ObjectDeparture",
    "ObjectHandle",
    "ObjectJournal",
    "is_object_url",
    "settle_objects",
]

_SCHEMES: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
_MARKER: Final = f"{FOLDER}/volume.json"
_PIECE: Final = 8 << 20  # octets of a range;
_AT_A_TIME: Final = 4  # as many are asked for together
_THREADS: Final = 16
_RETRY: Final[dict[str, Any]] = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
LEASE_SECONDS: Final = 7200.0
UNBOUNDED: Final = 1 << 60
"""What an object store has left, in octets: as good as without end."""


def is_object_url(place: object) -> bool:
    """Whether a volume's place is an object store, and not a folder."""
    return str(place).partition("://")[0] in _SCHEMES and "://" in str(place)


@lru_cache(maxsize=64)
def _store(url: str, process: int) -> Any:
    """The store at a URL: one for each process, which keeps its connections."""
    try:
        import obstore.store
    except ImportError as error:
        raise UnsupportedError(f"{url}: needs obstore: pip install 'callreplay[batch]'") from error
    make: Any = obstore.store.from_url
    return make(url, retry_config=_RETRY)


class ObjectHandle:
    """An open volume on an object store. Paths are relative to it, with ``/``. A context manager.

    Args:
        url: bucket and prefix.
        uuid: what its marker must say; None where it has none yet.
        number: the volume's id, for messages.

    Raises:
        VolumeError: the store does not answer, or its marker does not say ``uuid``.
        UnsupportedError: obstore is not installed.

    """

    def __init__(self, url: str, uuid: UUID | None, number: int) -> None:
        self.label = f"volume {number} ({url})"
        try:
            self.store = _store(url, os.getpid())
        except UnsupportedError:
            raise
        except Exception as error:
            raise VolumeError(f"{self.label} cannot be reached: {_line(error)}") from error
        if uuid is not None and (found := self.marker()) != uuid:
            other = f"another volume is there, {found}" if found else "it has no marker"
            raise VolumeError(f"{self.label} is not there: {other} (callreplay volumes move)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""

    @property
    def free_bytes(self) -> int:
        """UNBOUNDED: a quota is what limits it."""
        return UNBOUNDED

    def marker(self) -> UUID | None:
        """The uuid that the marker gives; None where there is none. Raises VolumeError."""
        try:
            return UUID(json.loads(self.get(_MARKER))["uuid"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VolumeError(f"{self.label} cannot be reached: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def mark(self, uuid: UUID) -> None:
        """Write the marker. Raises VolumeError for another's, OutputError."""
        found = self.marker()
        if found not in (None, uuid):
            raise VolumeError(
                f"{self.label} bears the marker of another volume, {found}: remove {_MARKER} there if that one is gone"
            )
        if found is None:
            self.put(_MARKER, json.dumps({"uuid": str(uuid)}).encode())

    def unmark(self, uuid: UUID) -> None:
        """Take the marker away, where it is that volume's."""
        with contextlib.suppress(OSError):
            if self.marker() == uuid:
                self.unlink(_MARKER)

    def put(self, path: str, data: bytes | IO[bytes]) -> None:
        """Put an object, whole or not at all. Raises OutputError."""
        import obstore

        with self._asking(path):
            obstore.put(self.store, path, data)

    def get(self, path: str) -> bytes:
        """A small object. Raises FileNotFoundError, OutputError."""
        import obstore

        with self._asking(path):
            return bytes(obstore.get(self.store, path).bytes())

    def open(self, path: str) -> int:
        """A descriptor of a file without a name that has what the object has, fetched by ranges.

        FileNotFoundError where there is none, or OSError.
        """
        _checked(path)
        head = self._head(path)
        if head is None:
            raise MissingError(path)
        with tempfile.TemporaryFile(prefix="callreplay-") as spool:
            for start in range(0, head.size, _PIECE * _AT_A_TIME):
                for piece in self._ranges(path, start, min(start + _PIECE * _AT_A_TIME, head.size)):
                    spool.write(piece)
            spool.flush()
            if spool.tell() != head.size:
                raise OutputError(f"{self.label}/{path}: {spool.tell()} octets came of {head.size}")
            os.utime(spool.fileno(), ns=(head.written_ns, head.written_ns))
            spool.seek(0)
            return os.dup(spool.fileno())

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Octets ``start`` to ``stop`` of an object. Raises FileNotFoundError, OSError."""
        _checked(path)
        return b"".join(self._ranges(path, start, stop))

    def _ranges(self, path: str, start: int, stop: int) -> list[bytes]:
        import obstore

        starts = list(range(start, stop, _PIECE))
        with self._asking(path):
            found = obstore.get_ranges(
                self.store, path, starts=starts, ends=[min(each + _PIECE, stop) for each in starts]
            )
        return [bytes(each) for each in found]

    def status(self, path: str) -> os.stat_result | None:
        """Size and time of an object as the file system would tell them; None where there is none."""
        with contextlib.suppress(FileNotFoundError):
            _checked(path)
            if (head := self._head(path)) is not None:
                seconds = head.written_ns // 10**9
                values = [0o100440, 0, 0, 1, 0, 0, head.size, seconds, seconds, seconds]
                return os.stat_result(
                    values, {"st_mtime_ns": head.written_ns, "st_mtime": head.written_ns / 1e9}
                )
        return None

    def _head(self, path: str) -> Found | None:
        import obstore

        try:
            with self._asking(path):
                head = obstore.head(self.store, path)
        except FileNotFoundError:
            return None
        changed: datetime = head["last_modified"]
        return Found(path, int(head["size"]), int(changed.timestamp()) * 10**9)

    def found(self, paths: Iterable[str]) -> list[Found]:
        """What is there of recordings and their side indexes, many asked for at a time. Raises OSError."""
        with ThreadPoolExecutor(_THREADS) as threads:
            return [each for each in threads.map(self._head, _files(paths)) if each is not None]

    def size_of(self, paths: Iterable[str]) -> int:
        """Octets of stored files with their side indexes; missing ones count nothing."""
        return sum(each.size for each in self.found(paths))

    def remove(self, paths: Iterable[str]) -> dict[str, OSError]:
        """Remove recordings with their side indexes, a thousand a request; what could not be, and why."""
        return self.delete(_files(paths))

    def delete(self, files: list[str]) -> dict[str, OSError]:
        """Remove objects; those that are not there are no error."""
        import obstore

        try:
            with self._asking():
                if files:
                    obstore.delete(self.store, files)
        except FileNotFoundError:
            pass  # some stores say so, and go no further
        except OSError as error:
            return dict.fromkeys(files, error)
        else:
            return {}
        for each in files:
            self.unlink(each)
        return {}

    def unlink(self, path: str) -> int:
        """Remove an object; 0, as nobody asked how large it was. Raises OSError."""
        import obstore

        with contextlib.suppress(FileNotFoundError), self._asking(path):
            obstore.delete(self.store, path)
        return 0

    def prune(self, folder: str) -> None:
        """There are no folders."""

    def make_folder(self, folder: str) -> list[str]:
        """There are no folders."""
        return []

    def sync(self, folder: str) -> None:
        """What was put is durable."""

    def sync_all(self) -> None:
        """What was put is durable."""

    def name_for(self, name: str, call: UUID) -> str:
        """The name of a call's recordings, which no other call has."""
        return f"{name}_{call}"

    def journals(self) -> Iterator[tuple[str, datetime]]:
        """The journals: their names and when they were written last. Raises OSError."""
        import obstore

        with self._asking():
            for chunk in obstore.list(self.store, prefix=FOLDER):
                for each in chunk:
                    yield str(each["path"]).rpartition("/")[2], each["last_modified"]

    @contextlib.contextmanager
    def _asking(self, path: str = "") -> Iterator[None]:
        """What the store says, as FileNotFoundError or OutputError: obstore's own are neither OSError nor short."""
        from obstore.exceptions import BaseError, NotFoundError

        try:
            yield
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError | NotFoundError):
                raise MissingError(path) from error
            raise OutputError(f"{self.label}{'/' + path if path else ''}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    # After the first part come pages of what the library knows.
    return " ".join(str(error).partition("\nDebug source:")[0].split())


def _checked(path: str) -> None:
    stored_parts(path)


def _files(paths: Iterable[str]) -> list[str]:
    """Recordings and their side indexes; a path that no stored file has is left out."""
    found = []
    for path in paths:
        for file in recording_files(path):
            with contextlib.suppress(FileNotFoundError):
                _checked(file)
                found.append(file)
    return found


class ObjectJournal:
    """As `callreplay.store.journal.Journal`: parts are files without a name here until they are put to their paths."""

    def __init__(self, volume: ObjectHandle, call: UUID) -> None:
        self.volume = volume
        self.call = call
        self._path = f"{FOLDER}/{call}.json"
        self._parts: dict[str, BinaryIO] = {}
        self._lines: list[tuple[object, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the parts. A journal that still stands is settled later."""
        for part in self._parts.values():
            part.close()
        self._parts.clear()

    def create(self, label: str) -> BinaryIO:
        """A file to write before it has its place: the part ``label``."""
        kept = os.fdopen(
            os.open(tempfile.gettempdir(), os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600), "w+b"
        )
        self._parts[self.part(label)] = kept
        return os.fdopen(os.dup(kept.fileno()), "wb")

    def part(self, label: str) -> str:
        """The name of a part."""
        return f"{self.call}.{label}.part"

    def note(self, *entries: tuple[str, str], durable: bool = True) -> None:
        """List ``(name of a part or '', path relative to the volume)``, durable before this returns."""
        self._lines += entries
        self.volume.put(self._path, "".join(json.dumps(entry) + "\n" for entry in self._lines).encode())

    def link(self, part: str, path: str) -> None:
        """Put a part to its path. Raises OSError."""
        _checked(path)
        file = self._parts[part]
        file.seek(0)
        self.volume.put(path, file)

    def finish(self) -> None:
        """Drop the journal: the database has decided and the objects agree with it."""
        self.close()
        if self._lines:
            with contextlib.suppress(OSError):
                self.volume.unlink(self._path)


class ObjectDeparture(ObjectJournal):
    """As `callreplay.store.journal.Departure`."""

    def __init__(self, volume: ObjectHandle) -> None:
        super().__init__(volume, uuid4())
        self._path = f"{FOLDER}/{self.call}.calls"

    def enlist(self, files: Iterable[tuple[UUID, Found]]) -> None:
        """List files with the calls that they are of, durable before this returns."""
        self._lines = [(str(call), file.path) for call, file in files]
        self.volume.put(self._path, "".join(json.dumps(entry) + "\n" for entry in self._lines).encode())


def settle_objects(volume: ObjectHandle, exists: Callable[[UUID], set[str] | None]) -> int:
    """As `callreplay.store.journal.settle`, of journals that are older than ``LEASE_SECONDS``."""
    settled = 0
    oldest = datetime.fromtimestamp(time.time() - LEASE_SECONDS, UTC)
    for name, written in list(volume.journals()):
        stem, _, kind = name.rpartition(".")
        if written > oldest or kind not in ("json", "calls") or name == "volume.json":
            continue
        path = f"{FOLDER}/{name}"
        with contextlib.suppress(FileNotFoundError, ValueError):
            kept: dict[UUID, set[str]] = {}
            own = UUID(stem)
            for line in volume.get(path).splitlines():
                entry = json.loads(line)
                call = own if kind == "json" else UUID(str(entry[0]))
                if call not in kept:
                    kept[call] = exists(call) or set()
                if str(entry[1]) not in kept[call]:
                    _checked(str(entry[1]))
                    volume.unlink(str(entry[1]))
            volume.unlink(path)
            settled += 1
    return settled
