"""Batches: names, manifests, resuming, bad files, killed runs, and the same bytes whoever runs them."""

import asyncio
import functools
import hashlib
import json
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from bench._captures import leg, write_pcap
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from tests import programs
from tests.captures import pcap, rtp, udp

import callreplay
from callreplay.batch import (
    BatchError,
    BatchSettings,
    Job,
    Row,
    Shards,
    find_jobs,
    read_rows,
    run_batch,
    transcode_many,
    transcode_many_async,
    worker,
)
from callreplay.batch.crew import Event, _PipeFeed, _Says
from callreplay.batch.destinations import Memory, open_destination
from callreplay.batch.engine import cut_shares
from callreplay.batch.manifest import as_line, journal_path
from callreplay.batch.ray_engine import run_batch_on_ray
from callreplay.batch.report import report_png
from callreplay.batch.worker import Order, run_feed, run_share
from callreplay.errors import ArgumentError, OutputError, UnsupportedError
from callreplay.outputs.options import Options

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@functools.cache
def _octets(seed: int, packets: int, calls: int) -> bytes:
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
    return pcap(records)


def _capture(path: Path, seed: int, packets: int = 100, calls: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_octets(seed, packets, calls))
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


def _settings(folder: Path, workers: int = 2, **more: object) -> BatchSettings:
    return BatchSettings(str(folder / "out"), workers=workers, **more)  # type: ignore[arg-type]


def _files(folder: Path) -> dict[str, str]:
    out = folder / "out"
    return {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.rglob("*"))
        if p.is_file() and not p.name.startswith("manifest")
    }


def test_a_batch_masters_each_call_as_it_would_be_alone(tmp_path: Path) -> None:
    octets = np.resize(np.array([0x80, 0x00, 0x8F, 0xFF], np.uint8), 2 * 8000)
    for number in range(2):
        write_pcap(tmp_path / f"c{number}.pcap", *(leg(2 - number, side, payload=octets) for side in (0, 1)))
    said: dict[str, Any] = {"channels": "mono", "limiter": True, "loudness": -12.0, "loudness_by": "leg"}
    for chosen in ({"channels": "mono"}, said):
        settings = _settings(tmp_path, 1, options=Options(**chosen), resume=False)
        summary = run_batch(find_jobs([str(tmp_path / "c0.pcap"), str(tmp_path / "c1.pcap")]), settings)
        assert (summary.outputs, summary.errors) == (2, 0)
        for number in range(2):
            with callreplay.open(tmp_path / f"c{number}.pcap") as capture:
                call = capture.calls[0]
                alone = b"".join(call.stream("wav", **chosen))
                heard = call.mix(**chosen).astype(int)
            assert (tmp_path / "out" / f"c{number}.wav").read_bytes() == alone
            assert (np.abs(heard).max() > 32766) == ("limiter" not in chosen)


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
        assert (row.codec, row.packets, row.lost, row.loss) == ("PCMU", 100, 0, 0.0)
        assert row.duration_s == pytest.approx(2.0)
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / "out" / "manifest.parquet")
    assert table.num_rows == 14


class _Failing(Memory):
    """Memory that takes no more than so many octets of the outputs with this name."""

    def __init__(self, name: str, room: int) -> None:
        super().__init__()
        self._name, self._room = name, room

    @contextmanager
    def create(self, name: str) -> Iterator[Any]:
        with super().create(name) as file:
            if name == self._name:
                room = self._room

                class Full:
                    def write(self, data: bytes) -> None:
                        nonlocal room
                        room -= len(data)
                        if room < 0:
                            raise OSError(28, "No space left on device")
                        file.write(data)

                yield Full()
            else:
                yield file


