"""Recording sessions (SIPREC, RFC 7866): the calls that a recorder is sent, out of the dialog that sends them.

The dialog's own parties are the session recording client and server (SRC, SRS). Each m= line of the client carries
what one participant (or a mix) says; its label ties it to a stream of the metadata, and the stream to who sends it and
to which call. One dialog may carry several calls, at a time or one after the other, and more than two participants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Final

from callreplay.deferred import dataclass
from callreplay.model import CallDescription, MediaDescription, Message, Side
from callreplay.signalling import bodies, sdp, sip
from callreplay.signalling.rsmetadata import Metadata, Participant, Session, Stream

__all__ = ["Recording", "link"]

_KINDS: Final = ("application/rs-metadata+xml", "application/rs-metadata")
_MOST_LINES: Final = 64
_MOST_ROWS: Final = 1024
_NEAR_NS: Final = 60_000_000_000


@dataclass(slots=True)
class _Line:
    """One m= line: where the client sends from and where the server receives, each since when."""

    label: str = ""
    client: list[MediaDescription] = field(default_factory=list)
    server: list[MediaDescription] = field(default_factory=list)


@dataclass(slots=True)
class Recording:
    """What the messages of one recording session said so far."""

    client: Side | None = None  # which side of the dialog sends what is recorded
    metadata: Metadata = field(default_factory=Metadata)
    lines: dict[tuple[int, str], _Line] = field(default_factory=dict)  # by place in the description and label
    labels: dict[int, str] = field(default_factory=dict)  # the latest of each place
    described: bool = False  # metadata came

    def take(self, message: sip.SipMessage, about: Message, side: Side, counts: Counter[str]) -> None:
        """Take in one message that ``side`` of the dialog sent."""
        for kind, content in bodies.parts(message.header("content-type"), message.body):
            if kind in _KINDS:
                if self.metadata.take(content, about.arrival_ns):
                    self.described = True
                    self.client = self.client or side
                else:
                    counts["siprec: metadata that cannot be read"] += 1
        contact = message.header("contact").lower()
        if self.client is None and ("+sip.src" in contact or "siprec" in message.header("require").lower()):
            self.client = side
        if message.status >= 300 or not message.sdp:
            return
        session = sdp.parse(message.sdp)
        for index, section in enumerate(session.media[:_MOST_LINES] if session else ()):
            self._take_section(index, section, side, about)

    def _take_section(self, index: int, section: sdp.MediaSection, side: Side, about: Message) -> None:
        mine = side == (self.client or "caller")
        if mine and section.label:
            self.labels[index] = section.label[:256]
        label = self.labels.get(index, "")
        if len(self.lines) >= _MOST_ROWS and (index, label) not in self.lines:
            return
        line = self.lines.setdefault((index, label), _Line(label))
        if not section.is_audio_rtp or not section.port or not section.address or section.unspecified:
            return
        rows = line.client if mine else line.server
        row = MediaDescription(
            side,
            section.address,
            section.port,
            dict(section.payload_types),
            section.ptime_ms or 20.0,
            section.direction,
            about.arrival_ns,
            section.encrypted,
            section.crypto,
            section.rtcp_port,
            fork=not mine,
            seen_from=about.flow.source,
        )
        last = rows[-1] if rows else None
        if last is not None and replace(row, valid_from_ns=last.valid_from_ns) == last:
            return
        if len(rows) < _MOST_ROWS:
            rows.append(row)

    def calls(self, dialog: CallDescription) -> list[tuple[CallDescription, set[str]]]:
        """The recorded calls, and by what ids each may be known elsewhere.

        One a session of the metadata, and one more for each further pair of its parties.
        """
        lines = [line for line in self.lines.values() if line.client or line.server]
        found: list[tuple[CallDescription, set[str]]] = []
        for session, mine in self._by_session(lines):
            ids = {f"siprec {session.id}", *session.session_ids} if session is not None else set()
            for pair in _pairs(self.metadata, session, mine):
                call = self._call(dialog, session, pair)
                if found:  # no extension of the other one's: that would tell of another hop
                    call.call_id = f"recorded-{len(found) + 1}-{dialog.call_id}"
                found.append((call, ids))
                ids = set()
        return found or [(_unnamed(dialog), set())]

    def _by_session(self, lines: Sequence[_Line]) -> list[tuple[Session | None, list[_Line]]]:
        sessions = list(self.metadata.sessions.values())
        if len(sessions) < 2:
            return [(sessions[0] if sessions else None, list(lines))]
        parted: list[tuple[Session | None, list[_Line]]] = []
        for session in sessions:
            labels = {
                stream.label for stream in self.metadata.streams.values() if stream.session == session.id
            }
            parted.append((session, [line for line in lines if line.label in labels]))
        known = {id(line) for _, mine in parted for line in mine}
        rest = [line for line in lines if id(line) not in known]
        return [*(entry for entry in parted if entry[1] or not rest), *([(None, rest)] if rest else [])]

    def _call(self, dialog: CallDescription, session: Session | None, pair: _Pair) -> CallDescription:
        call = _unnamed(dialog)
        if session is not None and len(self.metadata.sessions) > 1:
            call.start_ns = session.since_ns or call.start_ns
            call.answer_ns = max(call.answer_ns, call.start_ns) if call.answer_ns else 0
            call.end_ns = session.until_ns or call.end_ns
        if pair.caller:
            call.caller_number, call.caller_name = pair.caller[0].number, pair.caller[0].name
        if pair.called:
            call.called_number, call.called_name = pair.called[0].number, pair.called[0].name
        call.called_numbers = [one.number for one in pair.called if one.number]
        call.transferred_to = next((one.number for one in (*pair.caller[1:], *pair.called[1:])), "")
        for side, line in pair.lines:
            other: Side = "called" if side == "caller" else "caller"
            call.media += [replace(row, side=side) for row in line.client]
            call.media += [replace(row, side=other) for row in line.server]
        call.media.sort(key=lambda row: row.valid_from_ns)
        if not self.described:
            call.warnings.append(
                "a recording session (SIPREC) whose metadata is not in the capture: parties unknown"
            )
        elif len(pair.lines) == 1 and pair.caller and pair.called:
            call.warnings.append("the recorder was sent one stream: both parties may be in it, mixed")
        return call


def _unnamed(dialog: CallDescription) -> CallDescription:
    """The dialog's call without client and server, who are no parties of it."""
    return replace(
        dialog, caller_number="", caller_name="", called_number="", called_name="", caller_address="",
        called_address="", media=[], other_media=list(dialog.other_media), digits=[], called_numbers=[],
        diversions=list(dialog.diversions), related=list(dialog.related), warnings=list(dialog.warnings),
    )  # fmt: skip


