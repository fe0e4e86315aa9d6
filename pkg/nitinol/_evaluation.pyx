"""Evaluations: starting work, waiting for it, and raising what spoilt it."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc

from nitinol cimport _native as native
from nitinol._array cimport Array
from nitinol._core cimport check_forked, check_open, reclaim, refuse
from nitinol._debug cimport warn_of_donations
from nitinol._errors cimport raise_poison
from nitinol._runtime cimport call_safely, start_notifier
from nitinol._scope cimport ScopeHandle
from nitinol._wait cimport (
    check_settled,
    deadline_after,
    evaluate,
    submit,
    wait_for,
    wait_for_room,
)

from nitinol import dtypes
from nitinol.errors import DeviceError, RecoveryError

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char* where) except *  # 1, not -1, when it raises
    void Py_LeaveRecursiveCall()


cdef list flatten(object arrays, list into):
    """Return the arrays in nested lists, tuples and dicts."""
    # A list that contains itself is a RecursionError as anywhere in Python, not a full stack.
    Py_EnterRecursiveCall(b" while looking for arrays in lists, tuples and dicts")
    try:
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
    finally:
        Py_LeaveRecursiveCall()
    return into


cdef object copied(object item):
    """Return the same arrays in lists, tuples and dicts of our own."""
    if isinstance(item, dict):
        return {key: copied(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        made = [copied(value) for value in item]
        if isinstance(item, list):
            return made
        return item._make(made) if hasattr(item, "_fields") else tuple(made)
    return item


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
    cdef double deadline = deadline_after(timeout)
    cdef Nodes nodes = Nodes(flatten(arrays, []))
    evaluate(nodes.at, nodes.count, timeout, deadline)
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
    evaluate_scheduled(before, timeout, deadline)
    after = recompute(before)
    rebind(found, before, after)
    # Whoever holds a failed node holds what replaces the nodes in between as well.
    before.clear()
    evaluate(after.at, after.count, timeout, deadline)
    raise_poison(after.at, after.count)


cdef int evaluate_scheduled(Nodes nodes, object timeout, double deadline) except -1:
    """Wait for the nodes that are under way."""
    cdef size_t i
    cdef list running = [nodes.arrays[i] for i in range(nodes.count)
                         if nodes.at[i].state() == native.State.scheduled]
    cdef Nodes waited
    if running:
        waited = Nodes(running)
        evaluate(waited.at, waited.count, timeout, deadline)
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
            after.at[i].hold_handle()
            x.node = after.at[i]
            old.drop_handle()
            old.release()
    return 0


def async_eval(*arrays):
    """Start to compute arrays, and return at once.

    Device failures never raise here, but where the arrays are read.

    What is started faster than a stream can do it is queued there, and the queue has a bound: when
    1024 submissions have not ended, or when they and what is in memory exceed the device's
    `Device.memory_limit` together, this waits before it adds to them, other threads running
    meanwhile, until a quarter of them has ended. Ctrl-C ends the wait; the arrays are not started
    then. Not to block an event loop, await evaluations before so many are under way.

    The bound gives way to a function given to `host_call` that may be waiting for the caller: while
    one runs and nothing of the stream ends, the wait is given up after 0.1 s, and after twice that
    when twice as much is queued. Inside such functions and callbacks nothing waits.

    Parameters
    ----------
    *arrays : Array, or nested list, tuple or dict of Array

    Returns
    -------
    Evaluation
    """
    return Evaluation._start(arrays)


def work_in(ScopeHandle handle):
    """Return what was submitted in a scope and has not ended, as an Evaluation of no arrays."""
    check_forked()
    return Evaluation._of(native.pending_in(handle.scope))


cdef class Waiters:
    """Who is to be told that an evaluation is done. Called by the notifier thread, once."""

    # (loop, future) of an await, (function, evaluation) of a callback; None once it is done.
    # An await's frame keeps the evaluation alive, this does not: a cancelled one lets it go.
    cdef list awaits
    cdef list callbacks

    def __cinit__(self):
        self.awaits = []
        self.callbacks = []

    def __call__(self):
        """Wake the loops; return what is to be called then."""
        awaits, self.awaits = self.awaits, None
        callbacks, self.callbacks = self.callbacks, None
        for loop, future in awaits:
            try:
                loop.call_soon_threadsafe(_wake, future)
            except RuntimeError:
                pass  # the loop was closed, so nobody waits there any more
        return callbacks


def _wake(future):
    """End an await, in its loop, unless it was cancelled."""
    if not future.done():
        future.set_result(None)


cdef class Evaluation:
    """Work that was started by `async_eval`; it may be awaited, as often as one likes.

    Its habits are those of `concurrent.futures.Future`, but that it can't be cancelled: drop the
    arrays and the evaluation, and what of the work has not started is skipped. Cancelling an
    ``await`` of it stops the await alone.
    """

    cdef native.Evaluation* evaluation
    cdef Nodes nodes
    cdef tuple given
    cdef Waiters waiters
    cdef object __weakref__

    def __init__(self):
        raise TypeError("Evaluations are made by nitinol.async_eval.")

    def __dealloc__(self):
        if self.evaluation != NULL:
            self.evaluation.release()

    @staticmethod
    def _start(tuple arrays):
        cdef Evaluation made = Evaluation.__new__(Evaluation)
        made.nodes = Nodes(flatten(arrays, []))
        made.given = copied(arrays)
        wait_for_room(made.nodes.at, made.nodes.count)
        made.evaluation = submit(made.nodes.at, made.nodes.count, False)
        reclaim()
        return made

    def __reduce__(self):
        raise TypeError("An evaluation belongs to its process: it can't be pickled or copied. "
                        "Arrays can.")

    @staticmethod
    cdef Evaluation _of(native.Evaluation* evaluation):
        """Wrap work that no arrays were named for; takes over the reference."""
        cdef Evaluation made
        try:
            made = Evaluation.__new__(Evaluation)
            made.nodes = Nodes([])
            made.given = ()
        except BaseException:
            evaluation.release()
            raise
        made.evaluation = evaluation
        return made

    cdef Waiters _watch(self):
        """Return the list of those who wait; from now on the notifier looks after it."""
        cdef Waiters made
        if self.waiters is None:
            check_open()
            start_notifier()
            made = Waiters()
            # Nothing between this look and the assignment lets another thread run.
            if self.waiters is None:
                self.waiters = made
                Py_INCREF(made)  # the watch's reference
                try:
                    native.watch(self.evaluation, <void*> <PyObject*> made)
                except BaseException:
                    Py_DECREF(made)
                    self.waiters = None
                    raise
        return self.waiters

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
        cdef double deadline = deadline_after(timeout)
        if not self.done():
            check_forked()
            wait_for(self.evaluation, timeout, deadline)
        if native.any_refused_donations():
            warn_of_donations()

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
        """Wait, and return the arrays.

        Returns
        -------
        tuple
            What `async_eval` was given, an item for each argument: an Array, or the lists, tuples
            and dicts of arrays, as they were.

        Raises
        ------
        DeviceError
            If a failure spoilt one of the arrays.
        """
        self.wait(timeout)
        check_settled(self.nodes.at, self.nodes.count)
        raise_poison(self.nodes.at, self.nodes.count)
        return self.given

    def add_done_callback(self, fn):
        """Have a function called with this evaluation when the work has ended, well or not.

        If it has ended already, it is called at once, by this thread; otherwise on a thread of
        nitinol's, where it should return soon, and can't wait for device work that is not done.
        What it raises goes to `sys.unraisablehook`. Being called is not observing.

        Parameters
        ----------
        fn : callable
            Called with one argument. The evaluation is kept alive until then.
        """
        if not callable(fn):
            raise TypeError(f"A callback is a function, not {type(fn).__name__}.")
        cdef Waiters waiters
        cdef tuple entry = (fn, self)
        if not self.done():
            waiters = self._watch()
            # Nothing between the look and the append lets the notifier run.
            if waiters.callbacks is not None:
                waiters.callbacks.append(entry)
                return
        call_safely(fn, (self,))

    def __await__(self):
        """Wait in the running loop, and return the arrays as `result` does."""
        cdef Waiters waiters
        cdef tuple entry
        if not self.done():
            waiters = self._watch()
            loop = _running_loop()
            future = loop.create_future()
            entry = (loop, future)
            # Nothing between the look and the append lets the notifier run.
            if waiters.awaits is not None:
                waiters.awaits.append(entry)
                try:
                    yield from future
                finally:
                    # Cancelled, or the loop is being closed.
                    if waiters.awaits is not None:
                        waiters.awaits.remove(entry)
        return self.result()


cdef object _get_running_loop = None


cdef object _running_loop():
    global _get_running_loop
    if _get_running_loop is None:
        # Not with the module: asyncio takes longer to import than all of nitinol's own.
        from asyncio import get_running_loop

        _get_running_loop = get_running_loop
    return _get_running_loop()
