"""Which call a stream belongs to, by what signalling announced: a table of sockets, each with the time it holds for.

Address AND port count, at both ends where both are announced, within the life of the call: from its INVITE (nobody can
send to a socket before it is named) to a little after its BYE. Behind NAT the address that the signalling itself came
from stands beside the announced one. A port alone proves nothing: a whole office's phones may use one. What nobody
announced is nobody's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import Final

from callreplay import addresses
from callreplay.deferred import dataclass
from callreplay.evidence import Rival, Verdict, weigh
from callreplay.model import CallDescription, Flow, Side
from callreplay.order.taps import StreamFacts

__all__ = ["Match", "Table", "endpoint", "other_side"]

Socket = tuple[str, int]

_BEFORE_NS: Final = 200_000_000  # media before the INVITE that names its sockets: two taps' clocks, no more
_EARLY_NS: Final = 2_000_000_000  # media may precede the answer or the re-INVITE that describes it
_TAIL_NS: Final = 5_000_000_000  # and outlast the BYE
_SILENT_NS: Final = (
    1_800_000_000_000  # without a BYE: so long after a call's last packet nothing new is its own
)
_RING_NS: Final = 60_000_000_000
_MANY: Final = 1024  # calls that one SSRC may go through
_FEW: Final = (
    64  # the latest calls on a socket that are looked at; behind one used by more, the other end tells
)


@dataclass(slots=True)
class _Life:
    """When a call's media may begin, and the sockets of its sides."""

    start_ns: int
    end_ns: int
    sockets: dict[Socket, set[Side]] = field(default_factory=dict)
    since_ns: dict[Socket, int] = field(default_factory=dict)
    hosts: dict[str, set[Side]] = field(default_factory=dict)
    hidden: set[Side] = field(
        default_factory=set
    )  # sides whose announced address is not where they send from
    blind: bool = True  # nothing says where the signalling came from
    ports: dict[int, set[Side]] = field(default_factory=dict)
    last_ns: int = 0  # of the media placed so far
    busy: dict[Side, int] = field(default_factory=dict)  # until when a leg has media
    ways: dict[Side, tuple[str, str]] = field(default_factory=dict)  # the hosts that a leg runs between


@dataclass(frozen=True, slots=True)
class Match:
    """The call that a stream belongs to (an index), the leg, and why."""

    call: int
    side: Side
    exact: bool
    verdict: Verdict


def other_side(side: Side) -> Side:
    """The opposite direction."""
    return "called" if side == "caller" else "caller"


def endpoint(flow: Flow, *, source: bool) -> Socket:
    """One end of a flow."""
    return (flow.source, flow.source_port) if source else (flow.destination, flow.destination_port)


def _canonical(address: str) -> str:
    try:
        return addresses.canonical(address)
    except ValueError:
        return address


def _is_name(address: str) -> bool:
    """Whether an address is a host name."""
    return bool(address) and ":" not in address and not address.replace(".", "").isdigit()


def _unreachable(address: str) -> bool:
    """Whether an address may stand for another one on the way: private, or a name."""
    try:
        return addresses.is_private(address)
    except ValueError:
        return True


def _is_group(address: str) -> bool:
    """Whether an address is multicast: music for all who hold, and no call's own."""
    try:
        return addresses.is_multicast(address)
    except ValueError:
        return False


