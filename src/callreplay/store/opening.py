"""Volumes wherever they are: a folder (`callreplay.store.handle`) or an object store (`callreplay.store.objects`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from callreplay.store.handle import Handle, MissingError
from callreplay.store.journal import Departure, Journal, settle
from callreplay.store.objects import (
    ObjectDeparture,
    ObjectHandle,
    ObjectJournal,
    is_object_url,
    settle_objects,
)

__all__ = [
    "AnyDeparture",
    "AnyHandle",
    "AnyJournal",
    "HeldFile",
    "MissingError",
    "StoredFile",
    "departure_of",
    "held",
    "journal_of",
    "open_volume",
    "settled",
    "statuses",
]

AnyHandle = Handle | ObjectHandle
AnyJournal = Journal | ObjectJournal
AnyDeparture = Departure | ObjectDeparture


def open_volume(place: str | Path, uuid: UUID, number: int) -> AnyHandle:
    """The volume itself. Raises VolumeError where it cannot be reached, or is another."""
    if is_object_url(place):
        return ObjectHandle(str(place), uuid, number)
    return Handle(place, uuid, number)


def journal_of(volume: AnyHandle, call: UUID) -> AnyJournal:
    """What is about to be done to the files of one call."""
    return ObjectJournal(volume, call) if isinstance(volume, ObjectHandle) else Journal(volume, call)


def departure_of(volume: AnyHandle) -> AnyDeparture:
    """Which calls are about to go."""
    return ObjectDeparture(volume) if isinstance(volume, ObjectHandle) else Departure(volume)


def settled(volume: AnyHandle, exists: Callable[[UUID], set[str] | None]) -> int:
    """Settle the journals of dead processes; how many."""
    return settle_objects(volume, exists) if isinstance(volume, ObjectHandle) else settle(volume, exists)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored recording: its volume, as the database has it, and its path there. It travels between processes."""

    volume_path: str
    volume_uuid: UUID
    volume_id: int
    path: str

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return f"{self.volume_path}/{self.path}"

    def open(self, suffix: str = "") -> int:
        """A descriptor of the file (``suffix`` for the one beside it). VolumeError, MissingError, OSError."""
        with open_volume(self.volume_path, self.volume_uuid, self.volume_id) as volume:
            return volume.open(self.path + suffix)

    def file(self, suffix: str = "") -> BinaryIO:
        """As ``open``: a binary file."""
        return os.fdopen(self.open(suffix), "rb")

    def status(self) -> os.stat_result:
        """Of the file: its size and when it was written. Raises as ``open``."""
        if is_object_url(self.volume_path):
            with open_volume(self.volume_path, self.volume_uuid, self.volume_id) as volume:
                found = volume.status(self.path)
            if found is None:
                raise MissingError(self.name)
            return found
        descriptor = self.open()
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A stored recording on a volume that is held open: to be opened several times for one look at the volume."""

    stored: StoredFile
    volume: AnyHandle

    @property
    def name(self) -> str:
        """As of `StoredFile`."""
        return self.stored.name

    def open(self, suffix: str = "") -> int:
        """As of `StoredFile`."""
        return self.volume.open(self.stored.path + suffix)


def held(files: Sequence[StoredFile]) -> AbstractContextManager[list[HeldFile]]:
    """The recordings with their volumes open, each volume once, for as long as the block. Raises as ``open``."""
    return _Held(files)


class _Held(AbstractContextManager[list[HeldFile]]):
    def __init__(self, files: Sequence[StoredFile]) -> None:
        self._files = files
        self._volumes: dict[tuple[str, int, int], AnyHandle] = {}

    def __enter__(self) -> list[HeldFile]:
        found = []
        try:
            for file in self._files:
                of = (file.volume_path, file.volume_uuid.int, file.volume_id)
                volume = self._volumes.get(of)
                if volume is None:
                    volume = self._volumes[of] = open_volume(
                        file.volume_path, file.volume_uuid, file.volume_id
                    )
                found.append(HeldFile(file, volume))
        except BaseException:
            self.__exit__()
            raise
        return found

    def __exit__(self, *_: object) -> None:
        for volume in self._volumes.values():
            volume.close()


def statuses(files: Sequence[StoredFile]) -> list[os.stat_result]:
    """As ``StoredFile.status`` of each, with one look at each volume. Raises as that."""
    if any(is_object_url(file.volume_path) for file in files):
        return [file.status() for file in files]
    found = []
    with held(files) as opened:
        for file in opened:
            descriptor = file.open()
            try:
                found.append(os.fstat(descriptor))
            finally:
                os.close(descriptor)
    return found
