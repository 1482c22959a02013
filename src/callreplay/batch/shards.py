"""Shards of a data set: which captures go into which, and what of them stands already.

A shard is a job of many captures. It appears whole or not at all, and is known by a number; its calls have a row each,
whose ``output`` is ``SHARD#NAME``, and whose ``size`` and ``sha256`` are the shard's. A run goes on with what stands:
new captures give new shards, and a shard is made again where a capture in it has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from callreplay.audio.external import decoders
from callreplay.batch.destinations import Destination
from callreplay.batch.manifest import Row, read_rows
from callreplay.deferred import dataclass
from callreplay.errors import ArgumentError
from callreplay.outputs.options import Options

if TYPE_CHECKING:
    from callreplay.batch.jobs import Job
    from callreplay.batch.worker import Order
    from callreplay.outputs.samples import Container

__all__ = ["RATE_HZ", "Shards", "Shelf", "halves", "joint_digest", "plan", "row_name"]

RATE_HZ: Final = 16000
"""Of a data set, if no rate is asked for: what recognisers take."""
_LEAST_OCTETS: Final = 1 << 16
# Octets of audio that an octet of capture gives, about: packets of G.711 at 8 and at 16 kHz.
_GROWTH: Final = {False: 3.0, True: 1.5}


@dataclass(frozen=True, slots=True)
class Shards:
    """How calls become a data set. ArgumentError for values that are none of these.

    ``container``: ``webdataset``, ``parquet`` or ``lhotse``. ``seconds``: the longest piece, 1 to 3600. ``octets`` of
    audio in a shard, about. ``native``: calls at their own rates, 8000 or 16000; else all at 16000, or at ``rate`` of
    the options where that is given.
    """

    container: str = "webdataset"
    seconds: float = 30.0
    octets: int = 256 << 20
    native: bool = False

    def __post_init__(self) -> None:
        """Check what no later stage checks."""
        # A batch without a data set has these values too, and they are known to be good.
        if self.container != "webdataset":
            self.kind  # noqa: B018  # raises where there is none of that name
        if not 1 <= self.seconds <= 3600:
            raise ArgumentError(f"seconds of a piece must be 1 to 3600, not {self.seconds}")
        if self.octets < _LEAST_OCTETS:
            raise ArgumentError(f"a shard must be allowed at least {_LEAST_OCTETS} octets, not {self.octets}")

    def fill(self, options: Options) -> Options:
        """Options with the rate filled in."""
        return options if options.rate or self.native else replace(options, rate=RATE_HZ)

    @property
    def law(self) -> tuple[str, float, bool]:
        """What the samples depend on."""
        return self.container, self.seconds, self.native

    @property
    def kind(self) -> Container:
        """The container."""
        from callreplay.outputs.samples import container_of  # with tarfile, which other batches need not load

        return container_of(self.container)


def row_name(kind: Container, number: str, name: str) -> str:
    """What a row calls the part of a shard that is one call's."""
    return f"{kind.files(number)[0]}#{name}"


class Shelf:
    """A destination whose outputs are shards, each known by the name of a row or of its first file."""

    waits = True

    def __init__(self, place: Destination, kind: Container) -> None:
        self._place, self.kind = place, kind
        self._digests: dict[str, str] = {}

    def number(self, output: str) -> str:
        """The number of the shard that a row names; empty for any other output."""
        before, _, after = self.kind.names[0].partition("{}")
        file, part, _ = output.partition("#")
        if not part or not file.startswith(before) or not file.endswith(after):
            return ""
        return file[len(before) : len(file) - len(after)]

    def create(self, name: str) -> Any:
        """A context manager for a file."""
        return self._place.create(name)

    def size(self, name: str) -> int:
        """Octets of all files of the shard, -1 where one is not there."""
        sizes = [self._place.size(file) for file in self.kind.files(self.number(name))]
        return -1 if -1 in sizes else sum(sizes)

    def sizes(self, names: Collection[str]) -> Callable[[str], int]:
        """``size``, of shards that are asked for together."""
        files = {file for name in names for file in self.kind.files(self.number(name))}
        size = self._place.sizes(files)

        def together(name: str) -> int:
            found = [size(file) for file in self.kind.files(self.number(name))]
            return -1 if -1 in found else sum(found)

        return together

    def sha256(self, name: str) -> str:
        """The digest of a shard; asked for once, and not of each of its rows."""
        number = self.number(name)
        if number not in self._digests:
            self._digests[number] = joint_digest(self._place.sha256(file) for file in self.kind.files(number))
        return self._digests[number]

    def sweep(self, names: Collection[str]) -> None:
        """Remove what killed writers left of the shards of these numbers."""
        self._digests.clear()
        self._place.sweep({PurePosixPath(file).stem for name in names for file in self.kind.files(name)})


