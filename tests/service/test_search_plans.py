"""No mix of the Transcoder's parameters reads the whole table, and every statement answers the same."""

from __future__ import annotations

import itertools
import random
import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from bench.search import adversarial, fill, queries
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from callreplay.store import search, ways
from callreplay.store.database import migrate
from callreplay.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.database, pytest.mark.slow]
ROWS = 20_000
# Where the walk ends, and how many matches make it go on, so that each way of search.find is taken.
WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "collect": {"_WALK_ROWS": 1, "_goes_on": lambda *_: False, "_SELDOM": 0.0},
    "walk on": {"_WALK_ROWS": 200, "_goes_on": lambda _, share, *__: share > 0, "_SELDOM": 0.0},
}

# Folding, wildcards, signs, texts longer than a key that have no trigram, and nothing at all.
ODD_NAMES = (
    "Ä",
    "ß",
    "ŠÉ",
    "İz",
    "ΑΣ",
    "%",
    "_",
    "a%",
    "\\",
    "'",
    "- -",
    "+4-0",
    "a b c",
    "😀",
    "日本語",
    "",
    " ",
)


class Explaining(psycopg.Connection[DictRow]):
    """Keeps the plan of each statement that is made of parts: those of search.find."""

    plans: list[str]

    def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[DictRow]:
        if isinstance(query, sql.Composed):
            rows = super().execute(sql.SQL("EXPLAIN ") + query, params, prepare=False).fetchall()
            self.plans.append("\n".join(row["QUERY PLAN"] for row in rows))
        return super().execute(query, params, **options)


