"""Where an output goes that is one file: a path, standard output, or a file object of the caller's."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from callreplay.deferred import pattern
from callreplay.errors import ArgumentError
from callreplay.outputs.atomic import AtomicFile
from callreplay.outputs.formats import Data, Format, format_of, suffix_of

__all__ = ["Writable", "save_to"]

_URL: Final = pattern(r"[A-Za-z][A-Za-z0-9+.-]+://")


class Writable(Protocol):
    """A binary file object."""

    def write(self, data: Any, /) -> Any:
        """Take octets; how many were taken, where not all may be."""
        ...


def save_to(
    place: str | os.PathLike[str] | Writable, format: str, parts: Callable[[Format], Iterator[Data]]
) -> None:
    """Write what ``parts`` gives for the format that is named, or that the place's suffix tells.

    A path gets it whole or not at all, a file object as it comes. Raises ArgumentError for URLs, for file objects that
    are open as text, and where no format is told.
    """
    if isinstance(place, str | os.PathLike):
        name = os.fspath(place)
        if isinstance(name, str) and _URL.match(name):
            raise ArgumentError(
                f"{name}: to write to a URL, open it (fsspec.open(…, 'wb')) and give the file object"
            )
        data = parts(format_of(format, place))
        with AtomicFile(place) as out:
            for part in data:
                out.write(part)
        return
    if not hasattr(place, "write"):
        raise ArgumentError(f"a call is saved to a path or a file object, not to {type(place).__name__}")
    if isinstance(place, io.TextIOBase):
        raise ArgumentError("the file is open as text: open it as 'wb'")
    name = getattr(place, "name", "")
    if not format and not (isinstance(name, str) and suffix_of(name)):
        raise ArgumentError("name the format: a file object has no suffix that tells it")
    for part in parts(format_of(format, name if isinstance(name, str) else None)):
        _write(place, part)


def _write(file: Writable, data: Data) -> None:
    left = memoryview(data).cast("B")
    while left:
        taken = file.write(left)
        if taken is None:  # it takes everything, or will say so by an exception
            return
        left = left[taken:]
