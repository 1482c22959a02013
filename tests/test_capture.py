"""From captures to audio, end to end, against what was put in."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import callreplay
from callreplay.errors import ArgumentError, CaptureError
from callreplay.model import GapReason
from tests.captures import event, pcap, rtp, udp

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
START = 1_700_000_000_000_000_000
MS = 1_000_000


def _capture(
    legs: dict[int, dict[int, bytes]], *, pt: int = 0, ticks: int = 160, delay_ms: float = 5
) -> list[tuple[int, bytes]]:
    """Records of legs given as side -> index -> payload: packet ``index`` is sent at 20 ms * index."""
    records = []
    for side, payloads in legs.items():
        ends = [("10.0.0.1", 4000), ("10.0.0.2", 5000)]
        here, there = ends[side], ends[1 - side]
        for index, payload in payloads.items():
            packet = rtp(1000 + index, 5000 + index * ticks, 0x100 + side, pt, payload)
            records.append((START + int((index * 20 + delay_ms) * MS), udp(*here, *there, packet)))
    return sorted(records)


def _noise(count: int, seed: int) -> dict[int, bytes]:
    octets = np.random.default_rng(seed).integers(0, 256, count * 160, dtype=np.uint8)
    return {index: octets[index * 160 : (index + 1) * 160].tobytes() for index in range(count)}


def _ulaw(octets: bytes) -> NDArray[np.int16]:
    """G.711 by its definition, not by our decoder."""
    code = ~np.frombuffer(octets, np.uint8).astype(np.int32) & 0xFF
    magnitude = ((((code & 15) << 3) + 132) << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def test_every_sample_stands_at_its_place() -> None:
    caller, called = _noise(100, 1), _noise(80, 2)
    called = {index + 10: payload for index, payload in called.items()}
    with callreplay.open(pcap(_capture({0: caller, 1: called}))) as capture:
        (call,) = capture.calls
        mixed = call.mix()
    assert mixed.shape == (100 * 160, 2)
    assert np.array_equal(mixed[:, 0], _ulaw(b"".join(caller.values())))
    assert not mixed[:1600, 1].any()
    assert np.array_equal(mixed[1600 : 90 * 160, 1], _ulaw(b"".join(called.values())))
    assert not mixed[90 * 160 :, 1].any()


def test_channels_are_views_of_the_same_truth() -> None:
    records = _capture({0: _noise(50, 3), 1: _noise(50, 4)})
    with callreplay.open(pcap(records)) as capture:
        call = capture.calls[0]
        stereo = call.mix()
        assert np.array_equal(call.mix("caller"), stereo[:, 0])
        assert np.array_equal(call.mix("called"), stereo[:, 1])
        total = stereo.astype(np.int32).sum(axis=1).clip(-32768, 32767)
        assert np.array_equal(call.mix("mono"), total)
        assert np.array_equal(call.mix(start=0.25, end=0.5), stereo[2000:4000])
        assert np.array_equal(call.caller.pcm(), stereo[:, 0])
        out = np.zeros(50 * 160 + 7, np.int16)
        assert call.caller.pcm(out).base is out


def test_saved_files_hold_what_mix_gives(tmp_path: Path) -> None:
    with callreplay.open(pcap(_capture({0: _noise(60, 5), 1: _noise(60, 6)}))) as capture:
        call = capture.calls[0]
        call.save(tmp_path / "x.wav", channels="stereo", metadata=False)
        octets = (tmp_path / "x.wav").read_bytes()
        assert np.array_equal(np.frombuffer(octets[44:], "<i2").reshape(-1, 2), call.mix())
        assert b"".join(call.stream("wav", channels="stereo", metadata=False)) == octets
        call.save(tmp_path / "y.json")
        peaks = json.loads((tmp_path / "y.json").read_text())
        assert (peaks["channels"], peaks["length"]) == (2, -(-60 * 160 // 256))
        call.save(tmp_path / "z.png", width=300, height=60)
        assert (tmp_path / "z.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.wav", "y.json", "z.png"]


def test_lost_packets_are_gaps_concealed_and_marked() -> None:
    caller = {index: payload for index, payload in _noise(100, 7).items() if index not in (50, 51)}
    with callreplay.open(pcap(_capture({0: caller, 1: _noise(100, 8)}))) as capture:
        call = capture.calls[0]
        (gap,) = call.caller.columns.gaps
        assert (int(gap["start"]), int(gap["ticks"]), int(gap["packets"])) == (8000, 320, 2)
        assert GapReason(int(gap["reason"])) is GapReason.LOST
        assert len(call.mix()) == 16000
        assert call.mix("caller")[8000:8160].any()
        marks = [(kind, start - call.start_ns, stop - call.start_ns) for start, stop, kind in
                 call.caller.marks(call.start_ns, call.end_ns)]  # fmt: skip
        assert marks == [("loss", 1000 * MS, 1040 * MS)]


def test_the_report_tells_digits_loss_and_parties() -> None:
    with callreplay.open(SAMPLES / "reservation.pcap") as capture:
        report = capture.calls[0].report()
    assert report["caller"] == {
        "number": "0721555010",
        "name": "Ana Pop",
        "address": report["caller"]["address"],
    }
    assert report["called"]["number"] == "2001"
    assert report["status"] == "answered"
    caller, called = report["legs"]
    assert [event["digit"] for event in caller["events"]] == ["5"]
    assert caller["events"][0]["start_s"] == pytest.approx(13.4, abs=0.005)
    assert (caller["statistics"]["lost"], called["statistics"]["lost"]) == (7, 10)
    assert json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("payload", [b"\xff" * 160, b""], ids=["silent", "headers only"])
def test_the_report_of_silence_is_plain_json(payload: bytes) -> None:
    legs = {0: dict.fromkeys(range(50), payload), 1: _noise(50, 1)}
    with callreplay.open(pcap(_capture(legs))) as capture:
        report = capture.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    silent, loud = (leg["levels"] for leg in report["calls"][0]["legs"])
    assert (silent["peak_dbfs"], silent["rms_dbfs"], silent["silence"]) == (None, None, 1.0)
    assert -20 < loud["rms_dbfs"] < loud["peak_dbfs"] <= 0


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng to speak the truth again")
@pytest.mark.parametrize("index", [0, 1])
def test_samples_sound_as_they_were_spoken(index: int) -> None:
    """What the sample's voices said, sample for sample, wherever no packet was lost."""
    from samples.make import SCENES, dialogue, encode

    scene = SCENES[index]
    legs, _ = dialogue(scene)
    with callreplay.open(SAMPLES / f"{scene.name}.pcap") as capture:
        call = capture.calls[0]
        mixed = call.mix("stereo")
    name = {"PCMU": "mulaw", "PCMA": "alaw"}[scene.codec]
    for side, pcm in enumerate(legs):
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-f",
            name,
            "-ar",
            "8000",
            "-ac",
            "1",
            "-i",
            "-",
            "-f",
            "s16le",
            "-",
        ]
        octets = encode(pcm, scene.codec)
        truth = np.frombuffer(
            subprocess.run(command, input=octets, capture_output=True, check=True).stdout, np.int16
        )
        size = min(len(truth), len(mixed))
        same = (truth[:size] == mixed[:size, side]).mean()
        assert same > 1 - 2 * scene.loss - 0.02


