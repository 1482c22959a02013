import numpy as np
from numpy.typing import NDArray

def slope(
    stretch: NDArray[np.int64],
    tick: NDArray[np.int64],
    least: NDArray[np.float64],
    clock_rate_hz: float,
    shortest_s: float,
) -> tuple[float, float]: ...
