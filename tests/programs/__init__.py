"""``callreplay`` as a process, started by a server that has its imports already.

The interpreter, NumPy, psycopg, Typer and Rich take a command 0.3 to 0.6 s of CPU, mostly more than its work. `Program`
is `subprocess.Popen` of ``callreplay WORDS``: a process of its own, a child of this one, with the arguments,
environment, folder, streams, signals, session and exit code that any program has. It is forked from
tests/programs/preloaded.py, one for each process of pytest. What it does not show is what starting is about: which
modules a command imports, what an interpreter makes of its environment. Tests of that kind start the real one, as
tests/test_start.py does, and so does `Program` where it is asked for what a fork cannot give.

Workers that such a command, or a test within `forked_workers`, spawns by `multiprocessing` are forked likewise.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import util
from pathlib import Path
from typing import Any

__all__ = ["COMMAND", "Program", "fork_workers_from", "forked_workers", "run"]

COMMAND = (sys.executable, "-m", "callreplay")
_SET_CHILD_SUBREAPER = 36
_OF_THE_START = ("PYTHON", "LC_", "LANG", "COVERAGE_", "LD_")
"""Beginnings of variables that are read before any module is, or that have a process watched from its start."""
_GIVEN = {
    "stdin",
    "stdout",
    "stderr",
    "cwd",
    "env",
    "text",
    "encoding",
    "errors",
    "start_new_session",
    "bufsize",
}
"""Options that a fork knows."""
_lock = threading.Lock()
_spawn = util.spawnv_passfds
_workers_from: socket.socket | None = None


def _decoded(environment: Mapping[Any, Any]) -> dict[str, str]:
    return {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}


_BEGAN = _decoded(os.environ)
"""What the servers start with, whatever a test has set meanwhile."""


@functools.cache
def _server(_process: int) -> socket.socket:
    """The connection to the server of this process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        started = subprocess.Popen(
            [sys.executable, "-m", "tests.programs.preloaded", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
            env=_BEGAN | {"OPENBLAS_NUM_THREADS": "1"},
        )
        started.returncode = 0  # nobody waits for it
    atexit.register(ours.close)
    return ours


def _adopt(yes: bool) -> None:
    """Whether processes below us whose parent ends become our children."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _starts_alike(environment: dict[str, str]) -> bool:
    """Whether an interpreter starts in that environment as the servers did."""
    ours = {name: value for name, value in _BEGAN.items() if name.startswith(_OF_THE_START)}
    theirs = {name: value for name, value in environment.items() if name.startswith(_OF_THE_START)}
    return ours == theirs and not any(name.startswith("COVERAGE_") for name in ours)


def _ask(server: socket.socket, message: dict[str, Any], descriptors: dict[int, int]) -> int:
    """Have a process forked that has each of our descriptors (values) under its number (keys): its identity."""
    message |= {"parent": os.getpid(), "descriptors": list(descriptors)}
    message["mask"] = [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
    with _lock:
        _adopt(True)
        try:
            socket.send_fds(server, [json.dumps(message).encode()], list(descriptors.values()))
            pid: int = json.loads(server.recv(1000))["pid"]
        finally:
            _adopt(False)
    return pid


def _open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _fork_worker(path: bytes, arguments: Sequence[Any], descriptors: Sequence[int]) -> int:
    """What `multiprocessing` calls to start an interpreter, where that is one for a worker."""
    environment = _decoded(os.environ)
    words = [os.fsdecode(each) for each in arguments]
    if words[-1] != "--multiprocessing-fork" or not _starts_alike(environment):
        pid: int = _spawn(path, arguments, descriptors)
        return pid
    message = {
        "code": words[words.index("-c") + 1],
        "arguments": ["-c", words[-1]],
        "folder": str(Path.cwd()),
        "environment": environment,
        "session": False,
    }
    given = [number for number in (0, 1, 2) if _open(number)] + sorted(map(int, descriptors))
    return _ask(_workers_from or _server(os.getpid()), message, {number: number for number in given})


def fork_workers_from(server: socket.socket | None) -> None:
    """Have the workers of `multiprocessing` forked from there; None: from the server of this process."""
    global _workers_from  # noqa: PLW0603
    _workers_from = server
    util.spawnv_passfds = _fork_worker  # type: ignore[assignment]


@contextmanager
def forked_workers() -> Iterator[None]:
    """Within, the workers that `multiprocessing` spawns are forked, where a fork can give what was asked for."""
    if sys.platform != "linux":
        yield
        return
    fork_workers_from(None)
    try:
        yield
    finally:
        util.spawnv_passfds = _spawn


class Program(subprocess.Popen[Any]):
    """``callreplay WORDS`` with the options of `subprocess.Popen`."""

    def __init__(self, words: Sequence[object], **options: Any) -> None:
        asked = {name for name, value in options.items() if value is not None}
        self._environment = _decoded(os.environ if options.get("env") is None else options["env"])
        self._forked = sys.platform == "linux" and asked <= _GIVEN and _starts_alike(self._environment)
        self._folder, self._session = options.get("cwd"), bool(options.get("start_new_session"))
        super().__init__([*COMMAND, *map(str, words)], **options)

    def _execute_child(self, *arguments: Any) -> None:
        if not self._forked:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        pipes = arguments[10:16]  # of standard input, output and error: the reader's end, the writer's
        message = {
            "code": "",
            "arguments": ["callreplay", *arguments[0][len(COMMAND) :]],
            "folder": os.fsdecode(Path(self._folder or "").absolute()),
            "environment": self._environment,
            "session": self._session,
        }
        given = enumerate((pipes[0], pipes[3], pipes[5]))
        streams = {usual: usual if number == -1 else number for usual, number in given}
        self.pid = _ask(_server(os.getpid()), message, streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def run(
    words: Sequence[object],
    *,
    check: bool = False,
    input: Any = None,
    timeout: float | None = None,
    capture_output: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Program(words, **options) as program:
        try:
            out, error = program.communicate(input, timeout)
        except BaseException:
            program.kill()
            raise
    done = subprocess.CompletedProcess(program.args, program.returncode, out, error)
    if check:
        done.check_returncode()
    return done
