"""Indexing has NumPy's meaning, updates are functional, and bad indices raise."""

import copy

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt
from strategies import (
    EVERY,
    INTEGERS,
    advanced_keys,
    array_pairs,
    arrays,
    assert_same,
    basic_keys,
    laid_out,
    on_device,
    shapes,
)

pytestmark = pytest.mark.usefixtures("device")


def looked_up(values, key):
    """``values[key]``, or hypothesis is told that NumPy takes no such key."""
    try:
        return values[key]
    except IndexError:
        assume(False)


@given(st.data())
def test_basic_keys(data):
    values, array = data.draw(array_pairs())
    key = data.draw(basic_keys(values.shape))
    assert_same(array[key], values[key])


@given(st.data())
def test_advanced_keys(data):
    values, array = data.draw(array_pairs())
    key = data.draw(advanced_keys(values.shape))
    expected = looked_up(values, key)
    assert_same(array[key], expected)
    assert_same(array[on_device(key)], expected)


@given(st.data())
def test_a_mask_over_all_axes(data):
    values, array = data.draw(array_pairs())
    mask = data.draw(hnp.arrays(np.bool_, values.shape))
    assert_same(array[nt.asarray(mask)], values[mask])
    assert_same(array[mask], values[mask])


@pytest.mark.parametrize(
    "key",
    [
        np.s_[0, :, [1, 2]],
        np.s_[:, 0, [1, 2]],
        np.s_[[0, 1], :, [1, 2]],
        np.s_[[0], None, [1]],
        np.s_[[0, 1], ..., [1, 2], :],
        np.s_[[[0], [1]], [1, 2]],
        np.s_[:, [0, 1], None, :, [1, 2]],
        np.s_[1, [0, 2], ::-1],
        np.s_[:, 1, [0, 2], 0],
        np.s_[True],
        np.s_[False],
        np.s_[0, True, [1]],
        np.s_[[], 1],
        np.s_[np.int8(1), np.asarray(2)],
        np.s_[np.array([[True, False, True], [False, False, True]]), 1:3],
        np.s_[0, np.array([True, False, True])],
        np.s_[[True, False], [False, True, False]],
        np.s_[1 :: 2**70, :: -(2**70)],
        np.s_[[1], 5 :: 2**70],
        np.s_[...],
        (),
        None,
    ],
    ids=repr,
)
def test_keys_with_their_own_rules(key):
    values = np.arange(120).reshape(2, 3, 4, 5)
    array = nt.asarray(values)
    assert_same(array[key], values[key])
    assert_same(array[on_device(key)], values[key])
    expected = values.copy()
    expected[key] = -1
    assert_same(array.at[key].set(-1), expected)
    part = np.arange(values[key].size).reshape(values[key].shape)
    expected[key] = part
    assert_same(array.at[key].set(nt.asarray(part)), expected)


def test_an_integer_array_of_no_axes_is_an_index():
    x = nt.arange(12).reshape(3, 4)
    i = nt.asarray(2)
    assert x[i].tolist() == [8, 9, 10, 11]
    assert x[:, i].tolist() == [2, 6, 10]
    assert x[i, i].item() == 10
    assert x.at[i].set(0)[2].tolist() == [0] * 4


def test_a_key_sees_the_value_of_an_index_when_it_runs():
    x = nt.arange(10)
    i = nt.arange(3) * 2
    assert x[i + 1].tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "Index 3 is out of range for axis 0 with size 3"),
        ((0, -5), "Index -5 is out of range for axis 1 with size 4"),
        ((slice(None), [0, 4]), "Index 4 is out of range for axis 1 with size 4"),
        (np.asarray([-4]), "Index -4 is out of range for axis 0 with size 3"),
        ((0, 0, 0), "3 indices .* 2 dimensions"),
        ((Ellipsis, Ellipsis), "Two ellipses"),
        ([0.5], "float64"),
        (1.0, "1.0 is not an index"),
        ("a", "'a' is not an index"),
        (np.asarray([True, False]), "size 2 .* expected 3"),
        (np.ones((3, 3), dtype=bool), "size 3 .* expected 4"),
    ],
    ids=str,
)
def test_a_wrong_key_raises_at_once(key, message):
    x = nt.zeros((3, 4))
    with pytest.raises(IndexError, match=message):
        x[key]
    with pytest.raises(IndexError, match=message):
        x.at[key].set(0)


@pytest.mark.parametrize(
    "read",
    [
        lambda x, i: x[i],
        lambda x, i: x[:, i],
        lambda x, i: x[i, i],
        lambda x, i: nt.take(x, i, axis=0),
        lambda x, i: nt.take_along_axis(x, nt.reshape(i, (1, -1)), axis=1),
        lambda x, i: x.at[i].set(1),
        lambda x, i: x.at[i, i].add(1),
    ],
)
def test_an_index_out_of_range_on_the_device_raises_when_read(read):
    x = nt.zeros((4, 4))
    good = read(x, nt.asarray([0, -4]) + 0)
    bad = read(x, nt.asarray([1, 7]) + 0)
    for _ in range(2):
        with pytest.raises(nt.DeviceIndexError, match=r"Index 7 .* axis [01] with size 4"):
            bad.tolist()
    assert (np.asarray(good) >= 0).all()
    assert np.asarray(x).sum() == 0


