"""Devices, streams, and the waits with the GIL released."""

import contextvars
import math
import os
import time

from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint64_t
from libcpp.vector cimport vector

from nitinol cimport _native as native
from nitinol._errors cimport group, to_exception, to_report
from nitinol._scope cimport current_scope

from nitinol import _openblas, dtypes
from nitinol.errors import RecoveryError, WaitTimeoutError
from nitinol.recovery import RecoveryPolicy

# A wait wakes up this often to look for signals that arrived on another thread.
cdef int64_t SLICE = 50_000_000

cdef object _current = contextvars.ContextVar("nitinol_stream", default=None)
# Until somebody enters a stream, nobody needs to look the context variable up.
cdef bint _any_entered = False
cdef dict _devices = {}


native.start()

cdef native.Stream* _default_stream = native.device_at(0).default_stream()
cdef bint _several_devices = native.device_count() > 1

cdef int load_blas() except -1:
    path = _openblas.library_path()
    cdef bytes encoded = os.fsencode(path)
    if not native.load(encoded):
        raise ImportError(f"OpenBLAS could not be loaded from {path!r}: "
                          f"{native.load_error().decode(errors='replace')}.")
    return 0


load_blas()


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


cdef class Device:
    """A device that runs array operations.

    Parameters
    ----------
    name : str
        A kind (``"cpu"``) or a kind and a number (``"cpu:0"``).

    Raises
    ------
    ValueError
        If there is no such device.
    """

    def __cinit__(self, name="cpu"):
        cdef native.Device* found = NULL
        cdef native.Device* candidate
        cdef size_t i
        if isinstance(name, Device):
            self.device = (<Device> name).device
            return
        if not isinstance(name, str):
            raise TypeError(f"A device is named by a str, not by {type(name).__name__}.")
        for i in range(native.device_count()):
            candidate = native.device_at(i)
            if name in (candidate.name().decode(), candidate.kind().decode()):
                found = candidate
                break
        if found == NULL:
            known = ", ".join(repr(device.name) for device in devices())
            raise ValueError(f"There is no device {name!r}; there are: {known}.")
        self.device = found

    @property
    def name(self):
        """The kind and the number, such as ``"cpu:0"``."""
        return self.device.name().decode()

    @property
    def kind(self):
        """The kind, such as ``"cpu"``."""
        return self.device.kind().decode()

    @property
    def index(self):
        """The number among the devices of this kind."""
        return self.device.index()

    @property
    def hardware(self):
        """What the hardware is called, such as ``"Apple M2"``; the kind where nobody says."""
        return self.device.hardware().decode(errors="replace")

    def supports(self, dtype):
        """Return whether arrays of a dtype can be held and computed with here.

        Parameters
        ----------
        dtype : dtype

        Returns
        -------
        bool
        """
        return not self.device.lacks(<native.DType> <int> dtypes.as_dtype(dtype).number)

    @property
    def state(self):
        """``"ok"``, ``"degraded"``, ``"suspended"`` or ``"lost"``."""
        return native.condition_name(self.device.health.condition()).decode()

    @property
    def memory_limit(self):
        """The bytes that arrays on this device may take together.

        By default 0.8 of the smaller of RAM and the control group's limit.
        """
        return self.device.memory.stats().limit

    @memory_limit.setter
    def memory_limit(self, value):
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"memory_limit is a number of bytes, not {value!r}.")
        self.device.memory.set_limit(value)

    def memory_stats(self):
        """Return the bytes in use, cached, at the peak, and the limit.

        Returns
        -------
        dict of str to int
        """
        cdef native.MemoryStats stats = self.device.memory.stats()
        return {"in_use": stats.in_use, "cached": stats.cached, "peak": stats.peak,
                "limit": stats.limit}

    def reset_peak_memory(self):
        """Let the peak start again from what is in use now."""
        self.device.memory.reset_peak()

    def trim(self):
        """Return cached memory to the system.

        Returns
        -------
        int
            The bytes returned.
        """
        cdef size_t freed
        with nogil:
            freed = self.device.memory.trim()
        return freed

    @property
    def recovery(self):
        """What the device does about failures by itself, a `RecoveryPolicy`."""
        check_forked()
        cdef native.RecoveryPolicy p = self.device.health.policy()
        return RecoveryPolicy(
            victim_retries=p.victim_retries,
            victim_backoff=p.victim_backoff / 1e9,
            out_of_memory_retry=p.out_of_memory_retry,
            internal_retry=p.internal_retry,
            impacting_interactivity="split" if p.split_interactivity else "fail",
            culprit_budget=p.culprit_budget or None,
            culprit_window=p.culprit_window / 1e9,
        )

    @recovery.setter
    def recovery(self, policy):
        cdef native.RecoveryPolicy p
        if not isinstance(policy, RecoveryPolicy):
            raise TypeError(
                f"recovery is a RecoveryPolicy, not {type(policy).__name__}.")
        check_forked()
        p.victim_retries = policy.victim_retries
        p.victim_backoff = round(policy.victim_backoff * 1e9)
        p.out_of_memory_retry = policy.out_of_memory_retry
        p.internal_retry = policy.internal_retry
        p.split_interactivity = policy.impacting_interactivity == "split"
        p.culprit_budget = policy.culprit_budget or 0
        p.culprit_window = round(policy.culprit_window * 1e9)
        self.device.health.set_policy(p)

    def reset(self):
        """Take a degraded or suspended device into use again.

        The state becomes ``"ok"``, the failures that count against the policy's
        ``culprit_budget`` are forgotten, and cached memory goes back to the system. Failed arrays
        stay failed; `nitinol.retry` computes them again.

        Raises
        ------
        RecoveryError
            If the device is lost: only a new process has it again.
        """
        check_forked()
        if not self.device.health.reset():
            raise RecoveryError(
                f"Device.reset does not bring back {self.name}, which is lost: only a new process "
                "can use it.", "device_lost")
        self.trim()

    def drain_errors(self):
        """Return the reports that nobody has observed yet, and mark them as observed.

        Those of an error scope are left to it; once the scope is no longer referred to, they are
        returned here as well.

        Returns
        -------
        list of ErrorReport
            Oldest first.
        """
        check_forked()
        return _collect(self.device, native.Observer.drained, -1, False)

    def error_counts(self):
        """Return how many failures struck, and what became of their reports.

        Returns
        -------
        dict of str to int
            ``struck`` is the sum of ``recovered``, ``raised``, ``drained``, ``collected``,
            ``printed`` and ``unobserved``. Of these, ``recovered`` counts failures that never
            showed, because the device tried the work again by itself and succeeded.
            ``suppressed`` counts what struck work besides the failure that its report tells.
        """
        cdef native.ErrorCounts c = self.device.record.counts()
        return {"struck": c.struck, "recovered": c.recovered, "raised": c.raised,
                "drained": c.drained, "collected": c.collected, "printed": c.printed,
                "unobserved": c.unobserved, "suppressed": c.suppressed}

    def work_counts(self):
        """Return how much work has ended on this device, well or not.

        Returns
        -------
        dict of str to int
            ``submissions``, each a part of a graph handed over as a whole, and ``units``, the
            kernels and fused programs in them.
        """
        return {"submissions": self.device.submissions.load(), "units": self.device.units.load()}

    def stats(self):
        """Return the numbers of this device's life so far, for a monitor.

        Returns
        -------
        dict of str to object
            ``submissions`` and ``units`` that have ended, well or not; ``failures``, a dict of how
            often each code struck (codes that never did are left out); ``unobserved``, the
            failures that nobody has seen yet; ``suppressed``, what struck work besides the failure
            that its report tells; ``retries``, how often work was tried again in place, and
            ``recovered``, the failures that this mended; ``bytes_in_use``, ``bytes_cached``,
            ``bytes_peak`` and ``bytes_limit``.

            The failures of all codes are those that struck, by `error_counts`, and the retries
            that did not help.
        """
        cdef native.ErrorCounts counts = self.device.record.counts()
        cdef native.MemoryStats memory = self.device.memory.stats()
        cdef uint64_t n
        cdef int code
        failures = {}
        for code in range(1, <int> native.Code.count_):
            n = self.device.record.failures_by_code(<native.Code> code)
            if n:
                failures[native.code_name(<native.Code> code).decode()] = n
        return {
            "submissions": self.device.submissions.load(),
            "units": self.device.units.load(),
            "failures": failures,
            "unobserved": counts.unobserved,
            "suppressed": counts.suppressed,
            "retries": counts.retried,
            "recovered": counts.recovered,
            "bytes_in_use": memory.in_use,
            "bytes_cached": memory.cached,
            "bytes_peak": memory.peak,
            "bytes_limit": memory.limit,
        }

    def on_error(self, callback):
        """Have a function called with the report of every failure from now on.

        It is called on a thread of nitinol's, soon after the failure, and should return soon: the
        wake-ups of awaits and the functions of `host_call` have the same thread. It can't wait for
        device work that is not done. What it raises goes to `sys.unraisablehook`. Being told is
        not observing: the failure is still raised, collected or drained.

        Parameters
        ----------
        callback : callable
            Called with one `ErrorReport`.

        Returns
        -------
        Subscription
            Its ``cancel()``, or leaving it as a context manager, ends the calls.
        """
        return _subscribe(self, "error", callback)

    def on_state_change(self, callback):
        """Have a function called whenever `state` changes from now on, as in `on_error`.

        Parameters
        ----------
        callback : callable
            Called with the state before and the state now, in the order of the changes.

        Returns
        -------
        Subscription
            Its ``cancel()``, or leaving it as a context manager, ends the calls.
        """
        return _subscribe(self, "state", callback)

    def __eq__(self, other):
        if not isinstance(other, Device):
            return NotImplemented
        return self.device == (<Device> other).device

    def __hash__(self):
        return hash(<size_t> self.device)

    def __repr__(self):
        return f"nitinol.Device({self.name!r})"

    def __str__(self):
        return self.name

    def __reduce__(self):
        return Device, (self.name,)


