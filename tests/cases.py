"""The captures of ../shared/cases, and what is heard in them: bursts of tone, a party a pitch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase
from numpy.typing import NDArray

import callreplay

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Whole calls are slow to make smaller; a failure names its seed."""

FOLDER = (
    Path(
        os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[2] / "shared" / "vectors")
    ).parent
    / "cases"
)


def open_case(name: str, **options: dict[int, str]) -> callreplay.Capture:
    """The case whose name begins with ``name``; skipped where the folder is not there, but in CI."""
    found = sorted(FOLDER.glob(f"{name}*"))
    if not found:
        if os.environ.get("CI"):
            pytest.fail(f"{FOLDER} has no case {name}")
        pytest.skip(f"{FOLDER} has no case {name}")
    return callreplay.open(*found, **options)  # type: ignore[arg-type]


def tone_bursts(
    pcm: NDArray[np.int16], hertz: float, rate: int = 8000, *, level: float = 0.05, apart_s: float = 0.1
) -> list[float]:
    """Seconds at which bursts of a tone begin: 10 ms windows in which that tone is most of the power."""
    audio = pcm.astype(np.float64) / 32768
    size = rate // 100
    frames = audio[: len(audio) // size * size].reshape(-1, size)
    carrier = np.exp(-2j * np.pi * hertz * np.arange(size) / rate)
    tone = np.abs(frames @ carrier) * 2 / size
    power = np.sqrt(2 * np.mean(frames**2, axis=1))
    heard = np.flatnonzero((tone > level) & (tone > 0.6 * power))
    starts = heard[np.diff(heard, prepend=-1000) > apart_s * 100]
    return [float(start) / 100 for start in starts]
