"""The exceptions of callreplay.

One table, ``status.def``, names every status of the native engine and the class it becomes here. Each class is also
the built-in that fits, so ``except ValueError`` and ``except OSError`` work as one would expect. A damaged call is
not an error: it is data, and stands in the report.
"""

from __future__ import annotations

from typing import NoReturn

from callreplay import _core

__all__ = [
    "ArgumentError",
    "BoundsError",
    "CallReplayError",
    "CaptureError",
    "EncryptedError",
    "FormatError",
    "LimitError",
    "OutOfMemoryError",
    "OutputError",
    "StateError",
    "UnsupportedError",
    "raise_status",
]


class CallReplayError(Exception):
    """Base of everything that callreplay raises on purpose."""


class ArgumentError(CallReplayError, ValueError):
    """An argument is out of its range."""


class OutOfMemoryError(CallReplayError, MemoryError):
    """Memory ran out in the native engine."""


class FormatError(CallReplayError, ValueError):
    """The bytes are not in the format that they claim or that was asked for."""


class CaptureError(FormatError):
    """A file is not a capture that callreplay reads; the message names the file and the offset."""


class BoundsError(FormatError):
    """A packet lies outside the bytes of its capture."""


class UnsupportedError(CallReplayError, ValueError):
    """The codec or format is known but not supported, or an extra is not installed."""


class EncryptedError(UnsupportedError):
    """The media is SRTP and no keys are at hand. It is refused, never decoded to noise."""


class StateError(CallReplayError, RuntimeError):
    """The object is not in a state that allows the call."""


class OutputError(CallReplayError, OSError):
    """Reading or writing failed."""


class LimitError(CallReplayError, ValueError):
    """A safety limit was reached."""


_CLASSES: tuple[type[CallReplayError], ...] = (
    ArgumentError,
    OutOfMemoryError,
    BoundsError,
    UnsupportedError,
    StateError,
    OutputError,
    FormatError,
    LimitError,
)
_BY_NAME = {cls.__name__: cls for cls in _CLASSES}
_BY_STATUS = {
    value: (_BY_NAME[python], message) for value, _, python, message in _core.STATUS_TABLE if python != "None"
}


def raise_status(status: int, detail: str = "") -> NoReturn:
    """Raise the class that ``status.def`` gives for a native status, with its message and ``detail``."""
    cls, message = _BY_STATUS.get(status, (CallReplayError, f"unknown native status {status}"))
    raise cls(f"{message}: {detail}" if detail else message)
