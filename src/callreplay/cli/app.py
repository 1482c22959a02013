"""The Typer application: which commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from callreplay import __version__

app = typer.Typer(name="callreplay", no_args_is_help=True, add_completion=False)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"callreplay {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Turn recorded VoIP calls into audio and pictures."""
