"""Work has owners: what nobody waits for stops, one user's does not hold up another's, and descriptors are closed."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import psycopg
import pytest

from callreplay.errors import OutputError
from callreplay.service import cache as caching
from callreplay.service import transcoder
from callreplay.service.cache import Abandoned, Cache
from callreplay.service.fair import Fair
from callreplay.service.ledger import Ledger, octets_on_disk
from callreplay.service.metrics import Metrics
from callreplay.service.room import Room
from callreplay.service.work import Works
from callreplay.store.audit import Actor
from callreplay.store.jobs import Job

from .test_cache import MIB, at_rest, entries, key, threads_leave

if TYPE_CHECKING:
    from .conftest import Running


__all__ = ["threads_leave"]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def one(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", MIB, 1, Metrics())


def endless(made: list[int], go: threading.Event | None = None) -> Iterator[bytes]:
    while len(made) < 10_000:
        made.append(1)
        yield b"x" * 100
        time.sleep(0.01)
        if go is not None:
            go.set()


@pytest.fixture
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_LINGER_SECONDS", 0.3)


@pytest.mark.usefixtures("no_lingering")
def test_what_nobody_waits_for_stops(one: Cache) -> None:
    made: list[int] = []
    entry = one.open(key(1), lambda: endless(made))
    read = entry.blocks()
    end = time.monotonic() + 60
    while len(made) <= 20:
        assert time.monotonic() < end, "somebody waits"
        time.sleep(0.01)
    next(read)
    entry.close()
    at_rest()
    assert len(made) < 5000
    assert entries(one.folder) == [], "neither parts nor locks"
    again = one.open(key(1), lambda: iter([b"whole"]))
    assert b"".join(again.blocks()) == b"whole"
    again.close()


@pytest.mark.usefixtures("no_lingering")
def test_who_leaves_waits_no_more_and_what_is_queued_for_nobody_is_never_begun(one: Cache) -> None:
    made: list[int] = []
    first = one.open(key(1), lambda: endless(made), owner="a")
    gone, begun = threading.Event(), []

    def never() -> Iterator[bytes]:
        begun.append(1)
        yield b"x"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.open, key(2), never, owner="a", gone=gone)
        time.sleep(0.2)
        gone.set()
        assert isinstance(waiting.exception(60), Abandoned)
    time.sleep(0.5)
    first.close()
    at_rest()
    assert begun == []
    assert entries(one.folder) == []


@pytest.mark.usefixtures("no_lingering")
def test_another_process_that_follows_is_one_who_waits(one: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Cache(one.folder, MIB, 1, Metrics())
    made: list[int] = []
    begun = threading.Event()
    maker = elsewhere.open(key(1), lambda: endless(made, begun))
    assert begun.wait(60)
    follower = one.open(key(1), lambda: iter([b"made twice"]))
    read = follower.blocks()
    next(read)
    maker.close()
    monkeypatch.setattr(caching, "_LINGER_SECONDS", 2.5)  # longer than a follower's sign of life takes
    before = len(made)
    ended = time.monotonic() + 4
    while time.monotonic() < ended:
        next(read)
    assert len(made) > before
    follower.close()
    monkeypatch.setattr(caching, "_LINGER_SECONDS", 0.3)
    at_rest()
    assert len(made) < 5000


def test_owners_take_turns(one: Cache) -> None:
    order: list[str] = []
    go = threading.Event()

    def work(name: str) -> Iterator[bytes]:
        assert go.wait(60)
        order.append(name)
        yield name.encode()

    with ThreadPoolExecutor(40) as pool:
        busy = [pool.submit(one.open, key(n), partial(work, f"a{n}"), owner="a") for n in range(30)]
        time.sleep(0.3)
        other = pool.submit(one.open, key(99), lambda: work("b"), owner="b")
        time.sleep(0.3)
        assert threading.active_count() < 40 + 20, "what waits in the queue takes no thread of its own"
        go.set()
        other.result(60).close()
        for each in busy:
            each.result(10).close()
    assert order.index("b") <= 2, "not behind all that another asked for before"


def test_the_bound_holds_while_entries_are_written(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 4 * MIB, 4, Metrics())
    most = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.is_set():
            found = 0
            # What is written while we look has been counted before: nothing more can be meanwhile.
            with cache._room.ledger.page():
                for path in entries(cache.folder):
                    with contextlib.suppress(FileNotFoundError):
                        found += octets_on_disk(path.stat())
            most = max(most, found)
            time.sleep(0.001)

    def make(number: int) -> bytes:
        entry = cache.open(key(number), lambda: iter([os.urandom(MIB // 4)] * 8), owner=str(number))
        try:
            return b"".join(entry.blocks())
        finally:
            entry.close()

    with ThreadPoolExecutor(9) as pool:
        watching = pool.submit(watch)
        assert {len(each) for each in pool.map(make, range(24))} == {2 * MIB}
        stop.set()
        watching.result()
    at_rest()
    assert MIB < most <= 4 * MIB, "of every file together, parts too"


def pieces(number: int, begun: list[int]) -> Iterator[bytes]:
    """The same bytes every time, as a rendering is."""
    begun.append(number)
    for part in range(8):
        yield random.Random(8 * number + part).randbytes(MIB // 4)
        time.sleep(0.002)


PROCESS = f"""
from __future__ import annotations
import random, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from callreplay.service.cache import Cache
from callreplay.service.metrics import Metrics

