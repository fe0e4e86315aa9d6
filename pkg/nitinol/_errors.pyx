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


cdef list translate(const vector[Report*]& found, bint raising):
    """Return a report for each, or a fresh exception.

    This comes before they are observed: what can't be told for want of memory, or because of
    Ctrl-C, stays for others to see.
    """
    cdef size_t i
    return [to_exception(found[i]) if raising else to_report(found[i])
            for i in range(found.size())]


cdef list observe(const vector[Report*]& found, native.Observer by, list told):
    """Mark reports as observed; return those of `told` that nobody has observed before.

    No Python code runs in here.
    """
    cdef native.Device* device
    cdef size_t i
    cdef list fresh = []
    for i in range(found.size()):
        device = <native.Device*> found[i].device
        if device != NULL and device.record.observe(found[i][0], by):
            fresh.append(told[i])
    return fresh


cdef object raise_later(const vector[Report*]& found, object message="Several device failures"):
    """Return one exception for the reports, marked as raised, or None.

    It leaves out what another thread has observed in the meantime.
    """
    cdef list told = translate(found, True)
    exception = group(told, message) if told else None
    cdef list fresh = observe(found, native.Observer.raised, told)
    if len(fresh) < len(told):
        return group(fresh, message) if fresh else None
    return exception


cdef void let_go(const vector[Report*]& found) noexcept:
    cdef size_t i
    for i in range(found.size()):
        found[i].release()


cdef int raise_poison(Node** nodes, size_t count, Node** read=NULL) except -1:
    """Raise what spoilt the nodes, oldest first, each root once; mark it as observed.

    `read` is where a handle has its node, if one is read. When another thread has bound the handle
    to another node than the first of `nodes` by the time that all is ready to be raised, nothing
    is raised or observed. NumPy swallows what the buffer protocol raises and asks again: it must
    find the same then, or a failure would count as raised that nobody has seen.
    """
    cdef vector[Report*] roots
    cdef Report* report
    cdef size_t i, j
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
        told = translate(roots, True)
        failure = group(sorted(told, key=_age))
        # From here to the end no other thread runs Python code.
        if read != NULL and read[0] != nodes[0]:
            return 0
        observe(roots, native.Observer.raised, told)
    finally:
        let_go(roots)
    raise failure


def _age(exception):
    report = exception.report
    return report.device, report.submission, report.unit
