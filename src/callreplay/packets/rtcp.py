"""RTCP (RFC 3550 section 6): sender and receiver reports, CNAMEs and BYEs, as plain rows."""

from __future__ import annotations

import struct
from dataclasses import field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass

__all__ = ["Bye", "Name", "ReceptionReport", "Rtcp", "SenderReport", "parse"]

_NTP_EPOCH_S: Final = 2_208_988_800  # 1900 to 1970
_ERA_S: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR: at ``ntp_ns`` (Unix epoch; 0 where the sender has no wall clock) the stream stood at ``rtp_timestamp``."""

    arrival_ns: int
    flow: int
    ssrc: int
    ntp_ns: int
    rtp_timestamp: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """One block of an SR or RR: what ``reporter`` received of ``source``. Jitter in ticks, delay in 1/65536 s."""

    arrival_ns: int
    flow: int
    reporter: int
    source: int
    fraction_lost: float
    lost: int
    highest_sequence: int
    jitter: int
    last_report: int
    delay: int


@dataclass(frozen=True, slots=True)
class Name:
    """The CNAME of a source."""

    arrival_ns: int
    flow: int
    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True)
class Bye:
    """A source that leaves."""

    arrival_ns: int
    flow: int
    ssrc: int


@dataclass(slots=True)
class Rtcp:
    """Everything that RTCP said, in order of arrival; ``flow`` indexes ``Scan.flows``."""

    sender_reports: list[SenderReport] = field(default_factory=list)
    reception: list[ReceptionReport] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    byes: list[Bye] = field(default_factory=list)
    malformed: int = 0


def ntp_to_unix_ns(seconds: int, fraction: int) -> int:
    """An NTP timestamp in nanoseconds since 1970; era 1 (after February 2036) where the top bit is clear."""
    if not seconds and not fraction:
        return 0
    era = 0 if seconds & 0x80000000 else _ERA_S
    return (seconds + era - _NTP_EPOCH_S) * 10**9 + (fraction * 10**9 + (1 << 31) >> 32)


def parse(notes: NDArray[np.void], data: NDArray[np.uint8], spill: NDArray[np.uint8]) -> Rtcp:
    """The tables of the RTCP notes of a scan. A compound that stops making sense is read up to there and counted."""
    found = Rtcp()
    for offset, arrival_ns, flow, size, _, _, flags, _, _ in notes.tolist():
        compound = (spill if flags & 2 else data)[offset : offset + size].tobytes()
        at = 0
        while at + 4 <= len(compound):
            first, kind, words = struct.unpack_from(">BBH", compound, at)
            end = at + 4 * (words + 1)
            if first >> 6 != 2 or end > len(compound):
                found.malformed += 1
                break
            body = compound[at + 4 : end]
            if first & 0x20 and body:
                body = body[: max(0, len(body) - body[-1])]
            _packet(found, kind, first & 31, body, arrival_ns, flow)
            at = end
    return found


def _packet(found: Rtcp, kind: int, count: int, body: bytes, arrival_ns: int, flow: int) -> None:
    if kind in (200, 201):
        at = 24 if kind == 200 else 4
        if len(body) < at:
            found.malformed += 1
            return
        if kind == 200:
            ssrc, high, low, timestamp, packets, octets = struct.unpack_from(">6I", body)
            stamp = ntp_to_unix_ns(high, low)
            found.sender_reports.append(
                SenderReport(arrival_ns, flow, ssrc, stamp, timestamp, packets, octets)
            )
        reporter = int.from_bytes(body[:4], "big")
        for block in range(at, min(at + 24 * count, len(body) - 23), 24):
            source, loss, highest, jitter, last, delay = struct.unpack_from(">6I", body, block)
            lost = (loss & 0xFFFFFF) - (loss << 1 & 0x1000000)  # 24 bits, signed
            found.reception.append(
                ReceptionReport(
                    arrival_ns, flow, reporter, source, (loss >> 24) / 256, lost, highest, jitter, last, delay
                )
            )
    elif kind == 202:
        _names(found, count, body, arrival_ns, flow)
    elif kind == 203:
        for at in range(0, min(4 * count, len(body) - 3), 4):
            found.byes.append(Bye(arrival_ns, flow, int.from_bytes(body[at : at + 4], "big")))


def _names(found: Rtcp, count: int, body: bytes, arrival_ns: int, flow: int) -> None:
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            return
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        while at + 1 < len(body) and body[at]:
            item, length = body[at], body[at + 1]
            text = body[at + 2 : at + 2 + length]
            if item == 1 and len(text) == length:
                found.names.append(Name(arrival_ns, flow, ssrc, text.decode("utf-8", "replace")))
            at += 2 + length
        at = (at + 4) & ~3  # the chunk ends with one to four zero octets
