"""What each payload type of a stream carries: signalled, static, hinted, inferred with care, or named unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import BY_NAME, STATIC, Codec, payload_ticks
from callreplay.deferred import dataclass
from callreplay.evidence import Verdict
from callreplay.order.packings import amr_share, cannot_be
from callreplay.order.sample import Sample

__all__ = ["UNKNOWN", "Kind", "PayloadTables", "Resolution", "resolve"]

UNKNOWN: Final = Codec("UNKNOWN", 8000, 8000, kind="other")
_QUESTION: Final = "what codec is this?"
_AGREED: Final = 0.9  # of the payloads bear a reading out
_BELIED: Final = 0.1  # of them or fewer do
_KEPT: Final = 2048  # octets of payload up to which tables are kept
_FEWEST: Final = 4  # payloads that tell how AMR is packed

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
    evidence: list[Verdict] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Put a sentence into the report."""
        self.warnings.append(text)


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
        return cls(resolution, listed, *[array.copy() for array in _made(resolution, longest_payload)])

    @classmethod
    def shared(cls, resolution: Resolution, longest_payload: int) -> PayloadTables:
        """``build`` for whoever changes none of the tables but ``typical``."""
        named = resolution.codecs
        kind = next(iter(named), -1)
        if len(named) == 1 and named[kind] is STATIC.get(kind) and longest_payload <= _KEPT:
            listed, made = [named[kind]], _static(kind, longest_payload)
        else:
            listed = list(dict.fromkeys(named.values())) or [UNKNOWN]
            made = _made(resolution, longest_payload)
        kinds, clocks, codecs, durations, typical, doubtful = made
        return cls(resolution, listed, kinds, clocks, codecs, durations, typical.copy(), doubtful)

    def replace(self, which: int, codec: Codec) -> None:
        """Take another codec of the same clock for row ``which`` and for the payload types that stand for it."""
        before = self.listed[which]
        for payload_type, named in self.resolution.codecs.items():
            if named == before:
                self.resolution.codecs[payload_type] = codec
        self.listed[which] = codec
        octets = np.arange(self.durations.shape[1])
        self.durations[which] = np.clip(payload_ticks(codec, octets), 0, 1 << 24)


_Any = NDArray[Any]
_Arrays = tuple[_Any, _Any, _Any, _Any, _Any, _Any]


def _made(resolution: Resolution, longest_payload: int) -> _Arrays:
    make = _arrays if longest_payload <= _KEPT else _arrays.__wrapped__
    return make(tuple(resolution.codecs.items()), longest_payload)


@lru_cache(64)
def _static(kind: int, longest_payload: int) -> _Arrays:
    """``_arrays`` of nothing but a static payload type: no codec need be hashed and compared."""
    return _arrays(((kind, STATIC[kind]),), longest_payload)


