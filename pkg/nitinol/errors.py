"""The exception classes of device failures, and the report that each of them carries.

A failure is recorded once, as an immutable :class:`ErrorReport`. Every read of an array that it
spoilt raises a fresh exception made from that one report.
"""

import dataclasses
import errno
import os
from typing import Any

import numpy

__all__ = [
    "CODES",
    "DeviceError",
    "DeviceErrorGroup",
    "DeviceIOError",
    "DeviceIndexError",
    "DeviceLostError",
    "DeviceTimeoutError",
    "DonationWarning",
    "ErrorReport",
    "HostCallbackError",
    "InnocentVictimError",
    "KernelFaultError",
    "LinAlgError",
    "OutOfMemoryError",
    "RecoveryError",
    "ReportedArray",
    "ReportedEncoder",
    "SourceLine",
    "WaitTimeoutError",
]


@dataclasses.dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a Python program.

    Attributes
    ----------
    file : str
    line : int
    function : str
        The qualified name of the function, or ``"<module>"``.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        """Return them as ``file:line in function``."""
        return f"{self.file}:{self.line} in {self.function}"


@dataclasses.dataclass(frozen=True, slots=True)
class ReportedArray:
    """An array that the failed unit was to write.

    Attributes
    ----------
    op : str
        The operation that makes it.
    shape : tuple of int
        Its shape; of more than eight dimensions, the first eight.
    dtype : str
        The name of its dtype.
    source : SourceLine or None
        The line of your program that made it, when it was made under ``nt.debug(traceback=True)``.
    """

    op: str
    shape: tuple[int, ...]
    dtype: str
    source: SourceLine | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ReportedEncoder:
    """A pass of a GPU over a command buffer that failed.

    Attributes
    ----------
    label : str
        The operations that it ran.
    state : str
        ``"faulted"``, ``"affected"`` by another one, ``"completed"``, ``"pending"`` or
        ``"unknown"``.
    """

    label: str
    state: str


@dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True)
class ErrorReport:
    """What is known of one failure. Immutable, and holds no array alive.

    Attributes
    ----------
    code : str
        One of `CODES`.
    message : str
        The failure in one sentence.
    device : str
        The device's name, such as ``"cpu:0"``.
    stream, submission, unit : int
        Where it struck: the stream, the submission (numbered over the process) and the unit in it.
    phase : str
        ``"encode"``, ``"commit"`` or ``"completion"``.
    op : str
        The operation that failed; of a fused program the last one.
    instructions : int
        How many operations the failed unit fused.
    arrays : tuple of ReportedArray
        What it was to write (at most four are kept).
    retryable : bool
        Whether the same work may succeed when it is tried again.
    culprit : bool
        Whether the failing work itself is to blame, rather than memory, a neighbour or the driver.
    injected : bool
        Whether `nitinol.testing.inject` or ``NITINOL_FAULTS`` asked for it.
    native_code, raw_code : int
        The operating system's or driver's own numbers; 0 where there are none.
    domain : str
        Whose number `native_code` is: ``"errno"``, ``"MTLCommandBufferErrorDomain"``, ``"unknown"``
        or, where there is none, ``"nitinol"``.
    secondary : str or None
        The code of a second failure of the same unit, which was suppressed.
    scope : str or None
        The error scope that the work was submitted in.
    args : tuple of int
        The numbers in the message.
    path : str or None
        The file, for code ``"io"``.
    detail : str or None
        What a compiler, a driver or the exception of a host callback said.
    encoders : tuple of ReportedEncoder
        Of a command buffer that failed, those that tell most first (at most four are kept).
    """

    code: str
    message: str
    device: str
    stream: int
    submission: int
    unit: int
    phase: str
    op: str
    instructions: int
    arrays: tuple[ReportedArray, ...]
    retryable: bool
    culprit: bool
    injected: bool
    native_code: int
    raw_code: int
    domain: str
    secondary: str | None
    scope: str | None
    args: tuple[int, ...]
    path: str | None
    detail: str | None = None
    encoders: tuple[ReportedEncoder, ...] = ()

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class DonationWarning(UserWarning):
    """An update copied an array, though it might have written to its memory. See `nitinol.debug`.

    Attributes
    ----------
    reason : str
        ``"handle"``: another array object is the same array. ``"view"``: a view of it is alive.
        ``"graph"``: an operation that has not run reads it. ``"exported"``: what another library
        made of it is alive. ``"part"``: it is itself a view of a part, or in another order.
        ``"borrowed"`` and ``"elsewhere"``: the memory is another library's, or another device's.
        ``"in_flight"``: the device is not done with it. ``"unknown"``: one of the first three, of
        an array that is older than the debugging.
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        """Return the message without the reason."""
        return str(self.args[0])


class WaitTimeoutError(TimeoutError):
    """A wait ended before the work did. The work goes on; no failure is reported."""


class RecoveryError(RuntimeError):
    """`nitinol.retry` or `Device.reset` can't do what it was asked for, and changed nothing.

    Attributes
    ----------
    reason : str
        ``"device_lost"``, ``"device_suspended"``, or ``"donated"``: an update in place took the
        memory of an array that is needed.
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        """Return the message without the reason."""
        return str(self.args[0])


