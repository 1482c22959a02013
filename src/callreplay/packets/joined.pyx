# cython: language_level=3
"""Several files as one run of octets: mapped side by side, each from a page boundary on, without a copy."""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.errno cimport errno
from libc.stdint cimport int64_t

import mmap
import os

cdef extern from "<sys/mman.h>" nogil:
    void* mmap_ "mmap" (void*, size_t, int, int, int, int64_t)
    int munmap(void*, size_t)
    int madvise(void*, size_t, int)
    enum:
        PROT_NONE
        PROT_READ
        MAP_PRIVATE
        MAP_SHARED
        MAP_FIXED
        MAP_ANON
        MAP_NORESERVE
    void* MAP_FAILED


cdef class Joined:
    """Read-only octets of files, given as ``(descriptor, octets)``; see ``joined.pyi``."""

    cdef char* base
    cdef size_t size
    cdef readonly tuple starts

    def __cinit__(self, files):
        cdef size_t page = mmap.PAGESIZE, total = 0, octets
        cdef void* at
        cdef int descriptor
        self.base = NULL
        starts = []
        for _, length in files:
            if length <= 0:
                raise ValueError("an empty file cannot be mapped")
            starts.append(total)
            octets = length
            total += (octets + page - 1) // page * page
        if not total:
            raise ValueError("no files to map")
        # One reservation that the files then take the place of: no other mapping can come in between.
        at = mmap_(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0)
        if at == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self.base, self.size, self.starts = <char*>at, total, tuple(starts)
        for (descriptor, length), start in zip(files, starts):
            octets = length
            total = start
            at = mmap_(self.base + total, octets, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, 0)
            if at == MAP_FAILED:
                raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.base, self.size, 1, flags)

    def madvise(self, int advice):
        """As ``mmap.madvise``, for all of it."""
        if madvise(self.base, self.size, advice):
            raise OSError(errno, os.strerror(errno))
