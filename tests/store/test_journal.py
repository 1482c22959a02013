"""A journal is its holder's: of the name and of the file."""

import fcntl
import os
from pathlib import Path
from uuid import uuid4

import pytest

from callreplay.store import handle
from callreplay.store.handle import Handle
from callreplay.store.journal import FOLDER, Journal, settle


def test_a_journal_is_held_under_its_name_though_it_was_settled_before_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking, another process finds it unlocked, settles it and removes the name."""
    volume, call = uuid4(), uuid4()
    handle.mark(tmp_path, volume)
    lock = fcntl.flock
    settled: list[int] = []
    with Handle(tmp_path, volume, 1) as here:

        def late(file: int, kind: int) -> None:
            if not settled:
                settled.append(0)
                settled[0] = settle(here, lambda _: None)
            lock(file, kind)

        monkeypatch.setattr("callreplay.store.journal.fcntl.flock", late)
        with Journal(here, call) as journal:
            journal.note(("", "2026/call.rtp"))
            assert settled == [1]
            assert "2026/call.rtp" in (tmp_path / FOLDER / f"{call}.json").read_text()
            assert settle(here, lambda _: None) == 0  # it is held
            journal.finish()
        assert list((tmp_path / FOLDER).glob("*.json")) == [tmp_path / FOLDER / "volume.json"]


def test_a_journal_that_cannot_be_opened_again_closes_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that it opened first is closed once: by the second time its number may be another file's."""
    volume, call = uuid4(), uuid4()
    handle.mark(tmp_path, volume)
    lock, place = fcntl.flock, tmp_path / FOLDER / f"{call}.json"
    held: list[int] = []
    closed: list[int] = []
    with Handle(tmp_path, volume, 1) as here:

        def late(file: int, kind: int) -> None:
            # Settled in between, and what stands there now cannot be opened.
            closed.clear()
            place.unlink()
            place.symlink_to("nowhere")
            held.append(file)
            lock(file, kind)

        monkeypatch.setattr("callreplay.store.journal.fcntl.flock", late)
        close = os.close

        def counted(file: int) -> None:
            closed.append(file)
            close(file)

        monkeypatch.setattr("callreplay.store.journal.os.close", counted)
        with pytest.raises(OSError, match=str(call)):
            Journal(here, call).__enter__()
        assert len(held) == 1
        assert closed.count(held[0]) == 1
        assert len(closed) == 2  # and the folder
