"""What `tests.programs` forks commands from: a process with one thread that has imported what the commands import.

It takes one message for each command, with the command's three streams, and forks twice, so that the grandchild becomes
the child of whoever asked (who adopts it, see ``prctl``). That one leaves the loop and runs the command as an
interpreter does that was started for it.
"""

from __future__ import annotations

import atexit
import contextlib
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


def become(message: dict[str, Any], streams: list[int], keep: set[int]) -> None:
    """Be the process that was asked for."""
    for number, given in enumerate(streams):
        os.dup2(given, number)
    os.closerange(3, max(keep | set(streams)) + 1)
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
    sys.argv = ["callreplay", *message["words"]]
    sys.path[0] = message["folder"]  # what -m puts there


def serve(connection: socket.socket) -> None:
    """Fork a process for each message; returns in each of these, and at the end of the connection leaves."""
    while True:
        octets, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not octets:
            os._exit(0)
        message = json.loads(octets)
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            for each in streams:
                os.close(each)
            continue
        if os.fork():
            os._exit(0)
        while os.getppid() != message["parent"]:
            time.sleep(0.0002)
        connection.send(json.dumps({"pid": os.getpid()}).encode())
        become(message, streams, {connection.detach()})
        return


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
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # of the server; a command has the interpreter's
    serve(socket.socket(fileno=int(sys.argv[1])))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        runpy.run_module("callreplay", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        leave(ended.code)
