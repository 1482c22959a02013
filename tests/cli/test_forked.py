"""What `tests.programs` starts is a process as any other."""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from tests import programs

forking = pytest.mark.skipif(
    sys.platform != "linux" or any(name.startswith("COVERAGE_") for name in os.environ),
    reason="forks on Linux alone, and nothing whose lines are traced from its start",
)


@forking
def test_a_command_is_a_child_with_its_folder_session_and_signals(tmp_path: Path) -> None:
    words = ["transcode", "-", "-o", "x.wav"]
    with programs.Program(words, stdin=subprocess.PIPE, cwd=tmp_path, start_new_session=True) as command:
        assert "programs.preloaded" in Path(f"/proc/{command.pid}/cmdline").read_text()
        while (
            os.getsid(command.pid) != command.pid or Path(f"/proc/{command.pid}/cwd").readlink() != tmp_path
        ):
            assert command.poll() is None
        parent = Path(f"/proc/{command.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
        assert int(parent) == os.getpid()
        command.kill()
    assert command.returncode == -signal.SIGKILL


def test_a_fork_and_the_program_itself_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "bad.pcap").write_bytes(b"no capture")
    for words in (["--version"], ["info", "bad.pcap"], ["transcoed"], ["calls", "find", "--help"]):
        itself = subprocess.run([*programs.COMMAND, *words], check=False, capture_output=True, cwd=tmp_path)
        forked = programs.run(words, capture_output=True, cwd=tmp_path)
        assert (forked.returncode, forked.stdout, forked.stderr) == (
            itself.returncode,
            itself.stdout,
            itself.stderr,
        ), words


def _describe(pipe: Connection) -> None:
    started = Path("/proc/self/cmdline").read_text().endswith("--multiprocessing-fork\0")
    parent = multiprocessing.parent_process()
    found = {
        "parents": (os.getppid(), parent and parent.pid),
        "group": (os.getpgrp(), os.getsid(0)),
        "folder": str(Path.cwd()),
        # Python's own readline, which pytest imports, sets two behind its back.
        "environment": {name: os.environ[name] for name in os.environ if name not in ("LINES", "COLUMNS")},
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "path": sys.path,
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "handlers": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }
    pipe.send((started, found))
    pipe.recv()


def _described() -> tuple[bool, Any, int | None]:
    """Whether a worker was started, what it says of itself, and its end when it is sent SIGTERM."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_describe, args=(theirs,))
    process.start()
    started, found = ours.recv()
    process.terminate()
    process.join()
    return started, found, process.exitcode


@pytest.mark.started
@forking
def test_a_worker_that_is_forked_is_as_one_that_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLREPLAY_TEST", "1")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        started = _described()
        with programs.forked_workers():
            forked = _described()
            monkeypatch.setenv("PYTHONHASHSEED", "1")  # which nothing can have after its start
            again = _described()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert [started[0], forked[0], again[0]] == [True, False, True]
    assert forked[1:] == started[1:]
    assert forked[2] == -signal.SIGTERM
