"""Device: its health, statistics, memory and recovery."""

from libc.stdint cimport uint64_t
from libcpp.vector cimport vector

from nitinol cimport _native as native
from nitinol._core cimport check_forked
from nitinol._errors cimport let_go, observe, translate

from nitinol import dtypes
from nitinol._text import shown
from nitinol.errors import RecoveryError
from nitinol.recovery import RecoveryPolicy

cdef dict _devices = {}

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
            raise ValueError(f"There is no device {shown(name)}; there are: {known}.")
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
            timeout="split" if p.split_timeout else "fail",
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
        p.split_timeout = policy.timeout == "split"
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
        return collect(self, native.Observer.drained)

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
            ``bytes_peak`` and ``bytes_limit``; ``bytes_resident``, how much of the memory in use
            and cached the system was asked to keep at hand for the device, and ``residency``, a
            sentence that says whether it could be asked (None where the question does not arise,
            as on the CPU).

            The failures of all codes are those that struck, by `error_counts`, and the retries
            that did not help.
        """
        cdef native.ErrorCounts counts = self.device.record.counts()
        cdef native.MemoryStats memory = self.device.memory.stats()
        cdef uint64_t n
        cdef int code
        cdef const char* residency = self.device.memory.residency_description()
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
            "bytes_resident": memory.resident,
            "residency": residency.decode(errors="replace") if residency != NULL else None,
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


cdef list collect(Device device, native.Observer by):
    """Observe the reports that nobody has observed yet, and return them."""
    cdef vector[native.Report*] found
    try:
        native.add_unobserved(device.device, by, -1, found)
        return observe(found, by, translate(found, False))
    finally:
        let_go(found)
        device.device.record.sweep()


def take_unobserved(Device device):
    """Return the reports to print at exit, marked as printed. For the runtime."""
    return collect(device, native.Observer.printed)
