"""One worker's part of a batch: captures opened, calls rendered through one conveyor, outputs written as they fill.

This is what a worker process, a thread or a Ray task runs. It keeps as many calls open as its memory allows, and asks
for more before it runs out of them, so that lanes stay full to the end; it gives one row per output.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import field, replace
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from callreplay._version import __version__
from callreplay.audio.external import decoders
from callreplay.audio.legs import in_lanes
from callreplay.audio.mix import RenderGroup
from callreplay.batch.closing import Closer
from callreplay.batch.destinations import Apart, Destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import LEGS, Row, with_seconds
from callreplay.batch.shards import Shards
from callreplay.capture import Call, open_capture
from callreplay.clock import utc
from callreplay.deferred import dataclass
from callreplay.errors import StateError
from callreplay.model import Intact, mappings
from callreplay.outputs.formats import Data, Format, PooledSink, Shape, Sink, format_of
from callreplay.outputs.options import Options

__all__ = [
    "LEAST_MEMORY",
    "WORKER_MEMORY",
    "Feed",
    "Order",
    "job_key",
    "run_feed",
    "run_in_memory",
    "run_share",
]

WORKER_MEMORY: Final = 512 << 20
"""Octets that keep the lanes of one worker full, whatever the format."""
LEAST_MEMORY: Final = 128 << 20
"""Octets for a worker and a call or a few."""

# Octets, measured with some to spare: of a worker before its first call; of an open call besides its columns (decoder,
# mixer, sink, file, what is resident of the capture); and more where its audio waits in a pool.
_WORKER_BYTES: Final = 96 << 20
_OPEN_BYTES: Final = 3 << 20
_POOLED_BYTES: Final = 3 << 20
# Calls: enough legs for the widest lanes; more would only end one by one and leave lanes empty.
_MAX_OPEN: Final = 32
# Opened one after the other: what opens calls and what renders them leave each other no cache, and each finds its own
# cold. The lanes do not miss them: half as many legs fill the widest.
_TOGETHER: Final = 12
# Octets of captures, and calls. Those that need no lanes gain nothing by others beside them, and the others by no more
# than fill the lanes: what is opened is rendered while it lies in the processor's caches (their last level has 16 MiB
# or more for a few cores). A few are open all the same, so no lane stays empty and none waits for a long one's end.
_NEAR_BYTES: Final = 8 << 20
_NEAR_CALLS: Final = 4
_FEW_ALONE: Final = 2  # calls that together do not fill the lanes
_FEW: Final = 12  # jobs waiting to be opened: time to ask for more
_DROP_BLOCKS: Final = 8  # of a call, until the pages of its capture that they took are given back
# Of a call at a time within the engine. Streams that have lost a packet at the end of a round look beyond it, and the
# others' lanes wait for them: the longer a round, the less.
_ROUND_MS: Final = 240
_BLOCK_MS: Final = (
    8000  # of a call at a time: a block costs Python as much as a second of G.711 costs the engine
)
# Of a format whose files are made together: work is put off until so much has come, or so many calls wait to be ended.
_POOL_SECONDS: Final = 2048.0
_POOL_ENDED: Final = 32
_LONGEST_REASON: Final = 500  # characters
_MOST_WARNINGS: Final = 50
_FAULTS: Final = (OSError, ValueError, MemoryError)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of every call."""

    format: str
    options: Options
    memory: int = WORKER_MEMORY  # octets for one worker
    speech: bool = False  # rows tell who talks how long
    shards: Shards | None = None  # pieces of the calls, many in one output

    def suffix(self) -> str:
        """The outputs' suffix, with the leg where they are of one: ``.wav``, ``.caller.wav``."""
        if self.shards is not None:
            return ""
        return LEGS.get(self.options.channels, "") + format_of(self.format).suffixes[0]


class Feed:
    """Where a worker's jobs come from, and who is told what becomes of them."""

    def more(self, wait: bool) -> Sequence[Job] | None:
        """Jobs to take on, perhaps none for now; ``wait`` for them: there is nothing else to do. None: no more ever."""
        raise NotImplementedError

    def stopped(self) -> bool:
        """Whether no more calls are to be begun; those under way are finished."""
        return False

    def dropped(self) -> bool:
        """Whether not even the calls under way are wanted any more. Asked after every block of audio."""
        return False

    def note(self, job: Job, row: Row) -> None:
        """Take note of a row of the job just before its output appears."""

    def done(self, job: Job) -> None:
        """All rows of the job were given."""


