"""Pictures of calls: the waveform and the spectrogram, as small PNG files.

The waveform: caller above, called below (or one band for mono), peaks in a soft shade with the RMS inside them in a
strong one, silence as a thin line, lost audio marked. Drawing is native and anti-aliased by exact coverage; labels
and the PNG container come from Pillow.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.errors import ArgumentError
from callreplay.peaks import Peaks

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["Mark", "PictureOptions", "Spectrogram", "columns_per_pixel", "parse_colour", "waveform_png"]

Rgb = tuple[int, int, int]

_LEVELS: Final = 16  # shades of anti-aliasing per colour
_NOISE_FLOOR: Final = (
    0.05  # of full scale (-26 dBFS): a peak below this is never magnified to look like speech
)
_HEADROOM: Final = 0.94  # of the band's height that the loudest ordinary speech reaches
_CLICK: Final = 1.5  # times the loudness of ordinary speech: a peak above it may be cut
_MAX_PIXELS: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of one channel to mark: ``kind`` is ``loss`` or ``silence`` (no media: hold, DTX, one-way)."""

    channel: int
    start_s: float
    stop_s: float
    kind: Literal["loss", "silence"]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one look; background None is transparent."""

    background: Rgb | None
    matte: Rgb  # what half-transparent edges are mixed with
    caller: Rgb
    called: Rgb
    text: Rgb
    rule: Rgb
    loss: Rgb


THEMES: Final[dict[str, Theme]] = {
    "light": Theme(
        (255, 255, 255),
        (255, 255, 255),
        (37, 99, 235),
        (13, 148, 136),
        (71, 85, 105),
        (226, 232, 240),
        (225, 29, 72),
    ),
    "dark": Theme(
        (15, 23, 42),
        (15, 23, 42),
        (96, 165, 250),
        (45, 212, 191),
        (148, 163, 184),
        (40, 53, 77),
        (251, 113, 133),
    ),
    "transparent": Theme(
        None, (255, 255, 255), (37, 99, 235), (13, 148, 136), (100, 116, 139), (148, 163, 184), (225, 29, 72)
    ),
}


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """How a picture looks. Sizes in pixels (16 to 16384); colours ``#rrggbb``, empty for the theme's own.

    ``axis`` draws times below (None: where there is room, height >= 120); ``labels`` the speakers' names, caller first.
    """

    width: int = 1000
    height: int = 200
    theme: str = "light"
    background: str = ""
    caller_color: str = ""
    called_color: str = ""
    axis: bool | None = None
    labels: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        """Check every value: ArgumentError names the first that is out of range."""
        if (
            not 16 <= self.width <= 16384
            or not 16 <= self.height <= 16384
            or self.width * self.height > _MAX_PIXELS
        ):
            raise ArgumentError(
                f"width and height must be 16 to 16384 pixels, not {self.width}x{self.height}"
            )
        if self.theme not in THEMES:
            raise ArgumentError(f"theme must be one of {', '.join(THEMES)}, not {self.theme!r}")
        for colour in (self.background, self.caller_color, self.called_color):
            if colour:
                parse_colour(colour)

    def resolved(self) -> Theme:
        """The theme with this picture's own colours put in."""
        theme = THEMES[self.theme]
        background = parse_colour(self.background) if self.background else theme.background
        return Theme(
            background,
            background or theme.matte,
            parse_colour(self.caller_color) if self.caller_color else theme.caller,
            parse_colour(self.called_color) if self.called_color else theme.called,
            theme.text,
            theme.rule,
            theme.loss,
        )


