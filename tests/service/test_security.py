"""Who may do what, over the whole table of routes; and what every answer has to carry."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from argon2 import PasswordHasher, Type
from starlette.requests import Request
from starlette.routing import Mount, Route

from callreplay.service.app import create_app
from callreplay.service.settings import Settings
from callreplay.store import accounts

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
BASE = "/CallRecorder"
ANYBODY = {"nobody": 200, "user": 200, "auditor": 200, "admin": 200, "stranger": 200}
ADMIN = {"nobody": 401, "user": 403, "auditor": 403, "admin": 303, "stranger": 303}
OF_SITE = {"nobody": 401, "user": 403, "auditor": 403, "admin": 200, "stranger": 403}
# What a visitor gets where the call, user or token asked for is one of tenant default; ``stranger`` is the
# administrator of another tenant. Who comes by session only is nobody to Storage.
EXPECTED: dict[tuple[str, str], dict[str, int]] = {
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/metrics"): dict.fromkeys(ANYBODY, 404),  # at the address of the pages
    ("GET", "/"): dict.fromkeys(ANYBODY, 308),
    ("GET", BASE): dict.fromkeys(ANYBODY, 308),
    ("GET", BASE + "/"): ANYBODY,  # to nobody the form
    ("GET", BASE + "/?callDetails={call}"): ANYBODY | {"stranger": 404},
    ("GET", BASE + "/?player={call}"): ANYBODY | {"stranger": 404},
    ("POST", BASE): dict.fromkeys(ANYBODY, 401),  # a login, with wrong credentials
    ("POST", BASE + "/"): dict.fromkeys(ANYBODY, 401),
    ("GET", BASE + "/Login"): dict.fromkeys(ANYBODY, 303),
    ("POST", BASE + "/Login"): dict.fromkeys(ANYBODY, 401),  # with wrong credentials
    ("POST", BASE + "/Logout"): dict.fromkeys(ANYBODY, 303) | {"nobody": 401},
    ("GET", BASE + "/Call/{uuid}/audio"): dict.fromkeys(ANYBODY, 302) | {"nobody": 401, "stranger": 404},
    ("GET", BASE + "/Export"): dict.fromkeys(ANYBODY, 400) | {"nobody": 401},  # without a format
    ("POST", BASE + "/Export/audio"): dict.fromkeys(ANYBODY, 400) | {"nobody": 401},
    ("GET", BASE + "/Export/{id}"): dict.fromkeys(ANYBODY, 404) | {"nobody": 401},  # there is none
    ("POST", BASE + "/Export/{id}/cancel"): dict.fromkeys(ANYBODY, 404) | {"nobody": 401},
    ("GET", BASE + "/Export/{id}/calls.zip"): dict.fromkeys(ANYBODY, 404) | {"nobody": 401},
    ("POST", BASE + "/Call/{uuid}/description"): dict.fromkeys(ANYBODY, 303)
    | {"nobody": 401, "stranger": 404},
    ("GET", BASE + "/Transcoder?callId={call}"): dict.fromkeys(ANYBODY, 302)
    | {"nobody": 401, "stranger": 404},
    ("GET", BASE + "/Transcoder?callId={call}&format=json"): ANYBODY
    | {"nobody": 401},  # the stranger's is empty
    ("GET", BASE + "/Temp/{token}/{name}"): dict.fromkeys(ANYBODY, 404),
    ("GET", BASE + "/Storage/{volume}/{path:path}"): dict.fromkeys(ANYBODY, 401),
    ("GET", BASE + "/Volumes"): OF_SITE,
    ("POST", BASE + "/Volumes/player"): OF_SITE | {"admin": 303},
    ("POST", BASE + "/Volumes/add"): OF_SITE | {"admin": 400},  # without a path
    ("POST", BASE + "/Volumes/{id}"): OF_SITE | {"admin": 303},
    ("GET", BASE + "/Retention"): OF_SITE | {"stranger": 200},
    ("POST", BASE + "/Retention/change"): ADMIN,
    ("POST", BASE + "/Retention/run"): OF_SITE | {"admin": 303},
    ("POST", BASE + "/Retention/erase"): OF_SITE | {"admin": 400, "stranger": 400},  # without a number
    ("POST", BASE + "/Call/{uuid}/hold"): ADMIN | {"stranger": 404},
    ("POST", BASE + "/Call/{uuid}/tags"): dict.fromkeys(ANYBODY, 303) | {"nobody": 401, "stranger": 404},
    ("GET", BASE + "/Tenants"): OF_SITE,
    ("POST", BASE + "/Tenants/add"): OF_SITE | {"admin": 400},  # without a name
    ("POST", BASE + "/Tenants/change"): OF_SITE | {"admin": 303},
    ("GET", BASE + "/Jobs"): OF_SITE | {"stranger": 200},
    ("POST", BASE + "/Jobs/import"): OF_SITE | {"admin": 400},  # without a path
    ("POST", BASE + "/Jobs/batch"): OF_SITE | {"admin": 400},
    ("POST", BASE + "/Jobs/{id}/cancel"): ADMIN | {"admin": 404, "stranger": 404},  # there is none
    ("POST", BASE + "/Users/roles"): OF_SITE | {"admin": 400},  # without a name
    ("GET", BASE + "/Users"): OF_SITE | {"stranger": 200},
    ("POST", BASE + "/Users/add"): ADMIN,
    ("POST", BASE + "/Users/{id}"): ADMIN | {"stranger": 404},
    ("POST", BASE + "/Tokens/add"): ADMIN,
    ("GET", BASE + "/Account"): ANYBODY | {"nobody": 401},
    ("POST", BASE + "/Account/password"): dict.fromkeys(ANYBODY, 403)
    | {"nobody": 401},  # with a wrong password
    ("POST", BASE + "/Tokens/{id}/revoke"): ADMIN | {"stranger": 404},
    ("GET", BASE + "/Audit"): OF_SITE | {"auditor": 200, "stranger": 200},
    ("GET", BASE + "/Audit/export"): OF_SITE | {"auditor": 200, "stranger": 200},
    ("POST", BASE + "/Audit/verify"): OF_SITE,
    ("GET", BASE + "/openapi.json"): ANYBODY,
    ("GET", BASE + "/static/style.css"): ANYBODY,
}
LOGINS = (BASE, BASE + "/", BASE + "/Login")
POSTS = [path for method, path in EXPECTED if method == "POST" and path not in LOGINS]


@dataclass
class House:
    """The application and, by the visitor's name, sessions and their CSRF tokens."""

    app: Any
    running: Running
    sessions: dict[str, str]
    csrf: dict[str, str]
    values: dict[str, str]

    def ask(self, method: str, path: str, who: str, **options: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            cookies = {"callreplay_session": self.sessions[who]} if who in self.sessions else {}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", cookies=cookies
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(run())

    def fields(self, path: str) -> dict[str, str]:
        """A form that the route takes."""
        return {
            **{key: {"user": "admin", "password": "wrong"} for key in ("", "/", "/Login")},
            "/Account/password": {"password": "wrong", "new_password": "seven otters"},
            "/Call/{uuid}/description": {"description": "as it was"},
            "/Volumes/player": {"player_password": self.values["player_password"]},
            "/Volumes/{id}": {"action": "use"},
            "/Retention/change": {"action": "tag", "tag": "house", "days": "9"},
            "/Call/{uuid}/hold": {"action": "release"},
            "/Tenants/change": {"action": "zone", "name": "default", "zone": "UTC"},
            "/Users/add": {"login": f"made{self.count()}", "password": "seven otters"},
            "/Users/{id}": {"action": "enable"},
            "/Tokens/add": {"name": "made"},
        }.get(path.removeprefix(BASE), {})

    def count(self) -> int:
        [row] = self.running.rows("SELECT count(*) AS n FROM audit_log")
        return int(row["n"])

    def place(self, path: str) -> str:
        values = {"{id}": "user", "{call}": "call", "{uuid}": "call"}
        if "/Tokens/" in path:
            values["{id}"] = "token"
        path = path.replace("/Volumes/{id}", "/Volumes/1").replace("/Jobs/{id}", "/Jobs/999999999")
        for name, value in values.items():
            path = path.replace(name, self.values[value])
        return path.replace("{volume}/{path:path}", "1/x").replace("{token}/{name}", "x/x.wav")


@pytest.fixture(scope="module")
def house(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    app = create_app(Settings(database_url=service.database_url, data_dir=str(folder)))
    app.state.service.open()
    database = app.state.service.database
    sessions: dict[str, str] = {}
    csrf: dict[str, str] = {}
    values: dict[str, str] = {}
    with database.connection() as connection:
        default = accounts.tenant_id(connection, "default")
        other = accounts.add_tenant(connection, "elsewhere")
        for who, tenant, role in (
            ("user", default, "user"),
            ("auditor", default, "auditor"),
            ("admin", default, "admin"),
            ("stranger", other, "admin"),
        ):
            made = accounts.add_user(connection, tenant, f"house-{who}", "no hash", role=role)
            sessions[who] = accounts.open_session(connection, made, "", timedelta(hours=1))
            found = accounts.find_session(connection, sessions[who], timedelta(hours=1))
            assert found is not None
            csrf[who] = found.csrf_token
        changed = accounts.add_user(connection, default, "house-changed", "!")
        row = connection.execute("SELECT uuid FROM calls WHERE tenant_id = %s LIMIT 1", (default,)).fetchone()
        assert row is not None
    values |= {"user": str(changed), "call": str(row["uuid"])}
    values["player_password"] = database.setting("storage.player_password")
    made_house = House(app, service, sessions, csrf, values)
    yield made_house
    service.rows("DELETE FROM login_failures")
    service.rows("DELETE FROM users WHERE login LIKE 'house-%%' OR login LIKE 'made%%'")
    service.rows("DELETE FROM tags WHERE name = 'house'")
    app.state.service.close()


def fresh_token(house: House) -> None:
    """A token of the administrator to revoke."""
    with house.app.state.service.database.connection() as connection:
        row = connection.execute("SELECT id FROM users WHERE login = 'house-admin'").fetchone()
        accounts.add_token(connection, row["id"], "to revoke")
        row = connection.execute("SELECT max(id) AS id FROM api_tokens").fetchone()
        house.values["token"] = str(row["id"])


def test_the_table_has_every_route(house: House) -> None:
    found = set()
    for route in house.app.routes:
        if isinstance(route, Mount):
            found.add(("GET", route.path))
        else:
            assert isinstance(route, Route)
            found |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
    told = {(method, path.split("?")[0].replace("/style.css", "")) for method, path in EXPECTED}
    assert found == told


@pytest.mark.parametrize(("method", "path"), EXPECTED, ids=[" ".join(key) for key in EXPECTED])
def test_who_may(house: House, method: str, path: str) -> None:
    for who, status in EXPECTED[method, path].items():
        fresh_token(house)
        house.running.rows("DELETE FROM login_failures")
        session = house.sessions.get(who, "")
        data = {**house.fields(path), "csrf": house.csrf.get(who, "")} if method == "POST" else None
        answer = house.ask(method, house.place(path), who, data=data)
        assert answer.status_code == status, (who, answer.text[:300])
        if who == "stranger" and path != BASE + "/Audit/export":  # it has what the stranger asked for
            assert house.values["call"] not in answer.text.replace(house.place(path), "")
            assert "house-changed" not in answer.text
        if status in (401, 403, 404):
            assert "set-cookie" not in answer.headers
        if path == BASE + "/Logout" and session:
            assert "Max-Age=0" in answer.headers["set-cookie"]
            assert house.ask("GET", BASE + "/Users", who).status_code == 401, "the session is over"
            with house.app.state.service.database.connection() as connection:
                row = connection.execute(
                    "SELECT id FROM users WHERE login = %s", (f"house-{who}",)
                ).fetchone()
                house.sessions[who] = accounts.open_session(connection, row["id"], "", timedelta(hours=1))
                found = accounts.find_session(connection, house.sessions[who], timedelta(hours=1))
                assert found is not None
                house.csrf[who] = found.csrf_token


@pytest.mark.parametrize("path", POSTS)
def test_no_form_is_taken_without_its_csrf_token(house: House, path: str) -> None:
    fresh_token(house)
    place, fields, right = house.place(path), {"x": "", **house.fields(path)}, house.csrf["admin"]
    before = house.count()
    for wrong in ("", "guess", right[:-1], right + "x", house.csrf["user"], "ü"):
        answer = house.ask("POST", place, "admin", data={**fields, "csrf": wrong})
        assert answer.status_code == 403, wrong
    assert house.ask("POST", place, "admin", data=fields).status_code == 403
    assert house.ask("POST", place, "admin", data=fields, params={"csrf": right}).status_code == 403
    # A browser sends Basic by itself, to forms of other sites as well.
    running = house.running
    assert (
        house.ask("POST", place, "nobody", data=fields, auth=("admin", running.password)).status_code == 401
    )
    assert house.ask("GET", place, "admin").status_code in (404, 405), (
        "nothing is changed by following a link"
    )
    in_parts = {name: (None, value) for name, value in {**fields, "csrf": "guess"}.items()}
    assert house.ask("POST", place, "admin", files=in_parts).status_code == 403
    text = house.ask("POST", place, "admin", content=b"x", headers={"content-type": "text/plain"})
    assert text.status_code == 415
    assert house.count() == before, "nothing was done"


def test_every_form_may_come_in_parts(house: House) -> None:
    fresh_token(house)
    for path in POSTS:
        fields = {**house.fields(path), "csrf": house.csrf["admin"]}
        in_parts = {name: (None, value) for name, value in fields.items()}
        if not path.endswith(("/Logout", "/Account/password")):
            wanted = EXPECTED["POST", path]["admin"]
            assert house.ask("POST", house.place(path), "admin", files=in_parts).status_code == wanted, path


async def fails(request: Request) -> Any:
    raise RuntimeError("Tell-No1")


def test_every_answer_carries_the_headers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    route = Route(BASE + "/Fails", fails)
    monkeypatch.setattr(house.app.router, "routes", [*house.app.router.routes, route])
    asked = [(method, house.place(path), who) for method, path in EXPECTED for who in ("nobody", "admin")
             if path != BASE + "/Logout"]  # fmt: skip
    asked += [
        ("GET", BASE + "/Nothing", "nobody"),
        ("DELETE", BASE + "/", "admin"),
        ("POST", BASE + "/Users/add", "admin"),
        ("GET", BASE + "/Transcoder?callerPort=x", "admin"),
        ("GET", BASE + "/Fails", "admin"),
        ("GET", BASE + "/static/../app.py", "nobody"),
    ]
    for method, path, who in asked:
        answer = house.ask(method, path, who)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
        assert "server" not in answer.headers
        assert "Tell-No1" not in answer.text
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", answer.text), path
    assert house.ask("GET", BASE + "/Fails", "admin").status_code == 500
    house.running.rows("DELETE FROM login_failures")


def test_no_answer_leads_elsewhere(house: House) -> None:
    evil = "//evil.example/"
    for path in (
        f"{BASE}/?user=admin&password={house.running.password}&callDetails={evil}&next={evil}",
        f"{BASE}/?user=admin&password={house.running.password}&{evil}",
        f"{BASE}/Login?next={evil}",
        f"{BASE}/Login/",
        f"{BASE}/Transcoder/?user=admin&password={house.running.password}",
        f"{BASE}/Transcoder?callId={house.values['call']}&title={evil}",
        f"/{evil}{BASE}/",
        f"{evil}..{BASE}",
        "/",
        BASE,
    ):
        headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-prefix": evil}
        answer = house.ask("GET", f"http://localhost{path}", "admin", headers=headers)
        place = urlsplit(answer.headers.get("location", BASE))
        assert (place.scheme, place.netloc) == ("", ""), path
        assert place.path.startswith(BASE)
    fields = {"user": "admin", "password": house.running.password, "callDetails": evil, "next": evil}
    answer = house.ask("POST", BASE + "/Login", "nobody", data=fields)
    assert answer.headers["location"].startswith(BASE + "/?")


def test_a_login_makes_a_new_session_whatever_the_cookie_was(house: House) -> None:
    planted = "A" * 43
    fields = {"user": "admin", "password": house.running.password}
    answers = [
        house.ask(
            "POST", f"{scheme}://localhost{BASE}/Login", "nobody", data=fields,
            headers={"cookie": f"callreplay_session={planted}"},
        )
        for scheme in ("http", "https", "http")
    ]  # fmt: skip
    cookies = [answer.headers["set-cookie"] for answer in answers]
    secrets = {cookie.split("=", 1)[1].split(";")[0] for cookie in cookies}
    assert len(secrets) == 3
    assert planted not in secrets
    assert all(len(secret) >= 43 for secret in secrets), "256 bits"
    house.sessions["planted"] = planted
    assert house.ask("GET", BASE + "/Users", "planted").status_code == 401
    for cookie, is_https in zip(cookies, (False, True, False), strict=True):
        attributes = {each.strip() for each in cookie.split(";")[1:]}
        assert {"HttpOnly", "SameSite=Lax", f"Path={BASE}"} <= attributes
        assert ("Secure" in attributes) == is_https
    kept = house.running.rows("SELECT token_hash FROM sessions")
    assert not any(secret.encode() in bytes(row["token_hash"]) for secret in secrets for row in kept)


def test_passwords_are_hashed_by_argon2id_as_rfc_9106_recommends(service: Running) -> None:
    for row in service.rows("SELECT password_hash AS kept FROM users WHERE login = 'admin'"):
        assert row["kept"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    hasher = PasswordHasher()
    assert (hasher.type, hasher.salt_len, hasher.hash_len) == (Type.ID, 16, 32)


def test_an_unknown_login_costs_as_much_as_a_wrong_password(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters: list[str] = []
    inner = PasswordHasher.verify

    def verify(hasher: PasswordHasher, kept: str, password: str) -> bool:
        parameters.append(kept.rsplit("$", 2)[0])
        return inner(hasher, kept, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    house.running.rows("UPDATE users SET disabled_at = now(), password_hash = (SELECT password_hash FROM users "
                       "WHERE login = 'admin' LIMIT 1) WHERE login = 'house-changed'")  # fmt: skip
    try:
        for fields in (
            {"user": "admin", "password": "wrong"},
            {"user": "nobody-of-that-name", "password": "wrong"},
            {"user": "admin", "tenant": "nowhere", "password": "wrong"},
            {"user": "house-changed", "password": house.running.password},
            {"user": "a\0b", "password": "wrong"},
            {"user": "admin", "password": "x" * 2000},
        ):
            house.running.rows("DELETE FROM login_failures")
            answer = house.ask("POST", BASE + "/Login", "nobody", data=fields)
            assert answer.status_code == 401
    finally:
        house.running.rows("DELETE FROM login_failures")
        house.running.rows("UPDATE users SET disabled_at = NULL WHERE login = 'house-changed'")
    assert parameters == ["$argon2id$v=19$m=65536,t=3,p=4"] * 6


PART = b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n\\ud800\r\n--b--\r\n'


def parts(parameters: str, body: bytes) -> dict[str, Any]:
    """A form of type multipart/form-data."""
    return {"content": body, "headers": {"content-type": f"multipart/form-data{parameters}"}}


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/Login", {"data": {"user": "x" * 70_000}}, 413),
        ("POST", "/Login", {"data": {f"f{n}": "x" for n in range(200)}}, 400),
        ("POST", "/Login", {"files": {"f": b"x"}}, 400),
        ("POST", "/Login", {"files": {"user": (None, "x" * 70_000)}}, 413),
        ("POST", "/Login", {"files": {f"f{n}": (None, "x") for n in range(101)}}, 400),
        ("POST", "/Login", {"files": {f"f{n}": (None, "x") for n in range(100)}}, 401),
        ("POST", "/Login", parts("; boundary=b", b"--b\r\nno colon"), 400),
        ("POST", "/Login", parts("; boundary=b", b"--b\r\n\r\nx\r\n--b--"), 400),
        ("POST", "/Login", parts("", PART), 400),
        ("POST", "/Login", parts("; boundary=b; charset=hex", PART), 401),
        ("POST", "/Login", parts("; boundary=b; charset=undefined", PART), 400),
        ("POST", "/Login", parts("; boundary=b; charset=raw_unicode_escape", PART), 400),
        ("POST", "/Login", parts("; boundary=b; charset=utf-16", PART), 401),
        (
            "POST",
            "/Login",
            {"content": b"x", "headers": {"content-type": "multipart/mixed; boundary=b"}},
            415,
        ),
        ("GET", "/Transcoder", {"params": {"callerName": "x" * 5000}}, 400),
        ("GET", "/Transcoder", {"params": {"wireCallId": "x" * 5000}}, 400),
        ("GET", "/Transcoder", {"params": {"title": "x" * 201}}, 400),
        ("GET", "/Transcoder", {"params": {"limit": "1001", "format": "json"}}, 400),
        ("GET", "/Transcoder", {"params": {"width": "1000000", "format": "png"}}, 400),
        ("GET", "/Transcoder", {"params": {"callerName": "a\0b"}}, 400),
        ("GET", "/Audit", {"params": {"before": "9" * 30, "object": "x" * 5000}}, 200),
        ("GET", "/", {"params": {"callDetails": "x" * 5000}}, 400),
        ("GET", "/", {"params": {"after": "x" * 5000}}, 400),
        ("POST", "/Users/" + "9" * 30, {"data": {"csrf": "admin", "action": "enable"}}, 404),
        (
            "POST",
            "/Users/add",
            {"data": {"csrf": "admin", "login": "x" * 101, "password": "seven otters"}},
            400,
        ),
        ("POST", "/Users/add", {"data": {"csrf": "admin", "login": "x", "password": "1" * 1025}}, 400),
    ],
)
def test_values_are_bounded(
    house: House, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    if "csrf" in options.get("data", {}):
        options = {"data": {**options["data"], "csrf": house.csrf["admin"]}}
    answer = house.ask(method, BASE + path, "admin", **options)
    assert answer.status_code == status, answer.text[:300]
    house.running.rows("DELETE FROM login_failures")