@dataclass(slots=True)
class _Pair:
    """Two places of a call, each with who had it one after the other, and the lines by whose they are."""

    caller: list[Participant] = field(default_factory=list)
    called: list[Participant] = field(default_factory=list)
    lines: list[tuple[Side, _Line]] = field(default_factory=list)


def _streams_of(metadata: Metadata, session: Session | None, label: str) -> list[Stream]:
    found = [stream for stream in metadata.streams.values() if label and stream.label == label]
    own = [stream for stream in found if session is not None and stream.session == session.id]
    return own or found


def _parties(metadata: Metadata, session: Session | None, lines: Sequence[_Line]) -> list[Participant]:
    """The participants of a call, who called first: as a recorder says it, else in the order of the metadata."""
    own = {stream.id for line in lines for stream in _streams_of(metadata, session, line.label)}
    found = [
        one
        for one in metadata.participants.values()
        if session is None
        or len(metadata.sessions) < 2
        or session.id in one.sessions
        or own.intersection((*one.sends, *one.receives))
    ]
    return sorted(found, key=lambda one: not one.calling)


def _places(parties: Sequence[Participant]) -> list[list[Participant]]:
    """Who comes when another has left takes that one's place (a transfer); all others have places of their own."""
    places: list[list[Participant]] = []
    for one in parties:
        free = (place for place in places if 0 < place[-1].until_ns <= one.since_ns)
        place = next(free, None)
        if place is None:
            places.append([one])
        else:
            place.append(one)
    return places


def _pairs(metadata: Metadata, session: Session | None, lines: Sequence[_Line]) -> list[_Pair]:
    """The parties of a call by twos, with their lines: a call has two legs, a conference more.

    A line whose sender nobody names goes by its place: the first is the caller's.
    """
    places = _places(_parties(metadata, session, lines))
    pairs = [
        _Pair(places[first], places[first + 1] if first + 1 < len(places) else [])
        for first in range(0, len(places), 2)
    ]
    for position, line in enumerate(lines):
        sender = _sender(metadata, session, places, line, position)
        place = position if sender is None else sender
        while len(pairs) <= place // 2:
            pairs.append(_Pair())
        pairs[place // 2].lines.append(("caller" if place % 2 == 0 else "called", line))
    return [pair for pair in pairs if pair.lines] or pairs[:1]


def _sender(
    metadata: Metadata,
    session: Session | None,
    places: Sequence[Sequence[Participant]],
    line: _Line,
    position: int,
) -> int | None:
    """The place of who sends a line's stream; of several (a mix) the first."""
    streams = _streams_of(metadata, session, line.label)
    if not streams and not line.label:  # no labels: the streams of the metadata in their order
        streams = list(metadata.streams.values())[position : position + 1]
    ids = {stream.id for stream in streams}
    return next(
        (place for place, held in enumerate(places) if any(ids.intersection(one.sends) for one in held)), None
    )


def link(calls: Sequence[CallDescription], recorded: Sequence[CallDescription]) -> None:
    """Tie recorded calls to their own dialogs, where the capture has those too: the same parties at the same time.

    Where several fit, none is taken.
    """
    mine = {id(call) for call in recorded}
    by_parties: dict[frozenset[str], list[CallDescription]] = {}
    for call in calls:
        if id(call) not in mine and call.caller_number and call.called_number:
            by_parties.setdefault(frozenset((call.caller_number, call.called_number)), []).append(call)
    for call in recorded:
        if call.related or not (call.caller_number and call.called_number):
            continue
        fitting = [
            other
            for other in by_parties.get(frozenset((call.caller_number, call.called_number)), ())
            if other.start_ns - _NEAR_NS <= call.start_ns <= (other.end_ns or call.start_ns)
        ]
        if len(fitting) == 1:
            other = fitting[0]
            call.related.append(other.call_id)
            other.related = [*other.related, call.call_id]
            if other.caller_number != call.caller_number:
                call.swap_sides()  # the dialog knows who called, the metadata only who was named first
