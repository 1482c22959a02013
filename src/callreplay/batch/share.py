"""One share of a batch: captures opened, their calls rendered through one conveyor, outputs written as they fill.

This is what a worker process, a thread or a Ray task runs. It keeps as many calls open as its memory allows, so that
lanes stay full, and gives one row per output.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay.batch.destinations import Destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.formats import Data, Format, Options, PooledSink, Sink, format_of
from callreplay.mix import RenderGroup
from callreplay.model import Intact, mappings
from callreplay.pipeline import Call, open_capture

__all__ = ["Order", "job_key", "run_share"]

_OPEN_BYTES: Final = 2 << 20  # of one open call, besides its columns: mixer, sink and file
# Calls: enough legs for the widest lanes; more would only end one by one and leave lanes empty.
_MAX_OPEN: Final = 32
# Of a format whose files are made together: work is put off until so much has come, or so many calls wait to be ended.
_POOL_SECONDS: Final = 1024.0
_POOL_ENDED: Final = 8
_LONGEST_REASON: Final = 500  # characters
_FAULTS: Final = (OSError, ValueError, MemoryError)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of every call."""

    format: str
    options: Options
    memory: int = 1 << 30  # octets for one share's open calls

    def suffix(self) -> str:
        """The outputs' suffix."""
        return format_of(self.format).suffixes[0]


@dataclass(slots=True)
class _Progress:
    """One capture under way: how many of its calls are still open."""

    job: Job
    key: str
    calls: int


@dataclass(slots=True)
class _Open:
    """One call under way."""

    source: _Progress
    call: Call
    name: str
    sink: Sink
    file: Any
    stack: ExitStack
    cost: int
    rate_hz: int
    files: list[Intact]
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def take(self, data: Data) -> None:
        if data:
            self.file.write(data)
            self.digest.update(data)
            self.size += len(data)


def job_key(job: Job, order: Order) -> str:
    """A fingerprint of the inputs and of what is made of them: equal keys give equal outputs."""
    from callreplay import __version__

    facts = (job.captures, job.name, sorted(job.codecs.items()), job.size, job.modified_ns)
    return hashlib.sha256(repr((__version__, facts, order.format, order.options)).encode()).hexdigest()[:16]


def _cost(job: Job) -> int:
    """Octets of memory that an open capture takes: its columns, about a sixth of a file of small packets."""
    size = job.size or sum(os.path.getsize(p) for p in job.captures if os.path.exists(p))  # noqa: PTH110, PTH202
    return _OPEN_BYTES + size // 4


def _reason(error: BaseException) -> str:
    # obstore's messages end with pages of what its library knows.
    text = " ".join(str(error).partition("\nDebug source:")[0].split())[:_LONGEST_REASON]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def run_share(
    jobs: Sequence[Job],
    order: Order,
    destination: Destination,
    before: Callable[[Row], None] = lambda _: None,
    finish: Callable[[], bool] = lambda: False,
) -> Iterator[Row]:
    """Transcode every call of the jobs; one row per output, as it finishes. A bad input costs its own row.

    ``before`` is given each row just before its output appears; once ``finish`` says True, no more calls are begun.
    Closed early, nothing half written stays.
    """
    yield from _Share(order, destination, jobs, before, finish).rows()


