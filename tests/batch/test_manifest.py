"""The result manifest: what it is written over, and what of it stands."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from callreplay.batch import BatchSettings, find_jobs, read_rows, run_batch
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
