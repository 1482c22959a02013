"""``scripts/bench compare OLD.json NEW.json``: figures of two runs side by side, and a failure on a real loss.

Only ratios are compared: absolute times of two runs mean nothing against each other, and ratios of two processors or
instruction sets are told apart from a loss by nothing: such runs are refused. A row's ``noise`` (the relative
spread of its repeats in its own run) widens the tolerance of 10 %.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TOLERANCE = 0.10


def _rows(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (bench, row["name"]): row
        for bench, rows in document["benches"].items()
        for row in rows
        if isinstance(row.get("ratio"), int | float) and row["ratio"] > 0
    }


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per ratio in both: old, new, gain (above 1 is better), allowed, and whether it is a loss."""
    before, after = _rows(old), _rows(new)
    result = []
    for key in sorted(before.keys() & after.keys()):
        one, other = before[key], after[key]
        gain = other["ratio"] / one["ratio"]
        if other.get("bar_kind") == "at_most":
            gain = 1 / gain
        allowed = TOLERANCE + float(one.get("noise", 0.0)) + float(other.get("noise", 0.0))
        result.append(
            {"bench": key[0], "name": key[1], "old": one["ratio"], "new": other["ratio"], "gain": gain}
            | {"allowed": allowed, "loss": gain < 1 - allowed}
        )
    return result


def where(document: dict[str, Any]) -> str:
    """What a run was measured on: processor, instruction set and cores."""
    machine = document.get("machine", {})
    isa, cores = machine.get("isa", "?"), machine.get("cores", "?")
    return f"{machine.get('processor', 'an unknown processor')}, {isa}, {cores} cores"


def main(arguments: list[str]) -> int:
    """Print the comparison; 1 if anything lost more than is allowed, 2 where the runs cannot be compared."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    old, new = (json.loads(Path(name).read_text()) for name in arguments)
    if where(old) != where(new):
        print(f"two machines: {where(old)}; {where(new)}. Measure both commits on one", file=sys.stderr)
        return 2
    table = Table("bench", "name", "old", "new", "gain", "allowed loss")
    rows = compare(old, new)
    for row in rows:
        style = "red" if row["loss"] else ""
        figures = (f"{row['old']:.3g}", f"{row['new']:.3g}", f"{row['gain']:.2f}", f"{row['allowed']:.0%}")
        table.add_row(row["bench"], row["name"], *figures, style=style)
    Console().print(table)
    if not rows:
        print("the two runs have no ratio in common", file=sys.stderr)
        return 2
    return 1 if any(row["loss"] for row in rows) else 0
