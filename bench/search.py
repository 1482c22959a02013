"""Search figures: p95 of the first match and of a JSON page over many calls, for a mix of the Transcoder's parameters.

``scripts/bench search`` makes the rows in an embedded PostgreSQL of its own (minutes), then gives one row per query:
p50 and p95 in ms of the first match and of a 100-row page, and of them what the server's processor took. One call in
ten has a transcript. Some of the questions are asked by users who may find a part of the calls only, by number, tag or
team. ``CALLREPLAY_BENCH_FOLDER`` keeps the database in that folder, and another run asks it again;
``CALLREPLAY_BENCH_ONLY`` is a pattern of what is asked.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import DictRow

from callreplay.store import search
from callreplay.store.database import Connection, Database, migrate
from callreplay.store.embedded import EmbeddedPostgres

ROWS = Path(__file__).with_name("search_rows.sql")
BATCH = 250_000
WORDS = """
INSERT INTO call_words (call_uuid, made_with, words, lexemes)
SELECT uuid, 'bench', '[]',
       (SELECT array_to_tsvector(array_agg(DISTINCT 'word' || floor(20000 * power(random(), 4))::integer))
          FROM generate_series(1, 80) WHERE calls.uuid IS NOT NULL)
  FROM calls WHERE identity::bigint % 10 = 0
"""
"""Transcripts of 80 words of 20,000: of one the most common word is in nearly all, the rarest in a few hundred."""
TEAM = 20  # numbers in the scope of a team


def fill(url: str, rows: int, say: Callable[[str], None] = print) -> None:
    """Make ``rows`` calls. The indexes are dropped for it and made again: the way one loads that many."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT setseed(0.25)")
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'calls' AND indexdef NOT LIKE '%UNIQUE%'"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f'DROP INDEX "{name}"'.encode())
        connection.execute("INSERT INTO tenants (name) VALUES ('second'), ('third')")
        row = connection.execute("SELECT id FROM tenants WHERE name = 'default'").fetchone()
        assert row is not None
        for start in range(1, rows + 1, BATCH):
            values = {"rows": rows, "from": start, "to": min(start + BATCH - 1, rows), "first": row[0]}
            connection.execute(ROWS.read_bytes(), values)
            say(f"  {values['to']} rows")
        words = [
            (name, definition)
            for name, definition in connection.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE indexname = 'call_words_lexemes'"
            )
        ]
        for name, _ in words:
            connection.execute(f'DROP INDEX "{name}"'.encode())
        connection.execute(WORDS.encode())
        indexes += words
        connection.execute("SET maintenance_work_mem = '512MB'")
        for _, definition in indexes:
            connection.execute(definition.encode())
        connection.execute("VACUUM ANALYZE calls")
        connection.execute("VACUUM ANALYZE call_words")