class Table:
    """The sockets of every described call, looked up by address and port; the work for a stream is bounded."""

    def __init__(self, calls: Sequence[CallDescription], facts: Iterable[StreamFacts]) -> None:
        self._calls = calls
        self._lives = [_life(call) for call in calls]
        self._named: dict[Socket, list[tuple[int, int]]] = defaultdict(list)  # (start, call), by start
        self._by_ports: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for index in sorted(range(len(calls)), key=lambda index: self._lives[index].start_ns):
            life = self._lives[index]
            for socket in life.sockets:
                self._named[socket].append((life.start_ns, index))
            if life.blind:
                for one in life.ports:
                    for other in life.ports:
                        self._by_ports[one, other].append((life.start_ns, index))
        self._wire = {_pair(fact.stream.flow) for fact in facts}

    def match(self, fact: StreamFacts) -> Match | None:
        """The call and leg of a stream; None where nobody announced it, or several did alike."""
        here, there = endpoint(fact.stream.flow, source=True), endpoint(fact.stream.flow, source=False)
        found: list[tuple[int, int, Side, bool, Rival]] = []
        seen: set[int] = set()
        for socket in sorted((here, there), key=lambda socket: len(self._named.get(socket, ()))):
            for index in self._candidates(fact, socket, seen):
                option = self._judge(index, fact, here, there)
                if option is not None:
                    found.append(option)
            if any(option[0] >= 4 for option in found):
                break  # who announced both ends is on the shorter list of the two
        if not found:
            return self._by_port_pair(fact, here, there)
        best = max(found, key=lambda option: (option[0], not option[3], self._lives[option[1]].start_ns))
        weight, index, side, taken, rival = best
        equal = [option for option in found if option[0] == weight and option[1] != index]
        if weight < 4 and self._contested(index, here, there, found):
            return None
        if weight < 4 and taken:
            # Signalling may give both sides one address: what runs against a leg is the other one.
            if self._lives[index].ways.get(side) != (there[0], here[0]):
                return None
            side = other_side(side)
            rival.says(1, f"parted from the {other_side(side)}'s leg by the hosts they run between")
        rivals = [Rival("a call of its own")]
        for option in equal[:3]:
            text = "announced it too, but began earlier or has media of another stream then"
            rivals.append(Rival(f"the {option[2]}'s leg of {self._calls[option[1]].call_id}").says(0, text))
        name = self._calls[index].call_id
        rival.name = f"the {side}'s leg of {name}"
        verdict = weigh("whose stream is this?", _text(fact), rival, *rivals)
        self._take(index, side, fact)
        return Match(index, side, weight >= 4, verdict)

    def _take(self, index: int, side: Side, fact: StreamFacts) -> None:
        life = self._lives[index]
        life.ways.setdefault(side, (fact.stream.flow.source, fact.stream.flow.destination))
        life.busy[side] = max(life.busy.get(side, 0), fact.last_ns)
        life.last_ns = max(life.last_ns, fact.last_ns)

    def lives_through(self, fact: StreamFacts) -> list[int]:
        """The calls that announced both ends of a stream and began while it ran, by start."""
        here, there = endpoint(fact.stream.flow, source=True), endpoint(fact.stream.flow, source=False)
        named = min(self._named.get(here, []), self._named.get(there, []), key=len)
        first = bisect_right(named, (fact.first_ns, len(self._calls)))
        last = bisect_right(named, (fact.last_ns, len(self._calls)))
        return [
            index
            for _, index in named[first : min(last, first + _MANY)]
            if here in self._lives[index].sockets and there in self._lives[index].sockets
        ]

    def ended_by(self, pair: tuple[Socket, Socket], index: int, now_ns: int) -> bool:
        """Whether the call that used both sockets before ``index`` was over by some time."""
        named = min(self._named.get(pair[0], []), self._named.get(pair[1], []), key=len)
        start = self._lives[index].start_ns
        place = bisect_right(named, (start, index)) - 1
        for _, earlier in reversed(named[max(0, place - _FEW) : max(0, place)]):
            life = self._lives[earlier]
            if pair[0] in life.sockets and pair[1] in life.sockets:
                end = self._calls[earlier].end_ns
                return bool(end) and end <= now_ns
        return False

    def setup_ns(self, index: int) -> tuple[int, int]:
        """Within what times a call's media begins: from its INVITE to its answer, or while it may ring."""
        call = self._calls[index]
        start = self._lives[index].start_ns
        return start, max(start, call.answer_ns) + _EARLY_NS if call.answer_ns else start + _RING_NS

    def holds(self, index: int, fact: StreamFacts) -> bool:
        """Whether a stream began within the life of a call."""
        life = self._lives[index]
        if fact.first_ns < life.start_ns - _BEFORE_NS or fact.first_ns > life.end_ns:
            return False
        return not life.last_ns or fact.first_ns - life.last_ns <= _SILENT_NS

    def _candidates(self, fact: StreamFacts, socket: Socket, seen: set[int]) -> Iterator[int]:
        """The latest calls that announced a socket and live when a stream begins, those not seen before."""
        named = self._named.get(socket)
        if not named:
            return
        stop = bisect_right(named, (fact.first_ns + _BEFORE_NS, len(self._calls)))
        for _, index in reversed(named[max(0, stop - _FEW) : stop]):
            if index not in seen and self.holds(index, fact):
                seen.add(index)
                yield index

    def _judge(
        self, index: int, fact: StreamFacts, here: Socket, there: Socket
    ) -> tuple[int, int, Side, bool, Rival] | None:
        """(weight, call, leg, whether the leg is taken, reasons) for one call; None where it cannot be its stream."""
        life = self._lives[index]
        sending = life.sockets.get(here, set()) if self._since(life, here, fact) else set()
        hearing = life.sockets.get(there, set()) if self._since(life, there, fact) else set()
        if not sending and not hearing:
            return None
        rival = Rival("")
        if sending and hearing:
            rival.says(4, "both its ends are announced")
            # RFC 3264 5.1: a socket is where its side receives. One that both sides name tells nothing of the side.
            side = other_side(min(hearing)) if len(hearing) == 1 else min(sending)
            return 4, index, side, life.busy.get(side, 0) > fact.first_ns + _EARLY_NS, rival
        mine, far = (hearing, here) if hearing else (sending, there)
        if len(mine) > 1:
            return None
        side = other_side(min(mine)) if hearing else min(mine)
        beyond: Side = other_side(min(mine))
        what = "it goes to a socket" if hearing else "it comes from a socket"
        near = there if hearing else here
        rival.says(1, f"{what} that the {min(mine)} announced")
        hosts = life.hosts.get(far[0], set())
        if beyond in hosts:
            rival.says(2, f"its other end is a host of the {beyond}, on a port that was not announced")
        elif self._unlike(index, near, beyond, fact):
            return None
        elif beyond in life.hidden:
            rival.says(1, f"the {beyond} announced an address that others cannot reach (NAT)")
        else:
            rival.says(1, f"no media came from where the {beyond} announced it")
        return rival.weight, index, side, life.busy.get(side, 0) > fact.first_ns + _EARLY_NS, rival

    def _unlike(self, index: int, socket: Socket, beyond: Side, fact: StreamFacts) -> bool:
        """Whether a stream at one announced socket, with a stranger at its other end, is another call's.

        So it is where media runs as announced, where another call that lives names the socket too, and, with a call
        that began before the capture, where nothing is known of the other side.
        """
        life = self._lives[index]
        known = any(beyond in sides for sides in life.sockets.values())
        if self._calls[index].begun_before and not known:
            return True
        return self._announced_pair(life, socket, beyond) or self._shared(socket, index, fact)

    def _announced_pair(self, life: _Life, socket: Socket, beyond: Side) -> bool:
        """Whether media runs between one announced socket and one that the other side announced."""
        others = (other for other, sides in life.sockets.items() if beyond in sides)
        return any((socket, other) in self._wire or (other, socket) in self._wire for other in others)

    def _shared(self, socket: Socket, index: int, fact: StreamFacts) -> bool:
        """Whether another call that lives has named a socket too: then it tells nothing of whose stream this is."""
        named = self._named[socket]
        stop = bisect_right(named, (fact.first_ns + _BEFORE_NS, len(self._calls)))
        return any(
            other != index and self.holds(other, fact) for _, other in named[max(0, stop - _FEW) : stop]
        )

    def _since(self, life: _Life, socket: Socket, fact: StreamFacts) -> bool:
        return fact.last_ns >= life.since_ns.get(socket, 0) - _EARLY_NS

    def _contested(
        self,
        index: int,
        here: Socket,
        there: Socket,
        found: Sequence[tuple[int, int, Side, bool, Rival]],
    ) -> bool:
        """Whether one end was announced by one live call and the other end by another: then neither is proved."""
        ends = {socket for socket in (here, there) if socket in self._lives[index].sockets}
        return any(
            socket in self._lives[option[1]].sockets
            for option in found
            for socket in (here, there)
            if socket not in ends and option[1] != index
        )

    def _by_port_pair(self, fact: StreamFacts, here: Socket, there: Socket) -> Match | None:
        """Behind NAT, where nothing says where signalling came from: both ports, of one call alone."""
        named = self._by_ports.get((here[1], there[1]), ())
        stop = bisect_right(named, (fact.first_ns + _BEFORE_NS, len(self._calls)))
        found: list[tuple[int, Side]] = []
        for _, index in reversed(named[max(0, stop - _FEW) : stop]):
            life = self._lives[index]
            sending, hearing = life.ports.get(here[1], set()), life.ports.get(there[1], set())
            sides = sending & {other_side(side) for side in hearing}
            seen = any(one in life.sockets or other in life.sockets for one, other in self._wire_of(life))
            if self.holds(index, fact) and len(sides) == 1 and life.hidden and not seen:
                found.append((index, min(sides)))
        if len(found) != 1:
            return None
        index, side = found[0]
        rival = Rival(f"the {side}'s leg of {self._calls[index].call_id}")
        rival.says(
            2,
            "both its ports are announced, at addresses that others cannot reach (NAT); no other call has them",
        )
        self._take(index, side, fact)
        verdict = weigh("whose stream is this?", _text(fact), rival, Rival("a call of its own"))
        return Match(index, side, False, verdict)

    def _wire_of(self, life: _Life) -> Iterator[tuple[Socket, Socket]]:
        sockets = list(life.sockets)[:8]
        for one in sockets:
            for other in sockets:
                if (one, other) in self._wire:
                    yield one, other


