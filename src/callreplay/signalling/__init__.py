"""Room `signalling`: what SIP/SDP and Skinny in a capture say of calls and their media.

`describe` takes the messages the packets room found and gives one `CallDescription` per call. Nothing in this room
raises on bytes from outside; what could not be read is counted in ``faults``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from callreplay.model import CallDescription, Message
from callreplay.signalling import dialogs, skinny
from callreplay.signalling.related import merge_related

__all__ = ["describe", "merge_related"]


def describe(messages: Sequence[Message], faults: Counter[str] | None = None) -> list[CallDescription]:
    """The calls that SIP and Skinny messages tell of, by start time; ``faults`` counts what could not be read.

    The two hops of a B2BUA are two descriptions that name each other in ``related``; `merge_related` makes one of
    them.
    """
    calls = dialogs.describe(messages, faults) + skinny.describe(messages, faults)
    calls.sort(key=lambda call: call.start_ns)
    return calls
