"""A call that goes on: what its recorder has put to the disk so far, and audio that follows it to its end.

The spools of a call grow by whole blocks of pcapng. The audio is rendered piece by piece: each time from what
signalling said, kept from the beginning, and the media of the last seconds, so that an hour costs as much a second as a
minute.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay import _core, packets
from callreplay.audio.mix import Channels, Renderer
from callreplay.capture import Call, open_capture
from callreplay.errors import ArgumentError, CaptureError
from callreplay.outputs.formats import fit_options, format_of
from callreplay.outputs.options import Options
from callreplay.store.beneath import open_beneath
from callreplay.store.handle import VolumeError
from callreplay.store.progress import Going

__all__ = ["Spools", "archive", "follow"]

_log = logging.getLogger(__name__)
_BLOCK: Final = struct.Struct("<II")
_TIME: Final = struct.Struct("<II")
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_LARGEST: Final = 1 << 24
_KEPT_NS: Final = 20 * 10**9
"""Media before the place that was rendered, for the order of packets, their clock and the decoders' state."""
_MARGIN_NS: Final = 200_000_000
"""Packets that are on their way round others: audio is rendered so far behind what is on the disk."""
_QUIETEST_NS: Final = 3600 * 10**9
"""After so long without a packet a call is over."""
_WAIT_SECONDS: Final = 0.4
_WAV_ENCODINGS: Final = {"int16": 0, "ulaw": 1, "alaw": 2}
_ENDLESS: Final = b"\xff\xff\xff\xff"
"""What stands for a length that nobody knows yet; readers take all that comes."""


@dataclass(slots=True)
class _File:
    """A spool that grows: its interfaces, the blocks that are no media, and the media that is still needed."""

    descriptor: int
    position: int = 0
    head: bytearray = field(default_factory=bytearray)
    other: bytearray = field(default_factory=bytearray)
    media: list[tuple[int, bytes]] = field(default_factory=list)
    fault: str = ""
    """Why nothing more is read of it."""

    def read(self) -> int:
        """Take in what is new; the latest packet's time in ns, 0 without any."""
        octets = bytearray()
        if self.fault:
            return 0
        while part := os.pread(self.descriptor, 1 << 20, self.position + len(octets)):
            octets += part
        blocks: list[tuple[int, int, int]] = []
        at, latest = 0, 0
        while len(octets) - at >= 12:
            kind, size = _BLOCK.unpack_from(octets, at)
            if not kind and not size:  # not written yet
                break
            if not 12 <= size <= _LARGEST:
                self.fault = f"a block of {size} octets at octet {self.position + at}"
                break
            if len(octets) - at < size:
                break
            if kind != _SECTION and not self.head:
                self.fault = f"no section header before the block at octet {self.position + at}"
                break
            if kind in (_SECTION, _INTERFACE):
                self.head += octets[at : at + size]
            elif kind == _PACKET and size >= 32:
                high, low = _TIME.unpack_from(octets, at + 12)
                blocks.append((at, at + size, high << 32 | low))
                latest = max(latest, blocks[-1][2])
            at += size
        try:
            self._sort(octets[:at], blocks)
        except CaptureError as error:
            self.fault = f"{error}, at octet {self.position}"
            return 0
        self.position += at
        return latest

    def _sort(self, octets: bytearray, blocks: list[tuple[int, int, int]]) -> None:
        if not blocks:
            return
        data = self.head + b"".join(octets[first:stop] for first, stop, _ in blocks)
        starts = np.cumsum([len(self.head), *(stop - first for first, stop, _ in blocks)])
        scan = packets.scan(np.frombuffer(bytes(data), np.uint8))
        media = np.zeros(len(blocks) + 1, bool)
        if scan.data.size == len(data):
            places = np.searchsorted(starts, scan.rtp.offset.astype(np.int64), side="right") - 1
            media[places[(places >= 0) & (places < len(blocks))]] = True
        for (first, stop, time_ns), is_media in zip(blocks, media.tolist(), strict=False):
            if is_media:
                self.media.append((time_ns, bytes(octets[first:stop])))
            else:
                self.other += octets[first:stop]

    def octets(self) -> bytes:
        """A capture of what is held."""
        return bytes(self.head + self.other) + b"".join(block for _, block in self.media)


