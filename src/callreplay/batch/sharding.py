"""A worker's part of a data set: calls rendered through one conveyor, cut into pieces, and written shard by shard.

Pieces wait for their shard, in memory as far as that goes and in a temporary file beyond, so that a shard holds them in
the order of its captures however the calls came to an end: the same captures give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import field, replace
from typing import IO, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from callreplay.audio.segments import Segment, Segmenter
from callreplay.batch.destinations import Apart, Destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.batch.shards import Shards, joint_digest, row_name
from callreplay.batch.worker import Feed, Order, _reason, _Work
from callreplay.capture import Call
from callreplay.clock import utc
from callreplay.deferred import dataclass
from callreplay.outputs.formats import Data, Format, Shape, Sink
from callreplay.outputs.options import Options
from callreplay.outputs.samples import Sample, wav_head

__all__ = ["run_shards"]

_SIDES = ("caller", "called")


_Kept = memoryview | tuple[int, int]


class _Spool:
    """Octets that wait: in memory up to ``most``, then in a file without a name."""

    def __init__(self, most: int) -> None:
        self._most, self._used = most, 0
        self._file: IO[bytes] | None = None

    def put(self, data: memoryview) -> _Kept:
        if self._used + len(data) <= self._most:
            self._used += len(data)
            return data
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        at = self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        return at, len(data)

    def take(self, what: _Kept) -> memoryview | bytes:
        if isinstance(what, memoryview):
            self._used -= len(what)
            return what
        assert self._file is not None
        self._file.seek(what[0])
        return self._file.read(what[1])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(slots=True)
class _Part:
    """The samples of one call, in the order in which they came."""

    samples: list[tuple[float, dict[str, Any], bytes, _Kept]] = field(default_factory=list)


class _Parts(Apart):
    """Where the calls of all shards go."""

    def create(self, name: str) -> AbstractContextManager[Any]:
        return nullcontext(_Part())


class _Pieces:
    """A sink that makes no octets: its call's pieces go to the part."""

    def __init__(self, segmenter: Segmenter, about: _About, part: _Part, spool: _Spool) -> None:
        self._segmenter, self._about, self._part, self._spool = segmenter, about, part, spool

    def _keep(self, pieces: Sequence[Segment]) -> bytes:
        for piece in pieces:
            about = self._about.of(piece)
            octets = np.ascontiguousarray(piece.pcm, "<i2").reshape(-1).view(np.uint8)
            kept = self._spool.put(octets.data)
            self._part.samples.append((piece.start_s, about, wav_head(piece.pcm, piece.rate_hz), kept))
        return b""

    def write(self, block: NDArray[np.int16]) -> Data:
        return self._keep(self._segmenter.write(block))

    def finish(self) -> bytes:
        return self._keep(self._segmenter.finish())


class _About:
    """What is known of the pieces of a call."""

    def __init__(self, call: Call, name: str, speakers: tuple[str, ...]) -> None:
        # Readers take a name up to its first dot for the key.
        self._key = quote(os.fsencode(name), safe="/~").replace(".", "%2E")
        self._speakers = speakers  # of the channels; none where they are mixed
        self._call = {
            "call": call.number,
            "call_start": utc(call.start_ns) if call.start_ns else "",
            "call_id": call.description.call_id,
            "caller": call.party("caller"),
            "called": call.party("called"),
            "name": name,
        }

    def of(self, piece: Segment) -> dict[str, Any]:
        speaker = self._speakers[piece.channel] if piece.channel is not None and self._speakers else ""
        owners = [speaker] if piece.channel is not None else list(self._speakers)
        talk = [
            {
                "speaker": owner,
                "start_s": each.start_s,
                "end_s": each.end_s,
                "level_dbfs": each.level_dbfs,
            }
            for owner, of_owner in zip(owners, piece.talk, strict=True)
            for each in of_owner
        ]
        return {
            "key": "-".join(filter(None, (self._key, speaker, f"{round(piece.start_s * 1000):08}"))),
            "speaker": speaker,
            "start_s": round(piece.start_s, 6),
            "duration_s": round(piece.duration_s, 6),
            "frames": len(piece.pcm),
            "channels": 1 if piece.pcm.ndim == 1 else 2,
            "sample_rate_hz": piece.rate_hz,
            **self._call,
            "talk": sorted(talk, key=lambda each: each["start_s"]),
        }


class _ShardWork(_Work):
    """Calls to pieces; without ``channels`` both speakers, each for itself."""

    def __init__(self, feed: Feed, order: Order, shards: Shards, spool: _Spool) -> None:
        self.shards, self._spool = shards, spool
        self._apart = not order.options.channels
        super().__init__(feed, order, _Parts())

    def _form(self) -> Format:
        return Format("wav", (".wav",), "audio/wav", lambda shape, options: _Nothing(), "stereo")

    def _sink(self, call: Call, name: str, shape: Shape, options: Options, file: Any) -> Sink:
        seconds = self.shards.seconds
        apart = self._apart or options.channels != "stereo"
        segmenter = Segmenter(
            shape.rate_hz,
            shape.channels,
            seconds,
            apart=apart,
            origin_s=options.start,
            heard_hz=call.sample_rate_hz,
        )
        speakers = {"stereo": _SIDES, "mono": ()}.get(options.channels, (options.channels,))
        return _Pieces(segmenter, _About(call, name, speakers), file, self._spool)


