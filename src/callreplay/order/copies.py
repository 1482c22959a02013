"""Copies out of the calls: one of two equal streams plays, what only the other one has is kept, the rest is listed."""

from __future__ import annotations

from typing import Final

import numpy as np

from callreplay.model import Side
from callreplay.order.aside import set_aside
from callreplay.order.grouping import Group, without_forks
from callreplay.order.matching import other_side
from callreplay.order.streams import Packets
from callreplay.order.taps import Copy, Owner, StreamFacts, find_copies, nominees, part_of, rows_of_fact

__all__ = ["without_copies"]

_EDGE_NS: Final = 100_000_000  # jitter at either end of the time that two taps have in common
_AS_FULL: Final = 0.99  # of the packets: then the stream that signalling describes is kept
_WORTH: Final = 25  # packets beyond the common time that are worth a span of their own
_CLOSE_NS: Final = 20_000_000  # taps so close in time that the one's packets fill the other's holes


def without_copies(scan: Packets, groups: list[Group]) -> None:
    """Set aside streams that repeat others (two taps, both sides of a B2BUA) and join what remains of their calls.

    Of two groups with common content the better one is kept: described, with both directions, with more packets. What
    the other has besides goes to the matching direction of the kept one. Calls that signalling describes as two stay
    two; each names the other.
    """
    if not nominees([fact for group in groups for leg in group.legs.values() for fact in leg]):
        return
    places = [(group, side, fact) for group in groups for side, leg in group.legs.items() for fact in leg]
    numbers = {id(group): number for number, group in enumerate(groups)}
    owners = [Owner(numbers[id(group)], side, group.description is not None) for group, side, _ in places]
    found = find_copies(scan, [fact for _, _, fact in places], owners)
    joined: dict[int, tuple[Group, bool]] = {}
    for pair in found:
        kept, gone = places[pair.original], places[pair.copy]
        if pair.linked:
            _link(kept[0], gone[0], pair)
            continue
        if kept[2] not in kept[0].legs[kept[1]] or gone[2] not in gone[0].legs[gone[1]]:
            continue
        home, away = (
            (gone, kept) if kept[0] is not gone[0] and _rank(gone[0]) > _rank(kept[0]) else (kept, gone)
        )
        home[0].legs[home[1]].remove(home[2])
        away[0].legs[away[1]].remove(away[2])
        swap = home is not kept and home[2].packets >= _AS_FULL * away[2].packets
        _settle(scan, home[0], home[1], (gone[2], kept[2]) if swap else (kept[2], gone[2]), pair, swap)
        if home[0] is not away[0]:
            joined.setdefault(id(away[0]), (home[0], home[1] != away[1]))
    for group in groups:
        if id(group) in joined and group.packets:
            home_group, crossed = joined[id(group)]
            for side, leg in group.legs.items():
                target = home_group.legs[other_side(side) if crossed else side]
                if not target:
                    target += leg
                    leg.clear()
    for group in groups:
        group.aside += without_forks(group)


def _rank(group: Group) -> tuple[bool, bool, int]:
    return group.description is not None, bool(group.legs["caller"] and group.legs["called"]), group.packets


def _link(one: Group, other: Group, pair: Copy) -> None:
    """Two described calls that carry the same media: each names the other, both play."""
    for group, beyond in ((one, other), (other, one)):
        said, theirs = group.description, beyond.description
        if said is None or theirs is None:
            continue
        if theirs.call_id not in said.related:
            said.related.append(theirs.call_id)
            group.guesses.append(
                f"it carries the same media as call {theirs.call_id}: another hop of one call"
            )
        group.verdicts.append(pair.verdict)


def _settle(
    scan: Packets, group: Group, side: Side, streams: tuple[StreamFacts, StreamFacts], pair: Copy, swap: bool
) -> None:
    """Give the leg the first of two streams, and what the second one has besides."""
    kept, gone = streams
    rows, sequence, stamp = rows_of_fact(gone), scan.rtp.sequence, scan.rtp.timestamp
    unheard = 0
    if not pair.rewritten and abs(pair.delay_ns) <= _CLOSE_NS and kept.stream.ssrc == gone.stream.ssrc:
        mine = rows_of_fact(kept)
        told, known = (
            sequence[each].astype(np.int64) << 32 | stamp[each].astype(np.int64) for each in (rows, mine)
        )
        new = ~np.isin(told, known)
        if new.any():
            whole = np.concatenate([mine, rows[new]])
            kept = part_of(kept, whole[np.argsort(scan.rtp.arrival_ns[whole], kind="stable")])
            rows = rows[~new]
    else:
        # Arrival at the place where the kept one was captured.
        arrival = scan.rtp.arrival_ns[rows] + (pair.delay_ns if swap else -pair.delay_ns)
        before = int(np.count_nonzero(arrival < kept.first_ns - _EDGE_NS))
        after = int(np.count_nonzero(arrival > kept.last_ns + _EDGE_NS))
        parts = [rows[:before], rows[len(rows) - after :]]
        longer = [part for part in parts if len(part) >= _WORTH]
        group.legs[side] += [part_of(gone, part) for part in longer]
        unheard = sum(len(part) for part in parts if len(part) < _WORTH)
        first = before if before >= _WORTH else 0
        rows = rows[first : len(rows) - after if after >= _WORTH else len(rows)]
    group.legs[side].append(kept)
    group.verdicts.append(pair.verdict)
    if not len(rows):
        return
    hop = "both sides of a B2BUA" if pair.rewritten else "two taps"
    reason = f"it repeats the {side}'s media ({hop}); one hop kept"
    if unheard:
        reason += f", {unheard} packets at its ends are in it alone"
    group.aside.append(set_aside(part_of(gone, rows), "copy", reason))
    group.guesses.append(str(group.aside[-1]))
