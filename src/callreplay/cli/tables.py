"""Tables for people and for pipes: aligned, never cut or wrapped, as JSON or CSV where that is asked."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from callreplay.cli.printable import json_text, plain, printable
from callreplay.errors import ArgumentError

__all__ = ["ColumnsOption", "CsvOption", "Lines", "print_rows"]

CsvOption = Annotated[bool, typer.Option("--csv", help="As CSV, with a head.")]
ColumnsOption = Annotated[
    str, typer.Option("--columns", help="Of --csv and --json: the names of the columns wanted, with commas.")
]


class Lines:
    """Columns as wide as what is in them, two spaces apart: nothing is cut or wrapped, whatever the terminal is wide.

    A cell may hold several lines. Heads are bold on a terminal, unless NO_COLOR is set.
    """

    def __init__(self, *heads: str) -> None:
        self._rows = [list(heads)]

    def add_row(self, *cells: str) -> None:
        """Add a row, of as many cells as there are heads; no terminal obeys what is in them."""
        parts = [printable(cell, lines=True).split("\n") for cell in cells]
        for number in range(max(map(len, parts))):
            self._rows.append([part[number] if number < len(part) else "" for part in parts])

    def print(self) -> None:
        """Print it on standard output."""
        from rich.cells import cell_len

        out = plain(sys.stdout)  # every cell is printable, and the heads are bold
        widths = [max(map(cell_len, column)) for column in zip(*self._rows, strict=True)]
        for number, row in enumerate(self._rows):
            cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
            line = "  ".join(cells).rstrip()
            print(_bold(line) if number == 0 else line, file=out)
        out.flush()


def _bold(text: str) -> str:
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[1m{text}\x1b[0m" if wanted else text


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, as_csv: bool, columns: str) -> bool:
    """Print a list for programs, where that is asked for; False where people are to see it.

    ``columns``: names with commas, all where it is empty; without ``as_csv`` they are of JSON. ArgumentError for a name
    that is none.
    """
    if not (as_json or as_csv or columns):
        return False
    if as_json and as_csv:
        raise ArgumentError("--csv and --json do not go together")
    if not as_csv and not columns:
        print(json_text(list(rows), indent=1))
        return True
    chosen = _choose_columns(columns, list(dict.fromkeys(name for row in rows for name in row)))
    (_print_csv if as_csv else _print_json)(chosen, rows)
    return True


def _choose_columns(names: str, known: Sequence[str]) -> list[str]:
    chosen = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    for name in chosen:
        if known and name not in known:
            raise ArgumentError(f"--columns: there is no column {name!r}; there are {', '.join(known)}")
    return chosen


def _print_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """RFC 4180, with a head; what is None is empty, what is a list is JSON."""
    out = csv.writer(sys.stdout, lineterminator="\r\n")
    out.writerow(columns)
    out.writerows([_cell(row.get(name)) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return json_text(value) if isinstance(value, list | dict) else value


def _print_json(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A list of objects, with these columns."""
    print(json_text([{name: row.get(name) for name in columns} for row in rows], indent=1))
