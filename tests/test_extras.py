"""What an installation without extras can do, and what it says of the rest."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from callreplay.cli.app import COMMANDS
from callreplay.cli.extras import MODULES

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = str(ROOT / "samples" / "support.pcap")
# The modules of all extras, and only these, are made as if they were not installed.
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from callreplay.cli import main
main()
"""


def _run(*words: str, extras: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    absent = {module for extra, modules in MODULES.items() if extra not in extras for module in modules}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(absent=absent), *words],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_table_has_every_requirement_of_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(MODULES) == set(extras)
    names = {"argon2-cffi": "argon2"}
    for extra, requirements in extras.items():
        for requirement in requirements:
            name = re.split(r"[\[><=]", requirement)[0]
            module = names.get(name, name.replace("-", "_"))
            assert module in MODULES[extra] or module in MODULES["batch"], (extra, requirement)


def test_the_base_installation_transcodes_and_describes(tmp_path: Path) -> None:
    made = _run("transcode", SAMPLE, "-o", str(tmp_path / "x.spx"))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "x.spx").stat().st_size > 1000
    for words in (("--version",), ("info", SAMPLE), ("peaks", SAMPLE, "-o", str(tmp_path / "x.json"))):
        assert _run(*words).returncode == 0, words


def test_help_lists_every_command_and_says_what_is_missing() -> None:
    told = _run("--help")
    assert told.returncode == 0, told.stderr
    for command in COMMANDS:
        assert command in told.stdout
    assert "Not installed: the extra service." in told.stdout


@pytest.mark.parametrize(
    ("words", "extras", "wanted"),
    [
        (("serve",), (), "service"),
        (("import", SAMPLE), (), "service"),
        (("calls", "find"), (), "service"),
        (("batch", SAMPLE, "-o", "OUT"), (), "batch"),
        (("batch", SAMPLE, "-o", "OUT", "--engine", "ray"), ("batch",), "ray"),
        (("batch", "--query", "callerNumber=1", "-o", "OUT"), ("batch",), "service"),
    ],
)
def test_a_command_says_in_a_line_what_it_needs(
    words: tuple[str, ...], extras: tuple[str, ...], wanted: str, tmp_path: Path
) -> None:
    told = _run(*(str(tmp_path / "out") if word == "OUT" else word for word in words), extras=extras)
    assert told.returncode == 2
    assert f"pip install 'callreplay[{wanted}]'" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_a_batch_needs_nothing_of_the_service(tmp_path: Path) -> None:
    made = _run("batch", SAMPLE, "-o", str(tmp_path / "out"), "--workers", "1", extras=("batch",))
    assert made.returncode == 0, made.stderr
    assert list((tmp_path / "out").glob("*.wav"))
