"""Which files an import takes: of paths, folders and patterns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from callreplay.errors import ArgumentError
from callreplay.model import INDEX_SUFFIX
from callreplay.packets import finding
from callreplay.store.journal import FOLDER

__all__ = ["captures"]


def captures(paths: Iterable[str], unread: list[str] | None = None) -> Iterator[tuple[Path, bool]]:
    """The files that ``paths`` (files, folders, globs) name, each once, and whether it was named itself.

    In folders hidden files, side indexes and the journals of a volume are passed over. So are folders that cannot be
    searched: ``unread`` gets a line for each.

    Raises ArgumentError for a path or glob that names nothing.
    """
    seen: set[Path] = set()
    for text in paths:
        # A pattern is only one where nothing has its very name.
        matches = [text] if Path(text).exists() else finding.matches(text)
        if not matches:
            raise ArgumentError(f"{text}: no such file or folder")
        for match in matches:
            inside = Path(match).is_dir()
            for member in map(Path, _inside(match, unread) if inside else [match]):
                resolved = member.resolve()
                if resolved not in seen and member.is_file():
                    seen.add(resolved)
                    yield member, not inside


def _inside(folder: str, unread: list[str] | None) -> Iterator[str]:
    for each in finding.walk(folder, _wanted):
        if not each.error:
            yield each.path
        elif unread is not None:
            unread.append(f"{each.path}: {each.error}")


def _wanted(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(INDEX_SUFFIX) and name != f"{FOLDER}/"
