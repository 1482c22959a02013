"""Output formats: what each is called, and how blocks of PCM become its bytes.

Every format is a sink: blocks in, the file's bytes out, in order and without seeking, so the same code writes files,
fills HTTP responses, feeds pipes and serves many calls at once. The length of a call is known before its first sample
is decoded, so a WAV header is right from the start.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError, UnsupportedError
from callreplay.outputs.options import Channels, Options
from callreplay.outputs.tags import comment_text, flac_with_length, wav_with_tags

if TYPE_CHECKING:  # pictures, which most outputs are not, are loaded when one is made
    from callreplay.outputs.waveform import Marks

__all__ = [
    "FORMATS",
    "Format",
    "Pool",
    "PooledSink",
    "Shape",
    "Sink",
    "fit_options",
    "format_of",
    "render",
    "suffix_of",
]


FormatName = Literal["wav", "spx", "png", "peaks", "json", "dat", "mp3", "opus", "flac", "m4a"]
"""What ``format_of`` knows."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of an output before its first sample: length, channels, rate, and what a file may say of itself.

    ``marks`` is asked only by formats that draw them. ``start_ns``: the absolute time of the first frame, 0 where that
    is not known. Without ``comments`` a file says nothing of itself.
    """

    frames: int
    channels: int
    rate_hz: int
    comments: dict[str, str] = field(default_factory=dict)
    marks: Callable[[], Sequence[Marks]] = tuple
    start_ns: int = 0


Data = bytes | memoryview


class Sink(Protocol):
    """Takes blocks of PCM and gives the file's bytes as they come to be, in order; ``b""`` where none are ready."""

    def write(self, block: NDArray[np.int16]) -> Data:
        """Take the next block: int16, (n,) or (n, channels). What it gives may be a view of the block."""
        ...

    def finish(self) -> bytes:
        """The rest of the file. Call it once, after the last block."""
        ...


class PooledSink(Sink, Protocol):
    """A sink whose work can be put off, to be done for many files at once."""

    def push(self, block: NDArray[np.int16]) -> None:
        """Take the next block, as ``write``."""
        ...

    def end(self) -> None:
        """The last block was taken."""
        ...


