"""Finding calls: the Transcoder's parameters, checked, and the statements that answer them.

The order of every answer is the earliest start, then the uuid. Each parameter that is given must hold.

Why two statements. A condition that many calls meet is answered at once by walking calls in time order; one that few
meet is answered at once by an index on it. The planner chooses between the two by statistics that know nothing of
correlation, and choosing wrongly costs a thousandfold. So the first statement walks a bounded number of rows, in
order, along the best index. When that does not settle the question, matches are rare, and the second statement
collects them all by index before it sorts. Where the walk met too many for that, it is walked again, as far as its
matches promise the rest of the page.

Which index: three letters or digits in a row have a trigram. Every other text, and a second address, is looked up in
``calls_keys`` (see 0002_search_keys.sql).
"""

from __future__ import annotations

import ipaddress
import math
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from psycopg import sql
from psycopg.rows import DictRow

from callreplay.errors import ArgumentError
from callreplay.store.database import Connection

__all__ = [
    "PARAMETERS",
    "CallQuery",
    "ParameterError",
    "find",
    "first",
    "format_time",
    "parse_time",
    "parse_uuid",
]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

TIME_FORMAT: Final = "%Y.%m.%d-%H.%M.%S"
MAXIMUM_TEXT: Final = 256  # characters of a text parameter; the refusal of a longer one names it
MAXIMUM_LIMIT: Final = 1000  # rows of a page
_WALK_ROWS: Final = 5000  # rows that the first statement may look at,
_WALK_ROWS_EACH: Final = 80  # and as many more for each row asked for
_DENSE: Final = 0.002  # matches a row walked: with more, walking on costs less than collecting every match
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_TIME: Final = re.compile(r"\d{4}\.\d{2}\.\d{2}-\d{2}\.\d{2}\.\d{2}", re.ASCII)
_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 31, 23, 59, 58, tzinfo=UTC)
# ASCII: under LC_CTYPE C the server finds no letter in any other character.
_TRIGRAM: Final = re.compile(r"[a-z0-9]{3}", re.IGNORECASE | re.ASCII)
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


