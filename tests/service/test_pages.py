"""The pages as HTML: what their links keep, how they write, who may see and change what."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from argon2 import PasswordHasher

from callreplay.service.listing import COUNTED_ROWS, PAGE_ROWS
from callreplay.store import search

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
HOME = "/CallRecorder/"
PASSWORD = "kept in a drawer"
CALLS = 620
MATCHING = 120
"""Of the registry's calls, those whose caller's number holds 5550."""


@dataclass
class Registry:
    """A tenant of its own, in Bucharest, with many calls: what is done to it is nobody else's."""

    service: Running
    id: int

    def client(self) -> httpx.Client:
        with self.service.client() as entering:
            answer = entering.post("/CallRecorder/Login", data=self.credentials)
            assert answer.status_code == 303, answer.text
            return self.service.client(cookies=entering.cookies, headers={"accept-language": "en"})

    @property
    def credentials(self) -> dict[str, str]:
        return {"user": "rita", "password": PASSWORD, "tenant": "registry"}

    def call(self, number: str) -> str:
        [row] = self.service.rows(
            "SELECT uuid FROM calls WHERE tenant_id = %s AND caller_number = %s", self.id, number
        )
        return str(row["uuid"])


@pytest.fixture(scope="module")
def registry(service: Running) -> Registry:
    [row] = service.rows(
        "INSERT INTO tenants (name, time_zone) VALUES ('registry', 'Europe/Bucharest') RETURNING id"
    )
    tenant = int(row["id"])
    service.rows(
        "INSERT INTO users (tenant_id, login, name, password_hash, role) VALUES (%s, 'rita', 'Rita', %s, 'admin')",
        tenant,
        PasswordHasher().hash(PASSWORD),
    )
    # One a minute, the last one at midnight of 2026-02-01 in UTC.
    service.rows(
        "INSERT INTO calls (tenant_id, identity, started_at, ended_at, caller_number, called_number, status,"
        " wire_call_id)"
        " SELECT %s, 'registry ' || n, t, t + interval '65 seconds',"
        " CASE WHEN n <= %s THEN '555' ELSE '777' END || lpad(n::text, 4, '0'), '100', 'failed 486 Busy Here',"
        " 'wire ' || n FROM (SELECT n, timestamptz '2026-02-01 00:00+00' - n * interval '1 minute' AS t"
        " FROM generate_series(0, %s) n) made",
        tenant,
        MATCHING - 1,
        CALLS - 1,
    )
    return Registry(service, tenant)


@pytest.fixture
def browsing(registry: Registry) -> Iterator[httpx.Client]:
    with registry.client() as client:
        yield client


def links(page: str) -> dict[str, str]:
    """Text to address of the links."""
    found = re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', page, re.DOTALL)
    return {
        html.unescape(re.sub(r"<[^>]+>", "", text)).strip(): html.unescape(place) for place, text in found
    }


def values(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def hidden(page: str, name: str) -> str | None:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)">', page)
    return html.unescape(found[1]) if found else None


def numbers(page: str) -> list[str]:
    return re.findall(r'<td class="c-caller">(555\d{4}|777\d{4})</td>', page)


# -- the list -------------------------------------------------------------------------------------------------------


