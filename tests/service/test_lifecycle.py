"""Starting, stopping and being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.database, pytest.mark.slow]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_stops_in_order_and_starts_again_with_the_same_calls(own_service: Running) -> None:
    own_service.start()
    password = own_service.password
    assert password
    with own_service.basic() as client:
        before = client.get("/CallRecorder/Transcoder", params={"format": "json"}).json()
    postmaster = int((own_service.folder / "data/cluster/postmaster.pid").read_text().split("\n")[0])
    assert own_service.stop(signal.SIGINT) == 0
    assert gone(postmaster)
    assert "stopped" in own_service.log

    own_service.start()
    assert "password:" not in (own_service.folder / "out").read_text(), "told once only"
    with own_service.basic() as client:
        assert client.get("/CallRecorder/Transcoder", params={"format": "json"}).json() == before


def test_killed_service_and_killed_database_recover(own_service: Running) -> None:
    own_service.start()
    with own_service.basic() as client:
        answer = client.get("/CallRecorder/Transcoder", params={"format": "wav"})
        whole = httpx.get(own_service.base + answer.headers["location"]).content
    # As if killed in the middle of writing: a part without its end, under no lock.
    cache = own_service.folder / "data" / "cache"
    [entry] = [path for path in cache.glob("*/*") if path.suffix == ""]
    entry.rename(entry.with_name(entry.name + ".part"))
    os.truncate(entry.with_name(entry.name + ".part"), 1000)
    postmaster = int((own_service.folder / "data/cluster/postmaster.pid").read_text().split("\n")[0])
    assert own_service.process is not None
    own_service.process.kill()
    own_service.process.wait()
    os.kill(postmaster, signal.SIGKILL)

    own_service.start()
    assert not list(cache.glob("*/*.part"))
    with own_service.basic() as client:
        assert len(client.get("/CallRecorder/Transcoder", params={"format": "json"}).json()) == 3
        answer = client.get("/CallRecorder/Transcoder", params={"format": "wav"})
        assert httpx.get(own_service.base + answer.headers["location"]).content == whole


def test_a_second_service_on_the_same_data_is_refused(own_service: Running) -> None:
    own_service.start()
    assert own_service.process is not None
    command = [*own_service.process.args]  # type: ignore[misc]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode not in (0, None)
    assert f"in use by another callreplay (process {own_service.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    assert httpx.get(own_service.base + "/readyz").status_code == 200, "the first one is left alone"


def test_a_database_killed_under_the_service_comes_back(own_service: Running) -> None:
    own_service.start()
    pid_file = own_service.folder / "data/cluster/postmaster.pid"
    killed = pid_file.read_text().split("\n")[0]
    os.kill(int(killed), signal.SIGKILL)
    with own_service.basic() as client:
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline, own_service.log[-3000:]
            assert httpx.get(own_service.base + "/healthz").status_code == 200
            answer = client.get("/CallRecorder/Transcoder", params={"format": "json"})
            if answer.status_code == 200:
                break
            assert answer.status_code == 503, answer.text
            time.sleep(0.1)
    assert len(answer.json()) == 3
    assert pid_file.read_text().split("\n")[0] != killed
    assert own_service.stop() == 0


def test_temporary_urls_expire(own_service: Running) -> None:
    own_service.flags = ("--url-seconds", "1", "--no-get-login")
    own_service.start()
    with own_service.basic() as client:
        place = own_service.base + client.get("/CallRecorder/Transcoder").headers["location"]
    assert httpx.get(place).status_code == 200
    time.sleep(2.1)
    assert httpx.get(place).status_code == 410
    by_url = {"user": "admin", "password": own_service.password}
    assert httpx.get(own_service.base + "/CallRecorder/", params=by_url).status_code == 403
    assert httpx.get(own_service.base + "/CallRecorder/Transcoder", params=by_url).status_code == 403


def test_equal_requests_at_once_are_one_piece_of_work_for_two_workers(own_service: Running) -> None:
    own_service.flags = ("--workers", "2")
    own_service.start()

    def fetch(_: int) -> bytes:
        with own_service.basic() as client:
            answer = client.get("/CallRecorder/Transcoder", params={"format": "wav", "callerName": "ana"})
            assert answer.status_code == 302, answer.text
            found = httpx.get(own_service.base + answer.headers["location"], timeout=30)
            assert found.status_code == 200
            return found.content

    with ThreadPoolExecutor(8) as pool:
        everything = set(pool.map(fetch, range(24)))
    assert len(everything) == 1
    entries = [path for path in (own_service.folder / "data" / "cache").glob("*/*") if path.is_file()]
    assert len(entries) == 1
    assert own_service.stop() == 0


def test_settings_table_of_the_documentation_is_the_programs() -> None:
    from callreplay.service.settings import table

    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    assert table() in text
