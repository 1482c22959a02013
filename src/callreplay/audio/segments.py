"""A call in pieces of at most some seconds, cut where nobody talks: what recognisers and data sets take.

The law: stretches of talk (`audio.speech`) that lie less than ``pause_s`` apart belong together. A piece takes as many
as fit into ``seconds``, with ``_PAD_S`` of what lies around them; where more follow, it ends at the last pause that
fits, and where there is none (music, somebody who does not breathe) at the quietest place of its last third. Time in
which nobody talks for longer is in no piece.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay import _core
from callreplay.audio.speech import Talk, level_dbfs
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError

__all__ = ["PAUSE_S", "Piece", "Segment", "Segmenter", "segments_of"]

PAUSE_S: Final = 1.0
_PAD_S: Final = 0.15
_LEAST_S: Final = 1.0
_MOST_S: Final = 3600.0
_WINDOW_S: Final = 0.05  # what is compared to find the quietest place

Pcm = NDArray[np.int16]
_Stretch = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a call. ``pcm``: ``(n,)`` of one speaker, ``(n, 2)`` of both (caller left).

    ``start_s``: where it begins, seconds from the start of the call. ``channel``: whose it is, 0 or 1, None of both.
    ``talk``: who talks when in it, a list for each channel, in seconds from the piece's own start.
    """

    start_s: float
    pcm: NDArray[Any]
    rate_hz: int
    channel: int | None
    talk: tuple[tuple[Talk, ...], ...] = ()

    @property
    def end_s(self) -> float:
        """Where it ends, seconds from the start of the call."""
        return self.start_s + len(self.pcm) / self.rate_hz

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return len(self.pcm) / self.rate_hz


@dataclass(frozen=True, slots=True)
class Piece:
    """A `Segment` whose samples still lie where they came from: ``parts``, one after the other, are its ``pcm``.

    They are views of the blocks that were written; who keeps them keeps those.
    """

    start_s: float
    parts: list[Pcm]
    rate_hz: int
    channel: int | None
    talk: tuple[tuple[Talk, ...], ...]

    @property
    def frames(self) -> int:
        """How many samples each channel has."""
        return sum(map(len, self.parts))

    @property
    def channels(self) -> int:
        """1 of one speaker, 2 of both."""
        return 1 if not self.parts or self.parts[0].ndim == 1 else self.parts[0].shape[1]

    def joined(self) -> Segment:
        """With a copy of the samples."""
        return Segment(self.start_s, _joined(self.parts), self.rate_hz, self.channel, self.talk)


def _joined(parts: list[Pcm]) -> Pcm:
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


