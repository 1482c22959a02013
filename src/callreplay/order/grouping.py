"""Which streams belong to which call, and to which of its directions: signalling first, then addresses, then time."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass
from callreplay.evidence import Rival, Verdict, weigh
from callreplay.model import CallDescription, Flow, Side
from callreplay.order.aside import Aside, set_aside
from callreplay.order.matching import Table, endpoint, other_side
from callreplay.order.taps import StreamFacts, part_of, rows_of_fact

__all__ = ["Group", "signalled_groups", "unsignalled_groups", "without_forks"]

_WHO_IS_FIRST: Final = "no signalling: the side that sends first is taken for the caller"
_EARLY_NS: Final = 2_000_000_000  # media may precede the signalling that describes it
_TAIL_NS: Final = 5_000_000_000  # and outlast the BYE
_NEW_CALL_NS: Final = 120_000_000_000  # both directions silent for so long, then a new SSRC: another call
_BREAK_NS: Final = 200_000_000  # a pause that may part two calls
_FASTEST_HZ: Final = 48_000  # no clock of a telephone's ticks faster
_REORDERED: Final = 16  # numbers that the old address may still have sent when the new one began
_DROPOUT: Final = 3000  # numbers that a stream may skip and still go on (RFC 3550 A.1)
_AT_ONCE_NS: Final = 200_000_000
_TOGETHER_NS: Final = 3_000_000_000  # a recorder hears both directions begin and end within it
_FEW: Final = 16  # the latest users of an SSRC to look at: bounds the work on hostile captures
_FOLLOWS_NS: Final = 30_000_000_000  # the same SSRC from a new address within this time goes on


@dataclass(slots=True, eq=False)
class Group:
    """The streams of one call by direction; ``guesses`` are the decisions that had no proof, in words."""

    description: CallDescription | None = None
    legs: dict[Side, list[StreamFacts]] = field(default_factory=lambda: {"caller": [], "called": []})
    guesses: list[str] = field(default_factory=list)
    sides_inferred: bool = False
    forks: list[StreamFacts] = field(
        default_factory=list
    )  # sent to a recorder: copies, unless nothing else is there
    verdicts: list[Verdict] = field(default_factory=list)
    aside: list[Aside] = field(default_factory=list)

    @property
    def first_ns(self) -> int:
        """When the first packet came."""
        return min(fact.first_ns for leg in self.legs.values() for fact in leg)

    @property
    def packets(self) -> int:
        """Packets in both directions."""
        return sum(fact.packets for leg in self.legs.values() for fact in leg)


def signalled_groups(
    facts: Sequence[StreamFacts], descriptions: Sequence[CallDescription]
) -> tuple[list[Group], list[StreamFacts], list[Aside]]:
    """A group for each described call, the streams that no description claims, and those that are no audio.

    A stream to the address and port where one side receives is the other side's leg (RFC 3264); from there, symmetric
    RTP, that side's own (see `callreplay.order.matching`). The reverse of a stream that was placed belongs to the
    opposite leg. Streams described as video or the like are set aside.
    """
    if not descriptions:
        return [], sorted(facts, key=lambda fact: fact.first_ns), []
    groups = [Group(description) for description in descriptions]
    for group in groups:
        if group.description is not None:
            group.sides_inferred = group.description.sides_inferred
            group.verdicts += group.description.verdicts
    table = Table(descriptions, facts)
    other = _OtherMedia(descriptions)
    left: list[StreamFacts] = []
    aside: list[Aside] = []
    exact: set[int] = set()
    for fact in sorted(_parted(table, facts), key=lambda fact: fact.first_ns):
        if other.claims(fact):
            aside.append(set_aside(fact, "other media", "signalling announced it as video, fax or text"))
            continue
        match = table.match(fact)
        if match is None:
            left.append(fact)
            continue
        group = groups[match.call]
        group.legs[match.side].append(fact)
        group.verdicts.append(match.verdict)
        if match.exact:
            exact.add(id(fact))
        else:
            group.guesses.append(str(match.verdict))
        if _to_fork(fact, group):
            group.forks.append(fact)
    for group in groups:
        _part_opposed(group, exact)
    return groups, _by_symmetry(table, groups, left), aside


def _parted(table: Table, facts: Sequence[StreamFacts]) -> Iterator[StreamFacts]:
    """The streams, those cut that go on under one SSRC from one call to the next on the same sockets."""
    for fact in facts:
        calls = table.lives_through(fact)
        if not calls:
            yield fact
            continue
        rows = rows_of_fact(fact)
        cuts = sorted({_cut(table, fact, rows, index) for index in calls} - {0})
        if not cuts:
            yield fact
            continue
        for first, stop in pairwise((0, *cuts, len(rows))):
            yield part_of(fact, rows[first:stop])


def _cut(table: Table, fact: StreamFacts, rows: NDArray[np.integer], index: int) -> int:
    """The first row of a stream that belongs to call ``index``; 0 where the stream goes on without a break.

    Between the INVITE and the moment when media may start lies a pause, and either the earlier call is over by then or
    the numbers start anew. Servers that use one socket for all their calls have streams that simply go on.
    """
    assert fact.rtp is not None
    arrival = fact.rtp.arrival_ns[rows]
    bounds = np.searchsorted(arrival, np.array(table.setup_ns(index)))
    first, last = max(1, int(bounds[0])), int(bounds[1])
    pauses = np.flatnonzero(np.diff(arrival[first - 1 : last + 1]) >= _BREAK_NS)
    if not len(pauses):
        return 0
    cut = first + int(pauses[0])
    ends = endpoint(fact.stream.flow, source=True), endpoint(fact.stream.flow, source=False)
    last_row, next_row = int(rows[cut - 1]), int(rows[cut])
    ahead = int(fact.rtp.sequence[next_row]) - int(fact.rtp.sequence[last_row]) & 0xFFFF
    ticks = int(fact.rtp.timestamp[next_row]) - int(fact.rtp.timestamp[last_row]) & 0xFFFFFFFF
    most = 2 * _FASTEST_HZ * (int(arrival[cut] - arrival[cut - 1]) + 1_000_000_000) // 1_000_000_000
    anew = not 0 < ahead <= _DROPOUT or ticks > most
    return cut if anew or table.ended_by(ends, index, int(arrival[cut])) else 0


def _part_opposed(group: Group, exact: Set[int]) -> None:
    """Streams that run against each other between two hosts are no one leg, whatever addresses the signalling gives.

    Only where one leg got all: the direction that matches the signalling best keeps it, what runs against it goes over.
    """
    sides: tuple[Side, Side] = ("caller", "called")
    for side in sides:
        leg, opposite = group.legs[side], group.legs[other_side(side)]
        if opposite or len(leg) < 2:
            continue
        best = max(leg, key=lambda fact: (id(fact) in exact, fact.packets)).stream.flow
        against = [
            fact
            for fact in leg
            if best.source != best.destination
            and (fact.stream.flow.source, fact.stream.flow.destination) == (best.destination, best.source)
        ]
        if against:
            group.legs[side] = [fact for fact in leg if fact not in against]
            group.legs[other_side(side)] = against
            group.guesses.append(
                "signalled addresses put both directions into one leg; parted by the hosts they run between"
            )


class _OtherMedia:
    """Where signalling expects what is no audio, by socket: without this it would pass for another call."""

    def __init__(self, descriptions: Sequence[CallDescription]) -> None:
        self._others: dict[tuple[str, int], list[tuple[CallDescription, tuple[int, ...]]]] = defaultdict(list)
        self._audio: dict[tuple[str, int], list[tuple[CallDescription, Iterable[int]]]] = defaultdict(list)
        for call in descriptions:
            for other in call.other_media:
                self._others[other.address, other.port].append((call, other.payload_types))
        for call in descriptions:
            for media in call.media:
                if (media.address, media.port) in self._others:
                    self._audio[media.address, media.port].append((call, media.payload_types))

    def claims(self, fact: StreamFacts) -> bool:
        """Whether a description says that the stream is video or the like.

        On a port that audio has too (RFC 8843) the payload types tell: all of them the other media's, none the audio's.
        """
        if not self._others:
            return False
        ends = {endpoint(fact.stream.flow, source=source) for source in (True, False)}
        others = [types for end in ends for call, types in self._others.get(end, ()) if _in_time(fact, call)]
        if not others:
            return False
        audio = [types for end in ends for call, types in self._audio.get(end, ()) if _in_time(fact, call)]
        named = {number for types in others for number in types}
        return not audio or fact.payload_types() <= named.difference(*audio)


def _to_fork(fact: StreamFacts, group: Group) -> bool:
    there = endpoint(fact.stream.flow, source=False)
    media = group.description.media if group.description else []
    return any(one.fork and (one.address, one.port) == there for one in media)


def without_forks(group: Group) -> list[Aside]:
    """Drop what was sent to a recorder where the leg has the media itself too; returns what went."""
    dropped: list[Aside] = []
    if not group.forks:
        return dropped
    for side, leg in group.legs.items():
        own = [fact for fact in leg if fact not in group.forks]
        if own and len(own) < len(leg):
            reason = f"it was sent to a recorder and repeats the {side}'s media"
            dropped += [set_aside(fact, "copy", reason) for fact in leg if fact in group.forks]
            group.legs[side] = own
    return dropped


def _in_time(fact: StreamFacts, description: CallDescription) -> bool:
    if description.start_ns and fact.last_ns < description.start_ns - _EARLY_NS:
        return False
    return not (description.end_ns and fact.first_ns > description.end_ns + _TAIL_NS)


def _by_symmetry(table: Table, groups: Sequence[Group], left: list[StreamFacts]) -> list[StreamFacts]:
    """Give streams that run against a placed one, or beside it on its flow, to that call; returns what remains."""
    placed: dict[tuple[tuple[str, int], tuple[str, int]], list[tuple[int, Side, StreamFacts]]] = defaultdict(
        list
    )
    for index, group in enumerate(groups):
        for side, leg in group.legs.items():
            for fact in leg:
                placed[_ends(fact.stream.flow)].append((index, side, fact))
    remaining: list[StreamFacts] = []
    for fact in left:
        ends = _ends(fact.stream.flow)
        options = [(index, side, other) for index, side, other in placed.get(ends, ())]
        options += [(index, other_side(side), other) for index, side, other in placed.get(ends[::-1], ())]
        near = [
            (
                max(0, fact.first_ns - other.last_ns, other.first_ns - fact.last_ns),
                index,
                side,
            )
            for index, side, other in options
            if table.holds(index, fact) and fact.first_ns - other.last_ns <= _NEW_CALL_NS
        ]
        if not near:
            remaining.append(fact)
            continue
        _, index, side = min(near)
        groups[index].legs[side].append(fact)
        placed[ends].append((index, side, fact))
    return remaining


def _ends(flow: Flow) -> tuple[tuple[str, int], tuple[str, int]]:
    return endpoint(flow, source=True), endpoint(flow, source=False)


def unsignalled_groups(facts: Sequence[StreamFacts]) -> list[Group]:
    """Calls from addresses and time alone; the side that sends first is taken for the caller, marked as inferred."""
    plain = _both_ways(facts) if len(facts) == 2 else None
    if plain is not None:
        return [plain]
    pairs: dict[frozenset[tuple[str, int]], list[StreamFacts]] = defaultdict(list)
    for fact in facts:
        flow = fact.stream.flow
        pairs[frozenset((endpoint(flow, source=True), endpoint(flow, source=False)))].append(fact)
    groups: list[Group] = []
    for members in pairs.values():
        for cluster in _clusters(members):
            groups.append(_by_source(cluster))
    _follow_ssrc(groups)
    _pair_one_way(groups)
    for group in groups:
        _choose_sides(group)
    return sorted(groups, key=lambda group: group.first_ns)


def _both_ways(facts: Sequence[StreamFacts]) -> Group | None:
    """The call of two streams that run against each other in one time, as most captures have it; None for others."""
    first, second = facts
    if second.first_ns < first.first_ns:
        first, second = second, first
    here, there = first.stream.flow, second.stream.flow
    against = (here.source, here.source_port) == (there.destination, there.destination_port)
    if not against or (there.source, there.source_port) != (here.destination, here.destination_port):
        return None
    alone = here.source == here.destination and here.source_port == here.destination_port
    if alone or second.first_ns - first.last_ns > _NEW_CALL_NS:
        return None
    return Group(None, {"caller": [first], "called": [second]}, [_WHO_IS_FIRST], sides_inferred=True)


def _clusters(members: Sequence[StreamFacts]) -> list[list[StreamFacts]]:
    """The streams between two endpoints cut into calls: a long silence of both, then SSRCs not heard before.

    Servers that use one socket for all their calls have several streams at a time in either direction: that many calls.
    """
    clusters: list[list[StreamFacts]] = []
    last_ns = 0
    for fact in sorted(members, key=lambda member: member.first_ns):
        if clusters and fact.first_ns - last_ns <= _NEW_CALL_NS:
            clusters[-1].append(fact)
        else:
            clusters.append([fact])
        last_ns = max(last_ns, fact.last_ns)
    return [part for cluster in clusters for part in _side_by_side(cluster)]


def _side_by_side(cluster: list[StreamFacts]) -> list[list[StreamFacts]]:
    """The calls of streams between two endpoints that run at the same time, where both directions have several."""
    here = endpoint(cluster[0].stream.flow, source=True)
    directions = [
        [fact for fact in cluster if (endpoint(fact.stream.flow, source=True) == here) is forth]
        for forth in (True, False)
    ]
    lanes = [_lanes(direction) for direction in directions]
    if min(len(each) for each in lanes) < 2 or not all(_alike(each) for each in lanes):
        return [cluster]
    back = list(lanes[1])
    calls: list[list[StreamFacts]] = []
    for lane in lanes[0]:
        # The other direction of a call begins and ends with it.
        near = min(back, key=lambda other: _apart_ns(lane, other), default=None)
        if near is not None:
            back.remove(near)
        calls.append([*lane, *(near or [])])
    return [sorted(call, key=lambda fact: fact.first_ns) for call in (*calls, *back)]


def _alike(lanes: Sequence[Sequence[StreamFacts]]) -> bool:
    """Whether the lanes of one direction carry the same payload types: audio and video on one port are one call."""
    types = [set[int]().union(*(fact.payload_types() for fact in lane)) for lane in lanes]
    return all(types[0] & each for each in types[1:])


def _apart_ns(one: Sequence[StreamFacts], other: Sequence[StreamFacts]) -> int:
    ends = [(lane[0].first_ns, max(fact.last_ns for fact in lane)) for lane in (one, other)]
    return abs(ends[0][0] - ends[1][0]) + abs(ends[0][1] - ends[1][1])


def _lanes(direction: Sequence[StreamFacts]) -> list[list[StreamFacts]]:
    """Streams of one direction: those that follow each other in one lane, those at the same time each in its own."""
    lanes: list[list[StreamFacts]] = []
    free: list[tuple[int, int]] = []  # heap of (end, lane)
    for fact in direction:
        if free and free[0][0] <= fact.first_ns + _EARLY_NS:
            _, lane = heapq.heappop(free)
            lanes[lane].append(fact)
        else:
            lane = len(lanes)
            lanes.append([fact])
        heapq.heappush(free, (fact.last_ns, lane))
    return lanes


def _by_source(cluster: Sequence[StreamFacts]) -> Group:
    group = Group(sides_inferred=True)
    first = endpoint(cluster[0].stream.flow, source=True)
    for fact in cluster:
        side: Side = "caller" if endpoint(fact.stream.flow, source=True) == first else "called"
        group.legs[side].append(fact)
    return group


def _one_way(group: Group) -> bool:
    return not group.legs["caller"] or not group.legs["called"]


def _follow_ssrc(groups: list[Group]) -> None:
    """An SSRC that goes on from another address (re-INVITE, NAT rebinding) stays in its leg."""
    seen: dict[int, list[tuple[Group, Side, StreamFacts]]] = defaultdict(list)
    for group in sorted(groups, key=lambda one: one.first_ns):
        adopted: Group | None = None
        swap = False
        for side, leg in group.legs.items():
            for fact in leg:
                for earlier, its_side, other in seen[fact.stream.ssrc][-_FEW:]:
                    follows = -_EARLY_NS < fact.first_ns - other.last_ns < _FOLLOWS_NS
                    follows = follows and _goes_on(other, fact)
                    if earlier is not group and follows and fact.stream.flow != other.stream.flow:
                        adopted = earlier
                        swap = its_side != side
        home = group
        if adopted is not None:
            home = adopted
            adopted.guesses.append("an SSRC went on from another address; taken for the same call")
            groups.remove(group)
        for side, leg in group.legs.items():
            its = side if home is group or not swap else other_side(side)
            if home is not group:
                home.legs[its] += leg
            for fact in leg:
                seen[fact.stream.ssrc].append((home, its, fact))


def _goes_on(earlier: StreamFacts, later: StreamFacts) -> bool:
    """Whether a stream's numbers go on in another: who moved counts on, who plays a file again does not."""
    if earlier.rtp is None or later.rtp is None:
        return True
    last, first = int(rows_of_fact(earlier)[-1]), int(rows_of_fact(later)[0])
    ahead = int(later.rtp.sequence[first]) - int(earlier.rtp.sequence[last]) & 0xFFFF
    return ahead <= _DROPOUT or ahead >= (1 << 16) - _REORDERED


