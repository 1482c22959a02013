"""Starting, stopping and being killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from bench._captures import leg, write_pcap

from callreplay.service import engine
from callreplay.store.opening import StoredFile

from .conftest import AS_NOBODY, Running, ended, fresh

pytestmark = [pytest.mark.database, pytest.mark.slow]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def postmaster(running: Running) -> int:
    return int((running.folder / "data/cluster/postmaster.pid").read_text().split("\n")[0])


def cached(running: Running, suffix: str = "") -> list[Path]:
    """The files of the cache; with ``suffix``, those that end so ('.' for entries that bear their own name)."""
    found = [path for path in (running.folder / "data" / "cache").glob("*/*") if path.is_file()]
    return [path for path in found if not suffix or (path.suffix or ".") == suffix]


def afresh(running: Running, **options: Any) -> bytes:
    """The Speex file of the one call, by the engine itself, from the stored recordings."""
    rows = running.rows("SELECT v.path AS volume, v.uuid, v.id, f.path FROM call_files f JOIN storage_volumes v "
                        "ON v.id = f.volume_id ORDER BY f.position")  # fmt: skip
    (call,) = running.rows("SELECT uuid::text FROM calls")
    files = [StoredFile(row["volume"], row["uuid"], row["id"], row["path"]) for row in rows]
    return b"".join(engine.render(files, "spx", options, call["uuid"]).data)


@pytest.fixture(scope="module")
def long_call() -> Iterator[Running]:
    """A service that has one call, an hour long, which takes seconds to encode; it does one at a time."""
    with ended(fresh()) as running:
        captures = running.folder / "captures"
        captures.mkdir()
        write_pcap(captures / "hour.pcap", leg(3600, 0), leg(3600, 1, seed=2))
        running.flags = ("--samples", str(captures), "--transcodes", "1")
        yield running.start()


def listening_on(port: int) -> set[str]:
    """The IPv4 addresses that processes listen on at the port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = {row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    return {socket.inet_ntoa(struct.pack("<I", int(address, 16))) for address in found}


def test_an_ordinary_user_serves_stops_in_order_and_starts_again_with_the_same_calls(
    own_service: Running,
) -> None:
    if os.geteuid() == 0:
        shutil.chown(own_service.folder, "nobody")
        own_service.prefix = AS_NOBODY
    own_service.from_nothing = True
    own_service.flags += ("--host", "0.0.0.0")
    own_service.start()
    port = int(own_service.base.rsplit(":", 1)[1])
    assert listening_on(port) == {"0.0.0.0"}
    database_port = int(own_service.database_url.rsplit(":", 1)[1].split("/")[0])
    assert listening_on(database_port) == {"127.0.0.1"}, "its password is the documented one"
    password = own_service.password
    assert password
    with own_service.basic() as client:
        before = client.get("/CallRecorder/Transcoder", params={"format": "json"}).json()
    database = postmaster(own_service)
    assert own_service.stop(signal.SIGINT) == 0
    assert gone(database)
    assert "stopped" in own_service.log

    own_service.start()
    assert "password:" not in (own_service.folder / "out").read_text(), "told once only"
    with own_service.basic() as client:
        assert client.get("/CallRecorder/Transcoder", params={"format": "json"}).json() == before
    database = postmaster(own_service)
    assert own_service.stop(signal.SIGTERM) == 0
    assert gone(database)


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize(
    "place", ["Config", "Server.run", "Config.get_loop_factory", "Config.load", "Multiprocess"]
)
def test_a_signal_before_the_server_takes_signals_stops_it(
    own_service: Running, place: str, dropped: bool
) -> None:
    """It falls between the line that tells of the port and uvicorn's own handlers.

    Once where Python drops what a handler raises: while an object is cleared away, as an import does of its locks.
    """
    workers = 2 if place == "Multiprocess" else 1
    program = f"""
import os, signal, sys, uvicorn, weakref
from uvicorn import supervisors
from callreplay.cli import main
def send(_=None):
    os.kill(os.getpid(), {signal.SIGTERM:d})
    for _ in range(100): pass  # the handler runs here
class Lock: pass
def early(method):
    def run(*given, **named):
        if {dropped}:
            lock = Lock()
            watch = weakref.ref(lock, send)
            del lock
        else:
            send()
        return method(*given, **named)
    return run
owner, _, name = "{place}".partition(".")
owner = getattr(uvicorn, owner, None) or getattr(supervisors, owner)
name = name or "__init__"
setattr(owner, name, early(getattr(owner, name)))
main()
"""
    own_service.start()
    database = own_service.database_url
    words = [
        "serve",
        "--data-dir",
        str(own_service.folder / "other"),
        "--database-url",
        database,
        "--port",
        "0",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--workers", str(workers), "--samples", ""],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "serving http" in done.stdout) == (0, True), done.stderr[-3000:]


@pytest.mark.parametrize("stage", ["starting", "migrating"])
def test_a_second_signal_does_not_disturb_what_the_first_puts_away(own_service: Running, stage: str) -> None:
    """The first comes while the server is started or its schema is made, the second while the server is stopped."""
    program = f"""
import os, signal, sys, alembic.command
from callreplay.cli import main
from callreplay.store import embedded
def before(owner, name):
    method = getattr(owner, name)
    def run(*given, **named):
        os.kill(os.getpid(), {signal.SIGTERM:d})
        return method(*given, **named)
    setattr(owner, name, run)
stages = {{"starting": (embedded.EmbeddedPostgres, "_answers"), "migrating": (alembic.command, "upgrade")}}
before(*stages["{stage}"])
before(embedded.EmbeddedPostgres, "_end")
main()
"""
    data = own_service.folder / "twice"
    words = ["serve", "--data-dir", str(data), "--port", "0", "--db-port", "0", "--samples", ""]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "serving" not in done.stdout
    assert not (data / "cluster" / "postmaster.pid").exists()


def test_server_killed_in_mid_transcode_leaves_no_half_file(long_call: Running) -> None:
    def ask(**options: str) -> str:
        with long_call.basic() as client:
            answer = client.get("/CallRecorder/Transcoder", params={"format": "spx", **options})
            assert answer.status_code == 302, answer.text
            return answer.headers["location"]

    before = set(cached(long_call, "."))
    received: list[bytes] = []
    with ThreadPoolExecutor(1) as pool:
        place = ask(quality="4")
        with httpx.stream("GET", long_call.base + place, timeout=30) as response:
            blocks = response.iter_raw()
            received.append(next(blocks))
            # Another one waits for its turn: it holds a lock and has no part yet.
            waiting = pool.submit(ask, quality="5")
            while len(cached(long_call, ".lock")) < 2:
                assert not waiting.done()
                time.sleep(0.01)
            assert len(cached(long_call, ".part")) == 1
            assert long_call.process is not None
            long_call.process.kill()
            long_call.process.wait()
            # Without the end of a chunked body no client takes what it got for the whole.
            with pytest.raises(httpx.TransportError):
                received.extend(blocks)
        assert isinstance(waiting.exception(30), httpx.TransportError)
    [part] = cached(long_call, ".part")
    assert set(cached(long_call, ".")) == before, "what is half bears no entry's name"
    os.kill(postmaster(long_call), signal.SIGKILL)

    long_call.start()
    assert set(cached(long_call)) == before, "neither parts nor locks are left"
    expected = afresh(long_call, quality=4)
    assert expected.startswith(got := b"".join(received))
    assert 0 < len(got) < len(expected)
    answers = [httpx.get(long_call.base + place, timeout=60) for _ in range(2)]  # one grows, one is cached
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.content == expected for answer in answers] == [True, True]
    assert set(cached(long_call)) == before | {part.with_suffix("")}


def test_database_killed_in_mid_transcode_loses_nothing(long_call: Running) -> None:
    with long_call.basic() as client:
        answer = client.get("/CallRecorder/Transcoder", params={"format": "spx", "quality": "3"})
    place = answer.headers["location"]
    killed = postmaster(long_call)
    with httpx.stream("GET", long_call.base + place, timeout=30) as response, long_call.basic() as client:
        blocks = response.iter_raw()
        received = [next(blocks)]
        assert len(cached(long_call, ".part")) == 1
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 30
        codes = []
        while 200 not in codes:
            assert time.monotonic() < deadline, long_call.log[-3000:]
            assert httpx.get(long_call.base + "/healthz").status_code == 200
            codes.append(client.get("/CallRecorder/Transcoder", params={"format": "json"}).status_code)
            time.sleep(0.05)
        assert set(codes) <= {503, 200}
        assert httpx.get(long_call.base + "/readyz", timeout=30).status_code == 200
        received += blocks
    assert postmaster(long_call) != killed
    expected = afresh(long_call, quality=3)
    assert b"".join(received) == expected, "the recordings are files: what had begun goes on"
    assert httpx.get(long_call.base + place, timeout=60).content == expected
    with long_call.basic() as client:
        assert len(client.get("/CallRecorder/Transcoder", params={"format": "json"}).json()) == 1
    assert not cached(long_call, ".part") + cached(long_call, ".lock")


def test_a_second_service_on_the_same_data_is_refused(service: Running) -> None:
    assert service.process is not None
    command = [*service.process.args]  # type: ignore[misc]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode not in (0, None)
    assert f"in use by another callreplay (process {service.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    assert httpx.get(service.base + "/readyz").status_code == 200, "the first one is left alone"


def test_settings_table_of_the_documentation_is_the_programs() -> None:
    from callreplay.service.settings import table

    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    assert table() in text
