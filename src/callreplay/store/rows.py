"""What goes into the tables of calls: rows whose every value is one that its column takes.

What a packet says may be anything: octets that are no text, addresses with a zone, numbers beyond their column. A row
is made of such values and has none of them: a value that its column does not take is cut, mended or left out, so that
it costs itself and never the call. Nothing else is written into these tables.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from callreplay.clock import moment

__all__ = ["SPEECH", "CallRow", "EventRow", "FileRow", "clean_json", "clean_text", "clean_time", "figures_of"]

_MAC: Final = re.compile(r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")
_LONGEST_TEXT: Final = 255
_LONGEST_PATH: Final = 4096
_MOST_TEXTS: Final = 100
_DEEPEST: Final = 16
_MOST_NS: Final = (
    253_370_764_800 * 10**9
)  # the first hour of 9999, the last year of datetime in any time zone


def clean_text(value: object, most: int = _LONGEST_TEXT) -> str:
    """Text that UTF-8 can hold, without NUL, of ``most`` characters at most."""
    text = "" if value is None else str(value)
    return text[: 2 * most].replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:most]


def clean_time(ns: int) -> int:
    """A time in ns since the epoch that a datetime can hold: from 1970 to the beginning of 9999."""
    return min(max(int(ns), 0), _MOST_NS)


def clean_json(value: object, depth: int = _DEEPEST) -> Any:
    """A value that a column of JSON can hold: texts as `clean_text`, no infinite numbers, not too deep."""
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) <= _LONGEST_PATH and value.isascii() and "\0" not in value:
        return value
    value = value.item() if hasattr(value, "item") else value  # of NumPy
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth and isinstance(value, dict):
        return {clean_text(key): clean_json(each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple):
        return [clean_json(each, depth - 1) for each in value]
    return "…" if isinstance(value, dict | list | tuple) else clean_text(value, _LONGEST_PATH)


def _time(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return moment(clean_time(int(value))) if isinstance(value, int) else None


def _address(value: object) -> str | None:
    """An IPv4 or IPv6 address; a zone (RFC 4007 section 11) says nothing outside the host that wrote it.

    An IPv4 address as IPv6 sockets show it (RFC 4291 section 2.5.5.2) is that address, and found as it is.
    """
    try:
        found = ipaddress.ip_address(str(value or "").partition("%")[0])
    except ValueError:
        return None
    return str(getattr(found, "ipv4_mapped", None) or found)


def _mac(value: object) -> str | None:
    return str(value) if _MAC.fullmatch(str(value or "")) else None


def _between(low: int, high: int, otherwise: int | None) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            return otherwise
        return number if low <= number <= high else otherwise

    return read


def _real(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number) or abs(number) > 1e30:
        return None
    return number if abs(number) > 1e-30 else 0.0  # the column is a float of 32 bits, and takes no less


def _texts(value: Any) -> list[str]:
    return [clean_text(each) for each in list(value)[:_MOST_TEXTS]]


def _choice(*values: str) -> Callable[[Any], str]:
    return lambda value: value if value in values else values[0]


SPEECH: Final = (
    "talk_ms", "silence_ms", "overlap_ms", "caller_talk_ms", "called_talk_ms", "caller_monologue_ms",
    "called_monologue_ms", "caller_interruptions", "called_interruptions",
)  # fmt: skip
"""Columns of ``calls``: who talks how long. All NULL where that was not found out."""
_COUNT: Final = _between(0, 2**53 - 1, 0)  # sums of two fit a bigint, and JSON
_SPAN_MS: Final = _between(0, 2**42, 0)  # 139 years: the database adds them to times
_PORT: Final = _between(0, 65535, None)


class _Row:
    """Values by column, each as its column takes it."""

    TABLE: ClassVar[str]
    KINDS: ClassVar[dict[str, Callable[[Any], Any]]]
    """What makes of any value one that the column takes; keys of ours have none."""

    def __post_init__(self) -> None:
        for name, kind in self.KINDS.items():
            object.__setattr__(self, name, kind(getattr(self, name)))

    def statement(self) -> tuple[str, dict[str, Any]]:
        """The INSERT of this row and its parameters."""
        names = [each.name for each in fields(self)]  # type: ignore[arg-type]
        places = ", ".join(f"%({name})s" for name in names)
        values = {name: getattr(self, name) for name in names}
        return f"INSERT INTO {self.TABLE} ({', '.join(names)}) VALUES ({places})", {
            name: Jsonb(value) if isinstance(value, dict) or name == "gaps" else value
            for name, value in values.items()
        }


@dataclass(frozen=True)
class CallRow(_Row):
    """A row of ``calls``. Times in ns since the epoch, or None."""

    TABLE = "calls"
    KINDS: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "started_at": _time,
        "ended_at": _time,
        "answered_at": _time,
        "wire_call_id": clean_text,
        "protocol": _choice("", "sip", "skinny"),
        "status": clean_text,
        "inferred": bool,
        "caller_ip": _address,
        "caller_port": _PORT,
        "caller_mac": _mac,
        "caller_number": clean_text,
        "caller_name": clean_text,
        "called_ip": _address,
        "called_port": _PORT,
        "called_mac": _mac,
        "called_number": clean_text,
        "called_name": clean_text,
        "related": _texts,
        "source": clean_text,
        "quality": clean_json,
        "hop_numbers": lambda value: clean_text(value, _LONGEST_PATH),
        "length_ms": _COUNT,
        "mos": _real,
        "loss_percent": _real,
        "codecs": _texts,
        "one_way": bool,
        **dict.fromkeys(SPEECH, _between(0, 2**63 - 1, None)),
    }

    uuid: UUID
    tenant_id: int
    identity: str
    started_at: Any = 0
    ended_at: Any = 0
    answered_at: Any = None
    wire_call_id: str = ""
    protocol: str = ""
    status: str = ""
    inferred: bool = False
    caller_ip: str | None = None
    caller_port: int | None = None
    caller_mac: str | None = None
    caller_number: str = ""
    caller_name: str = ""
    called_ip: str | None = None
    called_port: int | None = None
    called_mac: str | None = None
    called_number: str = ""
    called_name: str = ""
    quality: dict[str, Any] = field(default_factory=dict)
    related: Sequence[str] = ()
    source: str = ""
    hop_numbers: str = ""
    length_ms: int = 0
    mos: float | None = None
    loss_percent: float = 0.0
    codecs: Sequence[str] = ()
    one_way: bool = False
    talk_ms: int | None = None
    silence_ms: int | None = None
    overlap_ms: int | None = None
    caller_talk_ms: int | None = None
    called_talk_ms: int | None = None
    caller_monologue_ms: int | None = None
    called_monologue_ms: int | None = None
    caller_interruptions: int | None = None
    called_interruptions: int | None = None

    def __post_init__(self) -> None:
        """Every value as its column takes it; a call does not end before it starts."""
        super().__post_init__()
        if self.ended_at < self.started_at:
            object.__setattr__(self, "ended_at", self.started_at)


@dataclass(frozen=True)
class FileRow(_Row):
    """A row of ``call_files``: where a recording is, and what was measured of it. ``started_at`` in ns, or None."""

    TABLE = "call_files"
    KINDS: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "started_at": _time,
        "codec": clean_text,
        "codecs": _texts,
        "payload_type": _between(0, 127, None),
        "clock_rate": _between(0, 2**31 - 1, None),
        "ssrc": _between(0, 2**32 - 1, None),
        "duration_ms": _SPAN_MS,
        "packets": _COUNT,
        "lost": _COUNT,
        "duplicates": _COUNT,
        "reordered": _COUNT,
        "jitter_ms": _real,
        "mos": _real,
        "gaps": clean_json,
    }

    call_uuid: UUID
    leg: str
    position: int
    volume_id: int
    path: str
    size_bytes: int
    sha256: bytes
    started_at: Any = None
    codec: str = ""
    codecs: Sequence[str] = ()
    payload_type: int | None = None
    clock_rate: int | None = None
    ssrc: int | None = None
    duration_ms: int = 0
    packets: int = 0
    lost: int = 0
    duplicates: int = 0
    reordered: int = 0
    jitter_ms: float | None = None
    mos: float | None = None
    gaps: Sequence[Any] = ()


def figures_of(files: Sequence[FileRow]) -> dict[str, Any]:
    """What a call has of its files. The database's function ``call_figures`` says the same, to whoever writes files."""
    begun = [(file.started_at, file.duration_ms) for file in files if file.started_at is not None]
    first = min((at for at, _ in begun), default=None)
    # From the first beginning: an end may lie beyond the last date that there is.
    whole = max(
        (round((at - first) / timedelta(milliseconds=1)) + ms for at, ms in begun if first), default=0
    )
    sent = {file.leg for file in files if file.packets}
    return {
        "length_ms": max([whole, *(file.duration_ms for file in files)]),
        "mos": min((file.mos for file in files if file.mos is not None), default=None),
        "loss_percent": max(
            (file.lost * 100 / (file.packets + file.lost) for file in files if file.packets + file.lost),
            default=0.0,
        ),
        "codecs": sorted({codec.upper() for file in files for codec in file.codecs or [file.codec] if codec}),
        "one_way": len(sent) == 1 and "both" not in sent,
    }


@dataclass(frozen=True)
class EventRow(_Row):
    """A row of ``call_events``: a digit that a party keyed in, ``at`` ns since the epoch."""

    TABLE = "call_events"
    KINDS: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "at": _time,
        "leg": _choice("", "caller", "called"),
        "kind": clean_text,
        "detail": clean_text,
        "length_ms": _SPAN_MS,
    }

    call_uuid: UUID
    at: Any = 0
    leg: str = ""
    kind: str = "dtmf"
    detail: str = ""
    length_ms: int = 0
