"""What was said: a hook for any recogniser. It gets float32 at 16 kHz of each speaker's talk, and gives words.

>>> import callreplay
>>> with callreplay.open("samples/reservation.pcap") as capture:
...     transcript = capture[0].transcribe(lambda said: [(0.0, said.duration_s, "hello")])
>>> transcript.words[0]
Word(start_s=0.33, end_s=4.04, text='hello', speaker='called', confidence=None)
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.model import Side

if TYPE_CHECKING:
    from callreplay.capture import Call

__all__ = ["Recogniser", "Transcript", "Utterance", "Word", "recogniser_of", "transcribe"]

RATE_HZ: Final = 16000
_SIDES: Final[tuple[Side, Side]] = ("caller", "called")


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a recogniser is given: one speaker's talk. ``pcm``: float32, (n,), -1 to 1, at ``rate_hz``.

    ``start_s``: seconds from the start of the call.
    """

    pcm: NDArray[np.float32]
    rate_hz: int
    start_s: float
    speaker: Side

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return len(self.pcm) / self.rate_hz

    def int16(self) -> NDArray[np.int16]:
        """The same as int16, as older recognisers take it."""
        return (self.pcm * 32768).clip(-32768, 32767).astype("<i2")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or some, and when it was said: seconds from the start of the call. ``confidence``: 0 to 1 if known."""

    start_s: float
    end_s: float
    text: str
    speaker: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of a call, by time. ``made_with``: the recogniser's name."""

    words: tuple[Word, ...]
    made_with: str = ""

    def text(self, speaker: str = "") -> str:
        """What one party said, or both did, on one line."""
        return " ".join(word.text for word in self.words if not speaker or word.speaker == speaker)


Recogniser = Callable[[Utterance], Iterable[Any]]
"""Gives ``(start, end, text)`` or ``(start, end, text, confidence)``, in seconds from the utterance's start."""


def _word(said: Any, utterance: Utterance, who: str) -> Word | None:
    """A word of the recogniser's, in the call's time; ArgumentError where it is none. Empty texts are none."""
    try:
        start, end, text, *more = said
        start, end = float(start), float(end)
        confidence = None if not more or more[0] is None else float(more[0])
        if not isinstance(text, str) or not math.isfinite(start + end) or len(more) > 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{who} gave {said!r}, which is not (start, end, text) or (start, end, text, confidence)"
        ) from None
    text = " ".join(text.replace("\0", " ").split())
    if not text:
        return None
    start = min(max(start, 0.0), utterance.duration_s)
    end = min(max(end, start), utterance.duration_s)
    if confidence is not None:
        confidence = min(max(confidence, 0.0), 1.0) if math.isfinite(confidence) else None
    at = utterance.start_s
    return Word(round(at + start, 3), round(at + end, 3), text, utterance.speaker, confidence)


def transcribe(
    call: Call, recogniser: Recogniser, seconds: float = 30.0, *, made_with: str = ""
) -> Transcript:
    """Have a recogniser hear each speaker's talk, in pieces of at most ``seconds``, earliest first."""
    who = made_with or getattr(recogniser, "__qualname__", type(recogniser).__name__)
    words: list[Word] = []
    for piece in call.segments(seconds, rate=RATE_HZ, dtype="float32"):
        assert piece.channel is not None
        utterance = Utterance(piece.pcm, piece.rate_hz, round(piece.start_s, 6), _SIDES[piece.channel])
        words += filter(None, (_word(said, utterance, who) for said in recogniser(utterance)))
    words.sort(key=lambda word: (word.start_s, word.speaker, word.end_s))
    return Transcript(tuple(words), who)


def recogniser_of(name: str) -> Recogniser:
    """The function called ``MODULE:FUNCTION``, of a module installed or in the current folder; else ArgumentError."""
    module, colon, path = name.partition(":")
    if not colon or not module or not path:
        raise ArgumentError(f"a recogniser is MODULE:FUNCTION, not {name!r}")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ArgumentError(f"{name}: {error}") from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise ArgumentError(f"{name} is no function")
    return found  # type: ignore[no-any-return]


def words_of(rows: Sequence[Sequence[Any]]) -> tuple[Word, ...]:
    """Words from plain rows, as they are stored."""
    return tuple(Word(*row) for row in rows)
