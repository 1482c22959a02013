"""What the handler of a signal may do.

Python runs it in the main thread between any two steps of that: it may be in the middle of a line, or hold the very
lock that the handler asks for.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["say", "setter"]


def say(line: str) -> None:
    """Say a line on standard error, from a handler."""
    try:
        print(line, file=sys.stderr)
    except RuntimeError:  # "reentrant call": another is just being written, of which this comes in the middle
        with contextlib.suppress(OSError):
            os.write(2, f"{line}\n".encode())


def setter(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    """A handler that sets an event, which may be held by the thread that it interrupts: another one sets it."""

    def handler(_: int, __: FrameType | None) -> None:
        _thread.start_new_thread(event.set, ())

    return handler
