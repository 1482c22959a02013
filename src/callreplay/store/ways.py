"""How the answer of a search is come by: walked in its order as far as need be, or collected and put in order.

Why two statements. A condition that many calls meet is answered at once by walking calls in time order; one that few
meet is answered at once by an index on it. The planner chooses between the two by statistics that know nothing of
correlation, and choosing wrongly costs a thousandfold. So the first statement walks a bounded number of rows, in
order, along the best index. When that does not settle the question, matches are rare, and the second statement
collects them all by index before it sorts. Where the walk met too many for that, it goes on, as far as its matches
promise the rest of the page.

Words stand in a table of their own, in the same order (see 0022_words_in_order.sql). What asks for words walks along
them, and looks up the calls of those that have them; but along calls where so many have words, and these, that more
calls would be looked up than are walked. Of words that few calls have, the index of words is asked at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from psycopg import sql
from psycopg.rows import DictRow

from callreplay.store.database import Connection

__all__ = ["Conditions", "Order", "all_of", "answer", "collect_statement"]

_WALK_ROWS: Final = 5000  # rows that the first statement may look at,
_WALK_ROWS_EACH: Final = 80  # and as many more for each row asked for
# What a row costs, beside a call that is walked in the order of time:
_ELSEWHERE: Final = 4.0  # walked in another order, which is not that of the disk
_LOOKED_UP: Final = 8.0  # a call that an index of something else leads to
_HEARD: Final = 0.7  # words that are walked,
_HEARD_ELSEWHERE: Final = 2.0  # or that the index of words leads to
_SAMPLE: Final = 500  # words that are looked at to tell how many calls have those asked for;
_SELDOM: Final = 0.01  # where it is a smaller part, their index is asked
_FEW: Final = 3000  # for so many, which are looked up one by one


@dataclass(slots=True)
class Conditions:
    """Conditions as SQL with their parameters: ``walk`` along one index, ``rest`` filters what the walk meets.

    ``keys`` follow from the others; they are what an index knows, and too slow to be tried on each row of a walk.
    """

    walk: list[sql.Composable]
    rest: list[sql.Composable]
    values: dict[str, Any]
    keys: list[sql.Composable] = field(default_factory=list)
    said: sql.Composable | None = None
    """What words are asked for, where words can be walked in the order of the answer."""
    others: list[sql.Composable] = field(default_factory=list)
    """What of ``rest`` remains then."""
    columns: tuple[str, ...] = ("uuid", "started_at")
    """What the order is made of."""
    is_narrowed: bool = False
    """Whether an index that begins with the tenant knows more of what is asked for: times, whole values, ranges."""

    @property
    def all(self) -> sql.Composed:
        return all_of([*self.walk, *self.rest])


def all_of(conditions: list[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(conditions)


@dataclass(frozen=True, slots=True)
class Order:
    """The keys of an order with the types that they have, turned round or not."""

    keys: tuple[tuple[str, str], ...]
    is_descending: bool

    def by(self, prefix: str = "") -> sql.SQL:
        """What follows ORDER BY."""
        turn = " DESC" if self.is_descending else ""
        return sql.SQL(", ".join(prefix + key + turn for key, _ in self.keys))

    def named(self) -> sql.SQL:
        """The keys as columns, for ``beyond``."""
        return sql.SQL(", ".join(f"{key} AS key{number}" for number, (key, _) in enumerate(self.keys)))

    def behind(self, values: dict[str, Any], keys: Sequence[Any]) -> sql.SQL:
        """What comes behind the row with the last of ``keys``; they go to ``values``."""
        return self._from(values, keys, "after", "<" if self.is_descending else ">")

    def beyond(self, values: dict[str, Any], row: DictRow) -> sql.SQL:
        """That row, which has the keys as ``named`` has them, and what comes behind it."""
        keys = [row[f"key{number}"] for number in range(len(self.keys))]
        if keys[0] is None:
            del keys[0]  # of all rows of this part
        return self._from(values, keys, "beyond", "<=" if self.is_descending else ">=")

    def _from(self, values: dict[str, Any], keys: Sequence[Any], name: str, sign: str) -> sql.SQL:
        last = self.keys[-len(keys) :]
        values |= {f"{name}{number}": key for number, key in enumerate(keys)}
        places = ", ".join(f"%({name}{number})s::{type}" for number, (_, type) in enumerate(last))
        return sql.SQL(f"({', '.join(key for key, _ in last)}) {sign} ({places})")


def answer(connection: Connection, made: Conditions, order: Order) -> list[DictRow]:
    if not made.rest:
        statement = sql.SQL("SELECT * FROM calls WHERE {} ORDER BY {} LIMIT %(limit)s").format(
            made.all, order.by()
        )
        return connection.execute(statement, made.values, prepare=False).fetchall()
    limit: int = made.values["limit"]
    walk, heard = _WALK_ROWS + _WALK_ROWS_EACH * limit, None
    if made.said is not None:
        heard = _sample(connection, made, order)
        if heard.share < _SELDOM and _are_few(connection, made):
            return _collected(connection, made, _few_statement(made, order))
    way = _along_calls(made, order, heard)
    if heard is not None:
        words = _along_words(made, order, heard)
        if not made.others or heard.of_calls * words.row <= way.row:
            way, walk = words, math.ceil(walk * _HEARD / words.row)
    found, beyond = _walk(connection, made, way, walk)
    if beyond is not None and _goes_on(way, len(found) / walk, limit, beyond["rows"]):
        share = len(found) / walk
        made.values["limit"] = limit - len(found)
        on = replace(way, walk=[*way.walk, order.beyond(made.values, beyond)])
        further, beyond = _walk(connection, made, on, math.ceil(2 * limit / share))
        found += further
        made.values["limit"] = limit
    if beyond is None:
        return found
    return _collected(connection, made, collect_statement(made, order))


def _collected(connection: Connection, made: Conditions, statement: sql.Composed) -> list[DictRow]:
    return connection.execute(statement, made.values, prepare=False).fetchall()


def _are_few(connection: Connection, made: Conditions) -> bool:
    assert made.said is not None
    statement = sql.SQL(
        "SELECT count(*) AS number FROM (SELECT FROM call_words WHERE lexemes @@ {} LIMIT {}) AS few"
    ).format(made.said, _FEW + 1)
    found = connection.execute(statement, made.values, prepare=False).fetchone()
    return found is not None and found["number"] <= _FEW


_WORDS: Final = "(SELECT call_uuid AS uuid, tenant_id, started_at, lexemes FROM call_words) AS words"


@dataclass(frozen=True, slots=True)
class _Way:
    """What is walked: the rows of ``table`` that meet ``walk``; ``statement`` gives the calls of those that match.

    ``row`` is what a row costs, ``met`` what collecting one of those does that an index leads to, in calls walked in
    order of time; how many it leads to, a part of the rows, ``leads`` says by the part that matches.
    """

    table: str
    walk: list[sql.Composable]
    order: Order
    statement: Callable[[sql.Composed], sql.Composed]
    row: float
    met: float
    leads: Callable[[float], float]


def _along_calls(made: Conditions, order: Order, heard: _Heard | None) -> _Way:
    def statement(rows: sql.Composable) -> sql.Composed:
        # The inner LIMIT keeps the planner from moving the other conditions inwards; rows stream through both.
        return sql.SQL("SELECT * FROM {} WHERE {} ORDER BY {} LIMIT %(limit)s").format(
            rows, all_of(made.rest), order.by()
        )

    row = 1.0 if len(made.columns) == 2 else _ELSEWHERE
    leads = float if heard is None else _rarer(heard.share * heard.of_calls, 1.0)
    return _Way("calls", made.walk, order, statement, row, _LOOKED_UP, leads)


def _rarer(heard: float, others: float) -> Callable[[float], float]:
    """Words are in one index and all else is in others: one of the two leads, and each call is asked for the other.

    ``heard`` is the part of the rows that the words are in, ``others`` how many rows of calls there are to one of them.
    """
    return lambda share: min(heard, others * share / heard) if heard else share


def _along_words(made: Conditions, order: Order, heard: _Heard) -> _Way:
    """The call is looked up of each row that has the words, where more than words is asked for."""
    assert made.said is not None
    said = made.said

    def statement(rows: sql.Composable) -> sql.Composed:
        # OFFSET: a call after the other, in the order of the walk.
        return sql.SQL(
            "SELECT found.* FROM {} CROSS JOIN LATERAL (SELECT * FROM calls WHERE {} OFFSET 0) AS found "
            "WHERE walk.lexemes @@ {} ORDER BY {} LIMIT %(limit)s"
        ).format(rows, all_of([sql.SQL("calls.uuid = walk.uuid"), *made.others]), said, order.by("walk."))

    if not made.others:
        return _Way(_WORDS, made.walk, order, statement, _HEARD, _HEARD_ELSEWHERE, float)
    leads = _rarer(heard.share, 1 / heard.of_calls if heard.of_calls else 1.0)
    row = _HEARD + _LOOKED_UP * heard.share
    return _Way(_WORDS, made.walk, order, statement, row, _LOOKED_UP, leads)


class _Heard(NamedTuple):
    """How large a part of the words has those asked for, and of the calls has words at all."""

    share: float
    of_calls: float


def _sample(connection: Connection, made: Conditions, order: Order) -> _Heard:
    assert made.said is not None
    made.values["walk"] = _SAMPLE
    statement = sql.SQL(
        "SELECT count(*) FILTER (WHERE walk.lexemes @@ {})::float8 / greatest(count(*), 1) AS share, "
        "(SELECT w.reltuples::float8 / greatest(c.reltuples, 1) FROM pg_class w, pg_class c "
        "WHERE w.oid = 'call_words'::regclass AND c.oid = 'calls'::regclass) AS of_calls FROM {}"
    ).format(made.said, _rows(_along_words(made, order, _Heard(0.0, 0.0))))
    found = connection.execute(statement, made.values, prepare=False).fetchone()
    assert found is not None
    return _Heard(found["share"], found["of_calls"])


def _rows(way: _Way) -> sql.Composed:
    """The rows that are walked."""
    return sql.SQL("(SELECT * FROM {} WHERE {} ORDER BY {} LIMIT %(walk)s) AS walk").format(
        sql.SQL(way.table), all_of(way.walk), way.order.by()
    )


def _walk(
    connection: Connection, made: Conditions, way: _Way, rows: int
) -> tuple[list[DictRow], DictRow | None]:
    """The matches among the first ``rows`` rows, and what comes behind; None where they are the whole answer."""
    made.values["walk"] = rows
    found = connection.execute(way.statement(_rows(way)), made.values, prepare=False).fetchall()
    if len(found) >= made.values["limit"]:
        return found, None
    beyond = sql.SQL(
        "SELECT {}, (SELECT reltuples FROM pg_class WHERE oid = {}::regclass) AS rows "
        "FROM {} WHERE {} ORDER BY {} OFFSET %(walk)s LIMIT 1"
    ).format(
        way.order.named(),
        "calls" if way.table == "calls" else "call_words",
        sql.SQL(way.table),
        all_of(way.walk),
        way.order.by(),
    )
    return found, connection.execute(beyond, made.values, prepare=False).fetchone()


def _goes_on(way: _Way, share: float, limit: int, rows: float) -> bool:
    """Whether walking as far as ``limit`` matches, a ``share`` of the rows, costs less than collecting all of them."""
    return share > 0 and limit / share * way.row <= way.leads(share) * max(rows, 0.0) * way.met


def collect_statement(made: Conditions, order: Order) -> sql.Composed:
    """All that match, by whatever indexes, put in order."""
    if made.said is not None and not made.others:
        return _few_statement(made, order)
    conditions = _narrowed(made) + made.others + made.keys
    hits = sql.SQL("SELECT {} FROM calls WHERE {}").format(
        sql.SQL(", ").join(map(sql.Identifier, made.columns)), all_of(conditions)
    )
    return _page(hits, order)


def _few_statement(made: Conditions, order: Order) -> sql.Composed:
    """All that have the words, by their index, and of them those that meet the rest, put in order."""
    assert made.said is not None
    words = sql.SQL("SELECT uuid, started_at FROM {} WHERE {}").format(
        sql.SQL(_WORDS), all_of([*_narrowed(made), sql.SQL("lexemes @@ {}").format(made.said)])
    )
    if made.others:
        words = sql.SQL(
            "SELECT found.* FROM ({} OFFSET 0) AS heard CROSS JOIN LATERAL "
            "(SELECT uuid, started_at FROM calls WHERE {} OFFSET 0) AS found"
        ).format(words, all_of([sql.SQL("calls.uuid = heard.uuid"), *made.others]))
    return _page(words, order)


def _narrowed(made: Conditions) -> list[sql.Composable]:
    if made.is_narrowed or (len(made.walk) > 1 and len(made.columns) == 2):
        return made.walk
    # The tenant alone narrows nothing, yet the planner would read all of it from an index and intersect. As an
    # expression it is in none.
    return [sql.SQL("tenant_id + 0 = %(tenant)s"), *made.walk[1:]]


def _page(hits: sql.Composed, order: Order) -> sql.Composed:
    return sql.SQL(
        "WITH hits AS MATERIALIZED ({}), page AS (SELECT uuid FROM hits ORDER BY {} LIMIT %(limit)s) "
        "SELECT calls.* FROM calls JOIN page USING (uuid) ORDER BY {}"
    ).format(hits, order.by(), order.by())