def parse_colour(text: str) -> Rgb:
    """``#rrggbb`` or ``rrggbb`` to three octets; ArgumentError otherwise."""
    digits = text.removeprefix("#")
    if len(digits) != 6 or not all(c in "0123456789abcdefABCDEF" for c in digits):
        raise ArgumentError(f"colour must look like #rrggbb, not {text!r}")
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def columns_per_pixel(frames: int, width: int) -> int:
    """How many buckets to take per pixel column: 4 where the audio is long enough, so that slopes look smooth."""
    return max(1, min(4, frames // max(width, 1)))


def _mix(colour: Rgb, ground: Rgb, amount: float) -> Rgb:
    red, green, blue = (round(g + (c - g) * amount) for c, g in zip(colour, ground, strict=True))
    return red, green, blue


class _Inks(Protocol):
    """What text and rules are drawn with: palette indices; 0 is the ground."""

    rule: int
    text_base: int


class _Palette:
    """Indexed colours with alpha, and where each shade family starts."""

    def __init__(self, theme: Theme, channels: int) -> None:
        self.rgba: list[tuple[int, int, int, int]] = []
        ground = theme.matte
        clear = theme.background is None
        self._add(ground, 0 if clear else 255)
        self.rule = self._add(theme.rule, 110 if clear else 255)
        self.text_base = self._family(theme.text, ground, clear, 1.0)
        self.loss = self._add(theme.loss, 255)
        self.loss_tint = self._add(
            _mix(theme.loss, ground, 0.16) if not clear else theme.loss, 40 if clear else 255
        )
        self.peak_base: list[int] = []
        self.rms_base: list[int] = []
        self.silence: list[int] = []
        for colour in (theme.caller, theme.called)[:channels]:
            soft = _mix(colour, ground, 0.55)
            self.peak_base.append(self._family(soft, ground, clear, 1.0))
            base = len(self.rgba)
            self.rgba += [(*_mix(colour, soft, k / (_LEVELS - 1)), 255) for k in range(_LEVELS)]
            self.rms_base.append(base)
            self.silence.append(self._add(_mix(colour, ground, 0.35), 255))

    def _add(self, colour: Rgb, alpha: int) -> int:
        self.rgba.append((*colour, alpha))
        return len(self.rgba) - 1

    def _family(self, colour: Rgb, ground: Rgb, clear: bool, strength: float) -> int:
        base = len(self.rgba)
        for k in range(_LEVELS):
            amount = strength * k / (_LEVELS - 1)
            self.rgba.append(
                (*colour, round(255 * amount)) if clear else (*_mix(colour, ground, amount), 255)
            )
        return base

    def png(self, image: NDArray[np.uint8]) -> bytes:
        """The image as an indexed PNG."""
        from PIL import Image

        picture = Image.fromarray(image).convert("L")
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette([octet for colour in self.rgba for octet in colour[:3]])
        # Level 9 takes three to ten times as long as 6 for 1 to 8 % less.
        options: dict[str, object] = {"compress_level": 6}
        if any(colour[3] != 255 for colour in self.rgba):
            options["transparency"] = bytes(colour[3] for colour in self.rgba)
        out = io.BytesIO()
        picture.save(out, "PNG", **options)
        return out.getvalue()


# Looked for in the system's font folders, in this order; the later ones hold the scripts of East and South Asia.
_FONTS: Final = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "unifont.ttf",
    "Arial Unicode.ttf",
)


@lru_cache(maxsize=64)
def _open_font(name: str, size: int) -> FreeTypeFont | None:
    from PIL import ImageFont as Fonts

    try:
        return Fonts.truetype(name, size)
    except OSError:
        return None


def _has(font: FreeTypeFont | ImageFont, character: str) -> bool:
    """Whether the font draws the character as something else than the box for what it lacks."""
    mask, box = font.getmask(character), font.getmask("\U0010fffd")
    return mask.size != box.size or bytes(mask) != bytes(box)


@lru_cache(maxsize=256)
def _font(size: int, text: str = "") -> FreeTypeFont | ImageFont:
    """The first font that has every character of the text, else the first that lacks the fewest."""
    from PIL import ImageFont as Fonts

    characters = {c for c in text if not c.isspace()}
    found = [font for name in _FONTS if (font := _open_font(name, size))]
    found = found or [Fonts.load_default(size)]  # type: ignore[list-item]
    if not characters:
        return found[0]
    return min(found, key=lambda font: sum(not _has(font, c) for c in characters))


def _shorten(text: str, font: FreeTypeFont | ImageFont, room: int) -> str:
    """The text, cut with an ellipsis where it is wider than ``room`` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…" if text else ""


def _stamp_text(
    image: NDArray[np.uint8],
    palette: _Inks,
    text: str,
    x: int,
    y: int,
    size: int,
    *,
    centred: bool = False,
    backed: bool = False,
) -> None:
    """Write ``text`` with its top left (or top centre) at x, y; ``backed`` clears the ground behind it first."""
    from PIL import Image, ImageDraw

    text = "".join(c for c in text if c.isprintable())
    font = _font(size, text)
    text = _shorten(text, font, image.shape[1] * 3 // 5)
    left, top, right, bottom = font.getbbox(text)
    width, height = math.ceil(right - left), math.ceil(bottom - top)
    if width <= 0 or height <= 0:
        return
    stencil = Image.new("L", (width, height))
    ImageDraw.Draw(stencil).text((-left, -top), text, fill=255, font=font)
    shades = np.rint(np.asarray(stencil) / 255 * (_LEVELS - 1)).astype(np.uint8)
    x -= width // 2 if centred else 0
    if backed:
        image[max(y - 2, 0) : y + height + 3, max(x - 3, 0) : x + width + 3] = 0
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + width, image.shape[1]), min(y + height, image.shape[0])
    if x1 > x0 and y1 > y0:
        shades = shades[y0 - y : y1 - y, x0 - x : x1 - x]
        target = image[y0:y1, x0:x1]
        np.copyto(target, palette.text_base + shades, where=shades > 0)


def _tick_step(duration_s: float, width: int) -> float:
    """The time between two labels: a round one, at least 80 pixels apart."""
    least = duration_s * 80 / max(width, 1)
    steps = (
        0.1,
        0.2,
        0.5,
        1,
        2,
        5,
        10,
        15,
        30,
        60,
        120,
        300,
        600,
        900,
        1800,
        3600,
        7200,
        14400,
        28800,
        86400,
    )
    return next((step for step in steps if step >= least), 86400 * math.ceil(least / 86400))


def _clock(seconds: float, step: float) -> str:
    whole = int(seconds + 1e-9)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return text + f".{round((seconds - whole) * 10)}" if step < 1 else text


def _draw_axis(image: NDArray[np.uint8], palette: _Inks, duration_s: float, bottom: int) -> None:
    width = image.shape[1]
    step = _tick_step(duration_s, width)
    image[bottom, :] = palette.rule
    for k in range(int(duration_s / step + 1e-9) + 1):
        x = round(k * step / duration_s * width)
        if x >= width:
            break
        image[bottom : bottom + 4, x] = palette.text_base + _LEVELS // 2
        if k == 0:
            _stamp_text(image, palette, _clock(0.0, step), 3, bottom + 6, 10)
        elif x < width - 24:
            _stamp_text(image, palette, _clock(k * step, step), x, bottom + 6, 10, centred=True)


def _auto_scale(peaks: NDArray[np.void]) -> float:
    """Magnification: ordinary loud speech fills the band, rare clicks may clip, noise stays noise."""
    data = peaks[peaks["count"] > 0]
    if not len(data):
        return 1.0
    extent = np.maximum(data["high"].astype(np.int32), -data["low"].astype(np.int32))
    loud = float(np.quantile(extent, 0.995))
    # The loudest syllable keeps its top; what is far above all speech is a click.
    peak = float(extent.max())
    loud = peak if peak <= _CLICK * loud else loud
    return _HEADROOM / max(loud / 32768, _NOISE_FLOOR)


def _draw_marks(
    image: NDArray[np.uint8],
    palette: _Palette,
    bands: list[tuple[int, int]],
    marks: Sequence[Mark],
    duration_s: float,
) -> None:
    width = image.shape[1]
    for mark in marks:
        if mark.channel >= len(bands) or duration_s <= 0:
            continue
        top, height = bands[mark.channel]
        x0 = max(0, min(width - 1, int(mark.start_s / duration_s * width)))
        x1 = max(x0 + 1, min(width, math.ceil(mark.stop_s / duration_s * width)))
        band = image[top : top + height, x0:x1]
        if mark.kind == "loss":
            band[band == 0] = palette.loss_tint
            edge = max(1, height // 40)
            band[:edge] = palette.loss
            band[height - edge :] = palette.loss
        else:
            middle = height // 2
            row = band[middle - 1 : middle + 1] if height % 2 == 0 else band[middle : middle + 1]
            # Comfort noise may sound in it: only the thin line of nothing becomes a dotted one.
            quiet = (band[: middle - 1] == 0).all(axis=0) & (band[middle + 1 :] == 0).all(axis=0)
            dots = (np.arange(x0, x1) // 2) % 3 == 0
            row[:, quiet] = 0
            row[:, quiet & dots] = palette.silence[mark.channel]


def waveform_png(
    peaks: Peaks, duration_s: float, options: PictureOptions | None = None, marks: Sequence[Mark] = ()
) -> bytes:
    """Draw peaks made by ``Peaks.fit(channels, frames, width * columns_per_pixel(frames, width))`` as a PNG.

    ``duration_s`` is the time the picture spans; ``marks`` are drawn over their channel's band. One or two channels.
    """
    options = options or PictureOptions()
    data = peaks.buckets
    if peaks.channels > 2:
        raise ArgumentError(f"a waveform has one or two channels, not {peaks.channels}")
    per_pixel = len(data) // options.width
    if per_pixel < 1:
        raise ArgumentError(f"{options.width} columns need at least as many buckets, not {len(data)}")
    palette = _Palette(options.resolved(), peaks.channels)
    image = np.zeros((options.height, options.width), np.uint8)
    axis_height = _axis_height(options, duration_s)
    usable = options.height - axis_height
    gap = 2 if usable >= 40 else 0
    band_height = (usable - gap * (peaks.channels - 1)) // peaks.channels
    bands = [(channel * (band_height + gap), band_height) for channel in range(peaks.channels)]
    scale = _auto_scale(data)
    for channel, (top, height) in enumerate(bands):
        _core.draw_band(
            image,
            data,
            channel=channel,
            left=0,
            top=top,
            width=options.width,
            height=height,
            columns_per_pixel=per_pixel,
            levels=_LEVELS,
            peak_base=palette.peak_base[channel],
            rms_base=palette.rms_base[channel],
            scale=scale,
        )
    _draw_marks(image, palette, bands, marks, duration_s)
    if peaks.channels == 2 and gap:
        image[band_height : band_height + 1, :] = palette.rule
    if axis_height:
        _draw_axis(image, palette, duration_s, usable)
    _draw_labels(image, palette, options.labels, bands)
    return palette.png(image)


def _axis_height(options: PictureOptions, duration_s: float) -> int:
    axis = options.axis if options.axis is not None else options.height >= 120
    return 20 if axis and options.height >= 48 and duration_s > 0 else 0


def _draw_labels(
    image: NDArray[np.uint8], palette: _Inks, labels: Sequence[str], bands: list[tuple[int, int]]
) -> None:
    for label, (top, height) in zip(labels, bands, strict=False):
        if label and height >= 24:
            _stamp_text(image, palette, label, 6, top + 4, 11, backed=True)


class Spectrogram:
    """A spectrogram of PCM taken block by block, in memory bounded by the picture.

    Hann windows of ``window`` samples, up to eight per pixel column, their power averaged. Frequencies run from 0 at
    the bottom of a band to half the sample rate at its top.
    """

    WINDOWS_PER_COLUMN: Final = 8

    def __init__(
        self, channels: int, frames: int, sample_rate_hz: int, options: PictureOptions | None = None
    ) -> None:
        if channels not in (1, 2):
            raise ArgumentError(f"a spectrogram has one or two channels, not {channels}")
        self.options = options or PictureOptions()
        self.channels, self.frames, self.rate = channels, frames, sample_rate_hz
        self.window = 256 * max(1, round(sample_rate_hz / 8000))
        self._hann = np.hanning(self.window).astype(np.float32)
        count = max(1, min(self.options.width * self.WINDOWS_PER_COLUMN, max(frames - self.window, 0) + 1))
        self._starts = (np.arange(count, dtype=np.int64) * max(frames - self.window, 0)) // max(count - 1, 1)
        self._next = 0
        self._power = np.zeros((self.options.width, channels, self.window // 2 + 1), np.float64)
        self._hits = np.zeros(self.options.width, np.int64)
        self._carry = np.zeros((0, channels), np.int16)
        self._carry_at = 0

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Take a block: int16, (n,) or (n, channels)."""
        block = np.concatenate([self._carry, pcm.reshape(-1, self.channels)])
        end = self._carry_at + len(block)
        stop = int(np.searchsorted(self._starts, end - self.window, side="right"))
        for first in range(self._next, stop, 256):
            starts = self._starts[first : min(first + 256, stop)]
            columns = np.minimum(
                starts * self.options.width // max(self.frames - self.window + 1, 1), self.options.width - 1
            )
            index = (starts - self._carry_at)[:, None] + np.arange(self.window)
            frames = block[index].transpose(0, 2, 1).astype(np.float32) * self._hann
            power = np.abs(np.fft.rfft(frames, axis=-1)) ** 2
            np.add.at(self._power, columns, power)
            np.add.at(self._hits, columns, 1)
        self._next = max(self._next, stop)
        keep_from = int(self._starts[self._next]) if self._next < len(self._starts) else end
        keep = max(0, min(len(block), keep_from - self._carry_at))
        self._carry, self._carry_at = block[keep:].copy(), self._carry_at + keep

    def png(self) -> bytes:
        """The picture: 75 dB from the loudest bins down, caller above and called below."""
        if self._next < len(self._starts):  # shorter than announced, or than one window
            missing = self.window - len(self._carry)
            if self._next == 0 and missing > 0:
                self.write(np.zeros((missing, self.channels), np.int16))
        width, height = self.options.width, self.options.height
        hits = self._hits > 0
        mean = self._power / np.maximum(self._hits, 1)[:, None, None]
        if hits.any() and not hits.all():
            filled = np.maximum.accumulate(np.where(hits, np.arange(width), 0))
            mean = mean[np.maximum(filled, int(np.argmax(hits)))]
        reference = (32768.0 * self.window / 4) ** 2
        decibels = 10 * np.log10(mean / reference + 1e-12)
        # The noise floor stays dark: nothing under -60 dB of full scale is magnified.
        top = max(float(np.quantile(decibels, 0.999)), -45.0)
        shade = np.clip((decibels - top + 75) / 75, 0, 1)
        image = np.zeros((height, width), np.uint8)
        duration_s = self.frames / self.rate
        axis_height = _axis_height(self.options, duration_s)
        usable = height - axis_height
        gap = 1 if self.channels == 2 and usable >= 40 else 0
        band = (usable - gap) // self.channels
        bands = [(channel * (band + gap), band) for channel in range(self.channels)]
        for channel, (start, _) in enumerate(bands):
            rows = np.linspace(self.window // 2, 0, band)
            low = np.floor(rows).astype(np.int64)
            part = rows - low
            column = shade[:, channel, :]
            high = np.minimum(low + 1, self.window // 2)
            mixed = column[:, low] * (1 - part) + column[:, high] * part
            image[start : start + band] = np.rint(mixed.T * (_HEAT - 1)).astype(np.uint8)
        inks = _HeatInks()
        if gap:
            image[band, :] = inks.rule
        if axis_height:
            _draw_axis(image, inks, duration_s, usable)
        _draw_labels(image, inks, self.options.labels, bands)
        return _heat_png(image)


_HEAT: Final = 256 - _LEVELS - 1  # shades of loudness; the rest is for text and rules


class _HeatInks:
    """Light text and a dim rule, behind the shades of loudness."""

    rule = _HEAT
    text_base = _HEAT + 1


def _heat_png(image: NDArray[np.uint8]) -> bytes:
    """An 8-bit image through a dark-to-bright colour map (even in lightness, safe for colour-blind readers)."""
    from PIL import Image

    stops = np.array([0.0, 0.25, 0.5, 0.75, 0.92, 1.0])
    colours = np.array(
        [[8, 10, 26], [46, 26, 102], [140, 41, 129], [231, 95, 92], [254, 190, 120], [252, 253, 220]]
    )
    ramp = np.linspace(0, 1, _HEAT)
    text = np.linspace(colours[0], (203, 213, 225), _LEVELS)
    heat = np.stack([np.interp(ramp, stops, colours[:, c]) for c in range(3)], axis=1)
    palette = np.concatenate([heat, [(62, 66, 92)], text]).round().astype(np.uint8)
    picture = Image.frombytes("P", (image.shape[1], image.shape[0]), image.tobytes())
    picture.putpalette(palette.ravel().tolist())
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    return out.getvalue()
