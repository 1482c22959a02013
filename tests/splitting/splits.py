"""Captures through the splitter, and what is read of the spools."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callreplay import packets
from callreplay.importing import reading
from callreplay.importing.reading import Reading
from callreplay.packets.recognise import recognise
from callreplay.splitting import recovery
from callreplay.splitting.spooling import Closed, Limits, Spooler

__all__ = ["SHARED", "groups_of", "read_groups", "signature", "spooled", "start"]

SHARED = Path(
    os.environ.get("CALLREPLAY_VECTORS", Path(__file__).resolve().parents[3] / "shared" / "vectors")
).parent


def start(folder: Path, limits: Limits | None = None) -> tuple[Spooler, list[Closed]]:
    """A spooler on ``folder``, and the list that what it hands on goes to."""
    found: list[Closed] = []
    return recovery.start(folder, found.append, limits), found


def spooled(spooler: Spooler, data: NDArray[np.uint8] | bytes) -> None:
    """Split a whole capture."""
    octets = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    found = recognise(octets)
    spooler.splitter.open(octets, found.number, **found.options)
    spooler.drain()


def groups_of(folder: Path, data: NDArray[np.uint8] | bytes, limits: Limits | None = None) -> list[Closed]:
    """What a capture is split into."""
    spooler, found = start(folder, limits)
    spooled(spooler, data)
    spooler.finish()
    spooler.shut()
    return found


def read_groups(found: Iterable[Closed]) -> list[Reading]:
    """Each group read as it is imported."""
    read = []
    for one in found:
        whole = one.note.with_suffix(".pcapng")
        whole.write_bytes(b"".join(chunk.tobytes() for chunk in recovery.merged(one.files)))
        read.append(reading.read(whole))
    return read


def signature(read: Reading) -> list[tuple[Any, ...]]:
    """What tells a call with its packets from any other."""
    return [
        (
            call.description.call_id,
            call.description.status,
            call.description.caller_number,
            call.description.called_number,
            call.inferred,
            *(_leg(read, leg.side, leg.rows) for leg in call.legs),
        )
        for call in read.calls
    ]


def _leg(read: Reading, side: str, rows: NDArray[Any]) -> tuple[Any, ...]:
    columns = read.rows.columns
    octets = [
        bytes((read.rows.spill if flags & 2 else read.rows.data)[offset : offset + size])
        for offset, size, flags in zip(
            columns.offset[rows], columns.size[rows], columns.flags[rows], strict=True
        )
    ]
    return side, len(rows), hash(tuple(columns.sequence[rows].tolist())), hash(tuple(octets))


def calls(readings: Sequence[Reading]) -> list[tuple[Any, ...]]:
    """The calls of several readings in one order."""
    return sorted((each for read in readings for each in signature(read)), key=repr)


def whole(path: Path) -> Reading:
    """The capture read at once."""
    return reading.read(path)


def opened(path: Path) -> NDArray[np.uint8]:
    """The octets of a capture, uncompressed."""
    return packets.open_buffer(path, warnings=[])
