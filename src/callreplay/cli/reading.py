"""What words of the command line mean, whoever reads them: captures, codecs and times."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from callreplay.errors import ArgumentError

if TYPE_CHECKING:
    import os

    from callreplay.packets import Opener

__all__ = ["capture_sources", "parse_codecs", "seconds_of"]


def capture_sources(
    captures: Sequence[str | os.PathLike[str] | Opener],
) -> list[str | os.PathLike[str] | Opener | BinaryIO]:
    """The captures to open; ``-`` is standard input, to its end."""
    ours = sum(str(path) == "-" for path in captures)
    if ours > 1:
        raise ArgumentError("standard input can be read once")
    if ours and sys.stdin.isatty():
        raise ArgumentError("- reads a capture from standard input, which is a terminal here")
    return [sys.stdin.buffer if str(path) == "-" else path for path in captures]


def parse_codecs(hints: list[str]) -> dict[int, str]:
    """``["97=opus/48000"]`` to ``{97: "opus/48000"}``; ArgumentError names what is wrong."""
    codecs: dict[int, str] = {}
    for hint in hints:
        payload_type, equals, encoding = hint.partition("=")
        if not equals or not payload_type.isdigit() or int(payload_type) > 127 or not encoding:
            raise ArgumentError(
                f"codec must look like PT=NAME/RATE (97=opus/48000, '97=AMR/8000;octet-align=1'), not {hint!r}"
            )
        codecs[int(payload_type)] = encoding
    return codecs


def seconds_of(text: str) -> float | None:
    """Seconds from ``90``, ``1:30``, ``0:01:30`` or ``1:30.5``; None for what is no time."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        return None
    if len(parts) > 3 or any(not 0 <= part < 1e9 for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds
