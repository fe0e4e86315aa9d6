"""Turns the arguments of public functions into arrays, axes and shapes, or raises at once."""

import functools
import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeVar
from typing import cast as cast_type

from numpy.exceptions import AxisError

from nitinol import dtypes
from nitinol._array import Array
from nitinol._device import Device
from nitinol._interop import asarray, from_scalar
from nitinol._operations import apply, is_contiguous, layout, view
from nitinol._stream import default_device, default_stream

_Make = TypeVar("_Make", bound=Callable[..., Array])
_DEFAULTS = {kind: dtypes.as_dtype(kind) for kind in (bool, int, float, complex)}


def array_of(x: Any, dtype: Any = None) -> Array:
    """`x` itself when it is an Array; else an array made of it."""
    if isinstance(x, Array):
        return x
    if type(x) in _DEFAULTS and not (dtype is None and _is_large(x)):
        return from_scalar(x, _DEFAULTS[type(x)] if dtype is None else dtype)
    return asarray(x, dtype)


def _is_large(x: Any) -> bool:
    """Whether x is a Python integer beyond the default dtype, of which `asarray` knows more."""
    return type(x) is int and not -(2**63) <= x < 2**63


def placed(make: _Make) -> _Make:
    """Make a creation function honour its `device`: what it makes goes there."""

    @functools.wraps(make)
    def on_device(*args: Any, device: Any = None, **kwargs: Any) -> Any:
        if device is None or Device(device) == default_device():
            return make(*args, **kwargs)
        with default_stream(device):
            return make(*args, **kwargs)

    return cast_type(_Make, on_device)


def integer_of(value: Any, what: str) -> int:
    """A Python integer of whatever is one; `what` begins the sentence that refuses others."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{what} is an integer; {value!r} was given.") from None


def axis_of(axis: Any, ndim: int) -> int:
    """`axis` counted from the front."""
    index = integer_of(axis, "An axis")
    if not -ndim <= index < ndim:
        expected = f"expected {-ndim} to {ndim - 1}" if ndim else "it has no axes"
        raise AxisError(
            f"Axis {index} is out of range for an array of {ndim} dimensions; {expected}."
        )
    return index + ndim if index < 0 else index


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes meant by None (all), an integer or a sequence, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, Sequence):
        return (axis_of(axis, ndim),)
    axes = tuple(axis_of(each, ndim) for each in axis)
    if len(set(axes)) != len(axes):
        raise ValueError(f"Axes {tuple(axis)} name an axis twice; expected each axis once.")
    return axes


def shape_of(shape: Any) -> tuple[int, ...]:
    """A shape from an integer or a sequence of non-negative integers."""
    sizes = shape if isinstance(shape, Sequence) else (shape,)
    try:
        result = tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise TypeError(f"A shape is an integer or a tuple of them; {shape!r} was given.") from None
    for size in result:
        if size < 0:
            raise ValueError(f"Shape {result} holds {size}; expected sizes of 0 or more.")
    return result


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `shapes` broadcast to."""
    result: list[int] = []
    for shape in shapes:
        if len(shape) > len(result):
            result = [1] * (len(shape) - len(result)) + result
        for i, size in enumerate(reversed(shape), 1):
            if result[-i] == 1:
                result[-i] = size
            elif size not in (1, result[-i]):
                listed = ", ".join(map(str, shapes))
                raise ValueError(
                    f"Shapes {listed} can't be broadcast together: axis {-i} has the sizes "
                    f"{result[-i]} and {size}, expected equal sizes or 1."
                )
    return tuple(result)


def fresh(x: Array) -> Array:
    """Another handle to the value of `x`: ``y[i] = v`` on the one leaves the other alone."""
    return view(x, *layout(x))


def cast(x: Array, dtype: dtypes.dtype) -> Array:
    """`x` as `dtype`; `x` itself when it is of that dtype."""
    if x.dtype is dtype:
        return x
    if x.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(
            f"A {x.dtype.name} array can't be cast to {dtype.name}; expected a complex dtype, or "
            f"the real or imag part."
        )
    return apply("cast", (x,), x.shape, dtype)


