"""Products and linear algebra agree with NumPy, whatever the layout; what fails says where."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt
from nitinol import linalg
from strategies import (
    EVERY,
    INTEGERS,
    array_pairs,
    arrays,
    assert_same,
    laid_out,
    one_of,
    widest_float,
)

pytestmark = pytest.mark.usefixtures("device")

LAPACK = ("float32", "float64", "complex64", "complex128")
FLOATS = ("float16", *LAPACK)


def normal(seed, *shape, dtype=None):
    """Random values of a dtype, or of the real one with the most digits."""
    dtype = widest_float() if dtype is None else dtype
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.normal(size=shape)
    return values.astype(dtype)


def product(a, b):
    """NumPy's matmul, of float16 with the wide sums that ours has."""
    if a.dtype == np.float16:
        return np.matmul(a.astype("float32"), b.astype("float32")).astype("float16")
    return np.matmul(a, b)


@st.composite
def operands(draw):
    """Two operands of matmul in some layout: batches that broadcast, vectors, empty axes."""
    dtype = draw(one_of(EVERY))
    sizes = st.integers(0, 5)
    m, n, k = draw(sizes), draw(sizes), draw(sizes)
    shapes = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=3)
    ).input_shapes
    left = (k,) if draw(st.integers(0, 4)) == 0 else (*shapes[0], m, k)
    right = (k,) if draw(st.integers(0, 4)) == 0 else (*shapes[1], k, n)
    a, b = (draw(arrays((dtype,), shape, special=False, bound=9)) for shape in (left, right))
    first, second = draw(laid_out(a)), draw(laid_out(b))
    return np.asarray(first), np.asarray(second), first, second


@given(operands())
def test_matmul(case):
    a, b, first, second = case
    exact = a.dtype.kind in "biu"
    expected = product(a, b)
    assert_same(first @ second, expected, exact=exact, scale=100)
    assert_same(nt.matmul(first, second), expected, exact=exact, scale=100)


@pytest.mark.parametrize("dtype", EVERY)
@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 700, 900), (700, 1, 900), (3, 4100, 700), (300, 500, 260)]
)
def test_matmul_large(dtype, m, n, k):
    a, b = (100 * normal(seed, *shape) for seed, shape in ((1, (m, k)), (2, (k, n))))
    if np.dtype(dtype).kind in "fc":
        a, b = a / 100, b / 100
    a, b = (
        a.astype("int64").astype(dtype) if dtype in INTEGERS else a.astype(dtype),
        b.astype(dtype),
    )
    exact = np.dtype(dtype).kind in "biu"
    with np.errstate(all="ignore"):
        expected = product(a, b)
    for left in (nt.asarray(a), nt.asarray(a.T.copy()).T):
        assert_same(left @ nt.asarray(b), expected, exact=exact, scale=300)


def test_matmul_promotes():
    wide = widest_float()
    a, b = nt.ones((2, 3), dtype="int32"), nt.ones((3, 2), dtype=wide)
    assert (a @ b).dtype.name == wide
    assert (np.ones((2, 2), dtype="float32") @ nt.ones((2, 2), dtype="float32")).dtype is nt.float32


@pytest.mark.parametrize(
    ("left", "right"),
    [((), (2,)), ((2,), ()), ((2, 3), (2, 3)), ((3,), (2,)), ((4, 2, 3), (2, 3, 2))],
)
def test_matmul_wrong_shapes(left, right):
    with pytest.raises(ValueError, match=r"shape|Shape"):
        nt.ones(left) @ nt.ones(right)


def test_bits_repeat():
    a, b = normal(1, 5, 333, 517, dtype="float32"), normal(2, 517, 411, dtype="float32")
    whole = np.asarray(nt.asarray(a) @ nt.asarray(b))
    again = np.asarray(nt.asarray(a) @ nt.asarray(b))
    assert whole.tobytes() == again.tobytes()


@given(one_of(FLOATS[1:]), st.data())
def test_vecdot(dtype, data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=2))
    k, axis = data.draw(st.integers(0, 6)), data.draw(st.integers(-2, -1))
    shapes = [(*s, k) if axis == -1 or not s else (*s[:-1], k, s[-1]) for s in shapes.input_shapes]
    if min(map(len, shapes)) < 2:
        shapes, axis = [(*s[: len(s) - 1], k) for s in shapes], -1
    a, b = (data.draw(arrays((dtype,), s, special=False, bound=9)) for s in shapes)
    expected = np.sum(np.conj(np.moveaxis(a, axis, -1)) * np.moveaxis(b, axis, -1), axis=-1)
    found = linalg.vecdot(nt.asarray(a), nt.asarray(b), axis=axis)
    assert_same(found, expected.astype(dtype), exact=False, scale=1000)


