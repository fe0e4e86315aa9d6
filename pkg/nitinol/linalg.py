"""Products of matrices, and the linear algebra built on them.

A matrix that can't be inverted or factorised is found when the array is evaluated: reading it
raises `LinAlgError`, which names the matrix of the batch. What shapes and dtypes tell raises at
once. Integers given to a function of floating-point numbers count as ``float32``.
"""

import builtins
import math
from typing import Any

from nitinol import dtypes
from nitinol._arguments import (
    array_of,
    axes_of,
    broadcast_shape,
    broadcast_view,
    cast,
    fresh,
    integer_of,
    permuted,
    promoted,
    reshaped,
)
from nitinol._array import Array
from nitinol._operations import apply, elementwise, layout, view
from nitinol._products import cross, matmul, multiply, outer, tensordot, vecdot
from nitinol.manipulation import expand_dims, matrix_transpose
from nitinol.statistical import max, min, sum

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "outer",
    "solve",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


def matrix_transpose_of_two(x: Array) -> Array:
    """The transpose of an array of exactly 2 dimensions, for ``x.T``."""
    if x.ndim != 2:
        raise ValueError(
            f"x.T takes an array of 2 dimensions; its shape is {x.shape}. Expected x.mT or "
            f"permute_dims for others."
        )
    return permuted(x, (1, 0))


def _square(name: str, x: Any) -> Array:
    """`x` as an array of square matrices that LAPACK takes."""
    x = array_of(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"{name} was given the shape {x.shape}; expected square matrices (..., n, n)."
        )
    return _floating(name, x)


def _floating(name: str, x: Array) -> Array:
    if x.dtype.kind in "biu":
        return cast(x, dtypes.DEFAULT_FLOAT)
    if x.dtype is dtypes.float16:
        raise TypeError(
            f"{name} was given float16; expected float32, float64, complex64 or complex128."
        )
    return x


def inv(x: Array, /) -> Array:
    """Invert matrices.

    Parameters
    ----------
    x : Array
        (..., n, n)

    Returns
    -------
    Array
        (..., n, n). Reading it raises LinAlgError if a matrix is singular. A matrix with a NaN has
        NaN for its inverse.

    Raises
    ------
    ValueError
        If the matrices aren't square.
    TypeError
        For ``float16``.
    """
    x = _square("inv", x)
    return apply("inv", (x,), x.shape, x.dtype)


def solve(x1: Array, x2: Array, /) -> Array:
    """Solve x1 @ x = x2 for x.

    Parameters
    ----------
    x1 : Array
        (..., n, n)
    x2 : Array
        (n,), or (..., n, k); batches broadcast.

    Returns
    -------
    Array
        (..., n) for a vector, else (..., n, k). Reading it raises LinAlgError if a matrix is
        singular.

    Raises
    ------
    ValueError
        If the shapes don't fit together.
    TypeError
        For ``float16``.
    """
    a, b = promoted(x1, x2)
    a = _square("solve", a)
    b = cast(b, a.dtype)
    if b.ndim == 0 or b.shape[0 if b.ndim == 1 else -2] != a.shape[-1]:
        raise ValueError(
            f"solve was given the shapes {a.shape} and {b.shape}; expected ({a.shape[-1]},) or "
            f"(..., {a.shape[-1]}, k) for the second."
        )
    right = expand_dims(b, 1) if b.ndim == 1 else b
    batch = broadcast_shape(a.shape[:-2], right.shape[:-2])
    inputs = (
        broadcast_view(a, batch + a.shape[-2:]),
        broadcast_view(right, batch + right.shape[-2:]),
    )
    x = apply("solve", inputs, batch + right.shape[-2:], a.dtype)
    return reshaped(x, x.shape[:-1]) if b.ndim == 1 else x


def cholesky(x: Array, /, *, upper: bool = False) -> Array:
    """Factorise symmetric or Hermitian, positive definite matrices.

    Parameters
    ----------
    x : Array
        (..., n, n); only the lower triangle is read, or the upper one with `upper`.
    upper : bool
        Whether the result is the upper factor U of x = U^H U, or the lower L of x = L L^H.

    Returns
    -------
    Array
        (..., n, n), zero in the other triangle. Reading it raises LinAlgError if a matrix is not
        positive definite.

    Raises
    ------
    ValueError
        If the matrices aren't square.
    TypeError
        For ``float16``.
    """
    x = _square("cholesky", x)
    return apply("cholesky", (x,), x.shape, x.dtype, (int(upper),))


def det(x: Array, /) -> Array:
    """The determinant of matrices; that of a singular one is 0.

    Parameters
    ----------
    x : Array
        (..., n, n)

    Returns
    -------
    Array
        (...)

    Raises
    ------
    ValueError
        If the matrices aren't square.
    TypeError
        For ``float16``.
    """
    x = _square("det", x)
    return apply("det", (x,), x.shape[:-2], x.dtype)


