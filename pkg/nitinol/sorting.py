"""Sorts arrays."""

from nitinol import dtypes
from nitinol._arguments import array_of, axis_of
from nitinol._array import Array
from nitinol.statistical import along_last


def _sorted(op: str, x: Array, axis: int, descending: bool, dtype: dtypes.dtype) -> Array:
    if x.dtype.kind == "c":
        raise TypeError(f"{op} takes real arrays; it was given a {x.dtype.name} one.")
    return along_last(op, x, axis_of(axis, x.ndim), dtype, (int(descending),))


def sort(x: Array, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """Sort the elements along an axis.

    Parameters
    ----------
    x : Array
        Real. NaN goes last in either direction.
    axis : int
    descending : bool
        Whether the greatest comes first.
    stable : bool
        Equal elements keep their order, whatever is asked.

    Raises
    ------
    TypeError
        If `x` is complex.
    """
    x = array_of(x)
    return _sorted("sort", x, axis, descending, x.dtype)


def argsort(x: Array, /, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Array:
    """Give the indices, ``int64``, that sort an array along an axis; parameters as in `sort`."""
    return _sorted("argsort", array_of(x), axis, descending, dtypes.int64)
