"""Who was known a moment ago is asked for again with his question: what has changed holds at once."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from callreplay.service import transcoder
from callreplay.store import accounts
from callreplay.store.near import Near

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
TRANSCODER = "/CallRecorder/Transcoder"
LOGIN = "known"
USER = f"(SELECT id FROM users WHERE login = '{LOGIN}')"


@pytest.fixture
def known(service: Running, call: dict[str, Any]) -> Iterator[httpx.Client]:
    """A user's browser, whose session has been looked up before."""
    service.rows(
        "INSERT INTO users (tenant_id, login, name, email, role, password_hash) "
        "SELECT tenant_id, %s, '', '', 'user', password_hash FROM users WHERE login = 'admin' AND tenant_id = "
        "(SELECT id FROM tenants WHERE name = 'default')",
        LOGIN,
    )
    with service.client() as entering:
        given = {"user": LOGIN, "password": service.password}
        assert entering.post("/CallRecorder/Login", data=given).status_code == 303
        with service.client(cookies=entering.cookies) as client:
            for _ in range(3):
                assert ask(client, call) == 302
            yield client
    service.rows(f"DELETE FROM sessions WHERE user_id = {USER}")
    service.rows("DELETE FROM users WHERE login = %s", LOGIN)


def ask(client: httpx.Client, call: dict[str, Any], **asked: str) -> int:
    return client.get(TRANSCODER, params={"callId": call["callId"], **asked}).status_code


@pytest.mark.parametrize(
    ("change", "back", "status"),
    [
        (f"DELETE FROM sessions WHERE user_id = {USER}", "SELECT 1", 401),
        (f"UPDATE sessions SET expires_at = now() WHERE user_id = {USER}", "SELECT 1", 401),
        (f"UPDATE sessions SET seen_at = now() - interval '1 year' WHERE user_id = {USER}", "SELECT 1", 401),
        (f"UPDATE users SET disabled_at = now() WHERE id = {USER}", "SELECT 1", 401),
        (
            "UPDATE tenants SET disabled_at = now() WHERE name = 'default'",
            "UPDATE tenants SET disabled_at = NULL WHERE name = 'default'",
            401,
        ),
        (f"UPDATE users SET scope = 'callerNumber=nobody' WHERE id = {USER}", "SELECT 1", 404),
        (f"UPDATE users SET login = 'renamed' WHERE id = {USER}",
         f"UPDATE users SET login = '{LOGIN}' WHERE login = 'renamed'", 302),
        (
            "UPDATE tenants SET time_zone = 'Asia/Tokyo' WHERE name = 'default'",
            "UPDATE tenants SET time_zone = 'UTC' WHERE name = 'default'",
            302,
        ),
    ],
)  # fmt: skip
def test_what_changes_holds_for_the_next_request(
    service: Running, known: httpx.Client, call: dict[str, Any], change: str, back: str, status: int
) -> None:
    [zone] = service.rows("SELECT time_zone FROM tenants WHERE name = 'default'")
    service.rows(change)
    try:
        assert ask(known, call) == status
        assert ask(known, call) == status
    finally:
        service.rows(back)
        service.rows("UPDATE tenants SET time_zone = %s WHERE name = 'default'", zone["time_zone"])


@pytest.fixture
def bearer(service: Running, known: httpx.Client, call: dict[str, Any]) -> Iterator[httpx.Client]:
    """A program with an API token of that user, whose token has been looked up before."""
    secret = accounts.TOKEN_PREFIX + secrets.token_urlsafe(32)
    service.rows(
        f"INSERT INTO api_tokens (user_id, name, token_hash, hint) VALUES ({USER}, 'known', %s, '')",
        accounts.digest(secret),
    )
    with service.client(headers={"authorization": f"Bearer {secret}"}) as client:
        for _ in range(3):
            assert ask(client, call) == 302
        yield client
    service.rows("DELETE FROM api_tokens WHERE name = 'known'")
    service.rows("DELETE FROM login_failures")  # wrong tokens would slow other tests' logins down


@pytest.mark.parametrize(
    ("change", "back", "status"),
    [
        ("DELETE FROM api_tokens WHERE name = 'known'", "SELECT 1", 401),
        ("UPDATE api_tokens SET revoked_at = now() WHERE name = 'known'", "SELECT 1", 401),
        ("UPDATE api_tokens SET expires_at = now() WHERE name = 'known'", "SELECT 1", 401),
        ("UPDATE api_tokens SET expires_at = now() + interval '1 day' WHERE name = 'known'", "SELECT 1", 302),
        ("UPDATE api_tokens SET rights = '{search}' WHERE name = 'known'", "SELECT 1", 403),
        ("UPDATE api_tokens SET rights = '{play,search}' WHERE name = 'known'", "SELECT 1", 302),
        ("UPDATE api_tokens SET last_used_at = now() - interval '1 day' WHERE name = 'known'", "SELECT 1", 302),
        (f"UPDATE users SET disabled_at = now() WHERE id = {USER}", "SELECT 1", 401),
        (f"UPDATE users SET scope = 'callerNumber=nobody' WHERE id = {USER}", "SELECT 1", 404),
        ("UPDATE api_tokens SET user_id = (SELECT min(id) FROM users WHERE login = 'admin') WHERE name = 'known'",
         "SELECT 1", 302),
    ],
)  # fmt: skip
def test_what_changes_of_a_token_holds_for_the_next_request(
    service: Running, bearer: httpx.Client, call: dict[str, Any], change: str, back: str, status: int
) -> None:
    service.rows(change)
    try:
        assert [ask(bearer, call) for _ in range(2)] == [status] * 2
    finally:
        service.rows(back)