def test_a_search_is_paged_there_and_back(browsing: httpx.Client) -> None:
    first = browsing.get(HOME, params={"callerNumber": "5550", "colour": "unknown parameters go"}).text
    assert f"{MATCHING} calls" in first
    assert "← Newer calls" not in links(first)
    seen, pages, page = numbers(first), [first], first
    while older := links(page).get("Older calls →"):
        assert values(older)["callerNumber"] == "5550"
        page = browsing.get(older).text
        assert f"{MATCHING} calls" in page
        pages.append(page)
        seen += numbers(page)
    assert seen == [f"555{n:04}" for n in range(MATCHING)], "every match once, newest first"
    assert len(pages) == -(-MATCHING // PAGE_ROWS)
    for before in reversed(pages[:-1]):
        newer = links(page)["← Newer calls"]
        assert values(newer)["callerNumber"] == "5550"
        page = browsing.get(newer).text
        assert numbers(page) == numbers(before)
    assert "← Newer calls" not in links(page)


def test_newer_than_the_first_rows_is_a_whole_first_page(registry: Registry, browsing: httpx.Client) -> None:
    page = browsing.get(HOME, params={"before": registry.call("5550003")}).text
    assert numbers(page)[0] == "5550000"
    assert len(numbers(page)) == PAGE_ROWS


def test_many_matches_are_counted_as_far_as_it_is_quick(browsing: httpx.Client) -> None:
    assert f"More than {COUNTED_ROWS} calls" in browsing.get(HOME).text
    page = browsing.get(HOME, params={"callerNumber": "5550007"}).text
    assert "1 call<" in page
    assert "Older calls" not in page


def test_what_the_list_shows_outlasts_every_link(registry: Registry, browsing: httpx.Client) -> None:
    asked = {"callerNumber": "5550", "beginTime": "2026.01.31-00.00.00", "after": registry.call("5550049")}
    page = browsing.get(HOME, params=asked).text
    for language in ("English", "Deutsch"):
        assert asked.items() <= values(links(page)[language]).items()
    [place] = re.findall(rf'href="([^"]*callDetails={registry.call("5550050")})"', page)
    details = browsing.get(html.unescape(place)).text
    opened = {**asked, "callDetails": registry.call("5550050")}
    for text in ("Media", "Advanced", "Română"):
        assert opened.items() <= values(links(details)[text]).items(), text
    assert values(links(details)["×"]) == asked
    assert links(details)["×"].endswith("#call-" + opened["callDetails"])
    assert numbers(details) == numbers(page), "the list behind the details is the one they were opened from"


def test_saving_a_description_leads_back_to_the_same_list(registry: Registry, browsing: httpx.Client) -> None:
    call = registry.call("5550051")
    asked = {"callerNumber": "5550", "after": registry.call("5550049")}
    page = browsing.get(HOME, params={**asked, "callDetails": call}).text
    fields = {name: hidden(page.split("/description")[1], name) for name in ("csrf", *asked)}
    assert fields.items() >= asked.items()
    sent = {name: value or "" for name, value in fields.items()}
    answer = browsing.post(f"/CallRecorder/Call/{call}/description", data={**sent, "description": "told"})
    assert values(answer.headers["location"]) == {**asked, "callDetails": call, "saved": ""}


def test_the_login_form_keeps_what_was_asked_for(registry: Registry) -> None:
    asked = {
        "callerNumber": "5550",
        "pbxCallId": "x@y",
        "after": registry.call("5550049"),
        "tab": "media",
        "callDetails": registry.call("5550050"),
    }
    with registry.service.client() as client:
        page = client.get(HOME, params={**asked, "user": "rita", "tenant": "registry", "lang": "fr"}).text
        kept = {name: hidden(page, name) for name in asked}
        assert kept == asked
        elsewhere = values(links(page)["Deutsch"])
        assert elsewhere == {**asked, "user": "rita", "tenant": "registry", "lang": "de"}
        answer = client.post("/CallRecorder/Login", data={**asked, **registry.credentials, "lang": "de"})
        assert values(answer.headers["location"]) == {**asked, "lang": "de"}


def test_a_failed_login_speaks_the_language_of_its_form(registry: Registry) -> None:
    with registry.service.client(headers={"accept-language": "en"}) as client:
        given = {**registry.credentials, "password": "no", "lang": "de", "callerNumber": "5550"}
        page = client.post("/CallRecorder/Login", data=given)
        assert page.status_code == 401
        assert '<html lang="de">' in page.text
        assert "Diese Zugangsdaten" in page.text or "nicht richtig" in page.text
        again = links(page.text)["Română"]
        assert urlsplit(again).path == HOME, "the form's own address takes no GET"
        assert values(again) == {
            "user": "rita", "tenant": "registry", "callerNumber": "5550", "lang": "ro",
        }  # fmt: skip
        assert '<html lang="ro">' in client.get(again).text
    registry.service.rows("DELETE FROM login_failures")


def test_every_search_parameter_has_a_field(browsing: httpx.Client) -> None:
    asked = {row.url: row.example for row in search.ROWS}
    page = browsing.get(HOME, params=asked).text
    form = page.split("</form>")[1]
    shown = dict(re.findall(r'<input(?: type="[\w-]+")?(?: step="1")? name="(\w+)" value="([^"]*)"', form))
    assert shown.pop("beginTime") == "2026-03-01T08:00:00"
    assert shown.pop("endTime") == "2026-03-31T23:59:59"
    assert '<select name="oneWay"><option value=""></option><option value="true" selected>' in page
    assert shown == {
        name: value for name, value in asked.items() if not name.endswith("Time") and name != "oneWay"
    }
    found = browsing.get(HOME, params={"pbxCallId": "wire 7"}).text
    assert numbers(found) == ["5550007"]


def test_a_browsers_time_field_is_read_and_its_links_speak_the_urls_grammar(browsing: httpx.Client) -> None:
    # Midnight of the first of February in UTC is two o'clock in Bucharest.
    page = browsing.get(HOME, params={"beginTime": "2026-02-01T01:58", "endTime": "2026-02-01T01:59"}).text
    assert numbers(page) == ["5550001", "5550002"]
    assert "beginTime=2026.02.01-01.58.00&amp;endTime=2026.02.01-01.59.59&amp;callDetails=" in page


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "Caller's IP (not an IP address)"), ("de", "IP des Anrufers (keine IP-Adresse)")],
)
def test_a_malformed_value_is_explained_in_the_readers_language(
    browsing: httpx.Client, language: str, said: str
) -> None:
    answer = browsing.get(HOME, params={"callerIP": "10.0.0.999", "lang": language})
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert re.search(
        r'name="callerIP" value="10.0.0.999" aria-invalid="true" aria-describedby="bad"', answer.text
    )


