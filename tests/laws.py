"""What every stage must obey, as functions its tests call.

A stage is anything that turns a leg, or a call, into int16 samples or bytes. The laws know nothing of codecs.
"""

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from callreplay.model import GAP_DTYPE, LegColumns, PacketFlag, Span
from callreplay.order import Aside, CallMedia, LegMedia, Packets

Pcm = NDArray[np.int16]

AWKWARD_BLOCKS = (1, 79, 80, 81, 159, 160, 161, 1000, 1 << 16)
"""Lengths around a codec's frame and a packet, and one that takes all."""


def same_bytes_twice(make: Callable[[], bytes]) -> None:
    """Nothing random and nothing left over: two runs give the same bytes."""
    assert make() == make()


def out_equals_returned(make: Callable[[Pcm | None], Pcm], spare: int = 13) -> None:
    """``out=`` is filled with what would be returned, and nothing behind it is touched."""
    returned = make(None)
    out = np.full(len(returned) + spare, 0x5A5A, np.int16)
    used = make(out)
    assert np.array_equal(used, returned)
    assert np.shares_memory(used, out)
    assert (out[len(returned) :] == 0x5A5A).all()


def streamed_equals_one_shot(
    whole: NDArray[np.int16],
    stream: Callable[[int], Iterable[NDArray[np.int16]]],
    blocks: Sequence[int] = AWKWARD_BLOCKS,
) -> None:
    """Where the blocks are cut changes no sample."""
    for block in blocks:
        if len(whole) // block > 20_000:
            continue
        parts = list(stream(block))
        assert all(len(part) <= block for part in parts)
        joined = np.concatenate(parts) if parts else whole[:0]
        assert np.array_equal(joined, whole), f"blocks of {block}"


def windows_are_slices(
    whole: NDArray[np.int16],
    window: Callable[[int, int], NDArray[np.int16]],
    count: int = 40,
    seed: int = 1,
) -> None:
    """What is rendered from frame a to frame b is the slice of the whole, sample for sample."""
    dice = np.random.default_rng(seed)
    for start in dice.integers(0, len(whole), count):
        stop = min(len(whole), int(start) + int(dice.integers(1, 8000)))
        part = window(int(start), stop)
        assert len(part) == stop - start
        differ = np.flatnonzero(part != whole[start:stop])
        assert not len(differ), f"{len(differ)} of {len(part)} samples from {start} on differ"


def any_buffer_type(make: Callable[[object], bytes], octets: bytes) -> None:
    """bytes, bytearray, memoryview and arrays of octets are the same input."""
    want = make(octets)
    for kind in (bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)):
        assert make(kind(octets)) == want


def gil_is_released(work: Callable[[], object], patience: float = 10.0) -> None:
    """While ``work`` runs, another Python thread runs too: it counts on without waiting for the switch.

    A busy system need not run the other thread within one ``work`` of a millisecond, so the work is done again
    until the thread has counted, for ``patience`` seconds at most.
    """
    interval = sys.getswitchinterval()
    seen, running, stop = 0, threading.Event(), threading.Event()

    def count() -> None:
        nonlocal seen
        while not stop.is_set():
            seen += 1
            running.set()
            time.sleep(1e-5)

    # With an interval longer than the test nobody may ask for the GIL: the counter gets it only when the work
    # gives it up of its own accord, and gives it back by itself, in its sleep.
    thread = threading.Thread(target=count)
    try:
        sys.setswitchinterval(1000 * patience)
        thread.start()
        running.wait()
        before, end = seen, time.monotonic() + patience
        while seen == before and time.monotonic() < end:
            work()
        during = seen - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    assert during > 0


def grows_no_faster(
    work: Callable[[int], Callable[[], object]], small: int, large: int, power: float = 1.6
) -> None:
    """The processor's time of ``work(n)()`` grows with n, or nearly: never with its square.

    ``work`` prepares, what it returns is timed. Small work fits the caches and large work does not, so time per item
    may double; hence the power between 1 and 2, sizes far apart, and the least of three tries with no collector.
    """

    def seconds(run: Callable[[], object]) -> float:
        gc.collect()
        gc.disable()
        try:
            begin = time.process_time()
            run()
            return time.process_time() - begin
        finally:
            gc.enable()

    few, many = work(small), work(large)
    tries = [(seconds(few), seconds(many)) for _ in range(3)]
    least, most = (min(each) for each in zip(*tries, strict=True))
    assert most < max(least, 1e-3) * (large / small) ** power, tries


def make_leg(
    rows: Sequence[tuple[int, int, bytes, int]],
    spans: Sequence[Span],
    gaps: Sequence[tuple[int, int, int, int, int]] = (),
) -> LegColumns:
    """Make a leg of rows (tick, sequence, payload, flags) and rows of GAP_DTYPE."""
    sizes = np.array([len(payload) for _, _, payload, _ in rows], np.uint16)
    ends = np.cumsum(sizes, dtype=np.int64)
    return LegColumns(
        data=np.frombuffer(b"".join(payload for _, _, payload, _ in rows), np.uint8),
        spill=np.zeros(0, np.uint8),
        offset=ends - sizes,
        size=sizes,
        timestamp=np.array([tick for tick, *_ in rows], np.int64),
        arrival_ns=np.zeros(len(rows), np.int64),
        sequence=np.array([row[1] for row in rows], np.int64),
        payload_type=np.array([13 if row[3] & PacketFlag.NOISE else 0 for row in rows], np.uint8),
        flags=np.array([row[3] for row in rows], np.uint8),
        spans=list(spans),
        gaps=np.array(list(gaps), GAP_DTYPE),
    )


def nothing_goes_unsaid(scan: Packets, calls: Sequence[CallMedia], unplaced: Sequence[Aside]) -> None:
    """Conservation: every packet the parser accepted is in one leg of one call, or set aside with its reason.

    What a leg's columns lack of its streams' speech is counted: copies, strays, left over from before a hold, parallel.
    """
    times = np.zeros(len(scan.rtp.offset), np.int64)
    for call in calls:
        for leg in call.legs:
            for stream in leg.streams:
                times[stream.rows] += 1
            _leg_is_accounted_for(scan, leg)
        for aside in (*call.aside, *unplaced):
            assert aside.reason
            assert aside.packets > 0
        for aside in call.aside:
            if aside.kind != "parallel":  # a part of a stream that is in the leg
                times[aside.stream.rows] += 1
    for aside in unplaced:
        times[aside.stream.rows] += 1
    assert (times == 1).all(), f"{(times == 0).sum()} packets in no call, {(times > 1).sum()} in several"


def _leg_is_accounted_for(scan: Packets, leg: LegMedia) -> None:
    speech = {(span.stream, span.payload_type) for span in leg.columns.spans if span.codec.kind != "event"}
    wanted = 0
    for stream in leg.streams:
        types = [payload_type for index, payload_type in speech if index == stream.index]
        usual = (scan.rtp.flags[stream.rows] & PacketFlag.REDUNDANT) == 0
        wanted += int((np.isin(scan.rtp.payload_type[stream.rows], types) & usual).sum())
    kept = (leg.columns.flags & (PacketFlag.REDUNDANT | PacketFlag.NOISE)) == 0
    counted = leg.statistics
    said = counted.duplicates + counted.conflicts + counted.strays + counted.stale + counted.parallel
    assert wanted - int(kept.sum()) <= said, (
        f"{leg.side}: {wanted} sent, {kept.sum()} kept, {said} accounted for"
    )
