"""What the integration specification says of values, addresses and logins, to the letter."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest

from callreplay.service import engine
from callreplay.service.transcoder import OPTIONS
from callreplay.store import search
from callreplay.store.migrations import versions
from callreplay.store.search import PARAMETERS

from .test_urls import as_dotnet

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
HOME = "/CallRecorder/"
TRANSCODER = "/CallRecorder/Transcoder"


@contextmanager
def stored(service: Running, **columns: Any) -> Iterator[str]:
    """A call of tenant default with these columns; its uuid."""
    key, names = uuid.uuid4(), ", ".join(columns)
    service.rows(
        f"INSERT INTO calls (uuid, tenant_id, identity, started_at, ended_at, {names}) "
        f"SELECT %s, id, %s, now(), now(), {', '.join(['%s'] * len(columns))} FROM tenants WHERE name = 'default'",
        *(key, str(key), *columns.values()),
    )
    try:
        yield str(key)
    finally:
        service.rows("DELETE FROM calls WHERE uuid = %s", key)


def found(client: httpx.Client, query: str) -> list[str]:
    answer = client.get(f"{TRANSCODER}?format=json&{query}")
    assert answer.status_code == 200, answer.text
    return [each["callId"] for each in answer.json()]


# -- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["caller", "called"])
def test_a_plus_in_a_number_may_be_written_as_it_is(service: Running, side: str) -> None:
    with (
        stored(service, **{f"{side}_number": "+40724123456"}) as wanted,
        stored(service, **{f"{side}_number": "0040724123456"}) as other,
        service.logged_in() as client,
    ):
        for text in ("+40724", "%2B40724", "%2b40724123456", "+40724123456"):
            assert found(client, f"{side}Number={text}") == [wanted], text
            page = client.get(f"{HOME}?{side}Number={text}").text
            assert f"callDetails={wanted}" in page, text
        assert set(found(client, f"{side}Number=40724")) == {wanted, other}


def test_a_scope_finds_a_number_with_its_plus() -> None:
    for text in ("callerNumber=+40724", "callerNumber=%2B40724"):
        (query,) = search.Reach.parse(1, text, ZoneInfo("UTC")).within
        assert query.caller_number == "+40724"


def test_empty_values_ask_nothing_whatever_the_parameter(service: Running, call: dict[str, Any]) -> None:
    names = [
        *PARAMETERS,
        *OPTIONS,
        "limit",
        "after",
        "format",
        "reason",
        "user",
        "password",
        "tenant",
        "lang",
    ]
    query = "&".join(f"{name}=" for name in names if name != "format")
    with service.basic() as client:
        assert len(found(client, query)) == 3
        for name in names:
            answer = client.get(f"{TRANSCODER}?callId={call['callId']}&{name}=")
            assert answer.status_code == 302, name
        whole = client.get(f"{TRANSCODER}?{query}&callId={call['callId']}&format=")
        assert whole.status_code == 302, "beside a value of the same name too"
    of_pages = [*PARAMETERS, "callDetails", "player", "tab", "after", "before", "lang", "user", "password",
                "tenant", "ticket"]  # fmt: skip
    with service.logged_in() as client:
        for name in of_pages:
            answer = client.get(f"{HOME}?{name}=")
            assert answer.status_code == 200, name
            assert answer.text.count("callDetails=") >= 3, name
        for name in ("user", "action", "object", "beginTime", "endTime", "before"):
            assert client.get(f"/CallRecorder/Audit?{name}=").status_code == 200, name


@pytest.mark.parametrize("side", ["caller", "called"])
def test_ipv4_addresses_as_ipv6_sockets_show_them_are_those_addresses(service: Running, side: str) -> None:
    """However the row was written, by the program or by SQL, and however it is asked for."""
    column = f"{side}_ip"
    with (
        stored(service, **{column: "::ffff:192.0.2.7"}) as mapped,
        stored(service, **{column: "192.0.2.7"}) as plain,
        stored(service, **{column: "192.0.2.8"}),
        stored(service, **{column: "::192.0.2.7"}),
        service.basic() as client,
    ):
        for text in ("192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:0207", "0:0:0:0:0:ffff:c000:207"):
            assert set(found(client, f"{side}IP={text}")) == {mapped, plain}, text
        shown = client.get(f"{TRANSCODER}?format=json&callId={mapped}").json()
        assert shown[0][f"{side}IP"] == "192.0.2.7"
        service.rows(f"UPDATE calls SET {column} = '::ffff:192.0.2.9' WHERE uuid = %s", uuid.UUID(plain))
        assert found(client, f"{side}IP=192.0.2.9") == [plain]


def test_rows_of_older_versions_are_found_by_their_plain_addresses(service: Running) -> None:
    """What 0011_plain_addresses does to rows that are there."""
    migration = Path(next(iter(versions.__path__))) / "0011_plain_addresses.sql"
    with psycopg.connect(service.database_url) as connection, connection.transaction(force_rollback=True):
        connection.execute("DROP TRIGGER calls_plain_addresses ON calls")
        connection.execute("DROP FUNCTION plain_addresses()")
        connection.execute("UPDATE calls SET caller_ip = '::ffff:10.9.8.7', called_ip = '2001:db8::1'")
        connection.execute(migration.read_bytes())
        rows = connection.execute("SELECT DISTINCT host(caller_ip), host(called_ip) FROM calls").fetchall()
        assert rows == [("10.9.8.7", "2001:db8::1")]


@pytest.mark.parametrize("octets", ["%ff", "%c0%ae", "%ed%a0%80", "%f4%90%80%80", "a%80"])
def test_what_is_not_utf8_is_400_wherever_it_stands(service: Running, octets: str) -> None:
    """A lone octet, an overlong form, half a surrogate pair, what lies beyond Unicode, half a letter."""
    wrong = unquote_to_bytes(octets)
    form = {"content-type": "application/x-www-form-urlencoded"}
    parts, headers = as_dotnet({"user": "x=x"})
    with service.client() as client:
        for method, place in (("GET", HOME), ("GET", TRANSCODER), ("POST", HOME), ("POST", "/CallRecorder")):
            assert client.request(method, f"{place}?callerName={octets}").status_code == 400, (method, place)
        assert client.get(f"{HOME}?{octets}=x").status_code == 400
        assert client.get(f"/CallRecorder/{octets}").status_code == 400
        for place in (HOME, "/CallRecorder/Login"):
            for body in (f"user={octets}&password=x".encode(), b"user=" + wrong, wrong + b"=x"):
                assert client.post(place, content=body, headers=form).status_code == 400, body
            damaged = parts.replace(b"x=x", wrong)
            assert client.post(place, content=damaged, headers=headers).status_code == 400
            damaged = parts.replace(b"name=user", b"name=" + wrong)
            assert client.post(place, content=damaged, headers=headers).status_code == 400


# -- the base URL -----------------------------------------------------------------------------------------------------


def test_the_base_url_without_its_slash_keeps_the_query(service: Running, call: dict[str, Any]) -> None:
    query = f"callDetails={call['callId']}&nomenu&callerName=a%20b%2Bc"
    answer = httpx.get(f"{service.base}/CallRecorder?{query}")
    assert (answer.status_code, answer.headers["location"]) == (308, f"{HOME}?{query}")
    for place in ("/CallRecorder", "/"):
        answer = httpx.get(f"{service.base}{place}")
        assert (answer.status_code, answer.headers["location"]) == (308, HOME)
    with service.client(follow_redirects=True) as client:
        query = f"callDetails={call['callId']}&user=admin&password={service.password}&tenant=default&nomenu"
        page = client.get(f"/CallRecorder?{query}")
        assert page.status_code == 200
        assert call["callId"] in page.text
        first = page.history[0]
        assert first.headers["cache-control"] == "no-store", "no browser keeps a password"


def given(service: Running) -> dict[str, str]:
    return {"user": "admin", "password": service.password, "tenant": "default", "lang": "fr"}


@pytest.mark.parametrize("place", ["/CallRecorder", "/CallRecorder/", "/CallRecorder/Login"])
@pytest.mark.parametrize("way", ["form", "parts", "chunked", "chunked parts", "query", "query and form"])
def test_a_login_may_be_posted_in_every_way(
    service: Running, call: dict[str, Any], place: str, way: str
) -> None:
    fields = {**given(service), "player": call["callId"]}
    with service.client() as client:
        if way == "query":
            answer = client.post(place, params=fields)
        elif way == "query and form":
            half = {name: fields.pop(name) for name in ("player", "lang")}
            answer = client.post(place, params=half, data=fields)
        else:
            made = client.build_request("POST", place, data=fields)
            body, headers = made.read(), dict(made.headers)
            if "parts" in way:
                body, headers = as_dotnet(fields)
            headers.pop("content-length", None)

            def pieces() -> Iterator[bytes]:
                yield from (body[at : at + 7] for at in range(0, len(body), 7))

            answer = client.post(place, content=pieces() if "chunked" in way else body, headers=headers)
            sent = answer.request.headers
            assert ("transfer-encoding" in sent) == ("chunked" in way)
        assert answer.status_code == 303, answer.text
        where = answer.headers["location"]
        assert where == f"{HOME}?player={call['callId']}&lang=fr"
        page = client.get(where)
        assert page.status_code == 200
        assert "<audio" in page.text
        assert '<html lang="fr">' in page.text


@pytest.mark.parametrize("place", ["/CallRecorder/", "/CallRecorder/Login"])
def test_a_wrong_login_is_401_in_every_way(service: Running, place: str) -> None:
    wrong = {**given(service), "password": "wrong"}
    with service.client() as client:
        assert client.post(place, params=wrong).status_code == 401
        assert client.post(place, data=wrong).status_code == 401
        form = {"content-type": "application/x-www-form-urlencoded"}
        pieces = iter([b"user=admin&", b"password=wrong"])
        assert client.post(place, content=pieces, headers=form).status_code == 401
        assert client.get(HOME).text.count("callDetails=") == 0
    service.rows("DELETE FROM login_failures")


# -- what cannot be decoded -------------------------------------------------------------------------------------------


@contextmanager
def recorded_as(service: Running, call: dict[str, Any], codecs: list[str]) -> Iterator[None]:
    """The call's recordings said to hold these codecs."""
    rows = service.rows("SELECT id, codec, codecs FROM call_files WHERE call_uuid = %s", call["callId"])
    service.rows("UPDATE call_files SET codecs = %s WHERE call_uuid = %s", codecs, call["callId"])
    try:
        yield
    finally:
        for row in rows:
            service.rows("UPDATE call_files SET codecs = %s WHERE id = %s", row["codecs"], row["id"])


