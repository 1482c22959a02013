# cython: language_level=3
"""A whole file without a name: put on the disk, named and closed, all of it without the GIL; see ``finishing.pyi``."""

from libc.errno cimport EEXIST, EINTR, errno
from libc.stdio cimport snprintf

import os

cdef extern from "<unistd.h>" nogil:
    int fsync(int)
    int linkat(int, const char*, int, const char*, int)
    int close_ "close" (int)

cdef extern from "<fcntl.h>" nogil:
    enum:
        AT_FDCWD
        AT_SYMLINK_FOLLOW


cdef int _finish(int descriptor, const char* path) noexcept nogil:
    """0, or the errno of what failed; the descriptor is closed only where nothing did."""
    cdef char name[32]
    while fsync(descriptor) != 0:
        if errno != EINTR:
            return errno
    snprintf(name, sizeof(name), "/proc/self/fd/%d", descriptor)
    if linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0:
        return errno
    # Its octets are on the disk and its name stands: nothing that close() could say matters any more.
    close_(descriptor)
    return 0


def finish(int descriptor, str path):
    cdef bytes octets = os.fsencode(path)
    cdef const char* name = octets
    cdef int failed
    if b"\0" in octets:
        raise ValueError("embedded null byte")
    with nogil:
        failed = _finish(descriptor, name)
    if failed == EEXIST:
        return False
    if failed:
        raise OSError(failed, os.strerror(failed))
    return True
