# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Mapped files that shrink, or whose disk fails: a read of what is gone gives zeros and is remembered.

The system says it by SIGBUS at the instruction that reads. Where the address lies in a mapping that is watched here, the
handler puts zero pages in place of all that follows, as systemd's journal does, and the instruction goes on; whoever
uses the mapping asks afterwards. Nothing is spent where nothing fails. Any other SIGBUS goes to the handler that was
there before. Leaving by longjmp was rejected: it would leave locks and Python's state behind.
"""

from libc.stdint cimport uintptr_t
from libc.string cimport memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap
from posix.signal cimport SA_NODEFER, SA_ONSTACK, SA_SIGINFO, sigaction, sigaction_t, sigemptyset, siginfo_t
from posix.unistd cimport _SC_PAGESIZE, sysconf

cdef extern from "<signal.h>" nogil:
    enum: SIGBUS
    enum: BUS_ADRERR

cdef enum:
    SLOTS = 8192  # mappings beyond these are not watched

cdef struct Watched:
    uintptr_t start
    uintptr_t stop      # 0: the slot is free
    int protection
    int lost

cdef Watched[SLOTS] watched
cdef int used = 0       # slots from here on were never taken
cdef uintptr_t page = 0
cdef sigaction_t before
cdef bint installed = False


cdef void _on_bus_error(int number, siginfo_t* info, void* context) noexcept nogil:
    # Only calls that are safe here: mmap is a system call without state of the C library, as in systemd's sigbus.c.
    cdef uintptr_t address = <uintptr_t>info.si_addr
    cdef uintptr_t start = address - address % page
    cdef int i
    if info.si_code == BUS_ADRERR:
        for i in range(used):
            if watched[i].start <= address < watched[i].stop:
                if mmap(<void*>start, watched[i].stop - start, watched[i].protection,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED:
                    watched[i].lost = 1
                    return
    # The instruction runs again and meets what was there before us.
    sigaction(number, &before, NULL)


cdef int _install() except -1:
    global installed, page
    cdef sigaction_t action
    if installed:
        return 0
    page = <uintptr_t>sysconf(_SC_PAGESIZE)
    memset(&action, 0, sizeof(action))
    action.sa_sigaction = _on_bus_error
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK
    sigemptyset(&action.sa_mask)
    if sigaction(SIGBUS, &action, &before):
        raise OSError("SIGBUS cannot be handled")
    installed = True
    return 0


def watch(const unsigned char[::1] mapping, bint writable):
    """Watch a mapping until ``forget`` of the number that is returned; -1 where too many are watched."""
    global used
    cdef int i
    if mapping.shape[0] == 0:
        return -1
    _install()
    for i in range(SLOTS):
        if watched[i].stop == 0:
            watched[i].start = <uintptr_t>&mapping[0]
            watched[i].protection = PROT_READ | (PROT_WRITE if writable else 0)
            watched[i].lost = 0
            watched[i].stop = watched[i].start + <uintptr_t>mapping.shape[0]
            used = max(used, i + 1)
            return i
    return -1


def forget(int slot):
    """End watching; call it before the mapping goes."""
    if 0 <= slot < SLOTS:
        watched[slot].stop = 0


def lost(int slot):
    """Whether a read or write of the mapping failed since it is watched."""
    return 0 <= slot < SLOTS and bool(watched[slot].lost)
