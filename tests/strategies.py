"""What property tests draw (arrays, axes, keys), and how results are compared with NumPy's."""

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
REALS = ("float16", "float32", "float64")
COMPLEXES = ("complex64", "complex128")
NUMERIC = INTEGERS + REALS + COMPLEXES
EVERY = ("bool", *NUMERIC)
ORDERED = ("bool", *INTEGERS, *REALS)

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
full_shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=5)


def dtypes_of(device, names=EVERY):
    """Those of `names` that the device has; a test that finds none is skipped."""
    found = tuple(name for name in names if device.supports(name))
    if not found:
        pytest.skip(f"{device} has none of {', '.join(names)}.")
    return found


@st.composite
def one_of(draw, names):
    """One of `names` that the device has."""
    return draw(st.sampled_from(dtypes_of(nt.default_device(), names)))


def widest_float():
    """The real dtype with the most digits that the device has."""
    return dtypes_of(nt.default_device(), REALS)[-1]


def elements(dtype, special=True, bound=100):
    """Values of `dtype` that every operation can take; `special` allows NaN and infinities."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind == "i":
        return st.integers(-min(bound, 127), min(bound, 127))
    if dtype.kind == "u":
        return st.integers(0, min(bound, 255))
    width = dtype.itemsize * 8 // (2 if dtype.kind == "c" else 1)
    floats = st.floats(
        -bound, bound, width=width, allow_subnormal=False, allow_nan=False, allow_infinity=False
    )
    if special and dtype.kind == "f":
        floats |= st.sampled_from([np.nan, np.inf, -np.inf])
    if dtype.kind == "c":
        return st.builds(complex, floats, floats)
    return floats


@st.composite
def arrays(draw, dtypes=EVERY, shape=shapes, special=True, bound=100):
    """NumPy arrays with one of `dtypes`, of those that the device has, and one of `shape`."""
    dtype = draw(one_of(dtypes))
    size = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    values = elements(dtype, special, bound)
    return draw(hnp.arrays(np.dtype(dtype), size, elements=values))


@st.composite
def laid_out(draw, values):
    """`values` as an Array whose layout may be permuted, flipped, strided or broadcast.

    What an operation gives must not depend on how its input lies in memory.
    """
    how = draw(st.sampled_from(["plain", "permuted", "flipped", "strided", "broadcast"]))
    if how == "permuted" and values.ndim > 1:
        axes = draw(st.permutations(range(values.ndim)))
        stored = nt.asarray(np.ascontiguousarray(values.transpose(axes)))
        return nt.permute_dims(stored, tuple(np.argsort(axes).tolist()))
    if how == "flipped" and values.ndim:
        return nt.flip(nt.asarray(np.ascontiguousarray(np.flip(values))))
    if how == "strided" and values.ndim and values.shape[-1]:
        wide = np.repeat(values, 2, axis=-1)
        wide[..., 1::2] = 1
        return nt.asarray(wide)[..., ::2]
    if how == "broadcast" and values.ndim and values.shape[0]:
        values[...] = values[:1]
        return nt.broadcast_to(nt.asarray(values[:1].copy()), values.shape)
    return nt.asarray(values)


@st.composite
def array_pairs(draw, dtypes=EVERY, shape=shapes, special=True, bound=100):
    """The same values twice: as a NumPy array, and as an Array in some layout."""
    values = draw(arrays(dtypes, shape, special, bound))
    array = draw(laid_out(values))
    return values, array


def axes(ndim, none=True, tuples=True):
    """What a reduction over `ndim` axes takes as its axis."""
    options = [st.none()] if none else []
    if ndim:
        options.append(st.integers(-ndim, ndim - 1))
    if tuples:
        subsets = st.lists(st.integers(0, max(ndim - 1, 0)), unique=True, max_size=ndim)
        signed = st.tuples(subsets, st.booleans()).map(
            lambda pair: tuple(a - ndim if pair[1] else a for a in pair[0])
        )
        options.append(signed)
    return st.one_of(options)


@st.composite
def basic_keys(draw, shape):
    """Keys of integers, slices, an ellipsis and None."""
    return draw(
        hnp.basic_indices(shape, allow_ellipsis=True, allow_newaxis=True, max_dims=len(shape) + 2)
    )


@st.composite
def advanced_keys(draw, shape, masks=True, unique=False):
    """Keys with integer arrays and masks among integers, slices, an ellipsis and None.

    With `unique` no element of the array is named twice.
    """
    items = []
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3))
    axis = 0
    arrays_left = 1 if unique else 3
    while axis < len(shape):
        size = shape[axis]
        kinds = ["slice", "stop"]
        if size:
            kinds.append("integer")
            if arrays_left:
                kinds += ["array", "array"]
        if masks and arrays_left:
            kinds.append("mask")
        if len(items) < len(shape) + 1:
            kinds.append("newaxis")
        kind = draw(st.sampled_from(kinds))
        if kind == "stop":
            break
        if kind == "slice":
            items.append(draw(st.slices(size)))
        elif kind == "integer":
            items.append(draw(st.integers(-size, size - 1)))
        elif kind == "newaxis":
            items.append(None)
            continue
        elif kind == "array":
            arrays_left -= 1
            items.append(_integer_array(draw, common, size, unique))
        else:
            # A mask is as many integer arrays as it has axes; they must broadcast with the rest.
            arrays_left = 0
            if any(isinstance(item, np.ndarray) for item in items):
                continue
            ndim = draw(st.integers(1, len(shape) - axis))
            items.append(draw(hnp.arrays(np.bool_, shape[axis : axis + ndim])))
            axis += ndim - 1
        axis += 1
    if draw(st.booleans()):
        items.append(Ellipsis)
    return tuple(items)


def _integer_array(draw, common, size, unique):
    dtype = draw(st.sampled_from(["int64", "int32", "uint8"]))
    low = 0 if dtype == "uint8" else -size
    if unique:
        values = st.lists(st.integers(0, size - 1), unique=True, min_size=1, max_size=size)
        return np.asarray(draw(values), dtype=dtype)
    shape = draw(st.sampled_from([common, common[-1:], (1,) * len(common), ()]))
    return draw(hnp.arrays(dtype, shape, elements=st.integers(low, size - 1)))


def on_device(key):
    """The key with its NumPy arrays made Arrays."""
    if isinstance(key, tuple):
        return tuple(on_device(item) for item in key)
    return nt.asarray(key) if isinstance(key, np.ndarray) else key


# Relative error that two correct computations of one formula may differ by.
_TOLERANCE = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-13}
_TOLERANCE |= {"complex64": 4e-6, "complex128": 1e-12}


def assert_same(array, expected, exact=True, dtype=None, scale=1.0):
    """An Array has the shape, dtype and values of a NumPy array; NaNs equal each other.

    Where not `exact`, up to `scale` times the rounding error of the dtype, relative to the value
    and to 1.
    """
    expected = np.asarray(expected)
    name = str(expected.dtype) if dtype is None else dtype
    assert array.shape == expected.shape
    assert array.dtype is nt.dtypes.as_dtype(name)
    found = np.asarray(array)
    assert found.dtype == name
    assert found.shape == expected.shape
    if exact:
        np.testing.assert_array_equal(found, expected.astype(name))
    else:
        error = _TOLERANCE[name] * scale
        np.testing.assert_allclose(found, expected.astype(name), rtol=error, atol=error)
