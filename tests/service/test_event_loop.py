"""The event loop waits for nobody: what takes time is done in threads, and small answers leave at once."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import psycopg_pool
import pytest
from argon2 import PasswordHasher
from bench._captures import leg, write_pcap

from callreplay.cli import serve
from callreplay.service import cache, engine, transcoder
from callreplay.service.context import Service
from callreplay.service.settings import Settings
from callreplay.store.handle import Handle, mark
from callreplay.store.near import Near
from callreplay.store.records import StoredCall

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
HOME = "/CallRecorder/"
TRANSCODER = "/CallRecorder/Transcoder"


async def ask_for_everything(app: Any, running: Running, call: dict[str, Any], player: str) -> list[int]:
    """The status of an answer of every kind."""
    codes = []
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        given = {"user": "admin", "password": running.password}
        for values in ({**given, "password": "wrong"}, given):
            codes.append((await client.post("/CallRecorder/Login", data=values)).status_code)
        page = await client.get(HOME, params={"callDetails": call["callId"]})
        form = {"csrf": page.text.split('name="csrf" value="')[1].split('"')[0]}
        file = call["legs"][0]["files"][0]
        basic = ("admin", running.password)
        for path, options in (
            (HOME, {}),
            (HOME, {"params": {"player": call["callId"]}}),
            ("/CallRecorder/Volumes", {}),
            ("/CallRecorder/Users", {}),
            ("/CallRecorder/Audit", {}),
            ("/readyz", {}),
            (TRANSCODER, {"params": {"format": "json"}, "auth": basic}),
            (TRANSCODER, {"params": {"format": "spx"}, "follow_redirects": True}),
            (f"/CallRecorder/Storage/{file['volumeId']}/{file['path']}", {"auth": ("player", player)}),
        ):
            codes.append((await client.get(path, **options)).status_code)
        for path, values in (
            (f"/CallRecorder/Call/{call['callId']}/description", {}),
            ("/CallRecorder/Users/add", {"login": "admin", "password": "seven otters"}),
            ("/CallRecorder/Tokens/add", {"name": "watched"}),
            ("/CallRecorder/Logout", {}),
        ):
            codes.append((await client.post(path, data={**form, **values})).status_code)
    return codes


def test_no_request_waits_on_the_loop(
    app: Any, service: Running, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.get_ident()  # asyncio.run has its loop in this thread
    called, on_loop = set(), []

    def watch(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def watched(*values: Any, **named: Any) -> Any:
            called.add(name)
            if threading.get_ident() == here:
                on_loop.append(name)
            return inner(*values, **named)

        monkeypatch.setattr(owner, name, watched)

    [row] = service.rows("SELECT value FROM settings WHERE key = 'storage.player_password'")
    watch(psycopg.Connection, "wait")
    watch(psycopg_pool.ConnectionPool, "getconn")
    watch(PasswordHasher, "hash")
    watch(PasswordHasher, "verify")
    watch(engine, "render")
    watch(cache.Cache, "open")
    watch(Handle, "open")
    watch(Service, "open")
    # What lies on disks of this machine may be looked at there: a thread takes longer. Here nothing is near.
    monkeypatch.setattr(Near, "known", lambda *_: False)
    codes = asyncio.run(ask_for_everything(app, service, call, row["value"]))
    monkeypatch.undo()
    service.rows("DELETE FROM login_failures")
    service.rows("DELETE FROM api_tokens WHERE name = 'watched'")
    assert codes == [401, 303, *[200] * 9, 303, 409, 303, 303]
    assert called == {"wait", "getconn", "hash", "verify", "render", "open"}
    assert on_loop == []


def test_the_loop_turns_while_calls_are_transcoded(app: Any, tmp_path: Path) -> None:
    write_pcap(tmp_path / "long.pcap", leg(600, 0), leg(600, 1, seed=2))
    volume = uuid.uuid4()
    mark(tmp_path, volume)
    place = {"volume_path": str(tmp_path), "volume_uuid": volume, "volume_id": 1}
    files = [{"leg": "caller", "position": 0, "path": "long.pcap", **place}]
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    async def run() -> float:
        turning = asyncio.create_task(turn())
        await asyncio.sleep(0)
        loop, whole = time.thread_time(), time.process_time()

        async def one(quality: int) -> None:
            call = StoredCall({"uuid": uuid.uuid4(), "status": "answered"}, files)
            entry = await transcoder.open_entry(app.state.service, call, "spx", {"quality": quality})
            await asyncio.to_thread(entry.wait)
            entry.close()

        await asyncio.gather(*(one(quality) for quality in range(4, 10)))
        share = (time.thread_time() - loop) / (time.process_time() - whole)
        turning.cancel()
        return share

    # The processor's time, and turns: neither knows how busy the machine is with other things.
    share = asyncio.run(run())
    assert share < 0.3, f"{share:.0%} of the work is the loop's own"
    assert turns > 30, "more than one for each call: nobody held it up"


def test_transcodes_give_way_to_everything_else(app: Any) -> None:
    def make() -> Iterator[bytes]:
        yield str(os.getpriority(os.PRIO_PROCESS, 0)).encode()

    before = os.getpriority(os.PRIO_PROCESS, 0)
    entry = app.state.service.cache.open("00" * 32, make)
    assert int(b"".join(entry.blocks())) > before
    entry.close()
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_body_leaves_with_its_headers() -> None:
    """Without TCP_NODELAY what is written second waits 40 ms for the client's delayed acknowledgement."""
    found: list[int] = []

    async def run() -> None:
        accepted = asyncio.Event()

        def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken = writer.get_extra_info("socket")
            found.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            accepted.set()

        listening = serve._listen(Settings(port=0))
        async with await asyncio.start_server(handle, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            await accepted.wait()
            writer.close()

    asyncio.run(run())
    assert found == [1]


def test_equal_credentials_at_once_are_hashed_once(
    app: Any, service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = 0
    inner = PasswordHasher.verify

    def verify(*values: Any) -> bool:
        nonlocal verified
        verified += 1
        return inner(*values)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    auth = app.state.service.auth
    with ThreadPoolExecutor(8) as pool:
        users = list(
            pool.map(lambda _: auth.check("default", "admin", service.password, "127.0.0.1"), range(24))
        )
    assert {user.login for user in users} == {"admin"}
    assert verified == 1
