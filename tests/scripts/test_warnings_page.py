"""docs/reference/warnings.md lists every warning: those that captures give, and those that stand in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cases import FOLDER

import callreplay

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "callreplay"
PAGE = ROOT / "docs" / "reference" / "warnings.md"

# Functions in which every text of five words and more is a warning, or a part of one that begins it.
TELLING = {
    "order/ahead.py": ("play_ahead",),
    "order/alignment.py": ("align_by_reports",),
    "order/grouping.py": ("_part_opposed",),
    "order/legs.py": ("_group_of_files",),
    "order/streams.py": ("_warnings", "beyond_arrival"),
    "order/trust.py": ("set_aside", "_count_by_payloads"),
    "packets/compression.py": ("pieces", "_zip_pieces"),
    "packets/decrypt.py": ("decrypt_srtp",),
    "packets/encryption.py": ("_doubts",),
    "packets/scan.py": ("_in_time_order", "_cut", "_remarks"),
    "packets/timebase.py": ("mend_steps",),
    "signalling/siprec.py": ("_call",),
    "audio/external.py": ("refused",),
}


def rows() -> list[str]:
    """The first column of every table, without its backticks; a row may show several, joined by commas."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            found += re.findall(r"`([^`]+)`", line.split(" | ")[0])
    return found


def pattern(row: str) -> re.Pattern[str]:
    """What a row matches: N is a number, … anything."""
    text = re.escape(row).replace("…", ".*")
    return re.compile(re.sub(r"\bN\b", lambda _: r"[\d.+-]+", text), re.DOTALL)


PATTERNS = [pattern(row) for row in rows()]


def listed(warning: str) -> bool:
    """Whether a row of the page is of this warning."""
    return any(one.search(warning) for one in PATTERNS)


def texts(module: str, functions: tuple[str, ...]) -> Iterator[str]:
    """What these functions say; where a value is put in, a 7 stands."""
    tree = ast.parse((SOURCES / module).read_text(encoding="utf-8"))
    constants = {
        ast.unparse(node.target): str(node.value.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
    }
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for name in functions:
        body = found[name].body
        inner = [node for one in body for node in ast.walk(one)]
        raised = {id(below) for node in inner if isinstance(node, ast.Raise) for below in ast.walk(node)}
        parts = {id(part) for node in inner if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
            id(node) for node in inner if isinstance(node, ast.JoinedStr)
        }
        for node in inner:
            if id(node) in raised | parts or node is getattr(body[0], "value", None):
                continue  # the docstring, and what is an error
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(one.value)
                    if isinstance(one, ast.Constant)
                    else constants.get(ast.unparse(getattr(one, "value", one)), "7")
                    for one in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.replace("{}", "7")
            else:
                continue
            if len(re.findall(r"[^\W\d_]+", text)) >= 5:
                yield text


@pytest.mark.parametrize("module", TELLING)
def test_what_the_code_says_is_on_the_page(module: str) -> None:
    found = list(texts(module, TELLING[module]))
    assert found
    assert not [text for text in found if not listed(text)]


@pytest.mark.parametrize("case", sorted(FOLDER.glob("[0-9]*")), ids=lambda path: path.name)
def test_what_a_capture_gives_is_on_the_page(case: Path) -> None:
    try:
        with callreplay.open(case) as capture:
            said = [*capture.warnings, *(line for call in capture for line in call.all_warnings())]
    except callreplay.CallReplayError:
        return  # an error is no warning
    assert not [line for line in said if not listed(line)]


def test_a_row_is_no_row_for_everything() -> None:
    assert not listed("the moon is in the seventh house")
    assert all(len(re.findall(r"[^\W\d_]{2,}", row)) >= 2 for row in rows()), "a row needs words of its own"