def promoted(*operands: Any) -> list[Array]:
    """The operands, arrays and Python scalars, as arrays of the one dtype they promote to."""
    first = operands[0].dtype if isinstance(operands[0], Array) else None
    if all(isinstance(each, Array) and each.dtype is first for each in operands):
        return list(operands)
    known = [
        each if isinstance(each, Array | bool | int | float | complex) else asarray(each)
        for each in operands
    ]
    target = dtypes.result_type(*known)
    return [
        cast(each, target) if isinstance(each, Array) else array_of(each, target) for each in known
    ]


def permuted(x: Array, axes: Sequence[int]) -> Array:
    """A view whose axis i is axis ``axes[i]`` of `x`."""
    shape, strides, offset = layout(x)
    return view(x, tuple(shape[a] for a in axes), tuple(strides[a] for a in axes), offset)


def broadcast_view(x: Array, shape: tuple[int, ...]) -> Array:
    """A view of the `shape` that `x` is known to broadcast to, by strides of 0."""
    if (size := size_of(shape) * x.itemsize) >= 2**63:
        raise ValueError(
            f"An array of shape {shape} and dtype {x.dtype.name} takes {size} bytes; expected less "
            f"than 2**63."
        )
    old, strides, offset = layout(x)
    lead = len(shape) - len(old)
    kept = tuple(
        0 if size != wanted else stride
        for size, stride, wanted in zip(old, strides, shape[lead:], strict=True)
    )
    return view(x, shape, (0,) * lead + kept, offset)


def _row_major(shape: Sequence[int]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def strides_for(
    old: Sequence[int], strides: Sequence[int], new: Sequence[int]
) -> tuple[int, ...] | None:
    """The strides that show elements laid out as (`old`, `strides`) in the shape `new`, row-major.

    Both shapes have the same number of elements. None when no strides do: a copy is needed.
    """
    if 0 in old:
        return _row_major(new)
    # Runs of axes that lie without a gap are one axis (size, stride) of the storage.
    runs: list[list[int]] = []
    for size, stride in zip(old, strides, strict=True):
        if size == 1:
            continue
        if runs and runs[-1][1] == size * stride:
            runs[-1][0] *= size
            runs[-1][1] = stride
        else:
            runs.append([size, stride])
    result = [0] * len(new)
    i = len(new) - 1
    for size, stride in reversed(runs):
        # The new axes, from the last one, must split this run exactly.
        left = size
        while left > 1:
            if new[i] == 1:
                result[i] = stride
            else:
                if left % new[i]:
                    return None
                result[i] = stride
                stride *= new[i]
                left //= new[i]
            i -= 1
    # The rest of the axes have the size 1: any stride does, row-major is the tidy one.
    for j in range(i, -1, -1):
        result[j] = result[j + 1] * new[j + 1] if j + 1 < len(new) else 1
    return tuple(result)


def reshaped(x: Array, shape: tuple[int, ...], copy: bool | None = None) -> Array:
    """`x` in a `shape` of the same size: a view where strides allow it, or else a copy.

    With `copy` True always a copy; with False a ValueError where one would be needed.
    """
    old, strides, offset = layout(x)
    if not copy:
        found = _row_major(shape) if is_contiguous(x) else strides_for(old, strides, shape)
        if found is not None:
            return view(x, shape, found, offset)
        if copy is False:
            raise ValueError(
                f"An array of shape {x.shape} with strides {tuple(strides)} can't be seen in the "
                f"shape {shape} without a copy, and copy=False was given."
            )
    made = apply("copy", (x,), x.shape, x.dtype)
    return view(made, shape, _row_major(shape), 0)


def size_of(shape: Sequence[int]) -> int:
    """The number of elements of `shape`."""
    return prod(shape)