class _Held:
    """The blocks that may still be asked for, by sample."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, Pcm]] = deque()
        self.end = 0

    def add(self, block: Pcm) -> None:
        self._blocks.append((self.end, block))
        self.end += len(block)

    def drop(self, before: int) -> None:
        while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) <= before:
            self._blocks.popleft()

    @property
    def start(self) -> int:
        return self._blocks[0][0] if self._blocks else self.end

    def cut(self, start: int, end: int, channel: int | None) -> list[Pcm]:
        """The samples from ``start`` to ``end``, as views of the blocks."""
        parts = []
        for at, block in self._blocks:
            part = block[max(start - at, 0) : max(end - at, 0)]
            if len(part):
                parts.append(part if channel is None else part[:, channel])
        return parts


class _Meters:
    """A detector for each channel; it hears one sample of ``step``, which loses nothing of what was made of fewer."""

    def __init__(self, rate_hz: int, step: int, channels: int) -> None:
        self._natives = [_core.Speech(rate_hz // step) for _ in range(channels)]
        self._step, self._skip, self._end = step, 0, 0

    def write(self, block: Pcm) -> None:
        """Take frames ``(n, channels)``."""
        step, first, self._end = self._step, self._skip, self._end + len(block)
        rows, rest = divmod(max(len(block) - first, 0), step)
        if rows:
            self._hear(block[first : first + rows * step].reshape(rows, -1))
        if rest:
            self._hear(block[len(block) - rest :][:1])
        self._skip = first - len(block) if len(block) < first else -rest % step

    def _hear(self, rows: Pcm) -> None:
        natives = self._natives
        if len(natives) == 2:
            natives[0].write_pair(natives[1], rows)
            return
        for channel, native in enumerate(natives):
            native.write_channel(rows, channel)

    def take(self) -> list[list[_Stretch]]:
        step, end = self._step, self._end
        return [
            [(start * step, min(stop * step, end), energy * step) for start, stop, energy in native.take()]
            for native in self._natives
        ]

    def settled(self) -> list[int]:
        return [min(native.settled() * self._step, self._end) for native in self._natives]

    def finish(self) -> None:
        for native in self._natives:
            native.finish()


@dataclass(slots=True)
class _Open:
    """The piece under way: from its first stretch to the end of its last; and the pauses in it."""

    start: int
    end: int
    pauses: list[tuple[int, int]] = field(default_factory=list)


class _Cutter:
    """Pieces of the talk of some channels together."""

    def __init__(
        self, held: _Held, channels: Sequence[int], rate_hz: int, seconds: float, pause_s: float
    ) -> None:
        self._held, self.channels, self._rate = held, channels, rate_hz
        # What lies around the talk belongs to the piece, and so to its length.
        self._pad = round(_PAD_S * rate_hz)
        self._most = round(seconds * rate_hz) - 2 * self._pad
        self._pause = round(pause_s * rate_hz)
        self._known: list[tuple[int, _Stretch]] = []  # ended, by channel, that no piece has had whole
        self._waiting: list[_Stretch] = []  # ended, and not part of the piece under way
        self._open: _Open | None = None
        self._done = 0  # the sample after the last piece's talk

    def add(self, channel: int, stretches: Iterable[_Stretch]) -> None:
        for stretch in stretches:
            self._known.append((channel, stretch))
            self._waiting.append(stretch)

    def take(self, settled: int, final: bool = False) -> Iterator[tuple[int, int]]:
        """Starts and ends of pieces; no talk that is still to come begins before ``settled``."""
        self._waiting.sort()
        while self._waiting and (final or self._waiting[0][0] < settled):
            start, end, _ = self._waiting.pop(0)
            yield from self._join(start, end)
        if self._open and (final or settled - self._open.end > self._pause):
            yield self._close(self._open.end, self._held.end if final else settled)
        # Somebody talks on and on. Well past the longest piece, so that it makes no difference when this is asked.
        while not final and self._held.end - (first := self._first(settled)) > self._most + self._rate:
            yield from self._join(settled, max(first + self._most, settled, self._done) + 1)

    def _first(self, settled: int) -> int:
        """Where the piece begins, or will, to which talk that begins at ``settled`` belongs."""
        if self._open and settled - self._open.end <= self._pause:
            return self._open.start
        return max(settled, self._done)

    def _join(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        start = max(start, self._done)
        if end <= start:
            return
        if self._open and start - self._open.end > self._pause:
            yield self._close(self._open.end, start)
        piece = self._open
        if piece is None:
            piece = self._open = _Open(start, end)
        else:
            if start > piece.end:
                piece.pauses.append((piece.end, start))
            piece.end = max(piece.end, end)
        while piece.end - piece.start > self._most:
            stop, again = self._place(piece)
            yield self._close(stop, (stop + again) // 2)
            piece = self._open = _Open(
                again, piece.end, [pause for pause in piece.pauses if pause[0] >= again]
            )

    def _place(self, piece: _Open) -> tuple[int, int]:
        """Where the piece under way ends, and the next one begins."""
        fits = [pause for pause in piece.pauses if pause[0] - piece.start <= self._most]
        if fits:
            return fits[-1]
        stop = piece.start + self._most
        first = stop - self._most // 3
        pcm = _joined(self._held.cut(first, stop, None)).astype(np.float32)
        window = max(1, round(_WINDOW_S * self._rate))
        pcm = pcm[: len(pcm) // window * window]
        if not len(pcm):
            return stop, stop
        levels = np.square(pcm).reshape(len(pcm) // window, -1).sum(axis=1)
        place = first + int(levels.argmin()) * window + window // 2
        return place, place

    def _close(self, stop: int, limit: int) -> tuple[int, int]:
        """The piece under way, whose talk ends at ``stop``, with what lies around it, none of it another piece's."""
        assert self._open is not None
        start, self._done = max(self._open.start - self._pad, self._done), min(stop + self._pad, limit)
        self._open = None
        return start, self._done

    def keep_from(self, settled: int) -> int:
        """The first sample that may be asked for again."""
        first = min([settled, *(stretch[0] for stretch in self._waiting[:1])])
        if self._open:
            first = min(first, self._open.start)
        return max(first - self._pad, 0)

    def talk(self, start: int, end: int, settled: Sequence[int]) -> tuple[tuple[Talk, ...], ...]:
        """Who talks when between two samples, by channel. Stretches before them are forgotten."""
        found: dict[int, list[Talk]] = {channel: [] for channel in self.channels}
        under_way = [
            (channel, (settled[channel], end, -1.0)) for channel in self.channels if settled[channel] < end
        ]
        for channel, (first, last, energy) in self._known + under_way:
            if first < end and last > start:
                begin, stop = max(first, start) - start, min(last, end) - start
                level = level_dbfs(energy, last - first) if energy >= 0 else None
                found[channel].append(Talk(round(begin / self._rate, 6), round(stop / self._rate, 6), level))
        self._known = [each for each in self._known if each[1][1] > end]
        return tuple(
            tuple(sorted(found[channel], key=lambda talk: talk.start_s)) for channel in self.channels
        )


