"""Whose packets go together: talks that signalling tells of, the ways of their media, and what nobody announced.

The law is that of docs/calls.md, as far as it can be told while packets come. Where it cannot, packets of both readings
are kept together: what reads a spool decides with all the evidence; what was kept apart it cannot put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar
from uuid import UUID

from callreplay import addresses

__all__ = ["Board", "Group", "Placer", "Socket", "Talk", "WayEnds"]

Socket = tuple[str, int]
_Key = TypeVar("_Key")

_FEW: Final = 4
"""Groups that a way may join where all that is known is that it is one of theirs."""
_TOGETHER_NS: Final = 3_000_000_000
_MANY: Final = 64
"""Ways of one socket: a server's, of which a new talk's other socket tells more."""


@dataclass(slots=True, eq=False)
class Talk:
    """A dialog, or the calls of one Skinny phone: what it says of sockets and hosts, and when it was over."""

    group: Group
    name: str
    sockets: set[Socket] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    devices: tuple[str, ...] = ()
    """The Skinny phone."""
    answered: bool = False
    over_ns: int = 0
    """The time of its BYE or final failure; 0 while it lasts."""
    last_ns: int = 0


@dataclass(slots=True, eq=False)
class Group:
    """What shares spools: talks that are one call, or packets between two sockets that nobody announced."""

    number: int
    spools: list[int] = field(default_factory=list)
    talks: set[Talk] = field(default_factory=set)
    ways: set[int] = field(default_factory=set)
    files: list[str] = field(default_factory=list)
    """Files that spools have gone on from."""
    remote: dict[tuple[int, int], int] = field(default_factory=dict)
    """Spools that workers have of it: worker, the number that it goes by there, and how many files came before."""
    heard_ns: int = 0
    """The latest packet of those."""
    begun_ns: int = 0
    drops: int = 0
    merged_into: Group | None = None
    row: UUID | None = None
    """That the call has in the database while it goes on (`callreplay.store.progress`)."""
    changed: bool = True
    """Since somebody last looked: what signalling says, or where its packets are."""
    told: object = None
    """What was said of it to the database last."""
    due_ns: int = 0
    """Before then it cannot be over, unless something is heard of it."""

    @property
    def standing(self) -> Group:
        """The group itself, or the one that it became part of."""
        found = self
        while found.merged_into is not None:
            found = found.merged_into
        return found


@dataclass(slots=True)
class WayEnds:
    """One way of packets, from socket to socket."""

    source: Socket
    destination: Socket
    group: Group | None = None


class Placer(Protocol):
    """What puts ways into spools (`callreplay.splitting.spooling.Spooler`)."""

    def spool_for(self, group: Group) -> int:
        """The spool of a group that takes new ways."""

    def put(self, way: int, group: Group) -> None:
        """From now on the packets of a way go to the group's spool."""


