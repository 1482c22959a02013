"""Threads for work that waits, shared fairly: some for all, few of them for any one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, WouldBlock, to_thread

__all__ = ["Fair"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(slots=True)
class _Name:
    limiter: CapacityLimiter
    users: int = 0


class Fair:
    """At most ``total`` threads at once, at most ``each`` of them for one name. What waits for a turn takes no thread.

    The name is whose work it is: a user's, or an address of those who are nobody yet.
    """

    def __init__(self, total: int, each: int) -> None:
        self.each = each
        self._all = CapacityLimiter(total)
        self.of: dict[str, _Name] = {}
        """Who has turns now, or waits for one."""

    async def run(self, name: str, function: Callable[_P, _T], *values: _P.args, **named: _P.kwargs) -> _T:
        """Run ``function`` in a thread when it is the turn of ``name``."""
        async with _Turn(self, name, None):
            return await to_thread.run_sync(lambda: function(*values, **named), limiter=self._all)

    def turn(self, name: str) -> AbstractAsyncContextManager[None]:
        """Run the block, which waits and needs no thread, when it is the turn of ``name``."""
        return _Turn(self, name, self._all)


class _Turn(AbstractAsyncContextManager[None]):
    """One of the turns of a name, and one of all where ``beside`` counts those."""

    def __init__(self, fair: Fair, name: str, beside: CapacityLimiter | None) -> None:
        self._fair, self._name, self._beside = fair, name, beside
        self._limiter: CapacityLimiter | None = None

    async def __aenter__(self) -> None:
        found = self._fair.of.get(self._name)
        if found is None:
            found = self._fair.of[self._name] = _Name(CapacityLimiter(self._fair.each))
        found.users += 1
        try:
            await _acquire(found.limiter)
            self._limiter = found.limiter
            if self._beside is not None:
                await _acquire(self._beside)
        except BaseException:
            self._end()
            raise

    async def __aexit__(self, *_: object) -> None:
        if self._beside is not None:
            self._beside.release()
        self._end()

    def _end(self) -> None:
        if self._limiter is not None:
            self._limiter.release()
        found = self._fair.of[self._name]
        found.users -= 1
        if not found.users:
            del self._fair.of[self._name]


async def _acquire(limiter: CapacityLimiter) -> None:
    """At once where nobody waits: ``acquire`` lets the event loop turn in between."""
    try:
        limiter.acquire_nowait()
    except WouldBlock:
        await limiter.acquire()
