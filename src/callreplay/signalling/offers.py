"""Offers and answers (RFC 3264): where each side of a dialog receives, and since when."""

from __future__ import annotations

from collections import Counter

from callreplay.model import CallDescription, MediaDescription, Message, OtherMedia, Side
from callreplay.signalling import sdp, sip
from callreplay.signalling.dialog import Dialog

__all__ = ["take_description", "withdraw"]


def take_description(
    dialog: Dialog,
    parsed: sip.SipMessage,
    message: Message,
    side: Side,
    transaction: tuple[int, str],
    counts: Counter[str],
    initial: bool,
) -> None:
    """File the audio streams of an SDP body: each row says where its sender receives from now on."""
    body = parsed.sdp
    if not body:
        return
    session = sdp.parse(body, counts)
    if session is None:
        return
    if initial:
        dialog.hint.take_session(session, side)
    for index, section in enumerate(session.media):
        if not section.is_audio_rtp:
            _take_other(dialog.call, section, session)
            continue
        key = (side, message.flow.source, index)
        row = _row(side, section, message, dialog.current.get(key))
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
    side: Side, section: sdp.MediaSection, message: Message, before: MediaDescription | None
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
        message.arrival_ns,
        section.encrypted,
        section.crypto,
        section.rtcp_port,
        candidates=section.candidates or (before.candidates if before else ()),
        seen_from=message.flow.source,
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


def _known(dialog: Dialog, key: tuple[Side, str, int], row: MediaDescription) -> MediaDescription | None:
    """The row that already says the same: of this hop, or of another hop that heard the news since."""
    mine = dialog.current.get(key)
    if mine is not None and _same(mine, row):
        return mine
    since = mine.valid_from_ns if mine is not None else 0
    for other in dialog.current.values():
        if other.valid_from_ns >= since and _same(other, row):
            return other
    return None


def withdraw(dialog: Dialog, transaction: tuple[int, str]) -> None:
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
