"""Two worker processes: work done once, one bound for both; and what others can see of them holds no secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from .conftest import AS_NOBODY, Running, ended, fresh
from .test_lifecycle import cached, postmaster

pytestmark = [pytest.mark.database, pytest.mark.slow]
HOME = "/CallRecorder/"
TRANSCODER = "/CallRecorder/Transcoder"
# What any process sees of the others.
LOOK = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true"


@pytest.fixture(scope="module")
def pair() -> Iterator[Running]:
    with ended(
        fresh(("--workers", "2", "--cache-bytes", str(1 << 20), "--metrics-listen", "127.0.0.1:0"))
    ) as running:
        running.from_nothing = True  # what other processes see of it is that of a program started by itself
        running.environment["CALLREPLAY_DB_PASSWORD"] = "Tell-No1-of-the-database"
        yield running.start()
        assert running.stop() == 0, "both workers end, and the database"


def test_two_workers_do_equal_work_once_and_keep_the_bound_together(pair: Running) -> None:
    before = len(cached(pair, "."))

    def fetch(rate: int) -> bytes:
        parameters = {"format": "wav", "callerName": "ana", "rate": str(rate)}
        with pair.basic() as client:
            answer = client.get("/CallRecorder/Transcoder", params=parameters)
            assert answer.status_code == 302, answer.text
            found = httpx.get(pair.base + answer.headers["location"], timeout=30)
            assert found.status_code == 200
            return found.content

    with ThreadPoolExecutor(8) as pool:
        everything = set(pool.map(fetch, [8000] * 24))
        assert len(everything) == 1
        assert len(cached(pair, ".")) == before + 1
        rates = [8000 + 1000 * (n % 8) for n in range(20)]
        answers = list(pool.map(fetch, rates))
    assert len(set(answers)) == len(set(rates)), "whatever was evicted meanwhile"
    assert sum(map(len, set(answers))) > 2 << 20
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in cached(pair)) > 1 << 20 or cached(pair, ".part"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert cached(pair, ".")


def test_every_worker_tells_the_figures_of_all(pair: Running) -> None:
    def told() -> float:
        text = httpx.get(pair.metrics).text
        counts = re.findall(
            r'^callreplay_requests_total{[^}]*route="healthz"[^}]*} (\S+)$', text, re.MULTILINE
        )
        return sum(map(float, counts))

    before = told()
    for _ in range(30):  # each by a connection of its own, taken by whichever worker is first
        assert httpx.get(pair.base + "/healthz").status_code == 200
    assert {told() for _ in range(20)} == {before + 30}


def log_in_by_every_way(pair: Running) -> dict[str, str]:
    """Come in by every way, and fail each once; play and transcode. Every secret that took part, by its name."""
    secrets = {"admin": pair.password, "database": pair.environment["CALLREPLAY_DB_PASSWORD"]}
    wrong = iter(f"Tell-No1 ü {n}" for n in range(9))

    def mistaken() -> str:
        made = next(wrong)
        secrets[made] = made
        return made

    login = "/CallRecorder/Login"
    given = {"user": "admin", "tenant": "default"}
    with pair.client() as client:
        codes = [client.post(login, data={**given, "password": mistaken()}).status_code]
        codes += [client.get(HOME, params={**given, "password": mistaken()}).status_code]
        codes += [
            client.get(TRANSCODER, params={**given, "PassWord": "x", "password": mistaken()}).status_code
        ]
        codes += [client.get(TRANSCODER, auth=("admin", mistaken())).status_code]
        assert codes == [401] * 4
        pair.rows("DELETE FROM login_failures")
        secrets["no token"] = "crt_Tell-No1-of-a-token"
        bearer = {"authorization": f"Bearer {secrets['no token']}"}
        assert client.get(TRANSCODER, headers=bearer).status_code == 401
    ways: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("POST", login, {"data": {**given, "password": pair.password}}),
        ("GET", HOME, {"params": {**given, "password": pair.password}}),
    )
    for number, (method, path, values) in enumerate(ways):
        with pair.client() as client:
            answer = client.request(method, path, **values)
            assert answer.status_code == 303
            secrets[f"session {number}"] = client.cookies["callreplay_session"]
            page = client.get("/CallRecorder/Users").text
            csrf = secrets[f"csrf {number}"] = page.split('name="csrf" value="')[1].split('"')[0]
            made = client.post(
                "/CallRecorder/Tokens/add", data={"csrf": csrf, "name": "robot"}, follow_redirects=True
            )
            found = re.search(r"crt_[\w-]+", made.text)
            assert found
            secrets[f"token {number}"] = found[0]
            fields = {"csrf": csrf, "login": f"ana{number}", "password": mistaken(), "role": "user"}
            assert client.post("/CallRecorder/Users/add", data=fields).status_code == 303
            [call] = client.get(TRANSCODER, params={"format": "json", "callerName": "ana pop"}).json()
            page = client.get(HOME, params={"player": call["callId"]}).text
            urls = re.findall(r"/CallRecorder/Temp/([^/\"]+)/([^\"]+)", page)
            assert urls
            for token, name in urls:
                secrets[f"temporary {token[:20]}"] = token
                assert (
                    client.get(f"/CallRecorder/Temp/{token}/{name}".replace("&amp;", "&")).status_code == 200
                )
    with pair.client() as client:
        allowed: tuple[tuple[str, dict[str, str], dict[str, Any]], ...] = (
            ("spx", {**given, "password": pair.password}, {}),
            ("png", {}, {"auth": ("admin", pair.password)}),
            ("wav", {}, {"headers": {"authorization": f"Bearer {secrets['token 1']}"}}),
        )
        for form, parameters, options in allowed:
            answer = client.get(TRANSCODER, params={"format": form, **parameters}, **options)
            assert answer.status_code == 302, answer.text
            assert client.get(answer.headers["location"]).status_code == 200
            secrets[f"redirect {form}"] = answer.headers["location"].split("/")[-2]
        [row] = pair.rows("SELECT value FROM settings WHERE key = 'storage.player_password'")
        secrets["player"] = row["value"]
        file = call["legs"][0]["files"][0]
        stored = f"/CallRecorder/Storage/{file['volumeId']}/{file['path']}"
        assert client.get(stored, auth=("player", mistaken())).status_code == 401
        assert client.get(stored, auth=("player", secrets["player"])).status_code == 200
    kept = json.loads((pair.folder / "data" / "database.json").read_text())
    assert kept["password"] == secrets["database"]
    [row] = pair.rows("SELECT value FROM settings WHERE key = 'urls.signing_key'")
    return secrets | {"superuser": kept["superuser_password"], "signing key": row["value"]}


def test_no_secret_is_seen_in_logs_processes_audit_or_cache(pair: Running) -> None:
    assert pair.process is not None
    secrets = log_in_by_every_way(pair)
    # The database tells of statements that fail: with a parameter that no log may hold.
    with pair.client() as client:
        client.post("/CallRecorder/Login", data={"user": "a\0b", "password": secrets["Tell-No1 ü 0"]})
    with pytest.raises(psycopg.errors.DivisionByZero):
        pair.rows("SELECT %s::text, 1 / %s", secrets["Tell-No1 ü 1"], 0)
    pair.rows("DELETE FROM login_failures")
    log = pair.log
    shown = {"log": log.encode(), "out": (pair.folder / "out").read_bytes()}
    shown["PostgreSQL log"] = (pair.folder / "data" / "postgresql.log").read_bytes()
    shown["audit log"] = json.dumps(
        [row["row"] for row in pair.rows("SELECT a::text AS row FROM audit_log a")]
    ).encode()
    shown["metrics"] = httpx.get(pair.metrics).content
    prefix = AS_NOBODY[:4] if os.geteuid() == 0 else ()
    looked = subprocess.run([*prefix, "sh", "-c", LOOK], capture_output=True, check=True)
    shown["processes"] = looked.stdout
    assert os.fsencode(pair.folder) in looked.stdout, "the service's are among them"
    shown["PostgreSQL process"] = Path(f"/proc/{postmaster(pair)}/environ").read_bytes()
    for path in cached(pair):
        shown[f"cache {path.name[:8]}"] = path.read_bytes()
    for name, secret in secrets.items():
        for place, text in shown.items():
            if (name, place) == ("admin", "out"):
                assert text.count(secret.encode()) == 1, "told once to the terminal"
                continue
            for form in {
                secret,
                quote(secret),
                secret.replace("ü", "\\u00fc"),
                secret.rpartition(" ")[0] or secret,
            }:
                assert form.encode() not in text, f"{name} is in {place}"
    # All that was done is there, its secrets masked.
    lines = [json.loads(line) for line in log.splitlines()]
    queries = [line["query"] for line in lines if line.get("query")]
    assert any("password=***" in query and "user=admin" in query for query in queries)
    assert any("PassWord=***" in query for query in queries)
    paths = {line["message"].split("?")[0] for line in lines if "status" in line}
    assert {"POST /CallRecorder/Login", "GET /CallRecorder/", "GET /CallRecorder/Transcoder"} <= paths
    assert any(path.startswith("GET /CallRecorder/Temp/.../") for path in paths)
