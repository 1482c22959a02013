"""How a command is told which volume: by its id, its name or its path, each an option of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from callreplay.store.database import Connection
    from callreplay.store.volumes import Volume

__all__ = ["VolumeId", "VolumeName", "VolumePath", "needed", "wanted"]


def _option(names: str, text: str) -> Any:
    return typer.Option(*names.split(), help=text, show_default=False)


VolumeId = Annotated[int | None, _option("--volume-id", "The volume, by its id.")]
VolumeName = Annotated[str, _option("--volume-name", "The volume, by its name.")]
VolumePath = Annotated[str | None, _option("--volume-path", "The volume, by its path.")]


def needed(connection: Connection, number: int | None, name: str, path: str | None) -> Volume:
    """The volume that the options name. Raises ArgumentError where they name none, or several."""
    from callreplay.store import volumes

    return volumes.find(connection, number=number, name=name, path=path or "")


def wanted(connection: Connection, number: int | None, name: str, path: str | None) -> int | None:
    """The id of the volume that the options name, which is there; None where they name none: then it is round robin.

    Raises ArgumentError where there is no such volume, VolumeError where it cannot be reached.
    """
    if number is None and not name and path is None:
        return None
    found = needed(connection, number, name, path)
    found.open().close()
    return found.id
