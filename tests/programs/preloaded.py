"""What `tests.programs` forks processes from: a process with one thread that has imported what the commands import.

It takes one message for each, with the descriptors that the process is to have, and forks twice, so that the grandchild
becomes the child of whoever asked (who adopts it, see ``prctl``). That one leaves the loop and is the command, or the
worker that `multiprocessing` spawns, as an interpreter would be that was started for it.

A command that starts workers has a process of its own to fork them from, since one of another session cannot join its
group. That is made of the command before it does anything.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.programs import fork_workers_from

ROOMS = (
    "audio",
    "batch",
    "cli",
    "importing",
    "order",
    "outputs",
    "packets",
    "recording",
    "service",
    "signalling",
    "store",
)
BESIDE = (
    "alembic.config",
    "psycopg_pool",
    "rich.console",
    "rich.markdown",
    "rich.panel",
    "rich.table",
    "pygments.lexers",
)
EXTRAS = ("av", "ray", "torch")
"""Large ones that few commands import."""
WITH_WORKERS = {"batch", "import", "record", "serve", "watch"}
"""Commands that start processes by `multiprocessing`."""


def preload() -> None:
    """Import what commands import, but for what reads the environment meanwhile (``typer.rich_utils``)."""
    for room in ROOMS:
        package = importlib.import_module(f"callreplay.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"callreplay.{room}."):
            if ".migrations." not in module.name:
                importlib.import_module(module.name)
    for name in BESIDE:
        importlib.import_module(name)
    found = [name for name in ("typer.rich_utils", *EXTRAS) if name in sys.modules]
    if found or len([*Path("/proc/self/task").iterdir()]) > 1:
        raise RuntimeError(f"imported: {found}; or a thread was started, which a fork would not have")
    gc.collect()
    gc.freeze()


def stream(number: int, usual: Any) -> Any:
    """A stream as the interpreter opens it."""
    raw = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115
    newline = "\n" if number else None
    return io.TextIOWrapper(raw, usual.encoding, usual.errors, newline, line_buffering=number == 2)


def place(numbers: list[int], received: list[int], connection: int) -> None:
    """Have what was received under these numbers, and no other descriptor beside."""
    above = max([*numbers, *received, connection]) + 1
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, above) for each in received]
    os.closerange(3, above)
    for number, each in zip(numbers, moved, strict=True):
        os.dup2(each, number)  # which lets it be inherited
    os.closerange(above, max(moved) + 1)


def become(message: dict[str, Any]) -> None:
    """Be the process that was asked for, but for its descriptors."""
    if message["session"]:
        os.setsid()
    for name in set(os.environ) - set(message["environment"]):
        del os.environ[name]
    os.environ.update(message["environment"])
    time.tzset()
    os.chdir(message["folder"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        made = stream(number, getattr(sys, name))
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    sys.argv = message["arguments"]
    sys.path[0] = message["folder"]  # what -m and -c put there


def is_closed(connection: socket.socket) -> bool:
    """Whether nobody is at the other end."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def serve(connection: socket.socket) -> dict[str, Any]:
    """Fork a process for each message, and return the message in each; at the end of the connection, leave.

    SIGINT and SIGTERM are blocked, so that what is sent to the group ends nothing here. A process that is forked has
    them blocked as well until it is ready for them: what came meanwhile, it has then.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    while True:
        octets, received, _, _ = socket.recv_fds(connection, 1 << 20, 250)
        if not octets:
            os._exit(0)
        message: dict[str, Any] = json.loads(octets)
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            for each in received:
                os.close(each)
            continue
        if os.fork():
            os._exit(0)
        while os.getppid() != message["parent"]:
            if is_closed(connection):  # killed before it could adopt anybody
                os._exit(0)
            time.sleep(0.0002)
        connection.send(json.dumps({"pid": os.getpid()}).encode())
        place(message["descriptors"], received, connection.detach())
        become(message)
        return message


def with_workers() -> dict[str, Any] | None:
    """Have the workers of this command forked from a process that is made now; in each of them, return its message."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        ours.close()
        return serve(theirs)
    theirs.close()
    fork_workers_from(ours)
    return None


def run(message: dict[str, Any]) -> None:
    """Be what was asked for, to its end."""
    if set(message["arguments"][1:2]) & WITH_WORKERS:
        message = with_workers() or message
    signal.pthread_sigmask(signal.SIG_SETMASK, message["mask"])
    if message["code"]:
        exec(message["code"], {"__name__": "__main__"})
        sys.exit(0)
    runpy.run_module("callreplay", run_name="__main__", alter_sys=True)


def leave(code: Any) -> None:
    """End as an interpreter does, except that it does not take the modules apart: that takes longer than most commands.

    Whatever is not an ordinary end is left to the interpreter.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if code is None or isinstance(code, int):
        with contextlib.suppress(OSError, ValueError):
            for each in (sys.stdout, sys.stderr):
                if each is not None:
                    each.flush()
            os._exit((code or 0) & 0xFF)
    sys.exit(code)


if __name__ == "__main__":
    preload()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run(asked)
    except SystemExit as ended:
        leave(ended.code)
