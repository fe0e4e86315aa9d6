"""The notifier thread and what it calls, user functions as operations, injection, the exit."""

import atexit
import sys
import threading
import time

from cpython.exc cimport PyErr_SetObject, PyErr_WriteUnraisable
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t

from nitinol cimport _native as native
from nitinol._array cimport Array
from nitinol._core cimport check_open, reclaim
from nitinol._device cimport Device, wrap_device
from nitinol._errors cimport to_report
from nitinol._graph cimport dtype_object
from nitinol._stream cimport stream_of
from nitinol._wait cimport set_host_call

import numpy

from nitinol import dtypes
from nitinol._device import devices, take_unobserved
from nitinol._operations import apply

cdef Device _cpu = devices()[0]
cdef object _lock = threading.Lock()
cdef object _thread = None
# What is done at exit may take this long altogether.
cdef double EXIT_SECONDS = 2.0


cdef object operand_view(const native.HostOperand* operand, bint writable):
    """Return a NumPy array over device memory that lives as long as the call."""
    cdef int i
    cdef const native.Layout* layout = operand.layout
    dtype = dtype_object(operand.dtype).numpy
    shape = [layout.shape(i) for i in range(layout.ndim())]
    if layout.size() == 0:
        return numpy.empty(shape, dtype)
    item = dtype.itemsize
    strides = [layout.stride(i) * item for i in range(layout.ndim())]
    low = sum([s * (n - 1) for s, n in zip(strides, shape) if s < 0])
    high = sum([s * (n - 1) for s, n in zip(strides, shape) if s > 0])
    cdef Py_ssize_t length = high - low + item
    cdef char* start = operand.data + <Py_ssize_t> low
    cdef int access = 0x200 if writable else 0x100  # PyBUF_WRITE, PyBUF_READ
    memory = PyMemoryView_FromMemory(start, length, access)
    found = numpy.ndarray(shape, dtype, buffer=memory, offset=-low, strides=strides)
    return found


cdef int carry_out(native.HostCall* call) except -1:
    """Run one user function; its exception becomes the call's."""
    cdef size_t i
    function = <object> <PyObject*> call.callback
    set_host_call(True)
    try:
        # The memory is the device's: what the function keeps must be a copy.
        arguments = []
        for i in range(call.inputs.size()):
            argument = operand_view(&call.inputs[i], False).copy()
            argument.flags.writeable = False
            arguments.append(argument)
        result = numpy.asarray(function(*arguments))
        target = operand_view(&call.output, True)
        if result.shape != target.shape:
            raise ValueError(f"The host callback returned shape {result.shape}, where "
                             f"{target.shape} is expected.")
        if not numpy.can_cast(result.dtype, target.dtype, "same_kind"):
            raise TypeError(f"The host callback returned dtype {result.dtype}, where "
                            f"{target.dtype} is expected.")
        if result.dtype == numpy.bool_:
            result = result.view(numpy.uint8) != 0  # its bytes may be neither 0 nor 1
        target[...] = result
    except BaseException as error:
        call.fault.code = native.Code.host_callback
        # Without the frame of this function.
        trace = error.__traceback__
        error.__traceback__ = None if trace is None else trace.tb_next
        call.exception = new native.Keep(<void*> error)
        Py_INCREF(error)  # the core's reference
    finally:
        set_host_call(False)
    return 0


# --- the notifier --------------------------------------------------------------------------


cdef int ignore(object error, object where) except -1:
    """Give an exception that has nobody to catch it to sys.unraisablehook."""
    PyErr_SetObject(type(error), error)
    PyErr_WriteUnraisable(where)
    return 0


cdef int call_safely(object function, tuple arguments) except -1:
    """Call a function of the user's; an Exception that it raises has nobody to catch it."""
    try:
        function(*arguments)
    except Exception as error:
        ignore(error, function)
    return 0


cdef list take_calls():
    """Wake up loops whose work is done; return what is to be called: functions and arguments."""
    cdef native.Watch* watch = native.Watch.take_fired()
    cdef native.Watch* following
    cdef list calls = []
    while watch != NULL:
        following = watch.next()
        waiters = <object> <PyObject*> watch.target()
        Py_DECREF(waiters)  # the watch's reference
        del watch
        watch = following
        try:
            calls += [(function, (evaluation,)) for function, evaluation in waiters()]
        except BaseException as error:
            # No memory, or a loop that is none: the others are told all the same.
            ignore(error, waiters)
    return calls


