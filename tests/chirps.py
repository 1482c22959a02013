"""The measurement of placement: a chirp in every packet, found in the mix by cross-correlation.

Each packet of each leg carries a short chirp of its own time, so that every received packet can be located in what was
decoded, to a small part of a sample, whatever codec, packet length, jitter or loss there was. Truth is when the
packet's first sample was spoken, plus the smallest delay of its network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import callreplay
from tests.captures import pcap, rtp, udp
from tests.scenario.call import EPOCH_NS

__all__ = ["Leg", "Network", "measure", "record"]

RATE = 8000
_CHIRP = 64  # samples of 8 kHz: 8 ms


def _chirp(rate: int) -> NDArray[np.float64]:
    size = _CHIRP * rate // RATE
    t = np.arange(size) / rate
    sweep = np.sin(2 * np.pi * (400 * t + (2800 - 400) / (2 * t[-1]) * t**2))
    shaped: NDArray[np.float64] = 9000 * sweep * np.hanning(size)
    return shaped


@dataclass(frozen=True)
class Network:
    """Jitter in ms: ``even`` within 0..120, ``tail`` one-sided and exponential, ``bell`` about 60, ``none``."""

    delay_ms: float = 20.0
    jitter: str = "none"
    loss: float = 0.0
    seed: int = 1

    def delays_ns(self, count: int) -> NDArray[np.int64]:
        """Delay of each packet, ns."""
        random = np.random.default_rng(self.seed)
        shapes = {
            "none": np.zeros(count),
            "even": random.random(count) * 120,
            "tail": np.minimum(120, random.exponential(25, count)),
            "bell": np.clip(60 + 25 * random.standard_normal(count), 0, 120),
        }
        return np.rint((self.delay_ms + shapes[self.jitter]) * 1e6).astype(np.int64)


@dataclass
class Leg:
    """What one side sends: runs of (codec name, packet ms, seconds), one after the other; ``ppm`` of its clock."""

    runs: list[tuple[str, int, float]]
    network: Network = field(default_factory=Network)
    ppm: float = 0.0
    start_ns: int = 0
    said_ns: list[int] = field(
        default_factory=list
    )  # of each received packet's chirp, network's delay included

    @property
    def seconds(self) -> float:
        """Of all runs."""
        return sum(seconds for _, _, seconds in self.runs)


_TYPES = {"PCMU": 0, "PCMA": 8, "G722": 9, "L16": 96, "OPUS": 97}


def _encode(name: str, audio: NDArray[np.float64], packet_ms: int) -> list[bytes]:
    """Payloads of a run; ``audio`` at the codec's sample rate."""
    import av

    pcm = np.rint(audio).astype(np.int16)
    if name == "L16":
        size = RATE * packet_ms // 1000
        return [pcm[i : i + size].astype(">i2").tobytes() for i in range(0, len(pcm) - size + 1, size)]
    encoder = {"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw", "G722": "g722", "OPUS": "libopus"}[name]
    rate = _rate(name)
    context = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.layout, context.format = rate, "mono", "s16"  # type: ignore[attr-defined]
    if name == "OPUS":
        context.options = {"frame_duration": str(packet_ms), "application": "audio"}
        context.bit_rate = 64000
    context.open()
    size = rate * packet_ms // 1000
    found = []
    for start in range(0, len(pcm) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(pcm[None, start : start + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, start
        found.append(b"".join(bytes(packet) for packet in context.encode(frame)))  # type: ignore[attr-defined]
    return found


def _rate(name: str) -> int:
    return {"G722": 16000, "OPUS": 48000}.get(name, RATE)


def record(legs: list[Leg]) -> tuple[bytes, dict[int, str]]:
    """A capture of two legs, and the hints that name their payload types; fills ``said_ns``."""
    records = []
    hints = {96: "L16/8000", 97: "opus/48000"}
    for side, leg in enumerate(legs):
        ends = ("10.0.0.1", 4000), ("10.0.0.2", 5000)
        source, target = ends[side], ends[1 - side]
        at_s, sequence, stamp = 0.0, 100 * side, 8000 * side
        bodies: list[tuple[float, float, int, int, bytes]] = []
        for name, packet_ms, seconds in leg.runs:
            rate, clock = _rate(name), 48000 if name == "OPUS" else RATE
            count = round(seconds * 1000 / packet_ms)
            audio = np.zeros(count * packet_ms * rate // 1000)
            chirp = _chirp(rate)
            for index in range(
                count
            ):  # in the middle of each packet; one that is too short for it borrows from the next
                first = (2 * index + 1) * packet_ms * rate // 2000 - len(chirp) // 2
                audio[first : first + len(chirp)] += chirp[: max(0, len(audio) - first)]
            stamp = round(at_s * clock) + 8000 * side
            for index, body in enumerate(_encode(name, audio, packet_ms)):
                begins = at_s + index * packet_ms * 1e-3
                ticks = stamp + index * packet_ms * clock // 1000
                bodies.append((begins, packet_ms * 1e-3, ticks, _TYPES[name], body))
            at_s += count * packet_ms * 1e-3
        delays = leg.network.delays_ns(len(bodies))
        lost = np.random.default_rng(leg.network.seed + 99).random(len(bodies)) < leg.network.loss
        leg.said_ns.clear()
        scale = 1e9 / (1 + leg.ppm * 1e-6)
        for index, (begins, lasts, ticks, kind, body) in enumerate(bodies):
            number = sequence + index
            if lost[index]:
                continue
            sent = EPOCH_NS + leg.start_ns + round((begins + lasts) * scale)
            frame = rtp(number & 0xFFFF, ticks & 0xFFFFFFFF, side + 1, kind, body)
            records.append((sent + int(delays[index]), udp(*source, *target, frame)))
            middle = EPOCH_NS + leg.start_ns + round((begins + lasts / 2) * scale)
            leg.said_ns.append(middle + round(leg.network.delay_ms * 1e6))
    return pcap(sorted(records), nano=True), hints


def measure(
    capture: bytes, legs: list[Leg], hints: dict[int, str], moved_ms: float = 0.0
) -> list[NDArray[np.float64]]:
    """For each leg, where each received packet's chirp is heard minus where it belongs, in ms.

    ``moved_ms`` moves the second leg's audio first: a mutant that the bars must catch. Chirps are sought within 12 ms
    of their place, by cross-correlation at 48 kHz with a parabola through the peak.
    """
    with callreplay.open(capture, codecs=hints) as opened:
        (call,) = opened.calls
        rate = 48000
        audio = call.mix("stereo", rate=rate).astype(np.float64)
        first = call.caller.columns.spans[0].ssrc - 1  # the side that was heard first is the caller
        start = call.start_ns
    chirp = _chirp(rate)
    errors = []
    for side, leg in enumerate(legs):
        channel = audio[:, side ^ first]
        if side == 1 and moved_ms:
            channel = np.roll(channel, round(moved_ms * rate / 1000))
        errors.append(np.array([_found(channel, chirp, said - start, rate) for said in leg.said_ns]))
    return errors


def _found(channel: NDArray[np.float64], chirp: NDArray[np.float64], at_ns: int, rate: int) -> float:
    reach = rate * 12 // 1000
    middle = at_ns * 1e-9 * rate
    first = round(middle) - len(chirp) // 2 - reach
    if first < 0 or first + len(chirp) + 2 * reach > len(channel):
        return float("nan")
    piece = channel[first : first + len(chirp) + 2 * reach]
    likeness = np.correlate(piece, chirp, "valid")
    peak = int(likeness.argmax())
    if not 0 < peak < len(likeness) - 1 or likeness[peak] < 0.2 * float(chirp @ chirp):
        return float("nan")
    one, two, three = likeness[peak - 1 : peak + 2]
    fine = peak + 0.5 * (one - three) / (one - 2 * two + three)
    return float((first + fine + len(chirp) / 2 - middle) * 1000 / rate)
