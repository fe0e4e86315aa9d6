"""Array: a handle to one node of the graph."""

cimport cython
from libc.math cimport INFINITY
from libc.stdint cimport int64_t

from nitinol cimport _debug
from nitinol cimport _native as native
from nitinol._core cimport check_forked, reclaim
from nitinol._device cimport wrap_device
from nitinol._errors cimport raise_poison
from nitinol._graph cimport build, build_binary, dtype_number, dtype_object, is_scalar, shape_of
from nitinol._native cimport DType, Node, Op
from nitinol._stream cimport stream_of
from nitinol._wait cimport evaluate

import importlib

from nitinol import _methods, dtypes

cdef object _modules = {}


cdef object chapter(str name):
    """Return a module of the package; they import this one, so they come later."""
    found = _modules.get(name)
    if found is None:
        found = _modules[name] = importlib.import_module(f"nitinol.{name}")
    return found


cdef Array wrap(Node* node):
    """Return an Array that takes over a reference to the node."""
    cdef Array x = Array.__new__(Array)
    x.node = node
    if _debug.watching:
        _debug.trace(node)
    node.hold_handle()
    if native.Keep.any_discarded():
        reclaim()
    return x


cdef int ready(Array x) except -1:
    """Have the value there, or raise what spoilt it."""
    cdef Node* node
    while x.node.state() != native.State.ready:
        # Held, because another thread may give x another node during the wait (x[i] = v, or a
        # retry); then it is that one's value that is read.
        node = x.node
        node.retain()
        try:
            evaluate(&node, 1, None, INFINITY)
            raise_poison(&node, 1, &x.node)
        finally:
            node.release()
    return 0


cdef Array same(Array x):
    """Return another handle to the node that x has now, which no other thread can change."""
    cdef Array made = Array.__new__(Array)
    made.node = x.node
    made.node.retain()
    made.node.hold_handle()
    return made


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


cdef Array weak(object value, Array beside):
    """Return a 0-d array of a Python scalar that is an operand beside an array."""
    dtype = dtypes.with_scalar(dtype_object(beside.node.dtype()), value)
    return constant(value, dtype_number(dtype), stream_of(&beside.node, 1))


cdef Array compared(Op op, Array x, object value):
    """Return op(x, value) for an integer that the dtype of x can't hold; None for other ops.

    Which way it goes is known, but the result depends on x as any other: it is written as a
    comparison with the limit that lies between.
    """
    info = dtypes.iinfo(x.dtype)
    above = value > info.max
    if op == Op.equal or op == Op.not_equal:
        holds = op == Op.not_equal
    elif op == Op.less or op == Op.less_equal:
        holds = above
    elif op == Op.greater or op == Op.greater_equal:
        holds = not above
    else:
        return None
    if above:
        return binary(Op.less_equal if holds else Op.greater, x, info.max)
    return binary(Op.greater_equal if holds else Op.less, x, info.min)


cdef Op mirrored(Op op):
    """Return the op that is op with its operands exchanged, where both are comparisons."""
    if op == Op.less:
        return Op.greater
    if op == Op.less_equal:
        return Op.greater_equal
    if op == Op.greater:
        return Op.less
    return Op.less_equal if op == Op.greater_equal else op


cdef Array as_operand(object x):
    """Return what an operator takes besides arrays and scalars, or None."""
    if isinstance(x, Array):
        return <Array> x
    return chapter("_interop").as_operand(x)


cdef Array binary(Op op, object a, object b):
    """Return op(a, b); one of them is an Array, the other may be a scalar or array-like."""
    cdef Array x, y
    if type(a) is Array and type(b) is Array:
        return wrap(build_binary(op, (<Array> a).node, (<Array> b).node))
    if isinstance(a, Array) and is_scalar(b):
        x = <Array> a
        try:
            y = weak(b, x)
        except OverflowError:
            result = compared(op, x, b) if x.dtype.kind in "iu" else None
            if result is None:
                raise
            return result
    elif isinstance(b, Array) and is_scalar(a):
        y = <Array> b
        try:
            x = weak(a, y)
        except OverflowError:
            result = compared(mirrored(op), y, a) if y.dtype.kind in "iu" else None
            if result is None:
                raise
            return result
    else:
        x = as_operand(a)
        y = as_operand(b)
        if x is None or y is None:
            return None
    return wrap(build_binary(op, x.node, y.node))


cdef inline object binary_or_not(Op op, object a, object b):
    result = binary(op, a, b)
    return NotImplemented if result is None else result


cdef inline object equality(Op op, str sign, object a, object b):
    result = binary(op, a, b)
    if result is None and isinstance(b, (list, tuple)):
        # Python would go on to compare identities, and say False.
        raise TypeError(f"{sign} compares an array with arrays and numbers, not with a "
                        f"{type(b).__name__}; expected nitinol.asarray of it.")
    return NotImplemented if result is None else result


