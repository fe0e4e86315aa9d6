"""Random numbers that depend on an explicit key alone.

A key stands for an endless sequence of numbers. Every function takes one and gives, for the same
key and shape, the same numbers on every device, whatever ran before and however many threads there
are (Philox4x32-10, a counter-based generator). Two draws from one key are therefore not
independent: split it, one key for each draw.

    key = nt.random.key(0)
    first, second = key.split(2)
    x = nt.random.normal(first, (3, 4))
    y = nt.random.uniform(second, (3, 4))
"""

import hashlib
from typing import Any

from nitinol import dtypes
from nitinol._arguments import array_of, axis_of, cast, integer_of, shape_of
from nitinol._array import Array
from nitinol._operations import apply, elementwise
from nitinol._text import shown
from nitinol.dtypes import as_dtype


class Key:
    """The name of a sequence of random numbers; made by `key`, `split` and `fold_in`. Immutable."""

    __slots__ = ("_seed", "_stream")

    _seed: int
    _stream: int

    def __new__(cls, *args: Any):  # noqa: D102 (key makes them)
        raise TypeError("Keys are made by nitinol.random.key(seed).")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A key is immutable: {name!r} can't be set.")

    def split(self, n: int = 2) -> "tuple[Key, ...]":
        """Give `n` keys that are independent of each other and of this one.

        Raises
        ------
        ValueError
            If `n` is negative.
        """
        (count,) = shape_of(n)
        return tuple(self._derived(b"split", i) for i in range(count))

    def fold_in(self, i: int) -> "Key":
        """Give the key of this one and an integer, such as the number of a step or a request."""
        return self._derived(b"fold", integer_of(i, "What is folded into a key"))

    def _derived(self, purpose: bytes, i: int) -> "Key":
        text = f"{self._seed} {self._stream} {i}".encode()
        digest = hashlib.blake2b(text, digest_size=16, person=purpose).digest()
        parts = (int.from_bytes(half, "little", signed=True) for half in (digest[:8], digest[8:]))
        return _make(*parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return (self._seed, self._stream) == (other._seed, other._stream)

    def __hash__(self) -> int:
        return hash((self._seed, self._stream))

    def __repr__(self) -> str:
        return f"<nitinol.random.Key {self._seed:#x}, {self._stream:#x}>"

    def __reduce__(self):
        return _make, (self._seed, self._stream)


def _make(seed: int, stream: int) -> Key:
    made = object.__new__(Key)
    object.__setattr__(made, "_seed", seed)
    object.__setattr__(made, "_stream", stream)
    return made


def key(seed: int, /) -> Key:
    """Make the key of a seed.

    Parameters
    ----------
    seed : int
        From -2**63 to 2**64 - 1; the numbers beyond 2**63 - 1 are those of negative seeds.

    Raises
    ------
    ValueError
        If the seed is outside of that range.
    """
    value = integer_of(seed, "A seed")
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"The seed {shown(value)} doesn't fit in 64 bits.")
    return _make(value - 2**64 if value >= 2**63 else value, 0)


def _drawn(
    op: str,
    key: Key,
    shape: Any,
    dtype: dtypes.dtype,
    ints: tuple[int, ...] = (),
    floats: tuple[float, ...] = (),
) -> Array:
    if not isinstance(key, Key):
        raise TypeError(
            f"The first argument is a key, made by nitinol.random.key(seed); "
            f"{type(key).__name__} was given."
        )
    return apply(op, (), shape_of(shape), dtype, (key._seed, key._stream, *ints), floats)


def _real(name: str, dtype: Any) -> tuple[dtypes.dtype, dtypes.dtype]:
    """The dtype to draw in and the one to give."""
    target = as_dtype(dtype)
    if target.kind != "f":
        raise TypeError(f"{name} gives real floating-point numbers; {target.name} was asked for.")
    return (target if target is dtypes.float64 else dtypes.float32), target


