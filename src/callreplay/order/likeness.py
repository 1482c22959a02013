"""How alike two streams are, over the whole time that both were captured: not only how they begin."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass
from callreplay.model import PacketFlag, RtpColumns
from callreplay.order.streams import Packets

__all__ = ["Likeness", "compare"]

_BLOCK_OCTETS: Final = 8 << 20
_SHORTEST: Final = 10  # octets; events and comfort noise are alike in every call
_SAMPLE: Final = 40  # octets of a payload that tell whether it is more than silence
_FEWEST_VALUES: Final = 4
_STEADY_NS: Final = 150_000_000  # jitter, on top of a steady delay
_BIN_NS: Final = 1_000_000_000


def _keys(count: int) -> NDArray[np.uint64]:
    """Odd numbers without a pattern (SplitMix64); NumPy's generators take megabytes to import."""
    with np.errstate(over="ignore"):
        state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31)) | np.uint64(1)


_KEYS: Final = _keys(1 << 13)


@dataclass(frozen=True, slots=True)
class Likeness:
    """Packets that both streams have, and what speaks against it.

    ``matched`` of ``least`` packets that say something (of the stream that has fewer in the common time) are in both,
    ``delay_ns`` after the first one's, give or take ``spread_ns``; ``other_seconds``: whole seconds in which both say
    something, and each something else.
    """

    matched: int
    least: int
    delay_ns: int
    spread_ns: int
    other_seconds: int

    @property
    def share(self) -> float:
        """Of the packets in the common time."""
        return self.matched / self.least if self.least else 0.0


def compare(
    packets: Packets, one: NDArray[np.integer], other: NDArray[np.integer], *, headers: bool
) -> Likeness | None:
    """Likeness of two streams, given by their rows; ``headers``: number and timestamp must agree too.

    None where nothing is in both.
    """
    rtp = packets.rtp
    first, second = _digests(packets, rtp, one, headers), _digests(packets, rtp, other, headers)
    mine, theirs = _single(first), _single(second)
    _, at, beside = np.intersect1d(first[mine], second[theirs], assume_unique=True, return_indices=True)
    if not len(at):
        return None
    arrival, arrival_too = rtp.arrival_ns[one[mine]], rtp.arrival_ns[other[theirs]]
    delays = arrival_too[beside] - arrival[at]
    delay = int(np.median(delays))
    steady = np.abs(delays - delay) <= _STEADY_NS
    at, beside = at[steady], beside[steady]
    if not len(at):
        return None
    start = max(int(arrival.min()), int(arrival_too.min()) - delay) - _STEADY_NS
    stop = min(int(arrival.max()), int(arrival_too.max()) - delay) + _STEADY_NS
    left, left_too = np.ones(len(arrival), np.bool_), np.ones(len(arrival_too), np.bool_)
    left[at], left_too[beside] = False, False
    common = (arrival >= start) & (arrival <= stop)
    common_too = (arrival_too - delay >= start) & (arrival_too - delay <= stop)
    bins = int((stop - start) // _BIN_NS) + 1
    unlike = (
        _per_bin(arrival[common & left] - start, bins),
        _per_bin(arrival_too[common_too & left_too] - delay - start, bins),
    )
    alike = _per_bin(arrival[at] - start, bins)
    other_seconds = int(np.count_nonzero((np.minimum(*unlike) >= 10) & (np.minimum(*unlike) > alike)))
    low, high = np.percentile(delays[steady], (10, 90))
    least = min(int(np.count_nonzero(common)), int(np.count_nonzero(common_too)))
    return Likeness(len(at), max(least, len(at)), delay, int(high - low), other_seconds)


def _per_bin(times: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """How many of the times lie in each second."""
    counts = np.zeros(bins, np.int64)
    np.add.at(counts, np.clip(times // _BIN_NS, 0, bins - 1), 1)
    return counts


def _single(digests: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Rows whose payload says something and comes once."""
    _, rows, counts = np.unique(digests, return_index=True, return_counts=True)
    single: NDArray[np.intp] = rows[(counts == 1) & (digests[rows] != 0)]
    return single


def _digests(
    packets: Packets, rtp: RtpColumns, rows: NDArray[np.integer], headers: bool
) -> NDArray[np.uint64]:
    """A 64-bit digest of each payload; 0 where it is short, or silence."""
    found = np.zeros(len(rows), np.uint64)
    sizes, spilled = rtp.size[rows], (rtp.flags[rows] & int(PacketFlag.SPILL)) != 0
    for size in np.unique(sizes).tolist():
        if size < _SHORTEST:
            continue
        for store, where in ((packets.data, ~spilled), (packets.spill, spilled)):
            chosen = np.flatnonzero((sizes == size) & where)
            block = max(1, _BLOCK_OCTETS // size)
            for start in range(0, len(chosen), block):
                part = chosen[start : start + block]
                found[part] = _of_one_size(store, rtp.offset[rows[part]], size)
    if headers:
        told = rtp.sequence[rows].astype(np.uint64) << np.uint64(32) | rtp.timestamp[rows].astype(np.uint64)
        mixed = found ^ ((told + np.uint64(1)) * _KEYS[0])
        found = np.where(found != 0, mixed | np.uint64(1), found)
    return found


def _of_one_size(store: NDArray[np.uint8], offsets: NDArray[np.int64], size: int) -> NDArray[np.uint64]:
    """Multilinear hashes of payloads of one size; those that would lie outside the store get 0."""
    words = (size + 7) // 8
    inside = (offsets >= 0) & (offsets + size <= len(store))
    octets = np.zeros((len(offsets), words * 8), np.uint8)
    octets[inside, :size] = store[offsets[inside, None] + np.arange(size)]
    sample = np.sort(octets[:, : size : max(1, size // _SAMPLE)], axis=1)
    values = 1 + np.count_nonzero(np.diff(sample, axis=1), axis=1)
    keys = np.resize(_KEYS, words)
    with np.errstate(over="ignore"):
        hashes = (octets.view(np.uint64) * keys).sum(axis=1, dtype=np.uint64) + np.uint64(size)
    hashes ^= hashes >> np.uint64(32)
    return np.where((values > _FEWEST_VALUES) & inside, hashes | np.uint64(1), np.uint64(0))
