"""A backup (`callreplay.store.backup`) becomes a database with its volumes again: here, or on another machine.

Recordings go to their places first; the database comes last and makes it a whole: an embedded one is made in a folder
of its own and moved in, another takes all in one transaction. What is cut short leaves no database, and is done again
by the same command.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from callreplay.errors import ArgumentError, FormatError, OutputError
from callreplay.store import audit, volumes
from callreplay.store.backup import ABOUT, DUMP, END, FORMAT
from callreplay.store.beneath import make_folders, open_beneath
from callreplay.store.database import connect, migrate
from callreplay.store.dumping import load
from callreplay.store.embedded import EmbeddedPostgres
from callreplay.store.handle import mark, stored_parts
from callreplay.store.objects import is_object_url
from callreplay.store.sharing import Shares

__all__ = ["Restored", "restore"]

_STAGE: Final = "restoring"
_LARGEST_JSON: Final = 64 << 20
_BLOCK: Final = 1 << 20
_OURS: Final = frozenset(("lock", "users", "port", "postgresql.log"))
"""What a server leaves in its data directory that is of no use in another."""
_PROGRAM: Final = frozenset(("cluster", "cluster.new", "postgresql", _STAGE))
"""Folders of a data directory where no recording of a backup is put."""


@dataclass(slots=True)
class Restored:
    """What a backup gave. ``warnings``: volumes that someone has to look after."""

    calls: int
    files: int = 0
    size_bytes: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Place:
    """Where a volume of the backup goes; ``home`` is its path in the data directory, if it lies there."""

    uuid: UUID
    path: Path | str
    home: str | None
    filled: bool
    """Whether recordings of the backup go there."""


def restore(
    source: IO[bytes], data_dir: Path, url: str = "", places: dict[str, Path] | None = None
) -> Restored:
    """Restore the backup ``source``, which is read once from its beginning to its end.

    Args:
        source: the tar file.
        data_dir: of the embedded server, which must have no database yet. Volumes that lay in the old one, and
            those whose recordings are in the backup, go here.
        url: of a server's empty database, in place of the embedded one.
        places: where volumes go, or are already, by their id or name, if not there.

    Raises:
        FormatError: it is no backup, one of a newer callreplay, or one that ends early.
        ArgumentError: ``places`` names a volume that there is not.
        OutputError: there is a database already, or one cannot be made.

    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
    shares = Shares(data_dir)
    if not url:
        shares.take("service", 0.0)  # no service may begin a database here meanwhile
    try:
        _refuse_existing(data_dir, url)
        stage = data_dir / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(mode=0o755)
        try:
            return _restore(source, data_dir, stage, url, places or {})
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    finally:
        shares.release()


def _refuse_existing(data_dir: Path, url: str) -> None:
    if not url:
        if (data_dir / "cluster").exists():
            raise OutputError(f"{data_dir} has a database already: restore into another --data-dir")
        return
    with connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) AS tables FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
            "AND relkind IN ('r', 'v', 'm', 'p')"
        ).fetchone()
    if row is None or row["tables"]:
        raise OutputError("the database is not empty: restore into a new one")


def _restore(source: IO[bytes], data_dir: Path, stage: Path, url: str, given: dict[str, Path]) -> Restored:
    with contextlib.ExitStack() as made, tempfile.TemporaryFile(dir=stage) as dumped:
        try:
            tar = made.enter_context(tarfile.open(fileobj=source, mode="r|"))
            about = _about(tar)
            planned = _plan(about, data_dir, given)
            done = Restored(int(about["calls"]))
            undo = made.enter_context(contextlib.ExitStack())
            _unpack(tar, planned, dumped, done, undo)
        except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
            raise FormatError(f"no backup of callreplay, or one that is damaged: {error}") from error
        dumped.seek(0)
        if url:
            _fill(url, about, dumped, planned, data_dir, done)
        else:
            server = EmbeddedPostgres(stage, port=0, password=about.get("reader_password") or None)
            with server:
                _fill(server.url, about, dumped, planned, data_dir, done)
            _move_in(stage, data_dir)
        undo.pop_all()
    return done


