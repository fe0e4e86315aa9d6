"""Evaluations: starting work, waiting for it, and raising what spoilt it."""

from libc.stdlib cimport free, malloc

from nitinol cimport _native as native
from nitinol._array cimport Array
from nitinol._device cimport (check_forked, check_settled, deadline_after, evaluate, reclaim,
                              refuse, submit, wait_for)
from nitinol._errors cimport raise_poison

import time

from nitinol import dtypes
from nitinol.errors import DeviceError, RecoveryError


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
        if self.at != NULL:
            self.clear()
            free(self.at)

    cdef void clear(self) noexcept:
        """Let go of the nodes; there is room for as many."""
        cdef size_t i
        for i in range(self.count):
            self.at[i].release()
        self.count = 0


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


def retry(*arrays, timeout=None):
    """Compute failed arrays again, and everything that failed on the way to them, and wait.

    Each array handed in is bound to what is computed now; every other array keeps what it raises
    until it is retried itself, and then shares what was computed already. The result has the bits
    that it would have had without the failure. Arrays that have not failed are evaluated.

    A retry is a decision of its own: it is made whatever the failure's code was, and what a
    watchdog ended is submitted in smaller pieces. Functions given to `host_call` are called again.

    Parameters
    ----------
    *arrays : Array, or nested list, tuple or dict of Array
    timeout : float, optional
        Seconds to wait at most; without limit if not given.

    Raises
    ------
    RecoveryError
        If the device is lost or suspended, or if an update in place took the memory of an array
        that is needed. Nothing was changed then.
    DeviceError
        If a failure strikes again, as `eval` would raise it.
    WaitTimeoutError
        If the work is not done in time. It goes on.
    """
    cdef list found = flatten(arrays, [])
    cdef double deadline = deadline_after(timeout)
    cdef Nodes before = Nodes(found)
    cdef Nodes after
    # What is being computed may be about to fail.
    evaluate_scheduled(before, timeout)
    after = recompute(before)
    rebind(found, before, after)
    # Whoever holds a failed node holds what replaces the nodes in between as well.
    before.clear()
    left = None if timeout is None else max(0.0, deadline - <double> time.monotonic())
    evaluate(after.at, after.count, left)
    raise_poison(after.at, after.count)


cdef int evaluate_scheduled(Nodes nodes, object timeout) except -1:
    """Wait for the nodes that are under way."""
    cdef size_t i
    cdef list running = [nodes.arrays[i] for i in range(nodes.count)
                         if nodes.at[i].state() == native.State.scheduled]
    cdef Nodes waited
    if running:
        waited = Nodes(running)
        evaluate(waited.at, waited.count, timeout)
    return 0


cdef Nodes recompute(Nodes nodes):
    """Return the nodes that are to be evaluated in place of others."""
    cdef Nodes made = Nodes.__new__(Nodes, nodes.arrays)
    cdef native.Retried answer
    made.clear()
    with nogil:
        answer = native.retry(nodes.at, nodes.count, made.at)
    if answer.refusal == 0:
        made.count = nodes.count
        return made
    try:
        refuse_retry(answer)
    finally:
        if answer.array != NULL:
            answer.array.release()
            answer.taker.release()


cdef int refuse_retry(native.Retried answer) except -1:
    if answer.refusal <= 2:
        refuse(answer.refusal)
    if answer.refusal <= 4:
        name = answer.device.name().decode()
        if answer.refusal == 3:
            raise RecoveryError(
                f"nitinol.retry needs {name}, which is lost: only a new process can use it. "
                "Nothing was changed.", "device_lost")
        raise RecoveryError(
            f"nitinol.retry needs {name}, which is suspended: Device.reset takes it into use "
            "again. Nothing was changed.", "device_suspended")
    cdef const native.Layout* layout = &answer.array.layout()
    shape = tuple([layout.shape(i) for i in range(layout.ndim())])
    dtype = dtypes.ALL[<int> answer.array.dtype()].name
    op = native.info(answer.array.op()).name.decode()
    taker = native.info(answer.taker.op()).name.decode()
    raise RecoveryError(
        f"nitinol.retry needs an array of shape {shape} and dtype {dtype} (made by {op}) to run "
        f"{taker} again, but it was donated: an update in place took its memory. Nothing was "
        "changed; build the array again.", "donated")


cdef int rebind(list arrays, Nodes before, Nodes after) except -1:
    """Give each array its new node, but not one that another thread has bound otherwise."""
    cdef Array x
    cdef native.Node* old
    cdef size_t i
    for i in range(before.count):
        x = <Array> arrays[i]
        if x.node == before.at[i] and x.node != after.at[i]:
            old = x.node
            after.at[i].retain()
            x.node = after.at[i]
            old.release()
    return 0


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
