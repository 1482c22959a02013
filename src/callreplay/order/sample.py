"""Some packets of one payload type, from which its codec is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from callreplay.deferred import dataclass

__all__ = ["Sample"]


@dataclass(slots=True)
class Sample:
    """Some packets of one payload type, in arrival order (first few thousand are plenty).

    Shapes ``(n,)``: raw ``sequence`` and ``timestamp``, ``arrival_ns``, ``size``; ``fetch`` brings their octets.
    """

    sequence: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    fetch: Callable[[], list[bytes]] = list
    _payloads: list[bytes] | None = field(default=None, init=False)

    @property
    def payloads(self) -> list[bytes]:
        """The octets of each packet; read when first asked for."""
        if self._payloads is None:
            self._payloads = self.fetch()
        return self._payloads

    def steps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Timestamp step and size of each packet whose next in number comes next, with a step forward."""
        step = np.diff(self.timestamp) & 0xFFFFFFFF
        good = ((np.diff(self.sequence) & 0xFFFF) == 1) & (step > 0) & (step < 65536)
        return step[good], self.size[:-1][good]
