"""What was opened a moment ago serves the next rendering; a player of a cold hour passes over its recordings once."""

from __future__ import annotations

import asyncio
import gc
import html
import re
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from callreplay import packets
from callreplay.errors import FormatError
from callreplay.model import CallDescription, Flow, Stream, recording_files
from callreplay.packets import recording
from callreplay.packets import stored as stored_legs
from callreplay.service import engine
from callreplay.service.opened import Opened
from callreplay.store.handle import Handle, MissingError, mark
from callreplay.store.opening import StoredFile

if TYPE_CHECKING:
    from .conftest import Running

opening = Handle.open
SECONDS = 3600
START_NS = 1_767_700_000_000_000_000
HOUR = "6b1f4a52-64a9-4a5e-9d5a-2f9b1f5f0c22"


def fake(rows: int) -> Any:
    return SimpleNamespace(legs=[SimpleNamespace(columns=SimpleNamespace(offset=range(rows)))])


def test_who_comes_while_a_call_is_opened_waits_for_it() -> None:
    opened, made, go = Opened(), [], threading.Event()

    def opening() -> Any:
        made.append(1)
        assert go.wait(30)
        return fake(10)

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(opened.call, "a", opening) for _ in range(8)]
        while not made:
            time.sleep(0.001)
        assert opened.call("b", lambda: fake(10)) is not None, "another call does not wait"
        go.set()
        found = [each.result() for each in waiting]
    assert len(made) == 1
    assert len({id(call) for call in found}) == 1
    assert not opened._turns


def test_what_cannot_be_opened_is_told_to_each_and_not_kept() -> None:
    opened = Opened()

    def fails() -> Any:
        raise OSError("gone")

    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            opened.call("a", fails)
    assert (len(opened), opened._turns) == (0, {})
    assert opened.call("a", lambda: fake(1)) is not None


def test_so_many_packets_are_kept_and_the_least_recently_used_go() -> None:
    opened = Opened(rows=100)
    calls = {name: opened.call(name, lambda: fake(40)) for name in "ab"}
    assert opened.call("a", lambda: fake(0)) is calls["a"]
    opened.call("c", lambda: fake(40))
    assert opened.call("a", lambda: fake(0)) is calls["a"]
    assert opened.call("b", lambda: fake(0)) is not calls["b"]
    large = opened.call("d", lambda: fake(101))
    assert opened.call("d", lambda: fake(0)) is not large, "more than all that may be kept"


def test_what_is_not_used_goes_by_itself() -> None:
    opened = Opened(seconds=0.05)
    opened.call("a", lambda: fake(1))
    opened.call("b", lambda: fake(1))
    end = time.monotonic() + 30
    while len(opened):
        assert time.monotonic() < end
        time.sleep(0.01)


def write_legs(folder: Path, seconds: int) -> list[str]:
    """Two stored legs of G.711."""
    count = seconds * 50
    record = np.dtype([("length", ">u2"), ("plen", ">u2"), ("ms", ">u4"), ("first", "u1"), ("kind", "u1"),
                       ("sequence", ">u2"), ("stamp", ">u4"), ("ssrc", ">u4"), ("payload", "u1", 160)])  # fmt: skip
    each = np.arange(count)
    for number in (1, 2):
        rows = np.zeros(count, record)
        rows["length"], rows["plen"], rows["ms"], rows["first"], rows["ssrc"] = (
            180,
            172,
            each * 20,
            0x80,
            number,
        )
        rows["sequence"], rows["stamp"] = each & 0xFFFF, each * 160
        rows["payload"] = np.where(each % 100 < 50, 0xFF, 0x20)[:, None]
        head = b"#!rtpplay1.0 10.0.0.%d/4000\n" % number
        head += struct.pack(">IIIHH", START_NS // 10**9, 0, 0x0A000000 + number, 4000, 0)
        path = folder / f"hour-{number}.rtp"
        path.write_bytes(head + rows.tobytes())
        flow = Flow(f"10.0.0.{number}", 4000, f"10.0.0.{3 - number}", 4000)
        index = recording.LegIndex(
            "caller" if number == 1 else "called", CallDescription("hour"),
            [Stream(0, flow, number, slice(0, 0), 0)], START_NS + each * 20_000_000, np.zeros(count, np.uint16),
            np.full(count, 180, np.uint16), np.zeros(count, np.uint8), len(head),
        )  # fmt: skip
        with recording.index_path(path).open("wb") as file:
            recording.write_index(file, index)
    return ["hour-1.rtp", "hour-2.rtp"]


def test_a_recording_that_was_replaced_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_opened", Opened())
    volume = uuid.uuid4()
    mark(tmp_path, volume)
    files = [StoredFile(str(tmp_path), volume, 1, name) for name in write_legs(tmp_path, 300)]
    first = engine._call(files)
    assert engine._call(files) is first
    assert len(engine._opened) == 1
    silent = (tmp_path / files[0].path).read_bytes()
    (tmp_path / "new").write_bytes(silent[:1000] + bytes(len(silent) - 1000))
    (tmp_path / "new").rename(tmp_path / files[0].path)
    assert engine._call(files) is not first


@pytest.mark.parametrize(("seconds", "again"), [(20, 2), (300, 1)])
def test_a_rendering_opens_each_file_once_and_reads_what_it_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, again: int
) -> None:
    """Of a long call the second rendering looks at the recordings alone. No descriptor stays open."""

    def descriptors() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    monkeypatch.setattr(engine, "_opened", Opened())
    volume, opened = uuid.uuid4(), []
    mark(tmp_path, volume)
    names = write_legs(tmp_path, seconds)
    files = [StoredFile(str(tmp_path), volume, 1, name) for name in names]

    def noted(volume: Handle, path: str) -> int:
        opened.append(path)
        return opening(volume, path)

    monkeypatch.setattr(Handle, "open", noted)
    before = descriptors()
    engine._call(files)
    every = [f"{name}{suffix}" for name in names for suffix in recording_files("")]
    assert sorted(opened) == sorted(every)
    opened.clear()
    kept = descriptors()
    engine._call(files)
    assert sorted(opened) == sorted(every if again == 2 else names)
    assert descriptors() == kept
    engine._opened._kept.clear()
    (tmp_path / names[1]).unlink()
    with pytest.raises(FormatError) as caught:
        engine._call(files)
    assert isinstance(caught.value.__cause__, MissingError)
    del caught
    assert descriptors() == before


