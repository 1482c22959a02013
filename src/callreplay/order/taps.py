"""The same media seen twice: at two taps, on two interfaces, or on both sides of a B2BUA.

Copies are found by content: number, timestamp and payload where the SSRC is the same; payloads alone where a B2BUA has
rewritten the header. A strong hash stands for the payload (a CRC collides and loses calls). Only packets within certain
seconds of absolute time are hashed, the same for every stream, so both copies are sampled alike.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.model import Flow, RtpColumns, Stream
from callreplay.order.streams import Packets, payloads

__all__ = ["Copy", "StreamFacts", "find_copies", "gather_facts"]

_HEAD_NS: Final = 4_000_000_000  # from each stream's start
_EVERY_NS: Final = 60_000_000_000  # and of each minute of absolute time
_WINDOW_NS: Final = 1_000_000_000
_MOST: Final = 400
_FEWEST_COMMON: Final = 12
_SHARE: Final = 0.5


@dataclass(slots=True, eq=False)
class StreamFacts:
    """A stream with the times of its first and last packet in capture order, and how many it has."""

    stream: Stream
    first_ns: int
    last_ns: int
    packets: int
    scan: int = 0  # which capture it is of
    rtp: RtpColumns | None = None  # its columns

    def payload_types(self) -> set[int]:
        """The payload types of its packets."""
        if self.rtp is None:
            return set()
        return set(np.unique(self.rtp.payload_type[self.stream.rows]).tolist())


@dataclass(frozen=True, slots=True)
class Copy:
    """Stream ``copy`` carries what ``original`` carries; ``rewritten``: under another SSRC, number or timestamp."""

    original: int
    copy: int
    rewritten: bool


def rows_of(rtp: RtpColumns, stream: Stream) -> NDArray[np.integer]:
    """The row numbers of a stream as an array."""
    if isinstance(stream.rows, slice):
        return np.arange(*stream.rows.indices(len(rtp.offset)), dtype=np.int64)
    return stream.rows


def gather_facts(packets: Packets, scan: int = 0) -> list[StreamFacts]:
    """Facts of every stream that has packets."""
    rtp = packets.rtp
    facts: list[StreamFacts] = []
    for stream in packets.streams:
        rows = stream.rows
        if isinstance(rows, slice):
            span = range(*rows.indices(len(rtp.offset)))
            ends = (span[0], span[-1]) if span else None
            count = len(span)
        else:
            count = len(rows)
            ends = (int(rows[0]), int(rows[-1])) if count else None
        if ends is not None:
            first, last = (int(rtp.arrival_ns[row]) for row in ends)
            facts.append(StreamFacts(stream, min(first, last), max(first, last), count, scan, rtp))
    return facts


def find_copies(packets: Packets, facts: Sequence[StreamFacts]) -> list[Copy]:
    """Pairs of streams with the same content, the fuller stream as the original (indices into ``facts``).

    Streams that never overlap in time are not compared; a stream is the copy of one other at most.
    """
    exact: dict[bytes, list[int]] = defaultdict(list)
    loose: dict[bytes, list[int]] = defaultdict(list)
    sizes: dict[int, tuple[int, int]] = {}
    for index in _comparable(facts):
        headers, bodies = _digests(packets, facts[index])
        sizes[index] = (len(headers), len(bodies))
        for digest in headers:
            exact[digest].append(index)
        for digest in bodies:
            loose[digest].append(index)
    chosen: dict[int, Copy] = {}
    for rewritten, table in ((False, exact), (True, loose)):
        for (one, other), common in _common(table).items():
            least = min(sizes[one][rewritten], sizes[other][rewritten])
            if common < _FEWEST_COMMON or common < _SHARE * least or one in chosen or other in chosen:
                continue
            if facts[one].first_ns > facts[other].last_ns or facts[other].first_ns > facts[one].last_ns:
                continue
            if _echo(facts[one].stream.flow, facts[other].stream.flow):
                continue
            swap = facts[other].packets > facts[one].packets
            original, copy = (other, one) if swap else (one, other)
            chosen[copy] = Copy(original, copy, rewritten)
    return sorted(chosen.values(), key=lambda found: (found.original, found.copy))


def _comparable(facts: Sequence[StreamFacts]) -> list[int]:
    """Streams that overlap in time with another that is no echo of them: only these can be copies, or have one.

    The two directions of a plain call are not among them, so their payloads are never hashed.
    """
    found: set[int] = set()
    running: list[tuple[int, int]] = []  # heap of (last packet's time, index)
    flows: Counter[tuple[str, int, str, int]] = Counter()  # of the running ones
    alone: set[int] = set()  # the running ones that have met nothing but echoes
    for index in sorted(range(len(facts)), key=lambda index: facts[index].first_ns):
        flow = facts[index].stream.flow
        while running and running[0][0] < facts[index].first_ns:
            gone = heapq.heappop(running)[1]
            flows[_ends(facts[gone].stream.flow)] -= 1
            alone.discard(gone)
        met = {other for other in alone if not _echo(flow, facts[other].stream.flow)}
        alone -= met
        found |= met
        echoes = flows[_ends(flow, reverse=True)] if flow.source else 0
        if len(running) > echoes:
            found.add(index)
        else:
            alone.add(index)
        heapq.heappush(running, (facts[index].last_ns, index))
        flows[_ends(flow)] += 1
    return sorted(found)


def _ends(flow: Flow, *, reverse: bool = False) -> tuple[str, int, str, int]:
    here, there = (flow.source, flow.source_port), (flow.destination, flow.destination_port)
    return (*there, *here) if reverse else (*here, *there)


def _echo(one: Flow, other: Flow) -> bool:
    """Whether one flow is the exact reverse of the other: an echo test says back what it hears, and that is a leg."""
    return bool(one.source) and _ends(one) == _ends(other, reverse=True)


def _common(table: dict[bytes, list[int]]) -> dict[tuple[int, int], int]:
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for found in table.values():
        # Content that a crowd shares (music on hold, silence) tells nothing of taps.
        if 2 <= len(found) <= 8:
            for position, one in enumerate(found):
                for other in found[position + 1 :]:
                    counts[one, other] += 1
    return counts


def _digests(packets: Packets, fact: StreamFacts) -> tuple[set[bytes], set[bytes]]:
    """Digests of (SSRC, number, timestamp, payload) and of the payload alone, for the sampled packets of a stream."""
    rtp = packets.rtp
    rows = rows_of(rtp, fact.stream)
    arrival = rtp.arrival_ns[rows[: 1 << 16]]
    phase = arrival % _EVERY_NS
    near = np.flatnonzero((arrival < fact.first_ns + _HEAD_NS) | (phase < _WINDOW_NS))[:_MOST]
    headers: set[bytes] = set()
    bodies: set[bytes] = set()
    chosen = rows[near]
    numbers, timestamps = rtp.sequence[chosen].tolist(), rtp.timestamp[chosen].tolist()
    for body, number, timestamp in zip(payloads(packets, rtp, chosen), numbers, timestamps, strict=True):
        strong = hashlib.blake2b(body, digest_size=16)
        # Short and constant payloads (events, noise, silence) are alike in every call.
        if len(body) >= 10 and (len(set(body[:32])) > 4 or len(set(body)) > 4):
            bodies.add(strong.digest())
        strong.update(b"%d/%d/%d" % (fact.stream.ssrc, number, timestamp))
        headers.add(strong.digest())
    return headers, bodies