def queries(connection: Connection, count: int) -> dict[str, list[dict[str, str]]]:
    """Kinds of questions, each asked about calls drawn from the table."""
    drawn = _drawn(connection, count)
    zone = ZoneInfo("UTC")

    def each(make: Callable[[Any], dict[str, Any]]) -> list[dict[str, str]]:
        return [{name: str(value) for name, value in make(row).items()} for row in drawn]

    def time_of(row: Any) -> str:
        return search.format_time(row["started_at"], zone)

    return {
        "callId": each(lambda r: {"callId": r["uuid"]}),
        "wireCallId": each(lambda r: {"wireCallId": r["wire_call_id"]}),
        "beginTime": each(lambda r: {"beginTime": time_of(r)}),
        "callerIP": each(lambda r: {"callerIP": r["caller_ip"]}),
        "callerMAC + beginTime": each(lambda r: {"callerMAC": r["caller_mac"], "beginTime": time_of(r)}),
        "calledPort": each(lambda r: {"calledPort": r["called_port"]}),
        "callerNumber": each(lambda r: {"callerNumber": r["caller_number"]}),
        "callerNumber part": each(lambda r: {"callerNumber": r["caller_number"][-4:]}),
        "callerNumber two digits": each(lambda r: {"callerNumber": r["caller_number"][-2:]}),
        "callerName": each(lambda r: {"callerName": r["caller_name"][:8] or "Acme"}),
        "callerNumber + calledNumber": each(
            lambda r: {"callerNumber": r["caller_number"], "calledNumber": r["called_number"]}
        ),
        "calledName + calledIP": each(
            lambda r: {"calledName": r["called_name"][:6] or "Pop", "calledIP": r["called_ip"]}
        ),
        "callerIP + callerPort + beginTime": each(
            lambda r: {"callerIP": r["caller_ip"], "callerPort": r["caller_port"], "beginTime": time_of(r)}
        ),
        "no match": each(lambda r: {"callerName": "zyxwv", "calledNumber": r["called_number"]}),
        "party": each(lambda r: {"party": r["caller_number"]}),
        "party two words": each(lambda r: {"party": f"{r['caller_number'][-4:]} {r['called_number'][:2]}"}),
        "party two letters": each(lambda r: {"party": r["caller_name"][:2] or "Po"}),
        "lossAbove": each(lambda r: {"lossAbove": 30 + r["caller_port"] % 60}),
        "mosBelow + calledNumber": each(lambda r: {"mosBelow": 2, "calledNumber": r["called_number"]}),
        "mosAbove": each(lambda r: {"mosAbove": 4}),
        "longerThan + callerName": each(
            lambda r: {"longerThan": "9m", "callerName": r["caller_name"][:8] or "Acme"}
        ),
        "shorterThan, lossBelow": each(
            lambda r: {"shorterThan": "3s", "lossBelow": 1 + r["caller_port"] % 9}
        ),
        "codec": each(lambda r: {"codec": r["codecs"][0]}),
        "status": each(lambda r: {"status": "failed"}),
        "oneWay + callerNumber part": each(
            lambda r: {"oneWay": "true", "callerNumber": r["caller_number"][-3:]}
        ),
        "talkLongerThan": each(lambda r: {"talkLongerThan": f"9m{r['caller_port'] % 50}s"}),
        "talkShorterThan + callerNumber part": each(
            lambda r: {"talkShorterThan": "3s", "callerNumber": r["caller_number"][-3:]}
        ),
        "silenceAbove": each(lambda r: {"silenceAbove": 99 + r["caller_port"] % 10 / 10}),
        "silenceBelow + status": each(lambda r: {"silenceBelow": 1, "status": "failed"}),
    }


def said(connection: Connection, count: int) -> dict[str, list[dict[str, str]]]:
    """Kinds of questions about words: common, rare, several, beside other conditions."""
    drawn = _drawn(connection, count)

    def each(make: Callable[[Any], dict[str, Any]]) -> list[dict[str, str]]:
        return [{name: str(value) for name, value in make(row).items()} for row in drawn]

    def rare(row: Any) -> str:
        return f"word{15000 + row['caller_port'] % 5000}"

    def common(row: Any) -> str:
        return f"word{row['caller_port'] // 2 % 5}"

    return {
        "words common": each(lambda r: {"words": common(r)}),
        "words rare": each(lambda r: {"words": rare(r)}),
        "words of middling use": each(lambda r: {"words": f"word{200 + r['caller_port'] % 2000}"}),
        "words two common": each(lambda r: {"words": f"{common(r)} word{5 + r['called_port'] // 2 % 5}"}),
        "words two rare": each(lambda r: {"words": f"{rare(r)} word{14000 + r['called_port'] % 1000}"}),
        "words no match": each(lambda r: {"words": f"nobody{r['caller_port']}"}),
        "words common -common": each(lambda r: {"words": f"word0 -{common(r)}"}),
        "words rare or common": each(lambda r: {"words": f"{rare(r)} or {common(r)}"}),
        "words common + callerNumber": each(
            lambda r: {"words": common(r), "callerNumber": r["caller_number"]}
        ),
        "words rare + calledNumber part": each(
            lambda r: {"words": rare(r), "calledNumber": r["called_number"][-2:]}
        ),
        "words common + lossAbove": each(lambda r: {"words": common(r), "lossAbove": 30}),
    }