def joint_digest(digests: Iterable[str]) -> str:
    """The digest of a shard: that of its file, or of its files' digests; empty where one is missing."""
    found = list(digests)
    if "" in found:
        return ""
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


def _standing(manifest: Path, shelf: Shelf) -> dict[str, list[Row]]:
    """The rows of every shard that the manifest has, those of its last writing."""
    found: dict[str, dict[str, Row]] = {}
    last: dict[str, str] = {}
    for row in read_rows(manifest):
        number = shelf.number(row.output)
        if number and not row.error:
            found.setdefault(number, {})[row.output] = row
            last[number] = row.sha256
    return {
        number: [row for row in rows.values() if row.sha256 == last[number]] for number, rows in found.items()
    }


class _Plan:
    """Sorts the jobs: those that are done, those of shards to be made again, and new ones."""

    def __init__(self, jobs: Sequence[Job], keys: dict[str, Job]) -> None:
        self.keys = keys
        self.of_input = {job.captures[0]: key for key, job in keys.items()}
        self.done: set[str] = set()
        self.again: dict[str, list[str]] = {}
        self.errors: dict[str, str] = {}

    def weigh(self, number: str, rows: list[Row], stands: bool, name: str) -> None:
        """What the rows of a shard say of the jobs of this run."""
        calls: dict[str, int] = {}
        for row in rows:
            calls[row.key] = calls.get(row.key, 0) + 1
        fresh = {
            row.key
            for row in rows
            if row.key in self.keys
            and calls[row.key] >= row.calls
            and (row.decoders is None or row.decoders == decoders())
        }
        stale = {key for row in rows if row.key not in fresh and (key := self.of_input.get(row.input))}
        strangers = any(row.input not in self.of_input and row.key not in self.keys for row in rows)
        if not fresh and not stale:
            return
        if stands and not stale:
            self.done |= fresh
        elif stands and strangers:
            self.done |= fresh
            text = f"{name} holds captures that are not in this run, beside an older state of this one: name them all"
            self.errors |= dict.fromkeys(stale, text)
        else:
            members = fresh | stale
            self.again[number] = [key for key in self.keys if key in members]

    def left(self) -> Iterator[str]:
        """Jobs that no shard has."""
        taken = self.done.union(self.errors, *self.again.values())
        yield from (key for key in self.keys if key not in taken)


def plan(jobs: Sequence[Job], order: Order, manifest: Path, shelf: Shelf, *, resume: bool) -> list[Job]:
    """Shards to make, as jobs with members; and the jobs of captures that have an error.

    The same captures in the same order give the same shards. A capture whose shard also holds others, which are not in
    this run, is not made again when it has changed: it has an ``error``.
    """
    from callreplay.batch.worker import job_key

    assert order.shards is not None
    keys = {job_key(job, order): job for job in jobs if not job.error}
    sorting = _Plan(jobs, keys)
    rows = _standing(manifest, shelf) if resume else {}
    size = shelf.sizes({of_shard[0].output for of_shard in rows.values()})
    for number, of_shard in sorted(rows.items()):
        first = of_shard[0]
        sorting.weigh(number, of_shard, size(first.output) == first.size, first.output.partition("#")[0])
    made = [_shard(number, [keys[key] for key in members]) for number, members in sorting.again.items()]
    taken = max(
        (int(number.partition("-")[0]) for number in rows if number.partition("-")[0].isdigit()), default=-1
    )
    left = [keys[key] for key in sorting.left()]
    wanted = order.shards.octets / _GROWTH[order.shards.native]
    made += [_shard(f"{taken + 1 + at:06}", members) for at, members in enumerate(_groups(left, wanted))]
    faulty = [replace(keys[key], error=text) for key, text in sorting.errors.items()]
    return [*(job for job in jobs if job.error), *faulty, *made]


def _groups(jobs: Iterable[Job], octets: float) -> Iterator[list[Job]]:
    group: list[Job] = []
    total = 0
    for job in jobs:
        if group and total + job.size > octets:
            yield group
            group, total = [], 0
        group.append(job)
        total += job.size
    if group:
        yield group


def _shard(number: str, members: Sequence[Job]) -> Job:
    from callreplay.batch.jobs import Job

    captures = (members[0].captures[0],)
    return Job(captures, number, size=sum(job.size for job in members), members=tuple(members))


def halves(job: Job) -> list[Job]:
    """A shard that kills its workers, as two: one of them may be well."""
    middle = len(job.members) // 2
    parts = job.members[:middle], job.members[middle:]
    return [_shard(f"{job.name}-{at}", part) for at, part in enumerate(parts, 1)]