@pytest.mark.parametrize(("seconds", "ended"), [(50.0, 8), (1e9, 8), (1e9, 1), (10.0, 100)])
def test_speex_files_made_together_are_those_made_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, ended: int
) -> None:
    """Short calls, calls that are cut into segments, and one whose output cannot be written."""
    monkeypatch.setattr(worker, "_POOL_SECONDS", seconds)
    monkeypatch.setattr(worker, "_POOL_ENDED", ended)
    lengths = [3, 17, 50 * 62, 50 * 95, 51, 200, 50 * 85, 999, 7, 400]
    jobs = [
        Job((str(_capture(tmp_path / f"{n}.pcap", n, packets=packets)),), f"{n}", size=packets)
        for n, packets in enumerate(lengths)
    ]
    place = _Failing("3.spx", 4000)
    rows = {row.output: row for row in run_share(jobs, Order("spx", Options()), place)}
    assert len(rows) == len(jobs)
    assert "No space left" in rows.pop("3.spx").error
    assert set(place.files) == set(rows)
    for name, row in rows.items():
        assert not row.error
        with callreplay.open(row.input) as capture:
            alone = b"".join(capture.calls[0].stream("spx"))
        assert place.files[name] == alone
        assert (row.size, row.sha256) == (len(alone), hashlib.sha256(alone).hexdigest())


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


COPIES = 5
CALLS = 14 + COPIES * (40 + 2 * 4)
"""Of the folder and of what ``_more`` adds."""


def _more(folder: Path, packets: int) -> list[str]:
    """Captures enough for shares of several; the words that transcode them, two workers."""
    for number in range(12, 52):
        calls = 3 if number % 10 == 0 else 1
        first = _capture(folder / "in" / "more0" / f"c{number}.pcap", number, packets, calls=calls)
        for copy in range(1, COPIES):
            (folder / "in" / f"more{copy}").mkdir(exist_ok=True)
            os.link(first, folder / "in" / f"more{copy}" / first.name)
    return ["batch", str(folder / "in"), "-o", str(folder / "out"), "--workers", "2"]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _litter(folder: Path) -> list[Path]:
    return [p for p in (folder / "out").rglob("*") if p.name.startswith(".") or p.suffix == ".part"]


def _fresh(folder: Path) -> dict[str, str]:
    """What one thread makes of everything, without a crew."""
    memory = Memory()
    assert not [
        r for r in run_share(find_jobs([str(folder / "in")]), Order("wav", Options()), memory) if r.error
    ]
    return {name: hashlib.sha256(data).hexdigest() for name, data in memory.files.items()}


