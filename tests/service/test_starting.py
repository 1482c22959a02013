"""Imports and batches that the page of jobs starts: what is allowed, what comes of it, who is told."""

from __future__ import annotations

import re
import shutil
import threading
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from callreplay.batch import run_batch
from callreplay.service import starting
from callreplay.service.app import create_app
from callreplay.service.settings import Settings

from .conftest import Running
from .test_browser import UNFOLD, browser, shoot, violations, watched
from .test_embedding import serving

pytestmark = [pytest.mark.database, pytest.mark.browser]
__all__ = ["browser"]
SAMPLES = Path(__file__).parents[2] / "samples"
JOBS = "/CallRecorder/Jobs"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@pytest.fixture
def desk(service: Running, tmp_path: Path) -> Iterator[tuple[httpx.Client, Path]]:
    """The administrator at a service that may import of ``in``, and render into ``out``; and their folder."""
    (tmp_path / "in").mkdir()
    chosen = Settings(
        database_url=service.database_url,
        data_dir=str(tmp_path / "data"),
        import_paths=(str(tmp_path / "in"),),
        batch_path=str(tmp_path / "out"),
    )
    app = create_app(chosen)
    with serving(app) as base, httpx.Client(base_url=base, timeout=30) as client:
        entered = {"user": "admin", "password": service.password}
        assert client.post("/CallRecorder/Login", data=entered).status_code == 303
        yield client, tmp_path
    app.state.service.close()


def press(client: httpx.Client, place: str, **fields: str) -> httpx.Response:
    found = CSRF.search(client.get(JOBS).text)
    assert found
    return client.post(place, data={"csrf": found[1], **fields})


def ended(service: Running, kind: str) -> dict[str, Any]:
    """The newest job of a kind, once it has ended."""
    deadline = time.monotonic() + 120
    while True:
        [job] = service.rows("SELECT * FROM jobs WHERE kind = %s ORDER BY id DESC LIMIT 1", kind)
        if job["state"] != "running":
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.1)


def test_an_import_and_a_batch_of_what_is_found(service: Running, desk: tuple[httpx.Client, Path]) -> None:
    client, folder = desk
    shutil.copy(SAMPLES / "reservation.pcap", folder / "in")
    (folder / "in" / "notes.txt").write_text("no capture")
    answer = press(client, JOBS + "/import", folder=str(folder / "in"), path="", tenant="default")
    assert answer.headers["location"] == JOBS, answer.text
    job = ended(service, "import")
    assert (job["state"], job["actor"], job["done"], job["total"]) == ("done", "admin", 2, 2)
    assert job["result"] == {"calls": 0, "failed": 0}, "it is one of the samples, which are known"
    answer = press(client, JOBS + "/batch", form="wav", callerName="ana pop")
    assert answer.headers["location"] == JOBS, answer.text
    job = ended(service, "batch")
    assert job["state"] == "done", job
    assert job["result"] == {"calls": 1, "failed": 0}
    [made] = (folder / "out" / str(job["id"])).rglob("*.wav")
    with wave.open(str(made)) as audio:
        assert audio.getnchannels() == 2
        assert audio.getnframes() > 8000
    rows = service.rows(
        "SELECT action, object FROM audit_log WHERE (action = 'job.start' AND object = %s) "
        "OR (action = 'call.export' AND detail ->> 'job' = %s) ORDER BY id",
        str(job["id"]),
        str(job["id"]),
    )
    assert [tuple(row.values()) for row in rows] == [
        ("job.start", str(job["id"])),
        ("call.export", made.stem),
    ]
    assert "Ana Pop".lower().replace(" ", "+") in client.get(JOBS).text


