"""Captures into columns: containers, link layers and tunnels, RTP, RTCP, and the signalling beside them."""

from callreplay.packets.buffer import (
    CaptureWarning,
    Member,
    Opener,
    Readable,
    is_opener,
    join,
    lay_together,
    open_buffer,
    open_octets,
    open_path,
)
from callreplay.packets.decrypt import decrypt_srtp
from callreplay.packets.encryption import judged, why_encrypted
from callreplay.packets.keylog import KeyLog, read_keylog
from callreplay.packets.opening import fetched_beside, is_url, localised, name_of
from callreplay.packets.red import unpack_red
from callreplay.packets.rows import hash_payloads
from callreplay.packets.rtcp import Rtcp, SenderReport
from callreplay.packets.scan import CUT, Beside, Part, Scan, scan, span
from callreplay.packets.unread import Unread

__all__ = [
    "CUT",
    "Beside",
    "CaptureWarning",
    "KeyLog",
    "Member",
    "Opener",
    "Part",
    "Readable",
    "Rtcp",
    "Scan",
    "SenderReport",
    "Unread",
    "decrypt_srtp",
    "fetched_beside",
    "hash_payloads",
    "is_opener",
    "is_url",
    "join",
    "judged",
    "lay_together",
    "localised",
    "name_of",
    "open_buffer",
    "open_octets",
    "open_path",
    "read_keylog",
    "scan",
    "span",
    "unpack_red",
    "why_encrypted",
]
