"""Sorting is stable, puts NaN last in both directions, and agrees with NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from strategies import ORDERED, array_pairs, assert_same, shapes

pytestmark = pytest.mark.usefixtures("device")


def stable_order(values, descending):
    """The order of a 1-d array, by Python's own stable sort."""
    missing = np.isnan(values)
    sign = -1 if descending else 1
    numbers = [0 if gone else sign * x for x, gone in zip(values.tolist(), missing, strict=True)]
    return sorted(range(values.size), key=lambda i: (missing[i], numbers[i]))


@given(array_pairs(ORDERED, shapes.filter(len), bound=3), st.booleans(), st.data())
def test_sort_and_argsort(pair, descending, data):
    values, array = pair
    axis = data.draw(st.integers(-values.ndim, values.ndim - 1))
    order = np.apply_along_axis(stable_order, axis, values, descending) if values.size else values
    found = nt.argsort(array, axis=axis, descending=descending)
    assert_same(found, order.astype("int64"))
    if values.size:
        expected = np.take_along_axis(values, order.astype("int64"), axis)
        assert_same(nt.sort(array, axis=axis, descending=descending), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "int64"])
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_many(dtype, descending):
    values = (np.random.default_rng(5).normal(size=50_000) * 100).astype("int64").astype(dtype)
    keys = values.astype("int64")
    order = np.argsort(-keys if descending else keys, kind="stable")
    assert_same(nt.argsort(nt.asarray(values), descending=descending), order)
    assert_same(nt.sort(nt.asarray(values), descending=descending), values[order])


def test_wrong_arguments():
    with pytest.raises(TypeError, match="complex64"):
        nt.sort(nt.ones(2, dtype="complex64"))
    with pytest.raises(IndexError, match="0 dimensions"):
        nt.sort(nt.asarray(1))