def test_a_request_by_token_has_its_row_and_its_time_of_use(
    service: Running, bearer: httpx.Client, call: dict[str, Any]
) -> None:
    service.rows("UPDATE api_tokens SET last_used_at = now() - interval '1 day' WHERE name = 'known'")
    reason = f"asked at {time.time()}"
    assert [ask(bearer, call, reason=reason) for _ in range(3)] == [302] * 3
    rows = service.rows("SELECT actor, object FROM audit_log WHERE reason = %s", reason)
    assert rows == [{"actor": LOGIN, "object": call["callId"]}] * 3
    [token] = service.rows(
        "SELECT now() - last_used_at < '1 hour' AS used FROM api_tokens WHERE name = 'known'"
    )
    assert token["used"]


def test_a_role_that_changes_holds_for_the_next_request(
    service: Running, known: httpx.Client, call: dict[str, Any]
) -> None:
    assert [ask(known, call, format="rtp") for _ in range(2)] == [302, 302]
    service.rows(f"UPDATE users SET role = 'listener' WHERE id = {USER}")
    assert [ask(known, call, format="rtp") for _ in range(2)] == [403, 403]
    assert [ask(known, call) for _ in range(2)] == [302, 302]


def test_each_request_has_its_row(service: Running, known: httpx.Client, call: dict[str, Any]) -> None:
    reason = f"asked at {time.time()}"
    for _ in range(5):
        assert ask(known, call, reason=reason, channels="stereo") == 302
    rows = service.rows(
        "SELECT actor, action, object, host(address) AS address, detail, tenant_id IS NULL AS nobodys "
        "FROM audit_log WHERE reason = %s",
        reason,
    )
    expected = {
        "actor": LOGIN,
        "action": "transcode",
        "object": call["callId"],
        "address": "127.0.0.1",
        "detail": {"format": "wav", "channels": "stereo"},
        "nobodys": False,
    }
    assert rows == [expected] * 5, "of the first, which is rendered, and of those that are cached"


def test_what_cannot_be_asked_again_is_told_the_long_way(known: httpx.Client, call: dict[str, Any]) -> None:
    for asked, status in (
        ({"format": "nothing"}, 400),
        ({"callId": "nonsense"}, 400),
        ({"start": "x"}, 400),
        ({"callId": "00000000-0000-0000-0000-000000000000"}, 404),
        ({"callerNumber": "nobody at all"}, 404),
        ({"user": LOGIN, "password": "wrong"}, 401),
    ):
        parameters = {"callId": call["callId"], **asked}
        assert known.get(TRANSCODER, params=parameters).status_code == status, asked
    refused = known.get(
        TRANSCODER, params={"callId": call["callId"]}, headers={"authorization": "Bearer wrong"}
    )
    assert refused.status_code == 401, "a cookie is not looked at where a token says who asks"


def test_a_scope_is_part_of_the_question(service: Running, known: httpx.Client, call: dict[str, Any]) -> None:
    scope = f"callerNumber={call['callerNumber']}\ncallerName=no%one\ncallerIP=192.0.2.1"
    service.rows(f"UPDATE users SET scope = %s WHERE id = {USER}", scope)
    assert [ask(known, call) for _ in range(3)] == [302] * 3
    for scope in ("callerName=no%one\nmosBelow=0.5", "callerIP=192.0.2.1\ntag=none"):
        service.rows(f"UPDATE users SET scope = %s WHERE id = {USER}", scope)
        assert [ask(known, call) for _ in range(3)] == [404] * 3


@pytest.mark.parametrize("shown", ["cookie", "token"])
def test_the_second_time_takes_the_short_way(
    app: Any,
    service: Running,
    bearer: httpx.Client,
    call: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    shown: str,
) -> None:
    long_ways: list[int] = []
    inner = transcoder._visitor

    def visitor(*values: Any) -> Any:
        long_ways.append(1)
        return inner(*values)

    monkeypatch.setattr(transcoder, "_visitor", visitor)

    async def run() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            if shown == "token":
                client.headers["authorization"] = bearer.headers["authorization"]
            else:
                given = {"user": "admin", "password": service.password}
                await client.post("/CallRecorder/Login", data=given)
            counts = []
            for _ in range(200):
                answer = await client.get(TRANSCODER, params={"callId": call["callId"]})
                assert answer.status_code == 302
                counts.append(len(long_ways))
                if counts[-3:].count(counts[-1]) == 3:
                    break
                await asyncio.sleep(0.05)  # until the connection stands
            return counts

    counts = asyncio.run(run())
    assert counts[0] == 1
    assert counts[-3:].count(counts[-1]) == 3


def test_disks_of_this_machine_are_near(tmp_path: Path) -> None:
    near = Near()
    assert near.known(str(tmp_path)) is None
    assert near.look(str(tmp_path))
    assert not near.look("/proc/self")
    near.note(str(tmp_path), True)
    assert near.known(str(tmp_path))
