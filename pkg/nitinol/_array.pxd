from nitinol cimport _native as native
from nitinol._native cimport DType, Node, Op

cdef class Array:
    cdef Node* node
    cdef object __weakref__

cdef object chapter(str name)
cdef Array wrap(Node* node)
cdef Array same(Array x)
cdef int ready(Array x) except -1
cdef Array constant(object value, DType dtype, native.Stream* stream)
cdef Array binary(Op op, object a, object b)
cdef Array unary(Op op, Array x)
