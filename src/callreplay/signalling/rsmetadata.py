"""Recording metadata (RFC 7865): whose streams a recording session carries, and of which calls.

Lenient: elements are known by their local names, whatever the namespace; what is not known is passed over; ids may
stand in ``id`` attributes and ``send`` in ``participant``, as drafts and some recorders have them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Final, TypeVar

from callreplay.deferred import dataclass
from callreplay.signalling import sip

__all__ = ["Metadata", "Participant", "Session", "Stream"]

_MAX_DEPTH: Final = 32
_MAX_ELEMENTS: Final = 10_000
_MAX_TEXT: Final = 4096
_MOST: Final = 256
"""Sessions, participants and streams each."""


@dataclass(slots=True)
class Participant:
    """A party of recorded calls; its times are the arrival of the messages that said so."""

    id: str
    number: str = ""
    name: str = ""
    calling: bool = False  # some recorders say so (Oracle's callingParty)
    sends: list[str] = field(default_factory=list)
    receives: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    since_ns: int = 0
    until_ns: int = 0


@dataclass(slots=True)
class Stream:
    """One recorded stream; ``label`` is that of its m= line."""

    id: str
    session: str = ""
    label: str = ""


@dataclass(slots=True)
class Session:
    """One recorded call (communication session); its times are the arrival of the messages that said so."""

    id: str
    session_ids: list[str] = field(default_factory=list)  # of RFC 7989, 32 hexadecimal digits each
    since_ns: int = 0
    until_ns: int = 0


_T = TypeVar("_T")


class _RefusedError(Exception):
    """The text is not one that a recorder sends."""


class Metadata:
    """Everything that the metadata of a recording session said so far; partial updates add to it."""

    def __init__(self) -> None:
        self.participants: dict[str, Participant] = {}
        self.streams: dict[str, Stream] = {}
        self.sessions: dict[str, Session] = {}

    def take(self, text: bytes, now_ns: int) -> bool:
        """Read one snapshot or update; False where it is not metadata or not well-formed (what came before counts)."""
        from xml.parsers import expat

        reader = _Reader(self, now_ns)
        try:
            reader.parser.Parse(text, True)
        except (expat.ExpatError, _RefusedError, ValueError, LookupError):  # the last of encodings unknown
            return reader.root
        if reader.complete and reader.root:
            known: list[Session | Participant] = [*self.sessions.values(), *self.participants.values()]
            for one in known:
                if one.id not in reader.named and not one.until_ns:
                    one.until_ns = now_ns  # a whole snapshot without it: it is over
        return reader.root

    def participant(self, key: str, now_ns: int) -> Participant:
        """The participant of that id, made if it is new."""
        found = _get(self.participants, key, Participant)
        found.since_ns = found.since_ns or now_ns
        return found

    def stream(self, key: str) -> Stream:
        """The stream of that id, made if it is new."""
        return _get(self.streams, key, Stream)

    def session(self, key: str, now_ns: int) -> Session:
        """The session of that id, made if it is new."""
        found = _get(self.sessions, key, Session)
        found.since_ns = found.since_ns or now_ns
        return found


def _get(table: dict[str, _T], key: str, make: Callable[[str], _T]) -> _T:
    found = table.get(key)
    if found is None:
        if len(table) >= _MOST:
            raise _RefusedError
        found = table[key] = make(key)
    return found


class _Reader:
    """One pass of expat over a text. Document types are refused: entities can be made to grow without end."""

    def __init__(self, into: Metadata, now_ns: int) -> None:
        from xml.parsers import expat

        self.root = False
        self.complete = True
        self.named: set[str] = set()
        self._into = into
        self._now_ns = now_ns
        self._path: list[str] = []
        self._text: list[str] = []
        self._elements = 0
        self._person: Participant | None = None
        self._stream: Stream | None = None
        self._session: Session | None = None
        parser = self.parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise _RefusedError

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2].lower()
        self._elements += 1
        if self._elements > _MAX_ELEMENTS or len(self._path) >= _MAX_DEPTH:
            raise _RefusedError
        if not self._path:
            if name != "recording":
                raise _RefusedError
            self.root = True
        self._path.append(name)
        self._text.clear()
        own = {key.rpartition(":")[2].lower(): value[:256] for key, value in attributes.items()}
        self._open(name, own)

    def _open(self, name: str, own: dict[str, str]) -> None:
        into, session_id = self._into, own.get("session_id") or own.get("session", "")
        person_id = own.get("participant_id") or own.get("id", "")
        if name in ("session", "sessionrecordingassoc"):
            key = own.get("session_id") or own.get("id", "")
            if key:
                self._session = into.session(key, self._now_ns)
                self.named.add(key)
        elif name == "participant" and person_id:
            self._person = self._somebody(person_id)
            self._belongs(session_id)
        elif name == "participantsessionassoc" and own.get("participant_id"):
            self._person = self._somebody(own["participant_id"])
            self._belongs(session_id)
        elif name == "participantstreamassoc" and own.get("participant_id"):
            self._person = self._somebody(own["participant_id"])
        elif name == "stream" and (own.get("stream_id") or own.get("id")):
            self._stream = into.stream(own.get("stream_id") or own["id"])
            self._stream.session = session_id or self._stream.session
        elif name == "nameid" and self._person is not None:
            uri = sip.parse_uri(own.get("aor", ""))
            self._person.number = (
                uri.number or uri.host if uri else own.get("aor", "")
            ) or self._person.number

    def _somebody(self, key: str) -> Participant:
        self.named.add(key)
        return self._into.participant(key, self._now_ns)

    def _belongs(self, session_id: str) -> None:
        if session_id and self._person is not None and session_id not in self._person.sessions:
            self._person.sessions.append(session_id)

    def _end(self, _: str) -> None:
        name = self._path.pop()
        text = "".join(self._text)[:_MAX_TEXT].strip()
        self._text.clear()
        self._close(name, text)

    def _close(self, name: str, text: str) -> None:
        person = self._person
        if name == "datamode":
            self.complete = text.lower() != "partial"
        elif name == "sipsessionid" and self._session is not None:
            for part in text.replace("remote=", "").split(";"):
                value = part.strip().lower().replace("-", "")
                if len(value) == 32 and value.strip("0") and value not in self._session.session_ids[:8]:
                    self._session.session_ids.append(value)
        elif name in ("stop-time", "disassociate-time") and text:
            if self._session is not None:
                self._session.until_ns = self._session.until_ns or self._now_ns
            elif person is not None and "participantsessionassoc" in self._path:
                person.until_ns = person.until_ns or self._now_ns
        elif name == "label" and self._stream is not None:
            self._stream.label = text
        elif name == "name" and person is not None and "nameid" in self._path:
            person.name = person.name or text
        elif name == "aor" and person is not None and not person.number:
            uri = sip.parse_uri(text)
            person.number = (uri.number or uri.host) if uri else text
        elif name == "callingparty" and person is not None:
            person.calling = text.lower() == "true"
        elif name in ("send", "recv") and person is not None and text:
            known = person.sends if name == "send" else person.receives
            if text not in known and len(known) < _MOST:
                known.append(text)
        elif name in ("session", "sessionrecordingassoc"):
            self._session = None
        elif name in ("participant", "participantsessionassoc", "participantstreamassoc"):
            self._person = None
        elif name == "stream":
            self._stream = None
