"""Arrays from and to NumPy, the buffer protocol, DLPack, pickle."""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_ND,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyObject_GetBuffer,
)
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t

from nitinol cimport _native as native
from nitinol._array cimport Array, ready, same, wrap
from nitinol._core cimport check_forked
from nitinol._device cimport Device, wrap_device
from nitinol._graph cimport dtype_number, dtype_object
from nitinol._stream cimport current_stream, stream_on

import copy as copies
from threading import get_ident

import numpy

from nitinol import _dlpack, dtypes
from nitinol._operations import apply, cast
from nitinol._text import shown
from nitinol.errors import DeviceError

cdef int BUFFER_WRITE = 0x200  # PyBUF_WRITE, which Cython does not declare

cdef dict _of_numpy = {d.numpy: d for d in dtypes.ALL}
cdef dict _defaults = {
    "b": dtypes.bool, "i": dtypes.DEFAULT_INT, "f": dtypes.DEFAULT_FLOAT,
    "c": dtypes.DEFAULT_COMPLEX,
}


cdef class Export:
    """Memory of an array, held for whoever reads it; read-only.

    `raw` ones are plain bytes, for NumPy's own constructor; the others are typed.
    """

    cdef native.Buffer* buffer
    cdef char* data
    cdef Py_ssize_t length
    cdef Py_ssize_t itemsize
    cdef int ndim
    cdef bint raw
    cdef bint contiguous
    cdef bytes format
    cdef Py_ssize_t shape[64]
    cdef Py_ssize_t strides[64]

    def __dealloc__(self):
        if self.buffer != NULL:
            self.buffer.release()

    def __getbuffer__(self, Py_buffer* view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("Arrays are exported for reading only.")
        if not self.raw and not self.contiguous and not (flags & PyBUF_STRIDES) == PyBUF_STRIDES:
            raise BufferError("The array is not contiguous, and a contiguous buffer was asked for.")
        view.obj = self
        view.buf = self.data
        view.len = self.length
        view.readonly = 1
        view.internal = NULL
        view.suboffsets = NULL
        view.itemsize = self.itemsize
        view.format = <char*> self.format if flags & PyBUF_FORMAT else NULL
        view.ndim = self.ndim
        view.shape = NULL
        if flags & PyBUF_ND:
            view.shape = self.shape
        view.strides = NULL
        if (flags & PyBUF_STRIDES) == PyBUF_STRIDES:
            view.strides = self.strides


cdef dict _formats = {
    "bool": b"?", "int8": b"b", "int16": b"h", "int32": b"i", "uint8": b"B", "uint16": b"H",
    "uint32": b"I", "float16": b"e", "float32": b"f", "float64": b"d", "complex64": b"Zf",
    "complex128": b"Zd",
}


# C has two types of this size, and NumPy a scalar type for each: int64 is the one that dtypes name.
for _each in ("int64", "uint64"):
    _formats[_each] = numpy.dtype(_each).char.encode()


cdef Export typed_export(Array x):
    cdef Export export = Export.__new__(Export)
    cdef const native.Layout* layout = &x.node.layout()
    cdef int i
    export.buffer = x.node.buffer()
    export.buffer.retain()
    export.data = x.node.data()
    export.itemsize = native.itemsize(x.node.dtype())
    export.length = x.node.bytes()
    export.ndim = layout.ndim()
    export.contiguous = layout.contiguous()
    export.format = _formats[dtype_object(x.node.dtype()).name]
    for i in range(export.ndim):
        export.shape[i] = layout.shape(i)
        export.strides[i] = layout.stride(i) * export.itemsize
    return export


def to_numpy(Array x):
    """Return a read-only view of the value of `x` as a NumPy array.

    Raises
    ------
    DeviceError
        If a device failure spoilt the array.
    """
    x = same(x)
    ready(x)
    cdef Export export = Export.__new__(Export)
    cdef const native.Layout* layout = &x.node.layout()
    cdef Py_ssize_t item = native.itemsize(x.node.dtype())
    cdef int64_t low = 0
    cdef int64_t high = 0
    cdef int i
    shape = []
    strides = []
    for i in range(layout.ndim()):
        shape.append(layout.shape(i))
        strides.append(layout.stride(i) * item)
        if layout.stride(i) < 0:
            low += layout.stride(i) * (layout.shape(i) - 1)
        else:
            high += layout.stride(i) * (layout.shape(i) - 1)
    if layout.size() == 0:
        return numpy.ndarray(shape, dtype=dtype_object(x.node.dtype()).numpy)
    export.buffer = x.node.buffer()
    export.buffer.retain()
    export.data = x.node.data() + low * item
    export.length = (high - low + 1) * item
    export.itemsize = 1
    export.ndim = 1
    export.raw = True
    export.contiguous = True
    export.format = b"B"
    export.shape[0] = export.length
    export.strides[0] = 1
    return numpy.ndarray(shape, dtype=dtype_object(x.node.dtype()).numpy, buffer=export,
                         offset=-low * item, strides=strides)


# What a signal handler raised while a buffer was asked for: the array, the thread, the exception.
cdef tuple _interrupted = None


def fill_buffer(Array x, size_t buffer, int flags):
    """Fill a Py_buffer.

    NumPy swallows what this raises and asks ``__array__`` next, which finds the failure again, for
    no other thread runs in between; but what a signal handler raised (KeyboardInterrupt, above all)
    it must be told.
    """
    global _interrupted
    _interrupted = None
    try:
        ready(x)
    except DeviceError:
        raise
    except BaseException as error:
        _interrupted = <size_t> <PyObject*> x, get_ident(), without_frames(error)
        raise
    PyObject_GetBuffer(typed_export(same(x)), <Py_buffer*> buffer, flags)


cdef object without_frames(error):
    """Return a copy of an exception: those that only keep it keep no frames, and their arrays."""
    try:
        return copies.copy(error)
    except Exception:  # of its class's own
        return error


def array_protocol(Array x, dtype, copy):
    """What ``numpy.asarray`` and ``numpy.array`` call."""
    global _interrupted
    found = _interrupted
    if found is not None and found[:2] == (<size_t> <PyObject*> x, get_ident()):
        _interrupted = None
        raise found[2]
    value = to_numpy(x)
    if dtype is not None and numpy.dtype(dtype) != value.dtype:
        if copy is False:
            raise ValueError(
                f"A {value.dtype} array becomes {numpy.dtype(dtype)} only by a copy, and "
                "copy=False was asked for.")
        return value.astype(dtype)
    return value.copy() if copy else value


cdef object in_numpy(object item):
    """Return what is given to a function of NumPy: read-only NumPy arrays in place of ours."""
    if isinstance(item, Array):
        return numpy.asarray(item)
    if type(item) is list:
        return [in_numpy(value) for value in item]
    if type(item) is tuple:
        return tuple([in_numpy(value) for value in item])
    if type(item) is dict:
        return {key: in_numpy(value) for key, value in item.items()}
    return item


def array_function(func, args, kwargs):
    """Call a function of NumPy: its results are NumPy arrays.

    Without this some would call methods of ours by the same name, with arguments of theirs, and
    others would mix both kinds of arrays.
    """
    return func(*in_numpy(args), **in_numpy(kwargs))


def dlpack(Array x, stream, max_version, dl_device, copy):
    """Return a DLPack capsule. Consumers that know no read-only flag get a copy."""
    value = to_numpy(x)
    if copy is False and (max_version is None or max_version < (1, 0)):
        raise BufferError("The array is read-only; without a copy it takes DLPack 1.0 or later.")
    if copy or max_version is None or max_version < (1, 0):
        value = value.copy()
    if max_version is None:
        return value.__dlpack__()
    return value.__dlpack__(max_version=max_version, dl_device=dl_device)


cdef Array copy_in(object value, native.DType dtype, native.Stream* stream):
    """Return a leaf with a copy of a NumPy array; the dtype may differ."""
    cdef int64_t shape[64]
    cdef int i
    cdef int ndim = value.ndim
    for i in range(ndim):
        shape[i] = value.shape[i]
    cdef native.Node* node = native.make_leaf(dtype, shape, ndim, stream)
    if node == NULL:
        check_forked()
        stats = stream.device.memory.stats()
        raise MemoryError(
            f"{value.size * native.itemsize(dtype)} bytes were wanted for an array on "
            f"{stream.device.name().decode()}, where {stats.in_use} of {stats.limit} are in use.")
    cdef Array x = wrap(node)
    cdef Py_ssize_t length = node.bytes()
    if length > 0:
        out = numpy.ndarray(value.shape, dtype=dtype_object(dtype).numpy,
                            buffer=PyMemoryView_FromMemory(node.data(), length, BUFFER_WRITE))
        if dtype == native.DType.bool_ and value.dtype == numpy.bool_:
            # A byte of somebody's memory may be neither 0 nor 1, and count as 255 in a sum.
            numpy.not_equal(value.view(numpy.uint8), 0, out=out)
        else:
            numpy.copyto(out, value, casting="unsafe")
    return x


cdef Array borrow(object value, native.DType dtype, native.Stream* stream):
    """Return a leaf over the memory of a NumPy array, which it keeps alive."""
    cdef int64_t shape[64]
    cdef int64_t strides[64]
    cdef int i
    cdef Py_ssize_t item = native.itemsize(dtype)
    for i in range(value.ndim):
        shape[i] = value.shape[i]
        if value.strides[i] % item:
            raise ValueError(
                f"Strides of {value.strides} bytes are no multiples of the item size {item}, so "
                "the array can't be used without a copy.")
        strides[i] = value.strides[i] // item
    if not value.flags.aligned:
        raise ValueError(f"The memory of the array isn't aligned to its elements of {item} bytes, "
                         "so it can't be used without a copy.")
    if dtype == native.DType.bool_ and value.size and value.view(numpy.uint8).max() > 1:
        raise ValueError("The array has booleans that are neither 0 nor 1 in memory, so it can't "
                         "be used without a copy.")
    cdef size_t address = value.ctypes.data
    Py_INCREF(value)
    return wrap(native.make_borrowed(dtype, shape, strides, value.ndim, <void*> address,
                                     stream, <void*> value))


cdef object numpy_dtype(object value):
    found = _of_numpy.get(value.dtype.newbyteorder("="))
    if found is None:
        raise TypeError(f"An array holds booleans and numbers of up to 128 bits, not elements of "
                        f"NumPy's dtype {value.dtype}.")
    return found


cdef bint is_python(object obj):
    """Whether nested lists hold Python's own numbers, which get the default dtypes."""
    cdef int _depth
    for _depth in range(65):  # no deeper than arrays are: a list may hold itself
        if not isinstance(obj, (list, tuple)):
            break
        if len(obj) == 0:
            return True
        obj = obj[0]
    return type(obj) in (bool, int, float, complex)


class _Interface:
    """An object with a given ``__array_interface__``."""

    def __init__(self, interface):
        self.__array_interface__ = interface


cdef object checked_interface(object obj):
    """Return `obj`, or what has its ``__array_interface__``, when that keeps to its own memory.

    NumPy doesn't compare the shape with the length of the buffer.
    """
    interface = getattr(obj, "__array_interface__", None)
    if not isinstance(interface, dict) or isinstance(obj, numpy.generic):
        return obj
    interface = dict(interface)  # another look might find another one
    data = interface.get("data")
    if data is None or isinstance(data, tuple):
        return obj  # its own buffer, which NumPy checks, or an address, which nobody can
    dtype = numpy.dtype(interface["typestr"])
    shape, strides = interface["shape"], interface.get("strides")
    if strides is None:
        strides = numpy.cumprod((dtype.itemsize, *shape[:0:-1]), dtype=object)[::-1]
    offset = interface.get("offset", 0)
    low = high = offset
    for n, stride in zip(shape, strides):
        low += min(stride * (n - 1), 0)
        high += max(stride * (n - 1), 0)
    length = memoryview(data).nbytes
    if 0 not in shape and not 0 <= low <= high + dtype.itemsize <= length:
        raise ValueError(f"The __array_interface__ of a {type(obj).__name__} claims the bytes "
                         f"{low} to {high + dtype.itemsize} of a buffer of {length} bytes.")
    return _Interface(interface)


def asarray(obj, dtype=None, *, device=None, copy=None):
    """Return an array of the elements of `obj`.

    Parameters
    ----------
    obj : Array, array_like
        An array, a number, nested sequences of numbers, or anything that has the buffer protocol,
        ``__array__`` or DLPack.
    dtype : dtype, optional
        That of `obj` if not given; Python's own numbers become ``int64``, ``float32``,
        ``complex64`` or ``bool``.
    device : Device or str, optional
        The default device if not given.
    copy : bool, optional
        By default an Array is returned as it is and everything else copied. With False the memory
        of `obj` is used and must not change any more; with True even an Array is copied.

    Returns
    -------
    Array

    Raises
    ------
    TypeError
        If the elements are no numbers.
    ValueError
        If ``copy=False`` can't be had.
    OverflowError
        If a Python integer doesn't fit.
    MemoryError
        If the device's memory limit doesn't allow it.
    """
    cdef native.Stream* stream = current_stream()
    if device is not None:
        stream = stream_on((<Device> Device(device)).device)
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype)
    if isinstance(obj, Array):
        if device is not None and obj.device != Device(device):
            if copy is False:
                raise ValueError(f"An array on {obj.device.name} gets to {Device(device).name} "
                                 "only by a copy, and copy=False was asked for.")
            moved = to_device(obj, device)
            return moved if dtype is None else cast(moved, dtype)
        wanted = dtype is not None and dtype is not obj.dtype
        if wanted and copy is False:
            raise ValueError(f"A {obj.dtype.name} array becomes {dtype.name} only by a copy, and "
                             "copy=False was asked for.")
        if wanted:
            return cast(obj, dtype)
        return obj.copy() if copy else obj
    python = is_python(obj)
    if not isinstance(obj, numpy.ndarray):
        if copy is False and not hasattr(obj, "__array__") and not hasattr(obj, "__dlpack__") \
                and not isinstance(obj, (bytes, bytearray, memoryview)):
            raise ValueError(f"A {type(obj).__name__} becomes an array only by a copy, and "
                             "copy=False was asked for.")
        if hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
            value = _dlpack.to_numpy(obj)
        else:
            value = numpy.asarray(checked_interface(obj))
    else:
        value = obj
    if value.ndim > 64:
        raise ValueError(f"An array has at most 64 dimensions, not {value.ndim}.")
    if value.dtype == object and python:
        raise OverflowError(f"A Python integer of {shown(obj)} doesn't fit in int64.")
    found = numpy_dtype(value)
    if dtype is None:
        dtype = _defaults[found.kind] if python and found.kind in _defaults else found
    elif python and found.kind in "iu" and dtype.kind in "iu" and value.size:
        info = dtypes.iinfo(dtype)
        for extreme in (int(value.min()), int(value.max())):
            if not info.min <= extreme <= info.max:
                raise OverflowError(f"The Python integer {extreme} doesn't fit in {dtype.name}, "
                                    f"which holds {info.min} to {info.max}.")
    if found.kind == "c" and dtype.kind != "c":
        raise TypeError(f"Complex numbers can't be cast to {dtype.name}; expected a complex dtype, "
                        "or the real or imag part.")
    if copy is False:
        if dtype is not found or not value.dtype.isnative:
            raise ValueError(f"An array of NumPy's dtype {value.dtype} becomes {dtype.name} only "
                             "by a copy, and copy=False was asked for.")
        return borrow(value, dtype_number(dtype), stream)
    return copy_in(value, dtype_number(dtype), stream)


