"""Room `signalling`: what SIP/SDP and Skinny in a capture say of calls and their media.

`describe` takes the messages the packets room found and gives one `CallDescription` per call. Nothing in this room
raises on bytes from outside; what could not be read is counted in ``faults``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from callreplay.model import CallDescription, Message

__all__ = ["announced", "calls_of", "describe", "merge_related", "sockets_of"]


def describe(messages: Sequence[Message], faults: Counter[str] | None = None) -> list[CallDescription]:
    """The calls that SIP and Skinny messages tell of, by start time; ``faults`` counts what could not be read.

    The two hops of a B2BUA are two descriptions that name each other in ``related``; `merge_related` makes one of
    them.
    """
    if not messages:
        return []
    from callreplay.signalling import dialogs, hosts  # which a capture without signalling does without

    calls = dialogs.describe(messages, faults)
    if any(message.protocol == "skinny" for message in messages):
        from callreplay.signalling import skinny

        calls += skinny.describe(messages, faults)
    hosts.resolve(calls, messages)
    calls.sort(key=lambda call: call.start_ns)
    return calls


def calls_of(messages: Sequence[Message]) -> list[CallDescription]:
    """The calls of messages as they are reported: what is one call on several hops is one."""
    return merge_related(describe(messages)) if messages else []


def merge_related(calls: Sequence[CallDescription]) -> list[CallDescription]:
    """One call for each group of related ones: see `callreplay.signalling.related.merge_related`."""
    from callreplay.signalling import related

    return related.merge_related(calls)


def sockets_of(messages: Sequence[Message]) -> dict[tuple[str, int], set[int]]:
    """Where the calls of messages expect media; see `announced`."""
    return announced(describe(messages))


def announced(calls: Iterable[CallDescription]) -> dict[tuple[str, int], set[int]]:
    """The addresses and ports where calls expect media, with the payload types that either side of the call names.

    RFC 3264 section 5.1: the numbers are those of the receiver's description, but some senders use their own.
    """
    found: dict[tuple[str, int], set[int]] = {}
    for call in calls:
        types = {payload_type for media in call.media for payload_type in media.payload_types}
        for media in call.media:
            if media.port:
                found.setdefault((media.address, media.port), set()).update(types)
    return found
