"""Synthetic captures for the benchmarks, written as whole NumPy record arrays: fast to make, any length."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

START_NS = 1_700_000_000 * 10**9
_RATES = {
    "PCMU": (0, 160, 160), "PCMA": (8, 160, 160), "G722": (9, 160, 160), "G729": (18, 20, 160),
    "OPUS": (111, 80, 960), "G726-32": (98, 80, 160), "ILBC": (100, 38, 160), "GSM": (3, 33, 160),
}  # fmt: skip
"""Payload type, octets and ticks of 20 ms."""


def put_away(folder: Path) -> None:
    """Have ``folder`` out of the way and its files empty; whoever made the folder around it removes them at the end.

    Where ext4 has no journal it looks, for each file that is made, at every inode nearby that was freed during the last
    minutes: files deleted just before a run would become a part of what each of its outputs costs.
    """
    if not folder.exists():
        return
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent)) / folder.name
    folder.rename(aside)
    for path in aside.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)


def _record(payload: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("sec", "<u4"), ("sub", "<u4"), ("incl", "<u4"), ("orig", "<u4"),
            ("mac", "u1", 12), ("ethertype", ">u2"),
            ("version", "u1"), ("tos", "u1"), ("length", ">u2"), ("id", ">u2"), ("fragment", ">u2"),
            ("ttl", "u1"), ("protocol", "u1"), ("checksum", ">u2"), ("source", ">u4"), ("destination", ">u4"),
            ("sport", ">u2"), ("dport", ">u2"), ("udp_length", ">u2"), ("udp_checksum", ">u2"),
            ("first", "u1"), ("payload_type", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4"),
            ("payload", "u1", payload),
        ]
    )  # fmt: skip


def speech(samples: int, seed: int) -> NDArray[np.uint8]:
    """µ-law octets with the statistics of talk: bursts of sound and near silence."""
    random = np.random.default_rng(seed)
    second = random.normal(0, 1, 8000)
    tone = np.convolve(second, np.hanning(24), "same")
    level = np.repeat(random.choice([0.02, 0.3, 1.0], samples // 2000 + 1, p=[0.4, 0.2, 0.4]), 2000)[:samples]
    pcm = np.resize(tone / np.abs(tone).max(), samples) * level * 20000
    magnitude = np.minimum(np.abs(pcm).astype(np.int32) + 132, 32767)
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    code = exponent << 4 | (magnitude >> (exponent + 3)) & 15
    return np.asarray(~(code | np.where(pcm < 0, 0x80, 0)) & 0xFF, dtype=np.uint8)


def leg(
    seconds: float,
    side: int,
    codec: str = "PCMU",
    *,
    call: int = 0,
    seed: int = 1,
    loss: float = 0.0,
    jitter_ms: float = 0.0,
    payload: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Arrival times (ns) and pcap records of one leg; side 0 is the caller. Random octets if no payload is given."""
    payload_type, octets, ticks = _RATES[codec]
    count = int(seconds * 50)
    random = np.random.default_rng((seed, side, call))
    records = np.zeros(count, _record(octets))
    index = np.arange(count)
    arrival = (
        START_NS + index * 20_000_000 + (random.random(count) * jitter_ms * 1e6).astype(np.int64) + side * 777
    )
    records["mac"] = 2
    records["ethertype"], records["version"], records["ttl"], records["protocol"] = 0x0800, 0x45, 64, 17
    records["length"], records["udp_length"] = 40 + octets, 20 + octets
    ends = (0x0A000000 + 2 * call, 0x0A000001 + 2 * call)
    records["source"], records["destination"] = ends[side], ends[1 - side]
    ports = (20000, 30000)
    records["sport"], records["dport"] = ports[side], ports[1 - side]
    records["first"], records["payload_type"] = 0x80, payload_type
    records["sequence"] = (index + int(random.integers(65536))) & 0xFFFF
    records["timestamp"] = (index * ticks + int(random.integers(2**32))) & 0xFFFFFFFF
    records["ssrc"] = int(random.integers(1, 2**32))
    records["incl"] = records["orig"] = records.dtype.itemsize - 16
    if payload is None and codec in ("PCMU", "PCMA"):
        payload = np.resize(speech(min(count, 15000) * 160, seed + side), count * octets)
    if payload is None:
        payload = random.integers(0, 256, count * octets, dtype=np.uint8)
    records["payload"] = payload[: count * octets].reshape(count, octets)
    keep = random.random(count) >= loss
    return arrival[keep], records[keep]


def read_pcap(path: Path) -> NDArray[np.void]:
    """The records that ``write_pcap`` wrote of 160 octets of payload."""
    return np.fromfile(path, _record(160), offset=24)


def write_pcap(path: Path, *legs: tuple[NDArray[np.int64], NDArray[np.void]]) -> int:
    """Write legs of one codec to a pcap (µs) in arrival order; returns the number of packets."""
    arrival = np.concatenate([times for times, _ in legs])
    # np.concatenate would turn the big-endian fields into native ones.
    records = np.empty(len(arrival), legs[0][1].dtype)
    order = np.argsort(arrival, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    start = 0
    for _, rows in legs:
        records[places[start : start + len(rows)]] = rows
        start += len(rows)
    arrival = arrival[order]
    records["sec"], records["sub"] = arrival // 10**9, arrival % 10**9 // 1000
    header = np.array([0xA1B2C3D4, 0x00040002, 0, 0, 65535, 1], "<u4")
    with path.open("wb") as out:
        out.write(header.tobytes())
        out.write(records.tobytes())
    return len(records)
