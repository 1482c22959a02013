"""The metadata file that rtpengine writes beside each pcap of a recorded call (``recording-method = pcap``).

It has the path of the pcap, the descriptions that rtpengine sent on (so their addresses are its own, where each side
of the call then sends to), times in the server's zone, and at the end whatever text the proxy gave it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from callreplay.model import CallDescription, MediaDescription, Side
from callreplay.signalling import sdp, sip

__all__ = ["is_metadata", "parse"]

MAX_BYTES: Final = 4 << 20
_BLOCK: Final = re.compile(
    rb"^SDP mode: ?([a-z /]{1,40})\r?\n(?:SDP before RTP packet: ?\d+\r?\n)?\s*", re.MULTILINE
)
_LINE: Final = re.compile(rb"[a-z]=[^\r\n]*\r?\n?")
_STARTED: Final = re.compile(rb"^Timestamp started ms: ?(\d{10,16})(?:\.(\d+))?\r?$", re.MULTILINE)
_PATH: Final = re.compile(rb"([^/\r\n]{1,400})\.pcap\s*$")
_RANDOM: Final = re.compile(r"-[0-9a-f]{16}$")
_FIELD: Final = re.compile(
    r"(?:^|[|,;{\s\"])\"?(call-?id|from|to|caller|callee|called)\"?[ \t]*[:=][ \t]*\"?([^|\"\r\n,}]{1,400})",
    re.IGNORECASE | re.MULTILINE,
)
_FIELDS: Final = {
    "callid": "call_id", "call-id": "call_id", "from": "caller_number", "caller": "caller_number",
    "to": "called_number", "callee": "called_number", "called": "called_number",
}  # fmt: skip
_MOST_BLOCKS: Final = 256


def is_metadata(head: bytes) -> bool:
    """Whether a text begins as rtpengine's metadata does: a path of a pcap, or a description that it announces."""
    first = head.partition(b"\n")[0]
    return (b"\0" not in head) and (
        b"SDP before RTP packet:" in head
        or b"SDP mode:" in head
        or bool(_PATH.search(first) and first[:1] == b"/")
    )


def parse(text: bytes) -> CallDescription | None:
    """The call that a metadata file tells of; None where it has no description of media in it.

    The first offer is what the callee was told: media sent there is the callee's. Later offers may come from either
    side; one that names a socket of before belongs to who had it then.
    """
    text = text[:MAX_BYTES]
    call = CallDescription(_call_id(text), "sip", status="answered")
    sockets: dict[tuple[str, int], Side] = {}
    found = list(_BLOCK.finditer(text))[:_MOST_BLOCKS]
    end = 0
    for block in found:
        end = block.end()
        while (line := _LINE.match(text, end)) is not None:
            end = line.end()
        mode = block[1].strip()
        if mode not in (b"offer", b"answer", b"other"):
            continue
        session = sdp.parse(text[block.end() : end])
        for section in session.audio if session else ():
            if not section.port or not section.address or section.unspecified:
                continue
            named: Side = "called" if mode == b"answer" else "caller"
            side = sockets.setdefault((section.address, section.port), named)
            row = _row(side, section)
            if row not in call.media:
                call.media.append(row)
    _name(call, text[end:].decode("utf-8", "replace"))
    started = _STARTED.search(text)
    if started:
        call.start_ns = int(started[1]) * 1_000_000
    return call if call.media else None


def _call_id(text: bytes) -> str:
    found = _PATH.search(text.partition(b"\n")[0].rstrip(b"\r"))
    if found is None:
        return ""
    return _RANDOM.sub("", unquote(found[1].decode("utf-8", "replace")))


def _row(side: Side, section: sdp.MediaSection) -> MediaDescription:
    return MediaDescription(
        side,
        section.address,
        section.port,
        dict(section.payload_types),
        section.ptime_ms or 20.0,
        section.direction,
        0,
        section.encrypted,
        section.crypto,
        section.rtcp_port,
    )


def _name(call: CallDescription, text: str) -> None:
    """Call-ID and parties, where the proxy wrote them into the text at the end as most do (``from:…|to:…``)."""
    for name, value in _FIELD.findall(text):
        uri = sip.parse_uri(value)
        said = (uri.number or uri.host) if uri else value.strip()
        attribute = _FIELDS[name.lower()]
        if attribute == "call_id":
            call.call_id = value.strip()
        elif said and not getattr(call, attribute):
            setattr(call, attribute, said)