@lru_cache(128)
def _arrays(named: tuple[tuple[int, Codec], ...], longest_payload: int) -> _Arrays:
    """The look-up tables of ``PayloadTables``: captures have few combinations of payload types and lengths."""
    listed = list(dict.fromkeys(codec for _, codec in named)) or [UNKNOWN]
    kinds = np.zeros(256, np.uint8)
    clocks = np.full(256, 8000, np.int32)
    codecs = np.zeros(256, np.uint8)
    for payload_type, codec in named:
        kinds[payload_type] = _KIND.get(codec.kind, Kind.AUDIO)
        clocks[payload_type] = codec.clock_rate_hz
        codecs[payload_type] = listed.index(codec)
    octets = np.arange(longest_payload + 1)
    durations = np.stack([np.clip(payload_ticks(codec, octets), 0, 1 << 24) for codec in listed]).astype(
        np.int32
    )
    typical = np.array([codec.clock_rate_hz // 50 for codec in listed], np.int32)
    doubtful = np.array([codec.name == "G722" for codec in listed], np.uint8)
    return kinds, clocks, codecs, durations, typical, doubtful


def resolve(
    present: Mapping[int, int],
    samples: Mapping[int, Sample],
    signalled: Sequence[Mapping[int, Codec]],
    hints: Mapping[int, Codec],
) -> Resolution:
    """Name the codec of every payload type in ``present`` (payload type -> packets).

    ``signalled`` are payload type maps of the SDP, best first: RFC 3264 section 5.1 lets a sender use the numbers of
    the *receiver's* description, and some use their own. Then ``hints``, static types (RFC 3551) and inference from
    ``samples``. Payloads outvote a name that cannot be theirs. What none of these settles is UNKNOWN, at the clock that
    timestamps and arrival show; a guess is never silent, and names its rivals.
    """
    result = Resolution()
    for payload_type, packets in sorted(present.items()):
        sample = samples.get(payload_type)
        codec, source = _settled(payload_type, signalled, hints, sample, result)
        hint = hints.get(payload_type, codec)
        if codec and hint and (codec.name, codec.clock_rate_hz) != (hint.name, hint.clock_rate_hz):
            result.say(f"payload type {payload_type}: {hint} was asked for, but signalling says {codec}")
        if codec is None:
            codec, source = _guessed(payload_type, packets, sample, result)
        result.codecs[payload_type] = codec
        result.sources[payload_type] = source
    _match_clocks(result)
    return result


def _settled(
    payload_type: int,
    signalled: Sequence[Mapping[int, Codec]],
    hints: Mapping[int, Codec],
    sample: Sample | None,
    result: Resolution,
) -> tuple[Codec | None, Source]:
    named: list[tuple[Codec, Source]] = [
        (said[payload_type], "sdp") for said in signalled if payload_type in said
    ]
    if payload_type in hints:
        named.append((hints[payload_type], "hint"))
    if payload_type in STATIC and not named:
        named.append((STATIC[payload_type], "static"))
    if not named or sample is None or not len(sample.size):
        return named[0] if named else (None, "unknown")
    codec, source = _likeliest(named, sample)
    first = named[0][0]
    usual = int(np.bincount(sample.size).argmax())
    if codec is None or (codec.name, codec.clock_rate_hz) != (first.name, first.clock_rate_hz):
        answer = str(codec) if codec else "another codec"
        reason = f"payloads of {usual} octets"
        result.say(f"payload type {payload_type}: signalling says {first}, but {reason} are {answer}")
        said = tuple((str(rival), ("signalling",)) for rival, _ in dict.fromkeys(named) if rival != codec)
        result.evidence.append(Verdict(_QUESTION, f"payload type {payload_type}", answer, (reason,), said))
    if codec is not None and codec.name in ("AMR", "AMR-WB"):
        codec = _packed(payload_type, codec, sample, result)
    return codec, source


def _likeliest(named: Sequence[tuple[Codec, Source]], sample: Sample) -> tuple[Codec | None, Source]:
    """The first of the names that the payloads can be; one whose lengths are those of the steps before one they belie.

    None where they can be none of them.
    """
    lawful = [
        (codec, source)
        for codec, source in named
        if not cannot_be(codec, sample.size) and not (codec.kind == "audio" and _events(codec, sample))
    ]
    if not lawful:
        from callreplay.order.speechlike import evenly_spread

        if evenly_spread(
            sample.payloads
        ):  # it may be encrypted: that is judged by what signalling says it was
            return named[0]
        events = [(codec, source) for codec, source in named if _events(codec, sample)]
        return (BY_NAME["TELEPHONE-EVENT"], events[0][1]) if events else (None, "unknown")
    if len({(codec.name, codec.clock_rate_hz) for codec, _ in lawful}) > 1:
        steps, sizes = sample.steps()
        agree = [
            float((payload_ticks(codec, sizes) == steps).mean())
            if len(steps) and codec.kind == "audio"
            else 0.5
            for codec, _ in lawful
        ]
        if agree[0] < _BELIED:
            return lawful[max(range(len(lawful)), key=lambda index: agree[index] >= _AGREED)]
    return lawful[0]


def _events(codec: Codec, sample: Sample) -> bool:
    """Whether what is named audio are events: 4 octets of an event, of a codec whose time would be the payload's."""
    if codec.kind != "audio" or not bool(np.all(sample.size == 4)):
        return False
    from callreplay.order.inference import is_event

    return is_event(sample)


def _packed(payload_type: int, codec: Codec, sample: Sample, result: Resolution) -> Codec:
    """AMR as its payloads are packed, whatever the fmtp says or leaves out; unreadable where neither packing fits."""
    wide = codec.name == "AMR-WB"
    fmtp = codec.fmtp.replace(" ", "")
    said = "octet-align=1" in fmtp
    bodies = [body for body in sample.payloads if body]
    if len(bodies) < _FEWEST:
        return codec
    share = {aligned: amr_share(bodies, wide=wide, aligned=aligned) for aligned in (said, not said)}
    if share[said] >= _AGREED or share[said] >= share[not said] > _BELIED:
        return codec
    name = {True: "octet-aligned", False: "bandwidth-efficient"}
    if share[not said] >= _AGREED:
        result.say(
            f"payload type {payload_type}: {codec} is {name[not said]} by its payloads, not {name[said]} as "
            f"{'its fmtp says' if 'octet-align' in fmtp else 'without an fmtp'}"
        )
        rest = [part for part in fmtp.split(";") if part and not part.startswith("octet-align")]
        return replace(codec, fmtp=";".join([f"octet-align={int(not said)}", *rest]))
    if share[said] > _BELIED:
        return codec
    result.say(
        f"payload type {payload_type}: payloads are {codec} in neither packing ({name[True]} {share[True]:.0%}, "
        f"{name[False]} {share[False]:.0%} of them); its part is silent"
    )
    return Codec(
        f"{codec.name}-UNREADABLE", codec.clock_rate_hz, codec.sample_rate_hz, kind="other", fmtp=fmtp
    )


def _guessed(
    payload_type: int, packets: int, sample: Sample | None, result: Resolution
) -> tuple[Codec, Source]:
    from callreplay.order.inference import Guess, clock_hz, infer

    guess = infer(sample) if sample is not None else Guess(None, "no sample")
    rivals = f"; not {', '.join(guess.rivals)}" if guess.codec and guess.rivals else ""
    if guess.codec is not None:
        result.say(
            f"payload type {payload_type}: {guess.codec} inferred ({guess.reason}; {packets} packets{rivals})"
        )
        codec = guess.codec
    else:
        could = f"; could be {', '.join(guess.rivals)}" if guess.rivals else ""
        result.say(
            f"payload type {payload_type}: codec unknown ({guess.reason}; {packets} packets{could}); "
            "give it as a hint"
        )
        clock = clock_hz(sample) if sample is not None else 0
        codec = replace(UNKNOWN, clock_rate_hz=clock) if clock else UNKNOWN
    against = tuple((rival, ()) for rival in guess.rivals)
    about = f"payload type {payload_type}, {packets} packets"
    result.evidence.append(Verdict(_QUESTION, about, str(guess.codec or "unknown"), (guess.reason,), against))
    return codec, "unknown" if guess.codec is None else "inferred"


def _match_clocks(resolution: Resolution) -> None:
    """Inferred events take the clock of the audio they share timestamps with (RFC 4733 section 2.1)."""
    clocks = [codec.clock_rate_hz for codec in resolution.codecs.values() if codec.kind == "audio"]
    if not clocks:
        return
    for payload_type, codec in resolution.codecs.items():
        if codec.kind == "event" and resolution.sources[payload_type] == "inferred":
            event = BY_NAME["TELEPHONE-EVENT"]
            resolution.codecs[payload_type] = Codec(event.name, clocks[0], clocks[0], kind="event")