def _json(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> dict[str, Any]:
    file = tar.extractfile(entry) if entry.size <= _LARGEST_JSON else None
    try:
        value = json.loads(file.read()) if file else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise FormatError(f"no backup of callreplay: {entry.name} in it cannot be read")
    return value


def _about(tar: tarfile.TarFile) -> dict[str, Any]:
    first = tar.next()
    if first is None or first.name != ABOUT:
        raise FormatError(f"no backup of callreplay: it does not begin with {ABOUT}")
    about = _json(tar, first)
    if about.get("format") != FORMAT:
        raise FormatError(
            f"a backup of format {about.get('format')}, by callreplay {about.get('callreplay')}: update this one"
        )
    if not _is_whole(about):
        raise FormatError(f"no backup of callreplay: {first.name} in it cannot be read")
    return about


def _is_whole(about: dict[str, Any]) -> bool:
    """Whether all is there that a restore looks at."""
    try:
        for volume in about["volumes"]:
            UUID(volume["uuid"])
            if not isinstance(volume["id"], int) or not all(
                isinstance(text, str) for text in (volume["name"], volume["path"], volume["home"] or "")
            ):
                return False
        said = about["calls"], about["recordings"], about["begun"], about.get("reader_password") or ""
        return all(map(isinstance, said, (int, bool, str, str))) and all(
            isinstance(role, str) for role in about["roles"]
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _plan(about: dict[str, Any], data_dir: Path, given: dict[str, Path]) -> dict[int, _Place]:
    """Where each volume goes, by its id."""
    planned: dict[int, _Place] = {}
    left = dict(given)
    for volume in about["volumes"]:
        number, filled = int(volume["id"]), bool(about["recordings"])
        named = left.pop(str(number), None) or left.pop(str(volume["name"]), None)
        home = volume["home"]
        if named is not None:
            path, home = named.resolve(), None
        elif home is not None or filled:
            home = home or f"volumes/{number}"
            path = (data_dir / home).resolve()
            if not path.is_relative_to(data_dir):
                raise FormatError(f"no backup of callreplay: volume {number} lies outside its data directory")
            if filled and not _PROGRAM.isdisjoint(path.relative_to(data_dir).parts[:1] or _PROGRAM):
                home = f"volumes/{number}"  # not among what the program itself keeps there
                path = data_dir / home
        else:
            path = volume["path"] if is_object_url(volume["path"]) else Path(volume["path"])
        planned[number] = _Place(UUID(volume["uuid"]), path, home, filled)
    if left:
        raise ArgumentError(f"volume: the backup has none of the id or name {min(left)!r}")
    return planned


def _unpack(
    tar: tarfile.TarFile,
    planned: dict[int, _Place],
    dumped: IO[bytes],
    done: Restored,
    undo: contextlib.ExitStack,
) -> None:
    """The rest of the file: the dump, the recordings to their volumes, and the mark of its end."""
    with contextlib.ExitStack() as opened:
        roots = dict(_roots(planned, opened, undo))
        dumps = 0
        while (entry := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # there may be millions
            if entry.name == END:
                said = _json(tar, entry)
                if not dumps or (said.get("files"), said.get("bytes")) != (done.files, done.size_bytes):
                    raise FormatError("the backup is damaged: files of it are missing")
                return
            file = tar.extractfile(entry) if entry.isreg() else None
            if file is None:
                raise FormatError(f"no backup of callreplay: {entry.name} in it is no file")
            if entry.name == DUMP:
                shutil.copyfileobj(file, dumped, _BLOCK)
                dumps += 1
                continue
            _put(entry.name, file, roots, undo)
            done.files += 1
            done.size_bytes += entry.size
        raise FormatError("the backup ends early")


def _roots(
    planned: dict[int, _Place], opened: contextlib.ExitStack, undo: contextlib.ExitStack
) -> Iterator[tuple[int, int]]:
    """A descriptor of each volume that recordings go to, made and marked where it is missing."""
    for number, place in planned.items():
        if not place.filled or isinstance(place.path, str):
            continue
        if not place.path.exists():
            undo.callback(shutil.rmtree, place.path, ignore_errors=True)
            place.path.mkdir(mode=0o750, parents=True)
        mark(place.path, place.uuid)
        root = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, root)
        yield number, root


def _put(name: str, file: IO[bytes], roots: dict[int, int], undo: contextlib.ExitStack) -> None:
    """One recording to its place, beneath its volume."""
    top, _, rest = name.partition("/")
    number, _, path = rest.partition("/")
    root = roots.get(int(number)) if top == "volumes" and number.isdecimal() and len(number) < 10 else None
    if root is None or not path:
        raise FormatError(f"no backup of callreplay: it has {name}")
    try:
        stored_parts(path)
        if "/" in path:
            make_folders(root, path.rpartition("/")[0])
        # What is there already is from a restore that was cut short, or the same recording.
        descriptor = open_beneath(root, path, os.O_WRONLY | os.O_CREAT)
        with os.fdopen(descriptor, "wb") as out:
            shutil.copyfileobj(file, out, _BLOCK)
            out.truncate()
            out.flush()
            os.fsync(descriptor)
    except tarfile.TarError:
        raise
    except OSError as error:
        raise OutputError(f"{name} cannot be written: {error.strerror or error}") from error


def _fill(
    url: str,
    about: dict[str, Any],
    dumped: IO[bytes],
    planned: dict[int, _Place],
    data_dir: Path,
    done: Restored,
) -> None:
    """The database from its dump, brought to this version's schema, with its volumes where they are now."""
    with connect(url) as connection:
        connection.autocommit = True
        for role in about["roles"]:
            _make_role(connection, str(role))
        version = connection.info.server_version
    load(url, version, dumped)
    migrate(url)
    with connect(url) as connection:
        volumes.put(connection, {number: (place.path, place.home) for number, place in planned.items()})
        volumes.adopt(connection)
        audit.write(
            connection, "restore", actor="system", detail={"begun": about["begun"], "files": done.files}
        )
        done.warnings = [
            f"volume {volume.id} ({volume.path}) {volume.warning}"
            for volume in volumes.listing(connection)
            if volume.warning
        ]


def _make_role(connection: psycopg.Connection[Any], role: str) -> None:
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None:
        return
    try:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege:
        raise OutputError(
            f"the backup has rights of the role {role}, which is missing here: "
            f'let an administrator say CREATE ROLE "{role}" NOLOGIN'
        ) from None


def _move_in(stage: Path, data_dir: Path) -> None:
    """The finished cluster into the data directory: by its own name last, as that is what makes it a database."""
    for each in sorted(stage.iterdir(), key=lambda path: path.name == "cluster"):
        if each.name not in _OURS:
            target = data_dir / each.name
            if target.is_dir() and each.name != "cluster":
                shutil.rmtree(target)
            each.rename(target)
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
