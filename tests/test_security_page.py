"""docs/security.md names the test of each promise; those tests are there, and the chapters are ASVS's, in its order."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(?:tests/)?((?:[a-z]+/)?test_\w+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 25
    for path, function in named:
        files = [TESTS / path] if "/" in path else list(TESTS.rglob(path))
        assert files, path
        assert files[0].is_file(), path
        assert not function or f"def {function}(" in files[0].read_text(encoding="utf-8"), (path, function)


def test_chapters_are_those_of_asvs_and_none_is_empty() -> None:
    chapters = re.split(r"^## V", PAGE, flags=re.MULTILINE)[1:]
    assert [int(chapter.split()[0]) for chapter in chapters] == list(range(1, 18))
    for chapter in chapters:
        body = chapter.partition("\n")[2].strip()
        assert body.startswith(("- ", "Does not apply", "Against")), chapter[:40]
