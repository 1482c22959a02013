# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""One pass over a table of gaps (``model.GAP_DTYPE``) where NumPy takes one for each question; see the .pyi."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport llrint
from libc.stdint cimport int32_t, int64_t, uint8_t

import numpy as np

from callreplay.model import GAP_DTYPE, GapReason

cdef uint8_t LOST = int(GapReason.LOST)
cdef uint8_t CAPTURE = int(GapReason.CAPTURE)


cdef class Gaps:
    """The rows of a table while it is looked at: a view as octets, by NumPy, takes ten times as long."""

    def __cinit__(self, table):
        if table.dtype != GAP_DTYPE or table.ndim != 1:
            raise ValueError("no table of gaps")
        PyObject_GetBuffer(np.ascontiguousarray(table), &self.buffer, PyBUF_SIMPLE)
        self.held = True
        self.rows = self.buffer.len // <Py_ssize_t>sizeof(Gap)
        self.gap = <const Gap*>self.buffer.buf

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


def columns_of(table):
    cdef Gaps gaps = Gaps(table)
    cdef int64_t i, rows = gaps.rows
    cdef const Gap* gap = gaps.gap
    for i in range(1, rows):
        if gap[i].span < gap[i - 1].span or (gap[i].span == gap[i - 1].span and gap[i].start < gap[i - 1].start):
            return columns_of(table[np.lexsort((table["start"], table["span"]))])
    spans, starts, ticks, reasons = (np.empty(rows, kind) for kind in (np.int32, np.int64, np.int64, np.uint8))
    cdef int32_t[::1] span_to = spans
    cdef int64_t[::1] start_to = starts
    cdef int64_t[::1] ticks_to = ticks
    cdef uint8_t[::1] reason_to = reasons
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
