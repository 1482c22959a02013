"""The Typer application: which commands there are, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Final

import typer

from callreplay import __version__
from callreplay.cli.extras import extra_of

__all__ = ["COMMANDS", "build"]

COMMANDS: Final[dict[str, str]] = {
    "transcode": "transcode",
    "info": "info",
    "peaks": "peaks",
    "speech": "speech",
    "batch": "batch",
    "serve": "serve",
    "import": "import_",
    "watch": "watch",
    "volumes": "volumes",
    "retain": "retain",
    "calls": "calls",
    "tenants": "tenants",
}
"""Command name to the module of this package that registers it."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"callreplay {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Turn recorded VoIP calls into audio and pictures."""


def build(arguments: list[str] | None = None) -> typer.Typer:
    """The application with the command that ``arguments`` name, or with all of them where they name none."""
    app = typer.Typer(
        name="callreplay", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    app.callback()(_root)
    words = sys.argv[1:] if arguments is None else arguments
    wanted = next((word for word in words if not word.startswith("-")), "")
    for command in [wanted] if wanted in COMMANDS else [] if words == ["--version"] else COMMANDS:
        try:
            importlib.import_module(f"callreplay.cli.{COMMANDS[command]}").register(app)
        except ModuleNotFoundError as error:
            extra = extra_of(error)
            if wanted or not extra:
                raise
            app.command(command, help=f"(Not installed: the extra {extra}.)")(_absent)
    return app


def _absent() -> None:
    """A command that the list of all names, and that cannot run."""
