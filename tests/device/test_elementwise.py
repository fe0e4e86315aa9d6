"""Elementwise functions give what NumPy gives, for every dtype, layout and broadcast."""

import fractions
import math
import operator

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt
from strategies import (
    COMPLEXES,
    EVERY,
    INTEGERS,
    NUMERIC,
    REALS,
    array_pairs,
    arrays,
    assert_same,
    laid_out,
    shapes,
    widest_float,
)

pytestmark = pytest.mark.usefixtures("device")

FLOATING = INTEGERS + REALS + COMPLEXES  # what functions of floating-point numbers take
REAL = INTEGERS + REALS

# nitinol's name: (NumPy's name, dtypes, whether the result is exact).
UNARY = {
    "negative": ("negative", NUMERIC, True),
    "positive": ("positive", NUMERIC, True),
    "abs": ("abs", NUMERIC, False),
    "sign": ("sign", NUMERIC, False),
    "square": ("square", NUMERIC, False),
    "conj": ("conj", NUMERIC, True),
    "real": ("real", NUMERIC, True),
    "imag": ("imag", NUMERIC, True),
    "floor": ("floor", REAL, True),
    "ceil": ("ceil", REAL, True),
    "trunc": ("trunc", REAL, True),
    "round": ("round", REAL + COMPLEXES, True),
    "isnan": ("isnan", NUMERIC, True),
    "isinf": ("isinf", NUMERIC, True),
    "isfinite": ("isfinite", NUMERIC, True),
    "signbit": ("signbit", REALS, True),
    "logical_not": ("logical_not", EVERY, True),
    "bitwise_invert": ("invert", ("bool", *INTEGERS), True),
    "sqrt": ("sqrt", FLOATING, False),
    "exp": ("exp", FLOATING, False),
    "expm1": ("expm1", FLOATING, False),
    "log": ("log", FLOATING, False),
    "log1p": ("log1p", FLOATING, False),
    "log2": ("log2", FLOATING, False),
    "log10": ("log10", FLOATING, False),
    "sin": ("sin", FLOATING, False),
    "cos": ("cos", FLOATING, False),
    "tan": ("tan", FLOATING, False),
    "asin": ("arcsin", FLOATING, False),
    "acos": ("arccos", FLOATING, False),
    "atan": ("arctan", FLOATING, False),
    "sinh": ("sinh", FLOATING, False),
    "cosh": ("cosh", FLOATING, False),
    "tanh": ("tanh", FLOATING, False),
    "asinh": ("arcsinh", FLOATING, False),
    "acosh": ("arccosh", FLOATING, False),
    "atanh": ("arctanh", FLOATING, False),
    "reciprocal": ("reciprocal", REALS + COMPLEXES, False),
}
OF_FLOATS = {name for name, row in UNARY.items() if row[1] is FLOATING}

BINARY = {
    "add": ("add", NUMERIC, True),
    "subtract": ("subtract", NUMERIC, True),
    "multiply": ("multiply", NUMERIC, False),
    "divide": ("divide", NUMERIC, False),
    "maximum": ("maximum", REAL, True),
    "minimum": ("minimum", REAL, True),
    "hypot": ("hypot", REALS, False),
    "copysign": ("copysign", REALS, True),
    "nextafter": ("nextafter", REALS, True),
    "logaddexp": ("logaddexp", REALS, False),
    "atan2": ("arctan2", REALS, False),
    "equal": ("equal", EVERY, True),
    "not_equal": ("not_equal", EVERY, True),
    "less": ("less", REAL, True),
    "less_equal": ("less_equal", REAL, True),
    "greater": ("greater", REAL, True),
    "greater_equal": ("greater_equal", REAL, True),
    "logical_and": ("logical_and", EVERY, True),
    "logical_or": ("logical_or", EVERY, True),
    "logical_xor": ("logical_xor", EVERY, True),
    "bitwise_and": ("bitwise_and", ("bool", *INTEGERS), True),
    "bitwise_or": ("bitwise_or", ("bool", *INTEGERS), True),
    "bitwise_xor": ("bitwise_xor", ("bool", *INTEGERS), True),
}

OPERATORS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
}


def in_numpy(name, *values):
    """NumPy's result, with neither its warnings nor its ``float64`` for integers."""
    with np.errstate(all="ignore"):
        return np.asarray(getattr(np, name)(*values))


def promoted(*values):
    target = nt.result_type(*(nt.dtypes.as_dtype(value.dtype) for value in values)).numpy
    with np.errstate(all="ignore"):
        return [value.astype(target) for value in values]


@pytest.mark.parametrize("name", UNARY)
@given(data=st.data())
def test_unary_function_gives_what_numpy_gives(name, data):
    numpy_name, dtypes, exact = UNARY[name]
    bound = 10 if name in ("exp", "expm1", "sinh", "cosh", "square", "tan") else 100
    # Complex functions at infinities have many answers in use.
    values, array = data.draw(array_pairs(dtypes, bound=bound))
    if name in OF_FLOATS and values.dtype.kind in "iu":
        values = values.astype(np.float32)
    expected = in_numpy(numpy_name, values)
    exact = exact or expected.dtype.kind in "biu"
    assert_same(getattr(nt, name)(array), expected, exact=exact, scale=4)


