"""The options that shape an output, as Typer parameters: the names of ``formats.Options``, declared once.

Commands take them as one keyword bundle: ``@with_output_options`` appends the parameters to a command's own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from callreplay.errors import ArgumentError
from callreplay.outputs.option_rows import OptionRow
from callreplay.outputs.options import ROWS, Options

if TYPE_CHECKING:
    from callreplay.packets import Opener

__all__ = [
    "CallOption",
    "CodecOption",
    "KeyLogOption",
    "capture_sources",
    "parse_codecs",
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


def capture_sources(captures: Sequence[Path | Opener]) -> list[Path | Opener | BinaryIO]:
    """The captures to open; ``-`` is standard input, to its end."""
    if sum(str(path) == "-" for path in captures) > 1:
        raise ArgumentError("standard input can be read once")
    if Path("-") in captures and sys.stdin.isatty():
        raise ArgumentError("- reads a capture from standard input, which is a terminal here")
    return [sys.stdin.buffer if str(path) == "-" else path for path in captures]


def parse_time(text: str) -> float:
    """Seconds from ``90``, ``1:30``, ``0:01:30`` or ``1:30.5``."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: use seconds or h:mm:ss") from None
    if len(parts) > 3 or any(not 0 <= part < 1e9 for part in parts):
        raise typer.BadParameter(f"{text!r} is no time: use seconds or h:mm:ss")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def parse_codecs(hints: list[str]) -> dict[int, str]:
    """``["97=opus/48000"]`` to ``{97: "opus/48000"}``; ArgumentError names what is wrong."""
    codecs: dict[int, str] = {}
    for hint in hints:
        payload_type, equals, encoding = hint.partition("=")
        if not equals or not payload_type.isdigit() or int(payload_type) > 127 or not encoding:
            raise ArgumentError(
                f"codec must look like PT=NAME/RATE (97=opus/48000, '97=AMR/8000;octet-align=1'), not {hint!r}"
            )
        codecs[int(payload_type)] = encoding
    return codecs


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
