"""A worker's part of a data set: calls rendered through one conveyor, cut into pieces, and written shard by shard.

Pieces wait for their shard, in memory as far as that goes and in a temporary file beyond, so that a shard holds them in
the order of its captures however the calls came to an end: the same captures give the same bytes.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import field, replace
from typing import IO, Any, Final
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from callreplay.audio.segments import Piece, Segmenter
from callreplay.batch.destinations import Apart, Destination
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.batch.shards import RATE_HZ, Shards, joint_digest, row_name
from callreplay.batch.worker import Feed, Order, _Progress, _reason, _Work
from callreplay.capture import Call
from callreplay.clock import utc
from callreplay.deferred import dataclass
from callreplay.outputs.formats import Data, Format, Shape, Sink
from callreplay.outputs.options import Options
from callreplay.outputs.samples import Sample, wav_head

__all__ = ["run_shards"]

_SIDES = ("caller", "called")


_SLAB: Final = 8 << 20  # octets, or as many as the longest piece has
_STEP: Final = 128 << 10  # octets that fit into a core's own cache
_CALLS: Final = 192 << 20  # octets of a worker for its open calls, that leave lanes full

_Pcm = NDArray[np.int16]


class _Slab:
    """Memory that pieces fill from its start; used again when the last of them is gone."""

    def __init__(self, size: int) -> None:
        self.room = np.empty(size, np.uint8)  # of huge pages where the system has them: NumPy asks for those
        self.used = self.pieces = 0
        self.full = False  # nothing more comes to it


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where a piece waits: octets of a slab, or of the file."""

    slab: _Slab | None
    at: int
    size: int


def _lay(parts: list[_Pcm], room: NDArray[np.uint8]) -> None:
    """Put samples into octets: little-endian, one part after the other."""
    if parts:
        np.concatenate(parts, out=room.view("<i2").reshape(-1, *parts[0].shape[1:]))


class _Spool:
    """PCM that waits: in memory up to ``most`` octets, then in a file without a name. No piece is above ``longest``.

    Each sample is copied once, into memory that is used again and again: to have fresh memory from the system costs
    more than to write to it.
    """

    def __init__(self, most: int, longest: int) -> None:
        self._size = max(_SLAB, longest)
        self._left = most // self._size  # slabs that may still be made
        self._free: list[_Slab] = []
        self._filling: dict[int, _Slab] = {}  # by shelf
        self._file: IO[bytes] | None = None
        self._room = np.zeros(0, np.uint8)  # for what goes to the file and comes from it

    def put(self, parts: list[_Pcm], shelf: int) -> _Kept:
        """Take the samples of a piece. What is on one ``shelf`` will be taken together."""
        size = sum(part.nbytes for part in parts)
        slab = self._with_room(size, shelf)
        if slab is None:
            return self._write(parts, size)
        at = slab.used
        _lay(parts, slab.room[at : at + size])
        slab.used += size
        slab.pieces += 1
        return _Kept(slab, at, size)

    def _with_room(self, size: int, shelf: int) -> _Slab | None:
        slab = self._filling.get(shelf)
        if slab is not None and slab.used + size <= self._size:
            return slab
        if size > self._size or not (self._free or self._left):
            return None
        if self._free:
            slab = self._free.pop()
        else:
            slab, self._left = _Slab(self._size), self._left - 1
        if (last := self._filling.get(shelf)) is not None:
            last.full = True
        self._filling[shelf] = slab
        return slab

    def _write(self, parts: list[_Pcm], size: int) -> _Kept:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        room = self._scratch(size)
        _lay(parts, room)
        at = self._file.seek(0, os.SEEK_END)
        octets, done = room.data, 0
        while done < size:
            done += self._file.write(octets[done:])
        return _Kept(None, at, size)

    def _scratch(self, size: int) -> NDArray[np.uint8]:
        if len(self._room) < size:
            self._room = np.empty(size, np.uint8)
        return self._room[:size]

    def take(self, kept: _Kept) -> memoryview:
        """The samples of a piece, once, as they stand until something else is put or taken."""
        self.drop(kept)
        if kept.slab is not None:
            return kept.slab.room[kept.at : kept.at + kept.size].data
        assert self._file is not None
        self._file.seek(kept.at)
        room = self._scratch(kept.size).data
        done = 0
        while done < kept.size:
            got = self._file.readinto(room[done:])  # type: ignore[attr-defined]
            if not got:
                raise OSError("a temporary file of ours lost its end")
            done += got
        return room

    def drop(self, kept: _Kept) -> None:
        """A piece is not wanted any more."""
        slab = kept.slab
        if slab is None:
            return
        slab.pieces -= 1
        if not slab.pieces:
            slab.used = 0
            self._release(slab)

    def clear(self, shelf: int) -> None:
        """Nothing more comes to a shelf."""
        slab = self._filling.pop(shelf, None)
        if slab is not None:
            slab.full = True
            self._release(slab)

    def _release(self, slab: _Slab) -> None:
        if slab.full and not slab.pieces:
            slab.full = False
            self._free.append(slab)

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()


