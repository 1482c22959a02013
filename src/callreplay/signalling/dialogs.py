"""INVITE dialogs (RFC 3261) and their offers and answers (RFC 3264), put together into calls.

One call is one Call-ID: provisional, forked and final answers, authentication rounds, re-INVITE, UPDATE, PRACK and BYE
belong to it, whichever of several taps or proxy hops they were seen at. The side of every message follows from the
dialog tags: the From tag of the initial INVITE is the caller for good, whoever sends a later request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from callreplay.model import CallDescription, MediaDescription, Message, OtherMedia, Side
from callreplay.signalling import sdp, sip
from callreplay.signalling.related import Hint, relate

__all__ = ["describe"]

_OFFER_METHODS: Final = frozenset(("INVITE", "ACK", "UPDATE", "PRACK"))


@dataclass(slots=True)
class _Dialog:
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
    legs: dict[str, set[str]] = field(
        default_factory=dict
    )  # From tag -> To tags answered with 2xx and not yet BYEd
    current: dict[tuple[Side, str, int], MediaDescription] = field(default_factory=dict)
    offered: dict[tuple[int, str], list[MediaDescription]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)  # field of the call -> rank of what filled it
    hint: Hint = field(default_factory=Hint)
    last_ns: int = 0


def describe(messages: Iterable[Message], faults: Counter[str] | None = None) -> list[CallDescription]:
    """The calls that SIP messages tell of, by start time.

    ``messages`` are whole SIP messages in arrival order; other protocols are passed over. Calls that never carried
    media (refused, cancelled) are kept with their status. What cannot be read is counted in ``faults``.
    """
    counts: Counter[str] = Counter() if faults is None else faults
    open_dialogs: dict[str, _Dialog] = {}
    dialogs: list[_Dialog] = []
    for message in messages:
        if message.protocol != "sip":
            continue
        parsed = sip.parse(message.payload, counts)
        if parsed is None:
            continue
        call_id = parsed.call_id
        cseq, method = parsed.cseq
        method = parsed.method or method
        if not call_id or not method:
            counts["sip: no Call-ID or CSeq"] += 1
            continue
        dialog = open_dialogs.get(call_id)
        if method == "INVITE" and (dialog is None or _starts_anew(dialog, parsed, message)):
            dialog = _open(call_id, parsed, message, cseq)
            open_dialogs[call_id] = dialog
            dialogs.append(dialog)
        if dialog is not None:
            _feed(dialog, parsed, message, cseq, method, counts)
    for dialog in dialogs:
        _close(dialog)
    calls = [dialog.call for dialog in dialogs]
    relate(calls, [dialog.hint for dialog in dialogs])
    return calls


def _starts_anew(dialog: _Dialog, parsed: sip.SipMessage, message: Message) -> bool:
    """Whether an INVITE re-uses the Call-ID of a call that is over (test tools and simple phones do)."""
    if not parsed.method or parsed.recipient.tag:
        return False
    if parsed.sender.tag in dialog.caller_tags or message.payload in dialog.seen:
        return False
    return dialog.ended or (bool(dialog.failure) and message.arrival_ns - dialog.failure_ns > 500_000_000)


def _open(call_id: str, parsed: sip.SipMessage, message: Message, cseq: int) -> _Dialog:
    call = CallDescription(call_id, "sip", start_ns=message.arrival_ns)
    flow = message.flow
    call.caller_address, call.called_address = flow.source, flow.destination
    if parsed.status:
        call.caller_address, call.called_address = flow.destination, flow.source
    return _Dialog(call, {parsed.sender.tag}, cseq)


def _feed(
    dialog: _Dialog, parsed: sip.SipMessage, message: Message, cseq: int, method: str, counts: Counter[str]
) -> None:
    """Take in one message of a call; the same octets again (another tap, a retransmission) tell nothing."""
    dialog.last_ns = max(dialog.last_ns, message.arrival_ns)
    if message.payload in dialog.seen:
        counts["sip: message seen before"] += 1
        return
    dialog.seen.add(message.payload)
    sender, recipient = parsed.sender, parsed.recipient
    initial = method == "INVITE" and bool(parsed.method) and not recipient.tag
    if initial:
        # A B2BUA that keeps the Call-ID gives the next hop a From tag of its own: the same caller.
        dialog.caller_tags.add(sender.tag)
    requester: Side = "caller" if sender.tag in dialog.caller_tags else "called"
    side: Side = requester if parsed.method else ("called" if requester == "caller" else "caller")
    _name_parties(dialog, parsed, initial, side)
    if method in _OFFER_METHODS and not parsed.status >= 300:
        _take_description(dialog, parsed, message, side, (cseq, method), counts)
    if parsed.method:
        _request(dialog, parsed, message)
    elif method == "INVITE":
        _invite_answer(dialog, parsed, message, cseq)
    if (
        parsed.status >= 300
        and recipient.tag
        and method in ("INVITE", "UPDATE")
        and cseq != dialog.initial_cseq
    ):
        _withdraw(dialog, (cseq, method))


def _request(dialog: _Dialog, parsed: sip.SipMessage, message: Message) -> None:
    call = dialog.call
    if parsed.method == "INVITE" and not parsed.recipient.tag:
        # The next try of a challenged or serially forked call supersedes the verdict of the last one.
        dialog.failure = ""
        dialog.hint.take_invite(parsed)
    elif parsed.method == "CANCEL":
        dialog.cancelled = True
        dialog.failure_ns = message.arrival_ns
    elif parsed.method == "BYE":
        _bye(dialog, parsed.sender.tag, parsed.recipient.tag, message.arrival_ns)
    elif parsed.method == "REFER":
        target = sip.parse_name_address(parsed.header("refer-to"))
        call.transferred_to = target.number or call.transferred_to


def _bye(dialog: _Dialog, from_tag: str, to_tag: str, now_ns: int) -> None:
    """End the call, unless the BYE only sheds one of several forked answers (RFC 3261 13.2.2.4)."""
    if dialog.ended:
        return
    for caller, callee in ((from_tag, to_tag), (to_tag, from_tag)):
        branches = dialog.legs.get(caller)
        if branches is not None and callee in branches:
            branches.discard(callee)
            if branches:
                return
            break
    dialog.ended = True
    dialog.call.end_ns = now_ns


def _invite_answer(dialog: _Dialog, parsed: sip.SipMessage, message: Message, cseq: int) -> None:
    call, status = dialog.call, parsed.status
    initial = not dialog.answered or cseq == dialog.initial_cseq
    if 200 <= status < 300:
        if initial:
            dialog.legs.setdefault(parsed.sender.tag, set()).add(parsed.recipient.tag)
        if not dialog.answered:
            dialog.answered = True
            dialog.failure = ""
            dialog.initial_cseq = cseq
            call.answer_ns = message.arrival_ns
    elif status >= 300 and not dialog.answered:
        verdict = f"failed {status} {parsed.reason}".rstrip()
        if status == 487 and dialog.cancelled:
            verdict = "cancelled"
        elif status < 400:
            verdict = f"redirected {status} {parsed.reason}".rstrip()
        dialog.failure = verdict
        dialog.failure_ns = message.arrival_ns


def _close(dialog: _Dialog) -> None:
    call = dialog.call
    if dialog.answered:
        call.status = "answered"
    elif dialog.failure:
        call.status, call.end_ns = dialog.failure, dialog.failure_ns
    elif dialog.cancelled:
        call.status, call.end_ns = "cancelled", dialog.failure_ns
    else:
        call.status = "unanswered"
    for side in ("caller", "called"):
        row = next((row for row in call.media if row.side == side), None)
        if row is not None:
            setattr(call, f"{side}_address", row.address)


# What a party is called. A higher rank wins; the first of equal rank stays.
_RANKS: Final = {"p-asserted-identity": 3, "remote-party-id": 2, "from": 1, "to": 1}


def _name_parties(dialog: _Dialog, parsed: sip.SipMessage, initial: bool, side: Side) -> None:
    """Numbers and names: asserted identities (RFC 3325) before Remote-Party-ID before From.

    The called number is the one dialled (To, else Request-URI) and stays so when the connected party asserts another;
    the connected party's name fills in where To gives none.
    """
    call = dialog.call
    if initial or not call.caller_number or not call.called_number:
        sender, recipient = parsed.sender, parsed.recipient
        if not (parsed.method and sender.tag not in dialog.caller_tags):
            _offer(dialog, "caller_number", sender.number, _RANKS["from"])
            _offer(dialog, "caller_name", sender.display_name, _RANKS["from"])
            _offer(dialog, "called_number", recipient.number, _RANKS["to"])
            _offer(dialog, "called_name", recipient.display_name, _RANKS["to"])
        else:
            _offer(dialog, "caller_number", recipient.number, _RANKS["to"])
            _offer(dialog, "called_number", sender.number, _RANKS["from"])
    if initial and not call.called_number:
        uri = sip.parse_uri(parsed.request_uri)
        _offer(dialog, "called_number", uri.number if uri else "", _RANKS["to"])
    for name, identity in _asserted(parsed):
        if side == "caller" and initial:
            _offer(dialog, "caller_number", identity.number, _RANKS[name])
            _offer(dialog, "caller_name", identity.display_name, _RANKS[name])
        elif side == "called" and parsed.status:
            if not call.called_number:
                _offer(dialog, "called_number", identity.number, 0)
            if not call.called_name:
                _offer(dialog, "called_name", identity.display_name, 0)


def _asserted(parsed: sip.SipMessage) -> Iterator[tuple[str, sip.NameAddress]]:
    for name in ("p-asserted-identity", "remote-party-id"):
        if name not in parsed.headers:
            continue
        identities = list(parsed.identities(name))
        # RFC 3325 9.1: at most one sip(s) and one tel URI; the tel one is the number itself.
        identities.sort(key=lambda identity: not (identity.uri and identity.uri.scheme == "tel"))
        for identity in identities:
            wanted = "called" if parsed.status else "calling"
            if name == "remote-party-id" and identity.parameters.get("party", wanted).lower() != wanted:
                continue
            yield name, identity


def _offer(dialog: _Dialog, name: str, value: str, rank: int) -> None:
    if value and rank > dialog.names.get(name, -1):
        dialog.names[name] = rank
        setattr(dialog.call, name, value)


def _take_description(
    dialog: _Dialog,
    parsed: sip.SipMessage,
    message: Message,
    side: Side,
    transaction: tuple[int, str],
    counts: Counter[str],
) -> None:
    """File the audio streams of an SDP body: each row says where its sender receives from now on."""
    body = parsed.sdp
    if not body:
        return
    session = sdp.parse(body, counts)
    if session is None:
        return
    dialog.hint.take_session(session)
    for index, section in enumerate(session.media):
        if not section.is_audio_rtp:
            _take_other(dialog.call, section, session)
            continue
        key = (side, message.flow.source, index)
        row = _row(side, section, message.arrival_ns, dialog.current.get(key))
        if row is None:
            continue
        known = _known(dialog, key, row)
        dialog.current[key] = known or row
        if known is None:
            dialog.call.media.append(row)
            if parsed.method:
                dialog.offered.setdefault(transaction, []).append(row)


def _take_other(call: CallDescription, section: sdp.MediaSection, session: sdp.SessionDescription) -> None:
    if not section.address or section.unspecified:
        return
    # RFC 8843: port 0 where the media comes on the port of the first section of its bundle.
    port = section.port or next((audio.port for audio in session.audio), 0)
    other = OtherMedia(section.address, port, section.numbers if "RTP/" in section.protocol else ())
    if port and other not in call.other_media:
        call.other_media.append(other)


def _row(
    side: Side, section: sdp.MediaSection, now_ns: int, before: MediaDescription | None
) -> MediaDescription | None:
    address, port, direction = section.address, section.port, section.direction
    if section.unspecified or port == 0:
        # RFC 2543 hold, or a stream given up: it still names the socket the side sends from.
        if before is None:
            return None
        address = before.address
        direction = "inactive" if port == 0 or direction == "inactive" else "sendonly"
        port = before.port
    if not address:
        return None
    return MediaDescription(
        side,
        address,
        port,
        dict(section.payload_types) or (dict(before.payload_types) if before else {}),
        section.ptime_ms or 20.0,
        direction,
        now_ns,
        section.encrypted,
        section.crypto,
        section.rtcp_port,
    )


def _same(one: MediaDescription, other: MediaDescription) -> bool:
    return (
        one.side == other.side
        and one.address == other.address
        and one.port == other.port
        and one.payload_types == other.payload_types
        and one.ptime_ms == other.ptime_ms
        and one.direction == other.direction
        and one.crypto == other.crypto
        and one.encrypted == other.encrypted
    )


def _known(dialog: _Dialog, key: tuple[Side, str, int], row: MediaDescription) -> MediaDescription | None:
    """The row that already says the same: of this hop, or of another hop that heard the news since."""
    mine = dialog.current.get(key)
    if mine is not None and _same(mine, row):
        return mine
    since = mine.valid_from_ns if mine is not None else 0
    for other in dialog.current.values():
        if other.valid_from_ns >= since and _same(other, row):
            return other
    return None


def _withdraw(dialog: _Dialog, transaction: tuple[int, str]) -> None:
    """Take back the offer of a refused re-INVITE or UPDATE: the session stays as it was (RFC 3261 14.1)."""
    rows = dialog.offered.pop(transaction, [])
    for row in rows:
        dialog.call.media = [kept for kept in dialog.call.media if kept is not row]
        for key, current in list(dialog.current.items()):
            if current is row:
                earlier = [kept for kept in dialog.call.media if kept.side == row.side]
                if earlier:
                    dialog.current[key] = earlier[-1]
                else:
                    del dialog.current[key]
