# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The start line and the headers of a plain SIP message in one walk over its octets.

Plain is what nearly all messages are: ASCII, no control characters, no folded lines. `read` leaves every other one to
the parser of `callreplay.signalling.sip`, which is the law; a test holds both to the same result.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memchr, memcmp

cdef extern from "<string.h>" nogil:
    void* memmem(const void*, size_t, const void*, size_t)

cdef enum:
    TOKEN = 1
    PLAIN = 2
    MOST_HEADERS = 1024
    MOST_NAMES = 1024
    LONGEST_NAME = 64

cdef unsigned char[256] _kinds
cdef int _letter
for _letter in range(256):
    _kinds[_letter] = PLAIN if 0x20 <= _letter < 0x7F or _letter == 9 else 0
for _letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.!%*_+`'~-":
    _kinds[_letter] |= TOKEN

cdef dict _names = {}  # a header's name as it is written -> the long form in lower case


def learn(dict compact):
    """Take the compact forms of header names, {short: long}."""
    for short, name in compact.items():
        _names[short.encode()] = _names[short.upper().encode()] = name


cdef inline str _text(const char* at, Py_ssize_t size):
    return PyUnicode_DecodeASCII(at, size, NULL)


cdef inline bint _blank(char letter) noexcept nogil:
    return letter == 32 or letter == 9


cdef inline bint _is_version(const char* at) noexcept nogil:
    """Whether the seven octets are SIP/2.0, in either case."""
    return (
        (at[0] | 32) == 115 and (at[1] | 32) == 105 and (at[2] | 32) == 112 and memcmp(at + 3, b"/2.0", 4) == 0
    )


cdef str _name(const char* at, Py_ssize_t size):
    if size > LONGEST_NAME:
        return _text(at, size).lower()
    raw = PyBytes_FromStringAndSize(at, size)
    known = _names.get(raw)
    if known is None:
        known = _text(at, size).lower()
        if len(_names) < MOST_NAMES:  # names come from outside
            _names[raw] = known
    return known


cdef tuple _start(const char* at, const char* end):
    """(method, Request-URI, status, reason) of a start line without blanks at its ends; () where it is none."""
    cdef Py_ssize_t size = end - at
    cdef const char* here = at + 7
    cdef const char* uri
    cdef const char* last
    if size >= 11 and _is_version(at) and _blank(at[7]):
        while here < end and _blank(here[0]):
            here += 1
        if end - here < 3 or not (49 <= here[0] <= 54 and 48 <= here[1] <= 57 and 48 <= here[2] <= 57):
            return ()
        status = (here[0] - 48) * 100 + (here[1] - 48) * 10 + here[2] - 48
        here += 3
        if here < end and not _blank(here[0]):
            return ()
        while here < end and _blank(here[0]):
            here += 1
        return "", "", status, _text(here, end - here)
    here = at
    while here < end and _kinds[<unsigned char>here[0]] & TOKEN:
        here += 1
    if here == at or here - at > 32 or here == end or not _blank(here[0]):
        return ()
    uri = here
    while uri < end and _blank(uri[0]):
        uri += 1
    if end - uri < 9 or not _is_version(end - 7):  # an octet, a blank, the version
        return ()
    last = end - 7
    while last > uri and _blank(last[-1]):
        last -= 1
    if last == end - 7 or last == uri:
        return ()
    return _text(at, here - at).upper(), _text(uri, last - uri), 0, ""


def read(bytes data not None):
    """(method, Request-URI, status, reason, headers, body, lines that are no header) of a plain message.

    () where the first line is no start line; None where the message is not plain.
    """
    cdef const char* at = PyBytes_AS_STRING(data)
    cdef const char* stop = at + PyBytes_GET_SIZE(data)
    cdef const char* head
    cdef const char* body
    cdef const char* line
    cdef const char* end
    cdef const char* here
    cdef const char* name_end
    cdef int bad = 0, lines = 0
    cdef dict headers = {}
    while at < stop and (at[0] == 13 or at[0] == 10):
        at += 1
    head = <const char*>memmem(at, stop - at, b"\r\n\r\n", 4)
    if head != NULL:
        body = head + 4
    else:
        head = <const char*>memmem(at, stop - at, b"\n\n", 2)
        body = head + 2 if head != NULL else stop
        head = head if head != NULL else stop
    start = None
    while True:
        here = <const char*>memchr(at, 10, head - at) if at < head else NULL
        line, end = at, here if here != NULL else head
        at = end + 1
        if here != NULL and end > line and end[-1] == 13:
            end -= 1
        here = line
        while here < end and _kinds[<unsigned char>here[0]] & PLAIN:
            here += 1
        if here < end:
            return None
        if start is None:
            while line < end and _blank(line[0]):
                line += 1
            while line < end and _blank(end[-1]):
                end -= 1
            start = _start(line, end)
            if not start:
                return start
        elif line < end:
            lines += 1
            if lines > MOST_HEADERS or _blank(line[0]):
                return None
            here = line
            while here < end and _kinds[<unsigned char>here[0]] & TOKEN:
                here += 1
            name_end = here
            while here < end and _blank(here[0]):
                here += 1
            if name_end == line or here == end or here[0] != 58:
                bad += 1
            else:
                name = _name(line, name_end - line)
                here += 1
                while here < end and _blank(here[0]):
                    here += 1
                while here < end and _blank(end[-1]):
                    end -= 1
                value = _text(here, end - here)
                known = headers.get(name)
                if known is None:
                    headers[name] = [value]
                else:
                    (<list>known).append(value)
        if at > head:
            break
    method, uri, status, reason = start
    return method, uri, status, reason, headers, PyBytes_FromStringAndSize(body, stop - body), bad


cdef bytes _value(bytes data, const char* name, Py_ssize_t size, const char* compact):
    """What stands behind the first line ``name`` or ``compact``, a colon after it, without blanks around; None for none.

    Names are in lower case. A line ends with a line feed or a carriage return and a line feed, or with the data.
    """
    cdef const char* at = PyBytes_AS_STRING(data)
    cdef const char* stop = at + PyBytes_GET_SIZE(data)
    cdef const char* here
    cdef const char* end
    cdef const char* stripped
    cdef Py_ssize_t same
    while at < stop:
        end = <const char*>memchr(at, 10, stop - at)
        if end == NULL:
            end = stop
        same = 0
        while same < size and same < end - at and (at[same] | 32 if 65 <= at[same] <= 90 else at[same]) == name[same]:
            same += 1
        here = NULL
        if same == size:
            here = at + size
        elif compact != NULL and at < end and (at[0] | 32 if 65 <= at[0] <= 90 else at[0]) == compact[0]:
            here = at + 1
        if here != NULL:
            while here < end and _blank(here[0]):
                here += 1
            if here < end and here[0] == 58:
                here += 1
                while here < end and _blank(here[0]):
                    here += 1
                stripped = end
                if stripped > here and stripped[-1] == 13:
                    stripped -= 1
                if memchr(here, 13, stripped - here) == NULL:
                    while stripped > here and _blank(stripped[-1]):
                        stripped -= 1
                    return PyBytes_FromStringAndSize(here, stripped - here)
        at = end + 1
    return None


def call_id(bytes data not None):
    """The Call-ID of a message, None for one without: that of its first line that has one, in whatever part."""
    return _value(data, b"call-id", 7, b"i")


def asked(bytes data not None):
    """The method that CSeq names, as written; b"" where it cannot be read."""
    cdef bytes value = _value(data, b"cseq", 4, NULL)
    if value is None:
        return b""
    number, _, method = value.replace(b"\t", b" ").partition(b" ")
    method = method.lstrip(b" ")
    return method if number.isdigit() and method.isalpha() else b""