cdef list take_notices(Device device):
    """Return the calls of those who subscribed to the failures and the state of a device."""
    cdef native.Notices.Change change
    cdef native.Report* report
    cdef list calls = []
    if not device.device.notices.any():
        return calls
    while True:
        report = native.take_error(device.device)
        if report == NULL:
            break
        try:
            told = (to_report(report),)
        finally:
            report.release()
        calls += [(each, told) for each in tuple(_subscriptions)
                  if each.concerns(device, "error")]
    while device.device.notices.take_change(change):
        told = (native.condition_name(change.before).decode(),
                native.condition_name(change.now).decode())
        calls += [(each, told) for each in tuple(_subscriptions)
                  if each.concerns(device, "state")]
    return calls


cdef int tell() except -1:
    """Tell everybody who waits for something that has happened."""
    cdef list calls = take_calls()
    for device in devices():
        calls += take_notices(device)
    if not calls:
        return 0
    set_host_call(True)
    try:
        for function, arguments in calls:
            try:
                call_safely(function, arguments)
            except BaseException as error:
                # Whoever it is that wants to leave, this thread is needed.
                ignore(error, function)
    finally:
        set_host_call(False)
    return 0


# Of all devices, in the order in which they were made.
cdef list _subscriptions = []


class Subscription:
    """A function that a device calls on its failures or on changes of its state.

    Made by `Device.on_error` and `Device.on_state_change`. As a context manager it ends with the
    block.
    """

    def __init__(self, device, kind, callback):
        if not callable(callback):
            raise TypeError(f"A callback is a function, not {type(callback).__name__}.")
        check_open()
        start_notifier()
        self._device, self._kind, self._callback = device, kind, callback
        self._active = True
        _subscriptions.append(self)
        listen(device, kind, 1)

    def concerns(self, device, kind):
        """Return whether this is a subscription to that kind of news of that device."""
        return self._kind == kind and self._device == device

    def cancel(self):
        """End the calls. One that has begun on the notifier's thread goes on."""
        with _lock:
            active, self._active = self._active, False
        if active:
            _subscriptions.remove(self)
            listen(self._device, self._kind, -1)

    def __call__(self, *news):
        """Pass it on."""
        if self._active:
            self._callback(*news)

    def __enter__(self):
        """Return the subscription."""
        return self

    def __exit__(self, *exc):
        """Cancel it."""
        self.cancel()


cdef int listen(Device device, str kind, int more) except -1:
    if kind == "error":
        device.device.notices.listen_errors(more)
    else:
        device.device.notices.listen_changes(more)
    return 0


def _notify():
    """The life of the notifier thread."""
    while not native.closed():
        try:
            attend()
        except BaseException as error:
            # Out of memory, most likely. Whoever waits for the next thing is still to be told.
            ignore(error, _notify)
    tell()


cdef int attend() except -1:
    """Wait for something to do, for half a second at most, and do it."""
    cdef native.HostCall* call
    with nogil:
        call = native.HostQueue.shared().take(500_000_000)
    try:
        # Before a function of the user's, which may take its time.
        tell()
    finally:
        if call != NULL:
            answer(call)
    return reclaim()


cdef int answer(native.HostCall* call) except -1:
    """Carry out a host call; whoever waits for it goes on, whatever happened to it."""
    try:
        carry_out(call)
    except BaseException:
        # No memory for the exception: the failure is told without it.
        call.fault.code = native.Code.host_callback
    finally:
        call.finished.set()
    return 0


cdef int start_notifier() except -1:
    global _thread
    if _thread is not None:
        return 0
    with _lock:
        if _thread is None:
            thread = threading.Thread(target=_notify, name="nitinol-notifier", daemon=True)
            thread.start()
            _thread = thread
    return 0


def host_call(fn, shape, dtype, *arrays):
    """Return what a Python function makes of arrays, as an operation of the graph.

    Parameters
    ----------
    fn : callable
        Called with read-only NumPy arrays when the result is needed, on a thread of nitinol's. It
        returns an array of `shape` whose dtype casts to `dtype` within its kind. It must not wait
        for work that has not been done yet.
    shape : tuple of int
    dtype : dtype
    *arrays : Array

    Returns
    -------
    Array
        The function runs on the host; the result goes to the device of the current stream or of
        the arrays. Reading it raises `HostCallbackError`, with the function's exception as its
        ``__cause__``, when that raised.

    Raises
    ------
    TypeError
        If `fn` can't be called, or an argument is no Array.
    """
    if not callable(fn):
        raise TypeError(f"host_call takes a function, not {type(fn).__name__}.")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    for n in shape:
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"A shape is made of non-negative integers, not {shape}.")
    for x in arrays:
        if not isinstance(x, Array):
            raise TypeError(f"host_call takes arrays after the dtype, not {type(x).__name__}.")
    check_open()
    start_notifier()
    return on_host("host_call", arrays, shape, dtypes.as_dtype(dtype), callback=fn)


