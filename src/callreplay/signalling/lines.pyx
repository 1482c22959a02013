# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The lines of a plain session description in one walk over its octets.

Plain is what nearly all are: ASCII without control characters, not too many lines. `read` leaves every other one to
`callreplay.signalling.sdp`, whose `_lines` is the law; a test holds both to the same result.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII

cdef enum:
    MOST_LINES = 4096


cdef inline bint _blank(char letter) noexcept nogil:
    return letter == 32 or letter == 9


def read(bytes body not None):
    """(whether it has a ``v=`` or an ``m=``, origin, name, levels), or None where the description is not plain.

    A level is the value of its ``m=`` ('' of the session's, which is the first), those of its ``c=``, those of its
    ``a=``.
    """
    cdef const char* at = PyBytes_AS_STRING(body)
    cdef const char* stop = at + PyBytes_GET_SIZE(body)
    cdef const char* line
    cdef const char* end
    cdef int lines = 0
    cdef bint seen = False
    cdef char kind
    cdef str origin = "", name = "", value
    cdef list connections = [], attributes = []
    cdef list levels = [("", connections, attributes)]
    while at <= stop:
        line = end = at
        while end < stop and end[0] != 10 and end[0] != 13:
            if not (32 <= end[0] < 127 or end[0] == 9):
                return None
            end += 1
        at = end + 1
        lines += 1
        if lines > MOST_LINES:
            return None
        if end - line < 2 or line[1] != 61 or line[0] == 61:
            continue
        kind = line[0]
        if kind != 97 and kind != 109 and kind != 99 and kind != 111 and kind != 115:
            seen = seen or kind == 118
            continue
        line += 2
        while line < end and _blank(line[0]):
            line += 1
        while end > line and _blank(end[-1]):
            end -= 1
        value = PyUnicode_DecodeASCII(line, end - line, NULL)
        if kind == 97:
            attributes.append(value)
        elif kind == 109:
            seen = True
            connections, attributes = [], []
            levels.append((value, connections, attributes))
        elif kind == 99:
            connections.append(value)
        elif kind == 111:
            origin = value
        else:
            name = value
    return seen, origin, name, levels
