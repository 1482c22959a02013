"""What shapes an output: one set of names for the API, the command line and the URLs."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypedDict

from callreplay.errors import ArgumentError
from callreplay.outputs.ink import PictureOptions

__all__ = ["CHANNELS", "Channels", "OptionValues", "Options"]

Channels = Literal["mono", "stereo", "caller", "called"]
CHANNELS: Final = ("mono", "stereo", "caller", "called")


_WHOLE: Final = (
    "rate", "quality", "bitrate", "width", "height", "samples_per_pixel", "bits", "peaks_version"
)  # fmt: skip


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, not {value!r}") from None


def _number(name: str, value: Any, unit: str = "seconds") -> float:
    try:
        return float(+value)  # float() alone would read texts too
    except (TypeError, OverflowError):
        raise ArgumentError(f"{name} must be a number of {unit}, not {value!r}") from None


class OptionValues(TypedDict, total=False):
    """The fields of ``Options`` as keywords, for type checkers: a wrong name or value fails before anything runs."""

    channels: Literal["", "mono", "stereo", "caller", "called"]
    rate: int
    start: float
    end: float | None
    dtmf: Literal["tone", "mute"]
    concealment: Literal["exact", "best"]
    limiter: bool
    loudness: float | None
    loudness_by: Literal["mix", "leg"]
    sample_format: Literal["int16", "ulaw", "alaw"]
    quality: int
    vbr: bool
    vad: bool
    dtx: bool
    segments: bool
    bitrate: int
    width: int
    height: int
    theme: Literal["light", "dark", "transparent"]
    background: str
    caller_color: str
    called_color: str
    axis: bool | None
    labels: tuple[str, ...]
    spectrogram: bool
    samples_per_pixel: int
    bits: Literal[8, 16]
    peaks_version: Literal[1, 2]
    metadata: bool
    title: str


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that shapes an output. The same names serve the CLI, the API and the URLs.

    Sound. ``channels``: mono (both legs added), stereo (caller left, called right), caller or called alone; empty
    means the format's own default (stereo for pictures and peaks, mono for sound). ``rate``: output sample rate in
    Hz, 8000 to 48000, 0 for the legs' own (8000 or 16000). ``start``, ``end``: seconds from the start of the call;
    ``end`` None is its end. ``dtmf``: tone sounds RFC 4733 digits, mute leaves their time silent. ``concealment``:
    for lost G.729 frames exact is the standard's, best bridges them from both sides as the losses of other codecs
    are. ``limiter`` keeps true peaks below -1 dBTP; ``loudness`` is what the mix, or with ``loudness_by`` leg each
    leg, is brought to, in LUFS (-70 to 0): such as -23. ``sample_format``: of wav: int16, ulaw or alaw. ``quality``
    (0 to 10), ``vbr``, ``vad``, ``dtx``: of spx; ``segments``: a long call is coded by several lanes at once.
    ``bitrate``: of mp3, opus, m4a: bits per second, 0 for the codec's default. ``metadata``: the file says when the
    call was, between whom, and its title; False leaves it bare. ``title``: instead of its own.

    Pictures. ``width``, ``height``: pixels, 16 to 16384. ``theme``: light, dark or transparent; ``background``,
    ``caller_color``, ``called_color``: ``#rrggbb``, empty for the theme's. ``axis``: times below; None where there is
    room. ``labels``: the speakers' names, caller first. ``spectrogram``: frequencies instead of the waveform.

    Peaks. ``samples_per_pixel``: 1 to 16777216. ``bits``: 8 or 16. ``peaks_version``: 1 or 2 of audiowaveform's format.
    """

    channels: str = ""
    rate: int = 0
    start: float = 0.0
    end: float | None = None
    dtmf: str = "mute"
    concealment: str = "exact"
    limiter: bool = False
    loudness: float | None = None
    loudness_by: str = "mix"
    sample_format: str = "int16"  # wav: int16, ulaw or alaw
    quality: int = 8  # spx: 0 to 10
    vbr: bool = False  # spx
    vad: bool = False  # spx
    dtx: bool = False  # spx
    segments: bool = True  # spx: a long call is coded by several lanes at once
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
    peaks_version: int = 2  # json, dat: 1 or 2
    metadata: bool = True
    title: str = field(default="")  # spx and the formats of PyAV: a comment in the file

    def __post_init__(self) -> None:
        """Check the values that no later stage checks: ArgumentError names the parameter.

        Numbers of other types, such as NumPy's, become int (only whole ones) and float.
        """
        for name in _WHOLE:
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        object.__setattr__(self, "start", _number("start", self.start))
        if self.end is not None:
            object.__setattr__(self, "end", _number("end", self.end))
        if self.channels and self.channels not in CHANNELS:
            raise ArgumentError(f"channels must be one of {', '.join(CHANNELS)}, not {self.channels!r}")
        if self.rate and not 8000 <= self.rate <= 48000:
            raise ArgumentError(f"rate must be 8000 to 48000 Hz, not {self.rate}")
        if not 0 <= self.start < float("inf") or (self.end is not None and not self.end > self.start):
            raise ArgumentError(
                f"start and end must be seconds with 0 <= start < end, not {self.start} and {self.end}"
            )
        if self.dtmf not in ("tone", "mute"):
            raise ArgumentError(f"dtmf must be tone or mute, not {self.dtmf!r}")
        if self.concealment not in ("exact", "best"):
            raise ArgumentError(f"concealment must be exact or best, not {self.concealment!r}")
        if self.loudness is not None:
            object.__setattr__(self, "loudness", _number("loudness", self.loudness, "LUFS"))
            if not -70 <= self.loudness <= 0:
                raise ArgumentError(f"loudness must be -70 to 0 LUFS, not {self.loudness}")
        if self.loudness_by not in ("mix", "leg"):
            raise ArgumentError(f"loudness_by must be mix or leg, not {self.loudness_by!r}")
        if self.sample_format not in ("int16", "ulaw", "alaw"):
            raise ArgumentError(f"sample_format must be int16, ulaw or alaw, not {self.sample_format!r}")
        if not 0 <= self.quality <= 10:
            raise ArgumentError(f"quality must be 0 to 10, not {self.quality}")
        if not 1 <= self.samples_per_pixel <= 1 << 24:
            raise ArgumentError(f"samples_per_pixel must be 1 to {1 << 24}, not {self.samples_per_pixel}")
        if self.bits not in (8, 16):
            raise ArgumentError(f"bits must be 8 or 16, not {self.bits}")
        if self.peaks_version not in (1, 2):
            raise ArgumentError(f"peaks_version must be 1 or 2, not {self.peaks_version}")
        if self.bitrate and not 500 <= self.bitrate <= 1_000_000:
            raise ArgumentError(f"bitrate must be 500 to 1000000 bits per second, not {self.bitrate}")
        self.picture()

    @classmethod
    def of(cls, values: dict[str, Any]) -> Options:
        """Options from keyword arguments; ArgumentError for a name that does not exist."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ArgumentError(f"unknown option {', '.join(sorted(unknown))}")
        return cls(**values)

    @property
    def mastered(self) -> bool:
        """Whether the mix is more than the legs' sum."""
        return self.limiter or self.loudness is not None

    def picture(self) -> PictureOptions:
        """The part that a picture needs."""
        names = ("width", "height", "theme", "background", "caller_color", "called_color", "axis", "labels")
        return PictureOptions(**{name: getattr(self, name) for name in names})
