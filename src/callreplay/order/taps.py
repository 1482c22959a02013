"""The same media seen twice: at two taps, on two interfaces, or on both sides of a B2BUA.

Likeness is no proof: queues play one music to all, servers greet every caller alike, and load generators send one file
as often as they like. So content only nominates (a sample, the same seconds of absolute time for every stream), and
what a hop would do decides: hosts that hand on, a short and steady delay, agreement over the whole common time. Two
calls that signalling describes stay two.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay import addresses
from callreplay.deferred import dataclass
from callreplay.evidence import Rival, Verdict, weigh
from callreplay.model import Flow, RtpColumns, Side, Stream
from callreplay.order.streams import Packets, payloads

__all__ = [
    "Copy",
    "Owner",
    "StreamFacts",
    "find_copies",
    "gather_facts",
    "nominees",
    "part_of",
    "rows_of",
    "rows_of_fact",
]

_HEAD_NS: Final = 4_000_000_000  # from each stream's start
_EVERY_NS: Final = 60_000_000_000  # and of each minute of absolute time
_WINDOW_NS: Final = 1_000_000_000
_MOST: Final = 400
_FEWEST_COMMON: Final = 12
_SHARE: Final = 0.5
_NEAR: Final = 4  # streams of one SSRC are compared with so many that follow
_CLOCKS_NS: Final = 5_000_000  # the clocks of two interfaces differ: within it nothing says which was first
_HOP_NS: Final = 250_000_000  # a jitter buffer on the way included
_TAPS_NS: Final = 3_000_000_000  # two taps' clocks
_STEADY_NS: Final = 100_000_000
_WHOLE: Final = 0.7  # each tap may lose packets of its own


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
    """Stream ``copy`` carries what ``original`` carries; ``rewritten``: under another SSRC, number or timestamp.

    ``linked``: signalling describes both as calls of their own, which stay; one is the next hop of the other.
    """

    original: int
    copy: int
    rewritten: bool
    delay_ns: int
    verdict: Verdict
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """The call that a stream was given to (any number that is its own), and the leg; ``described`` by signalling."""

    call: int
    side: Side
    described: bool


def rows_of(rtp: RtpColumns, stream: Stream) -> NDArray[np.integer]:
    """The row numbers of a stream as an array."""
    if isinstance(stream.rows, slice):
        return np.arange(*stream.rows.indices(len(rtp.offset)), dtype=np.int64)
    return stream.rows


def rows_of_fact(fact: StreamFacts) -> NDArray[np.integer]:
    """The row numbers of a stream, by its facts."""
    assert fact.rtp is not None
    return rows_of(fact.rtp, fact.stream)


def part_of(fact: StreamFacts, rows: NDArray[np.integer]) -> StreamFacts:
    """The facts of some rows of a stream, in order of arrival, at least one."""
    assert fact.rtp is not None
    stream = replace(fact.stream, rows=rows, packets=len(rows))
    first, last = (int(fact.rtp.arrival_ns[row]) for row in (rows[0], rows[-1]))
    return StreamFacts(stream, min(first, last), max(first, last), len(rows), fact.scan, fact.rtp)


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
            ends = (rows.item(0), rows.item(-1)) if count else None
        if ends is not None:
            first, last = rtp.arrival_ns.item(ends[0]), rtp.arrival_ns.item(ends[1])
            if first > last:
                first, last = last, first
            facts.append(StreamFacts(stream, first, last, count, scan, rtp))
    return facts


def find_copies(packets: Packets, facts: Sequence[StreamFacts], owners: Sequence[Owner] = ()) -> list[Copy]:
    """Pairs of streams with the same content, the fuller stream as the original (indices into ``facts``).

    ``owners``: to which call and leg each stream was given. Streams that never overlap in time are not compared; a
    stream is the copy of one other at most.
    """
    comparable = nominees(facts)
    if not comparable:
        return []
    exact: dict[bytes, list[int]] = defaultdict(list)
    loose: dict[bytes, list[int]] = defaultdict(list)
    by_ssrc: dict[int, list[int]] = defaultdict(list)
    sizes: dict[int, tuple[int, int]] = {}
    for index in comparable:
        headers, bodies = _digests(packets, facts[index])
        sizes[index] = (len(headers), len(bodies))
        by_ssrc[facts[index].stream.ssrc].append(index)
        for digest in headers:
            exact[digest].append(index)
        for digest in bodies:
            loose[digest].append(index)
    nominated = {(one, other): False for found in by_ssrc.values() for one, other in _neighbours(found)}
    for rewritten, table in ((False, exact), (True, loose)):
        for (one, other), common in _common(table).items():
            least = min(sizes[one][rewritten], sizes[other][rewritten])
            if common >= _FEWEST_COMMON and common >= _SHARE * least:
                nominated.setdefault((one, other), rewritten)
    alike = {_pair_ends(facts[one], facts[other]) for one, other in nominated}
    chosen: dict[int, Copy] = {}
    for (one, other), rewritten in sorted(nominated.items(), key=lambda item: (item[1], item[0])):
        if one in chosen or other in chosen:
            continue
        swap = facts[other].packets > facts[one].packets
        original, copy = (other, one) if swap else (one, other)
        turned = _pair_ends(facts[one], facts[other], reverse=True) in alike
        found = _judge(packets, facts, owners, original, copy, rewritten, turned)
        if found is not None:
            chosen[copy] = found
    return sorted(chosen.values(), key=lambda found: (found.original, found.copy))


def _pair_ends(one: StreamFacts, other: StreamFacts, *, reverse: bool = False) -> frozenset[object]:
    """What two streams run between, or what the streams against them would."""
    return frozenset(_ends(fact.stream.flow, reverse=reverse) for fact in (one, other))


def _neighbours(found: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs of streams that stand near each other, a bounded number: in order of time."""
    for place, one in enumerate(found):
        for other in found[place + 1 : place + 1 + _NEAR]:
            yield min(one, other), max(one, other)


