"""What of a call is on the disk: files that grow, files that are damaged, and clocks that are wrong."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from uuid import uuid4

import pytest

from callreplay.live import Spools, follow
from callreplay.outputs.options import Options
from callreplay.store.progress import Going
from tests.captures import pcapng
from tests.importing.test_rotation import call

RATE = 8000


def _going(folder: Path, octets: bytes, clock_ns: int) -> Going:
    recorder = uuid4()
    (folder / "recorder").write_text(f"{recorder}\n")
    (folder / "1.pcapng").write_bytes(octets)
    return Going(recorder, str(folder), "here", ("1.pcapng",), clock_ns, gone=False)


def _heard(going: Going, looks: int = 1) -> bytes:
    """What comes until the call is over, which it is after so many looks."""
    left = iter([going] * looks)
    with Spools(going) as spools:
        return b"".join(follow(spools, "call-1@a", Options(), lambda: next(left, None)))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda octets, at: octets[at:], "no section header"),
        (lambda octets, at: octets[:at] + struct.pack("<II", 6, 8) + octets[at:], "a block of 8 octets"),
    ],
)
def test_a_damaged_spool_is_an_end_with_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: object, reason: str
) -> None:
    records = sorted(call(1, 0, 3))
    whole = pcapng(records)
    half = len(pcapng(records[: len(records) // 2]))
    assert callable(spoil)
    if reason.startswith("no section"):
        half = len(pcapng([]))
    with caplog.at_level(logging.WARNING):
        heard = _heard(_going(tmp_path, spoil(whole, half), records[-1][0]), looks=5)
    assert reason in caplog.text
    if reason.startswith("a block"):  # what was read before is there
        assert RATE < len(heard) < 3 * 2 * 2 * RATE
    else:
        assert heard == b""


def test_what_is_not_written_yet_is_waited_for(tmp_path: Path) -> None:
    records = sorted(call(1, 0, 3))
    whole = pcapng(records)
    at, edges = 0, []
    while at < len(whole):
        edges.append(at)
        at += struct.unpack_from("<I", whole, at + 4)[0]
    going = _going(tmp_path, whole[: edges[-60]] + bytes(100), records[-1][0])
    with Spools(going) as spools:
        spools.read()
        assert spools.faults == []
        before = sum(map(len, spools.octets))
        (tmp_path / "1.pcapng").write_bytes(whole)
        spools.read()
        assert before < sum(map(len, spools.octets)) == len(whole)


def test_a_clock_that_jumps_makes_no_hours_of_silence(tmp_path: Path) -> None:
    records = sorted(call(1, 0, 3))
    going = _going(tmp_path, pcapng(records), records[-1][0] + 50 * 365 * 86_400 * 10**9)
    with Spools(going) as spools:
        audio = follow(spools, "call-1@a", Options(), lambda: going)
        size = 0
        for octets in audio:
            if not octets:
                break
            size += len(octets)
    assert 3 * RATE * 2 < size <= 3700 * RATE * 4
