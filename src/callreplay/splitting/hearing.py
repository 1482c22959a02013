"""Signalling as it comes: which talk each message belongs to, where the talk expects media, and when it is over.

Messages are read by the parsers of the room ``signalling`` and nothing else; most of those of no call (registrations,
subscriptions, options) are passed over before they are parsed.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from callreplay.model import CallDescription, MediaDescription, Message
from callreplay.signalling import heads
from callreplay.signalling.dialog import Dialog
from callreplay.signalling.dialogs import Dialogs
from callreplay.signalling.related import first_hop, likenesses
from callreplay.signalling.skinny import Phones
from callreplay.splitting.groups import Board, Group, Socket, Talk

__all__ = ["Hearing"]

_IDLE: Final = frozenset(
    (b"BYE", b"CANCEL", b"INFO", b"NOTIFY", b"OPTIONS", b"MESSAGE", b"REFER", b"SUBSCRIBE")
)
"""Methods whose answers change nothing that is heard for."""
_IDLE_REQUESTS: Final = (b"ACK ", b"INFO ", b"NOTIFY ", b"OPTIONS ", b"MESSAGE ", b"SUBSCRIBE ")
_FEW: Final = 8
_SEPARATOR: Final = re.compile(r"[-_.;:@~/+=#]")
_LATE_NS: Final = 64 * 10**9
"""So long retransmissions and late answers of a call that was closed are known for what they are."""


@dataclass(slots=True, eq=False)
class _Sip:
    """A dialog, its talk, and what of it was looked at."""

    dialog: Dialog
    talk: Talk
    media: int = 0
    others: int = 0
    state: tuple[int, bool] = (0, False)
    keys: list[object] = field(default_factory=list)
    after: list[_Sip] = field(default_factory=list)
    """Dialogs that may be the next hop of this one."""
    before: list[_Sip] = field(default_factory=list)


class Hearing:
    """Takes messages in order; ``late`` counts those of calls that are closed already."""

    def __init__(self, board: Board) -> None:
        self.faults: Counter[str] = Counter()
        self.late = 0
        self._now_ns = 0
        self._board = board
        self._dialogs = Dialogs(self.faults)
        self._phones = Phones(self.faults)
        self._sip: dict[str, _Sip] = {}
        self._of_talk: dict[Talk, _Sip] = {}
        self._skinny: dict[str, Talk] = {}
        self._recent: dict[object, deque[_Sip]] = {}
        self._over: dict[str, int] = {}

    def take(self, message: Message, now_ns: int) -> Group | None:
        """The group that a message belongs to; None for one of no call. ``now_ns`` is the capture's clock."""
        self._now_ns = now_ns
        talk = self._take_sip(message) if message.protocol == "sip" else self._take_skinny(message)
        if talk is None:
            return None
        talk.last_ns = now_ns
        group = talk.group.standing
        group.changed, group.due_ns = True, 0
        return group

    def describe(self, group: Group) -> CallDescription | None:
        """What signalling says so far of a call that goes on: of its first hop. None where nothing does."""
        hops = [self._of_talk[talk].dialog for talk in group.talks if talk in self._of_talk]
        if hops:
            first = min(hops, key=lambda dialog: dialog.call.start_ns)
            call = replace(first.call)
            call.called_numbers = list(dict.fromkeys([call.called_number, *first.asked]))
            call.related = [hop.call.call_id for hop in hops if hop is not first]
            return call
        devices = {device for talk in group.talks for device in talk.devices}
        calls = self._phones.describe(devices) if devices else []
        return next((call for call in calls if not call.end_ns), calls[-1] if calls else None)

    # SIP

    def _take_sip(self, message: Message) -> Talk | None:
        payload = message.payload
        found = heads.call_id(payload)
        call_id = found.decode("utf-8", "replace") if found else ""
        known = self._sip.get(call_id)
        if known is None and found is not None and not _founds(payload):
            self.late += call_id in self._over
            return None
        if known is None and call_id in self._over and not payload.startswith(b"INVITE"):
            self.late += 1
            return None
        if known is not None and _tells_nothing(payload, known.dialog):
            return known.talk
        dialog = self._dialogs.take(message)
        self._dialogs.every.clear()
        if dialog is None:
            return None
        if known is None or known.dialog is not dialog:
            talk = self._board.new_talk(dialog.call.call_id, self._now_ns)
            known = self._sip[dialog.call.call_id] = self._of_talk[talk] = _Sip(dialog, talk)
        self._follow(known)
        return known.talk

    def _follow(self, known: _Sip) -> None:
        """What a message changed: sockets, an end, likenesses with other dialogs."""
        dialog, talk, call = known.dialog, known.talk, known.dialog.call
        talk.answered = dialog.answered
        ended = dialog.ended or (not dialog.answered and (bool(dialog.failure) or dialog.cancelled))
        talk.over_ns = (talk.over_ns or max(self._now_ns, 1)) if ended else 0
        state = (len(dialog.hint.senders) + len(dialog.hint.offered), dialog.answered)
        if state != known.state:
            known.state = state
            self._relate(known)
        if len(call.media) != known.media or len(call.other_media) != known.others:
            known.media, known.others = len(call.media), len(call.other_media)
            hosts = {host for host, _ in dialog.hint.senders | dialog.hint.receivers}
            sockets = {(other.address, other.port) for other in call.other_media}
            self._board.announce(
                talk, sockets.union(*map(_sockets, call.media)), hosts.union(*map(_hosts, call.media))
            )

    def _relate(self, known: _Sip) -> None:
        """Put hops of one call together, as far as it can be told now; looked at again when either is answered."""
        call, hint = known.dialog.call, known.dialog.hint
        asked, told = likenesses(call, hint)
        earlier = {other for key in asked for other in self._recent.get(key, ())}
        named = [*hint.quoted, *_prefixes(call.call_id)]
        earlier |= {self._sip[name] for name in named if name in self._sip}
        earlier |= set(self._recent.get(("quoted", call.call_id), ()))
        earlier.discard(known)
        for other in earlier:
            if other not in known.before and len(known.before) < 4 * _FEW:
                known.before.append(other)
                if len(other.after) < 4 * _FEW:
                    other.after.append(known)
        for key in (*told, *(("quoted", text) for text in hint.quoted)):
            line = self._recent.setdefault(key, deque(maxlen=_FEW))
            if known not in line:
                line.append(known)
                known.keys.append(key)
        for each in (known, *known.after):
            self._join(each)

    def _join(self, later: _Sip) -> None:
        earlier = [other for other in later.before if other.talk in self._of_talk]
        group = later.talk.group.standing
        if all(other.talk.group.standing is group for other in earlier):
            return  # whichever it is, they are together
        every = sorted([*earlier, later], key=lambda each: each.dialog.call.start_ns)
        if every[-1] is not later:  # the same instant, or clocks of two taps
            every.remove(later)
            every.append(later)
        first = first_hop([each.dialog.call for each in every], [each.dialog.hint for each in every])
        if first >= 0:
            self._board.merge(every[first].talk.group, later.talk.group)

    # Skinny

    def _take_skinny(self, message: Message) -> Talk | None:
        if not self._phones.take(message):
            return None
        for device in (message.flow.destination, message.flow.source):
            parties = self._phones.parties(device)
            if not parties:
                continue
            talk = self._skinny.get(device)
            if talk is None:
                talk = self._skinny[device] = self._board.new_talk(f"skinny {device}", self._now_ns)
                talk.devices = (device,)
            media = [
                row
                for party in parties
                for row in (*party.receives, *party.sends, *(row for _, row in party.forks))
            ]
            talk.answered = any(party.connected_ns for party in parties)
            over = all(party.end_ns for party in parties)
            talk.over_ns = (talk.over_ns or max(self._now_ns, 1)) if over else 0
            self._board.announce(
                talk, set().union(*map(_sockets, media)), {device}.union(*map(_hosts, media))
            )
            for other in self._skinny.values():
                # The other phone of the call opened the socket that this one is told to send to.
                if other is not talk and other.sockets & talk.sockets:
                    self._board.merge(other.group, talk.group)
            return talk
        return None

    # What is over

    def close(self, talk: Talk, now_ns: int) -> None:
        """A talk is closed: its Call-ID may come again, and late messages of it are none of a new call."""
        known = self._of_talk.pop(talk, None)
        if known is None:
            device = next((device for device, own in self._skinny.items() if own is talk), None)
            if device is not None:
                del self._skinny[device]
                self._phones.forget(device)
            return
        call_id = known.dialog.call.call_id
        if self._sip.get(call_id) is known:
            del self._sip[call_id]
            self._dialogs.open.pop(call_id, None)
            self._over.pop(call_id, None)
            self._over[call_id] = now_ns
        for key in known.keys:
            line = self._recent.get(key)
            if line is not None and known in line:
                line.remove(known)
                if not line:
                    del self._recent[key]
        for other in known.before:
            if known in other.after:
                other.after.remove(known)

    def tidy(self, now_ns: int) -> None:
        """Forget Call-IDs that were closed long ago."""
        while self._over:
            call_id, closed_ns = next(iter(self._over.items()))
            if now_ns - closed_ns < _LATE_NS:
                return
            del self._over[call_id]


