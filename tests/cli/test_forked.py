"""What `tests.programs` starts is a process as any other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import programs


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
def test_a_command_is_a_child_with_its_folder_session_and_signals(tmp_path: Path) -> None:
    words = ["transcode", "-", "-o", "x.wav"]
    with programs.Program(words, stdin=subprocess.PIPE, cwd=tmp_path, start_new_session=True) as command:
        assert "preloaded.py" in Path(f"/proc/{command.pid}/cmdline").read_text()
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
