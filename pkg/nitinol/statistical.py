"""Reductions and running totals: sum, mean, max, all, softmax and their like.

A reduction takes ``axis`` (None for all axes, an integer or a tuple) and ``keepdims``. The result
depends on the values and the shape alone, not on how the array lies in memory.
"""

import builtins
from collections.abc import Sequence
from typing import Any

from nitinol import dtypes
from nitinol._arguments import (
    array_of,
    axes_of,
    axis_of,
    broadcast_view,
    cast,
    fresh,
    integer_of,
    permuted,
    reshaped,
    size_of,
)
from nitinol._array import Array
from nitinol._interop import asarray
from nitinol._operations import apply, elementwise
from nitinol.dtypes import as_dtype

Axes = int | tuple[int, ...] | None


def reduced(op: str, x: Array, axis: Axes, keepdims: bool, dtype: dtypes.dtype) -> Array:
    """`x` reduced by the kernel `op`, an associative one, over `axis`."""
    axes = axes_of(axis, x.ndim)
    final = tuple(
        1 if i in axes else size for i, size in enumerate(x.shape) if keepdims or i not in axes
    )
    # Each run of neighbouring axes is one reduction, the last run first: moving far axes
    # together would copy the whole array.
    left = sorted(axes)
    while left:
        run = [left.pop()]
        while left and left[-1] == run[0] - 1:
            run.insert(0, left.pop())
        kept = [i for i in range(x.ndim) if i not in run]
        outer = tuple([x.shape[i] for i in kept])
        joined = x if run[-1] == x.ndim - 1 else permuted(x, (*kept, *run))
        if len(run) > 1:
            joined = reshaped(joined, (*outer, size_of([x.shape[i] for i in run])))
        x = apply(op, (joined,), outer, dtype, (int(not outer),))
    if not axes:
        return cast(fresh(x), dtype)
    return reshaped(x, final) if x.shape != final else x


def _require(name: str, x: Array, kinds: str, expected: str) -> None:
    if x.dtype.kind not in kinds:
        raise TypeError(f"{name} takes {expected} arrays; it was given a {x.dtype.name} one.")


def _require_elements(name: str, x: Array, axis: Axes) -> None:
    """Raise where an empty set would have to have a greatest element."""
    if 0 in (x.shape[i] for i in axes_of(axis, x.ndim)):
        raise ValueError(
            f"{name} over axis {axis} of an array of shape {x.shape} has no elements to choose "
            f"from; expected at least one."
        )


def _accumulator(x: Array, dtype: Any) -> dtypes.dtype:
    """The dtype of a sum or product: integers narrower than the default one grow to it."""
    if dtype is not None:
        target = as_dtype(dtype)
        if target is dtypes.bool:
            raise TypeError("Sums and products are numbers; bool was asked for.")
        return target
    if x.dtype.kind in "bi":
        return dtypes.int64
    return dtypes.uint64 if x.dtype.kind == "u" else x.dtype


def _accumulated(x: Array, target: dtypes.dtype) -> Array:
    """`x` for a kernel that accumulates in `target`; integers it widens as it reads."""
    return x if x.dtype.kind in "biu" and target.kind in "iu" else cast(x, target)


