"""Array: a handle to one node of the graph, and the building of nodes."""

cimport cython
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int8_t, int64_t
from libc.stdlib cimport free, malloc

from nitinol cimport _native as native
from nitinol._device cimport (
    Device,
    check_forked,
    evaluate,
    reclaim,
    stream_of,
    stream_on,
    wrap_device,
)
from nitinol._errors cimport raise_poison
from nitinol._native cimport DType, Node, Op

import importlib

from nitinol import _loops, dtypes

cdef int MAX_NDIM = 64
cdef int MAX_INPUTS = 8  # on the stack; more go to the heap

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
# known[op][dtype]: the loop was looked up and is there
cdef bint known[256][14]
for _i in range(256):
    for _j in range(14):
        known[_i][_j] = False

cdef object _modules = {}


cdef object chapter(str name):
    """Return a module of the package; they import this one, so they come later."""
    found = _modules.get(name)
    if found is None:
        found = _modules[name] = importlib.import_module(f"nitinol.{name}")
    return found


cdef object dtype_object(DType dtype):
    return _dtypes[<int> dtype]


cdef DType dtype_number(object dtype) except *:
    if not isinstance(dtype, dtypes.dtype):
        dtype = dtypes.as_dtype(dtype)
    return <DType> <int> dtype.number


cdef Array wrap(Node* node):
    """Return an Array that takes over a reference to the node."""
    cdef Array x = Array.__new__(Array)
    x.node = node
    if native.Keep.any_discarded():
        reclaim()
    return x


cdef int ready(Array x, object timeout=None) except -1:
    """Have the value there, or raise what spoilt it."""
    cdef Node* node
    while x.node.state() != native.State.ready:
        # Held, because another thread may give x another node during the wait (x[i] = v); then
        # it is that one's value that is read.
        node = x.node
        node.retain()
        try:
            evaluate(&node, 1, timeout)
            raise_poison(&node, 1)
        finally:
            node.release()
    return 0


cdef Array same(Array x):
    """Return another handle to the node that x has now, which no other thread can change."""
    x.node.retain()
    return wrap(x.node)


cdef Array constant(object value, DType dtype, native.Stream* stream):
    """Return a 0-d array of a Python scalar."""
    cdef Node* node = native.make_leaf(dtype, NULL, 0, stream)
    if node == NULL:
        check_forked()
        raise MemoryError("The memory limit leaves no room for a number.")
    cdef Array x = wrap(node)
    if dtype == DType.float32:
        (<float*> node.data())[0] = <float> <double> value
    elif dtype == DType.float64:
        (<double*> node.data())[0] = value
    elif dtype == DType.int64:
        (<int64_t*> node.data())[0] = value
    else:
        return chapter("_interop").from_scalar(value, dtype_object(dtype))
    return x


cdef bint is_scalar(object x):
    return type(x) is float or type(x) is int or type(x) is bool or type(x) is complex


cdef Array as_operand(object x):
    """Return what an operator takes besides arrays and scalars, or None."""
    if isinstance(x, Array):
        return <Array> x
    return chapter("_interop").as_operand(x)


cdef int find_loop(Op op, DType dtype, DType out) except -1:
    """Make sure that the op can run on this dtype, before it enters the graph."""
    if known[<int> op][<int> dtype]:
        return 0
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
    known[<int> op][<int> dtype] = True
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


cdef Array build(Op op, DType dtype, Node** operands, size_t count):
    """Return the elementwise node over operands whose common dtype is known."""
    cdef DType out = result_dtype(op, &dtype)
    if not known[<int> op][<int> dtype]:
        return build_first(op, dtype, operands, count)
    cdef Node* node = native.make_elementwise(op, dtype, out, operands, count,
                                              stream_of(operands, count))
    if node == NULL:
        refuse_shapes(op, operands, count)
    return wrap(node)