def test_dtmf_is_muted_or_sounded_over_its_time() -> None:
    records = _capture({1: _noise(100, 9)})
    for step in range(100):
        ts, payload, pt = 5000 + step * 160, b"\x30" * 160, 0
        if 40 <= step < 50:
            ts, payload, pt = 5000 + 40 * 160, event(7, (step - 39) * 160, end=step >= 47), 101
        packet = rtp(1000 + step, ts, 0x100, pt, payload)
        records.append((START + (step * 20 + 5) * MS, udp("10.0.0.1", 4000, "10.0.0.2", 5000, packet)))
    with callreplay.open(pcap(sorted(records)), codecs={101: "telephone-event/8000"}) as capture:
        call = capture.calls[0]
        side: NDArray[np.int16] = call.mix("caller", dtmf="mute")
        assert not side[6600:7400].any()
        tone = call.mix("caller", dtmf="tone")[6600:7400].astype(float)
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 8000))
    strongest = sorted(int(f) for f in np.argsort(spectrum)[-40:])
    assert any(abs(f - 852) < 12 for f in strongest)
    assert any(abs(f - 1209) < 12 for f in strongest)


def test_no_capture_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no capture at all, but it is long enough to be looked at.\n" * 9)
    with pytest.raises(CaptureError, match=r"notes\.txt"):
        callreplay.open(path)
    with pytest.raises(CaptureError, match="No such file"):
        callreplay.open(tmp_path / "absent.pcap")
    for folder in (tmp_path, ".", "..", "/", ""):
        with pytest.raises(CaptureError, match="a folder, not a regular file"):
            callreplay.open(folder)
    with pytest.raises(ArgumentError, match="payload type 200"):
        callreplay.open(SAMPLES / "support.pcap", codecs={200: "PCMU/8000"})


@pytest.fixture
def legs(tmp_path: Path) -> tuple[Path, Path]:
    """A capture per leg."""
    paths = tmp_path / "caller.pcap", tmp_path / "called.pcap"
    for side, path in enumerate(paths):
        path.write_bytes(pcap(_capture({side: _noise(50, side)})))
    return paths


