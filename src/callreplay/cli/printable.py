"""Texts from captures and databases on their way to a terminal, which obeys some characters."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

__all__ = ["careful_streams", "json_text", "plain", "printable"]

# C0 and C1 controls, which move the cursor, change colours and titles, or write to the clipboard; what turns the
# direction of a line, or has no width; halves of surrogate pairs, which cannot be written at all.
# Texts: what prints nothing compiles nothing.
_OBEYED: Final = "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"

_OBEYED_IN_LINES: Final = "[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)|" + _OBEYED.replace("\x00-\x1f", "")
"""As they are printed: line breaks and tabs stay."""

_OBEYED_IN_JSON: Final = _OBEYED.replace("\n", "").replace("\x00-\x1f", "")


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that anybody can read, letters as they are, and that a terminal may show."""
    import json

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return re.sub(_OBEYED_IN_JSON, lambda found: f"\\u{ord(found[0]):04x}", text)


def printable(text: object, *, lines: bool = False) -> str:
    r"""The text with each such character as ``\x1b`` or ``\u202e``; with ``lines`` its lines stay lines."""
    if lines:
        return "\n".join(printable(line) for line in str(text).split("\n"))

    def escaped(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return re.sub(_OBEYED, escaped, str(text))


class _Careful(io.TextIOWrapper):
    """A stream of text for people: whatever is printed to it, no terminal obeys what a capture holds.

    Rich, which has to tell a terminal of colours, finds the ``plain`` one by the name that it asks for; what it is
    given goes through `printable` first.
    """

    rich_proxied_file: TextIO

    def write(self, text: str) -> int:
        r"""Write it, with ``\x1b`` in place of an escape and ``\u202e`` of what lies beyond ASCII, as JSON has it."""
        super().write(re.sub(_OBEYED_IN_LINES, _escaped, text))
        return len(text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}"


@contextlib.contextmanager
def careful_streams() -> Iterator[None]:
    """Standard output and error, for the length of a block, as streams that no terminal obeys."""
    kept = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    for name, stream in kept.items():
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Careful):
            stream.flush()
            made = _Careful(
                stream.buffer, stream.encoding, stream.errors, line_buffering=True, write_through=True
            )
            made.rich_proxied_file = stream
            setattr(sys, name, made)
    try:
        yield
    finally:
        for name, stream in kept.items():
            made = getattr(sys, name)
            setattr(sys, name, stream)
            if isinstance(made, _Careful):
                # Its buffer is the other's, which says itself that nobody reads it.
                with contextlib.suppress(OSError, ValueError):
                    made.detach()


def plain(stream: TextIO) -> TextIO:
    """The stream behind a careful one, for what is ours to tell a terminal."""
    return getattr(stream, "rich_proxied_file", stream)
