"""``callreplay transcode`` of plain words, read without Typer, which takes as long to load as such a call to transcode.

Only what can be read in one way is read here. Whatever is not (another command, ``--help``, an option in another
spelling or given twice, a value that may be wrong, no output) is Typer's, so that one place alone speaks of what was
typed. tests/cli/test_plain.py holds the one reading to the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from callreplay.cli.reading import seconds_of
from callreplay.deferred import pattern

__all__ = ["plainly", "values_of"]

_WHOLE: Final = pattern(r"[0-9]{1,9}")
_NUMBER: Final = pattern(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class _NotPlainError(ValueError):
    """It is not for here."""


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise _NotPlainError
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise _NotPlainError
    return float(text)


def _seconds(text: str) -> float:
    seconds = seconds_of(text)
    if seconds is None:
        raise _NotPlainError
    return seconds


def _path(text: str) -> str:
    if not os.access(text, os.R_OK) or text.startswith("//"):
        raise _NotPlainError  # not there, or not for us: which of them, Typer or the library tells
    # As pathlib writes it, which takes a thirtieth of such a command to load.
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return ("/" if text.startswith("/") else "") + "/".join(parts) or "."


_Read = Callable[[str], Any]
_OWN: Final[Mapping[str, tuple[str, _Read]]] = {
    "--output": ("output", str),
    "-o": ("output", str),
    "--format": ("form", str),
    "--call": ("number", _whole),
    "--codec": ("codecs", str),
    "--keylog": ("keylog", _path),
}
"""The command's own options: its parameter, and what reads a value."""
_READ: Final[Mapping[Any, _Read]] = {int: _whole, float: _number, str: str, list[str]: str}
_SEVERAL: Final = ("codecs", "labels")


def _tables() -> tuple[dict[str, tuple[str, _Read]], dict[str, tuple[str, bool]]]:
    """Options that take a value, and those that do not, by how they are written."""
    from callreplay.outputs.options import ROWS

    valued, flags = dict(_OWN), {"--strict": ("strict", True)}
    for row in ROWS:
        if row.cli is bool:
            flags[row.flag] = row.name, True
            if row.default is not False:
                flags[f"--no-{row.flag[2:]}"] = row.name, False
            continue
        read = _seconds if row.unit == "seconds" else _READ[row.cli]
        valued |= dict.fromkeys(row.flags or (row.flag,), (row.name, read))
    return valued, flags


def values_of(words: Sequence[str]) -> dict[str, Any] | None:
    """What the words after ``transcode`` say, by parameter and option, ``captures`` among them; None: not plain."""
    valued, flags = _tables()
    found: dict[str, Any] = {"captures": []}
    left = iter(words)
    try:
        for word in left:
            if not word.startswith("-"):
                found["captures"].append(_path(word))
                continue
            name, equals, value = word.partition("=")
            if name in flags and not equals:
                parameter, read = flags[name]
                said: Any = read
            else:
                parameter, reader = valued[name]
                value = value if equals else next(left)
                if (value.startswith("-") and value != "-") or (equals and not name.startswith("--")):
                    return None
                said = reader(value)
            if parameter in _SEVERAL:
                found.setdefault(parameter, []).append(said)
            elif parameter in found:
                return None
            else:
                found[parameter] = said
    except (_NotPlainError, KeyError, StopIteration):
        return None
    return found if found["captures"] and "output" in found else None


def plainly(words: Sequence[str]) -> Callable[[], int] | None:
    """What the command line asks for, to be called for an exit status; None where it is not plain."""
    if words[:1] != ["transcode"] or "_CALLREPLAY_COMPLETE" in os.environ:
        return None
    found = values_of(words[1:])
    if found is None:
        return None
    own = {
        name: found.pop(name) for name in ("captures", "output", "number", "form", "codecs") if name in found
    }
    more = {name: found.pop(name) for name in ("keylog", "strict") if name in found}

    from callreplay.cli import transcoding
    from callreplay.outputs.options import Options

    def run() -> int:
        if "labels" in found:
            found["labels"] = tuple(found["labels"])
        options = Options(**found)
        named = {"form": "", "number": None, "codecs": [], **own}
        return transcoding.run(**named, options=options, **more)

    return run
