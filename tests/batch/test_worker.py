"""A worker's own account of what it has open."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from bench._captures import leg, write_pcap

import callreplay
from callreplay import _core
from callreplay.batch import find_jobs
from callreplay.batch.destinations import Apart, Folder, Output
from callreplay.batch.worker import Order, _Listed, _Work, run_share
from callreplay.errors import OutputError
from callreplay.outputs.options import Options


class _Full(io.BytesIO):
    def write(self, data: object, /) -> int:
        raise OSError(28, "No space left on device")


class _Some(Apart):
    """Takes some outputs, and has no room for others."""

    def create(self, name: str) -> AbstractContextManager[Output]:
        return nullcontext(_Full() if "full" in name else io.BytesIO())


@pytest.mark.parametrize("form", ["wav", "spx"])
def test_what_is_open_is_counted_until_it_ends_well_or_not(tmp_path: Path, form: str) -> None:
    for name, codec in (("a", "PCMU"), ("b-full", "PCMU"), ("c", "G729"), ("d-full", "G729")):
        write_pcap(tmp_path / f"{name}.pcap", leg(2, 0, codec), leg(2, 1, codec, seed=2))
    work = _Work(_Listed(find_jobs([str(tmp_path)])), Order(form, Options()), _Some())
    most = [0, 0]
    rows = []
    for _, row, _ in work.rows():
        rows.append(row)
        most = [max(most[0], work.near), max(most[1], work.laned)]
        open_now = list(work.open.values())
        assert (work.near, work.laned) == (
            sum(each.octets for each in open_now),
            sum(each.laned for each in open_now),
        )
    assert sorted(bool(row.error) for row in rows) == [False, False, True, True]
    assert (work.near, work.laned, work.open) == (0, 0, {})


@pytest.mark.skipif(_core.isa_active() == "scalar", reason="no lanes")
def test_a_long_call_of_g729_fills_the_lanes_by_itself(tmp_path: Path) -> None:
    write_pcap(tmp_path / "a.pcap", leg(60, 0, "G729"), leg(60, 1, "G729", seed=2))
    work = _Work(_Listed(find_jobs([str(tmp_path)])), Order("wav", Options()), Folder(tmp_path / "out"))
    ((_, row, _),) = work.rows()
    occupancy = work.group.occupancy
    assert occupancy["lane_used"] > 0.6 * occupancy["lane_slots"] > 0
    assert occupancy["scalar_rounds"] < occupancy["rounds"]
    callreplay.open(tmp_path / "a.pcap").calls[0].save(tmp_path / "alone.wav")
    assert (tmp_path / "out" / row.output).read_bytes() == (tmp_path / "alone.wav").read_bytes()


def test_nothing_stands_under_the_name_of_a_call_that_could_not_be_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pcap(tmp_path / "a.pcap", leg(2, 0), leg(2, 1, seed=2))

    def refuse(*_: object) -> int:
        raise OutputError("no memory for the mixer")

    monkeypatch.setattr(_Work, "_render", refuse)
    (row,) = run_share(
        find_jobs([str(tmp_path / "a.pcap")]), Order("wav", Options()), Folder(tmp_path / "out")
    )
    assert "no memory for the mixer" in row.error
    assert not list((tmp_path / "out").rglob("*.*"))
