import io
import math
import shutil
import subprocess
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from callreplay.errors import ArgumentError
from callreplay.outputs.ink import THEMES, PictureOptions
from callreplay.outputs.peaks import Peaks
from callreplay.outputs.spectrogram import Spectrogram
from callreplay.outputs.waveform import Marks, _draw_marks, _palette, columns_per_pixel, waveform_png

RATE = 8000


class Mark(NamedTuple):
    """One of `Marks`."""

    channel: int
    start_s: float
    stop_s: float
    kind: Literal["loss", "silence"]

    def alone(self) -> Marks:
        return Marks(
            self.channel, np.array([self.start_s]), np.array([self.stop_s]), np.array([self.kind == "loss"])
        )


def _picture(pcm: NDArray[np.int16], options: PictureOptions, marks: tuple[Mark, ...] = ()) -> Image.Image:
    channels = 1 if pcm.ndim == 1 else pcm.shape[1]
    peaks = Peaks.fit(channels, len(pcm), options.width * columns_per_pixel(len(pcm), options.width))
    peaks.write(pcm)
    picture = Image.open(
        io.BytesIO(waveform_png(peaks, len(pcm) / RATE, options, [mark.alone() for mark in marks]))
    )
    picture.load()
    return picture


def _ink(picture: Image.Image, ground: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray((np.asarray(picture.convert("RGB")) != ground).any(axis=-1))


def _burst(seconds: float, start: float, stop: float, amplitude: float) -> NDArray[np.int16]:
    t = np.arange(int(seconds * RATE)) / RATE
    return np.where((t >= start) & (t < stop), amplitude * np.sin(2 * np.pi * 440 * t), 0).astype(np.int16)


def test_sound_is_drawn_where_it_sounds_and_in_its_own_band() -> None:
    stereo = np.stack([_burst(10, 2, 4, 20000), _burst(10, 6, 8, 20000)], axis=1)
    ink = _ink(_picture(stereo, PictureOptions(1000, 200, axis=False)), (255, 255, 255))
    above, below = ink[:90].sum(axis=0), ink[110:].sum(axis=0)
    loud_above, loud_below = np.flatnonzero(above > 10), np.flatnonzero(below > 10)
    assert (loud_above.min(), loud_above.max()) == (200, 399)
    assert (loud_below.min(), loud_below.max()) == (600, 799)


def test_near_silence_does_not_look_like_speech() -> None:
    noise = np.random.default_rng(1).integers(-16, 17, 10 * RATE).astype(np.int16)
    ink = _ink(_picture(noise, PictureOptions(500, 100, axis=False)), (255, 255, 255))
    assert ink.sum(axis=0).max() <= 4
    speech = _ink(_picture(_burst(10, 0, 10, 1500), PictureOptions(500, 100, axis=False)), (255, 255, 255))
    assert speech.sum(axis=0).min() > 60


@pytest.mark.parametrize("theme", list(THEMES))
@pytest.mark.parametrize("size", [(16, 16), (300, 60), (1000, 200), (4000, 400)])
def test_every_theme_and_size_is_a_small_valid_indexed_png(
    theme: str, size: tuple[int, int], tmp_path: Path
) -> None:
    stereo = np.stack([_burst(30, 1, 9, 9000), _burst(30, 9, 29, 4000)], axis=1)
    options = PictureOptions(*size, theme=theme, labels=("2001", "Anna"))
    marks = (Mark(0, 3, 3.1, "loss").alone(), Mark(1, 0, 9, "silence").alone())
    peaks = Peaks.fit(2, len(stereo), size[0] * columns_per_pixel(len(stereo), size[0]))
    peaks.write(stereo)
    png = waveform_png(peaks, 30.0, options, marks)
    assert png == waveform_png(peaks, 30.0, options, marks)
    picture = Image.open(io.BytesIO(png))
    assert (picture.mode, picture.size) == ("P", size)
    assert len(png) < 3000 + size[0] * size[1] // 20
    assert ("transparency" in picture.info) == (theme == "transparent")
    if shutil.which("pngcheck"):
        path = tmp_path / "x.png"
        path.write_bytes(png)
        assert subprocess.run(["pngcheck", "-q", path], check=False).returncode == 0


def test_the_loudest_syllable_keeps_its_top_and_a_click_does_not_shrink_speech() -> None:
    speech = np.concatenate([_burst(8, 0, 8, 8000), _burst(0.03, 0, 0.03, 11000), _burst(2, 0, 2, 8000)])
    ink = _ink(_picture(speech, PictureOptions(1000, 100, axis=False)), (255, 255, 255))
    assert not ink[0].any()
    assert not ink[99].any()
    clicked = speech.copy()
    clicked[4000:4003] = 32767
    ink = _ink(_picture(clicked, PictureOptions(1000, 100, axis=False)), (255, 255, 255))
    assert np.median(ink.sum(axis=0)) > 60


def test_comfort_noise_in_a_silence_is_drawn_whole() -> None:
    noise = np.random.default_rng(2).normal(0, 700, 10 * RATE).astype(np.int16)
    options = PictureOptions(500, 100, axis=False)
    assert (
        _picture(noise, options, (Mark(0, 0, 10, "silence"),)).tobytes() == _picture(noise, options).tobytes()
    )
    silent = np.zeros(10 * RATE, np.int16)
    dotted = _ink(_picture(silent, options, (Mark(0, 0, 10, "silence"),)), (255, 255, 255)).any(axis=0)
    assert 0.2 < dotted.mean() < 0.5


def test_a_long_label_is_cut_and_every_script_is_looked_for() -> None:
    silent = np.zeros(10 * RATE, np.int16)
    long = _ink(
        _picture(silent, PictureOptions(400, 100, axis=False, labels=("Nordwestliche Grundstücks" * 9,))),
        (255, 255, 255),
    )
    assert np.flatnonzero(long[:20].any(axis=0)).max() < 260
    names = ("Анна Петровна", "Ωμέγα", "Nguyễn\n", "田中", "\0\x1b[31m", "🙂", "שלום")
    for name in names:
        _picture(silent, PictureOptions(400, 100, labels=(name,)))
    cyrillic = _picture(silent, PictureOptions(400, 100, axis=False, labels=("АБ",)))
    boxes = _picture(silent, PictureOptions(400, 100, axis=False, labels=("\uffff\ufffe",)))
    assert cyrillic.tobytes() != boxes.tobytes()


def test_loss_is_marked_in_its_colour_and_at_its_time() -> None:
    silent = np.zeros((10 * RATE, 2), np.int16)
    picture = _picture(silent, PictureOptions(1000, 200, axis=False), (Mark(1, 5.0, 5.5, "loss"),))
    rgb = np.asarray(picture.convert("RGB"))
    columns = np.flatnonzero((rgb == THEMES["light"].loss).all(axis=-1).any(axis=0))
    assert (columns.min(), columns.max()) == (500, 549)
    assert not (rgb[:99] == THEMES["light"].loss).all(axis=-1).any()


def _draw_by_numpy(
    image: NDArray[np.uint8], bands: list[tuple[int, int]], colours: tuple[int, int, list[int]], mark: Mark
) -> None:
    """One mark of ten seconds, as the law has it."""
    top, height = bands[mark.channel]
    width, middle = image.shape[1], height // 2
    x0 = max(0, min(width - 1, int(mark.start_s / 10.0 * width)))
    x1 = max(x0 + 1, min(width, math.ceil(mark.stop_s / 10.0 * width)))
    band = image[top : top + height, x0:x1]
    loss, tint, silence = colours
    if mark.kind == "loss":
        band[band == 0] = tint
        edge = max(1, height // 40)
        band[:edge] = band[height - edge :] = loss
        return
    row = band[middle - 1 : middle + 1] if height % 2 == 0 else band[middle : middle + 1]
    quiet = (band[: middle - 1] == 0).all(axis=0) & (band[middle + 1 :] == 0).all(axis=0)
    row[:, quiet] = 0
    row[:, quiet & ((np.arange(x0, x1) // 2) % 3 == 0)] = silence[mark.channel]


@pytest.mark.parametrize("bands", [[(0, 59), (61, 59)], [(0, 60), (60, 41)]])
def test_marks_drawn_together_are_what_they_are_one_by_one(bands: list[tuple[int, int]]) -> None:
    random = np.random.default_rng(8)
    sound = np.concatenate([_burst(4, 1, 2, 9000), np.zeros(6 * RATE, np.int16)])
    bare = _picture(np.stack([sound, sound[::-1]], axis=1), PictureOptions(400, 120, axis=False))
    palette = _palette(PictureOptions().resolved(), 2)
    for _ in range(20):
        starts = np.sort(random.uniform(-1, 10, 60))
        marks = [
            Mark(int(channel), start, start + length, "loss" if lost else "silence")
            for start, length, channel, lost in zip(
                starts.tolist(),
                random.exponential(0.3, 60),
                random.integers(0, 2, 60),
                random.random(60) < 0.7,
                strict=True,
            )
        ]
        columns = [
            Marks(
                channel,
                np.array([mark.start_s for mark in marks if mark.channel == channel]),
                np.array([mark.stop_s for mark in marks if mark.channel == channel]),
                np.array([mark.kind == "loss" for mark in marks if mark.channel == channel]),
            )
            for channel in (0, 1)
        ]
        together, by_columns, apart, law = (np.array(bare) for _ in range(4))
        _draw_marks(together, palette, bands, [mark.alone() for mark in marks], 10.0)
        _draw_marks(by_columns, palette, bands, columns, 10.0)
        for mark in marks:
            _draw_marks(apart, palette, bands, [mark.alone()], 10.0)
            _draw_by_numpy(law, bands, (palette.loss, palette.loss_tint, palette.silence), mark)
        assert np.array_equal(together, law)
        assert np.array_equal(apart, law)
        assert np.array_equal(by_columns, law)
        assert not np.array_equal(together, np.array(bare))


def test_marks_beyond_the_picture_and_of_no_time_harm_nothing() -> None:
    palette = _palette(PictureOptions().resolved(), 1)
    image = np.zeros((40, 100), np.uint8)
    never = Marks(0, np.array([np.nan, 0.0]), np.array([1.0, np.nan]), np.array([True, True]))
    _draw_marks(image, palette, [(0, 40)], [never, Mark(3, 0, 1, "loss").alone()], 10.0)
    _draw_marks(image, palette, [(0, 40)], [Mark(0, 0, 1, "loss").alone()], 0.0)
    assert not image.any()
    ends = Marks(0, np.array([-np.inf, 1e300]), np.array([-1e300, np.inf]), np.array([True, True]))
    _draw_marks(image, palette, [(0, 40)], [ends], 10.0)
    assert np.flatnonzero(image.any(axis=0)).tolist() == [0, 99]


def test_axis_and_labels_leave_ink_only_when_asked_for() -> None:
    silent = np.zeros(60 * RATE, np.int16)
    bare = _ink(_picture(silent, PictureOptions(1000, 200, axis=False)), (255, 255, 255))
    assert bare.any(axis=1).sum() <= 2
    axis = _ink(_picture(silent, PictureOptions(1000, 200, axis=True)), (255, 255, 255))
    assert axis[181:].any()
    label = _ink(
        _picture(silent, PictureOptions(1000, 200, axis=False, labels=("0721 234 567",))), (255, 255, 255)
    )
    assert label[:20, :120].any()


def test_colours_are_as_asked() -> None:
    loud = _burst(1, 0, 1, 32000)
    picture = _picture(
        loud, PictureOptions(100, 50, background="#102030", caller_color="#ff8000", axis=False)
    )
    rgb = {tuple(colour) for colour in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}
    assert (255, 128, 0) in rgb
    assert (16, 32, 48) in {tuple(colour) for colour in np.asarray(picture.convert("RGB"))[0].tolist()} | rgb


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 15},
        {"height": 20000},
        {"width": 16384, "height": 16384},
        {"theme": "neon"},
        {"background": "red"},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, int | str]) -> None:
    with pytest.raises(ArgumentError):
        PictureOptions(**wrong)  # type: ignore[arg-type]


def test_an_empty_call_still_gives_a_picture() -> None:
    peaks = Peaks.fit(2, 0, 100)
    assert Image.open(io.BytesIO(waveform_png(peaks, 0.0, PictureOptions(100, 50)))).size == (100, 50)


@pytest.mark.parametrize("block", [97, 5000, 10**6])
def test_spectrogram_shows_a_tone_at_its_height(block: int) -> None:
    t = np.arange(4 * RATE) / RATE
    tone = (8000 * np.sin(2 * np.pi * 1000 * t)).astype(np.int16)
    spectrogram = Spectrogram(1, len(tone), RATE, PictureOptions(200, 101, axis=False))
    for start in range(0, len(tone), block):
        spectrogram.write(tone[start : start + block])
    rows = np.asarray(Image.open(io.BytesIO(spectrogram.png())).convert("L"))
    # 1000 of 4000 Hz: three quarters down from the top.
    assert np.all(np.abs(rows.argmax(axis=0) - 75) <= 1)


def test_spectrogram_has_the_axis_and_labels_of_the_waveform(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-8000, 8000, (4 * RATE, 2)).astype(np.int16)

    def drawn(**options: object) -> NDArray[np.uint8]:
        spectrogram = Spectrogram(2, len(noise), RATE, PictureOptions(400, 200, **options))  # type: ignore[arg-type]
        spectrogram.write(noise)
        png = spectrogram.png()
        (tmp_path / "x.png").write_bytes(png)
        if shutil.which("pngcheck"):
            assert subprocess.run(["pngcheck", "-q", tmp_path / "x.png"], check=False).returncode == 0
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    bare, axis = drawn(axis=False), drawn(axis=True)
    assert (axis[184:].max(axis=-1) > 150).any()
    assert axis[182:].mean() < 40 < bare[182:].mean()
    assert (drawn(axis=False, labels=("Ana", "Dan"))[:20, :40] != bare[:20, :40]).any()


def test_spectrogram_of_almost_nothing() -> None:
    spectrogram = Spectrogram(2, 5, RATE, PictureOptions(64, 64))
    spectrogram.write(np.ones((5, 2), np.int16))
    assert Image.open(io.BytesIO(spectrogram.png())).size == (64, 64)
