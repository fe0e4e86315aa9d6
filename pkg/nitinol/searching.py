"""Finds elements: where they are greatest, which are not zero, where they would go."""

from typing import Any

import numpy

from nitinol import dtypes
from nitinol._arguments import array_of, axes_of, axis_of, permuted, promoted, reshaped
from nitinol._array import Array
from nitinol._interop import asarray, to_numpy
from nitinol._operations import apply, elementwise
from nitinol.statistical import Axes, cast_to_bool, reduced


def _arg_extreme(op: str, x: Any, axis: int | None, keepdims: bool) -> Array:
    x = array_of(x)
    if x.dtype.kind == "c":
        raise TypeError(f"{op} takes real arrays; it was given a {x.dtype.name} one.")
    axes = axes_of(None, x.ndim) if axis is None else (axis_of(axis, x.ndim),)
    if 0 in (x.shape[i] for i in axes):
        raise ValueError(
            f"{op} over axis {axis} of an array of shape {x.shape} has no elements to choose from; "
            f"expected at least one."
        )
    if axis is None:
        found = apply(op, (reshaped(x, (x.size,)),), (), dtypes.int64, (1,))
        return reshaped(found, (1,) * x.ndim) if keepdims else found
    kept = [i for i in range(x.ndim) if i != axes[0]]
    outer = tuple(x.shape[i] for i in kept)
    found = apply(op, (permuted(x, (*kept, axes[0])),), outer, dtypes.int64, (int(not outer),))
    if keepdims:
        found = reshaped(found, (*x.shape[: axes[0]], 1, *x.shape[axes[0] + 1 :]))
    return found


def argmax(x: Array, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """Find the index of the greatest element: the first of equals, or of the first NaN.

    Parameters
    ----------
    x : Array
        Real.
    axis : int, optional
        By default the index is into the flat array.
    keepdims : bool
        Whether the searched axes stay, with size 1.

    Returns
    -------
    Array
        ``int64``.

    Raises
    ------
    ValueError
        If there are no elements.
    """
    return _arg_extreme("argmax", x, axis, keepdims)


def argmin(x: Array, /, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """Find the index of the smallest element; as `argmax` otherwise."""
    return _arg_extreme("argmin", x, axis, keepdims)


def count_nonzero(x: Array, /, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Count the elements that are not zero, as ``int64``."""
    return reduced("sum", cast_to_bool(array_of(x)), axis, keepdims, dtypes.int64)


def nonzero(x: Array, /) -> tuple[Array, ...]:
    """Give the indices of the elements that are not zero, an ``int64`` array for each axis.

    The shape depends on the values, so this evaluates `x` and waits for it.

    Raises
    ------
    ValueError
        If `x` is 0-d.
    DeviceError
        If what `x` depends on has failed.
    """
    x = array_of(x)
    if x.ndim == 0:
        raise ValueError("nonzero takes an array of at least 1 dimension; it was given a 0-d one.")
    return tuple(asarray(each, dtypes.int64) for each in numpy.nonzero(to_numpy(x)))


def where(condition: Any, x1: Any, x2: Any, /) -> Array:
    """Take elements of `x1` where the condition holds, and of `x2` elsewhere.

    Parameters
    ----------
    condition : Array
        Numbers count as true where they aren't zero.
    x1, x2 : Array, or scalar
        Broadcast with the condition; their dtypes promote.
    """
    return elementwise("where", cast_to_bool(array_of(condition)), *promoted(x1, x2))


def searchsorted(
    x1: Array, x2: Any, /, *, side: str = "left", sorter: Array | None = None
) -> Array:
    """Find where values would go into a sorted array.

    Parameters
    ----------
    x1 : Array
        1-d, real, in ascending order (by way of `sorter`, if given).
    x2 : Array or scalar
        The values, of any shape.
    side : {"left", "right"}
        Before or after elements that are equal.
    sorter : Array, optional
        Integer indices that sort `x1`.

    Returns
    -------
    Array
        ``int64``, of the shape of `x2`.

    Raises
    ------
    ValueError
        If `x1` isn't 1-d or `side` is neither.
    """
    x1 = array_of(x1)
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted was given side={side!r}; expected 'left' or 'right'.")
    if x1.ndim != 1:
        raise ValueError(f"searchsorted takes a 1-d sorted array; its shape is {x1.shape}.")
    if sorter is not None:
        from nitinol.indexing import take

        x1 = take(x1, sorter, axis=0)
    x1, x2 = promoted(x1, x2)
    if x1.dtype.kind == "c":
        raise TypeError(f"searchsorted takes real arrays; it was given {x1.dtype.name}.")
    return apply("searchsorted", (x1, x2), x2.shape, dtypes.int64, (int(side == "right"),))
