"""The real service over the real embedded PostgreSQL, started once as a user starts it."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from callreplay.service.app import create_app
from callreplay.service.settings import Settings
from callreplay.store.cluster import DEFAULT_PASSWORD, NAME, OWNER
from tests import programs
from tests.scenario.cluster import prepare


@dataclass
class Running:
    """A service: its folder, and once started its URL and the administrator's password.

    Its database cluster has been made before, unless it is to start from nothing.
    """

    folder: Path
    flags: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    from_nothing: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    base: str = ""
    metrics: str = ""
    password: str = ""
    seconds: float = 0.0
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """Everything that the service wrote to its standard error."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def start(self) -> Running:
        started = time.monotonic()
        data = self.folder / "data"
        if not (self.from_nothing or self.prefix or data.exists() or "--database-url" in self.flags):
            prepare(data)
        out = (self.folder / "out").open("wb")
        log = (self.folder / "log").open("ab")
        words = ["serve", "--data-dir", str(data), "--port", "0", "--db-port", "0", *self.flags]
        options: dict[str, Any] = {"start_new_session": True, "env": os.environ | self.environment}
        with out, log:
            if self.prefix or self.from_nothing:
                program = str(Path(sys.executable).with_name("callreplay"))
                self.process = subprocess.Popen(
                    [*self.prefix, program, *words], stdout=out, stderr=log, **options
                )
            else:
                self.process = programs.Program(words, stdout=out, stderr=log, **options)
        while True:
            text = (self.folder / "out").read_text(encoding="utf-8")
            if found := re.search(r"^serving (https?://\S+)/CallRecorder/$", text, re.MULTILINE):
                self.base = found[1]
                try:
                    if httpx.get(self.base + "/readyz", timeout=5, verify=False).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
            assert self.process.poll() is None, self.log[-3000:]
            assert time.monotonic() - started < 60, self.log[-3000:]
            time.sleep(0.05)
        self.seconds = time.monotonic() - started
        if found := re.search(r"^metrics (\S+)$", text, re.MULTILINE):
            self.metrics = found[1]
        if found := re.search(r"^password: (\S+)$", text, re.MULTILINE):
            self.password = found[1]
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def database_url(self) -> str:
        """The owner's, whom the service is."""
        password = json.loads((self.folder / "data" / "database.json").read_text())["owner_password"]
        return f"postgresql://{OWNER}:{password}@{self.database_place}"

    @property
    def reader_url(self) -> str:
        """The published login's."""
        password = self.environment.get("CALLREPLAY_DB_PASSWORD", DEFAULT_PASSWORD)
        return f"postgresql://{NAME}:{password}@{self.database_place}"

    @property
    def database_place(self) -> str:
        lines = (self.folder / "data" / "cluster" / "postmaster.pid").read_text().splitlines()
        return f"127.0.0.1:{lines[3]}/{NAME}"

    def rows(self, statement: Any, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.base, timeout=30, **options)

    def basic(self) -> httpx.Client:
        return self.client(auth=("admin", self.password))

    def logged_in(self) -> httpx.Client:
        with self.client() as entering:
            answer = entering.post("/CallRecorder/Login", data={"user": "admin", "password": self.password})
            assert answer.status_code == 303, answer.text
            return self.client(cookies=entering.cookies)


def fresh(flags: tuple[str, ...] = ()) -> Running:
    # PostgreSQL, which refuses to run as root, could not enter pytest's folders (0700).
    folder = Path(tempfile.mkdtemp(prefix="callreplay-service-"))
    folder.chmod(0o755)
    return Running(folder, flags)


# Root's child as an ordinary user, who may read what is root's (the interpreter) and write nothing of it.
AS_NOBODY = (
    "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip


@contextmanager
def ended(running: Running) -> Iterator[Running]:
    """End the service afterwards, its database with it, by force: what they kept goes too. Orderly ends have tests.

    Where coverage.py measures it ends in order, since what is killed does not say which lines it ran.
    """
    try:
        yield running
    finally:
        if "COVERAGE_RUN" in os.environ and running.process is not None and running.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                running.stop()
        if running.process is not None and running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()
        with suppress(OSError, ValueError):
            pid_file = running.folder / "data" / "cluster" / "postmaster.pid"
            database = int(pid_file.read_text().split("\n")[0])
            os.kill(database, signal.SIGQUIT)
            deadline = time.monotonic() + 10
            while pid_file.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        shutil.rmtree(running.folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def authorities_read_once() -> Iterator[None]:
    """Every httpx.Client reads the certificates of all authorities, 25 ms of CPU, whatever it speaks to."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ssl, "create_default_context", functools.lru_cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def service() -> Iterator[Running]:
    with ended(fresh(("--metrics-listen", "127.0.0.1:0"))) as running:
        yield running.start()


@pytest.fixture
def own_service() -> Iterator[Running]:
    """One for a test alone, not started yet."""
    with ended(fresh(("--samples", "auto"))) as running:
        yield running


@pytest.fixture
def app(service: Running, tmp_path: Path) -> Iterator[Any]:
    """The application in this process, on the database of the running service."""
    made = create_app(Settings(database_url=service.database_url, data_dir=str(tmp_path)))
    made.state.service.open()
    yield made
    made.state.service.close()


@pytest.fixture
def call(service: Running) -> dict[str, Any]:
    """The sample call of Ana Pop, as the Transcoder's JSON tells it."""
    with service.basic() as client:
        found: list[dict[str, Any]] = client.get(
            "/CallRecorder/Transcoder", params={"callerName": "ana pop", "format": "json"}
        ).json()
    assert len(found) == 1
    return found[0]
