from nitinol cimport _native as native

cdef class ScopeHandle:
    cdef native.Scope* scope
    cdef list _collect(self, native.Observer by, bint fresh, bint raising)

cdef native.Scope* current_scope() except? NULL
