"""How a capture is opened again: what pickles of captures, calls and legs carry instead of packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from callreplay.errors import StateError

if TYPE_CHECKING:
    from callreplay.call import Call
    from callreplay.capture import Capture
    from callreplay.leg import Leg
    from callreplay.model import Side

__all__ = ["Reopening", "pickled"]


class Reopening:
    """What a capture was opened from: what pickles carry instead of packets. Opened again once, where that is asked."""

    def __init__(self, opened_by: Callable[..., Capture], sources: tuple[Any, ...], **options: Any) -> None:
        self._opened_by, self._sources, self._options = opened_by, sources, options
        self._capture: Capture | None = None

    def __getstate__(self) -> tuple[Callable[..., Capture], tuple[Any, ...], dict[str, Any]]:
        sources = tuple(bytes(s) if isinstance(s, bytearray | memoryview) else s for s in self._sources)
        return self._opened_by, sources, self._options

    def __setstate__(self, state: tuple[Callable[..., Capture], tuple[Any, ...], dict[str, Any]]) -> None:
        self._opened_by, self._sources, self._options = state
        self._capture = None

    def capture(self) -> Capture:
        """The capture, opened again."""
        if self._capture is None:
            self._capture = self._opened_by(*self._sources, **self._options)
        return self._capture

    def call(self, number: int) -> Call:
        """One of its calls; StateError where the capture has changed and has no such call any more."""
        calls = self.capture().calls
        if number > len(calls):
            raise StateError(f"{self.capture().name}: call {number} is not in it any more")
        return calls[number - 1]

    def leg(self, number: int, side: Side) -> Leg:
        """A leg of one of its calls."""
        call = self.call(number)
        return call.caller if side == "caller" else call.called


def pickled(origin: Reopening | None, what: object) -> Reopening:
    if origin is None:
        raise TypeError(f"{what!r} was not opened from a source and cannot be pickled")
    return origin
