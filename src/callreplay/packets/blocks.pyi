import numpy as np
from numpy.typing import NDArray

from callreplay.model import RtpColumns

def count_blocks(
    data: NDArray[np.uint8], spill: NDArray[np.uint8], columns: RtpColumns, wanted: NDArray[np.uint8]
) -> tuple[int, int, NDArray[np.int64]]: ...
def fill_blocks(
    data: NDArray[np.uint8],
    spill: NDArray[np.uint8],
    columns: RtpColumns,
    wanted: NDArray[np.uint8],
    out: RtpColumns,
) -> None: ...
