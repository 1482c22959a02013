"""What has spools imported: the order of what waits, and an end that does not wait for it."""

from __future__ import annotations

import threading
from pathlib import Path

from callreplay.importing.importer import Job
from callreplay.recording.filer import Filer
from callreplay.splitting.spooling import Closed


def _filer(tmp_path: Path, count: int) -> Filer:
    filer = Filer(Job("postgresql:///nowhere", 1), jobs=1)
    for number in range(count):
        filer.take(Closed(tmp_path / f"{number}.json", ()))
    return filer


def test_told_to_leave_it_begins_nothing_more(tmp_path: Path) -> None:
    """However many wait: the next start has them."""
    leave = threading.Event()
    leave.set()
    filer = _filer(tmp_path, 500)
    assert filer.finish(leave) == filer.waiting == 500
    assert filer._pool is None


def test_what_waits_is_taken_in_order_and_what_killed_a_worker_alone(tmp_path: Path) -> None:
    filer = _filer(tmp_path, 300)
    for number in (2, 40, 299):
        filer._deaths[tmp_path / f"{number}.json"] = 1
    every = [one.note for one in filer._queue]
    taken = []
    while filer._queue:
        some = [one.note for one in filer._some()]
        assert len(some) == 1 or not filer._deaths.keys() & set(some)
        taken.append(some)
    assert sorted(note for some in taken for note in some) == sorted(every)
    healthy = [note for some in taken for note in some if note not in filer._deaths]
    assert healthy == [note for note in every if note not in filer._deaths]
