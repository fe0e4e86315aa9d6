"""Handing work over, and the waits for it with the GIL released."""

import time

from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY, NAN, isnan
from libc.stdint cimport int64_t
from libcpp.vector cimport vector

from nitinol cimport _native as native
from nitinol._core cimport check_open, reclaim, refuse
from nitinol._debug cimport warn_of_donations
from nitinol._device cimport Device, wrap_device
from nitinol._errors cimport let_go, raise_later
from nitinol._scope cimport current_scope
from nitinol._stream cimport Stream

from nitinol._device import devices
from nitinol._text import shown
from nitinol.errors import WaitTimeoutError

# A wait wakes up this often to look for signals that arrived on another thread.
cdef int64_t SLICE = 50_000_000


cdef native.Evaluation* submit(native.Node** nodes, size_t count, bint inline) except? NULL:
    """Schedule the nodes. Returns an owned evaluation, or NULL when nothing is left to wait for."""
    cdef native.Evaluation* evaluation = NULL
    cdef int refusal
    cdef native.Scope* scope = current_scope()
    with nogil:
        refusal = native.schedule(nodes, count, inline, scope, &evaluation)
    if refusal != 0:
        refuse(refusal)
    return evaluation


cdef int wait_for_room(native.Node** nodes, size_t count) except -1:
    """Wait while a stream that is to compute the nodes has too much to do already."""
    cdef native.Stream* stream
    cdef native.Stream* before = NULL
    cdef size_t i
    # (In a forked child the locks are not to be touched.)
    if inside_host_call() or native.forked():
        return 0
    for i in range(count):
        stream = nodes[i].stream()
        if stream == before or nodes[i].state() != native.State.lazy:
            continue
        before = stream
        wait_for_room_in(stream)
    return 0


cdef int wait_for_room_in(native.Stream* stream) except -1:
    cdef native.Room* room = new native.Room(stream[0])
    cdef bint there
    try:
        while True:
            with nogil:
                there = room.wait(SLICE)
            if there:
                return 0
            PyErr_CheckSignals()
    finally:
        del room


# The thread that carries out a user function for a device, while it does; 0 otherwise.
cdef unsigned long _host_thread = 0


cdef void set_host_call(bint running) noexcept:
    """Say that the calling thread enters or leaves a user function."""
    global _host_thread
    _host_thread = PyThread_get_thread_ident() if running else 0


cdef bint inside_host_call() noexcept:
    return _host_thread != 0 and PyThread_get_thread_ident() == _host_thread


cdef int refuse_wait() except -1:
    raise RuntimeError(
        "A host callback can't wait for device work that is not done, as that work may be waiting "
        "for the callback: give the array to host_call as an argument instead. The same goes for "
        "callbacks of evaluations and devices.")


cdef double deadline_after(object timeout) except -1:
    """Return when a wait that begins now ends, in the time of time.monotonic()."""
    if timeout is None:
        return INFINITY
    cdef double seconds
    try:
        seconds = timeout
    except TypeError:
        raise TypeError(
            f"A timeout is a number of seconds or None, not {shown(timeout)}.") from None
    except OverflowError:
        seconds = NAN
    if isnan(seconds):
        raise ValueError(f"A timeout is a number of seconds or None, not {shown(timeout)}.")
    return time.monotonic() + max(0.0, seconds)


cdef int wait_for(native.Evaluation* evaluation, object timeout, double deadline) except -1:
    """Wait in slices, so that Ctrl-C and the deadline end it; the work goes on either way.

    The timeout is the user's, for the sentence.
    """
    cdef bint done
    cdef int64_t piece = SLICE
    cdef double left
    if evaluation.done():
        return 0
    if inside_host_call():
        refuse_wait()
    while True:
        if timeout is not None:
            left = max(0.0, deadline - <double> time.monotonic()) * 1e9
            piece = SLICE if left >= SLICE else <int64_t> left
        with nogil:
            done = evaluation.wait(piece)
        if done:
            return 0
        PyErr_CheckSignals()
        if timeout is not None and <double> time.monotonic() >= deadline:
            raise WaitTimeoutError(f"The work was not done after {timeout} s; it goes on.")


cdef bint settled(native.Node** nodes, size_t count) noexcept:
    cdef size_t i
    for i in range(count):
        if nodes[i].state() < native.State.ready:
            return False
    return True


cdef int check_settled(native.Node** nodes, size_t count) except -1:
    """Raise unless each node has a value or what spoilt it, after the work for them has ended."""
    if not settled(nodes, count):
        check_open()
        raise RuntimeError("The work was skipped, because nothing referred to it any more.")
    return 0


cdef int evaluate(
    native.Node** nodes, size_t count, object timeout, double deadline
) except -1:
    """Compute the nodes and wait. What spoilt them is the caller's to raise."""
    if _host_thread != 0 and inside_host_call() and not settled(nodes, count):
        refuse_wait()
    cdef native.Evaluation* evaluation = submit(nodes, count, True)
    try:
        if evaluation != NULL:
            wait_for(evaluation, timeout, deadline)
    finally:
        if evaluation != NULL:
            evaluation.release()
    if native.Keep.any_discarded():
        reclaim()
    if native.any_refused_donations():
        warn_of_donations()
    return check_settled(nodes, count)


cdef list _of(device_or_stream):
    """Return the devices that are meant."""
    if device_or_stream is None:
        return devices()
    if isinstance(device_or_stream, Stream):
        return [(<Stream> device_or_stream).device]
    return [wrap_device((<Device> Device(device_or_stream)).device)]


def wait_for_work(device_or_stream=None, timeout=None):
    """Wait as `synchronize` does, but observe nothing; return the stream's number, or -1."""
    cdef native.Evaluation* evaluation
    cdef native.Stream* stream = NULL
    check_open()
    if isinstance(device_or_stream, Stream):
        stream = (<Stream> device_or_stream).stream
    cdef list wanted = _of(device_or_stream)
    cdef double deadline = deadline_after(timeout)
    for device in wanted:
        evaluation = native.pending_work((<Device> device).device, stream)
        try:
            wait_for(evaluation, timeout, deadline)
        finally:
            evaluation.release()
    reclaim()
    return -1 if stream == NULL else stream.index


def synchronize(device_or_stream=None, timeout=None):
    """Wait for the work given so far, and raise every failure that nobody has observed.

    Failures of work that was submitted in an error scope are the scope's to raise.

    Parameters
    ----------
    device_or_stream : Device, Stream or str, optional
        All devices if not given.
    timeout : float, optional
        Seconds to wait at most; without limit if not given.

    Raises
    ------
    DeviceError
        For one unobserved report; a `DeviceErrorGroup` for several.
    WaitTimeoutError
        If the work is not done in time. It goes on.
    """
    cdef vector[native.Report*] found
    cdef int64_t index = wait_for_work(device_or_stream, timeout)
    cdef list wanted = _of(device_or_stream)
    warn_of_donations()  # before anything is observed: a warning may be an error
    try:
        for device in wanted:
            native.add_unobserved(
                (<Device> device).device, native.Observer.raised, index, found)
        failure = raise_later(found)
    finally:
        let_go(found)
        for device in wanted:
            (<Device> device).device.record.sweep()
    if failure is not None:
        raise failure
