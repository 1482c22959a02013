"""Where outputs go: a folder, or an object store (``s3://``, ``gs://``, ``az://``) through obstore."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from callreplay.encode import AtomicFile
from callreplay.errors import UnsupportedError

__all__ = ["Destination", "Memory", "open_destination"]

_SCHEMES: Final = ("s3://", "gs://", "az://", "memory://")


class Output(Protocol):
    """A file being written."""

    def write(self, data: bytes | memoryview) -> Any:
        """Append."""
        ...


class Destination(Protocol):
    """Takes outputs by name, each whole or not at all."""

    def create(self, name: str) -> Any:
        """A context manager for one output: it appears when the block ends well, and never otherwise."""
        ...

    def size(self, name: str) -> int:
        """Octets of an output that is there, -1 where it is not."""
        ...


class Folder:
    """A folder; the folders of names are made as needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self, name: str) -> AtomicFile:
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return AtomicFile(path)

    def size(self, name: str) -> int:
        try:
            return (self._path / name).stat().st_size
        except OSError:
            return -1


class ObjectStore:
    """A bucket and prefix. An object is put when its last octet is known; stores show it whole or not at all."""

    def __init__(self, url: str) -> None:
        try:
            import obstore
        except ImportError as error:
            raise UnsupportedError(f"{url}: needs obstore: pip install 'callreplay[batch]'") from error
        self._obstore = obstore
        self._store = obstore.store.from_url(url)

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            self._obstore.put(self._store, name, spool)

    def size(self, name: str) -> int:
        try:
            return int(self._obstore.head(self._store, name)["size"])
        except (FileNotFoundError, OSError):
            return -1


class Memory:
    """Outputs kept in memory: for those who embed the engine."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    @contextmanager
    def create(self, name: str) -> Iterator[bytearray]:
        data = _Bytes()
        yield data
        self.files[name] = bytes(data)

    def size(self, name: str) -> int:
        return len(self.files[name]) if name in self.files else -1


class _Bytes(bytearray):
    def write(self, data: bytes | memoryview) -> None:
        self += data


def open_destination(place: str) -> Destination:
    """The destination that ``place`` names."""
    return ObjectStore(place) if place.startswith(_SCHEMES) else Folder(Path(place))
