"""When writing goes wrong or is broken off: the exit code, one line that says why, and no file left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from callreplay.cli import interrupted

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SAMPLE = SAMPLES / "support.pcap"
COMMAND = [sys.executable, "-c", "from callreplay.cli import main; main()", "transcode"]
# What coverage.py writes when the process ends is not what the limit is about.
LIMITED = """
import resource
from callreplay.cli import main
try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    main()
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.fixture(scope="module")
def long_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hours of one leg: long enough to be in the midst of."""
    from bench._captures import leg, write_pcap

    path = tmp_path_factory.mktemp("long") / "long.pcap"
    write_pcap(path, leg(7200, 0, payload=np.full(7200 * 8000, 0x55, np.uint8)))
    return path


def fails(
    *arguments: object,
    code: int,
    says: str,
    shell: str = "",
    command: Sequence[str] = COMMAND,
) -> None:
    words = [*command, *map(str, arguments)]
    if shell:
        words = ["bash", "-c", f'"$@" {shell}; exit ${{PIPESTATUS[0]}}', "bash", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if "warning" not in line]
    if says:
        assert len(lines) == 1, lines
        assert lines[0].startswith("callreplay: ")
        assert says in lines[0]
    else:
        assert lines == []


def written(child: subprocess.Popen[str] | subprocess.Popen[bytes], folder: Path) -> int:
    """Octets that the child has in files of the folder, which need not have names yet."""
    sizes = 0
    for descriptor in Path(f"/proc/{child.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).startswith(f"{folder}/"):
                sizes += descriptor.stat().st_size
    return sizes


def test_an_interrupt_in_mid_write_leaves_nothing(long_capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.spx"
    with subprocess.Popen(
        [*COMMAND, str(long_capture), "-o", str(out)], stderr=subprocess.PIPE, text=True
    ) as child:
        deadline = time.monotonic() + 60
        while not written(child, tmp_path):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert not out.exists()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert errors.splitlines()[-1] == "callreplay: interrupted"
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_an_extension_is_loaded_is_one_line(tmp_path: Path) -> None:
    """The extension says that it could not be loaded, and Python that its initialisation failed."""
    program = f"""
import os, sys
class Interrupted:
    def find_spec(name, *_):
        if name == "numpy.linalg":
            os.kill(os.getpid(), {signal.SIGINT:d})
sys.meta_path.insert(0, Interrupted)
from callreplay.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "transcode", SAMPLE, "-o", str(tmp_path / "x.wav")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "callreplay: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_what_is_behind_an_error() -> None:
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first
    assert not interrupted(first)
    second.__cause__ = KeyboardInterrupt()
    assert interrupted(first)
    assert not interrupted(None)


def test_an_interrupt_keeps_the_file_that_was_there(long_capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.mp3"
    out.write_bytes(b"old")
    with subprocess.Popen([*COMMAND, str(long_capture), "-o", str(out)], stderr=subprocess.DEVNULL) as child:
        while not written(child, tmp_path):
            assert child.poll() is None
            time.sleep(0.005)
        child.send_signal(signal.SIGINT)
    assert child.returncode == 130
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(("suffix", "stage"), [("wav", "write"), ("json", "finish")])
def test_a_file_too_large_for_the_disk(suffix: str, stage: str, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for a disk that takes no more: write(2) fails in the midst."""
    out = tmp_path / f"x.{suffix}"
    fails(
        SAMPLE, "-o", out, code=1, says=f"cannot {stage} '{out}': File too large",
        command=[sys.executable, "-c", LIMITED, "transcode"],
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    out = small_disk / "x.wav"
    fails(SAMPLE, "-o", out, code=1, says=f"cannot write '{out}': No space left on device")
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    out = tmp_path / "absent" / "x.wav"
    fails(SAMPLE, "-o", out, code=1, says=f"cannot write '{out}': No such file or directory")


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    out = tmp_path / "locked" / "x.wav"
    out.parent.mkdir()
    out.parent.chmod(0o555)
    says = "Permission denied"
    if os.access(out.parent, os.W_OK):  # root may write anywhere but where nobody may
        out, says = Path("/proc/x.wav"), "No such file or directory"
    fails(SAMPLE, "-o", out, code=1, says=f"cannot write '{out}': {says}")


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    fails(SAMPLE, "-o", tmp_path, "--format", "wav", code=1, says="it is a folder")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_ends_early_or_is_full(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    more_than_a_pipe_holds = SAMPLES / "reservation.pcap"
    head = "| head -c 10 >/dev/null"
    fails(more_than_a_pipe_holds, "-o", "-", "--format", "wav", code=1, says="", shell=head)
    fails(
        SAMPLE, "-o", "-", "--format", "wav", code=1,
        says="cannot write standard output: No space left on device", shell=">/dev/full",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "4000"], "rate must be 8000 to 48000 Hz, not 4000"),
        (["--quality", "11", "--format", "spx"], "quality must be 0 to 10"),
        (["--format", "spx", "--rate", "11025"], "spx cannot hold rate 11025"),
    ],
)
def test_bad_options_are_named(arguments: list[str], says: str, tmp_path: Path) -> None:
    fails(SAMPLE, "-o", tmp_path / "x.wav", *arguments, code=2, says=says)
    assert list(tmp_path.iterdir()) == []


def test_bad_input(tmp_path: Path) -> None:
    empty, folder = tmp_path / "empty.pcap", tmp_path / "folder"
    empty.write_bytes(b"")
    folder.mkdir()
    for source in (empty, folder):
        fails(source, "-o", tmp_path / "x.wav", code=2, says=str(source))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.pcap", "folder"]
