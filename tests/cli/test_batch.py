"""``callreplay batch`` when it ends early, has nothing to do, or has nobody to talk to."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from tests import programs

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
COMMAND = [sys.executable, "-c", "from callreplay.cli import main; main()", "batch"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder ``in`` with a capture and three files that are none."""
    (tmp_path / "in").mkdir()
    shutil.copy(SAMPLES / "support.pcap", tmp_path / "in" / "a.pcap")
    for name in "bcd":
        (tmp_path / "in" / f"{name}.pcap").write_bytes(b"no capture")
    return tmp_path


def _batch(
    folder: Path, *arguments: object, source: str = "in", shell: str = ""
) -> subprocess.CompletedProcess[str]:
    words = [source, "-o", "out", "--workers", "1", *map(str, arguments)]
    if not shell:
        return programs.run(["batch", *words], cwd=folder, capture_output=True, text=True)
    words = ["bash", "-c", f'"$@" {shell}', "bash", *COMMAND, *words]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_too_many_errors_end_a_run_with_its_summary(folder: Path) -> None:
    done = _batch(folder, "--max-errors", "1", "--report", "run.png")
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert told[-1] == "callreplay: 2 errors, more than the 1 allowed"
    assert " 2 errors, 0 inputs were whole already" in told[-2]
    assert (folder / "run.png").read_bytes().startswith(b"\x89PNG")
    assert pyarrow.parquet.read_table(folder / "out" / "manifest.parquet").num_rows >= 2

    done = _batch(folder, "--max-errors", "0", "--json")
    assert (done.returncode, done.stderr) == (1, "callreplay: 1 errors, more than the 0 allowed\n")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["errors"]) == ("summary", 1)
    assert _batch(folder, "--max-errors", "3").returncode == 1  # the errors that were allowed
    done = _batch(folder, "--max-errors", "-1")
    assert done.returncode == 2
    assert "max-errors" in done.stderr


def test_a_report_of_nothing_is_no_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    done = _batch(folder, "--report", "run.png", source="empty")
    assert done.returncode == 0
    assert done.stderr.splitlines()[0].startswith("0 calls")
    assert "callreplay: run.png: not drawn, as there is no row" in done.stderr.splitlines()
    assert not (folder / "run.png").exists()


def test_a_report_that_cannot_be_written_is_found_at_the_start(folder: Path) -> None:
    done = _batch(folder, "--report", "in")
    assert (done.returncode, done.stderr) == (1, "callreplay: cannot write 'in': it is a folder\n")
    assert not (folder / "out").exists()
    shutil.rmtree(folder / "in")
    shutil.copytree(SAMPLES, folder / "in", ignore=lambda _, names: set(names) - {"support.pcap"})
    done = _batch(folder, "--report", "out/reports/run.png")  # its folder is made, as the destination is
    assert done.returncode == 0
    assert (folder / "out" / "reports" / "run.png").exists()


def test_a_manifest_of_jobs_is_not_written_over(folder: Path) -> None:
    (folder / "in" / "manifest.jsonl").write_text('{"path": "a.pcap"}\n')
    done = _batch(folder, "-o", "in", source="in/manifest.jsonl")
    assert done.returncode == 2
    assert done.stderr.startswith("callreplay: in/manifest.jsonl is no result manifest")
    assert (folder / "in" / "manifest.jsonl").read_text() == '{"path": "a.pcap"}\n'


def test_a_closed_standard_error_takes_nothing_from_the_work(folder: Path) -> None:
    done = _batch(folder, shell="2>&-")
    assert (done.returncode, done.stdout) == (1, "")
    assert (folder / "out" / "a.wav").exists()
    assert pyarrow.parquet.read_table(folder / "out" / "manifest.parquet").num_rows == 4
    assert all(json.loads(line) for line in (folder / "out" / "manifest.jsonl").read_text().splitlines())


def test_names_that_are_not_utf8_are_told(folder: Path) -> None:
    shutil.copy(SAMPLES / "support.pcap", folder / "in" / os.fsdecode(b"caf\xe9.pcap"))
    done = _batch(folder, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    outputs = [event.get("output") for event in map(json.loads, done.stdout.splitlines())]
    assert "caf\udce9.wav" in outputs