MODES = {
    "set": lambda old, new: new,
    "add": np.add,
    "multiply": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_update_at_a_basic_key(mode, data):
    values, array = data.draw(array_pairs(("float64", *INTEGERS), special=False))
    before = values.copy()
    key = data.draw(basic_keys(values.shape))
    part = values[key]
    shape = part.shape[data.draw(st.integers(0, part.ndim)) :]
    new = data.draw(arrays((str(values.dtype),), shape, special=False))
    update = data.draw(laid_out(new))
    expected = values.copy()
    expected[key] = MODES[mode](part, new)
    assert_same(getattr(array.at[key], mode)(update), expected)
    assert_same(array, before)


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_update_at_an_advanced_key(mode, data):
    values, array = data.draw(array_pairs(("float64", "int32", "uint8"), special=False))
    before = values.copy()
    key = data.draw(advanced_keys(values.shape, unique=True))
    part = looked_up(values, key)
    new = data.draw(arrays((str(values.dtype),), part.shape, special=False))
    expected = values.copy()
    expected[key] = MODES[mode](part, new)
    for form in (key, on_device(key)):
        assert_same(getattr(array.at[form], mode)(nt.asarray(new)), expected)
    assert_same(array.at[key].get(), part)
    assert_same(array, before)


@given(st.data())
def test_an_element_named_twice_gets_both_or_the_last(data):
    values, array = data.draw(
        array_pairs(INTEGERS, st.tuples(st.integers(1, 5), st.integers(0, 3)))
    )
    index = data.draw(
        hnp.arrays("int64", st.integers(0, 9), elements=st.integers(0, len(values) - 1))
    )
    new = data.draw(arrays((str(values.dtype),), (index.size, values.shape[1]), bound=9))
    for mode in MODES:
        expected = values.copy()
        for i, row in zip(index, new, strict=True):
            expected[i] = MODES[mode](expected[i], row)
        assert_same(getattr(array.at[nt.asarray(index)], mode)(nt.asarray(new)), expected)


@given(st.data())
def test_a_scalar_behind_a_mask(data):
    values, array = data.draw(array_pairs(("float32", "int64")))
    mask = data.draw(hnp.arrays(np.bool_, values.shape[: data.draw(st.integers(0, values.ndim))]))
    for mode in MODES:
        expected = values.copy()
        expected[mask] = MODES[mode](values[mask], values.dtype.type(3))
        assert_same(getattr(array.at[nt.asarray(mask)], mode)(3), expected)


def test_an_update_rebinds_the_name():
    x = nt.zeros(4)
    y = x
    view = x[1:3]
    x[1] = 5
    assert x.tolist() == [0, 5, 0, 0]
    assert y is x
    assert view.tolist() == [0, 0]
    z = x[:]
    x[0] += 1
    assert x.tolist() == [1, 5, 0, 0]
    assert z.tolist() == [0, 5, 0, 0]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: +x, lambda x: x.copy()])
def test_an_update_of_a_copy_leaves_the_array_alone(copied):
    x = nt.arange(3)
    y = copied(x)
    y[0] = 7
    assert x.tolist() == [0, 1, 2]
    assert y.tolist() == [7, 1, 2]


def test_many_updates_of_one_array():
    x = nt.zeros((50, 3), dtype=nt.int64)
    for i in range(50):
        x = x.at[i].set(i)
    assert_same(x, np.repeat(np.arange(50), 3).reshape(50, 3))


def test_values_take_the_dtype_of_the_array():
    x = nt.zeros(3, dtype=nt.int8)
    assert x.at[0].set(2.7).tolist() == [2, 0, 0]
    assert x.at[0].set(nt.asarray(2.7)).dtype is nt.int8
    assert nt.zeros(2, dtype=nt.bool).at[0].set(3).tolist() == [True, False]
    with pytest.raises(OverflowError, match="300"):
        x.at[0].set(300)
    with pytest.raises(TypeError, match=r"add on a int8 array was given a float"):
        x.at[0].add(2.7)
    with pytest.raises(TypeError, match="complex"):
        x.at[0].set(1j)
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        x.at[:].set([1, 2])


@given(st.data())
def test_take(data):
    values, array = data.draw(array_pairs(shape=shapes.filter(lambda s: s and 0 not in s)))
    axis = data.draw(st.none() | st.integers(-values.ndim, values.ndim - 1))
    size = values.size if axis is None else values.shape[axis]
    dtype = data.draw(st.sampled_from(["int64", "int32", "int16"]))
    index = data.draw(
        hnp.arrays(dtype, hnp.array_shapes(max_dims=2), elements=st.integers(-size, size - 1))
    )
    on_the_device = data.draw(laid_out(index))
    expected = np.take(values, index, axis)
    assert_same(nt.take(array, on_the_device, axis=axis), expected)
    assert_same(nt.take(array, index.tolist(), axis=axis), expected)
    assert_same(nt.take(array, 0, axis=axis), np.take(values, 0, axis))


