"""What has spools imported: the order of what waits, and an end that does not wait for it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from callreplay.importing.importer import Job, Outcome
from callreplay.recording.filer import _DEATHS, _FAILED, Filer
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


def test_what_kills_every_worker_is_kept_with_the_reason(tmp_path: Path) -> None:
    """It is tried alone as often as is allowed; then its packets are copied before the spool is given up."""
    closed = tmp_path / "closed"
    closed.mkdir()
    note, spools = closed / "7.json", (closed / "7-a.pcapng", closed / "7-b.pcapng", closed / "gone.pcapng")
    note.write_text(json.dumps({"files": [f"closed/{spool.name}" for spool in spools]}))
    for number, spool in enumerate(spools[:2]):
        spool.write_bytes(bytes([number]) * 100)
    told: list[Outcome] = []
    filer = Filer(Job("postgresql:///nowhere", 1), jobs=2, report=told.append)
    filer.take(Closed(note, spools))
    for _ in range(_DEATHS):
        (one,) = filer._some()
        filer._died(one)
        assert not told
        assert spools[0].exists()
    (one,) = filer._some()
    filer._died(one)
    assert filer.waiting == 0
    (outcome,) = told
    assert outcome.bad
    failed = tmp_path / _FAILED
    assert {path.name: path.read_bytes() for path in failed.iterdir()} == {
        "7-0.pcapng": bytes(100),
        "7-1.pcapng": b"\1" * 100,
        "7.reason.txt": outcome.error.encode() + b"\n",
    }
    assert not list(closed.iterdir())
