"""The operations of neural networks that have kernels of their own, in ``float32``.

``float16`` arguments are computed in ``float32`` and give ``float16``, keys and values of attention
apart: they are read as they are, and the result has the dtype of the queries. Other dtypes raise
TypeError.
"""

import math
from typing import TYPE_CHECKING, Any

from nitinol import dtypes
from nitinol._arguments import array_of, broadcast_view, cast, integer_of, reshaped
from nitinol._array import Array
from nitinol._files import BLOCKS
from nitinol._interop import from_scalar
from nitinol._operations import apply

if TYPE_CHECKING:
    from nitinol.io import QuantizedTensor


def _floating(name: str, x: Any) -> Array:
    x = array_of(x)
    if x.dtype is not dtypes.float32 and x.dtype is not dtypes.float16:
        raise TypeError(f"{name} takes float32 (or float16) arrays; it was given {x.dtype.name}.")
    return x


def _float32(name: str, x: Any) -> Array:
    return cast(_floating(name, x), dtypes.float32)


def _vector(name: str, what: str, x: Any, size: int) -> Array:
    x = _float32(name, x)
    if x.shape != (size,):
        raise ValueError(
            f"{name} was given a {what} of shape {x.shape}; expected ({size},), the size of the "
            f"last axis of x."
        )
    return x


