"""Listening to an interface for the usual faults of a mirror port, and what to do about each."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from callreplay import packets
from callreplay.recording.ring import Ring
from callreplay.splitting.splitter import Splitter
from callreplay.splitting.stops import Stop

__all__ = ["Heard", "advice", "check"]

_RUN: Final = 1 << 16
_MANY: Final = 0.2
"""A share of packets or streams from which on a fault is worth a line."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came in so many seconds."""

    interface: str
    seconds: float
    packets: int = 0
    drops: int = 0
    messages: int = 0
    encrypted: int = 0
    streams: int = 0
    alone: int = 0
    """Streams without any in the opposite direction."""
    rtp: int = 0
    twice: int = 0
    cut: int = 0
    large: int = 0


def check(interface: str, seconds: float) -> Iterator[str]:
    """Listen for so long, and yield lines for the reader. Raises as `Ring` does."""
    ring = Ring(interface)
    try:
        yield f"listening on {interface} for {seconds:g} s …"
        heard = _listen(ring, seconds)
    finally:
        ring.close()
    yield (
        f"{heard.packets:,} packets, {heard.messages:,} signalling messages, {heard.streams:,} RTP streams with "
        f"{heard.rtp:,} packets"
    )
    yield from advice(heard)


def _listen(ring: Ring, seconds: float) -> Heard:
    splitter = Splitter()
    with tempfile.TemporaryDirectory(prefix="callreplay-") as folder:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            spool = splitter.spool(b"heard.pcapng", True)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                ring.wait(0.1)
                for block in ring.ready():
                    splitter.block(block, ring.link, ring.outgoing)
                    while (stop := splitter.run(_RUN)) != Stop.END:
                        if stop == Stop.WAY:
                            splitter.place(splitter.pending()[0], spool)
                        if stop in (Stop.WAY, Stop.MESSAGE):
                            splitter.keep(spool)
                    splitter.rest()
                splitter.flush(directory, 1 << 20)
            splitter.flush(directory)
        finally:
            os.close(directory)
        return _summed(ring, seconds, splitter, Path(folder) / "heard.pcapng")


def _summed(ring: Ring, seconds: float, splitter: Splitter, path: Path) -> Heard:
    counters = splitter.counters()
    _, drops = ring.statistics()
    figures = {
        "packets": counters["records"],
        "drops": drops,
        "messages": counters["messages"],
        "encrypted": counters["unread"],
        "cut": counters["cut_by_snaplen"],
        "large": counters["large"],
    }
    if path.exists():
        scan = packets.scan(packets.open_buffer(path, warnings=[]))
        ways = Counter((stream.flow.source, stream.flow.destination) for stream in scan.streams)
        rtp = scan.rtp
        keys = np.stack(
            [rtp.stream.astype(np.int64), rtp.sequence.astype(np.int64), rtp.timestamp.astype(np.int64)]
        )
        figures |= {
            "streams": len(scan.streams),
            "alone": sum(count for (source, target), count in ways.items() if (target, source) not in ways),
            "rtp": len(rtp.offset),
            "twice": len(rtp.offset) - np.unique(keys, axis=1).shape[1] if len(rtp.offset) else 0,
        }
    return Heard(ring.interface, seconds, **figures)


def advice(heard: Heard) -> Iterator[str]:
    """What is wrong, most likely, and what to do; one line that says so where nothing is."""
    name = heard.interface
    if not heard.packets:
        yield f"nothing arrives: is {name} up (`ip link set {name} up`), and is it the destination of the mirror?"
        return
    faults = list(_faults(heard))
    yield from faults or ["no fault found"]


def _faults(heard: Heard) -> Iterator[str]:
    name = heard.interface
    if heard.drops:
        yield f"the kernel dropped {heard.drops:,} packets: give --ring more memory, or look what else uses the cores"
    if not heard.messages and heard.encrypted:
        yield (
            f"no signalling in clear: {heard.encrypted:,} segments of TLS or H.323. Calls are recorded without "
            "numbers; have the switch or the PBX send its signalling in clear or by HEP (--hep)"
        )
    elif not heard.messages:
        yield (
            "no signalling: neither SIP nor Skinny came. Mirror the port of the PBX or the session border controller "
            "too, and see that no filter keeps it out; a call must begin or end while this listens"
        )
    if not heard.streams:
        yield "no RTP: mirror the phones' VLAN or the media server's port, and listen while a call is held"
    elif heard.alone > _MANY * heard.streams:
        yield (
            f"{heard.alone:,} of {heard.streams:,} streams have no opposite direction: have the switch mirror what the "
            "port receives and what it sends (both, rx and tx)"
        )
    if heard.twice > _MANY * heard.rtp:
        yield (
            f"{heard.twice:,} of {heard.rtp:,} RTP packets came twice: the mirror copies them where they enter and "
            "where they leave. Mirror one direction of each port, or one port of each call; copies cost only work"
        )
    if heard.cut:
        yield f"{heard.cut:,} frames are cut short: lift the mirror's limit of octets a packet (truncation, slicing)"
    if heard.large:
        yield (
            f"{heard.large:,} frames are larger than Ethernet's: the card puts packets together. Switch that off: "
            f"`ethtool -K {name} gro off lro off gso off tso off`"
        )
