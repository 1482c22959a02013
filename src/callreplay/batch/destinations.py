"""Where outputs go: a folder, or an object store (``s3://``, ``gs://``, ``az://``) through obstore."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Final, Protocol

from callreplay.errors import ArgumentError, OutputError, UnsupportedError
from callreplay.outputs.atomic import AtomicFile, Folders

__all__ = ["Apart", "Destination", "Memory", "Once", "open_destination", "place_name"]

_SCHEMES: Final = ("s3://", "gs://", "az://", "memory://")
# What AtomicFile calls a file that is not whole yet, of a job's first or a later call.
_ASIDE: Final = re.compile(r"\.(?P<stem>.+?)(?P<call>-\d+)?(?:\.[a-z0-9]+)\.[0-9a-f]{12}\.part", re.DOTALL)


_FEW: Final = 16  # outputs that are asked for one by one


class Output(Protocol):
    """A file being written."""

    def write(self, data: bytes | memoryview) -> Any:
        """Append."""
        ...


class Destination(Protocol):
    """Takes outputs by name, each whole or not at all. ``waits``: for a disk or a network, before an output stands."""

    waits: bool

    def create(self, name: str) -> Any:
        """A context manager for one output: it appears when the block ends well, and never otherwise."""
        ...

    def size(self, name: str) -> int:
        """Octets of an output that is there, -1 where it is not."""
        ...

    def sizes(self, names: Collection[str]) -> Callable[[str], int]:
        """``size`` of any of these outputs, asked for together where each question is a request."""
        ...

    def sha256(self, name: str) -> str:
        """The digest of an output in hexadecimal, empty where it is not there."""
        ...

    def sweep(self, names: Collection[str]) -> None:
        """Remove what killed writers left of outputs of the jobs with these names. Nobody may be writing them."""
        ...


class Folder:
    """A folder; the folders of names are made as needed."""

    waits = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = os.fspath(path)
        self._folders = Folders()

    def create(self, name: str) -> AtomicFile:
        path = os.path.join(self._text, name)  # noqa: PTH118  # of every output, and a third of pathlib's time
        try:
            return AtomicFile(path, self._folders)
        except OutputError:
            # Another thread may have made the folder meanwhile; anything else is told the second time.
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            return AtomicFile(path, self._folders)

    def size(self, name: str) -> int:
        try:
            return (self._path / name).stat().st_size
        except OSError:
            return -1

    def sizes(self, names: Collection[str]) -> Callable[[str], int]:
        return self.size

    def sha256(self, name: str) -> str:
        try:
            with (self._path / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    def sweep(self, names: Collection[str]) -> None:
        folders: dict[str, set[str]] = {}
        for name in names:
            folder, stem = os.path.split(os.path.join(self._path, name))  # noqa: PTH118
            folders.setdefault(folder, set()).add(stem)
        for folder, stems in folders.items():
            if not os.path.isdir(folder):  # noqa: PTH112  # which takes any name
                continue
            for entry in os.scandir(folder):
                match = _ASIDE.fullmatch(entry.name)
                if match and (match["stem"] in stems or match["stem"] + (match["call"] or "") in stems):
                    Path(entry.path).unlink(missing_ok=True)


class ObjectStore:
    """A bucket and prefix. An object is put when its last octet is known; stores show it whole or not at all."""

    waits = True

    def __init__(self, url: str) -> None:
        try:
            import obstore
        except ImportError as error:
            raise UnsupportedError(f"{url}: needs obstore: pip install 'callreplay[batch]'") from error
        self._obstore = obstore
        self._url = url
        with self._asking():
            self._store = obstore.store.from_url(url)

    @contextmanager
    def _asking(self, name: str = "") -> Iterator[None]:
        """What the store says, as FileNotFoundError or OutputError: obstore's own are neither OSError nor short."""
        told = self._obstore.exceptions
        try:
            yield
        except (told.BaseError, OSError) as error:
            absent = isinstance(error, FileNotFoundError | told.NotFoundError)
            # After the first part come pages of what its library knows.
            text = " ".join(str(error).partition("\nDebug source:")[0].split())
            where = f"{self._url.rstrip('/')}/{name}" if name else self._url
            raise (FileNotFoundError if absent else OutputError)(f"{where}: {text}") from error

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            with self._asking(name):
                self._obstore.put(self._store, name, spool)

    def size(self, name: str) -> int:
        try:
            with self._asking(name):
                return int(self._obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return -1

    def sizes(self, names: Collection[str]) -> Callable[[str], int]:
        """One listing, a thousand objects a request, instead of a request for each; the few are asked for."""
        if len(names) <= _FEW:
            return self.size
        found: dict[str, int] = {}
        with self._asking():
            for chunk in self._obstore.list(self._store, chunk_size=1000):
                found.update(
                    (str(each["path"]), int(each["size"])) for each in chunk if each["path"] in names
                )
        return lambda name: found.get(name, -1)

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        try:
            with self._asking(name):
                for part in self._obstore.get(self._store, name):
                    digest.update(part)
        except FileNotFoundError:
            return ""
        return digest.hexdigest()

    def sweep(self, names: Collection[str]) -> None:
        return  # a put that did not end left no object


class Memory:
    """Outputs kept in memory, by name."""

    waits = False

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    @contextmanager
    def create(self, name: str) -> Iterator[Output]:
        data = _Bytes()
        yield data
        self.files[name] = bytes(data)

    def size(self, name: str) -> int:
        return len(self.files[name]) if name in self.files else -1

    def sizes(self, names: Collection[str]) -> Callable[[str], int]:
        return self.size

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.files[name]).hexdigest() if name in self.files else ""

    def sweep(self, names: Collection[str]) -> None:
        return


class Apart:
    """Outputs in memory, each for itself: it is its file's, and what it is called does not matter."""

    waits = False

    def create(self, name: str) -> AbstractContextManager[Output]:
        return nullcontext(_Bytes())

    def size(self, name: str) -> int:
        return -1

    def sizes(self, names: Collection[str]) -> Callable[[str], int]:
        return self.size

    def sha256(self, name: str) -> str:
        return ""

    def sweep(self, names: Collection[str]) -> None:
        return


class _Bytes(bytearray):
    def write(self, data: bytes | memoryview) -> None:
        self += data


class Once:
    """Another destination that takes each name once: ArgumentError. ``taken`` may be shared with other threads."""

    def __init__(self, place: Destination, taken: dict[str, object]) -> None:
        self._place, self._taken = place, taken
        self.waits = place.waits

    def create(self, name: str) -> Any:
        mine = object()
        if self._taken.setdefault(name, mine) is not mine:
            raise ArgumentError(f"{name} is the output of another job of this run: their names must differ")
        return self._place.create(name)

    def size(self, name: str) -> int:
        return self._place.size(name)

    def sizes(self, names: Collection[str]) -> Callable[[str], int]:
        return self._place.sizes(names)

    def sha256(self, name: str) -> str:
        return self._place.sha256(name)

    def sweep(self, names: Collection[str]) -> None:
        self._place.sweep(names)


def place_name(place: str | os.PathLike[str]) -> str:
    """A folder or URL as text; ArgumentError for anything else."""
    if not isinstance(place, str | os.PathLike) or not isinstance(name := os.fspath(place), str):
        raise ArgumentError(
            f"a destination is a folder or a URL, as text or a path, not {type(place).__name__}"
        )
    return name


def open_destination(place: str | os.PathLike[str]) -> Destination:
    """The destination that ``place`` names."""
    name = place_name(place)
    return ObjectStore(name) if name.startswith(_SCHEMES) else Folder(Path(name))
