"""What one message says besides its dialog: recording sessions, digits keyed in, diversions."""

from __future__ import annotations

from collections import Counter

from callreplay.model import CallDescription, Message, Side
from callreplay.signalling import sip
from callreplay.signalling.dialog import Dialog
from callreplay.signalling.digits import take_digits
from callreplay.signalling.diversion import take_diversions
from callreplay.signalling.related import Hint

__all__ = ["recorded_calls", "take_recorders"]


def take_recorders(
    dialog: Dialog, parsed: sip.SipMessage, message: Message, side: Side, counts: Counter[str]
) -> None:
    """Take in one message that ``side`` of a dialog sent."""
    if parsed.method == "INFO":
        take_digits(dialog.call, dialog.seen, parsed, side, message.arrival_ns)
    headers = parsed.headers
    if "diversion" in headers or "history-info" in headers or "cc-diversion" in headers:
        take_diversions(dialog.call, parsed)
    if dialog.recording is None and _is_recording(parsed):
        from callreplay.signalling.siprec import Recording

        dialog.recording = Recording()
    if dialog.recording is not None:
        dialog.recording.take(parsed, message, side, counts)


def _is_recording(message: sip.SipMessage) -> bool:
    """Whether a message is of a recording session: it says so (RFC 7866 sections 6.1 and 7.1) or has its metadata."""
    if message.method not in ("INVITE", "UPDATE", "") or not message.headers:
        return False
    if "require" in message.headers and "siprec" in ",".join(message.headers["require"]).lower():
        return True
    if "+sip.src" in message.header("contact").lower():
        return True
    kind = message.header("content-type").lower()
    return "rs-metadata" in kind or ("multipart/" in kind and b"rs-metadata" in message.body)


def recorded_calls(dialog: Dialog) -> list[tuple[CallDescription, Hint]]:
    """The calls of a dialog, each with what ties it to its kin: its own, or those that a recorder was sent.

    The sockets of recording client and server are no kinship.
    """
    if dialog.recording is None:
        return [(dialog.call, dialog.hint)]
    return [(call, Hint(session_ids=ids)) for call, ids in dialog.recording.calls(dialog.call)]