@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_binary_function_broadcasts_and_gives_what_numpy_gives(name, data):
    numpy_name, dtypes, exact = BINARY[name]
    pair = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4))
    first, second = (data.draw(arrays(dtypes, shape)) for shape in pair.input_shapes)
    arrays_ = [data.draw(laid_out(first)), data.draw(laid_out(second))]
    x, y = promoted(first, second)
    # uint64 with a signed integer is float32, which has no bits to work on.
    assume(not name.startswith("bitwise") or x.dtype.kind != "f")
    if name == "divide" and x.dtype.kind in "iu":
        x, y = x.astype(np.float32), y.astype(np.float32)
    expected = in_numpy(numpy_name, x, y)
    if x.dtype.kind == "c" and name == "divide":
        # Division by zero: any non-finite number will do.
        keep = np.isfinite(expected)
        found = nt.divide(*arrays_)
        assert found.shape == expected.shape
        np.testing.assert_array_equal(np.isfinite(np.asarray(found)), keep)
        expected = np.where(keep, expected, 0)
        assert_same(nt.where(nt.asarray(keep), found, 0), expected, exact=False, scale=4)
        return
    exact = exact or expected.dtype.kind in "biu"
    assert_same(getattr(nt, name)(*arrays_), expected, exact=exact, scale=4)
    if name in OPERATORS:
        assert_same(OPERATORS[name](*arrays_), expected, exact=exact, scale=4)


@pytest.mark.parametrize(("name", "numpy_name"), [("floor_divide",) * 2, ("remainder",) * 2])
@given(data=st.data())
def test_division_with_floor_gives_what_numpy_gives(name, numpy_name, data):
    first = data.draw(arrays(REAL, shapes, special=False))
    divisor = data.draw(arrays((str(first.dtype),), first.shape, special=False))
    second = np.where(divisor == 0, 3, divisor).astype(first.dtype)
    expected = in_numpy(numpy_name, first, second)
    x, y = data.draw(laid_out(first.copy())), nt.asarray(second)
    if not np.array_equal(np.asarray(x), first, equal_nan=True):
        expected = in_numpy(numpy_name, np.asarray(x), second)
    assert_same(getattr(nt, name)(x, y), expected, exact=first.dtype.kind in "iu", scale=50)


@given(data=st.data())
def test_integer_power(data):
    base = data.draw(arrays(INTEGERS, shapes))
    exponent = data.draw(hnp.arrays(base.dtype, base.shape, elements=st.integers(0, 5)))
    found = nt.pow(nt.asarray(base), nt.asarray(exponent))
    assert_same(found, base**exponent)


@given(data=st.data())
def test_floating_power(data):
    dtype = widest_float()
    width = 8 * np.dtype(dtype).itemsize
    base = data.draw(hnp.arrays(dtype, shapes, elements=st.floats(0.125, 8, width=width)))
    exponent = data.draw(hnp.arrays(dtype, base.shape, elements=st.floats(-4, 4, width=width)))
    found = nt.asarray(base) ** nt.asarray(exponent)
    assert_same(found, base**exponent, exact=False, scale=10)


@pytest.mark.parametrize("name", ["bitwise_left_shift", "bitwise_right_shift"])
@given(data=st.data())
def test_shifts(name, data):
    values = data.draw(arrays(INTEGERS, shapes))
    by = data.draw(hnp.arrays(values.dtype, values.shape, elements=st.integers(0, 6)))
    expected = getattr(np, name)(values, by)
    assert_same(getattr(nt, name)(nt.asarray(values), nt.asarray(by)), expected)


@given(array_pairs(REALS, bound=20))
def test_sigmoid_and_silu(pair):
    values, array = pair
    wide = values.astype(np.float64)
    with np.errstate(all="ignore"):
        sigmoid = 1 / (1 + np.exp(-wide))
        silu = wide * sigmoid
    name = str(values.dtype)
    assert_same(nt.sigmoid(array), sigmoid, exact=False, dtype=name, scale=4)
    assert_same(nt.silu(array), silu, exact=False, dtype=name, scale=4)


@given(array_pairs(("float32", "float64"), special=False, bound=6))
def test_erf(pair):
    values, array = pair
    expected = np.vectorize(math.erf, otypes=[values.dtype])(values)
    assert_same(nt.erf(array), expected, exact=False, scale=4)


@given(array_pairs(REAL), st.integers(0, 20), st.integers(21, 50))
def test_clip(pair, low, high):
    values, array = pair
    assert_same(nt.clip(array, low, high), np.clip(values, low, high))
    assert_same(nt.clip(array, min=low), np.maximum(values, values.dtype.type(low)))
    assert_same(nt.clip(array, max=high), np.minimum(values, values.dtype.type(high)))
    assert_same(nt.clip(array), values)


@given(array_pairs(("float32", "float64"), special=False), st.integers(-2, 3))
def test_round_to_decimals(pair, decimals):
    values, array = pair
    expected = np.round(values, decimals)
    assert_same(nt.round(array, decimals), expected, exact=False, scale=100)


