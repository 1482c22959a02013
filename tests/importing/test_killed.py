"""An import that is killed, or interrupted, leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.captures import pcap
from tests.importing.test_rotation import call, rows
from tests.recording.test_record import children, shelf, until

from callreplay.store.database import Database

__all__ = ["shelf"]


def test_no_process_of_a_killed_import_is_left(database: Database, shelf: Path, tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number}.pcap").write_bytes(pcap(call(number, 1000 * number, 1)))
    command = [sys.executable, "-m", "callreplay", "import", str(tmp_path), "-j", "2"]
    process = subprocess.Popen([*command, "--database-url", database.url], stdout=subprocess.DEVNULL)
    until(lambda: process.poll() is not None or len(rows(database)) >= 1)
    begun = children(process.pid)
    assert len(begun) >= 2
    process.kill()
    process.wait()
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in begun))


def test_ctrl_c_while_workers_start_is_one_line(database: Database, shelf: Path, tmp_path: Path) -> None:
    """A terminal sends it to all of them."""
    for number in range(200):
        (tmp_path / f"{number}.pcap").write_bytes(pcap(call(number, 1000 * number, 1)))
    command = [sys.executable, "-m", "callreplay", "import", str(tmp_path), "-j", "2"]
    process = subprocess.Popen(
        [*command, "--database-url", database.url],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: len(children(process.pid)) >= 2)  # the tracker of resources is one of them
    begun = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "callreplay: interrupted\n")
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in begun))
