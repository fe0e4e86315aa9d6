from nitinol cimport _native as native
from nitinol._device cimport Device

cdef class Stream:
    cdef native.Stream* stream
    cdef readonly Device device
    cdef bint owned

cdef native.Stream* current_stream() except NULL
cdef native.Stream* stream_of(native.Node** nodes, size_t count) except NULL
cdef native.Stream* stream_on(native.Device* device) except NULL
