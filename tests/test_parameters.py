"""The tables of parameters: every row is whole, what is made of them is up to date, examples are values."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from callreplay.outputs import options
from callreplay.outputs.option_rows import OptionRow
from callreplay.outputs.options import Options
from callreplay.store import query

from .generated import files


def test_what_is_made_of_the_tables_is_up_to_date() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"run scripts/parameters: {path.name}"


@pytest.mark.parametrize("row", query.ROWS, ids=lambda row: row.url)
def test_the_example_of_a_search_parameter_asks_something(row: query.SearchRow) -> None:
    assert not query.CallQuery.parse({row.url: row.example}, ZoneInfo("UTC")).is_empty
    assert row.help.endswith(".")
    assert row.label
    assert row.panel


@pytest.mark.parametrize("row", options.ROWS, ids=lambda row: row.url)
def test_the_example_of_an_option_changes_it(row: OptionRow) -> None:
    value = row.kind.read(row.example)
    assert value != row.default
    assert getattr(Options(**{row.name: value}), row.name) == value
    assert row.help.endswith(".")
    assert row.panel


def test_no_name_is_that_of_two_parameters() -> None:
    """Both tables stand in one URL."""
    names = [row.url for row in (*query.ROWS, *options.ROWS)] + ["format", "limit", "after", "reason"]
    assert sorted(set(names)) == sorted(names)
