"""Error scopes as the core knows them: which one is current, and what it has collected."""

import contextvars

from libcpp.vector cimport vector

from nitinol cimport _native as native
from nitinol._errors cimport group, scope_name, to_exception, to_report

# Of the innermost scope: its handle, and what was current before it.
cdef object _current = contextvars.ContextVar("nitinol_scope", default=None)
# Until somebody enters a scope, nobody needs to look the context variable up.
cdef bint _any_entered = False


cdef class ScopeHandle:
    """A scope of the core. What `nitinol.error_scope` is made of."""

    def __cinit__(self, str name):
        cdef bytes encoded = name.encode("utf-8", "surrogatepass")
        self.scope = native.make_scope(encoded, len(encoded))

    def __dealloc__(self):
        # In a forked child another thread's lock may be held for good.
        if self.scope != NULL and not native.forked():
            self.scope.abandon()
            self.scope.release()

    def enter(self):
        """Make the scope current in this context."""
        global _any_entered
        _any_entered = True
        _current.set((self, _current.get()))

    def leave(self):
        """Make current what was current before."""
        entered = _current.get()
        if entered is None or entered[0] is not self:
            raise RuntimeError(f"The error scope {scope_name(self.scope)!r} is left, but it isn't "
                               "the one that was entered last in this context.")
        _current.set(entered[1])

    def abandon(self):
        """Give the failures that nobody observed to the device, as nobody can ask any more."""
        if not native.forked():
            self.scope.abandon()

    def belongs_here(self):
        """Return False in a child that was forked: the work in the scope is its parent's."""
        return not native.forked()

    def reports(self):
        """Return every failure collected so far, oldest first, and mark them as observed."""
        return self._collect(native.Observer.collected, False, False)

    def take_reports(self):
        """Return those that nobody has observed, and mark them as observed."""
        return self._collect(native.Observer.collected, True, False)

    def take_exception(self):
        """Return one exception for those that nobody has observed, or None; mark them as raised."""
        exceptions = self._collect(native.Observer.raised, True, True)
        if not exceptions:
            return None
        return group(exceptions,
                     f"Several device failures in the error scope {scope_name(self.scope)!r}")

    cdef list _collect(self, native.Observer by, bint fresh, bint raising):
        cdef vector[native.Report*] found
        cdef native.Report* report
        cdef native.Device* device
        cdef size_t i
        cdef bint first
        cdef list made = []
        if native.forked():
            raise RuntimeError("In a process that was forked after nitinol was imported, an error "
                               "scope of the parent can't be asked.")
        found = native.reports_of(self.scope)
        try:
            for i in range(found.size()):
                report = found[i]
                if fresh and report.observer() != native.Observer.nobody:
                    continue
                # Made first: what can't be told for want of memory isn't observed.
                told = to_exception(report) if raising else to_report(report)
                device = <native.Device*> report.device
                first = device.record.observe(report[0], by)
                if first or not fresh:
                    made.append(told)
        finally:
            for i in range(found.size()):
                found[i].release()
        return made


cdef native.Scope* current_scope() except? NULL:
    """Return the innermost scope of this context; NULL when there is none."""
    if not _any_entered:
        return NULL
    entered = _current.get()
    if entered is None:
        return NULL
    return (<ScopeHandle> (<tuple> entered)[0]).scope
