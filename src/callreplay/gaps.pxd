# cython: language_level=3
"""A row of a table of gaps."""

from libc.stdint cimport int32_t, int64_t, uint8_t

cdef packed struct Gap:  # GAP_DTYPE
    int32_t span
    int64_t start
    int64_t ticks
    int32_t packets
    uint8_t reason


cdef class Gaps:
    cdef const Gap* gap
    cdef int64_t rows
    cdef object table
