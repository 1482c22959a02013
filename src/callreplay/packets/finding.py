"""Captures in folders: what is taken for one by its name, and walks that survive what vanishes meanwhile."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from callreplay.deferred import dataclass

__all__ = [
    "CAPTURE_SUFFIXES",
    "COMPRESSED_SUFFIXES",
    "Found",
    "facts",
    "is_capture_name",
    "matches",
    "stem",
    "walk",
]

CAPTURE_SUFFIXES: Final = (".pcap", ".pcapng", ".cap", ".rtp", ".rtpdump", ".dump", ".snoop", ".mjr")
COMPRESSED_SUFFIXES: Final = (".gz", ".zst", ".xz", ".bz2", ".zip")


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a folder: its path, its path below the folder, octets and last change; or why it cannot be had."""

    path: str
    inner: str
    size: int = 0
    modified_ns: int = 0
    error: str = ""


def facts(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Octets of a file and the time of its last change in ns."""
    status = os.stat(path)  # noqa: PTH116  # of every capture
    return status.st_size, status.st_mtime_ns


def is_capture_name(name: str) -> bool:
    """Whether a file of that name is taken for a capture."""
    name, suffix = os.path.splitext(name.lower())  # noqa: PTH122
    if suffix in COMPRESSED_SUFFIXES:
        suffix = os.path.splitext(name)[1]  # noqa: PTH122
    return suffix in CAPTURE_SUFFIXES


def stem(name: str) -> str:
    """The name without what says that it is a capture, and compressed."""
    for suffix in (*COMPRESSED_SUFFIXES, *CAPTURE_SUFFIXES):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name or "capture"


def walk(folder: str, wanted: Callable[[str], bool]) -> Iterator[Found]:
    """The files of a folder and of those below it, in the order of their names; what vanishes meanwhile is left out.

    ``wanted`` says of the name of each file and folder whether to go there; files by their names, folders as
    ``name/``. Links to folders are not followed. What cannot be read is found with an error.
    """
    top = "" if folder == "." else folder.rstrip("/") + "/"
    pending = [("", True)]  # paths below the folder, and whether they are folders; the next one last
    while pending:
        inner, is_folder = pending.pop()
        path = f"{top}{inner}" or "."
        try:
            if is_folder:
                entries = _entries(path, wanted)
                pending += [(f"{inner}/{name}" if inner else name, kind) for name, kind in entries]
            else:
                yield Found(path, inner, *facts(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            what = "the folder cannot be searched" if is_folder else "it cannot be read"
            yield Found(path, inner, error=f"{what}: {error.strerror}")


def _entries(folder: str, wanted: Callable[[str], bool]) -> list[tuple[str, bool]]:
    """Names of the files (False) and folders (True) in a folder, the last first. OSError where it cannot be read."""
    with os.scandir(folder) as entries:
        found = (
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if _taken(entry, wanted)
        )
        return sorted(found, reverse=True)


def _taken(entry: os.DirEntry[str], wanted: Callable[[str], bool]) -> bool:
    try:
        if entry.is_dir(follow_symlinks=False):
            return wanted(entry.name + "/")
        return wanted(entry.name) and entry.is_file()
    except OSError:  # a link that leads in a circle, or where nobody may go: it costs its own row
        return True


def matches(pattern: str) -> list[str]:
    """The files and folders of a pattern, without those that lie in one of these folders."""
    try:
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - a pattern with any root
    except (OSError, ValueError):
        return []
    folders = {Path(match) for match in found if os.path.isdir(match)}  # noqa: PTH112
    return [
        match
        for match in found
        if (os.path.isfile(match) or Path(match) in folders)  # noqa: PTH113
        and folders.isdisjoint(Path(match).parents)
    ]