# -- how it is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "moment", "status", "size"),
    [
        ("en", "1 Feb 2026, 02:00:00", "failed 486 Busy Here", "1.2 MB"),
        ("de", "01.02.2026, 02:00:00", "fehlgeschlagen 486 Busy Here", "1,2 MB"),
        ("fr", "1 févr. 2026, 02:00:00", "échoué 486 Busy Here", "1,2 Mo"),
        ("es", "1 feb 2026, 2:00:00", "fallida 486 Busy Here", "1,2 MB"),
        ("ro", "1 feb. 2026, 02:00:00", "eșuat 486 Busy Here", "1,2 MB"),
    ],
)
def test_times_are_the_tenants_and_written_as_the_language_does(
    registry: Registry, browsing: httpx.Client, language: str, moment: str, status: str, size: str
) -> None:
    page = browsing.get(HOME, params={"callerNumber": "5550000", "lang": language}).text
    assert f'<time datetime="2026-02-01T02:00:00+02:00">{moment}</time>' in page
    assert status in page
    assert "Europe/Bucharest" in page
    call = recorded(registry, "5550000")
    details = browsing.get(
        HOME, params={"callDetails": call, "tab": "media", "lang": language, "nomenu": ""}
    ).text
    advanced = browsing.get(
        HOME, params={"callDetails": call, "tab": "advanced", "lang": language, "nomenu": ""}
    ).text
    assert size in advanced.replace("\xa0", " ").replace("\u202f", " ")
    point = "." if language == "en" else ","
    assert f"<dd>4{point}31</dd>" in details, "MOS"
    assert re.search(rf"\(1{re.escape(point)}25[\xa0\u202f]?%\)", details), "loss"


def recorded(registry: Registry, number: str) -> str:
    """The uuid of a call of the registry, which from then on has a recording that is not there."""
    call = registry.call(number)
    registry.service.rows(
        "INSERT INTO call_files (call_uuid, leg, volume_id, path, size_bytes, codec, clock_rate, packets, lost,"
        " jitter_ms, mos, gaps) VALUES (%s, 'caller', 1, %s, 1234567, 'PCMU', 8000, 7900, 100, 3.25, 4.31,"
        ' \'[[0, 500, "late_start"], [2000, 40, "lost"]]\') ON CONFLICT DO NOTHING',
        call,
        f"gone/{number}-1.rtp",
    )
    return call


