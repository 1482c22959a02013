"""The one place where the service meets the engine: stored recordings in, the bytes of an output file out."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from callreplay.capture import Call, open_capture
from callreplay.errors import ArgumentError, FormatError
from callreplay.model import recording_files
from callreplay.outputs.formats import FORMATS, format_of
from callreplay.outputs.ink import THEMES
from callreplay.outputs.options import CHANNELS, Options

__all__ = ["CHANNELS", "MEDIA_TYPES", "SUFFIXES", "THEMES", "Rendering", "check", "render"]

_BLOCK: Final = 1 << 18
MEDIA_TYPES: Final = {name: form.media_type for name, form in FORMATS.items()} | {"rtp": "application/zip"}
"""Format name to media type. ``rtp`` is the stored recordings themselves, as a zip archive."""
SUFFIXES: Final = {name: form.suffixes[0] for name, form in FORMATS.items()} | {"rtp": ".zip"}


@dataclass(frozen=True, slots=True)
class Rendering:
    """An output under way: how long the call is, and its bytes in order."""

    seconds: float
    data: Iterator[bytes]


def check(form: str, options: dict[str, Any]) -> None:
    """Raise ArgumentError for options that no call could be rendered with; the message begins with the name."""
    if form != "rtp":
        Options(**options)


def render(files: Sequence[Path], form: str, options: dict[str, Any], uuid: str = "") -> Rendering:
    """Render the call that the recordings hold; ``uuid`` is what its files say they are of.

    Raises:
        OSError: a recording cannot be read.
        CallReplayError: it is no capture, there are more than two, the media is encrypted, or the options do not fit.

    """
    if form == "rtp":
        return Rendering(0.0, _archive(files))
    call = _call(files)
    call.uuid = uuid
    chosen = Options(**options)
    return Rendering(call.duration_s, call.stream(format_of(form).name, options=chosen))


def _call(files: Sequence[Path]) -> Call:
    # A call is filed as one recording for each leg that has packets, so more than two are not one call's. Taking the
    # first two of them would lose audio and say nothing.
    if len(files) > 2:
        raise FormatError(f"a call has one recording for each of its two legs, not {len(files)}")
    capture = open_capture(*files)
    if not capture.calls:
        raise ArgumentError(f"{capture.name}: no call was found in it ({capture.why_empty()})")
    return max(capture.calls, key=lambda call: call.duration_s)


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


def _archive(files: Sequence[Path]) -> Iterator[bytes]:
    """The recordings with their side indexes, stored as they are."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for path in files:
            for each in map(path.with_name, recording_files(path.name)):
                if each != path and not each.is_file():
                    continue
                info = zipfile.ZipInfo.from_file(each, each.name, strict_timestamps=False)
                with each.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    while block := source.read(_BLOCK):
                        target.write(block)
                        if data := pipe.take():
                            yield data
    if data := pipe.take():
        yield data