cdef Array build_first(Op op, DType dtype, Node** operands, size_t count):
    """The same where the loop has to be looked up: that runs Python, so another thread may rebind
    a handle meanwhile, and the nodes are held."""
    cdef DType raised = dtype
    cdef DType out = result_dtype(op, &raised)
    cdef size_t i
    for i in range(count):
        operands[i].retain()
    try:
        find_loop(op, raised, out)
        return build(op, dtype, operands, count)
    finally:
        for i in range(count):
            operands[i].release()


cdef int refuse_shapes(Op op, Node** operands, size_t count) except -1:
    shapes = " and ".join([str(shape_of(operands[i])) for i in range(<int> count)])
    raise ValueError(
        f"{native.info(op).name.decode()} takes shapes that broadcast; {shapes} don't.")


cdef Array binary(Op op, object a, object b):
    """Return op(a, b); one of them is an Array, the other may be a scalar or array-like."""
    cdef Node* operands[2]
    cdef Array x, y
    cdef DType dtype
    if type(a) is Array and type(b) is Array:
        x = <Array> a
        y = <Array> b
        dtype = <DType> <int> PROMOTION[<int> x.node.dtype()][<int> y.node.dtype()]
    elif isinstance(a, Array) and is_scalar(b):
        x = <Array> a
        dtype = dtype_number(dtypes.with_scalar(dtype_object(x.node.dtype()), b))
        y = constant(b, dtype, stream_of(&x.node, 1))
    elif isinstance(b, Array) and is_scalar(a):
        y = <Array> b
        dtype = dtype_number(dtypes.with_scalar(dtype_object(y.node.dtype()), a))
        x = constant(a, dtype, stream_of(&y.node, 1))
    else:
        x = as_operand(a)
        y = as_operand(b)
        if x is None or y is None:
            return None
        dtype = <DType> <int> PROMOTION[<int> x.node.dtype()][<int> y.node.dtype()]
    operands[0] = x.node
    operands[1] = y.node
    return build(op, dtype, operands, 2)


cdef inline object binary_or_not(Op op, object a, object b):
    result = binary(op, a, b)
    return NotImplemented if result is None else result


cdef Array unary(Op op, Array x):
    cdef Node* operand = x.node
    return build(op, x.node.dtype(), &operand, 1)


cdef tuple shape_of(Node* node):
    cdef const native.Layout* layout = &node.layout()
    return tuple([layout.shape(i) for i in range(layout.ndim())])


# --- builders for the Python chapters ----------------------------------------------------


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
    cdef Op code = <Op> <int> _ops[op]
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
    return build(code, number, nodes, count)


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
          device=None):
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
    cdef Op code = <Op> <int> _ops[op]
    cdef int64_t dims[64]
    cdef Node* few[8]
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
        if count > 8:
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
                                function)
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
    cdef int64_t dims[64]
    cdef int64_t steps[64]
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


# --- Array ---------------------------------------------------------------------------------


