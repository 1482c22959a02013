"""Who talks when, by Silero's detector: a neural network, for those who want it. Extra ``[vad]``.

The network tells for every 32 ms how likely it is that somebody talks. A stretch begins where that reaches a half and
ends where 300 ms lie below 0.35, as pauses of ours do; what is shorter than 250 ms is none, and 30 ms are added on
either side, as Silero's own tools have it. The model is that of the package ``silero-vad``, run by ONNX Runtime on one
thread; that package itself, which would load PyTorch, is not imported.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.audio.speech import Talk, level_dbfs
from callreplay.errors import ArgumentError, UnsupportedError

__all__ = ["SileroMeter", "available"]

_RATES: Final = {
    8000: (256, 32),
    16000: (512, 64),
}  # samples of a window, and of those before it that it is given
_BEGIN: Final = 0.5
_END: Final = 0.35
_PAUSE_S: Final = 0.3
_SHORTEST_S: Final = 0.25
_PAD_S: Final = 0.03


def available() -> bool:
    """Whether the extra is installed."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in ("onnxruntime", "silero_vad"))
    except ModuleNotFoundError:
        return False


@cache
def _network() -> Any:
    """The network, once a process: runs may be made by several threads."""
    if not available():
        raise UnsupportedError("Silero's detector needs its package: pip install 'callreplay[vad]'")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    spec = importlib.util.find_spec("silero_vad")
    folders = spec.submodule_search_locations if spec is not None else None
    model = Path((folders or [""])[0], "data", "silero_vad.onnx")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


class SileroMeter:
    """Finds talk in one speaker's int16 mono PCM, block by block; where the blocks are cut changes nothing.

    ``rate_hz``: 8000 or 16000. ``start_s``: what the first sample's time is called. Raises UnsupportedError without the
    extra.
    """

    def __init__(self, rate_hz: int, start_s: float = 0.0) -> None:
        if rate_hz not in _RATES:
            raise ArgumentError(f"rate_hz: Silero's detector hears 8000 or 16000, not {rate_hz}")
        self._run = _network().run
        self._rate_hz, self._start_s = rate_hz, start_s
        self._window, context = _RATES[rate_hz]
        self._heard = np.zeros(context + self._window, np.float32)  # the context, then a window
        self._state = np.zeros((2, 1, 128), np.float32)
        self._rate = np.array(rate_hz, np.int64)
        self._waiting = np.zeros(0, np.int16)
        self._likely: list[float] = []
        self._energy: list[int] = []
        self._samples = 0

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Take a block of shape (n,)."""
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise ArgumentError(
                f"speech is looked for in int16 of shape (n,), not {pcm.dtype} of {pcm.shape}"
            )
        self._samples += len(pcm)
        held = np.concatenate([self._waiting, pcm])
        whole = len(held) // self._window * self._window
        for at in range(0, whole, self._window):
            self._hear(held[at : at + self._window])
        self._waiting = held[whole:]

    def _hear(self, window: NDArray[np.int16]) -> None:
        context = len(self._heard) - self._window
        self._heard[:context] = self._heard[self._window :]
        np.divide(window, 32768, out=self._heard[context:])
        told, self._state = self._run(
            None, {"input": self._heard[np.newaxis], "state": self._state, "sr": self._rate}
        )
        self._likely.append(float(told[0, 0]))
        samples = window.astype(np.int64)
        self._energy.append(int(samples @ samples))

    def result(self) -> list[Talk]:
        """Every stretch, in order; nothing can be written after it."""
        if len(self._waiting):
            self._hear(np.pad(self._waiting, (0, self._window - len(self._waiting))))
            self._waiting = self._waiting[:0]
        return [self._talk(first, end) for first, end in self._stretches()]

    def _stretches(self) -> list[tuple[int, int]]:
        """First window of each stretch, and the one after its last."""
        pause = round(_PAUSE_S * self._rate_hz / self._window)
        found, first, end = [], -1, 0
        for at, likely in enumerate(self._likely):
            if likely >= _BEGIN and first < 0:
                first = at
            if likely >= _END and first >= 0:
                end = at + 1
            if first >= 0 and at + 1 - end >= pause:
                found.append((first, end))
                first = -1
        if first >= 0:
            found.append((first, end))
        shortest = _SHORTEST_S * self._rate_hz / self._window
        return [(first, end) for first, end in found if end - first >= shortest]

    def _talk(self, first: int, end: int) -> Talk:
        energy = sum(self._energy[first:end])
        start_s = max(first * self._window / self._rate_hz - _PAD_S, 0.0)
        end_s = min(end * self._window + _PAD_S * self._rate_hz, self._samples) / self._rate_hz
        return Talk(
            round(self._start_s + start_s, 6),
            round(self._start_s + end_s, 6),
            level_dbfs(energy, (end - first) * self._window),
        )
