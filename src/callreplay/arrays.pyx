# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What is asked of NumPy's arrays a few dozen times a call, by NumPy's own C interface; see the .pyi."""

from libc.stdint cimport int64_t

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArrayObject:
        pass
    ctypedef struct PyArray_Descr:
        char kind
    ctypedef Py_ssize_t npy_intp
    enum:
        NPY_ARRAY_WRITEABLE
    int _import_array() except -1
    bint PyArray_Check(object)
    bint PyArray_CheckExact(object)
    bint PyArray_ISCARRAY_RO(PyArrayObject*)
    bint PyArray_CHKFLAGS(PyArrayObject*, int)
    int PyArray_NDIM(PyArrayObject*)
    npy_intp PyArray_DIM(PyArrayObject*, int)
    npy_intp PyArray_ITEMSIZE(PyArrayObject*)
    PyArray_Descr* PyArray_DESCR(PyArrayObject*)
    void* PyArray_DATA(PyArrayObject*)
    object PyArray_Empty(int, npy_intp*, object, int)

cdef extern from "Python.h":
    bint PyMemoryView_Check(object)
    void Py_INCREF(object)

_import_array()


cdef int64_t length_of(object array) except -1:
    """How many rows a column has."""
    if not PyArray_Check(array) or PyArray_NDIM(<PyArrayObject*>array) != 1:
        raise ValueError("no column")
    return PyArray_DIM(<PyArrayObject*>array, 0)


cdef void* column(object array, char kind, int octets, int64_t length) except NULL:
    """The first of ``length`` numbers side by side, in this machine's order, of a kind (``i``, ``u``, ``f``) and size.

    Valid as long as the array is held. ValueError for anything else.
    """
    cdef PyArrayObject* of = <PyArrayObject*>array
    if not PyArray_Check(array) or PyArray_NDIM(of) != 1:
        raise ValueError("no column")
    if PyArray_DIM(of, 0) != length:
        raise ValueError("columns differ in length")
    if PyArray_DESCR(of).kind != kind or PyArray_ITEMSIZE(of) != octets or not PyArray_ISCARRAY_RO(of):
        raise ValueError("a column of another type, or with gaps")
    return PyArray_DATA(of)


cdef void* written(object array, char kind, int octets, int64_t length) except NULL:
    """``column`` of an array that is to be written to."""
    cdef void* first = column(array, kind, octets, length)
    if not PyArray_CHKFLAGS(<PyArrayObject*>array, NPY_ARRAY_WRITEABLE):
        raise ValueError("a column that must not be written to")
    return first


def empty_each(int64_t length, tuple kinds not None):
    cdef npy_intp rows = length
    cdef list made = []
    if length < 0:
        raise ValueError("negative dimensions are not allowed")
    for kind in kinds:
        Py_INCREF(kind)  # which PyArray_Empty takes
        made.append(PyArray_Empty(1, &rows, kind, 0))
    return made


def plain_columns(tuple columns not None, tuple kinds not None):
    cdef Py_ssize_t at
    cdef int64_t length = -1
    cdef PyArrayObject* of
    if len(columns) != len(kinds):
        return False
    for at in range(len(kinds)):
        array = columns[at]
        if not PyArray_CheckExact(array):
            return False
        of = <PyArrayObject*>array
        if PyArray_NDIM(of) != 1 or <void*>PyArray_DESCR(of) != <void*>kinds[at] or not PyArray_ISCARRAY_RO(of):
            return False
        if at == 0:
            length = PyArray_DIM(of, 0)
        elif PyArray_DIM(of, 0) != length:
            return False
    return True


def mappings(*arrays):
    cdef list found = []
    cdef object owner, before = None
    for array in arrays:
        owner = array.base
        if owner is None:
            continue
        while PyArray_Check(owner):
            owner = owner.base
        if PyMemoryView_Check(owner):
            owner = owner.obj
        if owner is before or owner is None:
            continue
        before = owner
        if hasattr(owner, "check") and not any([owner is other for other in found]):
            found.append(owner)
    return found
