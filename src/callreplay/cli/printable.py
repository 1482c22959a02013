"""Texts from captures and databases on their way to a terminal, which obeys some characters."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["json_text", "printable"]

# C0 and C1 controls, which move the cursor, change colours and titles, or write to the clipboard; what turns the
# direction of a line, or has no width; halves of surrogate pairs, which cannot be written at all.
_OBEYED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

_OBEYED_IN_JSON: Final = re.compile(_OBEYED.pattern.replace("\n", "").replace("\x00-\x1f", ""))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that anybody can read, letters as they are, and that a terminal may show."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _OBEYED_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def printable(text: object, *, lines: bool = False) -> str:
    r"""The text with each such character as ``\x1b`` or ``\u202e``; with ``lines`` its lines stay lines."""
    if lines:
        return "\n".join(printable(line) for line in str(text).split("\n"))

    def escaped(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _OBEYED.sub(escaped, str(text))
