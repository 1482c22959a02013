"""The one place where the service meets the engine: stored recordings in, the bytes of an output file out."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from callreplay.capture import Call, Leg, decoders, open_capture, undecodable_codecs
from callreplay.errors import ArgumentError, FormatError
from callreplay.model import recording_files
from callreplay.outputs.captions import CAPTION_FORMATS
from callreplay.outputs.formats import FORMATS, format_of
from callreplay.outputs.options import ROWS, Options
from callreplay.outputs.zoom import finest_of, pixels_of, zoom_file
from callreplay.service.opened import Opened
from callreplay.store.objects import is_object_url
from callreplay.store.opening import HeldFile, StoredFile, held
from callreplay.store.records import StoredCall
from callreplay.store.words import StoredWord

__all__ = [
    "CAPTIONS",
    "MEDIA_TYPES",
    "ROWS",
    "SUFFIXES",
    "Rendering",
    "captions",
    "check",
    "decoders",
    "render",
    "render_call",
    "silent_codecs",
    "undecoded",
]

_BLOCK: Final = 1 << 18
CAPTIONS: Final = ("vtt", "srt")
"""Formats made of a call's stored words instead of its recordings."""
MEDIA_TYPES: Final = {name: form.media_type for name, form in FORMATS.items()} | {
    "rtp": "application/zip",
    "zoom": "application/octet-stream",
    "marks": "application/json",
    **{name: CAPTION_FORMATS[name][0] for name in CAPTIONS},
}
"""Format name to media type. ``rtp`` is the stored recordings themselves, as a zip archive; ``zoom`` peaks of several
resolutions (``callreplay.outputs.zoom``); ``marks`` when what happens in the audio (``_marks``)."""
SUFFIXES: Final = {name: form.suffixes[0] for name, form in FORMATS.items()} | {
    "rtp": ".zip",
    "zoom": ".zoom",
    "marks": ".json",
    **{name: f".{name}" for name in CAPTIONS},
}
_LONG_S: Final = 600
_LONG_BYTES: Final = (
    4 << 20
)  # of recordings: four minutes of G.711; less is opened as fast as it is looked for
_MOST_MARKS: Final = 10_000  # of a kind and leg
_opened: Final = Opened()


@dataclass(frozen=True, slots=True)
class Rendering:
    """An output under way: how long the call is, and its bytes in order."""

    seconds: float
    data: Iterator[bytes]


def check(options: dict[str, Any]) -> None:
    """Raise ArgumentError for options that no call could be rendered with; the message begins with the name."""
    Options(**options)


def render(files: Sequence[StoredFile], form: str, options: dict[str, Any], uuid: str = "") -> Rendering:
    """Render the call that the recordings hold; ``uuid`` is what its files say they are of.

    Raises:
        OSError: a recording cannot be read.
        CallReplayError: it is no capture, there are more than two, the media is encrypted, or the options do not fit.

    """
    if form == "rtp":
        return Rendering(0.0, _archive(files))
    return render_call(_call(files), form, options, uuid)


def render_call(call: Call, form: str, options: dict[str, Any], uuid: str = "") -> Rendering:
    """Render a call that was read; forms and errors as of `render`, but for ``rtp``."""
    call.uuid = uuid
    chosen = Options(**options)
    if form in ("zoom", "marks"):
        call.refuse_encrypted()
    if form == "zoom":
        return Rendering(call.duration_s, _zoom(call, chosen))
    if form == "marks":
        return Rendering(call.duration_s, _marks(call))
    return Rendering(call.duration_s, call.stream(format_of(form).name, options=chosen))


def captions(call: StoredCall, words: Sequence[StoredWord], form: str, options: dict[str, Any]) -> bytes:
    """A call's words as captions; with ``start`` and ``end`` of what is heard between, timed from ``start``."""
    start, end = options.get("start") or 0.0, options.get("end")
    within = [
        word._replace(start_s=max(word.start_s - start, 0.0), end_s=word.end_s - start)
        for word in words
        if word.end_s > start and (end is None or word.start_s < end)
    ]
    row = call.row
    names = {side: row[f"{side}_name"] or row[f"{side}_number"] for side in ("caller", "called")}
    return CAPTION_FORMATS[form][1](within, names, {}).encode()


def undecoded(call: StoredCall) -> list[str]:
    """What of a stored call cannot be decoded here, and is silent in whatever is made of it; a line for each codec."""
    return undecodable_codecs(_codecs(call))


def silent_codecs(call: StoredCall) -> list[str]:
    """The names of the codecs that ``undecoded`` tells of."""
    return [codec for codec in dict.fromkeys(_codecs(call)) if undecodable_codecs([codec])]


def _codecs(call: StoredCall) -> list[str]:
    return [codec for file in call.files for codec in file["codecs"] or [file["codec"]] if codec]


def _call(files: Sequence[StoredFile]) -> Call:
    # A call is filed as one recording for each leg that has packets, so more than two are not one call's. Taking the
    # first two of them would lose audio and say nothing.
    if len(files) > 2:
        raise FormatError(f"a call has one recording for each of its two legs, not {len(files)}")
    with held(files) as found:
        if any(is_object_url(file.volume_path) for file in files):
            return _open(found)  # a look at one is a fetch of it
        with ExitStack() as owned:
            looked = [owned.enter_context(_Looked(file)) for file in found]
            try:
                identities = [file.identity() for file in looked]
            except OSError:
                return _open(found)  # which says what there is to say
            if sum(size for *_, size in identities) < _LONG_BYTES:
                return _open(looked)
            return _opened.call(tuple(zip(files, identities, strict=True)), lambda: _open(looked))


