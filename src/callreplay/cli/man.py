"""``callreplay man``: manual pages, made from what ``--help`` is made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from callreplay import __version__
from callreplay.cli.examples import EXAMPLES
from callreplay.outputs.atomic import AtomicFile

__all__ = ["pages", "register"]


def _text(text: str) -> str:
    """Text as roff takes it: no line that begins as a request, no escape of its own."""
    lines = (line.strip().replace("\\", "\\e").replace("-", "\\-") for line in text.strip().splitlines())
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in lines if line)


def _option(parameter: Any) -> list[str]:
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in (*parameter.opts, *parameter.secondary_opts))
    value = (
        ""
        if getattr(parameter, "is_flag", False)
        else f" \\fI{_text(parameter.metavar or parameter.name.upper())}\\fR"
    )
    return [".TP", names + value, _text(getattr(parameter, "help", "") or "\\&")]


def _page(words: str, command: Any, title: str) -> str:
    context_words = f"callreplay {words}".strip()
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    summary = (command.help or "").strip().split("\n")[0].rstrip(".")
    lines = [
        f'.TH "{title.upper()}" "1" "" "callreplay {__version__}" "User commands"',
        ".SH NAME",
        f"{_text(title)} \\- {_text(summary)}",
        ".SH SYNOPSIS",
        f"\\fB{_text(context_words)}\\fR [\\fIoptions\\fR] "
        + " ".join(f"\\fI{_text(a.metavar or a.name.upper())}\\fR" for a in arguments),
        ".SH DESCRIPTION",
        _text(command.help or ""),
    ]
    for name, below in sorted(getattr(command, "commands", {}).items()):
        page = f"{title}-{name}"
        lines += [".TP", f"\\fB{_text(page)}\\fR(1)", _text((below.help or "").split("\n")[0])]
    if options:
        lines.append(".SH OPTIONS")
        for option in options:
            lines += _option(option)
    if examples := EXAMPLES.get(words, ()):
        lines.append(".SH EXAMPLES")
        for example in examples:
            lines += [".PP", ".nf", _text(example), ".fi"]
    return "\n".join(line for line in lines if line) + "\n"


def pages(command: Any, words: str = "", title: str = "callreplay") -> Iterator[tuple[str, str]]:
    """File name and roff of the page of ``command`` and of each one below it."""
    yield f"{title}.1", _page(words, command, title)
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from pages(below, f"{words} {name}".strip(), f"{title}-{name}")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="man")
    def man(
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where missing.")],
    ) -> None:
        """Write manual pages of all commands into a folder."""
        from callreplay.cli.app import build

        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(get_command(build(["--help"]))):
            with AtomicFile(folder / name) as out:
                out.write(text.encode())
