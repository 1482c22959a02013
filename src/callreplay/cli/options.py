"""The options that shape an output, as Typer parameters: the names of ``formats.Options``, declared once.

Commands take them as one keyword bundle: ``@with_output_options`` appends the parameters to a command's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from callreplay.cli.reading import seconds_of
from callreplay.outputs.option_rows import OptionRow
from callreplay.outputs.options import ROWS, Options

__all__ = [
    "CallOption",
    "CodecOption",
    "KeyLogOption",
    "parse_time",
    "with_output_options",
]


CallOption = Annotated[
    int | None, typer.Option("--call", help="Which call, where there are several; from 1.")
]
CodecOption = Annotated[
    list[str],
    typer.Option("--codec", help="PT=NAME/RATE for a payload type that no signalling names."),
]
KeyLogOption = Annotated[
    Path | None,
    typer.Option("--keylog", help="Secrets of TLS connections (SSLKEYLOGFILE), to read the SIP in them."),
]


def parse_time(text: str) -> float:
    """As `seconds_of`; what is no time is a wrong argument."""
    seconds = seconds_of(text)
    if seconds is None:
        raise typer.BadParameter(f"{text!r} is no time: use seconds or h:mm:ss")
    return seconds


def _completer(values: Sequence[Any]) -> Callable[[], list[str]]:
    return lambda: [str(value) for value in values]


def _option(row: OptionRow) -> tuple[Any, Any]:
    """The annotation of an option's parameter, and its default."""
    more: dict[str, Any] = {"help": row.help, "rich_help_panel": row.panel}
    kind, default = row.cli, row.default
    if row.choices:
        more["autocompletion"] = _completer(row.choices)
    flags = row.flags
    if row.unit == "seconds":
        more |= {"parser": parse_time, "help": f"{row.help} Or h:mm:ss."}
        default = None if default is None else f"{default:g}"
    elif kind is bool and default is False:
        flags = (row.flag,)  # there is no --no-
    elif isinstance(default, tuple):
        default = list(default)
    return Annotated[kind | None if row.default is None else kind, typer.Option(*flags, **more)], default


_PARAMETERS: Final = {row.name: _option(row) for row in ROWS}


def with_output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(..., options: Options)`` one CLI option per field of ``Options``."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]

    def wrapper(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in _PARAMETERS}
        chosen["labels"] = tuple(chosen["labels"])
        command(**values, options=Options(**chosen))

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _PARAMETERS.items()
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    wrapper.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    return wrapper
