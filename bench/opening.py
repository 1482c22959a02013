"""Where the time goes of opening a call of 10 s, two legs of G.711, nothing signalled: shares of the CPU time of all.

Each part runs by itself, warm and in turns with the others; the least of some times counts. ``calls`` are those of
Python and NumPy that it makes.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import callreplay
from bench._captures import leg, write_pcap
from callreplay import order, packets, sources
from callreplay.capture import Call
from callreplay.order.short import order_plainly
from callreplay.order.streams import order_stream
from callreplay.order.taps import gather_facts
from callreplay.packets.arena import Arena
from callreplay.packets.encryption import suspect

SECONDS = 10.0
TURNS = 40
ROUNDS = 20

Row = dict[str, Any]


def _parts(path: Path) -> dict[str, Callable[[], object]]:
    """What is measured, by name: all of it first; a name that begins with a blank is a part of the one before."""
    data = packets.open_buffer(path)
    scan = packets.scan(data, name=str(path))
    streams = scan.streams
    media = order.assemble(scan)[0]
    return {
        "all": lambda: callreplay.open(path),
        "open the file, and look for what may lie beside it": lambda: sources.open_files(
            [str(path)], [], [str(path)]
        ),
        "scan": lambda: packets.scan(data, name=str(path)),
        " of it whether the payloads are encrypted": lambda: suspect(
            data, scan.spill, scan.rtp, streams, set()
        ),
        "order": lambda: order.assemble(scan),
        " of it the two streams": lambda: [order_plainly(scan, one, [], {}, Arena()) for one in streams],
        " of it whose they are": lambda: gather_facts(scan),
        "the call as an object": lambda: Call(1, media, str(path)),
    }


def _calls(part: Callable[[], object]) -> int:
    profile = cProfile.Profile()
    profile.runcall(part)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def run() -> list[Row]:
    """Shares of ``all``, and what the long road of a stream costs over the short one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "call.pcap"
        write_pcap(path, *(leg(SECONDS, side, loss=0.01, jitter_ms=20) for side in (0, 1)))
        parts = _parts(path)
        scan = packets.scan(packets.open_buffer(path))
        parts["the long road"] = lambda: [order_stream(scan, one, [], {}, Arena()) for one in scan.streams]
        best = dict.fromkeys(parts, float("inf"))
        for _ in range(TURNS):
            for name, part in parts.items():
                before = time.process_time()
                for _ in range(ROUNDS):
                    part()
                best[name] = min(best[name], (time.process_time() - before) / ROUNDS)
        long = best.pop("the long road") / best[" of it the two streams"]
        rows: list[Row] = [
            {
                "name": f"share of {name}" if name != "all" else name,
                "ratio": best[name] / best["all"],
                "ms": best[name] * 1e3,
                "calls": _calls(parts[name]),
            }
            for name in best
        ]
        return [*rows, {"name": "the long road of the two streams over the short one", "ratio": long}]