def scopes(connection: Connection, count: int) -> dict[str, tuple[list[search.Reach], list[dict[str, str]]]]:
    """What users ask who may find a part of the calls: their own number's, a team's, those with a tag."""
    zone, rng = ZoneInfo("UTC"), random.Random(11)
    seldom = [str(1000 + int(3999 * rng.random() ** 2)) for _ in range(count)]

    def own(number: str) -> str:
        return f"callerNumber={number}\ncalledNumber={number}"

    def team(_: str) -> str:
        return "\n".join(own(str(1000 + int(3999 * rng.random() ** 2))) for _ in range(TEAM))

    bounds: dict[str, Callable[[str], str]] = {
        "own": own,
        "team": team,
        "tag": lambda _: "tag=sales",
        "prefix": lambda number: f"callerNumber={number[:3]}",
    }
    asked: dict[str, Callable[[str], dict[str, str]]] = {
        "everything": lambda number: {},
        "callerNumber part": lambda number: {"callerNumber": f"{number[-1]}7{number[-2]}"},
        "lossAbove": lambda number: {"lossAbove": "50"},
        "words common": lambda number: {"words": "word1"},
        "words rare": lambda number: {"words": f"word15{number[-3:]}"},
        "sort length": lambda number: {"sort": "length"},
    }
    return {
        f"{bound} scope, {name}": (
            [search.Reach.parse(1, make(number), zone) for number in seldom],
            [ask(number) for number in seldom],
        )
        for bound, make in bounds.items()
        for name, ask in asked.items()
    }


def orders(connection: Connection, count: int) -> dict[str, list[dict[str, str]]]:
    """Each order of the list, of everything and of what few calls meet; ``sort`` is none of the search's parameters."""
    asked = queries(connection, count)["callerNumber part"]
    made = {}
    for name in search.SORTS:
        made[f"sort {name}"] = [{"sort": name}] * count
        made[f"sort {name}, callerNumber part"] = [each | {"sort": name} for each in asked]
    return made


def adversarial(connection: Connection, count: int) -> dict[str, list[dict[str, str]]]:
    """Kinds of questions made to be slow: texts that have no trigram, and conditions common each that never meet."""
    highest = _count(connection)
    rows = connection.execute(
        "SELECT * FROM calls WHERE tenant_id = 1 AND caller_number LIKE '0%%' AND caller_name <> '' "
        "AND identity = ANY(%s) ORDER BY uuid LIMIT %s",
        ([str(random.Random(n).randrange(1, highest)) for n in range(40 * count)], count),
    ).fetchall()

    def each(make: Callable[[Any, int], dict[str, Any]]) -> list[dict[str, str]]:
        return [{name: str(value) for name, value in make(row, n).items()} for n, row in enumerate(rows)]

    letters = "etaoinsrhldcumfpgwybvkxjqz"
    return {
        "name one letter": each(lambda r, n: {"callerName": letters[n % 26]}),
        "name two letters": each(lambda r, n: {"callerName": r["caller_name"][n % 4 :][:2]}),
        "name one sign, no match": each(lambda r, n: {"callerName": "#§@~"[n % 4]}),
        "name two letters, no match": each(lambda r, n: {"calledName": "q" + letters[n % 26]}),
        "number one sign, no match": each(lambda r, n: {"callerNumber": "#*+-"[n % 4]}),
        # A caller from outside has a company's name, a called extension is a person; seldom or never the other way.
        "two letters each, never meeting": each(
            lambda r, n: {"callerName": ("xw", "qz", "kx", "vw")[n % 4], "calledName": letters[n % 26]}
        ),
        "number and name, never meeting": each(
            lambda r, n: {"callerNumber": f"0{n % 10}", "callerName": ("Ș", "Jü", "ao", "hn")[n % 4]}
        ),
        "callerIP + name one letter": each(
            lambda r, n: {"callerIP": r["caller_ip"], "callerName": letters[n % 26]}
        ),
        "callerIP + name one letter, never meeting": each(
            lambda r, n: {"callerIP": r["caller_ip"], "callerName": "Șéíó"[n % 4]}
        ),
        "two names + number": each(
            lambda r, n: {"callerName": r["caller_name"][:2], "calledName": r["called_name"][:2],
                          "callerNumber": str(n % 100)}
        ),
        "two names + number, never meeting": each(
            lambda r, n: {"callerName": r["caller_name"][:2], "calledName": r["called_name"][:2],
                          "calledNumber": f"0{n % 10}"}
        ),
        "MAC + name two letters": each(
            lambda r, n: {"callerMAC": r["caller_mac"], "callerName": r["caller_name"][-2:]}
        ),
        "MAC + name two letters, never meeting": each(
            lambda r, n: {"callerMAC": r["caller_mac"], "callerName": ("hn", "Jü", "Hi")[n % 3]}
        ),
        "two IPs, no match": each(
            lambda r, n: {"callerIP": r["caller_ip"], "calledIP": f"10.0.0.{1 + n % 4}"}
        ),
        "IP and MAC, no match": each(
            lambda r, n: {"callerIP": f"10.0.0.{1 + n % 4}", "callerMAC": f"00:1b:54:ff:00:0{(n + 1) % 4}"}
        ),
    }  # fmt: skip


