"""Which dialogs are one call on several hops: those of back-to-back user agents (B2BUA) and of recording phones.

A B2BUA gives each side its own Call-ID. No single likeness joins two dialogs: private addresses collide, servers use
one audio socket for all, and numbers repeat. What speaks for one call and for two is weighed: identifiers, the chain
(who received the first INVITE sends the second), parties, sockets offered while both wait, and the order of answers.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from typing import Final

from callreplay import addresses
from callreplay.deferred import dataclass
from callreplay.evidence import Rival, Verdict, weigh
from callreplay.model import CallDescription, Flow, Side
from callreplay.signalling import sdp, sip
from callreplay.signalling.bridge import Bridge, name_bridged, read_bridge
from callreplay.signalling.digits import merge_digits

__all__ = ["Hint", "first_hop", "likenesses", "merge_related", "relate"]

_WINDOW_NS: Final = 60_000_000_000
"""The far side of a B2BUA is invited while the near side waits; longer than a minute is another call."""
_AT_ONCE_NS: Final = 2_000_000_000
_NULL_SESSION: Final = "0" * 32
_SHORTEST: Final = 8
"""Octets of a Call-ID that others may be derived from; what is shorter is met in other values too."""
_FEW: Final = 8
"""The latest dialogs with one likeness that are weighed: bounds the work on hostile captures."""
_SEPARATORS: Final = "-_.;:@~/+=#"
_APART: Final = re.compile(r"[\s,;<>\"]+")


@dataclass(slots=True)
class Hint:
    """What a dialog's first messages say of its kin; nothing of a re-INVITE."""

    session_ids: set[str] = field(default_factory=set)
    quoted: set[str] = field(default_factory=set)
    offered: set[tuple[Side, str, int]] = field(default_factory=set)
    senders: set[tuple[str, int]] = field(default_factory=set)
    receivers: set[tuple[str, int]] = field(default_factory=set)
    bridge: Bridge | None = None

    @property
    def ends(self) -> set[tuple[str, str]]:
        """The hosts that its INVITEs ran between."""
        return {(one, other) for one, _ in self.senders for other, _ in self.receivers}

    def take_invite(self, message: sip.SipMessage, flow: Flow) -> None:
        """Read the headers of an initial INVITE."""
        self.senders.add((flow.source, flow.source_port))
        self.receivers.add((flow.destination, flow.destination_port))
        for name, values in message.headers.items():
            if name[:2] == "x-":
                self.quoted.update(part for value in values for part in _APART.split(value) if part)
        value = message.header("session-id").partition(";")[0].strip().lower().replace("-", "")
        if len(value) == 32 and value != _NULL_SESSION:
            self.session_ids.add(value)
        self.bridge = self.bridge or read_bridge(message)

    def take_session(self, session: sdp.SessionDescription, side: Side) -> None:
        """Read the audio sockets of a session description of the first offer and answer."""
        for section in session.audio:
            if section.port and section.address and not section.unspecified:
                self.offered.add((side, section.address, section.port))


