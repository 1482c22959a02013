"""Is a stream SRTP? Evidence from its payloads, its neighbours and the signalling; never from one packet.

Where the limits come from, and how often they are wrong: docs/encryption.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.model import Flow, PacketFlag, RtpColumns, Stream
from callreplay.packets.arena import APART, fetch, release
from callreplay.packets.rows import count_parity, examine, spread

__all__ = ["judged", "suspect", "why_encrypted"]

_COLUMNS: Final = RtpColumns.__match_args__
_SPILL: Final = int(PacketFlag.SPILL)
_SAMPLE: Final = 200  # packets of the beginning, the middle and the end
_PAIRS: Final = 3  # that tell a payload's length from its time step
_MOST: Final = 0.8
_UNIFORM: Final = 400.0
"""Chi-square, 255 degrees of freedom: mean 255, deviation at most 22.6 whatever the number of octets; what is encrypted
is never above, G.711 of four packets and G.722 of twenty never below."""
_ENOUGH: Final = 3000  # octets of G.711 or G.722; what is in the clear stays above 600 from there on
_PLAIN: Final = 800.0
_SURE: Final = _PLAIN + 1
"""Beyond it nothing depends on how far: payloads in the clear come to it within a few of them."""
_OCTET_A_TICK: Final = 1 << 0 | 1 << 8 | 1 << 9  # payload types, as bits
_G729: Final = 1 << 18
_LARGE: Final = 1 << 20  # octets
_MARKED: Final = 20  # payloads that tell by marks of their codec

SHORT: Final = "too short to tell"
LONGER: Final = "too short to tell, and longer than the codec makes it"
EVEN: Final = "octets are spread as evenly as only encryption or compression leaves them"


def suspect(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    rtp: RtpColumns,
    streams: Sequence[Stream],
    keyed: set[Flow],
) -> None:
    """Set what ``Stream`` says of encryption, for each stream; ``keyed`` flows saw DTLS or ZRTP.

    SRTP makes packets longer than their time step (by its tag) and spreads their octets evenly. Neither alone is
    enough, unless a key exchange was seen on the flow: companded noise has no even spread, and compressed speech has
    the length that its codec gives.
    """
    ends = {_ends(flow) for flow in keyed} if keyed else ()
    total, octets = len(rtp.offset), len(data)
    for stream in streams:
        keyed_here = bool(ends) and _ends(stream.flow) in ends
        for rows in _samples(stream, total):
            if stream.srtp_suspect:
                break
            far = len(rows) * APART
            apart = octets > far and spread(rtp.offset, rows) > far
            evidence = _apart(data, spill, rtp, rows) if apart else (data, spill, rtp, rows)
            _judge(stream, *evidence, keyed_here)
        if octets >= _LARGE:
            release(data)


def _samples(stream: Stream, total: int) -> list[NDArray[np.integer]]:
    """Rows of the beginning and, of long streams, the middle and the end: a call may be encrypted from a point on."""
    rows = stream.rows
    count = len(range(*rows.indices(total))) if isinstance(rows, slice) else len(rows)
    firsts = (0, count // 2, count - _SAMPLE) if count > 3 * _SAMPLE else (0,)
    return [_few(rows, total, first) for first in firsts]


def _few(rows: NDArray[np.integer] | slice, total: int, first: int) -> NDArray[np.integer]:
    if not isinstance(rows, slice):
        return rows[first : first + _SAMPLE]
    some = range(*rows.indices(total))[first : first + _SAMPLE]
    return np.arange(some.start, some.stop, some.step, dtype=np.int32)


def _apart(
    data: NDArray[np.uint8], spill: NDArray[np.uint8], rtp: RtpColumns, rows: NDArray[np.integer]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], RtpColumns, NDArray[np.integer]]:
    """The sampled rows with their payloads side by side, where they lie all over the capture."""
    sample = RtpColumns(*[getattr(rtp, name)[rows] for name in _COLUMNS])
    mapped = np.flatnonzero((sample.flags & _SPILL) == 0)
    sizes = sample.size[mapped].astype(np.int64)
    payloads = fetch(data, sample.offset[mapped], sizes)
    sample.offset[mapped] = np.cumsum(sizes) - sizes
    return payloads, spill, sample, np.arange(len(rows), dtype=np.int32)


def _judge(
    stream: Stream,
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    rtp: RtpColumns,
    rows: NDArray[np.integer],
    keyed: bool,
) -> None:
    types, chi, octets, pairs, exact, longer, excess = examine(
        data,
        spill,
        rtp.offset,
        rtp.size,
        rtp.flags,
        rtp.sequence,
        rtp.timestamp,
        rtp.payload_type,
        rows,
        _SURE,
    )
    if not octets:
        return
    even = chi < _UNIFORM
    tagged = pairs >= _PAIRS and longer >= _MOST * pairs
    told_by_parity = types == _G729
    parity = even and told_by_parity and _has_parity(data, spill, rtp, rows)
    tagged = tagged and not parity  # a sender of G.729 that counts its time wrongly
    fits = pairs >= _PAIRS and exact >= _MOST * pairs
    said = []
    if tagged:
        said.append(f"payloads are {excess} octets longer than their codec makes them")
    if even and octets >= _ENOUGH:
        said.append(EVEN)
    if keyed:
        said.append("a DTLS or ZRTP key exchange was seen on the same ports")
    octet_a_tick = not types & ~_OCTET_A_TICK
    clear = chi >= _PLAIN or parity or (fits and not (even and (octet_a_tick or told_by_parity)))
    stream.payload_spread = chi if octets >= _ENOUGH else 0.0
    stream.in_clear = clear
    stream.srtp_suspect = (tagged and even) or (keyed and not clear)
    stream.srtp_evidence = "; ".join(said)
    if stream.srtp_suspect or not even or stream.srtp_doubt:
        return
    if octets >= _ENOUGH and (octet_a_tick or (told_by_parity and not parity)):
        stream.srtp_doubt = EVEN
    elif pairs < _PAIRS and not exact and not parity and types < 1 << 96:
        stream.srtp_doubt = LONGER if longer else SHORT


def _ends(flow: Flow) -> frozenset[tuple[str, int]]:
    return frozenset({(flow.source, flow.source_port), (flow.destination, flow.destination_port)})


def _payloads(
    data: NDArray[np.uint8], spill: NDArray[np.uint8], columns: Any, rows: Iterable[int]
) -> Iterator[bytes]:
    for row in rows:
        store = spill if columns.flags[row] & PacketFlag.SPILL else data
        at = int(columns.offset[row])
        if not columns.flags[row] & PacketFlag.TRUNCATED:
            yield store[at : at + int(columns.size[row])].tobytes()


def _has_parity(
    data: NDArray[np.uint8], spill: NDArray[np.uint8], rtp: RtpColumns, rows: NDArray[np.integer]
) -> bool:
    """Whether G.729 frames have their parity, as one in two would by chance."""
    held, frames = count_parity(data, spill, rtp.offset, rtp.size, rtp.flags, rows)
    return frames >= 8 and held >= 0.9 * frames


def _opus_marks(payloads: Sequence[bytes]) -> float:
    """RFC 6716 section 3.1: an encoder keeps to a few of the 32 configurations; encryption takes each of them in turn.

    How likely two payloads share theirs: 1/32 where octets are even, 1/5 where five take turns. 1/8 counts as half: of
    20,000 draws of 20 even payloads none came to that.
    """
    counts = np.bincount([payload[0] >> 3 for payload in payloads], minlength=32)
    pairs = len(payloads) * (len(payloads) - 1)
    return min(4.0 * float((counts * (counts - 1)).sum()) / pairs, 1.0) if pairs else 1.0


def _g723_frames(payload: bytes) -> bool:
    """RFC 3551 section 4.5.3: the first two bits of each frame are its length, and a packet holds some frames."""
    at = 0
    while at < len(payload):
        at += (24, 20, 4, 1)[payload[at] & 3]
    return at == len(payload)


_MARKS: Final[dict[str, tuple[str, Callable[[Sequence[bytes]], float]]]] = {
    "OPUS": ("the TOC octets of Opus change at random", _opus_marks),
    "GSM": (
        "the frames lack the signature of GSM",
        lambda payloads: sum(payload[0] >> 4 == 0xD for payload in payloads) / len(payloads),
    ),
    "G723": (
        "the first bits of G.723.1 do not tell the length",
        lambda payloads: sum(map(_g723_frames, payloads)) / len(payloads),
    ),
}  # fmt: skip
"""What is told, and the share of payloads that read as in the clear; encrypted ones do so in one of four, or fewer."""


def _without_marks(call: Any) -> str:
    """Why the payloads cannot be what their codec makes, where the codec leaves marks; '' where they can."""
    for leg in (call.caller.columns, call.called.columns):
        for span in leg.spans:
            if span.codec.name not in _MARKS:
                continue
            name, share = _MARKS[span.codec.name]
            rows = range(span.first, min(span.stop, span.first + _SAMPLE))
            payloads = [payload for payload in _payloads(leg.data, leg.spill, leg, rows) if payload]
            if len(payloads) >= _MARKED and share(payloads) < 0.5:
                return name
    return ""


def _streams(call: Any, scans: Iterable[Any]) -> list[Stream]:
    """The streams of a call that were not decrypted."""
    found: list[Stream] = []
    for columns in (call.caller.columns, call.called.columns):
        data = columns.data
        for scan in scans:
            if scan.data is data:
                streams = scan.streams
                found += [streams[span.stream] for span in columns.spans if 0 <= span.stream < len(streams)]
    return [stream for stream in found if not stream.decrypted]


def why_encrypted(call: Any, scans: Iterable[Any]) -> str:
    """Why the media of a call (``order.CallMedia``) is taken for SRTP, or '' if it is not.

    Signalling that asks for encryption is believed unless the payloads show that it was not used.
    """
    return _why(call, _streams(call, scans))


def judged(call: Any, scans: Iterable[Any]) -> tuple[str, list[str]]:
    """``why_encrypted`` and ``doubts`` of a call."""
    streams = _streams(call, scans)
    return _why(call, streams), _doubts(call, streams)


def _why(call: Any, streams: Sequence[Stream]) -> str:
    for stream in streams:
        if stream.srtp_suspect:
            return f"stream {stream.ssrc:#010x}: {stream.srtp_evidence}"
    if not streams:
        return ""
    if _negotiated(call):
        return "" if all(stream.in_clear for stream in streams) else "the signalling negotiated SRTP"
    return _without_marks(call)


def _negotiated(call: Any) -> bool:
    media = call.description.media if call.description is not None else []
    return any(entry.encrypted for entry in media)


def _doubts(call: Any, streams: Sequence[Stream]) -> list[str]:
    """What the report must say of a call that is played although it may be encrypted.

    A leg too short to tell is in doubt where no signalling names a profile without encryption, or its packets are
    longer than their codec makes them.
    """
    doubtful = {id(stream): stream for stream in streams if stream.srtp_doubt}
    if not doubtful:
        return []
    described = call.description is not None and bool(call.description.media)
    said = []
    for stream in doubtful.values():
        if stream.srtp_doubt == EVEN:
            said.append(f"stream {stream.ssrc:#010x}: {EVEN}; it may be encrypted, and noise then")
        elif stream.srtp_doubt == LONGER or not described:
            said.append(
                f"stream {stream.ssrc:#010x}: its {stream.packets} packets are too few to tell whether it is encrypted"
            )
    return said
