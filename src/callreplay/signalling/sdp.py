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
from callreplay.deferred import dataclass

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
_NUMERIC: Final = re.compile(r"\d{1,3}(\.\d+)?$")


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


def parse(body: bytes, faults: Counter[str] | None = None) -> SessionDescription | None:
    """Read a description; None where there is neither a ``v=`` nor an ``m=`` line."""
    counts: Counter[str] = Counter() if faults is None else faults
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    session = SessionDescription()
    said = of_session = list[str]()
    levels, levels_of_none = list[list[str]](), list[list[str]]()
    seen = False
    for line in text.replace("\r", "\n").split("\n", MAX_LINES)[:MAX_LINES]:
        kind = line[:1]
        if line[1:2] != "=" or kind == "=":
            continue
        value = line[2:].strip()
        if kind == "a":
            said.append(value)
        elif kind == "m":
            seen = True
            said = []  # those of an unreadable section must not reach its neighbours
            section = _media_line(value)
            if section is None or len(session.media) >= MAX_SECTIONS:
                counts["sdp: bad m= line"] += 1
                levels_of_none.append(said)
                continue
            levels.append(said)
            session.media.append(section)
        elif kind == "c":
            address = _known_connection(value) if len(value) <= _SHORT else _connection(value)
            if not address:
                counts["sdp: bad c= line"] += 1
            elif said is of_session:
                session.address = address
            elif levels and said is levels[-1]:
                session.media[-1].address = address
        elif kind == "o":
            session.origin = value
        elif kind == "s":
            session.name = value
        elif kind == "v":
            seen = True
    for lost in levels_of_none:
        _level(lost, counts)
    default = _level(of_session, counts)
    attributes = [_level(level, counts) for level in levels]
    if not seen:
        counts["sdp: not a session description"] += 1
        return None
    for section, level in zip(session.media, attributes, strict=True):
        _complete(section, level, session, default, counts)
    return session


def _level(said: list[str], counts: Counter[str]) -> _Attributes:
    """The attributes of a level. Those of one device are the same in every call but for keys and candidates."""
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


def _complete(
    section: MediaSection,
    level: _Attributes,
    session: SessionDescription,
    default: _Attributes,
    counts: Counter[str],
) -> None:
    section.address = section.address or session.address
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
    for text in section.formats:
        if not _is_payload_type(text):
            counts["sdp: bad payload type"] += 1
            continue
        payload_type = int(text)
        codec = _codec(payload_type, level, counts)
        if codec is not None:
            section.payload_types.setdefault(payload_type, codec)


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
