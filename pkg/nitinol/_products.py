"""Products of arrays: of matrices, vectors and any pairs of axes."""

import builtins
import math
from collections.abc import Sequence

from nitinol._arguments import (
    axes_of,
    axis_of,
    broadcast_shape,
    broadcast_view,
    integer_of,
    permuted,
    promoted,
    reshaped,
)
from nitinol._array import Array
from nitinol._operations import apply, elementwise
from nitinol.manipulation import concat, expand_dims


def matmul(x1: Array, x2: Array, /) -> Array:
    """Multiply matrices; leading axes are batches that broadcast.

    Parameters
    ----------
    x1 : Array
        (..., m, k), or (k,) for a row that is dropped from the result.
    x2 : Array
        (..., k, n), or (k,) for a column that is dropped from the result.

    Returns
    -------
    Array
        (..., m, n), of the promoted dtype. Sums of integers wrap around; products of booleans are
        true where any pair is.

    Raises
    ------
    ValueError
        If an operand has no axes, or the sizes k differ, or the batches don't broadcast.
    """
    if isinstance(x1, Array) and isinstance(x2, Array) and x1.dtype is x2.dtype:
        a, b = x1, x2
        rows, columns = a.shape, b.shape
        if len(rows) == len(columns) == 2 and rows[1] == columns[0]:  # the common case, at once
            return apply("matmul", (a, b), (rows[0], columns[1]), a.dtype)
    else:
        a, b = promoted(x1, x2)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"matmul was given the shapes {a.shape} and {b.shape}; expected 1 dimension at least, "
            f"as in (m, k) and (k, n)."
        )
    left = expand_dims(a, 0) if a.ndim == 1 else a
    right = expand_dims(b, 1) if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"matmul was given the shapes {a.shape} and {b.shape}; expected {left.shape[-1]} rows "
            f"in the second, as the first has columns, and it has {right.shape[-2]}."
        )
    product = multiply(left, right)
    if a.ndim > 1 and b.ndim > 1:
        return product
    shape = product.shape[:-2]
    if a.ndim > 1:
        shape += product.shape[-2:-1]
    if b.ndim > 1:
        shape += product.shape[-1:]
    return reshaped(product, shape)


def multiply(a: Array, b: Array) -> Array:
    """The product of (..., m, k) and (..., k, n), known to have one dtype and one k."""
    batch = a.shape[:-2]
    if batch != b.shape[:-2]:
        batch = broadcast_shape(batch, b.shape[:-2])
        a = broadcast_view(a, batch + a.shape[-2:])
        b = broadcast_view(b, batch + b.shape[-2:])
    return apply("matmul", (a, b), (*batch, a.shape[-2], b.shape[-1]), a.dtype)


