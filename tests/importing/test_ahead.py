"""What is fetched for several calls together is what each would have fetched alone, at the cost of one walk."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import importing
from callreplay.errors import OutputError
from callreplay.importing import ahead, filing, reading
from callreplay.importing.ahead import ReadAhead
from callreplay.importing.filing import CallRecord, CaptureRows
from callreplay.packets import recording
from callreplay.packets.arena import fetch
from callreplay.packets.recording import LARGEST_HEADER

CALLS = 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    importing.write(tmp_path / "x.pcap", CALLS, 6)
    return tmp_path / "x.pcap"


def same(rows: CaptureRows, call: CallRecord, fetching: recording.Fetch) -> bool:
    for leg in call.legs:
        offsets, sizes = rows.columns.offset[leg.rows], rows.columns.size[leg.rows].astype(np.int64)
        alone = fetch(rows.data, offsets, sizes, LARGEST_HEADER)
        if not np.array_equal(fetching(rows.data, offsets, sizes, LARGEST_HEADER), alone):
            return False
    return True


@pytest.mark.parametrize("budget", [1 << 20, 48 << 20, 1000])  # a few calls at a time, all, none
@pytest.mark.parametrize("step", [1, 5])  # calls that are filed already are passed over
def test_together_as_alone(budget: int, step: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_BUDGET", budget)
    found = reading.read(path)
    together = ReadAhead(found.rows, found.calls)
    for call in [*found.calls[::step], found.calls[0]]:
        assert same(found.rows, call, together.of(call))
    stranger = reading.read(path)
    assert same(stranger.rows, stranger.calls[3], together.of(stranger.calls[3]))


def test_rows_that_it_does_not_hold(path: Path) -> None:
    found = reading.read(path)
    fetching = ReadAhead(found.rows, found.calls).of(found.calls[0])
    offsets, sizes = np.array([40, 60_000, len(found.rows.data) - 9]), np.array([7, 0, 9])
    assert np.array_equal(
        fetching(found.rows.data, offsets, sizes, 3), fetch(found.rows.data, offsets, sizes, 3)
    )
    other = np.arange(255, dtype=np.uint8)
    assert fetching(other, np.array([9, 200]), np.array([2, 1]), 1).tolist() == [8, 9, 10, 199, 200]


def test_a_capture_that_shrinks_between_two_calls(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_BUDGET", 1 << 20)
    found = reading.read(path)
    together = ReadAhead(found.rows, found.calls)
    together.of(found.calls[0])
    os.truncate(path, path.stat().st_size // 2)
    for call in found.calls[-2:]:
        with pytest.raises(OutputError, match="shrank"):
            store(found.rows, call, together)


def store(rows: CaptureRows, call: CallRecord, together: ReadAhead) -> int:
    """As filing does; returns the most pages of files that were resident."""
    sink = Sink()
    for leg in call.legs:
        hashing: Any = filing._Hashing(sink, filing._pages(rows, leg))  # type: ignore[arg-type]
        recording.write_packets(
            hashing, rows.data, rows.spill, rows.columns, leg.rows, rows.ssrcs, leg.flow, together.of(call)
        )
    return sink.most


class Sink:
    def __init__(self) -> None:
        self.most = 0

    def write(self, data: Any) -> int:
        self.most = max(self.most, int(Path("/proc/self/statm").read_text().split()[2]))
        return len(data)


def cost(calls: int, seconds: float) -> tuple[int, int, int, int]:
    """Octets, legs, page faults and most pages of files resident of what an import does with the capture."""
    # The same on every file system: shared memory has small pages, and a fault maps 64 KiB.
    with os.fdopen(os.memfd_create("capture"), "r+b") as file:
        path = Path(f"/proc/self/fd/{file.fileno()}")
        octets = importing.write(path, calls, seconds)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        found = reading.read(path)
        together = ReadAhead(found.rows, found.calls)
        pages = max(store(found.rows, call, together) for call in found.calls)
        keys = {filing.identity(found.rows, call) for call in found.calls}
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    assert len(keys) == calls
    return octets, sum(len(call.legs) for call in found.calls), faults, pages


def costs() -> list[tuple[int, int, int, int]]:
    cost(4, 10)
    return [cost(4, 225), cost(100, 9)]


def test_cost_does_not_grow_with_legs_times_size() -> None:
    """The same octets as few calls and as many: no leg costs a walk over the capture."""
    # In a process of its own: faults count whole processes, and what earlier tests freed decides where arrays lie.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        few, many = fresh.submit(costs).result()
    assert few[0] == many[0]
    assert many[1] - few[1] == 192
    walks = 192 * many[0] // (1 << 16)
    assert many[2] - few[2] < walks / 10, (few, many)
    assert (many[3] - few[3]) * mmap.PAGESIZE < many[0] / 4, (few, many)
