"""Session descriptions (RFC 8866) and what an offer or answer (RFC 3264) says of each RTP stream.

Lenient: lines that cannot be read are skipped and counted, nothing raises on bytes from outside.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import field
from functools import lru_cache
from typing import Final, Literal, cast

from callreplay import addresses
from callreplay.codecs import STATIC, Codec, parse_rtpmap
from callreplay.deferred import dataclass, pattern
from callreplay.signalling import lines

__all__ = ["Direction", "MediaSection", "SessionDescription", "parse"]

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

MAX_LINES: Final = 4096
MAX_SECTIONS: Final = 64
MAX_CANDIDATES: Final = 16
_DIRECTIONS: Final = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))
_SHORT: Final = 256
"""Characters of what is remembered."""
_MOST_KNOWN: Final = 64
_LONGEST_KNOWN: Final = 2048
_FEW_FORMATS: Final = 16
_Types = tuple[dict[int, Codec], tuple[str, ...]]
"""The codecs of a section by payload type, and faults."""
_NUMERIC: Final = pattern(r"\d{1,3}(\.\d+)?$")


@dataclass(slots=True)
class MediaSection:
    """One ``m=`` line with its attributes; session-level ``c=`` and direction are already applied.

    ``payload_types`` keeps the order of preference. ``address`` is '' where neither level has a usable ``c=``.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str = ""
    payload_types: dict[int, Codec] = field(default_factory=dict)
    ptime_ms: float = 0.0
    direction: Direction = "sendrecv"
    rtcp_port: int = 0
    rtcp_mux: bool = False
    crypto: tuple[str, ...] = ()
    fingerprint: str = ""
    setup: str = ""
    mid: str = ""
    label: str = ""
    candidates: tuple[tuple[str, int], ...] = ()

    @property
    def is_audio_rtp(self) -> bool:
        """Whether this is audio over RTP (AVP, SAVP, AVPF, SAVPF, DTLS variants), not T.38, video or MSRP."""
        return self.kind == "audio" and "RTP/" in self.protocol

    @property
    def numbers(self) -> tuple[int, ...]:
        """The payload types of the ``m=`` line; what is none is left out."""
        return tuple(int(text) for text in self.formats if _is_payload_type(text))

    @property
    def encrypted(self) -> bool:
        """Whether the media is SRTP: a secure profile, or SDES keys on a plain one (best-effort encryption)."""
        return "SAVP" in self.protocol or bool(self.crypto)

    @property
    def unspecified(self) -> bool:
        """Whether the address is 0.0.0.0 or ::, the hold of RFC 2543."""
        return self.address in ("0.0.0.0", "::")

    @property
    def held(self) -> bool:
        """Whether this end has put the other on hold: unspecified address, sendonly or inactive."""
        return self.unspecified or self.direction in ("sendonly", "inactive")


@dataclass(slots=True)
class SessionDescription:
    """A whole description. ``origin`` is the ``o=`` value as written."""

    origin: str = ""
    name: str = ""
    address: str = ""
    media: list[MediaSection] = field(default_factory=list)

    @property
    def audio(self) -> list[MediaSection]:
        """The audio sections over RTP, port 0 (refused) included."""
        return [section for section in self.media if section.is_audio_rtp]


@dataclass(slots=True)
class _Attributes:
    """What one level (session or media) said, before codecs are put together."""

    rtpmap: dict[int, str] = field(default_factory=dict)
    fmtp: dict[int, str] = field(default_factory=dict)
    direction: str = ""
    ptime_ms: float = 0.0
    rtcp_port: int = 0
    rtcp_mux: bool = False
    crypto: list[str] = field(default_factory=list)
    fingerprint: str = ""
    setup: str = ""
    mid: str = ""
    label: str = ""
    candidates: list[tuple[str, int]] = field(default_factory=list)
    types: dict[tuple[str, ...], _Types] = field(default_factory=dict)
    """What was made of the formats of sections with these attributes."""


_Level = tuple[str, list[str], list[str]]
"""The value of an ``m=`` line ('' of the session's), and those of the ``c=`` and ``a=`` lines below it."""


