"""A recorder beside another process (`callreplay serve --record`): started with it, begun anew where it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from callreplay.errors import ArgumentError
from callreplay.store.places import DATABASE_VARIABLE

__all__ = ["beside", "words"]

_log = logging.getLogger("callreplay.record")
_PAUSES: Final = (1.0, 5.0, 30.0)
_PATIENCE: Final = 30.0


def words(sources: str) -> list[str]:
    """The arguments of ``callreplay record`` for ``eth1,eth2`` or ``hep:9060`` or both. Raises ArgumentError."""
    found: list[str] = []
    for source in filter(None, (part.strip() for part in sources.split(","))):
        kind, colon, port = source.partition(":")
        if kind == "hep" and colon and port.isascii() and port.isdigit():
            found += ["--hep", port]
        elif source.startswith("-"):
            raise ArgumentError(f"record: {source!r} is neither an interface nor hep:PORT")
        else:
            found += ["-i", source]
    return found


@contextmanager
def beside(sources: str, url: str, data: Path, *, speech: bool = False) -> Iterator[None]:
    """Record from ``sources`` into the database at ``url`` for as long as the block lasts.

    ``speech``: who talks how long is found out.
    """
    command = [sys.executable, "-m", "callreplay", "record", *words(sources), "--spool", str(data / "spool")]
    command.append("--speech" if speech else "--no-speech")
    environment = {**os.environ, DATABASE_VARIABLE: url}  # not on the command line: it may hold a password
    stop, starting = threading.Event(), threading.Lock()
    current: list[subprocess.Popen[bytes]] = []

    def watch() -> None:
        deaths = 0
        while not stop.is_set():
            with starting:
                if stop.is_set():
                    return
                current[:] = [subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)]
            code = current[0].wait()
            if stop.is_set():
                return
            pause = _PAUSES[min(deaths, len(_PAUSES) - 1)]
            deaths += 1
            _log.error("the recorder ended with %d; begun again in %g s", code, pause)
            stop.wait(pause)

    thread = threading.Thread(target=watch, name="recorder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with starting:
            stop.set()
            for process in current:
                process.terminate()  # what goes on is left to the next start
        thread.join(_PATIENCE)
        for process in current:
            if process.poll() is None:
                process.kill()
