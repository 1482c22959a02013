"""Outputs appear whole or not at all; WAV headers are right at every size."""

import itertools
import json
import os
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from callreplay import _core
from callreplay.errors import ArgumentError, OutputError, StateError
from callreplay.outputs import atomic
from callreplay.outputs.atomic import AtomicFile, Folders
from callreplay.outputs.formats import FORMATS, Shape, render
from callreplay.outputs.options import Options


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with AtomicFile(path) as out:
        out.write(b"part")
        assert not path.exists()
    assert path.read_bytes() == b"part"
    with pytest.raises(StateError):
        out.write(b"more")


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), AtomicFile(path) as out:
        out.write(bytes(1 // 0))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "reservation.pcap"
_STOPPED_HALF_WAY = """
import sys, time
import callreplay
def stop(share):
    if share > 0:
        print('ready', flush=True)
        time.sleep(60)
with callreplay.open(sys.argv[1]) as capture:
    capture.calls[0].save(sys.argv[2], sys.argv[3], progress=stop)
"""


@pytest.mark.parametrize(
    ("form", "number"), list(zip(FORMATS, itertools.cycle([signal.SIGKILL, signal.SIGTERM]), strict=False))
)
def test_a_killed_process_leaves_nothing(tmp_path: Path, form: str, number: signal.Signals) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    process = subprocess.Popen(
        [sys.executable, "-c", _STOPPED_HALF_WAY, SAMPLE, path, form], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait() == -number
    process.stdout.close()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_a_close_returns_when_a_flush_that_began_after_it_is_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[set[str]] = []  # what had a name when a flush of the folder began
    kept: dict[str, bool] = {}
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return real(descriptor)
        names = {path.name for path in tmp_path.iterdir()}
        time.sleep(0.002)  # others get their names meanwhile
        real(descriptor)
        return flushed.append(names)

    def close(file: AtomicFile) -> None:
        file.close()
        name = Path(file.path).name
        kept[name] = any(name in names for names in flushed)

    monkeypatch.setattr(os, "fsync", fsync)
    folders = Folders()
    files = [AtomicFile(tmp_path / f"{number}.wav", folders) for number in range(24)]
    for file in files:
        file.write(b"whole")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(close, files))
    assert len(kept) == 24
    assert all(kept.values())
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"whole"}


def test_a_name_that_comes_into_use_meanwhile_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with AtomicFile(path) as out:
        out.write(b"new")
        path.write_bytes(b"somebody else's")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


@pytest.fixture
def without_unnamed_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no unnamed files, such as NFS."""
    monkeypatch.setattr(atomic, "_open_unnamed", lambda *_: None)


def test_the_same_where_files_must_have_names(tmp_path: Path, without_unnamed_files: None) -> None:
    test_a_file_appears_when_it_is_whole(tmp_path)
    (tmp_path / "x.bin").unlink()
    test_an_error_leaves_what_was_there(tmp_path)
    out = AtomicFile(tmp_path / "x.bin")
    assert sorted(p.name.startswith(".x.bin.") for p in tmp_path.iterdir()) == [False, True]
    out.abort()
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_rights_names_and_replacing(tmp_path: Path) -> None:
    for name in ("ж" * 127, "x" * 255, "a b\n"):
        for content in (b"one", b"two"):
            with AtomicFile(tmp_path / name) as out:
                out.write(content)
        assert (tmp_path / name).read_bytes() == b"two"
    mask = os.umask(0o027)
    try:
        with AtomicFile(tmp_path / "masked") as out:
            out.write(b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "masked").stat().st_mode & 0o777 == 0o640
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def _replaced(path: Path) -> os.stat_result:
    with AtomicFile(path) as out:
        out.write(b"new")
    assert path.read_bytes() == b"new"
    return path.stat()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666, 0o755, 0o4755, 0o2755])
def test_what_replaces_a_file_has_its_rights(tmp_path: Path, mode: int) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    for path in (real, link):
        real.chmod(mode)
        assert _replaced(path).st_mode & 0o7777 == mode & 0o777
        assert real.stat().st_mode & 0o7777 == mode & 0o777


def test_the_same_rights_where_files_must_have_names(tmp_path: Path, without_unnamed_files: None) -> None:
    test_what_replaces_a_file_has_its_rights(tmp_path, 0o640)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A file of another owner and group."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(path, 12345, 23456)
    return path


def test_what_replaces_a_file_has_its_owner_and_group(foreign: Path) -> None:
    foreign.chmod(0o640)
    status = _replaced(foreign)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (12345, 23456, 0o640)


@pytest.mark.parametrize(("mode", "kept"), [(0o660, 0o600), (0o664, 0o644), (0o604, 0o604)])
def test_a_group_that_cannot_be_kept_gives_no_other_its_rights(
    mode: int, kept: int, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    foreign.chmod(mode)
    monkeypatch.setattr(os, "fchown", refused)
    assert _replaced(foreign).st_mode & 0o7777 == kept


@pytest.mark.parametrize("form", ["wav", "spx", "png"])
def test_a_disk_that_is_full_fails_and_keeps_what_was_there(tmp_path: Path, form: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        (disk / "x").write_bytes(b"old")
        (disk / "ballast").write_bytes(bytes(4096))
        command = "from callreplay.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", command, "transcode", SAMPLE, "-o", disk / "x", "--format", form],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert done.stderr.count("\n") == 1
        assert (disk / "x").read_bytes() == b"old"
        assert sorted(p.name for p in disk.iterdir()) == ["ballast", "x"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_reader_that_leaves_is_no_accident(tmp_path: Path) -> None:
    command = (
        f"{sys.executable} -c 'from callreplay.cli import main; main()' transcode {SAMPLE} -o - --format wav"
    )
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -c 100 | wc -c; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.split(), done.stderr) == (["100", "1"], "")


def test_a_full_disk_is_an_error_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    script = (
        "from callreplay.outputs.atomic import AtomicFile\nfrom callreplay.errors import OutputError\n"
        f"try:\n  with AtomicFile({str(path)!r}) as out:\n    out.write(b'x' * 10**6)\n"
        "except OutputError as error:\n  print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, preexec_fn=limited
    )
    assert str(path) in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_folders_and_devices(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"):
        AtomicFile(tmp_path)
    with pytest.raises(OutputError, match="absent"):
        AtomicFile(tmp_path / "absent" / "x")
    with AtomicFile("/dev/null") as out:
        out.write(b"gone")
    with pytest.raises(OutputError, match="/dev/full"), AtomicFile("/dev/full") as out:
        out.write(b"x" * 10**7)


def test_a_pipe_gets_the_bytes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    time.sleep(0.05)
    with AtomicFile(pipe) as out:
        out.write(b"through")
    assert reader.communicate()[0] == b"through"
    assert pipe.is_fifo()


def test_a_symbolic_link_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with AtomicFile(tmp_path / "link") as out:
        out.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def _chunks(data: bytes) -> dict[bytes, bytes]:
    found, at = {}, 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found[data[at : at + 4]] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


@pytest.mark.parametrize(("name", "tag", "octets"), [("int16", 1, 2), ("ulaw", 7, 1), ("alaw", 6, 1)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [0, 1, 333])
def test_wav_headers_tell_the_truth(name: str, tag: int, octets: int, channels: int, frames: int) -> None:
    pcm = np.arange(frames * channels, dtype=np.int16).reshape(frames, channels)
    shape = Shape(frames, channels, 8000)
    data = b"".join(render(FORMATS["wav"], shape, [pcm] if frames else [], Options(sample_format=name)))
    assert data[:4] == b"RIFF"
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    chunks = _chunks(data)
    assert struct.unpack_from("<HHIIHH", chunks[b"fmt "]) == (
        tag, channels, 8000, 8000 * channels * octets, channels * octets, 8 * octets
    )  # fmt: skip
    assert len(chunks[b"data"]) == frames * channels * octets
    if tag != 1:
        assert int.from_bytes(chunks[b"fact"], "little") == frames
    else:
        assert chunks[b"data"] == pcm.tobytes()
        assert data.index(b"data") == 36


def test_above_four_gib_it_is_rf64() -> None:
    frames = 2**31
    header = _core.wav_header(0, 8000, 2, frames)
    assert header[:4] == b"RF64"
    assert header[4:8] == b"\xff" * 4
    riff, data, samples = struct.unpack_from("<QQQ", _chunks(header + bytes(8))[b"ds64"])
    assert (data, samples) == (frames * 4, frames)
    assert riff == len(header) - 8 + data
    assert _core.wav_header(0, 8000, 2, 2**30 - 20)[:4] == b"RIFF"


def _probe(path: Path) -> tuple[float, int, int]:
    """Duration (s), channels and rate as ffprobe reads them."""
    shown = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "stream=duration,channels,sample_rate",
            "-of",
            "json",
            path,
        ],
        capture_output=True,
        check=True,
    ).stdout
    (stream,) = json.loads(shown)["streams"]
    return float(stream["duration"]), stream["channels"], int(stream["sample_rate"])


def _samples(path: Path, start_s: float, seconds: float) -> np.ndarray:
    """A stretch as ffmpeg decodes it."""
    cut = ["-ss", str(start_s), "-i", str(path), "-t", str(seconds)]
    pcm = subprocess.run(
        ["ffmpeg", "-v", "error", *cut, "-f", "s16le", "-"], capture_output=True, check=True
    ).stdout
    return np.frombuffer(pcm, "<i2").reshape(-1, 2)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffmpeg to read the file")
def test_other_tools_read_more_than_four_gib(tmp_path: Path) -> None:
    """Every octet of the file is made; those that are nought are holes on the disk."""
    path, rate = tmp_path / "x.wav", 48000
    frames = 23_000 * rate
    still = np.zeros((1 << 20, 2), np.int16)
    whole, rest = divmod(frames, len(still))
    last = still[:rest].copy()
    last[-rate:] = (1234, -4321)
    blocks = (*[still] * whole, last)
    with path.open("wb") as file:
        for part in render(FORMATS["wav"], Shape(frames, 2, rate), blocks, Options(channels="stereo")):
            if np.frombuffer(part, np.uint8).any():
                file.write(part)
            else:
                file.seek(len(part), os.SEEK_CUR)
    assert path.stat().st_size > 2**32
    assert path.stat().st_blocks * 512 < 2**27
    assert _probe(path) == (23_000.0, 2, rate)
    end = _samples(path, 22_998, 2)
    assert len(end) == 2 * rate
    assert not end[:rate].any()
    assert (end[rate:] == (1234, -4321)).all()


@pytest.mark.slow
@pytest.mark.skipif(
    "CALLREPLAY_LARGE_FILES" not in os.environ, reason="CALLREPLAY_LARGE_FILES=1 writes 4 GiB"
)
def test_a_call_of_more_than_four_gib_is_saved(tmp_path: Path) -> None:
    """Six hours and a quarter on hold between two seconds of talk, at 48 kHz in stereo."""
    from tests.captures import pcap, rtp, udp

    import callreplay

    start, one, other = 1_700_000_000_000_000_000, ("10.0.0.1", 4000), ("10.0.0.2", 5000)
    records = []
    for index in (*range(50), *range(22_499 * 50, 22_500 * 50)):
        for side, (here, there) in enumerate(((one, other), (other, one))):
            packet = rtp(index if index < 50 else index % 50 + 50, index * 160, side + 1, 0, b"\x80\x00" * 80)
            records.append((start + index * 20_000_000, udp(*here, *there, packet)))
    path = tmp_path / "x.wav"
    with callreplay.open(pcap(records)) as capture:
        (call,) = capture.calls
        call.save(path, channels="stereo", rate=48000)
    try:
        assert path.stat().st_size > 2**32
        assert _probe(path) == (22_500.0, 2, 48000)
        assert not _samples(path, 22_490, 1).any()
        assert np.abs(_samples(path, 22_499.4, 0.2).astype(np.int32)).max() > 10_000
        said = subprocess.run(["soxi", path], capture_output=True, text=True, check=True).stdout
        assert "06:15:00.00 = 1080000000 samples" in said
    finally:
        path.unlink()


@pytest.mark.parametrize("name", ["mp3", "opus", "flac", "m4a"])
def test_pyavs_formats_give_the_same_bytes_twice(name: str) -> None:
    pytest.importorskip("av")
    pcm = np.random.default_rng(1).integers(-9000, 9000, 16000).astype(np.int16)
    shape = Shape(len(pcm), 1, 16000)
    first, second = (b"".join(render(FORMATS[name], shape, [pcm], Options())) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("bitrate", [600_000, 1_000_000])
def test_a_bit_rate_that_the_codec_cannot_have_is_an_argument_error(bitrate: int) -> None:
    pytest.importorskip("av")
    shape = Shape(960, 1, 48000)
    with pytest.raises(ArgumentError, match=f"bitrate {bitrate} "):
        list(render(FORMATS["opus"], shape, [np.zeros(960, np.int16)], Options(bitrate=bitrate)))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing tells the open descriptors")
@pytest.mark.parametrize(
    "how", ["whole", "aborted", "dropped", "over another", "over one that came", "no folder"]
)
def test_no_descriptor_is_left_open(tmp_path: Path, how: str) -> None:
    def once(number: int) -> None:
        path = tmp_path / f"{number}.bin"
        if how == "over another":
            path.write_bytes(b"old")
        file = AtomicFile(path if how != "no folder" else tmp_path / "none" / "x")
        file.write(b"new")
        if how == "over one that came":
            path.write_bytes(b"somebody else's")
        if how == "aborted":
            file.abort()
        elif how != "dropped":
            file.close()
            assert path.read_bytes() == b"new"

    def tried(number: int) -> int:
        with suppress(OutputError):
            once(number)
        return len(list(Path("/proc/self/fd").iterdir()))

    first = tried(0)
    assert [tried(number) for number in range(1, 6)] == [first] * 5


def test_what_cannot_be_named_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    file = AtomicFile(gone / "x.bin")
    file.write(b"new")
    gone.rmdir()
    with pytest.raises(OutputError, match="cannot finish"):
        file.close()
    assert not gone.exists()