@pytest.mark.parametrize(
    "kind", ["itself", "relative", "hard link", "symbolic link", "the other leg", "renamed"]
)
def test_an_output_over_the_capture_is_refused(
    kind: str, legs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, called = legs
    monkeypatch.chdir(caller.parent)
    target = caller.with_name("x.wav")
    with callreplay.open(caller, called) as capture:
        if kind == "hard link":
            target.hardlink_to(caller)
        elif kind == "symbolic link":
            target.symlink_to(caller)
        elif kind == "renamed":
            caller = caller.rename(target)
        else:
            target = {"relative": Path(caller.name), "the other leg": called}.get(kind, caller)
        before = [(path.name, path.read_bytes()) for path in sorted(caller.parent.iterdir())]
        with pytest.raises(ArgumentError, match=re.escape(f"{str(target)!r} is the capture")):
            capture.calls[0].save(target, "wav")
        assert [(path.name, path.read_bytes()) for path in sorted(caller.parent.iterdir())] == before
        capture.calls[0].save("other.wav")


def test_a_capture_whose_side_index_could_have_no_name(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    path.write_bytes(pcap(_capture({0: _noise(50, 1)})))
    with callreplay.open(path) as capture:
        assert len(capture.calls) == 1


def test_a_side_index_is_part_of_the_recording(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "support.pcap", tmp_path / "x.rtp")
    (tmp_path / "x.rtp.idx").write_bytes(b"kept")
    with callreplay.open(tmp_path / "x.rtp") as capture, pytest.raises(ArgumentError, match=r"x\.rtp\.idx"):
        capture.calls[0].save(tmp_path / "x.rtp.idx", "wav")
    assert (tmp_path / "x.rtp.idx").read_bytes() == b"kept"


def test_what_was_read_from_memory_may_be_saved_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(pcap(_capture({0: _noise(50, 1)})))
    with callreplay.open(path.read_bytes()) as capture:
        capture.calls[0].save(path)
    assert path.read_bytes().startswith(b"RIFF")


@pytest.mark.serial
def test_two_threads_use_two_cores() -> None:
    with callreplay.open(pcap(_capture({0: _noise(3000, 10), 1: _noise(3000, 11)}))) as capture:
        call = capture.calls[0]

        def work() -> None:
            for _ in range(60):
                call.mix(rate=16000)

        def timed(count: int) -> float:
            threads = [threading.Thread(target=work) for _ in range(count)]
            begin = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return time.perf_counter() - begin

        def in_processes() -> float:
            begin = time.perf_counter()
            children = []
            for _ in range(2):
                child = os.fork()
                if child == 0:
                    work()
                    os._exit(0)
                children.append(child)
            for child in children:
                os.waitpid(child, 0)
            return time.perf_counter() - begin

        work()
        # On a quiet machine two threads do 1.7 times the work of one. On a busy one there are no two cores to be had:
        # then they must do as well as two processes, which share no lock, do at the same moment.
        tries = []
        for _ in range(8):
            one, two, apart = timed(1), timed(2), in_processes()
            tries.append((2 * one / two, apart / two))
            if tries[-1][0] >= 1.7 or tries[-1][1] >= 0.9:
                break
        assert max(gain for gain, _ in tries) >= 1.7 or max(share for _, share in tries) >= 0.9, tries


_TEN_HOURS = """
import resource, sys, threading, time
import callreplay

def resident() -> tuple[int, int]:
    total = mapped = 0
    inside = False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            if "-" in line.split(" ", 1)[0] and ":" not in line.split(" ", 1)[0]:
                inside = line.rstrip().endswith({path!r})
            elif line.startswith("Rss:"):
                size = int(line.split()[1])
                total += size
                mapped += size if inside else 0
    return total, mapped

most, stop = 0, threading.Event()
def watch() -> None:
    global most
    while not stop.wait(0.1):
        total, mapped = resident()
        most = max(most, total - mapped)
watcher = threading.Thread(target=watch)
watcher.start()
with callreplay.open({path!r}) as capture:
    call = capture.calls[0]
    call.save({out!r}, channels="stereo", metadata=False)
    print(round(call.duration_s, 3))
stop.set(); watcher.join()
print(most)
"""


@pytest.mark.slow
def test_ten_hours_fit_into_150_mib(tmp_path: Path) -> None:
    from bench._captures import leg, write_pcap

    path, out = tmp_path / "long.pcap", tmp_path / "long.wav"
    payload = np.full(36000 * 50 * 160, 0x55, np.uint8)
    write_pcap(path, leg(36000, 0, payload=payload), leg(36000, 1, payload=payload))
    del payload
    script = _TEN_HOURS.format(path=str(path), out=str(out))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, most = result.stdout.split()
    assert float(seconds) == 36000.0
    assert out.stat().st_size == 44 + 36000 * 8000 * 4
    print(f"{int(most) / 1024:.0f} MiB")
    assert int(most) < 150 * 1024, f"{int(most) / 1024:.0f} MiB"
    path.unlink()
    out.unlink()
