"""A recorder beside the service: what it records from, its end, and its beginning anew."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from callreplay.errors import ArgumentError
from callreplay.recording.beside import beside, words


def test_what_it_records_from() -> None:
    assert words("eth1, eth2,hep:9060") == ["-i", "eth1", "-i", "eth2", "--hep", "9060"]
    with pytest.raises(ArgumentError, match="neither an interface"):
        words("--data-dir")


def test_it_is_begun_anew_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the interpreter notes that it was started, with which database, and ends, then stays."""
    noted = tmp_path / "noted"
    program = tmp_path / "program"
    program.write_text(
        f'#!/bin/sh\necho "$CALLREPLAY_DATABASE_URL $*" >> {noted}\n[ $(wc -l < {noted}) -lt 2 ] || exec sleep 60\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr("callreplay.recording.beside._PAUSES", (0.05,))
    began = time.monotonic()
    with beside("hep:9060", "postgresql://x", tmp_path, speech=True):
        while not noted.exists() or noted.read_text().count("\n") < 2:
            assert time.monotonic() - began < 60
            time.sleep(0.02)
    lines = noted.read_text().splitlines()
    said = f"postgresql://x -m callreplay record --hep 9060 --spool {tmp_path}/spool --speech"
    assert lines[0] == lines[1] == said
