"""Tables of gaps in one pass: the same as NumPy's passes, one for each question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreplay import order
from callreplay.codecs import parse_rtpmap
from callreplay.gaps import columns_of, losses, stretches_of
from callreplay.model import GAP_DTYPE, GapReason, Span

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


@settings(max_examples=60)
@given(
    st.lists(ROWS, max_size=12),
    st.lists(
        st.tuples(
            st.integers(0, 2 * 10**18),
            st.sampled_from([8000, 16000, 48000, 11025]),
            st.floats(-1000, 1000, allow_nan=False),
        ),
        min_size=4,
        max_size=4,
    ),
)
def test_stretches_are_to_the_nanosecond_those_of_the_timeline(
    rows: list[tuple[int, int, int, int, int]], of_spans: list[tuple[int, int, float]]
) -> None:
    spans = [
        Span(parse_rtpmap(f"L16/{clock_hz}"), 0, 0, 0, 0, 96, anchor_ns, 0, drift_ppm)
        for anchor_ns, clock_hz, drift_ppm in of_spans
    ]
    starts, stops, lost = stretches_of(
        np.array(rows, GAP_DTYPE),
        np.array([span.anchor_ns for span in spans], np.int64),
        np.array([span.codec.clock_rate_hz for span in spans], np.float64),
        np.array([1 + span.drift_ppm * 1e-6 for span in spans]),
    )
    assert starts.tolist() == [order.ns_of(spans[span], start) for span, start, *_ in rows]
    assert stops.tolist() == [order.ns_of(spans[span], start + ticks) for span, start, ticks, *_ in rows]
    assert lost.tolist() == [reason in (GapReason.LOST, GapReason.CAPTURE) for *_, reason in rows]


def test_a_gap_of_a_span_that_is_not_there_is_refused() -> None:
    one = np.array([1], np.int64), np.array([8000.0]), np.array([1.0])
    for span in (-1, 1):
        with pytest.raises(ValueError, match="a gap of span"):
            stretches_of(np.array([(span, 0, 1, 1, 1)], GAP_DTYPE), *one)
    with pytest.raises(ValueError, match="differ in length"):
        stretches_of(np.zeros(0, GAP_DTYPE), one[0], one[1], np.zeros(0))
