"""The nouns of callreplay, as plain data: what one room hands to the next.

capture -> packets (RtpColumns, Stream, Message) -> order (LegColumns, Span, gaps) -> decode -> mix -> encode/raster

All times are integer nanoseconds since the Unix epoch; media positions are integers in RTP ticks or in samples, and
the name says which. No object per packet exists anywhere: packets are rows of NumPy columns.
"""

from __future__ import annotations

from dataclasses import field
from enum import IntEnum, IntFlag
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from callreplay.arrays import mappings
from callreplay.codecs import Codec
from callreplay.deferred import dataclass
from callreplay.evidence import Verdict

__all__ = [
    "GAP_DTYPE",
    "INDEX_SUFFIX",
    "CallDescription",
    "Event",
    "Flow",
    "GapReason",
    "Intact",
    "LegColumns",
    "MediaDescription",
    "Message",
    "PacketFlag",
    "RtpColumns",
    "Span",
    "Stream",
    "check_intact",
    "mappings",
    "recording_files",
]

Side = Literal["caller", "called"]

INDEX_SUFFIX: Final = ".idx"


def recording_files(name: str) -> tuple[str, str]:
    """The two files of a stored leg: the recording ``name``, and its side index (`callreplay.packets.recording`)."""
    return name, name + INDEX_SUFFIX


class PacketFlag(IntFlag):
    """Bits of the column ``flags`` (uint16)."""

    MARKER = 1  # RTP marker bit; a hint only
    SPILL = 2  # offset counts into the spill buffer (reassembled or unpacked bytes), not into the capture
    TRUNCATED = 4  # the capture cut the payload (snaplen or end of file); size is what is there
    NOISE = 8  # RFC 3389 comfort noise inside a span of another codec
    REDUNDANT = 16  # came from an RFC 2198 redundant block
    PADDED = 32  # RTP padding was removed
    EXTENSION = 64  # an RTP header extension was skipped
    RESTART = 128  # first packet after a restart of sequence numbers or timestamps


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction between two UDP endpoints. Addresses are text (IPv4 or IPv6); MACs are '' where unknown."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    source_mac: str = ""
    destination_mac: str = ""
    encapsulation: str = ""  # e.g. "vlan/gre/erspan"; '' for plain Ethernet or none
    interface: int = 0


@dataclass(slots=True)
class Stream:
    """The packets of one SSRC on one flow, as rows of RtpColumns (``rows`` is an index array or a slice).

    ``payload_spread`` is the chi-square of sampled payloads' octets against a uniform spread (about 255 for
    encrypted or well compressed ones, 0 where there are too few to tell; above 800 it is that much at least).
    ``srtp_suspect``: taken for SRTP; ``srtp_doubt``: why that cannot be told; ``in_clear``: the payloads show that they
    are not encrypted.
    """

    index: int
    flow: Flow
    ssrc: int
    rows: NDArray[np.integer] | slice
    packets: int
    srtp_suspect: bool = False
    srtp_evidence: str = ""
    srtp_doubt: str = ""
    in_clear: bool = False
    payload_spread: float = 0.0
    decrypted: bool = False  # was SRTP; its payloads are in the spill buffer, in clear


@dataclass(slots=True)
class RtpColumns:
    """One row per RTP packet of a capture, in capture order. 30 octets a row."""

    offset: NDArray[
        np.int64
    ]  # of the payload, after header, CSRC and extension; in data, or in spill with SPILL
    arrival_ns: NDArray[np.int64]
    timestamp: NDArray[np.uint32]
    stream: NDArray[np.int32]  # index into the list of Streams
    sequence: NDArray[np.uint16]
    size: NDArray[np.uint16]  # octets of payload, padding removed
    payload_type: NDArray[np.uint8]
    flags: NDArray[np.uint8]  # PacketFlag bits below 256


@dataclass(slots=True)
class Message:
    """A signalling message found in the capture: one SIP message or one Skinny frame, whole, in arrival order."""

    protocol: Literal["sip", "skinny"]
    arrival_ns: int
    flow: Flow
    transport: Literal["udp", "tcp"]
    payload: bytes


class GapReason(IntEnum):
    """Why a stretch of media time has no packet."""

    LOST = 1  # sequence numbers are missing: concealed by our own decoders, silent where PyAV decodes (Opus and others)
    SILENCE = 2  # DTX: the sender skipped time without skipping sequence numbers
    HOLD = 3  # as SILENCE, longer than two seconds, or signalled
    LATE_START = 4  # the leg starts after the call
    EARLY_END = 5  # the leg ends before the call
    CAPTURE = 6  # the capture lost packets (both directions stop together), not the network


GAP_DTYPE: Final = np.dtype(
    [
        ("span", np.int32),
        ("start", np.int64),
        ("ticks", np.int64),
        ("packets", np.int32),
        ("reason", np.uint8),
    ]
)
"""One row per gap: span index, first tick (the span's own media ticks), length in ticks, packets missing, GapReason."""


@dataclass(slots=True)
class Span:
    """A run of one codec within a leg: rows ``first`` to ``stop`` (exclusive) of the leg's columns.

    Ticks count at ``codec.clock_rate_hz`` from 0 at the span's first media. ``anchor_ns`` is the absolute time of tick
    0 on the call's timeline; ``drift_ppm`` the sender's clock error against it (positive: the sender ticks too fast),
    so the absolute time of tick t is ``anchor_ns + t / clock_rate_hz / (1 + drift_ppm * 1e-6)`` seconds.
    """

    codec: Codec
    first: int
    stop: int
    ssrc: int
    stream: int
    payload_type: int
    anchor_ns: int
    end_tick: int
    drift_ppm: float = 0.0
    inferred: bool = False  # the codec was inferred, not signalled or static