def parse(body: bytes, faults: Counter[str] | None = None) -> SessionDescription | None:
    """Read a description; None where there is neither a ``v=`` nor an ``m=`` line."""
    counts: Counter[str] = Counter() if faults is None else faults
    seen, origin, name, (of_session, *of_sections) = lines.read(body) or _lines(body)
    session = SessionDescription(origin, name)
    session.address = _address(of_session[1], counts)
    default = _level(of_session[2], counts)
    for value, connections, said in of_sections:
        section = _media_line(value)
        if section is None or len(session.media) >= MAX_SECTIONS:
            counts["sdp: bad m= line"] += 1
            _address(connections, counts)  # those of an unreadable section must not reach its neighbours
            _level(said, counts)
            continue
        session.media.append(section)
        section.address = _address(connections, counts) or session.address
        _complete(section, _level(said, counts), default, counts)
    if not seen:
        counts["sdp: not a session description"] += 1
        return None
    return session


def _lines(body: bytes) -> tuple[bool, str, str, list[_Level]]:
    """As `callreplay.signalling.lines.read`, of any description."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    origin = name = ""
    levels: list[_Level] = [("", [], [])]
    seen = False
    for line in text.replace("\r", "\n").split("\n", MAX_LINES)[:MAX_LINES]:
        kind = line[:1]
        if line[1:2] != "=" or kind == "=":
            continue
        value = line[2:].strip()
        if kind == "a":
            levels[-1][2].append(value)
        elif kind == "m":
            seen = True
            levels.append((value, [], []))
        elif kind == "c":
            levels[-1][1].append(value)
        elif kind == "o":
            origin = value
        elif kind == "s":
            name = value
        elif kind == "v":
            seen = True
    return seen, origin, name, levels


def _address(connections: list[str], counts: Counter[str]) -> str:
    """What the last ``c=`` of a level that can be read says."""
    found = ""
    for value in connections:
        address = _known_connection(value) if len(value) <= _SHORT else _connection(value)
        if not address:
            counts["sdp: bad c= line"] += 1
        found = address or found
    return found


def _level(said: list[str], counts: Counter[str]) -> _Attributes:
    """The attributes of a level. Those of one device are the same in every call but for keys and candidates."""
    if not said:
        return _NOTHING
    if len(said) > _MOST_KNOWN or sum(map(len, said)) > _LONGEST_KNOWN:
        attributes, faults = _attributes(tuple(said))
    else:
        attributes, faults = _known_attributes(tuple(said))
    for fault in faults:
        counts[fault] += 1
    return attributes


def _attributes(said: tuple[str, ...]) -> tuple[_Attributes, tuple[str, ...]]:
    attributes, faults = _Attributes(), Counter[str]()
    for value in said:
        _attribute(attributes, value, faults)
    return attributes, tuple(faults.elements())


_known_attributes = lru_cache(maxsize=512)(_attributes)
_NOTHING: Final = _Attributes()


def _media_line(value: str) -> MediaSection | None:
    fields = value.split()
    if len(fields) < 3:
        return None
    port = fields[1].partition("/")[0]
    if not (port.isascii() and port.isdigit() and len(port) <= 5) or int(port) > 0xFFFF:
        return None
    return MediaSection(fields[0].lower(), int(port), fields[2].upper(), tuple(fields[3:259]))


def _connection(value: str) -> str:
    """The address of a ``c=`` value in canonical text; host names, which RFC 8866 allows, are kept as written."""
    fields = value.split()
    if len(fields) < 3 or fields[0].upper() != "IN":
        return ""
    address = fields[2].partition("/")[0]
    try:
        return addresses.canonical(address.strip("[]"))
    except ValueError:
        return address if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", address) else ""


_known_connection = lru_cache(maxsize=4096)(_connection)


def _attribute(attributes: _Attributes, value: str, counts: Counter[str]) -> None:
    name, _, rest = value.partition(":")
    name, rest = name.strip().lower(), rest.strip()
    if name in _DIRECTIONS:
        attributes.direction = name
    elif name in ("rtpmap", "fmtp"):
        number, _, text = rest.partition(" ")
        if not (number.isascii() and number.isdigit() and len(number) <= 3) or int(number) > 127:
            counts[f"sdp: bad a={name}"] += 1
        elif name == "rtpmap":
            attributes.rtpmap[int(number)] = text.strip()
        else:
            attributes.fmtp[int(number)] = text.strip()
    elif name == "ptime":
        if _NUMERIC.match(rest) and float(rest) > 0:
            attributes.ptime_ms = float(rest)
        else:
            counts["sdp: bad a=ptime"] += 1
    elif name == "rtcp":
        port = rest.split(" ", 1)[0]
        if port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF:
            attributes.rtcp_port = int(port)
    elif name == "rtcp-mux":
        attributes.rtcp_mux = True
    elif name == "crypto":
        if len(attributes.crypto) < 32:
            attributes.crypto.append(rest)
    elif name == "candidate":
        found = _candidate(rest)
        if found and found not in attributes.candidates and len(attributes.candidates) < MAX_CANDIDATES:
            attributes.candidates.append(found)
    elif name in ("fingerprint", "setup", "mid", "label"):
        setattr(attributes, name, rest)


def _candidate(text: str) -> tuple[str, int] | None:
    """The socket of an ICE candidate for RTP over UDP (RFC 8839 section 5.1); None for others."""
    fields = text.split()
    if len(fields) < 8 or fields[1] != "1" or fields[2].upper() != "UDP":
        return None
    port = fields[5]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 0xFFFF):
        return None
    try:
        return addresses.canonical(fields[4]), int(port)
    except ValueError:  # a name of multicast DNS, which hides the address
        return None


def _complete(section: MediaSection, level: _Attributes, default: _Attributes, counts: Counter[str]) -> None:
    section.direction = cast("Direction", level.direction or default.direction or "sendrecv")
    section.ptime_ms = level.ptime_ms or default.ptime_ms
    section.rtcp_mux = level.rtcp_mux
    section.crypto = tuple(level.crypto or default.crypto)
    section.fingerprint = level.fingerprint or default.fingerprint
    section.setup = level.setup or default.setup
    section.mid, section.label = level.mid, level.label
    section.candidates = tuple(level.candidates)
    if section.port:
        follows = section.port if level.rtcp_mux else min(section.port + 1, 0xFFFF)
        section.rtcp_port = level.rtcp_port or follows
    if not section.is_audio_rtp:
        return
    key = section.formats
    found = level.types.get(key)
    if found is None:
        found = _types(key, level)
        if len(level.types) < _FEW_FORMATS and sum(map(len, key)) <= _SHORT:
            level.types[key] = found
    section.payload_types = dict(found[0])
    for fault in found[1]:
        counts[fault] += 1


def _types(formats: tuple[str, ...], level: _Attributes) -> _Types:
    """The codecs of the payload types of a section, and what is wrong with them."""
    types: dict[int, Codec] = {}
    faults = Counter[str]()
    for text in formats:
        if not _is_payload_type(text):
            faults["sdp: bad payload type"] += 1
            continue
        payload_type = int(text)
        codec = _codec(payload_type, level, faults)
        if codec is not None:
            types.setdefault(payload_type, codec)
    return types, tuple(faults.elements())


def _is_payload_type(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 127


_known_codec = lru_cache(maxsize=1024)(parse_rtpmap)


def _codec(payload_type: int, level: _Attributes, counts: Counter[str]) -> Codec | None:
    fmtp = level.fmtp.get(payload_type, "")
    encoding = level.rtpmap.get(payload_type)
    if encoding:
        try:
            known = len(encoding) + len(fmtp) <= _SHORT
            return _known_codec(encoding, fmtp) if known else parse_rtpmap(encoding, fmtp)
        except ValueError:
            counts["sdp: bad a=rtpmap"] += 1
    static = STATIC.get(payload_type)
    if static is None:
        counts["sdp: payload type without rtpmap"] += 1
        return None
    if not fmtp:
        return static
    return Codec(static.name, static.clock_rate_hz, static.sample_rate_hz, static.channels, static.kind, fmtp)