@given(array_pairs(NUMERIC), st.sampled_from([2, 3.5, 1.0 + 2.0j]))
def test_python_scalars_are_weak(pair, scalar):
    values, array = pair
    target = nt.result_type(array, scalar).numpy
    with np.errstate(all="ignore"):
        expected = values.astype(target) + np.asarray(scalar).astype(target)
    assert_same(array + scalar, expected)
    assert_same(scalar + array, expected)
    assert_same(nt.add(array, scalar), expected)


def test_python_scalar_keeps_the_dtype_of_its_kind():
    assert (nt.ones(2, dtype="int8") + 1).dtype is nt.int8
    assert (nt.ones(2, dtype="float16") * 2.5).dtype is nt.float16
    assert (nt.ones(2, dtype="int8") * 2.5).dtype is nt.float32
    if nt.default_device().supports("complex128"):
        assert (nt.ones(2, dtype="float64") * 1j).dtype is nt.complex128


def test_integer_scalar_must_fit():
    with pytest.raises(OverflowError, match="300"):
        nt.ones(2, dtype="uint8") + 300


def test_shapes_must_broadcast():
    with pytest.raises(ValueError, match=r"(?s)\(3,\).*\(4,\)"):
        nt.ones(3) + nt.ones(4)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bitwise_and", ("float32", "float32")),
        ("bitwise_invert", ("float32",)),
        ("less", ("complex64", "complex64")),
        ("maximum", ("complex64", "complex64")),
        ("floor", ("complex64",)),
        ("negative", ("bool",)),
        ("subtract", ("bool", "bool")),
        ("clip", ("complex64",)),
        ("atan2", ("complex64", "complex64")),
    ],
)
def test_dtypes_a_function_is_not_defined_for(name, arguments):
    with pytest.raises(TypeError, match=arguments[0]):
        getattr(nt, name)(*(nt.ones(2, dtype=dtype) for dtype in arguments))


def test_functions_that_change_nothing_give_another_handle():
    x = nt.arange(3)
    y = nt.floor(x)
    y[0] = 7
    assert x.tolist() == [0, 1, 2]
    assert y.tolist() == [7, 1, 2]


@pytest.mark.parametrize("digits", [None, 0, 1, 2, -1])
def test_round_of_python(device, digits):
    x = nt.asarray([1.26, -2.5, 17.0])
    rounded = round(x) if digits is None else round(x, digits)
    assert repr(rounded) == repr(nt.round(x, digits or 0))


COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
@given(data=st.data())
def test_comparison_with_an_integer_that_does_not_fit(compare, data):
    values, array = data.draw(array_pairs(INTEGERS))
    info = np.iinfo(values.dtype)
    value = data.draw(
        st.integers(info.max + 1, info.max + 2**70) | st.integers(info.min - 2**70, info.min - 1)
    )
    expected = compare(values.astype(object), value).astype(bool)
    assert_same(compare(array, value), expected)
    assert_same(compare(value, array), compare(value, values.astype(object)).astype(bool))


def test_comparison_with_an_integer_that_does_not_fit_depends_on_the_array():
    failed = nt.take(nt.arange(3), nt.asarray([7]))
    for _ in range(2):
        with pytest.raises(nt.DeviceIndexError):
            (failed == 2**70).tolist()


@pytest.mark.parametrize("compare", [operator.eq, operator.ne])
@pytest.mark.parametrize("other", [[1, 2, 3], (1, 2, 3)])
def test_equality_with_a_list_is_refused(compare, other):
    with pytest.raises(TypeError, match=type(other).__name__):
        compare(nt.arange(3), other)


@given(array_pairs(INTEGERS, bound=2**31), st.integers(-25, -1))
def test_round_of_integers_is_exact(pair, decimals):
    values, array = pair
    unit = 10**-decimals
    expected = [unit * round(fractions.Fraction(v, unit)) for v in values.ravel().tolist()]
    info = np.iinfo(values.dtype)
    assume(all(info.min <= v <= info.max for v in expected))
    expected = np.asarray(expected, values.dtype).reshape(values.shape)
    assert_same(nt.round(array, decimals), expected)


def test_round_of_large_integers_is_exact():
    values = [987654321, 2**62 + 1, -15, -25, -16]
    assert nt.round(nt.asarray(values), -1).tolist() == [round(v, -1) for v in values]


@given(array_pairs(REALS), st.integers(20, 500))
def test_round_to_more_decimals_than_there_are(pair, decimals):
    values, array = pair
    assert_same(nt.round(array, decimals), values, exact=False)


def test_round_takes_integers_as_decimals():
    with pytest.raises(TypeError, match=r"1\.5"):
        nt.round(nt.ones(2), 1.5)


@given(array_pairs(INTEGERS), st.integers(0, 127))
def test_divmod_of_a_scalar(pair, scalar):
    values, array = pair
    assume(0 not in values)
    for found, expected in zip(divmod(scalar, array), divmod(scalar, values), strict=True):
        assert_same(found, expected)
