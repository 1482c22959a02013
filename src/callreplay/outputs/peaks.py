"""Peaks of PCM: lowest, highest and RMS sample per bucket, and the waveform data files that web players read.

The file formats are those of BBC audiowaveform (JSON versions 1 and 2, and its binary .dat), which peaks.js and
wavesurfer.js load. Values are those audiowaveform gives for the same PCM: plain minimum and maximum of each group of
samples, at 8 bits divided by 256 towards zero.
"""

from __future__ import annotations

import json
import struct
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.errors import ArgumentError

__all__ = ["Peaks"]


class Peaks:
    """Peaks of interleaved int16 PCM, taken block by block.

    ``Peaks(channels, samples_per_pixel=256)`` grows with the audio; ``Peaks.fit(channels, frames, buckets)`` divides a
    known number of frames into exactly that many buckets. Where the blocks are cut changes nothing.
    """

    def __init__(self, channels: int = 1, samples_per_pixel: int = 256) -> None:
        self.channels = channels
        self.samples_per_pixel = samples_per_pixel
        self._core = _core.Peaks(channels, frames_per_bucket=samples_per_pixel)
        self._merged: NDArray[np.void] | None = None

    @classmethod
    def fit(cls, channels: int, frames: int, buckets: int) -> Peaks:
        """Peaks over exactly ``buckets`` buckets; bucket i starts at frame i * frames // buckets."""
        peaks = cls.__new__(cls)
        peaks.channels = channels
        peaks.samples_per_pixel = 0
        peaks._core = _core.Peaks(channels, total_frames=frames, buckets=buckets)
        peaks._merged = None
        return peaks

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Take a block: int16, shape (n,) or (n, channels), C-contiguous or not."""
        if self._merged is not None:
            raise ArgumentError("these peaks were made by coarser(); they take no more audio")
        if pcm.dtype != np.int16:
            raise ArgumentError(f"pcm must be int16, not {pcm.dtype}")
        self._core.write(np.ascontiguousarray(pcm))

    @property
    def buckets(self) -> NDArray[np.void]:
        """Structured array (buckets, channels): low, high (int16), energy (sum of squares), count (samples).

        Of ``fit`` it is read-only, and goes on to show what is written.
        """
        return self._core.data() if self._merged is None else self._merged

    @property
    def low(self) -> NDArray[np.int16]:
        """Lowest sample of each bucket, (buckets, channels); 0 where a bucket is empty."""
        data = self.buckets
        return np.where(data["count"] > 0, data["low"], np.int16(0))

    @property
    def high(self) -> NDArray[np.int16]:
        """Highest sample of each bucket, (buckets, channels); 0 where a bucket is empty."""
        data = self.buckets
        return np.where(data["count"] > 0, data["high"], np.int16(0))

    @property
    def rms(self) -> NDArray[np.float64]:
        """Root mean square of each bucket, (buckets, channels), in sample units; 0 where a bucket is empty."""
        data = self.buckets
        mean: NDArray[np.float64] = np.sqrt(data["energy"] / np.maximum(data["count"], 1))
        return mean

    def coarser(self, factor: int) -> Peaks:
        """The same peaks with ``factor`` buckets joined into one: the next zoom level, without the audio."""
        if factor < 1:
            raise ArgumentError(f"factor must be a positive integer, not {factor}")
        data = self.buckets
        starts = np.arange(0, len(data), factor)
        merged = np.zeros((len(starts), self.channels), data.dtype)
        if len(starts):
            merged["low"] = np.minimum.reduceat(data["low"], starts, axis=0)
            merged["high"] = np.maximum.reduceat(data["high"], starts, axis=0)
            merged["energy"] = np.add.reduceat(data["energy"], starts, axis=0)
            merged["count"] = np.add.reduceat(data["count"], starts, axis=0)
        peaks = Peaks.__new__(Peaks)
        peaks.channels = self.channels
        peaks.samples_per_pixel = self.samples_per_pixel * factor
        peaks._core = self._core
        peaks._merged = merged
        return peaks

    def _values(self, bits: Literal[8, 16]) -> NDArray[np.int16]:
        pairs: NDArray[np.int16] = np.stack([self.low, self.high], axis=-1)
        if bits == 16:
            return pairs
        if bits == 8:
            # C division: towards zero.
            return np.asarray(np.trunc(pairs / 256), dtype=np.int16)
        raise ArgumentError(f"bits must be 8 or 16, not {bits}")

    def _version(self, version: int | None) -> int:
        chosen = version if version is not None else 2
        if chosen not in (1, 2):
            raise ArgumentError(f"version must be 1 or 2, not {version}")
        if chosen == 1 and self.channels != 1:
            raise ArgumentError("version 1 holds one channel; use version 2 or channels=mono")
        return chosen

    def to_json(self, sample_rate_hz: int, *, version: int | None = None, bits: Literal[8, 16] = 16) -> str:
        """Audiowaveform JSON. Version 1 has no ``channels`` and holds one channel; version 2 (default) any number."""
        head: dict[str, int | list[int]] = {"version": self._version(version)}
        if head["version"] == 2:
            head["channels"] = self.channels
        head |= {
            "sample_rate": sample_rate_hz,
            "samples_per_pixel": self.samples_per_pixel,
            "bits": bits,
            "length": len(self.buckets),
            "data": self._values(bits).ravel().tolist(),
        }
        return json.dumps(head, separators=(",", ":"))

    def to_dat(self, sample_rate_hz: int, *, version: int | None = None, bits: Literal[8, 16] = 16) -> bytes:
        """Audiowaveform .dat: version, flags (1 = 8 bits), rate, samples per pixel, length, [channels], values."""
        chosen = self._version(version)
        head = struct.pack(
            "<iIiiI", chosen, int(bits == 8), sample_rate_hz, self.samples_per_pixel, len(self.buckets)
        )
        if chosen == 2:
            head += struct.pack("<i", self.channels)
        return head + self._values(bits).astype("<i1" if bits == 8 else "<i2").tobytes()
