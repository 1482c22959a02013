"""From legs of packets to PCM: the native conveyor for Python.

A leg is a :class:`callreplay.model.LegColumns`; what comes out is int16 at each span's own sample rate, as
chunks, or one continuous array per leg with the silence filled in. The bytes and columns are used where
they lie, nothing is copied, and the GIL is released for the length of every native call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Protocol, overload

import numpy as np

from callreplay import _core
from callreplay.audio.external import decode_spans
from callreplay.audio.legs import (
    Concealment,
    External,
    LegCounts,
    Pcm,
    checked,
    is_native,
    leg_rate_hz,
    native_leg,
)
from callreplay.audio.mix import Renderer, RenderGroup, timeline_bounds, timeline_frames
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.model import Intact, LegColumns, mappings

__all__ = ["Chunk", "ChunkKind", "Conveyor", "Playable", "decode_leg", "decode_many", "leg_samples"]


class ChunkKind(IntEnum):
    """Where the samples of a chunk come from."""

    DECODED = 0
    CONCEALED = 1
    NOISE = 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of decoded audio: ``pcm`` (int16, ``(n,)``) of span ``span`` of leg ``leg``.

    ``first_sample`` is where it starts, counted from the span's tick 0 at its sample rate. What no chunk covers is
    silent.
    """

    leg: int
    span: int
    first_sample: int
    pcm: Pcm
    kind: ChunkKind


def leg_samples(leg: LegColumns) -> int:
    """How many samples :func:`decode_leg` gives: from the first anchor to the end of the last span."""
    return timeline_frames(*timeline_bounds([leg], correct_drift=False), leg_rate_hz(leg))


def decode_leg(
    leg: LegColumns,
    out: Pcm | None = None,
    *,
    external: External | None = None,
    concealment: Concealment = "exact",
) -> Pcm:
    """Decode one leg to continuous int16 PCM ``(n,)``, gaps concealed, filled with noise or silent.

    The rate is :func:`leg_rate_hz`. Sample 0 is the anchor of the earliest span; spans stand where their
    anchors put them, their clocks taken as right (no drift correction), so samples of the leg's own rate
    are exactly the decoder's. ``out`` (int16, contiguous, at least :func:`leg_samples` long) is filled and
    its used part returned. ``concealment`` as of :class:`~callreplay.audio.mix.Renderer`.
    """
    with_pcm = None if external is None else [external]
    renderer = Renderer(
        [leg],
        leg_rate_hz(leg),
        "mono",
        correct_drift=False,
        dtmf="keep",
        external=with_pcm,
        concealment=concealment,
    )
    if out is None:
        out = np.empty(renderer.frames, np.int16)
    checked(out, np.int16, "out")
    if len(out) < renderer.frames:
        raise ArgumentError(f"out: {len(out)} samples are too few for {renderer.frames}")
    return out[: renderer.read_into(out)]


class Conveyor:
    """Decodes many legs in lockstep, one SIMD lane per span; iterating gives :class:`Chunk` objects.

    ``width`` legs are decoded at a time, the others wait; ``block_ms`` is the audio per leg and step.
    Memory is bounded by their product. Which legs share a conveyor never changes a sample. Use by one
    thread at a time.
    """

    def __init__(
        self,
        legs: Sequence[LegColumns] = (),
        *,
        width: int = 1024,
        block_ms: int = 200,
        external: Mapping[int, External] | None = None,
        concealment: Concealment = "exact",
    ) -> None:
        self._concealment: Concealment = concealment
        self._native = _core.Conveyor(width, block_ms)
        self._files: dict[int, Intact] = {}
        self._legs = 0
        for index, leg in enumerate(legs):
            self.add(leg, (external or {}).get(index))

    def add(self, leg: LegColumns, external: External | None = None) -> int:
        """Queue a leg; its number is what ``Chunk.leg`` says."""
        self._native.add(native_leg(leg, external, self._concealment))
        self._files |= {id(file): file for file in mappings(*leg.arrays)}
        self._legs += 1
        return self._legs - 1

    def step(self) -> list[Chunk]:
        """Decode the next round: its chunks, each leg's in order; empty when everything is decoded."""
        pcm, table = self._native.step()
        for file in list(self._files.values()):
            file.check()
        return [
            Chunk(leg, span, first, pcm[start : start + count], ChunkKind(kind))
            for leg, span, first, start, count, kind in table.tolist()
        ]

    def __iter__(self) -> Iterator[Chunk]:
        while chunks := self.step():
            yield from chunks

    def counts(self, leg: int) -> LegCounts:
        """Tell what became of the packets of leg number ``leg`` so far."""
        return LegCounts(*self._native.counts(leg))

    @property
    def occupancy(self) -> dict[str, int]:
        """``rounds``, ``lane_slots``, ``lane_used``, ``scalar_rounds`` so far: how full the lanes were."""
        return self._native.occupancy()