def _pair_one_way(groups: list[Group]) -> None:
    """Pair directions whose ports are no mirror image, by the hosts they run between and their overlap in time.

    What a relay or a recording phone sends to a recorder has both directions go to one host.
    """
    single = sorted((group for group in groups if _one_way(group)), key=lambda group: group.first_ns)
    by_hosts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    by_receiver: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(single):
        flow = _only(group)[0].stream.flow
        by_hosts[tuple(sorted((flow.source, flow.destination)))].append(index)
        if flow.source:
            by_receiver[flow.destination].append(index)
    options: list[tuple[int, int, int]] = []
    for members in by_hosts.values():
        for one, other in _near_in_time(single, members):
            share = _overlap(single[one], single[other])
            if share > 0 and _opposed(single[one], single[other]):
                options.append((-share, one, other))
    taken: set[int] = set()
    gone: set[int] = set()
    why = "the directions have different ports; paired by their hosts and overlap in time"
    for _, one, other in sorted(options):
        if one not in taken and other not in taken:
            taken |= {one, other}
            gone.add(id(_paired(single[one], single[other], why)))
    for one, other, verdict in _recorded(single, by_receiver, taken):
        single[one].verdicts.append(verdict)
        gone.add(id(_paired(single[one], single[other], str(verdict))))
    groups[:] = [group for group in groups if id(group) not in gone]


