import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from callreplay import _core
from callreplay.errors import ArgumentError
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


def _rows_of(data: bytes, width: int) -> NDArray[np.uint8]:
    """The pixels of IDAT's data, by zlib and the filter's own definition."""
    filtered = np.frombuffer(zlib.decompress(data), np.uint8).reshape(-1, width + 1)
    assert (filtered[:, 0] == 2).all()
    return np.cumsum(filtered[:, 1:], axis=0, dtype=np.uint8)


@settings(max_examples=60)
@given(
    st.integers(1, 700),
    st.lists(st.tuples(st.integers(0, 255), st.integers(1, 600)), min_size=1, max_size=40),
)
def test_zlib_finds_every_pixel_of_what_is_packed_natively(width: int, runs: list[tuple[int, int]]) -> None:
    flat = np.concatenate([np.full(length, octet, np.uint8) for octet, length in runs])
    image = np.resize(flat, (-(-len(flat) // width), width))
    np.testing.assert_array_equal(_rows_of(_core.png_pack(image), width), image)


def test_codes_that_would_be_too_long_and_several_blocks() -> None:
    # Octets as common as Fibonacci's numbers have the longest codes there are: 25 bits, of which 15 are allowed.
    counts = [1, 1]
    while len(counts) < 25:
        counts.append(counts[-1] + counts[-2])
    octets = np.repeat(np.arange(25, dtype=np.uint8) * 9, counts)
    np.random.default_rng(3).shuffle(octets)
    image = octets[None, :190_000]
    assert len(octets) > 190_000
    packed = _core.png_pack(image)
    np.testing.assert_array_equal(_rows_of(packed, image.shape[1]), image)
    assert len(packed) < image.size * 0.35


def test_what_has_nothing_to_pack_hardly_grows() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (300, 1000), dtype=np.uint8)
    packed = _core.png_pack(noise)
    np.testing.assert_array_equal(_rows_of(packed, 1000), noise)
    assert len(packed) < noise.size * 1.01
    assert len(_core.png_pack(np.zeros((300, 1000), np.uint8))) < 1000


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3,)])
def test_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError):
        _core.png_pack(np.zeros(shape, np.uint8))


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
