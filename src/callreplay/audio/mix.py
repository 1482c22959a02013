"""One timeline: legs decoded, placed, resampled and mixed by the native renderer, in bounded blocks.

Frame ``n`` of the output is the absolute time ``origin_ns + n / rate_hz`` seconds. Samples of a leg at the
output's rate are copied, never filtered; others are resampled (stop band below -80 dB). Legs are added in
32 bits at unity gain and saturated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.audio.legs import Concealment, External, Filling, LegCounts, native_leg
from callreplay.errors import ArgumentError
from callreplay.model import Event, LegColumns, Span, mappings

__all__ = [
    "Channels",
    "Dtmf",
    "RenderGroup",
    "Renderer",
    "default_rate_hz",
    "timeline_bounds",
    "timeline_frames",
    "window_frames",
]

Channels = Literal["mono", "stereo", "caller", "called"]
Dtmf = Literal["tone", "mute", "keep"]

_CHANNEL_OF_LEG: Final[dict[str, tuple[int, int]]] = {
    "stereo": (0, 1),
    "caller": (0, -1),
    "called": (-1, 0),
}
_TONES: Final = {digit: tone for tone, digit in enumerate("0123456789*#ABCD")}
_NS: Final = 1_000_000_000
# Of a block as it comes: in smaller ones a file takes half again as long to write.
_BLOCK_BYTES: Final = 1 << 20
_SHARE_OF_FIRST: Final = 8


def default_rate_hz(legs: Sequence[LegColumns | None]) -> int:
    """16000 if any span sounds above 8 kHz, else 8000."""
    rates = [span.codec.sample_rate_hz for leg in legs if leg is not None for span in leg.spans]
    return 16000 if max(rates, default=8000) > 8000 else 8000


def _span_end_ns(span: Span, correct_drift: bool) -> int:
    drift_ppb = round(span.drift_ppm * 1000) if correct_drift else 0
    # Python's integers do not overflow; rounded up so that the last sample lies inside.
    return span.anchor_ns - (-span.end_tick * _NS * _NS) // (span.codec.clock_rate_hz * (_NS + drift_ppb))


def timeline_bounds(legs: Sequence[LegColumns | None], *, correct_drift: bool = True) -> tuple[int, int]:
    """Start of the earliest span and end of the last one, in ns since the epoch; (0, 0) without any span."""
    bounds: tuple[int, int] | None = None
    for leg in legs:
        for span in leg.spans if leg is not None else ():
            start, end = span.anchor_ns, _span_end_ns(span, correct_drift)
            bounds = (min(start, bounds[0]), max(end, bounds[1])) if bounds else (start, end)
    return bounds or (0, 0)


def timeline_frames(start_ns: int, end_ns: int, rate_hz: int) -> int:
    """Frames of ``rate_hz`` that the time from ``start_ns`` to ``end_ns`` holds, to the nearest."""
    return ((end_ns - start_ns) * rate_hz + _NS // 2) // _NS


def window_frames(
    start_ns: int, end_ns: int, rate_hz: int, start_s: float | None, end_s: float | None
) -> tuple[int, int]:
    """First and stop frame, counted from ``start_ns``, of the window from ``start_s`` to ``end_s`` seconds after it."""
    total = max(0, timeline_frames(start_ns, end_ns, rate_hz))
    if not start_s and end_s is None:
        return 0, total

    def frame(seconds: float | None, default: int, name: str) -> int:
        if seconds is None:
            return default
        if not seconds >= 0:
            raise ArgumentError(f"{name}: {seconds} is not a time from 0 on")
        return round(min(seconds * rate_hz, total))

    first = frame(start_s, 0, "start_s")
    return first, max(first, frame(end_s, total, "end_s"))


def _native_events(events: Sequence[Sequence[Event]], dtmf: Dtmf) -> list[_core.EventRow]:
    if dtmf == "keep":
        return []
    return [
        (
            leg,
            _TONES.get(event.digit.upper(), -1) if dtmf == "tone" else -1,
            event.start_ns,
            max(0, min(round(event.duration_ms * 1e6), 3600 * _NS)),
            -abs(event.volume_dbm0),
        )
        for leg, of_leg in enumerate(events)
        for event in of_leg
    ]


_AHEAD_NS: Final = 3 * _NS
"""How far the engine may read ahead of what it hands out: its rounds, and the resampler's window."""


