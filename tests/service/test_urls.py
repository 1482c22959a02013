"""CallReplay's URLs, asked as programs ask them."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import io
import json
import os
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
HOME = "/CallRecorder/"
TRANSCODER = "/CallRecorder/Transcoder"


# -- login ----------------------------------------------------------------------------------------------------------


def test_login_by_url_leads_to_the_same_url_without_credentials(
    service: Running, call: dict[str, Any]
) -> None:
    with service.client() as client:
        answer = client.get(
            f"{HOME}?callDetails={call['callId']}&user=admin&password={service.password}&tenant=default&nomenu"
        )
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{HOME}?callDetails={call['callId']}&nomenu"
        assert answer.headers["referrer-policy"] == "no-referrer"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert service.password not in cookie
        assert call["callId"] in client.get(answer.headers["location"]).text


def test_login_without_password_shows_the_form_filled_in(service: Running) -> None:
    answer = httpx.get(f"{service.base}{HOME}?user=jo%22hn&tenant=acme&lang=de")
    assert answer.status_code == 200
    assert 'value="jo&#34;hn"' in answer.text
    assert 'value="acme"' in answer.text
    assert "Anmelden" in answer.text


def as_dotnet(fields: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """Body and headers as C#'s MultipartFormDataContent of StringContents writes them."""
    boundary = "0f5c1a9e-7d2b-4d0e-8f0b-5a4d9f3f7d11"
    parts = [
        f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Disposition: form-data; name={name}\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    ]
    kind = f'multipart/form-data; boundary="{boundary}"'
    return "".join([*parts, f"--{boundary}--\r\n"]).encode(), {"content-type": kind}


def test_login_by_a_form_of_parts(service: Running, call: dict[str, Any]) -> None:
    fields = {"user": "admin", "password": service.password, "tenant": "default", "lang": "ro"}
    body, headers = as_dotnet({**fields, "callDetails": call["callId"]})
    with service.client() as client:
        answer = client.post("/CallRecorder/Login", content=body, headers=headers)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{HOME}?callDetails={call['callId']}&lang=ro"
        assert call["callId"] in client.get(answer.headers["location"]).text
    body, headers = as_dotnet({**fields, "user": "Ștefan", "password": "no"})
    answer = httpx.post(f"{service.base}/CallRecorder/Login", content=body, headers=headers)
    assert answer.status_code == 401
    assert 'value="Ștefan"' in answer.text
    service.rows("DELETE FROM login_failures")


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "no"},
        {"user": "nobody"},
        {"tenant": "none"},
        {"user": "a\0b"},
        {"password": ""},
    ],
)
def test_wrong_credentials_are_401_and_never_say_which(service: Running, wrong: dict[str, str]) -> None:
    values = {"user": "admin", "password": service.password, **wrong}
    service.rows("DELETE FROM login_failures")
    posted = httpx.post(f"{service.base}/CallRecorder/Login", data=values, headers={"accept-language": "en"})
    got = httpx.get(f"{service.base}{HOME}", params=values, headers={"accept-language": "en"})
    for answer in (posted, got):
        # In an address an empty password is none: the form is shown.
        tried = answer is posted or values["password"]
        assert answer.status_code == (401 if tried else 200)
        assert ("These credentials are not right." in answer.text) == bool(tried)
        assert "Traceback" not in answer.text
        assert "set-cookie" not in answer.headers


def test_failed_logins_are_slowed_down(service: Running) -> None:
    service.rows("DELETE FROM login_failures")
    codes = [
        httpx.post(
            f"{service.base}/CallRecorder/Login", data={"user": "guess", "password": str(n)}
        ).status_code
        for n in range(8)
    ]
    assert codes[0] == 401
    assert 429 in codes
    service.rows("DELETE FROM login_failures")


