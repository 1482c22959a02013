"""The list of calls: its line, chips, columns and orders, what it finds, and the calls beside one."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from argon2 import PasswordHasher

from callreplay.service.listing import COLUMNS, PAGE_ROWS
from callreplay.store import search

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
HOME = "/CallRecorder/"
CALLS = 130
LONG = "Ω" * 255
PARTIES = "concat_ws('|', caller_number, caller_name, called_number, called_name) ILIKE '%%{}%%'"


@pytest.fixture(scope="session")
def office(service: Running) -> int:
    """A tenant with calls of every kind; two of three have no media, and so no MOS."""
    if known := service.rows("SELECT id FROM tenants WHERE name = 'office'"):
        return int(known[0]["id"])  # another module's
    [row] = service.rows("INSERT INTO tenants (name) VALUES ('office') RETURNING id")
    tenant = int(row["id"])
    service.rows(
        "INSERT INTO users (tenant_id, login, password_hash, role) VALUES (%s, 'olga', %s, 'user')",
        tenant,
        PasswordHasher().hash("olga's password"),
    )
    service.rows(
        "INSERT INTO calls (tenant_id, identity, started_at, answered_at, ended_at, caller_number, caller_name,"
        " called_number, called_name, status, tags)"
        " SELECT %s, 'office ' || n, t, t + interval '5 seconds', t + interval '5 seconds' + n * interval '1 second',"
        " '07' || (n * 37 %% 50), CASE n WHEN 7 THEN %s ELSE 'Ana ' || n END, '2' || n %% 7, 'Desk',"
        " (ARRAY['answered', 'failed 486 Busy Here', 'cancelled'])[1 + n %% 3],"
        " CASE WHEN n %% 10 = 0 THEN ARRAY['disputes'] ELSE '{}' END"
        " FROM (SELECT n, timestamptz '2026-03-01 00:00+00' + n / 2 * interval '1 minute' AS t"
        " FROM generate_series(1, %s) n) made",
        tenant,
        LONG,
        CALLS,
    )
    service.rows(
        "INSERT INTO call_files (call_uuid, leg, volume_id, path, codec, started_at, duration_ms, packets, lost, mos)"
        " SELECT uuid, leg, 1, 'office/' || uuid || leg, CASE WHEN leg = 'caller' THEN 'PCMA' ELSE 'G729' END,"
        " answered_at, extract(epoch FROM ended_at - answered_at) * 1000, 1000, n %% 20, 4.4 - n %% 20 * 0.1"
        " FROM (SELECT *, split_part(identity, ' ', 2)::int AS n FROM calls WHERE tenant_id = %s) c,"
        " unnest(ARRAY['caller', 'called']) leg WHERE n %% 3 = 0 AND (leg = 'caller' OR n %% 9 <> 0)",
        tenant,
    )
    return tenant


@pytest.fixture
def client(service: Running, office: int) -> Iterator[httpx.Client]:
    with service.client() as entering:
        given = {"user": "olga", "password": "olga's password", "tenant": "office"}
        assert entering.post("/CallRecorder/Login", data=given).status_code == 303
        with service.client(cookies=entering.cookies, headers={"accept-language": "en"}) as made:
            yield made


def calls(page: str) -> list[str]:
    return re.findall(r'<a id="call-([0-9a-f-]{36})"', page)


def test_what_a_call_has_of_its_files_follows_them(service: Running, office: int) -> None:
    def figures(number: int) -> dict[str, Any]:
        columns = "length_ms, round(mos::numeric, 2)::float8 AS mos, loss_percent, codecs, one_way"
        [row] = service.rows(
            f"SELECT {columns} FROM calls WHERE tenant_id = %s AND identity = 'office {number}'", office
        )
        return row

    assert figures(1) == {"length_ms": 0, "mos": None, "loss_percent": 0, "codecs": [], "one_way": False}
    six = figures(6)
    assert (six["length_ms"], six["mos"], six["codecs"], six["one_way"]) == (
        6000,
        3.8,
        ["G729", "PCMA"],
        False,
    )
    assert six["loss_percent"] == pytest.approx(100 * 6 / 1006)
    assert figures(9)["one_way"] is True
    place = "WHERE call_uuid = (SELECT uuid FROM calls WHERE tenant_id = %s AND identity = 'office 6')"
    service.rows(f"UPDATE call_files SET lost = 1000 {place} AND leg = 'called'", office)
    assert figures(6)["loss_percent"] == 50
    service.rows(f"UPDATE call_files SET lost = 6 {place} AND leg = 'called'", office)
    assert figures(6) == six


def test_an_import_says_what_the_database_would_say(service: Running, call: dict[str, Any]) -> None:
    """The importer writes the figures with the call: nothing is written twice."""
    rows = service.rows(
        "SELECT c.uuid FROM calls c, call_figures(c.uuid) f WHERE c.tenant_id = 1 AND "
        "(c.length_ms, c.mos, c.loss_percent, c.codecs, c.one_way) IS DISTINCT FROM "
        "(f.length_ms, f.mos, f.loss_percent, f.codecs, f.one_way)"
    )
    assert rows == []
    assert call["length"] > 1
    assert call["codecs"]


def test_the_length_of_the_list_is_that_of_the_audio(service: Running, call: dict[str, Any]) -> None:
    with service.basic() as client:
        asked = {"callId": call["callId"], "format": "wav", "channels": "mono"}
        wav = client.get("/CallRecorder/Transcoder", params=asked, follow_redirects=True).content
    rate = int.from_bytes(wav[24:28], "little")
    assert (len(wav) - 44) / 2 / rate == pytest.approx(call["length"], abs=0.1)


def test_the_line_leads_to_an_address_to_keep(client: httpx.Client) -> None:
    answer = client.get(
        HOME, params={"q": "from:ana loss>0.5 tag:disputes", "callerNumber": "", "sort": "-loss"}
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/CallRecorder/?callerName=ana&tag=disputes&lossAbove=0.5&sort=-loss"
    page = client.get(answer.headers["location"]).text
    chips = re.findall(r'<a class="chip" href="([^"]*)"><span>(.*?)</span>', page)
    assert [re.sub("<[^>]*>", "", text) for _, text in chips] == [
        "Caller's name: ana",
        "Tag: disputes",
        "Loss above: 0.5",
    ]
    without = html.unescape(chips[1][0])
    assert without == "/CallRecorder/?callerName=ana&lossAbove=0.5&sort=-loss"
    assert 0 < len(calls(page)) < len(calls(client.get(without).text))
    more = client.get(HOME, params={"q": "30", "party": "ana"}).headers["location"]
    assert more == "/CallRecorder/?party=ana+30", "words of parties add up"


def test_what_the_line_does_not_understand_is_told_and_kept(client: httpx.Client) -> None:
    answer = client.get(HOME, params={"q": "from:ana colour:<red>"})
    assert answer.status_code == 400
    assert "This was not understood: colour:&lt;red&gt;" in answer.text
    assert 'value="from:ana colour:&lt;red&gt;"' in answer.text


@pytest.mark.parametrize("sort", [*search.SORTS, *(f"-{name}" for name in search.SORTS)])
@pytest.mark.parametrize("more", [{}, {"party": "ana", "status": "answered"}])
def test_every_order_is_paged_there_and_back(
    service: Running, office: int, client: httpx.Client, sort: str, more: dict[str, str]
) -> None:
    by = search.SORTS[sort.removeprefix("-")].expression
    down = " DESC" if sort.startswith("-") else ""
    expected = [
        str(row["uuid"])
        for row in service.rows(
            "SELECT uuid FROM calls WHERE tenant_id = %s"
            + (" AND status = 'answered' AND identity <> 'office 7'" if more else "")
            + f" ORDER BY {by}{down} NULLS LAST, started_at{down}, uuid{down}",
            office,
        )
    ]
    page = client.get(HOME, params={"sort": sort, **more}).text
    pages, seen = [calls(page)], calls(page)
    while older := re.search(r'<a rel="next" href="([^"]*)"', page):
        page = client.get(html.unescape(older[1])).text
        pages.append(calls(page))
        seen += calls(page)
    assert seen == expected
    for before in reversed(pages[:-1]):
        newer = re.search(r'<a rel="prev" href="([^"]*)"', page)
        assert newer
        page = client.get(html.unescape(newer[1])).text
        assert calls(page) == before


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        ({"lossAbove": "1"}, "loss_percent > 1"),
        ({"lossBelow": "1"}, "loss_percent < 1"),
        ({"mosBelow": "3.5"}, "mos < 3.5::real"),
        ({"mosAbove": "4"}, "mos > 4"),
        ({"longerThan": "1:00"}, "length_ms > 60000"),
        ({"shorterThan": "30"}, "length_ms < 30000"),
        ({"codec": "g729"}, "'G729' = any(codecs)"),
        ({"status": "failed"}, "status LIKE 'failed%%'"),
        ({"oneWay": "true"}, "one_way"),
        ({"oneWay": "false", "lossAbove": "0"}, "NOT one_way AND loss_percent > 0"),
        ({"party": "ana 26"}, PARTIES.format("ana") + " AND " + PARTIES.format("26")),
        ({"party": "Ω"}, "caller_name LIKE 'Ω%%'"),
    ],
)  # fmt: skip
def test_filters_find_what_they_say(
    service: Running, office: int, client: httpx.Client, asked: dict[str, str], condition: str
) -> None:
    expected = service.rows(
        f"SELECT uuid FROM calls WHERE tenant_id = %s AND {condition} ORDER BY started_at, uuid", office
    )
    found: list[dict[str, Any]] = client.get(
        "/CallRecorder/Transcoder", params={**asked, "format": "json"}
    ).json()
    assert [each["callId"] for each in found] == [str(row["uuid"]) for row in expected]
    assert 0 < len(found) < CALLS


@pytest.mark.parametrize(
    ("name", "value"),
    [("lossAbove", "x"), ("mosBelow", "1e3"), ("longerThan", "soon"), ("oneWay", "maybe"),
     ("party", "a b c d e f g h i")],
)  # fmt: skip
def test_values_that_are_none_are_refused_by_name(client: httpx.Client, name: str, value: str) -> None:
    answer = client.get("/CallRecorder/Transcoder", params={name: value, "format": "json"})
    assert answer.status_code == 400
    assert answer.json()["parameter"] == name
    assert client.get(HOME, params={name: value}).status_code == 400


def test_columns_are_chosen_and_kept(client: httpx.Client) -> None:
    answer = client.get(HOME, params=[("column", "mos"), ("column", "start"), ("callerName", "ana")])
    assert answer.status_code == 303
    assert answer.headers["location"] == "/CallRecorder/?callerName=ana"
    page = client.get(answer.headers["location"]).text
    assert re.findall(r'<th scope="col" class="c-(\w+)"', page) == ["play", "start", "mos"]
    client.get(HOME, params=[("column", name) for name in COLUMNS])
    page = client.get(HOME).text
    assert re.findall(r'<th scope="col" class="c-(\w+)"', page) == ["play", *COLUMNS]
    assert len(page.encode()) < 60_000, "the budget of a whole page with every column"
    assert len(calls(page)) == PAGE_ROWS
    client.cookies.set("callreplay_columns", "<script>-nothing", path="/CallRecorder")
    assert "c-mos" in client.get(HOME).text, "the usual columns"


def test_details_lead_to_the_calls_beside_them(client: httpx.Client) -> None:
    asked = {"party": "ana", "sort": "mos"}
    order = calls(client.get(HOME, params=asked).text)
    for place in (0, 20):
        page = client.get(HOME, params={**asked, "callDetails": order[place], "tab": "media"}).text
        beside = page.split('class="beside"')[1].split("</nav>")[0]
        links = {
            rel: html.unescape(to) for rel, to in re.findall(r'<a rel="(prev|next)" href="([^"]*)"', beside)
        }
        assert links["next"].endswith(f"?party=ana&sort=mos&callDetails={order[place + 1]}&tab=media")
        assert ("prev" in links) is (place > 0)
        if place:
            assert f"callDetails={order[place - 1]}&" in links["prev"]


def test_the_lists_audio_is_a_playback(service: Running, call: dict[str, Any], client: httpx.Client) -> None:
    place = f"/CallRecorder/Call/{call['callId']}/audio"
    with service.logged_in() as admin:
        answer = admin.get(place)
        assert answer.status_code == 302
        before = service.rows("SELECT count(*) AS n FROM audit_log WHERE action = 'play'")[0]["n"]
        assert admin.get(answer.headers["location"]).content.startswith(b"RIFF")
        assert service.rows("SELECT count(*) AS n FROM audit_log WHERE action = 'play'")[0]["n"] == before + 1
        for wrong in ("x", "00000000-0000-0000-0000-000000000000"):
            assert admin.get(f"/CallRecorder/Call/{wrong}/audio").status_code == 404
    assert client.get(place).status_code == 404, "another tenant's"
    assert httpx.get(service.base + place).status_code == 401


def test_json_tells_the_figures(client: httpx.Client) -> None:
    [found] = client.get("/CallRecorder/Transcoder", params={"callerName": LONG, "format": "json"}).json()
    shown = {name: found[name] for name in ("length", "mos", "lossPercent", "codecs", "oneWay")}
    assert json.dumps(shown) == (
        '{"length": 0.0, "mos": null, "lossPercent": 0.0, "codecs": [], "oneWay": false}'
    )
