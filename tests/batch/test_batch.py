"""Batches: names, manifests, resuming, bad files, killed runs, and the same bytes whoever runs them."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.captures import pcap, rtp, udp

import callreplay
from callreplay.batch import (
    BatchError,
    BatchSettings,
    Job,
    Row,
    find_jobs,
    read_rows,
    run_batch,
    transcode_many,
    transcode_many_async,
)
from callreplay.batch.report import report_png
from callreplay.errors import ArgumentError
from callreplay.formats import Options

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
COMMAND = [sys.executable, "-c", "from callreplay.cli import main; main()", "batch"]


def _capture(path: Path, seed: int, packets: int = 100, calls: int = 1) -> Path:
    records = []
    for call in range(calls):
        for index in range(packets):
            payload = bytes((seed * 7 + call * 13 + index * 31 + k) & 0xFF for k in range(160))
            frame = udp(
                "10.0.0.1",
                4000 + 2 * call,
                f"10.9.{call}.2",
                5000,
                rtp(index, index * 160, seed + call + 1, 0, payload),
            )
            records.append((1_700_000_000_000_000_000 + call * 10**11 + index * 20_000_000, frame))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcap(records))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve captures in two folders; the last holds three calls."""
    for number in range(12):
        _capture(
            tmp_path / "in" / f"day{number % 2}" / f"c{number:02}.pcap",
            number,
            calls=3 if number == 11 else 1,
        )
    return tmp_path


def _settings(folder: Path, **more: object) -> BatchSettings:
    return BatchSettings(str(folder / "out"), workers=2, **more)  # type: ignore[arg-type]


def _files(folder: Path) -> dict[str, str]:
    out = folder / "out"
    return {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.rglob("*"))
        if p.is_file() and not p.name.startswith("manifest")
    }


def test_every_call_becomes_the_file_it_would_be_alone(folder: Path) -> None:
    jobs = find_jobs([str(folder / "in")])
    summary = run_batch(jobs, _settings(folder))
    assert (summary.inputs, summary.outputs, summary.errors) == (12, 14, 0)
    assert sorted(_files(folder)) == sorted(
        [f"day{n % 2}/c{n:02}.wav" for n in range(12)] + ["day1/c11-2.wav", "day1/c11-3.wav"]
    )
    for row in read_rows(folder / "out" / "manifest.jsonl"):
        octets = (folder / "out" / row.output).read_bytes()
        assert (row.size, row.sha256) == (len(octets), hashlib.sha256(octets).hexdigest())
        with callreplay.open(row.input) as capture:
            assert octets == b"".join(capture.calls[row.call - 1].stream("wav"))
        assert (row.codec, row.packets, row.lost) == ("PCMU", 100, 0)
        assert row.duration_s == pytest.approx(2.0)
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / "out" / "manifest.parquet")
    assert table.num_rows == 14


def test_a_second_run_redoes_nothing_and_a_changed_input_only_itself(folder: Path) -> None:
    run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.wav")}
    assert run_batch(find_jobs([str(folder / "in")]), _settings(folder)).skipped == 12
    _capture(folder / "in" / "day0" / "c00.pcap", 99, packets=120)
    (folder / "out" / "day1" / "c01.wav").unlink()
    again = run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    assert (again.skipped, again.outputs) == (10, 2)
    changed = {p.name for p in (folder / "out").rglob("*.wav") if before.get(p) != p.stat().st_mtime_ns}
    assert changed == {"c00.wav", "c01.wav"}
    other = run_batch(find_jobs([str(folder / "in")]), _settings(folder, options=Options(channels="stereo")))
    assert other.skipped == 0


def test_a_bad_file_costs_its_own_row(folder: Path) -> None:
    (folder / "in" / "bad.pcap").write_bytes(b"\xd4\xc3\xb2\xa1 and then nothing of use")
    (folder / "in" / "empty.pcap").write_bytes(b"")
    summary = run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    assert (summary.outputs, summary.errors) == (14, 2)
    errors = {
        Path(row.input).name: row.error for row in read_rows(folder / "out" / "manifest.jsonl") if row.error
    }
    assert set(errors) == {"bad.pcap", "empty.pcap"}
    assert all(errors.values())
    with pytest.raises(BatchError, match="2 errors"):
        run_batch(find_jobs([str(folder / "in")]), _settings(folder, resume=False, max_errors=1))


def test_a_killed_run_goes_on_and_ends_the_same(folder: Path) -> None:
    for number in range(12, 60):
        _capture(folder / "in" / "more" / f"c{number}.pcap", number, packets=400)
    arguments = [str(folder / "in"), "-o", str(folder / "out"), "--workers", "2"]
    process = subprocess.Popen([*COMMAND, *arguments], start_new_session=True, stderr=subprocess.DEVNULL)
    manifest = folder / "out" / "manifest.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not manifest.exists() or manifest.stat().st_size < 2000):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    halves = [row for row in read_rows(manifest) if not row.error]
    for row in halves:
        assert (folder / "out" / row.output).stat().st_size == row.size
    done = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["skipped"] > 0
    assert (
        summary["skipped"]
        + len({r["input"] for r in map(json.loads, done.stdout.splitlines()) if r["event"] == "row"})
        == 60
    )
    finished = {name: digest for name, digest in _files(folder).items() if not name.endswith(".part")}
    (folder / "fresh").mkdir()
    run_batch(find_jobs([str(folder / "in")]), BatchSettings(str(folder / "fresh" / "out"), workers=2))
    assert {n: d for n, d in finished.items() if "/." not in n and not n.startswith(".")} == _files(
        folder / "fresh"
    )


