"""Who talks when: stretches of talk of one leg, and what two legs make of a conversation.

The law, in ten-millisecond frames: eight bands between 150 and 3800 Hz, each against its own noise floor, the least
of the last two seconds (none above -60 dBFS before two seconds are heard). A frame is loud where the bands lie 3.4 dB
above floor and margin, by weight; four loud frames of six begin a stretch, which ends where 300 ms bring none of
2.2 dB. What is shorter than 120 ms, or does not change its level (tones, machines), is no talk. docs/speech.md has its
scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError

if TYPE_CHECKING:
    from callreplay.audio.silero import SileroMeter

__all__ = [
    "Conversation",
    "Detector",
    "PartyTalk",
    "SpeechMeter",
    "Talk",
    "conversation",
    "level_dbfs",
    "meter_of",
]

Detector = Literal["native", "silero"]
"""Which detector: ours, or Silero's (``audio.silero``, extra ``[vad]``)."""

_MONOLOGUE_GAP_S: Final = 1.0
_HELD_FLOOR_S: Final = 0.5
_INTERRUPTED_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Talk:
    """A stretch of talk: seconds from the start of the call, and its level (RMS; full scale is 0).

    The level is None where the stretch had not ended when it was asked for.
    """

    start_s: float
    end_s: float
    level_dbfs: float | None

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return self.end_s - self.start_s


def level_dbfs(energy: float, samples: int) -> float:
    """The level of samples with this sum of squares; full scale is 0."""
    return round(10 * math.log10(max(energy / samples, 1e-9)) - 20 * math.log10(32768), 1)


class SpeechMeter:
    """Finds talk in one speaker's int16 mono PCM, block by block; where the blocks are cut changes nothing.

    ``rate_hz``: 8000 to 48000. ``start_s``: what the first sample's time is called.
    """

    def __init__(self, rate_hz: int, start_s: float = 0.0) -> None:
        if not 8000 <= rate_hz <= 48000:
            raise ArgumentError(f"rate_hz: {rate_hz} is not in 8000 to 48000")
        self._native = _core.Speech(rate_hz)
        self._rate_hz, self._start_s = rate_hz, start_s
        self._found: list[Talk] = []

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Take a block of shape (n,)."""
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise ArgumentError(
                f"speech is looked for in int16 of shape (n,), not {pcm.dtype} of {pcm.shape}"
            )
        self._native.write(np.ascontiguousarray(pcm))
        self._take()

    def _take(self) -> None:
        for start, end, energy in self._native.take():
            self._found.append(
                Talk(
                    round(self._start_s + start / self._rate_hz, 6),
                    round(self._start_s + end / self._rate_hz, 6),
                    level_dbfs(energy, end - start),
                )
            )

    def result(self) -> list[Talk]:
        """Every stretch, in order; nothing can be written after it."""
        self._native.finish()
        self._take()
        return self._found


def meter_of(detector: Detector, rate_hz: int, start_s: float = 0.0) -> SpeechMeter | SileroMeter:
    """A meter of a detector by its name. Raises ArgumentError for others, UnsupportedError without its extra."""
    if detector == "native":
        return SpeechMeter(rate_hz, start_s)
    if detector != "silero":
        raise ArgumentError(f"detector: {detector!r} is none of native, silero")
    from callreplay.audio.silero import SileroMeter

    return SileroMeter(rate_hz, start_s)


@dataclass(frozen=True, slots=True)
class PartyTalk:
    """What one party did. Times in seconds.

    ``talk_s``: its talk; ``share``: of both parties' talk, 0 to 1. ``longest_monologue_s``: the longest time in which
    it talked with pauses of less than a second, in which the other did not talk. ``interruptions``: how often it began
    while the other had talked for half a second, and both went on for a quarter more.
    """

    talk_s: float
    share: float
    segments: int
    longest_monologue_s: float
    interruptions: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """Two parties together. ``silence_s``: neither talks; ``overlap_s``: both do; ``talk_s``: either."""

    talk_s: float
    silence_s: float
    overlap_s: float
    caller: PartyTalk
    called: PartyTalk


def _overlaps(one: Sequence[Talk], other: Sequence[Talk]) -> float:
    """Seconds in which both talk; each list is in order and does not overlap itself."""
    total, at = 0.0, 0
    for talk in one:
        while at < len(other) and other[at].end_s <= talk.start_s:
            at += 1
        look = at
        while look < len(other) and other[look].start_s < talk.end_s:
            total += min(talk.end_s, other[look].end_s) - max(talk.start_s, other[look].start_s)
            look += 1
    return total


def _interruptions(one: Sequence[Talk], other: Sequence[Talk]) -> int:
    count, at = 0, 0
    for talk in one:
        while at < len(other) and other[at].end_s <= talk.start_s:
            at += 1
        if at == len(other):
            break
        held = talk.start_s - other[at].start_s
        both = min(talk.end_s, other[at].end_s) - talk.start_s
        count += held >= _HELD_FLOOR_S and both >= _INTERRUPTED_S
    return count


def _longest_monologue(one: Sequence[Talk], other: Sequence[Talk]) -> float:
    longest = start = end = 0.0
    at = 0
    for number, talk in enumerate(one):
        while at < len(other) and other[at].end_s <= end:
            at += 1
        answered = at < len(other) and other[at].start_s < talk.start_s
        if not number or talk.start_s - end >= _MONOLOGUE_GAP_S or answered:
            start = talk.start_s
        end = talk.end_s
        longest = max(longest, end - start)
    return longest


def _party(one: Sequence[Talk], other: Sequence[Talk], both_s: float) -> PartyTalk:
    talk = sum(each.duration_s for each in one)
    return PartyTalk(
        round(talk, 3),
        round(talk / both_s, 4) if both_s else 0.0,
        len(one),
        round(_longest_monologue(one, other), 3),
        _interruptions(one, other),
    )


def conversation(caller: Sequence[Talk], called: Sequence[Talk], duration_s: float) -> Conversation:
    """Put two parties' talk together; ``duration_s`` is the call's."""
    spoken = [sum(talk.duration_s for talk in party) for party in (caller, called)]
    overlap = _overlaps(caller, called)
    talk = sum(spoken) - overlap
    return Conversation(
        round(talk, 3),
        round(max(0.0, duration_s - talk), 3),
        round(overlap, 3),
        _party(caller, called, sum(spoken)),
        _party(called, caller, sum(spoken)),
    )
