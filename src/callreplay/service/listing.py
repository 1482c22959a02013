"""The list of calls: what is asked for, in which order and columns, a page of it, and the calls beside one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import DictRow

from callreplay.parameters import mark
from callreplay.service.auth import Visitor
from callreplay.service.context import Service, zone_of
from callreplay.service.search_line import Line, read
from callreplay.store import search
from callreplay.store.database import Connection
from callreplay.store.search import CallQuery

__all__ = [
    "COLUMNS",
    "COUNTED_ROWS",
    "DEFAULT_COLUMNS",
    "PAGE_ROWS",
    "Found",
    "Order",
    "as_written",
    "chosen_columns",
    "fields_of",
    "find",
    "line_of",
    "neighbours",
]

PAGE_ROWS: Final = 50
COUNTED_ROWS: Final = 500
"""Matches are counted as far as this: counting a million of them takes longer than anybody waits."""

COLUMNS: Final = {
    "start": mark("Start"),
    "caller": mark("Caller"),
    "called": mark("Called"),
    "length": mark("Length"),
    "mos": mark("MOS"),
    "loss": mark("Loss"),
    "codec": mark("Codec"),
    "tags": mark("Tags"),
    "status": mark("Status"),
    "oneWay": mark("One-way"),
}
"""The columns that there are, each of which sorts, by their heads."""
DEFAULT_COLUMNS: Final = ("start", "caller", "called", "length", "mos", "loss", "codec", "status")
_DESCENDING_FIRST: Final = frozenset({"start", "length", "loss", "oneWay"})
"""What one wants to see the most of first; of MOS the least."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the list, as ``sort`` writes it: ``mos``, or ``-mos`` for the greatest first."""

    by: str = "start"
    is_descending: bool = True

    @classmethod
    def parse(cls, text: str) -> Order:
        """The order that an address asks for; the newest first where it asks for none that there is."""
        by = text.removeprefix("-")
        return cls(by, text.startswith("-")) if by in search.SORTS else cls()

    @property
    def text(self) -> str:
        """As an address has it; '' for the usual one."""
        return "" if self == Order() else ("-" if self.is_descending else "") + self.by

    def clicked(self, column: str) -> str:
        """The order behind the head of a column."""
        if column == self.by:
            return Order(column, not self.is_descending).text
        return Order(column, column in _DESCENDING_FIRST).text

    def shown(self, column: str) -> str:
        """``aria-sort`` of a column's head."""
        if column != self.by:
            return ""
        return "descending" if self.is_descending else "ascending"


@dataclass(slots=True)
class Found:
    """A page of calls; ``newer`` and ``older`` are the parameters of its neighbours, '' for the first page."""

    rows: list[DictRow] = field(default_factory=list)
    newer: str | None = None
    older: str | None = None
    total: int = 0


def fields_of(values: dict[str, str]) -> dict[str, str]:
    """The search parameters of an address, as the URLs write them."""
    return {
        name: as_written(name, text) for name in search.PARAMETERS if (text := values.get(name, "").strip())
    }


def as_written(name: str, text: str) -> str:
    """A time of a browser's date and time field as the URLs write it."""
    if name not in search.TIMES or "T" not in text:
        return text
    day, _, time = text.partition("T")
    time = time.partition(".")[0]
    whole = time if time.count(":") == 2 else f"{time}:{'59' if name == 'endTime' else '00'}"
    return f"{day.replace('-', '.')}-{whole.replace(':', '.')}"


def line_of(visitor: Visitor, text: str, fields: dict[str, str]) -> Line:
    """What was typed into the search line, put to what is asked for already; words of parties add up."""
    line = read(text[:1000], datetime.now(UTC).astimezone(zone_of(visitor.user)).date())
    if "party" in line.fields and "party" in fields:
        line.fields["party"] = f"{fields['party']} {line.fields['party']}"
    said = fields | line.fields
    line.fields = {name: said[name] for name in search.PARAMETERS if name in said}
    return line


def chosen_columns(names: list[str]) -> tuple[str, ...]:
    """Columns by their names, in the order of the list; the usual ones where none is known."""
    return tuple(name for name in COLUMNS if name in names) or DEFAULT_COLUMNS


def find(
    service: Service, visitor: Visitor, values: dict[str, str], fields: dict[str, str], order: Order
) -> Found:
    """The page of the list that the values ask for. Raises ParameterError."""
    query = CallQuery.parse(fields, zone_of(visitor.user))
    after, before = (
        search.parse_uuid(name, values[name]) if values.get(name) else None for name in ("after", "before")
    )

    def some(connection: Connection, limit: int, **place: Any) -> list[DictRow]:
        return search.find(
            connection,
            visitor.reach,
            query,
            limit=limit,
            newest_first=order.is_descending,
            sort=order.by,
            **place,
        )

    with service.database.connection() as connection:
        counted = some(connection, COUNTED_ROWS + 1)
        if after is not None:
            rows = some(connection, PAGE_ROWS + 1, after=after)
            found = Found(rows[:PAGE_ROWS], newer=f"before={rows[0]['uuid']}" if rows else "")
            has_older = len(rows) > PAGE_ROWS
        else:
            rows = (
                some(connection, PAGE_ROWS + 1, after=before, backwards=True)[::-1]
                if before is not None
                else []
            )
            # Less than a page before that call: they are on the first page.
            if len(rows) > PAGE_ROWS:
                found = Found(rows[1:], newer=f"before={rows[1]['uuid']}")
                has_older = True
            else:
                found = Found(counted[:PAGE_ROWS])
                has_older = len(counted) > PAGE_ROWS
    if has_older:
        found.older = f"after={found.rows[-1]['uuid']}"
    found.total = len(counted)
    return found


def neighbours(
    service: Service, visitor: Visitor, fields: dict[str, str], order: Order, call: DictRow
) -> tuple[UUID | None, UUID | None]:
    """The calls before and after one in the list. Raises ParameterError."""
    query = CallQuery.parse(fields, zone_of(visitor.user))
    found: list[UUID | None] = []
    with service.database.connection() as connection:
        for backwards in (True, False):
            rows = search.find(
                connection,
                visitor.reach,
                query,
                limit=1,
                after=call,
                newest_first=order.is_descending,
                sort=order.by,
                backwards=backwards,
            )
            found.append(rows[0]["uuid"] if rows else None)
    return found[0], found[1]