def _subscribe(Device device, str kind, callback):
    # The notifier thread is in a module that imports this one.
    from nitinol._runtime import Subscription

    return Subscription(device, kind, callback)


cdef Device wrap_device(native.Device* device):
    """Return the one Device object of a core device."""
    found = _devices.get(<size_t> device)
    if found is None:
        found = _devices.setdefault(<size_t> device, Device(device.name().decode()))
    return found


def devices():
    """Return the devices of this process.

    Returns
    -------
    list of Device
    """
    cdef size_t i
    return [wrap_device(native.device_at(i)) for i in range(native.device_count())]


def default_device():
    """Return the device that new arrays are made on.

    Returns
    -------
    Device
        That of the current stream, if one was entered; otherwise the one that was set, the CPU to
        begin with.
    """
    return wrap_device(current_stream().device)


def set_default_device(device):
    """Choose the device of all threads that have entered no stream.

    Parameters
    ----------
    device : Device or str
    """
    global _default_stream
    _default_stream = (<Device> Device(device)).device.default_stream()


cdef class Stream:
    """An order of work on a device: what is given to one stream runs in that order.

    Streams of one device run concurrently. As a context manager a stream takes the work of the
    operations created inside; any number of threads may enter the same one.

    Parameters
    ----------
    device : Device or str, optional
        The default device if not given.
    """

    def __cinit__(self, device=None, *, bint _default=False):
        check_forked()
        chosen = default_device() if device is None else Device(device)
        self.device = wrap_device((<Device> chosen).device)
        if _default:
            self.stream = self.device.device.default_stream()
        else:
            self.stream = self.device.device.make_stream()
        self.owned = not _default

    def __dealloc__(self):
        if self.owned and not native.forked():
            self.stream.device.recycle_stream(self.stream)

    @property
    def index(self):
        """The number of the stream on its device; 0 is the default stream."""
        return self.stream.index

    def __enter__(self):
        global _any_entered
        _any_entered = True
        # The token lives in the context that it belongs to, as one stream may be entered by many.
        previous = _current.get()
        _current.set((self, previous))
        return self

    def __exit__(self, *exc):
        entered = _current.get()
        if entered is None or entered[0] is not self:
            raise RuntimeError(f"{self!r} is left, but it isn't the stream that was entered last.")
        _current.set(entered[1])

    def __repr__(self):
        return f"nitinol.Stream({self.device.name!r}, index={self.index})"