@dataclass(slots=True)
class LegColumns:
    """One leg in media order: the seam between Python and the native engine.

    Rows are sorted by span, then ``timestamp``; duplicates, stale packets and events are gone. ``timestamp`` is the
    media position in ticks of the row's span (0 at its first media), unwrapped and with bogus jumps removed, so a
    decoder may trust it. Rows hold audio of the span's codec, comfort noise (NOISE) and recovered redundant audio
    (REDUNDANT). ``data`` is the mapped capture itself, ``spill`` what had to be reassembled.
    """

    data: NDArray[np.uint8]
    spill: NDArray[np.uint8]
    offset: NDArray[np.int64]
    size: NDArray[np.uint16]
    timestamp: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    sequence: NDArray[np.int64]
    payload_type: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    spans: list[Span] = field(default_factory=list)
    gaps: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, GAP_DTYPE))

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The octets and the columns: what may lie in files."""
        octets = self.data, self.spill
        times = self.timestamp, self.arrival_ns
        return *octets, self.offset, self.size, *times, self.sequence, self.payload_type, self.flags


@dataclass(frozen=True, slots=True)
class Event:
    """An RFC 4733 event: ``digit`` ('0'-'9', '*', '#', 'A'-'D', 'flash' or 'event N'), absolute start and length."""

    digit: str
    start_ns: int
    duration_ms: float
    volume_dbm0: int = 0


@dataclass(slots=True)
class MediaDescription:
    """What signalling says of one end's audio stream: where that side RECEIVES, and how it may be spoken to.

    RTP sent *to* ``address:port`` belongs to the other side's leg; RTP sent *from* it (symmetric RTP) to this side's.
    """

    side: Side
    address: str
    port: int
    payload_types: dict[int, Codec]
    ptime_ms: float = 20.0
    direction: Literal["sendrecv", "sendonly", "recvonly", "inactive"] = "sendrecv"
    valid_from_ns: int = 0
    encrypted: bool = False  # RTP/SAVP and the like
    crypto: tuple[str, ...] = ()  # SDES a=crypto lines, as written
    rtcp_port: int = 0
    fork: bool = (
        False  # a recorder receives here: RTP sent to it repeats what the other side's leg says already
    )
    candidates: tuple[
        tuple[str, int], ...
    ] = ()  # other sockets of the same stream (RFC 8839): media may run there
    seen_from: str = (
        ""  # the address its message came from: behind NAT media comes from there, not from ``address``
    )


class OtherMedia(NamedTuple):
    """Where signalling expects what is no audio, and its payload types: bundled (RFC 8843), it shares audio's port."""

    address: str
    port: int
    payload_types: tuple[int, ...] = ()


class SignalledDigit(NamedTuple):
    """A digit that a party keyed in and that signalling carried (SIP INFO); names as in `Event`."""

    side: str
    digit: str
    start_ns: int
    duration_ms: float


class Diversion(NamedTuple):
    """Whom a call was meant for before: one value of a Diversion or History-Info header. '' where it does not say."""

    number: str
    name: str = ""
    reason: str = ""
    header: str = ""
    place: str = ""  # the index of History-Info: 1, 1.1, 1.2


@dataclass(slots=True)
class CallDescription:
    """One call as signalling tells it. Empty strings and zeros where it does not."""

    call_id: str
    protocol: Literal["sip", "skinny", ""] = ""
    caller_number: str = ""
    caller_name: str = ""
    called_number: str = ""
    called_name: str = ""
    caller_address: str = ""
    called_address: str = ""
    start_ns: int = 0  # first INVITE, or off-hook
    answer_ns: int = 0
    end_ns: int = 0
    status: str = ""  # "answered", "cancelled", "failed 486 Busy Here", ...
    media: list[MediaDescription] = field(default_factory=list)
    related: list[str] = field(default_factory=list)  # Call-IDs of the same call on other hops
    transferred_to: str = ""  # number a REFER or a transfer key sent the other party to
    other_media: list[OtherMedia] = field(default_factory=list)  # video, fax, text
    called_numbers: list[str] = field(default_factory=list)  # of every hop, in the order they were called
    begun_before: bool = False  # its first messages lie before the capture
    sides_inferred: bool = False  # who called whom is likely, not told
    verdicts: list[Verdict] = field(default_factory=list)  # what was weighed on the way
    digits: list[SignalledDigit] = field(default_factory=list)
    diversions: list[Diversion] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def swap_sides(self) -> None:
        """Make the caller the called and the other way round."""
        self.caller_number, self.called_number = self.called_number, self.caller_number
        self.caller_name, self.called_name = self.called_name, self.caller_name
        self.caller_address, self.called_address = self.called_address, self.caller_address
        for row in self.media:
            row.side = "called" if row.side == "caller" else "caller"


class Intact(Protocol):
    """What lies under arrays and knows whether it is still what it was: a mapped file (``packets.arena.Mapping``)."""

    def check(self) -> None:
        """Raise where it is not."""


def check_intact(*arrays: NDArray[Any]) -> None:
    """Raise OutputError where a file under the arrays shrank or failed while it was read: what was read is zeros."""
    for mapping in mappings(*arrays):
        mapping.check()