def sum(x: Array, /, axis: Axes = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    """Add up elements.

    Parameters
    ----------
    x : Array
    axis : int or tuple of int, optional
        All axes by default.
    dtype : dtype, optional
        Of the elements before they are added, and of the result. By default bools and signed
        integers give ``int64``, unsigned ones ``uint64``, and others their own.
    keepdims : bool
        Whether the reduced axes stay, with size 1.
    """
    x = array_of(x)
    target = _accumulator(x, dtype)
    return reduced("sum", _accumulated(x, target), axis, keepdims, target)


def prod(x: Array, /, axis: Axes = None, *, dtype: Any = None, keepdims: bool = False) -> Array:
    """Multiply elements; parameters and dtypes are those of `sum`."""
    x = array_of(x)
    target = _accumulator(x, dtype)
    return reduced("prod", _accumulated(x, target), axis, keepdims, target)


def _extreme(op: str, x: Any, axis: Axes, keepdims: bool) -> Array:
    x = array_of(x)
    _require(op, x, "biuf", "real")
    _require_elements(op, x, axis)
    return reduced(op, x, axis, keepdims, x.dtype)


def max(x: Array, /, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Find the greatest element; NaN if there is one.

    Raises
    ------
    ValueError
        If there are no elements.
    TypeError
        If `x` is complex.
    """
    return _extreme("max", x, axis, keepdims)


def min(x: Array, /, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Find the smallest element; NaN if there is one.

    Raises
    ------
    ValueError
        If there are no elements.
    TypeError
        If `x` is complex.
    """
    return _extreme("min", x, axis, keepdims)


def all(x: Array, /, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Tell whether every element is true, that is, not zero; True where there is none."""
    x = cast_to_bool(array_of(x))
    return reduced("all", x, axis, keepdims, dtypes.bool)


def any(x: Array, /, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Tell whether some element is true, that is, not zero; False where there is none."""
    x = cast_to_bool(array_of(x))
    return reduced("any", x, axis, keepdims, dtypes.bool)


def cast_to_bool(x: Array) -> Array:
    """Where `x` is not zero; NaN isn't."""
    return x if x.dtype is dtypes.bool else elementwise("not_equal", x, asarray(0, x.dtype))


def _floating(x: Array) -> Array:
    return x if x.dtype.kind in "fc" else cast(x, dtypes.DEFAULT_FLOAT)


def _wide(x: Array) -> Array:
    """`x` in a dtype to average in: sums of ``float16`` would overflow."""
    return cast(x, dtypes.float32) if x.dtype is dtypes.float16 else x


def _count(x: Array, axis: Axes) -> int:
    return size_of([x.shape[i] for i in axes_of(axis, x.ndim)])


def mean(x: Array, /, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Average elements; NaN where there is none.

    Parameters
    ----------
    x : Array
        Integers and bools are averaged as ``float32``.
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool
        Whether the reduced axes stay, with size 1.
    """
    x = _floating(array_of(x))
    wide = _wide(x)
    total = reduced("sum", wide, axis, keepdims, wide.dtype)
    return cast(total / float(_count(x, axis)), x.dtype)


def var(
    x: Array, /, axis: Axes = None, *, correction: float = 0.0, keepdims: bool = False
) -> Array:
    """Give the variance: the mean squared distance from the mean.

    Parameters
    ----------
    x : Array
        Integers and bools count as ``float32``; the variance of complex numbers is real.
    axis : int or tuple of int, optional
        All axes by default.
    correction : float
        Taken off the number of elements that the sum is divided by: 1 for an unbiased estimate.
    keepdims : bool
        Whether the reduced axes stay, with size 1.
    """
    x = _floating(array_of(x))
    spread = _wide(x)
    spread = spread - mean(spread, axis=axis, keepdims=True)
    if spread.dtype.kind == "c":
        re, im = elementwise("real", spread), elementwise("imag", spread)
        squares, final = re * re + im * im, re.dtype
    else:
        squares, final = spread * spread, x.dtype
    total = reduced("sum", squares, axis, keepdims, squares.dtype)
    freedom = builtins.max(_count(x, axis) - correction, 0.0)
    return cast(total / float(freedom), final)


def std(
    x: Array, /, axis: Axes = None, *, correction: float = 0.0, keepdims: bool = False
) -> Array:
    """Give the standard deviation, the square root of `var`, whose parameters it takes."""
    return elementwise("sqrt", var(x, axis=axis, correction=correction, keepdims=keepdims))


def logsumexp(x: Array, /, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Give log(sum(exp(x))) without overflow on the way; -inf where there are no elements.

    Parameters
    ----------
    x : Array
        Real; integers and bools count as ``float32``.
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool
        Whether the reduced axes stay, with size 1.
    """
    x = array_of(x)
    _require("logsumexp", x, "biuf", "real")
    x = _floating(x)
    return reduced("logsumexp", x, axis, keepdims, x.dtype)


def softmax(x: Array, /, axis: int | tuple[int, ...] = -1) -> Array:
    """Give exp(x) / sum(exp(x)) along `axis`, without overflow on the way.

    Parameters
    ----------
    x : Array
        Real; integers and bools count as ``float32``.
    axis : int or tuple of int
    """
    x = array_of(x)
    _require("softmax", x, "biuf", "real")
    x = _floating(x)
    axes = axes_of(axis, x.ndim)
    if not axes:
        return elementwise("divide", x, x)
    if axes == (x.ndim - 1,):
        return apply("softmax", (x,), x.shape, x.dtype)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = (*kept, *axes)
    lined_up = permuted(x, order)
    joined = reshaped(lined_up, (*(x.shape[i] for i in kept), _count(x, axes)))
    result = apply("softmax", (joined,), joined.shape, x.dtype)
    return permuted(reshaped(result, lined_up.shape), _inverse(order))


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def along_last(op: str, x: Array, axis: int, dtype: dtypes.dtype, ints: tuple = ()) -> Array:
    """The kernel `op`, which works along the last axis and keeps the shape, along `axis`."""
    if axis == x.ndim - 1:
        return apply(op, (x,), x.shape, dtype, ints)
    order = (*range(axis), *range(axis + 1, x.ndim), axis)
    moved = permuted(x, order)
    return permuted(apply(op, (moved,), moved.shape, dtype, ints), _inverse(order))


def _cumulative(
    op: str, start: int, x: Any, axis: int | None, dtype: Any, include_initial: bool
) -> Array:
    x = array_of(x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(
                f"{op} without an axis takes a 1-d array; its shape is {x.shape}, name an axis."
            )
        axis = 0
    where = axis_of(axis, x.ndim)
    target = _accumulator(x, dtype)
    result = along_last(op, _accumulated(x, target), where, target)
    if include_initial:
        shape = (*x.shape[:where], 1, *x.shape[where + 1 :])
        initial = broadcast_view(asarray(start, target), shape)
        total = (*x.shape[:where], x.shape[where] + 1, *x.shape[where + 1 :])
        result = apply("concatenate", (initial, result), total, target, (where,))
    return result


def cumulative_sum(
    x: Array, /, axis: int | None = None, *, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Give the running sum along an axis.

    Parameters
    ----------
    x : Array
    axis : int, optional
        Needed unless `x` is 1-d.
    dtype : dtype, optional
        As in `sum`.
    include_initial : bool
        Whether the result begins with 0, and is one longer.

    Raises
    ------
    ValueError
        If `axis` is None and `x` isn't 1-d.
    """
    return _cumulative("cumulative_sum", 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Array, /, axis: int | None = None, *, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Give the running product along an axis; as `cumulative_sum`, with 1 for the initial value."""
    return _cumulative("cumulative_prod", 1, x, axis, dtype, include_initial)


def diff(
    x: Array,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Array | None = None,
    append: Array | None = None,
) -> Array:
    """Give the differences of neighbours along an axis, `n` times over.

    Parameters
    ----------
    x : Array
    axis, n : int
    prepend, append : Array, optional
        What comes before and after `x` along the axis, unless `n` is 0; of the shape of `x`
        elsewhere.

    Raises
    ------
    ValueError
        If `n` is negative, or the shapes don't match.
    """
    from nitinol.indexing import getitem
    from nitinol.manipulation import concat

    x, n = array_of(x), integer_of(n, "The number of differences")
    joined = [array_of(each) for each in (prepend, x, append) if each is not None]
    if len(joined) > 1 and n > 0:
        axis_of(axis, x.ndim)
        x = concat(joined, axis=axis)
    where = axis_of(axis, x.ndim)
    if n < 0:
        raise ValueError(f"diff was given n={n}; expected 0 or more.")
    before = (slice(None),) * where
    op = "not_equal" if x.dtype is dtypes.bool else "subtract"
    result = fresh(x)
    for _ in range(n):
        following = getitem(result, (*before, slice(1, None)))
        previous = getitem(result, (*before, slice(None, -1)))
        result = elementwise(op, following, previous)
    return result