def _drawn(connection: Connection, count: int) -> list[DictRow]:
    """Calls of the table, always the same."""
    highest = _count(connection)
    return connection.execute(
        "SELECT * FROM calls WHERE tenant_id = 1 AND identity = ANY(%s)",
        ([str(random.Random(n).randrange(1, highest)) for n in range(2 * count)],),
    ).fetchall()[:count]


def _count(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) AS n FROM calls").fetchone()
    assert row is not None
    return int(row["n"])


class _Taken(NamedTuple):
    """Milliseconds; of the server's processor where other programs are at work beside it."""

    p50: float
    p95: float
    cpu_p50: float
    cpu_p95: float


def measure(
    connection: Connection,
    asked: list[dict[str, str]],
    limit: int,
    reaches: Sequence[search.Reach] = (search.Reach(1),),
) -> _Taken:
    """p50 and p95 in ms, of the clock and of the server's processor; ``reaches``: who asks, in turn."""
    zone, taken, worked = ZoneInfo("UTC"), list[float](), list[float]()
    spent = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    for values, reach in zip(asked, itertools.cycle(reaches), strict=False):
        query = search.CallQuery.parse(values, zone)
        before, started = int(spent.read_text().split()[0]), time.perf_counter()
        search.find(connection, reach, query, limit=limit, sort=values.get("sort", "start"))
        taken.append((time.perf_counter() - started) * 1000)
        worked.append((int(spent.read_text().split()[0]) - before) / 1e6)
        connection.rollback()
    return _Taken(*(_share(times, part) for times in (taken, worked) for part in (0.5, 0.95)))


def _share(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(part * len(times)))]


def run(rows: int = 0, count: int = 100) -> list[dict[str, Any]]:
    """One row per kind of query; ``CALLREPLAY_BENCH_ROWS`` sets how many calls there are (5 million)."""
    rows = rows or int(os.environ.get("CALLREPLAY_BENCH_ROWS", "5000000"))
    kept = os.environ.get("CALLREPLAY_BENCH_FOLDER")
    folder = Path(kept or tempfile.mkdtemp(prefix="callreplay-bench-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder, port=0, settings={"max_wal_size": "4GB"}) as server:
            migrate(server.url)
            with Database(server.url, size=1) as database:
                with database.connection() as connection:
                    is_full = _count(connection) >= rows
                if not is_full:
                    fill(server.url, rows, lambda _: None)
                with database.connection() as connection:
                    return _measured(connection, rows, count)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _measured(connection: Connection, rows: int, count: int) -> list[dict[str, Any]]:
    everybody = [search.Reach(1)]
    kinds = queries(connection, count) | said(connection, count)
    kinds |= adversarial(connection, count) | orders(connection, count)
    asking: dict[str, tuple[list[search.Reach], list[dict[str, str]]]]
    asking = {name: (everybody, asked) for name, asked in kinds.items()} | scopes(connection, count)
    made: list[dict[str, Any]] = []
    only = os.environ.get("CALLREPLAY_BENCH_ONLY", "")
    for name, (reaches, asked) in asking.items():
        if re.search(only, name) is None:
            continue
        measure(connection, asked[:10], 1, reaches)  # warm
        first, page = measure(connection, asked, 1, reaches), measure(connection, asked, 100, reaches)
        row: dict[str, Any] = {"name": f"search {name}, {rows} calls"}
        for what, figures in (("first", first), ("page", page)):
            row |= {f"{what} {each.replace('_', ' ')} ms": value for each, value in figures._asdict().items()}
        made.append(row)
        print(made[-1], flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--queries", type=int, default=100, help="of each kind")
    options = parser.parse_args()
    for row in run(options.rows, options.queries):
        figures = "  ".join(f"{key} {value:.2f}" for key, value in row.items() if key != "name")
        print(f"{row['name']:56} {figures}")


if __name__ == "__main__":
    main()
