import numpy as np
from numpy.typing import NDArray

def columns_of(
    table: NDArray[np.void],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Span, start, ticks and reason of each gap, by span and start, as columns; ValueError for any other table."""

def losses(table: NDArray[np.void]) -> tuple[int, int]:
    """How many gaps are of lost packets, and how many packets the capture itself lost."""

def stretches_of(
    table: NDArray[np.void],
    anchors_ns: NDArray[np.int64],
    clocks_hz: NDArray[np.float64],
    drifts: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Absolute start and stop (ns) of each gap, and whether something was lost in it.

    The other columns are of the spans; ``drifts``: how many ticks pass in one of the right clock. ValueError for a gap
    of another span.
    """
