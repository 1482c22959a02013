"""One INVITE dialog in the making: what its messages said so far."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from callreplay.deferred import dataclass
from callreplay.model import CallDescription, MediaDescription, Side
from callreplay.signalling.related import Hint

if TYPE_CHECKING:
    from callreplay.signalling.siprec import Recording

__all__ = ["Dialog"]


@dataclass(slots=True)
class Dialog:
    """A call in the making."""

    call: CallDescription
    caller_tags: set[str]
    initial_cseq: int
    answered: bool = False
    ended: bool = False
    cancelled: bool = False
    failure: str = ""
    failure_ns: int = 0
    seen: set[bytes] = field(default_factory=set)
    faulty: set[bytes] = field(default_factory=set)  # messages that could not be read whole
    legs: dict[str, set[str]] = field(
        default_factory=dict
    )  # From tag -> To tags answered with 2xx and not yet BYEd
    current: dict[tuple[Side, str, int], MediaDescription] = field(default_factory=dict)
    offered: dict[tuple[int, str], list[MediaDescription]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)  # field of the call -> rank of what filled it
    hint: Hint = field(default_factory=Hint)
    last_ns: int = 0
    numbers: dict[Side, int] = field(
        default_factory=dict
    )  # the smallest CSeq of each side's requests within it
    asked: list[str] = field(default_factory=list)  # numbers of Request-URIs and connected parties
    highest: int = 0  # the largest CSeq of a request

    def answered_before(self, cseq: int) -> bool:
        """Whether a transaction belongs to a dialog that stands already: its offers change the media, not found it."""
        return self.answered and cseq != self.initial_cseq

    recording: Recording | None = None  # SIPREC
