"""Threads that let outputs appear: in order, with what went wrong, and none of them left behind."""

import threading
from pathlib import Path

import pytest

from callreplay.batch import closing, destinations
from callreplay.batch.closing import Closer
from callreplay.batch.destinations import open_destination
from callreplay.outputs.atomic import AtomicFile, Folders


def _threads() -> int:
    return sum(thread.name == "callreplay-closing" for thread in threading.enumerate())


def test_what_is_done_comes_back_in_order_with_what_was_raised() -> None:
    before = _threads()
    closer: Closer[int] = Closer()
    appeared: list[int] = []
    first = threading.Event()

    def appear(number: int) -> None:
        if number == 0:
            assert first.wait(30)
        if number % 7 == 3:
            raise OSError(28, f"no room for {number}")
        appeared.append(number)

    for number in range(10):
        closer.put(number, lambda number=number: appear(number))  # type: ignore[misc]
    assert list(closer.take()) == []  # the first is still waited for, and there are few
    first.set()
    done = list(closer.take(every=True))
    assert [number for number, _, _ in done] == list(range(10))
    assert [number for number, _, error in done if error is not None] == [3]
    assert all(seconds >= 0 for _, seconds, _ in done)
    assert sorted(appeared) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    closer.close()
    closer.close()
    assert _threads() == before


def test_few_wait_at_a_time() -> None:
    closer: Closer[int] = Closer()
    hold, seen = threading.Event(), []
    threading.Timer(0.05, hold.set).start()
    for number in range(3 * closing._WAITING):
        closer.put(number, lambda: assert_set(hold))
        seen += [found for found, _, _ in closer.take()]
        assert number + 1 - len(seen) <= closing._WAITING
    seen += [found for found, _, _ in closer.take(every=True)]
    assert seen == list(range(3 * closing._WAITING))
    closer.close()


def assert_set(event: threading.Event) -> None:
    assert event.wait(30)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_no_more_threads_than_outputs(count: int) -> None:
    before = _threads()
    closer: Closer[int] = Closer()
    hold = threading.Event()
    for number in range(count):
        closer.put(number, lambda: assert_set(hold))
    assert _threads() - before == min(count, closing._THREADS)
    hold.set()
    closer.close()
    assert [number for number, _, _ in closer.take(every=True)] == list(range(count))


def test_a_folder_that_another_thread_makes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def create(path: str, folders: Folders) -> AtomicFile:
        tries.append(path)
        try:
            return AtomicFile(path, folders)
        finally:
            Path(path).parent.mkdir(exist_ok=True)

    monkeypatch.setattr(destinations, "AtomicFile", create)
    with open_destination(str(tmp_path / "out")).create("x.wav") as out:
        out.write(b"whole")
    assert len(tries) == 2
    assert (tmp_path / "out" / "x.wav").read_bytes() == b"whole"