def relate(calls: Sequence[CallDescription], hints: Sequence[Hint]) -> None:
    """Fill ``related`` of every call with the Call-IDs of the same call on other hops. Calls are in order of time."""
    parent = list(range(len(calls)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for later, candidates in _candidates(calls, hints):
        margins = [_weigh(calls, hints, earlier, later, candidates).margin for earlier in candidates]
        best = max(margins)
        if best <= 0:
            continue
        first = [earlier for earlier, margin in zip(candidates, margins, strict=True) if margin == best]
        if len({root(earlier) for earlier in first}) > 1:
            about = f"dialog {calls[later].call_id}"
            names = ", ".join(calls[earlier].call_id for earlier in first[:4])
            rival = Rival("its own").says(0, f"several dialogs are as likely its first hop: {names}")
            calls[later].verdicts.append(weigh("is this the next hop of another dialog?", about, rival))
            continue
        earlier = first[0]
        calls[later].verdicts.append(_weigh(calls, hints, earlier, later, candidates).verdict())
        parent[root(max(earlier, later))] = root(min(earlier, later))
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(calls)):
        groups[root(index)].append(index)
    for members in groups.values():
        for index in members:
            kin = [calls[other].call_id for other in members if other != index]
            calls[index].related = list(dict.fromkeys(kin))
    for call, hint in zip(calls, hints, strict=True):
        if hint.bridge is not None:
            name_bridged(call, hint.bridge)


def first_hop(calls: Sequence[CallDescription], hints: Sequence[Hint]) -> int:
    """Which of the dialogs before the last one the last is the next hop of, as far as they have come; -1 for none."""
    later = len(calls) - 1
    earlier = list(range(later))
    margins = [_weigh(calls, hints, one, later, earlier).margin for one in earlier]
    best = max(margins, default=0)
    return margins.index(best) if best > 0 and margins.count(best) == 1 else -1


def likenesses(call: CallDescription, hint: Hint) -> tuple[list[object], list[object]]:
    """What a dialog may share with an earlier one that it is the next hop of, and what with a later one."""
    own: list[object] = [("session", text) for text in hint.session_ids]
    own += [("socket", *socket) for socket in hint.offered if socket[0] == "caller"]
    if hint.bridge is not None:
        own.append(("bridge", hint.bridge.key))
    parties = [party for party in (("from", call.caller_number), ("to", call.called_number)) if party[1]]

    def chained(ends: set[tuple[str, int]]) -> list[object]:
        hosts = {host for host, _ in ends}
        return [("chain", host, *party) for host in hosts for party in parties]

    return own + chained(hint.senders), own + chained(hint.receivers)


def _candidates(calls: Sequence[CallDescription], hints: Sequence[Hint]) -> Iterator[tuple[int, list[int]]]:
    """Each dialog with the earlier ones that may be its first hop; a bounded number, found by what they share."""
    recent: dict[object, deque[int]] = {}
    by_id: dict[str, int] = {}
    quoting: dict[str, list[int]] = defaultdict(list)
    for index, hint in enumerate(hints):
        for text in hint.quoted:
            quoting[text].append(index)
    prefixes = _prefixes(calls)
    for index in sorted(range(len(calls)), key=lambda index: calls[index].start_ns):
        call, hint = calls[index], hints[index]
        asked, told = likenesses(call, hint)
        found = {other for key in asked for other in recent.get(key, ())}
        found |= {by_id[text] for text in hint.quoted if text in by_id}
        found |= {
            other for other in quoting.get(call.call_id, ())[:_FEW] if calls[other].start_ns <= call.start_ns
        }
        if prefixes[index] >= 0:
            found.add(prefixes[index])
        found.discard(index)
        if found:
            yield index, sorted(found)
        for key in told:
            recent.setdefault(key, deque(maxlen=_FEW)).append(index)
        by_id[call.call_id] = index


def _prefixes(calls: Sequence[CallDescription]) -> list[int]:
    """For each call the one whose Call-ID is its own without a suffix behind a separator ("…_b2b-1"), or -1.

    In sorted order every extension follows its prefix with nothing else between.
    """
    found = [-1] * len(calls)
    chain: list[tuple[str, int]] = []
    for call_id, index in sorted((call.call_id, index) for index, call in enumerate(calls)):
        while chain and not call_id.startswith(chain[-1][0]):
            chain.pop()
        for prefix, other in reversed(chain[-_FEW:]):
            if call_id != prefix and call_id[len(prefix)] in _SEPARATORS:
                found[index] = other
                break
        if len(call_id) >= _SHORTEST:
            chain.append((call_id, index))
    return found


@dataclass(slots=True)
class _Weighed:
    """What was found out of two dialogs; most of these are asked for their margin alone, so texts are made last."""

    near: CallDescription
    far: CallDescription
    together: list[tuple[int, str]] = field(default_factory=list)
    apart: list[tuple[int, str]] = field(default_factory=lambda: [(3, "two Call-IDs")])

    @property
    def margin(self) -> int:
        """How much more speaks for one call than for two."""
        return sum([weight for weight, _ in self.together]) - sum([weight for weight, _ in self.apart])

    def verdict(self) -> Verdict:
        """The verdict with its reasons."""
        about = f"{self.near.call_id} and {self.far.call_id}"
        rivals = Rival("two calls", self.apart), Rival("one call on two hops", self.together)
        return weigh("is this the next hop of another dialog?", about, *rivals)


def _weigh(
    calls: Sequence[CallDescription], hints: Sequence[Hint], one: int, other: int, candidates: Sequence[int]
) -> _Weighed:
    """What speaks for one call and for two."""
    first, second = (one, other) if calls[one].start_ns <= calls[other].start_ns else (other, one)
    near, far, said, asked = calls[first], calls[second], hints[first], hints[second]
    found = _Weighed(near, far)
    together, apart = found.together, found.apart
    chained = _chained(said, asked)
    known = _weigh_identifiers(together, near, far, said, asked)
    same = _weigh_parties(together, apart, near, far)
    _weigh_time(together, apart, near, far, known and chained)
    if chained:
        together.append((3, "the host that received the first INVITE sent the second"))
    if chained and same and _sole(calls, hints, second, candidates):
        together.append((2, "no other call of that caller reached that host"))
    _weigh_sockets(together, near, far, said, asked)
    if not chained:
        apart.append((1, "the second INVITE came from a host that did not get the first"))
        if said.ends & asked.ends:
            apart.append((2, "both INVITEs ran between the same hosts"))
    return found


def _sole(
    calls: Sequence[CallDescription], hints: Sequence[Hint], second: int, candidates: Sequence[int]
) -> bool:
    """Whether one of the candidates alone is of the same caller and reached the host that sent the second INVITE."""
    number, asked, others = calls[second].caller_number, hints[second], 0
    for index in candidates:
        others += calls[index].caller_number == number and _chained(hints[index], asked)
        if others > 1:
            return False
    return others == 1


def _weigh_sockets(
    together: list[tuple[int, str]], near: CallDescription, far: CallDescription, said: Hint, asked: Hint
) -> None:
    """What sockets that both offer say."""
    shared = said.offered & asked.offered
    if not shared or not _waits(near, far):
        return
    sockets = [address for side, address, _ in shared if side == "caller"]
    if not sockets:
        return
    public = any(not _private(address) for address in sockets)
    together.append((3 if public else 2, "both offer the same socket while both wait"))
    if len({side for side, _, _ in shared}) == 2 and not said.ends & asked.ends:
        together.append((3, "both were answered with the same socket too"))


def _weigh_identifiers(
    together: list[tuple[int, str]], near: CallDescription, far: CallDescription, said: Hint, asked: Hint
) -> bool:
    """What headers say; returns whether one of them names the other dialog outright."""
    bridged = said.bridge is not None and asked.bridge is not None and said.bridge.key == asked.bridge.key
    named = not said.session_ids.isdisjoint(asked.session_ids)
    quoted = near.call_id in asked.quoted or far.call_id in said.quoted
    if bridged:
        together.append((6, "both are sessions of one phone's built-in bridge"))
    if named:
        together.append((4, "the same Session-ID"))
    if quoted:
        together.append((4, "a header quotes the other's Call-ID"))
    if _derived(near.call_id, far.call_id):
        together.append((3, "one Call-ID is made from the other"))
    return bridged or named or quoted


def _weigh_parties(
    together: list[tuple[int, str]], apart: list[tuple[int, str]], near: CallDescription, far: CallDescription
) -> bool:
    """What the numbers say; returns whether both have one caller."""
    caller = bool(near.caller_number) and near.caller_number == far.caller_number
    called = bool(near.called_number) and near.called_number == far.called_number
    if caller:
        together.append((1, "the same caller"))
    if called:
        together.append((1, "the same called number"))
    if near.caller_number and far.caller_number and not caller:
        apart.append((1, "other callers"))
        if not called:
            apart.append((1, "other called numbers too"))
    return caller


def _weigh_time(
    together: list[tuple[int, str]], apart: list[tuple[int, str]], near: CallDescription, far: CallDescription,
    proved: bool,
) -> None:  # fmt: skip
    """What the order of INVITEs and answers says."""
    if near.answer_ns and far.answer_ns and 0 <= near.answer_ns - far.answer_ns <= _AT_ONCE_NS:
        together.append((1, "the first was answered right after the second"))
    if not _waits(near, far):
        apart.append((2, "the first was answered before the second began"))
    if near.end_ns and far.start_ns > near.end_ns:
        apart.append((6, "the first was over before the second began"))
    if far.start_ns - near.start_ns > _WINDOW_NS and not proved:
        apart.append((4, "more than a minute lies between them"))


def _waits(near: CallDescription, far: CallDescription) -> bool:
    """Whether the first was not answered yet when the second began."""
    return not near.answer_ns or far.start_ns <= near.answer_ns


def _chained(said: Hint, asked: Hint) -> bool:
    """Whether a host that received one INVITE sent the other. Within one host the ports must agree too."""
    if not said.senders.isdisjoint(asked.senders):
        return False
    if not said.receivers.isdisjoint(asked.senders):
        return True
    hosts = {host for host, _ in said.receivers} & {host for host, _ in asked.senders}
    return bool(hosts) and bool(hosts - {one for one, other in said.ends | asked.ends if one == other})


def _derived(one: str, other: str) -> bool:
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    return _SHORTEST <= len(short) < len(long) and long.startswith(short) and long[len(short)] in _SEPARATORS


def _private(address: str) -> bool:
    try:
        return addresses.is_private(address)
    except ValueError:
        return True


def merge_related(calls: Sequence[CallDescription]) -> list[CallDescription]:
    """One call for each group of related ones: the signalling legs of a B2BUA shown as one call.

    The hop nearest the caller (the first INVITE) gives the caller and the Call-ID, the last hop that was answered the
    called party; ``called_numbers`` has those of every hop. Empty fields are filled from the other hops; media rows of
    all hops are kept, their sides agree because every hop runs from caller to called. ``related`` lists the other
    hops' Call-IDs. Calls without kin are returned as they are.
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
                other for other in by_id.get(name, ()) if id(other) not in taken and _meanwhile(call, other)
            ]
        taken.update(id(hop) for hop in hops)
        merged.append(_merge(hops) if len(hops) > 1 else call)
    return merged


def _meanwhile(first: CallDescription, hop: CallDescription) -> bool:
    """Whether a hop began while the first one lasted: Call-IDs are used again."""
    return not first.end_ns or hop.start_ns <= first.end_ns


def _merge(hops: list[CallDescription]) -> CallDescription:
    first = hops[0]
    ordered = sorted(hops[1:], key=lambda hop: hop.start_ns)
    whole = replace(first, media=[], related=list(dict.fromkeys(hop.call_id for hop in ordered)))
    for name in ("caller_number", "caller_name", "called_number", "called_name", "transferred_to"):
        setattr(whole, name, next((getattr(hop, name) for hop in hops if getattr(hop, name)), ""))
    numbers = [number for hop in (first, *ordered) for number in hop.called_numbers]
    whole.called_numbers = list(dict.fromkeys(numbers))
    answered = [hop for hop in ordered if hop.answer_ns]
    last = answered[-1] if answered else max(hops, key=lambda hop: hop.start_ns)
    whole.called_address = last.called_address or first.called_address
    if answered and last.called_number:
        whole.called_number = last.called_number
        same = last.called_number == first.called_number
        whole.called_name = last.called_name or (first.called_name if same else "")
    if (
        not first.answer_ns
        and answered
        and not first.status.startswith(("failed", "cancelled", "redirected"))
    ):
        whole.answer_ns = min(hop.answer_ns for hop in answered)
        whole.status = "answered"
    whole.end_ns = first.end_ns or max(hop.end_ns for hop in hops)
    whole.begun_before = any(hop.begun_before for hop in hops)
    whole.verdicts = [verdict for hop in (first, *ordered) for verdict in hop.verdicts]
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
