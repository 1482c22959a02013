"""What a start costs, counted in modules: times are noise, and what is imported is what takes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[1] / "samples" / "reservation.pcap"
OPEN = f"import callreplay; callreplay.open({str(SAMPLE)!r})"
SAVE = f"import callreplay; callreplay.open({str(SAMPLE)!r}).calls[0].save('/dev/null', 'wav')"


def _modules(program: str) -> set[str]:
    """What the program imports beyond NumPy."""
    code = (
        f"import sys, numpy\nbefore = set(sys.modules)\n{program}\nprint(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


NEVER = {"asyncio", "av", "concurrent", "multiprocessing", "psycopg", "pyarrow", "rich", "starlette", "typer"}


def test_to_open_a_call_loads_nothing_that_only_others_need() -> None:
    """Compression, encryption, XML, pictures and reports are loaded by what has or asks for them."""
    found = _modules(OPEN)
    unused = NEVER | {
        "bz2",
        "decimal",
        "email",
        "fractions",
        "hashlib",
        "lzma",
        "shutil",
        "tempfile",
        "xml",
        "zipfile",
    }
    assert not found & unused
    assert not {
        name
        for name in found
        if name.startswith(("callreplay.outputs.", "callreplay.report", "callreplay.batch"))
    }
    assert len(found) <= 130


@pytest.mark.parametrize("program", ["import callreplay", "import callreplay; callreplay.__version__"])
def test_the_package_alone_loads_nothing(program: str) -> None:
    assert {name for name in _modules(program) if name.startswith("callreplay")} == {
        "callreplay",
        "callreplay._version",
    }


def test_to_write_a_file_loads_no_more_than_its_format() -> None:
    assert not _modules(SAVE) & NEVER


def test_the_version_is_told_without_the_command_line() -> None:
    ask = "import sys; sys.argv[1:] = ['--version']\nfrom callreplay.cli import main\n"
    program = f"{ask}try: main()\nexcept SystemExit: pass"
    assert not _modules(program) & (NEVER | {"callreplay.capture", "callreplay.cli.app"})
