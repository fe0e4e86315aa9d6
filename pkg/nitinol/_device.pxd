from nitinol cimport _native as native

cdef class Device:
    cdef native.Device* device

cdef Device wrap_device(native.Device* device)
