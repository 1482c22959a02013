"""INVITE dialogs (RFC 3261) and their offers and answers (RFC 3264), put together into calls.

One call is one Call-ID: provisional, forked and final answers, authentication rounds, re-INVITE, UPDATE, PRACK and BYE
belong to it, whichever of several taps or proxy hops they were seen at. The side of every message follows from the
dialog tags: the From tag of the initial INVITE is the caller for good, whoever sends a later request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from callreplay.model import CallDescription, Message, Side
from callreplay.signalling import heads, sip
from callreplay.signalling.dialog import Dialog
from callreplay.signalling.offers import take_description, withdraw
from callreplay.signalling.parties import name_parties
from callreplay.signalling.recorders import recorded_calls, take_recorders
from callreplay.signalling.related import relate
from callreplay.signalling.sides import settle_sides

__all__ = ["Dialogs", "describe"]

_RETRANSMITTED_NS: Final = 32_000_000_000
"""64 times T1 (RFC 3261 17.1.1.2): an INVITE is repeated for no longer."""
_MOST_NUMBERS: Final = 32
_OFFER_METHODS: Final = frozenset(("INVITE", "ACK", "UPDATE", "PRACK"))


class Dialogs:
    """INVITE dialogs in the making, message by message: ``open`` by Call-ID, ``every`` one in order."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.open: dict[str, Dialog] = {}
        self.every: list[Dialog] = []
        self._faults: Counter[str] = Counter()  # of one message

    def _again(self, message: Message) -> Dialog | None:
        """The dialog that the same octets came in before, seen by its Call-ID alone; faults are counted each time."""
        call_id = heads.call_id(message.payload)
        dialog = self.open.get(call_id.decode("utf-8", "replace")) if call_id else None
        if dialog is None or message.payload not in dialog.seen or message.payload in dialog.faulty:
            return None
        _seen_before(dialog, message, self.counts)
        return dialog

    def take(self, message: Message) -> Dialog | None:
        """Take in a SIP message; the dialog that it belongs to, None for one of no call. What cannot be read counts."""
        counts = self.counts
        again = self._again(message)
        if again is not None:
            return again
        faults = self._faults
        if faults:
            faults.clear()
        parsed = sip.parse(message.payload, faults)
        if faults:
            counts.update(faults)
        if parsed is None:
            return None
        call_id = parsed.call_id
        cseq, method = parsed.cseq
        method = parsed.method or method
        if not call_id or not method:
            counts["sip: no Call-ID or CSeq"] += 1
            return None
        dialog = self.open.get(call_id)
        if method == "INVITE" and (dialog is None or _starts_anew(dialog, parsed, message)):
            dialog = _open(call_id, parsed, message, cseq)
            self.open[call_id] = dialog
            self.every.append(dialog)
        if dialog is not None:
            if faults:
                dialog.faulty.add(message.payload)
            _feed(dialog, parsed, message, cseq, method, counts)
        return dialog


def describe(messages: Iterable[Message], faults: Counter[str] | None = None) -> list[CallDescription]:
    """The calls that SIP messages tell of, by start time.

    ``messages`` are whole SIP messages in arrival order; other protocols are passed over. Calls that never carried
    media (refused, cancelled) are kept with their status. What cannot be read is counted in ``faults``.
    """
    table = Dialogs(Counter() if faults is None else faults)
    for message in messages:
        if message.protocol == "sip":
            table.take(message)
    for dialog in table.every:
        _close(dialog)
    made = [(dialog, *each) for dialog in table.every for each in recorded_calls(dialog)]
    calls = [call for _, call, _ in made]
    relate(calls, [hint for _, _, hint in made])
    recorded = [call for dialog, call, _ in made if dialog.recording is not None]
    if recorded:
        from callreplay.signalling import siprec

        siprec.link(calls, recorded)
    return calls


