"""The search parameters: what calls can be asked for. A field of ``CallQuery`` is a parameter, its row stands in it.

A new parameter is a field here, and what it is compared with is a column of ``calls``. The Transcoder's URL, the
scopes of users, batch queries, the pages' form, the command line, the OpenAPI document and docs/parameters.md follow.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from callreplay.parameters import Kind, Row, declared, mark, rows_of
from callreplay.store import readings
from callreplay.store.readings import Address, ParameterError

__all__ = ["PARAMETERS", "ROWS", "TOLD", "CallQuery", "SearchRow", "asks", "tell"]

Match = Literal["from", "before", "exact", "contains", "has", "above", "below", "party", "said"]
"""How a call's column meets the value: not less, less (times), equal, contains it in any letter case, is a list that
has it, is more, is less; ``party``: each word is contained in a number or a name of either side; ``said``: the words of
that call (``call_words``) have all of the value's.
"""
_OPTIONAL_TEXT: Final = {"type": ["string", "null"]}
_USUAL: Final = "usual"
_MORE: Final = "more"
_MEDIA: Final = "media"
_LINE: Final = "line"  # has no field of its own: it is what the search line takes without a name


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRow(Row):
    """A search parameter's row: beside the rest, what it is compared with, and where it is shown.

    ``column`` is of ``calls``; ``cast`` its SQL type where a text must become one. Of the exact ones, the search goes
    along the index of the one with the least ``rank``: the likeliest to be rare. ``label`` names it in forms, in the
    group ``panel``. ``told`` is the JSON schema of the column's value in a call's JSON, which is under the same name;
    None: it is not told. ``on_cli`` is False for another name of the same thing.
    """

    column: str
    match: Match
    label: str
    cast: str = ""
    rank: int = 9
    told: Mapping[str, Any] | None = None
    on_cli: bool = True


def _parameter(
    kind: Kind, match: Match, column: str, label: str, help: str, default: Any = None, **more: Any
) -> Any:
    row = SearchRow(
        kind=kind, match=match, column=column, label=label, help=help, **{"panel": _USUAL, **more}
    )
    return declared(default, row)


def _text(column: str, label: str, help: str, **more: Any) -> Any:
    kind = readings.NUMBER if column.endswith("_number") else readings.CONTAINED
    return _parameter(kind, "contains", column, label, help, "", told={"type": "string"}, **more)


def _address(column: str, label: str, help: str, **more: Any) -> Any:
    return _parameter(
        readings.ADDRESS, "exact", column, label, help,
        cast="inet", rank=3, panel=_MORE, told=_OPTIONAL_TEXT, **more,
    )  # fmt: skip


def _port(column: str, label: str, help: str) -> Any:
    return _parameter(
        readings.PORT, "exact", column, label, help,
        rank=4, panel=_MORE, told={"type": ["integer", "null"]}, example="5060",
    )  # fmt: skip


def _mac(column: str, label: str, help: str, **more: Any) -> Any:
    return _parameter(
        readings.MAC, "exact", column, label, help,
        cast="macaddr", rank=2, panel=_MORE, told=_OPTIONAL_TEXT, example="00:1b:54:00:00:07", **more,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CallQuery:
    """What calls must match; None or '' asks nothing. ``begin`` and ``end`` (UTC) bound the start, end exclusive."""

    call_id: uuid.UUID | None = _parameter(
        readings.UUID, "exact", "uuid", mark("Call uuid"), "The call's uuid.",
        rank=0, panel=_MORE, example="0b8f0f3c-6d0e-4f5e-9c3d-2a1b0c9d8e7f",
    )  # fmt: skip
    wire_call_id: str = _parameter(
        readings.TEXT, "exact", "wire_call_id", mark("Call id on the wire"),
        "SIP Call-ID or Skinny call reference, exact.", "",
        rank=1, panel=_MORE, example="a84b4c76e66710@192.0.2.1",
    )  # fmt: skip
    pbx_call_id: str = _parameter(
        readings.TEXT, "exact", "wire_call_id", mark("Call id of the exchange"), "Another name of wireCallId.", "",
        rank=1, panel=_MORE, on_cli=False, example="a84b4c76e66710@192.0.2.1",
    )  # fmt: skip
    begin: datetime | None = _parameter(
        readings.BEGIN, "from", "started_at", mark("From"),
        "Earliest start, inclusive (yyyy.mm.dd-hh.mm.ss), in the tenant's time zone; of a time that the clock showed "
        "twice, the first.",
        url="beginTime", example="2026.03.01-08.00.00",
    )  # fmt: skip
    end: datetime | None = _parameter(
        readings.END, "before", "started_at", mark("To"),
        "Latest start, its second inclusive, in the tenant's time zone; of a time that the clock showed twice, the "
        "second.",
        url="endTime", example="2026.03.31-23.59.59",
    )  # fmt: skip
    caller_ip: Address | None = _address(
        "caller_ip", mark("Caller's IP"), "The caller's address, exact.", url="callerIP", example="192.0.2.10"
    )
    caller_port: int | None = _port("caller_port", mark("Caller's port"), "The caller's port, exact.")
    caller_mac: str | None = _mac(
        "caller_mac", mark("Caller's MAC"), "The caller's MAC address, exact.", url="callerMAC"
    )
    caller_number: str = _text(
        "caller_number", mark("Caller's number"), "A part of the caller's number.", example="0721"
    )
    caller_name: str = _text(
        "caller_name",
        mark("Caller's name"),
        "A part of the caller's name, in any letter case.",
        example="ana",
    )
    called_ip: Address | None = _address(
        "called_ip",
        mark("Called IP"),
        "The called party's address, exact.",
        url="calledIP",
        example="192.0.2.20",
    )
    called_port: int | None = _port("called_port", mark("Called port"), "The called party's port, exact.")
    called_mac: str | None = _mac(
        "called_mac", mark("Called MAC"), "The called party's MAC address, exact.", url="calledMAC"
    )
    called_number: str = _text(
        "called_number",
        mark("Called number"),
        "A part of the called number, of any hop of the call.",
        example="200",
    )
    called_name: str = _text(
        "called_name", mark("Called name"), "A part of the called party's name, in any letter case.",
        example="support",
    )  # fmt: skip
    tag: str = _parameter(
        readings.TEXT,
        "has",
        "tags",
        mark("Tag"),
        "A tag that the call has, exact.",
        "",
        panel=_MEDIA,
        example="disputes",
    )
    words: str = _parameter(
        readings.WORDS, "said", "uuid", mark("Words"),
        "Words that were said, all of them, as a recogniser heard them (callreplay transcribe); in any letter case. "
        "-word: not this one; or: either.", "",
        panel=_MORE, example="refund",
    )  # fmt: skip

    party: tuple[str, ...] = _parameter(
        readings.PARTY, "party", "", mark("Either party"),
        "Words, each of them a part of a number or a name of either party, in any letter case.", (),
        panel=_LINE, example="ana 0721",
    )  # fmt: skip
    length_above: int | None = _parameter(
        readings.LENGTH, "above", "length_ms", mark("Longer than"), "The audio is longer: 90, 90s, 5m, 1h30m or 1:30.",
        url="longerThan", panel=_MEDIA, example="5m",
    )  # fmt: skip
    length_below: int | None = _parameter(
        readings.LENGTH, "below", "length_ms", mark("Shorter than"),
        "The audio is shorter: 90, 90s, 5m, 1h30m or 1:30.",
        url="shorterThan", panel=_MEDIA, example="30s",
    )  # fmt: skip
    mos_above: float | None = _parameter(
        readings.DECIMAL, "above", "mos", mark("MOS above"), "The least MOS of the legs is greater.",
        panel=_MEDIA, example="4.2",
    )  # fmt: skip
    mos_below: float | None = _parameter(
        readings.DECIMAL, "below", "mos", mark("MOS below"), "The least MOS of the legs is less.",
        panel=_MEDIA, example="3.5",
    )  # fmt: skip
    loss_above: float | None = _parameter(
        readings.DECIMAL, "above", "loss_percent", mark("Loss above"), "A leg lost more of its packets, in percent.",
        panel=_MEDIA, example="3",
    )  # fmt: skip
    loss_below: float | None = _parameter(
        readings.DECIMAL, "below", "loss_percent", mark("Loss below"),
        "Every leg lost less of its packets, in percent.",
        panel=_MEDIA, example="0.5",
    )  # fmt: skip
    talk_above: int | None = _parameter(
        readings.LENGTH, "above", "talk_ms", mark("Talk longer than"),
        "Somebody talks for longer than this in all, of calls that were listened to (docs/speech.md).",
        url="talkLongerThan", panel=_MEDIA, example="2m",
    )  # fmt: skip
    talk_below: int | None = _parameter(
        readings.LENGTH, "below", "talk_ms", mark("Talk shorter than"),
        "The parties talk for less than this in all, of calls that were listened to.",
        url="talkShorterThan", panel=_MEDIA, example="5s",
    )  # fmt: skip
    silence_above: float | None = _parameter(
        readings.DECIMAL, "above", "silence_share", mark("Silence above"),
        "Nobody talks in more than this part of the call, in percent, of calls that were listened to.",
        panel=_MEDIA, example="40",
    )  # fmt: skip
    silence_below: float | None = _parameter(
        readings.DECIMAL, "below", "silence_share", mark("Silence below"),
        "Nobody talks in less than this part of the call, in percent, of calls that were listened to.",
        panel=_MEDIA, example="10",
    )  # fmt: skip
    codec: str = _parameter(
        readings.CODEC, "has", "codecs", mark("Codec"), "A codec of a leg, in any letter case.", "",
        panel=_MEDIA, example="G729",
    )  # fmt: skip
    status: str = _parameter(
        readings.STATUS, "exact", "status", mark("Status"),
        "The first word of the call's status: answered, unanswered, cancelled, redirected, failed, interrupted; "
        "in progress.", "",
        rank=7, panel=_MEDIA, example="failed",
    )  # fmt: skip
    one_way: bool | None = _parameter(
        readings.FLAG, "exact", "one_way", mark("One-way"), "Whether only one leg has packets.",
        rank=6, panel=_MEDIA, example="true",
    )  # fmt: skip

    @classmethod
    def parse(cls, values: Mapping[str, str] | Iterable[tuple[str, str]], zone: ZoneInfo) -> CallQuery:
        """Read the parameters (see PARAMETERS) from a mapping or pairs; other names are ignored.

        Times are of ``zone``. ``endTime`` includes its whole second: the clock that wrote it shows no fractions.

        Raises:
            ParameterError: a value is malformed, or a parameter is given twice.

        """
        pairs = values.items() if isinstance(values, Mapping) else values
        given: dict[str, str] = {}
        for name, value in pairs:
            if name not in _BY_URL or not value:
                continue  # an empty value asks nothing, as a form's field that nobody filled in
            if name in given:
                raise ParameterError(name, "given more than once")
            given[name] = value
        found: dict[str, Any] = {}
        for name, value in given.items():
            row = _BY_URL[name]
            found[row.name] = row.kind.read(name, value, zone)
        return cls(**found)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked: every call matches."""
        return not any(asks(getattr(self, row.name)) for row in ROWS)


def asks(value: Any) -> bool:
    """Whether a parameter with this value asks anything."""
    return value not in (None, "", ())


ROWS: Final = rows_of(CallQuery, SearchRow)
"""The search parameters' rows, in the order of the fields."""
_BY_URL: Final = {row.url: row for row in ROWS}
PARAMETERS: Final = tuple(_BY_URL)
"""The names of the Transcoder's search parameters."""
TOLD: Final = tuple(row for row in ROWS if row.told is not None)
"""Those whose column a call's JSON tells under the same name."""


def tell(value: Any) -> Any:
    """A column's value as JSON has it."""
    return value if value is None or isinstance(value, str | int | float | list) else str(value)
