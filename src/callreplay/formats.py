"""Output formats: what each is called, and how blocks of PCM become its bytes.

Every format is a generator: it is given what to render and yields the file's bytes in order, without seeking, so the
same code writes files, fills HTTP responses and feeds pipes. The length of a call is known before its first sample is
decoded, so a WAV header is right from the start.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import PurePath
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import ArgumentError, UnsupportedError
from callreplay.peaks import Peaks
from callreplay.raster import Mark, PictureOptions, Spectrogram, columns_per_pixel, waveform_png

__all__ = ["FORMATS", "Format", "Options", "Rendering", "fit_options", "format_of", "render"]

Channels = Literal["mono", "stereo", "caller", "called"]
CHANNELS: Final = ("mono", "stereo", "caller", "called")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that shapes an output. The same names serve the CLI, the API and the URLs.

    ``channels``: mono (both legs added), stereo (caller left, called right), caller or called alone; empty means the
    format's own default (stereo for pictures and peaks, mono for sound). ``rate``: output sample rate in Hz, 0 for
    the legs' own (8000 or 16000). ``start``, ``end``: seconds from the start of the call; ``end`` None is its end.
    ``dtmf``: ``tone`` sounds RFC 4733 digits, ``mute`` leaves their time silent.
    """

    channels: str = ""
    rate: int = 0
    start: float = 0.0
    end: float | None = None
    dtmf: str = "mute"
    sample_format: str = "int16"  # wav: int16, ulaw or alaw
    quality: int = 8  # spx: 0 to 10
    vbr: bool = False  # spx
    dtx: bool = False  # spx
    bitrate: int = 0  # mp3, opus, m4a: bits per second, 0 for the codec's default
    width: int = 1000  # png
    height: int = 200
    theme: str = "light"
    background: str = ""
    caller_color: str = ""
    called_color: str = ""
    axis: bool | None = None
    labels: tuple[str, ...] = ()
    spectrogram: bool = False
    samples_per_pixel: int = 256  # json, dat
    bits: int = 16  # json, dat: 8 or 16
    version: int = 2  # json, dat: 1 or 2
    title: str = field(default="")  # spx and the formats of PyAV: a comment in the file

    def __post_init__(self) -> None:
        """Check the values that no later stage checks: ArgumentError names the parameter."""
        if self.channels and self.channels not in CHANNELS:
            raise ArgumentError(f"channels must be one of {', '.join(CHANNELS)}, not {self.channels!r}")
        if self.rate and not 4000 <= self.rate <= 48000:
            raise ArgumentError(f"rate must be 4000 to 48000 Hz, not {self.rate}")
        if not 0 <= self.start < float("inf") or (self.end is not None and not self.end > self.start):
            raise ArgumentError(
                f"start and end must be seconds with 0 <= start < end, not {self.start} and {self.end}"
            )
        if self.dtmf not in ("tone", "mute"):
            raise ArgumentError(f"dtmf must be tone or mute, not {self.dtmf!r}")
        if self.sample_format not in ("int16", "ulaw", "alaw"):
            raise ArgumentError(f"sample_format must be int16, ulaw or alaw, not {self.sample_format!r}")
        if not 0 <= self.quality <= 10:
            raise ArgumentError(f"quality must be 0 to 10, not {self.quality}")
        if not 1 <= self.samples_per_pixel <= 1 << 24:
            raise ArgumentError(f"samples_per_pixel must be 1 to {1 << 24}, not {self.samples_per_pixel}")
        if self.bits not in (8, 16):
            raise ArgumentError(f"bits must be 8 or 16, not {self.bits}")
        if self.version not in (1, 2):
            raise ArgumentError(f"version must be 1 or 2, not {self.version}")
        self.picture()

    @classmethod
    def of(cls, values: dict[str, Any]) -> Options:
        """Options from keyword arguments; ArgumentError for a name that does not exist."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ArgumentError(f"unknown option {', '.join(sorted(unknown))}")
        return cls(**values)

    def picture(self) -> PictureOptions:
        """The part that a picture needs."""
        names = ("width", "height", "theme", "background", "caller_color", "called_color", "axis", "labels")
        return PictureOptions(**{name: getattr(self, name) for name in names})


class Rendering(Protocol):
    """A call prepared for output: total length known, PCM made block by block as it is pulled."""

    frames: int
    channels: int
    rate_hz: int
    comments: dict[str, str]
    marks: list[Mark]

    def __iter__(self) -> Iterator[NDArray[np.int16]]: ...


@dataclass(frozen=True, slots=True)
class Format:
    """One output format. ``default_channels`` when the caller names none; ``extra`` the extra it needs."""

    name: str
    suffixes: tuple[str, ...]
    media_type: str
    write: Callable[[Rendering, Options], Iterator[bytes]]
    default_channels: Channels = "mono"
    mono_only: bool = False
    extra: str = ""
    rates: tuple[int, ...] = ()  # the sample rates it can hold; empty: any


def _wav(rendering: Rendering, options: Options) -> Iterator[bytes]:
    from callreplay.encode import wav_stream

    yield from wav_stream(
        rendering,
        rendering.frames,
        rendering.channels,
        rendering.rate_hz,
        sample_format=options.sample_format,
    )


def _spx(rendering: Rendering, options: Options) -> Iterator[bytes]:
    from callreplay.speex import OggSpeexWriter

    writer = OggSpeexWriter(
        rendering.rate_hz,
        quality=options.quality,
        vbr=options.vbr,
        dtx=options.dtx,
        comments=rendering.comments,
    )
    for block in rendering:
        if pages := writer.write(block):
            yield pages
    yield writer.finish()


def _png(rendering: Rendering, options: Options) -> Iterator[bytes]:
    picture = options.picture()
    if options.spectrogram:
        spectrogram = Spectrogram(rendering.channels, rendering.frames, rendering.rate_hz, picture)
        for block in rendering:
            spectrogram.write(block)
        yield spectrogram.png()
        return
    per_pixel = columns_per_pixel(rendering.frames, picture.width)
    peaks = Peaks.fit(rendering.channels, rendering.frames, picture.width * per_pixel)
    for block in rendering:
        peaks.write(block)
    yield waveform_png(peaks, rendering.frames / rendering.rate_hz, picture, rendering.marks)


def _peaks_of(rendering: Rendering, options: Options) -> Peaks:
    peaks = Peaks(rendering.channels, options.samples_per_pixel)
    for block in rendering:
        peaks.write(block)
    return peaks


def _json(rendering: Rendering, options: Options) -> Iterator[bytes]:
    bits: Literal[8, 16] = 8 if options.bits == 8 else 16
    peaks = _peaks_of(rendering, options)
    yield peaks.to_json(rendering.rate_hz, version=options.version, bits=bits).encode() + b"\n"


def _dat(rendering: Rendering, options: Options) -> Iterator[bytes]:
    bits: Literal[8, 16] = 8 if options.bits == 8 else 16
    yield _peaks_of(rendering, options).to_dat(rendering.rate_hz, version=options.version, bits=bits)


class _Outbox(io.RawIOBase):
    """A write-only file that hands on what PyAV writes. It cannot seek, so containers stay streamable."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self.parts)
        self.parts.clear()
        return taken


