"""The guides that need a service: every command in them is run, in order, against a real one.

What needs another machine, root, or a program that is not ours is named in ELSEWHERE; anything else must end with 0.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import programs

from .conftest import Running

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "start/first-service",
    "tutorials/archive",
    "how-to/retention",
    "how-to/pci-pause",
    "how-to/backup",
    "how-to/monitoring",
)
ELSEWHERE = {
    "python3", "/opt/callreplay/bin/pip", "useradd", "systemctl", "journalctl", "install", "tcpdump", "tshark",
    "rsync", "ssh", "zstd",
}  # fmt: skip
FOR_GOOD = ("serve", "watch")
"""Commands that go on until they are told to stop."""
PAGE_UUID = "0b9d1c8e-3f52-4c57-9f1e-52e0a3a4d7aa"


def commands(page: str) -> Iterator[str]:
    """The lines that a reader types."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        yield from re.findall(r"^\s*\$ (.+)$", block, re.MULTILINE)


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the reader is: the samples are there, a folder that a recorder writes to, and one for backups."""
    folder = Path(
        tempfile.mkdtemp(prefix="callreplay-reader-")
    )  # not pytest's, which PostgreSQL could not enter
    folder.chmod(0o755)
    (folder / "samples").symlink_to(ROOT / "samples")
    for name in ("spool", "backup"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "samples" / "support.pcap", folder / "spool")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def adapted(line: str, service: Running, place: Path, uuid: str) -> str:
    """The line with this machine's places in it."""
    for written, here in {
        "http://127.0.0.1:8080": service.base,
        "PASSWORD": service.password,
        PAGE_UUID: uuid,
        "/mnt/backup": str(place / "backup"),
        "/srv/callreplay": str(place / "restored"),
        "/var/spool/captures": str(place / "spool"),
        "--data-dir /var/lib/callreplay": "",
        "2=/mnt/audio2": f"1={service.folder / 'data' / 'volumes'}",
    }.items():
        line = line.replace(written, here)
    return line


def run(words: list[str], service: Running, place: Path) -> None:
    """Run a command of ours, or curl; one that goes on is stopped once it has done its first work."""
    environment = os.environ | {"CALLREPLAY_DATA_DIR": str(service.folder / "data")}
    if len(words) > 1 and words[1] in FOR_GOOD:
        extra = ["--port", "0", "--db-port", "0"] if words[1] == "serve" else []
        with (place / "out").open("wb") as out:
            command = [*programs.COMMAND, *words[1:], *extra]
            going = subprocess.Popen(command, cwd=place, env=environment, stdout=out, stderr=out)
        done = "serving http" if words[1] == "serve" else "support.pcap"
        deadline = time.monotonic() + 60
        while done not in (place / "out").read_text() and going.poll() is None:
            assert time.monotonic() < deadline, (place / "out").read_text()
            time.sleep(0.05)
        going.send_signal(signal.SIGTERM)
        assert going.wait(30) == 0, (place / "out").read_text()
        return
    if words[0] == "callreplay":
        ended = programs.run(
            words[1:], cwd=place, env=environment, capture_output=True, stdin=subprocess.DEVNULL
        )
    else:
        ended = subprocess.run(
            words, check=False, cwd=place, env=environment, capture_output=True, stdin=subprocess.DEVNULL
        )
    assert ended.returncode == 0, (words, ended.stderr.decode())


def a_call(service: Running, place: Path) -> str:
    """A call that is there. What a page has let go, for its time had come, is imported again."""
    found = service.rows("SELECT uuid FROM calls ORDER BY started_at LIMIT 1")
    if not found:
        run(["callreplay", "import", "samples/support.pcap"], service, place)
        found = service.rows("SELECT uuid FROM calls LIMIT 1")
    return str(found[0]["uuid"])


def test_the_commands_of_the_guides_run(own_service: Running, place: Path) -> None:
    own_service.start()
    ran = 0
    for page in PAGES:
        for line in commands(page):
            uuid = a_call(own_service, place)
            words = shlex.split(adapted(line, own_service, place, uuid))
            if words[0] in ELSEWHERE or ("serve" in words and "--data-dir" not in words):
                continue  # this service is the one that the page starts
            if "restore" in words:  # each into a folder that has no database
                shutil.rmtree(place / "restored", ignore_errors=True)
            run(words[: words.index("|")] if "|" in words else words, own_service, place)
            ran += 1
    assert ran > 20
    assert (place / "call.wav").read_bytes().startswith(b"RIFF")
