"""Error scopes as the core knows them: which one is current, and what it has collected."""

import contextvars

from libcpp.vector cimport vector

from nitinol cimport _native as native
from nitinol._errors cimport let_go, observe, raise_later, scope_name, translate

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
        cdef vector[native.Report*] found = self._found(False)
        try:
            told = translate(found, False)
            observe(found, native.Observer.collected, told)
            return told
        finally:
            let_go(found)

    def take_reports(self):
        """Return those that nobody has observed, and mark them as observed."""
        cdef vector[native.Report*] found = self._found(True)
        try:
            return observe(found, native.Observer.collected, translate(found, False))
        finally:
            let_go(found)

    def take_exception(self):
        """Return one exception for those that nobody has observed, or None; mark them as raised."""
        cdef vector[native.Report*] found = self._found(True)
        try:
            return raise_later(
                found, f"Several device failures in the error scope {scope_name(self.scope)!r}")
        finally:
            let_go(found)

    cdef vector[native.Report*] _found(self, bint fresh) except *:
        if native.forked():
            raise RuntimeError("In a process that was forked after nitinol was imported, an error "
                               "scope of the parent can't be asked.")
        return native.reports_of(self.scope, fresh)


cdef native.Scope* current_scope() except? NULL:
    """Return the innermost scope of this context; NULL when there is none."""
    if not _any_entered:
        return NULL
    entered = _current.get()
    if entered is None:
        return NULL
    return (<ScopeHandle> (<tuple> entered)[0]).scope
