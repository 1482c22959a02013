"""Threads for work that waits, shared fairly: some for all, few of them for any one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, WouldBlock, to_thread

__all__ = ["Fair"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Fair:
    """At most ``total`` threads at once, at most ``each`` of them for one name. What waits for a turn takes no thread.

    The name is whose work it is: a user's, or an address of those who are nobody yet.
    """

    def __init__(self, total: int, each: int) -> None:
        self.each = each
        self._all = CapacityLimiter(total)
        self._of: dict[str, tuple[CapacityLimiter, list[None]]] = {}

    async def run(self, name: str, function: Callable[_P, _T], *values: _P.args, **named: _P.kwargs) -> _T:
        """Run ``function`` in a thread when it is the turn of ``name``."""
        async with self._turn_of(name):
            return await to_thread.run_sync(lambda: function(*values, **named), limiter=self._all)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Run the block, which waits and needs no thread, when it is the turn of ``name``."""
        async with self._turn_of(name):
            await _acquire(self._all)
            try:
                yield
            finally:
                self._all.release()

    @asynccontextmanager
    async def _turn_of(self, name: str) -> AsyncIterator[None]:
        limiter, users = self._of.setdefault(name, (CapacityLimiter(self.each), []))
        users.append(None)
        try:
            await _acquire(limiter)
            try:
                yield
            finally:
                limiter.release()
        finally:
            users.pop()
            if not users:
                self._of.pop(name, None)


async def _acquire(limiter: CapacityLimiter) -> None:
    """At once where nobody waits: ``acquire`` lets the event loop turn in between."""
    try:
        limiter.acquire_nowait()
    except WouldBlock:
        await limiter.acquire()