def from_scalar(value, dtype):
    """Return a 0-d array of a Python scalar."""
    if isinstance(value, int):
        dtypes.with_scalar(dtype, value)  # whether it fits
    return copy_in(numpy.asarray(value, dtype=dtype.numpy), dtype_number(dtype), current_stream())


def as_operand(obj):
    """Return what an operator takes besides arrays and Python scalars; None if it doesn't."""
    if isinstance(obj, (numpy.ndarray, numpy.generic)) or hasattr(obj, "__dlpack__"):
        return asarray(obj)
    if isinstance(obj, (int, float, complex)):
        return asarray(obj)
    return None


def from_dlpack(obj, *, device=None, copy=None):
    """Return an array from an object with ``__dlpack__``.

    Parameters
    ----------
    obj : object
        On the CPU.
    device : Device or str, optional
    copy : bool, optional
        As in `asarray`.

    Returns
    -------
    Array
    """
    if isinstance(obj, Array):
        return asarray(obj, device=device, copy=copy)
    return asarray(_dlpack.to_numpy(obj), device=device, copy=copy)


def represent(Array x):
    """Return the text of ``repr(x)``."""
    body = numpy.array2string(to_numpy(x), separator=", ", prefix="array(")
    return f"array({body}, dtype={x.dtype.name})"


def restore(value):
    """Return the array that was pickled."""
    return asarray(value)


def namespace(api_version):
    """Return the module that implements the Array API for arrays."""
    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"nitinol follows the Array API standard 2024.12, not {api_version!r}.")
    import nitinol
    return nitinol


def to_device(Array x, device):
    """Return `x` on `device`."""
    wanted = wrap_device((<Device> Device(device)).device)
    if wanted == x.device:
        return x
    return apply("copy", (x,), x.shape, x.dtype, device=wanted)
