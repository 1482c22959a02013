"""Finding calls: the Transcoder's parameters, checked, and the statements that answer them.

The order of every answer is the earliest start, then the uuid. Each parameter that is given must hold.

Which index: three letters or digits in a row have a trigram. Every other text, and a second address, is looked up in
``calls_keys`` (see 0002_search_keys.sql).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from psycopg import sql
from psycopg.rows import DictRow

from callreplay.errors import ArgumentError
from callreplay.store.database import Connection
from callreplay.store.query import PARAMETERS, ROWS, TOLD, CallQuery, SearchRow, asks
from callreplay.store.readings import BEGIN, UUID, ParameterError, format_time, parse_time, parse_uuid
from callreplay.store.ways import Conditions, Order, all_of, answer

__all__ = [
    "PARAMETERS",
    "ROWS",
    "SCHEMAS",
    "SORTS",
    "TIMES",
    "TOLD",
    "CallQuery",
    "ParameterError",
    "Reach",
    "find",
    "first",
    "format_time",
    "is_within",
    "parse_time",
    "parse_uuid",
    "within",
]

SCHEMAS: Final = {"time": dict(BEGIN.schema), "uuid": dict(UUID.schema)}
"""JSON schemas of times and uuids, as URLs and JSON have them."""
TIMES: Final = frozenset(row.url for row in ROWS if row.kind.name == BEGIN.name)
"""The parameters that are times."""
MAXIMUM_LIMIT: Final = 1000  # rows of a page
MAXIMUM_ALTERNATIVES: Final = 50  # lines of a scope
# ASCII: under LC_CTYPE C the server finds no letter in any other character.
_TRIGRAM: Final = re.compile(r"[a-z0-9]{3}", re.IGNORECASE | re.ASCII)
_KEYED: Final = (
    ("caller_number", "text"), ("caller_name", "text"), ("called_number", "text"), ("called_name", "text"),
    ("caller_ip", "inet"), ("called_ip", "inet"), ("caller_mac", "macaddr"), ("called_mac", "macaddr"),
)  # fmt: skip
"""The columns that the index ``calls_keys`` is made of."""
# The likeliest to be rare first: the walk of the first statement goes along the index of the first one given.
_BY_RANK: Final = sorted(ROWS, key=lambda row: row.rank)


# In no letter case: LIKE takes a third of ILIKE's time. No letter's other case is one of these.
_CASELESS: Final = re.compile(r"[^A-Za-z\x80-\U0010ffff]*")

_PARTIES: Final = ("caller_number", "caller_name", "called_number", "called_name")
_EXPRESSIONS: Final = {
    "called_number": "(called_number || hop_numbers)",
    "status": "\"left\"(split_part(status, ' ', 1), 60)",
    "silence_share": "(silence_ms * 100.0::float8 / nullif(talk_ms + silence_ms, 0))",
}
"""Columns as the indexes have them: a called number is any hop's, a status its first word, silence
a part of the call in percent."""


def _column(name: str) -> sql.Composable:
    return sql.SQL(_EXPRESSIONS[name]) if name in _EXPRESSIONS else sql.Identifier(name)


@dataclass(frozen=True, slots=True)
class Sort:
    """An order of calls: by an expression that an index has, then by start and uuid. ``type`` is the expression's."""

    expression: str
    type: str
    can_be_unknown: bool = False


SORTS: Final[dict[str, Sort]] = {
    "start": Sort("started_at", "timestamptz"),
    "caller": Sort('"left"(caller_number, 60)', "text"),
    "called": Sort('"left"(called_number, 60)', "text"),
    "length": Sort("length_ms", "bigint"),
    "mos": Sort("mos", "real", can_be_unknown=True),
    "loss": Sort("loss_percent", "real"),
    "codec": Sort("coalesce(\"left\"(codecs[1], 60), '')", "text"),
    "tags": Sort("coalesce(\"left\"(tags[1], 60), '')", "text"),
    "status": Sort(_EXPRESSIONS["status"], "text"),
    "oneWay": Sort("one_way", "boolean"),
}
"""What a list of calls can be sorted by."""


def _is_short(text: str) -> bool:
    """Whether no trigram is in it."""
    return _TRIGRAM.search(text) is None


