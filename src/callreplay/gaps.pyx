# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""One pass over a table of gaps (``model.GAP_DTYPE``) where NumPy takes one for each question; see the .pyi."""

from libc.math cimport llrint
from libc.stdint cimport int32_t, int64_t, uint8_t

from callreplay.arrays cimport column, length_of, written

import numpy as np

from callreplay.arrays import empty_each
from callreplay.model import GAP_DTYPE, GapReason

cdef tuple COLUMNS = (np.dtype("i4"), np.dtype("i8"), np.dtype("i8"), np.dtype("u1"))
cdef uint8_t LOST = int(GapReason.LOST)
cdef uint8_t CAPTURE = int(GapReason.CAPTURE)


cdef class Gaps:
    """The rows of a table while it is looked at: a view as octets, by NumPy, takes ten times as long."""

    def __cinit__(self, table):
        if table.dtype != GAP_DTYPE or table.ndim != 1:
            raise ValueError("no table of gaps")
        self.table = table if table.flags.c_contiguous else np.ascontiguousarray(table)
        self.rows = length_of(self.table)
        self.gap = <const Gap*>column(self.table, b"V", sizeof(Gap), self.rows)


def columns_of(table):
    cdef Gaps gaps = Gaps(table)
    cdef int64_t i, rows = gaps.rows
    cdef const Gap* gap = gaps.gap
    for i in range(1, rows):
        if gap[i].span < gap[i - 1].span or (gap[i].span == gap[i - 1].span and gap[i].start < gap[i - 1].start):
            return columns_of(table[np.lexsort((table["start"], table["span"]))])
    spans, starts, ticks, reasons = empty_each(rows, COLUMNS)
    cdef int32_t* span_to = <int32_t*>written(spans, b"i", 4, rows)
    cdef int64_t* start_to = <int64_t*>written(starts, b"i", 8, rows)
    cdef int64_t* ticks_to = <int64_t*>written(ticks, b"i", 8, rows)
    cdef uint8_t* reason_to = <uint8_t*>written(reasons, b"u", 1, rows)
    for i in range(rows):
        span_to[i], start_to[i], ticks_to[i], reason_to[i] = gap[i].span, gap[i].start, gap[i].ticks, gap[i].reason
    return spans, starts, ticks, reasons


def losses(table):
    cdef Gaps gaps = Gaps(table)
    cdef int64_t i, rows = gaps.rows, runs = 0, captured = 0
    cdef const Gap* gap = gaps.gap
    for i in range(rows):
        runs += gap[i].packets > 0
        if gap[i].reason == CAPTURE:
            captured += gap[i].packets
    return runs, captured


def stretches_of(table, const int64_t[::1] anchors_ns, const double[::1] clocks_hz, const double[::1] drifts):
    cdef Gaps gaps = Gaps(table)
    cdef int64_t i, rows = gaps.rows, spans = anchors_ns.shape[0]
    cdef const Gap* gap = gaps.gap
    cdef double clock_hz, drift
    cdef int32_t span
    if clocks_hz.shape[0] != spans or drifts.shape[0] != spans:
        raise ValueError("columns of spans differ in length")
    starts, stops, lost = (np.empty(rows, kind) for kind in (np.int64, np.int64, np.bool_))
    cdef int64_t[::1] start_to = starts
    cdef int64_t[::1] stop_to = stops
    cdef uint8_t[::1] lost_to = lost.view(np.uint8)
    for i in range(rows):
        span = gap[i].span
        if not 0 <= span < spans:
            raise ValueError(f"a gap of span {span}, where there are {spans}")
        # In the order of order.ns_of, so that the same nanosecond comes of it.
        clock_hz, drift = clocks_hz[span], drifts[span]
        start_to[i] = anchors_ns[span] + llrint(gap[i].start * 1e9 / clock_hz / drift)
        stop_to[i] = anchors_ns[span] + llrint((gap[i].start + gap[i].ticks) * 1e9 / clock_hz / drift)
        lost_to[i] = gap[i].reason == LOST or gap[i].reason == CAPTURE
    return starts, stops, lost
