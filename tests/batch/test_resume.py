"""What a run leaves alone of what others made."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from callreplay.batch import BatchSettings, Job, Row, Summary, destinations, find_jobs, read_rows, run_batch
from callreplay.batch.manifest import as_line
from callreplay.batch.resume import survey

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
FIRST, SECOND = SAMPLES / "support.pcap", SAMPLES / "reservation.pcap"


def _place(source: Path, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)


def _run(source: Path | list[Job], out: Path, **more: object) -> tuple[Summary, dict[str, str]]:
    """The summary, and the digest of every output."""
    jobs = source if isinstance(source, list) else find_jobs([str(source)])
    summary = run_batch(jobs, BatchSettings(str(out), workers=1, **more))  # type: ignore[arg-type]
    outputs = (path for path in out.rglob("*") if path.suffix in (".wav", ".json"))
    return summary, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in outputs}


def _last_error(out: Path) -> str:
    return list(read_rows(out / "manifest.jsonl"))[-1].error


def test_the_output_of_another_capture_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _place(FIRST, tmp_path / "day1" / "call.pcap")
    _place(SECOND, tmp_path / "day2" / "call.pcap", tmp_path / "day2" / "other.pcap")
    _, before = _run(tmp_path / "day1", out)
    for _ in range(2):  # the refusal does not make it right
        summary, after = _run(tmp_path / "day2", out)
        assert (summary.inputs, summary.errors, after["call.wav"]) == (2, 1, before["call.wav"])
        (row,) = [row for row in read_rows(out / "manifest.jsonl") if row.error][-1:]
        assert (
            row.error
            == f"call.wav is the output of {tmp_path}/day1/call.pcap: give another destination or name"
        )
        assert (row.input, row.output, row.call) == (f"{tmp_path}/day2/call.pcap", "", 0)
    # Though the first capture is gone by now.
    (tmp_path / "day1" / "call.pcap").unlink()
    assert _run(tmp_path / "day2", out)[0].errors == 1
    assert _run(tmp_path / "day2", out, format="json")[0].errors == 0  # call.json is nobody's
    # An output that is gone is nobody's.
    (out / "call.wav").unlink()
    summary, after = _run(tmp_path / "day2", out)
    assert (summary.outputs, summary.errors, summary.skipped) == (1, 0, 1)
    assert after["call.wav"] == after["other.wav"]
    (out / "call.wav").write_bytes(b"no longer what it was")
    assert _run(tmp_path / "day2", out)[0].errors == 0


def test_a_run_that_begins_afresh_writes_over_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _place(FIRST, tmp_path / "day1" / "call.pcap")
    _place(SECOND, tmp_path / "day2" / "call.pcap")
    _, before = _run(tmp_path / "day1", out)
    summary, after = _run(tmp_path / "day2", out, resume=False)
    assert (summary.errors, after["call.wav"] == before["call.wav"]) == (0, False)


def test_the_same_capture_may_be_written_over_whatever_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    _place(FIRST, tmp_path / "in" / "call.pcap")
    monkeypatch.chdir(tmp_path)
    _run(Path("in"), out)
    assert _run(tmp_path / "in", out)[0].errors == 0  # spelled otherwise
    (tmp_path / "link").symlink_to("in")
    assert _run(tmp_path / "link", out, format="wav")[0].errors == 0
    (tmp_path / "in").rename("moved")
    assert _run(tmp_path / "moved", out)[0].errors == 0
    os.utime(tmp_path / "moved" / "call.pcap", (1, 1))
    assert _run(tmp_path / "moved", out)[0].outputs == 1  # changed


def test_later_calls_and_names_that_look_like_theirs_are_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _place(FIRST, tmp_path / "day1" / "x-2.pcap")
    _place(SECOND, tmp_path / "day2" / "x.pcap")
    _run(tmp_path / "day1", out)
    _run(tmp_path / "day2", out)
    assert _last_error(out).startswith("x-2.wav is the output of")  # it may hold two calls


def test_captures_keep_the_numbers_they_had(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    _place(FIRST, folder / "a.pcap")
    _place(SECOND, folder / "a.rtp")
    _, before = _run(folder, out)
    assert set(before) == {"a.wav", "a~2.wav"}
    for number, name in enumerate(("a.cap", "a.dump"), 1):  # each takes the number of the next
        _place(SECOND, folder / name)
        summary, after = _run(folder, out)
        assert (summary.outputs, summary.skipped, summary.errors) == (1, number + 1, 0)
        assert after == {**before, f"a~{number + 2}.wav": before["a~2.wav"]}
        before = after
        assert _run(folder, out)[0].skipped == number + 2
    made = {row.output: Path(row.input).name for row in read_rows(out / "manifest.jsonl")}
    assert made == {"a.wav": "a.pcap", "a~2.wav": "a.rtp", "a~3.wav": "a.cap", "a~4.wav": "a.dump"}


def test_names_that_were_given_may_change_captures(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _, before = _run([Job((str(FIRST),), "x"), Job((str(SECOND),), "y")], out)
    summary, after = _run([Job((str(FIRST),), "y"), Job((str(SECOND),), "x")], out)
    assert (summary.outputs, summary.errors) == (2, 0)
    assert after == {"x.wav": before["y.wav"], "y.wav": before["x.wav"]}


def test_the_row_of_a_refusal_is_told_and_counted(tmp_path: Path) -> None:
    rows: list[Row] = []
    job = Job((str(FIRST),), "x", error="it may not be read")
    settings = BatchSettings(str(tmp_path), workers=1)
    summary = run_batch([job], settings, on_row=rows.append)
    assert (summary.inputs, summary.errors, summary.skipped) == (1, 1, 0)
    assert [row.error for row in rows] == ["it may not be read"]


def test_an_object_store_is_listed_and_not_asked_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore = pytest.importorskip("obstore")
    place = destinations.ObjectStore("memory:///")
    names = [f"2026/{number}.wav" for number in range(2500)]
    for number, name in enumerate(names[:-1]):
        obstore.put(place._store, name, b"x" * (number % 7))
    asked: list[str] = []

    def one(name: str) -> int:
        asked.append(name)
        return -1

    monkeypatch.setattr(place, "size", one)
    size = place.sizes(names)
    assert [size(name) for name in names] == [number % 7 for number in range(2499)] + [-1]
    assert asked == []
    assert place.sizes(names[:3])(names[0]) == -1
    assert asked == names[:1], "a few are asked for"


@pytest.mark.parametrize("twice", [False, True])
def test_without_a_manifest_every_job_is_left_once(tmp_path: Path, twice: bool) -> None:
    """Jobs that are one and the same count once, as with a manifest of others' rows."""
    jobs = [Job(("a.pcap",), "a"), Job(("b.pcap",), "b", error="gone"), *[Job(("a.pcap",), "a")] * twice]
    order, manifest = BatchSettings(str(tmp_path)).order(), tmp_path / "manifest.jsonl"
    place = destinations.open_destination(tmp_path)
    left = [survey(jobs, order, manifest, place)]
    manifest.write_bytes(b"")
    left.append(survey(jobs, order, manifest, place))
    manifest.write_text(as_line(Row("c.pcap", "c.wav", 1, "key", 1)))
    left.append(survey(jobs, order, manifest, place))
    assert [[job.name for job in each] for each in left] == [["b", "a"]] * 3