class _Share:
    def __init__(
        self,
        order: Order,
        destination: Destination,
        jobs: Sequence[Job],
        before: Callable[[Row], None],
        finish: Callable[[], bool],
    ) -> None:
        self.order, self.destination, self.before, self.finish = order, destination, before, finish
        self.form: Format = format_of(order.format)
        # Long calls first: the short ones fill the lanes that fall free, to the end.
        self.waiting = deque(sorted(jobs, key=lambda job: -job.size))
        self.ready: deque[tuple[_Progress, Call, int]] = deque()
        self.open: dict[int, _Open] = {}
        self.pool = self.form.pool() if self.form.pool else None
        self.pooled_s = 0.0
        self.ended: list[_Open] = []  # whose last samples wait in the pool
        self.group = RenderGroup()
        self.used = 0
        self.clock = time.process_time()
        self.done: list[Row] = []

    def rows(self) -> Iterator[Row]:
        try:
            yield from self._work()
        finally:
            for opened in (*self.open.values(), *self.ended):
                opened.stack.__exit__(GeneratorExit, GeneratorExit(), None)

    def _work(self) -> Iterator[Row]:
        self._fill()
        yield from self._spend()
        while self.open:
            found = self.group.read()
            if found is None:
                break
            number, block, last = found
            self._feed(number, block, last)
            if last:
                self._fill()
            if self.pooled_s >= _POOL_SECONDS or len(self.ended) >= _POOL_ENDED:
                self._encode()
            yield from self._spend()
        self._encode()
        yield from self._spend()

    def _spend(self) -> Iterator[Row]:
        """Hand out what is done; its CPU time is what passed since the last time."""
        if not self.done:
            return
        rows, self.done = self.done, []
        now = time.process_time()
        spent, self.clock = now - self.clock, now
        total = sum(row.duration_s for row in rows) or 1.0
        for row in rows:
            yield _with_seconds(row, spent * row.duration_s / total)

    def _fill(self) -> None:
        if self.finish():
            self.ready.clear()
            self.waiting.clear()
        while (self.ready or self.waiting) and len(self.open) < _MAX_OPEN:
            if not self.ready:
                cost = _cost(self.waiting[0])
                if self.ended and self.used + cost > self.order.memory:
                    self._encode()
                if self.open and self.used + cost > self.order.memory:
                    return
                self._open_capture(self.waiting.popleft(), cost)
                continue
            self._open_call(*self.ready.popleft())

    def _open_capture(self, job: Job, cost: int) -> None:
        key = job_key(job, self.order)
        try:
            capture = open_capture(*job.captures, codecs=job.codecs)
        except (OSError, ValueError, MemoryError) as error:
            self.done.append(Row(job.captures[0], "", 0, key, error=_reason(error), finished=time.time()))
            return
        if not capture.calls:
            why = f"no call was found ({capture.why_empty()})"
            self.done.append(Row(job.captures[0], "", 0, key, error=why, finished=time.time()))
            return
        progress = _Progress(job, key, len(capture.calls))
        self.ready += [
            (progress, call, cost // len(capture.calls))
            for call in capture.calls
            if call.number not in job.skip
        ]

    def _open_call(self, source: _Progress, call: Call, cost: int) -> None:
        name = source.job.output(call.number, self.order.suffix())
        with ExitStack() as stack:
            try:
                shape, options = call.prepare(self.form, self.order.options)
                file = stack.enter_context(self.destination.create(name))
                start_ns = call.start_ns + round(options.start * 1e9)
                stop_ns = start_ns + round(shape.frames * 1e9 / shape.rate_hz)
                number = self.group.add(
                    [leg.columns for leg in call.legs],
                    shape.rate_hz,
                    options.channels,  # type: ignore[arg-type]
                    options.dtmf,  # type: ignore[arg-type]
                    events=[leg.events for leg in call.legs],
                    external=[leg.external() for leg in call.legs],
                    origin_ns=start_ns,
                    stop_ns=stop_ns,
                )
                sink = self.form.open(shape, options)
                files = mappings(*(array for leg in call.legs for array in leg.columns.arrays))
                opened = _Open(source, call, name, sink, file, stack.pop_all(), cost, shape.rate_hz, files)
            except (OSError, ValueError, MemoryError) as error:
                self.done.append(self._row(source, call, name, error=_reason(error)))
                return
        self.open[number] = opened
        self.used += cost

    def _feed(self, number: int, block: NDArray[np.int16], last: bool) -> None:
        opened = self.open.get(number)
        if opened is None:
            return  # its output failed; the rest of its audio is not wanted
        if last:
            del self.open[number]
        try:
            for mapped in opened.files:
                mapped.check()
            if self.pool is None:
                if len(block):
                    opened.take(opened.sink.write(block))
                if last:
                    opened.take(opened.sink.finish())
                    self._close(opened)
                return
            sink: PooledSink = opened.sink  # type: ignore[assignment]  # its format has a pool
            if len(block):
                sink.push(block)
                self.pooled_s += len(block) / opened.rate_hz
            if last:
                sink.end()
                self.ended.append(opened)
        except _FAULTS as error:
            self.open.pop(number, None)
            self._fail(opened, error)

    def _encode(self) -> None:
        """Have the pool do what has come together."""
        if self.pool is None:
            return
        numbers, ended = list(self.open), self.ended
        made = self.pool.encode([opened.sink for opened in (*self.open.values(), *ended)])
        self.ended, self.pooled_s = [], 0.0
        for number, data in zip(numbers, made, strict=False):
            try:
                self.open[number].take(data)
            except _FAULTS as error:
                self._fail(self.open.pop(number), error)
        for opened, data in zip(ended, made[len(numbers) :], strict=True):
            try:
                opened.take(data)
                self._close(opened)
            except _FAULTS as error:
                self._fail(opened, error)

    def _close(self, opened: _Open) -> None:
        """Let the whole output appear."""
        row = self._row(opened.source, opened.call, opened.name, opened)
        self.before(row)
        opened.stack.close()
        self.used -= opened.cost
        self.done.append(row)

    def _fail(self, opened: _Open, error: Exception) -> None:
        """What goes wrong with one output costs its own row."""
        opened.stack.__exit__(type(error), error, error.__traceback__)
        self.used -= opened.cost
        self.done.append(self._row(opened.source, opened.call, opened.name, error=_reason(error)))

    def _row(
        self, source: _Progress, call: Call, name: str, opened: _Open | None = None, error: str = ""
    ) -> Row:
        legs = [leg.statistics for leg in call.legs]
        lost = sum(leg.lost for leg in legs)
        expected = sum(leg.packets - leg.duplicates for leg in legs) + lost
        scores = [leg.mos for leg in legs if leg.mos is not None]
        return Row(
            source.job.captures[0],
            name,
            call.number,
            source.key,
            source.calls,
            opened.digest.hexdigest() if opened else "",
            opened.size if opened else 0,
            round(call.duration_s, 6),
            "/".join(dict.fromkeys(codec.name for leg in call.legs for codec in leg.codecs)),
            sum(leg.packets for leg in legs),
            lost,
            round(lost / expected, 6) if expected > 0 else 0.0,
            min(scores, default=None),
            error=error,
            finished=time.time(),
        )


def _with_seconds(row: Row, seconds: float) -> Row:
    from dataclasses import replace

    return replace(row, seconds=round(seconds, 6))
