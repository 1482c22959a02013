"""Who was called before: Diversion (RFC 5806) and History-Info (RFC 7044), kept as the messages have them."""

from __future__ import annotations

import re
from typing import Final

from callreplay.deferred import pattern
from callreplay.model import CallDescription, Diversion
from callreplay.signalling import sip

__all__ = ["take_diversions"]

_HEADERS: Final = ("diversion", "history-info", "cc-diversion")
_CAUSE: Final = pattern(r"[?&]reason=([^&>]{1,200})", re.IGNORECASE)
_MOST: Final = 64


def take_diversions(call: CallDescription, message: sip.SipMessage) -> None:
    """Add the hops that a message names and the call does not have yet, in the order of the headers."""
    for header in _HEADERS:
        if header not in message.headers:
            continue
        for value in message.values(header):
            hop = _hop(header, value)
            if hop is not None and hop not in call.diversions and len(call.diversions) < _MOST:
                call.diversions.append(hop)


def _hop(header: str, value: str) -> Diversion | None:
    named = sip.parse_name_address(value)
    if named.uri is None:
        return None
    reason = named.parameters.get("reason", "")
    if header == "history-info":
        from urllib.parse import unquote

        found = _CAUSE.search(value)
        reason = unquote(found[1]) if found else ""
    number = named.number or named.uri.host
    return Diversion(number, named.display_name, reason, header, named.parameters.get("index", ""))