def test_nothing_is_read_or_written_that_no_setting_names(
    service: Running, desk: tuple[httpx.Client, Path]
) -> None:
    client, folder = desk
    shutil.copy(SAMPLES / "reservation.pcap", folder / "secret.pcap")
    (folder / "in" / "link.pcap").symlink_to(folder / "secret.pcap")
    before = service.rows("SELECT count(*) FROM jobs WHERE kind IN ('import', 'batch')")
    inside = str(folder / "in")
    for fields in (
        {"folder": str(folder), "path": "secret.pcap"},
        {"folder": inside, "path": "../secret.pcap"},
        {"folder": inside, "path": "link.pcap"},
        {"folder": inside, "path": ""},  # nothing is in it but the link
        {"folder": inside, "path": "missing"},
        {"folder": inside, "path": "a\0b"},
        {"folder": inside, "path": "", "tenant": "nobody's"},
        {"folder": "", "path": "/etc"},
    ):
        answer = press(client, JOBS + "/import", **{"tenant": "default"} | fields)
        assert answer.status_code == 400, fields
        assert 'class="alert"' in answer.text
    assert press(client, JOBS + "/batch", form="rtp").status_code == 400
    assert service.rows("SELECT count(*) FROM jobs WHERE kind IN ('import', 'batch')") == before
    with service.logged_in() as usual:  # where no setting names a folder
        assert "/Jobs/import" not in usual.get(JOBS).text
        assert "/Jobs/batch" not in usual.get("/CallRecorder/").text
        assert press_home(usual, JOBS + "/batch", form="wav").status_code == 403
        assert press_home(usual, JOBS + "/import", folder="/", path="etc").status_code == 400
    assert client.post(JOBS + "/import", data={"folder": inside}).status_code == 403, (
        "without the form's token"
    )


def press_home(client: httpx.Client, place: str, **fields: str) -> httpx.Response:
    found = CSRF.search(client.get("/CallRecorder/").text)
    assert found
    return client.post(place, data={"csrf": found[1], **fields})


def test_the_forms_can_be_used_by_everybody(browser: Browser, desk: tuple[httpx.Client, Path]) -> None:
    """The form of an import, which is there only where a setting names a folder, and that of a batch."""
    client, _ = desk
    with watched(browser.new_context(base_url=str(client.base_url), locale="en-GB")) as page:
        page.context.add_cookies(
            [
                {"name": cookie.name, "value": cookie.value or "", "url": str(client.base_url)}
                for cookie in client.cookies.jar
            ]
        )
        page.goto(JOBS)
        page.evaluate(UNFOLD)
        assert page.locator('form[action$="/Jobs/import"]').is_visible()
        shoot(page, "import")
        assert violations(page) == []
        page.goto("/CallRecorder/")
        page.locator("summary", has_text="Export").click()
        assert page.locator('button[formaction$="/Jobs/batch"]').first.is_visible()
        shoot(page, "batch")
        assert violations(page) == []


def test_a_batch_is_cancelled_on_the_page(
    service: Running, desk: tuple[httpx.Client, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun and cancelled on the page of jobs: it ends early, as cancelled, and leaves whole files only."""
    client, folder = desk
    begun = threading.Event()

    def slowly(found: Any, chosen: Any, *, on_row: Any, stop: Any, **more: Any) -> Any:
        """The real batch, whose first row is read by somebody who takes until the end is asked for."""

        def late(row: Any) -> None:
            begun.set()
            deadline = time.monotonic() + 60
            while not stop() and time.monotonic() < deadline:
                time.sleep(0.05)
            on_row(row)

        # Each call four hundred times: more than a worker does until the end is asked for.
        found = [replace(job, name=f"{turn}/{job.name}") for turn in range(400) for job in found]
        return run_batch(found, replace(chosen, workers=1), on_row=late, stop=stop, **more)

    monkeypatch.setattr(starting, "run_batch", slowly)
    assert press(client, JOBS + "/batch", form="wav").headers["location"] == JOBS
    assert begun.wait(60)
    [job] = service.rows("SELECT * FROM jobs WHERE kind = 'batch' ORDER BY id DESC LIMIT 1")
    assert f"{JOBS}/{job['id']}/cancel" in client.get(JOBS).text
    assert press(client, f"{JOBS}/{job['id']}/cancel").status_code == 303
    job = ended(service, "batch")
    assert job["state"] == "cancelled", job
    assert 1 <= job["done"] == sum(job["result"].values()) < job["total"], job
    made = list((folder / "out" / str(job["id"])).rglob("*.wav"))
    assert len(made) == job["result"]["calls"]
    for path in made:
        with wave.open(str(path)) as audio:
            assert audio.getnframes() > 0
    assert not [path for path in (folder / "out").rglob("*") if ".part" in path.name]
    [row] = service.rows(
        "SELECT actor FROM audit_log WHERE action = 'job.cancel' AND object = %s", str(job["id"])
    )
    assert row["actor"] == "admin"
