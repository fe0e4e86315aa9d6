from nitinol cimport _native as native

cdef class Array:
    cdef native.Node* node
    cdef object __weakref__

cdef Array wrap(native.Node* node)
cdef Array same(Array x)
cdef int ready(Array x, object timeout=*) except -1
cdef object dtype_object(native.DType dtype)
cdef native.DType dtype_number(object dtype) except *