class _Plan:
    """What a renderer needs, worked out from the arguments that Renderer and RenderGroup.add share."""

    def __init__(
        self,
        legs: Sequence[LegColumns | None],
        *,
        rate_hz: int | None,
        channels: Channels,
        start_s: float | None,
        end_s: float | None,
        dtmf: Dtmf,
        events: Sequence[Sequence[Event]],
        origin_ns: int | None,
        stop_ns: int | None,
        correct_drift: bool,
        external: Sequence[External | None] | None,
        concealment: Concealment,
        lazy: bool = False,
    ) -> None:
        if channels not in ("mono", *_CHANNEL_OF_LEG):
            raise ArgumentError(f"channels: {channels!r} is not mono, stereo, caller or called")
        if dtmf not in ("tone", "mute", "keep"):
            raise ArgumentError(f"dtmf: {dtmf!r} is not tone, mute or keep")
        if channels != "mono" and len(legs) > 2:
            raise ArgumentError(f"channels={channels!r} needs at most two legs, not {len(legs)}")
        self.rate_hz = default_rate_hz(legs) if rate_hz is None else rate_hz
        if not 8000 <= self.rate_hz <= 48000:
            raise ArgumentError(f"rate_hz: {rate_hz} is not in 8000 to 48000")
        if origin_ns is None or stop_ns is None:
            first_ns, last_ns = timeline_bounds(legs, correct_drift=correct_drift)
            origin_ns = first_ns if origin_ns is None else origin_ns
            stop_ns = last_ns if stop_ns is None else stop_ns
        self.origin_ns, last_ns = origin_ns, stop_ns
        self.start, self.stop = window_frames(self.origin_ns, last_ns, self.rate_hz, start_s, end_s)
        self.width = 2 if channels == "stereo" else 1
        self.ignore_drift = not correct_drift
        self.events = _native_events(events, dtmf)
        placed = _CHANNEL_OF_LEG.get(channels, (0,) * len(legs))
        self.legs = [
            (
                native_leg(leg, external[index] if external else None, concealment, lazy=lazy)
                if leg is not None
                else None,
                channel,
            )
            for index, (leg, channel) in enumerate(zip(legs, placed, strict=False))
        ]
        self.filling: list[tuple[Span, Filling]] = []
        if external and any(external):
            self.filling = [
                (leg.spans[index], pcm)
                for leg, given in zip(legs, external, strict=False)
                for index, pcm in (given or {}).items()
                if leg is not None and not isinstance(pcm, np.ndarray)
            ]

    def timeline(self, block_ms: int) -> _core.TimelineRow:
        return (self.rate_hz, self.width, self.origin_ns, self.stop, block_ms, self.ignore_drift)


_ROUND_MS: Final = 500
# In rounds of 49 s its lanes gain another twentieth, and the first block waits 2 ms more; what is resampled no longer
# stays in the cache.
_LONG_ROUND_MS: Final = 32_768
_LONG_RESAMPLED_MS: Final = 8_192
_LONG_WINDOW_S: Final = 5
_G729_HZ: Final = 8000


