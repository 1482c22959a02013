"""Is a stream SRTP? Evidence from its payloads, its neighbours and the signalling; never from one packet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.model import Flow, RtpColumns, Stream
from callreplay.packets.arena import release
from callreplay.packets.rows import examine

__all__ = ["suspect", "why_encrypted"]

_SAMPLE: Final = 200  # packets
_ENOUGH: Final = 3000  # octets for a chi-square that tells
_UNIFORM: Final = (
    400.0  # chi-square, 255 degrees of freedom: mean 255, deviation 22.6; encryption is never above
)
_PLAIN: Final = 800.0
_TAGS: Final = (4, 10, 16)


def suspect(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    rtp: RtpColumns,
    streams: Sequence[Stream],
    keyed: set[Flow],
) -> None:
    """Set ``srtp_suspect``, ``srtp_evidence`` and ``payload_spread`` of each stream; ``keyed`` flows saw DTLS or ZRTP.

    Loud noise in G.711 has neither a uniform spread (companding makes code words follow the level) nor packets longer
    than their time step; SRTP has both. One alone is not enough, unless a key exchange was seen on the flow.
    """
    ends = {_ends(flow) for flow in keyed}
    for stream in streams:
        rows = (
            np.arange(*stream.rows.indices(len(rtp.offset)))[:_SAMPLE]
            if isinstance(stream.rows, slice)
            else stream.rows[:_SAMPLE]
        )
        chi, octets, pairs, *tags = examine(
            data, spill, rtp.offset, rtp.size, rtp.flags, rtp.sequence, rtp.timestamp, rtp.payload_type, rows
        )
        stream.payload_spread = chi if octets >= _ENOUGH else 0.0
        longer = [tag for tag, count in zip(_TAGS, tags, strict=True) if pairs >= 8 and count >= 0.8 * pairs]
        said = []
        if longer:
            said.append(f"payloads are {longer[0]} octets longer than their codec makes them")
        if 0 < stream.payload_spread < _UNIFORM:
            said.append("octets are spread as evenly as only encryption or compression leaves them")
        by_content = len(said) == 2
        if _ends(stream.flow) in ends:
            said.append("a DTLS or ZRTP key exchange was seen on the same ports")
        keyed_here = _ends(stream.flow) in ends and stream.payload_spread < _PLAIN
        stream.srtp_suspect = by_content or keyed_here
        stream.srtp_evidence = "; ".join(said)
        release(data)


def _ends(flow: Flow) -> frozenset[tuple[str, int]]:
    return frozenset({(flow.source, flow.source_port), (flow.destination, flow.destination_port)})


def why_encrypted(call: Any, scans: Iterable[Any]) -> str:
    """Why the media of a call (``order.CallMedia``) is taken for SRTP, or '' if it is not.

    Signalling that asks for encryption is believed unless the payloads show that it was not used.
    """
    streams = [
        scan.streams[span.stream]
        for leg in (call.caller, call.called)
        for scan in scans
        for span in leg.columns.spans
        if leg.columns.data is scan.data and 0 <= span.stream < len(scan.streams)
    ]
    streams = [stream for stream in streams if not stream.decrypted]
    for stream in streams:
        if stream.srtp_suspect:
            return f"stream {stream.ssrc:#010x}: {stream.srtp_evidence}"
    description = call.description
    media = description.media if description is not None else []
    if any(entry.encrypted for entry in media) and streams:
        if all(stream.payload_spread >= _PLAIN for stream in streams):
            return ""
        return "the signalling negotiated SRTP"
    return ""
