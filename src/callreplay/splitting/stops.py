"""Why a run of the splitter stops; the numbers of ``splitter.pyx``."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Stop"]


class Stop(IntEnum):
    """What ``Splitter.run`` returns."""

    MORE = 0  # as many records as were asked for, or the time is up
    END = 1  # the octets are used up
    CUT = 2  # they end inside a record
    WAY = 3  # the first media packet of a way
    MESSAGE = 4  # a datagram with a SIP message
    SEGMENT = 5  # what carries messages: a segment, chunks of SCTP, a message that a HEP agent took from TCP
    DAMAGED = 6  # a record that makes no sense