class Board:
    """Sockets, ways and groups. ``placer`` hears where ways go."""

    def __init__(self, placer: Placer) -> None:
        self._placer = placer
        self._talks: dict[Socket, dict[Talk, None]] = {}
        self._ports: dict[int, dict[Talk, None]] = {}
        self._ways_of: dict[Socket, set[int]] = {}
        self._pairs: dict[frozenset[Socket], Group] = {}
        self._alone: dict[str, dict[Group, None]] = {}
        self.ways: dict[int, WayEnds] = {}
        self.groups: dict[int, Group] = {}
        self.rows: dict[str, UUID] = {}
        """Rows that an earlier start has begun, by Call-ID: the talk of that name goes on with it."""
        self.orphans: list[UUID] = []
        """Rows of groups that became part of others."""
        self._numbers = 0

    def new_group(self, begun_ns: int) -> Group:
        """A group of its own."""
        self._numbers += 1
        group = Group(self._numbers, begun_ns=begun_ns)
        self.groups[group.number] = group
        return group

    def new_talk(self, name: str, begun_ns: int) -> Talk:
        """A talk in a group of its own."""
        talk = Talk(self.new_group(begun_ns), name)
        talk.group.talks.add(talk)
        talk.group.row = self.rows.pop(name, None)
        return talk

    def merge(self, one: Group, other: Group) -> Group:
        """Make one group of two; the older one stands."""
        one, other = one.standing, other.standing
        if one is other:
            return one
        if other.number < one.number:
            one, other = other, one
        one.spools += other.spools
        one.files += other.files
        one.remote |= other.remote
        one.heard_ns = max(one.heard_ns, other.heard_ns)
        one.talks |= other.talks
        one.ways |= other.ways
        one.begun_ns = min(one.begun_ns, other.begun_ns)
        one.drops = max(one.drops, other.drops)
        self.orphans += [other.row] if one.row is not None and other.row is not None else []
        one.row = one.row or other.row
        one.changed, one.due_ns = True, 0
        for talk in other.talks:
            talk.group = one
        for way in other.ways:
            self.ways[way].group = one
        for pair in [pair for pair, group in self._pairs_of(other) if group is other]:
            self._pairs[pair] = one
        self._no_longer_alone(other)
        if one.talks:
            self._no_longer_alone(one)
        other.merged_into = one
        del self.groups[other.number]
        return one

    def _pairs_of(self, group: Group) -> Iterator[tuple[frozenset[Socket], Group]]:
        for way in group.ways:
            for pair in self._pair_names(self.ways[way]):
                found = self._pairs.get(pair)
                if found is not None:
                    yield pair, found

    @staticmethod
    def _pair_names(ends: WayEnds) -> list[frozenset[Socket]]:
        """The pair of sockets, and that of the RTP whose RTCP it may be."""
        (source, sport), (destination, dport) = ends.source, ends.destination
        return [
            frozenset(((source, sport), (destination, dport))),
            frozenset(((source, sport - 1), (destination, dport - 1))),
        ]

    def add_way(
        self, way: int, source: Socket, destination: Socket, now_ns: int, media: bool
    ) -> Group | None:
        """Where a way that begins belongs: its group, None for what nobody announced and is no media."""
        ends = self.ways.get(way)
        if ends is None:
            ends = self.ways[way] = WayEnds(source, destination)
            for socket in (source, destination):
                self._ways_of.setdefault(socket, set()).add(way)
        group = self._told(ends)
        if group is None and media:
            group = self._untold(ends, now_ns)
        if group is not None:
            self._join(way, group)
        return group

    def _join(self, way: int, group: Group) -> None:
        ends = self.ways[way]
        if ends.group is not None and ends.group is not group:
            ends.group.ways.discard(way)
        ends.group = group
        group.ways.add(way)
        self._placer.put(way, group)

    def _untold(self, ends: WayEnds, now_ns: int) -> Group:
        names = self._pair_names(ends)
        for name in names:
            group = self._pairs.get(name)
            if group is not None and group.merged_into is None and group.number in self.groups:
                return group
        group = self.new_group(now_ns)
        self._pairs[names[0]] = group
        for host in (ends.source[0], ends.destination[0]):
            self._alone.setdefault(host, {})[group] = None
        return group

    def _told(self, ends: WayEnds) -> Group | None:
        """The group of the talks that a way belongs to, by its sockets, its hosts and, last, its ports."""
        chosen = self._by_sockets(ends) or self._by_ports(ends)
        groups = {talk.group.standing for talk in chosen}
        if not groups or len(groups) > _FEW:
            return None
        first, *rest = groups
        for other in rest:
            first = self.merge(first, other)
        return first

    def _by_sockets(self, ends: WayEnds) -> list[Talk]:
        sends, gets = self._talks.get(ends.source, {}), self._talks.get(ends.destination, {})
        if _multicast(ends.destination[0]):
            gets = {}
        both = [talk for talk in sends if talk in gets]
        if both:
            return _lasting(both)
        hosts = [talk for talk in sends if ends.destination[0] in talk.hosts]
        hosts += [talk for talk in gets if ends.source[0] in talk.hosts]
        return _lasting(hosts or [*sends, *gets])

    def _by_ports(self, ends: WayEnds) -> list[Talk]:
        """Where signalling names hosts that packets do not (names, NAT): both ports must be a talk's."""
        sends, gets = self._ports.get(ends.source[1], {}), self._ports.get(ends.destination[1], {})
        if len(sends) > _MANY or len(gets) > _MANY:
            return []
        both = [talk for talk in sends if talk in gets]
        return both if len(both) == 1 else []

    def announce(self, talk: Talk, sockets: Iterable[Socket], hosts: Iterable[str]) -> None:
        """Note where a talk expects media; ways that are under way there follow it."""
        talk.hosts.update(hosts)
        fresh = [socket for socket in sockets if socket not in talk.sockets]
        for socket in fresh:
            talk.sockets.add(socket)
            self._talks.setdefault(socket, {})[talk] = None
            if _unroutable(socket[0]):
                self._ports.setdefault(socket[1], {})[talk] = None
        for socket in fresh:
            ways = self._ways_of.get(socket, ())
            for way in list(ways) if len(ways) <= _MANY else ():
                self._reconsider(way, talk)

    def _reconsider(self, way: int, talk: Talk) -> None:
        ends = self.ways[way]
        held = ends.group.standing if ends.group is not None else None
        if held is talk.group.standing:
            return
        told = self._told(ends)
        if told is None or told is not talk.group.standing:
            return
        if held is None:
            self._join(way, told)
            return
        held = held.standing
        if held is told:
            return
        lasting = any(not each.over_ns for each in held.talks)
        if not held.talks or lasting:
            self.merge(held, told)
        else:  # the call that had these sockets is over: what comes now is the new one's
            self._join(way, told)

    def lone(self, group: Group) -> Group | None:
        """The one other group that may be the second direction of a one-way group that nobody announced, by its host.

        A relay, or a phone that is recorded, sends both directions to one host; they begin together, and where a third
        begins with them nothing tells which two belong together.
        """
        if group.talks or len(group.ways) != 1:
            return None
        (own,) = group.ways
        hosts = {self.ways[own].source[0], self.ways[own].destination[0]}
        found: list[Group] = []
        for other in self._alone.get(self.ways[own].destination[0], {}) | self._alone.get(
            self.ways[own].source[0], {}
        ):
            near = abs(other.begun_ns - group.begun_ns) <= _TOGETHER_NS
            if (
                other is group
                or not near
                or other.talks
                or len(other.ways) != 1
                or other.merged_into is not None
            ):
                continue
            (theirs,) = other.ways
            if self.ways[theirs].destination[0] in hosts:
                found.append(other)
                if len(found) > 1:
                    return None
        return found[0] if found else None

    def withdraw(self, talk: Talk) -> None:
        """A talk is over and done with."""
        for socket in talk.sockets:
            _remove(self._talks, socket, talk)
            if _unroutable(socket[0]):
                _remove(self._ports, socket[1], talk)
        talk.group.standing.talks.discard(talk)

    def close(self, group: Group) -> set[int]:
        """Let go of a group and its talks; the ways that were its own."""
        for talk in list(group.talks):
            self.withdraw(talk)
        for pair in [pair for pair, owner in self._pairs_of(group) if owner is group]:
            self._pairs.pop(pair, None)
        self._no_longer_alone(group)
        ways = set(group.ways)
        for way in ways:
            self.forget(way)
        self.groups.pop(group.number, None)
        return ways

    def _no_longer_alone(self, group: Group) -> None:
        for way in group.ways:
            ends = self.ways[way]
            for host in (ends.source[0], ends.destination[0]):
                known = self._alone.get(host)
                if known is not None:
                    known.pop(group, None)
                    if not known:
                        del self._alone[host]

    def forget(self, way: int) -> None:
        """A way is out of the table."""
        ends = self.ways.pop(way, None)
        if ends is None:
            return
        for socket in (ends.source, ends.destination):
            known = self._ways_of.get(socket)
            if known is not None:
                known.discard(way)
                if not known:
                    del self._ways_of[socket]
        if ends.group is not None:
            ends.group.standing.ways.discard(way)