@cython.no_gc
@cython.freelist(512)
cdef class Array:
    """An n-dimensional array whose value is computed when it is needed.

    Made by `asarray`, `zeros` and the other creation functions. Operations on arrays are recorded
    and run later, by `eval`, or when a value is read. An array never changes: ``x[i] = v`` and
    ``x += y`` bind the name to a new one.

    Every route that reads the value of an array that a device failure spoilt raises the same
    `DeviceError`, the first time and every time after.
    """

    __array_priority__ = 1000

    def __init__(self):
        raise TypeError("Arrays are made by nitinol.asarray and the other creation functions.")

    def __dealloc__(self):
        if self.node != NULL:
            self.node.release()

    # Facts that need no value.

    @property
    def shape(self):
        """The size of each axis, a tuple of int."""
        return shape_of(self.node)

    @property
    def dtype(self):
        """The type of the elements."""
        return dtype_object(self.node.dtype())

    @property
    def ndim(self):
        """The number of axes."""
        return self.node.layout().ndim()

    @property
    def size(self):
        """The number of elements."""
        return self.node.layout().size()

    @property
    def itemsize(self):
        """The bytes of one element."""
        return native.itemsize(self.node.dtype())

    @property
    def nbytes(self):
        """The bytes of all elements."""
        return self.node.bytes()

    @property
    def device(self):
        """The device that holds the array."""
        return wrap_device(self.node.stream().device)

    def __len__(self):
        if self.node.layout().ndim() == 0:
            raise TypeError("len() of an array with no axes.")
        return self.node.layout().shape(0)

    # Operators.

    def __add__(self, other):
        return binary_or_not(<Op> ADD, self, other)

    def __radd__(self, other):
        return binary_or_not(<Op> ADD, other, self)

    def __sub__(self, other):
        return binary_or_not(<Op> SUBTRACT, self, other)

    def __rsub__(self, other):
        return binary_or_not(<Op> SUBTRACT, other, self)

    def __mul__(self, other):
        return binary_or_not(<Op> MULTIPLY, self, other)

    def __rmul__(self, other):
        return binary_or_not(<Op> MULTIPLY, other, self)

    def __truediv__(self, other):
        return binary_or_not(<Op> DIVIDE, self, other)

    def __rtruediv__(self, other):
        return binary_or_not(<Op> DIVIDE, other, self)

    def __floordiv__(self, other):
        return binary_or_not(<Op> FLOOR_DIVIDE, self, other)

    def __rfloordiv__(self, other):
        return binary_or_not(<Op> FLOOR_DIVIDE, other, self)

    def __mod__(self, other):
        return binary_or_not(<Op> REMAINDER, self, other)

    def __rmod__(self, other):
        return binary_or_not(<Op> REMAINDER, other, self)

    def __divmod__(self, other):
        return self // other, self % other

    def __pow__(self, other, modulo):
        if modulo is not None:
            raise TypeError("pow() of arrays takes no modulus.")
        return binary_or_not(<Op> POWER, self, other)

    def __rpow__(self, other, modulo):
        if modulo is not None:
            raise TypeError("pow() of arrays takes no modulus.")
        return binary_or_not(<Op> POWER, other, self)

    def __and__(self, other):
        return binary_or_not(<Op> BITWISE_AND, self, other)

    def __rand__(self, other):
        return binary_or_not(<Op> BITWISE_AND, other, self)

    def __or__(self, other):
        return binary_or_not(<Op> BITWISE_OR, self, other)

    def __ror__(self, other):
        return binary_or_not(<Op> BITWISE_OR, other, self)

    def __xor__(self, other):
        return binary_or_not(<Op> BITWISE_XOR, self, other)

    def __rxor__(self, other):
        return binary_or_not(<Op> BITWISE_XOR, other, self)

    def __lshift__(self, other):
        return binary_or_not(<Op> LEFT_SHIFT, self, other)

    def __rlshift__(self, other):
        return binary_or_not(<Op> LEFT_SHIFT, other, self)

    def __rshift__(self, other):
        return binary_or_not(<Op> RIGHT_SHIFT, self, other)

    def __rrshift__(self, other):
        return binary_or_not(<Op> RIGHT_SHIFT, other, self)

    def __matmul__(self, other):
        other = as_operand(other)
        return NotImplemented if other is None else chapter("linalg").matmul(self, other)

    def __rmatmul__(self, other):
        other = as_operand(other)
        return NotImplemented if other is None else chapter("linalg").matmul(other, self)

    def __neg__(self):
        return unary(<Op> NEGATIVE, self)

    def __pos__(self):
        return chapter("elementwise").positive(self)

    def __abs__(self):
        return chapter("elementwise").abs(self)

    def __invert__(self):
        return unary(<Op> INVERT, self)

    def __lt__(self, other):
        return binary_or_not(<Op> LESS, self, other)

    def __le__(self, other):
        return binary_or_not(<Op> LESS_EQUAL, self, other)

    def __gt__(self, other):
        return binary_or_not(<Op> GREATER, self, other)

    def __ge__(self, other):
        return binary_or_not(<Op> GREATER_EQUAL, self, other)

    def __eq__(self, other):
        return binary_or_not(<Op> EQUAL, self, other)

    def __ne__(self, other):
        return binary_or_not(<Op> NOT_EQUAL, self, other)

    __hash__ = None

    # Indexing.

    def __getitem__(self, key):
        return chapter("indexing").getitem(self, key)

    def __setitem__(self, key, value):
        cdef Array updated = chapter("indexing").setitem(self, key, value)
        updated.node.retain()
        cdef Node* before = self.node
        self.node = updated.node
        before.release()

    @property
    def at(self):
        """Functional updates: ``x.at[key].set(value)`` and its kin return a new array."""
        return chapter("indexing").At(self)

    # Routes that read the value. Each waits, and raises what spoilt it.

    def __bool__(self):
        return bool(self.item())

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __complex__(self):
        return complex(self.item())

    def __index__(self):
        if self.node.layout().ndim() != 0 or not 0 < <int> self.node.dtype() < 9:
            raise TypeError(
                "Only an integer array with no axes can be an index, not one of shape "
                f"{self.shape} and dtype {self.dtype.name}.")
        return self.item()

    def item(self):
        """Return the only element as a Python scalar.

        Raises
        ------
        ValueError
            If there is more than one element, or none.
        DeviceError
            If a device failure spoilt the array.
        """
        if self.node.layout().size() != 1:
            raise ValueError(
                "Only an array with one element is a Python scalar, not one of shape "
                f"{self.shape}.")
        ready(self)
        cdef DType dtype = self.node.dtype()
        if dtype == DType.float32:
            return <double> (<float*> self.node.data())[0]
        if dtype == DType.float64:
            return (<double*> self.node.data())[0]
        if dtype == DType.int64:
            return (<int64_t*> self.node.data())[0]
        if dtype == DType.bool_:
            return (<char*> self.node.data())[0] != 0
        return chapter("_interop").to_numpy(self).item()

    def tolist(self):
        """Return the elements as nested lists of Python scalars."""
        return chapter("_interop").to_numpy(self).tolist()

    def __repr__(self):
        return chapter("_interop").represent(self)

    def __str__(self):
        return str(chapter("_interop").to_numpy(self))

    def __format__(self, spec):
        if self.node.layout().ndim() == 0:
            return format(self.item(), spec)
        return format(chapter("_interop").to_numpy(self), spec)

    def __iter__(self):
        if self.node.layout().ndim() == 0:
            raise TypeError("An array with no axes can't be iterated over.")
        ready(self)
        return iter([self[i] for i in range(len(self))])

    def __contains__(self, value):
        return bool((self == value).any())

    def __array__(self, dtype=None, *, copy=None):
        return chapter("_interop").array_protocol(self, dtype, copy)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        chapter("_interop").fill_buffer(self, <size_t> buffer, flags)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        return chapter("_interop").dlpack(self, stream, max_version, dl_device, copy)

    def __dlpack_device__(self):
        return (1, 0)

    def __reduce__(self):
        return chapter("_interop").restore, (chapter("_interop").to_numpy(self).copy(),)

    # Another handle: ``y[i] = v`` rebinds the copy alone.

    def __copy__(self):
        ready(self)
        return view(self, *layout(self))

    def __deepcopy__(self, memo):
        ready(self)
        return view(self, *layout(self))

    # The standard's own.

    def __array_namespace__(self, *, api_version=None):
        return chapter("_interop").namespace(api_version)

    def to_device(self, device, *, stream=None):
        """Return the array on another device; the array itself where it is there already.

        Parameters
        ----------
        device : Device or str

        Raises
        ------
        TypeError
            If that device lacks the dtype.
        """
        return chapter("_interop").to_device(self, device)

    @property
    def T(self):
        """The transpose of a matrix."""
        return chapter("linalg").matrix_transpose_of_two(self)

    @property
    def mT(self):
        """The transpose of each matrix of the last two axes."""
        return chapter("linalg").matrix_transpose(self)

    @property
    def real(self):
        """The real part."""
        return chapter("elementwise").real(self)

    @property
    def imag(self):
        """The imaginary part."""
        return chapter("elementwise").imag(self)

    def astype(self, dtype, *, copy=True):
        """Return the array with another dtype; see `nitinol.astype`."""
        return chapter("manipulation").astype(self, dtype, copy=copy)

    def copy(self):
        """Return a copy in row-major order."""
        return apply("copy", (self,), self.shape, self.dtype)

    def reshape(self, *shape):
        """Return the elements in another shape; see `nitinol.reshape`."""
        if len(shape) == 1 and not isinstance(shape[0], int):
            shape = shape[0]
        return chapter("manipulation").reshape(self, shape)

    def transpose(self, *axes):
        """Return the array with its axes in another order; reversed if none is given."""
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = axes[0]
        return chapter("manipulation").permute_dims(
            self, axes or tuple(range(self.ndim - 1, -1, -1)))

    def squeeze(self, axis=None):
        """Return the array without axes of size one; see `nitinol.squeeze`."""
        if axis is None:
            axis = tuple(i for i, n in enumerate(self.shape) if n == 1)
        return chapter("manipulation").squeeze(self, axis)

    def flatten(self):
        """Return the elements as one axis."""
        return chapter("manipulation").reshape(self, (-1,))

    def sum(self, axis=None, *, dtype=None, keepdims=False):
        """Return the sum over axes; see `nitinol.sum`."""
        return chapter("statistical").sum(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(self, axis=None, *, dtype=None, keepdims=False):
        """Return the product over axes; see `nitinol.prod`."""
        return chapter("statistical").prod(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis=None, *, keepdims=False):
        """Return the mean over axes; see `nitinol.mean`."""
        return chapter("statistical").mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis=None, *, correction=0.0, keepdims=False):
        """Return the variance over axes; see `nitinol.var`."""
        return chapter("statistical").var(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis=None, *, correction=0.0, keepdims=False):
        """Return the standard deviation over axes; see `nitinol.std`."""
        return chapter("statistical").std(self, axis=axis, correction=correction, keepdims=keepdims)

    def max(self, axis=None, *, keepdims=False):
        """Return the largest element over axes; see `nitinol.max`."""
        return chapter("statistical").max(self, axis=axis, keepdims=keepdims)

    def min(self, axis=None, *, keepdims=False):
        """Return the smallest element over axes; see `nitinol.min`."""
        return chapter("statistical").min(self, axis=axis, keepdims=keepdims)

    def all(self, axis=None, *, keepdims=False):
        """Return whether all elements over axes are true; see `nitinol.all`."""
        return chapter("statistical").all(self, axis=axis, keepdims=keepdims)

    def any(self, axis=None, *, keepdims=False):
        """Return whether any element over axes is true; see `nitinol.any`."""
        return chapter("statistical").any(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis=None, *, keepdims=False):
        """Return the index of the largest element; see `nitinol.argmax`."""
        return chapter("searching").argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis=None, *, keepdims=False):
        """Return the index of the smallest element; see `nitinol.argmin`."""
        return chapter("searching").argmin(self, axis=axis, keepdims=keepdims)


cdef int ADD = _ops["add"]
cdef int SUBTRACT = _ops["subtract"]
cdef int MULTIPLY = _ops["multiply"]
cdef int DIVIDE = _ops["divide"]
cdef int FLOOR_DIVIDE = _ops["floor_divide"]
cdef int REMAINDER = _ops["remainder"]
cdef int POWER = _ops["power"]
cdef int BITWISE_AND = _ops["bitwise_and"]
cdef int BITWISE_OR = _ops["bitwise_or"]
cdef int BITWISE_XOR = _ops["bitwise_xor"]
cdef int LEFT_SHIFT = _ops["bitwise_left_shift"]
cdef int RIGHT_SHIFT = _ops["bitwise_right_shift"]
cdef int NEGATIVE = _ops["negative"]
cdef int INVERT = _ops["bitwise_invert"]
cdef int LESS = _ops["less"]
cdef int LESS_EQUAL = _ops["less_equal"]
cdef int GREATER = _ops["greater"]
cdef int GREATER_EQUAL = _ops["greater_equal"]
cdef int EQUAL = _ops["equal"]
cdef int NOT_EQUAL = _ops["not_equal"]
