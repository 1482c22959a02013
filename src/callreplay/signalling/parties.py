"""Who calls whom: numbers and names out of From, To and asserted identities (RFC 3261, RFC 3325)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from callreplay.model import Side
from callreplay.signalling import sip
from callreplay.signalling.dialog import Dialog

__all__ = ["name_parties"]

# What a party is called. A higher rank wins; the first of equal rank stays.
_MOST_NUMBERS: Final = 32
_RANKS: Final = {"p-asserted-identity": 3, "remote-party-id": 2, "from": 1, "to": 1}


def name_parties(dialog: Dialog, parsed: sip.SipMessage, initial: bool, side: Side) -> None:
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
    headers = parsed.headers
    if "p-asserted-identity" not in headers and "remote-party-id" not in headers:
        return
    for name, identity in _asserted(parsed):
        if side == "caller" and initial:
            _offer(dialog, "caller_number", identity.number, _RANKS[name])
            _offer(dialog, "caller_name", identity.display_name, _RANKS[name])
        elif side == "called" and parsed.status:
            if len(dialog.asked) < _MOST_NUMBERS:
                dialog.asked.append(identity.number)
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


def _offer(dialog: Dialog, name: str, value: str, rank: int) -> None:
    if value and rank > dialog.names.get(name, -1):
        dialog.names[name] = rank
        setattr(dialog.call, name, value)