def _last_axis(name: str, x: Array) -> int:
    if x.ndim == 0:
        raise ValueError(f"{name} takes an array of at least 1 dimension; it was given a 0-d one.")
    return x.shape[-1]


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """Divide by the root mean square of the last axis, and multiply by `weight`.

    Parameters
    ----------
    x : Array
        (..., d)
    weight : Array
        (d,)
    eps : float
        Added to the mean square.

    Returns
    -------
    Array
        Of the shape and dtype of `x`.
    """
    x = array_of(x)
    wide = _float32("rms_norm", x)
    weight = _vector("rms_norm", "weight", weight, _last_axis("rms_norm", x))
    out = apply("rms_norm", (wide, weight), x.shape, dtypes.float32, (), (float(eps),))
    return cast(out, x.dtype)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Bring the last axis to mean 0 and variance 1, multiply by `weight` and add `bias`.

    Parameters
    ----------
    x : Array
        (..., d)
    weight, bias : Array
        (d,)
    eps : float
        Added to the variance.

    Returns
    -------
    Array
        Of the shape and dtype of `x`.
    """
    x = array_of(x)
    wide = _float32("layer_norm", x)
    size = _last_axis("layer_norm", x)
    weight = _vector("layer_norm", "weight", weight, size)
    bias = _vector("layer_norm", "bias", bias, size)
    out = apply("layer_norm", (wide, weight, bias), x.shape, dtypes.float32, (), (float(eps),))
    return cast(out, x.dtype)


def rope(
    x: Array,
    dims: int,
    *,
    base: float,
    offset: int | Array = 0,
    interleaved: bool = False,
    scale: float = 1.0,
) -> Array:
    """Rotate pairs of elements by angles that grow with the position.

    Parameters
    ----------
    x : Array
        (..., length, d); row i has the position ``offset + i``.
    dims : int
        How many elements of the last axis are rotated, an even number; the rest stay.
    base : float
        Pair j turns by ``position * scale * base ** (-2 * j / dims)``.
    offset : int or 0-d integer Array
        The position of the first row.
    interleaved : bool
        Whether pairs are neighbours (0, 1), (2, 3) and so on, or lie ``dims / 2`` apart.
    scale : float
        Multiplies positions.

    Returns
    -------
    Array
        Of the shape and dtype of `x`.

    Raises
    ------
    ValueError
        If `dims` is odd, negative, or more than d, or `x` has less than 2 dimensions.
    """
    x = array_of(x)
    wide = _float32("rope", x)
    if x.ndim < 2:
        raise ValueError(f"rope takes an array (..., length, d); its shape is {x.shape}.")
    if dims % 2 or not 0 <= dims <= x.shape[-1]:
        raise ValueError(
            f"rope was given dims={dims}; expected an even number from 0 to {x.shape[-1]}."
        )
    start = _scalar("rope", "offset", offset)
    ints = (int(dims), int(interleaved))
    # The kernel wants an axis of heads; where there is none, one of size 1.
    lifted = reshaped(wide, (1, *x.shape)) if x.ndim == 2 else wide
    floats = (float(base), float(scale))
    out = apply("rope", (lifted, start), lifted.shape, dtypes.float32, ints, floats)
    return cast(reshaped(out, x.shape) if x.ndim == 2 else out, x.dtype)


def _scalar(name: str, what: str, value: Any) -> Array:
    """A 0-d int64 array of an integer argument that may be known only on the device."""
    if not isinstance(value, Array):
        return from_scalar(integer_of(value, f"The {what} of {name}"), dtypes.int64)
    if value.ndim or value.dtype.kind not in "iu":
        raise TypeError(
            f"{name} takes an integer or a 0-d integer array as {what}; one of shape "
            f"{value.shape} and dtype {value.dtype.name} was given."
        )
    return cast(value, dtypes.int64)


def scaled_dot_product_attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    scale: float | None = None,
    causal: bool = False,
    mask: Array | None = None,
    valid_length: int | Array | None = None,
) -> Array:
    """Give softmax(q @ k.mT * scale + mask) @ v, without the matrix of scores in memory.

    Parameters
    ----------
    q : Array
        (batch, heads, queries, d)
    k : Array
        (batch, key heads, keys, d); each key head serves heads / key heads query heads in a row.
        float16 keys, as of a cache, are read as they lie: half the bytes, summed up in float32.
    v : Array
        (batch, key heads, keys, e), of the dtype of `k`.
    scale : float, optional
        ``1 / sqrt(d)`` by default.
    causal : bool
        Whether query i sees the keys ``j <= i + valid_length - queries`` alone: the last query
        belongs to the last valid key.
    mask : Array, optional
        Broadcasts to (batch, heads, queries, keys). Bools keep where True; numbers are added to the
        scores.
    valid_length : int or 0-d integer Array, optional
        How many keys, from the first, are there; all by default. The rest, such as the free rows of
        a cache, count for nothing. An Array that holds more than keys, or less than 0, is an
        asynchronous DeviceIndexError.

    Returns
    -------
    Array
        (batch, heads, queries, e), of the dtype of `q`.

    Raises
    ------
    ValueError
        If the shapes don't fit together.
    TypeError
        If an array is neither float32 nor float16, or `k` and `v` differ in that.
    """
    name = "scaled_dot_product_attention"
    result = array_of(q).dtype
    q, k, v = _float32(name, q), _floating(name, k), _floating(name, v)
    if k.dtype is not v.dtype:
        raise TypeError(
            f"{name} was given k of {k.dtype.name} and v of {v.dtype.name}; expected one dtype."
        )
    for letter, each in zip("qkv", (q, k, v), strict=True):
        if each.ndim != 4:
            raise ValueError(
                f"{name} takes {letter} of 4 dimensions (batch, heads, length, d); its shape is "
                f"{each.shape}."
            )
    batch, heads, queries, width = q.shape
    key_heads, keys = k.shape[1:3]
    if k.shape[0] != batch or k.shape[3] != width or v.shape[:3] != k.shape[:3]:
        raise ValueError(
            f"{name} was given q {q.shape}, k {k.shape} and v {v.shape}; expected k "
            f"({batch}, key heads, keys, {width}) and v ({batch}, key heads, keys, any)."
        )
    if key_heads == 0 or heads % key_heads:
        raise ValueError(
            f"{name} was given {heads} heads and {key_heads} key heads; expected a multiple of "
            f"the key heads."
        )
    inputs = [q, k, v]
    if mask is not None:
        inputs.append(_mask(name, array_of(mask), (batch, heads, queries, keys)))
    if valid_length is not None:
        if not isinstance(valid_length, Array):
            valid_length = integer_of(valid_length, f"The valid_length of {name}")
        if not isinstance(valid_length, Array) and not 0 <= valid_length <= keys:
            raise ValueError(
                f"{name} was given valid_length={valid_length}; expected 0 to {keys}, the number "
                f"of keys."
            )
        inputs.append(_scalar(name, "valid_length", valid_length))
    ints = (int(causal), int(mask is not None), int(valid_length is not None))
    factor = 1.0 / math.sqrt(max(width, 1)) if scale is None else float(scale)
    shape = (batch, heads, queries, v.shape[3])
    return cast(apply("attention", tuple(inputs), shape, dtypes.float32, ints, (factor,)), result)


def _mask(name: str, mask: Array, full: tuple[int, ...]) -> Array:
    if mask.dtype is not dtypes.bool:
        mask = _float32(name, mask)
    fits = mask.ndim <= 4 and all(
        size in (1, wanted) for size, wanted in zip(mask.shape, full[4 - mask.ndim :], strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} was given a mask of shape {mask.shape}; expected one that broadcasts to "
            f"{full}."
        )
    lifted = reshaped(mask, (1,) * (4 - mask.ndim) + mask.shape)
    return broadcast_view(lifted, (*lifted.shape[:3], full[3]))


def _blocks(name: str, w: "QuantizedTensor") -> tuple[Array, int, int, int]:
    """The blocks of a quantised matrix, its block type, rows and columns."""
    kind = int(w.type)
    if kind not in BLOCKS:
        known = ", ".join(f"{label} ({number})" for number, (label, _, _) in BLOCKS.items())
        raise TypeError(f"{name} was given the block type {kind}; expected one of {known}.")
    if len(w.shape) != 2:
        raise ValueError(f"{name} takes a matrix of weights; its shape is {tuple(w.shape)}.")
    rows, columns = w.shape
    label, weights, size = BLOCKS[kind]
    expected = (rows, columns // weights * size)
    if columns % weights or w.blocks.shape != expected or w.blocks.dtype is not dtypes.uint8:
        raise ValueError(
            f"{name} was given {label} weights of shape {tuple(w.shape)} in blocks of shape "
            f"{w.blocks.shape} and dtype {w.blocks.dtype.name}; expected uint8 {expected} and a "
            f"multiple of {weights} columns."
        )
    return w.blocks, kind, rows, columns


def quantized_matmul(x: Array, w: "QuantizedTensor") -> Array:
    """Multiply by the transpose of a quantised matrix, which is never dequantised whole.

    Parameters
    ----------
    x : Array
        (..., k)
    w : QuantizedTensor
        (n, k), as `nitinol.load` gives it.

    Returns
    -------
    Array
        (..., n), ``x @ w.T``, of the dtype of `x`.

    Raises
    ------
    ValueError
        If the last axis of `x` doesn't have the size k.
    """
    x = array_of(x)
    wide = _float32("quantized_matmul", x)
    blocks, kind, rows, columns = _blocks("quantized_matmul", w)
    if _last_axis("quantized_matmul", x) != columns:
        raise ValueError(
            f"quantized_matmul was given x of shape {x.shape} and weights of shape "
            f"{tuple(w.shape)}; expected {columns} as the size of the last axis of x."
        )
    shape = (*x.shape[:-1], rows)
    return cast(apply("quantized_matmul", (wide, blocks), shape, dtypes.float32, (kind,)), x.dtype)


def quantized_take(w: "QuantizedTensor", indices: Any) -> Array:
    """Take rows of a quantised matrix, dequantised.

    Parameters
    ----------
    w : QuantizedTensor
        (n, k)
    indices : Array, int or sequence of int
        Rows; negative ones count from the end.

    Returns
    -------
    Array
        (*indices.shape, k), ``float32``.

    Raises
    ------
    IndexError
        If an index known by now is out of range; asynchronously a DeviceIndexError otherwise.
    """
    from nitinol.indexing import checked_integers

    blocks, kind, rows, columns = _blocks("quantized_take", w)
    index = checked_integers("quantized_take", indices, 0, rows)
    shape = (*index.shape, columns)
    return apply("quantized_take", (blocks, index), shape, dtypes.float32, (kind,))
