"""The Typer application: which commands there are, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Annotated, Final

import typer

from callreplay import __version__
from callreplay.cli.examples import epilog
from callreplay.cli.extras import extra_of

__all__ = ["COMMANDS", "build"]

COMMANDS: Final[dict[str, str]] = {
    "transcode": "transcode",
    "info": "info",
    "peaks": "peaks",
    "speech": "speech",
    "transcribe": "transcribe",
    "batch": "batch",
    "serve": "serve",
    "import": "import_",
    "watch": "watch",
    "record": "record",
    "volumes": "volumes",
    "retain": "retain",
    "backup": "backup",
    "restore": "restore",
    "calls": "calls",
    "tenants": "tenants",
    "users": "users",
    "man": "man",
    "audit": "audit",
    "jobs": "jobs",
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
        name="callreplay",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _spelled},
        epilog=epilog(""),
    )
    app.callback()(_root)
    words = _words() if arguments is None else arguments
    wanted = next((word for word in words if not word.startswith("-")), "")
    for command in [wanted] if wanted in COMMANDS else [] if words == ["--version"] else COMMANDS:
        try:
            importlib.import_module(f"callreplay.cli.{COMMANDS[command]}").register(app)
        except ModuleNotFoundError as error:
            extra = extra_of(error)
            if wanted or not extra:
                raise
            app.command(command, help=f"(Not installed: the extra {extra}.)")(_absent)
    _add_examples(app)
    return app


def _words() -> list[str]:
    """What was typed: in a shell that asks for completions, the line so far."""
    typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS")
    return typed.split()[1:] if typed and "_CALLREPLAY_COMPLETE" in os.environ else sys.argv[1:]


def _spelled(name: str) -> str:
    """Options as they are spelled everywhere: ``caller-number`` also where a URL's ``callerNumber`` was given."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower() if len(name) > 1 else name


def _add_examples(app: typer.Typer, before: str = "") -> None:
    for command in app.registered_commands:
        command.epilog = command.epilog or epilog(f"{before} {command.name}".strip())
    for group in app.registered_groups:
        if group.typer_instance is not None and isinstance(group.name, str):
            group.epilog = epilog(group.name)
            _add_examples(group.typer_instance, group.name)


def _absent() -> None:
    """A command that the list of all names, and that cannot run."""