def _judge(
    packets: Packets,
    facts: Sequence[StreamFacts],
    owners: Sequence[Owner],
    original: int,
    copy: int,
    rewritten: bool,
    turned: bool,
) -> Copy | None:
    one, other = facts[original], facts[copy]
    if one.first_ns > other.last_ns or other.first_ns > one.last_ns:
        return None
    here, there = one.stream.flow, other.stream.flow
    if _echo(here, there):
        return None
    mine, theirs = (owners[original], owners[copy]) if owners else (None, None)
    same = mine is not None and theirs is not None and (mine.call, mine.side) == (theirs.call, theirs.side)
    both = mine is not None and theirs is not None and mine.described and theirs.described
    both = both and mine is not None and theirs is not None and mine.call != theirs.call
    ways = {_way(here, there), _way(there, here)}
    if not ways & _WAYS.keys() and (both or not same):
        return None
    from callreplay.order.likeness import compare

    like = compare(packets, rows_of_fact(one), rows_of_fact(other), headers=not rewritten)
    if like is None or like.matched < _FEWEST_COMMON:
        return None
    way = _way(here, there) if like.delay_ns >= 0 else _way(there, here)
    if abs(like.delay_ns) <= _CLOCKS_NS and way not in _WAYS:
        way = next((each for each in ways if each in _WAYS), way)
    copies = Rival("one is a copy of the other")
    copies.says(2, f"{like.share:.0%} of what both have in their common time is the same")
    copies.says(1, "SSRC, numbers and timestamps are the same too", when=not rewritten)
    copies.says(1, f"always {abs(like.delay_ns) / 1e6:.1f} ms apart", when=like.spread_ns <= _STEADY_NS)
    copies.says(3, "signalling puts both into the same leg", when=same)
    copies.says(1, "the streams that run against them are alike too", when=turned)
    if way in _WAYS and (way in ("tap", "relay") or not rewritten):
        copies.says(*_WAYS[way])
    apart = Rival("two streams").says(3, "two streams were captured")
    apart.says(4, "signalling describes both, as two calls", when=both)
    apart.says(3, "both run between the same hosts, on other ports", when=way == "same hosts")
    apart.says(2, "one host sends both: a server, or a load generator", when=way == "one sender")
    apart.says(2, "both go to one host", when=way == "one receiver")
    apart.says(3, "what the second says goes back to where it came from", when=way == "back")
    late = abs(like.delay_ns) > (_TAPS_NS if way == "tap" else _HOP_NS)
    apart.says(4, f"{abs(like.delay_ns) / 1e9:.2f} s lie between them: no hop takes that long", when=late)
    apart.says(4, f"only {like.share:.0%} of what both have is the same", when=like.share < _WHOLE)
    apart.says(6, f"for {like.other_seconds} s each says something else", when=like.other_seconds > 1)
    about = f"{_named(one)} and {_named(other)}"
    verdict = weigh("are these streams copies of one?", about, apart, copies)
    linked = both and not late and like.share >= _WHOLE and like.other_seconds <= 1
    if verdict.answer != copies.name and not linked:
        return None
    return Copy(original, copy, rewritten, like.delay_ns, verdict, linked=verdict.answer != copies.name)


def _named(fact: StreamFacts) -> str:
    flow = fact.stream.flow
    return f"{fact.stream.ssrc:#010x} from {flow.source}:{flow.source_port}"


_WAYS: Final[dict[str, tuple[int, str]]] = {
    "tap": (2, "they run between the same sockets, seen at two points"),
    "relay": (2, "the host that receives the one sends the other"),
    "nat": (1, "one end is the same socket, as before and behind NAT"),
    "apart": (1, "they share no host, as on two sides of a border"),
}
"""How a copy can come to be: weight and words."""


def _private(address: str) -> bool:
    return addresses.is_private(address)


def _way(first: Flow, then: Flow) -> str:
    """What two flows have in common, where the packets of the first come before those of the other."""
    if not first.source or not then.source:
        return "unknown"
    if _ends(first) == _ends(then):
        return "tap"
    if first.source == then.source and first.destination == then.destination:
        return "same hosts"
    if first.destination == then.source:
        return "back" if then.destination == first.source else "relay"
    near = (first.source, first.source_port) == (then.source, then.source_port)
    far = (first.destination, first.destination_port) == (then.destination, then.destination_port)
    if far or (near and _private(first.destination) != _private(then.destination)):
        return "nat"
    if first.source == then.source:
        return "one sender"
    if first.destination == then.destination:
        return "one receiver"
    return "turned" if first.source == then.destination else "apart"


def nominees(facts: Sequence[StreamFacts]) -> list[int]:
    """Streams that overlap in time with another that is no echo of them: only these can be copies, or have one.

    The two directions of a plain call are not among them, so their payloads are never hashed.
    """
    if len(facts) < 2 or (len(facts) == 2 and _echo(facts[0].stream.flow, facts[1].stream.flow)):
        return []
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
    return (
        one.source_port == other.destination_port
        and one.destination_port == other.source_port
        and one.source == other.destination != ""
        and one.destination == other.source
    )


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
    from hashlib import blake2b

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
        strong = blake2b(body, digest_size=16)
        # Short and constant payloads (events, noise, silence) are alike in every call.
        if len(body) >= 10 and (len(set(body[:32])) > 4 or len(set(body)) > 4):
            bodies.add(strong.digest())
        strong.update(b"%d/%d/%d" % (fact.stream.ssrc, number, timestamp))
        headers.add(strong.digest())
    return headers, bodies
