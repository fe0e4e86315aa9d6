from libcpp.vector cimport vector

from nitinol cimport _native as native

cdef class ScopeHandle:
    cdef native.Scope* scope
    cdef vector[native.Report*] _found(self, bint fresh) except *

cdef native.Scope* current_scope() except? NULL