class DeviceError(RuntimeError):
    """Device work failed. Raised by every read of an array that the failure spoilt.

    Attributes
    ----------
    report : ErrorReport
        What is known of the failure.
    reports : tuple of ErrorReport
        The same, for code that handles groups as well.
    """

    def __init__(self, message: str, report: ErrorReport):
        super().__init__(message, report)
        self.report = report

    @property
    def reports(self) -> tuple[ErrorReport, ...]:
        """The report, as a tuple."""
        return (self.report,)

    def __str__(self) -> str:
        """Return the message without the report."""
        return str(self.args[0])

    def __reduce__(self):
        """Pickle by message and report."""
        return type(self), (self.args[0], self.report)


class OutOfMemoryError(DeviceError, MemoryError):
    """Memory that the work needed could not be had."""


class DeviceTimeoutError(DeviceError, TimeoutError):
    """The device's watchdog ended the work."""


class InnocentVictimError(DeviceError):
    """The device dropped the work because of somebody else's failure."""


class DeviceLostError(DeviceError):
    """The device accepts no more work from this process."""


class KernelFaultError(DeviceError):
    """A kernel did what the device does not allow."""


class DeviceIndexError(DeviceError, IndexError):
    """An index that was computed on the device is out of range."""


class LinAlgError(DeviceError, numpy.linalg.LinAlgError):
    """A matrix does not have the property that the operation needs."""


class HostCallbackError(DeviceError):
    """A function given to `host_call` raised; its exception is the ``__cause__``."""


class DeviceIOError(DeviceError, OSError):
    """A file behind a lazily loaded array could not be read."""

    def __init__(self, message: str, report: ErrorReport):
        super().__init__(message, report)
        self.errno = report.native_code or errno.EIO
        self.filename = report.path


class DeviceErrorGroup(DeviceError, ExceptionGroup):  # noqa: N818 (as ExceptionGroup)
    """Several independent failures spoilt what was asked for.

    Works with ``except DeviceError`` and with ``except*``.

    Attributes
    ----------
    report : ErrorReport
        The first report, ordered by device, submission and unit.
    reports : tuple of ErrorReport
        All of them.
    """

    def __new__(cls, message: str, exceptions):
        """Make the group; `exceptions` is a sequence of device errors."""
        return ExceptionGroup.__new__(cls, message, exceptions)

    def __init__(self, message: str, exceptions):
        self.report = exceptions[0].report

    @property
    def reports(self) -> tuple[ErrorReport, ...]:
        """The reports of all members."""
        members: tuple[Any, ...] = self.exceptions
        return tuple(report for error in members for report in error.reports)

    def derive(self, excs):
        """Return a group of some of the members, as ``except*`` asks for."""
        return DeviceErrorGroup(self.message, excs)

    def __str__(self) -> str:
        """Return the message and the number of members, as other groups do."""
        return ExceptionGroup.__str__(self)

    def __reduce__(self):
        """Pickle by message and members."""
        return type(self), (self.message, list(self.exceptions))


