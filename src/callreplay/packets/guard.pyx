# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Mapped files that shrink, or whose disk fails: a read of what is gone gives zeros and is remembered.

The system says it by SIGBUS at the instruction that reads. Where the address lies in a mapping that is watched here, the
handler puts zero pages in place of all that follows, as systemd's journal does, and the instruction goes on; whoever
uses the mapping asks afterwards. Nothing is spent where nothing fails. Any other SIGBUS goes to the handler that was
there before, which stays behind this one. Who puts a handler of its own over this one has it taken in front of by the
next ``watch``: faulthandler.enable() and signal.signal() are such. Leaving by longjmp was rejected: it would leave locks
and Python's state behind.
"""

import os

from libc.stdint cimport uintptr_t
from libc.string cimport memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap
from posix.signal cimport SA_NODEFER, SA_ONSTACK, SA_SIGINFO, sigemptyset, siginfo_t, sigset_t
from posix.unistd cimport _SC_PAGESIZE, sysconf

cdef extern from "<signal.h>" nogil:
    ctypedef void (*handler_t)(int) noexcept nogil
    ctypedef void (*action_t)(int, siginfo_t*, void*) noexcept nogil
    # That of Cython says of its handlers neither that they need no GIL nor that they raise nothing.
    ctypedef struct sigaction_t "struct sigaction":
        handler_t sa_handler
        action_t sa_sigaction
        sigset_t sa_mask
        int sa_flags
    int sigaction(int number, const sigaction_t* action, sigaction_t* before)
    enum: SIGBUS
    enum: BUS_ADRERR
    handler_t SIG_DFL
    handler_t SIG_IGN
    int raise_ "raise"(int)

cdef extern from "<pthread.h>" nogil:
    unsigned long pthread_self()

cdef extern from *:
    """
    #define cr_load(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
    #define cr_store(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
    #define cr_exchange(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
    """
    uintptr_t load "cr_load"(uintptr_t* place) nogil
    void store "cr_store"(uintptr_t* place, uintptr_t value) nogil
    uintptr_t exchange "cr_exchange"(uintptr_t* place, uintptr_t value) nogil

cdef enum:
    SLOTS = 8192  # mappings beyond these are not watched
    FORMERS = 64  # handlers found at SIGBUS that are kept, so that none is overwritten while it is called

cdef struct Watched:
    uintptr_t taken
    uintptr_t change    # odd while the two below are being written, and another number afterwards
    uintptr_t start
    uintptr_t stop      # 0: nothing is watched
    uintptr_t writable
    uintptr_t lost

cdef Watched[SLOTS] watched
cdef uintptr_t used = 0         # slots from here on were never taken
cdef uintptr_t page = <uintptr_t>sysconf(_SC_PAGESIZE)
cdef sigaction_t[FORMERS] formers
cdef uintptr_t former = 0       # the one in use; the first is SIG_DFL
cdef uintptr_t installing = 0
cdef uintptr_t passing = 0      # the thread that is in the former handler
cdef uintptr_t passed_to = 0    # the address and thread that it was last called for
cdef uintptr_t passed_by = 0


cdef bint _mend(uintptr_t address) noexcept nogil:
    # Only calls that are safe in a handler: mmap is a system call without state of the C library, as in systemd's
    # sigbus.c. Another slot may be taken or left meanwhile, by threads that do not fault.
    cdef uintptr_t i, change, start, stop
    cdef uintptr_t first = address - address % page
    for i in range(load(&used)):
        change = load(&watched[i].change)
        start = load(&watched[i].start)
        stop = load(&watched[i].stop)
        if change & 1 or not start <= address < stop or load(&watched[i].change) != change:
            continue
        if mmap(<void*>first, stop - first, PROT_READ | (PROT_WRITE if watched[i].writable else 0),
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED:
            store(&watched[i].lost, 1)
            return True
    return False


cdef void _die(int number, bint faulted) noexcept nogil:
    cdef sigaction_t action
    memset(&action, 0, sizeof(action))
    action.sa_handler = SIG_DFL
    sigaction(number, &action, NULL)
    if not faulted:  # a signal that was sent does not come again by itself; a fault does
        raise_(number)


cdef void _pass_on(int number, siginfo_t* info, void* context, bint faulted) noexcept nogil:
    cdef sigaction_t* to = &formers[load(&former)]
    cdef uintptr_t self = <uintptr_t>pthread_self()
    cdef uintptr_t address = <uintptr_t>info.si_addr
    if to.sa_handler == SIG_IGN and not faulted:
        return
    # The former handler may mend the fault, or end the process. What it does not mend would fault for ever: the
    # second time in a row, and where it sends the signal itself (faulthandler does), the default has its way.
    if (to.sa_handler == SIG_DFL or to.sa_handler == SIG_IGN or load(&passing) == self
            or (faulted and load(&passed_to) == address and load(&passed_by) == self)):
        _die(number, faulted)
        return
    if faulted:
        store(&passed_to, address)
        store(&passed_by, self)
    store(&passing, self)
    if to.sa_flags & SA_SIGINFO:
        to.sa_sigaction(number, info, context)
    else:
        to.sa_handler(number)
    store(&passing, 0)


cdef void _on_bus_error(int number, siginfo_t* info, void* context) noexcept nogil:
    cdef bint faulted = info.si_code > 0  # the system's, not kill()'s
    if info.si_code == BUS_ADRERR and _mend(<uintptr_t>info.si_addr):
        return
    _pass_on(number, info, context, faulted)


cdef int _install() except -1:
    """See to it that SIGBUS comes here first; whatever is there instead becomes the former handler."""
    cdef sigaction_t action, found
    cdef uintptr_t at
    if sigaction(SIGBUS, NULL, &found):
        raise OSError("SIGBUS cannot be handled")
    if found.sa_flags & SA_SIGINFO and found.sa_sigaction == _on_bus_error:
        return 0
    if exchange(&installing, 1):
        return 0  # another thread is at it
    memset(&action, 0, sizeof(action))
    action.sa_sigaction = _on_bus_error
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK
    sigemptyset(&action.sa_mask)
    at = (load(&former) + 1) % FORMERS
    formers[at] = found
    store(&former, at)
    if sigaction(SIGBUS, &action, &found):
        store(&installing, 0)
        raise OSError("SIGBUS cannot be handled")
    store(&installing, 0)
    return 0


def _in_child():
    # Whoever was installing is not in the child.
    store(&installing, 0)


os.register_at_fork(after_in_child=_in_child)


def watch(const unsigned char[::1] mapping, bint writable):
    """Watch a mapping until ``forget`` of the number that is returned; -1 where too many are watched."""
    cdef uintptr_t i, end
    if mapping.shape[0] == 0:
        return -1
    _install()
    for i in range(SLOTS):
        if load(&watched[i].taken) or exchange(&watched[i].taken, 1):
            continue
        store(&watched[i].change, watched[i].change + 1)
        store(&watched[i].start, <uintptr_t>&mapping[0])
        store(&watched[i].writable, writable)
        store(&watched[i].lost, 0)
        store(&watched[i].stop, <uintptr_t>&mapping[0] + <uintptr_t>mapping.shape[0])
        store(&watched[i].change, watched[i].change + 1)
        end = load(&used)
        while end < i + 1:  # another thread may have written less meanwhile: look again
            store(&used, i + 1)
            end = load(&used)
        return i
    return -1


def forget(int slot):
    """End watching; call it before the mapping goes."""
    if 0 <= slot < SLOTS and load(&watched[slot].taken):
        store(&watched[slot].stop, 0)
        store(&watched[slot].taken, 0)


def lost(int slot):
    """Whether a read or write of the mapping failed since it is watched."""
    return 0 <= slot < SLOTS and load(&watched[slot].lost) != 0