MIB = {MIB}
{inspect.getsource(key)}
{inspect.getsource(pieces)}
cache, begun = Cache(Path(sys.argv[1]), 4 * MIB, 3, Metrics()), []

def make(number):
    with cache.open(key(number), lambda: pieces(number, begun), owner=str(number)) as entry:
        return b"".join(entry.blocks()) == b"".join(pieces(number, []))

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(6) as pool:
    print(all(pool.map(make, range(int(sys.argv[2]), int(sys.argv[2]) + 6))), len(begun))
"""


def test_the_bound_holds_for_all_processes_and_for_one_that_is_killed(tmp_path: Path) -> None:
    """Who reads what is taken back and written again reads the same; every rendering comes to its end."""
    folder = tmp_path / "cache"
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, folder, str(100 * each)], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for each in range(3)
    ]  # fmt: skip
    ledger, most = Ledger(folder / "total"), 0
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    killed = False
    while any(process.poll() is None for process in running):
        with ledger.page() as page:
            sizes = [octets_on_disk(path.stat()) for path in entries(folder)]
            held = sum(page.held.values())
        most = max(most, sum(sizes))
        if not killed and held > MIB:
            running[0].kill()
            killed = True
        time.sleep(0.005)
    assert killed
    assert MIB < most <= 4 * MIB, "parts and what a killed process left count too"
    told = [process.communicate()[0].split() for process in running]
    assert [each[0] for each in told[1:]] == ["True", "True"]
    left = Cache(folder, 4 * MIB, 1, Metrics())
    kept = entries(folder)
    assert not [path for path in kept if path.suffix], "parts and locks of the dead are gone"
    assert left._room.ledger.total() == sum(octets_on_disk(path.stat()) for path in kept) <= 4 * MIB


def test_what_gives_way_is_read_whole_and_made_twice_at_most(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 4 * MIB, 4, Metrics())
    begun: list[int] = []

    def make(number: int) -> bool:
        with cache.open(key(number), lambda: pieces(number, begun), owner=str(number)) as entry:
            return b"".join(entry.blocks()) == b"".join(pieces(number, []))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(make, range(12)))
    at_rest()
    assert max(map(begun.count, range(12))) == 2, "room for two of four"
    assert cache._room.ledger.total() == sum(octets_on_disk(path.stat()) for path in entries(cache.folder))


def test_what_is_larger_than_the_bound_is_written_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 4 * MIB, 4, Metrics())
    beside: list[int] = []

    def large() -> Iterator[bytes]:
        for number in range(12):
            yield bytes(MIB)
            if number >= 4:
                sizes = [path.stat().st_size for path in entries(cache.folder)]
                beside.append(sum(sizes) - (number + 1) * MIB)

    def make(number: int) -> int:
        source = large if number == 3 else lambda: pieces(number, [])
        with cache.open(key(number), source, owner=str(number)) as entry:
            return sum(map(len, entry.blocks()))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(make, range(8))) == [2 * MIB] * 7 + [12 * MIB]
    assert max(beside) == 0
    assert len(beside) >= 8


def test_many_small_files_count_as_what_they_take(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", MIB, 2, Metrics())
    for number in range(600):
        entry = cache.open(key(number), lambda: iter([b"small"]))
        entry.close()
    at_rest()
    left = entries(cache.folder)
    assert sum(path.stat().st_blocks * 512 for path in left) <= MIB
    assert 0 < len(left) <= MIB // 4096


def test_a_miss_does_not_look_at_every_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache", 1 << 30, 2, Metrics())
    looks: list[int] = []
    inner = Room.files

    def looking(room: Room) -> Any:
        looks.append(1)
        return inner(room)

    monkeypatch.setattr(Room, "files", looking)
    for number in range(50):
        cache.open(key(number), lambda: iter([b"x" * 5000])).close()
    at_rest()
    assert looks == []
    assert cache._room.ledger.total() == sum(octets_on_disk(path.stat()) for path in entries(cache.folder))
    assert Ledger(cache.folder / "total").total() == cache._room.ledger.total(), (
        "every process reads the same"
    )


def test_an_entry_beyond_the_bound_is_made_once_for_all_of_its_ranges(one: Cache) -> None:
    made = []

    def large() -> Iterator[bytes]:
        made.append(1)
        yield from [b"x" * (MIB // 2)] * 6

    for _ in range(5):
        entry = one.open(key(1), large)
        assert entry.wait() == 3 * MIB
        entry.close()
        at_rest()
    assert made == [1]


# -- through the service --------------------------------------------------------------------------------------------


def test_threads_are_shared_fairly() -> None:
    running: dict[str, int] = {"a": 0, "b": 0}
    most, done = dict(running), dict(running)
    guard = threading.Lock()

    def work(name: str) -> None:
        with guard:
            running[name] += 1
            most[name] = max(most[name], running[name])
        time.sleep(0.02)
        with guard:
            running[name] -= 1
            done[name] += 1

    async def run() -> int:
        fair = Fair(8, 3)
        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(fair.run, "a", work, "a")
            await anyio.sleep(0.05)
            await fair.run("b", work, "b")
            before = done["a"]
        assert fair.of == {}, "nothing is kept of who has gone"
        return before

    assert asyncio.run(run()) < 150, "another's 200 were not waited for"
    assert most == {"a": 3, "b": 1}


def test_who_needs_no_thread_takes_a_turn_at_once_where_one_is_free_and_waits_where_none_is() -> None:
    order: list[str] = []

    async def take(fair: Fair, name: str, until: anyio.Event) -> None:
        async with fair.turn(name):
            order.append(name)
            await until.wait()

    async def run() -> None:
        fair, end = Fair(2, 1), anyio.Event()
        async with anyio.create_task_group() as group:
            for name in ("a", "a", "b", "c"):
                group.start_soon(take, fair, name, end)
            await anyio.sleep(0)
            assert order == ["a", "b"], "in the first turn of the loop: one of each, and two in all"
            await anyio.sleep(0)
            end.set()
        assert sorted(order) == ["a", "a", "b", "c"]
        assert fair.of == {}

    asyncio.run(run())


@pytest.mark.database
def test_no_playback_leaves_a_descriptor_open(
    app: Any, service: Running, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise psycopg.OperationalError("the database is away")

    async def run() -> int:
        transport = httpx.ASGITransport(app)
        auth = ("admin", service.password)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", auth=auth) as client:
            place = "/CallRecorder/Transcoder"
            answer = await client.get(place, params={"callId": call["callId"], "format": "wav"})
            place = answer.headers["location"]
            assert (await client.get(place)).status_code == 200
            before = descriptors()
            with monkeypatch.context() as patched:
                patched.setattr(transcoder, "_note_use", fails)
                for _ in range(50):
                    assert (await client.get(place)).status_code == 503
            return descriptors() - before

    assert asyncio.run(run()) <= 2


@pytest.mark.database
@pytest.mark.slow
def test_one_users_many_requests_hold_up_nobody(service: Running, call: dict[str, Any]) -> None:
    # One client for all: making one takes longer than what is asked of it.
    many = service.client(auth=("admin", service.password), limits=httpx.Limits(max_connections=100))

    def ask(number: int) -> int:
        parameters = {"callId": call["callId"], "format": "spx", "start": f"{number / 1000:.3f}"}
        return many.get("/CallRecorder/Transcoder", params=parameters, timeout=120).status_code

    service.rows("INSERT INTO users (tenant_id, login, password_hash) SELECT tenant_id, 'other', password_hash "
                 "FROM users WHERE login = 'admin'")  # fmt: skip
    answered = 0
    try:
        with (
            many,
            service.client(auth=("other", service.password)) as client,
            ThreadPoolExecutor(100) as pool,
        ):
            asked = [pool.submit(ask, number) for number in range(160)]
            while sum(each.done() for each in asked) < 20:
                time.sleep(0.01)
            while not all(each.done() for each in asked):
                parameters = {"callId": call["callId"], "format": "wav", "rate": "16000"}
                answer = client.get("/CallRecorder/Transcoder", params=parameters, follow_redirects=True)
                assert answer.status_code == 200
                answered += 1
            assert {each.result() for each in asked} == {302}
    finally:
        service.rows("DELETE FROM users WHERE login = 'other'")
    assert answered >= 10, "in turns with the other's, not behind them"


def test_a_job_that_fails_says_so_and_one_under_way_ends_with_the_service(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever was raised; nobody waits for a thread that is gone."""
    works = Works(service.database_url)
    begun, done = threading.Event(), threading.Event()

    def fails(error: Exception) -> Any:
        def do(_: object, __: Job) -> None:
            raise error

        return do

    def goes_on(_: object, job: Job) -> None:
        begun.set()
        while job.step():
            time.sleep(0.01)
        done.set()

    def state(what: str) -> Any:
        [row] = service.rows("SELECT state FROM jobs WHERE what = %s", what)
        return row["state"]

    for what, error in (
        ("odd", KeyError("odd")),
        ("disk", OSError("no room")),
        ("ours", OutputError("full")),
    ):
        works.begin("export", fails(error), what=what, actor=Actor("test"))
        deadline = time.monotonic() + 30
        while state(what) != "failed":
            assert time.monotonic() < deadline
            time.sleep(0.02)
    works.begin("export", goes_on, what="long", actor=Actor("test"))
    assert begun.wait(30)
    works.close()
    assert done.is_set()
    assert state("long") == "cancelled"
    assert not works._running
    service.rows("DELETE FROM jobs WHERE actor = 'test'")
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("ERROR", "job export failed") in said
    assert ("WARNING", "job export: no room") in said