def test_an_interrupt_finishes_what_is_in_flight(folder: Path) -> None:
    for number in range(12, 80):
        _capture(folder / "in" / "more" / f"c{number}.pcap", number, packets=300)
    arguments = [str(folder / "in"), "-o", str(folder / "out"), "--workers", "1"]
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    manifest = folder / "out" / "manifest.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not manifest.exists() or manifest.stat().st_size == 0):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 1)
    if process.returncode == 1:
        assert "goes on where it stopped" in errors
    assert not list((folder / "out").rglob("*.part"))
    assert run_batch(find_jobs([str(folder / "in")]), _settings(folder)).errors == 0


def test_manifests_name_captures_codecs_and_outputs(folder: Path) -> None:
    rows = [
        {"path": "in/day0/c00.pcap", "name": "first/call"},
        {"paths": ["in/day0/c02.pcap", "in/day1/c03.pcap"], "name": "both", "codecs": {"97": "opus/48000"}},
        {"path": "in/absent.pcap"},
    ]
    manifest = folder / "jobs.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    jobs = find_jobs([str(manifest)])
    assert [job.name for job in jobs] == ["first/call", "both", "absent"]
    assert jobs[1].codecs == {97: "opus/48000"}
    summary = run_batch(jobs, _settings(folder, format="png"))
    assert (summary.outputs, summary.errors) == (2, 1)
    assert (folder / "out" / "first" / "call.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (
        '{"name": "x"}',
        '{"path": "a", "name": "../x"}',
        "[1]",
        "{",
        '{"path": "a", "codecs": {"x": "y"}}',
    ):
        manifest.write_text(wrong)
        with pytest.raises(ArgumentError):
            find_jobs([str(manifest)])


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _capture(tmp_path / name / "x.pcap", 1)
    jobs = find_jobs([str(tmp_path / "a" / "x.pcap"), str(tmp_path / "b" / "x.pcap")])
    assert [job.name for job in jobs] == ["x", "x~2"]
    with pytest.raises(ArgumentError, match="no such"):
        find_jobs([str(tmp_path / "absent*.pcap")])


def test_two_runs_do_not_share_a_destination(folder: Path) -> None:
    from callreplay.batch.manifest import ManifestWriter
    from callreplay.errors import OutputError

    (folder / "out").mkdir()
    with (
        ManifestWriter(folder / "out" / "manifest.jsonl", fresh=True),
        pytest.raises(OutputError, match="another batch"),
    ):
        run_batch(find_jobs([str(folder / "in")]), _settings(folder))


def test_object_stores_get_the_same_bytes(folder: Path) -> None:
    pytest.importorskip("obstore")
    from callreplay.batch.destinations import ObjectStore
    from callreplay.batch.share import Order, run_share

    (folder / "bucket").mkdir()
    store = ObjectStore.__new__(ObjectStore)
    import obstore

    store._obstore = obstore
    store._store = obstore.store.LocalStore(str(folder / "bucket"))
    rows = list(run_share(find_jobs([str(folder / "in")]), Order("wav", Options()), store))
    run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    for row in rows:
        assert (folder / "bucket" / row.output).read_bytes() == (folder / "out" / row.output).read_bytes()
        assert store.size(row.output) == row.size
    assert store.size("absent") == -1


def test_embedding_sync_and_async(folder: Path) -> None:
    paths = sorted((folder / "in").rglob("*.pcap"))
    results = {
        result.row.input: result
        for result in transcode_many(paths, channels="stereo")
        if result.row.call == 1
    }
    assert set(results) == {str(path) for path in paths}
    for path in paths:
        with callreplay.open(path) as capture:
            assert results[str(path)].data == b"".join(capture.calls[0].stream("wav", channels="stereo"))

    assert callreplay.transcode_many is transcode_many
    assert callreplay.transcode_many_async is transcode_many_async

    async def collect() -> int:
        return sum([1 async for result in transcode_many_async(paths, "png") if not result.error])

    assert asyncio.run(collect()) == 14
    with pytest.raises(ArgumentError):
        transcode_many(paths, "xyz")
    (bad,) = transcode_many([folder / "absent.pcap"])
    assert "absent.pcap" in bad.error


def test_report_is_drawn() -> None:
    rows = [
        Row(
            f"{n}",
            f"{n}.wav",
            1,
            "k",
            1,
            duration_s=60 + n,
            mos=4.4 - n / 50,
            finished=1e9 + n,
            error="x" if n % 9 == 8 else "",
        )
        for n in range(60)
    ]
    assert report_png(rows).startswith(b"\x89PNG")
    with pytest.raises(ArgumentError):
        report_png([])


@pytest.mark.slow
def test_ray_gives_what_the_local_engine_gives(folder: Path) -> None:
    pytest.importorskip("ray")
    script = (
        "import sys; from callreplay.batch import BatchSettings, find_jobs; "
        "from callreplay.batch.ray_engine import run_batch_on_ray; "
        "s = run_batch_on_ray(find_jobs([sys.argv[1]]), BatchSettings(sys.argv[2], workers=2)); "
        "print(s.outputs, s.errors)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "in"), str(folder / "ray" / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAY_DEDUP_LOGS": "0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-2:] == ["14", "0"]
    run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    assert _files(folder / "ray") == _files(folder)
    keys = [
        {(row.output, row.sha256, row.key) for row in read_rows(place / "out" / "manifest.jsonl")}
        for place in (folder, folder / "ray")
    ]
    assert keys[0] == keys[1]


def test_jobs_are_plain_values() -> None:
    job = Job(("a.pcap",), "a")
    assert (job.output(1, ".wav"), job.output(2, ".wav")) == ("a.wav", "a-2.wav")