def _lasting(talks: list[Talk]) -> list[Talk]:
    """Those that are not over, where there are any: sockets are used again."""
    return [talk for talk in talks if not talk.over_ns] or talks


def _remove(table: dict[_Key, dict[Talk, None]], key: _Key, talk: Talk) -> None:
    known = table.get(key)
    if known is not None:
        known.pop(talk, None)
        if not known:
            del table[key]


_PLAIN: Final = re.compile(r"(\d{1,3})\.(?:\d{1,3}\.){2}\d{1,3}")
_MULTICAST: Final = range(224, 240)
_ODD: Final = frozenset((0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256)))
"""First octets of IPv4 networks some of which are not of the Internet; all of the others are."""


def _multicast(address: str) -> bool:
    found = _PLAIN.fullmatch(address)
    return int(found[1]) in _MULTICAST if found else _looked_up(address)[0]


def _unroutable(address: str) -> bool:
    if address.startswith(("10.", "192.168.")):
        return True
    found = _PLAIN.fullmatch(address)
    if found and int(found[1]) not in _ODD and int(found[1]) < 256:
        return max(map(int, address.split("."))) > 255
    return _looked_up(address)[1]


def _looked_up(address: str) -> tuple[bool, bool]:
    """Whether an address is multicast, and whether it is none of the Internet."""
    try:
        return addresses.is_multicast(address), addresses.is_private(address)
    except ValueError:
        return False, True