class _Looked:
    """A recording that was opened for a look at it, and is read by the same descriptor: of the very file looked at."""

    def __init__(self, file: HeldFile) -> None:
        self._file = file
        self.name = file.name
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def identity(self) -> tuple[int, int, int, int]:
        """What it is on its disk: it changes where another takes its name. The last is its size. Raises OSError."""
        self._descriptor = self._file.open()
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def open(self, suffix: str = "") -> int:
        """As of `HeldFile`; the first time, without a suffix, what ``identity`` opened."""
        descriptor = -1
        if not suffix:
            descriptor, self._descriptor = self._descriptor, -1
        return descriptor if descriptor >= 0 else self._file.open(suffix)


def _open(files: Sequence[HeldFile | _Looked]) -> Call:
    capture = open_capture(*files)
    if not capture.calls:
        raise ArgumentError(f"{capture.name}: no call was found in it ({capture.why_empty()})")
    return max(capture.calls, key=lambda call: call.duration_s)


def _zoom(call: Call, options: Options) -> Iterator[bytes]:
    """Peaks of several resolutions, of the legs apart. A long call is decoded by two threads, a half each."""
    shape, chosen = call.prepare(format_of("dat"), options)
    samples = finest_of(shape.frames)
    native = all(leg.external() is None for leg in call.legs)
    halves = 2 if native and not chosen.start and shape.frames > _LONG_S * shape.rate_hz else 1
    # Each begins with a pixel of the finest level.
    cut = shape.frames // halves // samples * samples / shape.rate_hz

    def half(number: int) -> NDArray[np.int8]:
        begin, end = (chosen.start, chosen.end) if halves == 1 else ((0.0, cut), (cut, chosen.end))[number]
        return pixels_of(call.renderer(replace(chosen, start=begin, end=end)), samples)

    with ThreadPoolExecutor(halves) as threads:
        parts = list(threads.map(half, range(halves)))
    yield zoom_file(parts, samples, shape.channels, shape.rate_hz, shape.frames)


def _marks(call: Call) -> Iterator[bytes]:
    """When what happens: JSON, times in seconds from the first sample of the call's audio.

    ``gaps``: leg (0 the caller), start, end, ``loss`` or ``silence``; ``digits``: leg, start, length, digit; ``talk``:
    leg, start, end; ``duration``.
    """
    start, end = call.bounds
    gaps, digits, talk = [], [], []
    for number, leg in enumerate(call.legs):
        marks = list(leg.marks(start, end))
        for kind in ("loss", "silence"):
            found = [((one - start) / 1e9, (two - start) / 1e9) for one, two, what in marks if what == kind]
            gaps += [(number, *stretch, kind) for stretch in _few(found, call.duration_s)]
        digits += [
            (number, round((event.start_ns - start) / 1e9, 3), round(event.duration_ms / 1e3, 3), event.digit)
            for event in leg.events[:_MOST_MARKS]
        ]
        talk += [(number, *stretch) for stretch in _few(_talk(leg), call.duration_s)]
    said = {"duration": round(call.duration_s, 3), "gaps": gaps, "digits": digits, "talk": talk}
    yield json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _talk(leg: Leg) -> list[tuple[float, float]]:
    return [(talk.start_s, talk.end_s) for talk in leg.speech()]


def _few(stretches: Sequence[tuple[float, float]], duration_s: float) -> list[tuple[float, float]]:
    """Stretches in order, to the millisecond; those that lie so close that there would be too many are made one."""
    apart = duration_s / _MOST_MARKS
    found: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if found and start - found[-1][1] < (apart if len(stretches) > _MOST_MARKS else 0.001):
            found[-1] = (found[-1][0], max(found[-1][1], round(end, 3)))
        else:
            found.append((round(start, 3), round(end, 3)))
    return found


class _Pipe:
    """A file that zipfile writes to without seeking, and that hands on what was written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _archive(files: Sequence[StoredFile]) -> Iterator[bytes]:
    """The recordings with their side indexes, stored as they are."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for each in files:
            for suffix in recording_files(""):
                try:
                    source = each.file(suffix)
                except FileNotFoundError:
                    if not suffix:
                        raise
                    continue
                with (
                    source,
                    archive.open(_entry(each, suffix, source.fileno()), "w", force_zip64=True) as target,
                ):
                    while block := source.read(_BLOCK):
                        target.write(block)
                        if data := pipe.take():
                            yield data
    if data := pipe.take():
        yield data


def _entry(file: StoredFile, suffix: str, descriptor: int) -> zipfile.ZipInfo:
    """What the archive says of a file: its last name and when it was written, within what ZIP can tell."""
    written = time.localtime(os.fstat(descriptor).st_mtime)[:6]
    info = zipfile.ZipInfo(
        file.path.rpartition("/")[2] + suffix,
        min(max(written, (1980, 1, 1, 0, 0, 0)), (2107, 12, 31, 23, 59, 59)),
    )
    info.external_attr = 0o100640 << 16
    return info
