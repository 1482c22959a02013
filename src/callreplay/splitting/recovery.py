"""What a start finds in the folder of spools: groups that are to be imported, and packets of those that went on.

The latter are split again into the new start's folder, as if they came now: whoever was killed goes on where it was.
The new folder holds a file ``replaying`` until that is done, renamed to ``replayed`` once all of it is on the disk. So
a start that is killed meanwhile is undone by the next, and no packet is there twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from callreplay import packets
from callreplay.errors import CaptureError, OutputError
from callreplay.packets.recognise import JOINABLE, recognise
from callreplay.splitting.merger import Merger
from callreplay.splitting.spooling import CLOSED, Closed, Limits, Spooler, sync
from callreplay.splitting.stops import Stop

__all__ = ["RECORDER", "discard", "identity", "locked", "merged", "start"]

_REPLAYING: Final = "replaying"
_REPLAYED: Final = "replayed"
_DONE: Final = ".done"
RECORDER: Final = "recorder"
"""A file of the folder: its uuid."""
_CHUNK: Final = 4 << 20


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone. Raises OutputError where another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(f"{folder}: another recorder uses this folder of spools") from None
        yield
    finally:
        os.close(descriptor)


def start(
    folder: Path,
    closed: Callable[[Closed], None],
    limits: Limits | None = None,
    rows: Mapping[str, UUID] | None = None,
) -> Spooler:
    """A spooler on ``folder`` that goes on where the last one was stopped or killed.

    ``closed`` gets what was to be imported, then what is. ``rows``: those of calls that went on, by Call-ID; what of
    them stays in ``board.rows`` has no packets here.
    """
    (folder / CLOSED).mkdir(parents=True, exist_ok=True)
    _undo(folder)
    noted = _notes(folder)
    before = _epochs(folder)
    epoch = max(before, default=0) + 1
    own = {path for one in noted for path in one.files}
    left = [
        path
        for old in before
        for path in sorted((folder / f"open-{old}").glob("*.pcapng"))
        if path not in own
    ]
    (folder / f"open-{epoch}").mkdir()
    marker = folder / f"open-{epoch}" / _REPLAYING
    marker.touch()
    waiting: list[Closed] = []
    spooler = Spooler(folder, epoch, waiting.append, limits or Limits())
    own_rows = {one.row for one in noted}
    spooler.board.rows.update({name: row for name, row in (rows or {}).items() if row not in own_rows})
    if left:
        _replay(spooler, left)
    spooler.flush()
    marker.rename(marker.with_name(_REPLAYED))
    _sync_folder(marker.parent)
    for path in left:
        path.unlink(missing_ok=True)
    marker.with_name(_REPLAYED).unlink()
    _prune(folder, epoch)
    spooler.closed = closed
    for one in [*noted, *waiting]:
        closed(one)
    return spooler


def _epochs(folder: Path) -> list[int]:
    found = [path.name.removeprefix("open-") for path in folder.glob("open-*") if path.is_dir()]
    return sorted(int(text) for text in found if text.isascii() and text.isdigit())


def _undo(folder: Path) -> None:
    """Take back a start that did not get to its end; finish one that did but for removing what it had read."""
    for epoch in reversed(_epochs(folder)):
        current = folder / f"open-{epoch}"
        if (current / _REPLAYING).exists():
            for note in (folder / CLOSED).glob(f"{epoch}-*"):
                note.unlink()
            shutil.rmtree(current)
        elif (current / _REPLAYED).exists():
            own = {path for one in _notes(folder) for path in one.files}
            for old in _epochs(folder):
                for path in (folder / f"open-{old}").glob("*.pcapng") if old < epoch else ():
                    if path not in own:
                        path.unlink()
            (current / _REPLAYED).unlink()
    for done in (folder / CLOSED).glob(f"*{_DONE}"):
        _remove(folder, done)
    for end in ("part", "pcapng"):  # a note, and several files as one, that were not whole yet
        for part in (folder / CLOSED).glob(f"*.{end}"):
            part.unlink()


def _notes(folder: Path) -> list[Closed]:
    found = []
    for note in sorted((folder / CLOSED).glob("*.json")):
        try:
            content = json.loads(note.read_text("ascii"))
            names = [str(name) for name in content["files"]]
            drops = int(content.get("drops", 0))
            row = UUID(str(content["row"])) if content.get("row") else None
        except (ValueError, KeyError, TypeError):
            note.unlink()  # cut by a loss of power: its files are split again
            continue
        paths = tuple(folder / name for name in names)
        if all(path.exists() for path in paths):
            found.append(Closed(note, paths, drops, row))
        else:
            note.unlink()
    return found


def identity(folder: Path) -> UUID:
    """The uuid of a folder of spools, by which the database knows its recorder; made where it has none."""
    path = folder / RECORDER
    try:
        return UUID(path.read_text("ascii").strip())
    except (FileNotFoundError, ValueError):
        made = uuid4()
        part = path.with_suffix(".part")
        part.write_text(f"{made}\n", "ascii")
        part.rename(path)
        _sync_folder(folder)
        return made


def discard(one: Closed) -> None:
    """A group was imported: its note first, then its files."""
    done = one.note.with_suffix(_DONE)
    one.note.rename(done)
    _remove(one.note.parent.parent, done)


def _remove(folder: Path, done: Path) -> None:
    try:
        names = json.loads(done.read_text("ascii"))["files"]
    except (ValueError, KeyError, TypeError):
        names = []
    for name in names:
        (folder / str(name)).unlink(missing_ok=True)
    done.unlink()


def _prune(folder: Path, current: int) -> None:
    for epoch in _epochs(folder):
        if epoch != current and not any((folder / f"open-{epoch}").iterdir()):
            (folder / f"open-{epoch}").rmdir()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _replay(spooler: Spooler, paths: Sequence[Path]) -> None:
    """Split packets that were spooled before once more, in order of time."""
    first = True
    held = np.empty(0, np.uint8)
    for chunk in merged(paths):
        held = np.concatenate([held[spooler.splitter.used :] if not first else held, chunk])
        if first:
            spooler.splitter.open(held, 2, stream=True)
            first = False
        else:
            spooler.splitter.feed(held)
        if spooler.drain() == Stop.DAMAGED:
            return


def merged(paths: Sequence[Path], chunk: int = _CHUNK) -> Iterator[NDArray[np.uint8]]:
    """Captures as one pcapng in order of time, piece by piece. What is no capture is left out."""
    sources = []
    for path in paths:
        try:
            data = packets.open_buffer(path, warnings=[])
            found = recognise(data, str(path))
        except (CaptureError, OSError):
            continue
        if found.number in JOINABLE:
            sources.append((data, found.number, found.options))
    merger = Merger(sources)
    out = np.empty(chunk, np.uint8)
    while True:
        try:
            used = merger.take(out)
        except ValueError:
            out = np.empty(2 * len(out), np.uint8)
            continue
        if not used:
            return
        yield out[:used].copy()