def test_a_recording_that_is_not_there_is_said_so(registry: Registry, browsing: httpx.Client) -> None:
    call = recorded(registry, "5550000")
    for name in ("player", "callDetails"):
        page = browsing.get(HOME, params={name: call}).text
        assert "recording is missing from its volume" in html.unescape(page)
        assert "<audio" not in page
    bare = browsing.get(HOME, params={"player": registry.call("5550001")}).text
    assert "This call has no recording." in bare


def test_gaps_are_told_in_words(registry: Registry, browsing: httpx.Client) -> None:
    call = recorded(registry, "5550000")
    page = browsing.get(HOME, params={"callDetails": call, "tab": "media", "lang": "de"}).text
    assert "2 Lücken" in page
    assert "40 ms · verlorene Pakete" in page
    assert "500 ms · die Seite beginnt später" in page


def test_who_talks_how_long_is_told_where_it_is_known(registry: Registry, browsing: httpx.Client) -> None:
    call = registry.call("5550002")
    asked = {"callDetails": call, "lang": "en"}
    assert "<dt>Silence</dt>" not in browsing.get(HOME, params=asked).text
    registry.service.rows(
        "UPDATE calls SET talk_ms = 90000, silence_ms = 30000, overlap_ms = 5000, caller_talk_ms = 35000,"
        " called_talk_ms = 60000, caller_monologue_ms = 20000, called_monologue_ms = 41000,"
        " caller_interruptions = 1, called_interruptions = 3 WHERE uuid = %s",
        call,
    )
    page = html.unescape(browsing.get(HOME, params=asked).text)
    for told in (
        "<dt>Talk</dt><dd>1:30</dd>",
        "<dt>Silence</dt><dd>0:30 (25%)</dd>",
        "<dt>Both at once</dt><dd>0:05</dd>",
        "<dd>0:35 · longest 0:20 · 1 interruption</dd>",
        "<dd>1:00 · longest 0:41 · 3 interruptions</dd>",
    ):
        assert told in page, told
    assert "Sprechzeit" in browsing.get(HOME, params=asked | {"lang": "de"}).text


# -- playing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["player", "callDetails"])
def test_a_playback_is_audited_when_its_audio_is_asked_for(
    service: Running, call: dict[str, Any], place: str
) -> None:
    def rows() -> list[dict[str, Any]]:
        return service.rows("SELECT actor, object, reason FROM audit_log WHERE action = 'play' ORDER BY id")

    before = rows()
    with service.logged_in() as client:
        page = client.get(HOME, params={place: call["callId"], "reason": f"case of {place}"}).text
        found = re.search(r'<audio [^>]*src="([^"]+)"', page)
        assert found
        peaks = re.search(r'data-zoom="([^"]+)"', page)
        assert peaks
        assert client.get(peaks[1]).status_code == 200
        assert client.head(found[1]).status_code == 200
        assert rows() == before, "looking is not listening"
    # As a browser asks: in parts, several at once.
    audio = service.base + found[1]
    parts = ["bytes=0-", *(f"bytes={first}-{first + 99}" for first in range(0, 700, 100))]
    with ThreadPoolExecutor(8) as pool:
        codes = pool.map(lambda part: httpx.get(audio, headers={"range": part}).status_code, parts)
    assert set(codes) <= {200, 206}
    assert rows()[len(before) :] == [
        {"actor": "admin", "object": call["callId"], "reason": f"case of {place}"}
    ]


# -- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"), [("Nothing", 404), ("?callDetails=x", 400), ("Volumes", 403), ("Logout", 405)]
)
def test_an_error_page_keeps_the_menu(browsing: httpx.Client, path: str, status: int) -> None:
    answer = browsing.get(HOME + path, headers={"accept": "text/html"})
    assert answer.status_code == status
    assert '<header class="top">' in answer.text
    assert "Log out" in answer.text


