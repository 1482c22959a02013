"""What each payload type of a stream carries: signalled, static, hinted, inferred with care, or named unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import BY_NAME, STATIC, Codec, payload_ticks
from callreplay.order.inference import Sample, infer

__all__ = ["UNKNOWN", "Kind", "PayloadTables", "Resolution", "resolve"]

UNKNOWN: Final = Codec("UNKNOWN", 8000, 8000, kind="other")

Source = Literal["sdp", "static", "hint", "inferred", "unknown"]


class Kind(IntEnum):
    """What a payload type means to the ordering passes; the numbers stand in sequence.pyx and media.pyx too."""

    SKIP = 0  # redundancy not unpacked
    AUDIO = 1  # audio, decodable or not: it takes media time
    NOISE = 2
    EVENT = 3


_KIND: Final = {"audio": Kind.AUDIO, "noise": Kind.NOISE, "event": Kind.EVENT, "redundant": Kind.SKIP}


@dataclass(slots=True)
class Resolution:
    """The codec of each payload type met in a stream, where that came from, and what must be said of it."""

    codecs: dict[int, Codec] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PayloadTables:
    """A resolution as look-up tables for the native passes.

    ``kinds``, ``clocks`` (Hz) and ``codecs`` (row of the tables below) have 256 entries by payload type. ``durations``
    is ticks by (codec, octets), 0 where the length does not tell; ``typical`` then stands in; ``doubtful`` marks codecs
    whose senders are known to tick at twice the clock (G.722).
    """

    resolution: Resolution
    listed: list[Codec]
    kinds: NDArray[np.uint8]
    clocks: NDArray[np.int32]
    codecs: NDArray[np.uint8]
    durations: NDArray[np.int32]
    typical: NDArray[np.int32]
    doubtful: NDArray[np.uint8]

    @classmethod
    def build(cls, resolution: Resolution, longest_payload: int) -> PayloadTables:
        """Tables covering payloads of up to ``longest_payload`` octets."""
        listed = list(dict.fromkeys(resolution.codecs.values())) or [UNKNOWN]
        kinds = np.zeros(256, np.uint8)
        clocks = np.full(256, 8000, np.int32)
        codecs = np.zeros(256, np.uint8)
        for payload_type, codec in resolution.codecs.items():
            kinds[payload_type] = _KIND.get(codec.kind, Kind.AUDIO)
            clocks[payload_type] = codec.clock_rate_hz
            codecs[payload_type] = listed.index(codec)
        octets = np.arange(longest_payload + 1)
        durations = np.stack([np.clip(payload_ticks(codec, octets), 0, 1 << 24) for codec in listed]).astype(
            np.int32
        )
        typical = np.array([codec.clock_rate_hz // 50 for codec in listed], np.int32)
        doubtful = np.array([codec.name == "G722" for codec in listed], np.uint8)
        return cls(resolution, listed, kinds, clocks, codecs, durations, typical, doubtful)

    def replace(self, which: int, codec: Codec) -> None:
        """Take another codec of the same clock for row ``which`` and for the payload types that stand for it."""
        before = self.listed[which]
        for payload_type, named in self.resolution.codecs.items():
            if named == before:
                self.resolution.codecs[payload_type] = codec
        self.listed[which] = codec
        octets = np.arange(self.durations.shape[1])
        self.durations[which] = np.clip(payload_ticks(codec, octets), 0, 1 << 24)


def resolve(
    present: Mapping[int, int],
    samples: Mapping[int, Sample],
    signalled: Sequence[Mapping[int, Codec]],
    hints: Mapping[int, Codec],
) -> Resolution:
    """Name the codec of every payload type in ``present`` (payload type -> packets).

    ``signalled`` are payload type maps of the SDP, best first: RFC 3264 section 5.1 lets a sender use the numbers of
    the *receiver's* description, and some use their own. Then ``hints``, static types (RFC 3551) and inference from
    ``samples``. What none of these settles is UNKNOWN/8000; a guess is never silent.
    """
    result = Resolution()
    for payload_type, packets in sorted(present.items()):
        codec, source = _settled(payload_type, signalled, hints)
        hint = hints.get(payload_type, codec)
        if codec and hint and (codec.name, codec.clock_rate_hz) != (hint.name, hint.clock_rate_hz):
            result.warnings.append(
                f"payload type {payload_type}: {hint} was asked for, but signalling says {codec}"
            )
        if codec is None:
            codec, reason = infer(samples[payload_type]) if payload_type in samples else (None, "no sample")
            source = "unknown" if codec is None else "inferred"
            if codec is not None:
                result.warnings.append(
                    f"payload type {payload_type}: {codec} inferred ({reason}; {packets} packets)"
                )
            else:
                result.warnings.append(
                    f"payload type {payload_type}: codec unknown ({reason}; {packets} packets); give it as a hint"
                )
        result.codecs[payload_type] = codec or UNKNOWN
        result.sources[payload_type] = source
    _match_clocks(result)
    return result


def _settled(
    payload_type: int, signalled: Sequence[Mapping[int, Codec]], hints: Mapping[int, Codec]
) -> tuple[Codec | None, Source]:
    for described in signalled:
        if payload_type in described:
            return described[payload_type], "sdp"
    if payload_type in hints:
        return hints[payload_type], "hint"
    if payload_type in STATIC:
        return STATIC[payload_type], "static"
    return None, "unknown"


def _match_clocks(resolution: Resolution) -> None:
    """Inferred events take the clock of the audio they share timestamps with (RFC 4733 section 2.1)."""
    clocks = [codec.clock_rate_hz for codec in resolution.codecs.values() if codec.kind == "audio"]
    if not clocks:
        return
    for payload_type, codec in resolution.codecs.items():
        if codec.kind == "event" and resolution.sources[payload_type] == "inferred":
            event = BY_NAME["TELEPHONE-EVENT"]
            resolution.codecs[payload_type] = Codec(event.name, clocks[0], clocks[0], kind="event")