cdef native.Stream* current_stream() except NULL:
    if _any_entered:
        entered = _current.get()
        if entered is not None:
            return (<Stream> (<tuple> entered)[0]).stream
    return _default_stream


cdef native.Stream* stream_of(native.Node** nodes, size_t count) except NULL:
    """Where an operation on these runs: the stream that was entered, or else their device."""
    cdef size_t i
    if _any_entered:
        entered = _current.get()
        if entered is not None:
            return (<Stream> (<tuple> entered)[0]).stream
    if _several_devices:
        for i in range(count):
            if nodes[i].stream().device != _default_stream.device:
                return nodes[i].stream().device.default_stream()
    return _default_stream


cdef native.Stream* stream_on(native.Device* device) except NULL:
    """The stream that was entered where that is of the device, or else the device's default one."""
    cdef native.Stream* current = current_stream()
    return current if current.device == device else device.default_stream()


def default_stream(device):
    """Return the default stream of a device, to enter it."""
    return Stream(device, _default=True)


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
        return math.inf
    cdef double seconds = timeout
    if math.isnan(seconds):
        raise ValueError("A timeout is a number of seconds or None, not nan.")
    return time.monotonic() + max(0.0, seconds)


cdef int wait_for(native.Evaluation* evaluation, object timeout) except -1:
    """Wait in slices, so that Ctrl-C and the timeout end it; the work goes on either way."""
    cdef bint done
    cdef int64_t piece = SLICE
    cdef double left
    cdef double deadline = deadline_after(timeout)
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


