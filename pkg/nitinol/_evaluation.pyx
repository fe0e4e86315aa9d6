"""Evaluations: starting work, waiting for it, and raising what spoilt it."""

from libc.stdlib cimport free, malloc

from nitinol cimport _native as native
from nitinol._array cimport Array
from nitinol._device cimport check_forked, check_settled, evaluate, reclaim, submit, wait_for
from nitinol._errors cimport raise_poison

from nitinol.errors import DeviceError


cdef list flatten(object arrays, list into):
    """Return the arrays in nested lists, tuples and dicts."""
    for item in arrays:
        if isinstance(item, Array):
            into.append(item)
        elif isinstance(item, dict):
            flatten(item.values(), into)
        elif isinstance(item, (list, tuple)):
            flatten(item, into)
        else:
            raise TypeError(f"Arrays are evaluated, or lists, tuples and dicts of them, not "
                            f"{type(item).__name__}.")
    return into


cdef class Nodes:
    """The nodes of some arrays, as a C array. Holds the arrays."""

    cdef native.Node** at
    cdef size_t count
    cdef list arrays

    def __cinit__(self, list arrays):
        cdef size_t i
        self.arrays = arrays
        self.count = len(arrays)
        self.at = <native.Node**> malloc(max(<size_t> 1, self.count) * sizeof(native.Node*))
        if self.at == NULL:
            raise MemoryError()
        for i in range(self.count):
            self.at[i] = (<Array> arrays[i]).node
            self.at[i].retain()

    def __dealloc__(self):
        cdef size_t i
        if self.at == NULL:
            return
        for i in range(self.count):
            if self.at[i] != NULL:
                self.at[i].release()
        free(self.at)


def eval(*arrays, timeout=None):
    """Compute arrays and wait for them.

    Parameters
    ----------
    *arrays : Array, or nested list, tuple or dict of Array
    timeout : float, optional
        Seconds to wait at most; without limit if not given.

    Raises
    ------
    DeviceError
        If a failure spoilt one of the arrays; a `DeviceErrorGroup` if several independent
        failures did. It is raised after all of the work has ended.
    WaitTimeoutError
        If the work is not done in time. It goes on.
    """
    cdef Nodes nodes = Nodes(flatten(arrays, []))
    evaluate(nodes.at, nodes.count, timeout)
    raise_poison(nodes.at, nodes.count)


def async_eval(*arrays):
    """Start to compute arrays, and return at once.

    Device failures never raise here, but where the arrays are read.

    Parameters
    ----------
    *arrays : Array, or nested list, tuple or dict of Array

    Returns
    -------
    Evaluation
    """
    return Evaluation._start(flatten(arrays, []))


cdef class Evaluation:
    """Work that was started by `async_eval`."""

    cdef native.Evaluation* evaluation
    cdef Nodes nodes

    def __init__(self):
        raise TypeError("Evaluations are made by nitinol.async_eval.")

    def __dealloc__(self):
        if self.evaluation != NULL:
            self.evaluation.release()

    @staticmethod
    def _start(list arrays):
        cdef Evaluation made = Evaluation.__new__(Evaluation)
        made.nodes = Nodes(arrays)
        made.evaluation = submit(made.nodes.at, made.nodes.count, False)
        reclaim()
        return made

    def done(self):
        """Return whether the work has ended, well or not."""
        return self.evaluation == NULL or self.evaluation.done()

    def wait(self, timeout=None):
        """Wait for the end of the work. Device failures don't raise here.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Raises
        ------
        WaitTimeoutError
            If the work is not done in time. It goes on.
        """
        if not self.done():
            check_forked()
            wait_for(self.evaluation, timeout)

    def exception(self, timeout=None):
        """Wait, and return what spoilt the arrays, or None.

        Returns
        -------
        DeviceError or None
        """
        self.wait(timeout)
        check_settled(self.nodes.at, self.nodes.count)
        try:
            raise_poison(self.nodes.at, self.nodes.count)
        except DeviceError as error:
            return error.with_traceback(None)
        return None

    def result(self, timeout=None):
        """Wait, and return the arrays as they were given, in one tuple.

        Returns
        -------
        tuple of Array

        Raises
        ------
        DeviceError
            If a failure spoilt one of the arrays.
        """
        self.wait(timeout)
        check_settled(self.nodes.at, self.nodes.count)
        raise_poison(self.nodes.at, self.nodes.count)
        return tuple(self.nodes.arrays)
