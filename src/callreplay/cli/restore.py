"""``callreplay restore``: a database and its volumes from what ``callreplay backup`` wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption
from callreplay.cli.printable import printable
from callreplay.cli.sizes import show_size
from callreplay.errors import ArgumentError, OutputError

__all__ = ["register"]


def _say(text: str) -> None:
    print(printable(f"callreplay: {text}"), file=sys.stderr)


def _places(given: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given:
        volume, equals, folder = text.rpartition("=")
        if not equals or not volume or not folder:
            raise ArgumentError(f"--volume {text}: ID=FOLDER, or NAME=FOLDER")
        found[volume] = Path(folder)
    return found


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="restore")
    def restore(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="What backup wrote; - is standard input.")],
        volume: Annotated[
            list[str] | None,
            typer.Option(
                metavar="ID=FOLDER",
                help="Where a volume goes, or is already, by its id or name; again for each. If not given: the data "
                "directory for those that lay there or whose recordings are in FILE, else where they were.",
            ),
        ] = None,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Make a database and its volumes of a backup, on this machine or another. There must be none yet."""
        import psycopg

        from callreplay.store import restoring
        from callreplay.store.cluster import EmbeddedError
        from callreplay.store.database import why
        from callreplay.store.places import default_data_dir

        places = _places(volume or [])
        folder = data or default_data_dir()
        try:
            if str(file) == "-":
                done = restoring.restore(sys.stdin.buffer, folder, url, places)
            else:
                with file.open("rb") as source:
                    done = restoring.restore(source, folder, url, places)
        except EmbeddedError as error:
            raise OutputError(str(error)) from error
        except psycopg.Error as error:
            raise OutputError(why(error)) from error
        for text in done.warnings:
            _say(f"warning: {text}")
        _say(f"{done.calls} calls, {done.files} files ({show_size(done.size_bytes)})")
