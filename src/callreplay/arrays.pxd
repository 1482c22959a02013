# cython: language_level=3
"""Columns of NumPy as pointers: a typed memoryview of one costs as much as hundreds of rows; see arrays.pyx."""

from libc.stdint cimport int64_t

cdef int64_t length_of(object array) except -1
cdef void* column(object array, char kind, int octets, int64_t length) except NULL
cdef void* written(object array, char kind, int octets, int64_t length) except NULL
