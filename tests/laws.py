"""What must hold of everything that makes samples, whatever the codec: one function a law."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from callreplay.model import GAP_DTYPE, LegColumns, PacketFlag, Span

__all__ = [
    "any_buffer_type",
    "gil_is_released",
    "lanes_equal_scalar",
    "make_leg",
    "out_equals_returned",
    "same_bytes_twice",
    "streamed_equals_one_shot",
]

Pcm = NDArray[np.int16]


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


def out_equals_returned(make: Callable[[Pcm | None], Pcm], room: int = 100) -> None:
    """``make(out)`` fills ``out``, returns a view of it equal to ``make(None)``, and writes no more."""
    expected = make(None)
    out = np.full((len(expected) + room, *expected.shape[1:]), 12345, np.int16)
    returned = make(out)
    assert np.shares_memory(returned, out)
    assert np.array_equal(returned, expected)
    assert np.array_equal(out[: len(expected)], expected)
    assert (out[len(expected) :] == 12345).all()


def streamed_equals_one_shot(whole: Pcm, blocks: Callable[[int], Sequence[Pcm]], frame: int) -> None:
    """Blocks of ``n`` frames, for n around the codec's frame size, make up ``whole``."""
    for size in sorted({1, 7, frame - 1, frame, frame + 1, 3 * frame + 1, len(whole) + 1}):
        if size <= 0:
            continue
        made = blocks(size)
        assert all(len(block) == size for block in made[:-1]), size
        assert np.array_equal(np.concatenate(made), whole), size


def any_buffer_type(make: Callable[[object], bytes], octets: bytes) -> None:
    """``make`` takes bytes, bytearray, memoryview and arrays alike."""
    expected = make(octets)
    array = np.frombuffer(octets, np.uint8)
    for buffer in (bytearray(octets), memoryview(octets), memoryview(bytearray(octets)), array, array.copy()):
        assert make(buffer) == expected, type(buffer)


def same_bytes_twice(make: Callable[[], Pcm | bytes]) -> None:
    """The same input gives the same bytes."""
    first, second = make(), make()
    assert np.asarray(first).tobytes() == np.asarray(second).tobytes()


def lanes_equal_scalar(code: str) -> None:
    """``code``, which prints a digest, prints the same under every instruction set that this CPU has."""
    isas = subprocess.run(
        [sys.executable, "-c", "from callreplay import _core; print(*_core.isa_available())"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert "scalar" in isas
    digests = {}
    for isa in isas:
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "CALLREPLAY_SIMD": isa}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests[isa] = ran.stdout
    assert digests["scalar"].strip()
    assert set(digests.values()) == {digests["scalar"]}, digests


def gil_is_released(work: Callable[[], object]) -> None:
    """While ``work`` runs, another Python thread runs too: it counts on without waiting for the switch."""
    interval = sys.getswitchinterval()
    seen, running, stop = 0, threading.Event(), threading.Event()

    def count() -> None:
        nonlocal seen
        running.set()
        while not stop.is_set():
            seen += 1

    # With so long an interval the counter gets the GIL only when the worker gives it up of its own accord,
    # and the worker gets it back only if it asked for less than the interval after that.
    thread = threading.Thread(target=count)
    thread.start()
    running.wait()
    try:
        sys.setswitchinterval(0.05)
        before = seen
        work()
        during = seen - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    assert during > 0