#: Code -> (exception class, sentence). The sentence's fields are the report's numbers.
_TABLE: dict[str, tuple[type[DeviceError], str]] = {
    "internal": (DeviceError, "The device reported an internal failure"),
    "timeout": (
        DeviceTimeoutError,
        "The device's watchdog ended the work because it took too long",
    ),
    "page_fault": (KernelFaultError, "A kernel touched memory that is not mapped"),
    "access_revoked": (DeviceLostError, "The driver revoked this process's access to the device"),
    "not_permitted": (DeviceError, "The process is not permitted to use the device at present"),
    "out_of_memory": (OutOfMemoryError, "Memory could not be had"),
    "invalid_resource": (KernelFaultError, "A resource was freed while the device still used it"),
    "memoryless": (KernelFaultError, "A memoryless resource was used where memory is needed"),
    "device_removed": (DeviceLostError, "The device was removed"),
    "stack_overflow": (KernelFaultError, "A kernel overflowed its stack"),
    "innocent_victim": (
        InnocentVictimError,
        "The device dropped the work because other work failed",
    ),
    "impacting_interactivity": (
        DeviceTimeoutError,
        "The device ended the work because it kept the display from responding",
    ),
    "submissions_ignored": (DeviceLostError, "The driver ignores this process's work"),
    "singular_matrix": (LinAlgError, "Matrix {0} of the batch is singular: pivot {1} is zero"),
    "not_positive_definite": (
        LinAlgError,
        "Matrix {0} of the batch is not positive definite: its leading minor of order {1} is not "
        "positive",
    ),
    "index_out_of_range": (
        DeviceIndexError,
        "Index {0} is out of range for axis {1} with size {2}",
    ),
    "negative_power": (
        KernelFaultError,
        "An integer was raised to the negative power {0}, where non-negative ones are expected",
    ),
    "host_callback": (HostCallbackError, "A host callback raised an exception"),
    "io": (DeviceIOError, "A file could not be read"),
}

#: Every code that a report can have.
CODES = tuple(_TABLE)


def exception_class(code: str) -> type[DeviceError]:
    """Return the class of exception that stands for a code."""
    return _TABLE[code][0]


def told_by(error: BaseException) -> str:
    """Return the type of a host callback's exception and what it says, on one line.

    The exception itself is the ``__cause__``, but goes neither to logs nor to other processes.
    """
    name = type(error).__name__
    # What else there is may be an array, which would be waited for.
    if not error.args or not all(isinstance(each, (str, int, float)) for each in error.args):
        return name
    try:
        text = " ".join(str(error).split())
    except Exception:
        return name
    return f"{name}: {text if len(text) <= 200 else text[:197] + '...'}"


def sentence(report: dict) -> str:
    """Return a report's message, from the other fields."""
    code, args, injected = report["code"], report["args"], report["injected"]
    if injected:
        what = f"An injected failure struck: {code}"
    elif code == "out_of_memory":
        what = f"{args[0]} bytes were wanted"
        if args[2]:
            what += f", where {args[1]} of {args[2]} are in use"
    elif code == "io":
        what = _io_sentence(report)
    elif code == "not_permitted" and args[0]:
        what = (
            f"The device is suspended until it is reset, after {args[0]} failures within "
            f"{args[1] / 1000:g} s that its work was to blame for"
        )
    elif issubclass(_TABLE[code][0], DeviceLostError) and args[0]:
        what = f"The device was lost before ({code}) and takes no more work"
    else:
        what = _TABLE[code][1].format(*args)
    if report.get("detail"):
        what += f" ({report['detail'].rstrip('.')})"
    message = (
        f"{what}, while running {report['op']} on {report['device']} (stream {report['stream']})."
    )
    # Each line once.
    sources = {str(array.source): None for array in report["arrays"] if array.source}
    return message if not sources else f"{message} Made at {' and '.join(sources)}."


def _io_sentence(report: dict) -> str:
    offset, wanted, got, _ = report["args"]
    if report["native_code"] == errno.ESTALE:
        return f"{report['path']!r} was written again after it was opened, and is not read"
    if report["native_code"]:
        reason = os.strerror(report["native_code"])
        return f"{report['path']!r} could not be read: {reason}"
    return (
        f"{report['path']!r} is shorter than expected: {got} of {wanted} bytes are there at "
        f"offset {offset}"
    )