def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Sum conj(x1) * x2 over one axis.

    Parameters
    ----------
    x1, x2 : Array
        Their other axes broadcast.
    axis : int
        Negative, counted from the end of both; or non-negative if they have the same number of
        dimensions.

    Returns
    -------
    Array
        Without that axis, of the promoted dtype.

    Raises
    ------
    ValueError
        If the sizes of the axis differ, or the shapes don't broadcast.
    """
    a, b = promoted(x1, x2)
    if integer_of(axis, "An axis") >= 0 and a.ndim != b.ndim:
        raise ValueError(
            f"vecdot was given axis {axis} for the shapes {a.shape} and {b.shape}; expected a "
            f"negative axis for different numbers of dimensions."
        )
    first, second = axis_of(axis, a.ndim), axis_of(axis, b.ndim)
    if a.shape[first] != b.shape[second]:
        raise ValueError(
            f"vecdot was given the shapes {a.shape} and {b.shape}; expected equal sizes of axis "
            f"{axis}."
        )
    if a.dtype.kind == "c":
        a = elementwise("conj", a)
    rows = expand_dims(_last(a, first), -2)
    columns = expand_dims(_last(b, second), -1)
    product = multiply(rows, columns)
    return reshaped(product, product.shape[:-2])


def _last(x: Array, axis: int) -> Array:
    """A view with `axis` behind the others."""
    return permuted(x, (*(i for i in range(x.ndim) if i != axis), axis))


def outer(x1: Array, x2: Array, /) -> Array:
    """Multiply each element of one vector by each of another.

    Parameters
    ----------
    x1 : Array
        (m,)
    x2 : Array
        (n,)

    Returns
    -------
    Array
        (m, n)

    Raises
    ------
    ValueError
        If an operand is not a vector.
    """
    a, b = promoted(x1, x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(
            f"outer was given the shapes {a.shape} and {b.shape}; expected 1 dimension each."
        )
    return elementwise("multiply", expand_dims(a, 1), expand_dims(b, 0))


def tensordot(
    x1: Array, x2: Array, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Array:
    """Sum products over pairs of axes.

    Parameters
    ----------
    x1, x2 : Array
    axes : int or pair of sequences of int
        The last so many axes of `x1` with the first of `x2`; or which axes of `x1` and, one for
        one, of `x2`.

    Returns
    -------
    Array
        The remaining axes of `x1`, then those of `x2`.

    Raises
    ------
    ValueError
        If paired axes have different sizes, or `axes` doesn't pair axes.
    """
    a, b = promoted(x1, x2)
    if isinstance(axes, Sequence):
        if len(axes) != 2:
            raise ValueError(
                f"tensordot was given axes={axes!r}; expected an integer or two sequences."
            )
        first, second = axes_of(axes[0], a.ndim), axes_of(axes[1], b.ndim)
    else:
        count = integer_of(axes, "A number of axes")
        if not 0 <= count <= builtins.min(a.ndim, b.ndim):
            raise ValueError(
                f"tensordot was given axes={count} for the shapes {a.shape} and {b.shape}; "
                f"expected 0 to {builtins.min(a.ndim, b.ndim)}."
            )
        first, second = tuple(range(a.ndim - count, a.ndim)), tuple(range(count))
    sizes = tuple(a.shape[i] for i in first)
    if sizes != tuple(b.shape[i] for i in second):
        raise ValueError(
            f"tensordot was given the shapes {a.shape} and {b.shape} and the axes {first} and "
            f"{second}; expected axes of equal sizes."
        )
    free_a = tuple(i for i in range(a.ndim) if i not in first)
    free_b = tuple(i for i in range(b.ndim) if i not in second)
    shape_a = tuple(a.shape[i] for i in free_a)
    shape_b = tuple(b.shape[i] for i in free_b)
    depth = math.prod(sizes)
    left = reshaped(permuted(a, free_a + first), (math.prod(shape_a), depth))
    right = reshaped(permuted(b, second + free_b), (depth, math.prod(shape_b)))
    return reshaped(multiply(left, right), shape_a + shape_b)


def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of 3 elements.

    Parameters
    ----------
    x1, x2 : Array
        Arrays that broadcast.
    axis : int
        The axis of size 3, counted from the end if negative.

    Returns
    -------
    Array
        Of the broadcast shape.

    Raises
    ------
    ValueError
        If the axis doesn't have the size 3, or the shapes don't broadcast.
    """
    a, b = promoted(x1, x2)
    for each in (a, b):
        if each.shape[axis_of(axis, each.ndim)] != 3:
            raise ValueError(
                f"cross was given the shapes {a.shape} and {b.shape}; expected the size 3 for "
                f"axis {axis}."
            )
    shape = broadcast_shape(a.shape, b.shape)
    at = axis_of(axis, len(shape))
    if shape[at] != 3:
        raise ValueError(
            f"cross was given the shapes {a.shape} and {b.shape}; expected axis {axis} to name "
            f"the same axis of both."
        )
    left, right = (_last(broadcast_view(each, shape), at) for each in (a, b))
    parts = []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        parts.append(left[..., j : j + 1] * right[..., k : k + 1])
        parts[-1] = parts[-1] - left[..., k : k + 1] * right[..., j : j + 1]
    joined = concat(parts, axis=-1)
    last = len(shape) - 1
    order = [*range(at), last, *range(at, last)]
    return permuted(joined, order)