def _paired(first: Group, second: Group, why: str) -> Group:
    """Two one-way calls made one; returns the one that is no more."""
    first.legs = {"caller": _only(first), "called": _only(second)}
    first.guesses.append(why)
    return second


def _near_in_time(single: Sequence[Group], members: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs of groups, in order of time, that run at the same time; a bounded number for each."""
    for position, one in enumerate(members):
        stop = max(fact.last_ns for fact in _only(single[one]))
        for other in members[position + 1 : position + 1 + _FEW]:
            if single[other].first_ns > stop:
                break
            yield one, other


def _recorded(
    single: Sequence[Group], by_receiver: dict[str, list[int]], taken: set[int]
) -> Iterator[tuple[int, int, Verdict]]:
    """Pairs of streams to one host that are the two directions of a call, and no other stream could be either's."""
    for members in by_receiver.values():
        free = [index for index in members if index not in taken]
        partners: dict[int, list[tuple[int, int, Verdict]]] = defaultdict(list)
        for one, other in _near_in_time(single, free):
            weight, verdict = _as_recorded(single[one], single[other])
            if weight > 0:
                partners[one].append((weight, other, verdict))
                partners[other].append((weight, one, verdict))
        best = {index: _sole(options) for index, options in partners.items()}
        for one, found in best.items():
            if found is None:
                continue
            other, verdict = found
            back = best.get(other)
            if one < other and back is not None and back[0] == one:
                yield one, other, verdict


def _sole(options: list[tuple[int, int, Verdict]]) -> tuple[int, Verdict] | None:
    """The option with most weight, unless two have as much."""
    weight = max(option[0] for option in options)
    first = [(other, verdict) for each, other, verdict in options if each == weight]
    return first[0] if len(first) == 1 else None


def _as_recorded(one: Group, other: Group) -> tuple[int, Verdict]:
    """How much more speaks for two directions of one call, sent to a recorder, than for two calls."""
    mine, theirs = _only(one)[0].stream.flow, _only(other)[0].stream.flow
    ends = [(group.first_ns, max(fact.last_ns for fact in _only(group))) for group in (one, other)]
    begin, end = abs(ends[0][0] - ends[1][0]), abs(ends[0][1] - ends[1][1])
    ports = sorted((mine.destination_port, theirs.destination_port))
    sent = sorted((mine.source_port, theirs.source_port))
    together = Rival("two directions of one call, sent to a recorder")
    together.says(2, "they begin and end together", when=begin <= _TOGETHER_NS and end <= _TOGETHER_NS)
    together.says(1, "within 0.2 s", when=begin <= _AT_ONCE_NS and end <= _AT_ONCE_NS)
    together.says(2, "they go to neighbouring ports", when=0 < ports[1] - ports[0] <= 2)
    beside = mine.source == theirs.source and 0 < sent[1] - sent[0] <= 2
    together.says(1, "one host sends both from neighbouring ports", when=beside)
    together.says(1, "two hosts send to one", when=mine.source != theirs.source)
    apart = Rival("two calls").says(4, "both go to one host")
    generated = _only(one)[0].stream.ssrc == _only(other)[0].stream.ssrc
    apart.says(3, "they come from one SSRC, as of a load generator", when=generated)
    apart.says(3, "they do not overlap for most of their time", when=not _overlap(one, other))
    types = [set[int]().union(*(fact.payload_types() for fact in _only(group))) for group in (one, other)]
    apart.says(4, "they carry other payload types, as audio and video do", when=not types[0] & types[1])
    about = f"{_text(mine)} and {_text(theirs)} to {mine.destination}"
    return together.weight - apart.weight, weigh(
        "what are these streams to one host?", about, apart, together
    )


def _only(group: Group) -> list[StreamFacts]:
    return group.legs["caller"] or group.legs["called"]


def _overlap(one: Group, other: Group) -> int:
    """Overlap in ns, or 0 when it is less than half of the shorter direction."""
    spans = [(min(f.first_ns for f in _only(g)), max(f.last_ns for f in _only(g))) for g in (one, other)]
    common = min(spans[0][1], spans[1][1]) - max(spans[0][0], spans[1][0])
    shorter = min(stop - start for start, stop in spans)
    return common if common > 0 and 2 * common >= shorter else 0


def _opposed(one: Group, other: Group) -> bool:
    here, there = _only(one)[0].stream.flow, _only(other)[0].stream.flow
    return bool(here.source) and (here.source, here.destination) == (there.destination, there.source)


def _choose_sides(group: Group) -> None:
    """Who sends first is the caller."""
    firsts = {side: min((f.first_ns for f in leg), default=0) for side, leg in group.legs.items()}
    if not group.legs["caller"] or (group.legs["called"] and firsts["called"] < firsts["caller"]):
        group.legs = {"caller": group.legs["called"], "called": group.legs["caller"]}
    group.guesses.append(_WHO_IS_FIRST)


def _text(flow: Flow) -> str:
    return f"{flow.source}:{flow.source_port}"
