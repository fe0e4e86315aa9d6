"""Reductions and running totals give what NumPy gives, whatever the layout of their input."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from strategies import (
    COMPLEXES,
    EVERY,
    INTEGERS,
    NUMERIC,
    ORDERED,
    REALS,
    array_pairs,
    assert_same,
    axes,
    full_shapes,
    shapes,
    widest_float,
)

pytestmark = pytest.mark.usefixtures("device")

FLOATS = REALS + COMPLEXES


def accumulator(dtype):
    """The dtype that the standard gives to a sum of `dtype`."""
    return {"b": "int64", "i": "int64", "u": "uint64"}.get(np.dtype(dtype).kind, str(dtype))


def wide(values):
    """The values in a dtype in which NumPy rounds less than any result is to be exact."""
    return values.astype({"f": "float64", "c": "complex128"}.get(values.dtype.kind, values.dtype))


@st.composite
def reductions(draw, dtypes, shape=shapes, special=True, bound=100):
    values, array = draw(array_pairs(dtypes, shape, special, bound))
    return values, array, draw(axes(values.ndim)), draw(st.booleans())


@pytest.mark.parametrize("name", ["sum", "prod"])
@given(data=st.data())
def test_sum_and_prod(name, data):
    bound = 100 if name == "sum" else 3
    values, array, axis, keepdims = data.draw(reductions(EVERY, bound=bound))
    target = accumulator(values.dtype)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(
            wide(values), axis=axis, keepdims=keepdims, dtype=wide(values[()].astype(target)).dtype
        )
        expected = np.asarray(exact).astype(target)
    found = getattr(nt, name)(array, axis=axis, keepdims=keepdims)
    # The rounding error of a sum is relative to its largest terms, here up to 600 of 100.
    scale = 100 * 20 if name == "sum" else 20
    assert_same(found, expected, exact=values.dtype.kind in "biu", scale=scale)


@given(reductions(("bool", *INTEGERS)), st.sampled_from(INTEGERS))
def test_sum_in_a_dtype_wraps_in_it(reduction, dtype):
    values, array, axis, keepdims = reduction
    expected = np.sum(values, axis=axis, keepdims=keepdims, dtype=dtype)
    assert_same(nt.sum(array, axis=axis, keepdims=keepdims, dtype=dtype), expected)


@given(reductions(INTEGERS, bound=20))
def test_sum_of_integers_in_a_floating_dtype(reduction):
    values, array, axis, keepdims = reduction
    dtype = widest_float()
    expected = np.sum(values, axis=axis, keepdims=keepdims, dtype=dtype)
    assert_same(nt.sum(array, axis=axis, keepdims=keepdims, dtype=dtype), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int32"])
@pytest.mark.parametrize("shape", [(100_000,), (300, 400), (3, 7, 5000)])
def test_sum_of_many(shape, dtype):
    values = np.random.default_rng(7).normal(size=shape)
    values = (values * 100).astype(dtype)
    array = nt.asarray(values)
    for axis in (None, 0, -1):
        expected = wide(values).sum(axis=axis).astype(accumulator(dtype))
        found = nt.sum(array, axis=axis)
        # Pairwise, or in several lanes: the error is a few roundings of the sum of magnitudes.
        error = 1e-6 * abs(values).astype("float64").sum(axis=axis) if dtype != "int32" else 0
        assert found.dtype.name == accumulator(dtype)
        assert (abs(np.asarray(found) - expected) <= error).all()


@given(array_pairs(("float32",), special=False), st.data())
def test_a_result_does_not_depend_on_the_layout(pair, data):
    values, array = pair
    axis = data.draw(axes(values.ndim))
    plain = nt.asarray(values)
    for function in (nt.sum, nt.mean, nt.var, nt.logsumexp):
        np.testing.assert_array_equal(
            np.asarray(function(array, axis=axis)), np.asarray(function(plain, axis=axis))
        )


@pytest.mark.parametrize("name", ["max", "min"])
@given(data=st.data())
def test_extremes(name, data):
    values, array, axis, keepdims = data.draw(reductions(ORDERED))
    chosen = range(values.ndim) if axis is None else np.atleast_1d(np.asarray(axis, dtype=int))
    if 0 in [values.shape[i] for i in chosen]:
        with pytest.raises(ValueError, match="no elements"):
            getattr(nt, name)(array, axis=axis)
        return
    expected = getattr(np, name)(values, axis=axis, keepdims=keepdims)
    assert_same(getattr(nt, name)(array, axis=axis, keepdims=keepdims), expected)


@pytest.mark.parametrize("name", ["all", "any"])
@given(data=st.data())
def test_all_and_any(name, data):
    values, array, axis, keepdims = data.draw(reductions(EVERY, bound=1))
    expected = getattr(np, name)(values, axis=axis, keepdims=keepdims)
    assert_same(getattr(nt, name)(array, axis=axis, keepdims=keepdims), expected)


@pytest.mark.parametrize("name", ["mean", "var", "std"])
@given(data=st.data())
def test_moments(name, data):
    values, array, axis, keepdims = data.draw(reductions(EVERY, full_shapes, special=False))
    if name != "mean" and values.dtype.kind == "c":
        return
    options = {} if name == "mean" else {"correction": data.draw(st.sampled_from([0, 1, 0.5]))}
    target = str(values.dtype) if values.dtype.kind in "fc" else "float32"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = getattr(np, name)(wide(values) * 1.0, axis=axis, keepdims=keepdims, **options)
        expected = np.asarray(expected).astype(target)
    found = getattr(nt, name)(array, axis=axis, keepdims=keepdims, **options)
    assert_same(found, expected, exact=False, scale=2000)


@given(array_pairs(("complex64",), full_shapes))
def test_variance_of_complex_numbers_is_real(pair):
    values, array = pair
    expected = values.astype("complex128").var(axis=0 if values.ndim else None)
    found = nt.var(array, axis=0 if values.ndim else None)
    assert_same(found, expected, exact=False, dtype="float32", scale=1e4)


def test_mean_of_nothing_is_nan():
    assert np.isnan(nt.mean(nt.ones(0)).item())
    assert np.isnan(nt.var(nt.ones(1), correction=1).item())
    assert nt.sum(nt.ones((0, 3)), axis=0).tolist() == [0, 0, 0]


def test_mean_of_float16_does_not_overflow():
    assert nt.mean(nt.full(1000, 1000, dtype=nt.float16)).item() == 1000


@given(reductions(INTEGERS + REALS, full_shapes))
def test_logsumexp(reduction):
    values, array, axis, keepdims = reduction
    target = str(values.dtype) if values.dtype.kind == "f" else "float32"
    with np.errstate(all="ignore"):
        expected = np.logaddexp.reduce(
            values.astype("float64").reshape(values.shape or (1,)),
            axis=(tuple(range(values.ndim)) if axis is None else axis) if values.ndim else 0,
            keepdims=keepdims and values.ndim > 0,
        )
    assert_same(
        nt.logsumexp(array, axis=axis, keepdims=keepdims),
        expected,
        exact=False,
        dtype=target,
        scale=10,
    )


@given(st.data())
def test_softmax(data):
    values, array = data.draw(
        array_pairs(INTEGERS + REALS, full_shapes.filter(len), special=False, bound=20)
    )
    axis = data.draw(axes(values.ndim, none=False).filter(lambda axis: axis != ()))
    target = str(values.dtype) if values.dtype.kind == "f" else "float32"
    shifted = np.exp(values - values.astype("float64").max(axis=axis, keepdims=True))
    expected = shifted / shifted.sum(axis=axis, keepdims=True)
    assert_same(nt.softmax(array, axis=axis), expected, exact=False, dtype=target, scale=10)


def test_softmax_at_infinity():
    x = nt.asarray([[0.0, -np.inf, 0.0], [-np.inf, 5.0, -np.inf]], dtype="float32")
    assert nt.softmax(x).tolist() == [[0.5, 0, 0.5], [0, 1, 0]]
    assert nt.logsumexp(nt.asarray([-np.inf, -np.inf])).item() == -np.inf
    assert nt.logsumexp(nt.zeros((2, 0)), axis=1).tolist() == [-np.inf] * 2


@pytest.mark.parametrize(("name", "numpy_name"), [("sum", "cumsum"), ("prod", "cumprod")])
@given(data=st.data())
def test_cumulative(name, numpy_name, data):
    values, array = data.draw(
        array_pairs(EVERY, shapes.filter(len), special=False, bound=100 if name == "sum" else 3)
    )
    axis = data.draw(st.integers(-values.ndim, values.ndim - 1))
    target = accumulator(values.dtype)
    running = getattr(np, numpy_name)(wide(values), axis=axis, dtype=wide(np.ones(0, target)).dtype)
    expected = running.astype(target)
    function = getattr(nt, f"cumulative_{name}")
    exact = values.dtype.kind in "biu"
    assert_same(function(array, axis=axis), expected, exact=exact, scale=1000)
    first = np.full_like(np.take(expected, [], axis=axis), 0 if name == "sum" else 1)
    shape = list(first.shape)
    shape[axis] = 1
    initial = np.full(shape, 0 if name == "sum" else 1, dtype=target)
    longer = np.concatenate([initial, expected], axis)
    assert_same(function(array, axis=axis, include_initial=True), longer, exact=exact, scale=1000)


def test_cumulative_needs_an_axis_beyond_one_dimension():
    assert nt.cumulative_sum(nt.arange(4)).tolist() == [0, 1, 3, 6]
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        nt.cumulative_sum(nt.ones((2, 2)))


def test_cumulative_sum_of_many():
    values = np.random.default_rng(3).integers(-9, 9, (3, 100_000))
    assert_same(nt.cumulative_sum(nt.asarray(values), axis=1), values.cumsum(axis=1))
    assert_same(nt.cumulative_sum(nt.asarray(values), axis=0), values.cumsum(axis=0))


@given(array_pairs(NUMERIC, shapes.filter(len), special=False), st.integers(0, 3))
def test_diff(pair, n):
    values, array = pair
    assert_same(nt.diff(array, n=n), np.diff(values, n=n))
    assert_same(nt.diff(array, n=n, axis=0), np.diff(values, n=n, axis=0))


@given(array_pairs(NUMERIC, shapes.filter(len), special=False), st.integers(0, 3), st.data())
def test_diff_with_ends(pair, n, data):
    values, array = pair
    axis = data.draw(axes(values.ndim, none=False, tuples=False))
    for ends in ({"prepend": 1}, {"append": 2}, {"prepend": 1, "append": 1}):
        theirs = {name: np.concatenate([values] * times, axis) for name, times in ends.items()}
        ours = {name: nt.asarray(value) for name, value in theirs.items()}
        assert_same(nt.diff(array, axis=axis, n=n, **ours), np.diff(values, n, axis, **theirs))


NAMES = "sum prod max min all any mean std var logsumexp argmax argmin count_nonzero sort argsort"


@pytest.mark.parametrize("name", [*NAMES.split(), "softmax", "flip", "unstack", "cumulative_sum"])
def test_an_axis_by_position(name):
    function = getattr(nt, name)
    x = nt.reshape(nt.arange(6), (2, 3)) * 1.5
    for axis in (0, 1, -1):
        assert repr(function(x, axis)) == repr(function(x, axis=axis))


@pytest.mark.parametrize("name", ["stack", "concat", "concatenate"])
def test_an_axis_after_a_list_by_position(name):
    x = nt.reshape(nt.arange(6), (2, 3))
    for axis in (0, 1, -1):
        got = getattr(nt, name)([x, x], axis)
        assert_same(got, getattr(np, name)([np.asarray(x)] * 2, axis))


@pytest.mark.parametrize("name", ["max", "min", "logsumexp", "softmax"])
def test_complex_numbers_have_no_order(name):
    with pytest.raises(TypeError, match="complex64"):
        getattr(nt, name)(nt.ones(3, dtype="complex64"))


def test_sum_is_a_number():
    with pytest.raises(TypeError, match="bool"):
        nt.sum(nt.ones(3), dtype=nt.bool)
    with pytest.raises(TypeError, match="complex64"):
        nt.sum(nt.ones(3, dtype="complex64"), dtype=nt.float32)


def test_axis_named_twice():
    with pytest.raises(ValueError, match="twice"):
        nt.sum(nt.ones((2, 3)), axis=(0, -2))
    with pytest.raises(TypeError, match="'x'"):
        nt.sum(nt.ones((2, 3)), axis="x")
