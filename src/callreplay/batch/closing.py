"""Outputs appear in threads of their own: the wait for a disk or an object store costs the coding no time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

__all__ = ["Closer"]

_THREADS: Final = 8
_WAITING: Final = 16  # outputs that are whole and do not stand under their names yet


T = TypeVar("T")


class _Output(Generic[T]):
    """One that is to appear, and what came of it."""

    __slots__ = ("appear", "done", "error", "item", "seconds")

    def __init__(self, item: T, appear: Callable[[], object]) -> None:
        self.item, self.appear = item, appear
        self.seconds, self.done = 0.0, False
        self.error: BaseException | None = None


class Closer(Generic[T]):
    """Runs what makes each output appear, and gives it back when that is done, in the order of ``put``.

    Plain threads: an executor's futures, a lock and a condition each, cost a tenth of what a short call does.
    """

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._given: SimpleQueue[_Output[T] | None] = SimpleQueue()
        self._waiting: deque[_Output[T]] = deque()
        self._turn = threading.Condition()

    def put(self, item: T, appear: Callable[[], object]) -> None:
        """Begin."""
        output = _Output(item, appear)
        self._waiting.append(output)
        self._given.put(output)
        if len(self._threads) < min(_THREADS, len(self._waiting)):
            thread = threading.Thread(target=self._serve, name="callreplay-closing", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while (output := self._given.get()) is not None:
            before = time.thread_time()
            try:
                output.appear()
            except BaseException as error:
                output.error = error
            else:
                output.seconds = time.thread_time() - before
            with self._turn:
                output.done = True
                self._turn.notify()

    def take(self, *, every: bool = False) -> Iterator[tuple[T, float, BaseException | None]]:
        """What is done: the item, its CPU seconds, and what was raised. Waits where too much has come together."""
        while self._waiting:
            output = self._waiting[0]
            if not output.done:
                if not every and len(self._waiting) <= _WAITING:
                    return
                with self._turn:
                    while not output.done:
                        self._turn.wait()
            self._waiting.popleft()
            yield output.item, output.seconds, output.error

    def close(self) -> None:
        """Wait for all that was begun."""
        for _ in self._threads:
            self._given.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
