"""What every picture is drawn with: themes, colours, text, axes and labels.

Text comes from Pillow, stamped into the palette's shades.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from callreplay.clock import length
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = [
    "LEVELS",
    "THEMES",
    "Inks",
    "PictureOptions",
    "Rgb",
    "Theme",
    "axis_height_of",
    "draw_axis",
    "draw_labels",
    "mixed",
    "parse_colour",
]

Rgb = tuple[int, int, int]

LEVELS: Final = 16
"""Shades of anti-aliasing per colour."""
_MAX_PIXELS: Final = 64_000_000


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


def mixed(colour: Rgb, ground: Rgb, amount: float) -> Rgb:
    red, green, blue = (round(g + (c - g) * amount) for c, g in zip(colour, ground, strict=True))
    return red, green, blue


class Inks(Protocol):
    """What text and rules are drawn with: palette indices; 0 is the ground."""

    rule: int
    text_base: int


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


_SHORT: Final = 16  # characters: what is stamped again and again, times of an axis above all


def _stencil(text: str, size: int, room: int) -> NDArray[np.uint8]:
    """The text in shades, 0 to LEVELS - 1, cut where it is wider than ``room``; (0, 0) where nothing of it shows."""
    from PIL import Image, ImageDraw

    text = "".join(c for c in text if c.isprintable())
    font = _font(size, text)
    text = _shorten(text, font, room)
    left, top, right, bottom = font.getbbox(text)
    width, height = math.ceil(right - left), math.ceil(bottom - top)
    if width <= 0 or height <= 0:
        return np.zeros((0, 0), np.uint8)
    stencil = Image.new("L", (width, height))
    ImageDraw.Draw(stencil).text((-left, -top), text, fill=255, font=font)
    shades = np.rint(np.asarray(stencil) / 255 * (LEVELS - 1)).astype(np.uint8)
    shades.flags.writeable = False
    return shades


_kept_stencil = lru_cache(1024)(_stencil)


def stamp_text(
    image: NDArray[np.uint8],
    palette: Inks,
    text: str,
    x: int,
    y: int,
    size: int,
    *,
    centred: bool = False,
    backed: bool = False,
) -> None:
    """Write ``text`` with its top left (or top centre) at x, y; ``backed`` clears the ground behind it first."""
    shades = (_kept_stencil if len(text) <= _SHORT else _stencil)(text, size, image.shape[1] * 3 // 5)
    height, width = shades.shape
    if not width:
        return
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


def draw_axis(image: NDArray[np.uint8], palette: Inks, duration_s: float, bottom: int) -> None:
    width = image.shape[1]
    step = _tick_step(duration_s, width)
    image[bottom, :] = palette.rule
    for k in range(int(duration_s / step + 1e-9) + 1):
        x = round(k * step / duration_s * width)
        if x >= width:
            break
        image[bottom : bottom + 4, x] = palette.text_base + LEVELS // 2
        if k == 0:
            stamp_text(image, palette, length(0.0, tenths=step < 1), 3, bottom + 6, 10)
        elif x < width - 24:
            stamp_text(image, palette, length(k * step, tenths=step < 1), x, bottom + 6, 10, centred=True)


def axis_height_of(options: PictureOptions, duration_s: float) -> int:
    axis = options.axis if options.axis is not None else options.height >= 120
    return 20 if axis and options.height >= 48 and duration_s > 0 else 0


def draw_labels(
    image: NDArray[np.uint8], palette: Inks, labels: Sequence[str], bands: list[tuple[int, int]]
) -> None:
    for label, (top, height) in zip(labels, bands, strict=False):
        if label and height >= 24:
            stamp_text(image, palette, label, 6, top + 4, 11, backed=True)
