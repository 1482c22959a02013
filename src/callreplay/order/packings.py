"""What a payload's own bits say of how it is packed: AMR and AMR-WB (RFC 4867), and what a codec cannot be."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import Codec

__all__ = ["amr_share", "cannot_be"]

# Speech bits of each frame type (RFC 4867 section 3.6): 8 and 9 are SID, 15 no data, 14 (wideband) a lost frame.
_NARROW: Final = {0: 95, 1: 103, 2: 118, 3: 134, 4: 148, 5: 159, 6: 204, 7: 244, 8: 39, 15: 0}
_WIDE: Final = {
    0: 132, 1: 177, 2: 253, 3: 285, 4: 317, 5: 365, 6: 397, 7: 461, 8: 477, 9: 40, 14: 0, 15: 0,
}  # fmt: skip
_MOST_FRAMES: Final = 12
_MOSTLY: Final = 0.5


def amr_share(payloads: list[bytes], *, wide: bool, aligned: bool, frames: int = 0) -> float:
    """Which share of the payloads is well formed in a packing, with ``frames`` frames each (0: any number)."""
    filled = [payload for payload in payloads if payload]
    counts = [_amr_frames(payload, wide=wide, aligned=aligned) for payload in filled]
    fitting = sum(1 for count in counts if count and (count == frames or not frames))
    return fitting / len(filled) if filled else 0.0


def _amr_frames(payload: bytes, *, wide: bool, aligned: bool) -> int:
    """How many frames a payload holds in a packing; 0 where it cannot be: types, length or padding are wrong."""
    sizes = _WIDE if wide else _NARROW
    whole, total = int.from_bytes(payload, "big"), 8 * len(payload)
    at = 8 if aligned else 4
    if aligned and payload[0] & 0x0F:
        return 0
    types: list[int] = []
    more = True
    while more:
        entry = 8 if aligned else 6
        if at + entry > total or len(types) >= _MOST_FRAMES:
            return 0
        bits = whole >> (total - at - entry) & ((1 << entry) - 1)
        if aligned and bits & 3:
            return 0
        bits >>= 2 if aligned else 0
        more, kind = bool(bits & 0x20), bits >> 1 & 15
        if kind not in sizes:
            return 0
        types.append(kind)
        at += entry
    speech = [(sizes[kind] + 7) // 8 * 8 if aligned else sizes[kind] for kind in types]
    needed = (at + sum(speech) + 7) // 8
    if needed != len(payload):
        return 0
    padding = total - at - sum(speech)
    return len(types) if not whole & ((1 << padding) - 1) else 0


def cannot_be(codec: Codec, sizes: NDArray[np.integer]) -> bool:
    """Whether payloads of these sizes are no payloads of the codec, whatever signalling says; most must be lawful."""
    size = np.asarray(sizes, np.int64)
    size = size[size > 0]
    if not len(size):
        return False
    lawful: NDArray[np.bool_] | None = None
    if codec.kind == "event":
        lawful = (size % 4 == 0) & (size <= 32)
    elif codec.kind == "noise":
        lawful = size <= 32
    elif codec.name == "G729":
        lawful = np.isin(size % 10, (0, 2, 8, 5))  # Annex D and E have frames of 8 and 15
    elif codec.name == "GSM":
        lawful = (size % 33 == 0) | (size % 65 == 0)
    elif codec.name == "G723":
        lawful = size <= 24 * 8
    return lawful is not None and float(lawful.mean()) < _MOSTLY
