"""How the text of a search parameter is read: times of a zone, numbers, addresses, ports; and the kinds of them.

Each reader takes the parameter's name as it stands in the URL, the text and the time zone, and raises ParameterError.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from callreplay.errors import ArgumentError
from callreplay.parameters import Kind

__all__ = [
    "ADDRESS",
    "BEGIN",
    "CODEC",
    "CONTAINED",
    "DECIMAL",
    "END",
    "FLAG",
    "LENGTH",
    "MAC",
    "NUMBER",
    "PARTY",
    "PORT",
    "STATUS",
    "TEXT",
    "UUID",
    "WORDS",
    "Address",
    "ParameterError",
    "format_time",
    "parse_time",
    "parse_uuid",
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

TIME_FORMAT: Final = "%Y.%m.%d-%H.%M.%S"
MAXIMUM_WORDS: Final = 8
MAXIMUM_TEXT: Final = 256  # characters of a text parameter; the refusal of a longer one names it
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_TIME: Final = re.compile(r"\d{4}\.\d{2}\.\d{2}-\d{2}\.\d{2}\.\d{2}", re.ASCII)
_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 31, 23, 59, 58, tzinfo=UTC)
_MAC: Final = re.compile(
    r"[0-9a-f]{2}([:-]?)[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}", re.IGNORECASE
)


class ParameterError(ArgumentError):
    """A parameter's value is malformed. ``parameter`` is its name as it stands in the URL."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter
        self.message = message


def parse_time(parameter: str, text: str, zone: ZoneInfo, *, last: bool = False) -> datetime:
    """``yyyy.mm.dd-hh.mm.ss`` of ``zone`` as UTC: of a bound on times, the lower one, or the upper one (``last``).

    Where the clock showed the time twice, a lower bound is the first of the two and an upper one the second. Where it
    skipped the time, a lower bound is the first second behind the gap and an upper one the last before it.

    What programs send for no bound (0001.01.01-00.00.00, 9999.12.31-23.59.59) is a time in every zone: one that UTC
    cannot have is the first or the last that it can, so that a second may be added to it.

    Raises:
        ParameterError: it is not such a time.

    """
    if _TIME.fullmatch(text) is None:
        raise ParameterError(parameter, "a time is written yyyy.mm.dd-hh.mm.ss")
    try:
        local = datetime.strptime(text, TIME_FORMAT).replace(tzinfo=zone)
    except ValueError:
        raise ParameterError(parameter, "there is no such time") from None
    first, second = _utc(local), _utc(local.replace(fold=1))
    if second < first:
        second, first = _around_change(second, first, zone)
    return second if last else first


def _utc(local: datetime) -> datetime:
    try:
        return min(local.astimezone(UTC), _LATEST)
    except OverflowError:
        return _EARLIEST if local.year == 1 else _LATEST