@pytest.mark.parametrize(("kill", "rows"), [("main", 20), ("group", 93)])
def test_a_killed_run_redoes_nothing_that_is_whole(folder: Path, kill: str, rows: int) -> None:
    arguments = _more(folder, 400)
    process = programs.Program(arguments, start_new_session=True, stderr=subprocess.DEVNULL)
    manifest = folder / "out" / "manifest.jsonl"
    _until(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") >= rows)
    (os.killpg if kill == "group" else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    _until(lambda: not _group_lives(process.pid))  # workers do not outlive the run
    whole = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (folder / "out").rglob("*.wav")}
    assert rows <= len(whole) < CALLS
    assert {str(p.relative_to(folder / "out")) for p in whole} >= {row.output for row in read_rows(manifest)}
    done = programs.run([*arguments, "--json"], capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    redone = [event["output"] for event in events if event["event"] == "row"]
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in whole} == whole
    assert not {str(p.relative_to(folder / "out")) for p in whole} & set(redone)
    outputs = [row.output for row in read_rows(manifest)]
    assert len(outputs) == len(set(outputs)) == len(_files(folder)) == len(whole) + len(redone)
    assert not _litter(folder)
    assert _files(folder) == _fresh(folder)


def test_a_row_lost_on_the_way_is_found_by_its_digest(folder: Path) -> None:
    jobs = find_jobs([str(folder / "in")])
    run_batch(jobs, _settings(folder))
    manifest = folder / "out" / "manifest.jsonl"
    rows = list(read_rows(manifest))
    manifest.write_text("".join(as_line(row) for row in rows[2:]))
    journal_path(manifest, 0).write_text("".join(as_line(row) for row in rows[:5]))
    journal_path(manifest, 1).write_text(as_line(rows[0])[:50])
    torn = folder / "out" / rows[1].output
    torn.write_bytes(bytes(rows[1].size))  # of the right size, and wrong
    again = run_batch(jobs, _settings(folder))
    assert (again.inputs - again.skipped, again.outputs) == (1, 1)
    assert hashlib.sha256(torn.read_bytes()).hexdigest() == rows[1].sha256
    assert sorted(row.output for row in read_rows(manifest)) == sorted(row.output for row in rows)
    assert not _litter(folder)


def test_a_killed_worker_costs_nothing(folder: Path) -> None:
    _more(folder, 400)
    seen: list[Row] = []

    def kill_one(row: Row) -> None:
        seen.append(row)
        if len(seen) in (5, 30):
            os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    summary = run_batch(find_jobs([str(folder / "in")]), _settings(folder), on_row=kill_one)
    outputs = [row.output for row in read_rows(folder / "out" / "manifest.jsonl")]
    assert len(outputs) == len(set(outputs)) == summary.outputs == len(seen)
    assert (summary.errors, len(outputs)) == (0, CALLS)
    assert not _litter(folder)
    assert _files(folder) == _fresh(folder)


def test_rows_come_as_outputs_finish_and_half_a_run_stops_clean(folder: Path) -> None:
    _more(folder, 400)
    rows: list[Row] = []

    def enough(row: Row) -> None:
        rows.append(row)
        if len(rows) == 3:
            raise KeyboardInterrupt  # what a second Control-C does

    with pytest.raises(KeyboardInterrupt):
        run_batch(find_jobs([str(folder / "in")]), _settings(folder, workers=1), on_row=enough)
    assert len(rows) == 3
    assert 3 <= len(_files(folder)) < CALLS
    assert not _litter(folder)
    whole = set(_files(folder))
    again = run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    assert again.outputs == CALLS - len(whole)


def test_sigterm_to_the_group_finishes_what_is_in_flight(folder: Path) -> None:
    arguments = _more(folder, 300)
    process = programs.Program(arguments, start_new_session=True, stderr=subprocess.PIPE, text=True)
    manifest = folder / "out" / "manifest.jsonl"
    _until(lambda: manifest.exists() and manifest.stat().st_size > 0)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "goes on where it stopped" in errors
    assert "died" not in errors
    assert not _litter(folder)
    assert len(list(read_rows(manifest))) == len(_files(folder)) < CALLS


def test_an_interrupt_finishes_what_is_in_flight(folder: Path) -> None:
    for number in range(12, 80):
        _capture(folder / "in" / "more" / f"c{number}.pcap", number, packets=300)
    arguments = ["batch", str(folder / "in"), "-o", str(folder / "out"), "--workers", "1"]
    process = programs.Program(arguments, stderr=subprocess.PIPE, text=True)
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


def test_a_later_call_never_takes_the_name_of_another_capture(tmp_path: Path) -> None:
    for name, calls in (("x", 2), ("x-2", 3), ("x-2-2", 1), ("x-3", 1), ("x-1", 1), ("x-02", 1), ("y-2", 1)):
        _capture(tmp_path / "in" / f"{name}.pcap", len(name), packets=4 + len(name), calls=calls)
    _capture(tmp_path / "other" / "x.pcap", 9, packets=20, calls=2)
    sources = [str(tmp_path / "in"), str(tmp_path / "other" / "x.pcap")]
    jobs = find_jobs(sources)
    assert {Path(job.captures[0]).stem: job.name for job in jobs[:-1]} == {
        "x": "x", "x-2": "x-2~2", "x-2-2": "x-2-2~2", "x-3": "x-3~2", "x-1": "x-1", "x-02": "x-02", "y-2": "y-2",
    }  # fmt: skip
    assert jobs[-1].name == "x~2"
    assert find_jobs(sources) == jobs
    summary = run_batch(jobs, BatchSettings(str(tmp_path / "out"), workers=1))
    outputs = [row.output for row in read_rows(tmp_path / "out" / "manifest.jsonl")]
    assert len(set(outputs)) == len(outputs) == summary.outputs == 12
    assert {"x.wav", "x-2.wav", "x-2~2.wav", "x-2~2-2.wav", "x~2-2.wav"} <= set(outputs)
    again = run_batch(find_jobs(list(reversed(sources))), BatchSettings(str(tmp_path / "turned"), workers=1))
    assert again.outputs == 12


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


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What a server that speaks S3 keeps; it has a bucket ``calls``, and obstore finds it by its environment."""
    pytest.importorskip("obstore")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    kept = s3_backends["123456789012"]["aws"]
    kept.create_bucket("calls", "us-east-1")
    yield kept
    server.stop()
    kept.reset()


def test_an_object_store_gets_the_same_bytes_once(folder: Path, store: Any) -> None:
    jobs = find_jobs([str(folder / "in")])
    run_batch(jobs, _settings(folder))
    settings = BatchSettings("s3://calls/march/", manifest=str(folder / "rows.jsonl"), workers=2)
    summary = run_batch(jobs, settings)
    assert (summary.outputs, summary.errors) == (14, 0)
    keys = store.buckets["calls"].keys
    got = {name: hashlib.sha256(keys[name].value).hexdigest() for name in keys}
    assert got == {f"march/{name}": digest for name, digest in _files(folder).items()}

    assert run_batch(jobs, settings).skipped == 12
    store.delete_object("calls", "march/day1/c01.wav")
    store.put_object("calls", "march/day0/c02.wav", b"cut off")
    again = run_batch(jobs, settings)
    assert (again.skipped, again.outputs) == (10, 2)
    assert {name: hashlib.sha256(keys[name].value).hexdigest() for name in keys} == got


def test_a_bucket_that_is_not_there_costs_rows_that_say_so(folder: Path, store: Any) -> None:
    settings = BatchSettings("s3://absent/", manifest=str(folder / "rows.jsonl"), workers=1)
    assert run_batch(find_jobs([str(folder / "in")]), settings).errors == 14
    for row in read_rows(folder / "rows.jsonl"):
        assert "NoSuchBucket" in row.error
        assert "\n" not in row.error
        assert len(row.error) < 600


def test_a_store_that_does_not_answer_ends_the_run_in_a_line(
    folder: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = find_jobs([str(folder / "in")])
    settings = BatchSettings("s3://calls/x", manifest=str(folder / "rows.jsonl"), workers=1)
    assert run_batch(jobs, settings).errors == 0
    with socket.socket() as closed:  # a port that nobody listens on
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(OutputError, match=r"^s3://calls/x/\S+\.wav: ") as told:
            run_batch(jobs, settings)  # it asks what is whole already
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 600
        fresh = replace(settings, manifest=str(folder / "fresh.jsonl"))
        assert run_batch(jobs[:1], fresh).errors == 1
        (row,) = read_rows(folder / "fresh.jsonl")
        assert row.error.startswith("OutputError: s3://calls/x/")
    for place in ("s3://", "az://container"):
        with pytest.raises(OutputError, match=f"^{place}: "):
            run_batch(jobs, replace(settings, destination=place, manifest=str(folder / "none.jsonl")))


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
        transcode_many(paths, "xyz")  # type: ignore[arg-type]
    (bad,) = transcode_many([folder / "absent.pcap"])
    assert "absent.pcap" in bad.error


def test_results_come_one_by_one_and_few_wait(folder: Path) -> None:
    paths = sorted((folder / "in").rglob("*.pcap"))
    read: list[Path] = []

    def endless() -> Iterator[Path]:
        while True:
            for path in paths:
                read.append(path)
                yield path

    results = transcode_many(endless(), workers=2)
    assert [len(next(results).data or b"") for _ in range(40)] == [32884] * 40
    time.sleep(0.3)
    # What has been read: the results taken, those that wait for it, and shares of at most 64 begun by two threads.
    assert len(read) < 40 + 4 + 2 * 64
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("callreplay-")]

    def broken() -> Iterator[Path]:
        yield paths[0]
        raise LookupError("of the caller's own")

    with pytest.raises(LookupError, match="own"):
        list(transcode_many(broken(), workers=1))

    place = str(folder / "aside")
    results = transcode_many(paths, destination=place, workers=1)
    next(results)
    results.close()
    assert not [p for p in (folder / "aside").rglob("*") if p.name.startswith(".")]

    async def cancelled() -> None:
        async def take() -> None:
            async for _ in transcode_many_async(endless(), workers=1):
                pass

        task = asyncio.create_task(take())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("callreplay-")]


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
    assert report_png(iter(rows)) == report_png(rows)
    with pytest.raises(ArgumentError):
        report_png([])


def test_the_report_is_of_this_run(folder: Path) -> None:
    arguments = ["batch", str(folder / "in"), "-o", str(folder / "out"), "--report", str(folder / "run.png")]
    manifest = folder / "out" / "manifest.jsonl"
    programs.run(arguments, check=True, capture_output=True)
    earlier = [replace(row, finished=row.finished - 86400) for row in read_rows(manifest)]
    manifest.write_text("".join(map(as_line, earlier)))
    (folder / "out" / "day0" / "c00.wav").unlink()
    programs.run(arguments, check=True, capture_output=True)
    (last,) = list(read_rows(manifest))[14:]
    assert (folder / "run.png").read_bytes() == report_png([last])
    programs.run(arguments, check=True, capture_output=True)  # nothing to do
    assert (folder / "run.png").read_bytes() == report_png([*earlier, last])


_ON_RAY = """
import os, signal, sys
import ray
from ray.cluster_utils import Cluster
from callreplay.batch import BatchSettings, Shards, find_jobs
from callreplay.batch.ray_engine import run_batch_on_ray

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
seen = []

def kill_one(row):
    seen.append(row)
    if len(seen) == 5:
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    title = open(f"/proc/{name}/cmdline").read()
                    parent = open(f"/proc/{name}/environ").read()
                except OSError:
                    continue
                if title.startswith("ray::_stream") and sys.argv[3] in parent:
                    os.kill(int(name), signal.SIGKILL)
                    print("killed", name)
                    break

shards = BatchSettings(sys.argv[2] + "-shards", "shards", shards=Shards("webdataset", 5.0, 1 << 20))
run_batch_on_ray(find_jobs([sys.argv[1]]), shards)
s = run_batch_on_ray(find_jobs([sys.argv[1]]), BatchSettings(sys.argv[2]), on_row=kill_one)
print(s.outputs, s.errors)
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
def test_ray_refuses_the_client_that_cannot_stream(folder: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UnsupportedError, match="6379"):
        run_batch_on_ray(find_jobs([str(folder / "in")]), _settings(folder), address="ray://head:10001")


def test_ray_gives_what_the_local_engine_gives_though_a_worker_dies(folder: Path) -> None:
    pytest.importorskip("ray")
    _more(folder, 400)
    (folder / "in" / "bad.pcap").write_bytes(b"\xd4\xc3\xb2\xa1 and then nothing of use")
    mark = f"callreplay-test-{os.getpid()}"  # of the processes that are this test's own
    done = subprocess.run(
        [sys.executable, "-c", _ON_RAY, str(folder / "in"), str(folder / "ray" / "out"), mark],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CALLREPLAY_TEST": mark, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "killed" in done.stdout
    assert done.stdout.split()[-2:] == [str(CALLS), "1"]
    run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    assert _files(folder / "ray") == _files(folder)
    assert not _litter(folder / "ray")
    manifests = [
        sorted(
            json.dumps(asdict(replace(row, seconds=0, finished=0)))
            for row in read_rows(place / "out" / "manifest.jsonl")
        )
        for place in (folder, folder / "ray")
    ]
    assert manifests[0] == manifests[1]
    assert len(manifests[0]) == CALLS + 1
    # Shards of a data set as well.
    local = folder / "shards"
    run_batch(
        find_jobs([str(folder / "in")]),
        BatchSettings(str(local), "shards", shards=Shards("webdataset", 5.0, 1 << 20)),
    )
    made = [
        {path.name: path.read_bytes() for path in place.glob("*.tar")}
        for place in (local, folder / "ray" / "out-shards")
    ]
    assert made[0] == made[1]
    assert len(made[0]) > 1


def test_what_loses_its_worker_every_time_costs_its_own_row(folder: Path) -> None:
    """Whatever the crew: Ray's errors and a process that dies are both an end with a reason."""

    class Crew:
        lost = 0
        shares: ClassVar[list[tuple[int, list[Job]]]] = []

        def __init__(self, order: Order) -> None:
            self.order = order

        streams = True

        def free(self, *, alone: bool) -> bool:
            return not self.shares

        def start(self, share: int, jobs: list[Job], *, alone: bool) -> None:
            self.shares.append((share, jobs))

        def finish(self) -> None:
            raise AssertionError

        def events(self, seconds: float) -> Iterator[Event]:
            share, jobs = self.shares.pop()
            for job in jobs:
                if job.name.endswith("c03"):
                    Crew.lost += 1
                    yield Event(share, ended=True, error="NodeDiedError: the node is gone")
                    return
                for row in run_share([job], self.order, open_destination(str(folder / "out"))):
                    yield Event(share, row=row)
            yield Event(share, ended=True)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    summary = run_batch(find_jobs([str(folder / "in")]), _settings(folder), crew=Crew)
    assert (summary.outputs, summary.errors) == (13, 1)
    assert Crew.lost in range(3, 6)  # three times alone, and before that in company
    (lost,) = (row for row in read_rows(folder / "out" / "manifest.jsonl") if row.error)
    assert (Path(lost.input).name, lost.error) == ("c03.pcap", "NodeDiedError: the node is gone")


_DEADLY = """
import os, signal
from callreplay.batch import worker

opening = worker.open_capture

def open_capture(*captures, **more):
    if captures[0].endswith("c03.pcap"):
        os.kill(os.getpid(), signal.SIGKILL)
    return opening(*captures, **more)

worker.open_capture = open_capture
"""


def test_a_capture_that_kills_its_process_costs_its_own_row(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was in company with it, and however often the process dies before it is found."""
    _more(folder, 50)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(_DEADLY)  # of the worker processes
    monkeypatch.setenv("PYTHONPATH", str(folder / "site"))
    summary = run_batch(find_jobs([str(folder / "in")]), _settings(folder))
    assert (summary.outputs, summary.errors) == (CALLS - 1, 1)
    rows = list(read_rows(folder / "out" / "manifest.jsonl"))
    assert len({row.output for row in rows}) == len(rows) == CALLS
    (lost,) = (row for row in rows if row.error)
    assert Path(lost.input).name == "c03.pcap"
    assert lost.error == "the worker process died on it (SIGKILL)"
    assert not _litter(folder)


def test_shares_shrink_to_the_end_and_long_calls_come_first() -> None:
    sizes = [1 << (10 + number % 14) for number in range(3000)]
    jobs = [Job((f"{number}.pcap",), f"{number}", size=size) for number, size in enumerate(sizes)]
    shares = list(cut_shares(jobs, 2))
    assert sorted(job.name for share in shares for job in share) == sorted(job.name for job in jobs)
    handed = [job.size for share in shares for job in share]
    assert handed == sorted(sizes, reverse=True)
    octets = [sum(max(job.size, 64 << 10) for job in share) for share in shares]
    assert octets[0] <= sum(octets) / 8
    assert all(part <= max(sum(octets[at:]) / 8, 1 << 24) for at, part in enumerate(octets))
    assert max(map(len, shares)) <= 512
    assert len(shares[-1]) < 4
    # Where a worker is through with one before it gets the next, each must fill lanes.
    assert [len(share) for share in cut_shares(jobs, 2, streams=False)] == [375] * 8
    assert not list(cut_shares([], 2))


def test_a_worker_asks_for_more_before_it_is_through(folder: Path) -> None:
    """What goes through the pipe, with both ends here."""
    jobs = find_jobs([str(folder / "in")])
    ours, theirs = multiprocessing.Pipe()
    (folder / "out").mkdir()
    manifest = folder / "out" / "manifest.jsonl"
    feed = _PipeFeed(theirs, manifest)
    ours.send((1, jobs[:6]))
    rows = run_feed(feed, Order("wav", Options()), open_destination(str(folder / "out")))
    seen: list[tuple[Job, Row]] = [next(rows)]
    assert ours.recv() is _Says.HUNGRY  # all six are open
    assert journal_path(manifest, 1).exists()
    ours.send((2, jobs[6:]))
    while len(seen) < 14:
        seen.append(next(rows))
    ours.send(None)
    assert not list(rows)
    said = []
    while ours.poll():
        said.append(ours.recv())
    assert [number for number in said if isinstance(number, int)] == [1, 2]
    assert {job.name for job, _ in seen} == {job.name for job in jobs}
    for number, count in ((1, 6), (2, 8)):  # the last capture holds three calls
        assert len(list(read_rows(journal_path(manifest, number)))) == count


_MEASURED = """
import resource, sys
from callreplay.batch import BatchSettings, find_jobs, run_batch
source, out, form, memory = sys.argv[1:]
summary = run_batch(find_jobs([source]), BatchSettings(out, form, workers=4, memory=int(memory)))
print(summary.outputs, summary.errors, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


@pytest.mark.parametrize("form", ["wav", "spx"])
def test_memory_is_bounded_by_what_was_given(tmp_path: Path, form: str) -> None:
    """Forty calls of ten minutes: 560 MB of captures, one worker's memory as the system counts it.

    Of Speex, which takes longer, sixteen: 220 MB, and 150 MB of samples.
    """
    calls = 40 if form == "wav" else 16
    (tmp_path / "in").mkdir()
    first = tmp_path / "in" / "0.pcap"
    write_pcap(first, *(leg(600, side, "PCMU") for side in (0, 1)))
    for number in range(1, calls):
        os.link(first, tmp_path / "in" / f"{number}.pcap")
    bound = 200 << 20
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(tmp_path / "in"), str(tmp_path / "out"), form, str(bound)],
        capture_output=True,
        text=True,
        check=True,
    )
    outputs, errors, resident = map(int, done.stdout.split())
    assert (outputs, errors) == (calls, 0)
    assert resident < bound


def test_little_memory_means_few_workers() -> None:
    settings = BatchSettings("x", workers=64)
    assert (settings.worker_count(), settings.worker_memory()) == (64, 512 << 20)
    settings = BatchSettings("x", workers=64, memory=2 << 30)
    assert (settings.worker_count(), settings.worker_memory()) == (16, 128 << 20)
    assert BatchSettings("x", workers=64, memory=1).worker_count() == 1


def test_seconds_are_those_of_the_work(folder: Path) -> None:
    _more(folder, 1000)
    before = time.process_time()
    rows = [result.row for result in transcode_many(sorted((folder / "in").rglob("*.pcap")), workers=2)]
    spent = time.process_time() - before
    assert 0.3 * spent < sum(row.seconds for row in rows) <= spent


def test_a_job_is_begun_though_the_next_is_long_in_coming(folder: Path) -> None:
    release = threading.Event()
    paths = sorted((folder / "in").rglob("*.pcap"))

    def slow() -> Iterator[Path]:
        yield paths[0]
        assert release.wait(30)
        yield paths[1]

    results = transcode_many(slow(), workers=2)
    assert next(results).row.input == str(paths[0])
    release.set()
    assert [result.row.input for result in results] == [str(paths[1])]


def test_workers_are_the_cores_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    from callreplay.cores import cores

    assert cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert cores() == os.cpu_count() == BatchSettings("x").worker_count()


def test_rows_tell_the_share_of_packets_lost(tmp_path: Path) -> None:
    records = [
        (10**18 + i * 20_000_000, udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(i, i * 160, 7, 0, bytes(160))))
        for i in range(200)
        if i not in (50, 90, 91, 92)
    ]
    (tmp_path / "lossy.pcap").write_bytes(pcap(records))
    (result,) = transcode_many([tmp_path / "lossy.pcap"])
    assert (result.row.packets, result.row.lost, result.row.loss) == (196, 4, 0.02)


def test_jobs_are_plain_values() -> None:
    job = Job(("a.pcap",), "a")
    assert (job.output(1, ".wav"), job.output(2, ".wav")) == ("a.wav", "a-2.wav")
