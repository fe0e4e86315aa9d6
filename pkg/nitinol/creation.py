"""Makes arrays: from values, from other libraries' arrays, filled, counted, and from a pattern."""

import math
from collections.abc import Callable
from typing import Any

import numpy

from nitinol import _interop, dtypes
from nitinol._arguments import (
    array_of,
    broadcast_view,
    cast,
    integer_of,
    permuted,
    placed,
    reshaped,
    shape_of,
)
from nitinol._array import Array
from nitinol._interop import asarray
from nitinol._operations import apply, elementwise
from nitinol._stream import default_device, default_stream
from nitinol._text import shown
from nitinol.dtypes import as_dtype


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    """Make an array of an object of another library that speaks DLPack.

    Parameters
    ----------
    x : object
        With ``__dlpack__`` and ``__dlpack_device__``.
    device : Device, optional
        Where the array lives.
    copy : bool, optional
        As in `asarray`; None shares the memory where it can be shared.

    Raises
    ------
    TypeError
        If `x` doesn't speak DLPack.
    """
    if not hasattr(x, "__dlpack__"):
        raise TypeError(
            f"from_dlpack takes an object with __dlpack__; {type(x).__name__} has none."
        )
    return _interop.from_dlpack(x, device=device, copy=copy)


@placed
def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array of `shape` with one value everywhere; it takes the memory of one element.

    Parameters
    ----------
    shape : int or tuple of int
    fill_value : scalar or 0-d Array
    dtype : dtype, optional
        By default that of the value; for a Python scalar the default of its kind.
    device : Device, optional

    Raises
    ------
    ValueError
        If `fill_value` isn't a scalar, or a size is negative.
    """
    wanted = shape_of(shape)
    target = None if dtype is None else as_dtype(dtype)
    if isinstance(fill_value, complex) and target is not None and target.kind != "c":
        raise TypeError(f"{fill_value!r} was given to fill a {target.name} array; expected a real.")
    value = array_of(fill_value, target)
    if value.ndim:
        raise ValueError(f"full takes a scalar to fill with; its shape is {value.shape}.")
    if target is not None:
        value = cast(value, target)
    return broadcast_view(value, wanted)


def zeros(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array of zeros, ``float32`` unless `dtype` says otherwise."""
    return full(shape, 0, dtype=dtypes.DEFAULT_FLOAT if dtype is None else dtype, device=device)


def ones(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array of ones, ``float32`` unless `dtype` says otherwise."""
    return full(shape, 1, dtype=dtypes.DEFAULT_FLOAT if dtype is None else dtype, device=device)


def empty(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array whose values don't matter: zeros, as nitinol shows no stale memory."""
    return zeros(shape, dtype=dtype, device=device)


def full_like(x: Array, /, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array like `x` in shape and dtype, with one value everywhere."""
    x = array_of(x)
    where = x.device if device is None else device
    return full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype, device=where)


def zeros_like(x: Array, /, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array like `x` in shape and dtype, of zeros."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Array, /, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array like `x` in shape and dtype, of ones."""
    return full_like(x, 1, dtype=dtype, device=device)


def empty_like(x: Array, /, dtype: Any = None, *, device: Any = None) -> Array:
    """Make an array like `x` in shape and dtype, whose values don't matter: zeros."""
    return full_like(x, 0, dtype=dtype, device=device)


@placed
def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
) -> Array:
    """Count from `start` to before `stop` by `step`.

    Parameters
    ----------
    start : int or float
        The first value; the end when `stop` is None, the count then starts at 0.
    stop : int or float, optional
        The end, not included.
    step : int or float
        Not 0; may be negative.
    dtype : dtype, optional
        By default ``int64`` when all three are integers, or else ``float32``.
    device : Device, optional

    Raises
    ------
    ValueError
        If `step` is 0 or a bound isn't finite.
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (_number(each) for each in (start, stop, step))
    if step == 0:
        raise ValueError("arange was given the step 0; expected another number.")
    integral = all(isinstance(each, int) for each in (start, stop, step))
    if integral:
        length = int(max(0, -((start - stop) // step)))
    else:
        span = (stop - start) / step
        if not math.isfinite(span):
            raise ValueError(
                f"arange was given start {start}, stop {stop}, step {step}; expected finite "
                f"numbers."
            )
        length = max(0, math.ceil(span))
    if length >= 2**63:
        raise ValueError(
            f"arange was given start {shown(start)}, stop {shown(stop)}, step {shown(step)}, which "
            f"makes 2**63 elements or more; expected fewer."
        )
    target = dtypes.DEFAULT_INT if integral else dtypes.DEFAULT_FLOAT
    if dtype is not None:
        target = as_dtype(dtype)
    if target.kind in "iu":
        # As in NumPy, the first two values are made integers and set the pace.
        first = int(start)
        pace = int(start + step) - first
        if length:
            _check_fits(first, target)
            _check_fits(first + pace * (length - 1), target)
        return apply("arange", (), (length,), target, (_as_int64(first), _as_int64(pace)))
    if target in (dtypes.float32, dtypes.float64):
        return apply("arange", (), (length,), target, (), (float(start), float(step)))

    def count() -> Array:
        bounds = (float(start), float(step))
        return cast(apply("arange", (), (length,), dtypes.float64, (), bounds), target)

    return _in_double(count)


def _in_double(make: Callable[[], Array]) -> Array:
    """What `make` computes in float64, also for a device that lacks it: on the CPU then."""
    device = default_device()
    if device.supports(dtypes.float64):
        return make()
    with default_stream("cpu"):
        made = make()
    return made.to_device(device)


def _number(value: Any) -> int | float:
    if isinstance(value, Array | numpy.generic | numpy.ndarray):
        value = value.item()
    if isinstance(value, int | float):
        return value
    raise TypeError(f"arange takes real numbers; {value!r} was given.")


def _check_fits(value: int, target: dtypes.dtype) -> None:
    info = dtypes.iinfo(target)
    if not info.min <= value <= info.max:
        raise OverflowError(
            f"arange reaches {shown(value)}, which doesn't fit in {target.name}: it holds "
            f"{info.min} to {info.max}."
        )


def _as_int64(value: int) -> int:
    """The signed number with the low 64 bits of `value`."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


@placed
def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
) -> Array:
    """Give `num` evenly spaced numbers from `start` to `stop`.

    Parameters
    ----------
    start, stop : int, float or complex
    num : int
        How many, 0 or more.
    dtype : dtype, optional
        By default ``float32``, or ``complex64`` when a bound is complex.
    device : Device, optional
    endpoint : bool
        Whether `stop` is the last one, or would be the next after it.

    Raises
    ------
    ValueError
        If `num` is negative.
    """
    (num,) = shape_of(num)
    is_complex = isinstance(start, complex) or isinstance(stop, complex)
    if dtype is None:
        target = dtypes.DEFAULT_COMPLEX if is_complex else dtypes.DEFAULT_FLOAT
    else:
        target = as_dtype(dtype)
    if is_complex and target.kind != "c":
        raise TypeError(f"linspace was given complex bounds and {target.name}; expected complex.")
    wide = dtypes.complex128 if is_complex else dtypes.float64
    parts = num - 1 if endpoint else num

    def spread() -> Array:
        first, last = (cast(array_of(value, wide), wide) for value in (start, stop))
        index = cast(arange(num), wide)
        # Dividing last keeps the values that are exact exact; the end is set, not computed.
        values = first + (last - first) * index / max(parts, 1)
        if endpoint and num > 1:
            values = elementwise("where", arange(num) == num - 1, last, values)
        if target.kind in "iu":
            values = elementwise("floor", values)
        return cast(values, target)

    return _in_double(spread)


