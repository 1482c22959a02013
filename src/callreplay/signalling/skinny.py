"""Skinny (SCCP) between phones and their call manager: which calls it tells of, and where their audio goes.

A frame is little-endian: length of what follows the first eight octets, header version, message id, body. From header
version 17 on addresses are a family word and 16 octets; before, four octets. Every reader checks the length first.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import field
from typing import Final

from callreplay.codecs import BY_NAME, STATIC, Codec
from callreplay.deferred import dataclass
from callreplay.model import CallDescription, MediaDescription, Message, Side

__all__ = ["Frame", "Phones", "Registration", "describe", "parse", "registrations"]

_WIDE_ADDRESSES: Final = 17
"""First header version whose addresses carry a family word and 16 octets."""

REGISTER: Final = 0x0001
OFF_HOOK: Final = 0x0006
ON_HOOK: Final = 0x0007
OPEN_RECEIVE_CHANNEL_ACK: Final = 0x0022
REGISTER_ACK: Final = 0x0081
START_MEDIA: Final = 0x008A
CALL_INFO: Final = 0x008F
OPEN_RECEIVE_CHANNEL: Final = 0x0105
CLOSE_RECEIVE_CHANNEL: Final = 0x0106
CALL_STATE: Final = 0x0111
DIALED_NUMBER: Final = 0x011D
CALL_INFO_V2: Final = 0x014A
START_MEDIA_ACK: Final = 0x0154

_STATE_ON_HOOK: Final = 2
_STATE_RING_OUT: Final = 3
_STATE_CONNECTED: Final = 5
_STATE_HOLD: Final = 8
_FAILED_STATES: Final = {6: "busy", 7: "congestion", 14: "invalid number"}

_CAPABILITIES: Final[dict[int, tuple[int | None, str]]] = {
    2: (8, "PCMA"),
    3: (8, "PCMA"),
    4: (0, "PCMU"),
    5: (0, "PCMU"),
    6: (9, "G722"),
    7: (9, "G722"),
    8: (9, "G722"),
    9: (4, "G723"),
    10: (15, "G728"),
    11: (18, "G729"),
    12: (18, "G729"),
    15: (18, "G729"),
    16: (18, "G729"),
    18: (3, "GSM"),
    25: (None, "L16"),
    80: (3, "GSM"),
    82: (None, "G726-32"),
    83: (None, "G726-24"),
    84: (None, "G726-16"),
    86: (None, "ILBC"),
    90: (None, "OPUS"),
    97: (None, "AMR"),
    98: (None, "AMR-WB"),
}
"""Payload capability -> (static payload type or None for the dynamic one of the message, encoding name)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: ``body`` is what follows the message id."""

    version: int
    message_id: int
    body: bytes

    def word(self, offset: int) -> int:
        """The 32-bit word at ``offset`` of the body, 0 beyond its end."""
        if offset < 0 or offset + 4 > len(self.body):
            return 0
        value: int = struct.unpack_from("<I", self.body, offset)[0]
        return value

    def text(self, offset: int, size: int) -> str:
        """The NUL-terminated text in ``size`` octets at ``offset``, '' beyond the end."""
        return _text(self.body[offset : offset + size].partition(b"\x00")[0])

    def address(self, offset: int) -> tuple[str, int]:
        """The address at ``offset`` in the frame's version, and the offset of what follows it."""
        if self.version < _WIDE_ADDRESSES:
            octets = self.body[offset : offset + 4]
            return (str(ipaddress.IPv4Address(octets)) if len(octets) == 4 else ""), offset + 4
        octets = self.body[offset + 4 : offset + 20]
        if len(octets) < 16:
            return "", offset + 20
        if self.word(offset) == 1:
            return str(ipaddress.IPv6Address(octets)), offset + 20
        return str(ipaddress.IPv4Address(octets[:4])), offset + 20


@dataclass(frozen=True, slots=True)
class Registration:
    """A device that registered: its name, address and type number, when, and whether the manager accepted."""

    device: str
    address: str
    device_type: int
    arrival_ns: int
    accepted: bool


