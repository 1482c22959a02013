"""Who talks when, as the files that other programs read: RTTM, Audacity's labels, WebVTT, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any, Final

from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError

__all__ = ["LABEL_FORMATS", "Label", "label_format"]


@dataclass(frozen=True, slots=True)
class Label:
    """A stretch of time of one speaker; seconds from the start of the file that it is about. ``channel`` from 1."""

    start_s: float
    end_s: float
    speaker: str
    channel: int = 1
    name: str = ""
    level_dbfs: float | None = None


def _rttm(labels: Sequence[Label], about: dict[str, Any]) -> str:
    """NIST's Rich Transcription Time Marked, ten fields a line; none of them may hold a space."""
    file = re.sub(r"\s+", "_", str(about.get("file", ""))) or "call"
    return "".join(
        f"SPEAKER {file} {label.channel} {label.start_s:.3f} {label.end_s - label.start_s:.3f} <NA> <NA> "
        f"{label.speaker} <NA> <NA>\n"
        for label in labels
    )


def _audacity(labels: Sequence[Label], about: dict[str, Any]) -> str:
    return "".join(
        f"{label.start_s:.6f}\t{label.end_s:.6f}\t{label.name or label.speaker}\n" for label in labels
    )


def _clock(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _webvtt(labels: Sequence[Label], about: dict[str, Any]) -> str:
    """A cue for each stretch, with the speaker as its voice."""
    cues = ["WEBVTT\n"]
    for label in labels:
        name = (label.name or label.speaker).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        cues.append(f"\n{_clock(label.start_s)} --> {_clock(label.end_s)}\n<v {name}>({label.speaker})\n")
    return "".join(cues)


def _json(labels: Sequence[Label], about: dict[str, Any]) -> str:
    talk = [
        {
            "speaker": label.speaker,
            "start_s": label.start_s,
            "end_s": label.end_s,
            "level_dbfs": label.level_dbfs,
        }
        for label in labels
    ]
    return json.dumps({**about, "talk": talk}, ensure_ascii=False, indent=1) + "\n"


LABEL_FORMATS: Final[dict[str, tuple[str, Callable[[Sequence[Label], dict[str, Any]], str]]]] = {
    "rttm": (".rttm", _rttm),
    "audacity": (".txt", _audacity),
    "vtt": (".vtt", _webvtt),
    "json": (".json", _json),
}
"""By name: the suffix, and what makes the text of labels in order and of what is known of the call."""


def label_format(name: str = "", path: str = "") -> Callable[[Sequence[Label], dict[str, Any]], str]:
    """What writes the format called ``name``, or else the one of the path's suffix; ArgumentError for others."""
    suffix = PurePath(path).suffix.lower()
    for known, (ending, make) in LABEL_FORMATS.items():
        if known == name or (not name and ending == suffix):
            return make
    raise ArgumentError(
        f"format must be one of {', '.join(LABEL_FORMATS)}, not {name!r}"
        if name
        else f"no format of labels has the suffix {suffix!r}; name one of {', '.join(LABEL_FORMATS)}"
    )