class _Nothing:
    def write(self, block: NDArray[np.int16]) -> Data:
        return b""

    def finish(self) -> bytes:
        return b""


@dataclass(slots=True)
class _Shard:
    """A shard under way: its members' rows and parts, by member and call."""

    job: Job
    left: dict[int, int]  # rows to come, by member; -1 where that is not known
    rows: dict[tuple[int, int], tuple[Row, _Part | None]] = field(default_factory=dict)


class _Members(Feed):
    """The members of shards as jobs, a shard at a time: the next one begins while the last calls of one end."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._waiting: deque[Job] = deque()
        self._shard_of: dict[int, tuple[_Shard, int]] = {}

    def more(self, wait: bool) -> Sequence[Job] | None:
        if not self._waiting:
            jobs = self._feed.more(wait)
            if jobs is None:
                return None
            self._waiting += jobs
        if not self._waiting:
            return []
        job = self._waiting.popleft()
        shard = _Shard(job, dict.fromkeys(range(len(job.members)), -1))
        for at, member in enumerate(job.members):
            self._shard_of[id(member)] = shard, at
        return job.members

    def stopped(self) -> bool:
        return self._feed.stopped()

    def dropped(self) -> bool:
        return self._feed.dropped()

    def take(self, member: Job, row: Row, part: _Part | None) -> _Shard | None:
        """Take a row in; its shard where it was the last one of it."""
        shard, at = self._shard_of[id(member)]
        shard.rows[at, row.call] = row, None if row.error else part
        left = shard.left[at] - 1 if shard.left[at] >= 0 else max(row.calls, 1) - 1
        if left:
            shard.left[at] = left
            return None
        del shard.left[at], self._shard_of[id(member)]
        return None if shard.left else shard


class _Counted:
    """A file, with its octets and digest so far."""

    def __init__(self, file: Any) -> None:
        self._file, self.size, self._digest = file, 0, hashlib.sha256()

    def write(self, data: Any) -> int:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _write(shard: _Shard, shards: Shards, spool: _Spool, destination: Destination, feed: Feed) -> list[Row]:
    """Make a shard appear, with everything that its calls gave; their rows. What goes wrong costs all of them."""
    job, kind = shard.job, shards.kind
    ordered = [shard.rows[place] for place in sorted(shard.rows)]
    names = [
        row_name(kind, job.name, job.members[at].output(max(call, 1), "")) for at, call in sorted(shard.rows)
    ]
    rows = [replace(row, output=name) for (row, _), name in zip(ordered, names, strict=True)]
    parts = [part for _, part in ordered if part is not None]
    if not parts:
        return rows
    try:
        with ExitStack() as stack:
            # The last file appears first: the shard is known by its first one.
            files = [_Counted(stack.enter_context(destination.create(name))) for name in kind.files(job.name)]
            writer = kind.open(files)
            for part in parts:
                for _, about, head, kept in sorted(part.samples, key=lambda each: (each[0], each[1]["key"])):
                    writer.add(Sample(about["key"], about, head, spool.take(kept)))
                part.samples.clear()
            writer.finish()
            size = sum(file.size for file in files)
            digest = joint_digest(file.hexdigest() for file in files)
            rows = [row if row.error else replace(row, size=size, sha256=digest) for row in rows]
            for row in rows:
                feed.note(job, row)
    except (OSError, ValueError, MemoryError) as error:
        rows = [row if row.error else replace(row, size=0, sha256="", error=_reason(error)) for row in rows]
    return rows


def run_shards(feed: Feed, order: Order, destination: Destination) -> Iterator[tuple[Job, Row]]:
    """Make shards of jobs that have members; the rows of a shard when it stands. Closed early, no half one stays."""
    shards = order.shards
    assert shards is not None
    members = _Members(feed)
    with closing(_Spool(order.memory // 4)) as spool:
        work = _ShardWork(members, replace(order, memory=order.memory - order.memory // 4), shards, spool)
        yield from _made(work, members, spool, destination, feed)


def _made(
    work: _ShardWork, members: _Members, spool: _Spool, destination: Destination, feed: Feed
) -> Iterator[tuple[Job, Row]]:
    with closing(work.rows()) as done:
        for member, row, part in done:
            if (shard := members.take(member, row, part)) is None:
                continue
            for row_of_shard in _write(shard, work.shards, spool, destination, feed):
                yield shard.job, row_of_shard
            feed.done(shard.job)