SILENT = {
    "en": "EVS/16000 cannot be decoded here. Its part of the call is silent.",
    "de": "EVS/16000 kann hier nicht dekodiert werden. Dieser Teil des Gesprächs ist stumm.",
    "fr": "EVS/16000 ne peut pas être décodé ici. Cette partie de l'appel est muette.",
    "es": "EVS/16000 no se puede descodificar aquí. Esa parte de la llamada está en silencio.",
    "ro": "EVS/16000 nu poate fi decodat aici. Acea parte a apelului este mută.",
}


def test_what_cannot_be_decoded_is_told_at_every_address(service: Running, call: dict[str, Any]) -> None:
    """In a header with every rendering, in the JSON of calls, and on the pages in the reader's language."""
    name, wanted = "x-callreplay-warning", "EVS/16000 cannot be decoded"
    with service.logged_in() as client:
        parameters = {"callId": call["callId"]}
        forms = ("wav", "spx", "png", "peaks", "dat")

        def asked(form: str) -> list[httpx.Response]:
            first = client.get(TRANSCODER, params={**parameters, "format": form})
            place = first.headers["location"]
            return [
                first,
                client.get(place),
                client.head(place),
                client.get(place, headers={"range": "bytes=0-3"}),
            ]

        for form in (*forms, "rtp"):
            assert [name in each.headers for each in asked(form)] == [False] * 4, form
        assert client.get(TRANSCODER, params={**parameters, "format": "json"}).json()[0]["warnings"] == []
        with recorded_as(service, call, ["PCMA/8000", "EVS/16000"]):
            for form in forms:
                assert [each.headers.get(name) for each in asked(form)] == [wanted] * 4, form
            assert [name in each.headers for each in asked("rtp")] == [False] * 4, "recordings are whole"
            json = client.get(TRANSCODER, params={**parameters, "format": "json"}).json()
            assert json[0]["warnings"] == [wanted]
            for language, text in SILENT.items():
                for what in ("player", "callDetails"):
                    page = client.get(f"{HOME}?{what}={call['callId']}&lang={language}").text
                    assert page.count(text) == 1, (language, what)
        client.get(f"{HOME}?lang=en")


