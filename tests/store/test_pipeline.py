"""Short statements of many on one connection: a batch at a time, whole or not at all, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest

from callreplay.store.database import WORK, Database
from callreplay.store.pipeline import Pipeline, Unavailable

pytestmark = pytest.mark.database
ADD = b"INSERT INTO piped (one) VALUES ($1) RETURNING one, pg_current_xact_id()::text AS transaction"
Asking = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def piped(database: Database) -> Iterator[Database]:
    """A table of numbers, each of which may be there once, which is looked at when a transaction ends."""
    with database.connection() as connection:
        connection.execute(
            "CREATE TABLE piped (one integer UNIQUE DEFERRABLE INITIALLY DEFERRED CHECK (one >= 0))"
        )
    yield database
    with database.connection() as connection:
        connection.execute("DROP TABLE piped")


def with_pipeline(url: str, work: Callable[[Pipeline, Asking], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        pipeline = Pipeline(url, WORK)

        async def ask(text: bytes, *values: Any) -> list[dict[str, Any]]:
            for _ in range(500):
                try:
                    return await pipeline.ask(text, [str(value).encode() for value in values])
                except Unavailable:
                    await asyncio.sleep(0.05)
            raise AssertionError("no connection")

        try:
            await ask(b"SELECT 1 AS one")
            return await work(pipeline, ask)
        finally:
            pipeline.close()

    return asyncio.run(run())


def kept(database: Database) -> list[int]:
    with database.connection() as connection:
        return sorted(row["one"] for row in connection.execute("SELECT one FROM piped"))


def end(database: Database, pid: int) -> None:
    with database.connection() as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def test_what_is_asked_together_goes_together(piped: Database) -> None:
    async def work(_: Pipeline, ask: Asking) -> list[Any]:
        return await asyncio.gather(*(ask(ADD, number) for number in range(40)))

    answers = with_pipeline(piped.url, work)
    assert [rows[0]["one"] for rows in answers] == list(range(40)), "each has its own"
    assert len({rows[0]["transaction"] for rows in answers}) == 1
    assert kept(piped) == list(range(40))


def test_an_answer_comes_after_its_commit(piped: Database) -> None:
    async def work(_: Pipeline, ask: Asking) -> list[int]:
        await ask(ADD, 7)
        return await asyncio.to_thread(kept, piped)

    assert with_pipeline(piped.url, work) == [7]


@pytest.mark.parametrize("wrong", [-1, "x", 0], ids=["as it runs", "as it is read", "at the commit"])
def test_one_that_fails_costs_the_others_nothing(piped: Database, wrong: Any) -> None:
    async def work(_: Pipeline, ask: Asking) -> list[Any]:
        await ask(ADD, 0)
        return await asyncio.gather(*(ask(ADD, value) for value in (1, wrong, 2, 3)), return_exceptions=True)

    answers = with_pipeline(piped.url, work)
    assert isinstance(answers[1], psycopg.Error)
    assert [rows[0]["one"] for rows in (answers[0], *answers[2:])] == [1, 2, 3]
    assert kept(piped) == [0, 1, 2, 3], "each once"


def test_more_texts_than_are_prepared(piped: Database) -> None:
    async def work(_: Pipeline, ask: Asking) -> list[Any]:
        texts = [b"SELECT %d + $1::integer AS one" % number for number in range(300)]
        return [(await ask(text, 1))[0]["one"] for text in texts for _ in range(2)][::2]

    assert with_pipeline(piped.url, work) == list(range(1, 301))


def test_a_connection_that_breaks_off_is_told_and_made_again(piped: Database) -> None:
    async def work(pipeline: Pipeline, ask: Asking) -> None:
        [row] = await ask(b"SELECT pg_backend_pid() AS pid")
        sleeping = asyncio.ensure_future(pipeline.ask(b"SELECT pg_sleep(600)", []))
        behind = asyncio.ensure_future(pipeline.ask(b"SELECT 1 AS one", []))
        await asyncio.sleep(0)
        await asyncio.to_thread(end, piped, row["pid"])
        answers = await asyncio.gather(sleeping, behind, return_exceptions=True)
        assert all(isinstance(answer, Unavailable | psycopg.Error) for answer in answers)
        [again] = await ask(b"SELECT pg_backend_pid() AS pid")
        assert again["pid"] != row["pid"]

    with_pipeline(piped.url, work)


def test_more_than_the_connection_takes_at_once(piped: Database) -> None:
    """What the server has not read yet is sent when it has; small ones are answered before and after."""

    async def work(_: Pipeline, ask: Asking) -> list[Any]:
        large = "x" * (8 << 20)
        texts = ["a", large, "b", large + "y"]
        answers = await asyncio.gather(*(ask(b"SELECT length($1::text) AS one", text) for text in texts))
        return [rows[0]["one"] for rows in [*answers, *[await ask(b"SELECT 5 AS one")]]]

    assert with_pipeline(piped.url, work) == [1, 8 << 20, 1, (8 << 20) + 1, 5]


def test_a_connection_that_breaks_off_while_it_is_written_to_is_told(piped: Database) -> None:
    """The server sleeps, and takes no more than its socket holds."""

    async def work(pipeline: Pipeline, ask: Asking) -> None:
        [row] = await ask(b"SELECT pg_backend_pid() AS pid")
        asked: Any = ((b"SELECT pg_sleep(600)", []), (b"SELECT length($1::text) AS one", [b"x" * (32 << 20)]))
        sent = [asyncio.ensure_future(pipeline.ask(text, values)) for text, values in asked]
        await asyncio.sleep(0.1)
        assert pipeline._writes, "some of it is left"
        await asyncio.to_thread(end, piped, row["pid"])
        answers = await asyncio.gather(*sent, return_exceptions=True)
        assert all(isinstance(answer, Unavailable | psycopg.Error) for answer in answers)
        [again] = await ask(b"SELECT pg_backend_pid() AS pid")
        assert again["pid"] != row["pid"]

    with_pipeline(piped.url, work)


def test_closed_it_tells_whoever_waits(piped: Database) -> None:
    async def work(pipeline: Pipeline, _: Asking) -> None:
        sleeping = asyncio.ensure_future(pipeline.ask(b"SELECT pg_sleep(600)", []))
        await asyncio.sleep(0.01)
        pipeline.close()
        with pytest.raises(Unavailable):
            await sleeping
        with pytest.raises(Unavailable):
            await pipeline.ask(b"SELECT 1", [])

    with_pipeline(piped.url, work)


def test_without_a_server_it_is_unavailable_at_once() -> None:
    async def run() -> None:
        pipeline = Pipeline("postgresql://nobody@127.0.0.1:1/none", WORK)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await pipeline.ask(b"SELECT 1", [])
            await asyncio.sleep(0.01)
        pipeline.close()

    asyncio.run(run())