def _around_change(before: datetime, after: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The last second of the offset that ``zone`` has at ``before``, and the first of the next one.

    PEP 495: of a time that was skipped, fold=1 gives a moment before the change, fold=0 one after it.
    """
    offset = before.astimezone(zone).utcoffset()
    while (seconds := (after - before) // timedelta(seconds=1)) > 1:
        middle = before + timedelta(seconds=seconds // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return before, after


def format_time(moment: datetime, zone: ZoneInfo) -> str:
    """``moment`` as ``yyyy.mm.dd-hh.mm.ss`` of ``zone``."""
    return moment.astimezone(zone).strftime(TIME_FORMAT)


def parse_uuid(parameter: str, text: str) -> uuid.UUID:
    """A uuid. Raises ParameterError for any other text."""
    if _UUID.fullmatch(text) is None:
        raise ParameterError(parameter, "not a uuid")
    return uuid.UUID(text)


def _uuid(parameter: str, text: str, _: ZoneInfo) -> uuid.UUID:
    return parse_uuid(parameter, text)


def _text(parameter: str, text: str, _: ZoneInfo | None = None) -> str:
    if len(text) > MAXIMUM_TEXT:
        raise ParameterError(parameter, "longer than 256 characters")
    if "\0" in text:
        raise ParameterError(parameter, "holds a zero character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ParameterError(parameter, "not valid text") from None
    return text


def _number(parameter: str, text: str, _: ZoneInfo) -> str:
    """A number or a part of one. In a query a '+' that was not written %2B is a space: no number begins with one."""
    found = _text(parameter, text)
    return "+" + found.lstrip(" ") if found.startswith(" ") else found


def _address(parameter: str, text: str, _: ZoneInfo) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ParameterError(parameter, "not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ParameterError(parameter, "an address with a scope cannot be searched for")
    # RFC 4291 2.5.5.2: an IPv4 address as IPv6 sockets show it. It is that address.
    return getattr(address, "ipv4_mapped", None) or address


def _port(parameter: str, text: str, _: ZoneInfo) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ParameterError(parameter, "a port is a number from 0 to 65535")
    return int(text)


def _mac(parameter: str, text: str, _: ZoneInfo) -> str:
    if _MAC.fullmatch(text) is None:
        raise ParameterError(parameter, "not a MAC address")
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


# White space as JSON Schema's patterns have it (ECMA-262), which knows no U+001C to U+001F and no U+0085.
_SPACE: Final = r"\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_WORD: Final = re.compile(rf'"([^"]+)"|([^{_SPACE}"]+)')


def _words(parameter: str, text: str, _: ZoneInfo) -> tuple[str, ...]:
    """Words; what stands in quotation marks is one."""
    found = [quoted or bare for quoted, bare in _WORD.findall(_text(parameter, text))]
    if len(found) > MAXIMUM_WORDS:
        raise ParameterError(parameter, "more than 8 words")
    return tuple(found)


def _decimal(parameter: str, text: str, _: ZoneInfo) -> float:
    if not re.fullmatch(r"\d{1,3}([.,]\d{1,6})?", text, re.ASCII):
        raise ParameterError(parameter, "not a number from 0 to 999")
    return float(text.replace(",", "."))


def _length(parameter: str, text: str, _: ZoneInfo) -> int:
    """Milliseconds of ``90``, ``90s``, ``5m``, ``1h30m`` or ``1:30``."""
    if (found := re.fullmatch(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2})", text, re.ASCII)) or (
        found := re.fullmatch(
            r"(?=.)(?:(\d{1,4})h)?(?:(\d{1,5})m(?:in)?)?(?:(\d{1,7}(?:\.\d{1,3})?)s?)?",
            text,
            re.ASCII | re.IGNORECASE,
        )
    ):
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
    else:
        raise ParameterError(parameter, "a length is written 90, 5m, 1h30m or 1:30")
    return round((hours * 3600 + minutes * 60 + seconds) * 1000)


def _codec(parameter: str, text: str, _: ZoneInfo) -> str:
    return _text(parameter, text).upper()


def _status(parameter: str, text: str, _: ZoneInfo) -> str:
    """The first word of a status, in lower case as they all are."""
    return _text(parameter, text).strip().partition(" ")[0].lower()


def _flag(parameter: str, text: str, _: ZoneInfo) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ParameterError(parameter, "not true or false")
    return text.lower() in ("true", "1")


# -- kinds ----------------------------------------------------------------------------------------------------------

_YEAR: Final = "(?!0000)[0-9]{4}"
_LEAP_YEAR: Final = "(?!0000)([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DAYS: Final = (
    rf"({_YEAR}\.((0[13578]|1[02])\.(0[1-9]|[12][0-9]|3[01])|(0[469]|11)\.(0[1-9]|[12][0-9]|30)|"
    rf"02\.(0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}\.02\.29)"
)
_TIMES: Final = {
    "type": "string",
    "pattern": rf"^{_DAYS}-([01][0-9]|2[0-3])\.[0-5][0-9]\.[0-5][0-9]$",
    "description": "yyyy.mm.dd-hh.mm.ss, a time that there is.",
}
_NO_NUL: Final = {"type": "string", "maxLength": MAXIMUM_TEXT, "pattern": r"^[^\u0000]*$"}


def _read_end(parameter: str, text: str, zone: ZoneInfo) -> datetime:
    """The second behind it: the clock that wrote it shows no fractions, and its whole second is included."""
    return parse_time(parameter, text, zone, last=True) + timedelta(seconds=1)


_LENGTHS: Final = (
    r"^(([0-9]{1,4}:)?[0-9]{1,4}:[0-9]{1,2}|"
    r"([0-9]{1,4}[hH])?([0-9]{1,5}[mM]([iI][nN])?)?([0-9]{1,7}(\.[0-9]{1,3})?[sS]?)?)$"
)
BEGIN: Final = Kind(name="time", read=parse_time, schema=_TIMES)
END: Final = Kind(name="time", read=_read_end, schema=_TIMES)
UUID: Final = Kind(name="uuid", read=_uuid, schema={"type": "string", "format": "uuid"})
TEXT: Final = Kind(name="text", read=_text, schema=_NO_NUL | {"minLength": 1})
WORDS: Final = Kind(name="words", read=_text, schema=_NO_NUL)
CONTAINED: Final = Kind(name="part of a text", read=_text, schema=_NO_NUL)
NUMBER: Final = Kind(name="part of a number", read=_number, schema=_NO_NUL)
ADDRESS: Final = Kind(
    name="IP address",
    read=_address,
    schema={"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
)
PORT: Final = Kind(name="port", read=_port, schema={"type": "integer", "minimum": 0, "maximum": 65535})
MAC: Final = Kind(
    name="MAC address",
    read=_mac,
    schema={"type": "string", "pattern": "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"},
)
PARTY: Final = Kind(
    name="parts of numbers and names", read=_words,
    schema={"type": "string", "maxLength": MAXIMUM_TEXT, "pattern": r'^[^\u0000\s"]*( [^\u0000\s"]+){0,7}$'},
)  # fmt: skip
DECIMAL: Final = Kind(
    name="number", read=_decimal, schema={"type": "string", "pattern": r"^[0-9]{1,3}([.,][0-9]{1,6})?$"}
)
LENGTH: Final = Kind(name="length", read=_length, schema={"type": "string", "pattern": _LENGTHS})
CODEC: Final = Kind(name="codec", read=_codec, schema=_NO_NUL | {"minLength": 1})
STATUS: Final = Kind(name="status", read=_status, schema=_NO_NUL | {"minLength": 1})
FLAG: Final = Kind(name="true or false", read=_flag, schema={"type": "boolean"})
