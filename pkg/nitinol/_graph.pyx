"""Building nodes of the graph: which dtype comes out, which loop runs. Knows nodes, no Array."""

from libc.stdint cimport int8_t

from nitinol cimport _native as native
from nitinol._native cimport DType, Node, Op
from nitinol._stream cimport stream_of

from nitinol import _loops, dtypes

cdef list _dtypes = list(dtypes.ALL)
cdef int8_t PROMOTION[14][14]
for _i in range(14):
    for _j in range(14):
        PROMOTION[_i][_j] = dtypes.PROMOTION[_i][_j]

cdef dict _ops = {
    native.info(<Op> _i).name.decode(): _i for _i in range(<int> Op.count_)
}

# What an elementwise op makes of the common dtype of its operands; see _loops.py.
cdef int8_t RULE[256]
for _name, _i in _ops.items():
    RULE[_i] = _loops.RULES.get(_name, -1)
cdef int8_t SAME = _loops.SAME
cdef int8_t FLOAT = _loops.FLOAT
cdef int8_t BOOL = _loops.BOOL
cdef int8_t REAL = _loops.REAL

cdef struct Signature:
    bint known  # filled in: the loop was looked up and is there
    DType computed  # what the operands are converted to
    DType out

# By op and common dtype of the operands, from the first use on; all zero to begin with.
cdef Signature signatures[256][14]


cdef object dtype_object(DType dtype):
    return _dtypes[<int> dtype]


cdef DType dtype_number(object dtype) except *:
    if not isinstance(dtype, dtypes.dtype):
        dtype = dtypes.as_dtype(dtype)
    return <DType> <int> dtype.number


cdef bint is_scalar(object x) noexcept:
    return type(x) is float or type(x) is int or type(x) is bool or type(x) is complex


cdef int op_number(str name) except -1:
    """Return the number of a row of ops.def."""
    return _ops[name]


cdef tuple shape_of(Node* node):
    cdef const native.Layout* layout = &node.layout()
    return tuple([layout.shape(i) for i in range(layout.ndim())])


cdef int find_loop(Op op, DType dtype, DType out) except -1:
    """Make sure that the op can run on this dtype, before it enters the graph."""
    if op != Op.cast and not native.has_loop(op, dtype, out):
        name = native.info(op).name.decode()
        ufunc = native.info(op).ufunc
        loop = None
        if ufunc != NULL:
            loop = _loops.resolve((<bytes> ufunc).decode(), native.info(op).arity,
                                  dtype_object(dtype).numpy, dtype_object(out).numpy)
        if loop is None:
            raise TypeError(
                f"{name} is not defined for dtype {dtype_object(dtype).name}.")
        run, context, auxiliary = loop
        native.register_loop(op, dtype, <void*> <size_t> run, <void*> <size_t> context,
                             <void*> <size_t> auxiliary)
    return 0


cdef DType result_dtype(Op op, DType* dtype) noexcept:
    """Return the output's dtype; `dtype`, the operands' common one, may be raised to a float."""
    cdef int8_t rule = RULE[<int> op]
    if rule == FLOAT and <int> dtype[0] < 9:
        dtype[0] = DType.float32
    if rule == BOOL:
        return DType.bool_
    if rule == REAL:
        if dtype[0] == DType.complex64:
            return DType.float32
        if dtype[0] == DType.complex128:
            return DType.float64
    return dtype[0]


cdef Node* build(Op op, DType dtype, Node** operands, size_t count) except NULL:
    """Return a new elementwise node over operands, whose common dtype this is; it is the caller's.
    """
    cdef const Signature* signature = &signatures[<int> op][<int> dtype]
    if not signature.known:
        return build_first(op, dtype, operands, count)
    cdef Node* node = native.make_elementwise(op, signature.computed, signature.out, operands,
                                              count, stream_of(operands, count))
    if node == NULL:
        refuse_shapes(op, operands, count)
    return node


cdef Node* build_binary(Op op, Node* a, Node* b) except NULL:
    """The same over two operands, which promote."""
    cdef Node* operands[2]
    operands[0] = a
    operands[1] = b
    return build(op, <DType> <int> PROMOTION[<int> a.dtype()][<int> b.dtype()], operands, 2)


cdef Node* build_first(Op op, DType dtype, Node** operands, size_t count) except NULL:
    """The same where the loop has to be looked up: that runs Python, so another thread may rebind
    a handle meanwhile, and the nodes are held."""
    cdef Signature found
    cdef size_t i
    found.known = True
    found.computed = dtype
    found.out = result_dtype(op, &found.computed)
    for i in range(count):
        operands[i].retain()
    try:
        find_loop(op, found.computed, found.out)
        signatures[<int> op][<int> dtype] = found
        return build(op, dtype, operands, count)
    finally:
        for i in range(count):
            operands[i].release()


cdef int refuse_shapes(Op op, Node** operands, size_t count) except -1:
    shapes = " and ".join([str(shape_of(operands[i])) for i in range(<int> count)])
    raise ValueError(
        f"{native.info(op).name.decode()} takes shapes that broadcast; {shapes} don't.")
