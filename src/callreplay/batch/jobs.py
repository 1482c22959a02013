"""What a batch is asked to do: one job per capture, each with the name its output will have."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from callreplay.errors import ArgumentError

__all__ = ["CAPTURE_SUFFIXES", "Job", "find_jobs", "read_manifest_jobs"]

CAPTURE_SUFFIXES: Final = (".pcap", ".pcapng", ".cap", ".rtp", ".rtpdump", ".dump")
_COMPRESSED: Final = (".gz", ".zst")
_LATER_CALL: Final = re.compile(r"(.+)-(?:[2-9]|[1-9]\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Job:
    """One capture (or two, one per leg) to transcode.

    ``name`` is the output's path below the destination, without suffix: every call of the capture becomes
    ``NAME.SUFFIX``, or ``NAME-2.SUFFIX`` and so on for the second and later ones. ``codecs`` are hints,
    ``{97: "opus/48000"}``; ``size`` and ``modified_ns`` of the files tell a changed input from a done one. ``skip`` are
    the calls (from 1) whose outputs are whole already.
    """

    captures: tuple[str, ...]
    name: str
    codecs: Mapping[int, str] = field(default_factory=dict)
    size: int = 0
    modified_ns: int = 0
    skip: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """ArgumentError for a name that does not lie below the destination."""
        if "\0" in self.name or not {"", ".", ".."}.isdisjoint(self.name.split("/")):
            raise ArgumentError(f"output name {self.name!r} does not lie below the destination")

    def output(self, call: int, suffix: str) -> str:
        """The output of call number ``call`` (from 1)."""
        return f"{self.name}{suffix}" if call == 1 else f"{self.name}-{call}{suffix}"


def _is_capture(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in CAPTURE_SUFFIXES


def _stem(name: str) -> str:
    for suffix in (*_COMPRESSED, *CAPTURE_SUFFIXES):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name or "capture"


def _job(path: Path, name: str, codecs: Mapping[int, str]) -> Job:
    status = path.stat()
    return Job((str(path),), _safe_name(name), codecs, status.st_size, status.st_mtime_ns)


def _safe_name(name: str) -> str:
    """A relative path that stays below the destination; ArgumentError for one that would leave it."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or any(part in ("..", "/") or "\0" in part for part in parts):
        raise ArgumentError(f"output name {name!r} does not lie below the destination")
    return "/".join(parts)


def _walk(sources: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Captures with their names: below a folder the path relative to it, elsewhere the file's own name."""
    for source in sources:
        path = Path(source)
        if path.is_dir():
            for found in sorted(p for p in path.rglob("*") if p.is_file() and _is_capture(p)):
                relative = found.relative_to(path)
                yield found, str(PurePosixPath(*relative.parts[:-1], _stem(relative.name)))
        elif path.is_file():
            yield path, _stem(path.name)
        elif matches := sorted(glob.glob(source, recursive=True)):  # noqa: PTH207 - a pattern with any root
            for match in matches:
                if Path(match).is_file():
                    yield Path(match), _stem(Path(match).name)
        else:
            raise ArgumentError(f"{source}: no such capture, folder or pattern")


def find_jobs(sources: Sequence[str], codecs: Mapping[int, str] | None = None) -> list[Job]:
    """Jobs of captures, folders (searched for captures), globs and manifests (``.jsonl``, ``.parquet``).

    Names are made unique by ``~2``, ``~3`` in the order of the sources, so the same sources give the same names. How
    many calls a capture holds is not known yet: beside an ``x``, all of ``x-2``, ``x-3`` and so on are its own.
    """
    jobs: list[Job] = []
    codecs = dict(codecs or {})  # one for all: there may be millions
    for source in sources:
        if Path(source).suffix.lower() in (".jsonl", ".parquet") and Path(source).is_file():
            jobs += read_manifest_jobs(Path(source), codecs)
        else:
            jobs += [_job(path, name, codecs) for path, name in _walk([source])]
    return _unique(jobs)


def _owner(name: str) -> str:
    """The job whose second or later call would be called ``name``; empty where it looks like no such call."""
    match = _LATER_CALL.fullmatch(name)
    return match[1] if match else ""


def _unique(jobs: list[Job]) -> list[Job]:
    wanted = {job.name for job in jobs}
    taken: set[str] = set()
    owners: set[str] = set()  # of the names taken: none of them may become a job
    result = []
    for job in jobs:
        name, number = job.name, 1
        while name in taken or name in owners or _owner(name) in wanted or _owner(name) in taken:
            number += 1
            name = f"{job.name}~{number}"
        taken.add(name)
        owners.add(_owner(name))
        result.append(job if name == job.name else replace(job, name=name))
    return result


def read_manifest_jobs(path: Path, codecs: Mapping[int, str] | None = None) -> list[Job]:
    """Jobs of a manifest: rows with ``path`` (or ``paths``, one per leg), and optionally ``name`` and ``codecs``.

    JSON lines or Parquet. Paths are relative to the manifest. ArgumentError names the row that is wrong; a capture that
    does not exist is a job whose row will say so.
    """
    jobs = []
    codecs = codecs or {}
    for number, row in enumerate(_rows(path), 1):
        paths = row.get("paths") or ([row["path"]] if row.get("path") else [])
        if not 1 <= len(paths) <= 2 or not all(isinstance(p, str) for p in paths):
            raise ArgumentError(f"{path}, row {number}: needs path, or paths with one capture per leg")
        try:
            hints = {int(key): str(value) for key, value in dict(row.get("codecs") or {}).items() if value}
        except (TypeError, ValueError):
            raise ArgumentError(f"{path}, row {number}: codecs must map payload types to NAME/RATE") from None
        captures = [path.parent / p for p in paths]
        name = _safe_name(str(row.get("name") or _stem(captures[0].name)))
        status = [p.stat() for p in captures if p.exists()]
        size, modified = sum(s.st_size for s in status), max((s.st_mtime_ns for s in status), default=0)
        every = {**codecs, **hints} if hints else codecs
        jobs.append(Job(tuple(map(str, captures)), name, every, size, modified))
    return jobs


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ArgumentError(f"{path}, row {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ArgumentError(f"{path}, row {number}: not an object")
            yield row
