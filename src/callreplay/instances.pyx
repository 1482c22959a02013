# cython: language_level=3
"""What makes, compares and hashes the instances of `callreplay.deferred` classes, from their fields; see the .pyi."""

from cpython.object cimport PyObject, PyObject_SetAttr
from cpython.tuple cimport PyTuple_GET_SIZE

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object, object, object) except -1
    PyObject* PyDict_GetItemWithError(dict, object) except? NULL

cdef enum:  # deferred.py has the same
    DEFAULT = 1
    FACTORY = 2
    UNGIVEN = 3  # and above: no parameter
    UNGIVEN_FACTORY = 4


def init_of(tuple names not None, tuple ways not None, tuple places not None, tuple values not None, bint frozen,
            bint after, slow):
    cdef Py_ssize_t total = len(names), i, most = 0
    if not len(ways) == len(places) == len(values) == total:
        raise ValueError("a way, a place and a value for each name")
    for i in range(total):
        most += places[i] >= 0

    def __init__(self, *given, **named):
        cdef Py_ssize_t at, place, count = PyTuple_GET_SIZE(given), used = 0, left = len(named)
        cdef int way
        cdef PyObject* found
        if count > most:
            return slow(self, *given, **named)
        for at in range(total):
            way, place = ways[at], places[at]
            if way < UNGIVEN and 0 <= place < count:
                value = given[place]
            else:
                found = PyDict_GetItemWithError(named, names[at]) if way < UNGIVEN and used < left else NULL
                if found != NULL:
                    value = <object>found
                    used += 1
                elif way == DEFAULT or way == UNGIVEN:
                    value = values[at]
                elif way == FACTORY or way == UNGIVEN_FACTORY:
                    value = values[at]()
                else:
                    return slow(self, *given, **named)
            if frozen:
                PyObject_GenericSetAttr(self, names[at], value)
            else:
                PyObject_SetAttr(self, names[at], value)
        if used != left:
            return slow(self, *given, **named)
        if after:
            self.__post_init__()

    return __init__


cdef tuple _values(object of, tuple names):
    return tuple([getattr(of, name) for name in names])


def eq_of(tuple names not None):
    def __eq__(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _values(self, names) == _values(other, names)

    return __eq__


def hash_of(tuple names not None):
    def __hash__(self):
        return hash(_values(self, names))

    return __hash__
