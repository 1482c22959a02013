"""``callreplay backup``: the database, the list of volumes, and the recordings, in one file."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption, database
from callreplay.cli.printable import printable
from callreplay.cli.sizes import show_size
from callreplay.errors import OutputError

__all__ = ["register"]


def _say(text: str) -> None:
    print(printable(f"callreplay: {text}"), file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="backup")
    def backup(
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help="The tar file to write; - is standard output.")
        ],
        recordings: Annotated[
            bool,
            typer.Option(
                "--recordings", help="The recordings of all calls too; else copy the volumes yourself."
            ),
        ] = False,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Write the database and the list of volumes, with --recordings everything, to one file. Nothing need stop."""
        from callreplay.outputs.atomic import AtomicFile
        from callreplay.store import backup as backups
        from callreplay.store.access import reader_password

        os.umask(0o077)  # it has password hashes and keys
        scratch = Path(tempfile.gettempdir()) if str(file) == "-" else file.absolute().parent
        if not scratch.is_dir():
            raise OutputError(f"cannot write {str(file)!r}: {scratch} is not a folder")
        with database(url, data) as opened, AtomicFile(file) as out:
            password = reader_password(url, data)
            done = backups.write(opened.url, out, scratch, recordings=recordings, password=password)
        for name in done.missing:
            _say(f"not there: {name}")
        what = f"{done.calls} calls, {done.files} files ({show_size(done.size_bytes)})"
        _say(what if recordings else f"{done.calls} calls, without their recordings")
        if done.missing:
            raise typer.Exit(1)