def _round_ms(legs: Sequence[LegColumns | None], plan: _Plan, otherwise: int) -> int:
    """How much is decoded at a time: more where the engine cuts a round of G.729 into pieces for its lanes."""
    frames = plan.stop - plan.start
    if frames < _LONG_WINDOW_S * plan.rate_hz:
        return otherwise
    if not any(span.codec.name == "G729" for leg in legs if leg is not None for span in leg.spans):
        return otherwise
    most = _LONG_ROUND_MS if plan.rate_hz == _G729_HZ else _LONG_RESAMPLED_MS
    return min(most, -(-frames * 1000 // plan.rate_hz))


class Renderer:
    """Decodes and mixes one call as it is read; iterating gives int16 blocks.

    Blocks are ``(n,)``, or ``(n, 2)`` for stereo.

    ``legs``: caller and called (either may be None or empty), or any number of legs for mono. ``rate_hz``:
    8000 to 48000; None takes 8000 or 16000 by the legs. ``channels``: ``mono`` adds all legs, ``stereo``
    puts the caller left and the called right, ``caller`` and ``called`` render one leg. ``start_s`` and
    ``end_s`` cut a window, in seconds from the origin; nothing before it is decoded but a short warm-up.
    ``dtmf`` with ``events`` (one sequence per leg): a leg's audio is muted during its events, and ``tone``
    puts the tone pair there; ``keep`` leaves the audio alone. ``origin_ns`` and ``stop_ns`` bound the
    timeline (default: from the first anchor to the end of the last span), so a call may start before its
    first packet. ``external``: PCM per leg and span for codecs decoded elsewhere. ``concealment``: lost G.729 frames
    sound as the standard says (``exact``) or are bridged from both sides (``best``), as every other codec's are.

    Every native call releases the GIL; one renderer is used by one thread at a time. Reading raises OutputError where
    the capture's file shrank.
    """

    def __init__(
        self,
        legs: Sequence[LegColumns | None],
        rate_hz: int | None = None,
        channels: Channels = "mono",
        start_s: float | None = None,
        end_s: float | None = None,
        dtmf: Dtmf = "mute",
        *,
        events: Sequence[Sequence[Event]] = (),
        origin_ns: int | None = None,
        stop_ns: int | None = None,
        correct_drift: bool = True,
        external: Sequence[External | None] | None = None,
        concealment: Concealment = "exact",
        block_frames: int | None = None,
        block_ms: int | None = None,
    ) -> None:
        if block_frames is not None and block_frames <= 0:
            raise ArgumentError(f"block_frames: {block_frames} is not positive")
        plan = _Plan(
            legs,
            rate_hz=rate_hz,
            channels=channels,
            start_s=start_s,
            end_s=end_s,
            dtmf=dtmf,
            events=events,
            origin_ns=origin_ns,
            stop_ns=stop_ns,
            correct_drift=correct_drift,
            external=external,
            concealment=concealment,
            lazy=True,
        )
        self._filling = plan.filling
        self._native = _core.Renderer(
            plan.timeline(_round_ms(legs, plan, _ROUND_MS) if block_ms is None else block_ms),
            plan.legs,
            plan.events,
        )
        self._files = mappings(*(array for leg in legs if leg is not None for array in leg.arrays))
        self._start = plan.start
        self._block = block_frames or _BLOCK_BYTES // (2 * plan.width)
        self._first_block = block_frames or self._block // _SHARE_OF_FIRST
        self.rate_hz: Final = plan.rate_hz
        self.channels: Final = plan.width
        self.origin_ns: Final = plan.origin_ns
        self.frames: Final = plan.stop - plan.start
        if plan.start:
            self._native.seek(plan.start)

    @property
    def duration_s(self) -> float:
        """Length of the output in seconds."""
        return self.frames / self.rate_hz

    @property
    def position(self) -> int:
        """The next frame that a read gives, counted from the window's start."""
        return self._native.position() - self._start

    def seek(self, frame: int) -> None:
        """Go to ``frame`` of the output, 0 to ``frames``. Cheap: only a warm-up is decoded."""
        if not 0 <= frame <= self.frames:
            raise ArgumentError(f"frame {frame} is not in 0 to {self.frames}")
        self._native.seek(self._start + frame)

    def read(self, frames: int) -> NDArray[np.int16]:
        """Render the next ``frames`` frames, fewer only at the end: int16 ``(n,)``, or ``(n, 2)``."""
        if frames < 0:
            raise ArgumentError(f"frames: {frames} is negative")
        frames = max(min(frames, self.frames - self.position), 0)
        out = np.empty(frames if self.channels == 1 else (frames, self.channels), np.int16)
        return out[: self.read_into(out)]

    def read_into(self, out: NDArray[np.int16] | NDArray[np.float32]) -> int:
        """Fill ``out`` (contiguous, ``(n,)`` or ``(n, 2)``) with the next frames; how many there were.

        float32 gets what int16 would, divided by 32768, straight from the native mixer.
        """
        shape = out.shape[1:]
        if out.dtype not in (np.int16, np.float32) or not out.flags.c_contiguous or not out.flags.writeable:
            raise ArgumentError("out: need a writable, contiguous array of int16 or float32")
        if shape != (() if self.channels == 1 else (self.channels,)):
            raise ArgumentError(f"out: shape {out.shape} does not fit {self.channels} channels")
        if self._filling:
            self._fill(self._native.position() + len(out))
        flat = out.reshape(-1)
        frames = (
            self._native.read(flat)  # type: ignore[arg-type]  # by its dtype
            if out.dtype == np.int16
            else self._native.read_f32(flat)  # type: ignore[arg-type]
        )
        for file in self._files:
            file.check()
        return frames

    def _fill(self, frame: int) -> None:
        """Decode what others decode (`Filling`) as far as frames up to ``frame`` of the output may ask for."""
        until_ns = self.origin_ns + frame * _NS // self.rate_hz + _AHEAD_NS
        for span, pcm in self._filling:
            passed_ns = until_ns - span.anchor_ns
            # A clock that runs faster than ours has told of more by then; none does by a hundredth.
            pcm.fill(passed_ns * span.codec.sample_rate_hz // _NS * 101 // 100)

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        # What takes more than a block begins with a short one: somebody may wait for it.
        frames = self._first_block if self.frames > self._block else self._block
        while len(block := self.read(frames)):
            yield block
            if len(block) < frames:
                return
            frames = self._block

    def counts(self, leg: int) -> LegCounts:
        """Tell what became of the packets of ``legs[leg]`` since the start or the last seek."""
        return LegCounts(*self._native.counts(leg))


class RenderGroup:
    """Many calls rendered through one conveyor, so that lanes stay full across calls.

    Whether the captures stayed whole is the caller's to ask (``model.check_intact``): one that did not ends its own
    calls only.

    Add calls at any time; iterate for ``(call, block, last)``: blocks of whichever call has one, each
    call's in order and equal to a :class:`Renderer`'s. The oldest calls go on, as many as fill the lanes: add a
    new one whenever one ends, to keep them full and memory flat. A call that needs no lanes goes on by itself, a
    block at a time; the others by rounds of ``block_ms``. What is handed out is gathered to
    ``gather_ms`` (only a call's last block is shorter), so that what a caller does per block costs little.
    """

    def __init__(self, *, block_ms: int = 100, gather_ms: int = 1000) -> None:
        self._native = _core.RendererGroup(gather_ms)
        self._block_ms = block_ms
        self._gather_ms = gather_ms
        self._widths: dict[int, int] = {}
        self._room = 2  # samples of the largest block of any call so far

    def add(
        self,
        legs: Sequence[LegColumns | None],
        rate_hz: int | None = None,
        channels: Channels = "mono",
        dtmf: Dtmf = "mute",
        *,
        events: Sequence[Sequence[Event]] = (),
        origin_ns: int | None = None,
        stop_ns: int | None = None,
        correct_drift: bool = True,
        external: Sequence[External | None] | None = None,
        concealment: Concealment = "exact",
        alone: bool = False,
    ) -> int:
        """Add a call (arguments as of :class:`Renderer`) and return its number, free again once it has ended.

        ``alone``: hardly any go on beside it, so its own lanes are filled, by rounds as long as a Renderer's.
        """
        plan = _Plan(
            legs,
            rate_hz=rate_hz,
            channels=channels,
            start_s=None,
            end_s=None,
            dtmf=dtmf,
            events=events,
            origin_ns=origin_ns,
            stop_ns=stop_ns,
            correct_drift=correct_drift,
            external=external,
            concealment=concealment,
        )
        round_ms = _round_ms(legs, plan, self._block_ms) if alone else self._block_ms
        call = self._native.add(plan.timeline(round_ms), plan.legs, plan.events)
        self._widths[call] = plan.width
        self._room = max(self._room, plan.rate_hz * plan.width * self._gather_ms // 1000)
        return call

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.int16], bool]]:
        while (found := self.read()) is not None:
            yield found

    def read(self) -> tuple[int, NDArray[np.int16], bool] | None:
        """``(call, block, last)`` for the next block of any call, None when every call has ended."""
        samples = np.empty(self._room, np.int16)
        call, frames, last = self._native.read(samples)
        if frames == 0 and not last:
            return None
        width = self._widths.pop(call) if last else self._widths[call]
        block = samples[: frames * width]
        return call, (block if width == 1 else block.reshape(frames, width)), last

    def counts(self, call: int, leg: int) -> LegCounts:
        """Tell what became of the packets of a leg of a call under way, or of an ended one until another is added."""
        return LegCounts(*self._native.counts(call, leg))

    @property
    def waiting(self) -> int:
        """Calls that stand back until those before them, which fill the lanes, have ended."""
        return self._native.waiting()

    @property
    def occupancy(self) -> dict[str, int]:
        """``rounds``, ``lane_slots``, ``lane_used``, ``scalar_rounds`` so far: how full the lanes were."""
        return self._native.occupancy()