class _Listed(Feed):
    """A feed of a list."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs: Sequence[Job] | None = jobs

    def more(self, wait: bool) -> Sequence[Job] | None:
        jobs, self._jobs = self._jobs, None
        return jobs


@dataclass(slots=True)
class _Progress:
    """One capture under way: how many calls it has, and how many of the rows wanted of it are still to come."""

    job: Job
    key: str
    octets: int = 0  # of the captures
    calls: int = 0
    left: int = 1


@dataclass(slots=True)
class _Open:
    """One call under way."""

    source: _Progress
    call: Call
    name: str
    sink: Sink
    file: Any
    place: AbstractContextManager[Any]  # where its file appears
    cost: int
    rate_hz: int
    frames: int
    octets: int  # its share of the captures
    laned: bool  # other calls with its codecs make it cheaper
    files: list[Intact]
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    blocks: int = 0

    def drop_behind(self) -> None:
        """Give back, now and then, what of the capture is resident: else all of a long one would be in the end."""
        self.blocks += 1
        if self.blocks % _DROP_BLOCKS == 0:
            self.call.release()

    def take(self, data: Data) -> None:
        if data:
            self.file.write(data)
            self.digest.update(data)
            self.size += len(data)


def job_key(job: Job, order: Order, wanted: str = "") -> str:
    """A fingerprint of the inputs and of what is made of them: equal keys give equal outputs.

    ``wanted`` is what the order comes to here, where that is known already.
    """
    wanted = wanted or _wanted(order)
    facts = (job.captures, job.name, sorted(job.codecs.items()), job.size, job.modified_ns)
    if job.members:
        facts = tuple(job_key(member, order, wanted) for member in job.members)  # type: ignore[assignment]
    return hashlib.sha256(f"({__version__!r}, {facts!r}, {wanted})".encode()).hexdigest()[:16]


@lru_cache(8)
def _wanted(order: Order) -> str:
    wanted = f"{order.format!r}, {order.options!r}"
    return wanted if order.shards is None else f"{wanted}, {order.shards.law!r}"


def _octets(job: Job) -> int:
    return job.size or sum(os.path.getsize(p) for p in job.captures if os.path.exists(p))  # noqa: PTH110, PTH202


def _cost(octets: int, pooled: bool) -> int:
    """Octets of memory that an open capture takes. Its columns are up to a third of a file of small packets."""
    return _OPEN_BYTES + _POOLED_BYTES * pooled + octets // 3


def _known(call: Call, speech: bool) -> dict[str, Any]:
    """What a row tells of the call itself; with ``speech`` who talks how long."""
    said: dict[str, Any] = {
        "caller": call.party("caller"),
        "called": call.party("called"),
        "start": utc(call.start_ns) if call.start_ns else "",
        "call_id": call.description.call_id,
        "one_way": call.caller.empty or call.called.empty,
        "sides_inferred": call.sides_inferred,
    }
    if speech:
        figures = call.speech()
        said |= {
            "caller_talk_s": figures.caller.talk_s,
            "called_talk_s": figures.called.talk_s,
            "silence_s": figures.silence_s,
            "overlap_s": figures.overlap_s,
            "interruptions": figures.caller.interruptions + figures.called.interruptions,
            "longest_monologue_s": max(
                figures.caller.longest_monologue_s, figures.called.longest_monologue_s
            ),
        }
    return said


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:_LONGEST_REASON]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def run_share(jobs: Sequence[Job], order: Order, destination: Destination) -> Iterator[Row]:
    """Transcode every call of the jobs; one row per output, as it finishes. A bad input costs its own row.

    Closed early, nothing half written stays.
    """
    for _, row in run_feed(_Listed(jobs), order, destination):
        yield row


def run_feed(feed: Feed, order: Order, destination: Destination) -> Iterator[tuple[Job, Row]]:
    """``run_share`` of jobs that come as the work goes on; each row with its job."""
    if order.shards is not None:
        from callreplay.batch.sharding import run_shards

        yield from run_shards(feed, order, destination)
        return
    with closing(_Work(feed, order, destination).rows()) as done:
        for job, row, _ in done:
            yield job, row


def run_in_memory(feed: Feed, order: Order) -> Iterator[tuple[Row, bytes | None]]:
    """``run_feed`` without a destination: each row with the octets of its output, None where there is none."""
    with closing(_Work(feed, order, Apart()).rows()) as done:
        for _, row, file in done:
            yield row, None if file is None else bytes(file)


_Done = tuple[Job, Row, Any]  # with the file, whole, of a destination that does not wait


class _Work:
    most_open = _MAX_OPEN

    def __init__(self, feed: Feed, order: Order, destination: Destination) -> None:
        self.feed, self.order, self.destination = feed, order, destination
        self.form: Format = self._form()
        self.wanted, self.suffix = _wanted(order), order.suffix()
        self.waiting: deque[Job] = deque()
        self.fed_up = False  # no more jobs will come
        self.ready: deque[tuple[_Progress, Call, int]] = deque()
        self.open: dict[int, _Open] = {}
        self.near = self.laned = 0  # octets of their captures, and how many of them others make cheaper
        self.pool = self.form.pool() if self.form.pool else None
        self.pooled_s = 0.0
        self.ended: list[_Open] = []  # whose last samples wait in the pool
        self.closer: Closer[tuple[_Progress, Row]] | None = Closer() if destination.waits else None
        self.group = RenderGroup(block_ms=_ROUND_MS, gather_ms=_BLOCK_MS)
        self.apart: dict[int, Iterator[NDArray[np.int16]]] = {}  # calls that are rendered by themselves
        self.used = 0
        self.clock = time.thread_time()
        self.aside_s = 0.0  # CPU seconds of the closer's threads
        self.done: list[_Done] = []
        self.whole: list[Job] = []  # whose last row is in ``done``

    def _form(self) -> Format:
        return format_of(self.order.format)

    def _sink(self, call: Call, name: str, shape: Shape, options: Options, file: Any) -> Sink:
        """What makes the output's octets; ``file`` is where they go."""
        return self.form.open(shape, options)

    def rows(self) -> Generator[_Done, None, None]:
        try:
            yield from self._work()
        finally:
            if self.closer is not None:
                self.closer.close()
            for opened in (*self.open.values(), *self.ended):
                opened.place.__exit__(GeneratorExit, GeneratorExit(), None)

    def _work(self) -> Iterator[_Done]:
        while True:
            yield from self._fill()
            if self.feed.dropped():
                return
            if not self.open:
                # What the pool and the disk still hold is not kept back while jobs are waited for.
                self._encode()
                self._collect(every=True)
                yield from self._spend()
                if not self._wait():
                    return
            last = False
            while self.open and not last:
                found = self._next()
                if found is None:
                    raise StateError("the conveyor ran dry with calls under way")
                number, block, last = found
                self._feed(number, block, last)
                if self.feed.dropped():
                    return
                if self.pooled_s >= _POOL_SECONDS or len(self.ended) >= _POOL_ENDED:
                    self._encode()
                self._collect()
                if self.done or self.whole:
                    yield from self._spend()

    def _spend(self) -> Iterator[_Done]:
        """Hand out what is done; its CPU time is what passed since the last output."""
        rows, self.done = self.done, []
        whole, self.whole = self.whole, []
        total = sum(row.duration_s for _, row, _ in rows)
        rate = 0.0
        if total:
            now = time.thread_time()
            rate = (max(now - self.clock, 0.0) + self.aside_s) / total
            self.clock, self.aside_s = now, 0.0
        for job, row, file in rows:
            yield job, with_seconds(row, round(rate * row.duration_s, 6)), file
        for job in whole:
            self.feed.done(job)

    def _wait(self) -> bool:
        """Wait for jobs; whether there are any, or may be."""
        if self.fed_up or self.feed.stopped():
            return False
        self._take_on(self.feed.more(wait=True))
        return not self.fed_up

    def _take_on(self, jobs: Sequence[Job] | None) -> None:
        if jobs is None:
            self.fed_up = True
            return
        if jobs:
            self.waiting = self._queued(jobs)

    def _queued(self, jobs: Sequence[Job]) -> deque[Job]:
        """What waits, with more: long calls first, so that short ones fill the lanes that fall free, to the end."""
        return deque(sorted([*self.waiting, *jobs], key=lambda job: -job.size))

    def _fill(self) -> Iterator[_Done]:
        """Open what there is room for. What cannot be opened is told of at once: it may be everything."""
        if len(self.open) > self.most_open - _TOGETHER or self._near(_NEAR_BYTES // 2, _NEAR_CALLS // 2):
            return
        while len(self.open) < self.most_open and not self._near(_NEAR_BYTES, _NEAR_CALLS):
            if self.done or self.whole:
                yield from self._spend()
            if self.feed.stopped():
                self.ready.clear()
                self.waiting.clear()
                return
            if len(self.waiting) <= _FEW and not self.fed_up:
                self._take_on(self.feed.more(wait=False))
            if self.ready:
                self._open_call(*self.ready.popleft())
                continue
            if not self.waiting:
                return
            octets = _octets(self.waiting[0])
            cost = _cost(octets, self.pool is not None)
            if self.ended and not self._fits(cost):
                self._encode()
            if self.open and not self._fits(cost):
                return
            self._open_capture(self.waiting.popleft(), octets, cost)

    def _near(self, octets: int, calls: int) -> bool:
        """Whether enough is open: the calls that go on, ``calls`` more, and ``octets`` of captures in all."""
        if self.near < octets or self.pool is not None:
            return False
        return (self.group.waiting if self.laned else len(self.open)) >= calls

    def _leave(self, number: int) -> _Open:
        """A call that is under way no more."""
        opened = self.open.pop(number)
        self.near -= opened.octets
        self.laned -= opened.laned
        return opened

    def _fits(self, cost: int) -> bool:
        return _WORKER_BYTES + self.used + cost <= self.order.memory

    def _tell(self, source: _Progress, row: Row, file: Any = None) -> None:
        self.done.append((source.job, row, file))
        source.left -= 1
        if not source.left:
            self.whole.append(source.job)

    def _open_capture(self, job: Job, octets: int, cost: int) -> None:
        source = _Progress(job, job_key(job, self.order, self.wanted), octets)
        try:
            capture = open_capture(*(job.stored or job.captures), codecs=job.codecs)
            error = "" if capture.calls else f"no call was found ({capture.why_empty()})"
        except _FAULTS as fault:
            error = _reason(fault)
        if error:
            name = job.output(1, self.suffix)
            self._tell(source, Row(job.captures[0], name, 0, source.key, error=error, finished=time.time()))
            return
        calls = [call for call in capture.calls if call.number not in job.skip]
        source.calls, source.left = len(capture.calls), len(calls)
        if not calls:
            self.whole.append(job)
        self.ready += [(source, call, cost // len(capture.calls)) for call in calls]

    def _open_call(self, source: _Progress, call: Call, cost: int) -> None:
        name = source.job.output(call.number, self.suffix)
        try:
            shape, options = call.prepare(self.form, self.order.options)
            place = self.destination.create(name)
            file = place.__enter__()
            try:
                number = self._render(call, shape, options)
                sink = self._sink(call, name, shape, options, file)
            except BaseException as error:  # nothing stands under the name of what failed
                place.__exit__(type(error), error, error.__traceback__)
                raise
        except _FAULTS as error:
            self._tell(source, self._row(source, call, name, error=_reason(error)))
            return
        opened = _Open(
            source,
            call,
            name,
            sink,
            file,
            place,
            cost,
            shape.rate_hz,
            shape.frames,
            source.octets // source.calls,
            any(in_lanes(span.codec) for leg in call.legs for span in leg.columns.spans),
            mappings(*call.caller.columns.arrays, *call.called.columns.arrays),
        )
        self.open[number] = opened
        self.near += opened.octets
        self.laned += opened.laned
        self.used += cost

    def _render(self, call: Call, shape: Shape, options: Options) -> int:
        """Have a call rendered with the others, or by itself where its mix is mastered; its number."""
        if options.mastered:
            number = min(self.apart, default=0) - 1
            self.apart[number] = iter(call.renderer(options))
            return number
        start_ns = call.start_ns + round(options.start * 1e9)
        stop_ns = start_ns + round(shape.frames * 1e9 / shape.rate_hz)
        return self.group.add(
            [leg.columns for leg in call.legs],
            shape.rate_hz,
            options.channels,  # type: ignore[arg-type]
            options.dtmf,  # type: ignore[arg-type]
            events=[leg.events for leg in call.legs],
            external=[leg.external() for leg in call.legs],
            concealment=options.concealment,  # type: ignore[arg-type]
            origin_ns=start_ns,
            stop_ns=stop_ns,
            alone=len(self.open) + len(self.ready) + len(self.waiting) < _FEW_ALONE,
        )

    def _next(self) -> tuple[int, NDArray[np.int16], bool] | None:
        """The next block of any call."""
        for number, blocks in self.apart.items():
            try:
                block = next(blocks, None)
            except _FAULTS as error:
                del self.apart[number]
                self._fail(self._leave(number), error)
                return number, np.zeros(0, np.int16), True
            if block is not None:
                return number, block, False
            del self.apart[number]
            return number, np.zeros(0, np.int16), True
        return self.group.read()

    def _feed(self, number: int, block: NDArray[np.int16], last: bool) -> None:
        opened = self.open.get(number)
        if opened is None:
            return  # its output failed; the rest of its audio is not wanted
        if last:
            self._leave(number)
        try:
            for mapped in opened.files:
                mapped.check()
            opened.drop_behind()
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
            if number in self.open:
                self._leave(number)
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
                self._fail(self._leave(number), error)
        for opened, data in zip(ended, made[len(numbers) :], strict=True):
            try:
                opened.take(data)
                self._close(opened)
            except _FAULTS as error:
                self._fail(opened, error)

    def _close(self, opened: _Open) -> None:
        """Let the whole output appear."""
        row = self._row(opened.source, opened.call, opened.name, opened)
        self.feed.note(opened.source.job, row)
        if self.closer is None:
            opened.place.__exit__(None, None, None)
            self._tell(opened.source, row, opened.file)
        else:
            self.closer.put((opened.source, row), partial(opened.place.__exit__, None, None, None))
        self.used -= opened.cost

    def _collect(self, *, every: bool = False) -> None:
        """The rows of outputs that have appeared; ``every``: of all, after waiting for them."""
        if self.closer is None:
            return
        for (source, row), seconds, error in self.closer.take(every=every):
            self.aside_s += seconds
            if error is not None:
                if not isinstance(error, _FAULTS):
                    raise error
                row = replace(row, sha256="", size=0, duration_s=0.0, error=_reason(error))  # noqa: PLW2901
            self._tell(source, row)

    def _fail(self, opened: _Open, error: Exception) -> None:
        """What goes wrong with one output costs its own row."""
        opened.place.__exit__(type(error), error, error.__traceback__)
        self.used -= opened.cost
        self._tell(opened.source, self._row(opened.source, opened.call, opened.name, error=_reason(error)))

    def _row(
        self, source: _Progress, call: Call, name: str, opened: _Open | None = None, error: str = ""
    ) -> Row:
        one, other = call.caller.statistics, call.called.statistics
        packets, lost = one.packets + other.packets, one.lost + other.lost
        expected = packets - one.duplicates - other.duplicates + lost
        scores = [leg.mos for leg in (one, other) if leg.mos is not None]
        silent = bool(call.undecoded)
        return Row(
            source.job.captures[0],
            name,
            call.number,
            source.key,
            source.calls,
            opened.digest.hexdigest() if opened else "",
            opened.size if opened else 0,
            round(opened.frames / opened.rate_hz, 6) if opened else 0.0,
            "/".join(dict.fromkeys([span.codec.name for leg in call.legs for span in leg.columns.spans])),
            packets,
            lost,
            round(lost / expected, 6) if expected > 0 else 0.0,
            None if silent else min(scores, default=None),
            error=error,
            finished=time.time(),
            warnings=tuple(line[:_LONGEST_REASON] for line in call.all_warnings()[:_MOST_WARNINGS]),
            decoders=decoders() if silent else None,
            **_known(call, opened is not None and self.order.speech),
        )
