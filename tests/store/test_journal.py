"""A journal is its holder's: of the name and of the file."""

import fcntl
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
