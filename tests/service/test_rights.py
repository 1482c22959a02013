"""Who may do what with which calls, by every door; and who gives such rights."""

from __future__ import annotations

import asyncio
import http.server
import json
import math
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from argon2 import PasswordHasher

from callreplay.service.app import create_app
from callreplay.service.settings import Settings
from callreplay.store import accounts, people
from tests import programs

from .conftest import Running, ended, fresh

if TYPE_CHECKING:
    from starlette.applications import Starlette

pytestmark = pytest.mark.database
HOME = "/CallRecorder/"
TRANSCODER = "/CallRecorder/Transcoder"
PASSWORD = "a password of some length"
HASHED = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
ACTOR = people.Actor("test")


@pytest.fixture(scope="module")
def listened() -> Iterator[Running]:
    """A service of these tests alone."""
    with ended(fresh()) as running:
        yield running.start()


@pytest.fixture
def doors(listened: Running, tmp_path: Path) -> Iterator[Starlette]:
    made = create_app(Settings(database_url=listened.database_url, data_dir=str(tmp_path)))
    made.state.service.open()
    listened.rows("DELETE FROM login_failures")
    yield made
    made.state.service.close()
    listened.rows("DELETE FROM login_failures")


def ask(
    app: Any, method: str, path: str, login: str = "", client: str = "127.0.0.1", **options: Any
) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
            auth = (login, PASSWORD) if login else None
            return await asking.request(method, path, auth=auth, **options)

    return asyncio.run(run())


@contextmanager
def person(running: Running, login: str, **options: Any) -> Iterator[int]:
    """A user of the tenant default, with the password of all of them."""
    with connected(running) as connection:
        tenant = accounts.tenant_id(connection, "default")
        made = people.add_user(connection, ACTOR, tenant, login, HASHED, **options)
    try:
        yield made
    finally:
        running.rows("DELETE FROM users WHERE id = %s", made)


@contextmanager
def connected(running: Running) -> Iterator[Any]:
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(running.database_url, row_factory=dict_row) as connection:
        yield connection