@placed
def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
) -> Array:
    """Make a matrix with ones on a diagonal and zeros elsewhere.

    Parameters
    ----------
    n_rows : int
    n_cols : int, optional
        As many as rows by default.
    k : int
        The diagonal: 0 is the main one, positive above it, negative below.
    dtype : dtype, optional
        ``float32`` by default.
    device : Device, optional
    """
    n_cols = n_rows if n_cols is None else n_cols
    target = dtypes.DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    rows, columns = shape_of((n_rows, n_cols))
    k = integer_of(k, "The diagonal k")
    return cast(_diagonal_distance(rows, columns) == k, target)


def _diagonal_distance(rows: int, columns: int) -> Array:
    """Column minus row of each element of a matrix."""
    return arange(columns) - reshaped(arange(rows), (rows, 1))


def tril(x: Array, /, *, k: int = 0) -> Array:
    """Keep the lower triangle of the last two axes, on and below diagonal `k`; zeros elsewhere."""
    return _triangle("tril", "less_equal", x, k)


def triu(x: Array, /, *, k: int = 0) -> Array:
    """Keep the upper triangle of the last two axes, on and above diagonal `k`; zeros elsewhere."""
    return _triangle("triu", "greater_equal", x, k)


def _triangle(name: str, keep: str, x: Array, k: int) -> Array:
    x = array_of(x)
    if x.ndim < 2:
        raise ValueError(f"{name} takes an array of at least 2 dimensions; its shape is {x.shape}.")
    k = integer_of(k, "The diagonal k")
    mask = elementwise(keep, _diagonal_distance(*x.shape[-2:]), k)
    return elementwise("where", mask, x, asarray(0, x.dtype))


def meshgrid(*arrays: Array, indexing: str = "xy") -> tuple[Array, ...]:
    """Spread 1-d arrays over a grid, one result for each of them.

    Parameters
    ----------
    *arrays : Array
        1-d, of one dtype.
    indexing : {"xy", "ij"}
        ``"ij"`` gives axis i to array i; ``"xy"`` swaps the first two axes.

    Raises
    ------
    ValueError
        If an array isn't 1-d, the dtypes differ, or `indexing` is neither.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid was given indexing={indexing!r}; expected 'xy' or 'ij'.")
    known = [array_of(each) for each in arrays]
    for each in known:
        if each.ndim != 1:
            raise ValueError(f"meshgrid takes 1-d arrays; one has the shape {each.shape}.")
        if each.dtype is not known[0].dtype:
            raise ValueError(
                f"meshgrid takes arrays of one dtype; it was given {known[0].dtype.name} and "
                f"{each.dtype.name}."
            )
    count = len(known)
    shape = tuple(each.size for each in known)
    grids = [
        broadcast_view(reshaped(each, (each.size,) + (1,) * (count - 1 - i)), shape)
        for i, each in enumerate(known)
    ]
    if indexing == "xy" and count > 1:
        order = (1, 0, *range(2, count))
        grids = [permuted(each, order) for each in grids]
    return tuple(grids)
