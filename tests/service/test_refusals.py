"""What keeps the service from starting is said in one line, and nothing is left running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from .conftest import AS_NOBODY, Running, ended, fresh

pytestmark = pytest.mark.database


@pytest.fixture
def never_starts() -> Iterator[Running]:
    with ended(fresh()) as running:
        yield running


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


def refused(running: Running, *flags: str, code: int = 1, prefix: tuple[str, ...] = ()) -> str:
    """What standard error says of the refusal."""
    data = running.folder / "data"
    command = [*prefix, str(Path(sys.executable).with_name("callreplay")), "serve", "--data-dir", str(data),
               "--port", "0", "--db-port", "0", "--log-level", "warning", *flags]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("callreplay: ")
    assert done.stdout == ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            assert os.fsencode(running.folder) not in (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return line


def test_a_port_that_is_taken(never_starts: Running, taken: str) -> None:
    assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in refused(
        never_starts, "--port", taken
    )
    assert list(never_starts.folder.iterdir()) == []


def test_a_database_port_that_is_taken(never_starts: Running, taken: str) -> None:
    said = refused(never_starts, "--db-port", taken)
    assert f"the database cannot listen on 127.0.0.1:{taken}: Address already in use" in said
    assert not list((never_starts.folder / "data").glob("cluster*"))


def test_a_database_beyond_loopback_with_the_documented_password(never_starts: Running) -> None:
    assert "default database password" in refused(never_starts, "--db-host", "0.0.0.0")


def test_a_folder_that_cannot_be_written(never_starts: Running) -> None:
    prefix = AS_NOBODY if os.geteuid() == 0 else ()
    never_starts.folder.chmod(0o555)
    data = never_starts.folder / "data"
    assert f"Permission denied: '{data}'" in refused(never_starts, code=2, prefix=prefix)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://callreplay:Tell-No1@127.0.0.1:{taken}/x", "the database does not answer"),
        ("postgresql://callreplay:Tell-No1@127.0.0.1:{running}/callreplay", "password authentication failed"),
        ("Tell-No1 is no URL", "neither postgresql://"),
    ],
)
def test_a_database_that_does_not_let_us_in(
    never_starts: Running, service: Running, taken: str, url: str, says: str
) -> None:
    running = conninfo_to_dict(service.database_url)["port"]
    # The one that has taken the port never answers.
    place = url.format(taken=taken, running=running).replace("/x", "/x?connect_timeout=2")
    said = refused(never_starts, "--database-url", place)
    assert says in said
    assert "Tell-No1" not in said