class Spools:
    """What of a call is on the disk. A context manager.

    Raises VolumeError where this host does not reach the folder, or another recorder's is there.
    """

    def __init__(self, going: Going) -> None:
        self._going, self._files = going, dict[str, _File]()
        self.last_ns = 0
        where = f"the spools of a recorder on {going.host} ({going.folder})"
        try:
            self._folder = os.open(Path(going.folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise VolumeError(f"{where} cannot be reached: {error.strerror}") from error
        try:
            if self._text("recorder").strip() != str(going.recorder):
                raise VolumeError(f"{where}: another recorder's are there")
        except OSError as error:
            self.close()
            raise VolumeError(f"{where} cannot be read: {error.strerror}") from error
        except VolumeError:
            self.close()
            raise

    def _text(self, name: str) -> str:
        with os.fdopen(open_beneath(self._folder, name, os.O_RDONLY), "rb") as file:
            return file.read(256).decode("ascii", "replace")

    def __enter__(self) -> Spools:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def read(self, going: Going | None = None) -> None:
        """Take in what is new. Files that are gone were read before, or hold nothing."""
        for name in (going or self._going).files:
            if name not in self._files:
                try:
                    self._files[name] = _File(open_beneath(self._folder, name, os.O_RDONLY | os.O_NONBLOCK))
                except OSError:
                    continue
        for file in self._files.values():
            self.last_ns = max(self.last_ns, file.read())

    @property
    def faults(self) -> list[str]:
        """Why files are read no further."""
        return [f"{name}: {file.fault}" for name, file in self._files.items() if file.fault]

    def forget(self, before_ns: int) -> None:
        """Let go of media before a time."""
        for file in self._files.values():
            file.media = [each for each in file.media if each[0] >= before_ns]

    @property
    def octets(self) -> list[bytes]:
        """A capture of each file that holds anything."""
        return [octets for file in self._files.values() if len(octets := file.octets()) > len(file.head)]

    def call(self, call_id: str) -> Call | None:
        """The call, as far as it came; None where it has no media yet."""
        octets = self.octets
        if not octets:
            return None
        try:
            found = open_capture(_joined(octets) if len(octets) > 1 else octets[0]).calls
        except (CaptureError, ArgumentError):
            return None
        named = [call for call in found if call.description.call_id == call_id]
        return max(named or found, key=lambda call: call.duration_s, default=None)


def _joined(captures: list[bytes]) -> NDArray[np.uint8]:
    """Several spools of a call as one capture, in order of time."""
    from callreplay.packets.recognise import recognise
    from callreplay.splitting.merger import Merger

    sources = []
    for octets in captures:
        data = np.frombuffer(octets, np.uint8)
        found = recognise(data, "a spool")
        sources.append((data, found.number, found.options))
    out = np.empty(sum(map(len, captures)) + 4096, np.uint8)
    merger, used = Merger(sources), 0
    while taken := merger.take(out[used:]):
        used += taken
    return out[:used]


def archive(spools: Spools) -> Iterator[bytes]:
    """The packets so far, as a zip archive with a capture for each spool."""
    spools.read()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as out:
        for number, octets in enumerate(spools.octets, 1):
            out.writestr(f"so-far-{number}.pcapng", octets)
    yield held.getvalue()


def follow(
    spools: Spools,
    call_id: str,
    options: Options,
    look: Callable[[], Going | None],
) -> Iterator[bytes]:
    """A WAV of unknown length: the call from its beginning (or ``start``), then on as it goes on, to its end.

    ``look`` says where it is recorded, None once it is over. Now and then gives no octets, for who wants to end it.
    Where a spool is damaged the audio ends with what was read before; the log has the reason.
    Raises ArgumentError for options that need the whole call.
    """
    if options.mastered:
        raise ArgumentError("loudness: of a call that goes on it is not known yet")
    stage: _Stage | None = None
    while True:
        going = look()
        spools.read(going)
        for fault in spools.faults:
            _log.warning("call %s: the audio of a call that goes on ends early: %s", call_id, fault)
        ended = going is None or going.gone or bool(spools.faults)
        edge_ns = spools.last_ns + 1 if going is None or going.gone else going.clock_ns - _MARGIN_NS
        call = spools.call(call_id)
        if call is not None:
            if stage is None:
                stage = _Stage(call, options)
                yield stage.head()
            yield from stage.upto(call, edge_ns, ended=ended)
            spools.forget(stage.position_ns - _KEPT_NS)
            ended = ended or stage.is_whole
        if ended:
            return
        yield b""
        time.sleep(_WAIT_SECONDS)


class _Stage:
    """How far the audio has come: frames from the call's first packet on."""

    def __init__(self, call: Call, options: Options) -> None:
        self._options = fit_options(format_of("wav"), options, call.sample_rate_hz)
        self._rate = self._options.rate or 8000
        self._origin_ns = call.bounds[0]
        self._position = round(self._options.start * self._rate)
        self._stop = None if options.end is None else round(options.end * self._rate)
        self._encoding = _WAV_ENCODINGS[self._options.sample_format]

    @property
    def position_ns(self) -> int:
        """Absolute, of the next frame."""
        return self._origin_ns + self._position * 10**9 // self._rate

    @property
    def is_whole(self) -> bool:
        """Whether all that was asked for is there."""
        return self._stop is not None and self._position >= self._stop

    def head(self) -> bytes:
        width = 2 if self._options.channels == "stereo" else 1
        made = bytearray(_core.wav_header(self._encoding, self._rate, width, 0))
        made[4:8] = made[-4:] = _ENDLESS
        return bytes(made)

    def upto(self, call: Call, edge_ns: int, *, ended: bool) -> Iterator[bytes]:
        """The audio up to a time; where the call has ended, up to its own end."""
        call.refuse_encrypted()
        # A packet whose clock was wrong moves the recorder's: no call is quiet for longer and goes on.
        edge_ns = call.bounds[1] if ended else min(edge_ns, call.bounds[1] + _QUIETEST_NS)
        frame = (edge_ns - self._origin_ns) * self._rate // 10**9
        if self._stop is not None:
            frame = min(frame, self._stop)
        if frame <= self._position:
            return
        channels: Channels = self._options.channels  # type: ignore[assignment]  # Options has checked it
        renderer = Renderer(
            [leg.columns for leg in call.legs],
            self._rate,
            channels,
            self._position / self._rate,
            frame / self._rate,
            self._options.dtmf,  # type: ignore[arg-type]
            events=[leg.events for leg in call.legs],
            origin_ns=self._origin_ns,
            stop_ns=max(edge_ns, self._origin_ns + (frame + 1) * 10**9 // self._rate),
            external=[leg.external() for leg in call.legs],
            concealment=self._options.concealment,  # type: ignore[arg-type]
        )
        self._position = frame
        for block in renderer:
            yield self._encoded(block)

    def _encoded(self, block: NDArray[np.int16]) -> bytes:
        flat = np.ascontiguousarray(block).reshape(-1)
        octets = np.empty(flat.size * (2 if self._encoding == 0 else 1), np.uint8)
        _core.wav_encode(self._encoding, flat, octets)
        return octets.tobytes()
