"""A simulator of two-leg calls: what each side says, what the network does to it, and where each packet truly belongs.

Truth: a packet's ``sent_ns`` is the moment its media began to be spoken, and ``truth_ns`` that plus the smallest delay
of its network; it leaves when its last sample was spoken, ``lasts_ns`` later. The first eight
octets of every audio payload are the packet's number in the simulation (but for ``smooth`` payloads), so a test can
find the truth of whatever row comes out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import STATIC, Codec, payload_ticks
from callreplay.model import Flow, PacketFlag, RtpColumns, Stream
from tests.captures import pcap, rtp, udp

EPOCH_NS = 1_700_000_000_000_000_000
_FILLER = np.random.default_rng(0).integers(0, 256, 1 << 17, np.uint8).tobytes()


@dataclass(slots=True)
class Packet:
    """One RTP packet of the simulation."""

    number: int
    flow: Flow
    ssrc: int
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes
    sent_ns: int
    truth_ns: int = 0
    arrival_ns: int = 0
    marker: bool = False
    flags: int = 0
    lasts_ns: int = 0


@dataclass(slots=True)
class Network:
    """What happens on the way: the smallest delay, extra delay evenly within 0..jitter, loss, copies, reordering."""

    delay_ms: float = 20.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    seed: int = 1
    extra_delay_ms: Callable[[float], float] = lambda seconds: 0.0  # by time since the call began

    def carry(self, packets: Sequence[Packet], start_ns: int) -> list[Packet]:
        """The packets that arrive, unsorted."""
        random = np.random.default_rng(self.seed)
        arrived: list[Packet] = []
        for packet in packets:
            packet.truth_ns = packet.sent_ns + round(self.delay_ms * 1e6)
            jitter = random.random() * self.jitter_ms
            extra = self.extra_delay_ms((packet.sent_ns - start_ns) * 1e-9)
            packet.arrival_ns = packet.truth_ns + packet.lasts_ns + round((jitter + extra) * 1e6)
            if random.random() < self.loss:
                continue
            arrived.append(packet)
            if random.random() < self.duplicate:
                copy = Packet(**{name: getattr(packet, name) for name in Packet.__dataclass_fields__})
                copy.arrival_ns += 300_000
                arrived.append(copy)
        return arrived


@dataclass(slots=True)
class Direction:
    """One side's sender: methods append packets in the order they are sent and move its clock."""

    flow: Flow
    start_ns: int = EPOCH_NS
    ppm: float = 0.0
    ssrc: int = 0x1000
    sequence: int = 65500
    timestamp: int = 0xFFFF_F000
    payload_type: int = 0
    codec: Codec = STATIC[0]
    octets: int = 160
    ticks_per_packet: int = 160
    seconds: float = 0.0  # on the sender's clock, since start_ns
    packets: list[Packet] = field(default_factory=list)
    numbers: Callable[[], int] = field(default_factory=lambda: iter(range(1 << 40)).__next__)
    payload: Callable[[int, int], bytes] | None = None

    def now_ns(self) -> int:
        """True time of the sender's clock."""
        return self.start_ns + round(self.seconds * 1e9 / (1 + self.ppm * 1e-6))

    def send(
        self,
        payload: bytes,
        *,
        payload_type: int | None = None,
        timestamp: int | None = None,
        marker: bool = False,
    ) -> Packet:
        """One packet now; moves the sequence number only."""
        packet = Packet(
            self.numbers(),
            self.flow,
            self.ssrc,
            self.sequence & 0xFFFF,
            (self.timestamp if timestamp is None else timestamp) & 0xFFFFFFFF,
            self.payload_type if payload_type is None else payload_type,
            payload,
            self.now_ns(),
            marker=marker,
        )
        self.packets.append(packet)
        self.sequence += 1
        return packet

    def talk(self, seconds: float) -> Direction:
        """Audio without a pause."""
        step = self.ticks_per_packet / self.codec.clock_rate_hz
        for _ in range(round(seconds / step)):
            number = len(self.packets)
            body = self.payload(number, self.octets) if self.payload else b""
            packet = self.send(body)
            packet.lasts_ns = round(step * 1e9 / (1 + self.ppm * 1e-6))
            if not body:
                at = packet.number * 997 % (len(_FILLER) - self.octets)
                packet.payload = (struct.pack(">Q", packet.number) + _FILLER[at : at + self.octets])[
                    : self.octets
                ]
            self.advance(step)
        return self

    def advance(self, seconds: float, *, timestamp_runs: bool = True) -> Direction:
        """Time passes with nothing sent: silence suppression, or a hold whose timestamps stand still."""
        self.seconds += seconds
        if timestamp_runs:
            self.timestamp += round(seconds * self.codec.clock_rate_hz)
        return self

    def noise(self, timestamp: int | None = None, level: int = 60) -> Direction:
        """A comfort noise packet (RFC 3389)."""
        packet = self.send(bytes([level]), payload_type=13, timestamp=timestamp)
        packet.lasts_ns = round(self.ticks_per_packet * 1e9 / self.codec.clock_rate_hz)  # in a packet's place
        return self

    def digit(
        self, event: int, seconds: float, payload_type: int = 101, *, fresh_ends: bool = False
    ) -> Direction:
        """An RFC 4733 event: updates every packet time, three ends (``fresh_ends``: each with a new timestamp)."""
        start = self.timestamp
        step = self.ticks_per_packet
        count = max(1, round(seconds * self.codec.clock_rate_hz / step))
        for index in range(1, count + 1):
            self.advance(step / self.codec.clock_rate_hz)
            duration = min(index * step, 0xFFFF)
            body = struct.pack(">BBH", event, 10, duration)
            self.send(body, payload_type=payload_type, timestamp=start, marker=index == 1)
        for index in range(3):
            stamp = start + (index * step if fresh_ends else 0)
            body = struct.pack(">BBH", event, 0x80 | 10, min(count * step, 0xFFFF))
            self.send(body, payload_type=payload_type, timestamp=stamp)
        return self

    def use(self, codec: Codec, payload_type: int, octets: int, ticks: int) -> Direction:
        """Another codec or packet time from here on."""
        self.codec, self.payload_type, self.octets, self.ticks_per_packet = codec, payload_type, octets, ticks
        return self


