from libc.stdint cimport int64_t

from nitinol cimport _native as native

cdef class Device:
    cdef native.Device* device

cdef Device wrap_device(native.Device* device)
cdef list collect(native.Device* device, native.Observer by, int64_t stream, bint raising)
