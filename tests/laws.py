"""What every stage must obey, as functions its tests call.

A stage is anything that turns a leg, or a call, into int16 samples or bytes. The laws know nothing of codecs.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

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


def any_buffer_type(make: Callable[[object], bytes], octets: bytes) -> None:
    """bytes, bytearray, memoryview and arrays of octets are the same input."""
    want = make(octets)
    for kind in (bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)):
        assert make(kind(octets)) == want


def releases_the_gil(work: Callable[[], object]) -> None:
    """While ``work`` runs in one thread, Python runs in another: a counter must get on."""
    ticks = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0)

    counter = threading.Thread(target=count)
    before = time.perf_counter()
    work()
    alone = time.perf_counter() - before
    counter.start()
    begin = time.perf_counter()
    while time.perf_counter() - begin < max(0.05, 3 * alone):
        seen = ticks
        work()
    stop.set()
    counter.join()
    assert ticks > seen > 0
