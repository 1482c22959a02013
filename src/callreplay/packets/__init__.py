"""Captures into columns: containers, link layers and tunnels, RTP, RTCP, and the signalling beside them."""

from callreplay.packets.buffer import CaptureWarning, join, open_buffer
from callreplay.packets.decrypt import decrypt_srtp
from callreplay.packets.encryption import doubts, why_encrypted
from callreplay.packets.red import unpack_red
from callreplay.packets.rows import hash_payloads
from callreplay.packets.rtcp import Rtcp, SenderReport
from callreplay.packets.scan import Beside, Part, Scan, scan, span
from callreplay.packets.sources import is_url, localised, name_of

__all__ = [
    "Beside",
    "CaptureWarning",
    "Part",
    "Rtcp",
    "Scan",
    "SenderReport",
    "decrypt_srtp",
    "doubts",
    "hash_payloads",
    "is_url",
    "join",
    "localised",
    "name_of",
    "open_buffer",
    "scan",
    "span",
    "unpack_red",
    "why_encrypted",
]