def test_vecdot_wrong_shapes():
    with pytest.raises(ValueError, match="equal sizes"):
        linalg.vecdot(nt.ones((2, 3)), nt.ones((2, 4)))
    with pytest.raises(ValueError, match="negative axis"):
        linalg.vecdot(nt.ones((2, 3)), nt.ones(3), axis=0)


def test_outer():
    a, b = np.arange(3), np.arange(4) - 2
    assert_same(linalg.outer(nt.asarray(a), nt.asarray(b)), np.outer(a, b))
    with pytest.raises(ValueError, match="1 dimension"):
        linalg.outer(nt.ones((2, 2)), nt.ones(2))


@pytest.mark.parametrize(
    ("left", "right", "axes"),
    [
        ((2, 3, 4), (3, 4, 5), 2),
        ((2, 3), (4,), 0),
        ((2, 3, 4), (4, 5, 3), ((1, -1), (2, 0))),
        ((2, 0), (0, 3), 1),
        ((), (), 0),
    ],
)
def test_tensordot(left, right, axes):
    a, b = normal(3, *left), normal(4, *right)
    found = linalg.tensordot(nt.asarray(a), nt.asarray(b), axes=axes)
    assert_same(found, np.tensordot(a, b, axes=axes), exact=False, scale=10)


@pytest.mark.parametrize("axes", [3, -1, ((0,), (0,)), ((0, 0), (1, 1)), ((0,),)])
def test_tensordot_wrong_axes(axes):
    with pytest.raises(ValueError, match=r"axes|axis"):
        linalg.tensordot(nt.ones((2, 3)), nt.ones((3, 2)), axes=axes)


@pytest.mark.parametrize("axis", [-1, 0])
def test_cross(axis):
    a, b = (np.moveaxis(normal(seed, 4, 3), -1, axis) for seed in (1, 2))
    expected = np.cross(a, b, axis=axis)
    assert_same(linalg.cross(nt.asarray(a), nt.asarray(b), axis=axis), expected, exact=False)
    with pytest.raises(ValueError, match="size 3"):
        linalg.cross(nt.ones(2), nt.ones(2))


@st.composite
def matrices(draw, most=6):
    """Well-conditioned square matrices, in a batch."""
    dtype = draw(one_of(LAPACK))
    n = draw(st.one_of(st.integers(0, most), st.just(24)))
    batch = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    values = normal(draw(st.integers(0, 1000)), *batch, n, n, dtype=dtype)
    values += (np.eye(n) * (2 * n + 1)).astype(dtype)
    return values


def placed(values, how):
    """The same matrices, stored otherwise."""
    if how == "transposed":
        return nt.asarray(np.swapaxes(values, -1, -2).copy()).mT
    if how == "flipped":
        return nt.flip(nt.asarray(np.flip(values).copy()))
    return nt.asarray(values)


PLACES = st.sampled_from(["plain", "transposed", "flipped"])


@given(matrices(), PLACES)
def test_inv_solve_det(values, how):
    array = placed(values, how)
    n, dtype = values.shape[-1], str(values.dtype)
    assert_same(linalg.inv(array), np.linalg.inv(values), exact=False, scale=100, dtype=dtype)
    right = normal(9, *values.shape[:-1], 2, dtype=dtype)
    expected = np.linalg.solve(values, right)
    found = linalg.solve(array, nt.asarray(right))
    assert_same(found, expected, exact=False, scale=100, dtype=dtype)
    vector = normal(8, n, dtype=dtype)
    expected = np.matmul(np.linalg.inv(values), vector)
    assert_same(linalg.solve(array, nt.asarray(vector)), expected, exact=False, scale=100)
    if n > 6:
        return  # beyond float32
    expected = np.linalg.det(values)
    found = np.asarray(linalg.det(array))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype in LAPACK[::2] else 1e-11)


@given(matrices(), st.booleans(), PLACES)
def test_cholesky(values, upper, how):
    def adjoint(x):
        return np.conj(np.swapaxes(x, -1, -2))

    positive = values @ adjoint(values)
    # The other triangle is never read.
    rubbish = np.full_like(positive, 7)
    stored = (
        np.triu(positive) + np.tril(rubbish, -1)
        if upper
        else np.tril(positive) + np.triu(rubbish, 1)
    )
    factor = np.linalg.cholesky(positive)
    expected = adjoint(factor) if upper else factor
    found = linalg.cholesky(placed(stored, how), upper=upper)
    assert_same(found, expected, exact=False, scale=2000, dtype=str(values.dtype))


def test_integers_count_as_float32():
    assert linalg.inv(nt.asarray([[2, 0], [0, 4]])).tolist() == [[0.5, 0], [0, 0.25]]
    assert linalg.det(nt.asarray([[2, 0], [0, 4]])).dtype is nt.float32