def bits(key: Key, shape: int | tuple[int, ...] = (), *, dtype: Any = dtypes.uint32) -> Array:
    """Draw random bits.

    Parameters
    ----------
    key : Key
    shape : int or tuple of int
    dtype : dtype
        ``uint32`` or ``uint64``.
    """
    target = as_dtype(dtype)
    if target not in (dtypes.uint32, dtypes.uint64):
        raise TypeError(f"bits gives uint32 or uint64; {target.name} was asked for.")
    return _drawn("random_bits", key, shape, target)


def uniform(
    key: Key,
    shape: int | tuple[int, ...] = (),
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = dtypes.float32,
) -> Array:
    """Draw numbers that are evenly spread over [low, high).

    Parameters
    ----------
    key : Key
    shape : int or tuple of int
    low, high : float
    dtype : dtype
        A real floating-point one. ``float16`` is rounded from ``float32`` and may reach `high`.

    Raises
    ------
    ValueError
        If `low` isn't below `high`.
    """
    if not low < high:
        raise ValueError(f"uniform was given low={low} and high={high}; expected low below high.")
    drawn, target = _real("uniform", dtype)
    made = _drawn("random_uniform", key, shape, drawn, (), (float(low), float(high)))
    return cast(made, target)


def normal(
    key: Key,
    shape: int | tuple[int, ...] = (),
    *,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = dtypes.float32,
) -> Array:
    """Draw numbers from the normal distribution.

    Parameters
    ----------
    key : Key
    shape : int or tuple of int
    mean : float
    std : float
        The standard deviation, 0 or more.
    dtype : dtype
        A real floating-point one.

    Raises
    ------
    ValueError
        If `std` is negative.
    """
    if not std >= 0:
        raise ValueError(f"normal was given std={std}; expected 0 or more.")
    drawn, target = _real("normal", dtype)
    made = _drawn("random_normal", key, shape, drawn, (), (float(mean), float(std)))
    return cast(made, target)


def integers(
    key: Key,
    low: int,
    high: int,
    shape: int | tuple[int, ...] = (),
    *,
    dtype: Any = dtypes.int64,
) -> Array:
    """Draw integers from [low, high), each as likely as the others.

    Parameters
    ----------
    key : Key
    low, high : int
        Within the range of `dtype`, and at most 2**63 - 1.
    shape : int or tuple of int
    dtype : dtype
        An integer one.

    Raises
    ------
    ValueError
        If `low` isn't below `high`, or they leave the range.
    """
    target = as_dtype(dtype)
    if target.kind not in "iu":
        raise TypeError(f"integers gives integers; {target.name} was asked for.")
    low, high = integer_of(low, "The bound low"), integer_of(high, "The bound high")
    info = dtypes.iinfo(target)
    if not low < high:
        raise ValueError(f"integers was given low={low} and high={high}; expected low below high.")
    if low < info.min or high - 1 > info.max or high >= 2**63:
        raise ValueError(
            f"integers was given low={low} and high={high}; expected the range of {target.name}, "
            f"{info.min} to {info.max}, and at most 2**63 - 1."
        )
    return _drawn("random_integers", key, shape, target, (low, high))


def categorical(key: Key, logits: Array, /, *, axis: int = -1) -> Array:
    """Draw indices along an axis with probabilities softmax(logits).

    Parameters
    ----------
    key : Key
    logits : Array
        Real; -inf for what can't be drawn.
    axis : int

    Returns
    -------
    Array
        ``int64``, of the shape of the logits without `axis`.
    """
    from nitinol.searching import argmax

    logits = array_of(logits)
    where = axis_of(axis, logits.ndim)
    if logits.dtype.kind != "f":
        raise TypeError(f"categorical takes real floating-point logits; {logits.dtype.name} given.")
    # The greatest of logits with Gumbel noise is distributed as asked. A uniform number of 0
    # would be noise of -inf, so the interval ends at 0 instead: 1 - u.
    spread = elementwise("subtract", 1.0, uniform(key, logits.shape))
    noise = elementwise("negative", elementwise("log", spread))
    return argmax(logits - elementwise("log", noise), axis=where)


def permutation(key: Key, n: int, /) -> Array:
    """Draw a random order of the integers from 0 to before `n`, as ``int64``."""
    from nitinol.sorting import argsort

    return argsort(bits(key, n, dtype=dtypes.uint64))