def on_host(op, inputs, shape, dtype, ints=(), text=None, callback=None):
    """Return a node of an op that is the host's work by its nature.

    It runs on the CPU, and the result is moved to where the operation would have run. A file is
    read into that device's memory, so that there is nothing to copy.
    """
    cdef native.Stream* stream = NULL
    cdef native.Node* nodes[1]
    for x in inputs:
        nodes[0] = (<Array?> x).node
        stream = stream_of(nodes, 1)
        if stream.device != _cpu.device:
            break
    if stream == NULL:
        stream = stream_of(NULL, 0)
    # Before there is work to do that nobody can have.
    if stream.device.lacks(<native.DType> <int> dtype.number):
        raise TypeError(f"{stream.device.name().decode()} has no {dtype.name}: choose another "
                        f"dtype, or make the array on the CPU.")
    if stream.device == _cpu.device:
        return apply(op, inputs, shape, dtype, ints, (), text, callback, device=_cpu)
    target = wrap_device(stream.device)
    made = apply(op, inputs, shape, dtype, ints, (), text, callback, device=_cpu,
                 memory=target if op == "read_file" else None)
    return apply("copy", (made,), shape, dtype, device=target)


# --- injection -----------------------------------------------------------------------------


cdef dict _phases = {"encode": 0, "commit": 1, "completion": 2}


def add_rule(Device device, str code, str phase, int64_t at, int64_t times, int64_t raw):
    """Plan a failure; return the rule's number. Validated by nitinol.testing."""
    check_open()
    cdef native.InjectionRule rule
    rule.code = native.code_from_name(code.encode())
    rule.phase = <native.Phase> <int> _phases[phase]
    rule.at = at
    rule.times = times
    rule.raw = raw
    rule.seen = 0
    rule.fired = 0
    return device.device.injector.add(rule)


def remove_rule(Device device, int number):
    """Take a rule back; return how many units it saw and how many it struck."""
    if native.forked():
        return 0, 0
    cdef native.InjectionRule rule = device.device.injector.remove(number)
    if rule.fired:
        device.device.health.end_injection(rule.code)
    return rule.seen, rule.fired


def set_fusion_limit(int instructions):
    """Set how many operations one fused program may have; for tests."""
    before = native.fusion_limit()
    native.set_fusion_limit(instructions)
    return before


def set_queue_limit(int submissions):
    """Set how many submissions a stream may have queued before async_eval waits; for tests."""
    before = native.queue_limit()
    native.set_queue_limit(submissions)
    return before


def set_threads(int threads):
    """Set how many threads split one kernel; return how many did before. For tests."""
    before = native.concurrency()
    native.set_concurrency(threads)
    return before


def threads():
    """Return how many threads split one kernel on the CPU."""
    return native.concurrency()


def instruction_set():
    """Return which variant of the CPU's vector kernels is in use."""
    return native.instruction_set().decode()


def live_nodes():
    """Return how many nodes the process holds; for leak tests."""
    return native.Node.alive()


# --- exit ----------------------------------------------------------------------------------


def _exit():
    """Stop what has not started, drain for a moment, and say what nobody has seen."""
    if native.forked():
        return
    native.close()
    cdef native.HostQueue* queue = &native.HostQueue.shared()
    cdef double deadline = time.monotonic() + EXIT_SECONDS
    with nogil:
        queue.close()
    try:
        if _thread is not None:
            _thread.join(max(0.0, deadline - time.monotonic()))
        drain(deadline)
    finally:
        reports = []
        for device in devices():
            reports += take_unobserved(device)
        if reports:
            print_unobserved(reports)


cdef int drain(double deadline) except -1:
    """Wait for what has started, over all devices."""
    cdef native.Evaluation* evaluation
    cdef int64_t left
    cdef bint done
    for device in devices():
        evaluation = native.pending_work((<Device> device).device, NULL)
        try:
            done = False
            while not done:  # a Unix signal ends a wait early
                left = <int64_t> ((deadline - <double> time.monotonic()) * 1e9)
                if left <= 0:
                    break
                with nogil:
                    done = evaluation.wait(left)
        finally:
            evaluation.release()
    return 0


cdef int print_unobserved(list reports) except -1:
    lines = [f"nitinol: {len(reports)} device failure(s) that nobody has observed:"]
    for report in reports[:20]:
        where = "" if report.scope is None else f" In the error scope {report.scope!r}."
        lines.append(f"  {report.code}: {report.message}{where}")
    if len(reports) > 20:
        lines.append(f"  ... and {len(reports) - 20} more.")
    try:
        print("\n".join(lines), file=sys.stderr, flush=True)
    except (AttributeError, OSError, ValueError):
        pass  # standard error is gone, and there is no other place to say it
    return 0


atexit.register(_exit)