def _text(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    # Phones show names with label codes (0x80 and a digit) and other controls in them.
    return "".join(letter for letter in text if letter.isprintable()).strip()


def parse(payload: bytes, faults: Counter[str] | None = None) -> Frame | None:
    """Read one frame with its eight octets of header; None where the lengths do not fit."""
    counts: Counter[str] = Counter() if faults is None else faults
    if len(payload) < 12:
        counts["skinny: frame too short"] += 1
        return None
    length, version, message_id = struct.unpack_from("<III", payload)
    if length < 4 or version > 0xFF or message_id > 0xFFFF:
        counts["skinny: not a frame"] += 1
        return None
    if length + 8 > len(payload):
        counts["skinny: frame cut short"] += 1
    return Frame(version, message_id, bytes(payload[12 : 8 + length]))


@dataclass(slots=True)
class _Channel:
    """One RTP socket of a phone, as opened or spoken to; kept until the address is known."""

    capability: int = 0
    packet_ms: int = 0
    dynamic: int = 0
    dtmf: int = 0
    encrypted: bool = False


@dataclass(slots=True)
class _Party:
    """One phone's end of a call: the call reference it has with its call manager."""

    reference: int
    device: str  # address of the phone
    manager: str
    start_ns: int
    outbound: bool | None = None
    numbers: dict[str, str] = field(default_factory=dict)
    connected_ns: int = 0
    end_ns: int = 0
    failure: str = ""
    receives: list[MediaDescription] = field(default_factory=list)
    sends: list[MediaDescription] = field(default_factory=list)  # where the manager told it to send
    forks: list[tuple[int, MediaDescription]] = field(
        default_factory=list
    )  # party direction, recorder's socket
    opening: dict[int, _Channel] = field(default_factory=dict)


def registrations(messages: Iterable[Message]) -> list[Registration]:
    """The device registrations seen, each with the call manager's answer."""
    found: list[Registration] = []
    waiting: dict[tuple[str, int], int] = {}
    for message in messages:
        frame = parse(message.payload) if message.protocol == "skinny" else None
        if frame is None:
            continue
        flow = message.flow
        if frame.message_id == REGISTER and len(frame.body) >= 32:
            waiting[flow.source, flow.source_port] = len(found)
            address = ipaddress.IPv4Address(frame.body[24:28])
            found.append(
                Registration(frame.text(0, 16), str(address), frame.word(28), message.arrival_ns, False)
            )
        elif frame.message_id == REGISTER_ACK:
            index = waiting.pop((flow.destination, flow.destination_port), None)
            if index is not None:
                before = found[index]
                found[index] = Registration(
                    before.device, before.address, before.device_type, before.arrival_ns, True
                )
    return found


def describe(messages: Iterable[Message], faults: Counter[str] | None = None) -> list[CallDescription]:
    """The calls that Skinny frames tell of, by start time.

    The two phones of an internal call each have a call reference of their own with the call manager; they are one
    call, joined by the socket one opens and the other is told to send to. Copies to a recorder are media rows with
    ``fork`` set, on the side that keeps the rule of `MediaDescription`: RTP sent there belongs to the other side.
    """
    phones = Phones(Counter() if faults is None else faults)
    for message in messages:
        if message.protocol == "skinny":
            phones.take(message)
    return _calls(phones.state.parties)


@dataclass(slots=True)
class _State:
    counts: Counter[str]
    parties: list[_Party] = field(default_factory=list)
    open: dict[tuple[str, int], _Party] = field(default_factory=dict)
    passes: dict[tuple[str, int], _Party] = field(default_factory=dict)  # (device, pass-through party id)

    def party(self, device: str, manager: str, reference: int, now_ns: int) -> _Party:
        found = self.open.get((device, reference))
        if found is None:
            found = _Party(reference, device, manager, now_ns)
            self.open[device, reference] = found
            self.parties.append(found)
        return found


def _from_manager(message: Message) -> tuple[str, str]:
    """Device and manager of a frame the manager sent."""
    return message.flow.destination, message.flow.source


def _call_state(state: _State, frame: Frame, message: Message) -> None:
    reference, value = frame.word(8), frame.word(0)
    if not reference or len(frame.body) < 12:
        return
    device, manager = _from_manager(message)
    if value == _STATE_ON_HOOK and (device, reference) not in state.open:
        return
    party = state.party(device, manager, reference, message.arrival_ns)
    if value == _STATE_RING_OUT:
        party.outbound = True
    elif value == _STATE_CONNECTED and not party.connected_ns:
        party.connected_ns = message.arrival_ns
    elif value == _STATE_HOLD:
        _mark_held(party, message.arrival_ns)
    elif value in _FAILED_STATES and not party.connected_ns:
        party.failure = _FAILED_STATES[value]
    elif value == _STATE_ON_HOOK:
        party.end_ns = message.arrival_ns
        del state.open[device, reference]


def _mark_held(party: _Party, now_ns: int) -> None:
    """Note that the phone stopped receiving; Skinny holds a call by closing the channel and opens another later."""
    if party.receives and party.receives[-1].direction != "inactive":
        last = party.receives[-1]
        party.receives.append(
            MediaDescription(
                last.side, last.address, last.port, last.payload_types, last.ptime_ms, "inactive", now_ns
            )
        )


_OLD_FIELDS: Final = (
    ("calling_name", 0, 40),
    ("calling", 40, 24),
    ("called_name", 64, 40),
    ("called", 104, 24),
)


def _call_info(state: _State, frame: Frame, message: Message) -> None:
    """CallInfo with fixed fields: two names and numbers, then line, reference and type."""
    if len(frame.body) < 140:
        state.counts["skinny: CallInfo too short"] += 1
        return
    device, manager = _from_manager(message)
    party = state.party(device, manager, frame.word(132), message.arrival_ns)
    _take_info(party, frame.word(136), {name: frame.text(offset, size) for name, offset, size in _OLD_FIELDS})


def _call_info_v2(state: _State, frame: Frame, message: Message) -> None:
    """CallInfo of the dynamic versions: eight words, then NUL-terminated texts in fixed order.

    Texts: calling number, alternate calling number, called, original called, last redirecting, four voice mailboxes,
    then the names of calling, called, original called and last redirecting party.
    """
    if len(frame.body) < 32:
        state.counts["skinny: CallInfo too short"] += 1
        return
    texts = [_text(part) for part in frame.body[32:].split(b"\x00", 16)]
    texts += [""] * (11 - len(texts))
    device, manager = _from_manager(message)
    party = state.party(device, manager, frame.word(4), message.arrival_ns)
    names = {
        "calling": texts[0] or texts[1],
        "called": texts[2],
        "calling_name": texts[9],
        "called_name": texts[10],
    }
    _take_info(party, frame.word(8), names)


def _take_info(party: _Party, call_type: int, names: dict[str, str]) -> None:
    party.numbers.update({name: value for name, value in names.items() if value})
    if call_type in (1, 2, 3):
        party.outbound = call_type == 2


def _dialed_number(state: _State, frame: Frame, message: Message) -> None:
    # 24 octets of number; 25, unaligned, in the frames of later versions (36 octets of body instead of 32).
    size = 25 if len(frame.body) >= 33 else 24
    reference = frame.word(size + 4)
    if reference:
        device, manager = _from_manager(message)
        party = state.party(device, manager, reference, message.arrival_ns)
        party.outbound = True
        party.numbers.setdefault("called", frame.text(0, size))


def _open_receive(state: _State, frame: Frame, message: Message) -> None:
    """OpenReceiveChannel: conference, pass-through id, packet ms, capability, echo, codec parameters, reference."""
    if len(frame.body) < 16:
        state.counts["skinny: OpenReceiveChannel too short"] += 1
        return
    device, manager = _from_manager(message)
    reference = frame.word(24) or frame.word(0)
    party = state.party(device, manager, reference, message.arrival_ns)
    channel = _Channel(frame.word(12), frame.word(8))
    if len(frame.body) >= 88:
        channel.dynamic = frame.body[21]
        channel.encrypted = bool(frame.word(28))
        channel.dtmf = frame.word(84)
    party.opening[frame.word(4)] = channel
    state.passes[device, frame.word(4)] = party


def _open_receive_ack(state: _State, frame: Frame, message: Message) -> None:
    address, after = frame.address(4)
    port, passed = frame.word(after), frame.word(after + 4)
    found = state.passes.get((message.flow.source, passed))
    if frame.word(0) != 0 or not address or not 0 < port <= 0xFFFF or found is None:
        state.counts["skinny: OpenReceiveChannelAck without a channel"] += 1
        return
    channel = found.opening.get(passed, _Channel())
    found.receives.append(_media(channel, address, port, message.arrival_ns))


def _close_receive(state: _State, frame: Frame, message: Message) -> None:
    found = state.passes.get((message.flow.destination, frame.word(4)))
    if found is not None:
        _mark_held(found, message.arrival_ns)


def _start_media(state: _State, frame: Frame, message: Message) -> None:
    """StartMediaTransmission: where the phone is to send; a second reference in mixing mode is a recorder's fork."""
    address, after = frame.address(8)
    port = frame.word(after)
    if not address or not 0 < port <= 0xFFFF or len(frame.body) < after + 12:
        state.counts["skinny: StartMediaTransmission too short"] += 1
        return
    device, manager = _from_manager(message)
    reference = frame.word(after + 28) or frame.word(0)
    channel = _Channel(frame.word(after + 8), frame.word(after + 4))
    mixing = direction = 0
    if len(frame.body) >= after + 92:
        channel.dynamic = frame.body[after + 25]
        channel.encrypted = bool(frame.word(after + 32))
        channel.dtmf = frame.word(after + 88)
        mixing, direction = frame.word(after + 96), frame.word(after + 100)
    row = _media(channel, address, port, message.arrival_ns)
    main = state.open.get((device, frame.word(0)))
    if main is not None and mixing and reference != main.reference:
        row.fork = True
        main.forks.append((direction, row))
        return
    state.party(device, manager, reference, message.arrival_ns).sends.append(row)


def _on_hook(state: _State, frame: Frame, message: Message) -> None:
    reference = frame.word(4)
    party = state.open.get((message.flow.source, reference))
    if party is not None and not party.end_ns:
        party.end_ns = message.arrival_ns


class Phones:
    """What Skinny frames tell of, frame by frame."""

    def __init__(self, counts: Counter[str]) -> None:
        self.state = _State(counts)

    def take(self, message: Message) -> bool:
        """Take in a frame; whether it is of a kind that tells of calls."""
        frame = parse(message.payload, self.state.counts)
        handler = _HANDLERS.get(frame.message_id) if frame is not None else None
        if frame is None or handler is None:
            return False
        handler(self.state, frame, message)
        return True

    def parties(self, device: str) -> list[_Party]:
        """What is known of the calls of the phone at an address."""
        return [party for party in self.state.parties if party.device == device]

    def describe(self, devices: Collection[str]) -> list[CallDescription]:
        """The calls of some phones as far as they have come, by start time."""
        return _calls([party for party in self.state.parties if party.device in devices])

    def forget(self, device: str) -> None:
        """Let go of the calls of a phone."""
        state = self.state
        state.parties = [party for party in state.parties if party.device != device]
        for known in (state.open, state.passes):
            for key in [key for key in known if key[0] == device]:
                del known[key]


_HANDLERS: Final[dict[int, Callable[[_State, Frame, Message], None]]] = {
    CALL_STATE: _call_state,
    CALL_INFO: _call_info,
    CALL_INFO_V2: _call_info_v2,
    DIALED_NUMBER: _dialed_number,
    OPEN_RECEIVE_CHANNEL: _open_receive,
    OPEN_RECEIVE_CHANNEL_ACK: _open_receive_ack,
    CLOSE_RECEIVE_CHANNEL: _close_receive,
    START_MEDIA: _start_media,
    ON_HOOK: _on_hook,
}


def _media(channel: _Channel, address: str, port: int, now_ns: int) -> MediaDescription:
    payload_types: dict[int, Codec] = {}
    known = _CAPABILITIES.get(channel.capability)
    if known is not None:
        payload_type = known[0] if known[0] is not None else channel.dynamic
        if known[0] is not None or 96 <= channel.dynamic <= 127:
            payload_types[payload_type] = _codec(payload_type, known[1])
    if 96 <= channel.dtmf <= 127:
        payload_types[channel.dtmf] = BY_NAME["TELEPHONE-EVENT"]
    ptime = float(channel.packet_ms) if 0 < channel.packet_ms <= 200 else 20.0
    return MediaDescription(
        "caller",
        address,
        port,
        payload_types,
        ptime,
        valid_from_ns=now_ns,
        encrypted=channel.encrypted,
        rtcp_port=port + 1,
    )


def _codec(payload_type: int, name: str) -> Codec:
    if payload_type in STATIC:
        return STATIC[payload_type]
    if name == "L16":
        return Codec("L16", 16000, 16000)
    return BY_NAME.get(name) or Codec(name, 8000, 8000, kind="other")


def _calls(parties: list[_Party]) -> list[CallDescription]:
    """Join the two phones of an internal call by socket, or by numbers where one never opened its channel."""
    receives = {(row.address, row.port): party for party in parties for row in party.receives}
    partner: dict[int, _Party] = {}
    for party in parties:
        for row in party.sends:
            other = receives.get((row.address, row.port))
            if (
                other is not None
                and other is not party
                and id(other) not in partner
                and id(party) not in partner
            ):
                partner[id(party)], partner[id(other)] = other, party
    waiting: dict[tuple[str, str, str], _Party] = {}
    for party in parties:
        if id(party) in partner or party.outbound is None:
            continue
        numbers = (party.manager, party.numbers.get("calling", ""), party.numbers.get("called", ""))
        match = waiting.get(numbers)
        if not (numbers[1] and numbers[2]):
            continue
        if match is not None and match.outbound != party.outbound and _overlap(match, party):
            partner[id(party)], partner[id(match)] = match, party
            del waiting[numbers]
        else:
            waiting[numbers] = party
    calls: list[CallDescription] = []
    done: set[int] = set()
    for party in parties:
        mate = partner.get(id(party))
        if id(party) in done or not (party.outbound is not None or party.receives or party.sends):
            continue
        done.add(id(party))
        if mate is not None:
            done.add(id(mate))
        calls.append(_call(party, mate))
    calls.sort(key=lambda call: call.start_ns)
    return calls


def _overlap(one: _Party, other: _Party) -> bool:
    return (not one.end_ns or other.start_ns <= one.end_ns) and (
        not other.end_ns or one.start_ns <= other.end_ns
    )


def _call(party: _Party, other: _Party | None) -> CallDescription:
    first = party
    if other is not None and (other.outbound is True or (party.outbound is False and other.outbound is None)):
        first = other
    inbound_only = other is None and party.outbound is False
    caller = None if inbound_only else first
    called = party if inbound_only else (other if first is party else party)
    ends = [end for end in (caller, called) if end is not None]
    numbers: dict[str, str] = {}
    for end in reversed(ends):
        numbers.update(end.numbers)
    call = CallDescription(
        str(first.reference),
        "skinny",
        numbers.get("calling", ""),
        numbers.get("calling_name", ""),
        numbers.get("called", ""),
        numbers.get("called_name", ""),
        caller.device if caller else "",
        called.device if called else "",
        min(end.start_ns for end in ends),
        max((end.connected_ns for end in ends), default=0),
        max((end.end_ns for end in ends), default=0),
        related=[str(end.reference) for end in ends if end is not first],
    )
    if call.answer_ns:
        call.status = "answered"
    else:
        failure = next((end.failure for end in ends if end.failure), "")
        call.status = f"failed {failure}" if failure else "unanswered"
    sides: tuple[tuple[Side, _Party | None], ...] = (("caller", caller), ("called", called))
    for side, party_there in sides:
        for row in party_there.receives if party_there is not None else ():
            row.side = side
            call.media.append(row)
    for side, party_there in sides:
        if party_there is not None:
            _add_sends(call, side, party_there)
    call.media.sort(key=lambda row: row.valid_from_ns)
    call.caller_address = call.caller_address or _address(call, "caller")
    call.called_address = call.called_address or _address(call, "called")
    return call


def _address(call: CallDescription, side: Side) -> str:
    return next((row.address for row in call.media if row.side == side and not row.fork), "")


def _add_sends(call: CallDescription, side: Side, end: _Party) -> None:
    far: Side = "called" if side == "caller" else "caller"
    for row in end.sends:
        # What one phone is told to send to is where the other receives; usually its own acknowledgement said so too.
        if not any((row.address, row.port) == (known.address, known.port) for known in call.media):
            row.side = far
            call.media.append(row)
    for direction, row in end.forks:
        # Party direction 2 copies what the phone hears, anything else what it says (payloads of skinny.pcap agree).
        row.side = side if direction == 2 else far
        call.media.append(row)
