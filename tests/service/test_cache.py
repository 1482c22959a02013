"""The cache: entries that grow, are evicted while they are read, fill the disk, or fail."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from callreplay.errors import CaptureError
from callreplay.service import cache as caching
from callreplay.service import engine, lasting
from callreplay.service.app import create_app
from callreplay.service.cache import Cache
from callreplay.service.metrics import Metrics
from callreplay.service.settings import Settings
from callreplay.store.opening import MissingError

if TYPE_CHECKING:
    from .conftest import Running

MIB = 1 << 20


@pytest.fixture(autouse=True)
def threads_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no more work ends, so that a test can wait for that."""
    monkeypatch.setattr(caching, "_STAY_SECONDS", 0.0)


def key(number: int) -> str:
    return f"{number:064x}"


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.is_file()]


def at_rest() -> None:
    """Wait for the ends of what was made: a lock goes after its entry stands, and the bound is looked after last."""
    for thread in threading.enumerate():
        if thread.name.startswith("transcode-"):
            thread.join()


def made(cache: Cache, number: int, *blocks: bytes) -> bytes:
    entry = cache.open(key(number), lambda: iter(blocks))
    try:
        return b"".join(entry.blocks())
    finally:
        entry.close()


@pytest.fixture
def small(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", MIB, 2, Metrics())


def test_a_thread_stays_for_the_next_rendering(small: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_STAY_SECONDS", 600.0)
    found: list[threading.Thread] = []

    def work() -> Iterator[bytes]:
        found.append(threading.current_thread())
        yield b"x"

    for number in range(4):
        small.open(key(number), work).close()
        while small._pool._idle < 1:  # until it waits
            time.sleep(0.001)
    assert len(set(found)) == 1
    monkeypatch.setattr(caching, "_STAY_SECONDS", 0.0)
    small.open(key(9), work).close()
    found[0].join(30)
    assert not found[0].is_alive()


def test_the_least_recently_used_go_first_and_never_from_under_a_reader(small: Cache) -> None:
    block = os.urandom(MIB // 4)
    for number in range(3):
        assert made(small, number, block) == block
    time.sleep(0.02)  # the clock of file systems ticks every few milliseconds
    reading = small.open(key(1), lambda: iter(()))
    time.sleep(0.02)
    assert made(small, 0, b"not made again") == block, "used again: 1 is the oldest now"
    for number in range(3, 6):
        made(small, number, block)
    at_rest()
    kept = {path.name for path in entries(small.folder)}
    assert sum(path.stat().st_size for path in entries(small.folder)) <= MIB
    assert key(1) not in kept
    assert key(5) in kept
    assert b"".join(reading.blocks()) == block
    reading.close()


def test_an_entry_larger_than_the_bound_is_read_to_its_end(small: Cache) -> None:
    blocks = [os.urandom(MIB) for _ in range(3)]
    assert made(small, 0, *blocks) == b"".join(blocks)
    assert made(small, 1, b"next") == b"next"
    at_rest()
    assert sum(path.stat().st_size for path in entries(small.folder)) <= MIB


def test_who_follows_another_process_reads_to_the_end_though_the_entry_is_evicted_at_once(
    small: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Cache(small.folder, MIB, 1, Metrics())  # another worker's
    begun, go = threading.Event(), threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"a" * 1000
        begun.set()
        assert go.wait(30)
        yield b"b" * 1000

    with ThreadPoolExecutor(1) as pool:
        maker = pool.submit(lambda: elsewhere.open(key(1), blocks))
        assert begun.wait(30)
        entry = small.open(key(1), lambda: iter([b"made twice"]))
        read = entry.blocks()
        assert next(read) == b"a" * 1000
        go.set()
        maker.result().close()
        at_rest()
        [path] = entries(small.folder)
        path.unlink()  # as an eviction does
        assert b"".join(read) == b"b" * 1000
        entry.close()


def test_who_follows_a_process_that_dies_is_told(small: Cache) -> None:
    begun, go = threading.Event(), threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"a" * 1000
        begun.set()
        assert go.wait(30)
        raise OSError("killed")

    elsewhere = Cache(small.folder, 1 << 20, 1, Metrics())
    with ThreadPoolExecutor(1) as pool:
        maker = pool.submit(lambda: elsewhere.open(key(1), blocks))
        assert begun.wait(30)
        entry = small.open(key(1), lambda: iter([b"made twice"]))
        read = entry.blocks()
        assert next(read) == b"a" * 1000
        made_here = maker.result()
        go.set()
        with pytest.raises(OSError, match="has gone"):
            next(read)
        entry.close()
        made_here.close()


def test_different_entries_at_once_keep_the_bound(small: Cache) -> None:
    block = os.urandom(MIB // 8)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda number: made(small, number % 20, block), range(80))) == {block}
    at_rest()
    left = entries(small.folder)
    assert all(path.stat().st_size == len(block) for path in left), "neither parts nor locks"
    assert 0 < sum(path.stat().st_size for path in left) <= MIB


def test_without_a_thread_that_waits_entries_are_made_joined_and_refused_as_with_one(small: Cache) -> None:
    go, gone = threading.Event(), threading.Event()
    runs: list[int] = []

    def blocks() -> Iterator[bytes]:
        runs.append(threading.get_ident())
        assert go.wait(30)
        yield b"a" * 1000
        yield b"b" * 1000

    def fails() -> Iterator[bytes]:
        yield from ()
        raise OSError("unreadable")

    async def one(number: int, make: Any) -> bytes:
        entry = await small.open_soon(key(number), make, owner="o", gone=threading.Event())
        with entry:
            return await asyncio.to_thread(lambda: b"".join(entry.blocks()))

    async def run() -> list[bytes]:
        waiting = [asyncio.create_task(one(1, blocks)) for _ in range(20)]
        while not runs:
            await asyncio.sleep(0.001)
        leaving = asyncio.create_task(small.open_soon(key(1), blocks, owner="o", gone=gone))
        left = asyncio.create_task(small.open_soon(key(1), blocks, owner="o", gone=threading.Event()))
        await asyncio.sleep(0)
        gone.set()
        with pytest.raises(caching.Abandoned):
            await leaving
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert threading.active_count() < 20, "none of those who wait has one"
        go.set()
        found = await asyncio.gather(*waiting)
        with pytest.raises(OSError, match="unreadable"):
            await one(2, fails)
        return [*found, await one(1, fails), await one(3, lambda: iter(()))]

    found = asyncio.run(run())
    assert found == [b"a" * 1000 + b"b" * 1000] * 21 + [b""]
    assert len(runs) == 1
    assert threading.get_ident() not in runs
    at_rest()
    assert not small._jobs


def test_who_waited_when_the_loop_ended_stops_nobody(small: Cache) -> None:
    go = threading.Event()

    def blocks() -> Iterator[bytes]:
        assert go.wait(30)
        yield b"whole"

    async def leave() -> None:
        waits = asyncio.create_task(small.open_soon(key(1), blocks, owner="", gone=threading.Event()))
        await asyncio.sleep(0.01)
        waits.cancel()

    asyncio.run(leave())
    go.set()
    assert made(small, 1, b"never") == b"whole"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Cache]:
    """A cache on a disk of one MiB, whose bound is beyond that."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=False)
    if mounted.returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield Cache(place, 1 << 30, 2, Metrics())
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_loses_old_entries_and_no_octet_of_new_ones(full: Cache) -> None:
    # No multiple of a page, so that the last write that succeeds is a short one.
    blocks = [os.urandom(99_991) for _ in range(7)]
    for number in range(4):
        assert made(full, number, *blocks) == b"".join(blocks)
        at_rest()
        [path] = entries(full.folder)
        assert path.read_bytes() == b"".join(blocks)


def test_what_the_disk_cannot_hold_is_an_error_and_leaves_nothing(full: Cache) -> None:
    read = threading.Event()

    def data() -> Iterator[bytes]:
        yield os.urandom(99_991)
        read.wait(60)  # else all of it may have failed before the first look
        yield from [os.urandom(99_991)] * 20

    entry = full.open(key(0), data)
    blocks = entry.blocks()
    assert len(next(blocks)) > 0
    read.set()
    with pytest.raises(OSError, match="No space left") as caught:
        b"".join(blocks)
    entry.close()
    assert caught.value.errno == errno.ENOSPC
    at_rest()
    assert entries(full.folder) == []
    assert made(full, 1, b"fits") == b"fits", "and it goes on"


# -- growing entries, through temporary URLs --------------------------------------------------------------------------


@pytest.mark.database
def test_temporary_urls_of_what_still_grows(
    service: Running, call: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = threading.Event()
    render = engine.render

    def held(*values: Any) -> engine.Rendering:
        rendering = render(*values)

        def data() -> Iterator[bytes]:
            yield next(rendering.data)
            assert going_on.wait(30)
            yield from rendering.data

        return engine.Rendering(rendering.seconds, data())

    monkeypatch.setattr(engine, "render", held)
    app = create_app(Settings(database_url=service.database_url, data_dir=str(tmp_path)))
    app.state.service.open()

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            answer = await client.get(
                "/CallRecorder/Transcoder",
                params={"callId": call["callId"], "format": "wav"},
                auth=("admin", service.password),
            )
            assert answer.status_code == 302
            place = answer.headers["location"]
            head = await client.head(place, headers={"range": "bytes=-5"})
            assert (head.status_code, head.content) == (200, b"")
            assert "content-length" not in head.headers, "it is not known yet"
            asked: tuple[dict[str, str], ...] = (
                {},
                {"range": "bytes=0-"},
                {"range": "bytes=0-99"},
                {"range": "bytes=-10"},
                {"range": "bytes=900000000-"},
                {"range": "bytes=0-9,20-29"},
            )
            waiting = [asyncio.create_task(client.get(place, headers=headers)) for headers in asked]
            done, _ = await asyncio.wait(waiting, timeout=0.3)
            assert not done, "none is answered whole from what is not whole"
            going_on.set()
            return [await each for each in waiting]

    try:
        whole, from_start, some, last, beyond, several = asyncio.run(run())
    finally:
        app.state.service.close()
    assert whole.content[:4] == b"RIFF"
    size = len(whole.content)
    assert int.from_bytes(whole.content[4:8], "little") == size - 8
    assert from_start.content == several.content == whole.content
    assert (some.status_code, some.content) == (206, whole.content[:100])
    assert (last.status_code, last.content) == (206, whole.content[-10:])
    assert last.headers["content-range"] == f"bytes {size - 10}-{size - 1}/{size}"
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    at_rest()
    [entry] = entries(tmp_path / "cache")
    assert entry.read_bytes() == whole.content


@pytest.mark.database
def test_temporary_urls_expire(service: Running, call: dict[str, Any], tmp_path: Path) -> None:
    settings = Settings(
        database_url=service.database_url, data_dir=str(tmp_path), url_seconds=1, get_login=False
    )
    app = create_app(settings)
    app.state.service.open()
    now = time.time()
    app.state.service.clock = lambda: now
    given = {"user": "admin", "password": service.password}

    async def run() -> None:
        nonlocal now
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in ("/CallRecorder/", "/CallRecorder/Transcoder"):
                assert (await client.get(path, params=given)).status_code == 403
            assert (await client.post("/CallRecorder/Login", data=given)).status_code == 303
            parameters = {"callId": call["callId"]}
            place = (await client.get("/CallRecorder/Transcoder", params=parameters)).headers["location"]
            page = await client.get("/CallRecorder/", params={"player": call["callId"]})
            played = re.search(r"/CallRecorder/Temp/[^\"&]+", page.text)
            assert played
            client.cookies.clear()
            assert (await client.get(place)).status_code == 200
            now += 2.1
            assert (await client.get(place)).status_code == 410
            assert (await client.get(played[0])).status_code == 200, "a player outlasts other URLs"
            now -= 12
            for each in (place, played[0]):
                assert (await client.get(each)).status_code == 404, "of a time that has not come yet"

    try:
        asyncio.run(run())
    finally:
        app.state.service.close()


def test_what_a_crash_of_the_machine_may_have_cut_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(run: str) -> Cache:
        (tmp_path / "run").write_text(run)
        return Cache(tmp_path / "cache", MIB, 1, Metrics())

    def kept() -> int:
        at_rest()
        return len([path for path in entries(tmp_path / "cache") if len(path.stem) == 64])

    monkeypatch.setattr(lasting, "_BOOT_ID", tmp_path / "run")
    made(started("one"), 1, b"x" * 5000)
    assert kept() == 1
    cache = started("one")
    assert kept() == 1, "the service was killed, the machine was not"
    cache.close()
    cache = started("two")
    assert kept() == 1, "it was synced"
    made(cache, 2, b"x" * 5000)
    assert kept() == 2
    (tmp_path / "cache" / "run").unlink()
    cache = started("two")
    assert kept() == 1, "nobody knows when the second was made"
    made(cache, 2, b"x" * 5000)
    assert kept() == 2
    cache = started("three")
    assert kept() == 1, "the second was not synced"
    assert made(cache, 1, b"") == b"x" * 5000
    (tmp_path / "run").unlink()
    cache = Cache(tmp_path / "cache", MIB, 1, Metrics())
    synced = list[int]()
    monkeypatch.setattr(os, "fsync", synced.append)
    made(cache, 3, b"y")
    at_rest()
    assert len(synced) == 1


@pytest.mark.database
def test_only_a_recording_that_is_not_there_is_told_as_missing(
    app: Any, service: Running, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A file of the program, or of the cache, is none; and one may go between the look at it and its opening."""

    def gone() -> CaptureError:
        error = CaptureError("a.rtp: No such file or directory")
        error.__cause__ = MissingError("a.rtp")
        return error

    async def statuses() -> list[int]:
        found = []
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://x", auth=("admin", service.password)
        ) as client:
            for number, error in enumerate((FileNotFoundError("lazy.py"), MissingError("a.rtp"), gone())):

                def render(*_: Any, error: Exception = error) -> Any:
                    raise error

                monkeypatch.setattr(engine, "render", render)
                asked = {"callId": call["callId"], "start": f"0.{number + 1}"}
                answer = await client.get("/CallRecorder/Transcoder", params=asked)
                found.append(answer.status_code)
        return found

    assert asyncio.run(statuses()) == [500, 404, 404]
    assert "lazy.py" in caplog.text
