# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Octets from all over a capture laid side by side: copied from memory, or read from the file where they lie far apart.

A touched page of a mapping is a fault that brings 64 KiB to 2 MiB into residency; pread(2) of a packet costs less than
the fault and leaves nothing resident.
"""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

cdef extern from "<unistd.h>" nogil:
    Py_ssize_t pread(int, void*, size_t, int64_t)


cdef int64_t _outside(const int64_t[::1] offset, const int64_t[::1] size, int64_t before, int64_t length,
                      int64_t room) noexcept nogil:
    """The first row that is not within ``length`` octets or that ``room`` has no place for; -1 where all fit."""
    cdef int64_t row
    for row in range(offset.shape[0]):
        if offset[row] < 0 or size[row] < 0 or size[row] > length or offset[row] > length - size[row]:
            return row
        if room < before or room - before < size[row]:
            return row
        room -= before + size[row]
    return -1


cdef int _check(const int64_t[::1] offset, const int64_t[::1] size, int64_t before, int64_t length,
                int64_t room) except -1:
    cdef int64_t row
    if size.shape[0] != offset.shape[0] or before < 0:
        raise ValueError("a size for each offset")
    with nogil:
        row = _outside(offset, size, before, length, room)
    if row >= 0:
        raise ValueError(f"row {row} lies outside its buffer")
    return 0


def copy(const uint8_t[::1] data, const int64_t[::1] offset, const int64_t[::1] size, int64_t before,
         uint8_t[::1] out):
    """Each row's octets and the ``before`` octets ahead of them, from memory; zeros ahead of the first octet."""
    cdef int64_t row, ahead, at = 0
    _check(offset, size, before, data.shape[0], out.shape[0])
    with nogil:
        for row in range(offset.shape[0]):
            ahead = min(before, offset[row])
            if ahead < before:
                memset(&out[at], 0, before - ahead)
            if ahead + size[row]:
                memcpy(&out[at + before - ahead], &data[offset[row] - ahead], ahead + size[row])
            at += before + size[row]


def read(const int64_t[:, ::1] files, const int64_t[::1] offset, const int64_t[::1] size, int64_t before,
         uint8_t[::1] out):
    """As ``copy``, from ``files``, rows of (start, stop, descriptor) in order; True where all of it was there.

    What a row wants of another file than the one that it begins in is zeros.
    """
    cdef int64_t row, at = 0, first, stop, position, file = 0, low, high, files_count = files.shape[0]
    cdef Py_ssize_t got
    cdef bint whole = True
    if files_count == 0 or files.shape[1] != 3:
        raise ValueError("files are rows of (start, stop, descriptor)")
    _check(offset, size, before, files[files_count - 1, 1], out.shape[0])
    with nogil:
        for row in range(offset.shape[0]):
            if not files[file, 0] <= offset[row] < files[file, 1]:
                low, high = 0, files_count - 1
                while low < high:
                    file = (low + high + 1) // 2
                    if files[file, 0] <= offset[row]:
                        low = file
                    else:
                        high = file - 1
                file = low
            first = max(offset[row] - before, files[file, 0])
            stop = min(offset[row] + size[row], files[file, 1])
            position = first
            if position > offset[row] - before:
                memset(&out[at], 0, position - (offset[row] - before))
            while position < stop:
                got = pread(<int>files[file, 2], &out[at + position - (offset[row] - before)], stop - position,
                            position - files[file, 0])
                if got > 0:
                    position += got
                elif got == 0 or errno != EINTR:
                    # The file shrank, or its disk failed.
                    whole = False
                    break
            position = max(position, first)
            if position < offset[row] + size[row]:
                memset(&out[at + position - (offset[row] - before)], 0, offset[row] + size[row] - position)
            at += before + size[row]
    return bool(whole)
