"""What a batch is asked to do: one job per capture, each with the name its output will have."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Final

from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.packets import finding

__all__ = ["Job", "Namer", "file_facts", "find_jobs", "own_name", "owner_of", "read_manifest_jobs"]

_LATER_CALL: Final = re.compile(r"(.+)-(?:[2-9]|[1-9]\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Job:
    """One capture (or two, one per leg) to transcode.

    ``name`` is the output's path below the destination, without suffix: every call of the capture becomes
    ``NAME.SUFFIX``, or ``NAME-2.SUFFIX`` and so on for the second and later ones. ``codecs`` are hints,
    ``{97: "opus/48000"}``; ``size`` and ``modified_ns`` of the files tell a changed input from a done one. ``skip`` are
    the calls (from 1) whose outputs are whole already. ``error`` says why there is nothing to transcode: a row tells.
    ``stored`` opens the files of a stored call (`callreplay.packets.Opener`), which are not reached by path.
    ``members``: the jobs of one shard of a data set, which is then what this job is.
    """

    captures: tuple[str, ...]
    name: str
    codecs: Mapping[int, str] = field(default_factory=dict)
    size: int = 0
    modified_ns: int = 0
    skip: frozenset[int] = frozenset()
    error: str = ""
    stored: tuple[Any, ...] = ()
    members: tuple[Job, ...] = ()

    def __post_init__(self) -> None:
        """ArgumentError for a name that does not lie below the destination."""
        if "\0" in self.name or not {"", ".", ".."}.isdisjoint(self.name.split("/")):
            raise ArgumentError(f"output name {self.name!r} does not lie below the destination")

    def output(self, call: int, suffix: str) -> str:
        """The output of call number ``call`` (from 1)."""
        return f"{self.name}{suffix}" if call == 1 else f"{self.name}-{call}{suffix}"


def file_facts(paths: Iterable[str | os.PathLike[str]]) -> tuple[int, int]:
    """Octets of the files together and the time of the last change in ns; of those that can be asked, 0 without any."""
    size = modified_ns = 0
    for path in paths:
        with suppress(OSError, ValueError):
            octets, changed_ns = finding.facts(path)
            size, modified_ns = size + octets, max(modified_ns, changed_ns)
    return size, modified_ns


def _safe_name(name: str) -> str:
    """A relative path that stays below the destination; ArgumentError for one that would leave it, or cannot be."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    try:
        known = bool(os.fsencode(name))
    except UnicodeEncodeError:
        known = False
    if not known or not parts or name[0] in "/\\" or ".." in parts or "\0" in name:
        raise ArgumentError(f"output name {name!r} is no path below the destination")
    return "/".join(parts)


def _own_name(path: str) -> str:
    """The name that the path of a capture gives its outputs, whatever it is."""
    folder, slash, name = path.rpartition("/")
    try:
        return _safe_name(folder + slash + finding.stem(name))
    except ArgumentError:
        return "capture"