def matrix_power(x: Array, n: int, /) -> Array:
    """Multiply square matrices with themselves; negative powers are those of the inverse.

    Parameters
    ----------
    x : Array
        (..., m, m)
    n : int

    Returns
    -------
    Array
        (..., m, m)

    Raises
    ------
    ValueError
        If the matrices aren't square.
    """
    from nitinol.creation import eye

    x = array_of(x)
    power = integer_of(n, "The power of a matrix")
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"matrix_power was given the shape {x.shape}; expected square matrices (..., n, n)."
        )
    if power == 0:
        return broadcast_view(eye(x.shape[-1], dtype=x.dtype), x.shape)
    if power < 0:
        x = inv(x)
        power = -power
    while not power & 1:
        x = multiply(x, x)
        power >>= 1
    result = fresh(x)
    while power := power >> 1:
        x = multiply(x, x)
        if power & 1:
            result = multiply(result, x)
    return result


def diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """The diagonals of matrices, as a view.

    Parameters
    ----------
    x : Array
        (..., m, n)
    offset : int
        How many places above the main diagonal; negative below it.

    Returns
    -------
    Array
        (..., size of the diagonal)

    Raises
    ------
    ValueError
        If `x` has less than 2 dimensions.
    """
    x = array_of(x)
    if x.ndim < 2:
        raise ValueError(
            f"diagonal takes an array of at least 2 dimensions; its shape is {x.shape}."
        )
    shape, strides, start = layout(x)
    rows, columns = shape[-2:]
    above = integer_of(offset, "The offset of a diagonal")
    if above >= 0:
        size = builtins.max(0, builtins.min(rows, columns - above))
        start += above * strides[-1] if size else 0
    else:
        size = builtins.max(0, builtins.min(rows + above, columns))
        start += -above * strides[-2] if size else 0
    return view(x, (*shape[:-2], size), (*strides[:-2], strides[-2] + strides[-1]), start)


def trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Sum the diagonals of matrices.

    Parameters
    ----------
    x : Array
        (..., m, n)
    offset : int
        How many places above the main diagonal; negative below it.
    dtype : dtype, optional
        Of the result; as `nitinol.sum` chooses it by default.

    Returns
    -------
    Array
        (...)

    Raises
    ------
    ValueError
        If `x` has less than 2 dimensions.
    """
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


# Norms.


def vector_norm(
    x: Array,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    ord: float = 2,
) -> Array:
    """The norm of vectors.

    Parameters
    ----------
    x : Array
    axis : int or tuple of int, optional
        The axes that form a vector, all of them by default.
    keepdims : bool
        Whether those axes stay, with the size 1.
    ord : int or float
        The order: 2 (Euclidean), 1, 0 (how many are not zero), inf, -inf, or any other number.

    Returns
    -------
    Array
        Real.

    Raises
    ------
    TypeError
        If `ord` is no number.
    """
    x = _real_or_complex(x)
    axes = axes_of(axis, x.ndim)
    if isinstance(ord, str):
        raise TypeError(f"vector_norm was given ord={ord!r}; expected a number.")
    size = elementwise("abs", x)
    options: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    if ord == math.inf:
        return max(size, **options)
    if ord == -math.inf:
        return min(size, **options)
    if ord == 0:
        return sum(cast(elementwise("not_equal", x, 0), size.dtype), **options)
    if ord == 1:
        return sum(size, **options)
    if ord == 2:
        return elementwise("sqrt", sum(size * size, **options))
    return elementwise("power", sum(elementwise("power", size, ord), **options), 1.0 / ord)


def _real_or_complex(x: Any) -> Array:
    x = array_of(x)
    return cast(x, dtypes.DEFAULT_FLOAT) if x.dtype.kind in "biu" else x


def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: float | str = "fro") -> Array:
    """The norm of matrices.

    Parameters
    ----------
    x : Array
        (..., m, n)
    keepdims : bool
        Whether the last two axes stay, with the size 1.
    ord : {'fro', 1, -1, inf, -inf}
        Frobenius' norm, or the largest or smallest sum of magnitudes of a column (1, -1) or a row
        (inf, -inf).

    Returns
    -------
    Array
        (...), real.

    Raises
    ------
    ValueError
        If `x` has less than 2 dimensions, or for another `ord`.
    """
    x = _real_or_complex(x)
    if x.ndim < 2:
        raise ValueError(f"matrix_norm takes an array of at least 2 dimensions, not {x.shape}.")
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if isinstance(ord, str) or builtins.abs(ord) not in (1, math.inf):
        raise ValueError(f"matrix_norm was given ord={ord!r}; expected 'fro', 1, -1, inf or -inf.")
    along = -2 if builtins.abs(ord) == 1 else -1
    sums = sum(elementwise("abs", x), axis=along, keepdims=True)
    return (max if ord > 0 else min)(sums, axis=(-2, -1), keepdims=keepdims)
