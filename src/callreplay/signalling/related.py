"""Which calls are one call on several hops: the two sides of a back-to-back user agent (B2BUA).

A B2BUA gives each side its own Call-ID. What joins them: the same Session-ID (RFC 7989), a Call-ID quoted in an
``X-`` header or extended by a suffix, or the same audio socket announced on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from callreplay.model import CallDescription
from callreplay.signalling import sdp, sip
from callreplay.signalling.digits import merge_digits

__all__ = ["Hint", "merge_related", "relate"]

_WINDOW_NS: Final = 60_000_000_000
"""The far side of a B2BUA is invited while the near side waits; longer than a minute is another call."""
_NULL_SESSION: Final = "0" * 32
_SHORTEST_PREFIX: Final = 8


@dataclass(slots=True)
class Hint:
    """What a call's messages say of its kin."""

    session_ids: set[str] = field(default_factory=set)
    quoted: set[str] = field(default_factory=set)
    sockets: set[tuple[str, int]] = field(default_factory=set)

    def take_invite(self, message: sip.SipMessage) -> None:
        """Read the headers of an initial INVITE."""
        for name, values in message.headers.items():
            if name.startswith("x-"):
                self.quoted.update(value.strip().strip('"<>') for value in values)
        value = message.header("session-id").partition(";")[0].strip().lower().replace("-", "")
        if len(value) == 32 and value != _NULL_SESSION:
            self.session_ids.add(value)

    def take_session(self, session: sdp.SessionDescription) -> None:
        """Read the audio sockets of a session description."""
        for section in session.audio:
            if section.port and section.address and not section.unspecified:
                self.sockets.add((section.address, section.port))


def relate(calls: Sequence[CallDescription], hints: Sequence[Hint]) -> None:
    """Fill ``related`` of every call with the Call-IDs of the same call on other hops."""
    parent = list(range(len(calls)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in _pairs(calls, hints):
        if one != other and _together(calls[one], calls[other]):
            parent[root(max(one, other))] = root(min(one, other))
    groups: dict[int, list[int]] = {}
    for index in range(len(calls)):
        groups.setdefault(root(index), []).append(index)
    for members in groups.values():
        for index in members:
            kin = [calls[other].call_id for other in members if other != index]
            calls[index].related = list(dict.fromkeys(kin))


def _pairs(calls: Sequence[CallDescription], hints: Sequence[Hint]) -> Iterator[tuple[int, int]]:
    by_id: dict[str, list[int]] = {}
    by_key: dict[object, list[int]] = {}
    for index, call in enumerate(calls):
        by_id.setdefault(call.call_id, []).append(index)
    for index, hint in enumerate(hints):
        for quoted in hint.quoted:
            for other in by_id.get(quoted, ()):
                yield other, index
        for key in (*hint.session_ids, *hint.sockets):
            before = by_key.setdefault(key, [])
            for other in before[-8:]:
                yield other, index
            before.append(index)
    # A suffix ("…_b2b-1"): in sorted order every extension follows its prefix with nothing else between.
    chain: list[tuple[str, int]] = []
    for call_id, index in sorted((call.call_id, index) for index, call in enumerate(calls)):
        while chain and not call_id.startswith(chain[-1][0]):
            chain.pop()
        if chain and call_id != chain[-1][0]:
            yield chain[-1][1], index
        if len(call_id) >= _SHORTEST_PREFIX:
            chain.append((call_id, index))


def _together(one: CallDescription, other: CallDescription) -> bool:
    first, second = (one, other) if one.start_ns <= other.start_ns else (other, one)
    if second.start_ns - first.start_ns > _WINDOW_NS:
        return False
    return not first.end_ns or second.start_ns <= first.end_ns


def merge_related(calls: Sequence[CallDescription]) -> list[CallDescription]:
    """One call for each group of related ones: the two signalling legs of a B2BUA shown as one call.

    The hop nearest the caller (the first INVITE) names the parties and the Call-ID; empty fields are filled from the
    other hops; media rows of all hops are kept, their sides agree because both hops run from caller to called.
    ``related`` lists the other hops' Call-IDs. Calls without kin are returned as they are.
    """
    by_id: dict[str, list[CallDescription]] = {}
    for call in calls:
        by_id.setdefault(call.call_id, []).append(call)
    merged: list[CallDescription] = []
    taken: set[int] = set()
    for call in sorted(calls, key=lambda each: each.start_ns):
        if id(call) in taken:
            continue
        hops = [call]
        for name in call.related:
            hops += [
                other for other in by_id.get(name, ()) if id(other) not in taken and _together(call, other)
            ]
        taken.update(id(hop) for hop in hops)
        merged.append(_merge(hops) if len(hops) > 1 else call)
    return merged


def _merge(hops: list[CallDescription]) -> CallDescription:
    first = hops[0]
    whole = replace(first, media=[], related=list(dict.fromkeys(hop.call_id for hop in hops[1:])))
    for name in ("caller_number", "caller_name", "called_number", "called_name", "transferred_to"):
        setattr(whole, name, next((getattr(hop, name) for hop in hops if getattr(hop, name)), ""))
    last = max(hops, key=lambda hop: hop.start_ns)
    whole.called_address = last.called_address or first.called_address
    if not first.answer_ns:
        answered = [hop for hop in hops if hop.answer_ns]
        if answered and not first.status.startswith(("failed", "cancelled", "redirected")):
            whole.answer_ns = min(hop.answer_ns for hop in answered)
            whole.status = "answered"
    whole.end_ns = first.end_ns or max(hop.end_ns for hop in hops)
    whole.digits = merge_digits(hop.digits for hop in hops)
    whole.diversions = list(dict.fromkeys(diversion for hop in hops for diversion in hop.diversions))
    whole.warnings = list(dict.fromkeys(text for hop in hops for text in hop.warnings))
    whole.other_media = list(dict.fromkeys(socket for hop in hops for socket in hop.other_media))
    seen: set[tuple[object, ...]] = set()
    for row in sorted((row for hop in hops for row in hop.media), key=lambda row: row.valid_from_ns):
        key = (row.side, row.address, row.port, row.direction, tuple(row.payload_types.items()), row.crypto)
        if key not in seen or row.direction != "sendrecv":
            whole.media.append(row)
        seen.add(key)
    return whole
