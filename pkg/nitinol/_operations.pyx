"""The builders of operations that the chapters of the package are written with."""

from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from nitinol cimport _native as native
from nitinol._array cimport Array, binary, chapter, constant, unary, wrap
from nitinol._device cimport Device
from nitinol._graph cimport build, dtype_number, dtype_object, is_scalar, op_number, shape_of
from nitinol._native cimport DType, Node, Op
from nitinol._stream cimport stream_of, stream_on

from nitinol import dtypes

cdef enum:
    MAX_NDIM = 64
    FEW = 8  # inputs that are listed on the stack; more go to the heap


def elementwise(str op, *operands):
    """Return the elementwise operation `op` of ops.def over broadcast operands.

    Parameters
    ----------
    op : str
        The name of a row.
    *operands : Array or scalar
        At least one Array. They promote; Python scalars are weak. Of ``where`` the first one is
        the condition, which takes no part in that.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the shapes don't broadcast.
    TypeError
        If the op isn't defined for the dtype.
    """
    cdef Op code = <Op> op_number(op)
    cdef Node* nodes[3]
    cdef list arrays = []
    cdef size_t count = len(operands)
    cdef size_t first = 1 if code == Op.where else 0
    cdef size_t i
    cdef Array x
    if count != native.info(code).arity:
        raise TypeError(f"{op} takes {native.info(code).arity} operands, not {count}.")
    if count == 1:
        if not isinstance(operands[0], Array):
            return unary(code, chapter("_interop").asarray(operands[0]))
        return unary(code, <Array> operands[0])
    if count == 2 and (isinstance(operands[0], Array) or isinstance(operands[1], Array)):
        result = binary(code, operands[0], operands[1])
        if result is None:
            raise TypeError(f"{op} takes arrays and numbers, not "
                            f"{type(operands[0]).__name__} and {type(operands[1]).__name__}.")
        return result
    dtype = dtypes.result_type(*[o if is_scalar(o) else chapter("_interop").asarray(o)
                                 for o in operands[first:]])
    for i in range(count):
        if i < first:
            x = chapter("_interop").asarray(operands[i])
            if x.node.dtype() != DType.bool_:
                raise TypeError(f"{op} takes a condition of dtype bool, not "
                                f"{dtype_object(x.node.dtype()).name}.")
        elif is_scalar(operands[i]):
            x = constant(operands[i], dtype_number(dtype), stream_of(NULL, 0))
        else:
            x = chapter("_interop").asarray(operands[i])
        arrays.append(x)
    cdef DType number = dtype_number(dtype)
    for i in range(count):
        nodes[i] = (<Array> arrays[i]).node
    return wrap(build(code, number, nodes, count))


def cast(Array x, dtype):
    """Return x with another dtype; x itself when it has it already.

    Parameters
    ----------
    x : Array
    dtype : dtype

    Returns
    -------
    Array
    """
    cdef DType target = dtype_number(dtype)
    cdef Node* operand = x.node
    if target == x.node.dtype():
        return x
    return wrap(native.make_elementwise(Op.cast, x.node.dtype(), target, &operand, 1,
                                        stream_of(&operand, 1)))


def apply(str op, inputs, shape, dtype, ints=(), floats=(), text=None, callback=None,
          device=None, memory=None):
    """Return a node of `op`, a row of ops.def, which says what the parameters mean.

    Parameters
    ----------
    op : str
    inputs : sequence of Array
    shape : sequence of int
        Of the output.
    dtype : dtype
        Of the output.
    ints, floats : sequences of int and float
    text : str, optional
    callback : callable, optional
    device : Device, optional
        Where it runs: the current stream's if not given, or else that of the inputs.
    memory : Device, optional
        In whose memory the output is to lie, which both devices reach: for an op that has
        parameters. Where it runs, if not given.

    Returns
    -------
    Array

    Raises
    ------
    TypeError
        If the device lacks the operation or a dtype.
    ValueError
        If the output has more than 64 dimensions or 2**63 - 1 bytes.
    """
    cdef Op code = <Op> op_number(op)
    cdef int64_t dims[MAX_NDIM]
    cdef Node* few[FEW]
    cdef Node** nodes = few
    cdef int64_t few_ints[16]
    cdef int64_t* int_values = few_ints
    cdef double float_values[4]
    cdef size_t count = len(inputs)
    cdef size_t int_count = len(ints)
    cdef size_t float_count = len(floats)
    cdef size_t i
    cdef int ndim = len(shape)
    cdef const char* path = NULL
    cdef bytes encoded
    cdef Node* node
    cdef native.Stream* stream
    cdef void* function = NULL
    cdef native.Device* home = NULL
    if memory is not None:
        home = (<Device?> memory).device
    if ndim > MAX_NDIM:
        raise ValueError(f"An array has at most {MAX_NDIM} dimensions, not {ndim}.")
    for i in range(<size_t> ndim):
        dims[i] = shape[i]
    for i in range(float_count):
        float_values[i] = floats[i]
    if text is not None:
        encoded = text.encode("utf-8", "surrogateescape")
        path = encoded
    try:
        if count > FEW:
            nodes = <Node**> malloc(count * sizeof(Node*))
            if nodes == NULL:
                raise MemoryError()
        if int_count > 16:
            int_values = <int64_t*> malloc(int_count * sizeof(int64_t))
            if int_values == NULL:
                raise MemoryError()
        for i in range(count):
            nodes[i] = (<Array?> inputs[i]).node
        for i in range(int_count):
            int_values[i] = ints[i]
        if callback is not None:
            function = keep_alive(callback)
        if device is None:
            stream = stream_of(nodes, count)
        else:
            stream = stream_on((<Device?> device).device)
        node = native.make_node(code, dtype_number(dtype), dims, ndim, stream, nodes, count,
                                int_values, int_count, float_values, float_count, path,
                                function, home)
    finally:
        if nodes != few:
            free(nodes)
        if int_values != few_ints:
            free(int_values)
    return wrap(node)


cdef void* keep_alive(object obj):
    """Return a reference that the core owns and gives back on the reclaim list."""
    Py_INCREF(obj)
    return <void*> obj


def view(Array x, shape, strides, int64_t offset):
    """Return another layout over the storage of x, without a copy.

    Parameters
    ----------
    x : Array
    shape, strides : sequences of int
        Strides in elements.
    offset : int
        Of the first element from the start of the storage, in elements.

    Returns
    -------
    Array
    """
    cdef int64_t dims[MAX_NDIM]
    cdef int64_t steps[MAX_NDIM]
    cdef int ndim = len(shape)
    cdef int i
    if ndim > MAX_NDIM:
        raise ValueError(f"An array has at most {MAX_NDIM} dimensions, not {ndim}.")
    for i in range(ndim):
        dims[i] = shape[i]
        steps[i] = strides[i]
    return wrap(native.make_view(x.node, dims, steps, ndim, offset))


def layout(Array x):
    """Return the shape, the strides and the offset of x in its storage, in elements.

    Returns
    -------
    tuple of (tuple of int, tuple of int, int)
    """
    cdef const native.Layout* at = &x.node.layout()
    return (shape_of(x.node), tuple([at.stride(i) for i in range(at.ndim())]), at.offset())


def is_contiguous(Array x):
    """Whether the elements of x lie in row-major order without gaps."""
    return x.node.layout().contiguous()
