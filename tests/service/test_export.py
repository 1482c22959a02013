"""What the list finds, taken along: CSV, JSON, and the audio as a zip that a job makes."""

from __future__ import annotations

import asyncio
import csv
import html
import io
import json
import re
import time
import zipfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from callreplay.service import export

from .test_list import client, office
from .test_pages import hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Running

__all__ = ["client", "office"]
pytestmark = pytest.mark.database
HOME = "/CallRecorder/"
PLACE = "/CallRecorder/Export"


@pytest.fixture(autouse=True)
def tidied(service: Running) -> Iterator[None]:
    """No job of ours is left on the page of jobs."""
    yield
    service.rows("DELETE FROM jobs WHERE kind = 'export'")


def ended(browsing: httpx.Client, place: str) -> str:
    """The job's page once it has ended."""
    end = time.monotonic() + 120
    while True:
        shown = browsing.get(place).text
        if "data-refresh" not in shown:
            return shown
        assert time.monotonic() < end, shown
        time.sleep(0.3)


def test_a_list_as_csv_and_json_is_all_that_is_found(service: Running, client: httpx.Client) -> None:
    service.rows("UPDATE calls SET description = '=HYPERLINK(1)' WHERE identity = 'office 9'")
    asked = {"codec": "pcma", "lossAbove": "0.2"}
    told = client.get("/CallRecorder/Transcoder", params={**asked, "format": "json"}).json()
    assert len(told) > 10
    answer = client.get(PLACE, params={**asked, "form": "csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="calls.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["callId"] for row in rows] == [call["callId"] for call in told]
    assert [row["lossPercent"] for row in rows] == [str(call["lossPercent"]) for call in told]
    assert {row["codecs"] for row in rows} == {"G729, PCMA", "PCMA"}
    assert "'=HYPERLINK(1)" in {row["description"] for row in rows}, "no spreadsheet computes it"
    found = client.get(PLACE, params={**asked, "form": "json"}).json()
    assert [{name: call[name] for name in each} for call, each in zip(told, found, strict=True)] == found
    assert client.get(PLACE, params={"form": "json", "callerName": "nobody"}).json() == []
    [*_, row] = service.rows(
        "SELECT actor, detail FROM audit_log WHERE action = 'call.list' AND detail->>'format' = 'csv' ORDER BY id"
    )
    assert row == {"actor": "olga", "detail": {"format": "csv", "asked": asked}}
    assert client.get(PLACE, params={"form": "exe"}).status_code == 400
    assert client.get(PLACE, params={"form": "csv", "lossAbove": "x"}).json()["parameter"] == "lossAbove"


def test_the_audio_is_a_zip_that_a_job_makes(service: Running, client: httpx.Client) -> None:
    with service.logged_in() as admin:
        page = admin.get(HOME).text
        fields = {"csrf": hidden(page, "csrf") or "", "form": "wav", "status": "answered"}
        answer = admin.post(PLACE + "/audio", data=fields)
        assert answer.status_code == 303, answer.text
        place = answer.headers["location"]
        shown = ended(admin, place)
        [link] = re.findall(r'href="([^"]+calls\.zip)"', shown)
        got = admin.get(html.unescape(link))
        assert got.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
            assert archive.testzip() is None
            index = list(csv.DictReader(io.StringIO(archive.read("index.csv").decode())))
            assert index
            assert {line["file"] for line in index} | {"index.csv"} == set(archive.namelist())
            for line in index:
                assert archive.read(line["file"]).startswith(b"RIFF"), line
                assert line["error"] == ""
        number = place.rpartition("/")[2]
        rows = service.rows(
            "SELECT object FROM audit_log WHERE action = 'call.export' AND detail->>'job' = %s", number
        )
        assert {row["object"] for row in rows} == {line["callId"] for line in index}
        assert "range" not in got.request.headers
        part = admin.get(link, headers={"range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"PK\x03\x04")
    for path in (place, link):
        assert client.get(path).status_code == 404, "another user's"
        assert httpx.get(service.base + path).status_code == 401


def test_what_cannot_be_rendered_is_told(client: httpx.Client) -> None:
    page = client.get(HOME).text
    fields = {"csrf": hidden(page, "csrf") or "", "form": "spx", "tag": "disputes"}
    place = client.post(PLACE + "/audio", data=fields).headers["location"]
    shown = ended(client, place)
    failed = re.search(r"(\d+) failed", shown)
    assert failed
    content = client.get(f"{place}/calls.zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["index.csv"]
        lines = list(csv.DictReader(io.StringIO(archive.read("index.csv").decode())))
    assert len(lines) == int(failed[1])
    assert {line["error"] for line in lines} == {"CaptureError"}


def test_who_may_not_download_gets_no_zip(service: Running, client: httpx.Client) -> None:
    assert client.post(PLACE + "/audio", data={"form": "wav", "csrf": "x"}).status_code == 403
    service.rows("UPDATE users SET role = 'listener' WHERE login = 'olga'")
    try:
        page = client.get(HOME).text
        assert "zip of wav" not in page
        assert (
            client.post(
                PLACE + "/audio", data={"form": "wav", "csrf": hidden(page, "csrf") or ""}
            ).status_code
            == 403
        )
        assert client.get(PLACE, params={"form": "csv"}).status_code == 200
    finally:
        service.rows("UPDATE users SET role = 'user' WHERE login = 'olga'")


def test_a_list_longer_than_a_page_is_whole(
    app: Any, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read piece by piece, each from where the one before ended: none is missing, and none there twice."""
    monkeypatch.setattr(export, "_PAGE", 7)

    async def asked(form: str) -> str:
        options: dict[str, Any] = {"base_url": "http://x", "cookies": dict(client.cookies)}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), **options) as browsing:
            answer = await browsing.get(PLACE, params={"form": form})
            assert answer.status_code == 200
            return answer.text

    whole = client.get(PLACE, params={"form": "json"}).json()
    assert len(whole) > 14
    assert json.loads(asyncio.run(asked("json"))) == whole
    rows = list(csv.DictReader(io.StringIO(asyncio.run(asked("csv")))))
    assert [row["callId"] for row in rows] == [call["callId"] for call in whole]
