import numpy as np
from numpy.typing import NDArray

def columns_of(
    table: NDArray[np.void],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Span, start, ticks and reason of each gap, by span and start, as columns; ValueError for any other table."""

def losses(table: NDArray[np.void]) -> tuple[int, int]:
    """How many gaps are of lost packets, and how many packets the capture itself lost."""
