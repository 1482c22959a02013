"""The result manifest: what it is written over, and what of it stands."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from tests.captures import pcap, rtp, udp

from callreplay.batch import BatchSettings, Row, find_jobs, read_rows, run_batch
from callreplay.batch.manifest import as_line, as_values, write_parquet
from callreplay.errors import ArgumentError

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SAMPLE = SAMPLES / "support.pcap"


def _parquet(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / "manifest.parquet").to_pylist()
    return rows


def _job_manifests(folder: Path) -> tuple[Path, Path]:
    """The same job as JSON lines and as Parquet."""
    folder.mkdir()
    shutil.copy(SAMPLE, folder / "a.pcap")
    row = {"path": "a.pcap"}
    (folder / "calls.jsonl").write_text(json.dumps(row) + "\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "calls.parquet")
    return folder / "calls.jsonl", folder / "calls.parquet"


@pytest.mark.parametrize("resume", [True, False])
def test_a_manifest_of_jobs_is_never_written_over(tmp_path: Path, resume: bool) -> None:
    lines, parquet = _job_manifests(tmp_path / "mo")
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "mo" / "one.jsonl").symlink_to(lines)
    os.link(parquet, tmp_path / "mo" / "two.parquet")
    before = {path: path.read_bytes() for path in (tmp_path / "mo").iterdir()}
    for source, manifest in (
        (lines, "calls.jsonl"),
        (lines, "one.jsonl"),
        (parquet, "two.jsonl"),
        (tmp_path / "mo" / "a.pcap", "a.pcap"),
    ):
        settings = BatchSettings(str(out), manifest=str(tmp_path / "mo" / manifest), resume=resume)
        with pytest.raises(ArgumentError, match="no result manifest"):
            run_batch(find_jobs([str(source)]), settings)
    assert {path: path.read_bytes() for path in (tmp_path / "mo").iterdir()} == before
    assert not list(out.iterdir())


@pytest.mark.parametrize("name", ["rows.parquet", "rows.PARQUET", "rows.lock", "folder", "/"])
def test_a_manifest_is_not_where_its_parquet_or_lock_would_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    settings = BatchSettings(str(tmp_path / "out"), manifest=str(tmp_path / name))
    with pytest.raises(ArgumentError, match="JSON lines"):
        run_batch(find_jobs([str(SAMPLE)]), settings)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_manifest_cut_in_its_first_row_goes_on(tmp_path: Path) -> None:
    settings = BatchSettings(str(tmp_path), workers=1)
    settings.manifest_path().write_text('{"input":"in/x.pc')
    assert run_batch(find_jobs([str(SAMPLE)]), settings).outputs == 1
    assert run_batch(find_jobs([str(SAMPLE)]), settings).skipped == 1


def test_names_that_are_not_utf8_are_exact_in_lines_and_readable_in_parquet(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / "in").mkdir()
    shutil.copy(SAMPLE, tmp_path / "in" / f"{name}.pcap")
    settings = BatchSettings(str(tmp_path / "out"), workers=1)
    assert run_batch(find_jobs([str(tmp_path / "in")]), settings).outputs == 1
    (row,) = read_rows(settings.manifest_path())
    assert (row.input, row.output) == (str(tmp_path / "in" / f"{name}.pcap"), f"{name}.wav")
    assert (tmp_path / "out" / f"{name}.wav").stat().st_size == row.size
    (told,) = _parquet(tmp_path / "out")
    assert (told["output"], told["sha256"]) == ("caf\\udce9.wav", row.sha256)
    assert run_batch(find_jobs([str(tmp_path / "in")]), settings).skipped == 1


def _calls(path: Path, calls: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        pcap(
            [
                (
                    10**18 + call * 10**11 + index * 20_000_000,
                    udp(
                        "10.0.0.1", 4000, f"10.9.{call}.2", 5000, rtp(index, index * 160, call, 0, bytes(160))
                    ),
                )
                for call in range(1, calls + 1)
                for index in range(50)
            ]
        )
    )


def _standing(folder: Path) -> dict[str, bool]:
    """Of the rows in Parquet, by output or input: whether it is whole."""
    return {row["output"] or row["input"]: not row["error"] for row in _parquet(folder)}


def test_parquet_has_the_error_of_each_job_of_a_capture(tmp_path: Path) -> None:
    rows = [{"paths": ["a.pcap", "gone.pcap"], "name": "x"}, {"path": "a.pcap", "name": "y"}]
    shutil.copy(SAMPLE, tmp_path / "a.pcap")
    source = tmp_path / "rows.jsonl"
    settings = BatchSettings(str(tmp_path / "out"), workers=1)
    for order in (rows, rows[::-1]):
        source.write_text("".join(json.dumps(row) + "\n" for row in order))
        run_batch(find_jobs([str(source)]), settings)
        assert _standing(tmp_path / "out") == {"x.wav": False, "y.wav": True}
    shutil.copy(SAMPLE, tmp_path / "gone.pcap")
    run_batch(find_jobs([str(source)]), settings)
    assert _standing(tmp_path / "out") == {"x.wav": True, "y.wav": True}


def test_parquet_has_what_stands_of_the_present_inputs(tmp_path: Path) -> None:
    capture, out = tmp_path / "in" / "x.pcap", tmp_path / "out"

    def run(**more: Any) -> dict[str, bool]:
        run_batch(find_jobs([str(capture.parent)]), BatchSettings(str(out), workers=1, **more))
        return _standing(out)

    _calls(capture, 3)
    assert run() == {"x.wav": True, "x-2.wav": True, "x-3.wav": True}
    _calls(capture, 1)
    assert run() == {"x.wav": True}
    assert run(format="json") == {"x.wav": True, "x.json": True}
    _calls(capture, 2)
    (out / "x-2.wav").unlink()
    (out / "x-2.wav").mkdir()  # what cannot be written
    assert run() == {"x.wav": True, "x-2.wav": False, "x.json": True}
    capture.write_bytes(b"no longer a capture")
    assert run() == {"x.wav": False, "x.json": True}
    assert (out / "x.wav").exists()  # nothing removes outputs
    _calls(capture, 1)
    assert run() == {"x.wav": True, "x.json": True}


@pytest.mark.parametrize("octets", [0, 8 << 20])
def test_an_error_that_names_no_output_stands_until_its_input_has_one(
    tmp_path: Path, octets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the refusal of an output that is another's, and rows of earlier versions; also of a manifest read twice."""
    monkeypatch.setattr("callreplay.batch.manifest._FEW_OCTETS", octets)
    manifest, parquet = tmp_path / "manifest.jsonl", tmp_path / "manifest.parquet"
    refused = Row("b.pcap", "", 0, "k2", error="a.wav is the output of a.pcap")
    whole = Row("a.pcap", "a.wav", 1, "k1", 1)
    manifest.write_text(as_line(whole) + as_line(refused))
    write_parquet(manifest, parquet)
    assert _standing(tmp_path) == {"a.wav": True, "b.pcap": False}
    manifest.write_text(as_line(whole) + as_line(refused) + as_line(Row("b.pcap", "b.wav", 1, "k3", 1)))
    write_parquet(manifest, parquet)
    assert _standing(tmp_path) == {"a.wav": True, "b.wav": True}


def test_a_row_is_its_values_in_order_and_its_line_has_them_all() -> None:
    row = Row("in.pcap", "out.wav", 1, "key", caller="Ană <1>", mos=4.1, warnings=("odd", "\udcff"))
    assert Row(*as_values(row)) == row
    assert json.loads(as_line(row)) == {**asdict(row), "warnings": ["odd", "\udcff"]}
    assert as_line(row) == json.dumps(asdict(row), separators=(",", ":")) + "\n"
