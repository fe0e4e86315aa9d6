"""Searching functions give what NumPy gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt
from strategies import (
    EVERY,
    INTEGERS,
    ORDERED,
    REALS,
    array_pairs,
    arrays,
    assert_same,
    axes,
    full_shapes,
    laid_out,
    shapes,
)

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@given(data=st.data())
def test_argmax_and_argmin(name, data):
    # Few different values, so that there are equals to choose the first of.
    values, array = data.draw(array_pairs(ORDERED, full_shapes, bound=2))
    axis = data.draw(axes(values.ndim, tuples=False))
    keepdims = data.draw(st.booleans())
    expected = getattr(np, name)(values, axis=axis, keepdims=keepdims)
    assert_same(getattr(nt, name)(array, axis=axis, keepdims=keepdims), expected, dtype="int64")


@pytest.mark.parametrize("dtype", ["float32", "int64", "float64"])
@pytest.mark.parametrize("place", [0, 1, 4095, 70_000, 99_999])
def test_argmax_of_many(dtype, place):
    values = np.zeros(100_000, dtype=dtype)
    values[place:] = 5
    assert nt.argmax(nt.asarray(values)).item() == place
    assert nt.argmin(nt.asarray(-values)).item() == place


@given(st.data())
def test_count_nonzero(data):
    values, array = data.draw(array_pairs(bound=1))
    axis = data.draw(axes(values.ndim))
    expected = np.count_nonzero(values, axis=axis)
    assert_same(nt.count_nonzero(array, axis=axis), expected, dtype="int64")


@given(array_pairs(EVERY, shapes.filter(len), bound=1))
def test_nonzero(pair):
    values, array = pair
    found = nt.nonzero(array)
    expected = values.nonzero()
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)


@given(st.data())
def test_where(data):
    pair = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=4))
    one, two, three = pair.input_shapes
    condition = data.draw(arrays(EVERY, one, bound=1))
    first, second = data.draw(arrays(shape=two)), data.draw(arrays(shape=three))
    known = [data.draw(laid_out(each)) for each in (condition, first, second)]
    target = nt.result_type(*known[1:]).numpy
    with np.errstate(all="ignore"):
        expected = np.where(condition, first.astype(target), second.astype(target))
    assert_same(nt.where(*known), expected)


def test_where_with_scalars():
    condition = nt.asarray([True, False])
    assert nt.where(condition, nt.asarray([1, 2], dtype="int8"), 0).dtype is nt.int8
    assert nt.where(condition, 1.5, nt.asarray([1, 2])).tolist() == [1.5, 2]
    assert nt.where(condition, 1, 2).dtype is nt.int64


@given(st.data())
def test_searchsorted(data):
    values = np.sort(data.draw(arrays(INTEGERS + REALS, st.tuples(st.integers(0, 20)), bound=9)))
    wanted, array = data.draw(array_pairs((str(values.dtype),), bound=9, special=False))
    values = values[~np.isnan(values)]
    side = data.draw(st.sampled_from(["left", "right"]))
    found = nt.searchsorted(nt.asarray(values), array, side=side)
    assert_same(found, np.searchsorted(values, wanted, side=side), dtype="int64")
    order = data.draw(st.permutations(range(values.size)))
    order = np.asarray(order, dtype=int)
    shuffled = np.empty_like(values)
    shuffled[order] = values
    found = nt.searchsorted(nt.asarray(shuffled), array, side=side, sorter=nt.asarray(order))
    assert_same(found, np.searchsorted(values, wanted, side=side), dtype="int64")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="no elements"):
        nt.argmax(nt.ones((2, 0)), axis=1)
    with pytest.raises(ValueError, match="no elements"):
        nt.argmin(nt.ones(0))
    assert nt.argmax(nt.ones((0, 2)), axis=1).shape == (0,)
    with pytest.raises(TypeError, match="complex64"):
        nt.argmax(nt.ones(2, dtype="complex64"))
    with pytest.raises(ValueError, match="0-d"):
        nt.nonzero(nt.asarray(1))
    with pytest.raises(ValueError, match="'middle'"):
        nt.searchsorted(nt.ones(2), nt.ones(2), side="middle")
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        nt.searchsorted(nt.ones((2, 2)), nt.ones(2))
