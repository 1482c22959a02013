"""A load of calls onto a network interface, in pace: run in a network namespace, at the other end of a veth pair.

``python -m bench._wire IFACE CALLS SECONDS HELD OUT``: so many calls at a time for so many seconds, each of ``HELD``;
then none begins any more, and those that go on end when their time is over. What was sent of each goes to OUT as JSON.
Packets are made as they are sent, a tick of 20 ms at a time.
"""

from __future__ import annotations

import ctypes
import json
import socket
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import _captures
from bench.recording import _messages

_TICK_NS = 20_000_000
_LATEST = 3  # ticks by which a packet may be late: 30 ms either way


class _Sender:
    """Frames out of an interface, many for one system call."""

    def __init__(self, interface: str, most: int, size: int) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 20)
        self._socket.bind((interface, 0))
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._size = size
        self._frames = np.zeros((most, size), np.uint8)
        vectors = np.zeros((most, 2), np.uint64)
        vectors[:, 0] = self._frames.ctypes.data + np.arange(most, dtype=np.uint64) * size
        vectors[:, 1] = size
        headers = np.zeros((most, 8), np.uint64)  # struct mmsghdr of a 64-bit host
        headers[:, 2] = vectors.ctypes.data + np.arange(most, dtype=np.uint64) * 16
        headers[:, 3] = 1
        self._vectors, self._headers = vectors, headers

    def many(self, frames: NDArray[np.uint8]) -> None:
        for at in range(0, len(frames), len(self._frames)):
            part = frames[at : at + len(self._frames)]
            self._frames[: len(part)] = part
            done = 0
            while done < len(part):
                got = self._libc.sendmmsg(
                    self._socket.fileno(),
                    ctypes.c_void_p(self._headers.ctypes.data + 64 * done),
                    ctypes.c_uint(min(1024, len(part) - done)),
                    0,
                )
                if got <= 0:
                    time.sleep(0.0002)  # no room in the queue
                    continue
                done += got

    def one(self, frame: bytes) -> None:
        self._socket.send(frame)


def main() -> None:  # noqa: PLR0915
    """Send, and say what was sent."""
    interface, calls, seconds, held = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    ticks, hold = int(seconds * 50), int(held * 50)
    record = _captures.leg(0.02, 0)[1]
    size = record.dtype.itemsize - 16
    templates = np.zeros((calls, 2, size), np.uint8)
    random = np.random.default_rng(5)
    # A slot's calls follow each other; the first are under way already, so that as many end as begin.
    number, begun = np.arange(calls), -random.integers(0, hold - 100, calls)
    begun[: calls // 50] = 0
    made, sent = calls, dict[tuple[int, int], int]()
    pending: list[list[NDArray[np.uint8]]] = [[] for _ in range(_LATEST + 1)]
    sender = _Sender(interface, 4096, size)

    def signal(which: int, step: slice, now: int) -> None:
        for _, frame in list(_messages(which, now, now + 1))[step]:
            sender.one(frame)

    def fill(slot: int) -> None:
        for side in (0, 1):
            octets = _captures.leg(0.02, side, call=int(number[slot]), seed=int(number[slot]) + 1)[1]
            templates[slot, side] = np.frombuffer(octets.tobytes(), np.uint8)[16:]

    for slot in range(calls):
        fill(slot)
    counts = np.zeros((calls, 2), np.int64)
    start = time.monotonic()
    for slot in range(calls):
        signal(int(number[slot]), slice(0, 4), 0)
        if slot % 50 == 0:
            time.sleep(0.005)
    start = time.monotonic()
    worst = 0.0
    live = np.ones(calls, bool)
    tick = -1
    while live.any():
        tick += 1
        over = np.flatnonzero((tick - begun >= hold) & live)
        for slot in over.tolist():
            signal(int(number[slot]), slice(4, 6), 0)
            for side in (0, 1):
                sent[int(number[slot]), side] = int(counts[slot, side])
            if tick >= ticks:
                live[slot] = False
                continue
            number[slot], begun[slot], counts[slot] = made, tick + 3 * _LATEST, 0
            made += 1
            fill(int(slot))
            signal(int(number[slot]), slice(0, 4), 0)
        # A call's last packets may be late, and nothing of it comes after its BYE.
        talking = live & (tick >= begun) & (tick - begun < hold - _LATEST - 2)
        frames = templates.copy()
        n = (tick - np.maximum(begun, 0))[:, None].astype(np.uint32)
        frames[:, :, 44:46] = (n.astype(np.uint16)).astype(">u2").view(np.uint8).reshape(calls, 1, 2)
        frames[:, :, 46:50] = (n * 160).astype(">u4").view(np.uint8).reshape(calls, 1, 4)
        frames[:, :, 54:58] = number.astype(">u4").view(np.uint8).reshape(calls, 1, 4)
        frames[:, 0, 58], frames[:, 1, 58] = 0, 1
        frames[:, :, 59:63] = n.astype(">u4").view(np.uint8).reshape(calls, 1, 4)
        kept = (random.random((calls, 2)) >= 0.01) & talking[:, None]
        counts += kept
        late = random.integers(0, _LATEST + 1, (calls, 2))
        for ticks_late in range(_LATEST + 1):
            pending[(tick + ticks_late) % (_LATEST + 1)].append(frames[kept & (late == ticks_late)])
        now = pending[tick % (_LATEST + 1)]
        pending[tick % (_LATEST + 1)] = []
        for block in now:
            sender.many(block)
        left = start + (tick + 1) * _TICK_NS / 1e9 - time.monotonic()
        worst = max(worst, -left)
        if left > 0:
            time.sleep(left)
    said = {
        "calls": made,
        "packets": sum(sent.values()),
        "seconds": time.monotonic() - start,
        "behind_s": worst,
        "sent": [[call, side, count] for (call, side), count in sent.items()],
    }
    Path(sys.argv[5]).write_text(json.dumps(said), "ascii")


if __name__ == "__main__":
    main()
