"""What shapes an output: one set of names for the API, the command line and the URLs.

An option is a field of ``Options``: its default and its row (``callreplay.parameters``) stand there, and nowhere else.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, Literal

from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.outputs.ink import PictureOptions
from callreplay.outputs.option_rows import (
    OptionRow,
    choice,
    colour,
    flag,
    level,
    names,
    seconds,
    text,
    whole,
)
from callreplay.parameters import rows_of

__all__ = ["CHANNELS", "ROWS", "Channels", "Options"]

Channels = Literal["mono", "stereo", "caller", "called"]
CHANNELS: Final = ("mono", "stereo", "caller", "called")
_SOUND: Final = "Sound"
_PICTURE: Final = "Picture"
_PEAKS: Final = "Peaks"


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that shapes an output. The same names serve the CLI, the API and the URLs."""

    channels: str = choice(
        "",
        "mono (both legs added), stereo (caller left, called right), caller or called alone; not given: the format's "
        "own, stereo for pictures and peaks, mono for sound.",
        *CHANNELS,
        panel=_SOUND,
    )
    rate: int = whole(
        0,
        "Output sample rate in Hz; 0: the legs' own (8000 or 16000).",
        8000,
        48000,
        or_zero=True,
        unit="Hz",
        panel=_SOUND,
        example="16000",
    )
    start: float = seconds(0.0, "From here: seconds from the start of the call.", panel=_SOUND, example="2.5")
    end: float | None = seconds(
        None, "To here: seconds from the start of the call; not given: its end.", panel=_SOUND, example="30"
    )
    dtmf: str = choice(
        "mute",
        "RFC 4733 digits: tone sounds them, mute leaves their time silent.",
        "tone",
        "mute",
        panel=_SOUND,
    )
    concealment: str = choice(
        "exact",
        "Lost G.729 frames: exact is as the standard says, best bridges them from both sides as the losses of other "
        "codecs are.",
        "exact",
        "best",
        panel=_SOUND,
    )
    limiter: bool = flag(False, "Keep true peaks below -1 dBTP instead of clipping.", panel=_SOUND)
    loudness: float | None = level(
        None, "Bring the sound to this loudness, LUFS (ITU-R BS.1770, -70 to 0).", panel=_SOUND, example="-23"
    )
    loudness_by: str = choice(
        "mix", "What is brought to that loudness: the mix, or each leg by itself.", "mix", "leg", panel=_SOUND
    )
    sample_format: str = choice(
        "int16", "wav: int16, ulaw or alaw samples.", "int16", "ulaw", "alaw", panel=_SOUND
    )
    quality: int = whole(8, "spx: 0 to 10.", 0, 10, panel=_SOUND, example="6")
    vbr: bool = flag(False, "spx: variable bit rate.", panel=_SOUND)
    vad: bool = flag(False, "spx: only describe background noise.", panel=_SOUND)
    dtx: bool = flag(False, "spx: send next to nothing in silence.", panel=_SOUND)
    segments: bool = flag(
        True, "spx: code a call of a minute or more by several lanes at once.", panel=_SOUND
    )
    bitrate: int = whole(
        0,
        "mp3, opus, m4a: bits per second; 0: the codec's default.",
        500,
        1_000_000,
        or_zero=True,
        unit="bits per second",
        panel=_SOUND,
        example="32000",
    )
    width: int = whole(
        1000, "png: pixels.", 16, 16384, unit="pixels", checked=False, panel=_PICTURE, example="800"
    )
    height: int = whole(
        200, "png: pixels.", 16, 16384, unit="pixels", checked=False, panel=_PICTURE, example="120"
    )
    theme: str = choice(
        "light",
        "png: light, dark or transparent.",
        "light",
        "dark",
        "transparent",
        checked=False,
        panel=_PICTURE,
    )
    background: str = colour("png: #rrggbb instead of the theme's.", panel=_PICTURE, example="#ffffff")
    caller_color: str = colour("png: #rrggbb instead of the theme's.", panel=_PICTURE, example="#0e7490")
    called_color: str = colour("png: #rrggbb instead of the theme's.", panel=_PICTURE, example="#b45309")
    axis: bool | None = flag(None, "png: times below; by default where there is room.", panel=_PICTURE)
    labels: tuple[str, ...] = names(
        "png: the speakers' names, caller first.",
        panel=_PICTURE,
        example="Ana\nFront Desk",
        flags=("--labels", "--label"),
    )
    spectrogram: bool = flag(False, "png: frequencies instead of the waveform.", panel=_PICTURE)
    samples_per_pixel: int = whole(
        256, "peaks: samples of each pair of peaks.", 1, 1 << 24, panel=_PEAKS, example="512"
    )
    bits: int = choice(16, "peaks: 8 or 16 bits a peak.", 8, 16, panel=_PEAKS)
    peaks_version: int = choice(2, "peaks: 1 or 2 of audiowaveform's format.", 1, 2, panel=_PEAKS)
    metadata: bool = flag(
        True,
        "The file says what it is: when the call was, between whom, its title. Off: it is left bare.",
        panel=_SOUND,
    )
    title: str = text(
        "", "A title, written into formats that hold one.", panel=_SOUND, example="Complaint 4711"
    )

    def __post_init__(self) -> None:
        """Check the values that no later stage checks: ArgumentError names the parameter.

        Numbers of other types, such as NumPy's, become int (only whole ones) and float.
        """
        drawn = False
        for row, value in zip(ROWS, _values(self), strict=True):
            if value is not row.default:  # which was checked when it was written down
                object.__setattr__(self, row.name, row.checked_value(value))
                drawn = drawn or row.name in _DRAWN
        if not 0 <= self.start < float("inf") or (self.end is not None and not self.end > self.start):
            raise ArgumentError(
                f"start and end must be seconds with 0 <= start < end, not {self.start} and {self.end}"
            )
        if drawn:
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
        return PictureOptions(**{f.name: getattr(self, f.name) for f in fields(PictureOptions)})


ROWS: Final = rows_of(Options, OptionRow)
"""The options' rows, in the order of the fields."""
_values: Final = attrgetter(*(row.name for row in ROWS))
_DRAWN: Final = frozenset(PictureOptions.__slots__)
if Options.__doc__:  # none under -OO
    Options.__doc__ += "".join(f"\n\n    ``{row.name}``: {row.help}" for row in ROWS) + "\n"
