"""A capture of many calls, or a rotation of any length, split by call in one pass; each is imported when it is over.

The spools lie in the temporary directory and are not synced: the capture stays where it is, and a killed import is run
again. What was filed of it is known then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from callreplay.splitting.spooling import Closed, Limits, Spooler

__all__ = ["AbandonedError", "Feeder", "fed", "is_large", "whole"]

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


class Feeder:
    """Splits captures that follow each other; what is over goes to ``take`` as a small capture of its own.

    ``take`` says whether to go on: AbandonedError is raised where it says no.
    """

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.take: Callable[[Path], bool] = lambda path: True
        self.spooler = Spooler(folder, 1, self._closed, limits or Limits(), durable=False)

    def _closed(self, one: Closed) -> None:
        path = whole(one)
        try:
            if not self.take(path):
                raise AbandonedError
        finally:
            for each in {path, *one.files}:
                each.unlink(missing_ok=True)

    def feed(self, paths: Sequence[Path], warnings: list[str], *, named: bool) -> None:
        """Split captures. Raises CaptureError, OSError as `packets.open_buffer`."""
        for path in paths:
            warnings += [f"{path.name}: {text}" if named else text for text in _split(self.spooler, path)]
        self.spooler.sweep(self.spooler.splitter.last_ns)

    def finish(self, warnings: list[str]) -> None:
        """Take what goes on as well."""
        self.spooler.finish()
        unread = self.spooler.splitter.counters()["unread"]
        if unread:
            warnings.append(f"{unread} segments of signalling that is not read (TLS or H.323)")

    def close(self) -> None:
        """Let go of the folder of spools."""
        self.spooler.shut()


@contextmanager
def fed() -> Iterator[Feeder]:
    """A feeder with spools in the temporary directory."""
    with tempfile.TemporaryDirectory(prefix="callreplay-") as folder:
        feeder = Feeder(Path(folder))
        try:
            yield feeder
        finally:
            feeder.close()


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
