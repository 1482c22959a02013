"""No mix of the Transcoder's parameters reads the whole table."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import psycopg
import pytest
from bench.search import fill, queries
from psycopg.rows import dict_row

from callreplay.calls import search
from callreplay.calls.database import migrate
from callreplay.calls.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.database, pytest.mark.slow]


def test_answers_are_right_and_plans_use_indexes(own_service: Running) -> None:
    with EmbeddedPostgres(own_service.folder, port=0, settings={"fsync": "off"}) as server:
        migrate(server.url)
        fill(server.url, 20_000, lambda _: None)
        with psycopg.connect(server.url, row_factory=dict_row) as connection:
            asked = list(itertools.chain.from_iterable(queries(connection, 4).values()))
            rng = random.Random(7)
            asked += [a | b for a, b in (rng.sample(asked, 2) for _ in range(40))]
            for values in asked:
                query = search.CallQuery.parse(values, ZoneInfo("UTC"))
                found = search.find(connection, 1, query, limit=50)
                connection.rollback()
                conditions = search._conditions(1, query)
                order = psycopg.sql.SQL("started_at, uuid")
                plain = psycopg.sql.SQL("SELECT * FROM calls WHERE {} ORDER BY {} LIMIT 50").format(
                    conditions.all, order
                )
                expected = connection.execute(plain, conditions.values).fetchall()
                assert [row["uuid"] for row in found] == [row["uuid"] for row in expected], values
                if conditions.rest:
                    conditions.values |= {"walk": 200, "limit": 50}
                    statement = search._walk_statement(conditions, order)
                    plan = connection.execute(
                        psycopg.sql.SQL("EXPLAIN ") + statement, conditions.values
                    ).fetchall()
                    assert "Seq Scan" not in "\n".join(row["QUERY PLAN"] for row in plan), values
                connection.rollback()
