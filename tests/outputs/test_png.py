import io

import numpy as np
import pytest
from PIL import Image

from callreplay.outputs.ink import _stencil, stamp_text
from callreplay.outputs.png import indexed_png
from callreplay.outputs.waveform import _high


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 1), (60, 333)])
@pytest.mark.parametrize("shown", [0, 1, 256])
def test_another_reader_finds_every_pixel_colour_and_opacity(shape: tuple[int, int], shown: int) -> None:
    random = np.random.default_rng(5)
    image = random.integers(0, 256, shape, dtype=np.uint8)
    colours, alpha = random.bytes(768), random.bytes(shown)
    with Image.open(io.BytesIO(indexed_png(image, colours, alpha))) as read:
        assert (read.mode, read.size) == ("P", shape[::-1])
        np.testing.assert_array_equal(np.asarray(read), image)
        shades = np.asarray(read.convert("RGBA"))
    palette = np.frombuffer(colours, np.uint8).reshape(256, 3)
    opaque = np.full(256, 255, np.uint8)
    opaque[:shown] = np.frombuffer(alpha, np.uint8)
    np.testing.assert_array_equal(shades[..., :3], palette[image])
    np.testing.assert_array_equal(shades[..., 3], opaque[image])


@pytest.mark.parametrize("count", [1, 2, 3, 200, 201, 401, 999])
def test_the_loudness_that_fills_a_band_is_numpys_quantile(count: int) -> None:
    values = np.random.default_rng(count).integers(0, 32769, count).astype(np.int32)
    for share in (0.5, 0.995, 1.0):
        assert _high(values, share) == float(np.quantile(values, share))


def test_a_text_that_is_kept_is_stamped_as_it_was() -> None:
    class _Inks:
        rule, text_base = 1, 100

    first, again = (np.zeros((40, 120), np.uint8) for _ in range(2))
    for image in (first, again):
        stamp_text(image, _Inks(), "1:30", 60, 5, 10, centred=True)
    assert first.any()
    np.testing.assert_array_equal(first, again)
    assert not _stencil("1:30", 10, 72).flags.writeable
