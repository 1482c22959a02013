import numpy as np
from numpy.typing import NDArray

OCTETS: int

def receive(descriptor: int, port: int, time_ns: int, out: NDArray[np.uint8]) -> int: ...
