"""SIP messages as they are met on the wire (RFC 3261), read leniently: nothing here raises on bytes from outside.

`parse` gives a `SipMessage` or None; what was wrong is counted in the ``faults`` the caller hands in. Values keep their
text; name-addr, URIs and display names are read on demand because most messages of a busy capture never need them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from functools import lru_cache
from typing import Final

from callreplay.deferred import dataclass, pattern
from callreplay.signalling import bodies, heads

__all__ = ["NameAddress", "SipMessage", "Uri", "parse", "parse_name_address", "parse_uri", "split_values"]

MAX_MESSAGE: Final = 1 << 18
"""Octets of one message that are read; a SIP message over UDP cannot reach it, over TCP only an attack does."""
MAX_HEADERS: Final = 1024
MAX_VALUES: Final = 256
_SHORT: Final = 512

_COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
"""Compact forms of the IANA registry (RFC 3261 7.3.3, RFC 3515, 3841, 3892, 4028, 4474, 6665)."""

heads.learn(_COMPACT)

_Read = tuple[str, str, int, str, dict[str, list[str]], bytes, int]
"""Method, Request-URI, status, reason, headers, body, and how many lines are no header."""

_STATUS_LINE: Final = pattern(r"SIP/2\.0[ \t]+([1-6]\d\d)(?:[ \t]+(.*))?$", re.IGNORECASE)
_REQUEST_LINE: Final = pattern(r"([A-Za-z0-9.!%*_+`'~-]{1,32})[ \t]+(\S.*?)[ \t]+SIP/2\.0$", re.IGNORECASE)
_HEADER: Final = pattern(r"([A-Za-z0-9.!%*_+`'~-]+)[ \t]*:[ \t]*(.*)$", re.DOTALL)
_NUMBER: Final = pattern(r"[\d+*#ABCDabcd().\- ]+$")
_ESCAPED: Final = pattern(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Uri:
    """A ``sip:``, ``sips:`` or ``tel:`` URI. ``user`` is %-decoded; for ``tel:`` it is the whole number."""

    scheme: str
    user: str
    host: str
    port: int = 0
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """The party's number or user name: user parameters (``;phone-context``) and visual separators dropped."""
        user = self.user.partition(";")[0]
        if user.isascii() and user.isdigit():
            return user
        if user and _NUMBER.match(user) and any(letter.isdigit() for letter in user):
            return re.sub(r"[().\- ]", "", user)
        return user


@dataclass(frozen=True, slots=True)
class NameAddress:
    """``"Display Name" <uri>;parameters`` (RFC 3261 20.10); ``display_name`` is unquoted and decoded."""

    display_name: str
    uri: Uri | None
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The dialog tag, '' where there is none."""
        return self.parameters.get("tag", "")

    @property
    def number(self) -> str:
        """Shorthand for the URI's number, '' without a URI."""
        return self.uri.number if self.uri else ""


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One message. ``method`` is '' in responses, ``status`` 0 in requests; header names are lower-case long forms."""

    method: str
    request_uri: str
    status: int
    reason: str
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value line of a header, '' where it is absent."""
        lines = self.headers.get(name)
        return lines[0] if lines else ""

    def values(self, name: str) -> list[str]:
        """Every value of a header, comma lists split (RFC 3261 7.3.1)."""
        return [value for line in self.headers.get(name, ()) for value in split_values(line)]

    @property
    def call_id(self) -> str:
        """Call-ID as written."""
        return self.header("call-id")

    @property
    def cseq(self) -> tuple[int, str]:
        """CSeq number and method; (-1, '') where it cannot be read."""
        number, _, method = self.header("cseq").partition(" ")
        if not (number.isascii() and number.isdigit() and len(number) <= 10):
            return -1, ""
        return int(number), method.strip().upper()

    @property
    def sender(self) -> NameAddress:
        """From."""
        return parse_name_address(self.header("from"))

    @property
    def recipient(self) -> NameAddress:
        """To."""
        return parse_name_address(self.header("to"))

    def identities(self, name: str) -> Iterator[NameAddress]:
        """The name-addrs of P-Asserted-Identity, Remote-Party-ID and their like."""
        for value in self.values(name):
            yield parse_name_address(value)

    @property
    def sdp(self) -> bytes:
        """The session description in the body, b'' where there is none; multipart bodies are searched (RFC 5621)."""
        return _find_sdp(self.header("content-type"), self.body) if self.body else b""


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _count(faults: Counter[str] | None, reason: str) -> None:
    if faults is not None:
        faults[reason] += 1


def parse(payload: bytes, faults: Counter[str] | None = None) -> SipMessage | None:
    """Read one message; None where the start line is not SIP/2.0 (the reason is counted in ``faults``).

    Header lines that cannot be read are skipped and counted; folded lines are joined; a body cut short by the capture
    is kept as far as it goes.
    """
    read = heads.read(bytes(payload[:MAX_MESSAGE]))
    if read is None:
        read = _read(bytes(payload[:MAX_MESSAGE]), faults)
    if not read:
        _count(faults, "sip: no start line")
        return None
    method, request_uri, status, reason, headers, body, bad = read
    if bad and faults is not None:
        faults["sip: bad header line"] += bad
    if "content-length" in headers:
        length = headers["content-length"][0].strip()
        if length.isascii() and length.isdigit() and len(length) < 10:
            if int(length) > len(body):
                _count(faults, "sip: body cut short")
            body = body[: int(length)]
    if "content-encoding" in headers:
        body = bodies.decoded(",".join(headers["content-encoding"]), body, faults)
    return SipMessage(method, request_uri, status, reason, headers, body)


