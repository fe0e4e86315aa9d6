"""The start of the core, and whether this process may still use it."""

import os

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from nitinol cimport _native as native

from nitinol import _openblas

native.start()


cdef int load_blas() except -1:
    path = _openblas.library_path()
    cdef bytes encoded = os.fsencode(path)
    if not native.load(encoded):
        raise ImportError(f"OpenBLAS could not be loaded from {path!r}: "
                          f"{native.load_error().decode(errors='replace')}.")
    return 0


load_blas()


cdef int refuse(int reason) except -1:
    if reason == 1:
        raise RuntimeError(
            "Device work isn't possible in a process that was forked after nitinol was imported: "
            "start it with the 'spawn' or 'forkserver' method of multiprocessing instead.")
    raise RuntimeError("Device work isn't possible any more: the interpreter is shutting down.")


cdef int check_forked() except -1:
    if native.forked():
        refuse(1)
    return 0


cdef int check_open() except -1:
    check_forked()
    if native.closed():
        refuse(2)
    return 0


cdef int reclaim() except -1:
    """Drop the Python objects that device threads no longer need."""
    if not native.Keep.any_discarded():
        return 0
    cdef native.Keep* keep = native.Keep.take_discarded()
    cdef native.Keep* following
    while keep != NULL:
        following = keep.next()
        Py_DECREF(<object> <PyObject*> keep.object())
        native.Keep.free(keep)
        keep = following
    return 0