def _like(text: str) -> str:
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose calls somebody may find at all: one tenant's, and of those only such as meet one of ``within``, if any.

    Everything that finds or loads calls takes one, or the number of a tenant for all of its calls.
    """

    tenant_id: int
    within: tuple[CallQuery, ...] = ()

    @classmethod
    def parse(cls, tenant_id: int, text: str, zone: ZoneInfo) -> Reach:
        """Of a tenant and the lines of ``text``, each ``callerNumber=…&tag=…``, the search's own parameters.

        Raises:
            ArgumentError: a line is malformed, asks nothing, or has a parameter that is none.

        """
        lines = [line.strip().lstrip("?") for line in text.splitlines() if line.strip()]
        if len(lines) > MAXIMUM_ALTERNATIVES:
            raise ArgumentError(f"scope: more than {MAXIMUM_ALTERNATIVES} lines")
        return cls(tenant_id, tuple(_alternative(line, zone) for line in lines))


def _alternative(line: str, zone: ZoneInfo) -> CallQuery:
    pairs = parse_qsl(line, keep_blank_values=True)
    unknown = [name for name, _ in pairs if name not in PARAMETERS]
    if unknown or not pairs:
        raise ArgumentError(f"scope: there is no parameter {(unknown or [line])[0]!r}")
    query = CallQuery.parse(pairs, zone)
    if query.is_empty:
        raise ArgumentError(f"scope: {line!r} asks nothing")
    return query


@dataclass(slots=True)
class _Atoms:
    """The conditions of one query: on times, on whole values (the first is the likeliest to be rare), on texts.

    Parameters of the statement have names that begin with ``prefix``, and go to ``values``. ``keyed`` is what the index
    of keys may know: texts without a trigram (then ``has_short``) and addresses, by column.
    """

    prefix: str
    values: dict[str, Any]
    times: list[sql.Composable] = field(default_factory=list)
    exact: list[sql.Composable] = field(default_factory=list)
    texts: list[sql.Composable] = field(default_factory=list)
    keys: list[sql.Composable] = field(default_factory=list)
    keyed: dict[str, Any] = field(default_factory=dict)
    said: list[sql.Composable] = field(default_factory=list)
    has_short: bool = False
    has_range: bool = False

    @property
    def conditions(self) -> list[sql.Composable]:
        return [*self.times, *self.exact, *self.texts, *map(_heard, self.said)]

    def given(self, name: str, value: Any) -> sql.Placeholder:
        self.values[self.prefix + name] = value
        return sql.Placeholder(self.prefix + name)

    def add(self, row: SearchRow, value: Any) -> None:
        """A condition for the parameter: see ``query.Match``."""
        column = _column(row.column)
        if row.match in ("from", "before"):
            sign = sql.SQL(">=" if row.match == "from" else "<")
            self.times.append(sql.SQL("{} {} {}").format(column, sign, self.given(row.name, value)))
        elif row.match == "exact":
            if row.cast:
                value = self.keyed[row.column] = str(value)
            cast = sql.SQL("::" + row.cast if row.cast else "")
            self.exact.append(sql.SQL("{} = {}{}").format(column, self.given(row.name, value), cast))
        elif row.match == "contains":
            self.texts.append(self._contains(row.name, row.column, value))
            if _is_short(value):
                self.has_short, self.keyed[row.column] = True, value
        elif row.match == "party":
            for number, word in enumerate(value):
                either = [self._contains(f"{row.name}{number}_{each}", each, word) for each in _PARTIES]
                self.texts.append(_any(either))
                if _is_short(word):
                    keys = [self._keys(f"{row.name}{number}_{each}", {each: word}) for each in _PARTIES]
                    self.keys.append(_any(keys))
        elif row.match == "said":
            asked = sql.SQL("websearch_to_tsquery('simple', {})").format(self.given(row.name, value))
            self.said.append(asked)
        elif row.match == "has":
            has = sql.SQL("{} @> ARRAY[{}]::text[]").format(column, self.given(row.name, value))
            self.texts.append(has)
        else:
            sign, self.has_range = sql.SQL(">" if row.match == "above" else "<"), True
            self.texts.append(sql.SQL("{} {} {}").format(column, sign, self.given(row.name, value)))

    def _contains(self, name: str, column: str, value: str) -> sql.Composable:
        # A text that has no trigram would read the whole trigram index, even beside a rare one. As an expression the
        # column is not in that index.
        like = "({} || '') {} {}" if _is_short(value) else "{} {} {}"
        sign = sql.SQL("LIKE" if _CASELESS.fullmatch(value) else "ILIKE")
        return sql.SQL(like).format(_column(column), sign, self.given(name, _like(value)))

    def _keys(self, prefix: str, keyed: dict[str, Any]) -> sql.Composable:
        columns = sql.SQL(", ").join(_column(name) for name, _ in _KEYED)
        asked = sql.SQL(", ").join(
            sql.SQL("{}::" + kind).format(self.given(f"{prefix}key_{name}", keyed.get(name)))
            for name, kind in _KEYED
        )
        return sql.SQL("call_keys(tenant_id, {}, true) @> call_keys(%(tenant)s, {}, false)").format(
            columns, asked
        )

    def add_keys(self) -> None:
        """What the index of keys knows of them all, where that narrows anything."""
        if self.has_short or len(self.keyed) > 1:
            self.keys.append(self._keys("", self.keyed))


def _heard(asked: sql.Composable) -> sql.Composed:
    """Words as a value, which a walk along calls asks for of each of its rows."""
    return sql.SQL("(SELECT w.lexemes @@ {} FROM call_words w WHERE w.call_uuid = uuid)").format(asked)


def _hearing(asked: sql.Composable, times: Sequence[sql.Composable] = ()) -> sql.Composed:
    """Words as a set, which their index gives at once."""
    tenant = sql.SQL(
        "tenant_id = %(tenant)s" if times else "tenant_id + 0 = %(tenant)s"
    )  # as collect_statement
    return sql.SQL("uuid IN (SELECT call_uuid FROM call_words WHERE {} AND lexemes @@ {})").format(
        all_of([tenant, *times]), asked
    )


def _atoms(query: CallQuery, prefix: str, values: dict[str, Any]) -> _Atoms:
    """Conditions with parameters whose names begin with ``prefix``; the parameters go to ``values``."""
    made = _Atoms(prefix, values)
    for row in _BY_RANK:
        value = getattr(query, row.name)
        if asks(value):
            made.add(row, value)
    made.add_keys()
    return made


def _conditions(reach: Reach, query: CallQuery, sort: str = "start") -> Conditions:
    made = Conditions([sql.SQL("tenant_id = %(tenant)s")], [], {"tenant": reach.tenant_id})
    of_query = _atoms(query, "", made.values)
    within = [_atoms(each, f"in{number}_", made.values) for number, each in enumerate(reach.within)]
    whole = [of_query, *within] if len(within) == 1 else [of_query]
    times = [each for atoms in whole for each in atoms.times]
    exact = [each for atoms in whole for each in atoms.exact]
    texts = [each for atoms in whole for each in atoms.texts]
    said = [each for atoms in whole for each in atoms.said]
    made.keys += [each for atoms in whole for each in atoms.keys]
    made.is_narrowed = bool(times or exact or any(atoms.has_range for atoms in whole))
    if sort == "start":
        made.walk += [*times, *exact[:1]]
        made.others += [*exact[1:], *texts]
    else:  # along the index of that order, which knows nothing else
        made.others += [*times, *exact, *texts]
    if len(within) > 1:
        made.others.append(_any([all_of(each.conditions) for each in within]))
        # Each with the tenant and its keys: an index for each, and a bitmap of them all.
        tenant = sql.SQL("tenant_id = %(tenant)s")
        made.keys.append(
            _any(
                [
                    all_of(
                        [tenant, *each.times, *each.exact, *each.texts, *map(_hearing, each.said), *each.keys]
                    )
                    for each in within
                ]
            )
        )
    made.rest += [*made.others, *map(_heard, said)]
    made.keys += [_hearing(each, times) for each in said]
    if sort == "start" and not exact and len(said) == 1:
        [made.said] = said
    return made


def _any(conditions: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(" OR ").join(sql.SQL("({})").format(each) for each in conditions))


def within(reach: Reach, call: uuid.UUID) -> tuple[str, dict[str, Any]]:
    """The condition that ``is_within`` puts on a row of ``calls``, and its values: ``tenant``, ``call_id``, others."""
    made = _conditions(reach, CallQuery(call_id=call))
    return made.all.as_string(None), made.values


def is_within(connection: Connection, reach: Reach | int, call: uuid.UUID) -> DictRow | None:
    """The row of the call, where it is one that ``reach`` has."""
    made = _conditions(reach if isinstance(reach, Reach) else Reach(reach), CallQuery(call_id=call))
    return connection.execute(
        sql.SQL("SELECT * FROM calls WHERE {}").format(made.all), made.values, prepare=False
    ).fetchone()


def find(
    connection: Connection,
    reach: Reach | int,
    query: CallQuery,
    *,
    limit: int = 100,
    after: uuid.UUID | DictRow | None = None,
    newest_first: bool = False,
    sort: str = "start",
    backwards: bool = False,
) -> list[DictRow]:
    """At most ``limit`` rows of ``calls`` within reach that match, in order, after the call ``after`` if given.

    ``sort`` is one of SORTS; ``newest_first`` turns the order round, of whatever it is: what is not known stays last.
    ``backwards`` finds what stands before ``after``, the nearest first. A call ``after`` that is out of reach gives an
    empty page; a row that was found before may have been deleted since.
    """
    limit = max(1, min(limit, MAXIMUM_LIMIT))
    if isinstance(reach, int):
        reach = Reach(reach)
    if isinstance(after, uuid.UUID):
        after = is_within(connection, reach, after)
        if after is None:
            return []
    if query.call_id is None:
        # Small tables and rare keys look cheap to read whole. A bitmap that does not fit would try its keys on every
        # row. Starting parallel workers takes longer than most answers.
        connection.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '64MB'; "
            "SET LOCAL max_parallel_workers_per_gather = 0"
        )
    found: list[DictRow] = []
    for made, order in _parts(reach, query, after, sort, newest_first, backwards):
        made.values["limit"] = limit - len(found)
        found += answer(connection, made, order)
        if len(found) >= limit:
            break
    return found


_BY_START: Final = (("started_at", "timestamptz"), ("uuid", "uuid"))


def _parts(
    reach: Reach, query: CallQuery, after: DictRow | None, sort: str, is_descending: bool, backwards: bool
) -> Iterator[tuple[Conditions, Order]]:
    """The answer's parts, one after the other: those whose key is known, then those where it is not."""
    by = SORTS[sort]
    keys = _BY_START if sort == "start" else ((by.expression, by.type), *_BY_START)
    order = Order(keys, is_descending is not backwards)
    parts = (True, False) if by.can_be_unknown else (True,)
    is_after_known = after is not None and (not by.can_be_unknown or after[_KEY_OF[sort]] is not None)
    for is_known in reversed(parts) if backwards else parts:
        if after is not None and is_known is not is_after_known and is_known is not backwards:
            continue  # the call is of the other part, and this one lies behind
        made = _conditions(reach, query, sort)
        if sort in _KEY_OF:
            made.columns += (_KEY_OF[sort],)
        if by.can_be_unknown:
            made.walk.append(sql.SQL(by.expression + (" IS NOT NULL" if is_known else " IS NULL")))
        if after is not None and is_known is is_after_known:
            place = [after["started_at"], after["uuid"]]
            if sort != "start" and is_known:
                place.insert(0, _key(sort, after))
            made.walk.append(order.behind(made.values, place))
        yield made, order


_KEY_OF: Final = {
    "caller": "caller_number", "called": "called_number", "length": "length_ms", "mos": "mos", "loss": "loss_percent",
    "codec": "codecs", "tags": "tags", "status": "status", "oneWay": "one_way",
}  # fmt: skip


def _key(sort: str, row: DictRow) -> Any:
    """The value of a sort's expression, of a row."""
    value = row[_KEY_OF[sort]]
    if sort == "status":
        value = value.split(" ")[0]
    if isinstance(value, list):
        value = value[0] if value else ""
    return value[:60] if isinstance(value, str) else value


def first(connection: Connection, reach: Reach | int, query: CallQuery) -> DictRow | None:
    """The first call within reach that matches: the earliest start, then the smallest uuid. None when none does."""
    rows = find(connection, reach, query, limit=1)
    return rows[0] if rows else None
