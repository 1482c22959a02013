"""What of the documentation is made from the program: commands, settings, views, the report.

A page has a line ``<!-- made: NAME -->`` where a table of `MADE` is to stand. MkDocs calls ``on_page_markdown``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from callreplay import report
from callreplay.cli.app import build
from callreplay.cli.examples import EXAMPLES
from callreplay.service.settings import Settings

__all__ = ["MADE", "on_page_markdown"]

ROOT: Final = Path(__file__).resolve().parent.parent


def _cell(text: object) -> str:
    """A text in a table."""
    return str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").strip()


def _table(heads: list[str], rows: Iterator[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return [*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows), ""]


def _commands(command: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{words} {name}".strip())


def _parameter(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    plain = default is not None and default != "" and default is not False and not callable(default)
    shown = f"`{default}`" if plain and not isinstance(default, list | tuple) else ""
    return [names, getattr(parameter, "help", "") or "", shown]


def commands() -> str:
    """Every command with every option, as ``--help`` has them."""
    lines: list[str] = []
    for words, command in _commands(get_command(build(["--help"]))):
        lines += [f"## callreplay {words}".rstrip(), "", (command.help or "").strip(), ""]
        rows = [_parameter(each) for each in command.params if not getattr(each, "hidden", False)]
        if rows:
            lines += _table(["option or argument", "meaning", "default"], iter(rows))
        if examples := EXAMPLES.get(words, ()):
            lines += ["```console", *(f"$ {example}" for example in examples), "```", ""]
    return "\n".join(lines)


def settings() -> str:
    """Every setting of the service."""
    rows = (
        [
            f"`{each.name}`",
            f"`--{each.name.replace('_', '-')}`",
            f"`CALLREPLAY_{each.name.upper()}`",
            f"`{each.default}`" if each.default != "" else "",
            str(each.metadata["text"]),
        ]
        for each in fields(Settings)
    )
    return "\n".join(_table(["setting", "flag", "environment", "default", "meaning"], rows))


def views() -> str:
    """Every column that a reader of the database sees; the stored list is what tests hold the database to."""
    published = json.loads((ROOT / "tests" / "golden" / "views.json").read_text(encoding="utf-8"))
    lines: list[str] = []
    for name, columns in published.items():
        rows = ([f"`{column}`", kind] for column, kind in columns.items())
        lines += [f"## {name}", "", *_table(["column", "type"], rows)]
    return "\n".join(lines)


def _kind(said: dict[str, Any]) -> str:
    if "$ref" in said:
        name = said["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.replace('_', '-')})"
    if said.get("type") == "array":
        return f"list of {_kind(said['items'])}"
    kind = said.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _object(title: str, said: dict[str, Any]) -> list[str]:
    needed = said.get("required", [])
    rows = (
        [
            f"`{name}`" + ("" if name in needed else " (may be missing)"),
            _kind(field),
            field.get("description", ""),
        ]
        for name, field in said["properties"].items()
    )
    return [f"## {title}", "", said["description"], "", *_table(["field", "kind", "meaning"], rows)]


def report_fields() -> str:
    """Every field of a report, from its JSON Schema."""
    schema = report.schema()
    lines = _object("report", schema)
    for name, said in reversed(schema["$defs"].items()):
        lines += _object(name.replace("_", " "), said)
    return "\n".join(lines)


def headers() -> str:
    """The C headers: each declaration below its comment."""
    lines: list[str] = []
    for path in sorted((ROOT / "native" / "include" / "callreplay").glob("*.h")):
        text = path.read_text(encoding="utf-8")
        body = re.sub(r"^\s*(#.*|extern \"C\" \{|\})\n", "", text, flags=re.MULTILINE).strip()
        if body:
            lines += [f"## callreplay/{path.name}", "", "```c", re.sub(r"\n{3,}", "\n\n", body), "```", ""]
    return "\n".join(lines)


MADE: Final[dict[str, Callable[[], str]]] = {
    "commands": commands,
    "settings": settings,
    "views": views,
    "report": report_fields,
    "headers": headers,
}
_MARK: Final = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)
_OUT: Final = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?!docs/)[\w./-]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is made; what a page names outside of docs/ becomes its path, and must be there."""

    def outside(match: re.Match[str]) -> str:
        target = (Path(page.file.abs_src_path).parent / match[0].rsplit("(", 1)[1].rstrip(")")).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return match[0]
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_uri} names {target}, which is not there")
        path = str(target.relative_to(ROOT))
        return f"`{path}`" if match[1].strip("`") == path else f"{match[1]} (`{path}`)"

    return _MARK.sub(lambda match: MADE[match[1]](), _OUT.sub(outside, markdown))
