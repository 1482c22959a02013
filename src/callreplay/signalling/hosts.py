"""Host names in session descriptions (RFC 8866 section 5.7): which address each stands for, as far as messages tell.

Nothing is asked of a name server: what a name means today need not be what it meant when the capture was taken. Who
writes its name into Via or Contact and sends from an address says what the name stands for. Other names stay: the order
room then goes by the ports, and by where the signalling came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from callreplay import addresses
from callreplay.deferred import pattern
from callreplay.model import CallDescription, Message

__all__ = ["resolve"]

_SELF: Final = pattern(
    rb"^(?:via|v|contact|m)[ \t]*:[ \t]*(?:SIP/2\.0/\w{2,8}[ \t]+|[^<\r\n]{0,200}<?sips?:(?:[^@>\r\n]{0,200}@)?)"
    rb"([A-Za-z0-9][A-Za-z0-9.-]{0,252})",
    re.IGNORECASE | re.MULTILINE,
)


def resolve(calls: Sequence[CallDescription], messages: Iterable[Message]) -> None:
    """Put addresses in place of host names in the media of ``calls``; names that nothing explains stay."""
    names = {row.address for call in calls for row in call.media if _is_name(row.address)}
    names |= {other.address for call in calls for other in call.other_media if _is_name(other.address)}
    if not names:
        return
    known = _known(names, messages)
    for call in calls:
        for row in call.media:
            row.address = known.get(row.address, row.address)
        call.other_media = [
            other._replace(address=known.get(other.address, other.address)) for other in call.other_media
        ]
        for side in ("caller_address", "called_address"):
            setattr(call, side, known.get(getattr(call, side), getattr(call, side)))


def _is_name(address: str) -> bool:
    try:
        addresses.packed(address)
    except ValueError:
        return bool(address)
    return False


def _known(names: set[str], messages: Iterable[Message]) -> dict[str, str]:
    own: dict[str, str] = {}
    lower = {name.lower(): name for name in names}
    for message in messages:
        if message.protocol != "sip":
            continue
        head = message.payload.partition(b"\r\n\r\n")[0]
        request = not head.startswith(b"SIP/")
        for found in _SELF.finditer(head[:65536]):
            name = lower.get(found[1].decode("ascii").lower())
            # The topmost Via of a request is its sender's; in an answer it is the receiver's.
            if name is not None and (request or found[0][:1] not in b"Vv"):
                own.setdefault(name, message.flow.source)
    return own
