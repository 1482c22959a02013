import numpy as np
from numpy.typing import NDArray

STATUS_TABLE: list[tuple[int, str, str, str]]

def isa_active() -> str: ...
def isa_forced() -> bool: ...
def isa_available() -> list[str]: ...

# raster
class Peaks:
    def __init__(
        self, channels: int, frames_per_bucket: int = 0, total_frames: int = 0, buckets: int = 0
    ) -> None: ...
    def write(self, pcm: NDArray[np.int16]) -> None: ...
    def data(self) -> NDArray[np.void]: ...

def draw_band(
    image: NDArray[np.uint8],
    peaks: NDArray[np.void],
    *,
    channel: int,
    left: int,
    top: int,
    width: int,
    height: int,
    columns_per_pixel: int,
    levels: int,
    peak_base: int,
    rms_base: int,
    scale: float,
) -> None: ...