def test_an_error_page_for_a_frame_or_a_stranger_has_no_menu(
    registry: Registry, browsing: httpx.Client
) -> None:
    for path in ("?callDetails=x&nomenu", "?player=x"):
        assert '<header class="top">' not in browsing.get(HOME + path, headers={"accept": "text/html"}).text
    answer = httpx.get(f"{registry.service.base}/CallRecorder/Users", headers={"accept": "text/html"})
    assert answer.status_code == 401
    assert '<header class="top">' not in answer.text
    assert urlsplit(links(answer.text)["Log in"]).path == HOME


def test_a_problem_is_told_in_the_readers_language(registry: Registry, browsing: httpx.Client) -> None:
    call = recorded(registry, "5550000")
    place = f"/CallRecorder/Transcoder?callId={call}&format=wav&lang=de"
    page = browsing.get(place, headers={"accept": "text/html"})
    assert page.status_code == 404
    assert "Die Aufnahme fehlt auf ihrem Volume." in page.text
    program = browsing.get(place).json()
    assert program["detail"] == "The call's recording is missing from its volume."
    assert program["code"] == "missing"
    posted = browsing.post("/CallRecorder/Logout", data={"csrf": "x"}, headers={"accept": "text/html"})
    assert posted.status_code == 403
    assert "Das Formular ist veraltet." in posted.text
    assert urlsplit(links(posted.text)["English"]).path == HOME


# -- users and tokens -----------------------------------------------------------------------------------------------


def csrf(client: httpx.Client) -> str:
    return hidden(client.get("/CallRecorder/Users").text, "csrf") or ""


def test_a_user_gets_another_name_and_role(registry: Registry, browsing: httpx.Client) -> None:
    token = csrf(browsing)
    new = {"csrf": token, "login": "otto", "name": "Otto", "password": "otto's password", "role": "user"}
    assert browsing.post("/CallRecorder/Users/add", data=new).status_code == 303
    [user] = registry.service.rows("SELECT id FROM users WHERE login = 'otto'")
    place = f"/CallRecorder/Users/{user['id']}"
    change = {"csrf": token, "action": "change", "name": "Otto <1>", "role": "auditor"}
    assert browsing.post(place, data=change).status_code == 303
    [changed] = registry.service.rows("SELECT name, role FROM users WHERE login = 'otto'")
    assert changed == {"name": "Otto <1>", "role": "auditor"}
    shown = browsing.get("/CallRecorder/Users").text
    assert re.search(r">Otto &lt;1&gt;</td><td [^>]*>auditor</td>", shown)
    [row] = registry.service.rows("SELECT object, detail FROM audit_log WHERE action = 'user.change'")
    assert row == {"object": "otto", "detail": {"role": "auditor"}}
    bad = browsing.post(place, data={**change, "role": "king"})
    assert bad.status_code == 400
    assert "This value is not right: Role" in bad.text
    assert urlsplit(links(bad.text)["Deutsch"]).path == "/CallRecorder/Users"
    with registry.service.client() as other:
        given = {"user": "otto", "password": "otto's password", "tenant": "registry"}
        assert other.post("/CallRecorder/Login", data=given).status_code == 303
        assert other.get("/CallRecorder/Users").status_code == 403, "an auditor changes nobody"
        assert other.get("/CallRecorder/Audit").status_code == 200


def test_nobody_changes_the_own_role_or_another_tenants_user(
    registry: Registry, browsing: httpx.Client
) -> None:
    token = csrf(browsing)
    for tenant, status in (("registry", 400), ("default", 404)):
        [user] = registry.service.rows(
            "SELECT u.id, u.login, u.name, u.role FROM users u JOIN tenants t ON t.id = u.tenant_id"
            " WHERE t.name = %s AND u.login = any('{rita,admin}')",
            tenant,
        )
        change = {"csrf": token, "action": "change", "name": "taken", "role": "user"}
        assert browsing.post(f"/CallRecorder/Users/{user['id']}", data=change).status_code == status
        assert registry.service.rows("SELECT id, login, name, role FROM users WHERE id = %s", user["id"]) == [
            user
        ]
    [rita] = registry.service.rows("SELECT id FROM users WHERE login = 'rita'")
    change = {"csrf": token, "action": "change", "name": "Rita R.", "role": "admin"}
    assert browsing.post(f"/CallRecorder/Users/{rita['id']}", data=change).status_code == 303


