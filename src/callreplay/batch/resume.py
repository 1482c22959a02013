"""What a run goes on with: outputs that are whole already, and those of other captures, which it leaves alone.

An output is known by the last row of the manifest that names it, and by its size or digest at its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from callreplay.audio.external import decoders
from callreplay.batch.destinations import Destination
from callreplay.batch.jobs import Job, owner_of
from callreplay.batch.manifest import Row, journals, read_rows
from callreplay.batch.worker import Order, job_key

__all__ = ["recover", "stands", "survey"]

_NUMBERED: Final = re.compile(r"~\d+$")


def recover(manifest: Path, place: Destination) -> Iterator[Row]:
    """Rows of the journals whose outputs are whole by their digests, and which the manifest lacks."""
    found = {(r.key, r.output): r for path in journals(manifest) for r in read_rows(path) if r.output}
    if not found:
        return
    for row in read_rows(manifest):
        if not row.error:
            found.pop((row.key, row.output), None)
    yield from (row for row in found.values() if stands(row, place))


def stands(row: Row, place: Destination) -> bool:
    """Whether the output is whole, by its digest."""
    return bool(row.output) and place.size(row.output) == row.size and place.sha256(row.output) == row.sha256


class _Whole(NamedTuple):
    """An output as the manifest has it; ``input`` is left out where the key is that of a job."""

    key: str
    call: int
    calls: int
    size: int
    input: str


def survey(jobs: Sequence[Job], order: Order, manifest: Path, place: Destination) -> list[Job]:
    """The jobs with an output that is not whole by the manifest and by its size, told to skip those that are.

    Where an output stands that was made of another capture, the job has an ``error``: it is not written over, unless
    that capture is in this run as well, under another name. Captures that ``find_jobs`` has numbered (``x~2``) keep the
    numbers they had, whatever has come beside them.
    """
    new = not manifest.exists() or not manifest.stat().st_size
    if new and len({job.name for job in jobs}) == len(jobs):
        return [*(job for job in jobs if job.error), *(job for job in jobs if not job.error)]
    keys = {job_key(job, order): job for job in jobs if not job.error}
    last = _last(jobs, keys, order.suffix(), manifest)
    size = place.sizes(last)
    others = {
        output: whole
        for output, whole in last.items()
        if whole.key not in keys and size(output) == whole.size
    }
    errors: dict[str, str] = {}
    if others:
        keys = _settle(keys, others, order)
        errors = _conflicts(keys, others, order)
    good: dict[str, set[int]] = {}
    calls: dict[str, int] = {}
    for output, whole in last.items():
        if whole.key in keys:
            calls[whole.key] = whole.calls
            if output in others or size(output) == whole.size:
                good.setdefault(whole.key, set()).add(whole.call)
    left = [job for job in jobs if job.error]
    for key, job in keys.items():
        whole_calls = good.get(key, set())
        if job.name in errors:
            left.append(replace(job, error=errors[job.name]))
        elif not whole_calls:
            left.append(job)
        elif len(whole_calls) < calls[key]:
            left.append(replace(job, skip=frozenset(whole_calls)))
    return left


def _last(jobs: Sequence[Job], keys: Mapping[str, Job], suffix: str, manifest: Path) -> dict[str, _Whole]:
    """The last row of every output that is one of the jobs, or has a name that one of them may write."""
    names: set[str] = set()
    last: dict[str, _Whole] = {}
    for row in read_rows(manifest):
        if not row.call:
            continue
        known = row.key in keys
        if not known and not names:
            names = {job.name for job in jobs}
        # What was silent for want of a decoder is made again where there are others now.
        outgrown = row.decoders is not None and row.decoders != decoders()
        if row.error or outgrown or not (known or names.intersection(_claimants(row.output, suffix))):
            last.pop(row.output, None)  # another run wrote over it, or failed to
        else:
            last[row.output] = _Whole(row.key, row.call, row.calls, row.size, "" if known else row.input)
    return last


def _claimants(output: str, suffix: str) -> tuple[str, ...]:
    """Names of the jobs that may write an output: as the first call of their capture, or as a later one."""
    name = output.removesuffix(suffix)
    return () if name == output else (name, owner_of(name))


def _settle(keys: Mapping[str, Job], others: Mapping[str, _Whole], order: Order) -> dict[str, Job]:
    """The jobs, with names that differ in their numbers alone handed back to the captures that had them."""
    jobs = list(keys.values())
    place_of = {job.captures[0]: at for at, job in enumerate(jobs)}
    holder = {job.name: at for at, job in enumerate(jobs)}
    names = [job.name for job in jobs]
    had = {_name(output, whole, order.suffix()): whole.input for output, whole in others.items()}
    for name, owner in had.items():
        here, there = holder.get(name), place_of.get(owner)
        if here is None or there is None or jobs[here].captures[0] == owner or had.get(names[there]) == owner:
            continue
        if _NUMBERED.sub("", name) == _NUMBERED.sub("", names[there]):
            names[here], names[there] = names[there], name
            holder[names[here]], holder[name] = here, there
    settled = {}
    for at, (key, job) in enumerate(keys.items()):
        if names[at] == job.name:
            settled[key] = job
        else:
            renamed = replace(job, name=names[at])
            settled[job_key(renamed, order)] = renamed
    return settled


def _name(output: str, whole: _Whole, suffix: str) -> str:
    """The name of the job that made an output."""
    name = output.removesuffix(suffix)
    return name if whole.call == 1 else name.removesuffix(f"-{whole.call}")


def _conflicts(keys: Mapping[str, Job], others: Mapping[str, _Whole], order: Order) -> dict[str, str]:
    """What is wrong with the jobs, by name, that would write over what another run made of another capture."""
    jobs = {job.name: job for job in keys.values()}
    captures = {job.captures[0] for job in keys.values()}
    errors: dict[str, str] = {}
    for output, whole in others.items():
        if whole.key in keys or whole.input in captures:
            continue  # it is whole, was made of other options, or is made again under another name
        for name in _claimants(output, order.suffix()):
            job = jobs.get(name)
            if job and not _same_input(job, whole, order):
                errors[name] = f"{output} is the output of {whole.input}: give another destination or name"
    return errors


def _same_input(job: Job, whole: _Whole, order: Order) -> bool:
    """Whether an output was made of the job's capture, under another path: linked, moved, or spelled otherwise."""
    if job_key(replace(job, captures=(whole.input, *job.captures[1:])), order) == whole.key:
        return True
    try:
        return os.path.samefile(whole.input, job.captures[0])  # noqa: PTH121 - with any string for a path
    except (OSError, ValueError):
        return False
