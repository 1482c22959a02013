"""A whole office's calls in one capture: whose packets, whose call? Every payload carries the number of its call.

`Office.make` gives the messages and the packets of many calls, with what real networks do to whoever has to tell them
apart: phones that all use one port, ports used again at once, BYEs that were lost, calls that began before the capture,
phones behind NAT, SSRCs that are kept from call to call, a server that uses one socket for all.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from callreplay.model import Flow, Message, Side
from callreplay.order import CallMedia
from tests.scenario.call import EPOCH_NS, Packet, SyntheticScan

__all__ = ["Office", "Socket", "call_number", "foreign", "sip"]

Socket = tuple[str, int]
_FILLER = np.random.default_rng(9).integers(0, 256, 1 << 17, np.uint8).tobytes()


def sip(
    at_ns: int,
    route: tuple[str, str],
    start: str,
    call_id: str,
    ends: tuple[str, str],
    cseq: str,
    body: str = "",
) -> Message:
    """One SIP message over UDP between two hosts, port 5060."""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    text = (
        f"{start}\r\nVia: SIP/2.0/UDP {route[0]};branch=z9hG4bK{at_ns}\r\nFrom: {ends[0]}\r\nTo: {ends[1]}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq}\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    )
    return Message("sip", at_ns, Flow(route[0], 5060, route[1], 5060), "udp", text.encode())


def sdp(socket: Socket, *more: str) -> str:
    """An SDP body for PCMU at a socket."""
    host, port = socket
    lines = (
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0",
        *more,
    )
    return "".join(f"{line}\r\n" for line in lines)


@dataclass(slots=True)
class Office:
    """Calls between phones; ``truth`` are the numbers of those whose INVITE is in the capture."""

    calls: int
    seed: int = 1
    one_port: bool = True  # every phone uses 4000
    byes: float = 1.0  # the share of calls whose BYE was captured
    mid_call: bool = True  # the capture begins when the first calls run already
    nat: float = 0.0  # the share of callers behind NAT: their SDP has private addresses
    keep_ssrc: bool = False  # phones keep their SSRC from call to call
    server: bool = False  # every call runs over one server with one audio socket
    seconds: float = 0.6
    messages: list[Message] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    truth: dict[str, int] = field(default_factory=dict)

    def make(self) -> Office:
        """Fill in messages and packets; returns itself."""
        random = np.random.default_rng(self.seed)
        lines = max(2, self.calls // 10)  # pairs of phones that call one after another
        free_ns = [EPOCH_NS - int(random.integers(0, 400_000_000)) for _ in range(lines)]
        for number in range(self.calls):
            line = number % lines
            free_ns[line] = self._call(number, line, free_ns[line], random)
        cut = EPOCH_NS if self.mid_call else 0
        self.messages = sorted((m for m in self.messages if m.arrival_ns >= cut), key=lambda m: m.arrival_ns)
        self.packets = [packet for packet in self.packets if packet.arrival_ns >= cut]
        starts = {
            m.payload.split(b"Call-ID: ")[1].split(b"\r\n")[0]
            for m in self.messages
            if b" INVITE\r\n" in m.payload  # the request, or its answer
        }
        self.truth = {name: number for name, number in self.truth.items() if name.encode() in starts}
        return self

    def _call(self, number: int, line: int, start_ns: int, random: np.random.Generator) -> int:
        """One call from its INVITE on; returns when its phones may call again."""
        partner = int(random.integers(0, 3))
        port = 4000 if self.one_port else 4000 + 2 * int(random.integers(0, 500))
        caller: Socket = (f"10.1.{line >> 8}.{line & 255}", port)
        called: Socket = (
            f"10.{2 + partner}.{line >> 8}.{line & 255}",
            4000 if self.one_port else port + 1000,
        )
        if self.server:
            called = ("10.9.9.9", 30000)
        seen, said = caller, caller
        if random.random() < self.nat:
            said = ("192.168.1.2", caller[1])
            seen = (caller[0], 40000 + int(random.integers(0, 9000)))
        name = f"c{number}@office"
        self.truth[name] = number
        ends = f"<sip:{1000 + number}@a>;tag=f{number}", f"<sip:{5000 + number}@b>"
        answer = start_ns + int(random.integers(50, 300)) * 1_000_000
        end = answer + int((self.seconds + random.random() * 0.4) * 1e9)
        there, back = (caller[0], called[0]), (called[0], caller[0])
        tagged = ends[0], ends[1] + f";tag=t{number}"
        self.messages.append(
            sip(start_ns, there, "INVITE sip:x@b SIP/2.0", name, ends, "1 INVITE", sdp(said))
        )
        self.messages.append(sip(answer, back, "SIP/2.0 200 OK", name, tagged, "1 INVITE", sdp(called)))
        if random.random() < self.byes:
            self.messages.append(sip(end, there, "BYE sip:x@b SIP/2.0", name, tagged, "2 BYE"))
        ssrc = (line if self.keep_ssrc else number) * 2
        media = answer + 10_000_000
        self._talk(Flow(*seen, *called), ssrc, number, "caller", media, end, random)
        self._talk(Flow(*called, *seen), ssrc + 1, number, "called", media, end, random)
        return end + int(random.integers(250, 700)) * 1_000_000

    def _talk(
        self,
        flow: Flow,
        ssrc: int,
        number: int,
        side: Side,
        start_ns: int,
        stop_ns: int,
        random: np.random.Generator,
    ) -> None:
        sequence, stamp = (int(random.integers(0, 1 << 16)), int(random.integers(0, 1 << 32)))
        start_ns += int(random.integers(0, 20)) * 1_000_000
        for index in range(max(1, (stop_ns - start_ns) // 20_000_000)):
            at = start_ns + index * 20_000_000
            where = (number * 613 + index * 997 + (side == "called") * 31) % (len(_FILLER) - 160)
            body = struct.pack(">IB", number, side == "called") + _FILLER[where : where + 155]
            self.packets.append(
                Packet(
                    number, flow, ssrc, sequence + index & 0xFFFF, stamp + 160 * index & 0xFFFFFFFF, 0, body, at,
                    arrival_ns=at,
                )
            )  # fmt: skip

    def scan(self) -> SyntheticScan:
        """The packets as a scan."""
        return SyntheticScan(self.packets)


def call_number(data: bytes) -> int:
    """The number of the call that a payload was sent in."""
    return int(struct.unpack(">I", data[:4])[0])


def numbers_of(media: CallMedia) -> list[tuple[Side, int, bool]]:
    """(leg, number of the call, whether the called sent it) of every packet of a call."""
    found: list[tuple[Side, int, bool]] = []
    for leg in media.legs:
        for offset in leg.columns.offset.tolist():
            head = leg.columns.data[offset : offset + 5].tobytes()
            found.append((leg.side, call_number(head), bool(head[4])))
    return found


def foreign(calls: Sequence[CallMedia], truth: dict[str, int]) -> int:
    """How many packets are in a call that is not theirs, or in the other party's leg of it."""
    wrong = 0
    for media in calls:
        found = numbers_of(media)
        if media.description is not None:
            right = truth[media.description.call_id]
            wrong += sum(number != right or back is not (side == "called") for side, number, back in found)
        elif found:
            counted: dict[int, int] = {}
            for _, number, _ in found:
                counted[number] = counted.get(number, 0) + 1
            wrong += len(found) - max(counted.values())
    return wrong
