"""A capture of many calls, or a rotation of any length, split by call in one pass; each is imported when it is over.

The spools lie in the temporary directory and are not synced: the capture stays where it is, and a killed import is run
again. What was filed of it is known then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from callreplay import packets
from callreplay.errors import CaptureError
from callreplay.model import check_intact
from callreplay.packets.arena import release
from callreplay.packets.recognise import JOINABLE, Container, recognise
from callreplay.packets.scan import CUT
from callreplay.sources import metadata_of
from callreplay.splitting import recovery
from callreplay.splitting.spooling import Closed, Spooler

__all__ = ["AbandonedError", "is_large", "split_up", "whole"]

LARGE: Final = 64 << 20
"""Octets from which on a capture is split by call before it is read: below, reading it at once costs little memory."""


class AbandonedError(Exception):
    """The import of a call failed for what is wrong with all: a volume that is full, a database that is gone."""


def is_large(paths: Sequence[Path]) -> bool:
    """Whether captures are to be split up: large enough, and of a kind whose packets have their own times."""
    try:
        if sum(path.stat().st_size for path in paths) < LARGE:
            return False
        data = packets.open_buffer(paths[0], warnings=[])
        return recognise(data, str(paths[0])).number in JOINABLE and not metadata_of(paths[0])
    except (CaptureError, OSError):
        return False


def split_up(paths: Sequence[Path], take: Callable[[Path], bool], warnings: list[str]) -> None:
    """Split captures that follow each other; ``take`` gets a small capture of each group of packets as it is over.

    Raises AbandonedError where ``take`` says False; CaptureError, OSError as `packets.open_buffer`.
    """
    with tempfile.TemporaryDirectory(prefix="callreplay-") as folder:

        def closed(one: Closed) -> None:
            path = whole(one)
            try:
                if not take(path):
                    raise AbandonedError
            finally:
                if path not in one.files:
                    path.unlink()
                recovery.discard(one)

        spooler = Spooler(Path(folder), 1, closed, durable=False)
        try:
            for path in paths:
                prefix = f"{path.name}: " if len(paths) > 1 else ""
                warnings += [prefix + text for text in _split(spooler, path)]
            spooler.finish()
        finally:
            spooler.shut()
        unread = spooler.splitter.counters()["unread"]
        if unread:
            warnings.append(f"{unread} segments of signalling that is not read (TLS or H.323)")


def whole(one: Closed) -> Path:
    """A group as one file: its own, or a new one beside its note where it has several."""
    if len(one.files) == 1:
        return one.files[0]
    path = one.note.with_suffix(".pcapng")
    with path.open("wb") as out:
        for chunk in recovery.merged(one.files):
            out.write(chunk.data)
    return path


def _split(spooler: Spooler, path: Path) -> Iterator[str]:
    """Split one file; what is to be said of it."""
    said: list[str] = []
    data = packets.open_buffer(path, warnings=said)
    found: Container = recognise(data, str(path))
    if found.number not in JOINABLE:
        raise CaptureError(f"{path}: {found.name} does not follow other captures")
    spooler.breathe = lambda: release(data)  # pages that are through
    spooler.splitter.open(data, found.number, **found.options)
    spooler.drain()
    truncated, damaged, stop = spooler.splitter.damage()
    spooler.splitter.rest()
    check_intact(data)
    release(data)
    yield from said
    yield from found.warnings
    if damaged:
        yield f"the record at octet {stop} makes no sense; the {len(data) - stop} octets from there were not read"
    elif truncated:
        yield f"{CUT} at octet {stop}; read up to there"