def _tells_nothing(payload: bytes, dialog: Dialog) -> bool:
    """Whether a message of a dialog changes neither its state nor its media: most do not, and need no parser.

    What it says of names and numbers the import reads; here it is of no use.
    """
    if payload in dialog.seen:
        return True
    if not payload.endswith((b"\r\n\r\n", b"\n\n")):  # what has a body may have an offer
        return False
    if payload.startswith(_IDLE_REQUESTS):
        return True
    if not payload.startswith(b"SIP/2.0 "):
        return False
    method = heads.asked(payload)
    return payload[8:9] == b"1" if method == b"INVITE" else method in _IDLE


def _founds(payload: bytes) -> bool:
    """Whether a message may be the first of a dialog: an INVITE, or an answer to one."""
    return payload.startswith(b"INVITE") or (payload.startswith(b"SIP/2.0") and b"INVITE" in payload)


def _sockets(row: MediaDescription) -> Iterator[Socket]:
    """Where a media row expects packets: RTP, RTCP, candidates of ICE."""
    yield row.address, row.port
    yield row.address, row.rtcp_port or row.port + 1
    yield from row.candidates


def _hosts(row: MediaDescription) -> Iterator[str]:
    yield row.address
    if row.seen_from:
        yield row.seen_from


def _prefixes(call_id: str) -> list[str]:
    """The Call-IDs that a Call-ID may be made from: what stands before a separator."""
    if len(call_id) <= _FEW:
        return []
    return [call_id[: found.start()] for found in _SEPARATOR.finditer(call_id, _FEW)][-_FEW:]