def _av_module() -> Any:
    try:
        import av
    except ImportError as error:
        raise UnsupportedError("this format needs PyAV: pip install 'callreplay[av]'") from error
    return av


def _av_writer(
    container: str, codec: str, container_options: dict[str, str] | None = None
) -> Callable[..., Any]:
    def write(rendering: Rendering, options: Options) -> Iterator[bytes]:
        av = _av_module()
        outbox = _Outbox()
        with av.open(outbox, "w", format=container, container_options=container_options or {}) as out:
            for key, value in rendering.comments.items():
                out.metadata[key.lower()] = value
            layout = "stereo" if rendering.channels == 2 else "mono"
            stream = out.add_stream(codec, rate=rendering.rate_hz, layout=layout)
            if options.bitrate:
                stream.bit_rate = options.bitrate
            position, tick = 0, Fraction(1, rendering.rate_hz)
            for block in rendering:
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout=layout)
                frame.sample_rate = rendering.rate_hz
                frame.pts, frame.time_base = position, tick
                position += frame.samples
                for packet in stream.encode(frame):
                    out.mux(packet)
                if outbox.parts:
                    yield outbox.take()
            for packet in stream.encode(None):
                out.mux(packet)
        yield outbox.take()

    return write


FORMATS: Final[dict[str, Format]] = {
    f.name: f
    for f in (
        Format("wav", (".wav",), "audio/wav", _wav),
        Format("spx", (".spx",), "audio/ogg", _spx, mono_only=True, rates=(8000, 16000)),
        Format("png", (".png",), "image/png", _png, default_channels="stereo"),
        Format("peaks", (".json",), "application/json", _json, default_channels="stereo"),
        Format("dat", (".dat",), "application/octet-stream", _dat, default_channels="stereo"),
        Format("mp3", (".mp3",), "audio/mpeg", _av_writer("mp3", "libmp3lame"), extra="av",
               rates=(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
        Format("opus", (".opus", ".ogg"), "audio/ogg", _av_writer("ogg", "libopus"), extra="av",
               rates=(8000, 12000, 16000, 24000, 48000)),
        Format("flac", (".flac",), "audio/flac", _av_writer("flac", "flac"), extra="av"),
        Format("m4a", (".m4a",), "audio/mp4",
               _av_writer("ipod", "aac", {"movflags": "frag_keyframe+empty_moov"}), extra="av"),
    )
}  # fmt: skip
"""By name. ``peaks`` is the name of the waveform data that ``x.json`` gets."""


def format_of(name: str = "", path: str | PurePath | None = None) -> Format:
    """The format called ``name`` (``json`` is an alias of ``peaks``), or else the one of the path's suffix."""
    if name:
        found = FORMATS.get({"json": "peaks"}.get(name, name))
        if found is None:
            raise ArgumentError(f"format must be one of {', '.join(FORMATS)}, not {name!r}")
        return found
    suffix = PurePath(path).suffix.lower() if path is not None else ""
    for candidate in FORMATS.values():
        if suffix in candidate.suffixes:
            return candidate
    raise ArgumentError(f"no format has the suffix {suffix!r}; name one of {', '.join(FORMATS)}")


def fit_options(form: Format, options: Options, native_rate_hz: int) -> Options:
    """Options with the blanks filled in for this format and call: channels and a rate the format can hold."""
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


def render(form: Format, rendering: Rendering, options: Options) -> Iterator[bytes]:
    """The bytes of the file, in order, as they come to be. Options must have been through ``fit_options``."""
    yield from form.write(rendering, options)
