# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""One pass over a table of gaps (``model.GAP_DTYPE``) where NumPy takes one for each question; see the .pyi."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t

import numpy as np

from callreplay.model import GAP_DTYPE, GapReason

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
