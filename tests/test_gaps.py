"""Tables of gaps in one pass: the same as NumPy's passes, one for each question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay.gaps import columns_of, losses
from callreplay.model import GAP_DTYPE, GapReason

ROWS = st.tuples(
    st.integers(0, 3),
    st.integers(-(10**12), 10**12),
    st.integers(0, 10**9),
    st.integers(0, 5),
    st.sampled_from(GapReason),
)


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=12), st.booleans())
def test_columns_and_losses(rows: list[tuple[int, int, int, int, int]], ordered: bool) -> None:
    table = np.array(sorted(rows) if ordered else rows, GAP_DTYPE)
    sorted_table = table[np.lexsort((table["start"], table["span"]))]
    columns: tuple[Any, ...] = columns_of(table)
    for name, column in zip(("span", "start", "ticks", "reason"), columns, strict=True):
        assert column.dtype == GAP_DTYPE[name]
        assert column.flags.c_contiguous
        assert column.tolist() == sorted_table[name].tolist()
    captured = table["packets"][table["reason"] == GapReason.CAPTURE]
    assert losses(table) == (int((table["packets"] > 0).sum()), int(captured.sum()))
    assert losses(table[::-1]) == losses(table)


@pytest.mark.parametrize("table", [np.zeros(3, np.int64), np.zeros((2, 2), GAP_DTYPE)])
def test_what_is_no_table_of_gaps_is_refused(table: Any) -> None:
    for ask in (columns_of, losses):
        with pytest.raises(ValueError, match="no table of gaps"):
            ask(table)
