from typing import Any

import numpy as np
from numpy.typing import NDArray

from callreplay.model import Intact

def empty_each(length: int, kinds: tuple[np.dtype[Any], ...]) -> list[NDArray[Any]]:
    """An uninitialised column ``(length,)`` of each kind."""

def plain_columns(columns: tuple[Any, ...], kinds: tuple[np.dtype[Any], ...]) -> bool:
    """Whether columns are contiguous arrays of one axis, of these very kinds, and all of one length."""

def mappings(*arrays: NDArray[Any]) -> list[Intact]:
    """The mapped files that arrays are views of, once each."""
