"""What a batch is asked to do: names, listings, and manifests that are wrong."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from callreplay.batch import BatchSettings, Job, find_jobs, read_rows, run_batch
from callreplay.errors import ArgumentError
from callreplay.packets import finding

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SAMPLE = SAMPLES / "support.pcap"


def _captures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLE, folder / name)


def _names(found: list[Job]) -> list[str]:
    return [job.name for job in found]


def _errors(found: list[Job], out: Path) -> tuple[int, dict[str, str]]:
    """Transcode: the outputs, and the errors by input."""
    summary = run_batch(found, BatchSettings(str(out), workers=1))
    return summary.outputs, {row.input: row.error for row in read_rows(out / "manifest.jsonl") if row.error}


def _manifest(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_many_equal_names_take_no_longer_than_others(tmp_path: Path) -> None:
    rows = [{"path": f"{number}/audio.pcap"} for number in range(8_000)]
    equal = _manifest(tmp_path / "equal.jsonl", *rows)
    others = _manifest(tmp_path / "others.jsonl", *({**row, "name": row["path"]} for row in rows))
    took = []
    for source in (others, equal) * 3:
        began = time.process_time()
        found = find_jobs([source])
        took.append(time.process_time() - began)
    # Twenty times and more, when each tries all numbers. The least of three: a neighbour must not decide.
    assert min(took[1::2]) < 8 * min(took[::2]), took
    assert _names(found) == ["audio", *(f"audio~{number}" for number in range(2, 8_001))]


def test_names_given_before_are_passed_over(tmp_path: Path) -> None:
    names = ["x", "x~3", "x", "x", "x", "x-2", "x-2", "x~2"]
    source = _manifest(tmp_path / "rows.jsonl", *({"path": "a", "name": name} for name in names))
    assert _names(find_jobs([source])) == ["x", "x~3", "x~2", "x~4", "x~5", "x-2~2", "x-2~3", "x~2~2"]


def test_a_bad_path_costs_its_own_row(tmp_path: Path) -> None:
    _captures(tmp_path, "a.pcap")
    (tmp_path / "loop").symlink_to("loop")
    bad = ["x" * 300, "loop", "a.pcap/inside", "nul\0", "lone\ud800", "/", "..", "n/" + "y" * 300 + "/z"]
    rows = [{"path": path} for path in [*bad, "a.pcap"]]
    # A name is that of an output, and as long as the file system takes it.
    rows += [{"path": "a.pcap", "name": "z" * 300}, {"path": "a.pcap", "name": "w" * 300 + "/z"}]
    found = find_jobs([_manifest(tmp_path / "rows.jsonl", *rows)])
    assert _names(found[3:7]) == ["capture", "capture~2", "capture~3", "capture~4"]
    outputs, errors = _errors(found, tmp_path / "out")
    assert outputs == 1
    assert set(errors) == {str(tmp_path / path) for path in [*bad, "a.pcap"]}


def test_what_vanishes_from_a_folder_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _captures(tmp_path / "in", "a.pcap", "b.pcap", "c/d.pcap", "e/f.pcap")
    entries = finding._entries

    def vanishing(folder: str, wanted: Callable[[str], bool]) -> list[tuple[str, bool]]:
        if folder.endswith("c"):
            shutil.rmtree(folder)
        found = entries(folder, wanted)
        (tmp_path / "in" / "b.pcap").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(finding, "_entries", vanishing)
    assert _names(find_jobs([str(tmp_path / "in")])) == ["a", "e/f"]
    # Of a pattern, as well.
    matches = finding.matches
    monkeypatch.setattr(
        finding, "matches", lambda pattern: [*matches(pattern), str(tmp_path / "in" / "gone.pcap")]
    )
    assert _names(find_jobs([str(tmp_path / "in" / "*.pcap")])) == ["a"]


def test_a_folder_that_cannot_be_searched_costs_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _captures(tmp_path / "in", "a.pcap", "locked/b.pcap", "locked.pcap")
    locked = str(tmp_path / "in" / "locked")
    scandir = os.scandir

    def refusing(path: Any) -> Any:  # root may read everything
        if path == locked:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_jobs([str(tmp_path / "in")])
    monkeypatch.undo()
    assert [job.name for job in found if not job.error] == ["a", "locked"]
    outputs, errors = _errors(found, tmp_path / "out")
    assert outputs == 2
    assert errors == {locked: "the folder cannot be searched: Permission denied"}
    assert len(_errors(found, tmp_path / "out")[1]) == 1  # and again the next time


def test_links_to_captures_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    _captures(tmp_path, "elsewhere/a.pcap", "in/b.pcap")
    folder = tmp_path / "in"
    (folder / "round").symlink_to(folder)
    (folder / "aside").symlink_to(tmp_path / "elsewhere")
    (folder / "c.pcap").symlink_to(tmp_path / "elsewhere" / "a.pcap")
    (folder / "gone.pcap").symlink_to("nowhere")
    (folder / "loop.pcap").symlink_to("loop.pcap")
    os.mkfifo(folder / "pipe.pcap")
    found = find_jobs([str(folder)])
    assert [(job.name, bool(job.error)) for job in found] == [("b", False), ("c", False), ("loop", True)]
    assert _names(find_jobs([str(folder / "aside")])) == ["a"]  # named
    for source in ("pipe.pcap", "loop.pcap", "gone.pcap", "nul\0", "x" * 300, "p*.pcap"):
        with pytest.raises(ArgumentError, match=r"neither a file nor|no such capture"):
            find_jobs([str(folder / source)])


def test_folders_and_manifests_of_a_pattern_are_as_if_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _captures(tmp_path, "in/day0/a.pcap", "in/day1/deep/b.pcap", "in/c.pcap", "in/day1/notes.txt")
    _manifest(tmp_path / "in" / "rows.jsonl", {"path": "c.pcap", "name": "of/row"})
    everything = ["c", "a", "deep/b", "of/row"]
    assert _names(find_jobs([str(tmp_path / "in" / "*")])) == everything
    assert _names(find_jobs([str(tmp_path / "in" / "day*")])) == ["a", "deep/b"]
    assert _names(find_jobs([str(tmp_path / "in" / "**" / "*.pcap")])) == ["c", "a", "b"]
    # Every folder matches, and each capture is found once.
    assert _names(find_jobs([str(tmp_path / "in" / "**")])) == ["c", "day0/a", "day1/deep/b"]
    monkeypatch.chdir(tmp_path / "in")
    assert [(job.captures[0], job.name) for job in find_jobs(["."])] == [
        (f"{name}.pcap", name) for name in ("c", "day0/a", "day1/deep/b")
    ]


def _not_utf8(path: Path) -> None:
    path.write_bytes(b'{"path": "a.pcap"}\n{"path": "caf\xe9.pcap"}\n')


def _deep(path: Path) -> None:
    path.write_text("\n\n" + "[" * 100_000)


def _lines(*rows: object) -> Any:
    return lambda path: _manifest(path, {"path": "a"}, *rows)


WRONG = {
    "not UTF-8.jsonl": (_not_utf8, "row 2: not JSON: 'utf-8' codec can't decode"),
    "deep.jsonl": (_deep, "row 3: not JSON: "),
    "number.jsonl": (_lines({"paths": 5}), "row 2: needs path"),
    "text.jsonl": (_lines({"paths": "ab"}), "row 2: needs path"),
    "outside.jsonl": (_lines({"path": "a", "name": "../x"}), "row 2: output name '../x' is no path below"),
    "absolute.jsonl": (_lines({"path": "a", "name": "//x"}), "row 2: output name '//x'"),
    "nul.jsonl": (_lines({"path": "a", "name": "a\0b"}), "row 2: output name 'a"),
    "lone.jsonl": (_lines({"path": "a", "name": "x\ud800"}), "row 2: output name 'x"),
    "empty.parquet": (Path.touch, "no Parquet that can be read"),
    "corrupt.parquet": (lambda path: path.write_bytes(b"PAR1 or not PAR1"), "no Parquet that can be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_manifest_that_is_wrong_is_named_with_its_row(tmp_path: Path, name: str) -> None:
    write, says = WRONG[name]
    write(tmp_path / name)
    with pytest.raises(ArgumentError) as told:
        find_jobs([str(tmp_path / name)])
    assert str(told.value).startswith(str(tmp_path / name))
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_parquet_rows_are_those_of_lines(tmp_path: Path) -> None:
    rows = [{"paths": ["a.pcap", "b.pcap"], "name": "n"}, {"paths": ["c.pcap"], "name": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=1)
    assert find_jobs([str(tmp_path / "rows.parquet")]) == find_jobs(
        [_manifest(tmp_path / "rows.jsonl", *rows)]
    )