cdef int evaluate(native.Node** nodes, size_t count, object timeout) except -1:
    """Compute the nodes and wait. What spoilt them is the caller's to raise."""
    if _host_thread != 0 and inside_host_call() and not settled(nodes, count):
        refuse_wait()
    cdef native.Evaluation* evaluation = submit(nodes, count, True)
    try:
        if evaluation != NULL:
            wait_for(evaluation, timeout)
    finally:
        if evaluation != NULL:
            evaluation.release()
    reclaim()
    return check_settled(nodes, count)


cdef list _collect(native.Device* device, native.Observer by, int64_t stream, bint raising):
    cdef vector[native.Report*] found
    cdef size_t i
    found = native.collect(device, by, stream)
    try:
        return [to_exception(found[i]) if raising else to_report(found[i])
                for i in range(found.size())]
    finally:
        for i in range(found.size()):
            found[i].release()


def take_unobserved(Device device):
    """Return the reports to print at exit, marked as printed. For the runtime."""
    return _collect(device.device, native.Observer.printed, -1, False)


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
    cdef native.Evaluation* evaluation
    cdef native.Stream* stream = NULL
    cdef list wanted
    check_open()
    if device_or_stream is None:
        wanted = devices()
    elif isinstance(device_or_stream, Stream):
        stream = (<Stream> device_or_stream).stream
        wanted = [(<Stream> device_or_stream).device]
    else:
        wanted = [wrap_device((<Device> Device(device_or_stream)).device)]
    cdef double deadline = deadline_after(timeout)
    found = []
    for device in wanted:
        evaluation = native.pending_work((<Device> device).device, stream)
        try:
            left = None if timeout is None else max(0.0, deadline - time.monotonic())
            wait_for(evaluation, left)
        finally:
            evaluation.release()
    for device in wanted:
        found += _collect((<Device> device).device, native.Observer.raised,
                          -1 if stream == NULL else <int64_t> stream.index, True)
    reclaim()
    if found:
        raise group(found)