class Pool(Protocol):
    """Does the work of many pooled sinks at once, a file per lane."""

    def encode(self, sinks: Sequence[Any], /) -> list[bytes]:
        """The bytes that each sink has ready; the rest of the file of one that has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """One output format. ``default_channels`` when the caller names none; ``rates`` it can hold, empty: any.

    ``pool`` for a format whose files are made faster together; its sinks are then ``PooledSink``s.
    """

    name: FormatName
    suffixes: tuple[str, ...]
    media_type: str
    open: Callable[[Shape, Options], Sink]
    default_channels: Channels = "mono"
    mono_only: bool = False
    rates: tuple[int, ...] = ()
    pool: Callable[[], Pool] | None = None


_WAV_ENCODINGS: Final = {"int16": 0, "ulaw": 1, "alaw": 2}


class _Wav:
    """WAV, or RF64 above 4 GiB. The length is known, so the header is right at once."""

    def __init__(self, shape: Shape, options: Options) -> None:
        self._encoding = _WAV_ENCODINGS[options.sample_format]
        head = _core.wav_header(self._encoding, shape.rate_hz, shape.channels, shape.frames)
        self._head = wav_with_tags(head, shape.comments, shape.start_ns, shape.rate_hz, shape.channels)
        self._odd = self._encoding != 0 and shape.frames * shape.channels % 2 == 1

    def write(self, block: NDArray[np.int16]) -> Data:
        flat = np.ascontiguousarray(block).reshape(-1)
        if self._encoding == 0 and sys.byteorder == "little":
            data = flat.view(np.uint8).data
        else:
            octets = np.empty(flat.size * (2 if self._encoding == 0 else 1), np.uint8)
            _core.wav_encode(self._encoding, flat, octets)
            data = octets.data
        head, self._head = self._head, b""
        return head + data if head else data

    def finish(self) -> bytes:
        # RIFF chunks are padded to even length.
        return self._head + (b"\0" if self._odd else b"")


def _spx(shape: Shape, options: Options) -> Sink:
    from callreplay.outputs.speex import OggSpeexWriter

    return OggSpeexWriter(
        shape.rate_hz,
        quality=options.quality,
        vbr=options.vbr,
        vad=options.vad,
        dtx=options.dtx,
        comments=shape.comments,
        segments=options.segments,
    )


def _spx_pool() -> Pool:
    from callreplay.outputs.speex import SpeexBatch

    return SpeexBatch()


class _Waveform:
    """PNG of the waveform, drawn from peaks gathered in one pass."""

    def __init__(self, shape: Shape, options: Options) -> None:
        from callreplay.outputs.peaks import Peaks
        from callreplay.outputs.waveform import columns_per_pixel

        self._shape, self._picture = shape, options.picture()
        columns = self._picture.width * columns_per_pixel(shape.frames, self._picture.width)
        self._peaks = Peaks.fit(shape.channels, shape.frames, columns)

    def write(self, block: NDArray[np.int16]) -> bytes:
        self._peaks.write(block)
        return b""

    def finish(self) -> bytes:
        from callreplay.outputs.waveform import waveform_png

        duration_s = self._shape.frames / self._shape.rate_hz
        return waveform_png(self._peaks, duration_s, self._picture, self._shape.marks())


class _Spectrogram:
    """PNG of the spectrogram."""

    def __init__(self, shape: Shape, options: Options) -> None:
        from callreplay.outputs.spectrogram import Spectrogram

        self._spectrogram = Spectrogram(shape.channels, shape.frames, shape.rate_hz, options.picture())

    def write(self, block: NDArray[np.int16]) -> bytes:
        self._spectrogram.write(block)
        return b""

    def finish(self) -> bytes:
        return self._spectrogram.png()


def _png(shape: Shape, options: Options) -> Sink:
    return _Spectrogram(shape, options) if options.spectrogram else _Waveform(shape, options)


class _PeaksFile:
    """Waveform data, JSON or binary."""

    def __init__(self, shape: Shape, options: Options, binary: bool) -> None:
        self._rate_hz, self._version, self._binary = shape.rate_hz, options.peaks_version, binary
        self._bits: Literal[8, 16] = 8 if options.bits == 8 else 16
        from callreplay.outputs.peaks import Peaks

        self._peaks = Peaks(shape.channels, options.samples_per_pixel)

    def write(self, block: NDArray[np.int16]) -> bytes:
        self._peaks.write(block)
        return b""

    def finish(self) -> bytes:
        if self._binary:
            return self._peaks.to_dat(self._rate_hz, version=self._version, bits=self._bits)
        return self._peaks.to_json(self._rate_hz, version=self._version, bits=self._bits).encode() + b"\n"


def _json(shape: Shape, options: Options) -> Sink:
    return _PeaksFile(shape, options, binary=False)


def _dat(shape: Shape, options: Options) -> Sink:
    return _PeaksFile(shape, options, binary=True)


class _Outbox(io.RawIOBase):
    """A write-only file that hands on what PyAV writes. It cannot seek, so containers stay streamable."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class _AvFile:
    """A file that PyAV encodes."""

    def __init__(
        self, shape: Shape, options: Options, container: str, codec: str, flags: dict[str, str]
    ) -> None:
        try:
            import av
        except ImportError as error:
            raise UnsupportedError("this format needs PyAV: pip install 'callreplay[av]'") from error
        self._frame: Any = av.AudioFrame
        self._rate_hz, self._position = shape.rate_hz, 0
        self._layout = "stereo" if shape.channels == 2 else "mono"
        self._outbox = _Outbox()
        self._file: Any = av.open(self._outbox, "w", format=container, container_options=flags)
        comments = shape.comments
        if container == "ipod" and comments:
            # MP4 has no names of ours, and drops what it does not know.
            known = {name: text for name in ("TITLE", "DATE") if (text := comments.get(name))}
            comments = {**known, "COMMENT": comment_text(comments)}
        for key, value in comments.items():
            self._file.metadata[key.lower()] = value
        stream: Any = self._file.add_stream(codec, rate=shape.rate_hz, layout=self._layout)
        if options.bitrate:
            stream.bit_rate = options.bitrate
            try:
                stream.codec_context.open()
            except av.error.FFmpegError as error:
                raise ArgumentError(f"bitrate {options.bitrate} is none that {codec} can have") from error
        self._stream = stream

    def write(self, block: NDArray[np.int16]) -> bytes:
        from fractions import Fraction

        frame = self._frame.from_ndarray(block.reshape(1, -1), format="s16", layout=self._layout)
        frame.sample_rate, frame.time_base = self._rate_hz, Fraction(1, self._rate_hz)
        frame.pts = self._position
        self._position += frame.samples
        for packet in self._stream.encode(frame):
            self._file.mux(packet)
        return self._outbox.take()

    def finish(self) -> bytes:
        if self._position == 0:
            # Containers write their header with the first packet: without any the file would be no file of its kind.
            silence = np.zeros((self._rate_hz // 50, 2 if self._layout == "stereo" else 1), np.int16)
            return self.write(silence) + self.finish()
        for packet in self._stream.encode(None):
            self._file.mux(packet)
        self._file.close()
        return self._outbox.take()


class _Flac(_AvFile):
    """FLAC whose header has the length, which is known: else nobody can say how long the file is, or seek in it."""

    _HEADER = 42

    def __init__(self, shape: Shape, options: Options) -> None:
        super().__init__(shape, options, "flac", "flac", {})
        self._head: bytes | None = b""
        self._frames = shape.frames or shape.rate_hz // 50  # as _AvFile.finish makes of nothing

    def _with_length(self, data: bytes) -> bytes:
        if self._head is None:
            return data
        self._head += data
        if len(self._head) < self._HEADER:
            return b""
        data, self._head = flac_with_length(self._head, self._frames), None
        return data

    def write(self, block: NDArray[np.int16]) -> bytes:
        return self._with_length(super().write(block))

    def finish(self) -> bytes:
        return self._with_length(super().finish())


def _av(container: str, codec: str, **flags: str) -> Callable[[Shape, Options], Sink]:
    return lambda shape, options: _AvFile(shape, options, container, codec, flags)


_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

FORMATS: Final[dict[str, Format]] = {
    f.name: f
    for f in (
        Format("wav", (".wav",), "audio/wav", _Wav),
        Format("spx", (".spx",), "audio/ogg", _spx, mono_only=True, rates=(8000, 16000), pool=_spx_pool),
        Format("png", (".png",), "image/png", _png, default_channels="stereo"),
        Format("peaks", (".json",), "application/json", _json, default_channels="stereo"),
        Format("dat", (".dat",), "application/octet-stream", _dat, default_channels="stereo"),
        Format("mp3", (".mp3",), "audio/mpeg", _av("mp3", "libmp3lame"), rates=_RATES),
        Format(
            "opus",
            (".opus", ".ogg"),
            "audio/ogg",
            # Else the stream's serial number would be random: the same call must give the same bytes.
            _av("ogg", "libopus", fflags="+bitexact"),
            rates=(8000, 12000, 16000, 24000, 48000),
        ),
        Format("flac", (".flac",), "audio/flac", _Flac),
        Format(
            "m4a",
            (".m4a",),
            "audio/mp4",
            _av("ipod", "aac", movflags="frag_keyframe+empty_moov"),
            rates=_RATES,
        ),
    )
}
"""By name. ``peaks`` is the name of the waveform data that ``x.json`` gets."""


def format_of(name: str = "", path: str | os.PathLike[str] | None = None) -> Format:
    """The format called ``name`` (``json`` is an alias of ``peaks``), or else the one of the path's suffix."""
    if name:
        found = FORMATS.get({"json": "peaks"}.get(name, name))
        if found is None:
            raise ArgumentError(f"format must be one of {', '.join(FORMATS)}, not {name!r}")
        return found
    suffix = suffix_of(path) if path is not None else ""
    for candidate in FORMATS.values():
        if suffix in candidate.suffixes:
            return candidate
    raise ArgumentError(f"no format has the suffix {suffix!r}; name one of {', '.join(FORMATS)}")


def suffix_of(path: str | os.PathLike[str]) -> str:
    """What a file's name ends with, in lower case: ``.wav``; '' where it has no suffix."""
    stem, _, suffix = os.path.basename(os.fspath(path).rstrip("/")).rpartition(".")  # noqa: PTH119
    return f".{suffix.lower()}" if stem and suffix else ""


def fit_options(form: Format, options: Options, native_rate_hz: int) -> Options:
    """Options with the blanks filled in for this format and call: channels and a rate the format can hold."""
    before = _before.get(native_rate_hz)
    if before is not None and before[0] is form and before[1] is options:
        return before[2]
    fitted = _fitted(form, options, native_rate_hz)
    if len(_before) >= _MOST_RATES:  # captures may name any
        _before.clear()
    _before[native_rate_hz] = form, options, fitted
    return fitted


_MOST_RATES: Final = 64
_before: Final[dict[int, tuple[Format, Options, Options]]] = {}
"""What was asked last, by the calls' own rate: a batch asks the same for every call."""


def _fitted(form: Format, options: Options, native_rate_hz: int) -> Options:
    channels = options.channels or form.default_channels
    if form.mono_only and channels == "stereo":
        raise ArgumentError(f"{form.name} holds one channel: channels must be mono, caller or called")
    rate = options.rate or native_rate_hz
    if form.rates and rate not in form.rates:
        if options.rate:
            raise ArgumentError(
                f"{form.name} cannot hold rate {rate}; it takes {', '.join(map(str, form.rates))}"
            )
        rate = min((r for r in form.rates if r >= rate), default=form.rates[-1])
    return replace(options, channels=channels, rate=rate)


def render(
    form: Format, shape: Shape, blocks: Iterable[NDArray[np.int16]], options: Options
) -> Iterator[Data]:
    """The bytes of the file, in order, as they come to be. Options must have been through ``fit_options``."""
    sink = form.open(shape, options)
    for block in blocks:
        if data := sink.write(block):
            yield data
    if data := sink.finish():
        yield data