def test_a_warning_is_one_line_of_ascii_whatever_a_capture_says(
    service: Running, call: dict[str, Any]
) -> None:
    with (
        recorded_as(service, call, ["Ö\r\nset-cookie: x=1/8000", "\x1b[31m/8000"]),
        service.basic() as client,
    ):
        answer = client.get(TRANSCODER, params={"callId": call["callId"]})
        assert answer.status_code == 302
        assert "set-cookie" not in answer.headers
        assert answer.headers["x-callreplay-warning"].isascii()
        assert answer.headers["x-callreplay-warning"].isprintable()


def test_what_was_made_without_a_decoder_is_made_again_with_it(
    app: Any, service: Running, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of a rendering holds what could decode."""
    from callreplay.audio import pyav

    made: list[str] = []
    inner = engine.render

    def render(*values: Any) -> engine.Rendering:
        made.append(engine.decoders())
        return inner(*values)

    monkeypatch.setattr(engine, "render", render)

    async def ask() -> int:
        transport = httpx.ASGITransport(app)
        auth = ("admin", service.password)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", auth=auth) as client:
            answer = await client.get(TRANSCODER, params={"callId": call["callId"], "format": "png"})
            return answer.status_code

    for version in ("", "", "av 99", "av 99", "av 100", ""):
        monkeypatch.setattr(pyav, "version", lambda said=version: said)
        assert asyncio.run(ask()) == 302
    assert made == ["", "av 99", "av 100"]
