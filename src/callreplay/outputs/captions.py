"""What was said, as files: WebVTT, SubRip and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError

__all__ = ["CAPTION_FORMATS", "Spoken", "caption_format"]

_LONGEST: Final = 80  # characters of a cue
_PAUSE_S: Final = 0.8


class Spoken(Protocol):
    """A word: times in seconds from the start of the call."""

    @property
    def start_s(self) -> float:
        """When it begins."""
        ...

    @property
    def end_s(self) -> float:
        """When it ends."""
        ...

    @property
    def text(self) -> str:
        """What was said."""
        ...

    @property
    def speaker(self) -> str:
        """``caller`` or ``called``."""
        ...


@dataclass(slots=True)
class _Cue:
    start_s: float
    end_s: float
    speaker: str
    text: str


def _cues(words: Sequence[Spoken]) -> list[_Cue]:
    """Words of one speaker together, up to a pause or a line's length; by time."""
    last: dict[str, _Cue] = {}
    cues: list[_Cue] = []
    for word in words:
        cue = last.get(word.speaker)
        if cue and word.start_s - cue.end_s < _PAUSE_S and len(cue.text) + len(word.text) < _LONGEST:
            cue.text, cue.end_s = f"{cue.text} {word.text}", max(cue.end_s, word.end_s)
        else:
            cue = last[word.speaker] = _Cue(word.start_s, word.end_s, word.speaker, word.text)
            cues.append(cue)
    return cues


def _clock(seconds: float, point: str) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _webvtt(words: Sequence[Spoken], names: Mapping[str, str], about: Mapping[str, Any]) -> str:
    def lines() -> Iterator[str]:
        yield "WEBVTT\n"
        for cue in _cues(words):
            name = _escaped(names.get(cue.speaker) or cue.speaker)
            yield f"\n{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n<v {name}>{_escaped(cue.text)}\n"

    return "".join(lines())


def _srt(words: Sequence[Spoken], names: Mapping[str, str], about: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n"
        f"{names.get(cue.speaker) or cue.speaker}: {cue.text}\n"
        for number, cue in enumerate(_cues(words), 1)
    )


def _json(words: Sequence[Spoken], names: Mapping[str, str], about: Mapping[str, Any]) -> str:
    names_of = ("start_s", "end_s", "text", "speaker", "confidence")
    plain = [{name: getattr(word, name, None) for name in names_of} for word in words]
    return json.dumps({**about, "names": dict(names), "words": plain}, ensure_ascii=False, indent=1) + "\n"


Maker = Callable[[Sequence[Spoken], Mapping[str, str], Mapping[str, Any]], str]

CAPTION_FORMATS: Final[dict[str, tuple[str, Maker]]] = {
    "vtt": ("text/vtt", _webvtt),
    "srt": ("application/x-subrip", _srt),
    "json": ("application/json", _json),
}
"""By name, which is the suffix too: the media type, and what makes the text of words, names and what is known."""


def caption_format(name: str = "", path: str = "") -> Maker:
    """What writes the format called ``name``, or else the one of the path's suffix; ArgumentError for others."""
    wanted = name or path.rpartition(".")[2].lower()
    if wanted not in CAPTION_FORMATS:
        raise ArgumentError(f"format must be one of {', '.join(CAPTION_FORMATS)}, not {wanted!r}")
    return CAPTION_FORMATS[wanted][1]