def test_answers_are_right_and_plans_use_indexes(
    own_service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedPostgres(own_service.folder, port=0, settings={"fsync": "off"}) as server:
        migrate(server.url)
        fill(server.url, ROWS, lambda _: None)
        with psycopg.connect(server.url) as connection:
            for number, name in enumerate(ODD_NAMES):
                connection.execute(
                    "UPDATE calls SET caller_name = %s, called_name = %s, caller_ip = NULL, called_mac = NULL "
                    "WHERE identity = %s",
                    (f"X{name}y", name, str(100 + number)),
                )
            connection.execute("UPDATE calls SET tags = '{sales}' WHERE identity IN ('11', '7001', '15002')")
            # Everybody says hello, few want a refund.
            connection.execute("DELETE FROM call_words")
            connection.execute(
                "INSERT INTO call_words (call_uuid, words, lexemes) SELECT uuid, '[]', to_tsvector('simple', "
                "CASE WHEN identity IN ('12', '7002', '15003') THEN 'hello refund' ELSE 'hello' END) FROM calls"
            )
            connection.execute("ANALYZE calls, call_words")
        with Explaining.connect(server.url, row_factory=dict_row) as connection:
            kinds = queries(connection, 3) | adversarial(connection, 2)
            asked = list(itertools.chain.from_iterable(kinds.values()))
            rng = random.Random(7)
            asked += [a | b for a, b in (rng.sample(asked, 2) for _ in range(30))]
            asked += [{"calledName": name} for name in ODD_NAMES] + [
                {"callerName": name.lower()} for name in ODD_NAMES
            ]
            row = connection.execute(
                "SELECT * FROM calls WHERE tenant_id = 1 AND called_name <> '' LIMIT 1"
            ).fetchone()
            assert row is not None
            asked += [
                {"tag": "sales"},
                {"party": "ana"},
                {"party": "x 7"},
                {"lossAbove": "30"},
                {"lossBelow": "1"},
            ]
            asked += [
                {"mosAbove": "4"},
                {"mosBelow": "2"},
                {"longerThan": "9m"},
                {"shorterThan": "3"},
                {"codec": "g722"},
            ]
            asked += [
                {"talkLongerThan": "9m"},
                {"talkShorterThan": "3"},
                {"silenceAbove": "99"},
                {"silenceBelow": "0.1"},
            ]
            asked += [{"tag": "sales"}, {"words": "refund"}, {"words": "hello -refund"}]
            asked += [
                {"words": "refund", "tag": "sales"},
                {"words": "nobody"},
                {"words": "hello", "callerNumber": "07"},
                {"words": "refund", "lossAbove": "0.1"},
                {"words": "hello refund", "calledName": "a"},
                {"words": "hello", "beginTime": "2024.06.01-00.00.00", "lossAbove": "5"},
            ]
            for parameter in search.ROWS:
                if parameter.match in ("exact", "contains"):
                    whole = (
                        str(row[parameter.column]).split(" ")[0]
                        if parameter.name == "status"
                        else (str(row[parameter.column]))
                    )
                    asked += [{parameter.url: whole}]
                    asked += [{parameter.url: whole[:2]}] * (parameter.match == "contains")
            time = search.format_time(row["started_at"], ZoneInfo("UTC"))
            asked += [{"beginTime": time}, {"endTime": time}, {"beginTime": time, "endTime": time}]
            assert {name for values in asked if len(values) == 1 for name in values} == set(search.PARAMETERS)
            taken = set()
            # Users who may find a part of the calls only, asking for anything and for something.
            bounds = [
                "callerNumber={}".format(row["caller_number"]),
                "callerNumber={}\ncalledNumber={}".format(row["caller_number"], row["caller_number"]),
                "tag=sales\ncallerName=q&calledName=z\ncallerIP={}&calledIP={}".format(
                    row["caller_ip"], row["called_ip"]
                ),
                "beginTime={}&calledNumber={}".format(time, row["called_number"][:2]),
            ]
            bound = [(bounds[n % len(bounds)], values) for n, values in enumerate([{}] * 4 + asked[::3])]
            orders = itertools.cycle([f"{sign}{name}" for name in search.SORTS for sign in ("", "-")])
            asking = [
                (scope, values, "start") for scope, values in [("", values) for values in asked] + bound
            ]
            asking += [("", values, next(orders)) for values in ({}, *asked[::5])]
            asking += [(scope, values, next(orders)) for scope, values in bound[::4]]
            for scope, values, order in asking:
                query = search.CallQuery.parse(values, ZoneInfo("UTC"))
                reach = search.Reach.parse(1, scope, ZoneInfo("UTC"))
                conditions = search._conditions(reach, query)
                by, down = order.removeprefix("-"), order.startswith("-")
                turn = " DESC" if down else ""
                keys = f"{search.SORTS[by].expression}{turn} NULLS LAST, started_at{turn}, uuid{turn}"
                # OFFSET keeps the conditions out of the scan of calls, and so away from its indexes alone.
                plain = sql.SQL(
                    "SELECT uuid FROM (SELECT * FROM calls OFFSET 0) AS calls WHERE {} ORDER BY {} LIMIT 50"
                ).format(conditions.all, sql.SQL(keys))
                expected = connection.execute(plain.as_string(connection), conditions.values).fetchall()
                connection.rollback()
                for way, limits in WAYS.items():
                    connection.plans = []
                    with monkeypatch.context() as patched:
                        for name, value in ({"_WALK_ROWS_EACH": 0} | limits if limits else {}).items():
                            patched.setattr(ways, name, value)
                        found = search.find(connection, reach, query, limit=50, sort=by, newest_first=down)
                    connection.rollback()
                    for plan in connection.plans:
                        assert "Seq Scan" not in plan, f"{scope} {values} {order} {way}\n{plan}"
                        if "CTE hits" in plan:
                            taken.add("collect")
                            hits = plan.split("CTE hits")[1].split("CTE page")[0]
                            # Not the whole tenant by way of an index: something narrows each of them.
                            narrowed = re.findall(r"Index Cond: \((.*)\)", hits)
                            assert narrowed, f"{scope} {values} {order} {way}\n{plan}"
                            for condition in narrowed:
                                assert not re.fullmatch(r"tenant_id = \S+", condition), (
                                    f"{scope} {values} {order} {way}\n{plan}"
                                )
                    walked = [
                        plan
                        for plan in connection.plans
                        if "Subquery Scan on walk" in plan and not plan.startswith("Aggregate")  # a sample
                    ]
                    taken |= {"words" for plan in walked if "call_words_time" in plan}
                    if len(walked) > 1:
                        taken.add("walk on")
                    assert [row["uuid"] for row in found] == [row["uuid"] for row in expected], (
                        scope,
                        values,
                        order,
                        way,
                    )
            assert taken == {"collect", "walk on", "words"}


@pytest.mark.parametrize("text", [name for name in ODD_NAMES if name])
def test_keys_of_a_text_are_among_those_of_every_text_that_ilike_finds_it_in(
    service: Running, text: str
) -> None:
    nothing = "NULL, '', '', NULL, NULL::inet, NULL, NULL"
    keys = f"call_keys(1, %s, {nothing}, %s)"
    for whole in (
        text,
        text.lower(),
        text.upper(),
        f"x{text}y",
        f"{text} z",
        f"z {text.swapcase()}",
        "other",
    ):
        statement = f"SELECT %s ILIKE %s AS found, {keys} @> {keys} AS keyed"
        [row] = service.rows(statement, whole, search._like(text), whole, True, text, False)
        assert row["keyed"] or not row["found"], whole
        if len(text) <= 2 and len(text.lower()) == len(text):
            assert row["keyed"] == row["found"], whole
    assert service.rows(f"SELECT {keys} AS keys", None, True) == [{"keys": []}]