def _read(payload: bytes, faults: Counter[str] | None) -> _Read | tuple[()]:
    """As `heads.read`, of any message."""
    data = payload.lstrip(b"\r\n")
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        head, separator, body = data.partition(b"\n\n")
    lines = _decode(head).replace("\r\n", "\n").split("\n")
    start = lines[0].strip()
    status = _STATUS_LINE.match(start)
    request = None if status else _REQUEST_LINE.match(start)
    if request:
        return request[1].upper(), request[2], 0, "", *_headers(lines[1:], body, faults)
    if status:
        return "", "", int(status[1]), (status[2] or "").strip(), *_headers(lines[1:], body, faults)
    return ()


def _headers(
    lines: list[str], body: bytes, faults: Counter[str] | None
) -> tuple[dict[str, list[str]], bytes, int]:
    unfolded: list[str] = []
    for line in lines:
        if line[:1] in (" ", "\t") and unfolded:
            unfolded[-1] += " " + line.strip()
        elif line:
            unfolded.append(line)
    if len(unfolded) > MAX_HEADERS:
        _count(faults, "sip: too many headers")
    headers: dict[str, list[str]] = {}
    bad = 0
    for line in unfolded[:MAX_HEADERS]:
        match = _HEADER.match(line)
        if not match:
            bad += 1
            continue
        name = match[1].lower()
        headers.setdefault(_COMPACT.get(name, name), []).append(match[2].strip())
    return headers, body, bad


def split_values(text: str) -> list[str]:
    """Split at the commas outside quoted strings and angle brackets."""
    if "," not in text:
        text = text.strip()
        return [text] if text else []
    values: list[str] = []
    start = 0
    quoted = bracketed = False
    index = 0
    while index < len(text) and len(values) < MAX_VALUES:
        letter = text[index]
        if quoted:
            if letter == "\\":
                index += 1
            elif letter == '"':
                quoted = False
        elif letter == '"':
            quoted = True
        elif letter == "<":
            bracketed = True
        elif letter == ">":
            bracketed = False
        elif letter == "," and not bracketed:
            values.append(text[start:index].strip())
            start = index + 1
        index += 1
    values.append(text[start:].strip())
    return [value for value in values if value]


def _parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for part in text.split(";")[:MAX_VALUES]:
        name, _, value = part.partition("=")
        if name.strip():
            parameters.setdefault(name.strip().lower(), value.strip().strip('"'))
    return parameters


def parse_name_address(text: str) -> NameAddress:
    """Read a name-addr or addr-spec with its header parameters; never fails, an unreadable URI is None."""
    return _known_name_address(text) if len(text) <= _SHORT else _name_address(text)


def _name_address(text: str) -> NameAddress:
    text = text.strip()
    display = ""
    if text.startswith('"'):
        end = 1
        while end < len(text) and text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        display = _ESCAPED.sub(r"\1", text[1:end])
        text = text[end + 1 :].lstrip()
    before, bracket, rest = text.partition("<")
    if bracket:
        display = display or before.strip()
        uri, _, parameters = rest.partition(">")
    else:
        # RFC 3261 20.10: without angle brackets every parameter belongs to the header, not to the URI.
        uri, _, parameters = text.partition(";")
    return NameAddress(_decode_name(display), parse_uri(uri), _parameters(parameters))


_known_name_address = lru_cache(maxsize=4096)(_name_address)
"""From and To are the same in every message of a dialog, and asked for several times of each."""


def _decode_name(text: str) -> str:
    """Undo RFC 2047 encoded words and %-escapes, both met in display names though neither is legal there."""
    if "=?" in text and "?=" in text:
        import binascii
        from email.errors import HeaderParseError
        from email.header import decode_header

        try:
            parts = decode_header(text)
            text = "".join(
                part if isinstance(part, str) else part.decode(charset or "latin-1", "replace")
                for part, charset in parts
            )
        except (HeaderParseError, LookupError, ValueError, binascii.Error):
            return text
    if "%" in text and re.search(r"%[0-9A-Fa-f]{2}", text):
        text = _decode(_unquoted(text))
    # Some charsets (UTF-7, unicode_escape) decode to lone surrogates, which neither UTF-8 nor a database can hold.
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\x00", "").strip()


def parse_uri(text: str) -> Uri | None:
    """Read a ``sip:``, ``sips:`` or ``tel:`` URI (RFC 3261 19.1, RFC 3966); None for anything else."""
    scheme, colon, rest = text.strip().strip("<>").partition(":")
    scheme = scheme.strip().lower()
    if not colon or scheme not in ("sip", "sips", "tel"):
        return None
    if scheme == "tel":
        number, _, parameters = rest.partition(";")
        return Uri(scheme, _unescape(number), "", 0, _parameters(parameters))
    # The user part may hold ';' and '?' (RFC 3261 25.1, user-unreserved): only what follows the '@' is cut at them.
    user, at, host_text = rest.partition("@")
    if not at:
        user, host_text = "", rest
    host_text, _, parameters = host_text.partition("?")[0].partition(";")
    host, port = _host_port(host_text)
    return Uri(scheme, _unescape(user.partition(":")[0]), host, port, _parameters(parameters))


def _unquoted(text: str) -> bytes:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(text)


def _unescape(text: str) -> str:
    if "%" in text:
        text = _decode(_unquoted(text))
    return text.replace("\x00", "").strip()


def _host_port(text: str) -> tuple[str, int]:
    text = text.strip()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.lstrip(":")
    else:
        host, _, port = text.partition(":")
    valid = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF
    return host, int(port) if valid else 0


def _find_sdp(content_type: str, body: bytes) -> bytes:
    for kind, content in bodies.parts(content_type, body):
        if kind == "application/sdp" or (not kind and content.startswith(b"v=")):
            return content
    return b""
