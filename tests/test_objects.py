"""Captures, calls and legs as Python objects: how they show themselves, travel, and are written to."""

import copy
import gzip
import io
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import callreplay
from callreplay.errors import ArgumentError, StateError

SAMPLES = Path(__file__).resolve().parent / ".." / "samples"
SAMPLE = SAMPLES / "reservation.pcap"


def test_objects_tell_what_they_are() -> None:
    with callreplay.open(SAMPLE) as capture:
        assert repr(capture) == f"<Capture {str(SAMPLE)!r}: 1 call, 0:00:20>"
        (call,) = capture
        caller, called = call
    assert repr(call) == (
        "<Call 1: Ana Pop <0721555010> → Front Desk <2001>, 2026-01-06T08:30:01Z, 0:00:20, PCMU/8000>"
    )
    assert (caller, called) == call.legs
    assert repr(called) == "<Leg called: PCMU/8000, 987 packets, 19.9 s>"


def test_a_capture_is_a_sequence_of_calls_and_never_false() -> None:
    with callreplay.open(SAMPLE) as capture:
        assert (len(capture), capture[0], capture[-1:], list(capture)) == (
            1,
            capture.calls[0],
            capture.calls,
            capture.calls,
        )
        with pytest.raises(IndexError):
            capture[1]
    assert (len(capture), bool(capture)) == (0, True)


def test_dir_shows_what_is_there() -> None:
    shown = dir(callreplay)
    assert set(callreplay.__all__) <= set(shown)
    for name in callreplay.__all__:
        assert getattr(callreplay, name) is not None


@pytest.mark.parametrize(
    "make",
    [str, Path, Path.read_bytes, lambda p: bytearray(p.read_bytes()), lambda p: io.BytesIO(p.read_bytes())],
)
def test_calls_and_legs_are_pickled_by_their_source(make: Any) -> None:
    source = make(SAMPLE)
    capture = callreplay.open(source)
    call = capture[0]
    call.uuid = "a-number"
    packed = pickle.dumps((call, call.caller, call.called, capture))
    if make in (str, Path):
        assert len(packed) < 1000
    again, caller, called, whole = pickle.loads(packed)
    assert again.legs == (caller, called)
    assert whole[0] is again
    assert (again.uuid, repr(again)) == ("a-number", repr(call))
    assert np.array_equal(again.mix(), call.mix())


def test_hints_travel_along() -> None:
    from tests.captures import pcap, rtp, udp

    octets = pcap(
        (index * 20_000_000, udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(index, index * 160, 1, 99)))
        for index in range(1, 50)
    )
    call = callreplay.open(octets, codecs={99: "PCMA/8000"})[0]
    assert str(copy.copy(call).caller.codecs[0]) == "PCMA/8000"


def _length(call: callreplay.Call) -> int:
    return len(call.mix("mono"))


def test_processes_get_calls() -> None:
    call = callreplay.open(SAMPLE)[0]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_length, [call]) == [len(call.mix("mono"))]


def test_a_call_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(SAMPLE.read_bytes())
    packed = pickle.dumps(callreplay.open(path)[0])
    path.write_bytes(SAMPLE.read_bytes()[:24])
    with pytest.raises(StateError, match=r"x\.pcap: call 1 is not in it any more"):
        pickle.loads(packed)


def test_file_objects_get_the_octets_of_a_file(tmp_path: Path) -> None:
    call = callreplay.open(SAMPLE)[0]
    call.save(tmp_path / "x.wav")
    want = (tmp_path / "x.wav").read_bytes()
    memory = io.BytesIO()
    call.save(memory, "wav")
    assert memory.getvalue() == want
    with (tmp_path / "y.wav").open("wb") as file:
        call.save(file)  # its name tells
    assert (tmp_path / "y.wav").read_bytes() == want
    with gzip.open(tmp_path / "z.gz", "wb") as packed:
        call.save(packed, "wav")
    assert gzip.decompress((tmp_path / "z.gz").read_bytes()) == want


class _Short(io.RawIOBase):
    """Takes a thousand octets at a time."""

    def __init__(self) -> None:
        self.got = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.got += bytes(data[:1000])
        return min(len(data), 1000)


def test_a_file_that_takes_little_at_a_time_gets_all() -> None:
    call = callreplay.open(SAMPLE)[0]
    short = _Short()
    call.save(short, "wav", end=1.0)
    assert short.got == b"".join(call.stream("wav", end=1.0))


def test_where_a_call_cannot_be_saved_is_said() -> None:
    call = callreplay.open(SAMPLE)[0]
    anything: Any = object()
    for place, form, said in (
        (io.BytesIO(), "", "name the format"),
        (io.StringIO(), "wav", "'wb'"),
        ("s3://bucket/x.wav", "", "to write to a URL"),
        (anything, "wav", "a path or a file object"),
    ):
        chosen: Any = form
        with pytest.raises(ArgumentError, match=said):
            call.save(place, chosen)


def test_standard_output() -> None:
    script = f"import callreplay; callreplay.open({str(SAMPLE)!r})[0].save('-', 'wav', end=1.0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"".join(callreplay.open(SAMPLE)[0].stream("wav", end=1.0))


def test_python_m_callreplay() -> None:
    done = subprocess.run([sys.executable, "-m", "callreplay", "--version"], capture_output=True, check=True)
    assert done.stdout.decode().split() == ["callreplay", callreplay.__version__]


def test_importing_costs_little() -> None:
    """``import callreplay`` loads nothing but itself; what is used is loaded when it is."""
    script = (
        "import sys; before = set(sys.modules); import callreplay; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    loaded = {name for name in done.stdout.split() if name.startswith("callreplay")}
    assert loaded == {"callreplay", "callreplay._version"}
    assert not {"numpy", "typer", "rich", "av", "asyncio"} & set(done.stdout.split())
