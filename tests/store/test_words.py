"""Words of stored calls: kept, found by an index whichever way the search goes, each tenant's for itself."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest
from bench.search import fill
from psycopg import sql
from psycopg.rows import dict_row

from callreplay.store import search, ways
from callreplay.store.database import Database
from callreplay.store.search import CallQuery, Reach
from callreplay.store.ways import Order
from callreplay.store.words import keep_words, words_said
from callreplay.transcripts import Word

pytestmark = pytest.mark.database
ROWS = 600


@pytest.fixture
def filled(database: Database, url: str) -> list[uuid.UUID]:
    """Calls by time; every one says ``hello``, every 150th ``Refund``, and a few more."""
    fill(url, ROWS, lambda _: None)
    with database.connection() as connection:
        tenant = _tenant(connection)
        rows = connection.execute(
            "SELECT uuid FROM calls WHERE tenant_id = %s ORDER BY started_at, uuid", (tenant,)
        ).fetchall()
        calls = [row["uuid"] for row in rows]
        for number, call in enumerate(calls):
            said = ["hello", "Müller" if number == 7 else "x"] + ["Refund"] * (number % 150 == 3)
            words = [Word(float(at), at + 0.5, text, "caller", 0.5) for at, text in enumerate(said)]
            assert keep_words(connection, tenant, call, words, "m:f")
        connection.execute("ANALYZE call_words")
    return calls


def _tenant(connection: Any) -> int:
    row = connection.execute("SELECT min(tenant_id) AS tenant_id FROM calls").fetchone()
    return int(row["tenant_id"])


WAYS: list[dict[str, Any]] = [
    {},
    {"_WALK_ROWS": 1, "_WALK_ROWS_EACH": 0, "_SELDOM": 0.0, "_goes_on": lambda *_: False},
    {"_WALK_ROWS": 20, "_WALK_ROWS_EACH": 0, "_SELDOM": 0.0, "_goes_on": lambda _, share, *__: share > 0},
]


@pytest.mark.parametrize("way", WAYS, ids=["as it is", "collect", "walk on"])
def test_words_are_found(
    filled: list[uuid.UUID], database: Database, monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    for name, value in way.items():
        monkeypatch.setattr(ways, name, value)
    with database.connection() as connection:
        tenant = _tenant(connection)

        def found(text: str, **more: Any) -> list[uuid.UUID]:
            return [row["uuid"] for row in search.find(connection, tenant, CallQuery(words=text, **more))]

        assert found("refund") == filled[3::150]
        assert found("REFUND hello") == filled[3::150]
        assert found("müller or refund") == sorted([*filled[3::150], filled[7]], key=filled.index)
        assert found("hello -x -refund") == [filled[7]]
        assert found("refunds") == found("!!") == found("' ; DROP TABLE calls --") == []
        assert found("hello")[:3] == filled[:3]
        assert found("refund", call_id=filled[3]) == filled[3:4]
        row = search.is_within(connection, tenant, filled[153])
        assert row is not None
        later = {"begin": row["started_at"], "loss_below": 101.0}
        assert found("refund", **later) == found("refund hello", begin=row["started_at"]) == filled[153::150]
        assert found("hello", **later)[:2] == filled[153:155]
        assert found("refund", caller_number="no such number") == []
        backwards = search.find(connection, tenant, CallQuery(words="refund"), after=row, backwards=True)
        assert [each["uuid"] for each in backwards] == [filled[3]]
        reach = Reach(tenant, (CallQuery(words="refund"), CallQuery(words="müller")))
        assert len(search.find(connection, reach, CallQuery(words="hello"))) == len(filled[3::150]) + 1
        assert search.is_within(connection, reach, filled[0]) is None
        assert search.find(connection, tenant + 1, CallQuery(words="refund")) == []


def test_words_follow_their_call(filled: list[uuid.UUID], database: Database) -> None:
    """Words that the product did not keep, and a call that turns out to have begun at another time."""
    with database.connection() as connection:
        tenant = _tenant(connection)
        connection.execute(
            "UPDATE call_words SET lexemes = 'elsewhere', tenant_id = 0, started_at = NULL WHERE call_uuid = ANY(%s)",
            ([filled[20], filled[30]],),
        )

        def found() -> list[uuid.UUID]:
            return [row["uuid"] for row in search.find(connection, tenant, CallQuery(words="elsewhere"))]

        assert found() == [filled[20], filled[30]]
        connection.execute(
            "UPDATE calls SET started_at = started_at - interval '9 years' WHERE uuid = %s", (filled[30],)
        )
        assert found() == [filled[30], filled[20]]
        connection.rollback()


def test_the_collecting_statement_uses_the_index(filled: list[uuid.UUID], database: Database) -> None:
    with database.connection() as connection:
        made = search._conditions(Reach(_tenant(connection)), CallQuery(words="refund"))
        made.values["limit"] = 10
        statement = ways.collect_statement(made, Order(search._BY_START, False))
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute(sql.SQL("EXPLAIN ") + statement, made.values, prepare=False).fetchall()
        assert "call_words_lexemes" in "\n".join(row["QUERY PLAN"] for row in plan)


def test_words_come_back_as_they_were_kept_and_go_with_their_call(
    filled: list[uuid.UUID], database: Database, url: str
) -> None:
    with database.connection() as connection:
        tenant = _tenant(connection)
        words = [Word(0.25, 0.5, "naïve \u2028 word", "called"), Word(1.0, 1.5, "b", "caller", 0.25)]
        assert keep_words(connection, tenant, filled[0], words, "other:one")
        kept = words_said(connection, tenant, filled[0])
        assert kept is not None
        assert ([Word(*row) for row in kept.words], kept.made_with) == (words, "other:one")
        assert not keep_words(connection, tenant + 1, filled[0], [], "x:y")
        assert words_said(connection, tenant + 1, filled[0]) is None
        connection.execute("DELETE FROM calls WHERE uuid = %s", (filled[0],))
    with psycopg.connect(url, row_factory=dict_row) as connection:
        count = connection.execute("SELECT count(*) AS n FROM call_words WHERE call_uuid = %s", (filled[0],))
        assert (count.fetchone() or {})["n"] == 0