class SyntheticScan:
    """What ``packets.scan`` would give for some arrived packets: columns in order of arrival."""

    def __init__(self, packets: Sequence[Packet], *, sort: bool = True) -> None:
        arrived = sorted(packets, key=lambda packet: packet.arrival_ns) if sort else list(packets)
        self.packets = arrived
        sizes = np.array([len(packet.payload) for packet in arrived], np.int64)
        ends = np.cumsum(sizes)
        self.data: NDArray[np.uint8] = np.frombuffer(b"".join(p.payload for p in arrived), np.uint8)
        self.spill: NDArray[np.uint8] = np.zeros(0, np.uint8)
        keys: dict[tuple[Flow, int], int] = {}
        index = np.array([keys.setdefault((p.flow, p.ssrc), len(keys)) for p in arrived], np.int32)
        marks = [p.flags | (PacketFlag.MARKER if p.marker else 0) for p in arrived]
        self.rtp = RtpColumns(
            offset=(ends - sizes).astype(np.int64),
            arrival_ns=np.array([p.arrival_ns for p in arrived], np.int64),
            timestamp=np.array([p.timestamp for p in arrived], np.uint32),
            stream=index,
            sequence=np.array([p.sequence for p in arrived], np.uint16),
            size=sizes.astype(np.uint16),
            payload_type=np.array([p.payload_type for p in arrived], np.uint8),
            flags=np.array(marks, np.uint8),
        )
        self.streams = [
            Stream(number, flow, ssrc, rows, len(rows))
            for (flow, ssrc), number in keys.items()
            for rows in [np.flatnonzero(index == number)]
        ]


def capture(packets: Sequence[Packet]) -> bytes:
    """A pcap file (nanoseconds, Ethernet) of packets in order of arrival."""
    return pcap(
        (
            (
                p.arrival_ns,
                udp(
                    p.flow.source,
                    p.flow.source_port,
                    p.flow.destination,
                    p.flow.destination_port,
                    rtp(p.sequence, p.timestamp, p.ssrc, p.payload_type, p.payload, p.marker),
                ),
            )
            for p in sorted(packets, key=lambda packet: packet.arrival_ns)
        ),
        nano=True,
    )


@dataclass(slots=True)
class Call:
    """Two directions between two endpoints; ``scan()`` is what a tap between them captures."""

    caller: Direction
    called: Direction
    networks: tuple[Network, Network] = field(default_factory=lambda: (Network(seed=1), Network(seed=2)))

    @classmethod
    def between(
        cls, one: tuple[str, int] = ("10.0.0.1", 10000), other: tuple[str, int] = ("10.0.0.2", 20000)
    ) -> Call:
        """A call from ``one`` to ``other``, both PCMU at 20 ms."""
        numbers = iter(range(1 << 40)).__next__
        there, back = Flow(*one, *other), Flow(*other, *one)
        caller = Direction(there, ssrc=0xAAAA0001, numbers=numbers)
        called = Direction(back, ssrc=0xBBBB0001, sequence=100, timestamp=5000, numbers=numbers)
        called.start_ns += 3_000_000
        return cls(caller, called)

    def arrived(self) -> list[Packet]:
        """Every packet that came through, both directions."""
        return [
            packet
            for direction, network in zip((self.caller, self.called), self.networks, strict=True)
            for packet in network.carry(direction.packets, direction.start_ns)
        ]

    def scan(self) -> SyntheticScan:
        """The capture of the call."""
        return SyntheticScan(self.arrived())


def truth_by_number(packets: Sequence[Packet]) -> dict[int, Packet]:
    """Packets by the number in their payload."""
    return {packet.number: packet for packet in packets}


def row_numbers(data: NDArray[np.uint8], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """The packet numbers that the payloads at ``offset`` carry."""
    octets = data[offset[:, None] + np.arange(8)]
    numbers: NDArray[np.int64] = octets.astype(np.int64) @ (256 ** np.arange(7, -1, -1, dtype=np.int64))
    return numbers


def media_ticks(codec: Codec, octets: int) -> int:
    """Ticks of one payload."""
    return int(payload_ticks(codec, np.array([octets]))[0])