class Playable(Protocol):
    """A leg with what others decode of it (`callreplay.Leg`)."""

    @property
    def columns(self) -> LegColumns:
        """Its packets."""

    def external(self) -> External | None:
        """PCM of the spans that the native engine does not decode."""


def _external(leg: LegColumns | Playable) -> External | None:
    if not isinstance(leg, LegColumns):
        return leg.external()
    return None if all(is_native(span.codec) for span in leg.spans) else decode_spans(leg)


@overload
def decode_many(
    legs: Sequence[LegColumns | Playable],
    out: None = None,
    *,
    width: int = ...,
    block_ms: int = ...,
    concealment: Concealment = ...,
) -> Iterator[Chunk]: ...
@overload
def decode_many(
    legs: Sequence[LegColumns | Playable],
    out: Sequence[Pcm],
    *,
    width: int = ...,
    block_ms: int = ...,
    concealment: Concealment = ...,
) -> list[Pcm]: ...
def decode_many(
    legs: Sequence[LegColumns | Playable],
    out: Sequence[Pcm] | None = None,
    *,
    width: int = 1024,
    block_ms: int = 200,
    concealment: Concealment = "exact",
) -> Iterator[Chunk] | list[Pcm]:
    """Decode many legs (``call.caller``, or its columns) at once, of any mix of codecs, lengths and rates.

    What `callreplay.Leg.pcm` decodes is decoded: PyAV's codecs too, before the first chunk.

    Without ``out``: an iterator of :class:`Chunk`. With ``out``, one int16 array per leg of at least
    :func:`leg_samples` samples: fills them as :func:`decode_leg` would and returns their used parts. Both
    give the samples that decoding one by one gives.

    >>> import callreplay
    >>> with callreplay.open("samples/reservation.pcap") as capture:
    ...     legs = [leg.columns for leg in capture.calls[0].legs]
    >>> sum(len(chunk.pcm) for chunk in decode_many(legs))
    316320
    >>> out = [np.empty(leg_samples(leg), np.int16) for leg in legs]
    >>> [len(pcm) for pcm in decode_many(legs, out)]
    [159520, 159520]
    """
    columns = [leg if isinstance(leg, LegColumns) else leg.columns for leg in legs]
    external = [_external(leg) for leg in legs]
    if out is None:
        given = {index: pcm for index, pcm in enumerate(external) if pcm is not None}
        return iter(
            Conveyor(columns, width=width, block_ms=block_ms, external=given, concealment=concealment)
        )
    if len(out) != len(legs):
        raise ArgumentError(f"out: {len(out)} arrays for {len(legs)} legs")
    group = RenderGroup(block_ms=block_ms)
    filled = [0] * len(legs)
    for index, (leg, array) in enumerate(zip(columns, out, strict=True)):
        checked(array, np.int16, f"out[{index}]")
        need = leg_samples(leg)
        if len(array) < need:
            raise ArgumentError(f"out[{index}]: {len(array)} samples are too few for {need}")
    waiting = iter(enumerate(columns))
    call_leg: dict[int, int] = {}

    def refill() -> None:
        for index, leg in waiting:
            call = group.add(
                [leg],
                leg_rate_hz(leg),
                "mono",
                correct_drift=False,
                dtmf="keep",
                external=[external[index]],
                concealment=concealment,
            )
            call_leg[call] = index
            if len(call_leg) >= width:
                return

    refill()
    for call, block, last in group:
        index = call_leg[call]
        out[index][filled[index] : filled[index] + len(block)] = block
        filled[index] += len(block)
        if last:
            del call_leg[call]
            refill()
    return [array[:count] for array, count in zip(out, filled, strict=True)]
