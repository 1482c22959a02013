# cython: language_level=3
"""What makes, compares and hashes the instances of `callreplay.deferred` classes, from their fields; see the .pyi."""

from cpython.object cimport PyObject, PyObject_SetAttr, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdlib cimport free, malloc

cdef extern from *:
    """
    #include <structmember.h>
    /* Where a slot's value lies in an instance; -1 for what is no slot, or may not be written to. */
    static Py_ssize_t callreplay_slot(PyObject *found) {
        if (!Py_IS_TYPE(found, &PyMemberDescr_Type)) return -1;
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        return member->type == T_OBJECT_EX && !member->flags ? member->offset : -1;
    }
    static int callreplay_plain(PyTypeObject *type) { return type->tp_setattro == PyObject_GenericSetAttr; }
    /* The value's reference is taken over. */
    static void callreplay_put(PyObject *self, Py_ssize_t offset, PyObject *value) {
        PyObject **at = (PyObject **)((char *)self + offset), *old = *at;
        *at = value;
        Py_XDECREF(old);
    }
    """
    Py_ssize_t callreplay_slot(object)
    bint callreplay_plain(PyTypeObject*)
    void callreplay_put(object, Py_ssize_t, object)

cdef extern from "Python.h":
    PyTypeObject* Py_TYPE(object)
    int PyObject_GenericSetAttr(object, object, object) except -1
    PyObject* PyDict_GetItemWithError(dict, object) except? NULL

cdef enum:  # deferred.py has the same
    DEFAULT = 1
    FACTORY = 2
    UNGIVEN = 3  # and above: no parameter
    UNGIVEN_FACTORY = 4


cdef class Places:
    """Where the values of a class lie in its instances: to put one there takes a tenth of what setting it by name does.

    ``of`` is the class once that is known, and NULL for one whose values do not all lie in slots.
    """

    cdef PyTypeObject* of
    cdef bint asked
    cdef Py_ssize_t* offset

    def __cinit__(self, Py_ssize_t total):
        self.offset = <Py_ssize_t*>malloc((total + 1) * sizeof(Py_ssize_t))
        if self.offset == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.offset)

    cdef int look(self, object instance, tuple names, bint frozen) except -1:
        cdef Py_ssize_t at
        cdef type kind = type(instance)
        self.asked = True
        if not frozen and not callreplay_plain(Py_TYPE(instance)):
            return 0
        for at in range(len(names)):
            self.offset[at] = callreplay_slot(getattr(kind, names[at], None))
            if self.offset[at] < 0:
                return 0
        self.of = Py_TYPE(instance)
        return 0


def init_of(tuple names not None, tuple ways not None, tuple places not None, tuple values not None, bint frozen,
            bint after, slow):
    cdef Py_ssize_t total = len(names), i, most = 0
    if not len(ways) == len(places) == len(values) == total:
        raise ValueError("a way, a place and a value for each name")
    for i in range(total):
        most += places[i] >= 0
    cdef Places slots = Places(total)
    cdef bytes rows = b"".join([bytes((way, place & 0xFF)) for way, place in zip(ways, places)])
    if total > 250:
        raise ValueError("too many fields")

    def __init__(self, *given, **named):
        cdef Py_ssize_t at, place, count = PyTuple_GET_SIZE(given), used = 0, left = len(named)
        cdef int way
        cdef PyObject* found
        cdef const unsigned char* row = rows
        if count > most:
            return slow(self, *given, **named)
        if not slots.asked:
            slots.look(self, names, frozen)
        cdef bint direct = slots.of == Py_TYPE(self)
        for at in range(total):
            way, place = row[2 * at], row[2 * at + 1]
            if place == 0xFF:
                place = -1
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
            if direct:
                Py_INCREF(value)
                callreplay_put(self, slots.offset[at], value)
            elif frozen:
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
