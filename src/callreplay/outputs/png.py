"""PNG files of indexed images.

Pillow, which writes any PNG, filters no indexed image and hands it to zlib in pieces. Rows of a picture of sound are
much like those above them: what differs (filter "up") is mostly nothing, in runs, and the native side packs just these.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay import _core

__all__ = ["indexed_png"]

_INDEXED: Final = 3


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def indexed_png(image: NDArray[np.uint8], colours: bytes, alpha: bytes = b"") -> bytes:
    """The image, ``(height, width)`` of indices, as a PNG with a palette: ISO/IEC 15948.

    ``colours``: red, green and blue of each index, at most 256. ``alpha``: how opaque the first ones are, the others
    being so.
    """
    height, width = image.shape
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _INDEXED, 0, 0, 0)),
            _chunk(b"PLTE", colours),
            _chunk(b"tRNS", alpha) if alpha else b"",
            _chunk(b"IDAT", _core.png_pack(image)),
            _chunk(b"IEND", b""),
        )
    )