def _text(parameter: str, text: str) -> str:
    if len(text) > MAXIMUM_TEXT:
        raise ParameterError(parameter, "longer than 256 characters")
    if "\0" in text:
        raise ParameterError(parameter, "holds a zero character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ParameterError(parameter, "not valid text") from None
    return text


def _exact_text(parameter: str, text: str) -> str:
    if not text:
        raise ParameterError(parameter, "empty")
    return _text(parameter, text)


def _address(parameter: str, text: str) -> _Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ParameterError(parameter, "not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ParameterError(parameter, "an address with a scope cannot be searched for")
    return address


def _port(parameter: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ParameterError(parameter, "a port is a number from 0 to 65535")
    return int(text)


def _mac(parameter: str, text: str) -> str:
    if _MAC.fullmatch(text) is None:
        raise ParameterError(parameter, "not a MAC address")
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


@dataclass(frozen=True, slots=True)
class CallQuery:
    """What calls must match; None or '' asks nothing. ``begin`` and ``end`` (UTC) bound the start, end exclusive."""

    call_id: uuid.UUID | None = None
    wire_call_ids: tuple[str, ...] = ()
    begin: datetime | None = None
    end: datetime | None = None
    caller_ip: _Address | None = None
    caller_port: int | None = None
    caller_mac: str | None = None
    caller_number: str = ""
    caller_name: str = ""
    called_ip: _Address | None = None
    called_port: int | None = None
    called_mac: str | None = None
    called_number: str = ""
    called_name: str = ""

    @classmethod
    def parse(cls, values: Mapping[str, str] | Iterable[tuple[str, str]], zone: ZoneInfo) -> CallQuery:
        """Read the Transcoder's parameters (see PARAMETERS) from a mapping or pairs; other names are ignored.

        Times are of ``zone``. ``endTime`` includes its whole second: the clock that wrote it shows no fractions.

        Raises:
            ParameterError: a value is malformed, or a parameter is given twice.

        """
        pairs = values.items() if isinstance(values, Mapping) else values
        given: dict[str, str] = {}
        for name, value in pairs:
            if name not in PARAMETERS:
                continue
            if name in given:
                raise ParameterError(name, "given more than once")
            given[name] = value
        found: dict[str, Any] = {}
        for name, value in given.items():
            if name == "beginTime":
                found["begin"] = parse_time(name, value, zone)
            elif name == "endTime":
                found["end"] = parse_time(name, value, zone, last=True) + timedelta(seconds=1)
            elif name in ("wireCallId", "pbxCallId"):
                found["wire_call_ids"] = (*found.get("wire_call_ids", ()), _exact_text(name, value))
            else:
                target, read = _READERS[name]
                found[target] = read(name, value)
        return cls(**found)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked: every call matches."""
        return all(not getattr(self, each.name) and getattr(self, each.name) != 0 for each in fields(self))


_READERS: Final[dict[str, tuple[str, Any]]] = {
    "callId": ("call_id", parse_uuid),
    "callerIP": ("caller_ip", _address),
    "callerPort": ("caller_port", _port),
    "callerMAC": ("caller_mac", _mac),
    "callerNumber": ("caller_number", _text),
    "callerName": ("caller_name", _text),
    "calledIP": ("called_ip", _address),
    "calledPort": ("called_port", _port),
    "calledMAC": ("called_mac", _mac),
    "calledNumber": ("called_number", _text),
    "calledName": ("called_name", _text),
}

PARAMETERS: Final = (*_READERS, "wireCallId", "pbxCallId", "beginTime", "endTime")
"""The names of the Transcoder's search parameters."""

# The likeliest to be rare first: the walk of the first statement goes along the index of the first one given.
_EXACT: Final = ("caller_mac", "called_mac", "caller_ip", "called_ip", "caller_port", "called_port")
_CASTS: Final = {"caller_mac": "macaddr", "called_mac": "macaddr", "caller_ip": "inet", "called_ip": "inet"}
_CONTAINS: Final = ("caller_number", "called_number", "caller_name", "called_name")
_KEYED: Final = (
    ("caller_number", "text"), ("caller_name", "text"), ("called_number", "text"), ("called_name", "text"),
    ("caller_ip", "inet"), ("called_ip", "inet"), ("caller_mac", "macaddr"), ("called_mac", "macaddr"),
)  # fmt: skip


def _column(name: str) -> sql.Composable:
    """A column as the indexes have it: a called number is any hop's."""
    return sql.SQL("(called_number || hop_numbers)") if name == "called_number" else sql.Identifier(name)


def _like(text: str) -> str:
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


@dataclass(slots=True)
class _Conditions:
    """Conditions as SQL with their parameters: ``walk`` along one index, ``rest`` filters what the walk meets.

    ``keys`` follow from the others; they are what an index knows, and too slow to be tried on each row of a walk.
    """

    walk: list[sql.Composable]
    rest: list[sql.Composable]
    values: dict[str, Any]
    keys: list[sql.Composable] = field(default_factory=list)

    @property
    def all(self) -> sql.Composed:
        return sql.SQL(" AND ").join([*self.walk, *self.rest])


def _conditions(tenant_id: int, query: CallQuery) -> _Conditions:
    made = _Conditions([sql.SQL("tenant_id = %(tenant)s")], [], {"tenant": tenant_id})
    if query.begin is not None:
        made.walk.append(sql.SQL("started_at >= %(begin)s"))
        made.values["begin"] = query.begin
    if query.end is not None:
        made.walk.append(sql.SQL("started_at < %(end)s"))
        made.values["end"] = query.end
    exact: list[sql.Composable] = []
    if query.call_id is not None:
        exact.append(sql.SQL("uuid = %(call_id)s"))
        made.values["call_id"] = query.call_id
    for number, wire in enumerate(query.wire_call_ids):
        exact.append(sql.SQL("wire_call_id = {}").format(sql.Placeholder(f"wire{number}")))
        made.values[f"wire{number}"] = wire
    keyed: dict[str, Any] = {}
    for name in _EXACT:
        value = getattr(query, name)
        if value is not None:
            cast = sql.SQL("::" + _CASTS[name] if name in _CASTS else "")
            exact.append(sql.SQL("{} = {}{}").format(sql.Identifier(name), sql.Placeholder(name), cast))
            made.values[name] = str(value) if name in _CASTS else value
            if name in _CASTS:
                keyed[name] = made.values[name]
    made.walk += exact[:1]
    made.rest += exact[1:]
    has_short = False
    for name in _CONTAINS:
        value = getattr(query, name)
        if value:
            # A text that has no trigram would read the whole trigram index, even beside a rare one. As an expression
            # the column is not in that index.
            column = "{} ILIKE {}"
            if _TRIGRAM.search(value) is None:
                column, has_short, keyed[name] = "({} || '') ILIKE {}", True, value
            made.rest.append(sql.SQL(column).format(_column(name), sql.Placeholder(name)))
            made.values[name] = _like(value)
    if has_short or len(keyed) > 1:
        columns = sql.SQL(", ").join(_column(name) for name, _ in _KEYED)
        asked = sql.SQL(", ").join(
            sql.SQL("{}::" + kind).format(sql.Placeholder(f"key_{name}")) for name, kind in _KEYED
        )
        made.values |= {f"key_{name}": keyed.get(name) for name, _ in _KEYED}
        made.keys.append(
            sql.SQL("call_keys(tenant_id, {}, true) @> call_keys(%(tenant)s, {}, false)").format(
                columns, asked
            )
        )
    return made


def find(
    connection: Connection,
    tenant_id: int,
    query: CallQuery,
    *,
    limit: int = 100,
    after: uuid.UUID | DictRow | None = None,
    newest_first: bool = False,
) -> list[DictRow]:
    """At most ``limit`` rows of ``calls`` of one tenant that match, in order, after the call ``after`` if given.

    ``newest_first`` turns the order round. A call ``after`` that is not the tenant's gives an empty page; a row that
    was found before may have been deleted since.
    """
    limit = max(1, min(limit, MAXIMUM_LIMIT))
    made = _conditions(tenant_id, query)
    if after is not None:
        if isinstance(after, uuid.UUID):
            row = connection.execute(
                "SELECT uuid, started_at FROM calls WHERE uuid = %s AND tenant_id = %s", (after, tenant_id)
            ).fetchone()
            if row is None:
                return []
            after = row
        comparison = "<" if newest_first else ">"
        made.walk.append(sql.SQL(f"(started_at, uuid) {comparison} (%(after_time)s, %(after_uuid)s)"))
        made.values |= {"after_time": after["started_at"], "after_uuid": after["uuid"]}
    order = sql.SQL("started_at DESC, uuid DESC" if newest_first else "started_at, uuid")
    made.values["limit"] = limit
    # Small tables and rare keys look cheap to read whole. A bitmap that does not fit would try its keys on every row.
    # Starting parallel workers takes longer than most answers.
    connection.execute(
        "SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '64MB'; "
        "SET LOCAL max_parallel_workers_per_gather = 0"
    )
    if not made.rest:
        statement = sql.SQL("SELECT * FROM calls WHERE {} ORDER BY {} LIMIT %(limit)s").format(
            made.all, order
        )
        return connection.execute(statement, made.values, prepare=False).fetchall()
    walk = _WALK_ROWS + _WALK_ROWS_EACH * limit
    found, is_whole = _walk(connection, made, order, walk)
    if not is_whole and len(found) > _DENSE * walk:
        found, is_whole = _walk(connection, made, order, math.ceil(2 * walk * limit / len(found)))
    if is_whole:
        return found
    return connection.execute(_collect_statement(made, order), made.values, prepare=False).fetchall()


def _walk(connection: Connection, made: _Conditions, order: sql.SQL, rows: int) -> tuple[list[DictRow], bool]:
    """The matches among the first ``rows`` rows, and whether they are the whole answer."""
    made.values["walk"] = rows
    found = connection.execute(_walk_statement(made, order), made.values, prepare=False).fetchall()
    if len(found) >= made.values["limit"]:
        return found, True
    beyond = connection.execute(_beyond_statement(made, order), made.values, prepare=False).fetchone()
    return found, beyond is None


def _walk_statement(made: _Conditions, order: sql.SQL) -> sql.Composed:
    # The inner LIMIT keeps the planner from moving the other conditions inwards; rows stream through both.
    return sql.SQL(
        "SELECT * FROM (SELECT * FROM calls WHERE {} ORDER BY {} LIMIT %(walk)s) AS walk "
        "WHERE {} ORDER BY {} LIMIT %(limit)s"
    ).format(sql.SQL(" AND ").join(made.walk), order, sql.SQL(" AND ").join(made.rest), order)


def _beyond_statement(made: _Conditions, order: sql.SQL) -> sql.Composed:
    """Whether there is a row that the walk did not reach."""
    return sql.SQL("SELECT 1 FROM calls WHERE {} ORDER BY {} OFFSET %(walk)s LIMIT 1").format(
        sql.SQL(" AND ").join(made.walk), order
    )


def _collect_statement(made: _Conditions, order: sql.SQL) -> sql.Composed:
    walk = made.walk
    if len(walk) == 1:
        # The tenant alone narrows nothing, yet the planner would read all of it from an index and intersect. As an
        # expression it is in none.
        walk = [sql.SQL("tenant_id + 0 = %(tenant)s")]
    return sql.SQL(
        "WITH hits AS MATERIALIZED (SELECT uuid, started_at FROM calls WHERE {}), "
        "page AS (SELECT uuid FROM hits ORDER BY {} LIMIT %(limit)s) "
        "SELECT calls.* FROM calls JOIN page USING (uuid) ORDER BY {}"
    ).format(sql.SQL(" AND ").join([*walk, *made.rest, *made.keys]), order, order)


def first(connection: Connection, tenant_id: int, query: CallQuery) -> DictRow | None:
    """The first call of the tenant that matches: the earliest start, then the smallest uuid. None when none does."""
    rows = find(connection, tenant_id, query, limit=1)
    return rows[0] if rows else None
