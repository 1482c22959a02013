"""Workers that split elsewhere what this process decides: which group a way of theirs is of, and when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

__all__ = ["Closing", "Far", "Speaker", "file_name", "key_of", "worker_of"]

_SHIFT: Final = 32
"""Ways of this process's own splitter have numbers below it."""


def key_of(worker: int, way: int) -> int:
    """The number by which the board knows a worker's way."""
    return (worker + 1) << _SHIFT | way


def worker_of(key: int) -> tuple[int, int]:
    """The worker of a way, -1 for this process's own, and the worker's number of it."""
    return (key >> _SHIFT) - 1, key & ((1 << _SHIFT) - 1)


def file_name(worker: int, number: int, part: int) -> str:
    """The file of a worker's spool: of the group that had that number when it began."""
    return f"w{worker}-{number:x}-{part}.pcapng"


class Speaker(Protocol):
    """The way to a worker (`callreplay.recording.wire.Wire`)."""

    def send(self, *message: Any) -> None:
        """Say something."""


@dataclass(slots=True)
class Closing:
    """A group that is over, of which workers have files that they have not named yet."""

    names: list[str]
    done: Callable[[list[str]], None]
    awaited: int


@dataclass(slots=True)
class Far:
    """The workers by number, what is known of each, and the groups that are on their way out."""

    speakers: dict[int, Speaker] = field(default_factory=dict)
    clocks: dict[int, int] = field(default_factory=dict)
    """Up to when a worker's packets are on the disk, in ns."""
    packets: dict[int, int] = field(default_factory=dict)
    closing: dict[int, Closing] = field(default_factory=dict)
    fed: int = 0
    """Frames of theirs that this process has split as well."""

    def closed(self, group: int, names: list[str]) -> None:
        """A worker has written what it had of a group."""
        one = self.closing.get(group)
        if one is None:
            return
        one.names += names
        one.awaited -= 1
        if one.awaited <= 0:
            del self.closing[group]
            one.done(one.names)
