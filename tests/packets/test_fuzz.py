"""Seeded mutations of every container: scan() gives columns inside their buffers or CaptureError, in bounded memory.

CALLREPLAY_FUZZ_SECONDS sets the time (default 5; the long, coverage-guided runs are those of scripts/fuzz);
CALLREPLAY_FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable

import numpy as np
import pytest
from tests import captures as c

from callreplay import packets
from callreplay.errors import CaptureError, LimitError
from callreplay.model import PacketFlag

T = 1_700_000_000_000_000_000
SECONDS = float(os.environ.get("CALLREPLAY_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("CALLREPLAY_FUZZ_SEED", "2024"))
GROWTH_KB = 256 * 1024

BARE = [(T + i * 20_000_000, c.rtp(i, i * 160, 7, 0, bytes([i]) * 40)) for i in range(20)]
BARE.insert(5, (T + 90_000_000, c.rtcp_sr(7, T, 160) + c.rtcp_sdes(7, "me") + c.rtcp_bye(7)))
OTHERS = [
    c.sip("INVITE sip:200@pbx SIP/2.0", body=c.sdp("10.0.0.1", 4000, {0: "PCMU/8000", 96: "red/8000"})),
    c.red(b"p" * 20, 0, (0, 160, b"r" * 20)), c.stun(), c.dtls(), c.zrtp(), c.udptl(1, b"\6\1\2", b"\0\1"),
]  # fmt: skip
FRAMES = [(time_ns, c.udp("10.0.0.1", 4000, "10.0.0.2", 5000, octets)) for time_ns, octets in BARE]
FRAMES += [(T + i, c.udp("10.0.0.1", 5060, "10.0.0.2", 5060, octets)) for i, octets in enumerate(OTHERS)]
MAKERS: list[Callable[[], bytes]] = [
    lambda: c.pcap(FRAMES),
    lambda: c.pcap(FRAMES, big=True, nano=True),
    lambda: c.pcap(FRAMES, modified=True),
    lambda: c.pcapng(FRAMES, unknown=True),
    lambda: c.pcapng(FRAMES, [c.Interface(resolution=9, offset=5)], big=True),
    lambda: c.pcapng(FRAMES, simple=True),
    lambda: c.pcapng(FRAMES, old=True),
    lambda: c.rtpdump(BARE, start_ns=T),
    lambda: c.rtpproxy(BARE),
    lambda: c.gz(c.pcap(FRAMES)),
    lambda: c.zst(c.pcap(FRAMES)),
]
LINKS = [0, 1, 9, 12, 50, 51, 101, 105, 108, 113, 127, 228, 229, 276]
EVIL = [0, 1, 4, 8, 0x7F, 0x80, 0xFF, 0x45, 0x60, 47, 4, 41, 17, 6, 0x88, 0x81]
NUMBERS = [
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    bytes(4),
    b"\x80\0\0\0",
    b"\0\0\0\x80",
]
ETHERTYPES = [0x0800, 0x86DD, 0x8100, 0x88A8, 0x8847, 0x8864, 0x6558, 0x8926, 0x88BE, 0x22EB]
PORTS = [4789, 6081, 2152, 37008, 9060, 5060, 2000, 3386]


def _mutated(generator: random.Random, seed: bytes) -> bytes:
    octets = bytearray(seed)
    for _ in range(generator.choice([1, 1, 2, 4, 16])):
        if not octets:
            break
        at = generator.randrange(min(len(octets), generator.choice([64, 400, 1 << 30])))
        kind = generator.randrange(9)
        if kind == 0:
            octets[at] ^= 1 << generator.randrange(8)
        elif kind == 1:
            octets[at] = generator.choice(EVIL)
        elif kind == 2:
            octets[at : at + 4] = generator.choice(NUMBERS)
        elif kind == 3:
            del octets[at : at + generator.randrange(1, 40)]
        elif kind == 4:
            octets[at:at] = octets[at : at + generator.randrange(1, 300)]
        elif kind == 5:
            del octets[at:]
        elif kind == 6:
            octets[at : at + 2] = generator.choice(ETHERTYPES).to_bytes(2, "big")
        elif kind == 7:
            octets[at : at + 2] = generator.choice(PORTS).to_bytes(2, "big")
        else:
            octets[at : at + 8] = generator.randbytes(8)
    return bytes(octets)


def _encapsulated(generator: random.Random) -> bytes:
    """A pcap of any link type whose frames are layers out of order: what only a nesting decapsulator meets."""
    records = []
    for _ in range(generator.randrange(1, 12)):
        frame = generator.choice(FRAMES)[1]
        for _ in range(generator.randrange(6)):
            frame = (
                frame[: generator.randrange(12, 50)] + frame[generator.randrange(len(frame)) :] + frame[:100]
            )
        records.append((T, _mutated(generator, frame)))
    return c.pcap(records, link=generator.choice(LINKS), snaplen=generator.choice([60, 262144]))


def _check(octets: bytes) -> bool:
    try:
        found = packets.scan(packets.open_buffer(octets))
    except (CaptureError, LimitError):
        return False
    rtp, rooms = found.rtp, np.array([len(found.data), len(found.spill)])
    found = packets.unpack_red(found, {0, 96, 111})
    for scan in (found,):
        rtp = scan.rtp
        room = rooms[((rtp.flags & PacketFlag.SPILL) != 0).astype(np.intp)]
        assert (rtp.offset >= 0).all()
        assert (rtp.offset + rtp.size <= room).all()
        assert (rtp.stream >= 0).all()
        assert (rtp.stream < max(1, len(scan.streams))).all()
        assert sum(len(rtp.offset[stream.rows]) for stream in scan.streams) == len(rtp.offset)
    return True


@pytest.mark.filterwarnings("ignore::callreplay.packets.CaptureWarning")
def test_mutated_captures_are_read_or_refused() -> None:
    generator = random.Random(SEED)
    seeds = [make() for make in MAKERS]
    for seed in seeds:
        assert _check(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, runs, read = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end or runs < 200:
        state = generator.getstate()
        octets = (
            _encapsulated(generator)
            if generator.random() < 0.3
            else _mutated(generator, generator.choice(seeds))
        )
        try:
            read += _check(octets)
        except Exception as error:
            error.add_note(f"run {runs} of seed {SEED}: {octets.hex()}; state {hash(state)}")
            raise
        runs += 1
    assert read > runs // 4  # most mutants get past the container and reach the layers
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KB