def calls(app: Any, login: str, **parameters: str) -> list[dict[str, Any]]:
    answer = ask(app, "GET", TRANSCODER, login, params={"format": "json", **parameters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


@pytest.fixture
def everything(listened: Running, doors: Any) -> list[dict[str, Any]]:
    with person(listened, "whole"):
        found = calls(doors, "whole")
    assert len(found) == 3
    return found


def session(running: Running, user: int) -> dict[str, str]:
    from datetime import timedelta

    with connected(running) as connection:
        return {
            "cookie": f"callreplay_session={accounts.open_session(connection, user, '', timedelta(hours=1))}"
        }


# -- scopes ---------------------------------------------------------------------------------------------------------


def test_a_scope_holds_at_every_door(listened: Running, doors: Any, everything: list[dict[str, Any]]) -> None:
    mine = next(call for call in everything if call["callerNumber"] and call["legs"])
    hidden = next(call for call in everything if call["callerNumber"] != mine["callerNumber"]
                  and mine["callerNumber"] not in call["callerNumber"] and call["legs"])  # fmt: skip
    shut = 0
    with person(listened, "bound", scope=f"callerNumber={mine['callerNumber']}") as user:
        headers = session(listened, user)
        csrf = re.search(r'name="csrf" value="([^"]+)', ask(doors, "GET", HOME, headers=headers).text)
        assert csrf
        for route in doors.routes:
            for method in sorted(getattr(route, "methods", None) or {"GET"}):
                for place in places(route.path, hidden["callId"]):
                    form = {"csrf": csrf[1], "description": "x"} if method == "POST" else None
                    if method == "POST" and not place.endswith("/description"):
                        continue
                    answer = ask(doors, method, place, headers=headers, data=form)
                    text = answer.text.replace(place, "")
                    assert hidden["wireCallId"] not in text or not hidden["wireCallId"], place
                    assert hidden["legs"][0]["files"][0]["path"] not in text, place
                    if hidden["callId"] in place:
                        own = ask(doors, method, place.replace(hidden["callId"], mine["callId"]), headers=headers,
                                  data=form)  # fmt: skip
                        assert own.status_code in (200, 302, 303), (place, own.text[:200])
                        empty = "" if method == "HEAD" else "[]"
                        refused = answer.status_code == 404 or (answer.status_code, answer.text) == (
                            200,
                            empty,
                        )
                        assert refused, (place, answer.status_code, answer.text[:200])
                        shut += 1
        assert shut >= 12
        assert [call["callId"] for call in calls(doors, "bound")] == [
            call["callId"] for call in everything if mine["callerNumber"] in call["callerNumber"]
        ]
        shown = ask(doors, "GET", HOME, headers=headers).text
        assert mine["callId"] in shown
        assert hidden["callId"] not in shown
        assert calls(doors, "bound", after=hidden["callId"]) == []
    assert listened.rows("SELECT 1 FROM calls WHERE description = 'x' AND uuid = %s", hidden["callId"]) == []


def places(path: str, call: str) -> list[str]:
    """Addresses by which a route might lead to a call."""
    if "{uuid}" in path:
        return [path.replace("{uuid}", call)]
    if path == HOME:
        return [
            f"{HOME}?callDetails={call}",
            f"{HOME}?callDetails={call}&nomenu",
            f"{HOME}?player={call}",
        ] + [f"{HOME}?callDetails={call}&tab={tab}" for tab in ("media", "events", "advanced")]
    if path == TRANSCODER:
        forms = ("wav", "spx", "png", "rtp", "json", "peaks")
        return [f"{TRANSCODER}?callId={call}&format={form}" for form in forms]
    return [] if "{" in path or "healthz" in path or "Logout" in path else [path]


def test_several_lines_are_alternatives(
    listened: Running, doors: Any, everything: list[dict[str, Any]]
) -> None:
    one, other = everything[0], everything[-1]
    scope = f"wireCallId={one['wireCallId']}\ncallId={other['callId']}"
    with person(listened, "two", scope=scope):
        assert {call["callId"] for call in calls(doors, "two")} == {one["callId"], other["callId"]}
    for wrong in ("nothing=1", "callerIP=x", "callerNumber=", "x", "callId=1\n" * 60):
        with (
            pytest.raises(people.RefusedError, match=r"scope|callerIP|callId"),
            person(listened, "wrong", scope=wrong),
        ):
            pass


def test_a_tag_is_a_scope(listened: Running, doors: Any, everything: list[dict[str, Any]]) -> None:
    tagged = everything[1]["callId"]
    listened.rows("UPDATE calls SET tags = '{sales}' WHERE uuid = %s", tagged)
    with person(listened, "sales", scope="tag=sales"):
        assert [call["callId"] for call in calls(doors, "sales")] == [tagged]
        assert calls(doors, "sales", tag="other") == []


def test_batch_and_calls_keep_to_a_scope(
    listened: Running, everything: list[dict[str, Any]], tmp_path: Path
) -> None:
    mine = next(call for call in everything if call["legs"])
    with person(listened, "batch", scope=f"callId={mine['callId']}"):
        found = command(listened, "calls", "find", "--json", "--user", "batch")
        assert [call["callId"] for call in json.loads(found.stdout)] == [mine["callId"]]
        out = tmp_path / "out"
        done = command(listened, "batch", "--query", "", "--user", "batch", "-o", str(out), "--format", "wav")
        assert done.returncode == 0, done.stderr
        assert [path.stem for path in out.rglob("*.wav")] == [mine["callId"]]
    assert "no user" in command(listened, "calls", "find", "--user", "batch").stderr


def command(running: Running, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CALLREPLAY_DATABASE_URL": running.database_url}
    return programs.run(words, capture_output=True, text=True, env=environment, timeout=120, **options)


# -- roles and tokens -----------------------------------------------------------------------------------------------


def test_a_role_is_what_it_allows(listened: Running, doors: Any, everything: list[dict[str, Any]]) -> None:
    call = next(each for each in everything if each["legs"])["callId"]
    with connected(listened) as connection:
        people.define_role(connection, ACTOR, "finder", ["search"])
    expected = {
        "finder": {
            "json": 200,
            "wav": 403,
            "png": 403,
            "mp3": 403,
            "rtp": 403,
            "player": 403,
            "describe": 403,
        },
        "listener": {
            "json": 200,
            "wav": 302,
            "png": 302,
            "mp3": 403,
            "rtp": 403,
            "player": 200,
            "describe": 403,
        },
        "user": {"json": 200, "wav": 302, "png": 302, "rtp": 302, "player": 200, "describe": 303},
    }
    for role, doors_of in expected.items():
        with person(listened, f"a-{role}", role=role) as user:
            headers = session(listened, user)
            page = ask(doors, "GET", f"{HOME}?callDetails={call}", headers=headers).text
            csrf = re.search(r'name="csrf" value="([^"]+)', page)
            assert csrf
            assert ('class="downloads"' in page) is (role == "user")
            for door, status in doors_of.items():
                if door == "player":
                    answer = ask(doors, "GET", f"{HOME}?player={call}", headers=headers)
                elif door == "describe":
                    answer = ask(doors, "POST", f"/CallRecorder/Call/{call}/description", headers=headers,
                                 data={"csrf": csrf[1], "description": ""})  # fmt: skip
                else:
                    answer = ask(doors, "GET", f"{TRANSCODER}?callId={call}&format={door}", f"a-{role}")
                assert answer.status_code == status, (role, door, answer.text[:300])
            if role == "listener":
                place = ask(doors, "GET", f"{TRANSCODER}?callId={call}", f"a-{role}").headers["location"]
                assert ask(doors, "GET", place).status_code == 200
                assert ask(doors, "GET", place + "?download").status_code == 403
    with connected(listened) as connection, pytest.raises(people.RefusedError, match="comes with"):
        people.define_role(connection, ACTOR, "admin", ["search"])


def test_a_token_has_the_rights_it_was_given_and_ends(
    listened: Running, doors: Any, everything: list[dict[str, Any]]
) -> None:
    from datetime import timedelta

    call = next(each for each in everything if each["legs"])["callId"]
    forms = {"json": "search", "wav": "play", "rtp": "rtp"}

    def statuses(token: str) -> dict[str, int]:
        headers = {"authorization": f"Bearer {token}"}
        return {
            form: ask(doors, "GET", f"{TRANSCODER}?callId={call}&format={form}", headers=headers).status_code
            for form in forms
        }

    with person(listened, "owner", role="listener") as user, connected(listened) as connection:
        tenant = accounts.tenant_id(connection, "default")

        def token(rights: list[str] | None, lifetime: timedelta | None = None) -> str:
            made = people.add_token(connection, ACTOR, tenant, user, "t", lifetime, rights)
            connection.commit()
            return made

        assert statuses(token(["search"])) == {"json": 200, "wav": 403, "rtp": 403}
        assert statuses(token(["play"])) == {"json": 403, "wav": 302, "rtp": 403}
        assert statuses(token(["search", "play", "download", "rtp"])) == {
            "json": 200,
            "wav": 302,
            "rtp": 403,
        }, "no more than the owner's"
        assert statuses(token(None)) == {"json": 200, "wav": 302, "rtp": 403}
        assert set(statuses(token(None, timedelta(seconds=-1))).values()) == {401}
        listened.rows("DELETE FROM login_failures")
        whole = token(None)
        people.lock_user(connection, ACTOR, tenant, user, True)
        connection.commit()
        assert set(statuses(whole).values()) == {401}
        with pytest.raises(people.RefusedError, match="rights"):
            token(["administer"])


def test_temporary_addresses_end_with_their_user_tenant_and_scope(
    listened: Running, doors: Any, everything: list[dict[str, Any]]
) -> None:
    call = next(each for each in everything if each["legs"])["callId"]
    with person(listened, "leaver") as user:
        headers = session(listened, user)
        page = ask(doors, "GET", f"{HOME}?player={call}", headers=headers).text
        held = [ask(doors, "GET", f"{TRANSCODER}?callId={call}", "leaver").headers["location"]]
        held += re.findall(r'(?:src|data-zoom)="(/CallRecorder/Temp/[^"]+)', page)
        assert len(held) == 3
        assert [ask(doors, "GET", place).status_code for place in held] == [200] * 3
        for lock, release, status in (
            ("UPDATE users SET disabled_at = now() WHERE login = 'leaver'",
             "UPDATE users SET disabled_at = NULL WHERE login = 'leaver'", 410),
            ("UPDATE tenants SET disabled_at = now() WHERE name = 'default'",
             "UPDATE tenants SET disabled_at = NULL WHERE name = 'default'", 410),
            ("UPDATE users SET scope = 'callerNumber=nobody' WHERE login = 'leaver'",
             "UPDATE users SET scope = '' WHERE login = 'leaver'", 404),
            ("INSERT INTO roles VALUES ('nothing', '{}')",
             "UPDATE users SET role = 'nothing' WHERE login = 'leaver'", 200),
            ("SELECT 1", "SELECT 1", 403),
        ):  # fmt: skip
            listened.rows(lock)
            assert {ask(doors, "GET", place).status_code for place in held} == {status}, lock
            listened.rows(release)
    assert {ask(doors, "GET", place).status_code for place in held} == {410}, "the user is no more"


def test_every_way_to_a_recording_leaves_a_row(
    listened: Running, doors: Any, everything: list[dict[str, Any]]
) -> None:
    call = next(each for each in everything if each["legs"])
    uuid, file = call["callId"], call["legs"][0]["files"][0]
    [row] = listened.rows("SELECT value FROM settings WHERE key = 'storage.player_password'")

    def written() -> list[tuple[str, str, str]]:
        rows = listened.rows("SELECT action, actor, object FROM audit_log WHERE id > %s ORDER BY id", last)
        return [(each["action"], each["actor"], each["object"]) for each in rows]

    with person(listened, "watched") as user:
        headers = session(listened, user)
        [newest] = listened.rows("SELECT max(id) AS id FROM audit_log")
        last = newest["id"]
        place = ask(doors, "GET", f"{TRANSCODER}?callId={uuid}", "watched").headers["location"]
        assert written() == [("transcode", "watched", uuid)]
        for _ in range(3):
            ask(doors, "GET", place, headers={"range": "bytes=0-9"})
        ask(doors, "HEAD", place)
        assert written()[1:] == [("fetch", "watched", uuid)]
        calls(doors, "watched", callerName="ana", callId="")
        assert written()[2:] == [("search", "watched", "")]
        page = ask(doors, "GET", f"{HOME}?player={uuid}", headers=headers).text
        ask(doors, "GET", f"{HOME}?callDetails={uuid}", headers=headers)
        assert written()[3:] == [("call.view", "watched", uuid)] * 2
        played = re.search(r'<audio[^>]* src="([^"]+)', page)
        assert played
        ask(doors, "GET", played[1])
        assert written()[5:] == [("play", "watched", uuid)]
        storage = f"/CallRecorder/Storage/{file['volumeId']}/{file['path']}"
        for password, status in ((row["value"], 200), ("wrong", 401)):
            with httpx.Client(base_url=listened.base, auth=("player", password)) as client:
                assert client.get(storage).status_code == status
        assert written()[6:] == [
            ("storage.read", "player", f"{file['volumeId']}/{file['path']}"),
            ("storage.refused", "", ""),
        ]
        [details] = listened.rows(
            "SELECT detail FROM audit_log WHERE action = 'search' ORDER BY id DESC LIMIT 1"
        )
        assert details["detail"] == {"asked": {"callerName": "ana"}, "calls": 1}


# -- logging in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["form", "basic", "address"])
def test_of_many_guesses_at_once_few_are_tried(
    listened: Running, doors: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    inner = PasswordHasher.verify

    def verify(hasher: PasswordHasher, kept: str, password: str) -> bool:
        tried.append(password)
        return inner(hasher, kept, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)

    async def run() -> list[int]:
        transport = httpx.ASGITransport(doors)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

            async def one(number: int) -> int:
                given = {"user": "guessed", "password": f"guess {number}" if number != 149 else PASSWORD}
                if way == "form":
                    return (await client.post("/CallRecorder/Login", data=given)).status_code
                if way == "basic":
                    auth = (given["user"], given["password"])
                    return (await client.get(TRANSCODER, params={"format": "json"}, auth=auth)).status_code
                return (await client.get(TRANSCODER, params={"format": "json", **given})).status_code

            return list(await asyncio.gather(*(one(number) for number in range(150))))

    with person(listened, "guessed"):
        began = time.monotonic()
        codes = asyncio.run(run())
        seconds = time.monotonic() - began
    # The wait is a second then, and doubles with each that follows.
    allowed = 5 + math.ceil(math.log2(1 + seconds))
    assert len(tried) <= allowed, "as many as one after the other"
    assert set(codes) <= {401, 429, 303, 200}
    assert codes.count(429) >= 150 - allowed


def test_storage_is_not_guessed_at_once(listened: Running) -> None:
    def one(number: int) -> int:
        place = f"{listened.base}/CallRecorder/Storage/1/nothing"
        return httpx.get(place, auth=("player", f"guess {number}"), timeout=30).status_code

    began = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        codes = list(pool.map(one, range(150)))
    later = math.ceil(math.log2(1 + time.monotonic() - began))
    listened.rows("DELETE FROM login_failures")
    assert codes.count(401) <= 20 + max(6, later), "and one after a second, two, four, on a busy machine"
    assert set(codes) == {401, 429}


@pytest.mark.parametrize("way", ["basic", "address"])
def test_a_good_credential_forgives_however_it_comes(listened: Running, doors: Any, way: str) -> None:
    def come(password: str) -> int:
        if way == "basic":
            auth = httpx.BasicAuth("forgiven", password)
            return ask(doors, "GET", TRANSCODER, params={"format": "json"}, headers={
                "authorization": auth._auth_header}).status_code  # fmt: skip
        given = {"user": "forgiven", "password": password, "format": "json"}
        return ask(doors, "GET", TRANSCODER, params=given).status_code

    with person(listened, "forgiven"):
        for _ in range(4):
            assert [come("mistyped") for _ in range(4)] == [401] * 4
            assert come(PASSWORD) == 200
        assert listened.rows("SELECT 1 FROM login_failures WHERE failures < 16") == []


def test_pages_of_others_are_quick_while_many_guess(listened: Running) -> None:
    # Of a machine that is busy with other things, pages are slower anyway: as quiet moments before and after show.
    # What it is busy with may come and go in between, hence the tries.
    tries = []
    for _ in range(3):
        tries.append(_pages_beside_guesses(listened))
        meanwhile, quiet = tries[-1]
        if meanwhile < 0.3 + 2 * quiet:
            break
    assert any(meanwhile < 0.3 + 2 * quiet for meanwhile, quiet in tries), tries


def _pages_beside_guesses(listened: Running) -> tuple[float, float]:
    """How long a page takes, 95 of a hundred, while many guess, and in a quiet moment."""
    stop = threading.Event()
    took: list[float] = []

    def guess(number: int) -> int:
        # From many addresses: of one, nearly all would only be told to wait.
        way = httpx.HTTPTransport(local_address=f"127.0.2.{number + 1}")
        with httpx.Client(base_url=listened.base, transport=way, timeout=300) as client:
            given = {"user": f"nobody{number}", "password": "guess"}
            return client.post("/CallRecorder/Login", data=given).status_code

    def browse() -> None:
        with listened.logged_in() as client:
            while not stop.is_set():
                began = time.perf_counter()
                assert client.get(HOME).status_code == 200
                took.append(time.perf_counter() - began)

    with ThreadPoolExecutor(61) as pool:
        browsing = pool.submit(browse)
        try:
            before = _enough(took, browsing, 20)
            guessed = set(pool.map(guess, range(60)))
            meanwhile = took[len(before) :]
            after = _enough(took, browsing, len(took) + 20)[-20:]
        finally:
            stop.set()
        browsing.result()
    assert guessed == {401}
    listened.rows("DELETE FROM login_failures")
    return _p95(meanwhile), max(_p95(before), _p95(after))


def _enough(took: list[float], work: Future[None], count: int) -> list[float]:
    """The first ``count`` pages' times."""
    while len(took) < count:
        time.sleep(0.01)
        assert not work.done(), work.result()
    return took[:count]


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]


def test_users_change_their_own_password(listened: Running) -> None:
    new = "another one, longer"
    with person(listened, "own"), listened.client() as client, listened.client() as elsewhere:
        for each in (client, elsewhere):
            assert (
                each.post("/CallRecorder/Login", data={"user": "own", "password": PASSWORD}).status_code
                == 303
            )
        page = client.get("/CallRecorder/Account").text
        csrf = re.search(r'name="csrf" value="([^"]+)', page)
        assert csrf

        def change(password: str, wanted: str) -> int:
            form = {"csrf": csrf[1], "password": password, "new_password": wanted}
            return client.post("/CallRecorder/Account/password", data=form).status_code

        assert change("wrong", new) == 403
        assert change(PASSWORD, "short") == 400
        assert change(PASSWORD, new) == 303
        assert "Saved" in client.get("/CallRecorder/Account?saved").text, "this session goes on"
        assert elsewhere.get("/CallRecorder/Account").status_code == 401, "every other one ends"
        assert (
            client.post("/CallRecorder/Login", data={"user": "own", "password": PASSWORD}).status_code == 401
        )
        assert client.post("/CallRecorder/Login", data={"user": "own", "password": new}).status_code == 303
    listened.rows("DELETE FROM login_failures")


COMMON = ("Football", "qwertyuiop", "1qaz2wsx", "CallReplay!2026")


def test_passwords_that_are_guessed_first_are_refused_everywhere(listened: Running) -> None:
    said = "one of those that are guessed first"
    with person(listened, "fred-from-sales") as fred, listened.logged_in() as client:
        given = {"user": "fred-from-sales", "password": PASSWORD}
        csrf = re.search(r'name="csrf" value="([^"]+)', client.get("/CallRecorder/Users").text)
        assert csrf

        def post(path: str, **form: str) -> None:
            answer = client.post(f"/CallRecorder/{path}", data={"csrf": csrf[1], **form}, headers={
                "accept": "text/html", "accept-language": "en"})  # fmt: skip
            assert (answer.status_code, said in answer.text) == (400, True), (path, form, answer.text)

        for password in COMMON:
            post("Users/add", login="new", password=password)
            post(f"Users/{fred}", action="password", password=password)
            post("Volumes/player", player_password=password)
        post("Users/add", login="fred-from-sales", password="Fred-From-Sales2026")
        with listened.client() as own:
            assert own.post("/CallRecorder/Login", data=given).status_code == 303
            found = re.search(r'name="csrf" value="([^"]+)', own.get("/CallRecorder/Account").text)
            assert found
            for password in (*COMMON, "Fred-From-Sales 1"):
                form = {"csrf": found[1], "password": PASSWORD, "new_password": password}
                answer = own.post("/CallRecorder/Account/password?lang=en", data=form)
                assert (answer.status_code, said in answer.text) == (400, True), password
        refused = command(
            listened, "users", "password", "fred-from-sales", "--password-stdin", input="football\n"
        )
        assert refused.returncode == 2
        assert said in refused.stderr
    assert not listened.rows("SELECT 1 FROM users WHERE login = 'new'")
    listened.rows("DELETE FROM login_failures")


def test_the_command_does_what_the_page_does(listened: Running, doors: Any) -> None:
    made = command(listened, "users", "add", "cli", "--role", "listener", "--name", "C", "--scope", "tag=x")
    password = re.search(r"^password: (\S{20,})$", made.stdout, re.MULTILINE)
    assert password, made.stderr
    assert (
        ask(doors, "POST", "/CallRecorder/Login", data={"user": "cli", "password": password[1]}).status_code
        == 303
    )
    listed = json.loads(command(listened, "users", "list", "--json").stdout)
    [shown] = [each for each in listed if each["login"] == "cli"]
    assert (shown["role"], shown["scope"], shown["disabled"]) == ("listener", ["tag=x"], False)
    for words, wrong in (
        (("add", "cli"), "exists"),
        (("add", "a b"), "login"),
        (("role", "cli", "emperor"), "no role"),
        (("role", "cli", "--scope", "x=1"), "no parameter"),
        (("role", "nobody", "user"), "no user"),
        (("disable", "admin"), "no administrator"),
        (("delete", "admin"), "no administrator"),
        (("role", "admin", "user"), "no administrator"),
        (("roles", "--define", "mighty", "--rights", "fly"), "rights are"),
    ):
        refused = command(listened, "users", *words)
        assert refused.returncode == 2, words
        assert wrong in refused.stderr, (words, refused.stderr)
        assert "Traceback" not in refused.stderr
    short = command(listened, "users", "password", "cli", "--password-stdin", input="short\n")
    assert "at least 8 characters" in short.stderr
    assert (
        command(listened, "users", "password", "cli", "--password-stdin", input=PASSWORD + "\n").returncode
        == 0
    )
    assert command(listened, "users", "role", "cli", "user", "--scope", "").returncode == 0
    assert len(calls(doors, "cli")) == 3
    token = command(
        listened, "users", "token", "cli", "--name", "t", "--rights", "search", "--days", "3"
    ).stdout
    headers = {"authorization": f"Bearer {token.split()[1]}"}
    assert ask(doors, "GET", TRANSCODER, params={"format": "json"}, headers=headers).status_code == 200
    assert command(listened, "users", "disable", "cli").returncode == 0
    assert ask(doors, "GET", TRANSCODER, params={"format": "json"}, headers=headers).status_code == 401
    assert command(listened, "users", "enable", "cli").returncode == 0
    assert command(listened, "users", "delete", "cli").returncode == 0
    rows = listened.rows("SELECT action FROM audit_log WHERE object = 'cli' AND actor = 'system' ORDER BY id")
    assert [row["action"] for row in rows] == [
        "user.add", "user.password", "user.change", "user.disable", "user.enable", "user.delete",
    ]  # fmt: skip


def test_names_never_reach_a_terminal_raw(listened: Running) -> None:
    hostile = "\x1b]0;owned\x07\x9b31m\u202e[red]"
    with person(listened, "hostile", name=hostile):
        listened.rows("UPDATE calls SET caller_name = %s, status = %s WHERE uuid = "
                      "(SELECT uuid FROM calls LIMIT 1)", hostile, hostile)  # fmt: skip
        listened.rows("INSERT INTO tenants (name) VALUES (%s)", hostile)
        for words in (
            ("users", "list"), ("users", "list", "--json"), ("calls", "find"), ("calls", "find", "--json"),
            ("tenants", "list"), ("tenants", "list", "--json"), ("users", "delete", hostile),
        ):  # fmt: skip
            told = command(listened, *words)
            shown = told.stdout + told.stderr
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown), words
            if "--json" in words or "delete" in words:  # a table cuts what is too wide
                assert "[red]" in shown, (words, "as it stands: no markup")
        listened.rows(
            "UPDATE calls SET caller_name = 'x', status = 'answered' WHERE caller_name = %s", hostile
        )
        listened.rows("DELETE FROM tenants WHERE name = %s", hostile)


# -- single sign-on -------------------------------------------------------------------------------------------------


class StandIn(http.server.BaseHTTPRequestHandler):
    """A proxy that logs people in: the header it sets is its own, whatever the client sent."""

    upstream = ""
    user = ""

    def do_GET(self) -> None:
        self.hand_on()

    def do_POST(self) -> None:
        self.hand_on()

    def hand_on(self) -> None:
        kept = {name: value for name, value in self.headers.items()
                if name.lower() not in ("x-forwarded-user", "host", "content-length")}  # fmt: skip
        if self.user:
            kept["X-Forwarded-User"] = self.user.encode("latin-1")  # type: ignore[assignment]
        kept["X-Forwarded-For"] = "192.0.2.77"
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        way = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=way) as client:
            answer = client.request(self.command, self.upstream + self.path, headers=kept, content=body)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.slow
def test_a_trusted_proxy_logs_people_in(listened: Running) -> None:
    flags = ("--trusted-proxies", "127.0.0.2", "--auth-header", "X-Forwarded-User", "--auth-role", "listener",
             "--samples", "", "--database-url", listened.database_url)  # fmt: skip
    with ended(fresh(flags)) as running:
        running.start()
        StandIn.upstream = running.base
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as proxy:
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            place = f"http://127.0.0.1:{proxy.server_port}"
            try:
                sign_on(listened, running, place)
            finally:
                proxy.shutdown()


def sign_on(listened: Running, running: Running, place: str) -> None:
    StandIn.user = ""
    assert 'name="password"' in httpx.get(place + HOME).text, "nobody is logged in: the form"
    forged = {"X-Forwarded-User": "admin"}
    assert 'name="password"' in httpx.get(place + HOME, headers=forged).text, "the proxy strips it"
    assert 'name="password"' in httpx.get(running.base + HOME, headers=forged).text, (
        "who comes past the proxy"
    )
    assert httpx.get(f"{running.base}{TRANSCODER}?format=json", headers=forged).status_code == 401
    for odd in ("\xff\xfe", "a\u200bb".encode().decode("latin-1")):  # no UTF-8; what cannot be seen
        StandIn.user = odd
        assert httpx.get(f"{place}{TRANSCODER}?format=json").status_code == 401
    assert len(listened.rows("SELECT login FROM users WHERE password_hash = '!'")) == 0, "nobody was made"
    StandIn.user = "zoë@example.com".encode().decode("latin-1")
    page = httpx.get(place + HOME).text
    assert "zoë@example.com" in page
    [row] = listened.rows("SELECT role, password_hash, id FROM users WHERE login = 'zoë@example.com'")
    assert (row["role"], row["password_hash"]) == ("listener", "!")
    [made] = listened.rows(
        "SELECT detail, host(address) AS address FROM audit_log WHERE object = 'zoë@example.com'"
    )
    assert (made["detail"]["how"], made["address"]) == ("X-Forwarded-User", "192.0.2.77")
    assert len(httpx.get(f"{place}{TRANSCODER}?format=json").json()) == 3
    assert httpx.get(place + "/CallRecorder/Users").status_code == 403
    account = httpx.get(place + "/CallRecorder/Account").text
    assert 'name="new_password"' not in account
    csrf = re.search(r'name="csrf" value="([^"]+)', page)
    assert csrf
    call = listened.rows("SELECT uuid FROM calls LIMIT 1")[0]["uuid"]
    for token, status in (
        ("", 403),
        ("wrong", 403),
        (csrf[1], 403),
    ):  # a listener may not, even with the token
        form = {"csrf": token, "description": "x"}
        assert httpx.post(f"{place}/CallRecorder/Call/{call}/description", data=form).status_code == status
    listened.rows("UPDATE users SET role = 'user' WHERE id = %s", row["id"])
    for token, status in (("", 403), (csrf[1], 303)):
        form = {"csrf": token, "description": ""}
        assert httpx.post(f"{place}/CallRecorder/Call/{call}/description", data=form).status_code == status
    listened.rows("UPDATE users SET disabled_at = now() WHERE id = %s", row["id"])
    assert "zoë@example.com" not in httpx.get(place + HOME).text
    assert httpx.get(f"{place}{TRANSCODER}?format=json").status_code == 401
    for odd in ("a\tb", "x" * 2000):
        StandIn.user = odd
        assert httpx.get(f"{place}{TRANSCODER}?format=json").status_code == 401
    listened.rows("DELETE FROM users WHERE id = %s", row["id"])


def test_a_proxy_that_is_not_named_is_told_of_once(listened: Running) -> None:
    for _ in range(3):
        httpx.get(listened.base + HOME, headers={"x-forwarded-for": "192.0.2.1"})
    lines = [line for line in listened.log.splitlines() if "trusted_proxies does not name it" in line]
    assert len(lines) == 1
    assert "127.0.0.1" in lines[0]