def _starts_anew(dialog: Dialog, parsed: sip.SipMessage, message: Message) -> bool:
    """Whether an INVITE re-uses the Call-ID of a call that is over (test tools and simple phones do)."""
    if not parsed.method or parsed.recipient.tag:
        return False
    if message.payload in dialog.seen:
        return False
    call, now_ns = dialog.call, message.arrival_ns
    again = parsed.sender.tag in dialog.caller_tags
    if dialog.ended:
        return not again or now_ns - call.end_ns > _RETRANSMITTED_NS or parsed.cseq[0] > dialog.highest
    if dialog.answered:
        # Its BYE was lost: the same two hosts set up another call. A next hop has other hosts.
        ends = (message.flow.source, message.flow.destination)
        return now_ns - call.answer_ns > _RETRANSMITTED_NS and ends in dialog.hint.ends and not again
    return not again and bool(dialog.failure) and now_ns - dialog.failure_ns > 500_000_000


def _open(call_id: str, parsed: sip.SipMessage, message: Message, cseq: int) -> Dialog:
    call = CallDescription(call_id, "sip", start_ns=message.arrival_ns)
    flow = message.flow
    call.caller_address, call.called_address = flow.source, flow.destination
    if parsed.status:
        call.caller_address, call.called_address = flow.destination, flow.source
    dialog = Dialog(call, {parsed.sender.tag}, cseq)
    # A final answer alone may be one to a re-INVITE; what rings, or has no tag yet, is at its beginning.
    call.begun_before = bool(parsed.recipient.tag) and (bool(parsed.method) or parsed.status >= 200)
    return dialog


def _seen_before(dialog: Dialog, message: Message, counts: Counter[str]) -> None:
    dialog.last_ns = max(dialog.last_ns, message.arrival_ns)
    counts["sip: message seen before"] += 1


def _feed(
    dialog: Dialog, parsed: sip.SipMessage, message: Message, cseq: int, method: str, counts: Counter[str]
) -> None:
    """Take in one message of a call; the same octets again (another tap, a retransmission) tell nothing."""
    if message.payload in dialog.seen:
        _seen_before(dialog, message, counts)
        return
    dialog.last_ns = max(dialog.last_ns, message.arrival_ns)
    dialog.seen.add(message.payload)
    sender, recipient = parsed.sender, parsed.recipient
    initial = method == "INVITE" and bool(parsed.method) and not recipient.tag
    if initial:
        # A B2BUA that keeps the Call-ID gives the next hop a From tag of its own: the same caller.
        dialog.caller_tags.add(sender.tag)
    requester: Side = "caller" if sender.tag in dialog.caller_tags else "called"
    side: Side = requester if parsed.method else ("called" if requester == "caller" else "caller")
    dialog.highest = max(dialog.highest, cseq) if parsed.method else dialog.highest
    if parsed.method and recipient.tag and method not in ("ACK", "CANCEL"):
        dialog.numbers[side] = min(cseq, dialog.numbers.get(side, cseq))
    name_parties(dialog, parsed, initial, side)
    take_recorders(dialog, parsed, message, side, counts)
    if method in _OFFER_METHODS and not parsed.status >= 300:
        first = not dialog.call.begun_before and not dialog.answered_before(cseq)
        take_description(dialog, parsed, message, side, (cseq, method), counts, first)
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
        withdraw(dialog, (cseq, method))


def _request(dialog: Dialog, parsed: sip.SipMessage, message: Message) -> None:
    call = dialog.call
    if parsed.method == "INVITE" and not parsed.recipient.tag:
        # The next try of a challenged or serially forked call supersedes the verdict of the last one.
        dialog.failure = ""
        dialog.hint.take_invite(parsed, message.flow)
        uri = sip.parse_uri(parsed.request_uri)
        if uri is not None and len(dialog.asked) < _MOST_NUMBERS:
            dialog.asked.append(uri.number)
    elif parsed.method == "CANCEL":
        dialog.cancelled = True
        dialog.failure_ns = message.arrival_ns
    elif parsed.method == "BYE":
        _bye(dialog, parsed.sender.tag, parsed.recipient.tag, message.arrival_ns)
    elif parsed.method == "REFER":
        target = sip.parse_name_address(parsed.header("refer-to"))
        call.transferred_to = target.number or call.transferred_to


def _bye(dialog: Dialog, from_tag: str, to_tag: str, now_ns: int) -> None:
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


def _invite_answer(dialog: Dialog, parsed: sip.SipMessage, message: Message, cseq: int) -> None:
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


def _close(dialog: Dialog) -> None:
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
    settle_sides(dialog)
    numbers = [call.called_number, *dialog.asked]
    call.called_numbers = list(dict.fromkeys(number for number in numbers if number))