@dataclass(slots=True)
class _Part:
    """The samples of one call, in the order in which they came."""

    samples: list[tuple[float, dict[str, Any], bytes, _Kept]] = field(default_factory=list)

    def taken(self, spool: _Spool) -> Iterator[Sample]:
        """Its samples by time, each to be used before the next one."""
        self.samples.sort(key=lambda each: (each[0], each[1]["key"]), reverse=True)
        while self.samples:
            _, about, head, kept = self.samples.pop()
            yield Sample(about["key"], about, head, spool.take(kept))

    def drop(self, spool: _Spool) -> None:
        """None of what is left is wanted."""
        for *_, kept in self.samples:
            spool.drop(kept)
        self.samples.clear()


class _Parts(Apart):
    """Where the calls of all shards go. What a call left that fails is dropped."""

    def __init__(self, spool: _Spool) -> None:
        self._spool = spool

    @contextmanager
    def create(self, name: str) -> Iterator[Any]:
        part = _Part()
        try:
            yield part
        except BaseException:
            part.drop(self._spool)
            raise


class _Pieces:
    """A sink that makes no octets: its call's pieces go to the part."""

    def __init__(self, segmenter: Segmenter, about: _About, part: _Part, spool: _Spool, shelf: int) -> None:
        self._segmenter, self._about, self._part = segmenter, about, part
        self._spool, self._shelf = spool, shelf

    def _keep(self, pieces: Sequence[Piece]) -> bytes:
        for piece in pieces:
            about = self._about.of(piece)
            head = wav_head(about["frames"], about["channels"], piece.rate_hz)
            self._part.samples.append((piece.start_s, about, head, self._spool.put(piece.parts, self._shelf)))
        return b""

    def write(self, block: NDArray[np.int16]) -> Data:
        return self._keep(self._segmenter.cut(block))

    def finish(self) -> bytes:
        return self._keep(self._segmenter.rest())


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

    def of(self, piece: Piece) -> dict[str, Any]:
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
            "duration_s": round(piece.frames / piece.rate_hz, 6),
            "frames": piece.frames,
            "channels": piece.channels,
            "sample_rate_hz": piece.rate_hz,
            **self._call,
            "talk": sorted(talk, key=lambda each: each["start_s"]),
        }


class _ShardWork(_Work):
    """Calls to pieces; without ``channels`` both speakers, each for itself."""

    # Pieces wait for all calls of their shard: with fewer of them under way, less waits, and none of it in a file.
    most_open = 16

    def __init__(self, members: _Members, order: Order, shards: Shards, spool: _Spool) -> None:
        self.shards, self._spool, self._members, self._shelf = shards, spool, members, 0
        self._apart = not order.options.channels
        super().__init__(members, order, _Parts(spool))

    def _queued(self, jobs: Sequence[Job]) -> deque[Job]:
        # A shard after the other: were long calls of later ones to go first, short ones would keep every shard waiting.
        return deque([*self.waiting, *sorted(jobs, key=lambda job: -job.size)])

    def _open_call(self, source: _Progress, call: Call, cost: int) -> None:
        self._shelf = self._members.shelf(source.job)
        super()._open_call(source, call, cost)

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
        return _Pieces(segmenter, _About(call, name, speakers), file, self._spool, self._shelf)


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

    def shelf(self, member: Job) -> int:
        """A number that the members of one shard have in common."""
        return id(self._shard_of[id(member)][0])

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
        # The digest waits for memory that lay idle as it goes; then the file's copy finds each part in the cache.
        octets = memoryview(data).cast("B")
        for at in range(0, len(octets), _STEP):
            part = octets[at : at + _STEP]
            self._digest.update(part)
            self._file.write(part)
        self.size += len(octets)
        return len(octets)

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
                for sample in part.taken(spool):
                    writer.add(sample)
            writer.finish()
            size = sum(file.size for file in files)
            digest = joint_digest(file.hexdigest() for file in files)
            rows = [row if row.error else replace(row, size=size, sha256=digest) for row in rows]
            for row in rows:
                feed.note(job, row)
    except (OSError, ValueError, MemoryError) as error:
        for part in parts:
            part.drop(spool)
        rows = [row if row.error else replace(row, size=0, sha256="", error=_reason(error)) for row in rows]
    return rows


def run_shards(feed: Feed, order: Order, destination: Destination) -> Iterator[tuple[Job, Row]]:
    """Make shards of jobs that have members; the rows of a shard when it stands. Closed early, no half one stays."""
    shards = order.shards
    assert shards is not None
    members = _Members(feed)
    most = max(order.memory // 4, min(order.memory * 5 // 8, order.memory - _CALLS))
    longest = math.ceil(shards.seconds * (order.options.rate or RATE_HZ)) * 4
    with closing(_Spool(most, longest)) as spool:
        work = _ShardWork(members, replace(order, memory=order.memory - most), shards, spool)
        yield from _made(work, members, spool, destination, feed)


def _made(
    work: _ShardWork, members: _Members, spool: _Spool, destination: Destination, feed: Feed
) -> Iterator[tuple[Job, Row]]:
    with closing(work.rows()) as done:
        for member, row, part in done:
            if (shard := members.take(member, row, part)) is None:
                continue
            spool.clear(id(shard))
            for row_of_shard in _write(shard, work.shards, spool, destination, feed):
                yield shard.job, row_of_shard
            feed.done(shard.job)
