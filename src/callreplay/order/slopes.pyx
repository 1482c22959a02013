# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The drift of a sender's clock: the median slope of pairs of window minima (Theil and Sen), see timeline.py."""

from libc.math cimport fabs, rint
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, qsort

cdef enum:
    FEWEST = 8   # windows of a stretch
    SHARES = 6

cdef double[SHARES] APART = [0.20, 0.22, 0.24, 0.26, 0.28, 0.30]  # of a stretch, between the two of a pair


cdef int by_value(const void* one, const void* other) noexcept nogil:
    cdef double a = (<const double*>one)[0], b = (<const double*>other)[0]
    return (a > b) - (a < b)


cdef double median(double* values, int64_t count) noexcept nogil:
    qsort(values, count, sizeof(double), by_value)
    if count & 1:
        return values[count >> 1]
    return (values[(count >> 1) - 1] + values[count >> 1]) / 2


cdef int64_t pairs(const int64_t* tick, const double* least, int64_t count, double rate, double* slopes) noexcept nogil:
    """The slopes, in ppm, of the pairs of one stretch, into ``slopes`` (room for SHARES times ``count``); how many."""
    cdef int64_t lag, before = 0, i, found = 0
    cdef double run
    cdef int share
    for share in range(SHARES):
        # Long enough to be exact, short enough that few straddle a step.
        lag = max(<int64_t>2, <int64_t>rint(count * APART[share]))
        if lag == before:
            continue
        before = lag
        for i in range(count - lag):
            run = tick[i + lag] / rate - tick[i] / rate
            if run > 0:
                slopes[found] = (least[i + lag] - least[i]) / run * 1e-3
                found += 1
    return found


def slope(const int64_t[::1] stretch not None, const int64_t[::1] tick not None, const double[::1] least not None,
          double clock_rate_hz, double shortest_s):
    """Slope of ``least`` (ns) in ppm of media time, and its standard error; NaN where there is too little.

    An entry a window, those of one ``stretch`` side by side; stretches shorter than ``shortest_s`` do not count.
    """
    cdef Py_ssize_t windows = stretch.shape[0], first = 0, stop, i
    if tick.shape[0] != windows or least.shape[0] != windows or not clock_rate_hz > 0:
        raise ValueError("columns differ in length, or no clock rate")
    cdef int64_t found = 0
    cdef double middle = 0, error = 0
    cdef double* slopes = <double*>malloc((windows * SHARES + 1) * sizeof(double))
    if slopes == NULL:
        raise MemoryError("no memory for the slopes of a clock")
    with nogil:
        while first < windows:
            stop = first + 1
            while stop < windows and stretch[stop] == stretch[first]:
                stop += 1
            if stop - first >= FEWEST and not (
                    tick[stop - 1] / clock_rate_hz - tick[first] / clock_rate_hz < shortest_s):
                found += pairs(&tick[first], &least[first], stop - first, clock_rate_hz, slopes + found)
            first = stop
        if found:
            middle = median(slopes, found)
            for i in range(found):
                slopes[i] = fabs(slopes[i] - middle)
            # Pairs share windows: about four stretches of a quarter are independent.
            error = 1.4826 * median(slopes, found) / 2
        free(slopes)
    if not found:
        return float("nan"), float("nan")
    return middle, error
