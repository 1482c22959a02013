"""``transcode_many`` in somebody else's program: what it gives, refuses, and drops when it is not wanted any more."""

import asyncio
import hashlib
import os
import threading
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench._captures import leg, write_pcap
from numpy.typing import NDArray

import callreplay
from callreplay.batch import BatchSettings, Job, Summary, many, read_rows, run_batch
from callreplay.batch.many import Result, transcode_many, transcode_many_async
from callreplay.errors import ArgumentError
from callreplay.outputs.formats import FORMATS, Data, Shape, Sink
from callreplay.outputs.options import Options


def _call(path: Path, seed: int, seconds: float = 2.0, calls: int = 1) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    legs = [leg(seconds, 0, seed=seed, call=call) for call in range(calls)]
    write_pcap(path, *((times + call * 10**11, rows) for call, (times, rows) in enumerate(legs)))
    return str(path)


@pytest.fixture
def captures(tmp_path: Path) -> list[str]:
    """Twenty different calls of two seconds."""
    return [_call(tmp_path / "in" / f"c{number:02}.pcap", number) for number in range(20)]


def _alone(path: str, format: Any, call: int = 1) -> bytes:
    with callreplay.open(path) as capture:
        return b"".join(capture.calls[call - 1].stream(format))


def _ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("callreplay-")]


@pytest.mark.parametrize("format", ["wav", "spx"])
def test_each_result_has_its_own_bytes_whatever_the_names(
    tmp_path: Path, captures: list[str], format: Any
) -> None:
    two = _call(tmp_path / "two.pcap", 77, calls=2)
    equal: list[Job | str] = [Job((path,), "call") for path in captures[:4]]
    clash: list[Job | str] = [
        captures[4],
        Job((captures[5],), "00000001"),
        Job((two,), "x"),
        Job((captures[6],), "x-2"),
    ]
    for jobs, count in ((equal, 4), (clash, 5)):
        results = list(transcode_many(jobs, format, workers=1))
        assert len(results) == count
        for result in results:
            assert result.data == _alone(result.row.input, format, result.row.call)
            assert result.row.sha256 == hashlib.sha256(result.data or b"").hexdigest()


def test_in_a_folder_no_job_overwrites_the_output_of_another(tmp_path: Path, captures: list[str]) -> None:
    two = _call(tmp_path / "two.pcap", 77, seconds=4, calls=2)
    jobs = [*(Job((path,), "call") for path in captures[:4]), Job((two,), "x"), Job((captures[6],), "x-2")]
    for source in (jobs, iter(jobs)):
        results = list(transcode_many(source, destination=tmp_path / "out", workers=2))
        whole = {result.row.output: result for result in results if not result.error}
        assert set(whole) == {"call.wav", "x.wav", "x-2.wav"}
        assert len(results) == 7
        for name, result in whole.items():
            assert (tmp_path / "out" / name).read_bytes() == _alone(result.row.input, "wav", result.row.call)
        for result in results:
            assert not result.error or "is the output of another job" in result.error


class _Watched:
    """A sink that tells of each block before it takes it."""

    def __init__(self, sink: Sink, told: Callable[[], None]) -> None:
        self._sink, self._told = sink, told
        self.finish = sink.finish

    def write(self, block: NDArray[np.int16]) -> Data:
        self._told()
        return self._sink.write(block)


def _watch(monkeypatch: pytest.MonkeyPatch, told: Callable[[], None]) -> None:
    form = FORMATS["wav"]

    def open_sink(shape: Shape, options: Options) -> Sink:
        return _Watched(form.open(shape, options), told)

    monkeypatch.setitem(FORMATS, "wav", replace(form, open=open_sink))


