"""Long calls that were opened a moment ago: a player asks for the peaks, the marks and the audio of one at once.

Whoever asks while a call is being opened waits for it. A call is known by what its recordings are on the disk, so one
that was replaced is opened anew.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from callreplay.capture import Call

__all__ = ["Opened"]

_ROWS: Final = 1 << 20  # 40 octets each: 42 MB
_SECONDS: Final = 20.0


@dataclass(slots=True)
class _Turn:
    """Whose turn it is to open a call, and how many wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class Opened:
    """At most ``rows`` packets of calls, each kept ``seconds`` after it was used last. Any thread may use it."""

    def __init__(self, rows: int = _ROWS, seconds: float = _SECONDS) -> None:
        self._rows, self._seconds = rows, seconds
        self._guard = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, int, Call]] = OrderedDict()
        self._turns: dict[Hashable, _Turn] = {}
        self._is_timed = False

    def __len__(self) -> int:
        return len(self._kept)

    def call(self, key: Hashable, opening: Callable[[], Call]) -> Call:
        """The call of ``key``, opened by ``opening`` where it is not there yet. Raises what that raises."""
        with self._guard:
            if (found := self._used(key)) is not None:
                return found
            turn = self._turns.setdefault(key, _Turn())
            turn.users += 1
        try:
            with turn.lock:
                with self._guard:
                    found = self._used(key)
                if found is None:
                    found = opening()
                    self._keep(key, found)
                return found
        finally:
            with self._guard:
                turn.users -= 1
                if not turn.users:
                    self._turns.pop(key, None)

    def _used(self, key: Hashable) -> Call | None:
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        _, rows, call = kept
        self._kept[key] = time.monotonic() + self._seconds, rows, call  # behind the others
        return call

    def _keep(self, key: Hashable, call: Call) -> None:
        rows = sum(len(leg.columns.offset) for leg in call.legs)
        if rows > self._rows:
            return
        with self._guard:
            self._kept[key] = time.monotonic() + self._seconds, rows, call
            while sum(each for _, each, _ in self._kept.values()) > self._rows:
                self._kept.popitem(last=False)
            if not self._is_timed:
                self._is_timed = True
                self._later(self._seconds)

    def _later(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._sweep)
        timer.daemon = True
        timer.start()

    def _sweep(self) -> None:
        """Let go of what was not used for long; look again as long as there is anything."""
        with self._guard:
            now = time.monotonic()
            while self._kept and next(iter(self._kept.values()))[0] <= now:
                self._kept.popitem(last=False)
            self._is_timed = bool(self._kept)
            if self._kept:
                self._later(max(0.01, next(iter(self._kept.values()))[0] - now))