class Segmenter:
    """Cuts PCM that comes in blocks: int16 ``(n,)``, or ``(n, 2)`` with a speaker in each channel.

    ``seconds``: the longest piece, 1 to 3600. ``apart``: each speaker's talk for itself; else pieces have both channels
    and are cut where neither talks. ``pause_s``: see above. ``origin_s``: what the first sample's time is called.
    ``heard_hz``: the rate that the audio had before it was resampled; where it divides ``rate_hz`` talk is looked for
    at that rate, in a part of the time.
    Memory holds a piece and a block. Where blocks are cut changes nothing but when pieces come.
    """

    def __init__(
        self,
        rate_hz: int,
        channels: int = 1,
        seconds: float = 30.0,
        *,
        apart: bool = True,
        pause_s: float = PAUSE_S,
        origin_s: float = 0.0,
        heard_hz: int = 0,
    ) -> None:
        if not 8000 <= rate_hz <= 48000:
            raise ArgumentError(f"rate_hz: {rate_hz} is not in 8000 to 48000")
        if not _LEAST_S <= seconds <= _MOST_S:
            raise ArgumentError(f"seconds must be {_LEAST_S:g} to {_MOST_S:g}, not {seconds}")
        if not 0 <= pause_s < float("inf"):
            raise ArgumentError(f"pause_s must be 0 or more, not {pause_s}")
        self._rate, self._origin_s, self._channels = rate_hz, origin_s, channels
        step = rate_hz // heard_hz if heard_hz >= 8000 and not rate_hz % heard_hz else 1
        self._meters = _Meters(rate_hz, step, channels)
        self._held = _Held()
        groups = [[channel] for channel in range(channels)] if apart else [list(range(channels))]
        self._cutters = [_Cutter(self._held, group, rate_hz, seconds, pause_s) for group in groups]
        self._apart = apart

    def write(self, block: Pcm) -> list[Segment]:
        """Take a block; the pieces that are whole."""
        return [piece.joined() for piece in self.cut(block)]

    def finish(self) -> list[Segment]:
        """The pieces that are left."""
        return [piece.joined() for piece in self.rest()]

    def cut(self, block: Pcm) -> list[Piece]:
        """``write`` without a copy: the block may not change as long as a piece of it is in use."""
        if block.dtype != np.int16 or block.shape[1:] != (() if self._channels == 1 else (self._channels,)):
            raise ArgumentError(
                f"need int16 of {self._channels} channels, not {block.dtype} of {block.shape}"
            )
        if not len(block):
            return []
        block = np.ascontiguousarray(block)
        self._held.add(block)
        self._meters.write(block.reshape(len(block), -1))
        return self._take(final=False)

    def rest(self) -> list[Piece]:
        """``finish`` without a copy."""
        self._meters.finish()
        return self._take(final=True)

    def _take(self, final: bool) -> list[Piece]:
        stretches = self._meters.take()
        settled = [self._held.end] * self._channels if final else self._meters.settled()
        pieces, keep = [], self._held.end
        for cutter in self._cutters:
            for channel in cutter.channels:
                cutter.add(channel, stretches[channel])
            known = min(settled[channel] for channel in cutter.channels)
            pieces += [self._piece(cutter, *place, settled) for place in cutter.take(known, final)]
            keep = min(keep, cutter.keep_from(known))
        self._held.drop(keep)
        return sorted(pieces, key=lambda piece: piece.start_s)

    def _piece(self, cutter: _Cutter, start: int, stop: int, settled: Sequence[int]) -> Piece:
        alone = self._apart and self._channels > 1
        return Piece(
            self._origin_s + start / self._rate,
            self._held.cut(start, stop, cutter.channels[0] if alone else None),
            self._rate,
            cutter.channels[0] if self._apart else None,
            cutter.talk(start, stop, settled),
        )


def segments_of(blocks: Iterable[Pcm], segmenter: Segmenter) -> Iterator[Segment]:
    """Every piece of PCM in blocks, in the order in which they end."""
    for block in blocks:
        yield from segmenter.write(block)
    yield from segmenter.finish()
