"""Outputs appear in threads of their own: the wait for a disk or an object store costs the coding no time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

__all__ = ["Closer"]

_THREADS: Final = 8
_WAITING: Final = 16  # outputs that are whole and do not stand under their names yet


T = TypeVar("T")


class Closer(Generic[T]):
    """Runs what makes each output appear, and gives it back when that is done, in the order of ``put``."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "callreplay-closing")
        self._waiting: deque[tuple[T, Future[float]]] = deque()

    def put(self, item: T, appear: Callable[[], None]) -> None:
        """Begin."""
        self._waiting.append((item, self._threads.submit(_timed, appear)))

    def take(self, *, every: bool = False) -> Iterator[tuple[T, float, BaseException | None]]:
        """What is done: the item, its CPU seconds, and what was raised. Waits where too much has come together."""
        while self._waiting and (every or len(self._waiting) > _WAITING or self._waiting[0][1].done()):
            item, future = self._waiting.popleft()
            error = future.exception()
            yield item, 0.0 if error else future.result(), error

    def close(self) -> None:
        """Wait for all that was begun."""
        self._threads.shutdown()


def _timed(appear: Callable[[], None]) -> float:
    before = time.thread_time()
    appear()
    return time.thread_time() - before
