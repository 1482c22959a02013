"""A capture that shrinks while it is in use ends in an exception, never in a signal, and never in sound that is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from tests import captures as c

import callreplay
from callreplay import packets
from callreplay.audio.mix import Renderer
from callreplay.batch.destinations import open_destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.batch.worker import Feed, Order, run_feed
from callreplay.errors import OutputError
from callreplay.outputs.options import Options
from callreplay.packets.arena import Mapping

T = 1_700_000_000_000_000_000
SHRANK = "shrank"


def _capture(path: Path, count: int = 3000) -> Path:
    media = (c.rtp(i, i * 160, 7, payload=bytes([i & 127]) * 160) for i in range(count))
    frames = (c.udp("10.0.0.1", 4000, "10.0.0.2", 5000, packet) for packet in media)
    path.write_bytes(c.pcap([(T + i * 20_000_000, frame) for i, frame in enumerate(frames)]))
    return path


def _shrink(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.6])
def test_a_scan_of_a_file_that_shrinks(tmp_path: Path, share: float) -> None:
    path = _capture(tmp_path / "x.pcap")
    data = packets.open_buffer(path)
    _shrink(path, share)
    with pytest.raises(OutputError, match=SHRANK) as caught:
        packets.scan(data)
    assert str(path) in str(caught.value)


def test_audio_of_a_file_that_shrinks_is_refused(tmp_path: Path) -> None:
    path = _capture(tmp_path / "x.pcap")
    with callreplay.open(path) as capture:
        (call,) = capture.calls
        _shrink(path, 0.5)
        with pytest.raises(OutputError, match=SHRANK):
            call.mix()
        with pytest.raises(OutputError, match=SHRANK):
            call.caller.pcm()
        with pytest.raises(OutputError, match=SHRANK):
            call.save(tmp_path / "x.wav")
        with pytest.raises(OutputError, match=SHRANK):
            call.report()
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_rotation_of_which_one_file_shrinks(tmp_path: Path) -> None:
    paths = [_capture(tmp_path / f"x.pcap{number}", 1000) for number in range(3)]
    data, spans = packets.join(paths)
    parts = [packets.Part(*span, path.name) for span, path in zip(spans, paths, strict=True)]
    assert len(packets.scan(data, parts=parts).rtp.offset) == 3000
    _shrink(paths[1], 0.5)
    with pytest.raises(OutputError, match=SHRANK) as caught:
        packets.scan(data, parts=parts)
    assert "x.pcap0 … x.pcap2" in str(caught.value)


def test_what_was_written_before_is_right(tmp_path: Path) -> None:
    path = _capture(tmp_path / "x.pcap")
    whole = callreplay.open(path).calls[0].mix()
    blocks = callreplay.open(path).calls[0].renderer(Options(channels="stereo", rate=8000, dtmf="mute"))
    assert isinstance(blocks, Renderer)
    first = blocks.read(4000)
    assert (first == whole[:4000]).all()
    _shrink(path, 0.3)
    with pytest.raises(OutputError, match=SHRANK):
        list(blocks)


def test_a_batch_loses_that_call_only(tmp_path: Path) -> None:
    good, bad = _capture(tmp_path / "good.pcap", 100), _capture(tmp_path / "bad.pcap")
    jobs = [Job((str(path),), path.stem, size=path.stat().st_size) for path in (good, bad)]

    class Shrinking(Feed):
        given = False

        def more(self, wait: bool) -> list[Job] | None:
            given, self.given = self.given, True
            return None if given else jobs

        def note(self, job: Job, row: Row) -> None:
            _shrink(bad, 0.5)  # the short call is done, the long one under way

    rows = run_feed(Shrinking(), Order("wav", Options()), open_destination(str(tmp_path / "out")))
    found = {job.name: row for job, row in rows}
    assert found["good"].error == ""
    assert SHRANK in found["bad"].error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.wav"]


def test_compressed_files_and_files_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(c.gz(np.random.default_rng(1).bytes(1 << 20)))
    with path.open("r+b") as file:
        mapping = Mapping(file.fileno(), 0).watch("ours", writable=True)
    octets = np.frombuffer(mapping, np.uint8)
    _shrink(path, 0.5)
    octets[-1] = 9  # as a column where the temporary directory is full
    assert octets[-1] == 9
    with pytest.raises(OutputError, match="ours"):
        mapping.check()


def test_replacing_a_file_changes_nothing(tmp_path: Path) -> None:
    path = _capture(tmp_path / "x.pcap")
    with callreplay.open(path) as capture:
        (tmp_path / "y").write_bytes(b"")
        (tmp_path / "y").replace(path)
        assert capture.calls[0].mix().any()


def _child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_outlives_what_another_one_truncates(tmp_path: Path) -> None:
    path = _capture(tmp_path / "x.pcap", 20_000)
    child = _child(
        """
        import sys, callreplay
        from callreplay.errors import OutputError
        capture = callreplay.open(sys.argv[1])
        print("ready", flush=True)
        try:
            while True:
                capture.calls[0].mix("mono", start=100.0)
        except OutputError as error:
            print(error, flush=True)
        """,
        path,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.05)
    _shrink(path, 0.2)
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert SHRANK in out


_OTHERS = """
    import faulthandler, mmap, os, signal, sys, threading
    from callreplay.packets.arena import Mapping

    def mapped(name):
        file = os.open(sys.argv[1] + name, os.O_RDWR | os.O_CREAT)
        os.truncate(file, 4 * mmap.PAGESIZE)
        return file, Mapping(file, 0, access=mmap.ACCESS_READ)

    def guarded(name):
        file, mapping = mapped(name)
        mapping.watch(name)
        os.truncate(file, 0)
        assert mapping[5000] == 0
        try:
            mapping.check()
        except OSError:
            print(name, flush=True)
    """


def _outlives(tmp_path: Path, code: str) -> tuple[int, str, str]:
    child = _child(textwrap.dedent(_OTHERS) + textwrap.dedent(code), tmp_path / "x")
    out, errors = child.communicate(timeout=60)
    return child.returncode, out, errors


FOREIGN = """
    file, other = mapped("other")
    os.truncate(file, 0)
    other[5000]
    """


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("faulthandler.enable()", ""),
        ("", "faulthandler.enable()"),
        ("", "faulthandler.enable(); faulthandler.disable()"),
        ("", "signal.signal(signal.SIGBUS, lambda *_: None)"),
        ("", "signal.signal(signal.SIGBUS, signal.SIG_DFL)"),
        ("signal.signal(signal.SIGBUS, signal.SIG_IGN)", ""),
        ("", ""),
    ],
)
def test_the_guard_stays_whoever_else_handles_bus_errors(tmp_path: Path, before: str, after: str) -> None:
    """Files of ours are guarded before and after; a foreign bus error ends the process, by whom it concerns."""
    code = "\n".join([before, "guarded('first')", after, "guarded('second')", textwrap.dedent(FOREIGN)])
    status, out, errors = _outlives(tmp_path, code)
    assert out.split() == ["first", "second"], errors
    assert status == -signal.SIGBUS, errors
    assert ("Fatal Python error: Bus error" in errors) == ((before + after).endswith("enable()"))


def test_a_foreign_bus_error_that_its_handler_mends(tmp_path: Path) -> None:
    """A second guard, as another library may have one: its mapping is its own, ours stays watched."""
    code = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
        file = os.open(sys.argv[1] + "other", os.O_RDWR | os.O_CREAT)
        os.truncate(file, 1 << 16)
        other = libc.mmap(None, 1 << 16, 1, 1, file, 0)

        @ctypes.CFUNCTYPE(None, ctypes.c_int)
        def mend(number):
            libc.mmap(other, 1 << 16, 3, 0x32, -1, 0)  # private, anonymous, fixed

        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal(signal.SIGBUS, ctypes.cast(mend, ctypes.c_void_p))
        guarded("first")
        os.truncate(file, 0)
        assert ctypes.string_at(other + 5000, 4) == bytes(4)
        guarded("second")
        """
    status, out, errors = _outlives(tmp_path, code)
    assert (status, out.split()) == (0, ["first", "second"]), errors


