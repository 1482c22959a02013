"""The search line: what people type, as the search's parameters.

``from:0721 to:support loss>3 mos<3.5 longer:5m tag:disputes yesterday``; whatever has no name is a part of a number or
a name of either party. Names are understood in every language of the pages.
"""

from __future__ import annotations

import calendar
import ipaddress
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from callreplay.store.readings import MAC, ParameterError, parse_uuid

__all__ = ["Line", "read"]

_TOKEN: Final = re.compile(r'(?:([^\s":=<>]+)([:=<>]))?(?:"([^"]*)"|([^\s"]+))|(\S+)')
_DAY: Final = re.compile(
    r"(\d{4})[.-](\d{1,2})(?:[.-](\d{1,2}))?|(\d{1,2})[./](\d{1,2})[./](\d{4})", re.ASCII
)
_NAMES: Final = {
    "from": "from von de dela caller",
    "to": "to nach vers à a la către catre para called",
    "since": "since seit depuis desde începând after",
    "until": "until bis jusque hasta până before",
    "tag": "tag schlagwort étiquette etiqueta etichetă",
    "codec": "codec",
    "status": "status statut estado stare",
    "loss": "loss lost verlust perte pérdida pierdere pierderi",
    "mos": "mos",
    "length": "length länge durée duración durata durată",
    "talk": "talk",
    "silence": "silence stille silencio liniște",
    "longer": "longer länger",
    "shorter": "shorter kürzer",
    "id": "id",
}
_WORDS: Final = {
    "today": "today heute aujourd'hui hoy azi astăzi",
    "yesterday": "yesterday gestern hier ayer ieri",
    "7d": "7d week woche semaine semana săptămână",
    "30d": "30d month monat mois mes lună",
    "oneway": "oneway one-way einseitig",
}
_NAMED: Final = {word: name for name, words in _NAMES.items() for word in words.split()}
_MEANT: Final = {word: name for name, words in _WORDS.items() for word in words.split()}
_ABOVE: Final = {
    "loss": "lossAbove", "mos": "mosAbove", "length": "longerThan", "talk": "talkLongerThan",
    "silence": "silenceAbove",
}  # fmt: skip
_BELOW: Final = {
    "loss": "lossBelow", "mos": "mosBelow", "length": "shorterThan", "talk": "talkShorterThan",
    "silence": "silenceBelow",
}  # fmt: skip
_PLAIN: Final = {
    "tag": "tag",
    "codec": "codec",
    "status": "status",
    "longer": "longerThan",
    "shorter": "shorterThan",
}


@dataclass(slots=True)
class Line:
    """What a line says: parameters by their names in URLs, and the parts that say nothing that is understood."""

    fields: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def read(text: str, today: date) -> Line:
    """Read a line that was typed on the day ``today``."""
    line, words = Line(), []
    for found in _TOKEN.finditer(re.sub(r"\s*([<>])\s*", r"\1", text)):
        name, sign, quoted, bare, rest = found.groups()
        value = quoted if quoted is not None else bare or rest or ""
        if not value:
            continue
        if name is None:
            if quoted is not None or not _day_or_flag(line, value, today):
                words.append(f'"{value}"' if re.search(r"\s", value) else value)
        elif not _named(line, _NAMED.get(name.lower(), ""), sign, value, today):
            line.unknown.append(found[0])
    if words:
        line.fields["party"] = " ".join(words)
    return line


def _named(line: Line, name: str, sign: str, value: str, today: date) -> bool:
    """Whether ``name:value`` (or ``name>value``) was understood; it is in the line then."""
    if sign in "<>":
        parameter = (_ABOVE if sign == ">" else _BELOW).get(name, "")
        value = value.rstrip("%")
    elif name in ("from", "to"):
        parameter = ("caller" if name == "from" else "called") + _what(value)
    elif name in ("since", "until"):
        return _bound(line, _days(value, today), is_begin=name == "since", is_end=name == "until")
    elif name == "id":
        parameter = "callId" if _is_uuid(value) else "wireCallId"
    else:
        parameter = _PLAIN.get(name, "")
    if parameter:
        line.fields[parameter] = value
    return bool(parameter)


def _day_or_flag(line: Line, value: str, today: date) -> bool:
    meant = _MEANT.get(value.lower(), "")
    if meant == "oneway":
        line.fields["oneWay"] = "true"
        return True
    if _is_uuid(value):
        line.fields["callId"] = value
        return True
    return _bound(line, _days(value, today), is_begin=True, is_end=True)


def _days(value: str, today: date) -> tuple[date, date] | None:
    """The first and the last day of ``today``, ``2026-03``, ``2026-03-01..2026-03-05``, ``1.3.2026``."""
    meant = _MEANT.get(value.lower(), "")
    if meant in ("today", "yesterday"):
        day = today - timedelta(days=meant == "yesterday")
        return day, day
    if found := re.fullmatch(r"(\d{1,4})d", meant or value.lower(), re.ASCII):
        return today - timedelta(days=max(int(found[1]) - 1, 0)), today
    first, dots, last = value.partition("..")
    begin, end = _day(first), _day(last if dots else first)
    return (begin[0], end[1]) if begin and end and begin[0] <= end[1] else None


def _day(text: str) -> tuple[date, date] | None:
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    year, month, day = (found[1], found[2], found[3]) if found[1] else (found[6], found[5], found[4])
    try:
        if day is None:
            first = date(int(year), int(month), 1)
            return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])
        only = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return only, only


def _bound(line: Line, days: tuple[date, date] | None, *, is_begin: bool, is_end: bool) -> bool:
    if days is None:
        return False
    if is_begin:
        line.fields["beginTime"] = f"{days[0]:%Y.%m.%d}-00.00.00"
    if is_end:
        line.fields["endTime"] = f"{days[1]:%Y.%m.%d}-23.59.59"
    return True


def _what(value: str) -> str:
    """What of a party a value is."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        pass
    else:
        return "IP"
    if re.fullmatch(MAC.schema["pattern"], value):
        return "MAC"
    return "Number" if re.fullmatch(r"[\d+*#()./ -]+", value, re.ASCII) else "Name"


def _is_uuid(value: str) -> bool:
    try:
        parse_uuid("callId", value)
    except ParameterError:
        return False
    return True