cdef Array unary(Op op, Array x):
    cdef Node* operand = x.node
    return wrap(build(op, x.node.dtype(), &operand, 1))


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
            self.node.drop_handle()
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
        return binary_or_not(Op.add, self, other)

    def __radd__(self, other):
        return binary_or_not(Op.add, other, self)

    def __sub__(self, other):
        return binary_or_not(Op.subtract, self, other)

    def __rsub__(self, other):
        return binary_or_not(Op.subtract, other, self)

    def __mul__(self, other):
        return binary_or_not(Op.multiply, self, other)

    def __rmul__(self, other):
        return binary_or_not(Op.multiply, other, self)

    def __truediv__(self, other):
        return binary_or_not(Op.divide, self, other)

    def __rtruediv__(self, other):
        return binary_or_not(Op.divide, other, self)

    def __floordiv__(self, other):
        return binary_or_not(Op.floor_divide, self, other)

    def __rfloordiv__(self, other):
        return binary_or_not(Op.floor_divide, other, self)

    def __mod__(self, other):
        return binary_or_not(Op.remainder, self, other)

    def __rmod__(self, other):
        return binary_or_not(Op.remainder, other, self)

    def __divmod__(self, other):
        return self // other, self % other

    def __rdivmod__(self, other):
        return other // self, other % self

    def __pow__(self, other, modulo):
        if modulo is not None:
            raise TypeError("pow() of arrays takes no modulus.")
        return binary_or_not(Op.power, self, other)

    def __rpow__(self, other, modulo):
        if modulo is not None:
            raise TypeError("pow() of arrays takes no modulus.")
        return binary_or_not(Op.power, other, self)

    def __and__(self, other):
        return binary_or_not(Op.bitwise_and, self, other)

    def __rand__(self, other):
        return binary_or_not(Op.bitwise_and, other, self)

    def __or__(self, other):
        return binary_or_not(Op.bitwise_or, self, other)

    def __ror__(self, other):
        return binary_or_not(Op.bitwise_or, other, self)

    def __xor__(self, other):
        return binary_or_not(Op.bitwise_xor, self, other)

    def __rxor__(self, other):
        return binary_or_not(Op.bitwise_xor, other, self)

    def __lshift__(self, other):
        return binary_or_not(Op.bitwise_left_shift, self, other)

    def __rlshift__(self, other):
        return binary_or_not(Op.bitwise_left_shift, other, self)

    def __rshift__(self, other):
        return binary_or_not(Op.bitwise_right_shift, self, other)

    def __rrshift__(self, other):
        return binary_or_not(Op.bitwise_right_shift, other, self)

    def __matmul__(self, other):
        other = as_operand(other)
        return NotImplemented if other is None else chapter("linalg").matmul(self, other)

    def __rmatmul__(self, other):
        other = as_operand(other)
        return NotImplemented if other is None else chapter("linalg").matmul(other, self)

    def __neg__(self):
        return unary(Op.negative, self)

    def __pos__(self):
        return chapter("elementwise").positive(self)

    def __round__(self, digits=None):
        return chapter("elementwise").round(self, 0 if digits is None else digits)

    def __abs__(self):
        return chapter("elementwise").abs(self)

    def __invert__(self):
        return unary(Op.bitwise_invert, self)

    def __lt__(self, other):
        return binary_or_not(Op.less, self, other)

    def __le__(self, other):
        return binary_or_not(Op.less_equal, self, other)

    def __gt__(self, other):
        return binary_or_not(Op.greater, self, other)

    def __ge__(self, other):
        return binary_or_not(Op.greater_equal, self, other)

    def __eq__(self, other):
        return equality(Op.equal, "==", self, other)

    def __ne__(self, other):
        return equality(Op.not_equal, "!=", self, other)

    __hash__ = None

    # Indexing.

    def __getitem__(self, key):
        return chapter("indexing").getitem(self, key)

    def __setitem__(self, key, value):
        cdef Array updated = chapter("indexing").setitem(self, key, value)
        updated.node.retain()
        updated.node.hold_handle()
        cdef Node* before = self.node
        self.node = updated.node
        before.drop_handle()
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
        found = binary(Op.equal, self, value)
        return False if found is None else bool(found.any())

    def __array__(self, dtype=None, *, copy=None):
        return chapter("_interop").array_protocol(self, dtype, copy)

    def __array_function__(self, func, types, args, kwargs):
        return chapter("_interop").array_function(func, args, kwargs)

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
        operations = chapter("_operations")
        return operations.view(self, *operations.layout(self))

    def __deepcopy__(self, memo):
        return self.__copy__()

    # The standard's own.

    def __array_namespace__(self, *, api_version=None):
        return chapter("_interop").namespace(api_version)

    # What calls a function of a chapter and no more.

    tolist = _methods.tolist
    to_device = _methods.to_device
    T = property(_methods.T)
    mT = property(_methods.mT)
    real = property(_methods.real)
    imag = property(_methods.imag)
    astype = _methods.astype
    copy = _methods.copy
    reshape = _methods.reshape
    transpose = _methods.transpose
    squeeze = _methods.squeeze
    flatten = _methods.flatten
    sum = _methods.sum
    prod = _methods.prod
    mean = _methods.mean
    var = _methods.var
    std = _methods.std
    max = _methods.max
    min = _methods.min
    all = _methods.all
    any = _methods.any
    argmax = _methods.argmax
    argmin = _methods.argmin
