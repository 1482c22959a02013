"""Where a worker's CPU time goes, part by part, of calls of 10 s and of the mixed set, two legs of G.711 to WAV.

Shares of all that the process takes, as it works: each part by the clock of the thread that runs it, without what it
calls that is a part itself. ``ratio`` is the share; the clock takes a microsecond or so of each time it is asked.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.batch import CALLS, _lengths
from bench.pipeline import MIXED, SHORT, _calls
from callreplay import order, packets
from callreplay.batch import find_jobs, worker
from callreplay.batch.destinations import open_destination
from callreplay.batch.worker import Order, run_share
from callreplay.call import Call
from callreplay.outputs.atomic import AtomicFile
from callreplay.outputs.options import Options

PARTS: tuple[tuple[Any, str, str], ...] = (
    (sys.modules["callreplay.capture"], "open_files", "open the capture, look for what may lie beside it"),
    (packets, "scan", "scan"),
    (order, "assemble", "order"),
    (worker, "open_capture", "what else opening does"),
    (worker, "job_key", "rows and their keys"),
    (worker._Work, "_row", "rows and their keys"),
    (Call, "prepare", "what the output says of itself"),
    (worker._Work, "_sink", "what the output says of itself"),
    (AtomicFile, "__init__", "make the output's file"),
    (worker._Work, "_render", "hand the legs to the engine"),
    (worker._Work, "_next", "decode, conceal and mix"),
    (worker._Open, "take", "SHA-256"),
    (AtomicFile, "write", "write"),
)


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Seconds of each part, by its name, of the thread that calls this."""
    spent: dict[str, float] = defaultdict(float)
    inner: list[float] = []

    def timed(name: str, part: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            inner.append(0.0)
            before = time.thread_time()
            try:
                return part(*arguments, **named)
            finally:
                took = time.thread_time() - before
                spent[name] += took - inner.pop()
                if inner:
                    inner[-1] += took

        return run

    before = [(owner, name, getattr(owner, name)) for owner, name, _ in PARTS]
    for (owner, name, part), (_, _, said) in zip(before, PARTS, strict=True):
        setattr(owner, name, timed(said, part))
    try:
        yield spent
    finally:
        for owner, name, part in before:
            setattr(owner, name, part)


def _pass(folder: Path, out: Path) -> None:
    for row in run_share(find_jobs([str(folder)]), Order("wav", Options()), open_destination(str(out))):
        if row.error:
            raise SystemExit(f"{row.input}: {row.error}")


def _shares(what: str, folder: Path, count: int) -> Iterator[dict[str, Any]]:
    _pass(folder, folder.with_name("warm"))
    with _watched() as spent:
        whole, main = time.process_time(), time.thread_time()
        _pass(folder, folder.with_name("out"))
        main = time.thread_time() - main
        whole = time.process_time() - whole
    spent["all else of that thread"] = main - sum(spent.values())
    spent["the threads in which outputs appear (fsync, name)"] = whole - main
    yield {"name": f"{what}: all", "ratio": 1.0, "ms_a_call": whole / count * 1e3}
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        yield {"name": f"{what}: {name}", "ratio": seconds / whole, "ms_a_call": seconds / count * 1e3}


def run() -> list[dict[str, Any]]:
    """The shares of both, largest first."""
    rows: list[dict[str, Any]] = []
    lengths = [min(seconds, 600.0) for seconds in _lengths(MIXED)]
    with tempfile.TemporaryDirectory() as name:
        for what, seconds in (("calls of 10 s", [10.0] * min(SHORT, CALLS)), ("mixed", lengths)):
            folder = Path(name) / what
            _calls(folder / "in", seconds)
            rows += _shares(what, folder / "in", len(seconds))
    return rows