@given(st.data())
def test_take_along_axis(data):
    values, array = data.draw(array_pairs(shape=shapes.filter(lambda s: s and 0 not in s)))
    axis = data.draw(st.integers(-values.ndim, values.ndim - 1))
    size = values.shape[axis]
    shape = list(values.shape)
    shape[axis] = data.draw(st.integers(0, 4))
    index = data.draw(hnp.arrays("int64", tuple(shape), elements=st.integers(-size, size - 1)))
    expected = np.take_along_axis(values, index, axis)
    assert_same(nt.take_along_axis(array, nt.asarray(index), axis=axis), expected)
    narrow = index[:1] if values.ndim > 1 and axis % values.ndim else index
    expected = np.take_along_axis(values, narrow, axis)
    assert_same(nt.take_along_axis(array, nt.asarray(narrow), axis=axis), expected)


def test_take_refuses():
    x = nt.zeros((3, 4))
    with pytest.raises(IndexError, match="Index 4 is out of range for axis 1 with size 4"):
        nt.take(x, [0, 4], axis=1)
    with pytest.raises(IndexError, match="Index -4 is out of range for axis 0 with size 3"):
        nt.take(x, -4, axis=0)
    with pytest.raises(TypeError, match="float32"):
        nt.take(x, nt.zeros(1), axis=0)
    with pytest.raises(ValueError, match="rank of the array, 2"):
        nt.take_along_axis(x, nt.asarray([0]))


@given(st.data())
def test_slice_update(data):
    values, array = data.draw(array_pairs(shape=shapes.filter(len), special=False))
    count = data.draw(st.integers(1, values.ndim))
    axes = data.draw(st.permutations(range(values.ndim)))[:count]
    shape = list(values.shape)
    starts = []
    for axis in axes:
        shape[axis] = data.draw(st.integers(0, values.shape[axis]))
        starts.append(data.draw(st.integers(0, values.shape[axis] - shape[axis])))
    new = data.draw(arrays((str(values.dtype),), tuple(shape), special=False))
    expected = values.copy()
    region = [slice(None)] * values.ndim
    for axis, start in zip(axes, starts, strict=True):
        region[axis] = slice(start, start + shape[axis])
    expected[tuple(region)] = new
    named = [axis - values.ndim if data.draw(st.booleans()) else axis for axis in axes]
    assert_same(nt.slice_update(array, nt.asarray(new), starts, named), expected)
    late = [nt.asarray(start) + 0 for start in starts]
    assert_same(nt.slice_update(array, nt.asarray(new), late, named), expected)
    assert_same(array, values)


@pytest.mark.parametrize(("start", "first"), [(-3, 0), (2, 2), (4, 3), (100, 3)])
def test_slice_update_clamps_a_start_of_the_device(start, first):
    found = nt.slice_update(nt.zeros(5), nt.ones(2), nt.asarray(start), 0)
    expected = np.zeros(5)
    expected[first : first + 2] = 1
    assert_same(found, expected, dtype="float32")


def test_slice_update_grows_a_cache():
    cache = nt.zeros((2, 16, 4))
    for i in range(0, 16, 2):
        cache = nt.slice_update(cache, nt.full((2, 2, 4), i + 1.0), nt.asarray(i), 1)
        nt.eval(cache)
    expected = np.repeat(np.arange(1, 17, 2), 2)
    assert_same(cache, np.broadcast_to(expected[:, None], (2, 16, 4)), dtype="float32")


@pytest.mark.parametrize(
    ("update", "start", "axis", "kind", "message"),
    [
        ((2, 4), 2, 0, ValueError, "Start 2 on axis 0 .* expected 0 to 1"),
        ((2, 4), -1, 0, ValueError, "Start -1 on axis 0"),
        ((4, 4), 0, 0, ValueError, r"\(4, 4\)"),
        ((3, 3), 0, 0, ValueError, r"\(3, 3\)"),
        ((4,), 0, 0, ValueError, r"\(4,\)"),
        ((2, 4), (0, 0), 0, ValueError, "2 starts"),
        ((2, 4), 0, 2, IndexError, "Axis 2"),
        ((2, 4), 0.5, 0, TypeError, "0.5"),
        ((2, 4), "device", 0, TypeError, "float32"),
    ],
)
def test_slice_update_refuses(update, start, axis, kind, message):
    start = nt.zeros(()) if start == "device" else start
    with pytest.raises(kind, match=message):
        nt.slice_update(nt.zeros((3, 4)), nt.ones(update), start, axis)


@given(st.data())
def test_iteration_and_unpacking(data):
    values, array = data.draw(array_pairs(EVERY, shapes.filter(len)))
    for found, expected in zip(array, values, strict=True):
        assert_same(found, expected)


def test_index_arrays_that_do_not_fit_together_are_an_index_error():
    x = nt.zeros((3, 3))
    with pytest.raises(IndexError, match=r"\(2,\).*\(3,\)"):
        x[[0, 1], [0, 1, 2]]
    with pytest.raises(IndexError, match=r"\(2,\).*\(3,\)"):
        x.at[nt.asarray([0, 1]), nt.asarray([0, 1, 2])].set(1)
