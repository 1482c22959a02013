"""What a simulated call must sound like: every packet that came through, at its true time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import callreplay
from tests.scenario.call import Packet, capture

__all__ = ["heard", "open_call", "ulaw"]

Pcm = NDArray[np.int16]


def ulaw(octets: bytes) -> Pcm:
    """G.711 mu-law by its definition, not by our decoder."""
    code = ~np.frombuffer(octets, np.uint8).astype(np.int32) & 0xFF
    magnitude = ((((code & 15) << 3) + 132) << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def heard(
    packets: Sequence[Packet], start_ns: int, frames: int, payload_type: int = 0
) -> tuple[Pcm, NDArray[np.bool_]]:
    """The mu-law packets at their true times from ``start_ns`` on, 8000 Hz, and which samples they cover."""
    pcm, covered = np.zeros(frames, np.int16), np.zeros(frames, np.bool_)
    for packet in packets:
        if packet.payload_type != payload_type:
            continue
        first = round((packet.truth_ns - start_ns) * 8e-6)
        part = ulaw(packet.payload)[: max(0, frames - first)]
        assert first >= 0
        pcm[first : first + len(part)] = part
        covered[first : first + len(part)] = True
    return pcm, covered


def open_call(packets: Sequence[Packet], codecs: dict[int, str] | None = None) -> callreplay.Call:
    """The one call in the capture of these packets."""
    calls = callreplay.open(capture(packets), codecs=codecs).calls
    assert len(calls) == 1
    return calls[0]