def test_logout_needs_the_csrf_token(service: Running) -> None:
    with service.logged_in() as client:
        assert client.post("/CallRecorder/Logout", data={"csrf": "guess"}).status_code == 403
        page = client.get(HOME).text
        token = page.split('name="csrf" value="')[1].split('"')[0]
        assert client.post("/CallRecorder/Logout", data={"csrf": token}).status_code == 303
        assert 'name="password"' in client.get(HOME).text


def test_description_is_saved_with_a_token_and_kept_out_without(
    service: Running, call: dict[str, Any]
) -> None:
    path = f"/CallRecorder/Call/{call['callId']}/description"
    with service.logged_in() as client:
        page = client.get(f"{HOME}?callDetails={call['callId']}").text
        token = page.split('name="csrf" value="')[1].split('"')[0]
        assert client.post(path, data={"description": "x"}).status_code == 403
        answer = client.post(path, data={"description": "<b>asked & told</b>", "csrf": token})
        assert answer.status_code == 303
        assert "&lt;b&gt;asked &amp; told&lt;/b&gt;" in client.get(answer.headers["location"]).text


# -- pages ----------------------------------------------------------------------------------------------------------


def test_list_searches_by_the_fields_of_the_url(service: Running) -> None:
    with service.logged_in() as client:
        every = client.get(HOME).text
        assert every.count("callDetails=") == stored(service)
        some = client.get(HOME, params={"callerName": "ANA p"}).text
        assert some.count("callDetails=") == 1
        assert "Ana Pop" in some
        assert client.get(HOME, params={"callerIP": "10.0.0.999"}).status_code == 400


@pytest.mark.parametrize("tab", ["general", "media", "events", "advanced"])
def test_every_tab_of_the_details(service: Running, call: dict[str, Any], tab: str) -> None:
    with service.logged_in() as client:
        answer = client.get(f"{HOME}?callDetails={call['callId']}&tab={tab}&nomenu&lang=en")
        assert answer.status_code == 200
        assert '<header class="top">' not in answer.text
        if tab == "advanced":
            file = call["legs"][0]["files"][0]
            for expected in (call["callId"], call["wireCallId"], file["path"], file["sha256"]):
                assert expected in answer.text


@pytest.mark.parametrize("page", ["Volumes", "Users", "Audit"])
def test_administration_is_for_administrators(service: Running, page: str) -> None:
    assert httpx.get(f"{service.base}/CallRecorder/{page}").status_code == 401
    with service.logged_in() as client:
        answer = client.get(f"/CallRecorder/{page}")
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_player_alone(service: Running, call: dict[str, Any]) -> None:
    with service.logged_in() as client:
        answer = client.get(f"{HOME}?player={call['callId']}")
        assert answer.status_code == 200
        assert "<audio" in answer.text
        assert '<header class="top">' not in answer.text
        assert client.get(f"{HOME}?player=00000000-0000-0000-0000-000000000000").status_code == 404


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Bucharest"])
def test_the_ends_of_the_calendar_bound_nothing(
    service: Running, zone: str, request: pytest.FixtureRequest
) -> None:
    [kept] = service.rows("SELECT time_zone FROM tenants WHERE name = 'default'")
    change = "UPDATE tenants SET time_zone = %s WHERE name = 'default'"
    request.addfinalizer(lambda: service.rows(change, kept["time_zone"]))
    service.rows(change, zone)
    bounds = {"beginTime": "0001.01.01-00.00.00", "endTime": "9999.12.31-23.59.59"}
    with service.logged_in() as client:
        every = client.get(TRANSCODER, params={"format": "json"}).json()
        found = client.get(TRANSCODER, params={**bounds, "format": "json"})
        assert found.status_code == 200
        assert found.json() == every != []
        assert client.get(HOME, params=bounds).status_code == 200
        audit = client.get("/CallRecorder/Audit", params=bounds)
        assert audit.status_code == 200
        assert audit.text.count("<tr>") == client.get("/CallRecorder/Audit").text.count("<tr>") > 1