def test_a_new_token_is_shown_once_and_a_reload_makes_no_other(
    registry: Registry, browsing: httpx.Client
) -> None:
    made = browsing.post("/CallRecorder/Tokens/add", data={"csrf": csrf(browsing), "name": "dialler"})
    assert made.status_code == 303
    assert "crt_" not in made.headers["location"]
    assert "HttpOnly" in made.headers["set-cookie"]
    assert "Path=/CallRecorder/Users" in made.headers["set-cookie"]
    shown = browsing.get(made.headers["location"]).text
    [token] = re.findall(r'<code class="token">(crt_[\w-]+)</code>', shown)
    again = browsing.get(made.headers["location"]).text
    assert token not in again
    assert registry.service.rows(
        "SELECT count(*) AS n FROM api_tokens a JOIN users u ON u.id = a.user_id WHERE u.login = 'rita'"
    ) == [{"n": 1}]
    answer = httpx.get(
        f"{registry.service.base}/CallRecorder/Transcoder",
        params={"format": "json", "limit": 1},
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200
    assert len(answer.json()) == 1
    assert token not in registry.service.log


# -- audit ----------------------------------------------------------------------------------------------------------


def test_the_audit_is_filtered_by_user_action_object_and_time(
    registry: Registry, browsing: httpx.Client
) -> None:
    registry.service.rows(
        "INSERT INTO audit_log (tenant_id, at, actor, action, object) SELECT %s, timestamptz '2020-05-01 12:00+03' +"
        " n * interval '1 hour', CASE WHEN n %% 2 = 0 THEN 'ana' ELSE 'dan' END,"
        " CASE WHEN n < 3 THEN 'play' ELSE 'transcode' END, 'thing ' || n FROM generate_series(0, 5) n",
        registry.id,
    )

    def seen(**asked: str) -> list[str]:
        answer = browsing.get("/CallRecorder/Audit", params={"endTime": "2021-01-01T00:00", **asked})
        assert answer.status_code == 200
        return re.findall(r"<code>thing (\d)</code>", answer.text)

    assert seen() == list("543210")
    assert seen(user="ana") == list("420")
    assert seen(action="play") == list("210")
    assert seen(user="dan", action="transcode") == list("53")
    assert seen(object="thing 4") == ["4"]
    assert seen(beginTime="2020-05-01T13:00", endTime="2020-05-01T14:00") == list("21"), (
        "in the tenant's zone"
    )
    bad = browsing.get("/CallRecorder/Audit", params={"beginTime": "yesterday"})
    assert bad.status_code == 400
    assert "This value is not right: From" in bad.text


def test_older_rows_of_the_audit_keep_the_filter(registry: Registry, browsing: httpx.Client) -> None:
    registry.service.rows(
        "INSERT INTO audit_log (tenant_id, at, actor, action, object)"
        " SELECT %s, timestamptz '2019-05-01 12:00+03', 'eva', 'play', 'one of ' || n FROM generate_series(1, 150) n",
        registry.id,
    )
    page = browsing.get("/CallRecorder/Audit", params={"user": "eva"}).text
    older = links(page)["Older →"]
    assert values(older)["user"] == "eva"
    assert len(re.findall("<code>one of ", page)) == 100
    last = browsing.get(older).text
    assert len(re.findall("<code>one of ", last)) == 50
    assert links(last)["← Newest"] == "/CallRecorder/Audit?user=eva"
    assert values(links(last)["Deutsch"]) == {**values(older), "lang": "de"}
