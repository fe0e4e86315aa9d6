from nitinol._native cimport DType, Node, Op

cdef object dtype_object(DType dtype)
cdef DType dtype_number(object dtype) except *
cdef bint is_scalar(object x) noexcept
cdef int op_number(str name) except -1
cdef tuple shape_of(Node* node)
cdef Node* build(Op op, DType dtype, Node** operands, size_t count) except NULL
cdef Node* build_binary(Op op, Node* a, Node* b) except NULL
