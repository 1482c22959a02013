"""The benchmarks: ``scripts/bench [NAME ...] [--json FILE]``.

Every benchmark is a module of this folder with ``rows()``, or else ``run()``, that gives a list of rows; a row is a
dictionary of a ``name`` and figures. ``ratio`` is a peer's time over ours (or ours over a physical limit, as the name
says), measured in the same run; ``bar`` what the project promises of it, ``bar_kind`` ``at_most`` where less is better.
Absolute times are printed for the reader and mean nothing on another machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from callreplay import __version__, _core

FOLDER = Path(__file__).parent
NOT_BENCHES = {"run", "compare", "plot", "speex_quality"}
SIMD = ("sse", "ssse", "avx", "fma", "bmi", "asimd", "sve")


def names() -> list[str]:
    """The benchmarks there are."""
    found = (path.stem for path in FOLDER.glob("*.py"))
    return sorted(name for name in found if name not in NOT_BENCHES and not name.startswith("_"))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    said: dict[str, str] = {}
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            said.setdefault(name.strip(), value.strip())
    model = said.get("model name", platform.processor())
    flags = said.get("flags", said.get("Features", "")).split()  # x86, Arm
    commit = subprocess.run(
        ["git", "-C", FOLDER, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": model,
        "flags": sorted(flag for flag in flags if flag.startswith(SIMD)),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "callreplay": __version__,
        "commit": commit,
        "isa": _core.isa_active(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def meets(row: dict[str, Any]) -> bool | None:
    """Whether a row meets its bar; None where it has none."""
    if "bar" not in row or "ratio" not in row:
        return None
    return bool(
        row["ratio"] <= row["bar"] if row.get("bar_kind") == "at_most" else row["ratio"] >= row["bar"]
    )


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print the rows as one table, a column per figure met."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    for row in rows:
        style = {True: "green", False: "red", None: ""}[meets(row)]
        table.add_row(*(_cell(row.get(column, "")) for column in columns), style=style)
    console.print(table)


def main() -> int:
    """Run what the arguments name, or everything; ``compare OLD NEW`` compares two runs, ``plot`` draws many."""
    sys.path.insert(0, str(FOLDER.parent))
    if sys.argv[1:2] in (["compare"], ["plot"]):
        return int(importlib.import_module(f"bench.{sys.argv[1]}").main(sys.argv[2:]))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which (default: all): " + ", ".join(names())
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON as well")
    options = parser.parse_args()
    unknown = set(options.names) - set(names())
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    results: dict[str, Any] = {"machine": machine(), "benches": {}}
    missed = False
    for name in options.names or names():
        module = importlib.import_module(f"bench.{name}")
        rows = module.rows() if hasattr(module, "rows") else module.run()
        show(console, name, rows)
        results["benches"][name] = rows
        missed |= any(meets(row) is False for row in rows)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
