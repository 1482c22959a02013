"""Examples in docstrings (lines from ``>>>`` to the next empty one) are code on the pages, not prose."""

from __future__ import annotations

import re
from typing import Any, Final

import griffe

__all__ = ["Fenced"]

_EXAMPLE: Final = re.compile(r"^([ \t]*)>>> .*(?:\n[ \t]*\S.*)*", re.MULTILINE)


class Fenced(griffe.Extension):
    """Puts examples between fences."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(
                lambda match: f"{match[1]}```pycon\n{match[0]}\n{match[1]}```", obj.docstring.value
            )

    on_instance = on_object
