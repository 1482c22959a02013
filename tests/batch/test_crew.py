"""Worker processes: that no pipe holds anybody up, and what their deaths do."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from tests import programs

from callreplay.batch import BatchError, Job, read_rows
from callreplay.batch.crew import Event, LocalCrew
from callreplay.batch.worker import Order
from callreplay.outputs.options import Options

FAR = "/nowhere/" + "/".join(["d" * 99] * 5)  # 512 jobs of such paths are more than a pipe holds


def _absent(count: int, first: int = 0) -> list[Job]:
    return [Job((f"{FAR}/{n:06}.pcap",), f"{n:06}") for n in range(first, first + count)]


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[LocalCrew]:
    order = Order("wav", Options())
    with LocalCrew(2, order, str(tmp_path), tmp_path / "manifest.jsonl") as made:
        yield made


def _events(crew: LocalCrew, ends: int) -> list[Event]:
    """What happens until so many shares have ended."""
    events: list[Event] = []
    deadline = time.monotonic() + 60
    while sum(event.ended for event in events) < ends:
        assert time.monotonic() < deadline
        events += crew.events(0.5)
    return events


@pytest.mark.parametrize("workers", ["1", "2"])
def test_many_bad_inputs_with_long_names_cost_their_rows(tmp_path: Path, workers: str) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("".join(json.dumps({"path": job.captures[0]}) + "\n" for job in _absent(3000)))
    words = ["batch", jobs, "-o", tmp_path / "out", "--workers", workers]
    done = programs.run(words, capture_output=True, timeout=60)
    assert done.returncode == 1
    rows = list(read_rows(tmp_path / "out" / "manifest.jsonl"))
    assert len(rows) == len({row.input for row in rows}) == 3000


def test_a_worker_that_does_not_read_holds_nobody_up(crew: LocalCrew) -> None:
    """Neither the one that hands out, nor the other worker, nor the end of the run."""
    crew.start(1, _absent(1), alone=False)
    crew.start(2, _absent(1), alone=False)
    _events(crew, 2)
    slow = crew._workers[0].process.pid
    assert slow
    os.kill(slow, signal.SIGSTOP)
    waker = threading.Timer(100, os.kill, (slow, signal.SIGCONT))  # should all hang, let it fail
    waker.start()
    try:
        crew.start(3, _absent(2000), alone=False)
        crew.start(4, _absent(700), alone=False)
        assert {event.share for event in _events(crew, 1)} == {4}
        crew.finish()
        assert waker.is_alive(), "nobody waited for the slow one"
    finally:
        waker.cancel()
        os.kill(slow, signal.SIGCONT)
    assert not [event.error for event in _events(crew, 1) if event.ended and event.error]


def test_jobs_that_cannot_be_sent_are_an_error_and_no_wait(crew: LocalCrew) -> None:
    crew.start(1, [Job(("a.pcap",), "a", MappingProxyType({97: "opus/48000"}))], alone=False)
    with pytest.raises(TypeError, match="mappingproxy"):
        _events(crew, 1)


def test_a_run_of_bad_inputs_is_stopped_by_a_signal(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("".join(json.dumps({"path": job.captures[0]}) + "\n" for job in _absent(20_000)))
    words = ["batch", jobs, "-o", tmp_path / "out", "--workers", "2"]
    process = programs.Program(words, stderr=subprocess.PIPE, text=True)
    manifest = tmp_path / "out" / "manifest.jsonl"
    deadline = time.monotonic() + 60
    while not (manifest.exists() and manifest.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "goes on where it stopped" in said
    assert len(list(read_rows(manifest))) < 20_000


_UNGUARDED = """
import sys
from callreplay.batch import BatchSettings, find_jobs, run_batch
run_batch(find_jobs([sys.argv[1]]), BatchSettings(sys.argv[2], workers=int(sys.argv[3])))
"""


@pytest.mark.parametrize(("where", "workers"), [("file", 1), ("file", 4), ("-", 2)])
def test_a_script_without_guard_is_told_so(tmp_path: Path, where: str, workers: int) -> None:
    """And no capture is blamed."""
    for number in range(5):
        (tmp_path / f"{number}.pcap").write_bytes(b"nothing of use")
    script = tmp_path / "script.py"
    script.write_text(_UNGUARDED)
    arguments = [str(script) if where == "file" else "-", str(tmp_path), str(tmp_path / "out"), str(workers)]
    done = subprocess.run(
        [sys.executable, *arguments],
        input="" if where == "file" else _UNGUARDED,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    rows = list(read_rows(tmp_path / "out" / "manifest.jsonl"))
    assert not [row for row in rows if "died" in row.error]
    if where == "file":
        assert done.returncode == 1
        assert not rows
        assert "BatchError: no worker process gets as far as its first job (exit code 1)" in done.stderr
        assert '`if __name__ == "__main__":`' in done.stderr
    else:
        assert (done.returncode, len(rows)) in ((0, 5), (1, 0))


@pytest.mark.started
def test_a_process_killed_while_it_starts_blames_nobody(crew: LocalCrew) -> None:
    crew.start(1, _absent(3), alone=False)
    for _ in range(2):
        crew._workers[0].process.kill()
        while crew._workers[0].process.is_alive():
            time.sleep(0.01)
        assert not list(crew.events(5))
    events = _events(crew, 1)
    assert [event.error for event in events] == [""] * 4
    assert sum(event.row is not None for event in events) == 3


@pytest.mark.started
def test_workers_that_never_start_end_the_run(crew: LocalCrew) -> None:
    crew.start(1, _absent(3), alone=False)
    with pytest.raises(BatchError, match="SIGKILL"):  # noqa: PT012
        for _ in range(3):
            crew._workers[0].process.kill()
            list(crew.events(5))


@pytest.mark.started
def test_a_signal_to_the_group_ends_no_worker_that_starts(crew: LocalCrew) -> None:
    crew.start(1, _absent(3), alone=False)
    crew.start(2, _absent(3), alone=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        for worker in crew._workers:
            assert worker.process.pid
            os.kill(worker.process.pid, number)
    assert not [event.error for event in _events(crew, 2) if event.error]