@pytest.mark.parametrize("name", ["callDetails", "player"])
@pytest.mark.parametrize("value", ["nonsense", " ", "00000000-0000-0000-0000-00000000000", "<script>"])
def test_a_malformed_uuid_is_a_400_that_names_the_parameter(service: Running, name: str, value: str) -> None:
    with service.logged_in() as client:
        for accept in ("text/html", "*/*"):
            answer = client.get(HOME, params={name: value, "lang": "de"}, headers={"accept": accept})
            assert answer.status_code == 400
            assert answer.headers["content-type"].startswith("text/html")
            assert f"Dieser Wert stimmt nicht: {name}</p>" in answer.text
            assert ('<header class="top">' in answer.text) is (name == "callDetails")
        nobody = "00000000-0000-0000-0000-000000000000"
        assert client.get(HOME, params={name: nobody}).status_code == 404
        assert client.get(HOME, params={"callDetails": value, "player": nobody}).status_code == 404


@pytest.mark.parametrize(
    ("language", "word"),
    [("en", "Calls"), ("de", "Anrufe"), ("ro", "Apeluri"), ("fr", "Appels"), ("es", "Llamadas")],
)
def test_languages(service: Running, language: str, word: str) -> None:
    with service.logged_in() as client:
        answer = client.get(f"{HOME}?lang={language}")
        assert f">{word}</h1>" in answer.text
        assert f'<html lang="{language}">' in answer.text
        assert f">{word}</h1>" in client.get(HOME).text, "the choice is kept"


# -- transcoder -----------------------------------------------------------------------------------------------------


def stored(service: Running) -> int:
    """Calls of the default tenant: three samples, and what other tests may have left."""
    [row] = service.rows(
        "SELECT count(*) AS calls FROM calls JOIN tenants ON tenants.id = tenant_id WHERE name = 'default'"
    )
    return int(row["calls"])


def first(service: Running, **parameters: Any) -> httpx.Response:
    with service.basic() as client:
        return client.get(TRANSCODER, params=parameters)


def test_every_parameter_finds_the_call(service: Running, call: dict[str, Any]) -> None:
    for name in ("callId", "wireCallId", "beginTime", "callerIP", "callerPort", "callerMAC", "callerNumber",
                 "callerName", "calledIP", "calledPort", "calledMAC", "calledNumber", "calledName"):  # fmt: skip
        if call[name] in (None, ""):
            continue
        found = first(service, **{name: call[name]}, format="json")
        assert found.status_code == 200, (name, found.text)
        assert call["callId"] in [each["callId"] for each in found.json()], name
    assert first(service, pbxCallId=call["wireCallId"], format="json").json()[0]["callId"] == call["callId"]
    both = {"beginTime": call["beginTime"], "endTime": call["beginTime"], "format": "json"}
    assert call["callId"] in [each["callId"] for each in first(service, **both).json()], (
        "bounds are inclusive"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callId", "x"),
        ("beginTime", "2026-01-01"),
        ("endTime", "2026.13.01-00.00.00"),
        ("callerIP", "10.0.0.256"),
        ("callerPort", "65536"),
        ("calledPort", "-1"),
        ("callerMAC", "00:11"),
        ("format", "exe"),
        ("limit", "0"),
        ("after", "x"),
        ("start", "-1"),
        ("width", "99999999"),
        ("rate", "7999"),
    ],
)
def test_a_malformed_value_is_400_and_named(service: Running, name: str, value: str) -> None:
    form = {"limit": "json", "after": "json", "width": "png"}.get(name, "wav")
    answer = first(service, **{"format": form, name: value})
    assert answer.status_code == 400
    assert answer.json()["parameter"] == name


def test_no_match_is_404(service: Running) -> None:
    assert first(service, callerName="nobody at all").status_code == 404
    assert first(service, callerName="nobody at all", format="json").json() == []


