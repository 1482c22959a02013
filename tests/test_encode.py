"""WAV headers by the letter, and files that are whole or not there."""

import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from callreplay import _core
from callreplay.encode import AtomicFile
from callreplay.errors import ArgumentError, OutputError, StateError
from tests import laws

PCM = np.random.default_rng(1).integers(-32768, 32768, 4001).astype(np.int16)


def encoded(encoding: int) -> bytes:
    out = np.empty(len(PCM) * (2 if encoding == 0 else 1), np.uint8)
    _core.wav_encode(encoding, PCM, out)
    return out.tobytes()


def test_the_header_of_16_bit_pcm() -> None:
    assert _core.wav_header(0, 8000, 2, 1000) == struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 4000, b"WAVE", b"fmt ", 16, 1, 2, 8000, 32000, 4, 16, b"data", 4000
    )  # fmt: skip


def test_above_4_gib_the_header_is_rf64() -> None:
    """EBU Tech 3306: RF64, sizes of -1, and a ds64 chunk first, with 64-bit sizes."""
    frames = 2**31 + 5
    header = _core.wav_header(0, 16000, 2, frames)
    assert header[:4] == b"RF64"
    assert header[4:8] == b"\xff" * 4
    assert header[8:16] == b"WAVEds64"
    ds64, riff, data, samples, table = struct.unpack_from("<IQQQI", header, 16)
    assert (ds64, riff, data, samples, table) == (28, len(header) - 8 + 4 * frames, 4 * frames, frames, 0)
    assert header[48:52] == b"fmt "
    assert header[-8:] == b"data\xff\xff\xff\xff"
    assert _core.wav_header(0, 16000, 2, 2**29)[:4] == b"RIFF"


def test_bad_headers_are_refused() -> None:
    for arguments in ((9, 8000, 1, 1), (0, 0, 1, 1), (0, 8000, 0, 1)):
        with pytest.raises(ArgumentError):
            _core.wav_header(*arguments)


@pytest.mark.parametrize("reader", ["sox", "ffmpeg"])
@pytest.mark.parametrize(("encoding", "raw"), [(1, "mulaw"), (2, "alaw"), (0, "s16le")])
def test_others_read_what_is_written(tmp_path: Path, reader: str, encoding: int, raw: str) -> None:
    if shutil.which(reader) is None or shutil.which("ffmpeg") is None:
        pytest.skip(f"needs {reader} and ffmpeg")
    octets, path = encoded(encoding), tmp_path / "x.wav"
    path.write_bytes(_core.wav_header(encoding, 8000, 1, len(PCM)) + octets + b"\0" * (len(octets) % 2))
    if reader == "sox":
        command = ["sox", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-L", "-"]
    else:
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-"]
    read = subprocess.run(command, capture_output=True, check=True).stdout
    law = ["ffmpeg", "-v", "error", "-f", raw, "-ar", "8000", "-ac", "1", "-i", "-", "-f", "s16le", "-"]
    truth = subprocess.run(law, input=octets, capture_output=True, check=True).stdout
    assert len(read) == 2 * len(PCM)
    assert read == truth


def test_any_buffer_is_written(tmp_path: Path) -> None:
    def write(buffer: object) -> bytes:
        with AtomicFile(tmp_path / "x") as file:
            file.write(buffer)  # type: ignore[arg-type]
        return (tmp_path / "x").read_bytes()

    laws.any_buffer_type(write, bytes(range(256)))
    laws.same_bytes_twice(lambda: encoded(1))


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x.wav"
    target.write_bytes(b"before")
    file = AtomicFile(target)

    def fail() -> None:
        with file:
            file.write(b"partial")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.listdir(tmp_path) == ["x.wav"]  # noqa: PTH208
    assert target.read_bytes() == b"before"
    with pytest.raises(StateError):
        file.write(b"more")


def test_kill_9_leaves_no_final_name(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom callreplay.encode import AtomicFile\n"
        "file = AtomicFile(sys.argv[1])\nfile.write(bytes(1 << 20))\nprint('half', flush=True)\n"
        "sys.stdin.read()\nfile.close()\n"
    )
    target = tmp_path / "x.wav"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert not target.exists()
    assert all(p.name.startswith(".x.wav.") and p.name.endswith(".part") for p in tmp_path.iterdir())


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\nfrom callreplay.encode import AtomicFile\n"
        "from callreplay.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n    with AtomicFile(sys.argv[1]) as file:\n        file.write(bytes(1 << 20))\n"
        "except OutputError as error:\n    print(error)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 65536
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.wav")], capture_output=True, text=True, check=True
    )
    assert "x.wav" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_an_error(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = AtomicFile(pipe)
    os.close(reader)
    with pytest.raises(OutputError, match="pipe"):
        file.write(bytes(1 << 20))
    file.abort()
    assert pipe.is_fifo()


def test_no_folder_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="absent"):
        AtomicFile(tmp_path / "absent" / "x.wav")
    with pytest.raises(OutputError, match="folder"):
        AtomicFile(tmp_path)


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with AtomicFile(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
