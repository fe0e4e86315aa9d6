"""Manipulation functions give what NumPy gives, whatever the layout of their input."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt
from strategies import (
    EVERY,
    INTEGERS,
    array_pairs,
    arrays,
    assert_same,
    axes,
    full_shapes,
    laid_out,
    one_of,
    shapes,
)

pytestmark = pytest.mark.usefixtures("device")

non_scalars = shapes.filter(len)


@st.composite
def splittings(draw, size):
    """Shapes of `size` elements."""
    if size == 0:
        shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        shape.insert(draw(st.integers(0, len(shape))), 0)
        return tuple(shape)
    shape, left = [], size
    while left > 1 or draw(st.booleans()):
        factor = draw(st.sampled_from([f for f in range(1, left + 1) if left % f == 0]))
        shape.insert(draw(st.integers(0, len(shape))), factor)
        left //= factor
        if len(shape) > 5:
            return (*shape, left)
    return tuple(shape)


@given(st.data())
def test_reshape_of_any_layout(data):
    values, array = data.draw(array_pairs())
    shape = data.draw(splittings(values.size))
    assert_same(nt.reshape(array, shape), values.reshape(shape))
    assert_same(nt.reshape(array, shape, copy=True), values.reshape(shape))
    if shape and values.size:
        hole = data.draw(st.integers(0, len(shape) - 1))
        unknown = (*shape[:hole], -1, *shape[hole + 1 :])
        assert_same(nt.reshape(array, unknown), values.reshape(shape))


@given(st.data())
def test_reshape_without_a_copy_is_right_or_refused(data):
    values, array = data.draw(array_pairs())
    shape = data.draw(splittings(values.size))
    try:
        found = nt.reshape(array, shape, copy=False)
    except ValueError:
        # NumPy, seeing the same layout, refuses as well.
        with pytest.raises(ValueError, match="copy"):
            np.reshape(np.asarray(array), shape, copy=False)
    else:
        assert_same(found, values.reshape(shape))


@given(arrays(), st.data())
def test_reshape_of_a_contiguous_array_needs_no_copy(values, data):
    shape = data.draw(splittings(values.size))
    assert_same(nt.reshape(nt.asarray(values), shape, copy=False), values.reshape(shape))


@pytest.mark.parametrize("shape", [(4,), (-1, -1), (-1, 4), (2, -3), (0, -1)])
def test_reshape_refuses(shape):
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        nt.reshape(nt.ones((2, 3)), shape)


@given(st.data())
def test_astype(data):
    values, array = data.draw(array_pairs(special=False, bound=50))
    dtype = data.draw(one_of(EVERY))
    if values.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        with pytest.raises(TypeError, match=str(values.dtype)):
            nt.astype(array, dtype)
        return
    if np.dtype(dtype).kind == "u" and (values < 0).any():
        return
    assert_same(nt.astype(array, dtype), values.astype(dtype))
    assert_same(array.astype(dtype), values.astype(dtype))


def test_astype_to_the_same_dtype():
    x = nt.ones(3)
    assert nt.astype(x, nt.float32, copy=False) is x
    y = nt.astype(x, nt.float32)
    y[0] = 5
    assert x.tolist() == [1, 1, 1]


@given(st.data())
def test_reorderings_of_axes(data):
    values, array = data.draw(array_pairs())
    order = tuple(data.draw(st.permutations(range(values.ndim))))
    signed = tuple(a - values.ndim if data.draw(st.booleans()) else a for a in order)
    assert_same(nt.permute_dims(array, signed), values.transpose(order))
    assert_same(nt.transpose(array, signed), values.transpose(order))
    assert_same(nt.transpose(array), values.T)
    if values.ndim == 2:
        assert_same(array.T, values.T)
    if values.ndim >= 2:
        assert_same(nt.matrix_transpose(array), values.swapaxes(-1, -2))
        assert_same(array.mT, values.swapaxes(-1, -2))
        assert_same(nt.swapaxes(array, order[0], -1), values.swapaxes(order[0], -1))


@given(st.data())
def test_moveaxis(data):
    values, array = data.draw(array_pairs(shape=non_scalars))
    count = data.draw(st.integers(0, values.ndim))
    source, target = (
        tuple(data.draw(st.permutations(range(values.ndim)))[:count]) for _ in range(2)
    )
    assert_same(nt.moveaxis(array, source, target), np.moveaxis(values, source, target))
    assert_same(nt.moveaxis(array, -1, 0), np.moveaxis(values, -1, 0))


@given(st.data())
def test_expand_dims_and_squeeze_are_inverse(data):
    values, array = data.draw(array_pairs())
    count = data.draw(st.integers(1, 3))
    total = values.ndim + count
    where = st.lists(st.integers(0, total - 1), min_size=count, max_size=count, unique=True).map(
        tuple
    )
    axis = data.draw(where)
    wider = nt.expand_dims(array, axis)
    assert_same(wider, np.expand_dims(values, axis))
    assert_same(nt.squeeze(wider, axis), values)
    assert_same(nt.squeeze(array), values.squeeze())


@given(st.data())
def test_flip(data):
    values, array = data.draw(array_pairs())
    axis = data.draw(axes(values.ndim))
    assert_same(nt.flip(array, axis=axis), np.flip(values, axis))


@given(st.data())
def test_roll(data):
    values, array = data.draw(array_pairs())
    shift = data.draw(st.integers(-12, 12))
    assert_same(nt.roll(array, shift), np.roll(values, shift))
    if values.ndim:
        named = tuple(data.draw(st.lists(st.integers(-values.ndim, values.ndim - 1), min_size=1)))
        shifts = tuple(data.draw(st.integers(-12, 12)) for _ in named)
        assert_same(nt.roll(array, shifts, axis=named), np.roll(values, shifts, named))
        assert_same(nt.roll(array, shift, axis=named), np.roll(values, shift, named))
        assert_same(nt.roll(array, shifts, axis=named[0]), np.roll(values, shifts, named[0]))


@given(st.data())
def test_broadcasting(data):
    pair = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4))
    values = [data.draw(arrays(shape=shape)) for shape in pair.input_shapes]
    arrays_ = [data.draw(laid_out(each)) for each in values]
    for each, array in zip(values, arrays_, strict=True):
        assert_same(
            nt.broadcast_to(array, pair.result_shape), np.broadcast_to(each, pair.result_shape)
        )
    for found, expected in zip(
        nt.broadcast_arrays(*arrays_), np.broadcast_arrays(*values), strict=True
    ):
        assert_same(found, expected)
    assert nt.broadcast_shapes(*pair.input_shapes) == pair.result_shape


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (3, 3), ()])
def test_broadcast_to_refuses(shape):
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        nt.broadcast_to(nt.ones((2, 3)), shape)


@given(st.data())
def test_concat_and_stack(data):
    shape = data.draw(non_scalars)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    pairs = []
    for size in data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)):
        own = list(shape)
        own[axis] = size
        pairs.append(data.draw(array_pairs(EVERY, tuple(own), special=False)))
    values = [pair[0] for pair in pairs]
    target = nt.result_type(*(pair[1] for pair in pairs)).name
    known = [pair[1] for pair in pairs]
    cast = [each.astype(target) for each in values]
    assert_same(nt.concat(known, axis=axis), np.concatenate(cast, axis))
    assert_same(nt.concatenate(known, axis), np.concatenate(cast, axis))
    assert_same(nt.concat(known, axis=None), np.concatenate(cast, None))
    new = data.draw(st.integers(-len(shape) - 1, len(shape)))
    assert_same(nt.stack(known[:1] * 3, axis=new), np.stack(values[:1] * 3, axis=new))


@given(st.data())
def test_unstack(data):
    values, array = data.draw(array_pairs(shape=non_scalars))
    axis = data.draw(st.integers(-values.ndim, values.ndim - 1))
    found = nt.unstack(array, axis=axis)
    assert len(found) == values.shape[axis]
    for i, each in enumerate(found):
        assert_same(each, np.take(values, i, axis))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nt.concat([]), "none"),
        (lambda: nt.concat([nt.asarray(1), nt.asarray(2)]), "0-d"),
        (lambda: nt.concat([nt.ones((2, 3)), nt.ones((2, 4))]), r"\(2, 4\)"),
        (lambda: nt.concat([nt.ones((2, 3)), nt.ones(3)]), r"\(3,\)"),
        (lambda: nt.stack([nt.ones(2), nt.ones(3)]), r"\(3,\)"),
        (lambda: nt.stack([]), "none"),
        (lambda: nt.unstack(nt.asarray(1)), "0-d"),
        (lambda: nt.squeeze(nt.ones((2, 1)), 0), "size is 2"),
        (lambda: nt.permute_dims(nt.ones((2, 3)), (0,)), "2 dimensions"),
        (lambda: nt.permute_dims(nt.ones((2, 3)), (0, 0)), "twice"),
        (lambda: nt.matrix_transpose(nt.ones(3)), r"\(3,\)"),
        (lambda: nt.moveaxis(nt.ones((2, 3)), (0, 1), 0), "2 source"),
        (lambda: nt.roll(nt.ones((2, 3)), (1, 2, 3), axis=(0, 1)), "3 shifts"),
        (lambda: nt.repeat(nt.ones(3), -1), "-1"),
        (lambda: nt.repeat(nt.ones(3), nt.asarray([1, 2])), r"\(2,\)"),
        (lambda: nt.pad(nt.ones(3), -1), "-1"),
        (lambda: nt.pad(nt.ones((3, 3)), [(1, 1)] * 3), "2 dimensions"),
    ],
)
def test_wrong_shapes_raise_at_once(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("axis", [2, -3])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, axis: nt.flip(x, axis=axis),
        lambda x, axis: nt.roll(x, 1, axis=axis),
        lambda x, axis: nt.concat([x, x], axis=axis),
        lambda x, axis: nt.unstack(x, axis=axis),
        lambda x, axis: nt.repeat(x, 2, axis=axis),
        lambda x, axis: nt.squeeze(x, axis),
        lambda x, axis: nt.swapaxes(x, axis, 0),
        lambda x, axis: nt.moveaxis(x, axis, 0),
        lambda x, axis: nt.sum(x, axis=axis),
        lambda x, axis: nt.sort(x, axis=axis),
        lambda x, axis: nt.argmax(x, axis=axis),
        lambda x, axis: nt.take(x, [0], axis=axis),
        lambda x, axis: nt.softmax(x, axis=axis),
    ],
)
def test_wrong_axes_raise_at_once(function, axis):
    with pytest.raises(IndexError, match=f"Axis {axis} is out of range .* 2 dimensions"):
        function(nt.ones((2, 3)), axis)


@given(st.data())
def test_tile(data):
    values, array = data.draw(array_pairs())
    repetitions = tuple(data.draw(st.lists(st.integers(0, 3), max_size=5)))
    assert_same(nt.tile(array, repetitions), np.tile(values, repetitions))
    assert_same(nt.tile(array, 2), np.tile(values, 2))


@given(st.data())
def test_repeat(data):
    values, array = data.draw(array_pairs())
    count = data.draw(st.integers(0, 3))
    axis = data.draw(axes(values.ndim, tuples=False))
    assert_same(nt.repeat(array, count, axis=axis), np.repeat(values, count, axis))
    size = values.size if axis is None else values.shape[axis]
    counts = data.draw(hnp.arrays("int64", size, elements=st.integers(0, 3)))
    found = nt.repeat(array, nt.asarray(counts), axis=axis)
    assert_same(found, np.repeat(values, counts, axis))


@given(st.data())
def test_pad(data):
    values, array = data.draw(array_pairs(INTEGERS, full_shapes))
    widths = [tuple(data.draw(st.integers(0, 3)) for _ in range(2)) for _ in range(values.ndim)]
    if widths:
        expected = np.pad(values, widths, constant_values=7)
        assert_same(nt.pad(array, widths, constant_values=7), expected)
    assert_same(nt.pad(array, 2), np.pad(values, 2) if values.ndim else values)


def test_repeat_of_nothing():
    assert nt.repeat(nt.zeros((0, 2)), [], axis=0).shape == (0, 2)
    with pytest.raises(ValueError, match=r"\(0,\)"):
        nt.repeat(nt.ones(3), [])


# --- integers -----------------------------------------------------------------------------------

TAKE_INTEGERS = {
    "A size of a shape": lambda i: nt.reshape(nt.ones((2, 3)), (i, -1)),
    "A shift": lambda i: nt.roll(nt.ones(3), i),
    "An axis": lambda i: nt.argsort(nt.ones((2, 2, 2)), axis=i),
    "A number of axes": lambda i: nt.tensordot(nt.ones((2, 3, 3)), nt.ones((3, 3, 2)), axes=i),
    "The number of differences": lambda i: nt.diff(nt.ones((3, 4)), n=i),
    "The power of a matrix": lambda i: nt.linalg.matrix_power(nt.ones((2, 2)), i),
    "The offset of a diagonal": lambda i: nt.linalg.diagonal(nt.ones((3, 3)), offset=i),
    "The diagonal k": lambda i: nt.tril(nt.ones((3, 3)), k=i),
    "The number of decimals": lambda i: nt.round(nt.ones(3), i),
    "A seed": lambda i: nt.random.uniform(nt.random.key(i), (2,)),
    "What is folded into a key": lambda i: nt.random.uniform(nt.random.key(0).fold_in(i), (2,)),
    "The bound low": lambda i: nt.random.integers(nt.random.key(0), i, 5, (2,)),
    "A start": lambda i: nt.slice_update(nt.zeros(5), nt.ones(2), i),
}


@pytest.mark.parametrize("what", TAKE_INTEGERS)
def test_integers_that_are_none(what):
    for wrong in (2.0, {2}, None):
        with pytest.raises(TypeError, match=re.escape(f"{what} is an integer; {wrong!r} was")):
            TAKE_INTEGERS[what](wrong)
    expected = np.asarray(TAKE_INTEGERS[what](2))
    for same in (np.int8(2), np.asarray(2), nt.asarray(2)):
        np.testing.assert_array_equal(np.asarray(TAKE_INTEGERS[what](same)), expected)