def _pair(flow: Flow) -> tuple[Socket, Socket]:
    return endpoint(flow, source=True), endpoint(flow, source=False)


def _text(fact: StreamFacts) -> str:
    flow = fact.stream.flow
    ends = f"{flow.source}:{flow.source_port} to {flow.destination}:{flow.destination_port}"
    return f"{fact.stream.ssrc:#010x} from {ends}"


def _life(call: CallDescription) -> _Life:
    start = 0 if call.begun_before else call.start_ns
    life = _Life(start, call.end_ns + _TAIL_NS if call.end_ns else 1 << 62)
    for row in call.media:
        if not row.port or _is_group(row.address):
            continue
        address = _canonical(row.address)
        sockets: list[Socket] = [(address, row.port), *row.candidates]
        life.hosts.setdefault(address, set()).add(row.side)
        if row.seen_from:
            life.blind = False
            source = _canonical(row.seen_from)
            life.hosts.setdefault(source, set()).add(row.side)
            if source != address:
                sockets.append((source, row.port))
        if row.seen_from != row.address and _unreachable(address):
            life.hidden.add(row.side)
        since = 0 if call.begun_before else row.valid_from_ns
        for socket in sockets:
            life.sockets.setdefault(socket, set()).add(row.side)
            life.since_ns[socket] = min(since, life.since_ns.get(socket, since))
        life.ports.setdefault(row.port, set()).add(row.side)
    sides: tuple[Side, Side] = ("caller", "called")
    for side in sides:
        # What a side announced was not captured: the address that its messages came from, or went to, is known still.
        address = call.caller_address if side == "caller" else call.called_address
        if address and not any(row.side == side for row in call.media):
            life.hosts.setdefault(_canonical(address), set()).add(side)
    # A host name that nothing explains may stand for any host, wherever the signalling came from.
    life.blind = life.blind or any(_is_name(row.address) for row in call.media if row.port)
    return life
