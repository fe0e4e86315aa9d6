"""From the core's reports to Python exceptions: the only translator."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libcpp.vector cimport vector

from nitinol cimport _native as native
from nitinol._debug cimport source_of
from nitinol._native cimport Node, Report

from nitinol import dtypes, errors

cdef list _dtype_names = [d.name for d in dtypes.ALL]


cdef list _domains = ["nitinol", "MTLCommandBufferErrorDomain", "unknown"]


cdef object text_of(const char* text):
    return (<bytes> text).decode("utf-8", "surrogateescape") or None


cdef object to_report(Report* report):
    """Return the ErrorReport of a core report: always the same one, which goes with it."""
    cdef void* kept = native.translation_of(report)
    if kept != NULL:
        return <object> <PyObject*> kept
    cdef native.Device* device = <native.Device*> report.device
    if device == NULL:
        # The stand-in for a report that could not be allocated.
        device = native.device_at(0)
    cdef int i, axes
    arrays = []
    for i in range(min(<int> report.array_count, 4)):
        axes = min(<int> report.arrays[i].ndim, 8)
        arrays.append(errors.ReportedArray(
            native.info(report.arrays[i].op).name.decode(),
            tuple([report.arrays[i].shape[axis] for axis in range(axes)]),
            _dtype_names[<int> report.arrays[i].dtype],
            source_of(report.arrays[i].source),
        ))
    code = native.code_name(report.fault.code).decode()
    path = text_of(report.text)
    detail = text_of(report.detail)
    cdef void* cause = native.exception_of(report)
    if cause != NULL:
        detail = errors.told_by(<object> <PyObject*> cause)
    fields = dict(
        code=code,
        device=device.name().decode(),
        stream=report.stream,
        submission=report.submission,
        unit=report.unit,
        phase=native.phase_name(report.phase).decode(),
        op=native.info(report.op).name.decode(),
        instructions=report.instructions,
        arrays=tuple(arrays),
        retryable=native.retryable(report.fault.code),
        culprit=native.culprit(report.fault.code),
        injected=report.fault.injection != 0,
        native_code=report.fault.native,
        raw_code=report.fault.raw,
        domain=("errno" if code == "io" and report.fault.injection == 0
                else _domains[<int> report.fault.domain]),
        secondary=(None if report.secondary == native.Code.none
                   else native.code_name(report.secondary).decode()),
        scope=scope_name(native.scope_of(report)),
        args=tuple([report.fault.args[i] for i in range(4)]),
        path=path,
        detail=detail,
        encoders=tuple([
            errors.ReportedEncoder(
                text_of(report.encoders[i].label) or "",
                native.encoder_state_name(report.encoders[i].state).decode())
            for i in range(<int> report.encoder_count)]),
    )
    made = errors.ErrorReport(message=errors.sentence(fields), **fields)
    kept = native.keep_translation(report, <void*> made)
    if kept == <void*> made:
        Py_INCREF(made)  # the core's reference
        return made
    # Another thread was first.
    return <object> <PyObject*> kept


cdef object to_exception(Report* report):
    """Return a fresh exception: a shared one would collect tracebacks and their frames."""
    made = to_report(report)
    exception = errors.exception_class(made.code)(made.message, made)
    cdef void* cause = native.exception_of(report)
    if cause != NULL:
        exception.__cause__ = <object> <PyObject*> cause
    return exception


cdef object scope_name(const native.Scope* scope):
    """Return the name that an error scope was given, or None."""
    if scope == NULL:
        return None
    cdef bytes name = (<native.Scope*> scope).name()
    return name.decode("utf-8", "surrogatepass")


cdef object group(list exceptions, object message="Several device failures"):
    """Return one exception for several roots; a single one stays as it is."""
    if len(exceptions) == 1:
        return exceptions[0]
    return errors.DeviceErrorGroup(message, exceptions)


cdef int raise_poison(Node** nodes, size_t count) except -1:
    """Raise what spoilt the nodes, oldest first, each root once; mark it as observed."""
    cdef vector[Report*] roots
    cdef Report* report
    cdef size_t i, j
    cdef native.Device* device
    cdef list found = []
    seen = set()
    try:
        for i in range(count):
            if nodes[i].state() != native.State.poisoned:
                continue
            for j in range(native.poison_size(nodes[i])):
                report = native.poison_report(nodes[i], j)
                if <size_t> report in seen:
                    report.release()
                    continue
                seen.add(<size_t> report)
                roots.push_back(report)
        if roots.size() == 0:
            return 0
        for i in range(roots.size()):
            report = roots[i]
            device = <native.Device*> report.device
            found.append(((b"" if device == NULL else <bytes> device.name(), report.submission,
                           report.unit), to_exception(report)))
        found.sort(key=_first)
        for i in range(roots.size()):
            device = <native.Device*> roots[i].device
            if device != NULL:
                device.record.observe(roots[i][0], native.Observer.raised)
    finally:
        for i in range(roots.size()):
            roots[i].release()
    raise group([exception for _, exception in found])


def _first(pair):
    return pair[0]
