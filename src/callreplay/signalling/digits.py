"""Digits keyed in that travel in SIP INFO requests instead of RTP (RFC 4733 is the order room's)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from callreplay.deferred import pattern
from callreplay.model import CallDescription, Side, SignalledDigit
from callreplay.signalling import bodies, sip

__all__ = ["merge_digits", "take_digits"]

_DIGITS: Final = "0123456789*#ABCD"
_SIGNAL: Final = pattern(
    r"^[ \t]*signal[ \t]*[=:][ \t]*([0-9A-Da-d*#]{1,2})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_DURATION: Final = pattern(r"^[ \t]*duration[ \t]*[=:][ \t]*(\d{1,6})", re.IGNORECASE | re.MULTILINE)
_NORTEL: Final = pattern(r"^d=([0-9A-Da-d*#])[ \t]*\r?$", re.MULTILINE)
_ONE: Final = pattern(r"[ \t\r\n]*([0-9A-Da-d*#]|1[0-6])[ \t\r\n]*$")
_USUAL_MS: Final = 160
_SAME_NS: Final = 1_000_000_000
_MOST: Final = 4096
"""Digits of one call that are kept."""


def take_digits(
    call: CallDescription, seen: set[bytes], message: sip.SipMessage, side: Side, now_ns: int
) -> None:
    """Add what an INFO request of a party carries to the digits of the call.

    The request that another hop or tap saw again is the same one: its CSeq and its tags tell, which ``seen`` keeps.
    """
    if message.method != "INFO" or len(call.digits) >= _MOST:
        return
    key = f"INFO {message.cseq[0]} {message.sender.tag} {message.recipient.tag}".encode()
    if key in seen:
        return
    for kind, content in bodies.parts(message.header("content-type"), message.body):
        for digit, duration_ms in _digits(kind, content):
            seen.add(key)
            call.digits.append(SignalledDigit(side, digit, now_ns, duration_ms))


def _digits(kind: str, content: bytes) -> list[tuple[str, float]]:
    text = content[:4096].decode("latin-1")
    if kind in ("application/dtmf-relay", "application/vnd.dtmf-relay"):
        duration = _DURATION.search(text)
        found = _SIGNAL.search(text) or _ONE.match(text)
        return [(_name(found[1]), float(duration[1]) if duration else _USUAL_MS)] if found else []
    if kind in ("application/dtmf", "audio/dtmf"):
        found = _ONE.match(text) or _SIGNAL.search(text)
        return [(_name(found[1]), _USUAL_MS)] if found else []
    if kind == "application/vnd.nortelnetworks.digits":
        return [(_name(digit), _USUAL_MS) for digit in _NORTEL.findall(text)[:1]]
    if kind == "audio/telephone-event" and len(content) >= 4:  # the payload of RFC 4733, sent once
        return [(_name(str(content[0])), int.from_bytes(content[2:4], "big") / 8)] if content[0] <= 16 else []
    if kind == "application/hook-flash" or (kind == "application/broadsoft" and "flashhook" in text.lower()):
        return [("flash", _USUAL_MS)]
    return []


def _name(signal: str) -> str:
    """A digit as the report names it; 10 to 16 are the event codes of RFC 4733."""
    if signal.isdigit() and int(signal) > 9:
        return "flash" if int(signal) == 16 else _DIGITS[int(signal)]
    return signal.upper()


def merge_digits(hops: Iterable[Sequence[SignalledDigit]]) -> list[SignalledDigit]:
    """The digits of one call on several hops: what two hops have within a second is one digit."""
    merged: list[SignalledDigit] = []
    for hop in hops:
        before = list(merged)
        for one in hop:
            twin = next(
                (
                    other
                    for other in before
                    if (other.side, other.digit) == (one.side, one.digit)
                    and abs(other.start_ns - one.start_ns) < _SAME_NS
                ),
                None,
            )
            if twin is None:
                merged.append(one)
            else:
                before.remove(twin)
    return sorted(merged, key=lambda digit: digit.start_ns)
