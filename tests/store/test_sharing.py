"""Commands and a service that use one embedded database at the same time, each with its own beginning and end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import programs
from tests.scenario.cluster import prepare

from callreplay.cores import undisturbed
from callreplay.store import embedded
from callreplay.store.access import opened
from callreplay.store.cluster import EmbeddedError
from callreplay.store.embedded import EmbeddedPostgres, free_port

SAMPLES = Path(__file__).parents[2] / "samples"
PROGRAM = str(Path(sys.executable).with_name("callreplay"))
# A command that has the database open until its standard input ends.
HOLD = """
import sys
from pathlib import Path
from callreplay.store.access import opened
with opened("", Path(sys.argv[1]), build=True) as url:
    print(url, flush=True)
    sys.stdin.read()
    import psycopg
    print(psycopg.connect(url).execute("SELECT 1").fetchone()[0], flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="callreplay-sharing-"))
    made.chmod(0o755)
    yield made
    pid = made / "cluster" / "postmaster.pid"
    if pid.exists():
        os.kill(int(pid.read_text().splitlines()[0]), signal.SIGQUIT)
    shutil.rmtree(made, ignore_errors=True)


def holding(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ends(process: subprocess.Popen[str]) -> str:
    """What the command says of the database once its input has ended."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.strip()


def running(folder: Path) -> bool:
    return (folder / "cluster" / "postmaster.pid").exists()


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return programs.run([*words, "--data-dir", folder], capture_output=True, text=True, timeout=120)


def test_the_last_command_to_leave_stops_the_server(folder: Path) -> None:
    """The one that started it goes first; of two that start together one starts it."""
    first, second = holding(folder), holding(folder)
    try:
        assert said(first) == said(second) != ""
        assert running(folder)
        assert ends(first) == "1"
        assert running(folder), "the second still uses it"
        assert ends(second) == "1"
        assert not running(folder)
    finally:
        first.kill()
        second.kill()


def test_a_service_comes_and_goes_beside_a_command(folder: Path) -> None:
    command = holding(folder)
    try:
        url = said(command)
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        with EmbeddedPostgres(folder, port=port) as service:
            assert service.url == url
            with pytest.raises(EmbeddedError, match="in use by another"):
                EmbeddedPostgres(folder, port=0).start()
            psycopg.connect(service.reader_url).close()
        assert running(folder), "the command still uses it"
        assert ends(command) == "1"
        assert not running(folder)
        # The other way round: what came while a service ran leaves it its server.
        with EmbeddedPostgres(folder, port=0) as service:
            later = holding(folder)
            assert said(later) == service.url
            assert ends(later) == "1"
            psycopg.connect(service.url).close()
    finally:
        command.kill()


def test_a_killed_command_leaves_a_server_that_the_next_one_uses_and_stops(folder: Path) -> None:
    killed = holding(folder)
    url = said(killed)
    killed.kill()
    killed.communicate()
    assert running(folder)
    with opened("", folder) as found:
        assert found == url
    assert not running(folder)


def dying(process: Path) -> bool:
    """Whether it is on its way out: SIGKILL was sent (bit 8 of what is pending), or it is exiting (flag 4)."""
    pending = re.findall(r"^S..Pnd:\t(\S+)", (process / "status").read_text(), re.MULTILINE)
    flags = int((process / "stat").read_text().rsplit(")", 1)[1].split()[6])
    return any(int(each, 16) >> 8 & 1 for each in pending) or bool(flags & 4)


def working(folder: Path) -> list[bytes]:
    """The command lines of processes that name the folder there or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes()
            named = os.fsencode(folder) in line + (process / "environ").read_bytes()
            if named and not dying(process):
                found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_service_that_ends_while_its_cluster_is_made(folder: Path, number: int) -> None:
    """Told to end, it leaves no process; of a killed one initdb goes on, and is in nobody's way."""
    service = subprocess.Popen(
        [PROGRAM, "serve", "--data-dir", str(folder), "--port", "0", "--db-port", "0", "--samples", ""],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any((folder / "cluster.new").glob("*/global")):
        assert service.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    service.send_signal(number)
    assert service.wait(60) == (0 if number == signal.SIGTERM else -number)
    left = working(folder)
    assert bool(left) == (number == signal.SIGKILL), left
    with EmbeddedPostgres(folder, port=0) as server:
        psycopg.connect(server.reader_url).close()


@pytest.mark.parametrize("place", ["_run", "_provide", "start"])
def test_an_interrupt_while_a_command_starts_the_server_stops_it(
    folder: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = getattr(EmbeddedPostgres, place)

    def interrupted(*given: Any, **named: Any) -> None:
        method(*given, **named)
        raise KeyboardInterrupt

    prepare(folder)
    monkeypatch.setattr(EmbeddedPostgres, place, interrupted)
    with pytest.raises(KeyboardInterrupt), EmbeddedPostgres(folder, port=0, keep=False):
        pass
    assert not running(folder)


def test_what_is_undisturbed_is_waited_for_however_often_somebody_interrupts() -> None:
    done: list[int] = []

    def work() -> None:
        for number in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            done.append(number)

    with pytest.raises(KeyboardInterrupt):
        undisturbed(work)
    assert done == [0, 1, 2]
    with pytest.raises(EmbeddedError, match="as told"):
        undisturbed(lambda: (_ for _ in ()).throw(EmbeddedError("as told")))


def test_a_port_that_another_takes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between asking for a free port and listening on it anybody may come; where any will do, another is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        found = [taken, taken]

        def late(host: str, port: int) -> int:
            return found.pop() if found and not port else free_port(host, port)

        monkeypatch.setattr(embedded, "free_port", late)
        with EmbeddedPostgres(folder, port=0) as server:
            assert not found
            assert server.port != taken
            psycopg.connect(server.reader_url).close()
        with pytest.raises(EmbeddedError, match=f"cannot listen on 127.0.0.1:{taken}"):
            EmbeddedPostgres(folder, port=taken).start()


def test_first_minutes(folder: Path) -> None:
    """Reading builds nothing; an import before the first service files its calls, and one beside it does too."""
    for words in (
        ("calls", "find"),
        ("volumes", "list"),
        ("retain",),
        ("tenants", "list"),
        ("audit", "verify"),
    ):
        done = call(folder, *words)
        assert done.returncode == 1, words
        assert done.stderr.count("\n") == 1, done.stderr
        assert f"there is no database in {folder}" in done.stderr
    assert list(folder.iterdir()) == []
    service = subprocess.Popen(
        [PROGRAM, "serve", "--data-dir", str(folder), "--port", "0", "--db-port", "0", "--samples", ""],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        done = call(folder, "import", str(SAMPLES / "support.pcap"))
        assert done.returncode == 0, done.stderr
        assert "1 calls added" in done.stderr
        assert service.stdout is not None
        lines = []
        for line in service.stdout:
            lines.append(line)
            if line.startswith("serving "):
                break
        assert lines[-1].startswith("serving "), "".join(lines)
        assert "Volume 1" in call(folder, "volumes", "list").stdout
    finally:
        service.terminate()
        service.communicate(timeout=60)
    done = call(folder, "import", str(SAMPLES / "support.pcap"))
    assert "1 known already" in done.stderr
    assert not running(folder)


def test_a_folder_that_the_account_of_the_database_cannot_enter_is_one_line(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root's service runs its database as another account")
    folder.chmod(0o700)
    started = time.monotonic()
    done = call(folder, "import", str(SAMPLES / "support.pcap"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"cannot enter {folder}" in done.stderr
    assert time.monotonic() - started < 60
