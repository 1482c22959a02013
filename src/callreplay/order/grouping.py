"""Which streams belong to which call, and to which of its directions: signalling first, then addresses, then time."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from callreplay.model import CallDescription, Flow, MediaDescription, Side
from callreplay.order.taps import StreamFacts

__all__ = ["Group", "other_side", "signalled_groups", "unsignalled_groups", "without_forks"]

_EARLY_NS: Final = 2_000_000_000  # media may precede the signalling that describes it
_TAIL_NS: Final = 5_000_000_000  # and outlast the BYE
_NEW_CALL_NS: Final = 120_000_000_000  # both directions silent for so long, then a new SSRC: another call
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

    @property
    def first_ns(self) -> int:
        """When the first packet came."""
        return min(fact.first_ns for leg in self.legs.values() for fact in leg)

    @property
    def packets(self) -> int:
        """Packets in both directions."""
        return sum(fact.packets for leg in self.legs.values() for fact in leg)


def other_side(side: Side) -> Side:
    """The opposite direction."""
    return "called" if side == "caller" else "caller"


def endpoint(flow: Flow, *, source: bool) -> tuple[str, int]:
    """One end of a flow."""
    return (flow.source, flow.source_port) if source else (flow.destination, flow.destination_port)


def signalled_groups(
    facts: Sequence[StreamFacts], descriptions: Sequence[CallDescription]
) -> tuple[list[Group], list[StreamFacts]]:
    """A group for each described call, and the streams that no description claims.

    A stream to the address and port where one side receives is the other side's leg (RFC 3264); from there, symmetric
    RTP, that side's own. Behind NAT the described address is private or another: the port alone then counts, and only
    when nothing matches better. The reverse of a stream that was placed belongs to the opposite leg. Streams described
    as video or the like are in neither.
    """
    groups = [Group(description) for description in descriptions]
    left: list[StreamFacts] = []
    scores: dict[int, int] = {}
    for fact in facts:
        if _is_other_media(fact, descriptions):
            continue
        best = _best_match(fact, groups)
        if best is None:
            left.append(fact)
            continue
        group, side, score = best
        group.legs[side].append(fact)
        scores[id(fact)] = score
        if _to_fork(fact, group):
            group.forks.append(fact)
        if score < 4:
            group.guesses.append(
                f"stream {fact.stream.ssrc:#010x} from {_text(fact.stream.flow)} matches the signalled port only (NAT)"
            )
    for group in groups:
        _part_opposed(group, scores)
    return groups, _by_symmetry(groups, left)


def _part_opposed(group: Group, scores: Mapping[int, int]) -> None:
    """Streams that run against each other between two hosts are no one leg, whatever addresses the signalling gives.

    Only where one leg got all: the direction that matches the signalling best keeps it, what runs against it goes over.
    """
    sides: tuple[Side, Side] = ("caller", "called")
    for side in sides:
        leg, opposite = group.legs[side], group.legs[other_side(side)]
        if opposite or len(leg) < 2:
            continue
        best = max(leg, key=lambda fact: (scores[id(fact)], fact.packets)).stream.flow
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


def _best_match(fact: StreamFacts, groups: Sequence[Group]) -> tuple[Group, Side, int] | None:
    scores: dict[tuple[int, Side], int] = defaultdict(int)
    for index, group in enumerate(groups):
        description = group.description
        if description is None or not _in_time(fact, description):
            continue
        best: dict[tuple[Side, bool], int] = {}
        for media in description.media:
            if media.port == 0 or fact.last_ns < media.valid_from_ns - _EARLY_NS:
                continue
            for to_it in (True, False):
                score = _match(media, *endpoint(fact.stream.flow, source=not to_it))
                best[media.side, to_it] = max(score, best.get((media.side, to_it), 0))
        for (side, to_it), score in best.items():
            if score:
                scores[index, other_side(side) if to_it else side] += score
    if not scores:
        return None
    # Ports are used again by later calls: of equal matches the call begun last before the stream is meant.
    (index, side), score = max(scores.items(), key=lambda item: (item[1], _start(groups[item[0][0]])))
    rivals = [key for key, value in scores.items() if value == score and key != (index, side)]
    if score < 2 and rivals:
        return None
    return groups[index], side, score


def _is_other_media(fact: StreamFacts, descriptions: Sequence[CallDescription]) -> bool:
    """Whether a description says that the stream is video or the like: without this it would pass for another call.

    On a port that audio has too (RFC 8843) the payload types tell: all of them the other media's, none the audio's.
    """
    ends = {endpoint(fact.stream.flow, source=source) for source in (True, False)}
    others = [
        other
        for call in descriptions
        for other in call.other_media
        if (other.address, other.port) in ends and _in_time(fact, call)
    ]
    if not others:
        return False
    audio = [
        media
        for call in descriptions
        for media in call.media
        if (media.address, media.port) in ends and _in_time(fact, call)
    ]
    named = {number for other in others for number in other.payload_types}
    return not audio or fact.payload_types() <= named.difference(*(media.payload_types for media in audio))


def _to_fork(fact: StreamFacts, group: Group) -> bool:
    there = endpoint(fact.stream.flow, source=False)
    media = group.description.media if group.description else []
    return any(one.fork and _match(one, *there) == 4 for one in media)


def without_forks(group: Group) -> int:
    """Drop what was sent to a recorder where the leg has the media itself too; returns how many streams went."""
    dropped = 0
    for side, leg in group.legs.items():
        own = [fact for fact in leg if fact not in group.forks]
        if own and len(own) < len(leg):
            dropped += len(leg) - len(own)
            group.guesses.append(
                f"{len(leg) - len(own)} streams to a recorder repeat the {side}'s media; dropped"
            )
            group.legs[side] = own
    return dropped


def _start(group: Group) -> int:
    return group.description.start_ns if group.description else 0


def _in_time(fact: StreamFacts, description: CallDescription) -> bool:
    if description.start_ns and fact.last_ns < description.start_ns - _EARLY_NS:
        return False
    return not (description.end_ns and fact.first_ns > description.end_ns + _TAIL_NS)


def _match(media: MediaDescription, address: str, port: int) -> int:
    if port != media.port:
        return 0
    if _same_address(address, media.address):
        return 4
    return 2 if _private(media.address) else 1


def _same_address(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def _private(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False


def _by_symmetry(groups: Sequence[Group], left: list[StreamFacts]) -> list[StreamFacts]:
    """Give streams that run against a placed one, or beside it on its flow, to that call; returns what remains."""
    remaining: list[StreamFacts] = []
    for fact in left:
        home = _home(groups, fact)
        if home is None:
            remaining.append(fact)
        else:
            group, side = home
            group.legs[side].append(fact)
    return remaining


def _home(groups: Sequence[Group], fact: StreamFacts) -> tuple[Group, Side] | None:
    here, there = endpoint(fact.stream.flow, source=True), endpoint(fact.stream.flow, source=False)
    for group in groups:
        if group.description is not None and not _in_time(fact, group.description):
            continue
        for side, leg in group.legs.items():
            for placed in leg:
                ends = endpoint(placed.stream.flow, source=True), endpoint(placed.stream.flow, source=False)
                if ends == (here, there):
                    return group, side
                if ends == (there, here):
                    return group, other_side(side)
    return None


def unsignalled_groups(facts: Sequence[StreamFacts]) -> list[Group]:
    """Calls from addresses and time alone; the side that sends first is taken for the caller, marked as inferred."""
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


def _clusters(members: Sequence[StreamFacts]) -> list[list[StreamFacts]]:
    """The streams between two endpoints cut into calls: a long silence of both, then SSRCs not heard before."""
    clusters: list[list[StreamFacts]] = []
    last_ns = 0
    for fact in sorted(members, key=lambda member: member.first_ns):
        if clusters and fact.first_ns - last_ns <= _NEW_CALL_NS:
            clusters[-1].append(fact)
        else:
            clusters.append([fact])
        last_ns = max(last_ns, fact.last_ns)
    return clusters


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


def _pair_one_way(groups: list[Group]) -> None:
    """Pair directions whose ports are no mirror image, by the hosts they run between and their overlap in time."""
    single = [group for group in groups if _one_way(group)]
    by_hosts: dict[frozenset[str], list[int]] = defaultdict(list)
    for index, group in enumerate(single):
        flow = _only(group)[0].stream.flow
        by_hosts[frozenset((flow.source, flow.destination))].append(index)
    options: list[tuple[int, int, int]] = []
    for members in by_hosts.values():
        for position, one in enumerate(members):
            for other in members[position + 1 :]:
                share = _overlap(single[one], single[other])
                if share > 0 and _opposed(single[one], single[other]):
                    options.append((-share, one, other))
    taken: set[int] = set()
    for _, one, other in sorted(options):
        if one in taken or other in taken:
            continue
        taken |= {one, other}
        first, second = single[one], single[other]
        first.legs = {"caller": _only(first), "called": _only(second)}
        first.guesses.append("the directions have different ports; paired by their hosts and overlap in time")
        groups.remove(second)


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
    group.guesses.append("no signalling: the side that sends first is taken for the caller")


def _text(flow: Flow) -> str:
    return f"{flow.source}:{flow.source_port}"