class Namer:
    """Names for outputs of captures as they come: the capture's own, made unique by ``~2``, ``~3`` in their order.

    As ``find_jobs`` has it, as far as that can be without knowing what comes: beside an ``x``, all of ``x-2``, ``x-3``
    are its own. It remembers every name.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._owners: set[str] = set()
        self._last: dict[str, int] = {}

    def name(self, path: str) -> str:
        """The name of the output of the capture at ``path``."""
        own = own_name(path)
        name, number = own, self._last.get(own, 1)
        while name in self._taken or name in self._owners or owner_of(name) in self._taken:
            number += 1
            name = f"{own}~{number}"
        if number > 1:
            self._last[own] = number
        self._taken.add(name)
        self._owners.add(owner_of(name))
        return name


def own_name(path: str) -> str:
    """The name that the file at ``path`` gives its outputs, without the folders before it."""
    return _own_name(os.path.basename(path))  # noqa: PTH119


def _search(folder: str, codecs: Mapping[int, str]) -> Iterator[Job]:
    """The captures of a folder and of those below it. A folder that cannot be searched is a job with an error."""
    for found in finding.walk(folder, lambda name: name.endswith("/") or finding.is_capture_name(name)):
        name = _own_name(found.inner)
        yield Job((found.path,), name, codecs, found.size, found.modified_ns, error=found.error)


def _named(source: str, codecs: Mapping[int, str]) -> Iterator[Job]:
    """The jobs of one source; ArgumentError where it is none."""
    try:
        os.stat(source)  # noqa: PTH116
    except (OSError, ValueError) as error:
        matches = finding.matches(source)
        if not matches:
            why = "" if isinstance(error, FileNotFoundError) else f" ({getattr(error, 'strerror', error)})"
            raise ArgumentError(f"{source}: no such capture, folder or pattern{why}") from None
        for match in matches:
            with suppress(FileNotFoundError):  # it has vanished since
                yield from _standing_at(Path(match), codecs)
    else:
        yield from _standing_at(Path(source), codecs)


def _standing_at(path: Path, codecs: Mapping[int, str]) -> Iterator[Job]:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        yield from _search(str(path), codecs)
    elif not stat.S_ISREG(mode):
        raise ArgumentError(f"{path}: neither a file nor a folder")
    elif path.suffix.lower() in (".jsonl", ".parquet"):
        yield from read_manifest_jobs(path, codecs)
    else:
        yield Job((str(path),), _own_name(path.name), codecs, *finding.facts(path))


def find_jobs(sources: Sequence[str], codecs: Mapping[int, str] | None = None) -> list[Job]:
    """Jobs of captures, folders (searched for captures), manifests (``.jsonl``, ``.parquet``), and globs of all these.

    Names are made unique by ``~2``, ``~3`` in the order of the sources, so the same sources give the same names. How
    many calls a capture holds is not known yet: beside an ``x``, all of ``x-2``, ``x-3`` and so on are its own.
    Raises ArgumentError for a source that is nothing of all this; a folder in a folder that cannot be searched is a job
    whose row will say so.
    """
    codecs = dict(codecs or {})  # one for all: there may be millions
    return _unique([job for source in sources for job in _named(source, codecs)])


def owner_of(name: str) -> str:
    """The job whose second or later call would be called ``name``; empty where it looks like no such call."""
    match = _LATER_CALL.fullmatch(name)
    return match[1] if match else ""


def _unique(jobs: list[Job]) -> list[Job]:
    wanted = {job.name for job in jobs if not job.error}
    taken: set[str] = set()
    owners: set[str] = set()  # of the names taken: none of them may become a job
    last: dict[str, int] = {}  # number given to a name: what was refused stays refused
    result = []
    for job in jobs:
        if job.error:
            result.append(job)
            continue
        name, number = job.name, last.get(job.name, 1)
        while name in taken or name in owners or owner_of(name) in wanted or owner_of(name) in taken:
            number += 1
            name = f"{job.name}~{number}"
        if number > 1:
            last[job.name] = number
        taken.add(name)
        owners.add(owner_of(name))
        result.append(job if name == job.name else replace(job, name=name))
    return result


def read_manifest_jobs(path: Path, codecs: Mapping[int, str] | None = None) -> list[Job]:
    """Jobs of a manifest: rows with ``path`` (or ``paths``, one per leg), and optionally ``name`` and ``codecs``.

    JSON lines or Parquet. Paths are relative to the manifest. ArgumentError names the row that is wrong; a capture that
    does not exist, or cannot, is a job whose row will say so.
    """
    jobs = []
    codecs = codecs or {}
    for number, row in _rows(path):
        paths = row.get("paths") or ([row["path"]] if row.get("path") else [])
        if (
            not isinstance(paths, list)
            or not 1 <= len(paths) <= 2
            or not all(isinstance(p, str) for p in paths)
        ):
            raise ArgumentError(f"{path}, row {number}: needs path, or paths with one capture per leg")
        try:
            hints = {int(key): str(value) for key, value in dict(row.get("codecs") or {}).items() if value}
        except (TypeError, ValueError):
            raise ArgumentError(f"{path}, row {number}: codecs must map payload types to NAME/RATE") from None
        captures = tuple(str(path.parent / p) for p in paths)
        try:
            name = _safe_name(str(row["name"])) if row.get("name") else _own_name(Path(captures[0]).name)
        except ArgumentError as error:
            raise ArgumentError(f"{path}, row {number}: {error}") from None
        every = {**codecs, **hints} if hints else codecs
        jobs.append(Job(captures, name, every, *file_facts(captures)))
    return jobs


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers, which are those of the lines."""
    if path.suffix.lower() == ".parquet":
        yield from enumerate(_parquet_rows(path), 1)
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ArgumentError(f"{path}, row {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ArgumentError(f"{path}, row {number}: not an object")
            yield number, row


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ArgumentError(f"{path}: no Parquet that can be read: {' '.join(str(error).split())}") from error
