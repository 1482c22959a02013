# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The table of durations (a row a codec, a column a payload length): what must hold before it is read unchecked."""

from libc.stdint cimport int32_t, uint8_t, uint16_t


cdef inline bint covers(const int32_t[:, ::1] durations, const uint8_t[::1] codecs,
                        const uint16_t[::1] size) noexcept nogil:
    """Whether ``durations`` has every codec of ``codecs`` and every length of ``size``."""
    cdef Py_ssize_t i
    for i in range(codecs.shape[0]):
        if codecs[i] >= durations.shape[0]:
            return False
    for i in range(size.shape[0]):
        if size[i] >= durations.shape[1]:
            return False
    return True
