"""Files that are made of the tables of parameters: what they must be. ``scripts/parameters`` writes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from callreplay.outputs import options
from callreplay.outputs.option_rows import OptionRow
from callreplay.parameters import Row
from callreplay.store import query

ROOT = Path(__file__).resolve().parents[1]

_VALUES = '''"""The fields of ``Options`` as keywords, for type checkers. Made by scripts/parameters."""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["OptionValues"]


class OptionValues(TypedDict, total=False):
    """The fields of ``Options`` as keywords, for type checkers: a wrong name or value fails before anything runs."""

'''

_REFERENCE = """# Parameters

Which calls are meant, and what an output is like: the same words in URLs, on the command line and in Python.
A parameter without a value asks nothing. This page is made of the tables in `src/callreplay/store/query.py` and
`src/callreplay/outputs/options.py` by `scripts/parameters`.

"""


def _option_values(rows: Iterable[OptionRow]) -> str:
    text = _VALUES + "".join(f"    {row.name}: {row.hint}\n" for row in rows)
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "option_values.py", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "%0A")


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _example(row: Row) -> str:
    return f"`{row.url}={_cell(row.example)}`"


def _default(row: OptionRow) -> str:
    if row.default is None or row.default in ("", ()):
        return ""
    return f"`{str(row.default).lower() if isinstance(row.default, bool) else row.default}`"


def _reference() -> str:
    search = _table(
        ["URL", "command line", "value", "meaning", "example"],
        (
            [f"`{row.url}`", f"`{row.flag}`" if row.on_cli else "", row.kind.name, row.help, _example(row)]
            for row in query.ROWS
        ),
    )
    text = f"{_REFERENCE}## Which calls\n\n{search}"
    for panel in dict.fromkeys(row.panel for row in options.ROWS):
        shown = _table(
            ["URL", "command line", "Python", "default", "meaning", "example"],
            (
                [
                    f"`{row.url}`",
                    " ".join(f"`{flag}`" for flag in row.flags or (row.flag,)),
                    f"`{row.name}`",
                    _default(row),
                    row.help,
                    _example(row),
                ]
                for row in options.ROWS
                if row.panel == panel
            ),
        )
        text += f"\n## {panel}\n\n{shown}"
    return text


def files() -> dict[Path, str]:
    """The files by their paths."""
    return {
        ROOT / "src" / "callreplay" / "outputs" / "option_values.py": _option_values(options.ROWS),
        ROOT / "docs" / "parameters.md": _reference(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