def test_wav_through_a_temporary_url(service: Running, call: dict[str, Any]) -> None:
    answer = first(service, callId=call["callId"], format="wav")
    assert answer.status_code == 302
    place = service.base + answer.headers["location"]
    assert service.password not in place
    whole = httpx.get(place)  # no credentials
    assert whole.status_code == 200
    assert whole.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(whole.content)) as audio:
        assert audio.getnchannels() == 1
        assert audio.getnframes() / audio.getframerate() == pytest.approx(call["duration"], abs=5)
    again = httpx.get(place)
    assert again.headers["accept-ranges"] == "bytes"
    part = httpx.get(place, headers={"range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert httpx.get(place, headers={"range": "bytes=-10"}).content == whole.content[-10:]
    assert httpx.get(place, headers={"range": f"bytes={len(whole.content)}-"}).status_code == 416
    etag = again.headers["etag"]
    assert httpx.get(place, headers={"if-none-match": etag}).status_code == 304
    assert httpx.get(place, headers={"range": "bytes=0-9", "if-range": '"other"'}).status_code == 200
    head = httpx.head(place)
    assert (head.status_code, head.content, head.headers["content-length"]) == (
        200,
        b"",
        str(len(whole.content)),
    )


def test_other_forms(service: Running, call: dict[str, Any]) -> None:
    def fetch(form: str, **more: Any) -> httpx.Response:
        answer = first(service, callId=call["callId"], format=form, **more)
        assert answer.status_code == 302, answer.text
        return httpx.get(service.base + answer.headers["location"])

    picture = fetch("png", width=640, height=200)
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (640, 200)
    if importlib.util.find_spec("callreplay.outputs.speex"):
        speex = fetch("spx")
        assert speex.content[:4] == b"OggS"
        assert b"Speex   " in speex.content[:64]
    else:
        assert first(service, callId=call["callId"], format="spx").status_code == 501
    peaks = fetch("peaks", channels="stereo").json()
    assert peaks["channels"] == 2
    assert len(peaks["data"]) == 2 * 2 * peaks["length"]
    cut = fetch("wav", start="1", end="3", rate="16000")
    with wave.open(io.BytesIO(cut.content)) as audio:
        assert (audio.getframerate(), audio.getnframes()) == (16000, 32000)
    assert fetch("rtp").content[:2] == b"PK"


def test_a_temporary_url_cannot_be_made_up_or_outlive_its_time(
    service: Running, call: dict[str, Any]
) -> None:
    place = first(service, callId=call["callId"], format="wav").headers["location"]
    prefix, token, name = place.rsplit("/", 2)
    for made_up in (token[:-2] + ("AA" if not token.endswith("AA") else "BB"), "x" + token, token[5:], "x"):
        assert httpx.get(f"{service.base}{prefix}/{made_up}/{name}").status_code == 404


def test_json_pages_follow_on(service: Running) -> None:
    whole = first(service, format="json").json()
    assert len(whole) == stored(service) >= 3
    assert [each["beginTime"] for each in whole] == sorted(each["beginTime"] for each in whole)
    one = first(service, format="json", limit=1).json()
    rest = first(service, format="json", limit=len(whole), after=one[0]["callId"]).json()
    assert one + rest == whole
    two = first(service, format="json", limit=2, after=one[0]["callId"]).json()
    assert two == rest[:2]


def test_json_without_a_limit_is_every_call(service: Running) -> None:
    from argon2 import PasswordHasher

    service.rows("INSERT INTO tenants (name) VALUES ('busy')")
    service.rows(
        "INSERT INTO users (tenant_id, login, password_hash, role) SELECT id, 'busy', %s, 'user' FROM tenants "
        "WHERE name = 'busy'",
        PasswordHasher().hash("busy's own password"),
    )
    given = {"user": "busy", "password": "busy's own password", "tenant": "busy", "format": "json"}
    try:
        # Pages of 500: none, one not full, one full, and three of which the last is not; many begin in one second.
        made = 0
        for count in (0, 499, 500, 1203):
            service.rows(
                "INSERT INTO calls (tenant_id, identity, started_at, ended_at, caller_number) "
                "SELECT tenants.id, n::text, t, t + interval '1 minute', (n %% 2)::text FROM tenants, "
                "generate_series(%s::int, %s::int) AS n, "
                "LATERAL (SELECT timestamptz '2026-01-01' + (n / 700) * interval '1 second') AS at (t) "
                "WHERE tenants.name = 'busy'",
                *(made, count - 1),
            )
            made = count
            with httpx.stream("GET", service.base + TRANSCODER, params=given) as answer:
                assert answer.status_code == 200
                assert answer.headers["content-type"] == "application/json"
                found = json.loads(answer.read())
            assert len({each["callId"] for each in found}) == len(found) == count
            assert [each["beginTime"] for each in found] == sorted(each["beginTime"] for each in found)
        odd = httpx.get(service.base + TRANSCODER, params={**given, "callerNumber": "1"}).json()
        assert len(odd) == 601
        assert {each["callerNumber"] for each in odd} == {"1"}
        rest = httpx.get(service.base + TRANSCODER, params={**given, "after": found[99]["callId"]}).json()
        assert rest == found[100:]
    finally:
        service.rows("DELETE FROM calls WHERE tenant_id = (SELECT id FROM tenants WHERE name = 'busy')")


def test_transcoder_takes_parameters_and_tokens_and_nothing_less(
    service: Running, call: dict[str, Any]
) -> None:
    place = service.base + TRANSCODER
    assert httpx.get(place, params={"format": "json"}).status_code == 401
    given = {"user": "admin", "password": service.password, "tenant": "default", "format": "json"}
    assert len(httpx.get(place, params=given).json()) == stored(service)
    with service.logged_in() as client:
        page = client.get("/CallRecorder/Users").text
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        made = client.post(
            "/CallRecorder/Tokens/add", data={"csrf": csrf, "name": "robot"}, follow_redirects=True
        ).text
        token = made.split("crt_")[1].split("<")[0]
        bearer = {"authorization": f"Bearer crt_{token}"}
        assert len(httpx.get(place, params={"format": "json"}, headers=bearer).json()) == stored(service)
        [row] = service.rows("SELECT id FROM api_tokens WHERE revoked_at IS NULL AND name = 'robot'")
        assert client.post(f"/CallRecorder/Tokens/{row['id']}/revoke", data={"csrf": csrf}).status_code == 303
        assert httpx.get(place, params={"format": "json"}, headers=bearer).status_code == 401


def test_a_tenant_never_sees_anothers_calls(service: Running, call: dict[str, Any]) -> None:
    from argon2 import PasswordHasher

    service.rows("INSERT INTO tenants (name) VALUES ('other') ON CONFLICT DO NOTHING")
    service.rows(
        "INSERT INTO users (tenant_id, login, password_hash, role) SELECT id, 'eve', %s, 'admin' FROM tenants "
        "WHERE name = 'other'",
        PasswordHasher().hash("eve's own password"),
    )
    given = {"user": "eve", "password": "eve's own password", "tenant": "other"}
    place = service.base + TRANSCODER
    assert httpx.get(place, params={**given, "format": "json"}).json() == []
    assert httpx.get(place, params={**given, "callId": call["callId"]}).status_code == 404
    with service.client() as client:
        assert client.post("/CallRecorder/Login", data=given).status_code == 303
        for name in ("callDetails", "player"):
            assert client.get(HOME, params={name: call["callId"]}).status_code == 404
        assert "callDetails=" not in client.get(HOME).text
        users = client.get("/CallRecorder/Users").text
        assert ">eve</td>" in users
        assert ">admin</td>" not in users


def test_times_are_the_tenants_where_the_clock_is_changed(service: Running) -> None:
    from argon2 import PasswordHasher

    service.rows("INSERT INTO tenants (name, time_zone) VALUES ('berlin', 'Europe/Berlin')")
    service.rows(
        "INSERT INTO users (tenant_id, login, password_hash, role) SELECT id, 'dst', %s, 'user' FROM tenants "
        "WHERE name = 'berlin'",
        PasswordHasher().hash("dst's own password"),
    )
    # 02:30 twice, and a call over the end of the second one; 01:59 and 03:01, two minutes apart.
    for start in ("2026-10-25 00:30", "2026-10-25 01:30", "2026-03-29 00:59", "2026-03-29 01:01"):
        service.rows(
            "INSERT INTO calls (tenant_id, identity, started_at, ended_at) SELECT id, %s, %s::timestamptz, "
            "%s::timestamptz + interval '45 minutes' FROM tenants WHERE name = 'berlin'",
            *(start, start + "Z", start + "Z"),
        )

    def ask(**bounds: str) -> list[tuple[str, str, str]]:
        given = {"user": "dst", "password": "dst's own password", "tenant": "berlin", "format": "json"}
        answer = httpx.get(service.base + TRANSCODER, params=given | bounds)
        assert answer.status_code == 200, answer.text
        assert {each["timeZone"] for each in answer.json()} <= {"Europe/Berlin"}
        return [(each["beginTime"], each["endTime"], each["startedAt"]) for each in answer.json()]

    first = ("2026.10.25-02.30.00", "2026.10.25-02.15.00", "2026-10-25T02:30:00.000+02:00")
    second = ("2026.10.25-02.30.00", "2026.10.25-03.15.00", "2026-10-25T02:30:00.000+01:00")
    before = ("2026.03.29-01.59.00", "2026.03.29-03.44.00", "2026-03-29T01:59:00.000+01:00")
    after = ("2026.03.29-03.01.00", "2026.03.29-03.46.00", "2026-03-29T03:01:00.000+02:00")
    assert ask() == [before, after, first, second]
    assert ask(beginTime="2026.10.25-02.30.00", endTime="2026.10.25-02.30.00") == [first, second]
    assert ask(beginTime="2026.10.25-02.31.00") == [second]
    assert ask(endTime="2026.03.29-02.30.00") == [before], "up to a time that was skipped"
    assert ask(beginTime="2026.03.29-02.30.00", endTime="2026.03.30-00.00.00") == [after]
    assert ask(beginTime="2026.03.29-02.00.00", endTime="2026.03.29-02.59.59") == []
    service.rows("DELETE FROM calls WHERE tenant_id = (SELECT id FROM tenants WHERE name = 'berlin')")


def second_tenant(service: Running) -> dict[str, str]:
    """Credentials of the administrator of a tenant that is not the site's."""
    from argon2 import PasswordHasher

    service.rows("INSERT INTO tenants (name) VALUES ('branch') ON CONFLICT DO NOTHING")
    service.rows(
        "INSERT INTO users (tenant_id, login, password_hash, role) SELECT id, 'bea', %s, 'admin' FROM tenants "
        "WHERE name = 'branch' ON CONFLICT DO NOTHING",
        PasswordHasher().hash("bea's own password"),
    )
    return {"user": "bea", "password": "bea's own password", "tenant": "branch"}


def csrf_of(page: str) -> str:
    return page.split('name="csrf" value="')[1].split('"', maxsplit=1)[0]


def test_what_all_tenants_share_is_for_the_administrators_of_the_site(service: Running) -> None:
    before = player(service)
    service.rows(
        "INSERT INTO audit_log (actor, action, object) VALUES ('player', 'storage.read', '1/of-all.rtp')"
    )
    with service.client() as client:
        assert client.post("/CallRecorder/Login", data=second_tenant(service)).status_code == 303
        users = client.get("/CallRecorder/Users")
        assert users.status_code == 200
        assert "/Volumes" not in users.text
        shown = client.get("/CallRecorder/Volumes")
        assert shown.status_code == 403
        assert before[1] not in shown.text
        fields = {"csrf": csrf_of(users.text), "player_password": "taken over 1"}
        assert client.post("/CallRecorder/Volumes/player", data=fields).status_code == 403
        assert "of-all.rtp" not in client.get("/CallRecorder/Audit").text
    assert player(service) == before
    with service.logged_in() as client:
        assert before[1] in client.get("/CallRecorder/Volumes").text
        assert "of-all.rtp" in client.get("/CallRecorder/Audit").text


@pytest.mark.parametrize(
    "fields", [{"action": "disable"}, {"action": "password", "password": "another 12345"}]
)
def test_another_tenants_administrator_ends_no_session(service: Running, fields: dict[str, str]) -> None:
    [admin] = service.rows(
        "SELECT u.id FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE login = 'admin' AND t.name = 'default'"
    )
    with service.logged_in() as victim, service.client() as client:
        assert client.post("/CallRecorder/Login", data=second_tenant(service)).status_code == 303
        token = csrf_of(client.get("/CallRecorder/Users").text)
        changed = client.post(f"/CallRecorder/Users/{admin['id']}", data={**fields, "csrf": token})
        assert changed.status_code == 404
        assert victim.get("/CallRecorder/Users").status_code == 200


# -- storage --------------------------------------------------------------------------------------------------------


def player(service: Running) -> tuple[str, str]:
    [row] = service.rows("SELECT value FROM settings WHERE key = 'storage.player_password'")
    return "player", str(row["value"])


def test_storage(service: Running, call: dict[str, Any]) -> None:
    file = call["legs"][0]["files"][0]
    place = f"{service.base}/CallRecorder/Storage/{file['volumeId']}/{file['path']}"
    refused = httpx.get(place)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert httpx.get(place, auth=("player", "wrong")).status_code == 401
    assert httpx.get(place, auth=("admin", service.password)).status_code == 401
    whole = httpx.get(place, auth=player(service))
    assert whole.status_code == 200
    assert len(whole.content) == file["size"]
    import hashlib

    assert hashlib.sha256(whole.content).hexdigest() == file["sha256"]
    assert (
        httpx.get(place, auth=player(service), headers={"range": "bytes=5-8"}).content == whole.content[5:9]
    )
    [row] = service.rows(
        "SELECT actor, object FROM audit_log WHERE action = 'storage.read' ORDER BY id DESC LIMIT 1"
    )
    assert row == {"actor": "player", "object": f"{file['volumeId']}/{file['path']}"}
    service.rows("DELETE FROM login_failures")


HOSTILE = {
    "dot dot": "../../database.json",
    "encoded dots": "%2e%2e/%2e%2e/database.json",
    "encoded slashes": "..%2f..%2fdatabase.json",
    "all encoded": "%2e%2e%2f%2e%2e%2fdatabase.json",
    "encoded twice": "%252e%252e%252f%252e%252e%252fdatabase.json",
    "overlong utf-8": "%c0%ae%c0%ae/%c0%ae%c0%ae/database.json",
    "full-width dots": "%ef%bc%8e%ef%bc%8e/database.json",
    "backslashes": "..\\..\\database.json",
    "encoded backslashes": "..%5c..%5cdatabase.json",
    "zero": "%00",
    "zero behind a name": "inside%00.rtp",
    "absolute": "/etc/passwd",
    "encoded absolute": "%2fetc%2fpasswd",
    "file address": "file:///etc/passwd",
    "link out": "link",
    "link to a folder out": "door/database.json",
    "link within": "alias",
    "down and up": "sub/../inside",
    "through a file": "inside/inside",
    "dot": "./inside",
    "empty part": "sub//inside",
    "trailing slash": "inside/",
    "a folder": "sub",
    "the volume": "",
    "a pipe": "pipe",
    "long name": "x" * 300,
    "long path": "x/" * 4000 + "x",
    "missing": "nothing.rtp",
}


@pytest.fixture(scope="module")
def baited(service: Running) -> Path:
    """The first volume, with a file to read and everything that could lead out of it."""
    [row] = service.rows("SELECT path FROM storage_volumes WHERE id = 1")
    volume = Path(row["path"])
    outside = volume.parents[1]
    assert (outside / "database.json").is_file(), "what the paths are after"
    (volume / "inside").write_bytes(b"kept here")
    (volume / "sub").mkdir(exist_ok=True)
    for name, target in (("link", "/etc/passwd"), ("door", outside), ("alias", "inside")):
        (volume / name).unlink(missing_ok=True)
        (volume / name).symlink_to(target)
    (volume / "pipe").unlink(missing_ok=True)
    os.mkfifo(volume / "pipe")
    return volume


def raw(service: Running, path: str) -> tuple[int, bytes]:
    """GET of a path as it is written: httpx would tidy it up before it is sent."""
    secret = base64.b64encode(":".join(player(service)).encode()).decode()
    connection = http.client.HTTPConnection(service.base.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path, headers={"authorization": f"Basic {secret}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("kind", HOSTILE)
def test_storage_never_leaves_its_volume(service: Running, baited: Path, kind: str) -> None:
    assert raw(service, "/CallRecorder/Storage/1/inside") == (200, b"kept here")
    status, body = raw(service, "/CallRecorder/Storage/1/" + HOSTILE[kind])
    assert status == (400 if kind == "overlong utf-8" else 404)
    for secret in (b"root:", b"password", b"kept here", os.fsencode(baited)):
        assert secret not in body


@pytest.mark.parametrize(
    "volume",
    ["0", "-1", "2147483647", "2147483648", "9" * 5000, "x", "1x", "1.0", "+1", "%201", "%d9%a1", "", "..", "%2e%2e",
     "1%2f..", "1%00", "0x1", "1e0"],
)  # fmt: skip
def test_what_is_no_volume_is_404(service: Running, baited: Path, volume: str) -> None:
    status, body = raw(service, f"/CallRecorder/Storage/{volume}/inside")
    assert status == 404
    assert b"kept here" not in body


def test_player_password_opens_storage_only(service: Running) -> None:
    assert httpx.get(service.base + TRANSCODER, auth=player(service)).status_code == 401
    service.rows("DELETE FROM login_failures")


# -- operations -----------------------------------------------------------------------------------------------------


def test_health_metrics_and_api_document(service: Running) -> None:
    assert httpx.get(service.base + "/healthz").text == "ok\n"
    assert httpx.get(service.base + "/readyz").json()["ready"] is True
    assert "callreplay_" in httpx.get(service.metrics).text
    document = httpx.get(service.base + "/CallRecorder/openapi.json").json()
    assert TRANSCODER in str(document["paths"])


def test_unknown_addresses_are_404_without_a_trace(service: Running) -> None:
    answer = httpx.get(service.base + "/CallRecorder/Nothing", headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_who_is_locked_out_is_so_at_the_next_request(service: Running, call: dict[str, Any]) -> None:
    asked = {"callId": call["callId"], "format": "wav"}
    service.rows(
        "INSERT INTO users (tenant_id, login, password_hash) SELECT tenant_id, 'leaving', password_hash "
        "FROM users WHERE login = 'admin'"
    )
    try:
        with service.client() as client:
            entered = {"user": "leaving", "password": service.password}
            assert client.post("/CallRecorder/Login", data=entered).status_code == 303

            def status() -> int:
                return client.get("/CallRecorder/Transcoder", params=asked).status_code

            assert [status(), status()] == [302, 302]
            service.rows("UPDATE users SET disabled_at = now() WHERE login = 'leaving'")
            assert status() == 401
            service.rows("UPDATE users SET disabled_at = NULL WHERE login = 'leaving'")
            assert status() == 302
            service.rows(
                "DELETE FROM sessions WHERE user_id = (SELECT id FROM users WHERE login = 'leaving')"
            )
            assert status() == 401
    finally:
        service.rows("DELETE FROM users WHERE login = 'leaving'")