@pytest.mark.parametrize("dtype", LAPACK)
@pytest.mark.parametrize("n", [3, 40])
def test_a_bad_matrix_is_named(dtype, n):
    values = np.broadcast_to(2 * np.eye(n), (5, 4, n, n)).astype(dtype)
    values[3, 1, 1, 1] = values[4, 0, 0, 0] = 0
    array = nt.asarray(values)
    for made in (linalg.inv(array), linalg.solve(array, array)):
        for _ in range(2):
            with pytest.raises(nt.LinAlgError) as info:
                made.tolist()
            assert info.value.report.code == "singular_matrix"
            assert info.value.report.args[:2] == (13, 1)
            assert isinstance(info.value, np.linalg.LinAlgError)
    with pytest.raises(nt.LinAlgError) as info:
        np.asarray(linalg.cholesky(array) + 1)
    assert info.value.report.code == "not_positive_definite"
    assert info.value.report.args[:2] == (13, 2)
    assert "order 2" in str(info.value)
    determinants = np.asarray(linalg.det(array))
    assert determinants[3, 1] == determinants[4, 0] == 0
    np.testing.assert_allclose(determinants[0, 0], 2.0**n)


def test_failures_spoil_their_descendants_alone():
    good, bad = nt.eye(3), nt.zeros((3, 3))
    inverse, spoilt = linalg.inv(good), linalg.inv(bad)
    mixed = inverse + spoilt
    assert np.asarray(inverse).tolist() == np.eye(3).tolist()
    with pytest.raises(nt.LinAlgError):
        nt.eval(mixed)
    assert np.asarray(inverse * 2)[0, 0] == 2


@pytest.mark.parametrize("dtype", LAPACK)
@pytest.mark.parametrize("n", [2, 30])
def test_nan_is_a_value(dtype, n):
    values = np.zeros((n, n), dtype=dtype)
    values[0, 0] = np.nan
    for made in (linalg.inv, linalg.cholesky, linalg.det):
        assert np.isnan(np.asarray(made(nt.asarray(values)))).any()


@pytest.mark.parametrize("function", [linalg.inv, linalg.det, linalg.cholesky])
def test_wrong_matrices(function):
    for shape in ((), (3,), (2, 3)):
        with pytest.raises(ValueError, match="square"):
            function(nt.ones(shape))
    with pytest.raises(TypeError, match="float16"):
        function(nt.ones((2, 2), dtype="float16"))


def test_wrong_right_hand_sides():
    for shape in ((), (3,), (3, 2), (2, 3, 1)):
        with pytest.raises(ValueError, match=r"solve was given the shapes"):
            linalg.solve(nt.eye(2), nt.ones(shape))
    with pytest.raises(ValueError, match="broadcast"):
        linalg.solve(nt.ones((2, 3, 3)), nt.ones((5, 3, 1)))


@pytest.mark.parametrize("power", [-2, -1, 0, 1, 2, 3, 7])
def test_matrix_power(power):
    values = normal(1, 2, 3, 3)
    values += 3 * np.eye(3, dtype=values.dtype)
    found = linalg.matrix_power(nt.asarray(values), power)
    assert_same(found, np.linalg.matrix_power(values, power), exact=False, scale=1e4)


@pytest.mark.parametrize("offset", [-5, -2, -1, 0, 1, 3, 9])
def test_diagonal_and_trace(offset):
    values = np.arange(24).reshape(2, 3, 4)
    array = nt.permute_dims(
        nt.asarray(np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)), (1, 2, 0)
    )
    expected = np.diagonal(values, offset, -2, -1)
    assert_same(linalg.diagonal(array, offset=offset), expected)
    assert_same(linalg.trace(array, offset=offset), expected.sum(-1))


@given(array_pairs(LAPACK, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), special=False))
def test_norms(pair):
    values, array = pair
    real = "float32" if values.dtype in ("float32", "complex64") else "float64"
    for order in (0, 1, 2, 3, math.inf, -math.inf):
        expected = np.linalg.norm(values.astype("complex128"), order, axis=-1)
        found = linalg.vector_norm(array, axis=-1, ord=order)
        assert_same(found, expected, exact=False, scale=200, dtype=real)
    expected = np.linalg.norm(values.astype("complex128").reshape(-1))
    assert_same(linalg.vector_norm(array), expected, exact=False, scale=100, dtype=real)
    if values.ndim > 1:
        for order in ("fro", 1, -1, math.inf, -math.inf):
            wide = values.astype("complex128")
            expected = np.linalg.norm(wide, order, axis=(-2, -1), keepdims=True)
            found = linalg.matrix_norm(array, ord=order, keepdims=True)
            assert_same(found, expected, exact=False, scale=100, dtype=real)


def test_wrong_norms():
    with pytest.raises(ValueError, match="'nuc'"):
        linalg.matrix_norm(nt.ones((2, 2)), ord="nuc")
    with pytest.raises(ValueError, match="2 dimensions"):
        linalg.matrix_norm(nt.ones(2))