@pytest.mark.parametrize("place", ["", "out"])
def test_closing_drops_the_calls_under_way(
    tmp_path: Path, captures: list[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    long = _call(tmp_path / "long.pcap", 1, seconds=1200)  # 150 blocks
    blocks: list[bool] = []

    def told() -> None:
        blocks.append(True)
        time.sleep(0.02)

    _watch(monkeypatch, told)
    destination = tmp_path / place if place else ""
    with closing(transcode_many([long, captures[0]], workers=1, destination=destination)) as results:
        assert next(results).row.input == captures[0]
        while len(blocks) < 10:
            time.sleep(0.01)
    made = len(blocks)
    assert made < 140, "the rest was dropped"
    assert not _ours()
    assert not place or [path.name for path in destination.iterdir()] == [Path(captures[0]).stem + ".wav"]  # type: ignore[union-attr]


def test_a_cancelled_task_stops_the_work_and_leaves_the_loop_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = _call(tmp_path / "long.pcap", 1, seconds=1200)
    begun, released = threading.Event(), threading.Event()
    blocks: list[bool] = []

    def told() -> None:
        begun.set()
        # For the loop, which must not wait for this thread.
        blocks.append(released.wait(0 if blocks else 10))

    _watch(monkeypatch, told)

    async def take() -> None:
        async for _ in transcode_many_async([long], workers=1):
            pass

    async def cancel() -> None:
        task = asyncio.create_task(take())
        while not begun.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        asyncio.get_running_loop().call_later(0.1, released.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert blocks == [True]
    assert not _ours()


def test_an_iterator_that_waits_does_not_hold_up_the_loop(captures: list[str]) -> None:
    waiting, called = threading.Event(), threading.Event()
    answers: list[bool] = []

    def jobs() -> Iterator[str]:
        yield captures[0]
        waiting.set()
        answers.append(called.wait(0.5))
        time.sleep(0.5)

    async def leave() -> None:
        async with aclosing(transcode_many_async(jobs(), workers=1)) as results:
            async for _ in results:
                while not waiting.is_set():
                    await asyncio.sleep(0.01)
                asyncio.get_running_loop().call_later(0.05, called.set)
                break

    asyncio.run(leave())
    assert answers == [True]
    while _ours():  # its reader, until the iterator comes back
        time.sleep(0.01)


def test_the_sizes_of_files_are_not_asked_in_the_loop(
    captures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_job, threads = many._as_job, set()

    def noted(item: Any, name: Callable[[str], str]) -> Job:
        threads.add(threading.current_thread())
        return as_job(item, name)

    monkeypatch.setattr(many, "_as_job", noted)

    async def count() -> int:
        return sum([1 async for _ in transcode_many_async(captures, workers=2)])

    assert asyncio.run(count()) == 20
    assert threads
    assert threading.main_thread() not in threads


def test_the_executor_of_the_loop_is_left_to_others(captures: list[str]) -> None:
    release = threading.Event()

    async def collect() -> list[int]:
        async def one(path: str) -> int:
            return sum([1 async for _ in transcode_many_async([path], "spx", workers=1)])

        with ThreadPoolExecutor(1) as executor:
            asyncio.get_running_loop().set_default_executor(executor)
            other = asyncio.create_task(asyncio.to_thread(release.wait, 30))
            try:
                async with asyncio.timeout(20):
                    return await asyncio.gather(*map(one, captures[:8]))
            finally:
                release.set()
                await other

    assert asyncio.run(collect()) == [1] * 8


@pytest.mark.parametrize("transcode", [transcode_many, transcode_many_async])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"workers": -1}, "workers"),
        ({"workers": 1.5}, "workers"),
        ({"memory": -5}, "memory"),
        ({"memory": 1e9}, "memory"),
        ({"destination": b"out"}, "destination"),
        ({"destination": 5}, "destination"),
        ({"format": "xyz"}, "format"),
        ({"quality": 11}, "quality"),
        ({"colour": "red"}, "colour"),
        ({"jobs": "a.pcap"}, "list"),
        ({"jobs": b"a.pcap"}, "list"),
        ({"jobs": Path("a.pcap")}, "list"),
        ({"jobs": [b"a.pcap"]}, "bytes"),
        ({"jobs": [5]}, "int"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(
    transcode: Callable[..., Iterator[Result] | AsyncIterator[Result]], arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        transcode(**{"jobs": ["a.pcap"], **arguments})


@pytest.mark.parametrize(
    ("memory", "workers", "each"),
    [(1, 1, 1), (2 << 30, 16, 128 << 20), (16 << 30, 64, 256 << 20), (0, 64, 512 << 20)],
)
def test_little_memory_means_few_threads(
    monkeypatch: pytest.MonkeyPatch, memory: int, workers: int, each: int
) -> None:
    seen = []

    class Run(many._Run):
        def __init__(self, source: Any, order: Any, place: str, workers: int, *more: Any) -> None:
            seen.append((workers, order.memory))
            super().__init__(source, order, place, workers, *more)

    monkeypatch.setattr(many, "_Run", Run)
    assert not list(transcode_many([], workers=64, memory=memory))
    assert seen == [(workers, each)]


def test_a_destination_may_be_a_path(tmp_path: Path, captures: list[str]) -> None:
    (result,) = transcode_many(captures[:1], destination=tmp_path / "many")
    assert (tmp_path / "many" / result.row.output).read_bytes() == _alone(captures[0], "wav")
    summary = run_batch([Job((captures[0],), "a")], BatchSettings(tmp_path / "batch", workers=1))
    assert summary.outputs == 1
    (row,) = read_rows(tmp_path / "batch" / "manifest.jsonl")
    assert os.path.getsize(tmp_path / "batch" / row.output) == row.size  # noqa: PTH202
    with pytest.raises(ArgumentError, match="destination"):
        BatchSettings(b"out")  # type: ignore[arg-type]


def test_what_was_begun_is_given_before_the_error_of_the_iterator(
    tmp_path: Path, captures: list[str]
) -> None:
    def broken() -> Iterator[str]:
        yield from captures
        raise LookupError("of the caller's own")

    for destination in ("", tmp_path / "out"):
        given = []
        results = transcode_many(broken(), workers=2, destination=destination)
        with pytest.raises(LookupError, match="own"):  # noqa: PT012
            for result in results:
                given.append(result.row.input)
        assert sorted(given) == captures

    async def collect() -> None:
        given.clear()
        async for result in transcode_many_async(broken(), workers=2):
            given.append(result.row.input)

    with pytest.raises(LookupError, match="own"):
        asyncio.run(collect())
    assert sorted(given) == captures

    def wrong() -> Iterator[Any]:
        yield captures[0]
        yield b"octets"

    results = transcode_many(wrong())
    assert next(results).row.input == captures[0]
    with pytest.raises(ArgumentError, match="bytes"):
        next(results)


def test_a_row_tells_the_length_of_its_output_not_of_the_call(captures: list[str]) -> None:
    for cut, seconds in (({}, 2.0), ({"end": 0.5}, 0.5), ({"start": 1.75}, 0.25), ({"start": 100}, 0.0)):
        (result,) = transcode_many(captures[:1], **cut)
        assert not result.error
        assert result.row.duration_s == pytest.approx(seconds, abs=0.021)
        with wave.open(BytesIO(result.data or b"")) as made:
            assert made.getnframes() == round(result.row.duration_s * 8000)
    failed, whole = transcode_many([captures[0], captures[1] + ".absent"], "spx", channels="stereo")
    assert failed.error
    assert whole.error
    assert failed.row.duration_s == whole.row.duration_s == 0.0


@pytest.mark.parametrize("name", ["../../esc/x", "/etc/x", "a/../b", "", ".", "a//b", "./a", "a/", "a\0b"])
def test_a_name_outside_the_destination_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="below the destination"):
        Job(("a.pcap",), name)
    with pytest.raises(ArgumentError, match="below the destination"):
        replace(Job(("a.pcap",), "a"), name=name)


SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def test_rows_tell_of_the_call(tmp_path: Path) -> None:
    """Who, whom, when and by what id, in results and in Parquet; who talks how long where that is asked."""
    import pyarrow.parquet

    captures = [str(SAMPLES / "reservation.pcap"), str(SAMPLES / "support.pcap")]
    for speech in (False, True):
        rows = {Path(r.row.input).stem: r.row for r in transcode_many(captures, "wav", speech=speech)}
        for name, row in rows.items():
            with callreplay.open(SAMPLES / f"{name}.pcap") as capture:
                call = capture[0]
            assert (row.caller, row.called) == (call.party("caller"), call.party("called"))
            assert row.call_id == call.description.call_id
            assert row.start == call.report(audio=False)["start"]
            assert (row.one_way, row.sides_inferred) == (False, call.sides_inferred)
            figures = call.speech()
            told = (row.caller_talk_s, row.called_talk_s, row.silence_s, row.overlap_s)
            wanted = (figures.caller.talk_s, figures.called.talk_s, figures.silence_s, figures.overlap_s)
            assert told == (wanted if speech else (None,) * 4)
    settings = BatchSettings(tmp_path, "wav", workers=1, speech=True)
    run_batch([Job((path,), Path(path).stem) for path in captures], settings)
    table = pyarrow.parquet.read_table(tmp_path / "manifest.parquet")
    assert {"bool", "double", "string"} <= {str(field.type) for field in table.schema}
    stored = {row["call_id"]: row for row in table.to_pylist()}
    for row in rows.values():
        for name in (
            "caller",
            "called",
            "start",
            "caller_talk_s",
            "interruptions",
            "longest_monologue_s",
            "one_way",
        ):
            assert stored[row.call_id][name] == getattr(row, name)


def test_names_of_arrow_and_others_and_outputs_are_named_as_a_batch_names_them(tmp_path: Path) -> None:
    import pyarrow

    paths = [_call(tmp_path / folder / name, number) for number, (folder, name) in enumerate(
        (("a", "x.pcap"), ("b", "x.pcap"), ("a", "x-2.pcap"), ("a", "y.pcap.gz.pcap"))
    )]  # fmt: skip
    chunks = pyarrow.chunked_array([paths[:2], paths[2:]])
    wanted: dict[str, str] = {}
    for number, jobs in enumerate((paths, pyarrow.array(paths), chunks, np.array(paths), map(Path, paths))):
        results = list(transcode_many(jobs, "wav", destination=tmp_path / str(number)))
        assert [result.error for result in results] == [""] * 4
        names = {result.row.input: result.row.output for result in results}
        wanted = wanted or names
        assert names == wanted
    assert wanted[paths[0]] == "x.wav"
    assert wanted[paths[1]] == "x~2.wav"
    assert len(set(wanted.values())) == 4
    with pytest.raises(ArgumentError, match="not by NoneType"):
        list(transcode_many(pyarrow.array([paths[0], None]), "wav"))


def test_progress_tells_what_is_done_so_far(captures: list[str]) -> None:
    told: list[Summary] = []
    results = list(transcode_many(captures, "wav", workers=2, progress=told.append))
    assert [summary.outputs + summary.errors for summary in told] == list(range(1, len(results) + 1))
    assert {summary.inputs for summary in told} == {len(captures)}
    assert told[-1].audio_s == pytest.approx(sum(result.row.duration_s for result in results))


@pytest.mark.parametrize("listed", [True, False])
def test_stop_lets_what_is_under_way_finish_and_begins_no_more(captures: list[str], listed: bool) -> None:
    asked = threading.Event()
    jobs = captures * 20
    found = []
    for result in transcode_many(
        jobs if listed else iter(jobs), "wav", workers=1, memory=1 << 27, stop=asked.is_set
    ):
        assert not result.error
        assert result.data
        found.append(result)
        asked.set()
    assert 0 < len(found) < len(jobs)
