from nitinol cimport _native as native

cdef bint watching
cdef int trace(native.Node* node) except -1
cdef object source_of(const native.SourceLine* source)
cdef int warn_of_donations() except -1
