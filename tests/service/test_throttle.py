"""Guessers are slowed down, and cannot keep the user out whose password they guess at."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from callreplay.service.addresses import network
from callreplay.store import accounts

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database


@pytest.fixture(autouse=True)
def nobody_has_failed(service: Running) -> Iterator[None]:
    def clear() -> None:
        service.rows("DELETE FROM login_failures")
        service.rows("DELETE FROM login_addresses")

    clear()
    yield
    clear()


def log_in(service: Running, last_octet: int, login: str, password: str) -> int:
    """The status of a login from 127.0.0.``last_octet``."""
    way = httpx.HTTPTransport(local_address=f"127.0.0.{last_octet}")
    with httpx.Client(base_url=service.base, transport=way, timeout=30) as client:
        return client.post("/CallRecorder/Login", data={"user": login, "password": password}).status_code


def test_a_stranger_cannot_keep_a_user_out(service: Running) -> None:
    assert log_in(service, 1, "admin", service.password) == 303
    guesses = [log_in(service, 50, "admin", f"guess {n}") for n in range(7)]
    assert guesses[:5] == [401] * 5
    assert guesses[6] == 429
    assert log_in(service, 50, "admin", service.password) == 429, "a guesser waits, right or not"
    for octet in range(51, 60):
        assert log_in(service, octet, "admin", "guess") == 401
    # By now the login is hot, whatever the address.
    assert log_in(service, 51, "admin", service.password) == 429
    assert log_in(service, 1, "admin", "mistyped") == 401
    assert log_in(service, 1, "admin", service.password) == 303, "an address that the user has come from"
    assert log_in(service, 60, "admin", service.password) == 303, "an address without failures"
    [row] = service.rows("SELECT max(failures) AS most FROM login_failures")
    assert row["most"] >= 14, "a login that succeeds does not clear what strangers did"


def test_an_address_is_slowed_down_whatever_the_login(service: Running) -> None:
    for n in range(5):
        assert log_in(service, 70, f"nobody{n}", "guess") == 401
    assert log_in(service, 70, "admin", service.password) == 303
    for n in range(5, 10):
        assert log_in(service, 70, f"nobody{n}", "guess") == 401
    assert log_in(service, 70, "admin", service.password) == 429, "an account of one's own clears nothing"
    assert log_in(service, 71, "nobody", "guess") == 401


def test_mistypes_are_forgiven(service: Running) -> None:
    for _ in range(4):
        assert [log_in(service, 80, "admin", "mistyped") for _ in range(4)] == [401] * 4
        assert log_in(service, 80, "admin", service.password) == 303
    assert service.rows("SELECT failures FROM login_failures WHERE failures < 16") == []


def test_what_is_remembered_is_bounded(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MOST_FAILURES", 10)
    service.rows("INSERT INTO login_failures VALUES ('old', 9, now() - interval '2 hours')")
    with psycopg.connect(service.database_url, row_factory=dict_row) as connection:
        for n in range(30):
            accounts.note_failure(connection, [b"a%d" % n, b"b%d" % n])
            connection.commit()
        kept = {bytes(row["key"]) for row in connection.execute("SELECT key FROM login_failures")}
        assert b"old" not in kept
        assert len(kept) <= 12
        assert {b"a29", b"b29"} <= kept
        row = connection.execute("SELECT id FROM users WHERE login = 'admin'").fetchone()
        assert row is not None
        for n in range(40):
            accounts.note_address(connection, row["id"], b"%d" % n)
            connection.commit()
        assert not accounts.knows_address(connection, row["id"], b"7")
        assert accounts.knows_address(connection, row["id"], b"8")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, ""),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_a_network_counts_as_one_address(address: str | None, expected: str) -> None:
    assert network(address) == expected


def asked(service: Running, last_octet: int, authorization: str) -> int:
    """The status of the list for that header, from 127.0.0.``last_octet``."""
    way = httpx.HTTPTransport(local_address=f"127.0.0.{last_octet}")
    with httpx.Client(base_url=service.base, transport=way, timeout=30) as client:
        answer = client.get(
            "/CallRecorder/Transcoder", params={"format": "json"}, headers={"authorization": authorization}
        )
    return answer.status_code


def basic(text: bytes) -> str:
    return f"Basic {base64.b64encode(text).decode()}"


def test_who_guesses_at_tokens_waits(service: Running) -> None:
    """Ten times as many are free as of logins: a token is too long to be guessed."""
    assert asked(service, 90, "Bearer guess") == 401
    [row] = service.rows("SELECT key, failures FROM login_failures")
    assert row["failures"] == 1
    service.rows("UPDATE login_failures SET failures = 99")
    assert asked(service, 90, "Bearer guess") == 401
    assert asked(service, 90, "Bearer guess") == 429
    assert asked(service, 91, "Bearer guess") == 401, "another address does not"
    assert asked(service, 91, basic(f"admin:{service.password}".encode())) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic !!!",
        "Basic YQ",
        basic(b"nobody"),
        basic(b"\xff:x"),
        basic(b":"),
        "Bearer",
    ],
)
def test_a_header_that_offers_nothing_whole_is_refused(service: Running, authorization: str) -> None:
    assert asked(service, 92, authorization) == 401