@pytest.mark.parametrize(("handler", "ends"), [("SIG_DFL", True), ("SIG_IGN", False)])
def test_a_bus_error_that_was_sent(tmp_path: Path, handler: str, ends: bool) -> None:
    code = f"""
        signal.signal(signal.SIGBUS, signal.{handler})
        guarded("first")
        os.kill(os.getpid(), signal.SIGBUS)
        guarded("second")
        """
    status, out, errors = _outlives(tmp_path, code)
    assert (status, out.split()) == ((-signal.SIGBUS, ["first"]) if ends else (0, ["first", "second"])), (
        errors
    )


def test_threads_that_watch_at_once(tmp_path: Path) -> None:
    """Each mapping has a slot of its own, and a child that is forked meanwhile is guarded too."""
    code = """
        from callreplay.packets import guard
        busy, wrong = set(), []

        def churn():
            for _ in range(20000):
                slot = guard.watch(bytearray(9), False)
                if slot in busy:
                    wrong.append(slot)
                busy.add(slot)
                busy.discard(slot)
                guard.forget(slot)

        threads = [threading.Thread(target=churn) for _ in range(4)]
        for thread in threads: thread.start()
        for number in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                guarded(f"child{number}")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        for thread in threads: thread.join()
        assert not wrong
        guarded("parent")
        """
    status, out, errors = _outlives(tmp_path, code)
    assert status == 0, errors
    assert out.split() == [f"child{number}" for number in range(20)] + ["parent"]