@pytest.fixture
def hour(service: Running) -> Iterator[str]:
    [volume] = service.rows("SELECT path FROM storage_volumes WHERE id = 1")
    names = write_legs(Path(volume["path"]), SECONDS)
    service.rows(
        "INSERT INTO calls "
        "(uuid, identity, tenant_id, wire_call_id, started_at, ended_at, caller_number, called_number) "
        "SELECT %s, 'hour', id, 'hour', now() - interval '1 hour', now(), '100', '200' "
        "FROM tenants WHERE name = 'default'",
        HOUR,
    )
    for leg, name in zip(("caller", "called"), names, strict=True):
        service.rows(
            "INSERT INTO call_files (call_uuid, leg, volume_id, path, format) VALUES (%s, %s, 1, %s, 'rtp')",
            HOUR,
            leg,
            name,
        )
    yield HOUR
    service.rows("DELETE FROM calls WHERE uuid = %s", HOUR)
    for name in names:
        for path in (Path(volume["path"], name), recording.index_path(Path(volume["path"], name))):
            path.unlink()


@pytest.mark.database
def test_a_player_of_a_cold_hour_passes_over_it_once(
    app: Any, service: Running, hour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a player asks for as it opens, all at once. Passes are counted, and the CPU they take: no clock is asked."""
    monkeypatch.setattr(engine, "_opened", Opened())
    counts = {"opened": 0, "walked": 0, "scanned": 0}

    def counted(owner: Any, name: str, what: str) -> None:
        inner = getattr(owner, name)

        def call(*values: Any, **named: Any) -> Any:
            counts[what] += 1
            return inner(*values, **named)

        monkeypatch.setattr(owner, name, call)

    counted(engine, "open_capture", "opened")
    counted(stored_legs, "walked", "walked")
    counted(packets, "scan", "scanned")

    async def ask() -> tuple[float, list[httpx.Response]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            given = {"user": "admin", "password": service.password}
            assert (await client.post("/CallRecorder/Login", data=given)).status_code == 303
            page = (await client.get("/CallRecorder/", params={"player": hour})).text
            zoom, marks = (
                html.unescape(re.findall(f'data-{name}="([^"]+)"', page)[0]) for name in ("zoom", "marks")
            )
            audio = html.unescape(re.findall(r'<audio [^>]*src="([^"]+)"', page)[0])
            begun = time.process_time()
            peaks = await client.get(zoom, headers={"range": "bytes=0-65535"})
            spent = time.process_time() - begun
            others = [
                client.get(marks),
                client.get(f"{audio}?end=30"),
                client.get(f"{audio}?start=1800&end=1830"),
            ]
            return spent, [peaks, *await asyncio.gather(*others)]

    spent, answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [206, 200, 200, 200]
    assert len(answers[0].content) == 65536
    assert answers[1].json()["duration"] == SECONDS
    assert [len(answer.content) > 30 * 8000 for answer in answers[2:]] == [True, True]
    assert counts == {"opened": 1, "walked": 2, "scanned": 0}
    # 0.15 s on a quiet machine, of which most is decoded; a second pass over packets or audio would be seen.
    assert spent < 1.5
